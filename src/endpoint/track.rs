//! Where a request stands.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::wire_log::WireLog;
use crate::message::RequestId;

/// Progress puts a request's timeout off, to this many times its length in all.
const TIMEOUT_CEILING: u32 = 10;

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for its turn.
    Queued,
    /// Is, or may be, with the server.
    Sent,
    /// Waits for a person to sign in.
    SigningIn,
}

/// Where a request stands, shared between who carries it and who waits for it.
#[derive(Debug, Default)]
pub struct Track {
    phase: AtomicU8,
    progress: Notify,
    sign_in_limit: Option<Duration>,
    had_to_sign_in: AtomicBool,
    pub(super) wire: WireLog,
}

impl Track {
    /// For a request that waits for a sign-in as long as `sign_in_limit` says; `None` for as long as that
    /// takes.
    #[must_use]
    pub fn new(sign_in_limit: Option<Duration>) -> Self {
        Self {
            sign_in_limit,
            ..Self::default()
        }
    }

    /// For a request of the app, whose id each line of the log has from the span that it is in.
    #[must_use]
    pub fn in_span_of(self, id: &RequestId) -> Self {
        self.wire.is_in_span_of(id);
        self
    }

    /// Resolves when a sign-in that has just begun has taken longer than the request can wait.
    pub(super) async fn sign_in_takes_too_long(&self) {
        match self.sign_in_limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    }

    /// Where the request stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Queued,
            1 => Phase::Sent,
            _ => Phase::SigningIn,
        }
    }

    /// Whether the request has waited for a sign-in.
    pub(super) fn had_to_sign_in(&self) -> bool {
        self.had_to_sign_in.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self, phase: Phase) {
        if phase == Phase::SigningIn {
            self.had_to_sign_in.store(true, Ordering::Relaxed);
        }
        let phase = match phase {
            Phase::Queued => 0,
            Phase::Sent => 1,
            Phase::SigningIn => 2,
        };
        self.phase.store(phase, Ordering::Relaxed);
        self.progress.notify_one();
    }

    /// The server has given a sign of life.
    pub(super) fn advanced(&self) {
        self.progress.notify_one();
    }

    /// Resolves when the request has taken too long: `idle` without progress, or many times that with.
    /// The time that a person takes to sign in does not count.
    pub(super) async fn expired(&self, idle: Duration) {
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
