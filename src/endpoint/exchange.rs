//! One request and its one response.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::body::{self, ContentType};
use super::http_sse::HttpSse;
use super::send::{Accepted, Outgoing, Repeat, SessionUse, Verb};
use super::session::{self, Session};
use super::stream::{Backoff, EventStream};
use super::{Endpoint, Failure, Patience, Phase, Transport, is_safe};
use crate::auth::Interaction;
use crate::message::{Kind, Message, RequestId};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// How long the server may take to accept a notification or a response.
const NOTIFICATION_LIMIT: Duration = Duration::from_secs(30);

/// Progress puts a request's timeout off, to this many times its length in all.
const TIMEOUT_CEILING: u32 = 10;

/// Connections in a row that bring nothing new before a broken response stream is given up.
const MAX_BARREN_RESUMES: u32 = 5;

/// Where a request stands, shared between who carries it and who waits for it.
#[derive(Debug, Default)]
pub struct Track {
    phase: AtomicU8,
    progress: Notify,
}

impl Track {
    /// Where the request stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Queued,
            1 => Phase::Sent,
            _ => Phase::SigningIn,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        let phase = match phase {
            Phase::Queued => 0,
            Phase::Sent => 1,
            Phase::SigningIn => 2,
        };
        self.phase.store(phase, Ordering::Relaxed);
        self.progress.notify_one();
    }

    /// The server has given a sign of life.
    fn advanced(&self) {
        self.progress.notify_one();
    }

    /// Resolves when the request has taken too long: `idle` without progress, or many times that with.
    /// The time that a person takes to sign in does not count.
    async fn expired(&self, idle: Duration) {
        let mut ceiling = Instant::now() + idle * TIMEOUT_CEILING;
        loop {
            let limit = idle.min(ceiling.saturating_duration_since(Instant::now()));
            let silent = timeout(limit, self.progress.notified()).await.is_err();
            if self.phase() != Phase::Sent {
                ceiling = Instant::now() + idle * TIMEOUT_CEILING;
            } else if silent || Instant::now() >= ceiling {
                return;
            }
        }
    }
}

impl Endpoint {
    /// Sends a request and returns its response: the server's, or an error that says what happened.
    pub async fn request(self: &Arc<Self>, request: &Message, track: &Track) -> Message {
        let (Some(id), Some(method)) = (request.id(), request.method()) else {
            unreachable!("only requests are sent as requests");
        };
        self.activity.notify_waiters();
        let exchange = self.exchange(request, id, method, track);
        let outcome = match self.config.request_timeout {
            None => exchange.await,
            Some(idle) => tokio::select! {
                outcome = exchange => outcome,
                () = track.expired(idle) => {
                    self.cancel_upstream(id, method);
                    Err(Failure::Timeout(idle))
                }
            },
        };
        outcome.unwrap_or_else(|failure| {
            tracing::warn!(host = %self.host(), method, "{failure}");
            if self.config.patience == Patience::FailFast
                && matches!(failure, Failure::Connect { .. })
            {
                self.end(&failure.to_string());
            }
            failure.to_response(id, method, &self.host())
        })
    }

    /// Sends a notification, or the app's response to a request of the server. Nobody can be told of a
    /// failure, so it is logged.
    pub async fn notify(self: &Arc<Self>, message: &Message) {
        let method = message.method().unwrap_or("response");
        let sent = self.post(message, SessionUse::Current, Repeat::Never);
        match timeout(NOTIFICATION_LIMIT, sent).await {
            Ok(Ok(())) => {
                self.sessions.remember(message);
                if method == "notifications/initialized" {
                    self.listen();
                }
            }
            Ok(Err(failure)) => tracing::warn!(host = %self.host(), method, "not sent: {failure}"),
            Err(_) => tracing::warn!(host = %self.host(), method, "not accepted in time"),
        }
    }

