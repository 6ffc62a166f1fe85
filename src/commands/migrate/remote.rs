//! Entries with a URL, which an app connects to by itself, as command lines of the bridge.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::conversion::check;
use super::oauth::{self, OAuth};
use super::sign_in::{self, PreviousProgram};
use crate::commands::install::program::EntryCommand;
use crate::commands::install::rewrite::EntryChange;
use crate::commands::install::survey::ConfigLocation;
use crate::commands::install::{flags, launch};

/// Members that hold the URL, by app.
const URL: [&str; 4] = ["url", "serverUrl", "httpUrl", "uri"];

/// Names of headers that let a client in.
const NAMES_OF_SECRETS: [&str; 8] = [
    "auth",
    "cookie",
    "cred",
    "key",
    "passw",
    "secret",
    "signature",
    "token",
];

/// The URL of an entry.
pub(in crate::commands) fn url(entry: &Map<String, Value>) -> Option<&str> {
    URL.iter().find_map(|name| entry.get(*name)?.as_str())
}

/// The meaning of the entry, as arguments and variables of the bridge.
#[derive(Debug, Default)]
struct Remote {
    port: Option<String>,
    flags: Vec<String>,
    /// Variables that the entry sets.
    environment: BTreeMap<String, String>,
    has_authorization: bool,
}

/// The entry as one that starts the bridge by `command`. Fails with what the bridge has nothing for.
pub(super) fn convert(
    place: &ConfigLocation,
    name: &str,
    entry: &Map<String, Value>,
    command: &EntryCommand,
) -> Result<EntryChange, String> {
    let url = url(entry).ok_or("it has no URL")?;
    let mut remote = Remote {
        environment: launch::environment(entry),
        ..Remote::default()
    };
    let (sign_in, others): (Vec<_>, Vec<_>) = entry
        .iter()
        .filter(|(_, value)| !is_empty(value))
        .partition(|(member, _)| oauth::is_about(member));
    for (member, value) in others {
        remote.add(place, name, member, value)?;
    }
    let mut oauth = OAuth::default();
    for (member, value) in sign_in {
        oauth.add(member, value, remote.has_authorization)?;
    }
    let mut notes = Vec::new();
    notes.extend(oauth.add_redirect_uri_of(place.client.app().name)?);
    remote.add_oauth(name, oauth);
    let arguments = remote.arguments(url);
    let flags = check(&arguments)?;
    notes.insert(
        0,
        sign_in::outcome(flags, &remote.environment, &arguments, PreviousProgram::App),
    );
    let mut members = place.entry(name, &command.program, &command.arguments(&arguments));
    if !remote.environment.is_empty() {
        members.push((place.environment(), json!(remote.environment)));
    }
    let named = flags::variables(&arguments).into_iter();
    let named = named.filter(|name| !remote.environment.contains_key(*name));
    let extras = place.extras(&named.collect::<Vec<_>>());
    let stays = |member: &&String| {
        let is_set = members.iter().any(|(set, _)| set == member);
        !is_set && !place.kept().contains(&member.as_str())
    };
    let removed = entry.keys().filter(stays).cloned().collect();
    Ok(EntryChange {
        members,
        extras,
        removed,
        notes,
    })
}

