//! Era and transport detection by the server's answers to the app's own first message (MCP 2026-07-28,
//! "Versioning", "Backward Compatibility"): no probe goes out before something was refused.
//!
//! Refused credentials, a busy server and a broken network are never evidence.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::greeting::{Greeted, Greeting, VersionRefusal};
use super::http_sse::HttpSse;
use super::modern::SubscriptionEnd;
use super::request_progress::Track;
use super::{Endpoint, Failure, Initiative, Outcome, Protocol, Request, TransportChoice};
use mcp_bridge_auth::Interaction;
use mcp_bridge_net::observer::Step;
use mcp_bridge_protocol::codes::{
    INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, SERVER_ERROR, UNSUPPORTED_VERSION_DRAFT,
    is_modern as is_modern_code,
};
use mcp_bridge_protocol::era::{Discovery, Era, MODERN_VERSION, is_modern, refuse_malformed};
use mcp_bridge_protocol::message::{Message, RequestId};

/// Limit for the answer to the app's own probe. Apps give up after ten seconds.
const DISCOVER_LIMIT: Duration = Duration::from_secs(5);

/// Limit for the server to answer a probe of ours.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Era of the server, by its answer to an `initialize`.
enum NegotiatedEra {
    /// The server has answered.
    Answered(Greeting),
    /// The server speaks the modern era alone; its answer to `server/discover`.
    ModernOnly(Message),
}

impl Endpoint {
    /// Opens a session for the app.
    pub(super) async fn open(
        self: &Arc<Self>,
        initialize: &Request,
        track: &Track,
    ) -> Result<Outcome, Failure> {
        self.support.load();
        self.listener.stop();
        let previous = self.sessions.close();
        if previous.id.is_some() {
            let endpoint = Arc::clone(self);
            tokio::spawn(async move { endpoint.delete(&previous).await }.in_current_span());
        }
        let modern_first = match self.config.protocol {
            Protocol::Modern => {
                let discover = self.probe(initialize, track).await?;
                return discover.map(Outcome::ModernOnly).ok_or_else(|| {
                    Failure::InvalidResponse("it is none of a server of MCP 2026-07-28".to_owned())
                });
            }
            Protocol::PreferModern => true,
            Protocol::Auto => self.support.is_modern_only(),
            Protocol::Legacy => false,
        };
        if modern_first
            && let Some(discover) = self.probe(initialize, track).await?
            && Discovery::of(&discover) == Discovery::Modern
        {
            return Ok(Outcome::ModernOnly(discover));
        }
        match self.initialize(initialize, track).await? {
            NegotiatedEra::Answered(greeting) => {
                let response = greeting.response.clone();
                if response.is_error() {
                    return Ok(Outcome::Response(response));
                }
                let is_as_asked =
                    greeting.initialize.message().text() == initialize.message().text();
                self.support.record_legacy(true);
                self.note(
                    Step::Era,
                    "legacy, because the server has answered initialize",
                );
                self.sessions.opened(greeting);
                Ok(if is_as_asked {
                    Outcome::Response(response)
                } else {
                    Outcome::OtherVersion(response)
                })
            }
            NegotiatedEra::ModernOnly(discover) => {
                self.support.record_legacy(false);
                self.note(Step::Era, "modern, because the server refuses initialize");
                Ok(Outcome::ModernOnly(discover))
            }
        }
    }

    /// Sends `initialize` over the transport that the server speaks (MCP 2025-11-25, "Backwards
    /// Compatibility"), unless it turns out to speak the modern era alone.
    async fn initialize(
        self: &Arc<Self>,
        request: &Request,
        track: &Track,
    ) -> Result<NegotiatedEra, Failure> {
        self.set_http_sse(None);
        let greet = || async {
            let greeted = self.greet(request, track).await;
            let greeted = self.greet_again(request, track, greeted).await;
            greeted.map(NegotiatedEra::Answered)
        };
        let refusal = match self.config.transport {
            TransportChoice::SseOnly | TransportChoice::SseFirst => None,
            TransportChoice::HttpFirst if self.support.is_http_sse() => None,
            TransportChoice::HttpFirst | TransportChoice::HttpOnly => {
                let greeted = self.greet(request, track).await;
                if self.config.protocol != Protocol::Legacy
                    && suggests_modern(&greeted)
                    && let Ok(Some(discover)) = self.probe(request, track).await
                {
                    return Ok(NegotiatedEra::ModernOnly(discover));
                }
                let greeted = self.greet_again(request, track, greeted).await;
                match greeted.map(NegotiatedEra::Answered) {
                    Err(failure)
                        if failure.suggests_http_sse()
                            && self.config.transport == TransportChoice::HttpFirst =>
                    {
                        Some(failure)
                    }
                    answer => return answer,
                }
            }
        };
        match (HttpSse::connect(self, track).await, refusal) {
            (Ok(connection), _) => {
                self.support.record_http_sse(true);
                let address = connection.address();
                self.set_http_sse(Some(connection));
                let answer = greet().await;
                answer.map_err(|failure| failure.at_address(&address.unwrap_or_default()))
            }
            (Err(attempt), Some(refusal)) => Err(attempt.or_refusal(refusal)),
            (Err(attempt), None)
                if self.config.transport != TransportChoice::SseOnly && attempt.suggests_http() =>
            {
                self.support.record_http_sse(false);
                self.note(Step::Transport, "streamable HTTP again");
                let answer = greet().await;
                answer.map_err(|failure| {
                    if failure.suggests_http_sse() {
                        attempt.or_refusal(failure)
                    } else {
                        failure
                    }
                })
            }
            (Err(attempt), None) => Err(attempt),
        }
    }

