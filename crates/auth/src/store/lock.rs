//! Locks between processes, which wait for each other in turn.

use std::fmt;
use std::time::Duration;

use super::SharedStore;
use super::record::StoreError;
use super::records::{Attempt, Condition, Fence, SharedRecords};
use super::running_time::timed;

/// Longest wait for another process' refresh: a little longer than its token request may take.
pub(crate) const REFRESH_WAIT: Duration = Duration::from_secs(40);

/// Longest part of a wait that cannot be given up. The end of the process waits for it.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(1);

/// Longest outage of the place that is waited for. Redis is started anew within some seconds.
const LONGEST_OUTAGE: Duration = Duration::from_secs(10);

/// Pause between two attempts to reach a place that does not answer.
const OUTAGE_PAUSE: Duration = Duration::from_millis(250);

/// A lock that is held until this is dropped, or for as long as its place promises.
#[derive(Debug)]
pub(crate) struct Lock(Option<Box<dyn Held>>);

/// A lock of one place. It ends with this value.
pub(crate) trait Held: fmt::Debug + Send + Sync {
    /// The fence for writes under this lock; none where a lock ends with its holder only.
    fn fence(&self) -> Option<Fence> {
        None
    }

    /// Ends it, and returns when others can have it.
    fn release(self: Box<Self>) {}
}

impl Lock {
    pub(crate) fn new(held: impl Held + 'static) -> Self {
        Self(Some(Box::new(held)))
    }

    /// The lock of those who have nothing to lock. Running without a lock is better than not running.
    pub(crate) fn without_effect() -> Self {
        Self(None)
    }

    /// The fence for writes under this lock.
    pub(crate) fn fence(&self) -> Option<Fence> {
        self.0.as_ref()?.fence()
    }

    /// The condition for writes under this lock.
    pub(crate) fn condition(&self) -> Condition {
        self.fence()
            .map_or(Condition::None, Condition::NotLaterThan)
    }

    /// Ends it, and returns when others can have it.
    pub(crate) async fn release(self) {
        let Some(held) = self.0 else { return };
        let _ = tokio::task::spawn_blocking(move || held.release()).await;
    }
}

/// Takes the lock of this name, waiting for its holder no longer than `limit`. None if it is still held then.
///
/// Dropping the future gives up waiting. Without a place, or where locking does not work (read-only directories, some network
/// file systems), everyone gets the lock. A fleet needs it, so there a place that does not answer is an error.
pub(crate) async fn acquire(
    store: &SharedStore,
    kind: &'static str,
    limit: Duration,
) -> Result<Option<Lock>, StoreError> {
    Wait::for_lock(store, kind, limit).until_its_end().await
}

/// The same for a lock of any account.
pub(crate) async fn acquire_named(
    records: &SharedRecords,
    name: &str,
    limit: Duration,
) -> Result<Option<Lock>, StoreError> {
    let place = Some((SharedRecords::clone(records), name.to_owned()));
    Wait::new(place, limit).until_its_end().await
}

/// A wait for a lock, which ends when the lock is held or the time is over.
///
/// It counts time in which the process runs. An outage of the place has a limit of its own, which begins with the outage.
pub(crate) struct Wait {
    place: Option<(SharedRecords, String)>,
    /// Time that is left for its holder.
    left: Duration,
    /// Time for which the place has been away.
    away: Duration,
}

/// State of a [`Wait`].
pub(crate) enum Waited {
    Held(Lock),
    /// Somebody else holds the lock, and something may have changed.
    Busy,
    /// The place is away, and another attempt makes sense.
    Away(StoreError),
    /// Somebody else holds the lock, and the time is over.
    TimedOut,
}

impl Wait {
    /// A wait for a lock of the account.
    pub(crate) fn for_lock(store: &SharedStore, kind: &'static str, limit: Duration) -> Self {
        Self::new(store.lock_name(kind), limit)
    }

    fn new(place: Option<(SharedRecords, String)>, limit: Duration) -> Self {
        Self {
            place,
            left: limit,
            away: Duration::ZERO,
        }
    }

    async fn until_its_end(mut self) -> Result<Option<Lock>, StoreError> {
        loop {
            match self.next().await? {
                Waited::Held(lock) => return Ok(Some(lock)),
                Waited::Busy | Waited::Away(_) => {}
                Waited::TimedOut => return Ok(None),
            }
        }
    }

