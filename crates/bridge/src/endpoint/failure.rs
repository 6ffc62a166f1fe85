//! Failures between the bridge and the server, and the JSON-RPC errors that the app gets for them.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::body::ContentType;
use mcp_bridge_auth::AuthError;
use mcp_bridge_net::descriptors::is_shortage;
use mcp_bridge_net::http;
use mcp_bridge_net::setting::Setting;
use mcp_bridge_protocol::codes::{self, INTERNAL_ERROR, INVALID_REQUEST};
use mcp_bridge_protocol::message::{Message, RequestId};

/// Hint for a request with side effects that may have been carried out.
const LOOK_FIRST: &str =
    "check whether the server has done what was asked before you repeat the request";

///
/// Reason why a request got no answer from the server.
///
/// The app gets it as a JSON-RPC error: [`Failure::to_response`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// No connection came up, so the server has not seen the request.
    #[error("could not connect: {detail}{}", tried_for(*.tried))]
    Connect {
        /// The part that failed.
        cause: ConnectCause,
        /// Time that it was tried again and again; `None` after a single try.
        tried: Option<Duration>,
        /// The operating system's or the TLS library's words.
        detail: String,
    },
    /// The connection broke after the request was on its way.
    #[error("the connection broke before the answer was complete: {detail}")]
    ConnectionLost {
        /// The operating system's words.
        detail: String,
    },
    /// The server gave neither an answer nor a sign of progress in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The server answered with an HTTP error.
    #[error("the server answered {status}{}", .excerpt.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// The JSON-RPC error in the body, if it is one: the app gets that instead of ours.
        error: Option<Box<Message>>,
        /// The body's own words.
        excerpt: Option<String>,
        /// The wait that the server asks for.
        retry_after: Option<Duration>,
    },
    /// The server points elsewhere, where the bridge does not follow.
    #[error("the server redirects to {target}, which is not followed")]
    Redirect {
        /// Scheme, host and path of the target.
        target: String,
    },
    /// The body is not what MCP has there.
    #[error("the answer is not valid: {0}")]
    InvalidResponse(String),
    /// The exchange ended well by HTTP but without the response to the request.
    #[error("the server ended the exchange without an answer ({0})")]
    NoResponse(String),
    /// The answer cannot be read: not JSON, not JSON-RPC, for another request.
    #[error("the server's answer cannot be used: {0}")]
    Unusable(String),
    /// The server took the request and sent no answer, neither for it nor on another stream.
    #[error("the server took the request and did not answer it: {0}")]
    Unanswered(String),
    /// The event stream of HTTP+SSE names an address for messages that cannot be used.
    #[error("the server's event stream names {0}")]
    MessageAddress(String),
    /// The address that the event stream of HTTP+SSE names refuses messages.
    #[error(
        "the server's event stream names {address} for messages, and a message there is refused: {failure}"
    )]
    MessageRefused {
        /// The address, without its query.
        address: String,
        /// The refusal.
        failure: Box<Failure>,
    },
    /// The message cannot be put into an HTTP request.
    #[error("it cannot be sent: {0}")]
    Unsendable(String),
    /// The server speaks the transport of MCP 2024-11-05.
    #[error("the server speaks the older HTTP+SSE transport")]
    HttpSse,
    /// The answer is larger than the bridge takes.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The session was lost and could not be made anew.
    #[error("the session was lost and could not be opened again: {0}")]
    SessionLost(String),
    /// The server wants a token, and there is none to be had.
    #[error(transparent)]
    Auth(std::sync::Arc<AuthError>),
    /// The sign-in has not got as far as a page that could be shown.
    #[error("the server wants a sign-in, and its authorization server has not answered for {} s", .0.as_secs_f64())]
    SignInNotReady(Duration),
    /// There is no session yet to send the request in.
    #[error("the server has not answered `initialize` for {} s", .0.as_secs_f64())]
    NoSession(Duration),
    /// Too many requests are under way.
    #[error("{limit} requests are already waiting for their answers")]
    Overloaded {
        /// Number of requests that may wait.
        limit: usize,
    },
    /// The bridge is on its way out.
    #[error("the bridge is shutting down")]
    ShuttingDown,
    /// A bug: the part of the bridge that carried the request stopped.
    #[error("the bridge failed on this request; this is a bug in mcp-bridge")]
    Internal,
}

