//! `mcp-bridge install --print`: an entry to be pasted into the file of an app that is not in the table.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::apps::{AppConfiguration, Format, Scope};
use super::edit::{EntryPosition, Wish, edit};
use super::entry::NewEntry;
use super::error::InstallError;
use super::{Args, Host, flags, yaml};

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

impl Host<'_> {
    /// Prints an entry for an app that is not in the table.
    pub(super) fn print_for_any_app(self, args: &Args) -> Result<ExitCode, InstallError> {
        let style = args.print.filter(|style| *style != PrintFormat::App);
        let style = style.ok_or(InstallError::NoClient)?;
        let url = args.url.as_deref().unwrap_or_default();
        let (program, arguments) = self.command(args, url, &mut Vec::new())?;
        for variable in flags::variables(&args.flags) {
            eprintln!("note: the bridge will look for {variable} in its environment\n");
        }
        let text = style.entry(args.name(), &program, &arguments);
        self.out.write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints a file that holds the entry and nothing else; on stderr, where it belongs.
    pub(super) fn print(
        &mut self,
        args: &Args,
        app: &AppConfiguration,
        scope: Scope<'_>,
        position: EntryPosition<'_>,
        entry: NewEntry<'_>,
    ) -> Result<ExitCode, InstallError> {
        let path = match self.files(args, app, scope) {
            Ok(mut files) => files.pop().unwrap_or_default(),
            Err(InstallError::NoHome | InstallError::NoFile { .. }) => PathBuf::new(),
            Err(error) => return Err(error),
        };
        if !path.as_os_str().is_empty() {
            eprintln!("This belongs in {}:\n", path.display());
        }
        let text = match args.print {
            Some(PrintFormat::App) | None => fresh_file(position, entry)?,
            Some(style) => style.file(args.name(), &entry.fresh()),
        };
        self.out.write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints what has to be pasted into the settings of an app without a file; on stderr, where.
    pub(super) fn print_for_menu(
        self,
        app: &AppConfiguration,
        menu: &str,
        position: EntryPosition<'_>,
        entry: NewEntry<'_>,
        remove: bool,
    ) -> Result<ExitCode, InstallError> {
        let title = app.title;
        if remove {
            writeln!(
                self.out,
                "{title} keeps its servers in its settings. Remove it there: {menu}."
            )?;
            return Ok(ExitCode::FAILURE);
        }
        eprintln!("{title} keeps its servers in its settings; paste this there: {menu}.\n");
        self.out
            .write_all(fresh_file(position, entry)?.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A file that holds the entry and nothing else.
fn fresh_file(position: EntryPosition<'_>, entry: NewEntry<'_>) -> Result<String, InstallError> {
    let path = PathBuf::new();
    let whole = edit("", position, Wish::Put(entry));
    let whole = whole.map_err(|error| InstallError::Edit { path, error })?;
    Ok(whole.text)
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
