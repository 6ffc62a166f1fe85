//! Properties of edits of an app's configuration, see [`crate::fuzzing`].

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::CstRootNode;
use serde_json::{Value, json};

use super::apps::Format;
use super::edit::{EditChange, Edited, EntryPosition, Wish, edit};
use super::entry::NewEntry;
use super::yaml;

const NAME: &str = "example";

/// A configuration, after a byte that says which format it has: an entry that was added and removed again leaves the
/// text as it was, and one that is there already is not written twice.
///
/// # Panics
///
/// If it does not hold.
pub fn app_configuration(data: &[u8]) {
    let Some((&kind, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let position = EntryPosition {
        format: match kind {
            b'y' => Format::Yaml,
            kind if kind % 2 == 0 => Format::Json,
            _ => Format::Toml,
        },
        servers: &["mcpServers"],
        inner: None,
        name: NAME,
    };
    let members = [
        ("command", json!("mcp-bridge")),
        ("args", json!(["https://example.com/mcp"])),
    ];
    let put = || {
        Wish::Put(NewEntry {
            members: &members,
            extras: &[],
            kept: &["env"],
            url: "https://example.com/mcp",
            removed: None,
        })
    };
    let Ok(installed) = edit(text, position, put()) else {
        return;
    };
    let again = edit(&installed.text, position, put()).expect("it was edited before");
    assert_eq!(again.text, installed.text, "from {text:?}");
    assert_eq!(again.change, EditChange::Nothing);
    let removed = edit(&installed.text, position, Wish::Remove).expect("it was edited before");
    if installed.change == EditChange::Added {
        assert_restored(text, &removed, position.format);
    }
}

/// The text is as it was. Where it had no place for servers, an empty one may remain.
fn assert_restored(text: &str, removed: &Edited, format: Format) {
    assert_eq!(removed.change, EditChange::Removed);
    let after = &removed.text;
    let is_restored = match format {
        Format::Json => {
            let (before, after) = (json_value(text), json_value(after));
            let mut with_servers = before.clone();
            with_servers["mcpServers"] = json!({});
            after == before || after == with_servers
        }
        Format::Yaml => restores_yaml(text, after),
        Format::Toml => {
            let visible = |text: &str| text.split_whitespace().collect::<String>();
            let (before, after) = (visible(text), visible(after));
            after == before || after.replacen("[mcpServers]", "", 1) == before
        }
    };
    assert!(is_restored, "from {text:?} to {after:?}");
}

/// Comments and values are as they were. Where the servers had no value, they have an empty one.
fn restores_yaml(before: &str, after: &str) -> bool {
    let comments = |text: &str| text.matches('#').count();
    let values = |text: &str| {
        let text = text.trim_start_matches('\u{feff}');
        let mut values = yaml::parse(text).expect("it was edited before");
        let servers = &mut values["mcpServers"];
        if *servers == json!({}) {
            *servers = Value::Null;
        }
        values
    };
    comments(before) == comments(after) && values(before) == values(after)
}

fn json_value(text: &str) -> Value {
    let text = text.trim_start_matches('\u{feff}');
    let root = CstRootNode::parse(text, &ParseOptions::default()).expect("it was edited before");
    root.to_serde_value().unwrap_or_else(|| json!({}))
}
