//! Configuration file of an app: read whole, replaced atomically, and never without a backup.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use mcp_bridge_net::whole_file;
use mcp_bridge_net::whole_file::{
    is_temporary_name, sweep, sync_directory, while_in_use, write_temporary,
};

/// Files of apps have some KiB; those that keep a history in them, some MiB.
const LARGEST_FILE: u64 = 64 << 20;

/// Names of temporary files start like this.
const TEMPORARY_PREFIX: &str = ".mcp-bridge-";

/// Limit of backup copies of a file.
const MOST_BACKUPS: u32 = 999;

/// The configuration of an app, as it was found.
#[derive(Debug)]
pub(in crate::commands) struct ConfigFile {
    /// Its path: the target, if the app's path is a link.
    path: PathBuf,
    /// Its contents; `None` if it does not exist.
    pub(in crate::commands) text: Option<String>,
}

/// Error of an app's configuration file. The text follows the file's name.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum ConfigFileError {
    /// The operating system refuses.
    #[error("cannot be {0}: {1}")]
    Io(&'static str, io::Error),
    /// A directory, a pipe or the like.
    #[error("is no regular file")]
    NotAFile,
    /// More than [`LARGEST_FILE`].
    #[error("is larger than {} MiB", LARGEST_FILE >> 20)]
    TooLarge,
    /// No app would be able to read it.
    #[error("is not written in UTF-8")]
    NotText,
    /// Somebody wants it to stay as it is.
    #[error("is read-only")]
    ReadOnly,
    /// An app has written it since it was read.
    #[error("was changed by somebody else at the same time")]
    Changed,
    /// More than [`MOST_BACKUPS`].
    #[error("has {MOST_BACKUPS} backups beside it already")]
    TooManyBackups,
}

impl ConfigFileError {
    /// Advice for the user.
    pub(in crate::commands) const fn hint(&self) -> &'static str {
        match self {
            Self::Io(..) | Self::NotAFile | Self::TooLarge => {
                "--config-file names another file; --print shows the entry, to put it in by hand"
            }
            Self::NotText => "save it as UTF-8; nothing was written",
            Self::ReadOnly => {
                "make it writable; or if a program writes it for you, put the entry there: --print shows it"
            }
            Self::Changed => "end the app, and do it again; nothing was written",
            Self::TooManyBackups => "delete those that are not needed; nothing was written",
        }
    }
}

impl ConfigFile {
    /// Finds the file and reads it. A link is followed, so that it stays one when the file is replaced.
    pub(in crate::commands) fn find(path: &Path) -> Result<Self, ConfigFileError> {
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        let path = if is_link {
            dunce::canonicalize(path).map_err(|error| ConfigFileError::Io("followed", error))?
        } else {
            path.to_owned()
        };
        let text = read(&path)?;
        Ok(Self { path, text })
    }

    /// Path of the file: the target, if the app's path is a link.
    pub(in crate::commands) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file as a whole, with the rights that it had. Returns where the text is now that it
    /// held before; `None` if the file is new.
    pub(in crate::commands) fn replace(
        &self,
        text: &str,
    ) -> Result<Option<PathBuf>, ConfigFileError> {
        let written = |error| ConfigFileError::Io("written", error);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(written)?;
        let rights = match &self.text {
            Some(_) => Some(fs::metadata(&self.path).map_err(written)?.permissions()),
            None => None,
        };
        if rights.as_ref().is_some_and(fs::Permissions::readonly) {
            return Err(ConfigFileError::ReadOnly);
        }
        sweep(directory, |name| is_temporary_name(name, TEMPORARY_PREFIX));
        let prepare = |text: &str| {
            let file = write_temporary(directory, TEMPORARY_PREFIX, text.as_bytes())?;
            if let Some(rights) = &rights {
                file.as_file().set_permissions(rights.clone())?;
                file.as_file().sync_all()?;
            }
            Ok(file)
        };
        let new = prepare(text).map_err(written)?;
        let backup = match &self.text {
            Some(old) => Some(self.back_up(prepare(old).map_err(written)?)?),
            None => None,
        };
        if read(&self.path)? != self.text {
            return Err(ConfigFileError::Changed);
        }
        match self.text {
            Some(_) => whole_file::replace(new, &self.path),
            None => new
                .persist_noclobber(&self.path)
                .map(|_| ())
                .map_err(io::Error::from),
        }
        .map_err(written)?;
        sync_directory(directory);
        Ok(backup)
    }

    /// Gives a copy the first free name beside the file.
    fn back_up(&self, mut copy: NamedTempFile) -> Result<PathBuf, ConfigFileError> {
        for number in 1..=MOST_BACKUPS {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".backup-{number}"));
            let path = PathBuf::from(path);
            match copy.persist_noclobber(&path) {
                Ok(_) => return Ok(path),
                Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => {
                    copy = taken.file;
                }
                Err(error) => return Err(ConfigFileError::Io("backed up", error.error)),
            }
        }
        Err(ConfigFileError::TooManyBackups)
    }
}

fn read(path: &Path) -> Result<Option<String>, ConfigFileError> {
    let refused = |error| ConfigFileError::Io("read", error);
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(ConfigFileError::NotAFile),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
    }
    let file = while_in_use(|| fs::File::open(path)).map_err(refused)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(ConfigFileError::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|_| ConfigFileError::NotText)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_an_app_writes_in_the_meantime_is_left_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mcp.json");
        for before in [Some("{}"), None] {
            if let Some(text) = before {
                fs::write(&path, text).unwrap();
            }
            let file = ConfigFile::find(&path).unwrap();
            fs::write(&path, "of the app").unwrap();
            let error = file.replace("ours").unwrap_err();
            assert!(matches!(error, ConfigFileError::Changed), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "of the app");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = ConfigFile::find(directory.path()).unwrap_err();
        assert!(matches!(error, ConfigFileError::NotAFile), "{error}");
        let path = directory.path().join("mcp.json");
        fs::write(
            &path,
            "{}".encode_utf16()
                .flat_map(u16::to_le_bytes)
                .chain([0xff])
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let error = ConfigFile::find(&path).unwrap_err();
        assert!(matches!(error, ConfigFileError::NotText), "{error}");
    }
}
