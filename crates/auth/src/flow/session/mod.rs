//! Shared state of the sign-in: the credential in use, its source, and back-off after failures.

mod failures;
mod stored;

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

use crate::callback::loopback::BroughtAnswer;
use crate::config::{Bearer, Config, Grant};
use crate::discovery::ServerDiscovery;
use crate::error::AuthError;
use crate::flow::order::Wanted;
use crate::flow::refresh_pause::RefreshPause;
use crate::flow::sign_in_history::SignInHistory;
use crate::sign_in_page::SignInStage;
use crate::store::pending::now_millis;
use crate::store::refused_renewal::RefusedRenewal;
use crate::store::{Credential, CredentialKey, CredentialStore, SharedStore};
use crate::token::proof::{ProofMemory, Prover};
use crate::token::scope::Scopes;
use crate::token::{AccessToken, Age};
use crate::transport::Transport;
use crate::transport::address::AddressGuard;
use mcp_bridge_net::http;
use mcp_bridge_net::mutex::Mutex;

/// Limit for the sets of scopes that a server may ask for one after the other. One that asks for more does not want us.
const MOST_SCOPE_SETS: usize = 100;

/// The shared state of one [`crate::Authorizer`].
#[derive(Debug)]
pub(crate) struct SignInSession {
    pub(crate) server: Url,
    pub(crate) config: Config,
    pub(crate) transport: Arc<Transport>,
    /// Statements of servers about proofs.
    proof_memory: Arc<ProofMemory>,
    /// When the session was made, in milliseconds since 1970.
    pub(crate) started_at: u64,
    pub(crate) store: SharedStore,
    /// The task that tries again to save what could not be saved.
    saving: Mutex<Option<JoinHandle<()>>>,
    loaded: OnceCell<()>,
    state: Mutex<SessionState>,
    /// Held while a refresh runs.
    pub(crate) renewing: Arc<tokio::sync::Mutex<()>>,
    /// Held while a sign-in runs.
    pub(crate) signing_in: Arc<tokio::sync::Mutex<SignInHistory>>,
    /// The session of the person at the identity provider of their company, if that is where they sign in.
    pub(crate) identity: Option<Arc<Self>>,
    role: SessionRole,
    /// The session of the sign-in that this one shares with other servers, once it is known.
    shared: Mutex<Option<Arc<Self>>>,
    /// State of the sign-in. That of a person at an identity provider is that of the server's session, and so is that of a
    /// shared sign-in.
    pub(crate) stage: watch::Sender<SignInStage>,
    /// Way to the sign-in under way, for those that the person pastes.
    answers: Mutex<Option<mpsc::Sender<BroughtAnswer>>>,
}

#[derive(Debug, Default)]
struct SessionState {
    credential: Option<Credential>,
    /// Source of the token in this process, and when it came.
    source: Option<(TokenSource, Instant)>,
    refresh_pause: Option<RefreshPause>,
    /// The last failure of a renewal for want of the store.
    store_failure: Option<(Instant, AuthError)>,
    /// Number of requests for each set of scopes, by a hash of it.
    step_ups: HashMap<[u8; 32], u32>,
    /// Trust that the authorization server knows the client.
    trust: Trust,
    /// When the last sign-in of this run worked.
    signed_in: Option<Instant>,
    /// Outcome of the last attempt to renew, if it failed.
    refused: Option<RefusedRenewal>,
}

/// Purpose of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionRole {
    /// Tokens for an MCP server.
    Server,
    /// The identity of a person.
    Identity,
    /// Tokens for all servers of an issuer that share a sign-in.
    Shared,
}

/// Trust that the authorization server knows the client.
#[derive(Debug, Default)]
enum Trust {
    /// It did in some earlier run.
    #[default]
    Unproven,
    /// A sign-in of this run worked with the client of this id.
    Proven(String),
    /// It has refused a renewal since; it may have been set up anew.
    Doubted,
}

/// Source of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenSource {
    /// From the disk.
    Store,
    /// By the refresh token.
    Refresh,
    /// By a person, or by the client's own credentials.
    SignIn,
}

