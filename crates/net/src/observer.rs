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

/// Receiver of events. It is called in the middle of the work, so it neither blocks nor takes long.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Takes an event.
    fn observe(&self, event: ObservedEvent);

    /// Returns whether it takes events now. If not, none are made.
    fn is_watching(&self) -> bool {
        true
    }
}

/// Something that has happened.
#[derive(Debug, Clone)]
pub struct ObservedEvent {
    /// The moment.
    pub at: SystemTime,
    /// The happening.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The app has sent a message, which is this line.
    FromApp(Bytes),
    /// The app gets a message, which is this line.
    ToApp(Bytes),
    /// An HTTP request goes out.
    Request(Box<ObservedRequest>),
    /// The head of the response has come.
    ResponseHead {
        /// Number of the exchange.
        exchange: u64,
        /// HTTP version, where it is known.
        version: Version,
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: Box<HeaderMap>,
    },
    /// A piece of the response's body has come.
    ResponseBody {
        /// Number of the exchange.
        exchange: u64,
        /// The piece.
        piece: Bytes,
    },
    /// Nothing more comes of the exchange.
    ResponseEnd {
        /// Number of the exchange.
        exchange: u64,
        /// Reason for which the response is not whole.
        failure: Option<String>,
    },
    /// A step of the connection.
    Step {
        /// Its subject.
        step: Step,
        /// The step in words.
        detail: String,
    },
}

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct ObservedRequest {
    /// Number of the exchange, which no other has in this process.
    pub exchange: u64,
    /// The other side.
    pub purpose: Purpose,
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The headers, without those that the HTTP client adds.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
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
    SignIn,
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
            Self::SignIn => "sign-in",
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
    pub fn report(&self, event: impl FnOnce() -> EventKind) {
        if let Some(observer) = self.watching() {
            observer.observe(ObservedEvent {
                at: SystemTime::now(),
                kind: event(),
            });
        }
    }

    /// Tells the observer of a step of the connection.
    #[inline]
    pub fn step(&self, step: Step, detail: impl FnOnce() -> String) {
        self.report(|| EventKind::Step {
            step,
            detail: detail(),
        });
    }

    /// Tells the observer of an HTTP request. What is returned is for its response; `None` if nobody observes.
    #[inline]
    pub fn request(
        &self,
        purpose: Purpose,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &Bytes,
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
        body: &Bytes,
    ) -> ObservedExchange {
        static EXCHANGES: AtomicU64 = AtomicU64::new(1);
        let exchange = EXCHANGES.fetch_add(1, Ordering::Relaxed);
        self.report(|| {
            EventKind::Request(Box::new(ObservedRequest {
                exchange,
                purpose,
                method: method.clone(),
                url: url.clone(),
                headers: headers.clone(),
                body: body.clone(),
            }))
        });
        ObservedExchange {
            observation: self.clone(),
            exchange,
            failure: None,
        }
    }
}

/// An HTTP exchange that is observed. It ends when this is dropped.
#[derive(Debug)]
pub struct ObservedExchange {
    observation: Observation,
    exchange: u64,
    failure: Option<String>,
}

impl ObservedExchange {
    /// The head of the response has come.
    pub fn on_head(&self, version: Version, status: StatusCode, headers: &HeaderMap) {
        self.observation.report(|| EventKind::ResponseHead {
            exchange: self.exchange,
            version,
            status,
            headers: Box::new(headers.clone()),
        });
    }

    /// A piece of the body has come.
    pub fn on_body(&self, piece: &Bytes) {
        self.observation.report(|| EventKind::ResponseBody {
            exchange: self.exchange,
            piece: piece.clone(),
        });
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
            failure: self.failure.take(),
        });
    }
}
