//! Entries in JSON with comments and trailing commas.

use std::collections::HashSet;

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode};
use serde_json::{Map, Value};

use super::apps::Format;
use super::bounds;
use super::edit::{EditChange, EditError, Edited, EntryPosition, Servers, Wish};
use super::entry::{Extra, NewEntry};

/// Comments and trailing commas. What goes beyond would be an error for the apps too.
const JSONC: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(super) fn edit(
    text: &str,
    position: EntryPosition<'_>,
    wish: Wish<'_>,
) -> Result<Edited, EditError> {
    let root = parse(text)?;
    let mut lost_headers = Vec::new();
    let change = match wish {
        Wish::Put(entry) => put(&root, position, entry, &mut lost_headers)?,
        Wish::Remove => remove(&root, position)?,
    };
    Ok(Edited {
        text: match change {
            EditChange::Nothing => text.to_owned(),
            EditChange::Added | EditChange::Changed | EditChange::Removed => root.to_string(),
        },
        change,
        lost_headers,
    })
}

/// The servers, by name; of those of one name the last.
pub(super) fn entries(text: &str, position: EntryPosition<'_>) -> Result<Servers, EditError> {
    let root = parse(text)?;
    let Some(servers) = servers(&root, position)? else {
        return Ok(Vec::new());
    };
    let servers = inner_servers(&servers, position).unwrap_or(servers);
    let mut found = Servers::new();
    let mut seen = HashSet::new();
    for property in servers.properties().into_iter().rev() {
        let Some(name) = property.decoded_name() else {
            continue;
        };
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(Value::Object(entry)) = property.to_serde_value() {
            found.push((name, entry));
        }
    }
    found.reverse();
    Ok(found)
}

fn parse(text: &str) -> Result<CstRootNode, EditError> {
    CstRootNode::parse(text, &JSONC).map_err(|error| EditError::Syntax {
        line: error.line_display(),
        column: error.column_display(),
        what: error.kind().to_string(),
    })
}

fn put(
    root: &CstRootNode,
    position: EntryPosition<'_>,
    new: NewEntry<'_>,
    lost_headers: &mut Vec<String>,
) -> Result<EditChange, EditError> {
    if root
        .value()
        .is_some_and(|value| value.as_null_keyword().is_some())
    {
        root.set_value(CstInputValue::Object(Vec::new()));
    }
    let file = root.object_value_or_create().ok_or_else(not_a_file)?;
    check_parts("the file", &file)?;
    let mut servers = file.clone();
    for key in position.servers {
        servers = match member(&servers, key) {
            Some(found) => object_in_place_of_null(&found).ok_or_else(|| no_object(key))?,
            None => servers.object_value_or_set(key),
        };
        check_parts(&format!("{key:?}"), &servers)?;
    }
    let servers = inner_servers(&servers, position).unwrap_or(servers);
    check_parts("the object of servers", &servers)?;
    let Some(entry) = member(&servers, position.name) else {
        file.ensure_multiline();
        servers.append(position.name, object(&new.fresh()));
        return Ok(EditChange::Added);
    };
    let Some(entry) = entry.object_value() else {
        entry.set_value(object(&new.fresh()));
        return Ok(EditChange::Changed);
    };
    check_entry(position.name, &entry)?;
    Ok(update(&entry, new, lost_headers))
}

/// Brings an entry that exists up to date.
fn update(entry: &CstObject, new: NewEntry<'_>, lost_headers: &mut Vec<String>) -> EditChange {
    let old = entry.to_serde_value().unwrap_or_default();
    let old = old.as_object().cloned().unwrap_or_default();
    *lost_headers = NewEntry::lost_headers(&old);
    let mut change = EditChange::Nothing;
    for name in new.unwanted(&old) {
        while let Some(unwanted) = member(entry, &name) {
            unwanted.remove();
            change = EditChange::Changed;
        }
    }
    for (name, value) in new.members {
        match member(entry, name) {
            Some(member) if member.to_serde_value().as_ref() == Some(value) => continue,
            Some(member) => set(&member, value),
            None => {
                entry.append(name, input(value));
            }
        }
        change = EditChange::Changed;
    }
    for extra in new.extras {
        if supply(entry, extra) {
            change = EditChange::Changed;
        }
    }
    change
}

/// Supplies what an entry lacks. Returns whether it lacked something.
fn supply(entry: &CstObject, extra: &Extra) -> bool {
    let (name, fresh) = extra.fresh();
    let Some(found) = member(entry, name) else {
        entry.append(name, input(&fresh));
        return true;
    };
    match extra {
        Extra::Member(..) => false,
        Extra::Elements(_, texts) => {
            let value = found.to_serde_value();
            let Some((list, value)) = found.array_value().zip(value) else {
                return false;
            };
            let has = |text: &&String| {
                let elements = value.as_array();
                elements.is_some_and(|all| all.iter().any(|it| it == text.as_str()))
            };
            let missing: Vec<_> = texts.iter().filter(|text| !has(text)).collect();
            for text in &missing {
                list.append(CstInputValue::String((*text).clone()));
            }
            !missing.is_empty()
        }
        Extra::Members(_, members) => {
            let Some(object) = object_in_place_of_null(&found) else {
                return false;
            };
            let is_missing = |(name, _): &&(String, Value)| member(&object, name).is_none();
            let missing: Vec<_> = members.iter().filter(is_missing).collect();
            for (name, value) in &missing {
                object.append(name, input(value));
            }
            !missing.is_empty()
        }
    }
}