/// The part of making a connection that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectCause {
    /// The name has no address.
    Dns,
    /// Nobody listens there.
    Refused,
    /// No way to the host, or another error of the network.
    Unreachable,
    /// The TLS handshake failed, mostly by the certificate.
    Tls,
    /// The proxy would not connect.
    Proxy,
    /// It took too long.
    Timeout,
    /// No file descriptor is left for a connection, and none has become free.
    Descriptors,
}

impl ConnectCause {
    /// Returns whether another try may help while the server comes up.
    pub(super) const fn may_pass(self) -> bool {
        match self {
            Self::Dns | Self::Refused | Self::Unreachable | Self::Timeout => true,
            Self::Tls | Self::Proxy | Self::Descriptors => false,
        }
    }
}

impl Failure {
    /// The failure that an error of the HTTP client means.
    pub(super) fn of_http(error: &http::Error) -> Self {
        let detail = innermost(error);
        if !error.is_connect() {
            return Self::ConnectionLost { detail };
        }
        Self::Connect {
            cause: connect_cause(error),
            tried: None,
            detail,
        }
    }

    /// The failure of a body that cannot be read on.
    pub(super) fn of_body(error: &http::Error) -> Self {
        // The clients call every such error one of decoding; only its cause tells them apart.
        if matches!(error, http::Error::Garbled) {
            return Self::Unusable("its gzip encoding is broken".to_owned());
        }
        let garbled = sources(error)
            .filter_map(|source| source.downcast_ref::<io::Error>())
            .any(|io| {
                matches!(
                    io.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                )
            });
        if garbled {
            return Self::Unusable("its transfer encoding is broken".to_owned());
        }
        Self::of_http(error)
    }

    /// The client could not be built: what is to be trusted cannot be read.
    pub(super) fn of_client(error: &http::Error) -> Self {
        Self::Connect {
            cause: ConnectCause::Tls,
            tried: None,
            detail: innermost(error),
        }
    }

    /// A GET that should have opened an event stream was answered with something else.
    pub(super) fn no_event_stream(kind: &ContentType) -> Self {
        let kind = match kind {
            ContentType::Json => "application/json",
            ContentType::EventStream | ContentType::Missing => "no type",
            ContentType::Other(kind) => kind,
        };
        Self::InvalidResponse(format!("it is of type {kind}, and not an event stream"))
    }

    /// The same, of a message to the address that an event stream names.
    #[must_use]
    pub fn at_address(self, address: &str) -> Self {
        match self {
            Self::Status { error: None, .. } => Self::MessageRefused {
                address: address.to_owned(),
                failure: Box::new(self),
            },
            failure => failure,
        }
    }

    /// The one of two failures that says more: of an attempt at HTTP+SSE, or of the POST that was refused
    /// before or after it.
    pub(super) fn or_refusal(self, refusal: Self) -> Self {
        if self.outweighs(&refusal) {
            self
        } else {
            refusal
        }
    }

    ///
    /// Returns whether a failed attempt at HTTP+SSE says more than the refusal of a POST to the same address.
    ///
    /// It does not if it only says that there is no such thing there. A 400 comes from a server that has read the
    /// message: only what shows that HTTP+SSE is spoken, or a matter of rights, says more.
    #[must_use]
    pub fn outweighs(&self, refusal: &Self) -> bool {
        let was_read =
            matches!(refusal, Self::Status { status, .. } if *status == StatusCode::BAD_REQUEST);
        match self {
            Self::MessageAddress(_) | Self::MessageRefused { .. } | Self::Auth(_) => true,
            Self::Status { status, .. } => match status.as_u16() {
                401 | 403 | 407 => true,
                400 | 404..=406 | 410 | 415 | 501 => false,
                _ => !was_read,
            },
            Self::InvalidResponse(_) => false,
            _ => !was_read,
        }
    }

