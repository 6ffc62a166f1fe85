//! Keep-alive pings, for servers and intermediaries that drop quiet sessions (`--keep-alive`).

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::send::{SendOptions, SessionUse};
use super::{Endpoint, Request, Track};
use mcp_bridge_auth::Interaction;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::RequestId;

/// Limit for the response to a ping.
const PONG_LIMIT: Duration = Duration::from_secs(30);

/// The task that pings.
#[derive(Debug, Default)]
pub(super) struct KeepAlive(Mutex<Option<AbortHandle>>);

impl KeepAlive {
    pub(super) fn stop(&self) {
        self.replace(None);
    }

    fn replace(&self, task: Option<AbortHandle>) {
        let mut current = self.0.lock();
        if let Some(previous) = std::mem::replace(&mut *current, task) {
            previous.abort();
        }
    }
}

impl Endpoint {
    /// Begins to ping, if the user wants that. The handshake is done.
    pub(super) fn keep_alive(self: &Arc<Self>) {
        let Some(interval) = self.config.keep_alive else {
            return;
        };
        let task = tokio::spawn(keep_alive(Arc::downgrade(self), interval));
        self.keep_alive.replace(Some(task.abort_handle()));
    }

    /// Sends a ping. What comes of it is of no consequence, so it is logged.
    async fn ping(self: &Arc<Self>, number: u64) {
        let id = RequestId::from_string(&format!("mcp-bridge-keepalive-{number}"));
        let ping = Request::of_ours(id, "ping", "{}", Era::Legacy);
        let track = Track::default();
        let options = SendOptions {
            session: SessionUse::Current,
            // Nobody waits for it, so nobody is asked to sign in.
            interaction: Interaction::Forbidden,
            track: &track,
        };
        let answer = self.converse_once(&ping, &options);
        let host = self.host();
        match timeout(PONG_LIMIT, answer).await {
            Ok(Ok(answer)) => match answer.error_text() {
                None => tracing::debug!(host, number, "the ping was answered"),
                Some((code, text)) => tracing::info!(host, code, "a ping was refused: {text}"),
            },
            Ok(Err(failure)) => tracing::info!(host, "a ping failed: {failure}"),
            Err(_) => tracing::info!(host, "a ping was not answered in time"),
        }
    }
}

async fn keep_alive(endpoint: Weak<Endpoint>, interval: Duration) {
    let mut number = 0;
    loop {
        let Some(endpoint) = endpoint.upgrade() else {
            return;
        };
        let mut stopping = endpoint.stopping.subscribe();
        tokio::select! {
            () = tokio::time::sleep(interval) => {
                number += 1;
                endpoint.ping(number).await;
            }
            // A request of the app does as well.
            () = endpoint.activity.notified() => {}
            () = async { let _ = stopping.wait_for(|stopping| *stopping).await; } => return,
        }
    }
}
