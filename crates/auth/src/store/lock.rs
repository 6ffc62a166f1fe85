//! Locks between processes, which wait for each other in turn.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::SharedStore;
use super::record::StoreError;
use super::records::{Attempt, Condition, Fence, SharedRecords};

/// Longest wait for another process' refresh: a little longer than its token request may take.
pub(crate) const REFRESH_WAIT: Duration = Duration::from_secs(40);

/// Longest part of a wait that cannot be given up. The end of the process waits for it.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(1);

/// Longest wait for a place that does not answer. Redis is started anew within some seconds.
pub(crate) const STORE_WAIT: Duration = Duration::from_secs(10);

/// Pause between two attempts to reach a place that does not answer.
pub(crate) const STORE_PAUSE: Duration = Duration::from_millis(250);

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
pub(crate) struct Wait {
    place: Option<(SharedRecords, String)>,
    deadline: Instant,
    /// End of the wait for a place that does not answer.
    give_up: Instant,
}

/// State of a [`Wait`].
pub(crate) enum Waited {
    Held(Lock),
    /// Somebody else holds the lock, and something may have changed.
    Busy,
    /// Somebody else holds the lock, and the time is over.
    TimedOut,
}

impl Wait {
    /// A wait for a lock of the account.
    pub(crate) fn for_lock(store: &SharedStore, kind: &'static str, limit: Duration) -> Self {
        Self::new(store.lock_name(kind), limit)
    }

    fn new(place: Option<(SharedRecords, String)>, limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            place,
            deadline: now + limit,
            give_up: now + limit.min(STORE_WAIT),
        }
    }

    async fn until_its_end(self) -> Result<Option<Lock>, StoreError> {
        loop {
            match self.next().await? {
                Waited::Held(lock) => return Ok(Some(lock)),
                Waited::Busy => {}
                Waited::TimedOut => return Ok(None),
            }
        }
    }

    /// Waits until the lock is held, or something may have changed.
    pub(crate) async fn next(&self) -> Result<Waited, StoreError> {
        let Some((records, name)) = &self.place else {
            return Ok(Waited::Held(Lock::without_effect()));
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let pause = match attempt(records, name, left.min(LONGEST_ATTEMPT)).await? {
            Ok(Attempt::Held(lock)) => return Ok(Waited::Held(lock)),
            Ok(Attempt::Busy(_)) if Instant::now() >= self.deadline => {
                return Ok(Waited::TimedOut);
            }
            Ok(Attempt::Busy(pause)) => pause,
            Err(error) if Instant::now() >= self.give_up => return Err(error),
            Err(_) => STORE_PAUSE,
        };
        tokio::time::sleep(pause).await;
        Ok(Waited::Busy)
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
