//! Credentials: one for each server, account and authorization server.
//!
//! Each has a file ([`record`]), whose secrets may lie in the keychain instead ([`crate::keychain`]). Locks and the
//! sign-in under way are files beside it.

mod account;
mod credential;
mod elsewhere;
mod key;
pub(crate) mod lock;
pub(crate) mod mcp_remote;
pub(crate) mod pending;
mod record;
pub(crate) mod refused_renewal;
mod sealed;
mod settings;
mod shared;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, OnceLock};
use std::time::SystemTime;

use url::Url;

use crate::config::{Config, Store};
use crate::keychain::{Keychain, KeychainError};
use crate::token::unix_millis;
use mcp_bridge_net::descriptors::retry_blocking;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::private_file::{private_directory, sweep_private};
use mcp_bridge_net::whole_file::remove_file;

pub use account::{Account, Expiry, SignedIn};
pub use credential::Voucher;
pub use elsewhere::{directory_of_account, note_directory};
pub use record::{Place, StoreError};
pub use sealed::{OpenError, is_sealed};
pub use settings::{Servers, choose_place, place_of_new};

pub(crate) use credential::{Credential, Summary};
pub(crate) use key::CredentialKey;
pub(crate) use shared::SharedStore;

use record::Record;
use settings::Settings;

/// The credentials of one key. Its methods block; they are short, but for a keychain that wants a person.
///
/// Nothing here fails: what can't be kept is held in memory, with a warning.
#[derive(Debug)]
pub(crate) struct CredentialStore {
    directory: Option<PathBuf>,
    /// Set when the directory has been made private.
    is_ready: OnceLock<()>,
    /// Set when it was logged that it cannot be used.
    is_reported: OnceLock<()>,
    key: CredentialKey,
    server: Url,
    profile: Option<String>,
    /// The place that a flag has chosen.
    chosen: Option<Place>,
    keychain: Keychain,
    unsaved: Mutex<Option<Unsaved>>,
}

/// A credential that could not be saved: the disk is full, or read-only, or the place is not trusted. It lasts for this
/// run, in which saving it is tried again. It is newer than what lies there.
#[derive(Debug)]
struct Unsaved {
    credential: Credential,
    before: Before,
}

