//! Names and results of checks.

use serde::Serialize;

use mcp_bridge_auth::AuthError;
use mcp_bridge_core::endpoint::Failure;

/// Names of the checks. They are the same in JSON and in text, and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckName {
    Dns,
    Ipv4,
    Ipv6,
    Tls,
    Proxy,
    Endpoint,
    /// Only where there is one.
    ClientCertificate,
    /// Only where headers need secrets of the keychain.
    HeaderSecrets,
    /// Only where there is such a command.
    HeaderCommand,
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
    Dpop,
    Revocation,
    IssParameter,
    /// Only where one is wanted.
    SharedSignIn,
    IdentityProvider,
    ExternalToken,
    Token,
    Session,
    Notification,
    Tools,
    GetStream,
    VersionHeader,
    Origin,
    SessionEnd,
    File,
    Enabled,
    Program,
    Quoting,
    Arguments,
    Variables,
    Duplicates,
    Start,
    Initialize,
    Ping,
    ListTools,
}

/// The parts of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Connection,
    SignIn,
    Protocol,
    /// An entry of an app.
    Entry,
    /// The bridge that the entry starts.
    Run,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Connection,
        Self::SignIn,
        Self::Protocol,
        Self::Entry,
        Self::Run,
    ];

    /// Those of a server, in the order in which most servers are examined.
    pub(super) const OF_SERVER: &'static [Self] = &[Self::Connection, Self::SignIn, Self::Protocol];

    /// Those of an entry.
    pub(super) const OF_ENTRY: &'static [Self] = &[Self::Entry, Self::Run];

    /// Its checks, in order.
    pub(super) const fn names(self) -> &'static [CheckName] {
        match self {
            Self::Connection => &[
                CheckName::Dns,
                CheckName::Ipv4,
                CheckName::Ipv6,
                CheckName::Tls,
                CheckName::Proxy,
                CheckName::Endpoint,
            ],
            Self::SignIn => &[
                CheckName::Challenge,
                CheckName::ResourceMetadata,
                CheckName::Issuer,
                CheckName::ServerMetadata,
                CheckName::Pkce,
                CheckName::Registration,
                CheckName::Scopes,
                CheckName::Dpop,
                CheckName::Revocation,
                CheckName::IssParameter,
                CheckName::Token,
            ],
            Self::Protocol => &[
                CheckName::ContentType,
                CheckName::Transport,
                CheckName::Era,
                CheckName::Session,
                CheckName::Notification,
                CheckName::Tools,
                CheckName::GetStream,
                CheckName::VersionHeader,
                CheckName::Origin,
                CheckName::SessionEnd,
            ],
            Self::Entry => &[
                CheckName::File,
                CheckName::Enabled,
                CheckName::Program,
                CheckName::Quoting,
                CheckName::Arguments,
                CheckName::Variables,
                CheckName::Duplicates,
            ],
            Self::Run => &[
                CheckName::Start,
                CheckName::Initialize,
                CheckName::Ping,
                CheckName::ListTools,
            ],
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::SignIn => "Sign-in",
            Self::Protocol => "Protocol",
            Self::Entry => "Entry",
            Self::Run => "As the app starts it",
        }
    }

    pub(super) fn containing(name: CheckName) -> Self {
        if OF_SOME_SIGN_INS.contains(&name) {
            return Self::SignIn;
        }
        if matches!(
            name,
            CheckName::ClientCertificate | CheckName::HeaderSecrets | CheckName::HeaderCommand
        ) {
            return Self::Connection;
        }
        let holds = |part: &Self| part.names().contains(&name);
        Self::ALL.into_iter().find(holds).unwrap_or(Self::Protocol)
    }
}

/// Checks that are made only where the configuration leads to them. Elsewhere they are not even left out.
const OF_SOME_SIGN_INS: [CheckName; 3] = [
    CheckName::SharedSignIn,
    CheckName::IdentityProvider,
    CheckName::ExternalToken,
];

impl CheckName {
    /// The name in text and in JSON.
    pub(super) fn text(self) -> String {
        let text = serde_json::to_value(self).unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }
}

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckOutcome {
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
    pub(super) name: CheckName,
    pub(super) outcome: CheckOutcome,
    /// The finding, or the reason for skipping.
    pub(super) found: String,
    /// Advice for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    /// Section of the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) specification: Option<&'static str>,
}

impl Check {
    pub(super) fn passed(name: CheckName, found: impl Into<String>) -> Self {
        Self::new(name, CheckOutcome::Passed, found)
    }

    pub(super) fn warning(name: CheckName, found: impl Into<String>) -> Self {
        Self::new(name, CheckOutcome::Warning, found)
    }

    pub(super) fn failed(name: CheckName, found: impl Into<String>) -> Self {
        Self::new(name, CheckOutcome::Failed, found)
    }

    pub(super) fn skipped(name: CheckName, reason: impl Into<String>) -> Self {
        Self::new(name, CheckOutcome::Skipped, reason)
    }

    fn new(name: CheckName, outcome: CheckOutcome, found: impl Into<String>) -> Self {
        Self {
            name,
            outcome,
            found: found.into(),
            fix: None,
            specification: None,
        }
    }

    /// Advice for the user or the server's operator.
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    /// The bridge's own hint for `failure`, unless that is to run `doctor`.
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
