//! Credentials on disk: one file for each server, account and authorization server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::authorization_server::AuthorizationServerMetadata;
use super::config::{Config, Grant, ResourceParameter};
use super::registration::ClientRegistration;
use super::scope::Scopes;
use super::token::{TokenSet, unix_millis};
use crate::private_file::{private_directory, read_private, write_private};

/// Changes when an older program could not read the file any more.
const SCHEMA_VERSION: u32 = 1;

/// Hash digits in a file name: 96 bits, so that no two keys meet.
const HASH_CHARS: usize = 24;

/// What one authorization server gave us for one MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Credential {
    version: u32,
    /// The MCP server, for the person who reads the file.
    pub(super) server: Url,
    /// The authorization server; nothing in here is ever sent to another one.
    pub(super) metadata: AuthorizationServerMetadata,
    /// The `resource` that the tokens are for.
    pub(super) resource: Option<String>,
    pub(super) client: ClientRegistration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<TokenSet>,
    /// What this authorization server turned out not to like.
    #[serde(default)]
    pub(super) quirks: Quirks,
    /// Milliseconds since 1970; the newest credential of a server is the one in use.
    #[serde(default)]
    saved_at: u64,
}

/// Parameters that an authorization server refused, so that they are not tried each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Quirks {
    /// It refuses `resource` (RFC 8707 §2).
    #[serde(default)]
    pub(super) no_resource: bool,
    /// It refuses the scopes that the resource names.
    #[serde(default)]
    pub(super) no_scope: bool,
    /// It wants the client's secret in the other place than it says, or than is the default.
    #[serde(default)]
    pub(super) other_authentication: bool,
}

impl Credential {
    pub(super) fn new(
        mut server: Url,
        metadata: AuthorizationServerMetadata,
        resource: Option<String>,
        client: ClientRegistration,
    ) -> Self {
        // It may hold the user's key for the server, and nobody needs it here.
        server.set_query(None);
        Self {
            version: SCHEMA_VERSION,
            server,
            metadata,
            resource,
            client,
            tokens: None,
            quirks: Quirks::default(),
            saved_at: 0,
        }
    }

    /// The `resource` parameter to send.
    pub(super) fn resource(&self) -> Option<&str> {
        self.resource
            .as_deref()
            .filter(|_| !self.quirks.no_resource)
    }

    /// The scopes to send out of `wanted`.
    pub(super) fn scopes(&self, wanted: Scopes) -> Scopes {
        if self.quirks.no_scope {
            return Scopes::default();
        }
        wanted
    }
}

/// What tells one stored credential from another. A new choice that matters becomes a field.
#[derive(Serialize)]
struct Identity<'a> {
    server: &'a Url,
    profile: Option<&'a str>,
    headers: &'a [(String, String)],
    issuer: Option<&'a str>,
    client_id: Option<&'a str>,
    client_metadata_url: Option<&'a Url>,
    resource: Option<&'a str>,
    scope: Option<&'a str>,
    authorize_params: &'a [(String, String)],
    grant: String,
    token_endpoint: Option<&'a Url>,
}

/// The name under which credentials, locks and a sign-in under way are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CredentialKey(String);

impl CredentialKey {
    pub(super) fn new(server: &Url, config: &Config) -> Self {
        let identity = Identity {
            server,
            profile: config.profile.as_deref(),
            headers: config.identity_headers.expose(),
            issuer: config.issuer.as_deref(),
            client_id: config.client.as_ref().map(|client| client.id.as_str()),
            client_metadata_url: config.client_metadata_url.as_ref(),
            resource: match &config.resource {
                ResourceParameter::Automatic => None,
                ResourceParameter::Fixed(resource) => Some(resource.as_str()),
                ResourceParameter::Omitted => Some(""),
            },
            scope: config.scope.as_deref(),
            authorize_params: &config.authorize_params,
            grant: config.grant.to_string(),
            token_endpoint: match &config.grant {
                Grant::ClientCredentials { token_endpoint } => token_endpoint.as_ref(),
                Grant::AuthorizationCode | Grant::DeviceCode => None,
            },
        };
        let identity = serde_json::to_vec(&identity).expect("strings and URLs serialize");
        Self(hash(&identity))
    }

