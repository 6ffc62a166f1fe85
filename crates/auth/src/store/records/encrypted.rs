//! Encryption of the records of another place ([`sealed`](crate::store::sealed)).

use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Condition, Custody, Presence, Records, SharedRecords};
use crate::config::StoreKeys;
use crate::store::record::StoreError;
use crate::store::sealed::{OpenError, is_sealed};

/// Records that are encrypted if there are keys. Without keys, those that somebody else has encrypted are recognized.
#[derive(Debug)]
pub(crate) struct Encrypted {
    records: SharedRecords,
    keys: Option<StoreKeys>,
}

impl Encrypted {
    pub(crate) fn over(records: SharedRecords, keys: Option<StoreKeys>) -> SharedRecords {
        Arc::new(Self { records, keys })
    }

    /// The content of a record. What cannot be decrypted because it was changed becomes a text that makes no sense: only that
    /// is damage, and everything else is left alone.
    fn opened(&self, name: &str, text: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let locked = |reason: String| StoreError::Locked {
            record: self.shown(name),
            reason,
        };
        let Some(keys) = &self.keys else {
            if is_sealed(&text) {
                return Err(locked("it is encrypted, and there is no key here".into()));
            }
            return Ok(text);
        };
        match keys.open(name, &text) {
            Ok(content) => Ok(content),
            // Of the time before there were keys. On another machine anybody may have written it.
            Err(OpenError::NotSealed) if self.custody() == Custody::Machine => Ok(text),
            Err(OpenError::Damaged) => Ok(Vec::new()),
            Err(
                error @ (OpenError::NotSealed
                | OpenError::NewerVersion
                | OpenError::UnknownKey { .. }),
            ) => Err(locked(error.to_string())),
        }
    }
}

impl Records for Encrypted {
    fn read(&self, name: &str, kind: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let text = self.records.read(name, kind)?;
        text.map(|text| self.opened(name, text)).transpose()
    }

    fn write(&self, name: &str, text: &[u8], condition: Condition) -> Result<(), StoreError> {
        match &self.keys {
            Some(keys) => self.records.write(name, &keys.seal(name, text), condition),
            None => self.records.write(name, text, condition),
        }
    }

    fn remove(&self, name: &str, condition: Condition) -> Result<(), StoreError> {
        self.records.remove(name, condition)
    }

    fn presence(&self, name: &str) -> Presence {
        self.records.presence(name)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.records.names(prefix)
    }

    fn is_surely_without(&self, prefix: &str) -> bool {
        self.records.is_surely_without(prefix)
    }

    fn set_aside(&self, name: &str) {
        self.records.set_aside(name);
    }

    fn sweep(&self, prefix: &str) {
        self.records.sweep(prefix);
    }

    fn try_lock(&self, name: &str, patience: Duration) -> Result<Attempt, StoreError> {
        self.records.try_lock(name, patience)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.records.check()
    }

    fn shown(&self, name: &str) -> String {
        self.records.shown(name)
    }

    fn custody(&self) -> Custody {
        self.records.custody()
    }
}
