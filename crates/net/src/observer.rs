//! Observer of all that passes: messages of the app, HTTP exchanges with the server and the authorization server, and
//! the steps of the connection. For recordings and inspectors.
//!
//! Events carry everything as it is, secrets included: who shows or stores them masks them first. Without an observer
//! nothing is measured, copied or formatted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Version};
use url::Url;

/// Receiver of events. It is called in the middle of the work, so it neither blocks nor takes long, and copies what it
/// needs later.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Takes an event.
    fn observe(&self, event: &ObservedEvent<'_>);

    /// Returns whether it takes events now. If not, none are made.
    fn is_watching(&self) -> bool {
        true
    }
}

/// Something that has happened.
#[derive(Debug, Clone, Copy)]
pub struct ObservedEvent<'a> {
    /// The moment.
    pub at: SystemTime,
    /// The happening.
    pub kind: EventKind<'a>,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy)]
pub enum EventKind<'a> {
    /// The app has sent a message.
    FromApp(ObservedMessage<'a>),
    /// The app gets a message.
    ToApp(ObservedMessage<'a>),
    /// An HTTP request goes out.
    Request(ObservedRequest<'a>),
    /// The head of the response has come.
    ResponseHead {
        /// Number of the exchange.
        exchange: u64,
        /// HTTP version, where it is known.
        version: Version,
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: &'a HeaderMap,
    },
    /// A piece of the response's body has come.
    ResponseBody {
        /// Number of the exchange.
        exchange: u64,
        /// Bytes of the body before this piece.
        before: usize,
        /// The piece.
        piece: &'a [u8],
    },
    /// Nothing more comes of the exchange.
    ResponseEnd {
        /// Number of the exchange.
        exchange: u64,
        /// Reason for which the response is not whole.
        failure: Option<&'a str>,
    },
    /// A step of the connection.
    Step {
        /// Its subject.
        step: Step,
        /// The step in words.
        detail: &'a str,
    },
}

/// A JSON-RPC message of the app or for it.
#[derive(Debug, Clone, Copy)]
pub struct ObservedMessage<'a> {
    /// The message as it was sent.
    pub text: &'a Bytes,
    /// Its kind.
    pub kind: MessageKind,
    /// Its id as JSON.
    pub id: Option<&'a str>,
    /// Its method; empty for a response.
    pub method: &'a str,
}

/// Kind of a JSON-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Wants a response.
    Request,
    /// Wants none.
    Notification,
    /// Response with a result.
    Response,
    /// Response with an error.
    Error,
}

/// An HTTP request.
#[derive(Debug, Clone, Copy)]
pub struct ObservedRequest<'a> {
    /// Number of the exchange, which no other has in this process.
    pub exchange: u64,
    /// The other side.
    pub purpose: Purpose,
    /// The method.
    pub method: &'a Method,
    /// The URL.
    pub url: &'a Url,
    /// The headers, without those that the HTTP client adds.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// The other side of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The MCP server.
    Server,
    /// The authorization server, or the server's metadata about it.
    SignIn,
}

/// Subject of a step of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The era of the server.
    Era,
    /// The transport.
    Transport,
    /// The session.
    Session,
    /// An event stream.
    Stream,
    /// A request that is sent again, or waits for that.
    Retry,
    /// The sign-in.
    SignIn(SignInStep),
}

/// Step of a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInStep {
    /// The server wants a token, or another one.
    Wanted,
    /// Tokens that were stored before, or by another process, are in use.
    Found,
    /// A page waits for a person.
    Waiting,
    /// The person is asked again, with another request.
    AskedAgain,
    /// The sign-in has brought tokens.
    SignedIn,
    /// The sign-in has failed.
    Failed,
    /// A refresh begins.
    Refreshing,
    /// The refresh has brought tokens.
    Refreshed,
    /// The authorization server refused the refresh.
    RefreshRefused,
    /// The grant is over: ended by the authorization server, or by a sign-out.
    Ended,
}

impl Step {
    /// The subject in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Era => "era",
            Self::Transport => "transport",
            Self::Session => "session",
            Self::Stream => "stream",
            Self::Retry => "retry",
            Self::SignIn(_) => "sign-in",
        }
    }
}

/// The observer, if there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Observation(Option<Arc<dyn Observer>>);

impl Observation {
    /// Lets an observer see what happens.
    #[must_use]
    pub fn by(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }

    /// Tells the observer, if there is one, what `event` makes.
    #[inline]
    pub fn report<'a>(&self, event: impl FnOnce() -> EventKind<'a>) {
        if let Some(observer) = self.watching() {
            observer.observe(&ObservedEvent {
                at: SystemTime::now(),
                kind: event(),
            });
        }
    }

    /// Tells the observer of a step of the connection.
    #[inline]
    pub fn step(&self, step: Step, detail: impl FnOnce() -> String) {
        if self.watching().is_some() {
            let detail = detail();
            self.report(|| EventKind::Step {
                step,
                detail: &detail,
            });
        }
    }

    /// Tells the observer of an HTTP request. What is returned is for its response; `None` if nobody observes.
    #[inline]
    #[must_use]
    pub fn request(
        &self,
        purpose: Purpose,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Box<ObservedExchange>> {
        self.watching()?;
        let observed = self.observed_request(purpose, method, url, headers, body);
        Some(Box::new(observed))
    }

    #[inline]
    fn watching(&self) -> Option<&Arc<dyn Observer>> {
        self.0.as_ref().filter(|observer| observer.is_watching())
    }

    #[cold]
    fn observed_request(
        &self,
        purpose: Purpose,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
    ) -> ObservedExchange {
        static EXCHANGES: AtomicU64 = AtomicU64::new(1);
        let exchange = EXCHANGES.fetch_add(1, Ordering::Relaxed);
        self.report(|| {
            EventKind::Request(ObservedRequest {
                exchange,
                purpose,
                method,
                url,
                headers,
                body,
            })
        });
        ObservedExchange {
            observation: self.clone(),
            exchange,
            body_bytes: 0,
            failure: None,
        }
    }
}

/// An HTTP exchange that is observed. It ends when this is dropped.
#[derive(Debug)]
pub struct ObservedExchange {
    observation: Observation,
    exchange: u64,
    /// Bytes of the body so far.
    body_bytes: usize,
    failure: Option<String>,
}

impl ObservedExchange {
    /// The head of the response has come.
    pub fn on_head(&self, version: Version, status: StatusCode, headers: &HeaderMap) {
        self.observation.report(|| EventKind::ResponseHead {
            exchange: self.exchange,
            version,
            status,
            headers,
        });
    }

    /// A piece of the body has come.
    pub fn on_body(&mut self, piece: &[u8]) {
        self.observation.report(|| EventKind::ResponseBody {
            exchange: self.exchange,
            before: self.body_bytes,
            piece,
        });
        self.body_bytes += piece.len();
    }

    /// The response does not come, or not as a whole.
    pub fn on_failure(&mut self, error: &dyn std::error::Error) {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        self.failure = Some(reason);
    }
}

impl Drop for ObservedExchange {
    fn drop(&mut self) {
        self.observation.report(|| EventKind::ResponseEnd {
            exchange: self.exchange,
            failure: self.failure.as_deref(),
        });
    }
}
