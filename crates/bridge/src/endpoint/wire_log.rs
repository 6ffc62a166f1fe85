//! Log lines about the HTTP requests to the server (`--debug`), and the bodies of both sides
//! (`--log-level trace`).
//!
//! Each request to the server has a line when it is sent and one when it ends: direction, method, status,
//! milliseconds, bytes, session and number of the try. The JSON-RPC id and method of the app's requests come
//! from the span that they run in (`bridge/io.rs`). Nothing is measured or formatted at other levels.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::MutexGuard;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use tracing::Level;

use super::body::HttpErrorBody;
use super::credentials::Credentials;
use super::send::{Outgoing, Verb};
use super::session::McpSession;
use super::{Endpoint, Failure, Phase, Track};
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::{EventKind, MessageKind, ObservedMessage, Step};
use mcp_bridge_protocol::message::{Kind, Message, RequestId};
use mcp_bridge_text::redaction::redacted;

/// Time that a request goes unanswered before the log says so, and the longest time to the next such line.
const FIRST_SILENCE: Duration = Duration::from_secs(5);
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// Limit for the part of a body that is logged, in bytes: enough for any but the longest result.
const BODY_BYTES: usize = 4 * 1024;

/// Length of the part of a session id's hash that tells sessions apart, in bytes. The id itself gives access.
const SESSION_HASH_BYTES: usize = 4;

/// Record of one request to the server, for the log; empty unless that is at `debug`.
#[derive(Debug)]
pub(super) struct WireLog(Option<Box<Mutex<WireState>>>);

#[derive(Debug)]
struct WireState {
    /// The request that the span names.
    span_of: Option<RequestId>,
    /// HTTP requests so far.
    tries: u32,
    /// Moment when the last one was sent, and what was answered to it.
    sent: Instant,
    status: Option<StatusCode>,
    session: Option<String>,
    /// The message, where no span names it.
    id: Option<RequestId>,
    method: Option<String>,
}

impl Default for WireLog {
    fn default() -> Self {
        Self(tracing::enabled!(Level::DEBUG).then(|| {
            Box::new(Mutex::new(WireState {
                span_of: None,
                tries: 0,
                sent: Instant::now(),
                status: None,
                session: None,
                id: None,
                method: None,
            }))
        }))
    }
}

impl WireLog {
    pub(super) fn record_span_of(&self, id: &RequestId) {
        if let Some(mut state) = self.state() {
            state.span_of = Some(id.clone());
        }
    }

    /// The session is about to be ended by HTTP.
    pub(super) fn deleting(&self, session: &McpSession) {
        let Some(mut state) = self.state() else {
            return;
        };
        state.begin(session);
        tracing::debug!(
            session = state.session.as_deref(),
            "-> server: DELETE session"
        );
    }

    /// The head of an HTTP response has come.
    pub(super) fn answered(&self, status: StatusCode) {
        if let Some(mut state) = self.state() {
            state.status = Some(status);
        }
    }

    /// Logs that what was sent is accepted, and has no JSON-RPC response, or not here.
    pub(super) fn accepted(&self, what: &str) {
        let Some(state) = self.state() else { return };
        tracing::debug!(
            id = state.id.as_ref().map(display),
            method = state.method,
            status = state.status(),
            ms = state.milliseconds(),
            session = state.session.as_deref(),
            "try" = state.tries,
            "<- server: {what}"
        );
    }

    /// There is no HTTP response to this try.
    pub(super) fn failed(&self, failure: &Failure) {
        let Some(state) = self.state() else { return };
        tracing::debug!(
            id = state.id.as_ref().map(display),
            method = state.method,
            ms = state.milliseconds(),
            session = state.session.as_deref(),
            "try" = state.tries,
            "<- server: no HTTP response: {failure}"
        );
    }

    /// The request has no response, and will not get one.
    pub(super) fn ended(&self, failure: &Failure) {
        let Some(state) = self.state() else { return };
        tracing::debug!(
            status = state.status(),
            ms = state.milliseconds(),
            session = state.session.as_deref(),
            "try" = state.tries,
            "request failed: {failure}"
        );
    }

    fn state(&self) -> Option<MutexGuard<'_, WireState>> {
        let state = self.0.as_ref()?;
        Some(state.lock())
    }
}

