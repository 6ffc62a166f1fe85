//! Files of the user's alone, which nobody else may read or have written.
//!
//! Their content is trusted when it is read back: a credential decides who gets a refresh token. So a file that somebody else can have
//! written or replaced is refused. One that others can merely read is made private and used.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::descriptors::retry_blocking;
use crate::mutex::Mutex;
use crate::whole_file::{sweep, sync_directory, write_temporary};

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
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    if text.len() > LARGEST_FILE {
        let problem = format!(
            "it would have {} bytes, and no more than {LARGEST_FILE} are read back",
            text.len()
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    private::check_directory(directory).map_err(io::Error::other)?;
    let file = write_temporary(directory, TEMPORARY_PREFIX, &text)?;
    file.persist(path)?;
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
        private::tighten_directory(directory)?;
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
    let file = retry_blocking(|| private::open(&mut options, path))?;
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
        retry_blocking(|| private::open(OpenOptions::new().read(true), path)).map(Ok)
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

#[cfg(unix)]
mod private {
    use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
    use std::path::{Component, Path, PathBuf};

    use rustix::fs::OFlags;

    /// Permission bits of everybody but the owner.
    const OTHERS: u32 = 0o077;
    const OTHERS_WRITE: u32 = 0o022;
    const ALL_WRITE: u32 = 0o002;
    /// In a directory with this bit only the owner of a file may rename or remove it.
    const STICKY: u32 = 0o1000;
    /// Bits that a mode is shown with.
    const MODE: u32 = 0o7777;

    /// Symbolic links on the way to a directory, as many as Linux follows.
    const MOST_LINKS: usize = 40;

    pub(super) fn restrict(builder: &mut DirBuilder) {
        builder.mode(0o700);
    }

    /// Opens a file itself and no link to one, and without waiting for somebody who writes into a pipe.
    pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        options.mode(0o600).custom_flags(flags).open(path)
    }

    pub(super) fn check_file(path: &Path, found: &Metadata) -> Result<(), String> {
        check_kind(found)?;
        if found.mode() & OTHERS_WRITE == 0 {
            return Ok(());
        }
        Err(format!(
            "others can have changed it (mode {:04o}); delete it, or run \"chmod 600 {}\" if you know its content",
            found.mode() & MODE,
            path.display()
        ))
    }

    /// Checks that it is a regular file of the user's.
    pub(super) fn check_kind(found: &Metadata) -> Result<(), String> {
        if !found.is_file() {
            return Err("it is no regular file; delete it".into());
        }
        if found.uid() == user() {
            return Ok(());
        }
        Err(format!(
            "it belongs to another user ({}), who can have changed it; delete it",
            found.uid()
        ))
    }

    pub(super) fn check_owner(directory: &Path) -> Result<(), String> {
        let found = fs::metadata(directory).map_err(|error| error.to_string())?;
        if found.uid() == user() {
            return Ok(());
        }
        Err(format!(
            "the directory {} belongs to another user ({})",
            directory.display(),
            found.uid()
        ))
    }

    /// Checks that nobody else can replace what is in `directory`, or the directory itself.
    pub(super) fn check_directory(directory: &Path) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {error}", directory.display());
        let found = fs::metadata(directory).map_err(failed)?;
        if !is_trusted(&found) {
            return Err(format!(
                "the directory {} belongs to another user ({}), who can replace the files in it; use another directory",
                directory.display(),
                found.uid()
            ));
        }
        if can_be_written(&found, OTHERS_WRITE) {
            return Err(writable(directory, &found, "chmod 700"));
        }
        check_way(&std::path::absolute(directory).map_err(failed)?)
    }

    /// Checks the directories on the way to `directory`, and the symbolic links among them. A group of one's own may write
    /// to one's home on many systems, so only directories that everybody can write are refused.
    fn check_way(directory: &Path) -> Result<(), String> {
        let mut links = 0;
        let mut way = PathBuf::new();
        let mut rest: Vec<PathBuf> = parts(directory);
        while let Some(part) = rest.pop() {
            if part.as_os_str() == ".." {
                way.pop();
                continue;
            }
            let above = way.clone();
            way.push(part);
            let failed = |error: io::Error| format!("{}: {error}", way.display());
            let found = fs::symlink_metadata(&way).map_err(failed)?;
            if !found.is_symlink() {
                if can_be_written(&found, ALL_WRITE) {
                    return Err(writable(&way, &found, "chmod o-w"));
                }
                continue;
            }
            links += 1;
            let place = fs::metadata(&above).map_err(failed)?;
            if !is_trusted(&found) || !is_trusted(&place) || links > MOST_LINKS {
                return Err(format!(
                    "the symbolic link {} can be changed by another user; use another directory",
                    way.display()
                ));
            }
            let target = fs::read_link(&way).map_err(failed)?;
            way = if target.is_absolute() {
                PathBuf::new()
            } else {
                above
            };
            rest.extend(parts(&target));
        }
        Ok(())
    }

    /// The components of a path, the last one first.
    fn parts(path: &Path) -> Vec<PathBuf> {
        let parts = path.components().rev();
        parts
            .filter(|part| *part != Component::CurDir)
            .map(|part| PathBuf::from(part.as_os_str()))
            .collect()
    }

    fn writable(directory: &Path, found: &Metadata, remedy: &str) -> String {
        format!(
            "others can write to the directory {path} (mode {:04o}) and replace the files in it; \
             run \"{remedy} {path}\" if you know its content, or use another directory",
            found.mode() & MODE,
            path = directory.display(),
        )
    }

    fn can_be_written(found: &Metadata, by: u32) -> bool {
        found.mode() & by != 0 && found.mode() & STICKY == 0
    }

    /// Returns whether it belongs to the user, or to the owner of everything: root, which has another number in some containers.
    fn is_trusted(found: &Metadata) -> bool {
        found.uid() == user() || fs::metadata("/").is_ok_and(|root| root.uid() == found.uid())
    }

    fn user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// Makes a file private that others can read. On a file system that is read-only it stays as it is.
    pub(super) fn tighten(path: &Path, file: &File, found: &Metadata) {
        if found.mode() & OTHERS == 0 {
            return;
        }
        match file.set_permissions(Permissions::from_mode(0o600)) {
            Ok(()) => {
                tracing::warn!(file = %path.display(), "others could read this file; that is over");
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "others can read this file");
            }
        }
    }

    pub(super) fn is_writable_by_others(directory: &Path) -> io::Result<bool> {
        let found = fs::metadata(directory)?;
        Ok(found.uid() == user() && can_be_written(&found, OTHERS_WRITE))
    }

    /// Makes a directory private. One with the sticky bit is there for everybody.
    pub(super) fn tighten_directory(directory: &Path) -> io::Result<()> {
        let found = fs::metadata(directory)?;
        if found.mode() & OTHERS == 0 || found.mode() & STICKY != 0 {
            return Ok(());
        }
        fs::set_permissions(directory, Permissions::from_mode(0o700))
    }
}

/// Elsewhere the user's own data directory is private by its access list.
#[cfg(not(unix))]
mod private {
    use std::fs::{DirBuilder, File, Metadata, OpenOptions};
    use std::io;
    use std::path::Path;

    pub(super) fn restrict(_: &mut DirBuilder) {}

    pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        options.open(path)
    }

    pub(super) fn check_file(_: &Path, _: &Metadata) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn check_kind(_: &Metadata) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn check_owner(_: &Path) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn check_directory(_: &Path) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn tighten(_: &Path, _: &File, _: &Metadata) {}

    pub(super) fn is_writable_by_others(_: &Path) -> io::Result<bool> {
        Ok(false)
    }

    pub(super) fn tighten_directory(_: &Path) -> io::Result<()> {
        Ok(())
    }
}
