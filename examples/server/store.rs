//! Clients, open consent pages, authorization codes, grants and tokens.
//!
//! A small database would do this in a real server. The rules are the same there: only hashes of
//! secrets, everything has an end, and revoking a grant takes all of its tokens along.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::authorization::{AuthorizationRequest, Client};
use super::scope::Scopes;
use super::token::{Digest, Token};

/// Time for a user to answer the consent page.
const CONSENT_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Lifetime of an authorization code. RFC 6749 §4.1.2 allows ten minutes at most; a client
/// that listens on loopback needs a second.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// Lifetime of an unused refresh token.
const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Time that a client is remembered that nobody signs in with.
const UNUSED_CLIENT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Most clients that are remembered. Anybody may register, so there must be an end.
const MAX_CLIENTS: usize = 1000;

/// Most clients without a sign-in that one network address may have; its oldest makes room.
const MAX_UNUSED_CLIENTS_PER_ADDRESS: usize = 100;

/// Most consent pages that are open at a time. Anybody may open one.
const MAX_OPEN_CONSENTS: usize = 1000;

/// Most consent pages that one network address may have open; its oldest makes room.
const MAX_OPEN_CONSENTS_PER_ADDRESS: usize = 100;

/// Clients, grants and tokens. All hashes, see [`Digest`].
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Store {
    /// Number of changes so far, see `state_file.rs` and `replicas.rs`.
    #[serde(skip)]
    version: u64,
    clients: HashMap<String, Client>,
    grants: HashMap<String, Grant>,
    access_tokens: HashMap<Digest, AccessToken>,
    refresh_tokens: HashMap<Digest, RefreshToken>,
    #[serde(default)]
    open_consents: HashMap<Digest, OpenConsent>,
    #[serde(default)]
    codes: HashMap<Digest, Code>,
}

/// A user's permission for a client, which all tokens of one sign-in share.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// The client that may act.
    pub(crate) client_id: String,
    /// The user in whose name.
    pub(crate) user_id: String,
    /// Scopes of the grant.
    pub(crate) scopes: Scopes,
    /// Audience of the tokens (RFC 8707).
    pub(crate) resource: String,
}

/// Record of an access token.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AccessToken {
    /// Key of the grant behind it.
    grant_id: String,
    /// The grant's scopes, or fewer if the client asked for fewer.
    pub(crate) scopes: Scopes,
    /// When it ends.
    pub(crate) expires_at: SystemTime,
    /// The key that has to be proved with it (RFC 9449 §6).
    #[serde(default)]
    pub(crate) bound_to: Option<Digest>,
}

/// The keys that a pair of tokens is bound to.
pub(crate) struct Binding {
    pub(crate) access_token: Option<Digest>,
    pub(crate) refresh_token: Option<Digest>,
}

#[derive(Clone, Serialize, Deserialize)]
struct RefreshToken {
    grant_id: String,
    expires_at: SystemTime,
    used: Use,
    #[serde(default)]
    bound_to: Option<Digest>,
}

/// State of something that is good for one use.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Use {
    Unused,
    Used,
}

#[derive(Serialize, Deserialize)]
struct OpenConsent {
    request: AuthorizationRequest,
    /// Of the cookie that the browser got with the page.
    browser: Digest,
    opened_from: IpAddr,
    expires_at: SystemTime,
}

/// A consent page that was just opened: two secrets that must come back together.
pub(crate) struct ConsentPage {
    /// Stands in the form.
    pub(crate) form_token: Token,
    /// Stands in a cookie, so that a form token which somebody else has seen is of no use to them.
    pub(crate) browser_token: Token,
}

#[derive(Serialize, Deserialize)]
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

/// Reason why a refresh token gives nothing.
pub(crate) enum NotRefreshable {
    /// It is unknown, expired, revoked or used.
    Unknown,
    /// It is bound to a key, and the request does not prove that.
    OtherKey,
}

impl Store {
    /// Number of changes so far.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    // Clients

    /// The client with this id.
    pub(crate) fn client(&self, client_id: &str) -> Option<&Client> {
        self.clients.get(client_id)
    }

