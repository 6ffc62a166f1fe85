//! HAR file that is valid JSON after each write, private to the user, and bounded by rotation.
//!
//! Finished entries are only appended. Behind them are the entries of open exchanges and the closing brackets, which
//! each write replaces.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::Sink;
use super::har::{HarEntries, SEPARATOR};

/// Size at which the file is replaced by a new one. With the one before it, the recording takes twice as much.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// The end of the file: that of the entries, of the log and of the document.
const CLOSING: &[u8] = b"\n]}}\n";

/// Memory that the next write may use again, in bytes.
const SPARE_BYTES: usize = 1024 * 1024;

/// A recording on disk.
#[derive(Debug)]
pub(super) struct HarFile {
    path: PathBuf,
    file: File,
    /// Held as long as the recording goes on. Beside the file, because a lock on Windows keeps readers out.
    _lock: LockFile,
    /// Length of the beginning and the finished entries.
    finished: u64,
    /// Length of the file.
    length: u64,
    /// Buffer of a write, kept to be used again.
    text: Vec<u8>,
    has_entries: bool,
    max_bytes: u64,
}

impl HarFile {
    /// Creates the file. One that is there is kept as `NAME.1`, unless another process is writing it: then the
    /// recording has the number of this process in its name.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let (path, lock) = if let Some(lock) = LockFile::of(path)? {
            (path.to_owned(), lock)
        } else {
            let path = with_suffix(path, &std::process::id().to_string());
            let lock = LockFile::of(&path)?;
            (path, lock.ok_or(io::ErrorKind::ResourceBusy)?)
        };
        let mut har = Self {
            file: fresh(&path)?,
            path,
            _lock: lock,
            finished: 0,
            length: 0,
            text: Vec::new(),
            has_entries: false,
            max_bytes: MAX_FILE_BYTES,
        };
        har.begin()?;
        Ok(har)
    }

    fn begin(&mut self) -> io::Result<()> {
        let (name, version) = ("mcp-bridge", env!("CARGO_PKG_VERSION"));
        let beginning = format!(
            "{{\"log\":{{\"version\":\"1.2\",\"creator\":{{\"name\":\"{name}\",\"version\":\"{version}\"}},\"entries\":[\n"
        );
        self.text.clear();
        self.text.extend_from_slice(beginning.as_bytes());
        self.replace_tail()?;
        self.finished = beginning.len() as u64;
        Ok(())
    }

    /// Replaces what is behind the finished entries by the text and the end of the file, by one write: whatever of it
    /// reaches the disk, what is before stays. Blanks cover a longer tail until the file is cut.
    fn replace_tail(&mut self) -> io::Result<()> {
        self.text.extend_from_slice(CLOSING);
        let length = self.finished + self.text.len() as u64;
        let surplus = usize::try_from(self.length.saturating_sub(length)).unwrap_or(0);
        self.text.resize(self.text.len() + surplus, b' ');
        self.file.seek(SeekFrom::Start(self.finished))?;
        self.file.write_all(&self.text)?;
        self.text.clear();
        self.text.shrink_to(SPARE_BYTES);
        if surplus > 0 {
            self.file.set_len(length)?;
        }
        self.length = length;
        Ok(())
    }
}

impl Sink for HarFile {
    fn write(&mut self, entries: &HarEntries) -> io::Result<()> {
        if self.finished > self.max_bytes {
            self.file = fresh(&self.path)?;
            (self.finished, self.length, self.has_entries) = (0, 0, false);
            self.begin()?;
        }
        let (mut json, mut finished) = entries.json();
        if !self.has_entries && !json.is_empty() {
            json = &json[SEPARATOR.len()..];
            finished = finished.saturating_sub(SEPARATOR.len());
        }
        self.text.clear();
        self.text.extend_from_slice(json);
        self.replace_tail()?;
        self.finished += finished as u64;
        self.has_entries |= finished > 0;
        Ok(())
    }
}

/// The lock of a recording: a file beside it.
#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    _file: File,
}

impl LockFile {
    /// Takes the lock; `None` if another process holds it.
    fn of(recording: &Path) -> io::Result<Option<Self>> {
        let path = with_suffix(recording, "lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(&path)?;
        Ok(match fs4::FileExt::try_lock(&file) {
            Err(fs4::TryLockError::WouldBlock) => None,
            // Without locks in this file system there is no telling.
            Ok(()) | Err(_) => Some(Self { path, _file: file }),
        })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // It says nothing to the next process.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A new file at this path. What was there is kept as `NAME.1`.
fn fresh(path: &Path) -> io::Result<File> {
    if path.symlink_metadata().is_ok() {
        std::fs::rename(path, with_suffix(path, "1"))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use tempfile::TempDir;

    fn entries(path: &Path) -> Vec<Value> {
        let text = std::fs::read(path).unwrap();
        let har: Value = serde_json::from_slice(&text).unwrap();
        har["log"]["entries"].as_array().unwrap().clone()
    }

    /// Entries with these texts.
    fn texts(finished: &[&str], open: &[&str]) -> HarEntries {
        let mut entries = HarEntries::default();
        for json in finished {
            entries.finish(None, |out| out.extend_from_slice(json.as_bytes()));
        }
        for json in open {
            entries.keep_open(1, json.as_bytes());
        }
        entries
    }

    #[test]
    fn the_file_is_whole_after_each_write() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("it.har");
        let mut har = HarFile::create(&path).unwrap();
        assert_eq!(entries(&path), [] as [Value; 0]);
        har.write(&texts(&[], &["\"a long one that is open\""]))
            .unwrap();
        assert_eq!(entries(&path), ["a long one that is open"]);
        har.write(&texts(&["0", "1"], &["\"open\""])).unwrap();
        assert_eq!(entries(&path), [Value::from(0), 1.into(), "open".into()]);
        har.write(&texts(&["2"], &[])).unwrap();
        assert_eq!(entries(&path), [0, 1, 2]);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_private_and_no_link_is_followed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("it.har");
        let other = directory.path().join("other");
        std::fs::write(&other, "precious").unwrap();
        symlink(&other, &path).unwrap();
        let _har = HarFile::create(&path).unwrap();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_file());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious");
    }

    #[test]
    fn a_recording_that_is_there_is_kept_and_one_that_is_being_written_is_not_touched() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("it.har");
        let mut first = HarFile::create(&path).unwrap();
        first.write(&texts(&["1"], &[])).unwrap();
        let second = HarFile::create(&path).unwrap();
        assert_eq!(
            second.path,
            with_suffix(&path, &std::process::id().to_string())
        );
        assert_eq!(entries(&path), [1]);
        drop((first, second));
        let _third = HarFile::create(&path).unwrap();
        assert_eq!(entries(&path), [] as [Value; 0]);
        assert_eq!(entries(&with_suffix(&path, "1")), [1]);
    }

    #[test]
    fn a_file_that_is_full_makes_room_for_another() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("it.har");
        let mut har = HarFile::create(&path).unwrap();
        har.max_bytes = 100;
        for number in 0..100 {
            har.write(&texts(&[&number.to_string()], &["\"open\""]))
                .unwrap();
            let length = std::fs::metadata(&path).unwrap().len();
            assert!(length < 200, "{length}");
        }
        let last = entries(&path);
        assert_eq!(last.last(), Some(&"open".into()));
        let before = entries(&with_suffix(&path, "1"));
        let next = last[0].as_u64().unwrap();
        // What was finished stands in one of both, once.
        assert_eq!(before[before.len() - 2], next - 1);
    }
}