impl WireState {
    /// The id, if the span does not show it.
    fn unshown<'a>(&self, id: Option<&'a RequestId>) -> Option<&'a RequestId> {
        id.filter(|id| self.span_of.as_ref() != Some(*id))
    }

    fn status(&self) -> Option<u16> {
        self.status.map(|status| status.as_u16())
    }

    fn milliseconds(&self) -> f64 {
        // To the tenth, which is what a local server takes.
        (self.sent.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
    }
}

impl Track {
    /// Logs that the request has no response yet: after some seconds, and more and more rarely after that.
    /// `method` is for what runs in no span.
    pub async fn report_silence(&self, method: Option<&str>) -> Infallible {
        let begun = Instant::now();
        let mut backoff = Backoff::new(FIRST_SILENCE, LONGEST_SILENCE);
        loop {
            sleep(backoff.pause()).await;
            let seconds = begun.elapsed().as_secs();
            tracing::debug!(method, seconds, "no response yet: {}", self.standing());
        }
    }

    /// Carries a message that has no response of its own to its end, and reports on that meanwhile.
    pub(super) async fn watched<T>(&self, method: &str, sending: impl Future<Output = T>) -> T {
        let mut sending = std::pin::pin!(sending);
        if self.wire.0.is_none() {
            return sending.await;
        }
        tokio::select! {
            sent = &mut sending => sent,
            never = self.report_silence(Some(method)) => match never {},
        }
    }

    fn standing(&self) -> String {
        let answered = self.wire.state().map(|state| (state.tries, state.status));
        match (self.phase(), answered) {
            (Phase::Queued, _) => "it has not been sent, others go first".to_owned(),
            (Phase::SigningIn, _) => "it waits for a sign-in".to_owned(),
            (Phase::Unreachable, _) => "the server cannot be reached".to_owned(),
            (Phase::Sent, Some((_, Some(status)))) if status.is_success() => {
                format!("the server has answered {status}, and the rest is to come")
            }
            (Phase::Sent, Some((_, Some(status)))) => {
                format!("the server has answered {status}, and it is to be sent again")
            }
            (Phase::Sent, Some((tries, None))) => {
                format!("the server has not answered the HTTP request (try {tries})")
            }
            (Phase::Sent, None) => "the server has not answered".to_owned(),
        }
    }
}

impl Endpoint {
    /// An HTTP request goes out.
    pub(super) fn log_sent(
        &self,
        outgoing: &Outgoing<'_>,
        session: &McpSession,
        credentials: &Credentials,
    ) {
        let wire = &outgoing.track.wire;
        let Some(mut state) = wire.state() else {
            return;
        };
        state.begin(session);
        let Verb::Post(message) = &outgoing.verb else {
            let (session, tries) = (state.session.as_deref(), state.tries);
            return tracing::debug!(session, "try" = tries, "-> server: GET event stream");
        };
        state.id = state.unshown(message.id()).cloned();
        let is_in_span = state.span_of.is_some() && state.id.is_none();
        let method = message.method();
        state.method = method.filter(|_| !is_in_span).map(str::to_owned);
        tracing::debug!(
            id = state.id.as_ref().map(display),
            method = state.method,
            bytes = message.text().len(),
            session = state.session.as_deref(),
            "try" = state.tries,
            "-> server: POST {}",
            kind(message)
        );
        drop(state);
        if tracing::enabled!(Level::TRACE) {
            *self.lock_logged_credentials() = credentials.clone();
            self.log_body("-> server", message.text());
        }
    }

    /// An HTTP request is refused.
    pub(super) fn log_refusal(&self, outgoing: &Outgoing<'_>, body: &HttpErrorBody) {
        outgoing.track.wire.accepted(match outgoing.verb {
            Verb::Post(_) => "refused",
            Verb::Get { .. } => "event stream refused",
        });
        if tracing::enabled!(Level::TRACE) {
            self.log_body("<- server", body.text().as_bytes());
        }
    }

    /// A request has its JSON-RPC response.
    pub(super) fn log_response(&self, track: &Track, response: &Message) {
        let Some(state) = track.wire.state() else {
            return;
        };
        tracing::debug!(
            id = state.unshown(response.id()).map(display),
            method = state.method,
            status = state.status(),
            ms = state.milliseconds(),
            bytes = response.text().len(),
            session = state.session.as_deref(),
            "try" = state.tries,
            "<- server: {}",
            kind(response)
        );
        if tracing::enabled!(Level::TRACE) {
            self.log_body("<- server", response.text());
        }
    }

