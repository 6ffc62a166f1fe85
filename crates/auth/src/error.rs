//! Errors of the sign-in and of token requests, with hints for the person.

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::sign_in_page::SignInPage;
use mcp_bridge_net::http::UrlTooLong;
use mcp_bridge_net::setting::Setting;
use mcp_bridge_text::printable::{self, line};

/// Reason why there is no token.
///
/// The error is cloned: everyone who waited for one sign-in gets its outcome. No variant carries a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// A person has to sign in, and this caller must not ask for it.
    #[error("the server wants a sign-in")]
    SignInRequired {
        /// The page of the sign-in that is under way, if there is one.
        url: Option<SignInPage>,
    },
    /// A person has to sign in on another machine that shares the store.
    #[error("the server wants a sign-in, and this machine has no browser for it")]
    SignInElsewhere {
        /// The command that signs in there.
        command: String,
    },
    /// The authorization server or the person said no (RFC 6749 §4.1.2.1).
    #[error("the sign-in was refused: {reason}")]
    Denied {
        /// The error code and its description, without control characters.
        reason: String,
    },
    /// Nobody finished the sign-in in time.
    #[error("nobody finished the sign-in within {} s", limit.as_secs())]
    TimedOut {
        /// Time for which the sign-in was open.
        limit: Duration,
        /// The page that was waiting.
        url: Option<SignInPage>,
    },
    /// The authorization server can't be reached or is overloaded. What is stored was kept.
    #[error("the authorization server can't be reached for now: {reason}")]
    Unavailable {
        /// The cause.
        reason: String,
        /// When it makes sense to ask again.
        retry_after: Duration,
    },
    /// The store that the credentials of several machines are in can't be used. Without it no token is renewed, because
    /// others may be about to use the same refresh token. What is in memory was kept.
    #[error("{reason}")]
    StoreUnavailable {
        /// The store and the cause.
        reason: String,
        /// True if it can be reached, and a key is missing.
        locked: bool,
        /// When it makes sense to ask again.
        retry_after: Duration,
    },
    /// The authorization server itself answers with a server error that it explains in the terms of OAuth.
    /// The stored credentials were kept.
    #[error("the authorization server fails for now: {reason}")]
    ServerFailed {
        /// Its words.
        reason: String,
        /// When it makes sense to ask again.
        retry_after: Duration,
    },
    /// The MCP server refused a token that had just been obtained; another one would not help.
    #[error("the server refused a token that its own authorization server had just issued")]
    FreshTokenRefused,
    /// There were too many sign-ins in a short time; something opens one after the other.
    #[error("too many sign-ins in a short time")]
    TooManySignIns,
    /// The token lacks a scope, and asking for it did not bring it (RFC 6750 §3.1).
    #[error("the server wants the scope `{}`, which the sign-in did not grant", line(.scope))]
    InsufficientScope {
        /// The scopes that the server asked for.
        scope: String,
    },
    /// The server forbids this request; no token would change that.
    #[error("the server forbids this request")]
    Forbidden,
    /// The authorization server has no registration for unknown clients.
    #[error("{} does not register clients by itself", line(.issuer))]
    ClientRequired {
        /// The authorization server.
        issuer: String,
        /// Redirect URI with which the client has to be registered.
        redirect_uri: String,
    },
    /// The authorization server rejected the registration of this client (RFC 7591 §3.2.2).
    #[error("{endpoint} rejected the client registration: {reason}")]
    RegistrationRejected {
        /// The registration endpoint.
        endpoint: Url,
        /// Its error code and description, or its status.
        reason: String,
    },
    /// The client that the user configured was rejected at the token endpoint.
    #[error("{} rejected the configured client: {reason}", line(.issuer))]
    ClientRejected {
        /// The authorization server.
        issuer: String,
        /// The error code and its description.
        reason: String,
    },
    /// The configured client belongs to another authorization server than the one the server names now.
    #[error("the configured client belongs to {}, but the server now names {}", line(.recorded), line(.found))]
    IssuerChanged {
        /// The authorization server that the client was used with.
        recorded: String,
        /// The one that the server names.
        found: String,
    },
    /// The answer to the authorization request comes from another issuer than the request went to (RFC 9207 §2.4).
    #[error("the answer to the sign-in names {} as its issuer instead of {}", line(.found), line(.expected))]
    ResponseIssuerMismatch {
        /// The issuer that was asked.
        expected: String,
        /// The issuer that answered, or `none`.
        found: String,
    },
    /// Two metadata documents that must name one issuer name two (RFC 8414 §3.3).
    #[error("{} names {} as its issuer instead of {}", line(.place), line(.found), line(.expected))]
    IssuerMismatch {
        /// Document or answer that holds the wrong value.
        place: String,
        /// The issuer that was asked for.
        expected: String,
        /// The issuer that answered.
        found: String,
    },
    /// The authorization server does not say that it knows PKCE with S256.
    #[error("{} does not offer PKCE with S256", line(.issuer))]
    PkceNotOffered {
        /// The authorization server.
        issuer: String,
        /// True if the metadata lacks the list altogether, so that the user may decide otherwise.
        unlisted: bool,
    },
    /// A metadata document is missing, broken or speaks of something else.
    #[error("{url}: {reason}")]
    Metadata {
        /// The document.
        url: Url,
        /// The defect.
        reason: String,
    },
    /// A URL that must not be requested or opened.
    #[error("refused to use {url}: {reason}")]
    UnsafeUrl {
        /// The URL, without its query.
        url: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// A URL that is too long to be requested or opened.
    #[error("{0}")]
    UrlTooLong(#[from] UrlTooLong),
    /// The token endpoint answered with an error that is not about this client or grant, or with nonsense.
    #[error("{endpoint} gave no token: {reason}")]
    TokenEndpoint {
        /// The token endpoint.
        endpoint: Url,
        /// Its error code and description, or what is wrong with its answer.
        reason: String,
    },
    /// A server refuses the proof that goes with a token (RFC 9449 §5, §7.1). Another token would be refused as well.
    #[error("{host} refuses the proof of the key that the token is bound to (DPoP): {reason}")]
    ProofRefused {
        /// The server.
        host: String,
        /// Its words.
        reason: String,
        /// Difference of the clocks, if that may be the reason.
        clock: Option<ClockDifference>,
    },
    /// Tokens have to be bound to a key, and the authorization server does not do that.
    #[error("{} gives no tokens that are bound to a key (DPoP): {reason}", line(.issuer))]
    NotBound {
        /// The authorization server.
        issuer: String,
        /// Its behaviour.
        reason: String,
    },
    /// A sign-in that servers share brought no token for one of them that is for it alone (RFC 8707).
    #[error("the sign-in at {} cannot be shared with this server: {reason}", line(.issuer))]
    NotShared {
        /// The authorization server.
        issuer: String,
        /// Its words, or its behaviour.
        reason: String,
    },
    /// The callback's address is taken or can't be used.
    #[error("cannot listen for the sign-in's callback on {address}: {reason}")]
    Callback {
        /// Host and port.
        address: String,
        /// Words of the operating system.
        reason: String,
    },
    /// A program that prints tokens or headers did not.
    #[error("`{program}` printed no {}: {reason}", printed_by(*.setting))]
    Command {
        /// The program, without its arguments.
        program: String,
        /// The setting that names it.
        setting: Setting,
        /// The cause, without what it printed.
        reason: String,
    },
    /// A secret of the keychain that a header needs is not to be had.
    #[error("the header {header} needs a secret: {reason}")]
    NoSecret {
        /// The header's name.
        header: String,
        /// The cause, without the secret.
        reason: String,
        /// Advice for the person.
        hint: String,
    },
    /// A token that comes from outside is not to be had, or none.
    #[error("there is no token in {place}: {reason}")]
    ExternalToken {
        /// The file, the variable, or the program without its arguments.
        place: String,
        /// The cause, without what was read.
        reason: String,
    },
    /// The identity provider of the company refused a grant for another authorization server.
    #[error("the identity provider {} refused a grant for {}: {reason}", line(.provider), line(.audience))]
    IdentityRefused {
        /// The identity provider.
        provider: String,
        /// The authorization server of the MCP server.
        audience: String,
        /// The error code and its description.
        reason: String,
    },
    /// The authorization server of the MCP server refused the grant of the identity provider.
    #[error("{} refused the grant of the identity provider {}: {reason}", line(.issuer), line(.provider))]
    IdentityGrantRefused {
        /// The authorization server.
        issuer: String,
        /// The identity provider.
        provider: String,
        /// The error code and its description.
        reason: String,
    },
    /// The sign-in at the identity provider brought no identity that may be used.
    #[error("the sign-in at the identity provider {} brought no identity: {reason}", line(.provider))]
    InvalidIdentity {
        /// The identity provider.
        provider: String,
        /// The problem.
        reason: String,
        /// Difference of the clocks, if the ID token shows one.
        clock: Option<ClockDifference>,
    },
    /// The chosen options contradict each other or the server.
    #[error("{0}")]
    Configuration(String),
    /// The bridge is ending.
    #[error("the sign-in was interrupted")]
    Interrupted,
}

/// Difference between the clock of a server and that of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockDifference {
    /// Seconds by which the server's clock is ahead; negative if it is behind.
    pub(crate) server_is_ahead: i64,
}