    /// Sends a message that has no response of its own.
    pub(super) async fn post(
        self: &Arc<Self>,
        message: &Message,
        session: SessionUse,
        repeat: Repeat,
    ) -> Result<(), Failure> {
        let track = Track::default();
        let interaction = Interaction::Forbidden;
        if let Some(connection) = self.http_sse() {
            return connection
                .post(self, message, &session, interaction, &track)
                .await;
        }
        let outgoing = Outgoing {
            target: &self.config.url,
            verb: Verb::Post(message.text().clone()),
            session,
            interaction,
            repeat,
            track: &track,
        };
        let accepted = self.send(&outgoing).await?;
        body::drain(accepted.response);
        Ok(())
    }

    async fn exchange(
        self: &Arc<Self>,
        request: &Message,
        id: &RequestId,
        method: &str,
        track: &Track,
    ) -> Result<Message, Failure> {
        if method != "initialize" {
            let (response, _) = self
                .converse(request, id, SessionUse::Current, track)
                .await?;
            if !response.is_error() {
                self.sessions.remember(request);
            }
            return Ok(response);
        }
        self.listener.stop();
        let previous = self.sessions.close();
        if previous.id.is_some() {
            let endpoint = Arc::clone(self);
            tokio::spawn(async move { endpoint.delete(&previous).await });
        }
        let (response, session) = self.initialize(request, id, track).await?;
        if !response.is_error() {
            self.sessions.opened(session, request, &response);
        }
        Ok(response)
    }

    /// Sends `initialize` over the transport that the server speaks (MCP 2025-11-25, "Backwards
    /// Compatibility").
    async fn initialize(
        self: &Arc<Self>,
        request: &Message,
        id: &RequestId,
        track: &Track,
    ) -> Result<(Message, Session), Failure> {
        self.set_http_sse(None);
        let converse = || self.converse(request, id, SessionUse::None, track);
        let refusal = match self.config.transport {
            Transport::HttpOnly => return converse().await,
            Transport::SseOnly | Transport::SseFirst => None,
            Transport::HttpFirst => match converse().await {
                Err(failure) if failure.suggests_http_sse() => Some(failure),
                answer => return answer,
            },
        };
        match (HttpSse::connect(self, track).await, refusal) {
            (Ok(connection), _) => {
                self.set_http_sse(Some(connection));
                converse().await
            }
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(failure), None)
                if self.config.transport == Transport::SseFirst && failure.suggests_http() =>
            {
                converse().await
            }
            (Err(failure), None) => Err(failure),
        }
    }

    /// Sends a request and reads on until its response is there; a second time, if the answer broke
    /// off and the request has no side effects. Also returns the session that the answer opens, if the
    /// request is an `initialize`.
    pub(super) async fn converse(
        self: &Arc<Self>,
        request: &Message,
        id: &RequestId,
        session: SessionUse,
        track: &Track,
    ) -> Result<(Message, Session), Failure> {
        let first = self
            .converse_once(request, id, session.clone(), track)
            .await;
        match first {
            Err(Failure::ConnectionLost { .. } | Failure::NoResponse(_))
                if is_safe(request.method().unwrap_or_default()) && !*self.stopping.borrow() =>
            {
                self.converse_once(request, id, session, track).await
            }
            outcome => outcome,
        }
    }

    async fn converse_once(
        self: &Arc<Self>,
        request: &Message,
        id: &RequestId,
        session: SessionUse,
        track: &Track,
    ) -> Result<(Message, Session), Failure> {
        let method = request.method().unwrap_or_default();
        if let Some(connection) = self.http_sse() {
            let answer = connection
                .request(self, request, id, &session, track)
                .await?;
            return Ok((answer, Session::default()));
        }
        let outgoing = Outgoing {
            target: &self.config.url,
            verb: Verb::Post(request.text().clone()),
            session,
            interaction: Interaction::Allowed,
            repeat: match method {
                "initialize" => Repeat::Initialize,
                method if is_safe(method) => Repeat::Safe,
                _ => Repeat::Never,
            },
            track,
        };
        let Accepted { response, session } = self.send(&outgoing).await?;
        let opened = (method == "initialize")
            .then(|| opened_id(&response))
            .transpose()?;
        let generation = session.generation;
        let exchange = Exchange {
            endpoint: self,
            id,
            method,
            track,
            generation,
        };
        let answer = match response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Err(Failure::NoResponse(format!(
                "it only said {}",
                response.status()
            ))),
            _ => match ContentType::of(response.headers()) {
                ContentType::EventStream => exchange.read_stream(response, session).await,
                ContentType::Json | ContentType::Missing => exchange.read_json(response).await,
                ContentType::Other(kind) => Err(Failure::InvalidResponse(format!(
                    "it is of type {kind}; is this the server's MCP endpoint?"
                ))),
            },
        }?;
        let opened = Session {
            id: opened.flatten(),
            protocol_version: protocol_version(&answer),
            generation,
        };
        Ok((answer, opened))
    }

    /// Tells the server that nobody waits for a request any more (MCP "Cancellation").
    fn cancel_upstream(self: &Arc<Self>, id: &RequestId, method: &str) {
        // An `initialize` must not be cancelled.
        if method == "initialize" {
            return;
        }
        let id: serde_json::Value = serde_json::from_str(id.as_json()).unwrap_or_default();
        let cancelled = Message::notification(
            "notifications/cancelled",
            &json!({ "requestId": id, "reason": "timeout" }),
        );
        let endpoint = Arc::clone(self);
        tokio::spawn(async move { endpoint.notify(&cancelled).await });
    }
}

