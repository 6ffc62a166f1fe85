//! An entry in a format of one's choice, to be pasted into the file of an app that is not in the table.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::edit::{Position, Wish, edit};
use super::entry::NewEntry;
use super::{apps::Format, yaml};

/// A format for `--print`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Style {
    Json,
    Toml,
    Yaml,
}

impl Style {
    /// A file with an entry that starts `program` with `arguments`, in the form that is the most common.
    pub(super) fn entry(self, name: &str, program: &str, arguments: &[String]) -> String {
        let members = [("command", json!(program)), ("args", json!(arguments))];
        self.members(name, &members)
    }

    /// A file with an entry of these members.
    pub(super) fn members(self, name: &str, members: &[(&'static str, Value)]) -> String {
        let (format, servers) = match self {
            Self::Json => (Format::Json, ["mcpServers"]),
            Self::Toml => (Format::Toml, ["mcp_servers"]),
            Self::Yaml => return yaml::list("mcpServers", name, members),
        };
        let position = Position {
            format,
            servers: &servers,
            inner: None,
            name,
        };
        let entry = NewEntry {
            members,
            extras: &[],
            kept: &[],
            url: "",
            removed: None,
        };
        // An empty text can always be edited.
        edit("", position, Wish::Put(entry)).map_or_else(|_| String::new(), |edited| edited.text)
    }
}
