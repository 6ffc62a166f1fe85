//! Credentials: one for each server, account and authorization server.
//!
//! Each has a record ([`record`]), whose secrets may lie in the keychain instead ([`crate::keychain`]). The sign-in under way
//! and refused renewals are records beside it. A place ([`records`]) keeps records and has locks: a directory of files, or
//! a store that several machines share.

mod account;
mod credential;
mod elsewhere;
mod key;
pub(crate) mod lock;
pub(crate) mod mcp_remote;
pub(crate) mod pending;
mod record;
pub(crate) mod records;
pub(crate) mod refresh_intent;
pub(crate) mod refused_renewal;
mod relocation;
mod running_time;
mod sealed;
mod settings;
mod shared;
#[cfg(all(test, unix))]
mod suite;

use std::path::{Path, PathBuf};
use std::sync::MutexGuard;
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::{Config, Store};
use crate::keychain::Keychain;
use crate::token::unix_millis;
use mcp_bridge_net::mutex::Mutex;

pub use account::{Account, Expiry, SignedIn};
pub use credential::Voucher;
pub use elsewhere::{directory_of_account, note_directory};
pub use record::{Place, StoreError};
pub use sealed::{OpenError, is_sealed};
pub use settings::{Servers, choose_place, place_of_new};

pub(crate) use credential::{Credential, SharedGrant, Summary};
pub(crate) use key::CredentialKey;
pub(crate) use record::STORE_RETRY;
pub(crate) use shared::SharedStore;

use record::Record;
use records::{Condition, Custody, Presence, Records, SharedRecords, write_value};
use settings::Settings;

/// The credentials of one key. Its methods block; they are short, but for a keychain that wants a person.
///
/// Records that can't be stored are held in memory, with a warning.
#[derive(Debug)]
pub(crate) struct CredentialStore {
    /// None keeps everything in memory.
    records: Option<SharedRecords>,
    /// The directory of the user's choices.
    directory: Option<PathBuf>,
    key: CredentialKey,
    server: Url,
    profile: Option<String>,
    /// The place that a flag has chosen.
    chosen: Option<Place>,
    keychain: Keychain,
    unsaved: Mutex<Option<Unsaved>>,
}

/// A credential that could not be saved: the disk is full, or read-only, or the place is not trusted or does not answer. It
/// lasts for this run, in which saving it is tried again. It is newer than what lies there.
#[derive(Debug)]
struct Unsaved {
    credential: Credential,
    condition: Condition,
    before: Before,
}

/// The record of an unsaved credential, before it could not be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// There was one. Without it somebody has signed out.
    Record,
    /// There was none.
    Nothing,
}

/// Outcome of saving a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    /// It is where it belongs.
    Kept,
    /// It is held in memory.
    InMemory,
    /// It is dropped, because another process has stored something newer.
    Superseded,
}

/// Outcome of saving again what could not be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SavedAgain {
    /// Nothing is left to save.
    Done,
    /// It could not be saved this time, either.
    NotYet,
    /// It is not to be saved: somebody has signed out, or there is no place for it.
    Never,
}

impl CredentialStore {
    /// Touches nothing: a server that wants no sign-in leaves no trace.
    pub(crate) fn new(key: CredentialKey, server: &Url, config: &Config) -> Self {
        let (records, chosen) = Self::place_of(config);
        let directory = match &config.store {
            Some(Store::Memory | Store::Shared(_)) => None,
            Some(Store::File | Store::Keychain) | None => config.directory.clone(),
        };
        Self {
            records,
            directory,
            key,
            server: server.clone(),
            profile: config.profile.clone(),
            chosen,
            keychain: config.keychain.clone(),
            unsaved: Mutex::default(),
        }
    }

    /// The place of records that the user has chosen, and that of secrets. No place means memory.
    fn place_of(config: &Config) -> (Option<SharedRecords>, Option<Place>) {
        let keys = config.store_keys.as_ref();
        let directory = config.directory.as_deref();
        let files = || directory.map(|it| records::in_directory(it, keys));
        match &config.store {
            None => (files(), None),
            Some(Store::File) => (files(), Some(Place::File)),
            Some(Store::Keychain) => (files(), Some(Place::Keychain)),
            Some(Store::Memory) => (None, None),
            Some(Store::Shared(place)) => (Some(records::shared(place)), None),
        }
    }

    /// True if what is stored outlives the process, as far as one can know.
    pub(crate) fn can_keep(&self) -> bool {
        self.records.as_ref().is_some_and(|it| match it.custody() {
            Custody::Machine => it.check().is_ok(),
            Custody::Fleet => true,
        })
    }

    /// True if this is the store of `key`.
    pub(crate) fn has_key(&self, key: &CredentialKey) -> bool {
        self.key == *key
    }

    /// The name of the account.
    pub(crate) fn account_name(&self) -> &str {
        self.key.name()
    }

    /// The place and name of a lock of this key; none if nothing is stored.
    pub(crate) fn lock_name(&self, kind: &str) -> Option<(SharedRecords, String)> {
        Some((self.records.clone()?, self.key.sibling(kind)))
    }

