//! Session recovery: a session that is lost (404) is opened again, once for all requests that find it lost.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::greeting::Greeted;
use super::request_progress::Track;
use super::retry::Repeat;
use super::send::SessionUse;
use super::session::{Handshake, McpSession};
use super::{Endpoint, Event, Failure, Request};
use mcp_bridge_net::boxed::boxed;
use mcp_bridge_net::observer::Step;
use mcp_bridge_protocol::lists::SERVER_LISTS;
use mcp_bridge_protocol::message::Message;

/// Limit for a server to open a session again.
const REOPEN_LIMIT: Duration = Duration::from_secs(30);

/// Pause after a failed attempt before the next one.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// State shared by the requests that find the session lost.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    attempt: Mutex<Option<FailedRecovery>>,
}

#[derive(Debug)]
struct FailedRecovery {
    at: Instant,
    failure: Failure,
}

impl Endpoint {
    /// Makes sure that the session is no longer the one of `lost`: whoever comes first opens a new
    /// one, the others wait for it.
    pub(super) async fn recover(self: &Arc<Self>, lost: u64) -> Result<(), Failure> {
        let asked = Instant::now();
        let mut attempt = self.recovery.attempt.lock().await;
        if self.sessions.generation() != lost {
            return Ok(());
        }
        if let Some(failed) = &*attempt {
            // Whoever waited for an attempt shares its outcome; who comes later makes another.
            if failed.at >= asked {
                return Err(failed.failure.clone());
            }
            sleep_until(failed.at + PAUSE_AFTER_FAILURE).await;
        }
        // Boxed, because opening a session sends requests, and sending may open a session.
        let opened = match timeout(REOPEN_LIMIT, boxed(|| self.reopen())).await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::SessionLost("it took too long".to_owned())),
        };
        *attempt = opened.as_ref().err().map(|failure| FailedRecovery {
            at: Instant::now(),
            failure: failure.clone(),
        });
        drop(attempt);
        // The app may take its time to read, which is no failure of the server.
        let _ = opened?.await;
        Ok(())
    }

    /// Says to the server all that the app once said, and makes the result the session. Returns the task
    /// that tells the bridge, which goes on although the request that needed the session may be cancelled.
    async fn reopen(self: &Arc<Self>) -> Result<JoinHandle<()>, Failure> {
        let handshake = self.sessions.handshake();
        let Some(initialize) = &handshake.initialize else {
            return Err(Failure::SessionLost("it was never initialized".to_owned()));
        };
        tracing::info!(host = %self.host(), "the session is gone; opening another");
        self.note(Step::Session, "lost, as the server says; opening another");
        let greeting = self
            .greet_as_before(initialize, &handshake)
            .await
            .map_err(not_reopened)?;
        if let Some((code, text)) = greeting.response.error_text() {
            return Err(Failure::SessionLost(format!("error {code}: {text}")));
        }
        let session = greeting.session.clone();
        if let Some(initialized) = &handshake.initialized {
            self.replay_notification(initialized, &session).await?;
        }
        for request in handshake
            .level
            .iter()
            .chain(handshake.subscriptions.values())
        {
            let replayed = self
                .replay(request, SessionUse::Fixed(session.clone()))
                .await;
            if let Err(failure) = replayed {
                let method = request.method();
                tracing::warn!(host = %self.host(), method, "not restored in the new session: {failure}");
            }
        }
        let response = greeting.response.clone();
        self.sessions.reopened(greeting);
        let endpoint = Arc::clone(self);
        let is_ready = handshake.initialized.is_some();
        Ok(tokio::spawn(async move {
            endpoint.tell(Event::Reopened(response.clone())).await;
            if is_ready {
                endpoint.listen();
                endpoint.announce_changes(&response).await;
            }
        }))
    }

    /// Sends `initialize` as the server took it the last time, and in other versions if it now refuses that.
    async fn greet_as_before(
        self: &Arc<Self>,
        initialize: &Request,
        handshake: &Handshake,
    ) -> Greeted {
        let (initialize, track) = (initialize.with_id(self.next_id()), Track::default());
        let header = handshake.version_header.clone();
        let greeted = self.greet_as(&initialize, header, &track).await;
        self.greet_again(&initialize, &track, greeted).await
    }

    /// Sends a request that the app made earlier once more, under an id of our own.
    async fn replay(
        self: &Arc<Self>,
        request: &Request,
        session: SessionUse,
    ) -> Result<Message, Failure> {
        let request = request.with_id(self.next_id());
        self.converse(&request, session, &Track::default()).await
    }

    async fn replay_notification(
        self: &Arc<Self>,
        notification: &Message,
        session: &McpSession,
    ) -> Result<(), Failure> {
        let session = SessionUse::Fixed(session.clone());
        self.post(notification, session, Repeat::Safe)
            .await
            .map_err(not_reopened)
    }

    /// A server that lost its sessions was probably replaced: what it offers may have changed.
    async fn announce_changes(&self, response: &Message) {
        let capabilities: serde_json::Value =
            response.result_member("capabilities").unwrap_or_default();
        for list in SERVER_LISTS {
            if capabilities[list.capability]["listChanged"] == json!(true) {
                let message = Message::notification(list.changed, &json!({}));
                self.deliver(message, self.sessions.generation(), None)
                    .await;
            }
        }
    }
}

/// Reason why the session could not be opened again. A server that cannot be reached is no loss of the session: a
/// request that may wait for the server tries once more.
fn not_reopened(failure: Failure) -> Failure {
    match failure {
        failure @ Failure::Connect { .. } => failure,
        failure => Failure::SessionLost(failure.to_string()),
    }
}