impl Remote {
    fn add(
        &mut self,
        place: &ConfigLocation,
        name: &str,
        member: &str,
        value: &Value,
    ) -> Result<(), String> {
        let wrong = || format!("\"{member}\" is not understood");
        match member {
            "type" | "transport" | "transportType" => {
                self.add_transport(value.as_str().ok_or_else(wrong)?)
            }
            "headers" | "http_headers" => {
                self.add_headers(name, value.as_object().ok_or_else(wrong)?)
            }
            "requestInit" | "requestOptions" | "request_init" => {
                let options = value.as_object().ok_or_else(wrong)?;
                match options.iter().find(|(option, _)| *option != "headers") {
                    Some((option, _)) => Err(without_counterpart(option)),
                    None => options
                        .get("headers")
                        .and_then(Value::as_object)
                        .map_or(Ok(()), |headers| self.add_headers(name, headers)),
                }
            }
            "env_http_headers" => {
                for (header, variable) in value.as_object().ok_or_else(wrong)? {
                    let variable = variable.as_str().ok_or_else(wrong)?;
                    self.add_header_of_variable(header, variable);
                }
                Ok(())
            }
            "bearer_token_env_var" => {
                let variable = value.as_str().ok_or_else(wrong)?.to_owned();
                self.flags.extend(["--bearer-env".to_owned(), variable]);
                self.has_authorization = true;
                Ok(())
            }
            "bearer_token" => {
                let token = value.as_str().ok_or_else(wrong)?;
                self.add_secret(name, "Authorization", format!("Bearer {token}"));
                Ok(())
            }
            "source" => Ok(()),
            _ if URL.contains(&member) || member == place.environment() => Ok(()),
            _ if place.kept().contains(&member) => Ok(()),
            _ => Err(without_counterpart(member)),
        }
    }

    fn add_transport(&mut self, transport: &str) -> Result<(), String> {
        match transport
            .to_ascii_lowercase()
            .replace(['-', '_'], "")
            .as_str()
        {
            "http" | "streamablehttp" | "streamable" | "remote" => Ok(()),
            "sse" => {
                self.flags
                    .extend(["--transport", "sse-first"].map(str::to_owned));
                Ok(())
            }
            _ => Err(format!("the bridge has no transport \"{transport}\"")),
        }
    }

    fn add_headers(&mut self, name: &str, headers: &Map<String, Value>) -> Result<(), String> {
        for (header, value) in headers {
            let value = value
                .as_str()
                .ok_or_else(|| format!("the value of the header {header} is no text"))?;
            let lower = header.to_ascii_lowercase();
            let is_plain = !NAMES_OF_SECRETS.iter().any(|part| lower.contains(part))
                && !value.contains(['$', '{']);
            if is_plain {
                self.flags
                    .extend(["--header".to_owned(), format!("{header}: {value}")]);
            } else {
                self.add_secret(name, header, value.to_owned());
            }
        }
        Ok(())
    }

    /// A header whose value stands among the variables of the entry, where the app fills in what it filled into
    /// headers, and not on the command line, which other users of the machine see.
    fn add_secret(&mut self, name: &str, header: &str, value: String) {
        let variable = variable_name(name, header);
        self.flags
            .extend(["--header-env".to_owned(), format!("{header}={variable}")]);
        self.environment.insert(variable, value);
        self.has_authorization |= header.eq_ignore_ascii_case("authorization");
    }

    fn add_header_of_variable(&mut self, header: &str, variable: &str) {
        self.flags
            .extend(["--header-env".to_owned(), format!("{header}={variable}")]);
        self.has_authorization |= header.eq_ignore_ascii_case("authorization");
    }

    fn add_oauth(&mut self, name: &str, oauth: OAuth) {
        self.port = oauth.port;
        self.flags.extend(oauth.flags);
        if let Some(secret) = oauth.client_secret {
            let variable = variable_name(name, "client_secret");
            self.flags
                .extend(["--client-secret-env".to_owned(), variable.clone()]);
            self.environment.insert(variable, secret);
        }
    }

    fn arguments(&self, url: &str) -> Vec<String> {
        let words = [Some(url.to_owned()), self.port.clone()];
        words
            .into_iter()
            .flatten()
            .chain(self.flags.iter().cloned())
            .collect()
    }
}

/// A name for a variable of the entry: `LINEAR_AUTHORIZATION`.
fn variable_name(entry: &str, what: &str) -> String {
    let part = |text: &str| -> String {
        let letters = text.chars().map(|letter| match letter {
            letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
            _ => '_',
        });
        letters.collect()
    };
    let name = format!("{}_{}", part(entry), part(what));
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        format!("MCP_{name}")
    } else {
        name
    }
}

pub(super) fn without_counterpart(member: &str) -> String {
    format!("the bridge has nothing for its \"{member}\"")
}

/// Values that say nothing: `null`, an empty text, object or list.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
