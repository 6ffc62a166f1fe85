//! The session of the streamable HTTP transport (MCP 2025-11-25, "Session Management"), and what it
//! takes to open it again.

use std::collections::BTreeMap;

use reqwest::header::HeaderValue;

use super::Request;
use super::greeting::Greeting;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_protocol::message::Message;

/// A longer session id is not one that a server hands out in earnest.
const MAX_ID_BYTES: usize = 4 * 1024;

/// Resources whose subscription is renewed in a new session.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// A session: the part of it that goes into the headers of each request after `initialize`.
#[derive(Debug, Clone, Default)]
pub(super) struct McpSession {
    /// `Mcp-Session-Id`, where the server gave one.
    pub(super) id: Option<HeaderValue>,
    /// `MCP-Protocol-Version`: what the server answered to `initialize`.
    pub(super) protocol_version: Option<HeaderValue>,
    /// Number of the session. Counts from 0, the time before any.
    pub(super) generation: u64,
}

/// A session id that the specification does not allow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session id is not one to 4096 visible ASCII characters")]
pub(super) struct BadSessionId;

/// Checks a session id by the specification: visible ASCII, 0x21 to 0x7E.
pub(super) fn checked_id(id: &HeaderValue) -> Result<HeaderValue, BadSessionId> {
    let bytes = id.as_bytes();
    let legal = bytes.iter().all(u8::is_ascii_graphic);
    if !legal || bytes.is_empty() || bytes.len() > MAX_ID_BYTES {
        return Err(BadSessionId);
    }
    let mut id = id.clone();
    id.set_sensitive(true);
    Ok(id)
}

/// The current session, and the messages that would open another one like it.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    state: Mutex<RecoverableSession>,
}

#[derive(Debug, Default)]
struct RecoverableSession {
    session: McpSession,
    handshake: Handshake,
}

/// Messages by which the app has introduced itself: sent again, in this order, to a new session.
#[derive(Debug, Clone, Default)]
pub(super) struct Handshake {
    pub(super) initialize: Option<Request>,
    /// The `MCP-Protocol-Version` that the server wants to see with it.
    pub(super) version_header: Option<HeaderValue>,
    /// The server's last answer to it.
    pub(super) result: Option<Message>,
    pub(super) initialized: Option<Message>,
    pub(super) level: Option<Request>,
    /// By resource URI.
    pub(super) subscriptions: BTreeMap<String, Request>,
}

impl Sessions {
    /// The session as it is now.
    pub(super) fn current(&self) -> McpSession {
        self.lock().session.clone()
    }

    pub(super) fn generation(&self) -> u64 {
        self.lock().session.generation
    }

    /// Returns whether the app has opened a session that could be opened again.
    pub(super) fn is_initialized(&self) -> bool {
        self.lock().handshake.initialize.is_some()
    }

    /// The messages for a new session.
    pub(super) fn handshake(&self) -> Handshake {
        self.lock().handshake.clone()
    }

    /// A session that the app itself opened.
    pub(super) fn opened(&self, greeting: Greeting) {
        let mut state = self.lock();
        state.handshake = Handshake::default();
        state.adopt(greeting);
    }

    /// A session that was opened in place of one that was lost.
    pub(super) fn reopened(&self, greeting: Greeting) {
        self.lock().adopt(greeting);
    }

    /// Ends the session for this side, so that nothing of it is said again; returns it.
    pub(super) fn close(&self) -> McpSession {
        let mut state = self.lock();
        let session = state.session.clone();
        state.handshake = Handshake::default();
        state.install(McpSession::default());
        session
    }

    /// Remembers a request that a new session has to hear as well.
    pub(super) fn record_request(&self, request: &Request) {
        let mut state = self.lock();
        let handshake = &mut state.handshake;
        match request.method() {
            "logging/setLevel" => handshake.level = Some(request.clone()),
            "resources/subscribe" => {
                let uri = request.message().param::<String>("uri");
                if let Some(uri) = uri
                    && handshake.subscriptions.len() < MAX_SUBSCRIPTIONS
                {
                    handshake.subscriptions.insert(uri, request.clone());
                }
            }
            "resources/unsubscribe" => {
                if let Some(uri) = request.message().param::<String>("uri") {
                    handshake.subscriptions.remove(&uri);
                }
            }
            _ => {}
        }
    }

    /// Remembers a notification that a new session has to hear as well.
    pub(super) fn record_notification(&self, notification: &Message) {
        if notification.method() == Some("notifications/initialized") {
            self.lock().handshake.initialized = Some(notification.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RecoverableSession> {
        self.state.lock()
    }
}

impl RecoverableSession {
    fn adopt(&mut self, greeting: Greeting) {
        let handshake = &mut self.handshake;
        handshake.initialize = Some(greeting.initialize);
        handshake.version_header = greeting.version_header;
        handshake.result = Some(greeting.response);
        self.install(greeting.session);
    }

    fn install(&mut self, session: McpSession) {
        let generation = self.session.generation + 1;
        self.session = McpSession {
            generation,
            ..session
        };
    }
}

/// Returns whether the words of an error say that the session is gone.
///
/// The specification has 404 for it. In the field restarted servers answer 400, 401 or 410 with a text such as "No
/// valid session ID provided", "Session not found" or "Server not initialized".
pub(super) fn speaks_of_session(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("session") || text.contains("not initialized") || text.contains("uninitialized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_visible_ascii_and_of_sane_length() {
        for (id, legal) in [
            ("a-1~!", true),
            ("", false),
            ("a b", false),
            ("\u{e9}", false),
        ] {
            let id = HeaderValue::from_bytes(id.as_bytes()).unwrap();
            assert_eq!(checked_id(&id).is_ok(), legal, "{id:?}");
        }
        let long = HeaderValue::from_str(&"x".repeat(MAX_ID_BYTES + 1)).unwrap();
        assert_eq!(checked_id(&long), Err(BadSessionId));
    }

    #[test]
    fn errors_of_restarted_servers_are_recognised() {
        for (text, expected) in [
            ("Bad Request: No valid session ID provided", true),
            (r#"{"error":{"message":"Session not found"}}"#, true),
            ("Bad Request: Server not initialized", true),
            ("missing parameter", false),
        ] {
            assert_eq!(speaks_of_session(text), expected, "{text}");
        }
    }
}
