//! Retry of connections to a server that cannot be reached, and the requests that wait for it.
//!
//! They take turns in trying to connect, with a pause between two tries. All go on at once when a
//! connection has come up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use mcp_bridge_net::backoff::Backoff;

/// The first and the longest pause between two tries to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Requests to one server that could not be sent because no connection came up.
#[derive(Debug)]
pub(super) struct Outage {
    /// The pause before the next try, held by the request that will make it.
    turn: Mutex<Backoff>,
    over: Notify,
    waiting: AtomicUsize,
}

/// One request that waits for the end of an [`Outage`].
#[derive(Debug)]
pub(super) struct OutageWait<'a> {
    outage: &'a Outage,
    since: Instant,
}

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitEnd {
    /// It is time for another try.
    TryAgain,
    /// The request has waited as long as it may, or the bridge is on its way out.
    GiveUp,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            turn: Mutex::new(Backoff::new(FIRST_PAUSE, MAX_PAUSE)),
            over: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Outage {
    /// A request whose first try to connect began at `since`, and failed.
    pub(super) fn begin(&self, since: Instant) -> OutageWait<'_> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.reset();
        }
        OutageWait {
            outage: self,
            since,
        }
    }

    fn reset(&self) {
        if let Ok(mut backoff) = self.turn.try_lock() {
            backoff.reset();
        }
    }
}

impl Drop for OutageWait<'_> {
    fn drop(&mut self) {
        self.outage.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OutageWait<'_> {
    /// Time that it has been tried.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The request has been answered: the others have nothing to wait for either.
    pub(super) fn got_through(&self) {
        self.outage.over.notify_waiters();
        self.outage.reset();
    }

    /// Waits for the next try, `patience` since the first one at most. `connected` resolves when another
    /// request has a connection.
    pub(super) async fn next_try(
        &self,
        patience: Duration,
        mut stopping: watch::Receiver<bool>,
        connected: impl Future<Output = ()>,
    ) -> WaitEnd {
        let pause = async {
            tokio::select! {
                () = connected => {}
                () = self.outage.over.notified() => {}
                () = self.pause() => {}
            }
        };
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => WaitEnd::GiveUp,
            pause = timeout_at(self.since + patience, pause) => match pause {
                Ok(()) => WaitEnd::TryAgain,
                Err(_) => WaitEnd::GiveUp,
            },
        }
    }

    async fn pause(&self) {
        let mut turn = self.outage.turn.lock().await;
        // Whoever gives up in the pause leaves it to the next one.
        let mut backoff = turn.clone();
        sleep(backoff.pause()).await;
        *turn = backoff;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::sync::LazyLock;

    const PATIENCE: Duration = Duration::from_secs(45);

    /// Of a bridge that goes on: the sender stays.
    fn running() -> watch::Receiver<bool> {
        static STOPPING: LazyLock<watch::Sender<bool>> =
            LazyLock::new(|| watch::Sender::new(false));
        STOPPING.subscribe()
    }

    /// Returns whether a second request that waits while the first holds its turn is let go by `event`.
    async fn goes_on_after(event: impl FnOnce(&Outage)) -> WaitEnd {
        let outage = Outage::default();
        let waiting = outage.begin(Instant::now());
        let turn = outage.turn.lock().await;
        let waits = waiting.next_try(PATIENCE, running(), pending());
        let (end, ()) = tokio::join!(biased; waits, async {
            event(&outage);
            drop(turn);
        });
        end
    }

    #[tokio::test]
    async fn all_go_on_when_one_has_got_through_and_one_after_the_other_else() {
        let got_through = |outage: &Outage| outage.begin(Instant::now()).got_through();
        assert_eq!(goes_on_after(got_through).await, WaitEnd::TryAgain);
        assert_eq!(goes_on_after(|_| {}).await, WaitEnd::TryAgain);
    }

    #[tokio::test]
    async fn all_go_on_when_one_has_a_connection() {
        let outage = Outage::default();
        let waiting = outage.begin(Instant::now());
        let _turn = outage.turn.lock().await;
        let end = waiting.next_try(PATIENCE, running(), ready(())).await;
        assert_eq!(end, WaitEnd::TryAgain);
    }

    #[tokio::test]
    async fn without_patience_there_is_no_other_try() {
        let outage = Outage::default();
        let waiting = outage.begin(Instant::now());
        let end = waiting.next_try(Duration::ZERO, running(), pending()).await;
        assert_eq!(end, WaitEnd::GiveUp);
    }

    #[tokio::test]
    async fn the_end_of_the_bridge_ends_the_wait() {
        let outage = Outage::default();
        let waiting = outage.begin(Instant::now());
        let stopping = watch::Sender::new(true);
        let end = waiting
            .next_try(PATIENCE, stopping.subscribe(), pending())
            .await;
        assert_eq!(end, WaitEnd::GiveUp);
    }

    #[tokio::test]
    async fn each_outage_begins_with_the_first_pause() {
        let outage = Outage::default();
        let waiting = outage.begin(Instant::now());
        let end = waiting.next_try(PATIENCE, running(), pending()).await;
        assert_eq!(end, WaitEnd::TryAgain);
        assert_eq!(outage.turn.lock().await.clone().pause(), FIRST_PAUSE * 2);
        drop(waiting);
        let _again = outage.begin(Instant::now());
        assert!(outage.turn.lock().await.is_fresh());
    }
}
