//! Life of one request: from the first attempt to its one response.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::json;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::answer::ResponseReader;
use super::body;
use super::greeting::opening_with;
use super::in_flight::PostEnd;
use super::request_progress::Track;
use super::retry::{Cause, Repeat, Retries, is_response_lost};
use super::send::{Outgoing, SESSION_ID, SendOptions, SessionUse, Verb};
use super::session::{self, McpSession};
use super::{Endpoint, Failure, Initiative, Outcome, Patience, Request, headers};
use mcp_bridge_auth::Interaction;
use mcp_bridge_net::boxed::boxed;
use mcp_bridge_net::http::{Response, Traffic};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Kind, Message};

/// Limit for the server to accept a notification or a response.
const NOTIFICATION_LIMIT: Duration = Duration::from_secs(30);

/// Limit of the wait for the note of what the server supports, before the answer that it comes from is handed on. An app that
/// kills the process once it has that answer leaves no unfinished file then.
const NOTE_LIMIT: Duration = Duration::from_millis(500);

impl Endpoint {
    /// Sends a request and returns what came of it: in nearly every case the response, the server's or an
    /// error that says what happened.
    pub async fn request(self: &Arc<Self>, request: &Request, track: &Track) -> Outcome {
        let method = request.method();
        if request.initiative() == Initiative::App {
            self.activity.notify_waiters();
        }
        // Pinned here: it is large, and would be copied.
        let mut exchange = pin!(self.exchange(request, track));
        let outcome = match self.config.request_timeout {
            Some(idle) if method != "subscriptions/listen" => tokio::select! {
                outcome = &mut exchange => outcome,
                () = track.expired(idle) => {
                    self.cancel_upstream(request);
                    Err(Failure::Timeout(idle))
                }
            },
            _ => exchange.await,
        };
        if method == "tools/list"
            && matches!(&outcome, Ok(Outcome::Response(response)) if !response.is_error())
        {
            boxed(|| self.note_sign_in()).await;
        }
        if matches!(method, "initialize" | "server/discover") {
            // Beyond the limit the note is given up.
            let _ = timeout(NOTE_LIMIT, boxed(|| self.support.saved())).await;
        }
        outcome.unwrap_or_else(|failure| {
            tracing::warn!(host = %self.host(), method, "{failure}");
            track.wire.ended(&failure);
            if self.config.patience == Patience::FailFast
                && matches!(failure, Failure::Connect { .. })
            {
                self.end(&failure.to_string());
            }
            Outcome::Failed(failure)
        })
    }

    /// The server has listed its tools: whether that took a sign-in is worth knowing.
    async fn note_sign_in(&self) {
        if let Some(authorizer) = &self.authorizer {
            let token = authorizer.token().await;
            self.support.record_open(matches!(token, Ok(None)));
        }
    }

    async fn exchange(
        self: &Arc<Self>,
        request: &Request,
        track: &Track,
    ) -> Result<Outcome, Failure> {
        match (request.era(), request.method()) {
            (Era::Modern, "server/discover") => {
                let discovered = boxed(|| self.discover(request));
                Ok(Outcome::Response(discovered.await))
            }
            (Era::Modern, _) => boxed(|| self.request_modern(request, track)).await,
            (Era::Legacy, "initialize") => boxed(|| self.open(request, track)).await,
            (Era::Legacy, _) => {
                let response = self.converse_in_session(request, track).await?;
                if !response.is_error() {
                    self.sessions.record_request(request);
                }
                Ok(Outcome::Response(response))
            }
        }
    }

