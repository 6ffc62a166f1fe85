//! Owner and mode of files, on Unix.

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

pub(super) fn tighten_empty_directory(directory: &Path) -> io::Result<()> {
    tighten_directory(directory)
}

/// Makes a directory private. One with the sticky bit is there for everybody.
pub(super) fn tighten_directory(directory: &Path) -> io::Result<()> {
    let found = fs::metadata(directory)?;
    if found.mode() & OTHERS == 0 || found.mode() & STICKY != 0 {
        return Ok(());
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}