    /// Waits until the lock is held, or something may have changed.
    pub(crate) async fn next(&mut self) -> Result<Waited, StoreError> {
        let Some((records, name)) = &self.place else {
            return Ok(Waited::Held(Lock::without_effect()));
        };
        let attempt = attempt(records, name, self.left.min(LONGEST_ATTEMPT));
        let (attempt, took) = timed(attempt).await;
        self.left = self.left.saturating_sub(took);
        let pause = match attempt? {
            Ok(attempt) => {
                self.away = Duration::ZERO;
                match attempt {
                    Attempt::Held(lock) => return Ok(Waited::Held(lock)),
                    Attempt::Busy(_) if self.left.is_zero() => return Ok(Waited::TimedOut),
                    Attempt::Busy(pause) => pause,
                }
            }
            Err(error) => {
                self.away += took;
                return Ok(Waited::Away(self.outlast(error).await?));
            }
        };
        let ((), took) = timed(tokio::time::sleep(pause)).await;
        self.left = self.left.saturating_sub(took);
        Ok(Waited::Busy)
    }

    /// Pauses after a failure of the place, at this or at what is done under the lock. An error if the place has been away for
    /// too long.
    pub(crate) async fn outlast<E>(&mut self, error: E) -> Result<E, E> {
        if self.away >= LONGEST_OUTAGE {
            return Err(error);
        }
        let ((), took) = timed(tokio::time::sleep(OUTAGE_PAUSE)).await;
        self.away += took;
        self.left = self.left.saturating_sub(took);
        Ok(error)
    }
}

/// One attempt. The outer error says that the runtime is ending.
async fn attempt(
    records: &SharedRecords,
    name: &str,
    patience: Duration,
) -> Result<Result<Attempt, StoreError>, StoreError> {
    let (records, name) = (SharedRecords::clone(records), name.to_owned());
    let attempt = move || records.try_lock(&name, patience);
    let attempt = tokio::task::spawn_blocking(attempt).await;
    attempt.map_err(|_| StoreError::Busy)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use super::*;
    use crate::store::records::{Custody, Presence, Records};
    use mcp_bridge_net::mutex::Mutex;

    /// A place whose answers to attempts are given beforehand. After the last one the lock is free.
    #[derive(Debug)]
    struct Script(Mutex<VecDeque<Answer>>);

    #[derive(Debug, Clone, Copy)]
    enum Answer {
        /// Somebody else holds the lock, and another attempt makes sense in a second.
        Busy,
        /// The place is away.
        Away,
    }

    /// Attempts in a second for which the place is away.
    const ATTEMPTS: u64 = 4;

    impl Records for Script {
        fn try_lock(&self, _: &str, _: Duration) -> Result<Attempt, StoreError> {
            match self.0.lock().pop_front() {
                None => Ok(Attempt::Held(Lock::without_effect())),
                Some(Answer::Busy) => Ok(Attempt::Busy(Duration::from_secs(1))),
                Some(Answer::Away) => Err(StoreError::Unreachable {
                    store: "redis://redis.example".into(),
                    reason: "Connection reset by peer".into(),
                }),
            }
        }

        fn read(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(None)
        }

        fn write(&self, _: &str, _: &[u8], _: Condition) -> Result<(), StoreError> {
            Ok(())
        }

        fn remove(&self, _: &str, _: Condition) -> Result<(), StoreError> {
            Ok(())
        }

        fn presence(&self, _: &str) -> Presence {
            Presence::Unknown
        }

        fn names(&self, _: &str) -> Result<Vec<String>, StoreError> {
            Ok(Vec::new())
        }

        fn set_aside(&self, _: &str) {}

        fn sweep(&self, _: &str) {}

        fn check(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn shown(&self, name: &str) -> String {
            name.into()
        }

        fn custody(&self) -> Custody {
            Custody::Fleet
        }
    }

    /// Waits for the lock while the place answers so for so many seconds each.
    async fn wait_through(script: &[(Answer, u64)]) -> Result<Option<Lock>, StoreError> {
        let answers = script.iter().flat_map(|(answer, seconds)| {
            let times = match answer {
                Answer::Busy => *seconds,
                Answer::Away => *seconds * ATTEMPTS,
            };
            (0..times).map(|_| *answer)
        });
        let records: SharedRecords = Arc::new(Script(Mutex::new(answers.collect())));
        acquire_named(&records, "lock", REFRESH_WAIT).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_counts_from_its_own_beginning() {
        let late = [(Answer::Busy, 15), (Answer::Away, 5)];
        assert!(wait_through(&late).await.unwrap().is_some());
        let two = [(Answer::Away, 7), (Answer::Busy, 1), (Answer::Away, 7)];
        assert!(wait_through(&two).await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_stays_away_is_an_error() {
        for before in [0, 15] {
            let script = [(Answer::Busy, before), (Answer::Away, 15)];
            assert!(wait_through(&script).await.is_err(), "{before}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_stays_held_is_not_waited_for_any_longer() {
        let script = [(Answer::Busy, 2 * REFRESH_WAIT.as_secs())];
        assert!(wait_through(&script).await.unwrap().is_none());
    }
}
