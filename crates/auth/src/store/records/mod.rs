//! Places for the records of accounts: small texts with a name, and locks by name.
//!
//! A name begins with the key of its account and a dot, as in `KEY.sign-in`. All operations block, for a bounded time. The
//! places differ in what they promise, and in nothing else: [`Custody`] says who shares them.

mod encrypted;
mod files;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use self::encrypted::Encrypted;
use self::files::RecordFiles;
use super::lock::Lock;
use super::record::StoreError;
use crate::config::{SharedPlace, StoreAddress, StoreKeys};

/// A place for records.
pub(crate) trait Records: fmt::Debug + Send + Sync {
    /// The content of a record; none if there is none that can be used. `kind` is its name in the log.
    fn read(&self, name: &str, kind: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Makes or replaces a record, as a whole or not at all.
    fn write(&self, name: &str, text: &[u8], condition: Condition) -> Result<(), StoreError>;

    /// Removes a record, if there is one. [`Self::presence`] tells it from one that was lost.
    fn remove(&self, name: &str, condition: Condition) -> Result<(), StoreError>;

    /// Presence of a record, found out without reading it.
    fn presence(&self, name: &str) -> Presence;

    /// The names of all records that begin so, in order; perhaps those of other things as well.
    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Returns true if no record begins so, and that is known without a wait: it is asked on the event loop.
    fn is_surely_without(&self, _prefix: &str) -> bool {
        false
    }

    /// Puts a record aside whose content makes no sense.
    fn set_aside(&self, name: &str);

    /// Removes what was put aside or never finished, of the names that begin so.
    fn sweep(&self, prefix: &str);

    /// Tries to take a lock, and waits no longer than `patience` for its holder.
    fn try_lock(&self, name: &str, patience: Duration) -> Result<Attempt, StoreError>;

    /// Checks that records can be kept now.
    fn check(&self) -> Result<(), StoreError>;

    /// The place of a record, for the log.
    fn shown(&self, name: &str) -> String;

    /// Those who share the place.
    fn custody(&self) -> Custody;
}

/// The place of the records of a store, shared by all that use it.
pub(crate) type SharedRecords = Arc<dyn Records>;

/// Those who share a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Custody {
    /// Processes of one user on one machine. What is gone was removed.
    Machine,
    /// Processes on any number of machines. A process may lose a lock while it holds it, and the place may lose records.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "no other place is shared")
    )]
    Fleet,
}

/// Number that grows each time a lock is taken. A write that carries a smaller one than the record is too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fence(pub(crate) u64);

/// Condition of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It is made whatever is there.
    None,
    /// It is made unless a later holder of the lock has changed the record ([`StoreError::Superseded`]).
    NotLaterThan(Fence),
}

/// Presence of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// There is.
    There,
    /// There is none, because somebody has removed it, or nobody has ever written it.
    Removed,
    /// There is none, and nobody is known to have removed it.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "no other place is shared")
    )]
    Lost,
    /// The place does not say.
    Unknown,
}

/// Outcome of an attempt to take a lock.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It is held now.
    Held(Lock),
    /// Somebody else holds it. The next attempt makes sense after this pause.
    Busy(Duration),
}

/// The records in a directory, encrypted if there are keys. Touches nothing.
pub(crate) fn in_directory(directory: &Path, keys: Option<&StoreKeys>) -> SharedRecords {
    Encrypted::over(RecordFiles::open(directory), keys.cloned())
}

/// The records that several machines share, encrypted. Connects to nothing yet.
pub(crate) fn shared(place: &SharedPlace) -> SharedRecords {
    Encrypted::over(client(&place.address), Some(place.keys.clone()))
}

#[cfg(feature = "redis")]
fn client(address: &StoreAddress) -> SharedRecords {
    redis::Redis::open(address)
}

/// Without the client there are no addresses.
#[cfg(not(feature = "redis"))]
fn client(_: &StoreAddress) -> SharedRecords {
    unreachable!("no address is read without the feature")
}

/// Writes a value as the text of a record.
pub(crate) fn write_value<T: Serialize>(
    records: &dyn Records,
    name: &str,
    value: &T,
    condition: Condition,
) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(io::Error::from)?;
    text.push(b'\n');
    records.write(name, &text, condition)
}
