//! Life of one request: from the first attempt to its one response.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::json;
use tokio::time::timeout;

use super::answer::{Answer, Exchange};
use super::body;
use super::request_progress::Track;
use super::send::{Outgoing, Repeat, SESSION_ID, SessionUse, Verb};
use super::session::{self, Session};
use super::{Endpoint, Failure, Outcome, Patience, headers, is_safe};
use mcp_bridge_auth::Interaction;
use mcp_bridge_net::http::{Response, Traffic};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// How long the server may take to accept a notification or a response.
const NOTIFICATION_LIMIT: Duration = Duration::from_secs(30);

impl Endpoint {
    /// Sends a request and returns what came of it: in nearly every case the response, the server's or an
    /// error that says what happened.
    pub async fn request(self: &Arc<Self>, request: &Message, era: Era, track: &Track) -> Outcome {
        let (Some(id), Some(method)) = (request.id(), request.method()) else {
            unreachable!("only requests are sent as requests");
        };
        self.activity.notify_waiters();
        let exchange = self.exchange(request, id, method, era, track);
        let outcome = match self.config.request_timeout {
            Some(idle) if method != "subscriptions/listen" => tokio::select! {
                outcome = exchange => outcome,
                () = track.expired(idle) => {
                    self.cancel_upstream(id, method, era);
                    Err(Failure::Timeout(idle))
                }
            },
            _ => exchange.await,
        };
        if method == "tools/list"
            && matches!(&outcome, Ok(Outcome::Response(response)) if !response.is_error())
        {
            Box::pin(self.note_sign_in()).await;
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
            self.verdict.record_open(matches!(token, Ok(None)));
        }
    }

    async fn exchange(
        self: &Arc<Self>,
        request: &Message,
        id: &RequestId,
        method: &str,
        era: Era,
        track: &Track,
    ) -> Result<Outcome, Failure> {
        match (era, method) {
            (Era::Modern, "server/discover") => {
                let discovered = Box::pin(self.discover(request, id));
                Ok(Outcome::Response(discovered.await))
            }
            (Era::Modern, _) => Box::pin(self.request_modern(request, id, method, track)).await,
            (Era::Legacy, "initialize") => Box::pin(self.open(request, id, track)).await,
            (Era::Legacy, _) => {
                let response = self.converse_in_session(request, id, method, track).await?;
                if !response.is_error() {
                    self.sessions.remember(request);
                }
                Ok(Outcome::Response(response))
            }
        }
    }

    /// Sends a notification, or the app's response to a request of the server. Nobody can be told of a
    /// failure, so it is logged.
    pub async fn notify(self: &Arc<Self>, message: &Message) {
        let method = message.method().unwrap_or("response");
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
                self.sessions.remember(message);
                if method == "notifications/initialized" {
                    self.listen();
                    self.keep_alive();
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
            return Box::pin(connection.post(self, message, &session, interaction, &track)).await;
        }
        let outgoing = Outgoing {
            target: &self.config.url,
            headers: self.legacy_headers(message),
            verb: Verb::Post(message.text().clone()),
            traffic: traffic(message),
            session,
            interaction,
            repeat,
            track: &track,
        };
        let method = message.method().unwrap_or("response");
        let accepted = track.watched(method, self.send(&outgoing)).await?;
        track.wire.accepted("accepted");
        body::drain(accepted.response);
        Ok(())
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
        let mut may_repeat = is_safe(request.method().unwrap_or_default());
        loop {
            let once =
                self.converse_once(request, id, session.clone(), Interaction::Allowed, track);
            match once.await {
                Err(Failure::ConnectionLost { .. } | Failure::NoResponse(_))
                    if may_repeat && !*self.stopping.borrow() =>
                {
                    may_repeat = false;
                }
                outcome => return outcome,
            }
        }
    }

    /// The same, once.
    pub(super) async fn converse_once(
        self: &Arc<Self>,
        request: &Message,
        id: &RequestId,
        session: SessionUse,
        interaction: Interaction,
        track: &Track,
    ) -> Result<(Message, Session), Failure> {
        let method = request.method().unwrap_or_default();
        if let Some(connection) = self.http_sse() {
            let answer =
                Box::pin(connection.request(self, request, id, &session, interaction, track))
                    .await?;
            self.log_response(track, &answer);
            return Ok((answer, Session::default()));
        }
        let outgoing = Outgoing {
            target: &self.config.url,
            headers: self.legacy_headers(request),
            verb: Verb::Post(request.text().clone()),
            traffic: traffic(request),
            session,
            interaction,
            repeat: match method {
                "initialize" => Repeat::Initialize,
                method if is_safe(method) => Repeat::Safe,
                _ => Repeat::Never,
            },
            track,
        };
        // Pinned here: as an argument it would be copied, and it is large.
        let post = std::pin::pin!(async {
            let accepted = self.send(&outgoing).await?;
            let opened = (method == "initialize")
                .then(|| opened_id(&accepted.response))
                .transpose()?
                .flatten();
            let generation = accepted.session.generation;
            let exchange = Exchange {
                endpoint: self,
                id,
                method,
                track,
                generation,
                era: Era::Legacy,
            };
            let answer = exchange.read(accepted).await?;
            let session = Session {
                id: opened,
                protocol_version: None,
                generation,
            };
            Ok((answer, session))
        });
        // Before there is a session there is no stream but its own that could bring the response.
        if method == "initialize" {
            let (answer, opened) = post.await?;
            let response = answer.response()?;
            self.log_response(track, &response);
            let protocol_version = protocol_version(&response);
            let opened = Session {
                protocol_version,
                ..opened
            };
            return Ok((response, opened));
        }
        let mut waiting = self.in_flight.register(id);
        let response = match waiting.or_elsewhere(post).await? {
            (Answer::Response(response), _) => response,
            (Answer::Acknowledged(said), session) => {
                let late = waiting.on_session_stream(self, session.generation, track, &said);
                Box::pin(late).await?
            }
        };
        self.log_response(track, &response);
        Ok((response, Session::default()))
    }

    fn legacy_headers(&self, message: &Message) -> HeaderMap {
        headers::legacy(message, &self.tool_headers, self.config.param_headers)
    }

    /// Tells the server that nobody waits for a request any more (MCP "Cancellation").
    fn cancel_upstream(self: &Arc<Self>, id: &RequestId, method: &str, era: Era) {
        // An `initialize` must not be cancelled, and the modern era hears of it by the end of the stream.
        if method == "initialize" || era == Era::Modern {
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
