//! One credential between two runs: a record, and for the secrets either the same record or the keychain.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::AuthError;
use crate::keychain::{Keychain, KeychainError};
use crate::store::credential::{Credential, SCHEMA_VERSION, Secrets, Summary};
use crate::store::records::{Condition, Custody, Records, write_value};

/// The record, as the log names it.
const KIND: &str = "a stored credential";

/// Place of secrets between two runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a file that is readable by the user alone.
    #[default]
    File,
    /// In the keychain of the operating system.
    Keychain,
    /// In a store that several machines share. No record says it of itself, and no setting.
    #[serde(skip)]
    Shared,
}

/// Reason why a credential was not kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file.
    #[error("the file can't be written: {0}")]
    File(#[from] io::Error),
    /// The directory of the files.
    #[error("there is no directory for it: {0}")]
    Directory(io::Error),
    /// The keychain.
    #[error(transparent)]
    Keychain(#[from] KeychainError),
    /// Another process has the credential in its hands.
    #[error("another process is refreshing it")]
    Busy,
    /// The credential does not come back as it was written.
    #[error("what was written could not be read again, so nothing was moved")]
    ReadsOtherwise,
    /// A process that took the lock later has stored something newer.
    #[error("another process has stored something newer")]
    Superseded,
    /// It cannot be decrypted here. It is whole, and stays where it is.
    #[error("{record} can't be used: {reason}")]
    Locked {
        /// The record.
        record: String,
        /// The cause.
        reason: String,
    },
    /// The shared store does not answer, or refuses.
    #[error("the store {store} can't be used: {reason}")]
    Unreachable {
        /// Its address, without secrets.
        store: String,
        /// The cause.
        reason: String,
    },
}

/// Time after which a store that did not answer is asked again.
pub(crate) const STORE_RETRY: Duration = Duration::from_secs(1);

impl From<StoreError> for AuthError {
    fn from(error: StoreError) -> Self {
        Self::StoreUnavailable {
            reason: error.to_string(),
            locked: matches!(error, StoreError::Locked { .. }),
            retry_after: STORE_RETRY,
        }
    }
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
            Self::File | Self::Shared => true,
            Self::Keychain => false,
        }
    }
}

impl Record {
    /// The record of this name; none if there is none that can be used.
    pub(crate) fn read(records: &dyn Records, name: &str) -> Result<Option<Self>, StoreError> {
        let warn = |problem: &str| {
            tracing::warn!(file = %records.shown(name), problem, "{KIND} is ignored");
        };
        let Some(text) = records.read(name, KIND)? else {
            return Ok(None);
        };
        Ok(match serde_json::from_slice::<Self>(&text) {
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
                records.set_aside(name);
                None
            }
        })
    }

    /// Summary of the tokens; none if there are none.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let here = self.credential.tokens.as_ref().map(Summary::from_tokens);
        here.or_else(|| self.summary.clone())
    }

    /// The credential with its secrets, wherever they are. Where they cannot be had, it has no tokens.
    pub(crate) fn complete(self, name: &str, keychain: &Keychain) -> Credential {
        let bare = self.credential.clone();
        self.whole(name, keychain).unwrap_or_else(|error| {
            keychain.complain(&error);
            bare
        })
    }

    /// The credential with its secrets, wherever they are.
    pub(crate) fn whole(
        self,
        name: &str,
        keychain: &Keychain,
    ) -> Result<Credential, KeychainError> {
        match self.secrets {
            Place::File | Place::Shared => Ok(self.credential),
            Place::Keychain => {
                let secrets = secrets_of(name, &self.credential, keychain)?;
                Ok(self.credential.joined(secrets.unwrap_or_default()))
            }
        }
    }

    /// Place of the secrets of a record that is kept in `records`.
    pub(crate) fn place(&self, records: &dyn Records) -> Place {
        match records.custody() {
            Custody::Machine => self.secrets,
            Custody::Fleet => Place::Shared,
        }
    }
}