fn remove(root: &CstRootNode, position: EntryPosition<'_>) -> Result<EditChange, EditError> {
    let Some(servers) = servers(root, position)? else {
        return Ok(EditChange::Nothing);
    };
    let mut change = EditChange::Nothing;
    let inner = inner_servers(&servers, position);
    for servers in inner.into_iter().chain([servers]) {
        if let Some(entry) = member(&servers, position.name) {
            check_parts("the object of servers", &servers)?;
            entry.remove();
            change = EditChange::Removed;
        }
    }
    Ok(change)
}

/// Gives a member another value. In an object, and in a list of several lines, only what differs is replaced, so
/// that comments and lines stay as they are.
fn set(member: &CstObjectProp, value: &Value) {
    match (member.object_value(), member.array_value(), value) {
        (Some(object), _, Value::Object(new)) => set_members(&object, new),
        (_, Some(list), Value::Array(new)) if list.to_string().contains('\n') => {
            set_elements(&list, new);
        }
        _ => member.set_value(input(value)),
    }
}

fn set_members(object: &CstObject, new: &Map<String, Value>) {
    for (name, value) in new {
        match member(object, name) {
            Some(member) if member.to_serde_value().as_ref() == Some(value) => {}
            Some(member) => set(&member, value),
            None => {
                object.append(name, input(value));
            }
        }
    }
}

fn set_elements(list: &CstArray, new: &[Value]) {
    let elements = list.elements();
    let old: Vec<_> = elements.iter().map(CstNode::to_serde_value).collect();
    let is_same = |(old, new): &(&Option<Value>, &Value)| old.as_ref() == Some(*new);
    let tail = old.iter().rev().zip(new.iter().rev());
    let tail = tail.take_while(is_same).count();
    let (old_rest, new_rest) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let head = old_rest.iter().zip(new_rest).take_while(is_same).count();
    for element in elements.into_iter().take(old_rest.len()).skip(head) {
        element.remove();
    }
    for (index, value) in new_rest.iter().enumerate().skip(head) {
        list.insert(index, input(value));
    }
}

fn check_parts(name: &str, object: &CstObject) -> Result<(), EditError> {
    bounds::check_parts(name, object.children().len())
}

/// Refuses an entry that takes too long to edit, by itself or by a member.
fn check_entry(name: &str, entry: &CstObject) -> Result<(), EditError> {
    let name = format!("{name:?}");
    check_parts(&name, entry)?;
    let members = entry.properties();
    bounds::check_members(&name, members.len())?;
    for member in members {
        let parts = match member.value() {
            Some(CstNode::Container(value)) => value.children().len(),
            Some(CstNode::Leaf(_)) | None => continue,
        };
        bounds::check_parts(&format!("a member of {name}"), parts)?;
    }
    Ok(())
}

/// The object that holds the servers, if there are any.
fn servers(
    root: &CstRootNode,
    position: EntryPosition<'_>,
) -> Result<Option<CstObject>, EditError> {
    let file = match root.value() {
        Some(CstNode::Container(file)) => file.as_object().ok_or_else(not_a_file)?,
        Some(value) if value.as_null_keyword().is_some() => return Ok(None),
        Some(CstNode::Leaf(_)) => return Err(not_a_file()),
        None => return Ok(None),
    };
    let mut servers = file;
    for key in position.servers {
        let Some(found) = member(&servers, key).filter(|found| !is_null(found)) else {
            return Ok(None);
        };
        servers = found.object_value().ok_or_else(|| no_object(key))?;
    }
    Ok(Some(servers))
}

/// The object inside the servers' object that holds them instead. An entry of that name is none: it has a type, a
/// command or a URL.
fn inner_servers(servers: &CstObject, position: EntryPosition<'_>) -> Option<CstObject> {
    let inner = member(servers, position.inner?)?.object_value()?;
    let is_entry = ["type", "command", "url"]
        .iter()
        .any(|name| member(&inner, name).is_some_and(|member| member.object_value().is_none()));
    (!is_entry).then_some(inner)
}

fn is_null(member: &CstObjectProp) -> bool {
    let value = member.value();
    value.is_some_and(|value| value.as_null_keyword().is_some())
}

/// The object that a member holds. Apps write `null` where there are none yet.
fn object_in_place_of_null(member: &CstObjectProp) -> Option<CstObject> {
    if is_null(member) {
        member.set_value(CstInputValue::Object(Vec::new()));
    }
    member.object_value()
}

/// The member that counts: the last of its name, as for the parsers of the apps.
fn member(object: &CstObject, name: &str) -> Option<CstObjectProp> {
    let mut members = object.properties().into_iter().rev();
    members.find(|member| member.decoded_name().as_deref() == Some(name))
}

fn not_a_file() -> EditError {
    EditError::NotAnObject("the file".to_owned(), Format::Json)
}

fn no_object(key: &str) -> EditError {
    EditError::NotAnObject(format!("{key:?}"), Format::Json)
}

fn object(members: &[(&'static str, Value)]) -> CstInputValue {
    let members = members.iter();
    let members = members.map(|(name, value)| ((*name).to_owned(), input(value)));
    CstInputValue::Object(members.collect())
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(value) => CstInputValue::Number(value.to_string()),
        Value::String(value) => CstInputValue::String(value.clone()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::Object(values) => {
            let members = values.iter();
            let members = members.map(|(name, value)| (name.clone(), input(value)));
            CstInputValue::Object(members.collect())
        }
    }
}
