//! Entries in YAML. Comments and order are kept; what cannot be edited with certainty is refused.

use std::fmt::Write as _;
use std::str::FromStr as _;

use serde_json::{Map, Value};
use yaml_edit::{Document, Mapping, YamlError, YamlNode};

use super::apps::Format;
use super::bounds;
use super::edit::{EditChange, EditError, Edited, EntryPosition, Servers, Wish};
use super::entry::{Extra, NewEntry};

/// Spaces by which a block stands deeper than the one around it.
const INDENT: usize = 2;

pub(super) fn edit(
    text: &str,
    position: EntryPosition<'_>,
    wish: Wish<'_>,
) -> Result<Edited, EditError> {
    let before = parse(text)?;
    let mut lost_headers = Vec::new();
    let (change, after) = match wish {
        Wish::Put(entry) => put(text, position, entry, &mut lost_headers)?,
        Wish::Remove => remove(text, position)?,
    };
    if change != EditChange::Nothing {
        verify(&before, &after, position, wish)?;
    }
    if let (EditChange::Added, Wish::Put(entry)) = (change, wish) {
        let removed = verify_addition(&before, &after, position, entry)?;
        let comments = |text: &str| text.matches('#').count();
        if comments(&after).min(comments(&removed)) < comments(text) {
            return Err(EditError::Unsafe);
        }
    }
    Ok(Edited {
        text: after,
        change,
        lost_headers,
    })
}

/// The servers, by name.
pub(super) fn entries(text: &str, position: EntryPosition<'_>) -> Result<Servers, EditError> {
    let mut servers = parse(text)?;
    for key in position.servers {
        servers = match servers {
            Value::Object(mut members) => members.remove(*key).unwrap_or_default(),
            Value::Null => return Ok(Servers::new()),
            _ => return Err(no_mapping(key)),
        };
    }
    let Value::Object(servers) = servers else {
        return Ok(Servers::new());
    };
    let entries = servers.into_iter();
    Ok(entries
        .filter_map(|(name, entry)| match entry {
            Value::Object(members) => Some((name, members)),
            _ => None,
        })
        .collect())
}

