//! Conversion of one entry of an app into one that starts the bridge.

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::path::Path;

use serde_json::{Map, Value};

use super::sign_in::{self, PreviousProgram};
use super::{launcher, remote};
use crate::cli::Flags;
use crate::commands::install::flags;
use crate::commands::install::launch::{self, Launch, is_bridge};
use crate::commands::install::survey::{ConfigLocation, Extra};

/// An entry as it will be.
#[derive(Debug)]
pub(super) struct Conversion {
    /// Members with their new values.
    pub(super) members: Vec<(&'static str, Value)>,
    /// Members that it gets where it does not have them.
    pub(super) extras: Vec<Extra>,
    /// Members that go.
    pub(super) removed: Vec<String>,
    /// For a person: what becomes of the sign-in, and what else there is to know.
    pub(super) notes: Vec<String>,
}

/// Meaning of an entry for the bridge.
#[derive(Debug)]
pub(super) enum ConversionResult {
    /// It starts the bridge already.
    Bridge,
    /// It starts another program.
    Local,
    /// It starts `mcp-remote`.
    McpRemote(Result<Conversion, String>),
    /// It names a URL, which the app connects to by itself.
    Remote(Result<Conversion, String>),
}

/// Finds out what the entry is, and how it could start `program` instead. Where that cannot be without a loss, the
/// finding has the reason.
pub(super) fn examine(
    place: &ConfigLocation,
    name: &str,
    entry: &Map<String, Value>,
    program: &str,
) -> ConversionResult {
    let Some(launch) = Launch::read(entry) else {
        return if remote::url(entry).is_some() {
            ConversionResult::Remote(remote::convert(place, name, entry, program))
        } else {
            ConversionResult::Local
        };
    };
    if is_bridge(entry, Path::new(program)) {
        return ConversionResult::Bridge;
    }
    if !launcher::starts_mcp_remote(&launch.words) {
        return ConversionResult::Local;
    }
    ConversionResult::McpRemote(from_mcp_remote(entry, &launch, program))
}

fn from_mcp_remote(
    entry: &Map<String, Value>,
    launch: &Launch,
    program: &str,
) -> Result<Conversion, String> {
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
    Ok(Conversion {
        members: launch.members(program, &arguments),
        extras: Vec::new(),
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
pub(super) fn check(arguments: &[String]) -> Result<Flags, String> {
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