    /// Returns whether a user has granted something to this client, or its operator knows it.
    pub(crate) fn is_trusted(&self, client: &Client) -> bool {
        client.registered_from.is_none() || self.grants.values().any(|it| it.client_id == client.id)
    }

    /// Remembers a client that registered itself.
    pub(crate) fn register(&mut self, client: Client) -> Result<(), Full> {
        self.forget_expired();
        if let Some(address) = client.registered_from {
            self.make_room_for_client(address);
        }
        if self.clients.len() >= MAX_CLIENTS {
            return Err(Full);
        }
        self.pre_register(client);
        self.version += 1;
        Ok(())
    }

    /// Remembers a client that the operator knows.
    pub(crate) fn pre_register(&mut self, client: Client) {
        self.clients.insert(client.id.clone(), client);
    }

    /// Forgets the oldest unused client of an address that has its share of them.
    fn make_room_for_client(&mut self, address: IpAddr) {
        let used = self.clients_in_use();
        let unused = || {
            let of_address = self.clients.values();
            of_address
                .filter(|it| it.registered_from == Some(address) && !used.contains(it.id.as_str()))
        };
        if unused().count() < MAX_UNUSED_CLIENTS_PER_ADDRESS {
            return;
        }
        let oldest = unused().min_by_key(|it| it.last_used);
        if let Some(id) = oldest.map(|it| it.id.clone()) {
            self.clients.remove(&id);
        }
    }

    /// Ids of the clients that have a grant.
    fn clients_in_use(&self) -> HashSet<&str> {
        let grants = self.grants.values();
        grants.map(|it| it.client_id.as_str()).collect()
    }

    // Consent

    /// Remembers what the user is being asked, by a browser at this address.
    pub(crate) fn open_consent(
        &mut self,
        request: AuthorizationRequest,
        address: IpAddr,
    ) -> Result<ConsentPage, Full> {
        self.forget_expired();
        self.make_room_for_consent(address);
        if self.open_consents.len() >= MAX_OPEN_CONSENTS {
            return Err(Full);
        }
        let now = SystemTime::now();
        if let Some(client) = self.clients.get_mut(&request.client_id) {
            client.last_used = now;
        }
        let page = ConsentPage {
            form_token: Token::generate(),
            browser_token: Token::generate(),
        };
        let consent = OpenConsent {
            request,
            browser: page.browser_token.digest(),
            opened_from: address,
            expires_at: now + CONSENT_LIFETIME,
        };
        self.open_consents.insert(page.form_token.digest(), consent);
        self.version += 1;
        Ok(page)
    }

