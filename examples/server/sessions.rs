//! Owners of MCP sessions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most sessions that are remembered; the oldest may then be forgotten, and its client starts anew.
const MAX_SESSIONS: usize = 10_000;

/// The user that opened each session.
///
/// A session id is no credential, but with it and a token of his own somebody could read along in
/// another user's session. So a session answers only to the user that opened it (MCP, security best
/// practices: Session Hijacking).
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, String>>);

impl Sessions {
    /// Records who opened a session.
    pub(crate) fn opened(&self, session_id: &str, user_id: &str) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(session_id.to_owned(), user_id.to_owned());
    }

    /// Whether `user_id` opened this session.
    pub(crate) fn belongs_to(&self, session_id: &str, user_id: &str) -> bool {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions
            .get(session_id)
            .is_some_and(|owner| owner == user_id)
    }
}