    /// Returns whether a refused `initialize` may mean that the server speaks HTTP+SSE: 400, 404 or 405 without an
    /// error of the 2026-07-28 revision, whose servers have no older transport.
    pub(super) fn suggests_http_sse(&self) -> bool {
        match self {
            Self::HttpSse => true,
            Self::Status { status, error, .. } => {
                let code = error.as_deref().and_then(Message::error_text);
                matches!(status.as_u16(), 400 | 404 | 405)
                    && code.is_none_or(|(code, _)| !codes::is_modern(code))
            }
            _ => false,
        }
    }

    /// Returns whether a refused event stream may mean that the server speaks streamable HTTP.
    pub(super) const fn suggests_http(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status.as_u16(), 400 | 404 | 405 | 406),
            Self::InvalidResponse(_) | Self::NoResponse(_) | Self::Timeout(_) => true,
            _ => false,
        }
    }

    /// Returns whether the same request may well be answered a moment later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { cause, .. } => cause.may_pass(),
            Self::ConnectionLost { .. } => true,
            Self::Status { status, .. } => {
                matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
            }
            Self::MessageRefused { failure, .. } => failure.may_pass(),
            Self::Timeout(_)
            | Self::Redirect { .. }
            | Self::InvalidResponse(_)
            | Self::NoResponse(_)
            | Self::Unusable(_)
            | Self::Unanswered(_)
            | Self::MessageAddress(_)
            | Self::HttpSse
            | Self::Unsendable(_)
            | Self::TooLarge { .. }
            | Self::SessionLost(_)
            | Self::Auth(_)
            | Self::SignInNotReady(_)
            | Self::NoSession(_)
            | Self::Overloaded { .. }
            | Self::ShuttingDown
            | Self::Internal => false,
        }
    }

    /// Returns whether an event stream that has ended so, or was not opened for this reason, may well be opened a moment
    /// later.
    #[must_use]
    pub fn stream_may_return(&self) -> bool {
        self.may_pass() || matches!(self, Self::NoResponse(_))
    }

    /// Returns whether the request failed because nobody has signed in yet.
    #[must_use]
    pub fn is_for_want_of_a_sign_in(&self) -> bool {
        match self {
            Self::Auth(error) => matches!(
                **error,
                AuthError::SignInRequired { .. }
                    | AuthError::SignInElsewhere { .. }
                    | AuthError::TimedOut { .. }
            ),
            _ => false,
        }
    }

    /// A short stable name, for `data.kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect { cause, .. } => match cause {
                ConnectCause::Dns => "dns",
                ConnectCause::Refused => "refused",
                ConnectCause::Unreachable => "unreachable",
                ConnectCause::Tls => "tls",
                ConnectCause::Proxy => "proxy",
                ConnectCause::Timeout => "timeout",
                ConnectCause::Descriptors => "file_descriptors",
            },
            Self::ConnectionLost { .. } => "connection_lost",
            Self::Timeout(_) => "timeout",
            Self::Status { .. } => "http_status",
            Self::Redirect { .. } => "redirect",
            Self::InvalidResponse(_) | Self::Unusable(_) | Self::MessageAddress(_) => {
                "invalid_response"
            }
            Self::NoResponse(_) | Self::Unanswered(_) => "no_response",
            Self::MessageRefused { failure, .. } => failure.kind(),
            Self::HttpSse => "transport",
            Self::Unsendable(_) => "unsendable",
            Self::TooLarge { .. } => "too_large",
            Self::SessionLost(_) => "session_lost",
            Self::Auth(error) => error.kind(),
            Self::SignInNotReady(_) => "auth_unavailable",
            Self::NoSession(_) => "no_session",
            Self::Overloaded { .. } => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::Internal => "internal",
        }
    }

    /// Returns whether the server may have acted on the request although no answer came.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::MessageRefused { failure, .. } => failure.outcome_unknown(),
            Self::ConnectionLost { .. }
            | Self::Timeout(_)
            | Self::InvalidResponse(_)
            | Self::NoResponse(_)
            | Self::Unusable(_)
            | Self::Unanswered(_)
            | Self::TooLarge { .. }
            | Self::ShuttingDown
            | Self::Internal => true,
            Self::Status { status, .. } => {
                matches!(status.as_u16(), 500 | 502 | 504)
            }
            Self::Connect { .. }
            | Self::Redirect { .. }
            | Self::MessageAddress(_)
            | Self::HttpSse
            | Self::Unsendable(_)
            | Self::SessionLost(_)
            | Self::Auth(_)
            | Self::SignInNotReady(_)
            | Self::NoSession(_)
            | Self::Overloaded { .. } => false,
        }
    }

    /// Hint for the person: the way to solve it.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Connect { cause, detail, .. } => match cause {
                ConnectCause::Dns => "check the host name in the URL and the network connection",
                ConnectCause::Refused | ConnectCause::Unreachable => {
                    "check that the server is running and that the port in the URL is right"
                }
                ConnectCause::Tls if detail.contains("UnknownIssuer") => {
                    return format!(
                        "the certificate comes from an authority this machine does not know: add it to \
                     the system's trust store, or pass its PEM file with {}",
                        Setting::CaCert
                    );
                }
                ConnectCause::Tls if detail.contains("expired") => {
                    "the server's operator has to renew the certificate; if this machine's clock is \
                     wrong, set it"
                }
                ConnectCause::Tls if detail.contains("not valid for name") => {
                    "use a host name that the certificate is for, or have the server's certificate \
                     made for this one"
                }
                ConnectCause::Tls if detail.contains("InvalidContentType") => {
                    "the port does not speak TLS: check the port, and whether it is https://"
                }
                ConnectCause::Tls => "the server's operator has to fix its certificate",
                ConnectCause::Proxy => "check HTTPS_PROXY and the proxy's credentials",
                ConnectCause::Descriptors => {
                    "too many files are open here: raise the limit (ulimit -n) for the app"
                }
                ConnectCause::Timeout => {
                    return format!("check the network, or raise {}", Setting::ConnectTimeout);
                }
            },
            Self::Status { status, .. } => match status.as_u16() {
                401 => {
                    return format!(
                        "check the credentials given by {} or {}",
                        Setting::Header,
                        Setting::BearerEnv
                    );
                }
                404 | 405 => "check the path of the URL: it has to be the server's MCP endpoint",
                407 => "check HTTPS_PROXY and the proxy's credentials",
                403 => {
                    "the server forbids this: the account, or a header of yours, may lack the right"
                }
                429 | 503 => "the server is busy: try again later",
                _ if status.is_server_error() => {
                    "the server, or a proxy in front of it, has failed: its operator finds more in its log"
                }
                _ => "the server does not accept the request as it is: tell its operator",
            },
            Self::Redirect { .. } => "if the target is right, put it in the place of the URL",
            Self::HttpSse => {
                return format!(
                    "drop {}, or pass {} http-first",
                    Setting::Transport,
                    Setting::Transport
                );
            }
            Self::TooLarge { .. } => return format!("raise {}", Setting::MaxMessageSize),
            Self::Timeout(_) => return format!("raise {}", Setting::RequestTimeout),
            Self::Auth(error) => return error.hint(),
            Self::SignInNotReady(_) => {
                "the bridge keeps trying; mcp-bridge doctor URL shows what is wrong"
            }
            Self::NoSession(_) => {
                "the bridge keeps trying; check the server with mcp-bridge doctor URL"
            }
            Self::ConnectionLost { .. } => LOOK_FIRST,
            Self::InvalidResponse(_) => {
                "check that the URL is the server's MCP endpoint; mcp-bridge doctor URL shows more"
            }
            Self::NoResponse(_) | Self::Unanswered(_) => {
                "the server has to answer each request: tell its operator if it happens again"
            }
            Self::Unusable(_) => {
                "the operator of the server, or of a proxy in front of it, has to fix this"
            }
            Self::MessageAddress(_) => {
                "the server's operator has to configure its public address, in the server or in \
                 the proxy in front of it"
            }
            Self::MessageRefused { failure, .. } => match &**failure {
                Self::Status { status, .. } if matches!(status.as_u16(), 404 | 405) => {
                    "a proxy in front of the server may have removed a part of the path: the server's \
                     operator has to configure its public path"
                }
                failure => return failure.hint(),
            },
            Self::Unsendable(_) => "no HTTP header can carry it: choose another name or argument",
            Self::SessionLost(_) => "start the server again in the app",
            Self::Overloaded { .. } => "wait for answers before asking more",
            Self::ShuttingDown => "start the server again in the app, and repeat the request",
            Self::Internal => {
                return format!("please report it, with what {} says", Setting::Debug);
            }
        };
        hint.to_owned()
    }

    /// Returns whether the server took the request, and only its answer is of no use.
    const fn is_about_the_answer(&self) -> bool {
        matches!(
            self,
            Self::InvalidResponse(_)
                | Self::NoResponse(_)
                | Self::Unusable(_)
                | Self::Unanswered(_)
                | Self::TooLarge { .. }
        )
    }

    /// The response that the app gets for the request `id`, which called `method` on `host`.
    ///
    /// A JSON-RPC error that came with an HTTP error is passed on as it is; everything else is an
    /// error of ours, which says so in `data.source` (MCP reserves the codes around -32000).
    #[must_use]
    pub fn to_response(&self, id: &RequestId, method: &str, host: &str) -> Message {
        if let Self::Status {
            error: Some(error), ..
        } = self
        {
            return error.with_id(id);
        }
        let reason = self.to_string();
        let mut data = json!({
            "source": "mcp-bridge",
            "kind": self.kind(),
            "host": host,
            "reason": reason,
        });
        let status = match self {
            Self::MessageRefused { failure, .. } => failure,
            failure => failure,
        };
        if let Self::Status {
            status,
            retry_after,
            ..
        } = status
        {
            data["httpStatus"] = status.as_u16().into();
            if let Some(wait) = retry_after {
                data["retryAfter"] = wait.as_secs().into();
            }
        }
        let outcome_unknown = self.outcome_unknown() && !super::is_safe(method);
        if outcome_unknown {
            data["outcomeUnknown"] = true.into();
        }
        if let Self::Auth(error) = self
            && let Some(url) = error.sign_in_url()
        {
            data["signInUrl"] = url.as_str().into();
        }
        let mut hint = self.hint();
        if outcome_unknown && self.is_about_the_answer() {
            hint = format!("{LOOK_FIRST}; {hint}");
        }
        let text = format!("mcp-bridge: {host}: {reason} ({hint})");
        data["hint"] = Value::from(hint);
        let code = match self {
            Self::Unsendable(_) => INVALID_REQUEST,
            _ => INTERNAL_ERROR,
        };
        Message::error(Some(id), code, &text, Some(&data))
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self::Auth(std::sync::Arc::new(error))
    }
}