impl fmt::Display for ClockDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.server_is_ahead.unsigned_abs();
        match seconds {
            0..120 => write!(f, "{seconds} s")?,
            120..7200 => write!(f, "{} min", seconds / 60)?,
            _ => write!(f, "{} h", seconds / 3600)?,
        }
        f.write_str(if self.server_is_ahead > 0 {
            " behind"
        } else {
            " ahead of"
        })
    }
}

impl AuthError {
    /// A stable name for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SignInRequired { .. } | Self::SignInElsewhere { .. } => "auth_required",
            Self::Denied { .. } => "auth_denied",
            Self::TimedOut { .. } => "auth_timeout",
            Self::Unavailable { .. } | Self::ServerFailed { .. } => "auth_unavailable",
            Self::StoreUnavailable { .. } => "auth_store_unavailable",
            Self::FreshTokenRefused => "auth_token_refused",
            Self::TooManySignIns => "auth_too_many",
            Self::InsufficientScope { .. } => "auth_insufficient_scope",
            Self::Forbidden => "auth_forbidden",
            Self::ClientRequired { .. } => "auth_client_required",
            Self::RegistrationRejected { .. } => "auth_registration_rejected",
            Self::ClientRejected { .. } => "auth_client_rejected",
            Self::IssuerChanged { .. }
            | Self::IssuerMismatch { .. }
            | Self::ResponseIssuerMismatch { .. } => "auth_issuer_mismatch",
            Self::Interrupted => "auth_interrupted",
            Self::Configuration(_) => "auth_configuration",
            Self::Command { .. } => "auth_command_failed",
            Self::ExternalToken { .. } => "auth_no_external_token",
            Self::NoSecret { .. } => "auth_no_secret",
            Self::IdentityRefused { .. }
            | Self::IdentityGrantRefused { .. }
            | Self::InvalidIdentity { .. } => "auth_identity_refused",
            Self::ProofRefused { .. } | Self::NotBound { .. } => "auth_proof_refused",
            Self::PkceNotOffered { .. }
            | Self::Metadata { .. }
            | Self::UnsafeUrl { .. }
            | Self::UrlTooLong(_)
            | Self::TokenEndpoint { .. }
            | Self::NotShared { .. }
            | Self::Callback { .. } => "auth_failed",
        }
    }

    /// Advice for the person.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::SignInRequired { url: Some(url) } | Self::TimedOut { url: Some(url), .. } => {
                format!("open {url} in a browser on this machine, then try again")
            }
            Self::SignInRequired { url: None } => {
                "use the server from the app once, or run mcp-bridge login URL: both open the \
                 sign-in page"
                    .into()
            }
            Self::TimedOut { url: None, .. } | Self::Denied { .. } => {
                "try again: the next request opens the sign-in page again".into()
            }
            Self::Unavailable { retry_after, .. } | Self::ServerFailed { retry_after, .. } => format!(
                "nothing was lost; try again in {} s",
                retry_after.as_secs().max(1)
            ),
            Self::FreshTokenRefused => {
                format!("the server and its authorization server disagree; {} or {} may help, \
                 otherwise tell the server's operator", Setting::Resource,Setting::Scope)
            }
            Self::TooManySignIns => "wait a few minutes, then try again".into(),
            Self::InsufficientScope { .. } => {
                format!("the account may lack the right; ask the server's operator, or pass {}", Setting::Scope)
            }
            Self::ClientRequired { redirect_uri, .. } => format!("register an application there with the redirect URI {redirect_uri}, then pass \
                 {} ID (and {} VAR if it has a secret)", Setting::ClientId,Setting::ClientSecretEnv),
            Self::RegistrationRejected { .. } => {
                format!("register an application there by hand, then pass {} ID, or change what is \
                 registered with {}", Setting::ClientId,Setting::ClientMetadata)
            }
            Self::ClientRejected { .. } => format!("check {} and the client secret", Setting::ClientId),
            Self::IssuerChanged { .. } => {
                format!("if this is right, pass the client of the new authorization server, or name it with \
                 {}", Setting::Issuer)
            }
            Self::ResponseIssuerMismatch { .. } => {
                "this may be an attack, so the answer was not used. An authorization server that passes on \
                 the answer of another one has to put its own issuer there: tell its operator"
                    .into()
            }
            Self::IssuerMismatch { .. } => {
                format!("this may be an attack. If you know that the server is set up so, pass \
                 {} same-site (or off)", Setting::IssuerCheck)
            }
            Self::PkceNotOffered { unlisted: true, .. } => {
                format!("if you trust the server, pass {}: S256 is sent all the \
                 same", Setting::AllowMissingPkceMetadata)
            }
            Self::Callback { .. } => {
                "stop the program that uses the port, or choose another: mcp-bridge URL PORT".into()
            }
            Self::ProofRefused { .. } | Self::NotBound { .. } => self.hint_about_proofs(),
            Self::Command { setting, .. } => {
                format!("run the command of {setting} in a terminal: it has to print a {} that this \
                 server takes", printed_by(*setting))
            }
            Self::NoSecret { .. }
            | Self::NotShared { .. }
            | Self::ExternalToken { .. }
            | Self::IdentityRefused { .. }
            | Self::IdentityGrantRefused { .. }
            | Self::InvalidIdentity { .. } => self.hint_about_vouchers(),
            Self::StoreUnavailable { .. } | Self::SignInElsewhere { .. } => self.hint_about_store(),
            Self::Forbidden => {
                format!("the account may lack the right: ask the server's operator, or sign in as somebody else \
                 with {} NAME", Setting::Profile)
            }
            Self::PkceNotOffered {
                unlisted: false, ..
            } => "without S256 a sign-in can be stolen: its operator has to offer it".into(),
            Self::Metadata { .. } => {
                "the server's operator has to correct this document; mcp-bridge doctor URL shows what is \
                 wrong with it"
                    .into()
            }
            Self::UnsafeUrl { .. } => {
                format!("tell the server's operator. If the provider is on a network of yours, pass \
                 {}", Setting::AllowPrivateAddresses)
            }
            Self::UrlTooLong(_) => {
                format!("no server takes a URL of that length. If it is the scopes, pass {} with those that \
                 you need; else tell the server's operator", Setting::Scope)
            }
            Self::TokenEndpoint { .. } => {
                "try again; if it persists, tell the authorization server's operator".into()
            }
            Self::Configuration(_) => "check the flags: mcp-bridge --help".into(),
            Self::Interrupted => "try again: the next request signs in anew".into(),
        }
    }

    /// Advice where tokens are, or have to be, bound to a key.
    fn hint_about_proofs(&self) -> String {
        match self {
            Self::ProofRefused {
                clock: Some(clock),
                host,
                ..
            } => format!(
                "the clock of this machine is {clock} that of {host}: set it right, then try again"
            ),
            Self::ProofRefused { clock: None, .. } => {
                format!(
                    "tell the server's operator. If it takes tokens that are not bound to a key as well, pass \
                 {} off",
                    Setting::Dpop
                )
            }
            _ => {
                format!(
                    "tell its operator, or pass {} auto to use the tokens that it gives",
                    Setting::Dpop
                )
            }
        }
    }

    /// Advice where credentials are in a store that several machines share.
    fn hint_about_store(&self) -> String {
        match self {
            Self::SignInElsewhere { command } => format!(
                "run `{command}` on a machine with a browser, then try again: this one finds the sign-in in the store"
            ),
            Self::StoreUnavailable { locked: true, .. } => format!(
                "nobody has to sign in again: pass the file with the key by {}",
                Setting::StoreKeyFile
            ),
            _ => format!(
                "nobody has to sign in again: check that the store of {} can be reached from here; it is tried \
                 again at the next request",
                Setting::Store
            ),
        }
    }

    /// Advice where somebody else answers for the account, or something else brings its credentials.
    fn hint_about_vouchers(&self) -> String {
        match self {
            Self::NoSecret { hint, .. } => hint.clone(),
            Self::NotShared { .. } => format!(
                "try again: the server signs in by itself then, as without {}",
                Setting::ShareSignIn
            ),
            Self::IdentityRefused { provider, .. } => {
                let provider = line(provider);
                format!(
                    "ask your administrator whether {provider} lets you use this server; to sign in there again, \
                     run mcp-bridge logout {provider}"
                )
            }
            Self::IdentityGrantRefused {
                issuer, provider, ..
            } => format!(
                "ask your administrator: {} has to trust {} and this client ({}), and to know your account",
                line(issuer),
                line(provider),
                Setting::ClientId
            ),
            Self::InvalidIdentity {
                provider,
                clock: Some(clock),
                ..
            } => format!(
                "the clock of this machine is {clock} that of {}: set it right, then try again",
                line(provider)
            ),
            Self::InvalidIdentity { clock: None, .. } => {
                "check the clock of this machine, then try again; if it persists, tell your administrator"
                    .into()
            }
            _ => "one token has to be there, alone or in a line; a program has to print it within a \
                  minute. It is read anew at the next request"
                .into(),
        }
    }

    /// Pause before another attempt; none if the error does not pass by itself.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. }
            | Self::ServerFailed { retry_after, .. }
            | Self::StoreUnavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// The same error with another pause, if it passes by itself.
    pub(crate) fn retried_after(&self, pause: Duration) -> Self {
        let mut error = self.clone();
        if let Self::Unavailable { retry_after, .. }
        | Self::ServerFailed { retry_after, .. }
        | Self::StoreUnavailable { retry_after, .. } = &mut error
        {
            *retry_after = pause;
        }
        error
    }

    /// The page where the person can still sign in.
    #[must_use]
    pub fn sign_in_url(&self) -> Option<&Url> {
        match self {
            Self::SignInRequired { url } | Self::TimedOut { url, .. } => {
                url.as_ref().map(SignInPage::url)
            }
            _ => None,
        }
    }
}

/// Name of what a program prints for this setting.
fn printed_by(setting: Setting) -> &'static str {
    match setting {
        Setting::HeaderCommand => "header",
        _ => "token",
    }
}

/// A stranger's text about an error, as it may be shown: one line, printable, not endless.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST_CHARS: usize = 300;
    printable::short_line(text, LONGEST_CHARS)
}
