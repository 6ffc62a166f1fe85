//! Entries in TOML.

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, value};

use super::apps::Format;
use super::bounds;
use super::edit::{EditChange, EditError, Edited, EntryPosition, Servers, Wish};
use super::entry::{Extra, NewEntry};

pub(super) fn edit(
    text: &str,
    position: EntryPosition<'_>,
    wish: Wish<'_>,
) -> Result<Edited, EditError> {
    let mut file = parse(text)?;
    if !keeps_order(&file, text) {
        return Err(EditError::Unsafe);
    }
    let mut lost_headers = Vec::new();
    let change = match wish {
        Wish::Put(entry) => put(&mut file, position, entry, &mut lost_headers)?,
        Wish::Remove => remove(&mut file, position)?,
    };
    Ok(Edited {
        text: match change {
            EditChange::Nothing => text.to_owned(),
            EditChange::Added | EditChange::Changed | EditChange::Removed => file.to_string(),
        },
        change,
        lost_headers,
    })
}

/// The servers, by name.
pub(super) fn entries(text: &str, position: EntryPosition<'_>) -> Result<Servers, EditError> {
    let file = parse(text)?;
    let mut servers: &dyn TableLike = file.as_table();
    for key in position.servers {
        let Some(found) = servers.get(key) else {
            return Ok(Vec::new());
        };
        servers = found.as_table_like().ok_or_else(|| no_table(key))?;
    }
    let entries = servers.iter();
    let entries = entries.filter_map(|(name, entry)| Some((name, entry.as_table_like()?)));
    Ok(entries
        .map(|(name, entry)| (name.to_owned(), json_object(entry)))
        .collect())
}

/// Returns whether the editor writes the lines in the order that they have: it puts dotted keys of one table together.
fn keeps_order(file: &DocumentMut, text: &str) -> bool {
    let visible = |letter: &char| !letter.is_whitespace() && *letter != '\u{feff}';
    let written = file.to_string();
    written
        .chars()
        .filter(visible)
        .eq(text.chars().filter(visible))
}

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error| syntax(text, &error))
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
    position: EntryPosition<'_>,
    new: NewEntry<'_>,
    lost_headers: &mut Vec<String>,
) -> Result<EditChange, EditError> {
    let mut is_inline = false;
    let mut servers: &mut dyn TableLike = file.as_table_mut();
    for key in position.servers {
        let mut table = Table::new();
        table.set_implicit(true);
        let found = servers.entry(key).or_insert(Item::Table(table));
        is_inline = found.is_inline_table();
        servers = found.as_table_like_mut().ok_or_else(|| no_table(key))?;
    }
    let Some(entry) = servers
        .get_mut(position.name)
        .and_then(Item::as_table_like_mut)
    else {
        let change = if servers.contains_key(position.name) {
            EditChange::Changed
        } else {
            EditChange::Added
        };
        let mut entry = Table::new();
        for (name, value) in new.fresh() {
            entry.insert(name, item(&value));
        }
        let entry = if is_inline {
            value(entry.into_inline_table())
        } else {
            Item::Table(entry)
        };
        servers.insert(position.name, entry);
        return Ok(change);
    };
    bounds::check_members(&format!("{:?}", position.name), entry.len())?;
    let old = json_object(entry);
    *lost_headers = NewEntry::lost_headers(&old);
    Ok(merge(entry, new, &old))
}