/// Keeps `credential` at `place`, with its record of this name, and nowhere else.
///
/// The keychain gets its part first: a record that speaks of a keychain without anything in it would be a
/// lost sign-in.
pub(crate) fn write(
    records: &dyn Records,
    name: &str,
    credential: Credential,
    place: Place,
    keychain: &Keychain,
    condition: Condition,
) -> Result<(), StoreError> {
    let before = match records.custody() {
        Custody::Machine => Record::read(records, name)?,
        Custody::Fleet => None,
    };
    let summary = credential.tokens.as_ref().map(Summary::from_tokens);
    let record = match place {
        Place::File | Place::Shared => Record {
            credential,
            secrets: Place::File,
            summary: None,
        },
        Place::Keychain => {
            let (credential, secrets) = credential.split();
            let text = serde_json::to_vec(&secrets).map_err(io::Error::from)?;
            keychain.set(&entry(name, &credential), &text)?;
            Record {
                credential,
                secrets: place,
                summary,
            }
        }
    };
    write_value(records, name, &record, condition)?;
    if let Some(before) = before
        && before.secrets == Place::Keychain
        && record.secrets == Place::File
    {
        keychain.delete(&entry(name, &before.credential))?;
    }
    Ok(())
}

/// Moves the secrets of the record of this name, and lets go of the old copy only when the new one reads as it
/// should. False if they were there already.
pub(crate) fn move_to(
    records: &dyn Records,
    name: &str,
    place: Place,
    keychain: &Keychain,
) -> Result<bool, StoreError> {
    let Some(record) = Record::read(records, name)? else {
        return Ok(false);
    };
    if record.place(records) == place {
        return Ok(false);
    }
    match place {
        Place::Keychain => {
            let (_, secrets) = record.credential.clone().split();
            let text = serde_json::to_vec(&secrets).map_err(io::Error::from)?;
            keychain.set(&entry(name, &record.credential), &text)?;
            if secrets_of(name, &record.credential, keychain)?.as_ref() != Some(&secrets) {
                return Err(StoreError::ReadsOtherwise);
            }
            let credential = record.credential;
            write(records, name, credential, place, keychain, Condition::None)?;
        }
        Place::File | Place::Shared => {
            let secrets = secrets_of(name, &record.credential, keychain)?.unwrap_or_default();
            let entry = entry(name, &record.credential);
            let moved = Record {
                credential: record.credential.joined(secrets),
                secrets: Place::File,
                summary: None,
            };
            write_value(records, name, &moved, Condition::None)?;
            let again = Record::read(records, name)?.map(|record| record.credential);
            if again.as_ref() != Some(&moved.credential) {
                return Err(StoreError::ReadsOtherwise);
            }
            keychain.delete(&entry)?;
        }
    }
    Ok(true)
}

/// Removes the record of this name, secrets first. Where those cannot be removed the record stays, which says where they are.
pub(crate) fn remove(
    records: &dyn Records,
    name: &str,
    keychain: &Keychain,
    condition: Condition,
) -> Result<(), StoreError> {
    if let Some(record) = Record::read(records, name)?
        && record.secrets == Place::Keychain
    {
        keychain.delete(&entry(name, &record.credential))?;
    }
    records.remove(name, condition)
}

/// Entry in the keychain for the secrets of the record of this name. A person who looks there reads the host first.
fn entry(name: &str, credential: &Credential) -> String {
    let host = credential.server.host_str().unwrap_or_default();
    let stem = name.strip_suffix(".json").unwrap_or(name);
    format!("{host} {stem}")
}

fn secrets_of(
    name: &str,
    credential: &Credential,
    keychain: &Keychain,
) -> Result<Option<Secrets>, KeychainError> {
    let Some(text) = keychain.get(&entry(name, credential))? else {
        return Ok(None);
    };
    let secrets = serde_json::from_slice(text.expose());
    secrets.map(Some).map_err(|_| KeychainError::damaged())
}
