//! Leases: locks that end by themselves when their holder does not renew them, with fences.
//!
//! A holder that was stopped, or cut off from Redis, comes back to a lock that another process may have taken meanwhile. Its
//! writes carry the fence of its lease, and Redis refuses them if the other one has written.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis::{Connection, RedisError};
use tokio::time::Instant;

use super::connection::{RedisConnection, is_interrupted};
use super::{LIFETIME, millis, next_fence};
use crate::store::lock::{Held, Lock};
use crate::store::record::StoreError;
use crate::store::records::{Attempt, Fence};
use mcp_bridge_text::random;

/// Time for which a lease lasts without being renewed. A machine that is busy is late by less, and the others wait so
/// long for a process that was killed.
const LEASE: Duration = Duration::from_secs(8);

/// Interval of renewals: three may fail.
const RENEWAL: Duration = Duration::from_secs(2);

/// Limit for renewals. Nothing that is done under a lock takes an hour, so a process that has it longer hangs.
const MOST_RENEWALS: u32 = 1800;

/// Longest wait for a message that a lock is free. After it the lock is asked for all the same, since messages may be lost.
const LONGEST_SILENCE: Duration = Duration::from_millis(500);

/// Takes the lease, or takes it once more. KEYS: lease, account. ARGV: holder, lease and lifetime
/// of the account in ms. The fence, or 0.
const TAKE: &str = concat!(
    next_fence!(),
    "\
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return '0' end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local fence = next_fence(KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return fence"
);

/// Renews the lease, if it is still held. KEYS: lease. ARGV: holder, lease in ms.
const RENEW: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Ends the lease, if it is still held. KEYS: lease, account. ARGV: holder.
const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', KEYS[2], 'released')
return 1";

/// The keys of a lease.
#[derive(Debug, Clone)]
pub(super) struct LeaseName {
    pub(super) lease: String,
    pub(super) account: String,
}

/// A lease that is held. A thread renews it, and releases it when this is dropped.
#[derive(Debug)]
struct Lease {
    fence: Fence,
    /// Closed to end the thread.
    end: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// The thread's part of a lease.
struct LeaseKeeper {
    connection: Arc<RedisConnection>,
    name: LeaseName,
    holder: String,
}

/// Takes the lease, or waits for its holder no longer than `patience`.
pub(super) fn take(
    connection: &Arc<RedisConnection>,
    name: LeaseName,
    patience: Duration,
) -> Result<Attempt, StoreError> {
    let keeper = LeaseKeeper {
        connection: Arc::clone(connection),
        name,
        holder: random::string::<16>(),
    };
    let deadline = Instant::now() + patience;
    if let Some(fence) = keeper.take()? {
        return keeper.held(fence);
    }
    if patience.is_zero() {
        return Ok(Attempt::Busy(Duration::ZERO));
    }
    let mut waiting = connection.another()?;
    let outcome = wait(&mut waiting, keeper, deadline);
    match outcome {
        Ok(attempt) => {
            connection.give_back(waiting);
            Ok(attempt)
        }
        // While this process was stopped, everything may have changed.
        Err(WaitError::Connection(error)) if is_interrupted(&error) => {
            Ok(Attempt::Busy(Duration::ZERO))
        }
        Err(WaitError::Connection(error)) => Err(connection.unreachable(&error)),
        Err(WaitError::Store(error)) => Err(error),
    }
}

/// Reason for the end of a wait.
enum WaitError {
    /// The connection that brings the messages cannot be used any more.
    Connection(RedisError),
    Store(StoreError),
}

impl From<RedisError> for WaitError {
    fn from(error: RedisError) -> Self {
        Self::Connection(error)
    }
}

impl From<StoreError> for WaitError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Waits on `connection` for the holder of the lease, until `deadline` at most.
fn wait(
    connection: &mut Connection,
    keeper: LeaseKeeper,
    deadline: Instant,
) -> Result<Attempt, WaitError> {
    let mut listener = connection.as_pubsub();
    listener.subscribe(&keeper.name.account)?;
    loop {
        // Behind the subscription, so that no release is missed.
        if let Some(fence) = keeper.take()? {
            return Ok(keeper.held(fence)?);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Attempt::Busy(Duration::ZERO));
        }
        let silence = left.min(LONGEST_SILENCE);
        listener.set_read_timeout(Some(silence))?;
        match listener.get_message() {
            // Whoever waits may have what they want.
            Ok(message) if message.get_payload_bytes().ends_with(b".json") => {
                return Ok(Attempt::Busy(Duration::ZERO));
            }
            Ok(_) => {}
            Err(error) if error.is_timeout() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl LeaseKeeper {
    /// The fence; none if somebody else has the lease.
    fn take(&self) -> Result<Option<Fence>, StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(2);
        command.arg(&self.name.lease).arg(&self.name.account);
        command.arg(&self.holder).arg(millis(LEASE));
        command.arg(millis(LIFETIME));
        let fence: u64 = self.connection.ask(&command)?;
        Ok((fence != 0).then_some(Fence(fence)))
    }

    fn held(self, fence: Fence) -> Result<Attempt, StoreError> {
        let (end, ended) = channel();
        let keep = move || self.keep(&ended);
        let keeper = thread::Builder::new().name("lease".into()).spawn(keep)?;
        Ok(Attempt::Held(Lock::new(Lease {
            fence,
            end: Some(end),
            keeper: Some(keeper),
        })))
    }

    /// Renews the lease until it is not wanted any more, then releases it.
    fn keep(&self, ended: &Receiver<()>) {
        for _ in 0..MOST_RENEWALS {
            match ended.recv_timeout(RENEWAL) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return self.release(),
            }
            match self.renew() {
                Ok(true) => {}
                Ok(false) => {
                    tracing::info!("another process may have taken the lock of this one");
                    return;
                }
                Err(error) => tracing::debug!(%error, "the lock is not renewed"),
            }
        }
    }

    /// False if it is lost.
    fn renew(&self) -> Result<bool, StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(RENEW).arg(1).arg(&self.name.lease);
        command.arg(&self.holder).arg(millis(LEASE));
        self.connection.ask(&command)
    }

    fn release(&self) {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(2);
        command.arg(&self.name.lease).arg(&self.name.account);
        command.arg(&self.holder);
        if let Err(error) = self.connection.ask::<u8>(&command) {
            tracing::debug!(%error, "the lock is not released, and ends by itself");
        }
    }
}

impl Held for Lease {
    fn fence(&self) -> Option<Fence> {
        Some(self.fence)
    }

    fn release(mut self: Box<Self>) {
        self.end = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}
