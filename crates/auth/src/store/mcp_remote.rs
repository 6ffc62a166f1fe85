//! Import from npm `mcp-remote`: callback ports that users registered, and stored credentials.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use md5::{Digest, Md5};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::client::registration::DynamicRegistration;
use crate::config::{Config, Grant, ResourceParameter};
use crate::token::scope::Scopes;
use crate::token::{AccessToken, TokenSet, unix_millis};
use mcp_bridge_net::private_file::read_trusted;
use mcp_bridge_net::whole_file::remove_file;
use mcp_bridge_text::secret::Secret;

/// The directory in its configuration directory that holds what versions since 0.3 write.
const LAYOUT: &str = "mcp-remote-v1";

/// Its files of tokens have a few KiB; this is the largest that is looked into, in bytes.
const LARGEST_TOKENS: u64 = 1 << 20;

/// The first port that it derives, and how many there are.
const FIRST_PORT: u16 = 3335;
const PORTS: u16 = 45_816;

/// The callback port that it derives for a server, so that a redirect URI registered for it stays right.
pub(crate) fn callback_port(server: &Url, config: &Config) -> u16 {
    let digits = &server_hash(server, config)[..4];
    let number = u16::from_str_radix(digits, 16).unwrap_or_default();
    FIRST_PORT + number % PORTS
}

/// The hash under which it keeps what belongs to one server.
fn server_hash(server: &Url, config: &Config) -> String {
    let given = config.server_as_given.clone();
    let mut parts = vec![given.unwrap_or_else(|| server.to_string())];
    if let ResourceParameter::Fixed(resource) = &config.resource {
        parts.push(resource.clone());
    }
    for pairs in [&config.authorize_params, config.headers_as_given.expose()] {
        if pairs.is_empty() {
            continue;
        }
        // Its JSON has the names in order.
        let sorted: BTreeMap<_, _> = pairs.iter().map(|(name, value)| (name, value)).collect();
        parts.push(serde_json::to_string(&sorted).expect("strings serialize"));
    }
    if let Some(url) = &config.client_metadata_url {
        parts.push(url.to_string());
    }
    if let Grant::ClientCredentials {
        token_endpoint: Some(url),
    } = &config.grant
    {
        parts.push(url.to_string());
    }
    format!("{:x}", Md5::digest(parts.join("|")))
}

#[derive(Deserialize)]
struct StoredTokens {
    access_token: AccessToken,
    refresh_token: Option<String>,
    id_token: Option<AccessToken>,
    scope: Option<String>,
    requested_scope: Option<String>,
    /// Milliseconds since 1970.
    expires_at: Option<f64>,
    issuer: Option<String>,
}

#[derive(Deserialize)]
struct StoredClient {
    #[serde(flatten)]
    registration: RegisteredClient,
    issuer: Option<String>,
}

#[derive(Deserialize)]
struct RegisteredClient {
    client_id: String,
    client_secret: Option<String>,
    token_endpoint_auth_method: Option<String>,
    redirect_uris: Option<Vec<String>>,
}

/// The sign-in that it left for one server.
#[derive(Debug)]
pub(crate) struct Import {
    /// The authorization server of the tokens, if that was written down.
    pub(crate) issuer: Option<String>,
    pub(crate) tokens: TokenSet,
    pub(crate) client: Option<ImportedClient>,
}

/// A client that it has registered.
#[derive(Debug)]
pub(crate) struct ImportedClient {
    /// The authorization server, if that was written down.
    pub(crate) issuer: Option<String>,
    pub(crate) registration: DynamicRegistration,
}

impl Import {
    /// Reads its files, which stay as they are. None if there are no tokens.
    ///
    /// A server that rotates refresh tokens will, after our first refresh, no longer take the one in them.
    pub(crate) async fn read(server: &Url, config: &Config) -> Option<Self> {
        let directory = config.mcp_remote_directory.as_ref()?;
        let prefix = directory.join(LAYOUT).join(server_hash(server, config));
        let reading = tokio::task::spawn_blocking(move || Self::read_files(&prefix));
        reading.await.ok()?
    }

