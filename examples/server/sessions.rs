//! Owners of MCP sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::replicas::SharedState;

/// Most sessions that are remembered; the oldest may then be forgotten, and its client starts anew.
const MAX_SESSIONS: usize = 10_000;

/// The user that opened each session.
///
/// A session id is no credential, but with it and a token of his own somebody could read along in
/// another user's session. So a session answers only to the user that opened it (MCP, security best
/// practices: Session Hijacking).
#[derive(Default)]
pub(crate) struct Sessions {
    owners: Mutex<HashMap<String, String>>,
    /// State of all replicas, if there are several.
    shared: Option<Arc<SharedState>>,
}

impl Sessions {
    /// Sessions that are shared, if there is something to share them.
    pub(crate) fn new(shared: Option<Arc<SharedState>>) -> Self {
        Self {
            owners: Mutex::default(),
            shared,
        }
    }

    /// Records who opened a session.
    pub(crate) async fn opened(&self, session_id: &str, user_id: &str) {
        self.remember(session_id, user_id);
        if let Some(shared) = &self.shared
            && let Err(error) = shared.session_opened(session_id, user_id).await
        {
            tracing::warn!(%error, "a session is known to this replica alone");
        }
    }

    /// Returns whether `user_id` opened this session.
    pub(crate) async fn belongs_to(&self, session_id: &str, user_id: &str) -> bool {
        let Some(shared) = &self.shared else {
            return self.is_known(session_id, user_id);
        };
        match shared.owner(session_id).await {
            Ok(owner) => owner.as_deref() == Some(user_id),
            Err(error) => {
                tracing::warn!(%error, "sessions of other replicas are not known");
                self.is_known(session_id, user_id)
            }
        }
    }

    fn remember(&self, session_id: &str, user_id: &str) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= MAX_SESSIONS {
            owners.clear();
        }
        owners.insert(session_id.to_owned(), user_id.to_owned());
    }

    fn is_known(&self, session_id: &str, user_id: &str) -> bool {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.get(session_id).is_some_and(|owner| owner == user_id)
    }
}
