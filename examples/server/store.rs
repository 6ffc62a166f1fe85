//! What the authorization server remembers: clients, consents, codes and tokens.
//!
//! A small database would do this in a real server. The rules are the same there: only hashes of
//! secrets, everything has an end, and revoking a grant takes all of its tokens along.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::authorization::{AuthorizationRequest, Client};
use super::scope::Scopes;
use super::token::{Digest, Token};

/// How long a user may think about the consent page.
const CONSENT_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How long an authorization code is good for. RFC 6749 §4.1.2 allows ten minutes at most; a client
/// that listens on loopback needs a second.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// How long a refresh token that nobody uses is good for.
const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Most clients that are remembered. Anybody may register, so there must be an end.
const MAX_CLIENTS: usize = 1000;

/// Most consent pages that are open at a time. Anybody may open one.
const MAX_OPEN_CONSENTS: usize = 1000;

/// Clients, grants and tokens. All hashes, see [`Digest`].
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Store {
    #[serde(skip)]
    path: Option<PathBuf>,
    clients: HashMap<String, Client>,
    grants: HashMap<String, Grant>,
    access_tokens: HashMap<Digest, AccessToken>,
    refresh_tokens: HashMap<Digest, RefreshToken>,
    #[serde(skip)]
    open_consents: HashMap<Digest, OpenConsent>,
    #[serde(skip)]
    codes: HashMap<Digest, Code>,
}

/// A user's permission for a client, which all tokens of one sign-in share.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// The client that may act.
    pub(crate) client_id: String,
    /// The user in whose name.
    pub(crate) user_id: String,
    /// What it may do.
    pub(crate) scopes: Scopes,
    /// Where: the audience of the tokens (RFC 8707).
    pub(crate) resource: String,
}

/// What is known about an access token.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AccessToken {
    /// Key of the grant behind it.
    grant_id: String,
    /// The grant's scopes, or fewer if the client asked for fewer.
    pub(crate) scopes: Scopes,
    /// When it ends.
    pub(crate) expires_at: SystemTime,
}

#[derive(Clone, Serialize, Deserialize)]
struct RefreshToken {
    grant_id: String,
    expires_at: SystemTime,
    used: Use,
}

/// Whether something that is good for one use had it already.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Use {
    Unused,
    Used,
}

struct OpenConsent {
    request: AuthorizationRequest,
    expires_at: SystemTime,
}

struct Code {
    request: AuthorizationRequest,
    grant_id: String,
    expires_at: SystemTime,
    used: Use,
}

/// A new pair of tokens.
pub(crate) struct IssuedTokens {
    /// For the resource server.
    pub(crate) access_token: Token,
    /// For the next pair.
    pub(crate) refresh_token: Token,
}

/// There is no room for another one.
pub(crate) struct Full;

