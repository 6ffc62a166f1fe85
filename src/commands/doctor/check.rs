//! Names and results of checks.

use serde::Serialize;

use mcp_bridge_auth::AuthError;
use mcp_bridge_core::endpoint::Failure;

/// What is examined. The names in JSON and in text are the same, and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Name {
    Dns,
    Ipv4,
    Ipv6,
    Tls,
    Proxy,
    Endpoint,
    ContentType,
    Transport,
    Era,
    Challenge,
    ResourceMetadata,
    Issuer,
    ServerMetadata,
    Pkce,
    Registration,
    Scopes,
    Revocation,
    IssParameter,
    Token,
    Session,
    Notification,
    Tools,
    GetStream,
    VersionHeader,
    Origin,
    SessionEnd,
}

/// The parts of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Connection,
    SignIn,
    Protocol,
}

impl Part {
    /// All of them, in the order in which most servers are examined.
    pub(super) const ALL: [Self; 3] = [Self::Connection, Self::SignIn, Self::Protocol];

    /// What belongs to it, in the order in which it is examined.
    pub(super) const fn names(self) -> &'static [Name] {
        match self {
            Self::Connection => &[
                Name::Dns,
                Name::Ipv4,
                Name::Ipv6,
                Name::Tls,
                Name::Proxy,
                Name::Endpoint,
            ],
            Self::SignIn => &[
                Name::Challenge,
                Name::ResourceMetadata,
                Name::Issuer,
                Name::ServerMetadata,
                Name::Pkce,
                Name::Registration,
                Name::Scopes,
                Name::Revocation,
                Name::IssParameter,
                Name::Token,
            ],
            Self::Protocol => &[
                Name::ContentType,
                Name::Transport,
                Name::Era,
                Name::Session,
                Name::Notification,
                Name::Tools,
                Name::GetStream,
                Name::VersionHeader,
                Name::Origin,
                Name::SessionEnd,
            ],
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::SignIn => "Sign-in",
            Self::Protocol => "Protocol",
        }
    }

    pub(super) fn of(name: Name) -> Self {
        let holds = |part: &Self| part.names().contains(&name);
        Self::ALL.into_iter().find(holds).unwrap_or(Self::Protocol)
    }
}

impl Name {
    /// The name in text and in JSON.
    pub(super) fn text(self) -> String {
        let text = serde_json::to_value(self).unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// As it should be.
    Passed,
    /// It works, and something is not as it should be.
    Warning,
    /// The bridge cannot work like this, or not for this user.
    Failed,
    /// Not looked at, for the reason that is told.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Check {
    pub(super) name: Name,
    pub(super) outcome: Outcome,
    /// What was found, or why nothing was looked at.
    pub(super) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    /// Where the specification says how it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) specification: Option<&'static str>,
}

impl Check {
    pub(super) fn passed(name: Name, found: impl Into<String>) -> Self {
        Self::new(name, Outcome::Passed, found)
    }

    pub(super) fn warning(name: Name, found: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warning, found)
    }

    pub(super) fn failed(name: Name, found: impl Into<String>) -> Self {
        Self::new(name, Outcome::Failed, found)
    }

    pub(super) fn skipped(name: Name, reason: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skipped, reason)
    }

    fn new(name: Name, outcome: Outcome, found: impl Into<String>) -> Self {
        Self {
            name,
            outcome,
            found: found.into(),
            fix: None,
            specification: None,
        }
    }

    /// What the user, or whoever runs the server, can do.
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    /// What the bridge would say to do about `failure`, unless that is to ask the doctor.
    pub(super) fn fix_of(self, failure: &Failure) -> Self {
        match failure {
            Failure::Timeout(_) => self.fix(
                "it accepts the connection and does not answer: the operator of the server, or of the \
                 gateway in front of it, has to find out why",
            ),
            Failure::ConnectionLost { .. } => self.fix(
                "the operator of the server, or of the gateway in front of it, has to find out why connections break",
            ),
            Failure::InvalidResponse(_) => {
                self.fix("the URL has to be the server's MCP endpoint, and answer with JSON-RPC")
            }
            failure => self.fix(failure.hint()),
        }
    }

    /// The same for an error of the sign-in.
    pub(super) fn fix_of_auth(self, error: &AuthError) -> Self {
        match error {
            AuthError::Metadata { .. } => {
                self.fix("the server's operator has to correct that document")
            }
            error => self.fix(error.hint()),
        }
    }

    /// The document and section that a server's author should read.
    pub(super) fn specification(self, place: &'static str) -> Self {
        Self {
            specification: Some(place),
            ..self
        }
    }
}