/// A request that the server has accepted, and whose response is being read.
struct Exchange<'a> {
    endpoint: &'a Arc<Endpoint>,
    id: &'a RequestId,
    method: &'a str,
    track: &'a Track,
    generation: u64,
}

impl Exchange<'_> {
    async fn read_json(&self, mut response: reqwest::Response) -> Result<Message, Failure> {
        let text = body::read(&mut response, self.endpoint.config.max_message).await?;
        if text.trim_ascii().is_empty() {
            return Err(Failure::NoResponse("the body is empty".to_owned()));
        }
        let mut answer = None;
        for message in Message::parse_all(&text) {
            let message =
                message.map_err(|invalid| Failure::InvalidResponse(invalid.to_string()))?;
            answer = answer.or(self.take(message, Elsewhere::Dropped).await);
        }
        answer.ok_or_else(|| Failure::InvalidResponse("it answers another request".to_owned()))
    }

    async fn read_stream(
        &self,
        response: reqwest::Response,
        session: Session,
    ) -> Result<Message, Failure> {
        let mut stream = EventStream::new(response, self.endpoint.config.max_message);
        let mut barren = 0;
        let mut backoff = Backoff::default();
        loop {
            let cursor = stream.cursor();
            let end = match self.read_connection(&mut stream).await {
                Ok(Some(answer)) => {
                    stream.drain();
                    return Ok(answer);
                }
                Ok(None) => Failure::NoResponse("the event stream ended".to_owned()),
                Err(failure @ Failure::ConnectionLost { .. }) => failure,
                Err(failure) => return Err(failure),
            };
            if stream.cursor() == cursor {
                barren += 1;
            } else {
                barren = 0;
                backoff.reset();
            }
            let Some(cursor) = stream.cursor() else {
                return Err(end);
            };
            let resumed = loop {
                if barren >= MAX_BARREN_RESUMES {
                    return Err(end);
                }
                tokio::time::sleep(stream.retry().unwrap_or_else(|| backoff.pause())).await;
                match self.resume(cursor.clone(), &session).await {
                    Ok(resumed) => break resumed,
                    Err(failure) if failure.may_pass() => barren += 1,
                    Err(failure) => {
                        // The request itself was accepted: why the rest of its answer cannot be had
                        // must not read as if it had been refused.
                        let detail = format!("the event stream cannot be resumed: {failure}");
                        return Err(Failure::ConnectionLost { detail });
                    }
                }
            };
            stream.resume(resumed);
        }
    }

    /// Reads one connection of the stream to its end, or to the answer.
    async fn read_connection(&self, stream: &mut EventStream) -> Result<Option<Message>, Failure> {
        loop {
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                end @ (Ok(None) | Err(Failure::ConnectionLost { .. })) => {
                    // Many a server forgets the last blank line. A whole response counts all the same.
                    return match stream.unfinished().map(|text| Message::parse(&text)) {
                        Some(Ok(message)) if message.id() == Some(self.id) => {
                            Ok(self.take(message, Elsewhere::Forwarded).await)
                        }
                        _ => end.map(|_| None),
                    };
                }
                Err(failure) => return Err(failure),
            };
            self.track.advanced();
            // A server of 2024-11-05 may answer even a POST so; later it is an event like any other.
            if self.method == "initialize" && &event.name[..] == b"endpoint" {
                return Err(Failure::HttpSse);
            }
            for message in messages(&event.name, &event.data, self.endpoint) {
                if let Some(answer) = self.take(message, Elsewhere::Forwarded).await {
                    return Ok(Some(answer));
                }
            }
        }
    }

    async fn resume(
        &self,
        cursor: HeaderValue,
        session: &Session,
    ) -> Result<reqwest::Response, Failure> {
        let outgoing = Outgoing {
            target: &self.endpoint.config.url,
            verb: Verb::Get {
                last_event_id: Some(cursor),
            },
            session: SessionUse::Fixed(session.clone()),
            interaction: Interaction::Forbidden,
            repeat: Repeat::Safe,
            track: self.track,
        };
        let response = self.endpoint.send(&outgoing).await?.response;
        match ContentType::of(response.headers()) {
            ContentType::EventStream => Ok(response),
            _ => Err(Failure::NoResponse(
                "the event stream ended and cannot be resumed".to_owned(),
            )),
        }
    }

    /// Sorts a message: the response to this request is returned, everything else is handed on.
    async fn take(&self, message: Message, elsewhere: Elsewhere) -> Option<Message> {
        match (message.kind(), elsewhere) {
            (Kind::Response { id: Some(id) }, _) if id == self.id => return Some(message),
            // An error that could not name its request.
            (Kind::Response { id: None }, _) if message.is_error() => {
                return Some(message.with_id(self.id));
            }
            (Kind::Response { id: None }, _) => self.endpoint.drop_response(None),
            (Kind::Response { id }, Elsewhere::Dropped) => self.endpoint.drop_response(id.as_ref()),
            _ => self.endpoint.deliver(message, self.generation).await,
        }
        None
    }
}

