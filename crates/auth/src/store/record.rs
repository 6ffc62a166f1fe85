//! One credential on disk: a file, and for the secrets either the same file or the keychain.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::keychain::{Keychain, KeychainError};
use crate::store::credential::{Credential, SCHEMA_VERSION, Secrets, Summary};
use mcp_bridge_net::private_file::{read_trusted, write_private};
use mcp_bridge_net::whole_file::{remove_file, sync_directory};

/// The file, as the log names it.
const KIND: &str = "a stored credential";

/// Extension of a file that was set aside because it is damaged.
pub(crate) const DAMAGED: &str = "corrupt";

/// Place of secrets between two runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a file that is readable by the user alone.
    #[default]
    File,
    /// In the keychain of the operating system.
    Keychain,
}

/// Reason why a credential was not kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file.
    #[error("the file can't be written: {0}")]
    File(#[from] io::Error),
    /// The keychain.
    #[error(transparent)]
    Keychain(#[from] KeychainError),
    /// Another process has the credential in its hands.
    #[error("another process is refreshing it")]
    Busy,
    /// The credential does not come back as it was written.
    #[error("what was written could not be read again, so nothing was moved")]
    ReadsOtherwise,
}

/// Content of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Without its secrets, if they are elsewhere.
    #[serde(flatten)]
    pub(crate) credential: Credential,
    /// Place of the secrets.
    #[serde(default, skip_serializing_if = "Place::is_file")]
    pub(crate) secrets: Place,
    /// Summary of tokens that are elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

impl Place {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference to the field"
    )]
    fn is_file(&self) -> bool {
        match self {
            Self::File => true,
            Self::Keychain => false,
        }
    }
}

impl Record {
    /// The record in the file at `path`; none if there is none that can be used.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let warn = |problem: &str| {
            tracing::warn!(file = %path.display(), problem, "{KIND} is ignored");
        };
        let text = read_trusted(path, KIND)?;
        match serde_json::from_slice::<Self>(&text) {
            Ok(record) if record.credential.version <= SCHEMA_VERSION => Some(record),
            Ok(_) => {
                warn("a newer version of this program wrote it");
                None
            }
            Err(error) => {
                // The text of the error names members and positions, never values.
                warn(&format!(
                    "it is damaged (line {}); kept as .corrupt",
                    error.line()
                ));
                let _ = fs::rename(path, path.with_extension(DAMAGED));
                None
            }
        }
    }

    /// Summary of the tokens; none if there are none.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let here = self.credential.tokens.as_ref().map(Summary::from_tokens);
        here.or_else(|| self.summary.clone())
    }

    /// The credential with its secrets, wherever they are. Where they cannot be had, it has no tokens.
    pub(crate) fn complete(self, path: &Path, keychain: &Keychain) -> Credential {
        match self.secrets {
            Place::File => self.credential,
            Place::Keychain => match secrets_of(path, &self.credential, keychain) {
                Ok(secrets) => self.credential.joined(secrets.unwrap_or_default()),
                Err(error) => {
                    keychain.complain(&error);
                    self.credential
                }
            },
        }
    }
}

/// Keeps `credential` at `place`, with its file at `path`, and nowhere else.
///
/// The keychain gets its part first: a file that speaks of a keychain without anything in it would be a
/// lost sign-in.
pub(crate) fn write(
    path: &Path,
    credential: Credential,
    place: Place,
    keychain: &Keychain,
) -> Result<(), StoreError> {
    let before = Record::read(path);
    let summary = credential.tokens.as_ref().map(Summary::from_tokens);
    match place {
        Place::File => {
            let record = Record {
                credential,
                secrets: place,
                summary: None,
            };
            write_private(path, &record)?;
        }
        Place::Keychain => {
            let (credential, secrets) = credential.split();
            let text = serde_json::to_vec(&secrets).map_err(io::Error::from)?;
            keychain.set(&name(path, &credential), &text)?;
            let record = Record {
                credential,
                secrets: place,
                summary,
            };
            write_private(path, &record)?;
        }
    }
    if let Some(before) = before
        && before.secrets == Place::Keychain
        && place == Place::File
    {
        keychain.delete(&name(path, &before.credential))?;
    }
    Ok(())
}

/// Moves the credential of the file at `path`, and lets go of the old copy only when the new one reads as it
/// should. False if it was there already.
pub(crate) fn move_to(path: &Path, place: Place, keychain: &Keychain) -> Result<bool, StoreError> {
    let Some(record) = Record::read(path) else {
        return Ok(false);
    };
    if record.secrets == place {
        return Ok(false);
    }
    match place {
        Place::Keychain => {
            let (_, secrets) = record.credential.clone().split();
            let text = serde_json::to_vec(&secrets).map_err(io::Error::from)?;
            keychain.set(&name(path, &record.credential), &text)?;
            if secrets_of(path, &record.credential, keychain)?.as_ref() != Some(&secrets) {
                return Err(StoreError::ReadsOtherwise);
            }
            write(path, record.credential, place, keychain)?;
        }
        Place::File => {
            let secrets = secrets_of(path, &record.credential, keychain)?.unwrap_or_default();
            let name = name(path, &record.credential);
            let moved = Record {
                credential: record.credential.joined(secrets),
                secrets: place,
                summary: None,
            };
            write_private(path, &moved)?;
            let again = Record::read(path).map(|record| record.credential);
            if again.as_ref() != Some(&moved.credential) {
                return Err(StoreError::ReadsOtherwise);
            }
            keychain.delete(&name)?;
        }
    }
    Ok(true)
}

/// Removes the credential of the file at `path`, secrets first. Where those cannot be removed the file stays,
/// which says where they are.
pub(crate) fn remove(path: &Path, keychain: &Keychain) -> Result<(), StoreError> {
    if let Some(record) = Record::read(path)
        && record.secrets == Place::Keychain
    {
        keychain.delete(&name(path, &record.credential))?;
    }
    match remove_file(path) {
        Ok(()) => {
            sync_directory(path.parent().unwrap_or(Path::new(".")));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Name in the keychain for the secrets of the file at `path`. A person who looks there reads the host first.
fn name(path: &Path, credential: &Credential) -> String {
    let host = credential.server.host_str().unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{host} {stem}")
}

fn secrets_of(
    path: &Path,
    credential: &Credential,
    keychain: &Keychain,
) -> Result<Option<Secrets>, KeychainError> {
    let Some(text) = keychain.get(&name(path, credential))? else {
        return Ok(None);
    };
    let secrets = serde_json::from_slice(text.expose());
    secrets.map(Some).map_err(|_| KeychainError::damaged())
}
