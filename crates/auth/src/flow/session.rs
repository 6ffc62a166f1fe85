//! Shared state of the sign-in: the credential in use, its source, and back-off after failures.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

use crate::callback::loopback::BroughtAnswer;
use crate::config::{Bearer, Config, Grant, Store};
use crate::discovery::ServerDiscovery;
use crate::error::AuthError;
use crate::flow::order::Wanted;
use crate::flow::proof_of_possession;
use crate::flow::refresh_pause::RefreshPause;
use crate::flow::sign_in_history::SignInHistory;
use crate::sign_in_page::SignInStage;
use crate::store::lock::Lock;
use crate::store::pending::now_millis;
use crate::store::records::Condition;
use crate::store::refused_renewal::{AccessTokenState, RefusalKind, RefusedRenewal};
use crate::store::{
    Credential, CredentialKey, CredentialStore, Saved, SavedAgain, SharedStore, StoreError,
};
use crate::token::proof::{ProofMemory, Prover};
use crate::token::scope::Scopes;
use crate::token::{AccessToken, Age};
use crate::transport::Transport;
use crate::transport::address::AddressGuard;
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_net::http;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::SignInStep;

/// Limit for the sets of scopes that a server may ask for one after the other. One that asks for more does not want us.
const MOST_SCOPE_SETS: usize = 100;

