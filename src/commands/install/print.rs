//! `mcp-bridge install --print`: an entry to be pasted into the file of an app that is not in the table.

use std::ffi::OsString;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::apps::Format;
use super::edit::{EntryPosition, Wish, edit};
use super::entry::NewEntry;
use super::yaml;

/// A format for `--print`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PrintFormat {
    /// That of the app.
    #[value(hide = true)]
    App,
    Json,
    Toml,
    Yaml,
}

impl PrintFormat {
    /// A file with an entry that starts `program` with `arguments`, in the commonest form.
    pub(super) fn entry(self, name: &str, program: &str, arguments: &[String]) -> String {
        let members = [("command", json!(program)), ("args", json!(arguments))];
        self.file(name, &members)
    }

    /// A file with an entry of these members.
    pub(super) fn file(self, name: &str, members: &[(&'static str, Value)]) -> String {
        let (format, servers) = match self {
            Self::App | Self::Json => (Format::Json, ["mcpServers"]),
            Self::Toml => (Format::Toml, ["mcp_servers"]),
            Self::Yaml => return yaml::list("mcpServers", name, members),
        };
        let position = EntryPosition {
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

/// The arguments with the format behind `install --print` in one word with it. The format may be left out, so the
/// word behind `--print` is a format only if it is the name of one.
pub(in crate::commands) fn with_format_joined(mut args: Vec<OsString>) -> Vec<OsString> {
    if args.get(1).is_none_or(|command| command != "install") {
        return args;
    }
    let end = args.iter().position(|word| word == "--");
    let words = &args[..end.unwrap_or(args.len())];
    let Some(option) = words.iter().position(|word| word == "--print") else {
        return args;
    };
    let format = words.get(option + 1).and_then(|word| word.to_str());
    let Some(format) = format.filter(|word| matches!(*word, "json" | "toml" | "yaml")) else {
        return args;
    };
    args[option] = format!("--print={format}").into();
    args.remove(option + 1);
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_may_stand_in_a_word_of_its_own() {
        for (line, expected) in [
            ("x install --print json a b", "x install --print=json a b"),
            (
                "x install a b --print yaml -- c",
                "x install a b --print=yaml -- c",
            ),
            ("x install --print a b", "x install --print a b"),
            ("x install a b --print", "x install a b --print"),
            (
                "x install a b -- --print json",
                "x install a b -- --print json",
            ),
            ("x call --print json", "x call --print json"),
        ] {
            let words = line.split(' ').map(OsString::from).collect();
            let joined = with_format_joined(words);
            let expected: Vec<_> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(joined, expected);
        }
    }
}