    /// A further record of this key. One that makes no sense is none.
    pub(crate) fn read_beside<T: DeserializeOwned>(
        &self,
        extension: &str,
        kind: &str,
    ) -> Result<Option<T>, StoreError> {
        match &self.records {
            Some(records) => read_beside(&**records, &self.key, extension, kind),
            None => Ok(None),
        }
    }

    /// Writes a further record of this key, for others to know. Without a place there is nobody to tell.
    pub(crate) fn write_beside<T: Serialize>(&self, extension: &str, value: &T) {
        if let Err(error) = self.try_write_beside(extension, value, Condition::None) {
            tracing::debug!(%error, "{extension} not recorded");
        }
    }

    /// Writes a further record of this key that has to be there.
    pub(crate) fn try_write_beside<T: Serialize>(
        &self,
        extension: &str,
        value: &T,
        condition: Condition,
    ) -> Result<(), StoreError> {
        match &self.records {
            Some(records) => {
                write_value(&**records, &self.key.sibling(extension), value, condition)
            }
            None => Ok(()),
        }
    }

    /// Removes a further record of this key.
    pub(crate) fn remove_beside(&self, extension: &str) {
        let Some(records) = &self.records else { return };
        if let Err(error) = records.remove(&self.key.sibling(extension), Condition::None) {
            tracing::debug!(%error, "{extension} not removed");
        }
    }

    /// Returns true if there is no credential of this key, and that is known without a wait.
    pub(crate) fn is_surely_empty(&self) -> bool {
        let records = self.records.as_deref();
        self.unsaved().is_none()
            && records.is_none_or(|records| records.is_surely_without(&self.key.sibling("")))
    }

    /// The credential in use: the newest that has tokens, else the newest.
    pub(crate) fn load(&self) -> Result<Option<Credential>, StoreError> {
        self.save_again();
        if let Some(unsaved) = &*self.unsaved() {
            return Ok(Some(unsaved.credential.clone()));
        }
        let all = self.load_all()?.into_iter();
        Ok(all.max_by_key(|credential| (credential.tokens.is_some(), credential.saved_at)))
    }

    /// The credential of one issuer.
    pub(crate) fn load_issuer(&self, issuer: &str) -> Result<Option<Credential>, StoreError> {
        let unsaved = self.unsaved().as_ref().map(|it| it.credential.clone());
        let mut all = unsaved.into_iter().chain(self.load_all()?);
        Ok(all.find(|credential| credential.metadata.issuer == issuer))
    }

    /// All credentials of this key.
    pub(crate) fn load_all(&self) -> Result<Vec<Credential>, StoreError> {
        let records = self.stored()?.into_iter();
        Ok(records
            .map(|(name, record)| record.complete(&name, &self.keychain))
            .collect())
    }