/// The file of an unsaved credential, before it could not be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// There was one. Without it somebody has signed out.
    File,
    /// There was none.
    Nothing,
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
        let (directory, chosen) = match config.store {
            None => (config.directory.clone(), None),
            Some(Store::File) => (config.directory.clone(), Some(Place::File)),
            Some(Store::Keychain) => (config.directory.clone(), Some(Place::Keychain)),
            Some(Store::Memory) => (None, None),
        };
        Self {
            directory,
            is_ready: OnceLock::new(),
            is_reported: OnceLock::new(),
            key,
            server: server.clone(),
            profile: config.profile.clone(),
            chosen,
            keychain: config.keychain.clone(),
            unsaved: Mutex::default(),
        }
    }

    /// Path of a further file of this key. None if nothing can be stored.
    pub(crate) fn path(&self, extension: &str) -> Option<PathBuf> {
        Some(self.ready()?.join(self.key.sibling(extension)))
    }

    /// The directory, made private to the user at the first call. None if that does not work, which is tried again: a disk
    /// may be full for a while.
    fn ready(&self) -> Option<&Path> {
        let directory = self.directory.as_deref()?;
        if self.is_ready.get().is_some() {
            return Some(directory);
        }
        match private_directory(directory) {
            Ok(()) => {
                let _ = self.is_ready.set(());
                Some(directory)
            }
            Err(error) => {
                if self.is_reported.set(()).is_ok() {
                    tracing::warn!(
                        directory = %directory.display(), %error,
                        "the sign-in can't be saved, so it lasts for this run only"
                    );
                }
                None
            }
        }
    }

    /// The credential in use: the newest that has tokens, else the newest.
    pub(crate) fn load(&self) -> Option<Credential> {
        self.save_again();
        if let Some(unsaved) = &*self.unsaved() {
            return Some(unsaved.credential.clone());
        }
        self.load_all()
            .into_iter()
            .max_by_key(|credential| (credential.tokens.is_some(), credential.saved_at))
    }

    /// The credential of one issuer.
    pub(crate) fn load_issuer(&self, issuer: &str) -> Option<Credential> {
        let unsaved = self.unsaved();
        let unsaved = unsaved.as_ref().map(|unsaved| unsaved.credential.clone());
        unsaved
            .into_iter()
            .chain(self.load_all())
            .find(|credential| credential.metadata.issuer == issuer)
    }

    /// All credentials of this key.
    pub(crate) fn load_all(&self) -> Vec<Credential> {
        let records = self.records().into_iter();
        records
            .map(|(path, record)| record.complete(&path, &self.keychain))
            .collect()
    }

    fn records(&self) -> Vec<(PathBuf, Record)> {
        let Some(directory) = &self.directory else {
            return Vec::new();
        };
        files(directory)
            .into_iter()
            .filter(|(key, _)| *key == self.key)
            .filter_map(|(_, path)| Some((Record::read(&path)?, path)))
            .map(|(record, path)| (path, record))
            .collect()
    }

    /// Replaces the credential of this issuer. It is where it belongs when this returns, or held in memory.
    pub(crate) fn save(&self, credential: &Credential) {
        let mut credential = credential.clone();
        credential.version = credential::SCHEMA_VERSION;
        credential.profile.clone_from(&self.profile);
        credential.saved_at = unix_millis(SystemTime::now());
        let saved = match self.ready() {
            None => Err(io::Error::other("there is no directory for them").into()),
            Some(directory) => {
                let path = directory.join(self.key.file_name(&credential.metadata.issuer));
                record::write(
                    &path,
                    credential.clone(),
                    self.place(directory),
                    &self.keychain,
                )
            }
        };
        let mut unsaved = self.unsaved();
        match saved {
            Ok(()) if unsaved.take().is_some() => tracing::info!("the sign-in is saved now"),
            Ok(()) => {}
            Err(error) => {
                let path = self.file(&credential.metadata.issuer);
                if let (None, Some(_), Some(path)) = (&*unsaved, self.ready(), &path) {
                    tracing::warn!(
                        file = %path.display(), %error,
                        "the sign-in can't be saved, so it lasts for this run only"
                    );
                }
                let is_there = path.is_some_and(|path| fs::symlink_metadata(path).is_ok());
                let before = match &*unsaved {
                    Some(unsaved) => unsaved.before,
                    None if is_there => Before::File,
                    None => Before::Nothing,
                };
                *unsaved = Some(Unsaved { credential, before });
            }
        }
    }

    /// Tries again to save what could not be saved, unless somebody has signed out or in meanwhile.
    pub(crate) fn save_again(&self) -> SavedAgain {
        let Some((credential, before)) = self
            .unsaved()
            .as_ref()
            .map(|unsaved| (unsaved.credential.clone(), unsaved.before))
        else {
            return SavedAgain::Done;
        };
        let issuer = &credential.metadata.issuer;
        let Some(path) = self.file(issuer) else {
            return SavedAgain::Never;
        };
        if before == Before::File && fs::symlink_metadata(path).is_err() {
            return SavedAgain::Never;
        }
        let stored = self.load_all().into_iter();
        let mut of_issuer = stored.filter(|stored| stored.metadata.issuer == *issuer);
        if of_issuer.any(|stored| stored.saved_at > credential.saved_at) {
            *self.unsaved() = None;
            return SavedAgain::Done;
        }
        self.save(&credential);
        if self.unsaved().is_none() {
            SavedAgain::Done
        } else {
            SavedAgain::NotYet
        }
    }

    /// True if there is a credential that could not be saved, and a place for it.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.directory.is_some() && self.unsaved().is_some()
    }

    /// The file of an issuer's credential.
    fn file(&self, issuer: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(self.key.file_name(issuer)))
    }

    /// Place of secrets: as a flag says, as was chosen for the server, where they are, as was chosen for
    /// all servers.
    fn place(&self, directory: &Path) -> Place {
        let settings = Settings::read(directory);
        let present = || {
            let mut places = self.records().into_iter().map(|(_, record)| record.secrets);
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
        let mut unsaved = self.unsaved();
        if unsaved
            .as_ref()
            .is_some_and(|unsaved| unsaved.credential.metadata.issuer == issuer)
        {
            *unsaved = None;
        }
        match self.file(issuer) {
            Some(path) => record::remove(&path, &self.keychain),
            None => Ok(()),
        }
    }

    /// Removes what [`remove_remains`] does, damaged credentials of this key only.
    pub(crate) fn sweep(&self) {
        let Some(directory) = &self.directory else {
            return;
        };
        sweep_private(directory);
        remove(damaged_files(directory).filter(|(key, _)| *key == self.key));
    }

    /// True if somebody has removed the credential of this issuer that was kept before. One that cannot be
    /// read, or was never kept, is not removed.
    pub(crate) fn is_removed(&self, issuer: &str) -> bool {
        let Some(path) = self.file(issuer) else {
            return false;
        };
        self.unsaved().is_none()
            && matches!(path.try_exists(), Ok(false))
            && fs::symlink_metadata(path).is_err()
    }

    /// Checks that the place that was chosen can be used.
    pub(crate) fn check(&self) -> Result<(), KeychainError> {
        match self.directory.as_deref().map(|it| self.place(it)) {
            Some(Place::Keychain) => self.keychain.check(),
            Some(Place::File) | None => Ok(()),
        }
    }

    fn unsaved(&self) -> MutexGuard<'_, Option<Unsaved>> {
        self.unsaved.lock()
    }
}

/// Removes files that hold tokens and are no credentials any more, of all accounts in `directory`: damaged ones, and those
/// that killed processes have left unfinished.
pub fn remove_remains(directory: &Path) {
    sweep_private(directory);
    remove(damaged_files(directory));
}

fn remove(files: impl Iterator<Item = (CredentialKey, PathBuf)>) {
    for (_, path) in files {
        if let Err(error) = remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "a damaged credential cannot be removed");
        }
    }
}

/// Credentials that could not be read and were set aside, each with its key.
fn damaged_files(directory: &Path) -> impl Iterator<Item = (CredentialKey, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let damaged = paths.filter(|path| path.extension().is_some_and(|it| it == record::DAMAGED));
    damaged.filter_map(|path| {
        let name = path.with_extension("json");
        let key = CredentialKey::from_file_name(&name.file_name()?.to_string_lossy())?;
        Some((key, path))
    })
}

/// The files of all credentials in `directory`, each with its key.
fn files(directory: &Path) -> Vec<(CredentialKey, PathBuf)> {
    let Ok(entries) = retry_blocking(|| fs::read_dir(directory)) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            // Neither a lock nor a sign-in under way.
            let key = CredentialKey::from_file_name(&entry.file_name().to_string_lossy())?;
            Some((key, entry.path()))
        })
        .collect();
    files.sort_by(|(_, a), (_, b)| a.cmp(b));
    files
}