/// What becomes of a response to another request.
#[derive(Clone, Copy)]
enum Elsewhere {
    /// A JSON body holds the response to its own request and no other.
    Dropped,
    /// An event stream may bring what another stream lost.
    Forwarded,
}

/// The messages of an event. What is no message is logged and skipped: the stream goes on.
pub(super) fn messages(name: &Bytes, data: &Bytes, endpoint: &Endpoint) -> Vec<Message> {
    if &name[..] != b"message" {
        tracing::debug!(host = %endpoint.host(), name = %name.escape_ascii(), "skipped an event of this type");
        return Vec::new();
    }
    // The priming event of MCP 2025-11-25 has an id and nothing to say.
    if data.is_empty() {
        return Vec::new();
    }
    Message::parse_all(data)
        .into_iter()
        .filter_map(|message| {
            message
                .inspect_err(|error| {
                    tracing::warn!(host = %endpoint.host(), bytes = data.len(), "skipped an event: {error}");
                })
                .ok()
        })
        .collect()
}

/// The session id that comes with an `InitializeResult`.
fn opened_id(response: &reqwest::Response) -> Result<Option<HeaderValue>, Failure> {
    response
        .headers()
        .get(SESSION_ID)
        .map(session::checked_id)
        .transpose()
        .map_err(|error| Failure::InvalidResponse(error.to_string()))
}

/// The version that the server speaks, if it can stand in a header.
fn protocol_version(answer: &Message) -> Option<HeaderValue> {
    let version = answer.result_member::<String>("protocolVersion")?;
    let legal = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_graphic());
    legal
        .then(|| HeaderValue::from_str(&version).ok())
        .flatten()
}