    /// The accounts of this key, one for each issuer.
    pub(crate) fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        match &self.records {
            Some(records) => Account::of_prefix(records, &self.key.sibling("")),
            None => Ok(Vec::new()),
        }
    }

    /// The accounts in the same place that have their tokens from this one.
    pub(crate) fn members(&self) -> Result<Vec<Account>, StoreError> {
        let Some(records) = &self.records else {
            return Ok(Vec::new());
        };
        let mut all = Account::all_in(records)?;
        all.retain(|account| account.shares(self.key.name()));
        Ok(all)
    }

    fn stored(&self) -> Result<Vec<(String, Record)>, StoreError> {
        let Some(records) = self.records.as_deref() else {
            return Ok(Vec::new());
        };
        let mut stored = Vec::new();
        for (_, name) in credentials(records, &self.key.sibling(""))? {
            stored.extend(Record::read(records, &name)?.map(|record| (name, record)));
        }
        Ok(stored)
    }

    /// Replaces the credential of this issuer. It is where it belongs when this returns, or held in memory, unless it
    /// is older than what is there.
    pub(crate) fn save(&self, credential: &Credential, condition: Condition) -> Saved {
        let mut credential = credential.clone();
        credential.version = credential::SCHEMA_VERSION;
        credential.profile.clone_from(&self.profile);
        credential.saved_at = unix_millis(SystemTime::now());
        let saved = self.try_save(&credential, condition);
        let name = self.key.record(&credential.metadata.issuer);
        // The memory is not locked while the place is asked, which may take seconds.
        let presence = saved.as_ref().err().and_then(|_| self.presence(&name));
        let mut unsaved = self.unsaved();
        let error = match saved {
            Ok(()) => {
                if unsaved.take().is_some() {
                    tracing::info!("the sign-in is saved now");
                }
                return Saved::Kept;
            }
            Err(StoreError::Superseded) => {
                *unsaved = None;
                tracing::info!("another process has stored a newer token, which is used");
                return Saved::Superseded;
            }
            Err(error) => error,
        };
        if let (None, Some(records)) = (&*unsaved, &self.records)
            && !matches!(error, StoreError::Directory(_))
        {
            tracing::warn!(
                file = %records.shown(&name), %error,
                "the sign-in can't be saved, so it lasts for this run only"
            );
        }
        let before = match &*unsaved {
            Some(unsaved) => unsaved.before,
            None if presence == Some(Presence::There) => Before::Record,
            None => Before::Nothing,
        };
        *unsaved = Some(Unsaved {
            credential,
            condition,
            before,
        });
        Saved::InMemory
    }

    fn try_save(&self, credential: &Credential, condition: Condition) -> Result<(), StoreError> {
        let Some(records) = self.records.as_deref() else {
            let nowhere = std::io::Error::other("nothing is stored");
            return Err(StoreError::Directory(nowhere));
        };
        let name = self.key.record(&credential.metadata.issuer);
        let (place, keychain) = (self.place(), &self.keychain);
        record::write(
            records,
            &name,
            credential.clone(),
            place,
            keychain,
            condition,
        )
    }

    /// Tries again to save what could not be saved, unless somebody has signed out or in meanwhile.
    pub(crate) fn save_again(&self) -> SavedAgain {
        let (credential, condition, before) = match &*self.unsaved() {
            None => return SavedAgain::Done,
            Some(it) => (it.credential.clone(), it.condition, it.before),
        };
        let issuer = &credential.metadata.issuer;
        let Some(presence) = self.presence(&self.key.record(issuer)) else {
            return SavedAgain::Never;
        };
        if before == Before::Record && presence == Presence::Removed {
            return SavedAgain::Never;
        }
        // With a fence the place itself tells what is newer, whatever the clocks say.
        if condition == Condition::None {
            let Ok(stored) = self.load_all() else {
                return SavedAgain::NotYet;
            };
            let mut of_issuer = stored.iter().filter(|it| it.metadata.issuer == *issuer);
            if of_issuer.any(|stored| stored.saved_at > credential.saved_at) {
                *self.unsaved() = None;
                return SavedAgain::Done;
            }
        }
        match self.save(&credential, condition) {
            Saved::Kept | Saved::Superseded => SavedAgain::Done,
            Saved::InMemory => SavedAgain::NotYet,
        }
    }

    /// True if there is a credential that could not be saved, and a place for it.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.records.is_some() && self.unsaved().is_some()
    }

    /// Presence of the record of this name; none if nothing is stored.
    fn presence(&self, name: &str) -> Option<Presence> {
        Some(self.records.as_ref()?.presence(name))
    }

    /// Place of secrets: as a flag says, as was chosen for the server, where they are, as was chosen for
    /// all servers.
    fn place(&self) -> Place {
        let Some(directory) = &self.directory else {
            return Place::Shared;
        };
        let settings = Settings::read(directory);
        let present = || {
            let stored = self.stored().unwrap_or_default();
            let mut places = stored.into_iter().map(|(_, record)| record.secrets);
            places.find(|place| *place == Place::Keychain)
        };
        self.chosen
            .or_else(|| settings.place_for(&self.server))
            .or_else(present)
            .or(settings.store)
            .unwrap_or_default()
    }

    /// Removes the credential of this issuer.
    pub(crate) fn remove(&self, issuer: &str) -> Result<(), StoreError> {
        self.unsaved()
            .take_if(|unsaved| unsaved.credential.metadata.issuer == issuer);
        match &self.records {
            Some(records) => {
                let name = self.key.record(issuer);
                record::remove(&**records, &name, &self.keychain, Condition::None)
            }
            None => Ok(()),
        }
    }

    /// Removes what [`remove_remains`] does, damaged credentials of this key only.
    pub(crate) fn sweep(&self) {
        if let Some(records) = &self.records {
            records.sweep(&self.key.sibling(""));
        }
    }

    /// True if somebody has removed the credential of this issuer that was kept before. One that cannot be
    /// read, or was never kept, is not removed.
    pub(crate) fn is_removed(&self, issuer: &str) -> bool {
        let presence = self.presence(&self.key.record(issuer));
        self.unsaved().is_none() && presence == Some(Presence::Removed)
    }

    /// Checks that the place that was chosen can be used.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let Some(records) = &self.records else {
            return Ok(());
        };
        match self.place() {
            Place::Keychain => Ok(self.keychain.check()?),
            Place::File => Ok(()),
            Place::Shared => records.check(),
        }
    }

    fn unsaved(&self) -> MutexGuard<'_, Option<Unsaved>> {
        self.unsaved.lock()
    }
}

/// A record of an account beside its credentials. One that makes no sense is none.
fn read_beside<T: DeserializeOwned>(
    records: &dyn Records,
    key: &CredentialKey,
    extension: &str,
    kind: &str,
) -> Result<Option<T>, StoreError> {
    let text = records.read(&key.sibling(extension), kind)?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Removes files that hold tokens and are no credentials any more, of all accounts in `directory`: damaged ones, and those
/// that killed processes have left unfinished.
pub fn remove_remains(directory: &Path) {
    records::in_directory(directory, None).sweep("");
}

/// The names of the records of all credentials that begin so, each with its key; neither locks nor a sign-in under way.
fn credentials(
    records: &dyn Records,
    prefix: &str,
) -> Result<Vec<(CredentialKey, String)>, StoreError> {
    let names = records.names(prefix)?.into_iter();
    Ok(names
        .filter_map(|name| Some((CredentialKey::from_record(&name)?, name)))
        .collect())
}