impl Store {
    /// Reads the state file, or starts an empty one.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let mut store = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error),
        };
        store.path = Some(path);
        Ok(store)
    }

    // Clients

    /// The client with this id.
    pub(crate) fn client(&self, client_id: &str) -> Option<&Client> {
        self.clients.get(client_id)
    }

    /// Remembers a client that registered itself.
    pub(crate) fn register(&mut self, client: Client) -> Result<(), Full> {
        if self.clients.len() >= MAX_CLIENTS {
            return Err(Full);
        }
        self.pre_register(client);
        self.save();
        Ok(())
    }

    /// Remembers a client that the operator knows.
    pub(crate) fn pre_register(&mut self, client: Client) {
        self.clients.insert(client.id.clone(), client);
    }

    // Consent

    /// Remembers what the user is being asked. The token is for the form on the page.
    pub(crate) fn open_consent(&mut self, request: AuthorizationRequest) -> Result<Token, Full> {
        self.forget_expired();
        if self.open_consents.len() >= MAX_OPEN_CONSENTS {
            return Err(Full);
        }
        let token = Token::generate();
        let expires_at = SystemTime::now() + CONSENT_LIFETIME;
        self.open_consents.insert(
            token.digest(),
            OpenConsent {
                request,
                expires_at,
            },
        );
        Ok(token)
    }

    /// The request that was waiting for this answer. It cannot be answered again.
    pub(crate) fn close_consent(&mut self, form_token: &str) -> Option<AuthorizationRequest> {
        let consent = self.open_consents.remove(&Digest::of(form_token))?;
        (SystemTime::now() < consent.expires_at).then_some(consent.request)
    }

    // Codes

    /// Records that the user said yes, and makes the code for the client.
    pub(crate) fn grant(&mut self, request: AuthorizationRequest, user_id: &str) -> Token {
        let code = Token::generate();
        let grant_id = Token::generate().into_inner();
        let grant = Grant {
            client_id: request.client_id.clone(),
            user_id: user_id.to_owned(),
            scopes: request.scopes.clone(),
            resource: request.resource.clone(),
        };
        self.grants.insert(grant_id.clone(), grant);
        let expires_at = SystemTime::now() + CODE_LIFETIME;
        let used = Use::Unused;
        self.codes.insert(
            code.digest(),
            Code {
                request,
                grant_id,
                expires_at,
                used,
            },
        );
        code
    }

    /// The request a code answers, and the key of its grant. A code works once: a second use means
    /// that somebody else has it, so it takes the tokens of the first use back (RFC 6749 §4.1.2).
    pub(crate) fn redeem_code(&mut self, code: &str) -> Option<(AuthorizationRequest, String)> {
        let code = self.codes.get_mut(&Digest::of(code))?;
        let grant_id = code.grant_id.clone();
        if std::mem::replace(&mut code.used, Use::Used) == Use::Used {
            self.revoke_grant(&grant_id);
            return None;
        }
        let in_time = SystemTime::now() < code.expires_at;
        in_time.then(|| (code.request.clone(), grant_id))
    }

    // Tokens

    /// Issues an access token for `scopes` and the next refresh token of the grant.
    pub(crate) fn issue(
        &mut self,
        grant_id: &str,
        scopes: Scopes,
        lifetime: Duration,
    ) -> IssuedTokens {
        self.forget_expired();
        let tokens = IssuedTokens {
            access_token: Token::generate(),
            refresh_token: Token::generate(),
        };
        let now = SystemTime::now();
        self.access_tokens.insert(
            tokens.access_token.digest(),
            AccessToken {
                grant_id: grant_id.to_owned(),
                scopes,
                expires_at: now + lifetime,
            },
        );
        self.refresh_tokens.insert(
            tokens.refresh_token.digest(),
            RefreshToken {
                grant_id: grant_id.to_owned(),
                expires_at: now + REFRESH_TOKEN_LIFETIME,
                used: Use::Unused,
            },
        );
        self.save();
        tokens
    }

    /// The access token that was presented, with its grant; expired ones too.
    pub(crate) fn access_token(&self, presented: &str) -> Option<(&AccessToken, &Grant)> {
        let token = self.access_tokens.get(&Digest::of(presented))?;
        Some((token, self.grants.get(&token.grant_id)?))
    }

    /// The grant of a refresh token that `client_id` presents, and its key.
    ///
    /// A refresh token that was used before is in two hands. Which of them is the client cannot be
    /// known, so the whole grant ends (RFC 9700 §4.14.2).
    pub(crate) fn refreshable(
        &mut self,
        presented: &str,
        client_id: &str,
    ) -> Option<(String, Grant)> {
        let token = self.refresh_tokens.get(&Digest::of(presented))?.clone();
        let grant = self.grants.get(&token.grant_id)?.clone();
        if grant.client_id != client_id {
            return None;
        }
        if token.used == Use::Used {
            self.revoke_grant(&token.grant_id);
            return None;
        }
        (SystemTime::now() < token.expires_at).then_some((token.grant_id, grant))
    }

    /// Marks a refresh token as used: from now on it is a sign of theft.
    pub(crate) fn spend(&mut self, refresh_token: &str) {
        if let Some(token) = self.refresh_tokens.get_mut(&Digest::of(refresh_token)) {
            token.used = Use::Used;
        }
    }

    /// Ends the grant of an access or refresh token, if it belongs to `client_id`.
    pub(crate) fn revoke(&mut self, presented: &str, client_id: &str) {
        let digest = Digest::of(presented);
        let access = self.access_tokens.get(&digest).map(|token| &token.grant_id);
        let refresh = self
            .refresh_tokens
            .get(&digest)
            .map(|token| &token.grant_id);
        let Some(grant_id) = access.or(refresh).cloned() else {
            return;
        };
        let owner = self
            .grants
            .get(&grant_id)
            .map(|grant| grant.client_id.as_str());
        if owner == Some(client_id) {
            self.revoke_grant(&grant_id);
        }
    }

    fn revoke_grant(&mut self, grant_id: &str) {
        self.grants.remove(grant_id);
        self.access_tokens
            .retain(|_, token| token.grant_id != grant_id);
        self.refresh_tokens
            .retain(|_, token| token.grant_id != grant_id);
        self.save();
    }

    fn forget_expired(&mut self) {
        let now = SystemTime::now();
        self.open_consents
            .retain(|_, consent| consent.expires_at > now);
        self.codes.retain(|_, code| code.expires_at > now);
        self.access_tokens.retain(|_, token| token.expires_at > now);
        self.refresh_tokens
            .retain(|_, token| token.expires_at > now);
        let (codes, refresh_tokens) = (&self.codes, &self.refresh_tokens);
        self.grants.retain(|id, _| {
            codes.values().any(|code| code.grant_id == *id)
                || refresh_tokens.values().any(|token| token.grant_id == *id)
        });
    }

    /// Writes the state file. A failure is reported and not fatal: the server goes on from memory.
    /// The file is small and the server has few users, so nobody waits long for this.
    fn save(&self) {
        let Some(path) = &self.path else {
            return;
        };
        if let Err(error) = self.write_to(path) {
            tracing::warn!(path = %path.display(), %error, "cannot write the state file");
        }
    }

    /// Replaces the file in one step, so that a crash leaves the old or the new one. The temporary
    /// file is readable by its owner alone, and stays so under its new name.
    fn write_to(&self, path: &Path) -> io::Result<()> {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.flush()?;
        file.persist(path)?;
        Ok(())
    }
}