/// Source of the token in use, if it was obtained only just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Not just now, or not by us.
    Old,
    /// By a refresh.
    Refreshed,
    /// By a sign-in.
    SignedIn,
}

impl SignInSession {
    pub(crate) fn new(mut server: Url, config: Config, options: http::Options) -> Self {
        server.set_fragment(None);
        let key = CredentialKey::new(&server, &config);
        Self::with_key(server, config, options, key)
    }

    /// The session of an account that is stored.
    pub(crate) fn with_key(
        server: Url,
        config: Config,
        options: http::Options,
        key: CredentialKey,
    ) -> Self {
        let stage = watch::Sender::default();
        let identity = match &config.grant {
            Grant::EnterpriseManaged(provider) => {
                let server = provider.issuer.url().clone();
                let config = config.at_identity_provider(provider);
                let key = CredentialKey::new(&server, &config);
                let session = Self {
                    role: SessionRole::Identity,
                    stage: watch::Sender::clone(&stage),
                    ..Self::with_key(server, config, options.clone(), key)
                };
                Some(Arc::new(session))
            }
            Grant::AuthorizationCode
            | Grant::DeviceCode
            | Grant::ClientCredentials { .. }
            | Grant::JwtBearer { .. }
            | Grant::TokenExchange { .. } => None,
        };
        let guard = AddressGuard::new(server.clone(), config.addresses, options.clone());
        Self {
            transport: Arc::new(Transport::new(options, guard)),
            store: SharedStore::new(CredentialStore::new(key, &server, &config)),
            saving: Mutex::default(),
            server,
            proof_memory: Arc::default(),
            started_at: now_millis(),
            loaded: OnceCell::new(),
            config,
            state: Mutex::default(),
            renewing: Arc::default(),
            signing_in: Arc::default(),
            identity,
            role: SessionRole::Server,
            shared: Mutex::default(),
            stage,
            answers: Mutex::default(),
        }
    }

    /// True if it is for the identity of a person and not for a server.
    pub(crate) fn is_identity(&self) -> bool {
        self.role == SessionRole::Identity
    }

    /// True if it is for several servers of an issuer.
    pub(crate) fn is_shared(&self) -> bool {
        self.role == SessionRole::Shared
    }

    /// The session in which a person signs in.
    pub(crate) fn of_person(self: &Arc<Self>) -> Arc<Self> {
        let shared = self.shared_sign_in().filter(|it| it.answers().is_some());
        let person = shared.or_else(|| self.identity.clone());
        person.unwrap_or_else(|| Arc::clone(self))
    }

    /// The session of the sign-in that this one shares with other servers, if it is known.
    pub(crate) fn shared_sign_in(&self) -> Option<Arc<Self>> {
        self.shared.lock().clone()
    }

    /// The session of a sign-in that this one shares with other servers, under this key. It has the way to the network of this
    /// one, and shows its pages as this one's.
    pub(crate) fn share(&self, server: Url, config: Config, key: CredentialKey) -> Arc<Self> {
        let mut shared = self.shared.lock();
        if let Some(known) = shared.as_ref().filter(|it| it.store.has_key(&key)) {
            return Arc::clone(known);
        }
        let session = Self {
            role: SessionRole::Shared,
            stage: watch::Sender::clone(&self.stage),
            transport: Arc::clone(&self.transport),
            proof_memory: Arc::clone(&self.proof_memory),
            ..Self::with_key(server, config, self.transport.options().clone(), key)
        };
        Arc::clone(shared.insert(Arc::new(session)))
    }

