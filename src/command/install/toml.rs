//! Entries in TOML.

use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use super::apps::Format;
use super::edit::{Change, EditError, Edited, Position, Wish, unwanted};

pub(super) fn edit(
    text: &str,
    position: Position<'_>,
    wish: Wish<'_>,
) -> Result<Edited, EditError> {
    let mut file: DocumentMut = text.parse().map_err(|error| syntax(text, &error))?;
    let change = match wish {
        Wish::Put(members) => put(&mut file, position, members)?,
        Wish::Remove => remove(&mut file, position)?,
    };
    Ok(Edited {
        text: match change {
            Change::Nothing => text.to_owned(),
            Change::Added | Change::Changed | Change::Removed => file.to_string(),
        },
        change,
    })
}

fn syntax(text: &str, error: &toml_edit::TomlError) -> EditError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    EditError::Syntax {
        line: before.matches('\n').count() + 1,
        column: line.chars().count() + 1,
        what: error.message().to_owned(),
    }
}

fn put(
    file: &mut DocumentMut,
    position: Position<'_>,
    members: &[(&'static str, Value)],
) -> Result<Change, EditError> {
    let mut servers = Table::new();
    servers.set_implicit(true);
    let servers = file.entry(position.servers).or_insert(Item::Table(servers));
    let is_inline = servers.is_inline_table();
    let servers = servers
        .as_table_like_mut()
        .ok_or_else(|| no_table(position))?;
    let Some(entry) = servers
        .get_mut(position.name)
        .and_then(Item::as_table_like_mut)
    else {
        let change = if servers.contains_key(position.name) {
            Change::Changed
        } else {
            Change::Added
        };
        let mut entry = Table::new();
        for (name, value) in members {
            entry.insert(name, item(value));
        }
        let entry = if is_inline {
            value(entry.into_inline_table())
        } else {
            Item::Table(entry)
        };
        servers.insert(position.name, entry);
        return Ok(change);
    };
    Ok(merge(entry, members))
}

fn merge(entry: &mut dyn TableLike, members: &[(&'static str, Value)]) -> Change {
    let mut change = Change::Nothing;
    for name in unwanted(members) {
        if entry.remove(name).is_some() {
            change = Change::Changed;
        }
    }
    for (name, value) in members {
        match entry.get_mut(name) {
            Some(found) if is_same(found, value) => continue,
            Some(found) => *found = item(value),
            None => {
                entry.insert(name, item(value));
            }
        }
        change = Change::Changed;
    }
    change
}

fn remove(file: &mut DocumentMut, position: Position<'_>) -> Result<Change, EditError> {
    let Some(servers) = file.get_mut(position.servers) else {
        return Ok(Change::Nothing);
    };
    let servers = servers
        .as_table_like_mut()
        .ok_or_else(|| no_table(position))?;
    Ok(match servers.remove(position.name) {
        Some(_) => Change::Removed,
        None => Change::Nothing,
    })
}

fn no_table(position: Position<'_>) -> EditError {
    EditError::NotAnObject(format!("{:?}", position.servers), Format::Toml)
}

/// The members of an entry are texts and lists of texts.
fn item(member: &Value) -> Item {
    match member {
        Value::Array(texts) => value(texts.iter().filter_map(Value::as_str).collect::<Array>()),
        other => value(other.as_str().unwrap_or_default()),
    }
}

fn is_same(found: &Item, wanted: &Value) -> bool {
    match wanted {
        Value::Array(texts) => found.as_array().is_some_and(|found| {
            let found = found.iter().map(toml_edit::Value::as_str);
            found.eq(texts.iter().map(Value::as_str))
        }),
        other => found.as_str().is_some() && found.as_str() == other.as_str(),
    }
}