    /// One file for each issuer, so that what one gave is never taken for another's.
    fn file_name(&self, issuer: &str) -> String {
        format!("{}.{}.json", self.0, hash(issuer.as_bytes()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

fn hash(bytes: &[u8]) -> String {
    let mut name = format!("{:x}", Sha256::digest(bytes));
    name.truncate(HASH_CHARS);
    name
}

/// The credentials of one key. Its methods block; they are short.
///
/// Nothing here fails: what can't be kept on disk is kept in memory, with a warning.
#[derive(Debug)]
pub(super) struct CredentialStore {
    directory: Option<PathBuf>,
    /// Whether the directory can be used, once that was tried.
    ready: OnceLock<bool>,
    key: CredentialKey,
    /// What the disk did not take. It is newer than what lies there.
    unsaved: Mutex<Option<Credential>>,
}

impl CredentialStore {
    /// Touches nothing: a server that wants no sign-in leaves no trace.
    pub(super) fn new(directory: Option<PathBuf>, key: CredentialKey) -> Self {
        Self {
            directory,
            ready: OnceLock::new(),
            key,
            unsaved: Mutex::default(),
        }
    }

    /// Where further files of this key go. None if nothing can be stored.
    pub(super) fn path(&self, extension: &str) -> Option<PathBuf> {
        let directory = self.ready()?;
        Some(directory.join(format!("{}.{extension}", self.key.name())))
    }

    /// The directory, made private to the user at the first call. None if that does not work.
    fn ready(&self) -> Option<&Path> {
        let directory = self.directory.as_deref()?;
        let made = self.ready.get_or_init(|| {
            private_directory(directory)
                .inspect_err(|error| {
                    tracing::warn!(
                        directory = %directory.display(), %error,
                        "credentials can't be kept, so the sign-in will not last beyond this run"
                    );
                })
                .is_ok()
        });
        made.then_some(directory)
    }

    /// The credential in use: the newest that has tokens, else the newest.
    pub(super) fn load(&self) -> Option<Credential> {
        if let Some(unsaved) = self.unsaved().clone() {
            return Some(unsaved);
        }
        self.load_all()
            .into_iter()
            .max_by_key(|credential| (credential.tokens.is_some(), credential.saved_at))
    }

    /// The credential of one issuer.
    pub(super) fn load_issuer(&self, issuer: &str) -> Option<Credential> {
        let unsaved = self.unsaved().clone();
        unsaved
            .into_iter()
            .chain(self.load_all())
            .find(|credential| credential.metadata.issuer == issuer)
    }

    /// All credentials of this key.
    pub(super) fn load_all(&self) -> Vec<Credential> {
        let Some(directory) = &self.directory else {
            return Vec::new();
        };
        let Ok(entries) = fs::read_dir(directory) else {
            return Vec::new();
        };
        let prefix = format!("{}.", self.key.name());
        entries
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                // prefix, hash, `.json`: neither a lock nor a sign-in under way.
                name.strip_prefix(&prefix)
                    .and_then(|rest| rest.strip_suffix(".json"))
                    .is_some_and(|hash| hash.len() == HASH_CHARS)
            })
            .filter_map(|entry| read_credential(&entry.path()))
            .collect()
    }

    /// Replaces the credential of this issuer. It is on disk when this returns, or kept in memory.
    pub(super) fn save(&self, credential: &Credential) {
        let mut credential = credential.clone();
        credential.version = SCHEMA_VERSION;
        credential.saved_at = unix_millis(SystemTime::now());
        let saved = match self.ready() {
            None => Err(io::Error::other("there is no directory for them")),
            Some(directory) => {
                let path = directory.join(self.key.file_name(&credential.metadata.issuer));
                write_private(&path, &credential)
            }
        };
        let mut unsaved = self.unsaved();
        match saved {
            Ok(()) => *unsaved = None,
            Err(error) => {
                if unsaved.is_none() && self.ready().is_some() {
                    tracing::warn!(%error, "credentials can't be saved and last for this run only");
                }
                *unsaved = Some(credential);
            }
        }
    }

    /// Removes the credential of this issuer.
    pub(super) fn remove(&self, issuer: &str) {
        let mut unsaved = self.unsaved();
        if unsaved
            .as_ref()
            .is_some_and(|credential| credential.metadata.issuer == issuer)
        {
            *unsaved = None;
        }
        if let Some(directory) = &self.directory {
            let _ = fs::remove_file(directory.join(self.key.file_name(issuer)));
        }
    }

    fn unsaved(&self) -> std::sync::MutexGuard<'_, Option<Credential>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_credential(path: &Path) -> Option<Credential> {
    let warn = |problem: &str| {
        tracing::warn!(file = %path.display(), problem, "a stored credential is ignored");
    };
    let text = match read_private(path) {
        Ok(text) => text?,
        Err(problem) => {
            warn(&problem);
            return None;
        }
    };
    match serde_json::from_slice::<Credential>(&text) {
        Ok(credential) if credential.version <= SCHEMA_VERSION => Some(credential),
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
            let _ = fs::rename(path, path.with_extension("corrupt"));
            None
        }
    }
}

/// Writes secrets into the store, which is where they belong. `Secret` itself does not serialize, so that
/// no other place can do so by accident.
pub(super) mod exposed {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(in crate::auth) fn serialize<S: Serializer>(
        secret: &Secret<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(in crate::auth) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Secret<String>, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }

    pub(in crate::auth) mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        use crate::secret::Secret;

        #[expect(
            clippy::ref_option,
            reason = "serde calls it with a reference to the field"
        )]
        pub(in crate::auth) fn serialize<S: Serializer>(
            secret: &Option<Secret<String>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            secret.as_ref().map(Secret::expose).serialize(serializer)
        }

        pub(in crate::auth) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Secret<String>>, D::Error> {
            Ok(Option::deserialize(deserializer)?.map(Secret::new))
        }
    }
}