/// The time that something was tried for, as the end of a sentence.
fn tried_for(time: Option<Duration>) -> String {
    /// Tenths of a second matter only below this.
    const WHOLE_SECONDS: Duration = Duration::from_secs(2);
    match time {
        None => String::new(),
        Some(time) if time < WHOLE_SECONDS => format!(", tried for {:.1} s", time.as_secs_f64()),
        Some(time) => format!(", tried for {:.0} s", time.as_secs_f64()),
    }
}

fn connect_cause(error: &http::Error) -> ConnectCause {
    if is_shortage(error) {
        return ConnectCause::Descriptors;
    }
    for source in sources(error) {
        if let Some(io) = source.downcast_ref::<io::Error>() {
            if is_tls(io) {
                return ConnectCause::Tls;
            }
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return ConnectCause::Refused,
                io::ErrorKind::TimedOut => return ConnectCause::Timeout,
                io::ErrorKind::InvalidData => return ConnectCause::Tls,
                _ => {}
            }
        }
        // The connector's own error types are private; these are their words.
        let text = source.to_string();
        if text.contains("dns error") {
            return ConnectCause::Dns;
        }
        if text.contains("tunnel") || text.contains("proxy") {
            return ConnectCause::Proxy;
        }
    }
    if error.is_timeout() {
        return ConnectCause::Timeout;
    }
    ConnectCause::Unreachable
}

/// Returns whether an error of the TLS library is in there; the connector wraps it more than once.
fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(is_tls)
    })
}

fn innermost(error: &http::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    sources(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

fn sources<'a>(error: &'a http::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source())
}
