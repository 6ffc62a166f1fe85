//! HAR file that is valid JSON after each write, private to the user, and bounded by rotation.
//!
//! Finished entries are only appended. Behind them are the entries of open exchanges and the closing brackets, which
//! each write replaces.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::Sink;
use super::entry::HarEntry;

/// Size at which the file is replaced by a new one. With the one before it, the recording takes twice as much.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// The end of the file: that of the entries, of the log and of the document.
const CLOSING: &str = "\n]}}\n";

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
        self.replace_tail(format!("{beginning}{CLOSING}"))?;
        self.finished = beginning.len() as u64;
        Ok(())
    }

    /// Replaces what is behind the finished entries, by one write: whatever of it reaches the disk, what is before
    /// stays. Blanks cover a longer tail until the file is cut.
    fn replace_tail(&mut self, mut tail: String) -> io::Result<()> {
        let length = self.finished + tail.len() as u64;
        let surplus = usize::try_from(self.length.saturating_sub(length)).unwrap_or(0);
        tail.extend(std::iter::repeat_n(' ', surplus));
        self.file.seek(SeekFrom::Start(self.finished))?;
        self.file.write_all(tail.as_bytes())?;
        if surplus > 0 {
            self.file.set_len(length)?;
        }
        self.length = length;
        Ok(())
    }
}

impl Sink for HarFile {
    fn write(&mut self, finished: &[HarEntry], open: &[HarEntry]) -> io::Result<()> {
        if self.finished > self.max_bytes {
            self.file = fresh(&self.path)?;
            (self.finished, self.length, self.has_entries) = (0, 0, false);
            self.begin()?;
        }
        let mut text = String::new();
        let mut has_entries = self.has_entries;
        let mut push = |entry: &HarEntry, text: &mut String| {
            text.push_str(if has_entries { ",\n" } else { "" });
            text.push_str(&entry.json);
            has_entries = true;
        };
        for entry in finished {
            push(entry, &mut text);
        }
        let kept = text.len();
        for entry in open {
            push(entry, &mut text);
        }
        text.push_str(CLOSING);
        self.replace_tail(text)?;
        self.finished += kept as u64;
        self.has_entries |= !finished.is_empty();
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

    fn entry(json: &str) -> HarEntry {
        HarEntry {
            exchange: None,
            json: json.to_owned(),
        }
    }

    fn numbers(from: u32, to: u32) -> Vec<HarEntry> {
        (from..to).map(|it| entry(&it.to_string())).collect()
    }

    #[test]
    fn the_file_is_whole_after_each_write() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("it.har");
        let mut har = HarFile::create(&path).unwrap();
        assert_eq!(entries(&path), [] as [Value; 0]);
        har.write(&[], &[entry("\"a long one that is open\"")])
            .unwrap();
        assert_eq!(entries(&path), ["a long one that is open"]);
        har.write(&numbers(0, 2), &[entry("\"open\"")]).unwrap();
        assert_eq!(entries(&path), [Value::from(0), 1.into(), "open".into()]);
        har.write(&numbers(2, 3), &[]).unwrap();
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
        first.write(&numbers(1, 2), &[]).unwrap();
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
            har.write(&[entry(&number.to_string())], &[entry("\"open\"")])
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