    /// Sends a notification, or the app's response to a request of the server. Nobody can be told of a
    /// failure, so it is logged.
    pub async fn notify(self: &Arc<Self>, message: &Message) {
        let method = message.method().unwrap_or("response");
        let id = message.id().map(tracing::field::display);
        let sent = async {
            match Era::of_request(message) {
                Era::Modern => self.post_modern(message).await,
                Era::Legacy => {
                    let session = SessionUse::Current;
                    self.post(message, session, Repeat::Never).await
                }
            }
        };
        match timeout(NOTIFICATION_LIMIT, sent).await {
            Ok(Ok(())) => {
                self.sessions.record_notification(message);
                if method == "notifications/initialized" {
                    self.listen();
                    self.keep_alive();
                }
            }
            Ok(Err(failure)) => {
                tracing::warn!(host = %self.host(), id, method, "not sent: {failure}");
            }
            Err(_) => tracing::warn!(host = %self.host(), id, method, "not accepted in time"),
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
        let options = SendOptions {
            session,
            interaction: Interaction::Forbidden,
            track: &track,
        };
        if let Some(connection) = self.http_sse() {
            return boxed(|| connection.post(self, message, &options)).await;
        }
        let outgoing = self.legacy_post(message, repeat, &options);
        let method = message.method().unwrap_or("response");
        let accepted = track.watched(method, self.send(&outgoing)).await?;
        track.wire.accepted("accepted");
        body::drain(accepted.response);
        Ok(())
    }

    /// Sends a request in a session and reads on until its response is there; a second time, if the answer broke
    /// off and the request has no side effects.
    pub(super) async fn converse(
        self: &Arc<Self>,
        request: &Request,
        session: SessionUse,
        track: &Track,
    ) -> Result<Message, Failure> {
        let options = SendOptions::new(session, track);
        self.repeating(request, || self.converse_once(request, &options))
            .await
    }

    /// Sends `initialize` likewise, and returns the session that the answer opens.
    pub(super) async fn initialize_session(
        self: &Arc<Self>,
        initialize: &Request,
        version_header: Option<HeaderValue>,
        track: &Track,
    ) -> Result<AnsweredInitialize, Failure> {
        let options = SendOptions::new(opening_with(version_header), track);
        self.repeating(initialize, || {
            self.initialize_session_once(initialize, &options)
        })
        .await
    }

    /// Makes an attempt, and another one where the answer broke off and the request has no side effects.
    async fn repeating<T, A: Future<Output = Result<T, Failure>>>(
        &self,
        request: &Request,
        attempt: impl Fn() -> A,
    ) -> Result<T, Failure> {
        let mut retries = Retries::new(Repeat::of_request(request.method()));
        loop {
            match attempt().await {
                Err(failure)
                    if is_response_lost(&failure)
                        && !*self.stopping.borrow()
                        && retries.allow(Cause::ResponseLost) => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends a request in a session once, and reads on until its response is there.
    pub(super) async fn converse_once(
        self: &Arc<Self>,
        request: &Request,
        options: &SendOptions<'_>,
    ) -> Result<Message, Failure> {
        let track = options.track;
        if let Some(connection) = self.http_sse() {
            let answer = boxed(|| connection.request(self, request, options)).await?;
            self.log_response(track, &answer);
            return Ok(answer);
        }
        let repeat = Repeat::of_request(request.method());
        let outgoing = self.legacy_post(request.message(), repeat, options);
        // Pinned here: as an argument it would be copied, and it is large.
        let post = pin!(async {
            let accepted = self.send(&outgoing).await?;
            let generation = accepted.session.generation;
            let reader = ResponseReader {
                endpoint: self,
                request,
                track,
                generation,
            };
            let answer = reader.read(accepted).await?;
            Ok((answer, generation))
        });
        let mut waiting = self.in_flight.register(request.id());
        let response = match waiting.or_elsewhere(post).await? {
            PostEnd::Response(response) => response,
            PostEnd::Acknowledged { said, generation } => {
                let late = waiting.on_session_stream(self, generation, track, &said);
                Box::pin(late).await?
            }
        };
        self.log_response(track, &response);
        Ok(response)
    }

    /// Sends `initialize` once. Before there is a session there is no stream but its own that could bring the
    /// response.
    async fn initialize_session_once(
        self: &Arc<Self>,
        initialize: &Request,
        options: &SendOptions<'_>,
    ) -> Result<AnsweredInitialize, Failure> {
        let track = options.track;
        if let Some(connection) = self.http_sse() {
            let response = boxed(|| connection.request(self, initialize, options)).await?;
            self.log_response(track, &response);
            return Ok(AnsweredInitialize {
                response,
                session: McpSession::default(),
            });
        }
        let outgoing = self.legacy_post(initialize.message(), Repeat::Initialize, options);
        let accepted = self.send(&outgoing).await?;
        let id = opened_id(&accepted.response)?;
        let generation = accepted.session.generation;
        let reader = ResponseReader {
            endpoint: self,
            request: initialize,
            track,
            generation,
        };
        let response = reader.read(accepted).await?.response()?;
        self.log_response(track, &response);
        let session = McpSession {
            id,
            protocol_version: protocol_version(&response),
            generation,
        };
        Ok(AnsweredInitialize { response, session })
    }

    /// The HTTP request for a message of the legacy era.
    fn legacy_post<'a>(
        &'a self,
        message: &Message,
        repeat: Repeat,
        options: &SendOptions<'a>,
    ) -> Outgoing<'a> {
        Outgoing {
            target: &self.config.url,
            headers: self.legacy_headers(message),
            verb: Verb::Post(message.clone()),
            traffic: traffic(message),
            session: options.session.clone(),
            interaction: options.interaction,
            repeat,
            track: options.track,
        }
    }

    fn legacy_headers(&self, message: &Message) -> HeaderMap {
        headers::legacy(message, &self.tool_headers, self.config.param_headers)
    }

    /// Tells the server that nobody waits for a request any more (MCP "Cancellation").
    fn cancel_upstream(self: &Arc<Self>, request: &Request) {
        // An `initialize` must not be cancelled, and the modern era hears of it by the end of the stream.
        if request.method() == "initialize" || request.era() == Era::Modern {
            return;
        }
        let id: serde_json::Value =
            serde_json::from_str(request.id().as_json()).unwrap_or_default();
        let cancelled = Message::notification(
            "notifications/cancelled",
            &json!({ "requestId": id, "reason": "timeout" }),
        );
        let endpoint = Arc::clone(self);
        tokio::spawn(async move { endpoint.notify(&cancelled).await }.in_current_span());
    }
}

/// An `initialize` with its response.
#[derive(Debug)]
pub(super) struct AnsweredInitialize {
    pub(super) response: Message,
    /// The session, if the response is a result.
    pub(super) session: McpSession,
}

/// Urgency of a message, by those who wait for it. The server waits for responses and notifications, and requests of a session wait for the
/// `initialize` that opens it.
pub(super) fn traffic(message: &Message) -> Traffic {
    match message.kind() {
        Kind::Request { method, .. } if method == "initialize" => Traffic::Urgent,
        Kind::Request { .. } => Traffic::Request,
        Kind::Notification { .. } | Kind::Response { .. } => Traffic::Urgent,
    }
}

/// The session id that comes with an `InitializeResult`.
fn opened_id(response: &Response) -> Result<Option<HeaderValue>, Failure> {
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
