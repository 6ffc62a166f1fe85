//! State of a request: phase, idle timeout, time limit of its sign-in.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::wire_log::WireLog;
use mcp_bridge_protocol::message::RequestId;

/// Progress puts a request's timeout off, to this many times its length in all.
const TIMEOUT_CEILING: u32 = 10;

/// Phase of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for its turn.
    Queued,
    /// Is, or may be, with the server.
    Sent,
    /// Waits for a person to sign in.
    SigningIn,
    /// Waits for a server that cannot be reached, and has not been sent.
    Unreachable,
}

/// Limits for what a request may wait for before it is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitLimits {
    /// For a sign-in; `None` for as long as that takes.
    pub sign_in: Option<Duration>,
    /// For a server that cannot be reached; `None` for the few seconds that are worth while where nobody
    /// waits for the answer.
    pub server: Option<Duration>,
}

/// Progress of a request, shared between the task that sends it and those that wait for it.
#[derive(Debug, Default)]
pub struct Track {
    phase: AtomicU8,
    progress: Notify,
    limits: WaitLimits,
    is_unreachable: AtomicBool,
    pub(super) wire: WireLog,
}

impl Track {
    /// The track of a request that waits within these limits.
    #[must_use]
    pub fn new(limits: WaitLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// For a request of the app, whose id each line of the log has from the span that it is in.
    #[must_use]
    pub fn with_span_of(self, id: &RequestId) -> Self {
        self.wire.record_span_of(id);
        self
    }

    /// Resolves when a sign-in that has just begun has taken longer than the request can wait.
    pub(super) async fn sign_in_takes_too_long(&self) {
        match self.limits.sign_in {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    }

    /// Time that the request waits for a sign-in; `None` for as long as that takes.
    pub(super) const fn sign_in_limit(&self) -> Option<Duration> {
        self.limits.sign_in
    }

    /// Time that the request waits for a server that cannot be reached, if somebody has said so.
    pub(super) const fn wait_limit(&self) -> Option<Duration> {
        self.limits.server
    }

    /// The phase of the request at present.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Queued,
            1 => Phase::Sent,
            2 => Phase::SigningIn,
            _ => Phase::Unreachable,
        }
    }

    /// Returns whether the request waits for something that comes before the server's answer: for a sign-in, or for
    /// a connection after an attempt that failed.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.phase() == Phase::SigningIn || self.is_unreachable.load(Ordering::Relaxed)
    }

    /// An attempt to connect has failed.
    pub(crate) fn connection_failed(&self) {
        self.is_unreachable.store(true, Ordering::Relaxed);
    }

    /// The server has answered.
    pub(super) fn reached(&self) {
        self.is_unreachable.store(false, Ordering::Relaxed);
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let phase = match phase {
            Phase::Queued => 0,
            Phase::Sent => 1,
            Phase::SigningIn => 2,
            Phase::Unreachable => 3,
        };
        self.phase.store(phase, Ordering::Relaxed);
        self.progress.notify_one();
    }

    /// The server has given a sign of life.
    pub(super) fn advanced(&self) {
        self.progress.notify_one();
    }

    /// Resolves when the request has taken too long: `idle` without progress, or many times that with.
    /// The time that a person takes to sign in, or a server to come up, does not count.
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
