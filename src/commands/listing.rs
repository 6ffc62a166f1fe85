//! Layout of lists: tools, resources and prompts of a server, for people or as JSON.

use std::io::{self, Write};

use serde_json::value::RawValue;

use super::json;
use super::text::{columns, cut, first_line, padded};
use mcp_bridge_text::printable;

/// The longest name and type of an argument that others are lined up with.
const MAX_COLUMN: usize = 24;

/// An element of a list.
#[derive(Debug, Default)]
pub(super) struct ListItem {
    /// The word by which commands refer to it.
    pub(super) name: String,
    /// Short remarks behind the name.
    pub(super) marks: Vec<String>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) arguments: Vec<ListedArgument>,
}

/// An argument of an element.
#[derive(Debug)]
pub(super) struct ListedArgument {
    pub(super) name: String,
    /// Type of its values, and a mark if it is required.
    pub(super) kind: String,
    pub(super) description: Option<String>,
}

/// Writes lists as the members of one object, with an element a line, so that they can be read and compared.
pub(super) fn write_json(
    out: &mut impl Write,
    lists: &[(&str, Vec<Box<RawValue>>)],
) -> io::Result<()> {
    let lists: Vec<_> = lists
        .iter()
        .map(|(member, items)| {
            let items: Vec<_> = items.iter().map(|it| json::for_output(it.get())).collect();
            format!("\"{member}\":[\n{}\n]", items.join(",\n"))
        })
        .collect();
    writeln!(out, "{{{}}}", lists.join(",\n"))
}

/// Writes a list for a person whose terminal is so wide.
pub(super) fn write_items(
    out: &mut impl Write,
    items: &[ListItem],
    width: Option<usize>,
) -> io::Result<()> {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        write_item(out, item, width)?;
    }
    Ok(())
}

fn write_item(out: &mut impl Write, item: &ListItem, width: Option<usize>) -> io::Result<()> {
    let name = printable::line(&item.name);
    if item.marks.is_empty() {
        writeln!(out, "{}", bold(&name, width))?;
    } else {
        let marks = item.marks.join(", ");
        writeln!(out, "{}  ({})", bold(&name, width), printable::line(&marks))?;
    }
    let said = [&item.title, &item.description];
    let said = said.into_iter().flatten().map(String::as_str);
    let said: Vec<_> = said.map(|text| first_line(text, None)).collect();
    write_line(out, "  ", &said.join(": "), width)?;
    write_arguments(out, &item.arguments, width)
}

fn write_arguments(
    out: &mut impl Write,
    arguments: &[ListedArgument],
    width: Option<usize>,
) -> io::Result<()> {
    let names: Vec<_> = arguments
        .iter()
        .map(|argument| printable::line(&argument.name))
        .collect();
    let name_width = widest(names.iter());
    let kind_width = widest(arguments.iter().map(|argument| &argument.kind));
    for (argument, name) in arguments.iter().zip(&names) {
        let description = argument.description.as_deref().unwrap_or_default();
        let description = first_line(description, None);
        let line = format!(
            "{}  {}  {description}",
            padded(name, name_width),
            padded(&argument.kind, kind_width)
        );
        write_line(out, "    ", line.trim_end(), width)?;
    }
    Ok(())
}

/// The width that texts are lined up at.
fn widest<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts
        .map(|text| columns(text))
        .filter(|width| *width <= MAX_COLUMN)
        .max()
        .unwrap_or(0)
}

/// A line, cut to the terminal; nothing if there is nothing in it.
fn write_line(
    out: &mut impl Write,
    indent: &str,
    text: &str,
    width: Option<usize>,
) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let room = width.map(|width| width.saturating_sub(indent.len()));
    let text = room.map_or_else(|| text.to_owned(), |room| cut(text, room));
    writeln!(out, "{indent}{text}")
}

/// On a terminal, names stand out.
fn bold(text: &str, width: Option<usize>) -> String {
    if width.is_none() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    format!("\u{1b}[1m{text}\u{1b}[0m")
}