fn merge(entry: &mut dyn TableLike, new: NewEntry<'_>, old: &Map<String, Value>) -> EditChange {
    let mut change = EditChange::Nothing;
    for name in new.unwanted(old) {
        if entry.remove(&name).is_some() {
            change = EditChange::Changed;
        }
    }
    for (name, value) in new.members {
        match entry.get_mut(name) {
            Some(found) if is_same(found, value) => continue,
            Some(found) => set(found, value),
            None => {
                entry.insert(name, item(value));
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
fn supply(entry: &mut dyn TableLike, extra: &Extra) -> bool {
    let (name, fresh) = extra.fresh();
    let Some(found) = entry.get_mut(name) else {
        entry.insert(name, item(&fresh));
        return true;
    };
    match extra {
        Extra::Member(..) => false,
        Extra::Elements(_, texts) => {
            let Some(list) = found.as_array_mut() else {
                return false;
            };
            let has = |list: &Array, text: &str| list.iter().any(|it| names(it) == Some(text));
            let texts = texts.iter().filter(|text| !has(list, text));
            let missing: Vec<_> = texts.cloned().collect();
            list.extend(missing.iter().map(String::as_str));
            !missing.is_empty()
        }
        Extra::Members(_, members) => {
            let Some(table) = found.as_table_like_mut() else {
                return false;
            };
            let missing = members.iter().filter(|(name, _)| !table.contains_key(name));
            let missing: Vec<_> = missing.cloned().collect();
            for (name, value) in &missing {
                table.insert(name, item(value));
            }
            !missing.is_empty()
        }
    }
}

/// A text, or the text that a table in its place has as `name`.
fn names(element: &toml_edit::Value) -> Option<&str> {
    let name = || element.as_inline_table()?.get("name")?.as_str();
    element.as_str().or_else(name)
}

fn remove(file: &mut DocumentMut, position: EntryPosition<'_>) -> Result<EditChange, EditError> {
    let mut servers: &mut dyn TableLike = file.as_table_mut();
    for key in position.servers {
        let Some(found) = servers.get_mut(key) else {
            return Ok(EditChange::Nothing);
        };
        servers = found.as_table_like_mut().ok_or_else(|| no_table(key))?;
    }
    Ok(match servers.remove(position.name) {
        Some(_) => EditChange::Removed,
        None => EditChange::Nothing,
    })
}

fn no_table(key: &str) -> EditError {
    EditError::NotAnObject(format!("{key:?}"), Format::Toml)
}

/// The members of a table as JSON; dates are `null`.
fn json_object(table: &dyn TableLike) -> Map<String, Value> {
    let members = table.iter();
    members
        .map(|(name, item)| (name.to_owned(), json(item)))
        .collect()
}

fn json(item: &Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return json_object(table).into();
    }
    item.as_value().map(json_value).unwrap_or_default()
}

fn json_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => text.value().as_str().into(),
        toml_edit::Value::Integer(number) => (*number.value()).into(),
        toml_edit::Value::Float(number) => (*number.value()).into(),
        toml_edit::Value::Boolean(is_on) => (*is_on.value()).into(),
        toml_edit::Value::Array(values) => values.iter().map(json_value).collect(),
        toml_edit::Value::InlineTable(table) => json_object(table).into(),
        toml_edit::Value::Datetime(_) => Value::Null,
    }
}

/// Gives a member another value. Of a list that only loses elements at its beginning the rest stays as it is.
fn set(found: &mut Item, wanted: &Value) {
    if let (Some(list), Value::Array(wanted)) = (found.as_array_mut(), wanted) {
        let is_same = |(old, new): (&toml_edit::Value, &Value)| old.as_str() == new.as_str();
        let extra = list.len().saturating_sub(wanted.len());
        if list.iter().skip(extra).zip(wanted).all(is_same) && list.len() == extra + wanted.len() {
            let decor = list.get(0).map(|first| first.decor().clone());
            let mut place = 0;
            list.retain(|_| {
                place += 1;
                place > extra
            });
            if let (Some(first), Some(decor)) = (list.get_mut(0), decor) {
                *first.decor_mut() = decor;
            }
            return;
        }
    }
    *found = item(wanted);
}

/// A member of an entry: a text, a list of texts, a switch, a whole number, or a table of such members.
fn item(member: &Value) -> Item {
    match member {
        Value::Array(texts) => value(texts.iter().filter_map(Value::as_str).collect::<Array>()),
        Value::Bool(switch) => value(*switch),
        Value::Number(number) => value(number.as_i64().unwrap_or_default()),
        Value::Object(members) => {
            let mut table = InlineTable::new();
            for (name, member) in members {
                if let Ok(member) = item(member).into_value() {
                    table.insert(name, member);
                }
            }
            value(table)
        }
        Value::Null | Value::String(_) => value(member.as_str().unwrap_or_default()),
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