    /// Forgets the oldest page of an address that has its share of them.
    fn make_room_for_consent(&mut self, address: IpAddr) {
        let of_address = || {
            let open = self.open_consents.iter();
            open.filter(|(_, it)| it.opened_from == address)
        };
        if of_address().count() < MAX_OPEN_CONSENTS_PER_ADDRESS {
            return;
        }
        let oldest = of_address().min_by_key(|(_, it)| it.expires_at);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.open_consents.remove(&key);
        }
    }

    /// The request that was waiting for this answer, from the browser that got the page. It cannot be
    /// answered again.
    pub(crate) fn close_consent(
        &mut self,
        form_token: &str,
        browser_token: &str,
    ) -> Option<AuthorizationRequest> {
        let key = Digest::of(form_token);
        let consent = self.open_consents.get(&key)?;
        if consent.browser != Digest::of(browser_token) {
            return None;
        }
        let consent = self.open_consents.remove(&key)?;
        self.version += 1;
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
        self.version += 1;
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
        self.version += 1;
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
        binding: Binding,
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
                bound_to: binding.access_token,
            },
        );
        self.refresh_tokens.insert(
            tokens.refresh_token.digest(),
            RefreshToken {
                grant_id: grant_id.to_owned(),
                expires_at: now + REFRESH_TOKEN_LIFETIME,
                used: Use::Unused,
                bound_to: binding.refresh_token,
            },
        );
        self.version += 1;
        tokens
    }

    /// The access token that was presented, with its grant; expired ones too.
    pub(crate) fn access_token(&self, presented: &str) -> Option<(&AccessToken, &Grant)> {
        let token = self.access_tokens.get(&Digest::of(presented))?;
        Some((token, self.grants.get(&token.grant_id)?))
    }

    /// The grant of a refresh token that `client_id` presents with a proof of `key`, and the key of the grant.
    ///
    /// A refresh token that was used before is in two hands. Which of them is the client cannot be
    /// known, so the whole grant ends (RFC 9700 §4.14.2). Not so if it is bound to a key and comes without: whoever stole it
    /// can do nothing with it, and is not to sign the user out either.
    pub(crate) fn refreshable(
        &mut self,
        presented: &str,
        client_id: &str,
        key: Option<&Digest>,
    ) -> Result<(String, Grant), NotRefreshable> {
        let token = self.refresh_tokens.get(&Digest::of(presented)).cloned();
        let token = token.ok_or(NotRefreshable::Unknown)?;
        let grant = self.grants.get(&token.grant_id).cloned();
        let grant = grant.filter(|grant| grant.client_id == client_id);
        let grant = grant.ok_or(NotRefreshable::Unknown)?;
        if token.bound_to.is_some() && token.bound_to.as_ref() != key {
            return Err(NotRefreshable::OtherKey);
        }
        if token.used == Use::Used {
            self.revoke_grant(&token.grant_id);
            return Err(NotRefreshable::Unknown);
        }
        if token.expires_at <= SystemTime::now() {
            return Err(NotRefreshable::Unknown);
        }
        Ok((token.grant_id, grant))
    }

    /// Marks a refresh token as used: from now on it is a sign of theft.
    pub(crate) fn spend(&mut self, refresh_token: &str) {
        if let Some(token) = self.refresh_tokens.get_mut(&Digest::of(refresh_token)) {
            token.used = Use::Used;
            self.version += 1;
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
        self.version += 1;
    }

    fn forget_expired(&mut self) {
        let now = SystemTime::now();
        self.open_consents
            .retain(|_, consent| consent.expires_at > now);
        self.codes.retain(|_, code| code.expires_at > now);
        self.access_tokens.retain(|_, token| token.expires_at > now);
        self.refresh_tokens
            .retain(|_, token| token.expires_at > now);
        let codes = self.codes.values().map(|it| &it.grant_id);
        let refresh_tokens = self.refresh_tokens.values().map(|it| &it.grant_id);
        let alive: HashSet<&String> = codes.chain(refresh_tokens).collect();
        self.grants.retain(|id, _| alive.contains(id));
        self.forget_unused_clients(now);
    }

    fn forget_unused_clients(&mut self, now: SystemTime) {
        let used: HashSet<String> = self
            .clients_in_use()
            .into_iter()
            .map(str::to_owned)
            .collect();
        self.clients.retain(|id, client| {
            client.registered_from.is_none()
                || used.contains(id)
                || now < client.last_used + UNUSED_CLIENT_LIFETIME
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::server::authorization::pre_registered_client;

    const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn client(id: &str, address: IpAddr) -> Client {
        Client {
            id: id.to_owned(),
            registered_from: Some(address),
            ..pre_registered_client("secret")
        }
    }

    #[test]
    fn an_address_that_registers_without_end_displaces_its_own_clients() {
        let mut store = Store::default();
        assert!(store.register(client("somebody's", SOMEBODY)).is_ok());
        for n in 0..2 * MAX_CLIENTS {
            assert!(store.register(client(&n.to_string(), ATTACKER)).is_ok());
        }
        assert_eq!(store.clients.len(), MAX_UNUSED_CLIENTS_PER_ADDRESS + 1);
        assert!(store.client("somebody's").is_some());
    }

    #[test]
    fn an_unused_client_expires_and_one_that_the_operator_knows_does_not() {
        let mut store = Store::default();
        store.pre_register(pre_registered_client("secret"));
        assert!(store.register(client("unused", SOMEBODY)).is_ok());
        store.forget_unused_clients(SystemTime::now());
        assert_eq!(store.clients.len(), 2);
        store.forget_unused_clients(SystemTime::now() + UNUSED_CLIENT_LIFETIME);
        assert!(store.client("unused").is_none());
        assert_eq!(store.clients.len(), 1);
    }
}
