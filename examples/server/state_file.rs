//! The state file: clients, grants and hashes of tokens, over a restart of the server.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::App;
use super::store::Store;

/// The file that a [`Store`] is kept in.
pub(crate) struct StateFile {
    path: PathBuf,
    /// Version of the store that was written last. Whoever holds the lock writes.
    written: Arc<Mutex<u64>>,
}

impl StateFile {
    /// The file at this path, which need not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            written: Arc::default(),
        }
    }

    /// The state in the file, or an empty one if there is no file.
    pub(crate) fn read(&self) -> io::Result<Store> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Store::default()),
            Err(error) => Err(error),
        }
    }

    /// Returns when the changes so far are in the file. Requests that wait for a write have theirs
    /// written together by the next one (group commit).
    ///
    /// A failure is reported and not fatal: the server goes on from memory.
    pub(crate) async fn save(&self, app: &App) {
        let wanted = app.store().version();
        let mut written = self.written.clone().lock_owned().await;
        if *written >= wanted {
            return;
        }
        let (version, state) = {
            let store = app.store();
            (store.version(), serde_json::to_vec_pretty(&*store))
        };
        let path = self.path.clone();
        // The lock goes along: a client that hangs up must not let an older state overtake this one.
        let task = tokio::task::spawn_blocking(move || {
            replace(&path, &state?)?;
            *written = version;
            Ok(())
        });
        let result = task
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = result {
            tracing::warn!(path = %self.path.display(), %error, "cannot write the state file");
        }
    }
}

/// Replaces the file in one step, so that a crash leaves the old or the new one. The temporary file
/// is readable by its owner alone, and stays so under its new name.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}
