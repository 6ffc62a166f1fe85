//! Directory of the credentials.

use std::path::PathBuf;

use super::environment::{Environment, ProcessEnvironment};
use mcp_bridge_auth as auth;

/// The directory in the user's data directory.
const NAME: &str = "mcp-bridge";

/// Place of the credentials, going by the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DataDirectory {
    /// There is no place for them.
    None,
    /// In a directory that the user has named.
    Named(PathBuf),
    /// In the data directory that `XDG_DATA_HOME` names, instead of the default one.
    Relocated { used: PathBuf, default: PathBuf },
    /// In the default data directory.
    Default(PathBuf),
}

/// Place of the credentials; none if there is no place for them.
#[must_use]
pub fn store_directory() -> Option<PathBuf> {
    DataDirectory::of(&ProcessEnvironment).path()
}

/// Places of credentials of this user, going by the environments that bridges may have: apps often lack `XDG_DATA_HOME`.
#[must_use]
pub fn store_directories() -> Vec<PathBuf> {
    match DataDirectory::of(&ProcessEnvironment) {
        DataDirectory::None => Vec::new(),
        DataDirectory::Named(path) | DataDirectory::Default(path) => vec![path],
        DataDirectory::Relocated { used, default } => vec![used, default],
    }
}

/// Lets processes without `XDG_DATA_HOME` find what is kept here, if it is set.
pub fn note_store_directory() -> std::io::Result<()> {
    match DataDirectory::of(&ProcessEnvironment) {
        DataDirectory::Relocated { used, default } => auth::note_directory(&default, &used),
        DataDirectory::None | DataDirectory::Named(_) | DataDirectory::Default(_) => Ok(()),
    }
}

impl DataDirectory {
    pub(super) fn of(environment: &impl Environment) -> Self {
        if let Some(directory) = environment.variable("MCP_BRIDGE_DIR") {
            return Self::Named(directory.into());
        }
        let Some(base) = directories::BaseDirs::new() else {
            return Self::None;
        };
        // The known folders of Windows are asked only where the variable is missing, as other programs do.
        let named = environment.variable("LOCALAPPDATA").map(PathBuf::from);
        let named = named.filter(|named| cfg!(windows) && named.is_absolute());
        let data = named.as_deref().unwrap_or(base.data_local_dir());
        // A variable that the system does not know changes nothing.
        let is_relocated = environment
            .variable("XDG_DATA_HOME")
            .is_some_and(|named| data == PathBuf::from(named));
        let default = base.home_dir().join(".local/share");
        if is_relocated && data != default {
            return Self::Relocated {
                used: data.join(NAME),
                default: default.join(NAME),
            };
        }
        Self::Default(data.join(NAME))
    }

    pub(super) fn path(self) -> Option<PathBuf> {
        match self {
            Self::None => None,
            Self::Named(path) | Self::Relocated { used: path, .. } | Self::Default(path) => {
                Some(path)
            }
        }
    }

    /// The directory of the account of this name. `login` may have put it where an app does not look.
    pub(super) fn of_account(self, name: &str) -> Option<PathBuf> {
        match self {
            Self::Default(path) => Some(auth::directory_of_account(&path, name)),
            Self::None | Self::Named(_) | Self::Relocated { .. } => self.path(),
        }
    }
}
