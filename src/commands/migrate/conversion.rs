//! Conversion of one entry of an app into one that starts the bridge.

use std::collections::{BTreeMap, HashSet};
use std::env;

use serde_json::{Map, Value};

use super::sign_in::{self, PreviousProgram};
use super::{launcher, remote};
use crate::cli::Flags;
use crate::commands::install::flags;
use crate::commands::install::launch::{self, Launch};
use crate::commands::install::program::EntryCommand;
use crate::commands::install::rewrite::{EntryChange, EntryVerdict};
use crate::commands::install::survey::{ConfigLocation, EntryCommands};

/// Entries that are converted.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    /// The names of entries; all where there are none.
    pub(super) only: &'a [String],
    pub(super) remote: RemoteEntries,
    /// The commands that start the bridge.
    pub(super) commands: &'a EntryCommands,
}

/// Fate of entries with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RemoteEntries {
    /// They are listed.
    List,
    Convert,
}

impl Selection<'_> {
    /// Fate of an entry, which is left where it cannot be converted without a loss.
    pub(super) fn verdict(
        &self,
        place: &ConfigLocation,
        name: &str,
        entry: &Map<String, Value>,
    ) -> EntryVerdict {
        if !self.only.is_empty() && !self.only.iter().any(|only| only == name) {
            return EntryVerdict::Keep;
        }
        let command = self.commands.of(place);
        let converted = match Launch::read(entry) {
            None if remote::url(entry).is_none() => return EntryVerdict::Keep,
            None if self.remote == RemoteEntries::List => return EntryVerdict::List,
            None => remote::convert(place, name, entry, command),
            Some(_) if self.commands.is_bridge(entry) => return EntryVerdict::Keep,
            Some(launch) if launcher::starts_mcp_remote(&launch.words) => {
                from_mcp_remote(place, entry, &launch, command)
            }
            Some(_) => return EntryVerdict::Keep,
        };
        converted.map_or_else(EntryVerdict::Leave, EntryVerdict::Change)
    }
}

fn from_mcp_remote(
    place: &ConfigLocation,
    entry: &Map<String, Value>,
    launch: &Launch,
    command: &EntryCommand,
) -> Result<EntryChange, String> {
    let arguments = launcher::arguments(&launch.words)?;
    let variable = |name: &str| launch.environment.get(name).map(String::as_str);
    if variable("NODE_TLS_REJECT_UNAUTHORIZED") == Some("0") {
        return Err(
            "NODE_TLS_REJECT_UNAUTHORIZED switches the check of certificates off, which the bridge does not \
             do; name the server's certificate with --ca-cert instead"
                .to_owned(),
        );
    }
    if let Some(flag) = repeated(&arguments) {
        return Err(format!(
            "{flag} stands there twice, of which mcp-remote takes the first and the bridge the last"
        ));
    }
    let flags = check(&arguments)?;
    let mut notes = vec![sign_in::outcome(
        flags,
        &launch.environment,
        &arguments,
        PreviousProgram::McpRemote,
    )];
    let wanted = flags::variables(&arguments).into_iter();
    // Others are the app's to fill in: `${env:NAME}`, `${input:id}`.
    let wanted = wanted.filter(|name| launch::is_variable(name));
    for name in wanted {
        let is_set =
            variable(name).is_some() || passes_on(entry, name) || env::var_os(name).is_some();
        if !is_set {
            notes.push(format!(
                "the bridge does not start unless the variable {name} is set; mcp-remote does without"
            ));
        }
    }
    if variable("NODE_OPTIONS").is_some() {
        notes.push("NODE_OPTIONS means nothing to the bridge".to_owned());
    }
    let (arguments, extras) = place.with_waits(entry, arguments);
    let arguments = command.arguments(&arguments);
    Ok(EntryChange {
        members: launch.members(&command.program, &arguments),
        extras,
        removed: Vec::new(),
        notes,
    })
}

/// Returns whether the app sets a variable for the program that the entry only names.
fn passes_on(entry: &Map<String, Value>, variable: &str) -> bool {
    const LISTS: [&str; 2] = ["env_keys", "env_vars"];
    let lists = LISTS.iter().filter_map(|name| entry.get(*name)?.as_array());
    lists.flatten().any(|name| name == variable)
}

/// An option that stands there twice and can have one value only.
fn repeated(arguments: &[String]) -> Option<&str> {
    const REPEATABLE: [&str; 4] = [
        "--header",
        "--header-file",
        "--ignore-tool",
        "--authorize-param",
    ];
    let flags = arguments.iter().filter(|word| word.starts_with("--"));
    let flags = flags.map(|word| word.split('=').next().unwrap_or(word));
    let mut seen = HashSet::new();
    let mut flags = flags.filter(|flag| !REPEATABLE.contains(flag));
    flags.find(|flag| !seen.insert(*flag))
}

/// The flags as the bridge will read them, with a stand-in for what the app fills into the URL.
pub(in crate::commands) fn check(arguments: &[String]) -> Result<Flags, String> {
    let words = arguments.iter().map(|word| {
        let is_url = word.contains("://") || word.starts_with("${") || word.starts_with("{env:");
        if is_url && !word.contains(' ') {
            with_stand_ins(word)
        } else {
            word.clone()
        }
    });
    let words: Vec<_> = words.collect();
    flags::parse(&words).map_err(|error| {
        let text = error.to_string();
        // clap adds tips for whoever typed it.
        text.lines().next().unwrap_or_default().to_owned()
    })
}

fn with_stand_ins(url: &str) -> String {
    const STAND_IN: &str = "variable";
    let mut whole = String::new();
    let mut rest = url;
    while let Some(start) = ["${", "{env:"]
        .iter()
        .filter_map(|open| rest.find(open))
        .min()
    {
        let (before, after) = rest.split_at(start);
        let Some((_, after)) = after.split_once('}') else {
            break;
        };
        whole.push_str(before);
        whole.push_str(STAND_IN);
        rest = after;
    }
    whole.push_str(rest);
    if whole.contains("://") {
        whole
    } else {
        format!("https://{whole}")
    }
}

/// The value of a variable, of the entry's or of this process.
pub(super) fn variable(environment: &BTreeMap<String, String>, name: &str) -> Option<String> {
    let value = environment.get(name).cloned();
    let value = value.or_else(|| env::var(name).ok());
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_app_fills_into_a_url_is_no_reason_to_refuse_it() {
        for word in [
            "https://${env:HOST}/mcp",
            "https://x.example/${input:tenant}/mcp?key=${KEY}",
            "${MCP_URL}",
            "{env:MCP_URL}",
            "{env:ORIGIN}/mcp",
            "https://x.example/mcp",
        ] {
            assert!(check(&[word.to_owned()]).is_ok(), "{word}");
        }
        for word in ["x.example/mcp", "ftp://x.example/", "http://x.example/"] {
            assert!(check(&[word.to_owned()]).is_err(), "{word}");
        }
    }
}
