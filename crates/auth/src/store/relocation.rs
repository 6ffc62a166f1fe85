//! Move of an account to another place of records.

use crate::config::Config;
use crate::keychain::Keychain;
use crate::store::CredentialStore;
use crate::store::account::Account;
use crate::store::credential::Credential;
use crate::store::lock;
use crate::store::record::{self, Place, Record, StoreError};
use crate::store::records::{Condition, Records, SharedRecords};

/// A credential on its way.
struct Relocation {
    from: SharedRecords,
    to: SharedRecords,
    name: String,
    place: Place,
    keychain: Keychain,
}

impl Account {
    /// Moves the account to where these choices say, and deletes it here only after it was read there. False if it is gone. A
    /// refresh in another process is waited for. What is there and newer stays, and nothing is moved.
    pub async fn move_into(&self, choices: &Config) -> Result<bool, StoreError> {
        let (Some(to), place) = CredentialStore::place_of(choices) else {
            return Err(StoreError::Directory(std::io::Error::other(
                "memory is no place to move to",
            )));
        };
        let lock_name = self.key.sibling("lock");
        let mut locks = Vec::new();
        for records in [&self.records, &to] {
            let lock = lock::acquire_named(records, &lock_name, lock::REFRESH_WAIT);
            locks.push(lock.await?.ok_or(StoreError::Busy)?);
        }
        let condition = locks[1].condition();
        let relocation = Relocation {
            from: SharedRecords::clone(&self.records),
            to,
            name: self.record.clone(),
            place: place.unwrap_or_default(),
            keychain: choices.keychain.clone(),
        };
        let moving = tokio::task::spawn_blocking(move || relocation.carry_out(condition));
        let moved = moving.await.unwrap_or(Err(StoreError::Busy));
        for lock in locks {
            lock.release().await;
        }
        moved
    }
}

impl Relocation {
    fn carry_out(&self, condition: Condition) -> Result<bool, StoreError> {
        let Some(credential) = self.read(&*self.from)? else {
            return Ok(false);
        };
        let there = self.read(&*self.to)?;
        if there.is_some_and(|there| there.saved_at > credential.saved_at) {
            return Err(StoreError::Superseded);
        }
        let (to, keychain) = (&*self.to, &self.keychain);
        record::write(
            to,
            &self.name,
            credential.clone(),
            self.place,
            keychain,
            condition,
        )?;
        if self.read(to)?.as_ref() != Some(&credential) {
            return Err(StoreError::ReadsOtherwise);
        }
        record::remove(&*self.from, &self.name, keychain, Condition::None)?;
        Ok(true)
    }

    /// The credential with its secrets, which have to be there.
    fn read(&self, records: &dyn Records) -> Result<Option<Credential>, StoreError> {
        let record = Record::read(records, &self.name)?;
        let whole = record.map(|record| record.whole(&self.name, &self.keychain));
        Ok(whole.transpose()?)
    }
}
