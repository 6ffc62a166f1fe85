//! Pretty-printed JSON.

use std::io::IsTerminal as _;

use indexmap::IndexMap;
use serde_json::value::RawValue;

use mcp_bridge_core::stdio;
use mcp_bridge_text::printable;

/// Depth to which values are indented; deeper ones stay on one line.
const MAX_DEPTH: usize = 64;

/// The value with a member or an element a line. Order, numbers and strings stay as they were spelled.
pub(super) fn pretty(json: &RawValue) -> String {
    let mut text = String::new();
    write(json, 1, &mut text);
    text
}

/// JSON as a program gets it, on one line; on a terminal with what is not printable escaped, which says the same.
pub(super) fn for_output(json: &str) -> String {
    // Line ends in JSON stand between tokens and nowhere else.
    let line = json.replace(['\r', '\n'], " ");
    if stdio::report().is_terminal() {
        printable::json(&line)
    } else {
        line
    }
}

fn write(json: &RawValue, depth: usize, text: &mut String) {
    let spelled = json.get();
    if depth <= MAX_DEPTH
        && let Ok(members) = serde_json::from_str::<IndexMap<String, &RawValue>>(spelled)
        && !members.is_empty()
    {
        let members = members.into_iter().map(|(name, value)| {
            let name = serde_json::Value::from(name);
            (format!("{name}: "), value)
        });
        return write_all(['{', '}'], members, depth, text);
    }
    if depth <= MAX_DEPTH
        && let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(spelled)
        && !elements.is_empty()
    {
        let elements = elements.into_iter().map(|value| (String::new(), value));
        return write_all(['[', ']'], elements, depth, text);
    }
    text.push_str(spelled);
}

fn write_all<'a>(
    [open, close]: [char; 2],
    values: impl Iterator<Item = (String, &'a RawValue)>,
    depth: usize,
    text: &mut String,
) {
    let indent = "  ".repeat(depth);
    text.push(open);
    for (at, (name, value)) in values.enumerate() {
        text.push_str(if at == 0 { "\n" } else { ",\n" });
        text.push_str(&indent);
        text.push_str(&name);
        write(value, depth + 1, text);
    }
    text.push('\n');
    text.push_str(&indent[2..]);
    text.push(close);
}
