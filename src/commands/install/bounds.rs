//! Limits of the configurations that are edited. The editors keep comments and order, and pay for it: an insertion
//! or a removal moves all that stands behind it, so the time grows with the square of the number of changes.

use super::edit::EditError;

/// Members, elements, comments and line breaks beside each other in an object that is edited. A file that people
/// write has some hundred.
pub(super) const MOST_PARTS: usize = 10_000;

/// Members of the entry that is edited. Apps know some twenty.
pub(super) const MOST_MEMBERS: usize = 500;

/// Bytes of a text in YAML: the parser takes the square of some texts, such as rows of tags. Files of apps have some
/// KiB.
pub(super) const LARGEST_YAML: usize = 128 << 10;

/// Refuses an object with more than [`MOST_PARTS`].
pub(super) fn check_parts(name: &str, count: usize) -> Result<(), EditError> {
    check(
        name,
        count,
        MOST_PARTS,
        "members, comments and line breaks beside each other",
    )
}

/// Refuses an entry with more than [`MOST_MEMBERS`].
pub(super) fn check_members(name: &str, count: usize) -> Result<(), EditError> {
    check(name, count, MOST_MEMBERS, "members")
}

/// Refuses a text in YAML with more than [`LARGEST_YAML`].
pub(super) fn check_yaml(text: &str) -> Result<(), EditError> {
    check("the file", text.len(), LARGEST_YAML, "bytes")
}

fn check(name: &str, count: usize, most: usize, unit: &'static str) -> Result<(), EditError> {
    if count <= most {
        return Ok(());
    }
    Err(EditError::TooLarge {
        name: name.to_owned(),
        most,
        unit,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::apps::Format;
    use super::super::edit::{EntryPosition, Wish, edit};
    use super::super::entry::NewEntry;
    use super::*;

    const fn position(format: Format) -> EntryPosition<'static> {
        EntryPosition {
            format,
            servers: &["mcpServers"],
            inner: None,
            name: "example",
        }
    }

    fn put(format: Format, text: &str) -> Result<String, EditError> {
        let members = [("command", json!("mcp-bridge"))];
        let entry = NewEntry {
            members: &members,
            extras: &[],
            kept: &[],
            url: "https://example.com/mcp",
            removed: None,
        };
        let edited = edit(text, position(format), Wish::Put(entry))?;
        Ok(edited.text)
    }

    fn remove(format: Format, text: &str) -> Result<String, EditError> {
        let edited = edit(text, position(format), Wish::Remove)?;
        Ok(edited.text)
    }

    #[track_caller]
    fn check_refused(outcome: Result<String, EditError>, expected: &str) {
        let error = outcome.unwrap_err();
        assert!(matches!(error, EditError::TooLarge { .. }), "{error}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn comments_where_the_entry_goes_are_edited_up_to_the_limit() {
        let comments = |count: usize| "// a\n".repeat(count);
        let few = comments(MOST_PARTS / 2 - 10);
        let text = put(Format::Json, &format!("{{\n{few}\"a\": 1}}")).unwrap();
        assert_eq!(text.matches("// a\n").count(), MOST_PARTS / 2 - 10);
        let many = comments(MOST_PARTS);
        check_refused(
            put(Format::Json, &format!("{{\n{many}\"a\": 1}}")),
            "the file has more than 10000 members",
        );
        let servers = format!("{{\"mcpServers\": {{\n{many}\"example\": {{}}}}}}");
        check_refused(put(Format::Json, &servers), "\"mcpServers\" has more than");
        check_refused(remove(Format::Json, &servers), "the object of servers has");
    }

    #[test]
    fn what_stands_elsewhere_in_the_file_is_not_limited() {
        let many = "// a\n".repeat(MOST_PARTS * 2);
        let text = format!("{many}{{\"other\": [\n{many}1], \"mcpServers\": {{}}}}\n{many}");
        let installed = put(Format::Json, &text).unwrap();
        assert_eq!(installed.matches(&many).count(), 3);
        let tables = (0..MOST_PARTS).map(|number| format!("[a{number}]\n"));
        let tables: String = tables.collect();
        let installed = put(Format::Toml, &tables).unwrap();
        assert!(installed.starts_with(&tables));
    }

    #[test]
    fn an_entry_with_too_many_members_is_left_to_the_person() {
        let members = |count: usize, member: fn(usize) -> String| -> String {
            (0..count).map(member).collect()
        };
        let json = |count| {
            let members = members(count, |number| format!("\"m{number}\":1,"));
            format!("{{\"mcpServers\":{{\"example\":{{{members}\"url\":\"a\"}}}}}}")
        };
        let toml = |count| {
            let members = members(count, |number| format!("m{number} = 1\n"));
            format!("[mcpServers.example]\n{members}url = \"a\"\n")
        };
        let yaml = |count| {
            let members = members(count, |number| format!("    m{number}: 1\n"));
            format!("mcpServers:\n  example:\n{members}    url: a\n")
        };
        let formats: [(Format, &dyn Fn(usize) -> String); 3] = [
            (Format::Json, &json),
            (Format::Toml, &toml),
            (Format::Yaml, &yaml),
        ];
        for (format, text) in formats {
            let installed = put(format, &text(100)).unwrap();
            assert!(!installed.contains("m99"), "{installed}");
            let expected = "\"example\" has more than 500 members";
            check_refused(put(format, &text(MOST_MEMBERS)), expected);
        }
        let list = "1,\n".repeat(MOST_PARTS);
        let text =
            format!("{{\"mcpServers\":{{\"example\":{{\"command\":\"a\",\"args\":[{list}1]}}}}}}");
        check_refused(put(Format::Json, &text), "a member of \"example\" has");
    }

    #[test]
    fn a_long_text_in_yaml_is_refused_before_it_is_parsed() {
        let text = "!t ".repeat(LARGEST_YAML);
        for outcome in [put(Format::Yaml, &text), remove(Format::Yaml, &text)] {
            check_refused(outcome, "the file has more than 131072 bytes");
        }
    }
}
