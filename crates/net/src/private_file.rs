//! Files that nobody but this user may read or have written.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

/// What we write has a few KiB; what is larger is not ours.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads a file that only this user may have written. None if there is none.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !found.is_file() {
        return Err("it is no regular file".into());
    }
    if found.len() > LARGEST_FILE {
        return Err("it is too large".into());
    }
    private::check_owner(&found)?;
    private::tighten(path, &found)?;
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        // Another process replaced or removed it in between.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes a file for this user only, as a whole or not at all: other processes read at any time.
pub fn write_private<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Makes a directory that is private to the user, or makes an existing one so.
pub fn private_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    private::restrict(&mut builder);
    builder.create(directory)?;
    let found = fs::metadata(directory)?;
    private::check_owner(&found).map_err(io::Error::other)?;
    private::tighten_directory(directory, &found)
}

#[cfg(unix)]
mod private {
    use std::fs::{DirBuilder, Metadata, Permissions, set_permissions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    use std::path::Path;

    pub(super) fn restrict(builder: &mut DirBuilder) {
        builder.mode(0o700);
    }

    pub(super) fn check_owner(found: &Metadata) -> Result<(), String> {
        if found.uid() == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        Err("it belongs to another user".into())
    }

    pub(super) fn tighten(path: &Path, found: &Metadata) -> Result<(), String> {
        if is_private(found) {
            return Ok(());
        }
        tracing::warn!(file = %path.display(), "others could read this file; that is over");
        set_permissions(path, Permissions::from_mode(0o600)).map_err(|error| error.to_string())
    }

    /// Whether nobody but the owner may do anything with it.
    fn is_private(found: &Metadata) -> bool {
        const OTHERS: u32 = 0o077;
        found.mode() & OTHERS == 0
    }

    pub(super) fn tighten_directory(path: &Path, found: &Metadata) -> io::Result<()> {
        if is_private(found) {
            return Ok(());
        }
        set_permissions(path, Permissions::from_mode(0o700))
    }
}

/// Elsewhere the user's own data directory is private by its access list.
#[cfg(not(unix))]
mod private {
    use std::fs::{DirBuilder, Metadata};
    use std::io;
    use std::path::Path;

    pub(super) fn restrict(_: &mut DirBuilder) {}

    pub(super) fn check_owner(_: &Metadata) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn tighten(_: &Path, _: &Metadata) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn tighten_directory(_: &Path, _: &Metadata) -> io::Result<()> {
        Ok(())
    }
}