    /// The server has sent a request or a notification.
    pub(super) fn log_delivery(&self, message: &Message, stream: Option<&RequestId>) {
        if !tracing::enabled!(Level::DEBUG) {
            return;
        }
        tracing::debug!(
            id = message.id().map(display),
            method = message.method(),
            bytes = message.text().len(),
            stream = stream.map(display),
            "<- server: {}",
            kind(message)
        );
        if tracing::enabled!(Level::TRACE) {
            self.log_body("<- server", message.text());
        }
    }

    /// Tells an observer of a step of the connection.
    pub(super) fn step(&self, step: Step, detail: impl FnOnce() -> String) {
        self.config.http.observation.step(step, detail);
    }

    /// Tells an observer of a step of the connection in these words.
    pub(super) fn note(&self, step: Step, text: &'static str) {
        self.step(step, || text.to_owned());
    }

    /// The app has sent a message.
    pub fn log_from_app(&self, message: &Message) {
        let observation = &self.config.http.observation;
        observation.report(|| EventKind::FromApp(observed(message)));
        if tracing::enabled!(Level::TRACE) {
            self.log_app("<- app", message);
        }
    }

    /// The app gets a message.
    pub fn log_to_app(&self, message: &Message) {
        let observation = &self.config.http.observation;
        observation.report(|| EventKind::ToApp(observed(message)));
        if tracing::enabled!(Level::TRACE) {
            self.log_app("-> app", message);
        }
    }

    fn log_app(&self, direction: &str, message: &Message) {
        let body = redacted(message.text(), &self.secrets(), BODY_BYTES);
        tracing::trace!("{direction}: {}: {body}", kind(message));
    }

    fn log_body(&self, direction: &str, body: &[u8]) {
        if body.is_empty() {
            return;
        }
        let body = redacted(body, &self.secrets(), BODY_BYTES);
        tracing::trace!("{direction}: {body}");
    }

    /// Secrets that the requests to the server carry.
    fn secrets(&self) -> Vec<String> {
        let credentials: Vec<_> = self.lock_logged_credentials().values().collect();
        let session = self.sessions.current().id;
        let headers = self
            .config
            .headers
            .values()
            .chain(&credentials)
            .chain(&session);
        let headers = headers.filter_map(|value| value.to_str().ok());
        // A scheme before it (`Bearer …`) may be missing where it is repeated.
        let words = headers.flat_map(|value| [value].into_iter().chain(value.split_whitespace()));
        let mut secrets: Vec<_> = words.map(str::to_owned).collect();
        let query = self.config.url.query_pairs();
        secrets.extend(query.map(|(_, value)| value.into_owned()));
        secrets
    }

    fn lock_logged_credentials(&self) -> MutexGuard<'_, Credentials> {
        self.logged_credentials.lock()
    }
}

impl WireState {
    fn begin(&mut self, session: &McpSession) {
        self.tries += 1;
        self.sent = Instant::now();
        self.status = None;
        self.session = session.id.as_ref().map(shortened);
    }
}

/// A name for a session that gives no access to it.
fn shortened(id: &HeaderValue) -> String {
    let hash = Sha256::digest(id.as_bytes());
    let mut name = String::new();
    for byte in &hash[..SESSION_HASH_BYTES] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn kind(message: &Message) -> &'static str {
    match message.kind() {
        Kind::Request { .. } => "request",
        Kind::Notification { .. } => "notification",
        Kind::Response { .. } if message.is_error() => "error response",
        Kind::Response { .. } => "response",
    }
}

/// The message as an observer sees it.
fn observed(message: &Message) -> ObservedMessage<'_> {
    let kind = match message.kind() {
        Kind::Request { .. } => MessageKind::Request,
        Kind::Notification { .. } => MessageKind::Notification,
        Kind::Response { .. } if message.is_error() => MessageKind::Error,
        Kind::Response { .. } => MessageKind::Response,
    };
    ObservedMessage {
        text: message.text(),
        kind,
        id: message.id().map(RequestId::as_json),
        method: message.method().unwrap_or_default(),
    }
}
