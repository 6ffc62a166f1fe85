//! Send order: notifications keep their order, requests wait for `notifications/initialized`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The order in which messages have to reach the server, each of them in an HTTP request of its own:
/// notifications one after the other, a response after the notifications before it, and every request
/// after `initialize` was answered and `notifications/initialized` accepted (MCP "Lifecycle").
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: u64,
    /// The turn that requests wait for.
    requests_after: u64,
    done: Arc<Done>,
}

/// The last turn that is over. Those who wait for it go on in the order in which they came.
#[derive(Debug, Default)]
struct Done {
    number: AtomicU64,
    changed: Notify,
}

/// A place in the order. Those behind may go when it is dropped.
pub(super) struct OutboundTurn {
    number: u64,
    done: Arc<Done>,
}

/// A turn that has to be over before a message goes out.
pub(super) struct TurnWait {
    number: u64,
    done: Arc<Done>,
}

impl Turns {
    pub(super) fn take(&mut self) -> OutboundTurn {
        self.taken += 1;
        OutboundTurn {
            number: self.taken,
            done: Arc::clone(&self.done),
        }
    }

    pub(super) const fn requests_wait_for(&mut self, turn: &OutboundTurn) {
        self.requests_after = turn.number;
    }

    pub(super) fn for_request(&self) -> TurnWait {
        TurnWait {
            number: self.requests_after,
            done: Arc::clone(&self.done),
        }
    }

    pub(super) fn for_response(&self) -> TurnWait {
        TurnWait {
            number: self.taken,
            done: Arc::clone(&self.done),
        }
    }
}

impl OutboundTurn {
    /// The end of the turn before this one.
    pub(super) fn before(&self) -> TurnWait {
        TurnWait {
            number: self.number - 1,
            done: Arc::clone(&self.done),
        }
    }
}

impl Drop for OutboundTurn {
    fn drop(&mut self) {
        let before = self.done.number.fetch_max(self.number, Ordering::AcqRel);
        if before < self.number {
            self.done.changed.notify_waiters();
        }
    }
}

impl TurnWait {
    fn is_over(&self) -> bool {
        self.done.number.load(Ordering::Acquire) >= self.number
    }

    pub(super) async fn passed(self) {
        while !self.is_over() {
            let mut changed = std::pin::pin!(self.done.changed.notified());
            changed.as_mut().enable();
            if !self.is_over() {
                changed.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    async fn is_over(wait: TurnWait) -> bool {
        let mut passed = pin!(wait.passed());
        poll_fn(|context| Poll::Ready(passed.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn requests_wait_for_the_handshake_and_not_for_other_notifications() {
        let mut turns = Turns::default();
        assert!(is_over(turns.for_request()).await, "nothing to wait for");
        let initialize = turns.take();
        turns.requests_wait_for(&initialize);
        let initialized = turns.take();
        turns.requests_wait_for(&initialized);
        assert!(!is_over(initialized.before()).await);
        drop(initialize);
        assert!(is_over(initialized.before()).await);
        assert!(!is_over(turns.for_request()).await);
        drop(initialized);
        assert!(is_over(turns.for_request()).await);

        let progress = turns.take();
        assert!(is_over(turns.for_request()).await);
        assert!(
            !is_over(turns.for_response()).await,
            "a response keeps its place"
        );
        drop(progress);
        assert!(is_over(turns.for_response()).await);
    }
}
