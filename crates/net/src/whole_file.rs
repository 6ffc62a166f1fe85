//! Replacement of files as a whole: a temporary file beside the old one, synchronized and renamed over it.
//!
//! A process that is killed before it renames leaves its temporary file, which may hold secrets. It holds a lock on that
//! file as long as it lives, so that [`sweep`] can tell a file that was left from one that is being written.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use fs4::TryLockError;
use tempfile::NamedTempFile;

use crate::backoff::Backoff;
use crate::descriptors::retry_blocking;

/// Number of random characters in the name of a temporary file, behind its prefix.
const RANDOM_CHARS: usize = 6;

/// Age at which a temporary file counts as left over if that cannot be told by its lock: it is empty, and so perhaps not
/// locked yet, or there are no locks here. A write takes less than a second.
const LONGEST_WRITE: Duration = Duration::from_secs(60 * 60);

/// Longest wait for a file that another process has open in a way that keeps us from it. Virus scanners and indexers let go of a
/// new file within a fraction of a second.
const LONGEST_USE: Duration = Duration::from_millis(1500);

/// The first and the longest pause between two tries to get such a file.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Creates a temporary file in `directory`, with a name that starts with `prefix`, and writes `content` to it. The disk has
/// it when this returns. It is deleted when it is dropped.
pub fn write_temporary(
    directory: &Path,
    prefix: &str,
    content: &[u8],
) -> io::Result<NamedTempFile> {
    let mut file = retry_blocking(|| {
        tempfile::Builder::new()
            .prefix(prefix)
            .rand_bytes(RANDOM_CHARS)
            .tempfile_in(directory)
    })?;
    system::lock(file.as_file());
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Puts a temporary file in the place of the file at `path`, whoever reads that one now.
pub fn replace(file: NamedTempFile, path: &Path) -> io::Result<()> {
    system::replace(file, path)
}

/// Does something with a file, and tries again for a moment while another process has it open in a way that forbids that. Blocks.
pub fn while_in_use<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let since = Instant::now();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        match attempt() {
            Err(error) if system::is_in_use(&error) && since.elapsed() < LONGEST_USE => {
                std::thread::park_timeout(backoff.pause());
            }
            done => return done,
        }
    }
}

/// Removes a file, as [`while_in_use`] does.
pub fn remove_file(path: &Path) -> io::Result<()> {
    while_in_use(|| fs::remove_file(path))
}

/// Makes renames and removals in `directory` last, too. They have happened already, so a failure is not an error.
pub fn sync_directory(directory: &Path) {
    if let Err(error) = system::sync(directory) {
        tracing::debug!(directory = %directory.display(), %error, "cannot synchronize a directory");
    }
}

/// Removes the temporary files in `directory` that processes have left which were killed before they renamed them.
/// `is_temporary` tells them by their names.
pub fn sweep(directory: &Path, is_temporary: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut removed = 0_usize;
    for entry in entries.flatten() {
        if !is_temporary(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        if is_left_over(&path).unwrap_or(false) && remove_file(&path).is_ok() {
            removed += 1;
        }
    }
    if removed > 0 {
        tracing::debug!(directory = %directory.display(), removed, "removed unfinished files");
        sync_directory(directory);
    }
}

/// Returns whether `name` is exactly such a name as [`write_temporary`] gives.
#[must_use]
pub fn is_temporary_name(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == RANDOM_CHARS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Returns whether nobody writes the file at `path` any more. A writer locks it before it writes anything.
fn is_left_over(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(false);
    }
    let file = File::open(path)?;
    let can_be_told = match fs4::FileExt::try_lock(&file) {
        Ok(()) => system::LOCKS,
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(_)) => false,
    };
    let found = file.metadata()?;
    if can_be_told && found.len() > 0 {
        return Ok(true);
    }
    let age = SystemTime::now().duration_since(found.modified()?);
    Ok(age.is_ok_and(|age| age > LONGEST_WRITE))
}

#[cfg(unix)]
mod system {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use tempfile::NamedTempFile;

    /// Support for locks on temporary files.
    pub(super) const LOCKS: bool = true;

    /// Nobody keeps a file from being replaced or read by having it open.
    pub(super) const fn is_in_use(_: &io::Error) -> bool {
        false
    }

    /// The lock is held until the file has its name.
    pub(super) fn replace(file: NamedTempFile, path: &Path) -> io::Result<()> {
        file.persist(path)?;
        Ok(())
    }