/// Pauses between attempts to save what could not be saved, from the first to the longest: a disk that was full has room
/// again at some time.
const SAVE_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The same for a store that several machines share. It has to be quick, since the others wait for no longer than
/// [`UNFINISHED_WAIT`](crate::flow::renewal::UNFINISHED_WAIT).
const SHARED_SAVE_PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

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

    /// Reads what is stored, once.
    pub(crate) async fn load(&self) {
        let loaded = self
            .loaded
            .get_or_try_init(|| Box::pin(self.reload()))
            .await;
        if let Err(error) = loaded {
            tracing::debug!(%error, "nothing is loaded for now");
        }
    }

    /// Takes over what another process stored meanwhile.
    pub(crate) async fn reload(&self) -> Result<(), AuthError> {
        let stored = self.store.with(CredentialStore::load).await;
        let Some(stored) = stored.unwrap_or(Ok(None))? else {
            return Ok(());
        };
        let stored = proof_of_possession::fitting(self.config.dpop, stored);
        let mut state = self.state();
        let same = state.credential.as_ref().is_some_and(|known| {
            let token = |credential: &Credential| {
                credential
                    .tokens
                    .as_ref()
                    .map(|tokens| tokens.access_token.clone())
            };
            token(known) == token(&stored) && known.shared == stored.shared
        });
        if !same {
            if stored.tokens.is_some() {
                self.transport
                    .step(SignInStep::Found, || "stored tokens are in use".to_owned());
            }
            state.credential = Some(stored);
            state.source = Some((TokenSource::Store, Instant::now()));
            state.refresh_pause = None;
        }
        Ok(())
    }

    /// True if processes on other machines may use the same credentials.
    pub(crate) fn shares_store(&self) -> bool {
        match self.config.store {
            Some(Store::Shared(_)) => true,
            Some(Store::File | Store::Keychain | Store::Memory) | None => false,
        }
    }

    /// True if what is stored outlives the process.
    pub(crate) async fn can_keep(&self) -> bool {
        let can_keep = self.store.with(CredentialStore::can_keep).await;
        can_keep.unwrap_or(false)
    }

    /// The stored credential of an issuer.
    pub(crate) async fn load_stored(&self, issuer: &str) -> Option<Credential> {
        let issuer = issuer.to_owned();
        let stored = self.store.with(move |store| store.load_issuer(&issuer));
        stored.await?.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is stored is not used");
            None
        })
    }

    /// Stores `credential`, then uses it: a token must not be seen by anyone before it is safe.
    pub(crate) async fn adopt(&self, credential: Credential, source: TokenSource) {
        let saved = credential.clone();
        self.store
            .with(move |store| store.save(&saved, Condition::None))
            .await;
        self.put_to_use(credential, source).await;
    }

    /// The same under a lock that may have been lost meanwhile. Then what its next holder has stored is used instead.
    pub(crate) async fn adopt_under(
        &self,
        lock: &Lock,
        credential: Credential,
        source: TokenSource,
    ) -> Result<(), AuthError> {
        let (saved, condition) = (credential.clone(), lock.condition());
        let saved = move |store: &CredentialStore| store.save(&saved, condition);
        if self.store.with(saved).await == Some(Saved::Superseded) {
            return self.reload().await;
        }
        self.put_to_use(credential, source).await;
        Ok(())
    }

    async fn put_to_use(&self, credential: Credential, source: TokenSource) {
        self.keep_saving();
        let step = match source {
            TokenSource::Store => None,
            TokenSource::Refresh => Some((SignInStep::Refreshed, "refreshed the token")),
            TokenSource::SignIn => Some((SignInStep::SignedIn, "signed in")),
        };
        if let Some((step, detail)) = step {
            RefusedRenewal::clear(&self.store).await;
            self.transport.step(step, || detail.to_owned());
        }
        let mut state = self.state();
        state.credential = Some(credential);
        let now = Instant::now();
        state.source = Some((source, now));
        state.refresh_pause = None;
        if source == TokenSource::SignIn {
            state.signed_in = Some(now);
        }
    }

    /// Saves what could not be saved as soon as that works: another process may use the old token until then, which
    /// authorization servers take for theft (RFC 9700 §4.14.2).
    fn keep_saving(&self) {
        if !self.store.has_unsaved() {
            return;
        }
        let mut saving = self.saving.lock();
        if saving.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let [first, longest] = if self.shares_store() {
            SHARED_SAVE_PAUSES
        } else {
            SAVE_PAUSES
        };
        let store = self.store.downgrade();
        let renewing = Arc::clone(&self.renewing);
        *saving = Some(tokio::spawn(async move {
            let mut backoff = Backoff::new(first, longest);
            loop {
                tokio::time::sleep(backoff.pause()).await;
                let Some(store) = SharedStore::upgrade(&store) else {
                    return;
                };
                let _held = renewing.lock().await;
                match store.with(CredentialStore::save_again).await {
                    Some(SavedAgain::NotYet) => {}
                    // Something newer may have come meanwhile.
                    Some(SavedAgain::Done) if store.has_unsaved() => {}
                    Some(SavedAgain::Done | SavedAgain::Never) | None => return,
                }
            }
        }));
    }

    /// Lets go of the credential if somebody has signed out meanwhile. True if so.
    pub(crate) async fn notice_sign_out(&self) -> bool {
        let Some(credential) = self.credential() else {
            return false;
        };
        let issuer = credential.metadata.issuer;
        let is_removed = self
            .store
            .with(move |store| store.is_removed(&issuer))
            .await;
        if is_removed != Some(true) {
            return false;
        }
        self.transport
            .step(SignInStep::Ended, || "ended by a sign-out".to_owned());
        let mut state = self.state();
        state.credential = None;
        state.source = None;
        true
    }

    /// Removes what one authorization server gave us.
    pub(crate) async fn forget(&self, issuer: &str) -> Result<(), StoreError> {
        let removed = issuer.to_owned();
        let outcome = self.store.with(move |store| store.remove(&removed)).await;
        let mut state = self.state();
        let is_in_use = state
            .credential
            .as_ref()
            .is_some_and(|credential| credential.metadata.issuer == issuer);
        if is_in_use {
            state.credential = None;
            state.source = None;
        }
        outcome.unwrap_or(Ok(()))
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

    /// The refusal to renew the tokens of `credential`, in this process or another one.
    pub(crate) async fn read_refused_renewal(
        &self,
        credential: &Credential,
    ) -> Option<RefusedRenewal> {
        let stored = RefusedRenewal::read(&self.store).await;
        let obtained_at = credential.tokens.as_ref()?.obtained_at;
        let known = stored.or_else(|| self.state().refused.clone())?;
        let is_about = known.is_about(&credential.metadata.issuer, obtained_at);
        is_about.then_some(known)
    }

    /// Records one more refusal to renew the tokens of `credential`. None if it has no tokens.
    pub(crate) async fn record_refused_renewal(
        &self,
        credential: &Credential,
        refusal: RefusalKind,
        access_token: AccessTokenState,
    ) -> Option<RefusedRenewal> {
        let before = self.read_refused_renewal(credential).await;
        let record = RefusedRenewal::after(before.as_ref(), credential, refusal, access_token)?;
        record.clone().write(&self.store).await;
        self.state().refused = Some(record.clone());
        Some(record)
    }

    /// True if this process has tried to renew the tokens in use, and they were refused.
    pub(crate) fn is_renewal_refused(&self) -> bool {
        let state = self.state();
        let (Some(refused), Some(credential)) = (&state.refused, &state.credential) else {
            return false;
        };
        let tokens = credential.tokens.as_ref();
        tokens.is_some_and(|it| refused.is_about(&credential.metadata.issuer, it.obtained_at))
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

    /// Remembers that the authorization server knows this client.
    pub(crate) fn prove_client(&self, id: &str) {
        self.state().trust = Trust::Proven(id.to_owned());
    }

    /// Lets go of [`Self::prove_client`], because the authorization server has refused a renewal.
    pub(crate) fn doubt_client(&self) {
        self.state().trust = Trust::Doubted;
    }

    /// True if a renewal was refused since the client was last known to be alive.
    pub(crate) fn doubts_client(&self) -> bool {
        matches!(self.state().trust, Trust::Doubted)
    }

    /// True if a sign-in of this run worked with this client.
    pub(crate) fn has_proven_client(&self, id: &str) -> bool {
        matches!(&self.state().trust, Trust::Proven(proven) if proven == id)
    }

    /// The reason to leave the authorization server alone for now.
    pub(crate) fn refresh_pause(&self) -> Option<AuthError> {
        self.state().refresh_pause.as_ref()?.reason()
    }

    /// The failure for want of the store that came after `arrived`: who has waited for that renewal waits for no other.
    pub(crate) fn store_failure_since(&self, arrived: Instant) -> Option<AuthError> {
        let state = self.state();
        let (moment, error) = state.store_failure.as_ref()?;
        (*moment > arrived).then(|| error.clone())
    }

    /// Leaves the authorization server alone for a while, if `error` may pass.
    pub(crate) fn start_refresh_pause(&self, error: &AuthError) {
        let mut state = self.state();
        if matches!(error, AuthError::StoreUnavailable { .. }) {
            // It has been waited for already, and may be back.
            state.store_failure = Some((Instant::now(), error.clone()));
            return;
        }
        if let Some(pause) = RefreshPause::after(error, state.refresh_pause.as_ref()) {
            state.refresh_pause = Some(pause);
        }
    }

    /// Shows an outage of the store to those who cannot wait for its end; none if it has answered.
    pub(crate) fn show_store_outage(&self, error: Option<&StoreError>) {
        let stage = error.map_or(SignInStage::None, |error| {
            SignInStage::StoreAway(error.to_string())
        });
        self.stage.send_if_modified(|shown| {
            let is_hidden = !matches!(shown, SignInStage::None | SignInStage::StoreAway(_));
            if is_hidden || *shown == stage {
                return false;
            }
            *shown = stage;
            true
        });
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;
    use tokio::time::timeout;

    use super::*;
    use crate::client::registration::ClientRegistration;
    use crate::discovery::authorization_server::AuthorizationServerMetadata;

    /// A session whose credential cannot be saved, because something is in the way of its file.
    async fn unsaved(directory: &std::path::Path) -> (SignInSession, std::path::PathBuf) {
        let server = Url::parse("https://mcp.example/mcp").unwrap();
        let config = Config {
            directory: Some(directory.to_owned()),
            ..Config::default()
        };
        let key = CredentialKey::new(&server, &config);
        let session = SignInSession::new(server.clone(), config, http::Options::default());
        let metadata = AuthorizationServerMetadata::with_token_endpoint(server.clone());
        let registration = ClientRegistration::PreRegistered;
        let credential = Credential::new(server, metadata, None, registration);
        let path = directory.join(key.record(&credential.metadata.issuer));
        fs::create_dir_all(path.join("in the way")).unwrap();
        session.adopt(credential, TokenSource::SignIn).await;
        (session, path)
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_saved_is_saved_as_soon_as_that_works() {
        let directory = tempdir().unwrap();
        let (session, path) = unsaved(directory.path()).await;
        assert!(session.store.has_unsaved());
        fs::remove_dir_all(&path).unwrap();
        // Without a file it would count as a sign-out.
        fs::write(&path, "").unwrap();
        let saving = session.saving.lock().take().unwrap();
        timeout(SAVE_PAUSES[1] * 3, saving).await.unwrap().unwrap();
        assert!(!session.store.has_unsaved());
        assert!(fs::metadata(path).unwrap().len() > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_out_elsewhere_ends_the_attempts_to_save() {
        let directory = tempdir().unwrap();
        let (session, path) = unsaved(directory.path()).await;
        fs::remove_dir_all(&path).unwrap();
        let saving = session.saving.lock().take().unwrap();
        timeout(SAVE_PAUSES[1] * 3, saving).await.unwrap().unwrap();
        assert!(!path.exists());
    }
}
