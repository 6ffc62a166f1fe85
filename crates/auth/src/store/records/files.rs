//! Records as files of the user's alone in one directory, with locks of the kernel.
//!
//! Files are replaced atomically, and those that others could have written are not used ([`private_file`]). The kernel
//! ends a lock with its holder, so there are no fences.
//!
//! [`private_file`]: mcp_bridge_net::private_file

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fs4::TryLockError;

use super::{Attempt, Condition, Custody, Presence, Records, SharedRecords};
use crate::store::key::CredentialKey;
use crate::store::lock::{Held, Lock};
use crate::store::record::StoreError;
use mcp_bridge_net::descriptors::retry_blocking;
use mcp_bridge_net::private_file::{
    is_new_report, open_lock_file, private_directory, read_trusted, sweep_private,
    write_private_text,
};
use mcp_bridge_net::whole_file::{remove_file, sync_directory};

/// Extension of a file that was put aside because it is damaged.
const DAMAGED: &str = "corrupt";

/// Interval at which a waiting process asks for a lock again. A person does not notice it, and neither does the machine.
const POLL: Duration = Duration::from_millis(100);

/// Records in one directory.
#[derive(Debug)]
pub(crate) struct RecordFiles {
    directory: PathBuf,
    /// Set when the directory has been made private.
    is_ready: OnceLock<()>,
    /// Set when it was logged that it cannot be used.
    is_reported: OnceLock<()>,
}

impl RecordFiles {
    /// Touches nothing.
    pub(crate) fn open(directory: &Path) -> SharedRecords {
        Arc::new(Self::new(directory))
    }

    fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            is_ready: OnceLock::new(),
            is_reported: OnceLock::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes the directory private to the user at the first call. What does not work is tried again: a disk may be full
    /// for a while.
    fn prepare(&self) -> Result<(), StoreError> {
        if self.is_ready.get().is_some() {
            return Ok(());
        }
        match private_directory(&self.directory) {
            Ok(()) => {
                let _ = self.is_ready.set(());
                Ok(())
            }
            Err(error) => {
                if self.is_reported.set(()).is_ok() {
                    tracing::warn!(
                        directory = %self.directory.display(), %error,
                        "the sign-in can't be saved, so it lasts for this run only"
                    );
                }
                Err(StoreError::Directory(error))
            }
        }
    }
}

impl Records for RecordFiles {
    fn read(&self, name: &str, kind: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(read_trusted(&self.path(name), kind))
    }

    fn write(&self, name: &str, text: &[u8], _: Condition) -> Result<(), StoreError> {
        self.prepare()?;
        Ok(write_private_text(&self.path(name), text)?)
    }

    fn remove(&self, name: &str, _: Condition) -> Result<(), StoreError> {
        match remove_file(&self.path(name)) {
            Ok(()) => {
                sync_directory(&self.directory);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn presence(&self, name: &str) -> Presence {
        let path = self.path(name);
        // A link to nothing is something.
        if fs::symlink_metadata(&path).is_ok() {
            return Presence::There;
        }
        match path.try_exists() {
            Ok(false) => Presence::Removed,
            Ok(true) | Err(_) => Presence::Unknown,
        }
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let Ok(entries) = retry_blocking(|| fs::read_dir(&self.directory)) else {
            return Ok(Vec::new());
        };
        let mut names: Vec<_> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn is_surely_without(&self, prefix: &str) -> bool {
        match fs::read_dir(&self.directory) {
            Ok(mut entries) => entries.all(|entry| {
                entry.is_ok_and(|it| !it.file_name().to_string_lossy().starts_with(prefix))
            }),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    fn set_aside(&self, name: &str) {
        let path = self.path(name);
        let _ = fs::rename(&path, path.with_extension(DAMAGED));
    }

    fn sweep(&self, prefix: &str) {
        sweep_private(&self.directory);
        for name in self.names(prefix).unwrap_or_default() {
            let path = self.path(&name);
            if !is_damaged_credential(&path) {
                continue;
            }
            if let Err(error) = remove_file(&path) {
                tracing::warn!(file = %path.display(), %error, "a damaged credential cannot be removed");
            }
        }
    }

    fn try_lock(&self, name: &str, _: Duration) -> Result<Attempt, StoreError> {
        let path = self.path(name);
        if self.prepare().is_err() {
            return Ok(Attempt::Held(Lock::without_effect()));
        }
        match lock(&path) {
            Ok(Some(file)) => Ok(Attempt::Held(Lock::new(file))),
            Ok(None) => Ok(Attempt::Busy(POLL)),
            Err(error) => {
                if is_new_report(&path) {
                    tracing::warn!(
                        file = %path.display(), %error,
                        "no lock is available, so several processes may sign in at once"
                    );
                }
                Ok(Attempt::Held(Lock::without_effect()))
            }
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        self.prepare()
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn custody(&self) -> Custody {
        Custody::Machine
    }
}

/// The lock file itself stays: removing it would let two processes lock two files of one name.
impl Held for File {}

fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = open_lock_file(path)?;
    match fs4::FileExt::try_lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// True for a credential that could not be read and was put aside.
fn is_damaged_credential(path: &Path) -> bool {
    let is_damaged = path.extension().is_some_and(|it| it == DAMAGED);
    let name = path.with_extension("json");
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    is_damaged && CredentialKey::from_record(&name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_lock(records: &RecordFiles) -> Option<Lock> {
        match records.try_lock("key.lock", Duration::ZERO).unwrap() {
            Attempt::Held(lock) => Some(lock),
            Attempt::Busy(_) => None,
        }
    }

    /// a file that a crashed process left is no lock.
    #[test]
    fn a_lock_is_exclusive_and_ends_with_its_holder_not_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.lock");
        fs::write(&path, "left by a crash").unwrap();
        let records = RecordFiles::new(directory.path());
        let held = try_lock(&records);
        assert!(held.is_some());
        assert!(try_lock(&records).is_none());
        drop(held);
        assert!(path.exists());
        assert!(try_lock(&records).is_some());
    }

    ///
    #[test]
    fn where_there_is_no_locking_everyone_goes_on() {
        let records = RecordFiles::new(Path::new("/dev/null/nowhere"));
        let first = try_lock(&records);
        assert!(first.is_some());
        assert!(try_lock(&records).is_some());
    }
}
