//! Obstacle between the app and the tools of a server, in words for the one who can remove it.

use serde_json::{Value, json};

use super::local_tool::LocalTool;
use super::reply::Reply;
use mcp_bridge_auth::SignInPage;
use mcp_bridge_protocol::message::{Message, member};

/// Reason why a server cannot list its tools, where a person can do something about it.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// A person has to sign in: on this page, after this problem with the last attempt.
    SignIn {
        page: Option<SignInPage>,
        problem: Option<String>,
    },
    /// The server or the way to it is not as it has to be.
    Problem(String),
}

impl Obstacle {
    pub(super) const fn tool(&self) -> LocalTool {
        match self {
            Self::SignIn { .. } => LocalTool::SignIn,
            Self::Problem(_) => LocalTool::ConnectionStatus,
        }
    }

    /// The obstacle that an error in place of an answer tells of; `None` where that passes without a person.
    pub(super) fn of_error(error: &Reply) -> Option<Self> {
        let problem = problem_of(error);
        match error {
            Reply::Failed(failed) => Self::of_kind(failed.failure.kind(), problem),
            Reply::Response(error) => {
                let data = data_of(error);
                Self::of_kind(data["kind"].as_str().unwrap_or_default(), problem)
            }
        }
    }

    /// The obstacle behind an error of this kind.
    fn of_kind(kind: &str, problem: String) -> Option<Self> {
        match kind {
            "refused" | "unreachable" | "dns" | "timeout" | "connection_lost" | "session_lost"
            | "no_session" | "shutting_down" => None,
            // A sign-in would change nothing about these.
            "auth_command_failed"
            | "auth_configuration"
            | "auth_forbidden"
            | "auth_identity_refused"
            | "auth_no_external_token" => Some(Self::Problem(problem)),
            kind if kind.starts_with("auth_") => Some(Self::SignIn {
                page: None,
                problem: Some(problem),
            }),
            _ => Some(Self::Problem(problem)),
        }
    }

    /// The tool as it is listed.
    pub(super) fn listed(&self, host: &str) -> Value {
        let description = match self {
            Self::SignIn {
                page: Some(page), ..
            } => format!(
                "{host} wants a sign-in before its tools can be used. Ask the user to open this address \
                 in a browser on this machine: {page} . A call of this tool waits until the user has \
                 signed in."
            ),
            Self::SignIn {
                problem: Some(problem),
                ..
            } => format!(
                "{host} wants a sign-in before its tools can be used. The last attempt has failed: \
                 {problem}. A call of this tool begins another one and waits for it."
            ),
            Self::SignIn { .. } => format!(
                "{host} wants a sign-in before its tools can be used. A call of this tool waits until the \
                 user has signed in."
            ),
            Self::Problem(problem) => format!(
                "The tools of {host} are not available: {problem}. Tell the user. A call of this tool \
                 tries again."
            ),
        };
        let schema = json!({ "type": "object", "properties": {} });
        json!({ "name": self.tool().name(), "description": description, "inputSchema": schema })
    }

    /// The text for a call that has waited in vain.
    pub(super) fn unresolved(&self, host: &str) -> String {
        match self {
            Self::SignIn {
                page: Some(page), ..
            } => format!(
                "Nobody has signed in to {host} yet. Ask the user to open this address in a browser on \
                 this machine, and call this tool again: {page}"
            ),
            Self::SignIn {
                problem: Some(problem),
                ..
            }
            | Self::Problem(problem) => problem.clone(),
            Self::SignIn { .. } => format!("Nobody has signed in to {host} yet."),
        }
    }
}

/// The reason and the hint of an error of the bridge's own, or the text of another one.
pub(super) fn problem_of(error: &Reply) -> String {
    let error = match error {
        Reply::Failed(failed) => return format!("{} ({})", failed.failure, failed.failure.hint()),
        Reply::Response(error) => error,
    };
    let data = data_of(error);
    match (data["reason"].as_str(), data["hint"].as_str()) {
        (Some(reason), Some(hint)) => format!("{reason} ({hint})"),
        _ => error.error_text().map(|(_, text)| text).unwrap_or_default(),
    }
}

/// The `data` of an error.
fn data_of(error: &Message) -> Value {
    let data = error.error_json().and_then(|error| member(error, "data"));
    data.unwrap_or_default()
}