    fn read_files(prefix: &Path) -> Option<Self> {
        let tokens: StoredTokens = read(prefix, "tokens.json")?;
        let client = read::<StoredClient>(prefix, "client_info.json");
        Some(Self {
            issuer: tokens.issuer.clone(),
            tokens: tokens.into_token_set(),
            client: client.map(|client| ImportedClient {
                issuer: client.issuer,
                registration: client.registration.into_dynamic(),
            }),
        })
    }
}

/// Credentials of `mcp-remote` that lie in its directory. The bridge uses them where it has none of its own.
#[derive(Debug)]
pub struct Leftover {
    files: Vec<PathBuf>,
}

impl Leftover {
    /// Finds the files for the server at `url`. None if there are no tokens.
    #[must_use]
    pub fn find(url: &Url, config: &Config) -> Option<Self> {
        let directory = config.mcp_remote_directory.as_ref()?.join(LAYOUT);
        let prefix = format!("{}_", server_hash(url, config));
        let files: Vec<_> = std::fs::read_dir(directory)
            .ok()?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect();
        let is_tokens = |path: &PathBuf| path.ends_with(format!("{prefix}tokens.json"));
        files.iter().any(is_tokens).then_some(Self { files })
    }

    /// The authorization server that the tokens are from. None if that was not written down, or the file cannot
    /// be used.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        let is_tokens = |path: &&PathBuf| path.to_string_lossy().ends_with("_tokens.json");
        let path = self.files.iter().find(is_tokens)?;
        // Nothing is used or changed here, so who else can read the file does not matter.
        let is_small = std::fs::metadata(path).ok()?.len() <= LARGEST_TOKENS;
        let text = is_small.then(|| std::fs::read(path).ok())??;
        let tokens: StoredTokens = serde_json::from_slice(&text).ok()?;
        tokens.issuer
    }

    /// Returns whether there are tokens in the directory of a version before 0.3, which are not taken over.
    #[must_use]
    pub fn is_too_old(url: &Url, config: &Config) -> bool {
        let name = format!("{}_tokens.json", server_hash(url, config));
        let Some(directory) = &config.mcp_remote_directory else {
            return false;
        };
        let versions = std::fs::read_dir(directory).into_iter().flatten().flatten();
        versions
            .filter(|entry| entry.file_name() != LAYOUT)
            .any(|entry| entry.path().join(&name).is_file())
    }

    /// Deletes it.
    pub fn delete(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|path| remove_file(path))
    }
}

fn read<T: DeserializeOwned>(prefix: &Path, name: &str) -> Option<T> {
    let mut path = prefix.as_os_str().to_owned();
    path.push(format!("_{name}"));
    let text = read_trusted(Path::new(&path), "a credential of mcp-remote")?;
    serde_json::from_slice(&text).ok()
}

impl StoredTokens {
    fn into_token_set(self) -> TokenSet {
        let requested = self
            .requested_scope
            .or(self.scope.clone())
            .unwrap_or_default();
        let now = unix_millis(SystemTime::now());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time outside the range is clamped by the conversion, which is what it should be"
        )]
        let seconds_left = self
            .expires_at
            .map(|moment| (moment as u64).saturating_sub(now) / 1000);
        let granted = self.scope.as_deref().map(Scopes::parse);
        let mut tokens = TokenSet::received(self.access_token, None, Scopes::parse(&requested));
        // One that has run out is used up at once, instead of one whose end is unknown.
        tokens.lifetime = seconds_left;
        tokens.refresh_token = self.refresh_token.map(Secret::new);
        tokens.id_token = self.id_token;
        tokens.granted = granted.unwrap_or_else(|| tokens.requested.clone());
        tokens
    }
}

impl RegisteredClient {
    fn into_dynamic(self) -> DynamicRegistration {
        DynamicRegistration::imported(
            self.client_id,
            self.client_secret,
            self.token_endpoint_auth_method.as_deref(),
            self.redirect_uris
                .and_then(|uris| uris.into_iter().next())
                .unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callback_port_of_a_server_is_the_one_that_mcp_remote_uses() {
        let check = |server: &str, port: u16| {
            let server = Url::parse(server).unwrap();
            assert_eq!(callback_port(&server, &Config::default()), port);
        };
        check("https://mcp.atlassian.com/v1/mcp", 3736);
        check("https://mcp.linear.app/mcp", 22227);
        check("https://mcp.notion.com/mcp", 9553);
    }
}
