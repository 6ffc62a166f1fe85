//! Locks between processes. The kernel holds them, so a killed process never blocks the next one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs4::TryLockError;
use tokio::time::Instant;

use mcp_bridge_net::private_file::{is_new_report, open_lock_file};

/// Interval at which a waiting process asks again. A person does not notice it, and neither does the machine.
const POLL: Duration = Duration::from_millis(100);

/// Longest wait for another process' refresh: a little longer than its token request may take.
pub(crate) const REFRESH_WAIT: Duration = Duration::from_secs(40);

/// A lock that is held until this is dropped.
///
/// The lock file itself stays: removing it would let two processes lock two files of one name.
#[derive(Debug)]
pub(crate) struct Lock {
    /// None where the file system has no locks; then there is nothing to release.
    _file: Option<File>,
}

/// Takes the lock at `path`, waiting for its holder no longer than `limit`. None if it is still held then.
///
/// Dropping the future gives up waiting. Without a path, or where locking does not work (read-only
/// directories, some network file systems), everyone gets the lock: running without it is better than not
/// running.
pub(crate) async fn acquire(path: Option<PathBuf>, limit: Duration) -> Option<Lock> {
    let Some(path) = path else {
        return Some(Lock { _file: None });
    };
    let deadline = Instant::now() + limit;
    loop {
        let attempt = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || try_lock(&path)).await
        };
        match attempt {
            Ok(Ok(Some(file))) => return Some(Lock { _file: Some(file) }),
            Ok(Ok(None)) if Instant::now() >= deadline => return None,
            Ok(Ok(None)) => tokio::time::sleep(POLL).await,
            Ok(Err(error)) => {
                if is_new_report(&path) {
                    tracing::warn!(
                        file = %path.display(), %error,
                        "no lock is available, so several processes may sign in at once"
                    );
                }
                return Some(Lock { _file: None });
            }
            // The runtime is ending.
            Err(_) => return None,
        }
    }
}

fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = open_lock_file(path)?;
    match fs4::FileExt::try_lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;

    /// a file that a crashed process left is no lock.
    #[tokio::test]
    async fn a_lock_is_exclusive_and_ends_with_its_holder_not_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.lock");
        std::fs::write(&path, "left by a crash").unwrap();
        let held = acquire(Some(path.clone()), NO_WAIT).await;
        assert!(held.is_some());
        assert!(acquire(Some(path.clone()), NO_WAIT).await.is_none());
        drop(held);
        assert!(path.exists());
        assert!(acquire(Some(path), NO_WAIT).await.is_some());
    }

    ///
    #[tokio::test]
    async fn where_there_is_no_locking_everyone_goes_on() {
        let nowhere = PathBuf::from("/nonexistent/key.lock");
        assert!(acquire(Some(nowhere), NO_WAIT).await.is_some());
        assert!(acquire(None, NO_WAIT).await.is_some());
    }
}
