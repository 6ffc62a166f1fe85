//! Members of an entry that an app has already, sorted into those that stay beside a command and those that do not.

use serde_json::{Map, Value};

/// Members that say how to reach a remote server. An app that finds them beside a command would refuse the entry,
/// or not know which is meant.
const OF_ANOTHER_TRANSPORT: [&str; 16] = [
    "args",
    "auth",
    "authProviderType",
    "bearer_token",
    "bearer_token_env_var",
    "env_http_headers",
    "headers",
    "headersHelper",
    "http_headers",
    "httpUrl",
    "oauth",
    "oauth_resource",
    "serverUrl",
    "transport",
    "type",
    "url",
];

/// Members by which a person has agreed beforehand to what the server's tools do.
const APPROVALS: [&str; 5] = [
    "alwaysAllow",
    "autoApprove",
    "default_tools_approval_mode",
    "tools",
    "trust",
];

/// Members that hold headers by name, or one `Authorization` header.
const HEADERS: [&str; 3] = ["env_http_headers", "headers", "http_headers"];
const BEARER_TOKENS: [&str; 2] = ["bearer_token", "bearer_token_env_var"];

/// A member that an entry gets where it does not have it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::commands) enum Extra {
    /// A member with this value, unless there is one.
    Member(&'static str, Value),
    /// A list that has these texts among others.
    Elements(&'static str, Vec<String>),
    /// An object that has these members among others.
    Members(&'static str, Vec<(String, Value)>),
}

/// An entry that starts the bridge for the server at `url`.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewEntry<'a> {
    pub(super) members: &'a [(&'static str, Value)],
    pub(super) extras: &'a [Extra],
    /// The members of a remote entry that mean the same beside a command.
    pub(super) kept: &'a [&'a str],
    pub(super) url: &'a str,
    /// The members of an existing entry that go, where that has been decided already.
    pub(super) removed: Option<&'a [String]>,
}

impl Extra {
    /// The member as it stands in a new entry.
    pub(super) fn fresh(&self) -> (&'static str, Value) {
        match self {
            Self::Member(name, value) => (name, value.clone()),
            Self::Elements(name, texts) => (name, texts.clone().into()),
            Self::Members(name, members) => (name, members.iter().cloned().collect()),
        }
    }
}

impl NewEntry<'_> {
    /// All members of an entry that is not there yet.
    pub(super) fn fresh(&self) -> Vec<(&'static str, Value)> {
        let extras = self.extras.iter().map(Extra::fresh);
        self.members.iter().cloned().chain(extras).collect()
    }

    /// The members of the entry `old` that must not stay.
    pub(super) fn unwanted(&self, old: &Map<String, Value>) -> Vec<String> {
        if let Some(removed) = self.removed {
            return removed.to_vec();
        }
        let is_remote = !old.contains_key("command") && !old.contains_key("cmd");
        let is_approved = old.values().any(|value| self.is_in(value));
        let is_unwanted = |(name, value): &(&String, &Value)| {
            let name = name.as_str();
            if self.members.iter().any(|(wanted, _)| *wanted == name) {
                return false;
            }
            let is_switched_off = matches!(
                (name, value),
                ("disabled", Value::Bool(true)) | ("enabled", Value::Bool(false))
            );
            is_switched_off
                || OF_ANOTHER_TRANSPORT.contains(&name)
                || (is_remote && !self.kept.contains(&name))
                || (!is_approved && APPROVALS.contains(&name))
        };
        let unwanted = old.iter().filter(is_unwanted);
        unwanted.map(|(name, _)| name.clone()).collect()
    }

    /// The names of headers that the entry `old` sent by itself.
    pub(super) fn lost_headers(old: &Map<String, Value>) -> Vec<String> {
        let by_name = HEADERS
            .iter()
            .filter_map(|member| old.get(*member)?.as_object());
        let mut names: Vec<_> = by_name.flat_map(Map::keys).cloned().collect();
        if BEARER_TOKENS.iter().any(|member| old.contains_key(*member)) {
            names.push("Authorization".to_owned());
        }
        names
    }

    /// True if a member names the same server.
    fn is_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => text.trim_end_matches('/') == self.url.trim_end_matches('/'),
            Value::Array(values) => values.iter().any(|value| self.is_in(value)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unwanted(old: &Value) -> Vec<String> {
        let members = [("command", json!("mcp-bridge")), ("args", json!([]))];
        let new = NewEntry {
            members: &members,
            extras: &[],
            kept: &["env", "trust", "disabled"],
            url: "https://example.com/mcp",
            removed: None,
        };
        new.unwanted(old.as_object().unwrap())
    }

    #[test]
    fn of_a_remote_entry_stays_what_an_entry_with_a_command_has_too() {
        let old = json!({
            "type": "http", "url": "https://example.com/mcp/", "oauth": {}, "somethingNew": 1,
            "env": {}, "trust": true, "disabled": false, "args": [],
        });
        assert_eq!(unwanted(&old), ["oauth", "somethingNew", "type", "url"]);
    }

    #[test]
    fn of_a_command_stays_what_is_not_about_a_transport() {
        let old = json!({"command": "npx", "args": ["https://example.com/mcp"], "somethingNew": 1,
            "url": "https://example.com/mcp", "tools": {}});
        assert_eq!(unwanted(&old), ["url"]);
    }

    #[test]
    fn what_was_agreed_to_for_another_server_does_not_stay() {
        for old in [
            json!({"url": "https://other.example/mcp", "trust": true}),
            json!({"command": "npx", "args": ["-y", "other"], "trust": true}),
        ] {
            assert!(unwanted(&old).contains(&"trust".to_owned()), "{old}");
        }
    }

    #[test]
    fn an_entry_that_was_switched_off_is_on_again() {
        let old = json!({"command": "x", "disabled": true, "enabled": false});
        assert_eq!(unwanted(&old), ["disabled", "enabled"]);
        let old = json!({"command": "x", "disabled": false, "enabled": true});
        assert!(unwanted(&old).is_empty());
    }

    #[test]
    fn headers_are_named_without_their_values() {
        let old = json!({"headers": {"X-A": "secret"}, "bearer_token_env_var": "T"});
        let names = NewEntry::lost_headers(old.as_object().unwrap());
        assert_eq!(names, ["X-A", "Authorization"]);
    }
}