/// A file with a list of servers, each of which has its name as a member.
pub(super) fn list(servers: &str, name: &str, members: &[(&'static str, Value)]) -> String {
    let mut text = format!("{servers}:\n");
    let members = members.iter().map(|(name, value)| (*name, value));
    let name = Value::from(name);
    let mut block = String::new();
    write_members(
        &mut block,
        [("name", &name)].into_iter().chain(members),
        INDENT * 2,
    );
    text.push_str(&" ".repeat(INDENT));
    text.push_str("- ");
    text.push_str(block.trim_start());
    text
}

/// The text after the edit.
type Outcome = Result<(EditChange, String), EditError>;

fn put(
    text: &str,
    position: EntryPosition<'_>,
    new: NewEntry<'_>,
    lost_headers: &mut Vec<String>,
) -> Outcome {
    let [servers_key] = position.servers else {
        return Err(EditError::Unsafe);
    };
    let entry = Value::Object(object(&new.fresh()));
    if has_no_content(text) {
        return Ok((
            EditChange::Added,
            appended(text, servers_key, position.name, &entry),
        ));
    }
    let file = document(text)?;
    let root = file.as_mapping();
    let root = root.ok_or_else(|| EditError::NotAnObject("the file".to_owned(), Format::Yaml))?;
    let servers = match root.get(*servers_key) {
        None => {
            return Ok((
                EditChange::Added,
                appended(text, servers_key, position.name, &entry),
            ));
        }
        Some(YamlNode::Mapping(servers)) if !servers.is_empty() => servers,
        Some(found) if json(&found).is_null() || found.is_mapping() => {
            if let Some(filled) = filled(text, servers_key, position.name, &entry) {
                return Ok((EditChange::Added, filled));
            }
            let servers = Map::from_iter([(position.name.to_owned(), entry)]);
            root.set(*servers_key, node(&Value::Object(servers))?);
            return Ok((EditChange::Added, file.to_string()));
        }
        Some(_) => return Err(no_mapping(servers_key)),
    };
    let Some(found) = servers.get_mapping(position.name) else {
        let change = if servers.contains_key(position.name) {
            EditChange::Changed
        } else {
            EditChange::Added
        };
        servers.set(position.name, node(&entry)?);
        return Ok((change, file.to_string()));
    };
    let is_changed = update(position, &found, new, lost_headers)?;
    Ok(if is_changed {
        (EditChange::Changed, file.to_string())
    } else {
        (EditChange::Nothing, text.to_owned())
    })
}

/// Brings an entry that exists up to date. Returns true if that has changed it.
fn update(
    position: EntryPosition<'_>,
    found: &Mapping,
    new: NewEntry<'_>,
    lost_headers: &mut Vec<String>,
) -> Result<bool, EditError> {
    let old = members(found);
    bounds::check_members(&format!("{:?}", position.name), old.len())?;
    *lost_headers = NewEntry::lost_headers(&old);
    let mut is_changed = false;
    for name in new.unwanted(&old) {
        found.remove(name.as_str());
        is_changed = true;
    }
    let wanted = wanted(&old, new);
    for (name, value) in wanted
        .iter()
        .filter(|(name, value)| old.get(*name) != Some(value))
    {
        found.set(name.as_str(), node(value)?);
        is_changed = true;
    }
    Ok(is_changed)
}

/// The members that the entry has afterwards, besides those that stay as they are.
fn wanted(old: &Map<String, Value>, new: NewEntry<'_>) -> Map<String, Value> {
    let mut wanted = object(new.members);
    for extra in new.extras {
        let (name, fresh) = extra.fresh();
        let value = match (old.get(name), extra) {
            (None, _) => fresh,
            (Some(Value::Array(old)), Extra::Elements(_, texts)) => {
                let missing = texts.iter().cloned().map(Value::from);
                let missing = missing.filter(|text| !old.contains(text));
                old.iter().cloned().chain(missing).collect()
            }
            (Some(Value::Object(old)), Extra::Members(_, members)) => {
                let mut all: Map<_, _> = members.iter().cloned().collect();
                all.extend(old.clone());
                Value::Object(all)
            }
            (Some(old), _) => old.clone(),
        };
        wanted.insert(name.to_owned(), value);
    }
    wanted
}

fn remove(text: &str, position: EntryPosition<'_>) -> Outcome {
    if has_no_content(text) {
        return Ok((EditChange::Nothing, text.to_owned()));
    }
    let file = document(text)?;
    let [servers_key] = position.servers else {
        return Err(EditError::Unsafe);
    };
    let servers = file.as_mapping().and_then(|root| root.get(*servers_key));
    let servers = match servers {
        Some(YamlNode::Mapping(servers)) => servers,
        Some(other) if !json(&other).is_null() => return Err(no_mapping(servers_key)),
        Some(_) | None => return Ok((EditChange::Nothing, text.to_owned())),
    };
    if servers.remove(position.name).is_none() {
        return Ok((EditChange::Nothing, text.to_owned()));
    }
    Ok((EditChange::Removed, file.to_string()))
}

/// Refuses a text that differs from the one before in something else than the entry.
fn verify(
    before: &Value,
    after: &str,
    position: EntryPosition<'_>,
    wish: Wish<'_>,
) -> Result<(), EditError> {
    let mut before = before.clone();
    let mut after = parse(after).map_err(|_| EditError::Unsafe)?;
    take_entry(&mut before, position);
    let entry = take_entry(&mut after, position);
    let is_right = match (wish, entry) {
        (Wish::Remove, entry) => entry.is_none(),
        (Wish::Put(_), None) => false,
        (Wish::Put(new), Some(entry)) => {
            let mut members = new.members.iter();
            members.all(|(name, value)| entry.get(*name) == Some(value))
        }
    };
    if is_right && before == after {
        return Ok(());
    }
    Err(EditError::Unsafe)
}

/// Refuses a text in which the entry that was added is not found as it was meant, or from which it cannot be removed:
/// something in it is read in two ways. Returns the text without it.
fn verify_addition(
    before: &Value,
    after: &str,
    position: EntryPosition<'_>,
    new: NewEntry<'_>,
) -> Result<String, EditError> {
    if put(after, position, new, &mut Vec::new())?.0 != EditChange::Nothing {
        return Err(EditError::Unsafe);
    }
    let (change, removed) = remove(after, position)?;

    if change != EditChange::Removed {
        return Err(EditError::Unsafe);
    }
    verify(before, &removed, position, Wish::Remove)?;
    Ok(removed)
}

/// Takes an entry out, and a table of servers that is empty then.
fn take_entry(file: &mut Value, position: EntryPosition<'_>) -> Option<Value> {
    let key = position.servers.first().copied().unwrap_or_default();
    if file.is_null() {
        *file = Value::Object(Map::new());
    }
    let root = file.as_object_mut()?;
    let servers = root.get_mut(key).and_then(Value::as_object_mut);
    let entry = servers.and_then(|servers| servers.remove(position.name));
    let is_empty = |servers: &Value| servers.is_null() || servers == &Value::Object(Map::new());
    if root.get(key).is_some_and(is_empty) {
        root.remove(key);
    }
    entry
}

pub(super) fn parse(text: &str) -> Result<Value, EditError> {
    if has_no_content(text) {
        return Ok(Value::Null);
    }
    let root = document(text)?.as_mapping();
    let root = root.ok_or_else(|| EditError::NotAnObject("the file".to_owned(), Format::Yaml))?;
    Ok(Value::Object(members(&root)))
}

fn has_no_content(text: &str) -> bool {
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    text.lines().all(is_comment)
}

fn document(text: &str) -> Result<Document, EditError> {
    bounds::check_yaml(text)?;
    let document = Document::from_str(text).map_err(|error| match error {
        YamlError::Parse {
            message,
            line,
            column,
        } => EditError::Syntax {
            line: line.unwrap_or(1),
            column: column.unwrap_or(1),
            what: message,
        },
        _ => EditError::Unsafe,
    })?;
    // The parser of a single document leaves others out.
    if document.to_string() != text {
        return Err(EditError::Unsafe);
    }
    Ok(document)
}

fn members(mapping: &Mapping) -> Map<String, Value> {
    let members = mapping.iter();
    members
        .map(|(key, value)| (text_of(&key), json(&value)))
        .collect()
}

fn json(node: &YamlNode) -> Value {
    match node {
        YamlNode::Mapping(mapping) => Value::Object(members(mapping)),
        YamlNode::Sequence(sequence) => sequence.values().map(|node| json(&node)).collect(),
        YamlNode::Scalar(scalar) if !scalar.is_quoted() && !scalar.is_block() => {
            if scalar.is_null() {
                return Value::Null;
            }
            let number = || scalar.as_i64().map(Value::from);
            let switch = scalar.as_bool().map(Value::from);
            let value = switch.or_else(number);
            value.unwrap_or_else(|| scalar.as_string().into())
        }
        YamlNode::Scalar(scalar) => scalar.as_string().into(),
        YamlNode::Alias(alias) => alias.to_string().into(),
        YamlNode::TaggedNode(tagged) => tagged.to_string().into(),
    }
}

fn text_of(key: &YamlNode) -> String {
    key.as_scalar()
        .map_or_else(|| key.to_string(), yaml_edit::Scalar::as_string)
}

fn object(members: &[(&'static str, Value)]) -> Map<String, Value> {
    let members = members.iter();
    members
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// A value as a part of a document.
fn node(value: &Value) -> Result<YamlNode, EditError> {
    let mut text = String::new();
    write_member(&mut text, "value", value, 0);
    let document = Document::from_str(&text).map_err(|_| EditError::Unsafe)?;
    document.get("value").ok_or(EditError::Unsafe)
}

/// A text with a table of one entry at its end.
fn appended(text: &str, servers: &str, name: &str, entry: &Value) -> String {
    let mut whole = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        whole.push('\n');
    }
    let table = Value::Object(Map::from_iter([(name.to_owned(), entry.clone())]));
    write_member(&mut whole, servers, &table, 0);
    whole
}

/// A text whose empty table got an entry, and kept the comment beside its key. `None` if the key does not stand in a
/// line of its own.
fn filled(text: &str, servers: &str, name: &str, entry: &Value) -> Option<String> {
    let mut whole = String::new();
    let mut lines = text.split_inclusive('\n');
    let comment = loop {
        let line = lines.next()?;
        let value = line
            .strip_prefix(servers)
            .and_then(|rest| rest.strip_prefix(':'));
        if let Some(comment) = value.and_then(beside_no_value) {
            break comment;
        }
        whole.push_str(line);
    };
    let _ = writeln!(whole, "{servers}:{comment}");
    write_member(&mut whole, name, entry, INDENT);
    whole.extend(lines);
    Some(whole)
}

/// The comment after an empty value, with the space before it; empty if there is none.
fn beside_no_value(rest: &str) -> Option<&str> {
    let value = rest.trim_start();
    let empty = ["{}", "null", "~"];
    let value = empty
        .iter()
        .find_map(|empty| value.strip_prefix(empty))
        .unwrap_or(rest);
    let comment = value.trim_end();
    let is_comment =
        comment.is_empty() || (comment.trim_start().starts_with('#') && rest.starts_with(' '));
    is_comment.then_some(comment)
}

fn no_mapping(key: &str) -> EditError {
    EditError::NotAnObject(format!("{key:?}"), Format::Yaml)
}

fn write_members<'a>(
    text: &mut String,
    members: impl Iterator<Item = (&'a str, &'a Value)>,
    indent: usize,
) {
    for (name, value) in members {
        write_member(text, name, value, indent);
    }
}

fn write_member(text: &mut String, name: &str, value: &Value, indent: usize) {
    // Writing to a text cannot fail.
    let _ = write!(text, "{:indent$}{}:", "", scalar(&Value::from(name)));
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            let members = members.iter().map(|(name, value)| (name.as_str(), value));
            write_members(text, members, indent + INDENT);
        }
        Value::Array(elements) if !elements.is_empty() => {
            text.push('\n');
            for element in elements {
                let _ = writeln!(text, "{:indent$}- {}", "", scalar(element));
            }
        }
        other => {
            let _ = writeln!(text, " {}", scalar(other));
        }
    }
}

/// A value in one line: texts plain where they can only be texts, else in the form of JSON, which is one of YAML too.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let is_first = |letter: char| letter.is_ascii_alphabetic() || letter == '/';
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/_.:-".contains(letter);
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null"
    );
    if text.starts_with(is_first) && text.chars().all(is_plain) && !text.ends_with(':') && !is_word
    {
        return text.clone();
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: EntryPosition<'_> = EntryPosition {
        format: Format::Yaml,
        servers: &["extensions"],
        inner: None,
        name: "example",
    };

    fn put(text: &str) -> Result<Edited, EditError> {
        let members = [
            ("type", json!("stdio")),
            ("name", json!("example")),
            ("enabled", json!(true)),
            ("cmd", json!("/opt/my bridge")),
            ("args", json!(["https://example.com/mcp", "--debug"])),
        ];
        let extras = [Extra::Member("timeout", json!(300))];
        let entry = NewEntry {
            members: &members,
            extras: &extras,
            kept: &["timeout", "envs"],
            url: "https://example.com/mcp",
            removed: None,
        };
        edit(text, AT, Wish::Put(entry))
    }

    const ENTRY: &str = "  example:
    args:
    - https://example.com/mcp
    - \"--debug\"
    cmd: \"/opt/my bridge\"
    enabled: true
    name: example
    timeout: 300
    type: stdio