    /// Asks the server whether it speaks the modern era, in whichever versions; `None` if it does not
    /// seem to.
    async fn probe(
        self: &Arc<Self>,
        initialize: &Request,
        track: &Track,
    ) -> Result<Option<Message>, Failure> {
        let discover = Request::discover(initialize, self.next_id());
        // It goes in place of the app's `initialize`, for which people sign in.
        let asked = self.attempt_modern(&discover, Interaction::Allowed, track);
        let Ok(answer) = timeout(PROBE_LIMIT, asked).await else {
            return Ok(None);
        };
        match answer {
            Ok(answer) if self.note_era(&answer) && !answer.is_error() => Ok(Some(answer)),
            Ok(_) => Ok(None),
            Err(Failure::Status { status, error, .. }) if is_evidence(status) => {
                match error {
                    Some(error) => _ = self.note_era(&error),
                    None => self.support.record_modern(false),
                }
                Ok(None)
            }
            Err(Failure::Status { status, .. }) if status.is_client_error() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Remembers what an answer to `server/discover` says of the server's era, and tells whether it is
    /// one of a modern server.
    fn note_era(&self, answer: &Message) -> bool {
        match Discovery::of(answer) {
            Discovery::Modern | Discovery::OtherModern(_) => {
                self.support.record_modern(true);
                self.note(
                    Step::Era,
                    "modern, because the server has answered server/discover",
                );
                if !answer.is_error() {
                    self.support.record_discovered(answer);
                }
                true
            }
            Discovery::NotModern if is_modern_error(answer) => true,
            Discovery::LegacyOnly(_) | Discovery::NotModern => {
                self.support.record_modern(false);
                self.note(
                    Step::Era,
                    "legacy, by the server's answer to server/discover",
                );
                false
            }
        }
    }

    /// The app's own `server/discover`: answered soon, from the server or from memory, or as a server of
    /// the legacy era would, so that the app goes on with `initialize`.
    pub(super) async fn discover(self: &Arc<Self>, request: &Request) -> Message {
        let id = request.id();
        if let Some(refusal) = refuse_malformed(request.message()) {
            return refusal;
        }
        self.support.load();
        if self.config.protocol == Protocol::Legacy || self.support.is_legacy_only() {
            return not_found(id);
        }
        // A task of its own: an answer that comes too late for the app is still worth knowing.
        let (endpoint, request) = (Arc::clone(self), request.clone());
        let asked = async move {
            let track = Track::default().with_span_of(request.id());
            // A probe must not surprise anybody with a browser window.
            let asked = endpoint.attempt_modern(&request, Interaction::Forbidden, &track);
            endpoint.note_discovery(asked.await)
        };
        let asked = tokio::spawn(asked.in_current_span());
        match timeout(DISCOVER_LIMIT, asked).await {
            Ok(Ok(Some(answer))) => answer.with_id(id),
            Ok(Ok(None) | Err(_)) => not_found(id),
            Err(_) => match self.support.discovered() {
                Some(known) => known.with_id(id),
                None => not_found(id),
            },
        }
    }

    /// The answer to `server/discover` of a server that cannot be asked yet: all that it may have.
    fn presumed(&self) -> Message {
        let result = json!({
            "resultType": "complete",
            "supportedVersions": [MODERN_VERSION],
            "capabilities": {
                "tools": { "listChanged": true },
                "prompts": { "listChanged": true },
                "resources": { "listChanged": true, "subscribe": true },
                "completions": {},
                "logging": {},
            },
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {
                "io.modelcontextprotocol/serverInfo": { "name": self.host(), "version": "unknown" },
            },
        });
        Message::result(&self.next_id(), &result.to_string())
    }

    /// Records what an answer to `server/discover` says of the server, and returns the answer for the app.
    fn note_discovery(&self, answer: Result<Message, Failure>) -> Option<Message> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::Status { status, error, .. }) if is_evidence(status) => {
                let Some(error) = error else {
                    self.support.record_modern(false);
                    return None;
                };
                *error
            }
            // Nothing is known of a server that wants a token first. The app may go on: its first request
            // leads to the sign-in, and is translated if the server should turn out to be of the other era.
            Err(Failure::Auth(_)) => {
                let known = self.support.discovered();
                self.has_presumed
                    .fetch_or(known.is_none(), Ordering::Relaxed);
                return Some(known.unwrap_or_else(|| self.presumed()));
            }
            Err(_) => return self.support.discovered(),
        };
        self.note_era(&answer).then_some(answer)
    }

    /// Another request of the modern era, which a server of the legacy era does not understand.
    pub(super) async fn request_modern(
        self: &Arc<Self>,
        request: &Request,
        track: &Track,
    ) -> Result<Outcome, Failure> {
        if let Some(refusal) = refuse_malformed(request.message()) {
            return Ok(Outcome::Response(refusal));
        }
        if request.initiative() == Initiative::Bridge {
            return Ok(match self.subscribe(request, track).await {
                SubscriptionEnd::Answered(answer) => Outcome::Response(answer),
                SubscriptionEnd::Refused(lost) => {
                    track.wire.ended(&lost.failure);
                    Outcome::SubscriptionLost(lost)
                }
                SubscriptionEnd::Lost(lost) => Outcome::SubscriptionLost(lost),
            });
        }
        self.support.load();
        if self.config.protocol == Protocol::Legacy || self.support.is_legacy_only() {
            return Ok(Outcome::LegacyOnly);
        }
        let answer = if request.method() == "subscriptions/listen" {
            match self.subscribe(request, track).await {
                SubscriptionEnd::Answered(answer) => Ok(answer),
                SubscriptionEnd::Refused(refused) => Err(refused.failure),
                SubscriptionEnd::Lost(lost) => return Ok(Outcome::SubscriptionLost(lost)),
            }
        } else {
            self.converse_modern(request, track).await
        };
        if self.config.protocol == Protocol::Modern || !suggests_legacy(&answer) {
            return answer.map(Outcome::Response);
        }
        let Some(meta) = request.message().param::<Value>("_meta") else {
            return answer.map(Outcome::Response);
        };
        let params = json!({ "_meta": meta }).to_string();
        let id = self.next_id();
        let discover = Request::of_ours(id, "server/discover", &params, Era::Modern);
        let asked = self.attempt_modern(&discover, Interaction::Forbidden, track);
        match timeout(PROBE_LIMIT, asked)
            .await
            .map(|answer| self.note_discovery(answer))
        {
            Ok(None) if self.support.is_legacy_only() => Ok(Outcome::LegacyOnly),
            _ => answer.map(Outcome::Response),
        }
    }
}

