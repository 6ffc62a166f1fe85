//! Record of a migration, by which it can be undone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use mcp_bridge_net::private_file::{private_folder, read_private, write_private};

/// The directory of the records, in that of the bridge.
const DIRECTORY: &str = "migrations";
const LEVELS: usize = 1;

/// The files that one migration has written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MigrationRecord {
    pub(super) files: Vec<WrittenFile>,
}

/// A file that was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WrittenFile {
    pub(super) path: PathBuf,
    /// The copy of the file as it was.
    pub(super) backup: PathBuf,
    /// The SHA-256 of what was written.
    digest: String,
}

/// A record, and its file.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    pub(super) record: MigrationRecord,
}

impl WrittenFile {
    pub(super) fn new(path: PathBuf, backup: PathBuf, text: &str) -> Self {
        Self {
            path,
            backup,
            digest: digest(text),
        }
    }

    /// Returns whether the file holds what was written.
    pub(super) fn is_unchanged(&self, text: Option<&str>) -> bool {
        text.is_some_and(|text| digest(text) == self.digest)
    }
}

impl RecordFile {
    /// A new one below the directory of the bridge. It is written when the first file is.
    pub(super) fn new(directory: &Path) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = now.map_or(0, |now| now.as_millis());
        Self {
            // As many digits for each, so that the order of names is that of time.
            path: directory.join(DIRECTORY).join(format!("{millis:015}.json")),
            record: MigrationRecord::default(),
        }
    }

    /// The last one. None if there is none.
    pub(super) fn last(directory: &Path) -> Result<Option<Self>, String> {
        let directory = directory.join(DIRECTORY);
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let records = paths.filter(|path| path.extension().is_some_and(|it| it == "json"));
        let Some(path) = records.max() else {
            return Ok(None);
        };
        let text = read_private(&path)?.unwrap_or_default();
        let record = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        Ok(Some(Self { path, record }))
    }

    /// Adds a file that has been written.
    pub(super) fn add(&mut self, file: WrittenFile) -> io::Result<()> {
        self.record.files.push(file);
        self.save()
    }

    /// Writes what is left of the record, and deletes one that is empty.
    pub(super) fn save(&self) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        if !self.record.files.is_empty() {
            private_folder(directory, LEVELS)?;
            return write_private(&self.path, &self.record);
        }
        fs::remove_file(&self.path)?;
        // Others may be in it.
        let _ = fs::remove_dir(directory);
        Ok(())
    }
}

fn digest(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}
