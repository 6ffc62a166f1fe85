//! Files of the user's alone, which nobody else may read or have written.
//!
//! Their content is trusted when it is read back: a credential decides who gets a refresh token. So a file that somebody else can have
//! written or replaced is refused. One that others can merely read is made private and used.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::descriptors::retry_blocking;
use crate::mutex::Mutex;
#[cfg(unix)]
use unix as private;
#[cfg(windows)]
use windows as private;

use crate::whole_file::{replace, sweep, sync_directory, while_in_use, write_temporary};

/// Limit for a file, in bytes. What we write has a few KiB; what is larger is not ours.
const LARGEST_FILE: usize = 1 << 20;

/// Names of temporary files start like this.
const TEMPORARY_PREFIX: &str = ".new-";

/// Levels of directories below that of the credentials. The deepest files are the lists of an account.
const DEEPEST_FOLDER: u32 = 2;

/// Files of which a problem is remembered, so that it is logged once. A user has a few.
const MOST_REPORTED: usize = 256;

/// Reads a file that only this user may have written. None if there is none.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut file = match open(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let found = file.metadata().map_err(|error| error.to_string())?;
    private::check_file(path, &found)?;
    private::check_directory(path.parent().unwrap_or(Path::new(".")))?;
    private::tighten(path, &file, &found);
    let mut text = Vec::new();
    let most = u64::try_from(LARGEST_FILE + 1).unwrap_or(u64::MAX);
    let read = file.by_ref().take(most).read_to_end(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() > LARGEST_FILE {
        return Err("it is too large".into());
    }
    Ok(Some(text))
}

/// Reads a file as [`read_private`] does. One that is refused is logged, and as good as none. `kind` says in the log what
/// it is.
#[must_use]
pub fn read_trusted(path: &Path, kind: &str) -> Option<Vec<u8>> {
    match read_private(path) {
        Ok(text) => text,
        Err(problem) => {
            report(path, kind, &problem);
            None
        }
    }
}

/// Writes a file for this user only, as a whole or not at all: other processes read at any time. What could not be read
/// back is not written.
pub fn write_private<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write_private_text(path, &text)
}

/// Writes a text as [`write_private`] does a value.
pub fn write_private_text(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    if text.len() > LARGEST_FILE {
        let problem = format!(
            "it would have {} bytes, and no more than {LARGEST_FILE} are read back",
            text.len()
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    private::check_directory(directory).map_err(io::Error::other)?;
    let file = write_temporary(directory, TEMPORARY_PREFIX, text)?;
    replace(file, path)?;
    sync_directory(directory);
    Ok(())
}

/// Makes a directory that is private to the user, or makes an existing one so. One that others can write is refused,
/// unless it is empty: what is in it may be theirs.
pub fn private_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    private::restrict(&mut builder);
    builder.create(directory)?;
    if private::is_writable_by_others(directory)? && fs::read_dir(directory)?.next().is_none() {
        private::tighten_empty_directory(directory)?;
    }
    private::check_owner(directory).map_err(io::Error::other)?;
    private::check_directory(directory).map_err(io::Error::other)?;
    private::tighten_directory(directory)
}

/// Makes a folder private that is so many `levels` below the directory of the credentials, and the directories in between.
pub fn private_folder(folder: &Path, levels: usize) -> io::Result<()> {
    let directories: Vec<_> = folder.ancestors().take(levels + 1).collect();
    directories
        .into_iter()
        .rev()
        .try_for_each(private_directory)
}

/// Opens a file that processes of this user lock, which is created if there is none. One that is not the user's is refused:
/// it would be locked for ever by somebody else, or be a link that creates a file elsewhere.
pub fn open_lock_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = while_in_use(|| retry_blocking(|| private::open(&mut options, path)))?;
    let found = file.metadata()?;
    private::check_kind(&found).map_err(io::Error::other)?;
    // It has no content that could have been changed.
    private::tighten(path, &file, &found);
    Ok(file)
}

/// Removes the temporary files that killed processes have left in `directory` and below. They may hold secrets.
pub fn sweep_private(directory: &Path) {
    sweep_folders(directory, DEEPEST_FOLDER);
}

fn sweep_folders(directory: &Path, levels: u32) {
    sweep(directory, |name| name.starts_with(TEMPORARY_PREFIX));
    let Some(levels) = levels.checked_sub(1) else {
        return;
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        // A link counts as none.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep_folders(&entry.path(), levels);
        }
    }
}

/// Opens a regular file, and no link to one: whoever made the link has chosen what is read.
fn open(path: &Path) -> Result<Option<File>, String> {
    let opened = fs::symlink_metadata(path).and_then(|found| {
        if found.is_symlink() {
            return Ok(Err(
                "it is a symbolic link; delete it, or put the file itself there",
            ));
        }
        if !found.is_file() {
            return Ok(Err("it is no regular file; delete it"));
        }
        let attempt = || private::open(OpenOptions::new().read(true), path);
        while_in_use(|| retry_blocking(attempt)).map(Ok)
    });
    match opened {
        Ok(Ok(file)) => Ok(Some(file)),
        Ok(Err(problem)) => Err(problem.into()),
        // Another process may have removed it in between.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Logs that a file is refused, once for each file.
fn report(path: &Path, kind: &str, problem: &str) {
    if is_new_report(path) {
        tracing::warn!(file = %path.display(), problem, "{kind} is ignored");
    }
}

/// Returns whether nothing was reported of this file before. What is said of a file once need not be said at each use.
pub fn is_new_report(path: &Path) -> bool {
    static REPORTED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut reported = REPORTED.lock();
    reported.len() < MOST_REPORTED && reported.insert(path.to_owned())
}