/// Returns whether what came of `initialize` may be the answer of a server that has no such method.
fn suggests_modern(greeted: &Greeted) -> bool {
    if VersionRefusal::from_outcome(greeted)
        .is_some_and(|refusal| refusal.names_legacy_versions_alone())
    {
        return false;
    }
    match greeted {
        Ok(Greeting { response, .. }) => match response.error_text() {
            Some((code, _)) => {
                is_modern_code(code)
                    || matches!(
                        code,
                        METHOD_NOT_FOUND | INVALID_PARAMS | UNSUPPORTED_VERSION_DRAFT
                    )
            }
            // No session is meant by a version that has none.
            None => response
                .result_member::<String>("protocolVersion")
                .is_some_and(|version| is_modern(&version)),
        },
        Err(Failure::Status { status, .. }) => matches!(status.as_u16(), 400 | 404 | 405),
        Err(_) => false,
    }
}

/// Returns whether what came of a modern request may be the answer of a server that wants a session first.
fn suggests_legacy(answer: &Result<Message, Failure>) -> bool {
    match answer {
        Ok(response) => response.error_text().is_some_and(|(code, _)| {
            matches!(code, SERVER_ERROR | INVALID_REQUEST | INVALID_PARAMS)
        }),
        Err(Failure::Status { status, error, .. }) => {
            let modern = error.as_deref().is_some_and(is_modern_error);
            matches!(status.as_u16(), 400 | 404 | 405 | 406) && !modern
        }
        Err(_) => false,
    }
}

/// Returns whether a refusal with this status tells of the server's era. The others tell of rights, load and
/// networks.
fn is_evidence(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 405 | 406 | 415)
}

/// Returns whether only a server of the modern era says so.
fn is_modern_error(error: &Message) -> bool {
    error
        .error_text()
        .is_some_and(|(code, _)| is_modern_code(code))
}

fn not_found(id: &RequestId) -> Message {
    Message::error(Some(id), METHOD_NOT_FOUND, "Method not found", None)
}
