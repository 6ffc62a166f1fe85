//! News of the state of a connection, for the event stream of a page.

use std::sync::Arc;

use hyper::body::Bytes;
use tokio::sync::watch;

use super::live::{ConnectionPhase, Live};

/// The changes of the state, for one page.
pub(super) struct StateNews {
    live: Option<Arc<Live>>,
    phase: watch::Receiver<ConnectionPhase>,
    questions: watch::Receiver<u64>,
    is_due: bool,
}

impl StateNews {
    /// Begins with the state as it is.
    pub(super) fn of(live: Option<Arc<Live>>) -> Self {
        let (phase, questions) = match &live {
            Some(live) => live.watch(),
            // Nothing changes in a recording.
            None => (watch::channel(ConnectionPhase::Idle).1, watch::channel(0).1),
        };
        Self {
            is_due: live.is_some(),
            live,
            phase,
            questions,
        }
    }

    /// The state as an event, if the page does not know it.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let live = self.live.as_ref().filter(|_| self.is_due)?;
        self.is_due = false;
        // Texts and numbers are in it.
        let state = serde_json::to_string(&live.state()).unwrap_or_default();
        Some(
            format!(
                "event: state\ndata: {}\n\n",
                state.replace(['\r', '\n'], " ")
            )
            .into(),
        )
    }

    /// Resolves once the state has changed.
    pub(super) async fn comes(&mut self) {
        if self.live.is_none() {
            return std::future::pending().await;
        }
        tokio::select! {
            _ = self.phase.changed() => {}
            _ = self.questions.changed() => {}
        }
        self.is_due = true;
    }
}