    /// Waits while a sweep looks at the file. Where there are no locks nothing is swept by them either.
    pub(super) fn lock(file: &File) {
        if let Err(error) = fs4::FileExt::lock(file) {
            tracing::debug!(%error, "no lock on a temporary file");
        }
    }

    pub(super) fn sync(directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// Windows does not open directories as files, and lets nobody read a file that is locked.
#[cfg(not(unix))]
mod system {
    use std::fs::{self, File};
    use std::io;
    use std::path::Path;

    use tempfile::NamedTempFile;

    use super::while_in_use;

    /// Of the Windows API, "System Error Codes". The first is also that of a file which is about to be deleted.
    const ERROR_ACCESS_DENIED: i32 = 5;
    const ERROR_SHARING_VIOLATION: i32 = 32;

    pub(super) fn is_in_use(error: &io::Error) -> bool {
        matches!(
            error.raw_os_error(),
            Some(ERROR_ACCESS_DENIED | ERROR_SHARING_VIOLATION)
        )
    }

    /// The standard library renames with the semantics of POSIX where the file system has them: then a file that others have
    /// open can be replaced, if they permit that it is deleted.
    pub(super) fn replace(file: NamedTempFile, path: &Path) -> io::Result<()> {
        // Closes it, and takes the mark of a temporary file from it.
        let temporary = file.into_temp_path().keep()?;
        let renamed = while_in_use(|| fs::rename(&temporary, path));
        if renamed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        renamed
    }

    /// Support for locks on temporary files.
    pub(super) const LOCKS: bool = false;

    pub(super) fn lock(_: &File) {}

    pub(super) fn sync(_: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = ".new-";

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_being_written_is_not_swept_and_one_that_was_left_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join(".new-abc123"), "token").unwrap();
        fs::write(path.join(".new-empty1"), "").unwrap();
        fs::write(path.join(".new-longer-than-ours"), "of somebody else").unwrap();
        fs::create_dir(path.join(".new-folder")).unwrap();
        let written = write_temporary(path, PREFIX, b"token").unwrap();
        let of_writer = written.path().file_name().unwrap().to_str().unwrap();
        sweep(path, |name| is_temporary_name(name, PREFIX));
        // Without locks its age alone tells.
        let left = (!system::LOCKS).then_some(".new-abc123");
        let mut kept = vec![
            ".new-empty1",
            ".new-folder",
            ".new-longer-than-ours",
            of_writer,
        ];
        kept.extend(left);
        kept.sort_unstable();
        assert_eq!(names(path), kept);
    }

    #[test]
    fn a_file_is_replaced_while_others_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token.json");
        fs::write(&path, "old").unwrap();
        let mut reader = File::open(&path).unwrap();
        let new = write_temporary(directory.path(), PREFIX, b"new").unwrap();
        replace(new, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mut before = String::new();
        io::Read::read_to_string(&mut reader, &mut before).unwrap();
        assert_eq!(before, "old");
        assert_eq!(names(directory.path()), ["token.json"]);
    }

    /// A virus scanner lets go of a file before long.
    #[cfg(windows)]
    #[test]
    fn a_file_that_nobody_else_may_open_is_waited_for() {
        use std::os::windows::fs::OpenOptionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token.json");
        fs::write(&path, "old").unwrap();
        let held = || {
            let mut options = fs::OpenOptions::new();
            Some(options.read(true).share_mode(0).open(&path).unwrap())
        };
        let mut scanner = held();
        let mut tries = 0;
        let read = while_in_use(|| {
            tries += 1;
            let read = fs::read(&path);
            scanner = None;
            read
        });
        assert_eq!((read.unwrap(), tries), (b"old".to_vec(), 2));
        scanner = held();
        let new = write_temporary(directory.path(), PREFIX, b"new").unwrap();
        let error = replace(new, &path).unwrap_err();
        assert!(system::is_in_use(&error), "{error}");
        drop(scanner);
        assert_eq!(names(directory.path()), ["token.json"], "no other is left");
    }

    #[test]
    fn an_empty_file_is_swept_when_it_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".new-empty1");
        let file = File::create(&path).unwrap();
        let long_ago = SystemTime::now() - LONGEST_WRITE * 2;
        file.set_modified(long_ago).unwrap();
        drop(file);
        sweep(directory.path(), |name| is_temporary_name(name, PREFIX));
        assert!(!path.exists());
    }
}