";

    #[track_caller]
    fn check(before: &str, change: EditChange, after: &str) {
        let edited = put(before).unwrap();
        assert_eq!(edited.text, after);
        assert_eq!(edited.change, change);
        let again = put(after).unwrap();
        assert_eq!(
            (again.text.as_str(), again.change),
            (after, EditChange::Nothing)
        );
    }

    #[test]
    fn a_file_without_servers_gets_them_at_its_end() {
        check("", EditChange::Added, &format!("extensions:\n{ENTRY}"));
        for before in [
            "# mine\n",
            "GOOSE_MODEL: x # best\nGOOSE_MODE: auto\n",
            "a:\n  - b\n",
        ] {
            check(
                before,
                EditChange::Added,
                &format!("{before}extensions:\n{ENTRY}"),
            );
        }
        check(
            "a: 1",
            EditChange::Added,
            &format!("a: 1\nextensions:\n{ENTRY}"),
        );
    }

    #[test]
    fn other_entries_and_comments_stay() {
        let before = "# mine\nGOOSE_MODEL: \"gpt: x\" # best\n\nextensions:\n  # built in\n  developer:\n    bundled: true\n    timeout: 300 # long\n    type: builtin\n\n# after\nGOOSE_MODE: auto\n";
        let after = before.replace(
            "    type: builtin\n",
            &format!("    type: builtin\n{ENTRY}"),
        );
        check(before, EditChange::Added, &after);
        let removed = edit(&after, AT, Wish::Remove).unwrap();
        assert_eq!(
            (removed.text.as_str(), removed.change),
            (before, EditChange::Removed)
        );
    }

    #[test]
    fn an_entry_becomes_a_command() {
        let before = "extensions:\n  example:\n    # remote\n    enabled: true\n    name: example\n    type: streamable_http\n    uri: https://example.com/mcp\n    headers: {}\n    envs:\n      KEY: a\n    timeout: 60\n  other:\n    type: builtin\n";
        let edited = put(before).unwrap();
        assert_eq!(edited.change, EditChange::Changed);
        let value = parse(&edited.text).unwrap();
        assert_eq!(
            value["extensions"]["example"],
            json!({
                "enabled": true, "name": "example", "type": "stdio", "envs": {"KEY": "a"}, "timeout": 60,
                "cmd": "/opt/my bridge", "args": ["https://example.com/mcp", "--debug"],
            })
        );
        assert!(edited.text.contains("    # remote\n"), "{}", edited.text);
        assert!(
            edited.text.ends_with("  other:\n    type: builtin\n"),
            "{}",
            edited.text
        );
    }

    #[test]
    fn an_empty_table_of_servers_is_filled() {
        for before in [
            "extensions:\n",
            "extensions: {}\n",
            "extensions: null\na: 1\n",
        ] {
            let edited = put(before).unwrap();
            let value = parse(&edited.text).unwrap();
            assert_eq!(value["extensions"]["example"]["type"], "stdio", "{before}");
        }
    }

    #[test]
    fn a_comment_beside_an_empty_table_stays() {
        for (before, after) in [
            ("extensions: # mine\n", "extensions: # mine\n"),
            (
                "extensions: {}  # mine\na: 1\n",
                "extensions:  # mine\na: 1\n",
            ),
            (
                "# a\nextensions: ~ # mine\n# b\n",
                "# a\nextensions: # mine\n# b\n",
            ),
        ] {
            let edited = put(before).unwrap().text;
            assert_eq!(edited.replace(ENTRY, ""), after);
            let removed = edit(&edited, AT, Wish::Remove).unwrap().text;
            assert_eq!(
                removed.matches('#').count(),
                before.matches('#').count(),
                "{removed}"
            );
        }
    }

    #[test]
    fn what_the_parser_and_the_editor_read_differently_is_refused() {
        for text in [
            "extensions: {}\n    url: y\na: 1\n",
            "extensions: &m\n\tnull # d\n",
            "extensions: {}\n\n    : #|\n",
            "a: >-\n? \n|\n\n[a: >-\n",
        ] {
            assert_eq!(put(text).unwrap_err(), EditError::Unsafe, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_edited_with_certainty_is_refused() {
        for text in [
            "a: 1\n---\nb: 2\n",
            "- a\n",
            "extensions: [a]\n",
            "a: [\n",
            "text\n",
        ] {
            assert!(put(text).is_err(), "{text}: {:?}", put(text));
        }
    }

    #[test]
    fn texts_that_could_be_something_else_are_quoted() {
        for (text, expected) in [
            ("https://example.com/mcp", "https://example.com/mcp"),
            ("--debug", "\"--debug\""),
            ("true", "\"true\""),
            ("5", "\"5\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("", "\"\""),
            (r"C:\x", r#""C:\\x""#),
        ] {
            assert_eq!(scalar(&Value::from(text)), expected);
        }
    }
}