    /// Discovery of the authorization server.
    pub(crate) fn discovery(&self) -> ServerDiscovery<'_> {
        ServerDiscovery {
            transport: &self.transport,
            server: &self.server,
            config: &self.config,
            known_issuer: self
                .credential()
                .map(|credential| credential.metadata.issuer),
        }
    }

    /// The credential in use.
    pub(crate) fn credential(&self) -> Option<Credential> {
        self.state().credential.clone()
    }

    /// The token in use.
    pub(crate) fn token(&self) -> Option<AccessToken> {
        let state = self.state();
        let credential = state.credential.as_ref()?;
        let tokens = credential.tokens.as_ref()?;
        let token = tokens.bearer(self.config.bearer).clone();
        if !tokens.is_bound || self.config.bearer == Bearer::IdToken {
            return Some(token);
        }
        Some(token.bound(self.prover(credential)?))
    }

    /// Maker of proofs with the key of `credential`; none if it has no key.
    pub(crate) fn prover(&self, credential: &Credential) -> Option<Prover> {
        let key = credential.proof_key.clone()?;
        Some(Prover::new(key, Arc::clone(&self.proof_memory)))
    }

    /// True if the token in use is what is wanted.
    pub(crate) fn has_usable(&self, wanted: &Wanted) -> bool {
        let age = if self.is_stale() {
            Age::Stale
        } else {
            Age::Fresh
        };
        self.token()
            .is_some_and(|token| wanted.is_met_by(&token, age))
    }

    /// True if there is reason and means to renew the token ahead of its end.
    ///
    /// A renewal that was refused is tried again only when the server refuses the access token, too.
    pub(crate) fn is_renewal_due(&self) -> bool {
        self.is_stale() && self.refresh_pause().is_none() && !self.is_renewal_refused()
    }

    /// True if the token in use is at or near its end.
    pub(crate) fn is_stale(&self) -> bool {
        self.state()
            .credential
            .as_ref()
            .and_then(|credential| credential.tokens.as_ref())
            .is_some_and(|tokens| tokens.age(SystemTime::now()) == Age::Stale)
    }

    /// Tells whether the token in use was obtained only just now: within `fresh` and, for short-lived tokens, the
    /// first half of their life. One that has expired on its way is old.
    pub(crate) fn freshness(&self, fresh: Duration) -> Freshness {
        let state = self.state();
        let tokens = state.credential.as_ref().and_then(|it| it.tokens.as_ref());
        let (Some(tokens), Some((source, since))) = (tokens, state.source) else {
            return Freshness::Old;
        };
        let half_life = tokens.lifetime.map_or(fresh, Duration::from_secs) / 2;
        let is_stale = tokens.age(SystemTime::now()) == Age::Stale;
        if is_stale || since.elapsed() >= fresh.min(half_life) {
            return Freshness::Old;
        }
        match source {
            TokenSource::Store => Freshness::Old,
            TokenSource::Refresh => Freshness::Refreshed,
            TokenSource::SignIn => Freshness::SignedIn,
        }
    }

    /// True if this process had a sign-in that recently.
    pub(crate) fn has_signed_in_within(&self, period: Duration) -> bool {
        self.state()
            .signed_in
            .is_some_and(|moment| moment.elapsed() < period)
    }

    /// Scopes with which the token in use was asked for.
    pub(crate) fn requested_scopes(&self) -> Scopes {
        self.state()
            .credential
            .as_ref()
            .and_then(|credential| credential.tokens.as_ref())
            .map(|tokens| tokens.requested.clone())
            .unwrap_or_default()
    }

    /// True if the token in use is known not to have one of `required`.
    pub(crate) fn lacks_granted(&self, required: &Scopes) -> bool {
        self.state()
            .credential
            .as_ref()
            .and_then(|credential| credential.tokens.as_ref())
            .is_some_and(|tokens| required.iter().any(|scope| !tokens.granted.contains(scope)))
    }

    /// Counts a request for more scope. False if it was asked for `limit` times already, or others too often.
    pub(crate) fn may_step_up(&self, required: &Scopes, limit: u32) -> bool {
        let mut state = self.state();
        let set = Sha256::digest(required.to_string()).into();
        if state.step_ups.len() >= MOST_SCOPE_SETS && !state.step_ups.contains_key(&set) {
            return false;
        }
        let asked = state.step_ups.entry(set).or_default();
        *asked += 1;
        *asked <= limit
    }

    /// Lets pasted answers go the way of those that a browser brings.
    pub(crate) fn expect_answers(&self, answers: mpsc::Sender<BroughtAnswer>) {
        *self.answers.lock() = Some(answers);
    }

    /// The way to the sign-in under way, if there is one.
    pub(crate) fn answers(&self) -> Option<mpsc::Sender<BroughtAnswer>> {
        let answers = self.answers.lock();
        answers.clone().filter(|answers| !answers.is_closed())
    }

    fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }
}
