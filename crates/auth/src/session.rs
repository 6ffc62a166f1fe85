//! Shared state of the sign-in: the credential in use, its source, and back-off after failures.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, mpsc, watch};
use url::Url;

use super::SignInStage;
use super::address::AddressGuard;
use super::config::Config;
use super::error::AuthError;
use super::loopback::Callback;
use super::pending::now_millis;
use super::refused_renewal::RefusedRenewal;
use super::scope::Scopes;
use super::store::{Credential, CredentialKey, CredentialStore, StoreError};
use super::token::{AccessToken, Age};
use super::transport::Transport;
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_net::http;
use mcp_bridge_net::mutex::Mutex;

/// Limit for the sets of scopes that a server may ask for one after the other. One that asks for more does not want us.
const MOST_SCOPE_SETS: usize = 100;

/// Pauses between attempts to save what could not be saved, from the first to the longest: a disk that was full has room
/// again at some time.
const SAVE_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The longest pause between two attempts to refresh.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// The shared state of one [`super::Authorizer`].
#[derive(Debug)]
pub(super) struct Session {
    pub(super) server: Url,
    pub(super) config: Config,
    pub(super) transport: Transport,
    pub(super) key: CredentialKey,
    /// When the session was made, in milliseconds since 1970.
    pub(super) started_at: u64,
    store: Arc<CredentialStore>,
    loaded: OnceCell<()>,
    state: Mutex<State>,
    /// Held while a refresh runs.
    pub(super) renewing: Arc<tokio::sync::Mutex<()>>,
    /// Held while a sign-in runs.
    pub(super) signing_in: Arc<tokio::sync::Mutex<LastSignIn>>,
    /// Where the sign-in stands.
    pub(super) stage: watch::Sender<SignInStage>,
    /// Where answers to the sign-in under way go, for those that the person pastes.
    answers: Mutex<Option<mpsc::Sender<Callback>>>,
}

#[derive(Debug, Default)]
struct State {
    credential: Option<Credential>,
    /// How this process came by the token, and when.
    source: Option<(Source, Instant)>,
    back_off: Option<BackOff>,
    /// Number of requests for each set of scopes, by a hash of it.
    step_ups: HashMap<[u8; 32], u32>,
    /// Trust that the authorization server knows the client.
    trust: Trust,
    /// When the last sign-in of this run worked.
    signed_in: Option<Instant>,
    /// What became of the last attempt to renew, if it failed.
    refused: Option<RefusedRenewal>,
}

/// Whether the authorization server is known to know the client.
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

/// How a token was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// From the disk.
    Store,
    /// By the refresh token.
    Refresh,
    /// By a person, or by the client's own credentials.
    SignIn,
}

/// How the token in use was obtained, if that was only just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Not just now, or not by us.
    Old,
    /// By a refresh.
    Refreshed,
    /// By a sign-in.
    SignedIn,
}

/// Which token would do.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// One that is not about to end.
    Fresh,
    /// Any other than the one that was refused.
    OtherThan(Option<AccessToken>),
}

#[derive(Debug, Clone)]
struct BackOff {
    until: Instant,
    pause: Duration,
    error: AuthError,
}

/// How many sign-ins may begin within [`SIGN_INS_PERIOD`]. No person does more; a server that takes back
/// what it gives, and an app that tries again by itself, would open tab after tab.
const MOST_SIGN_INS: usize = 5;

/// See [`MOST_SIGN_INS`].
const SIGN_INS_PERIOD: Duration = Duration::from_secs(300);

/// How the last sign-ins of this process went.
#[derive(Debug, Default)]
pub(super) struct LastSignIn {
    failure: Option<(Instant, AuthError)>,
    begun: VecDeque<Instant>,
}

impl LastSignIn {
    /// Counts one more sign-in, unless there were too many.
    pub(super) fn begin(&mut self) -> Result<(), AuthError> {
        self.begun
            .retain(|moment| moment.elapsed() < SIGN_INS_PERIOD);
        if self.begun.len() >= MOST_SIGN_INS {
            return Err(AuthError::TooManySignIns);
        }
        self.begun.push_back(Instant::now());
        Ok(())
    }

    pub(super) fn failure_since(&self, moment: Instant) -> Option<AuthError> {
        self.failure
            .as_ref()
            .filter(|(ended, _)| *ended >= moment)
            .map(|(_, error)| error.clone())
    }

    pub(super) fn record(&mut self, failure: Option<&AuthError>) {
        self.failure = failure.map(|error| (Instant::now(), error.clone()));
    }
}

impl Session {
    pub(super) fn new(mut server: Url, config: Config, options: http::Options) -> Self {
        server.set_fragment(None);
        let key = CredentialKey::new(&server, &config);
        Self::with_key(server, config, options, key)
    }

    /// The session of an account that is stored.
    pub(super) fn with_key(
        server: Url,
        config: Config,
        options: http::Options,
        key: CredentialKey,
    ) -> Self {
        let guard = AddressGuard::new(server.clone(), config.addresses, options.clone());
        Self {
            transport: Transport::new(options, guard),
            store: Arc::new(CredentialStore::new(key.clone(), &server, &config)),
            server,
            key,
            started_at: now_millis(),
            loaded: OnceCell::new(),
            config,
            state: Mutex::default(),
            renewing: Arc::default(),
            signing_in: Arc::default(),
            stage: watch::Sender::default(),
            answers: Mutex::default(),
        }
    }

    /// Reads what is stored, once.
    pub(super) async fn load(&self) {
        self.loaded.get_or_init(|| self.reload()).await;
    }

    /// Takes over what another process stored meanwhile.
    pub(super) async fn reload(&self) {
        let stored = self.with_store(CredentialStore::load).await.flatten();
        let Some(stored) = stored else { return };
        let mut state = self.state();
        let same = state.credential.as_ref().is_some_and(|known| {
            let token = |credential: &Credential| {
                credential
                    .tokens
                    .as_ref()
                    .map(|tokens| tokens.access_token.clone())
            };
            token(known) == token(&stored)
        });
        if !same {
            state.credential = Some(stored);
            state.source = Some((Source::Store, Instant::now()));
            state.back_off = None;
        }
    }

    /// Runs a short, blocking operation on the store. None if the runtime is ending.
    pub(super) async fn with_store<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&CredentialStore) -> T + Send + 'static,
    ) -> Option<T> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || operation(&store))
            .await
            .ok()
    }

    /// The stored credential of an issuer.
    pub(super) async fn stored(&self, issuer: &str) -> Option<Credential> {
        let issuer = issuer.to_owned();
        let stored = self.with_store(move |store| store.load_issuer(&issuer));
        stored.await.flatten()
    }

    /// Stores `credential`, then uses it: a token must not be seen by anyone before it is safe.
    pub(super) async fn adopt(&self, credential: Credential, source: Source) {
        let saved = credential.clone();
        self.with_store(move |store| store.save(&saved)).await;
        self.keep_saving();
        match source {
            Source::Store => {}
            Source::Refresh | Source::SignIn => RefusedRenewal::clear(self).await,
        }
        let mut state = self.state();
        state.credential = Some(credential);
        let now = Instant::now();
        state.source = Some((source, now));
        state.back_off = None;
        if source == Source::SignIn {
            state.signed_in = Some(now);
        }
    }

    /// Saves what could not be saved as soon as that works: another process may use the old token until then, which
    /// authorization servers take for theft (RFC 9700 §4.14.2).
    fn keep_saving(&self) {
        if !self.store.begins_to_wait() {
            return;
        }
        let store = Arc::downgrade(&self.store);
        let renewing = Arc::clone(&self.renewing);
        tokio::spawn(async move {
            let [first, longest] = SAVE_PAUSES;
            let mut backoff = Backoff::new(first, longest);
            loop {
                tokio::time::sleep(backoff.pause()).await;
                let Some(store) = store.upgrade() else {
                    return;
                };
                let _turn = renewing.lock().await;
                let saved = tokio::task::spawn_blocking(move || store.waits_no_longer());
                if saved.await.unwrap_or(true) {
                    return;
                }
            }
        });
    }

    /// Lets go of the credential if somebody has signed out meanwhile. True if so.
    pub(super) async fn notice_sign_out(&self) -> bool {
        let Some(credential) = self.credential() else {
            return false;
        };
        let issuer = credential.metadata.issuer;
        let is_removed = self
            .with_store(move |store| store.is_removed(&issuer))
            .await;
        if is_removed != Some(true) {
            return false;
        }
        let mut state = self.state();
        state.credential = None;
        state.source = None;
        true
    }

    /// Removes what one authorization server gave us.
    pub(super) async fn forget(&self, issuer: &str) -> Result<(), StoreError> {
        let removed = issuer.to_owned();
        let outcome = self.with_store(move |store| store.remove(&removed)).await;
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
    pub(super) fn credential(&self) -> Option<Credential> {
        self.state().credential.clone()
    }

    /// The token in use.
    pub(super) fn token(&self) -> Option<AccessToken> {
        let state = self.state();
        let tokens = state.credential.as_ref()?.tokens.as_ref()?;
        Some(tokens.bearer(self.config.bearer).clone())
    }

    /// The token in use, if it is what is wanted.
    pub(super) fn usable(&self, wanted: &Wanted) -> Option<AccessToken> {
        let token = self.token()?;
        let does = match wanted {
            Wanted::Fresh => !self.is_stale(),
            Wanted::OtherThan(refused) => refused.as_ref() != Some(&token),
        };
        does.then_some(token)
    }

    /// Whether there is reason and means to renew the token ahead of its end.
    ///
    /// A renewal that was refused is tried again only when the server refuses the access token, too.
    pub(super) fn is_renewal_due(&self) -> bool {
        self.is_stale() && self.back_off().is_none() && !self.is_renewal_refused()
    }

    /// Notes that the tokens in use were not renewed.
    pub(super) fn note_refused_renewal(&self, refused: RefusedRenewal) {
        self.state().refused = Some(refused);
    }

    /// The last note of [`Self::note_refused_renewal`].
    pub(super) fn refused_renewal(&self) -> Option<RefusedRenewal> {
        self.state().refused.clone()
    }

    /// Whether this process has tried to renew the tokens in use, and they were refused.
    pub(super) fn is_renewal_refused(&self) -> bool {
        let state = self.state();
        let (Some(refused), Some(credential)) = (&state.refused, &state.credential) else {
            return false;
        };
        let tokens = credential.tokens.as_ref();
        tokens.is_some_and(|it| refused.is_about(&credential.metadata.issuer, it.obtained_at))
    }

    /// Whether the token in use is at or near its end.
    pub(super) fn is_stale(&self) -> bool {
        self.state()
            .credential
            .as_ref()
            .and_then(|credential| credential.tokens.as_ref())
            .is_some_and(|tokens| tokens.age(SystemTime::now()) == Age::Stale)
    }

    /// Whether the token in use was obtained only just now: within `fresh` and, for short-lived tokens, the
    /// first half of their life. One that has expired on its way is old.
    pub(super) fn freshness(&self, fresh: Duration) -> Freshness {
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
            Source::Store => Freshness::Old,
            Source::Refresh => Freshness::Refreshed,
            Source::SignIn => Freshness::SignedIn,
        }
    }

    /// Whether this process had a sign-in that recently.
    pub(super) fn has_signed_in_within(&self, period: Duration) -> bool {
        self.state()
            .signed_in
            .is_some_and(|moment| moment.elapsed() < period)
    }

    /// What the token in use was asked for with.
    pub(super) fn requested_scopes(&self) -> Scopes {
        self.state()
            .credential
            .as_ref()
            .and_then(|credential| credential.tokens.as_ref())
            .map(|tokens| tokens.requested.clone())
            .unwrap_or_default()
    }

    /// Whether the token in use is known not to have one of `required`.
    pub(super) fn lacks_granted(&self, required: &Scopes) -> bool {
        self.state()
            .credential
            .as_ref()
            .and_then(|credential| credential.tokens.as_ref())
            .is_some_and(|tokens| required.iter().any(|scope| !tokens.granted.contains(scope)))
    }

    /// Counts a request for more scope. False if it was asked for `limit` times already, or others too often.
    pub(super) fn may_step_up(&self, required: &Scopes, limit: u32) -> bool {
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
    pub(super) fn prove_client(&self, id: &str) {
        self.state().trust = Trust::Proven(id.to_owned());
    }

    /// Lets go of [`Self::prove_client`], because the authorization server has refused a renewal.
    pub(super) fn doubt_client(&self) {
        self.state().trust = Trust::Doubted;
    }

    /// Whether a renewal was refused since the client was last known to be alive.
    pub(super) fn doubts_client(&self) -> bool {
        matches!(self.state().trust, Trust::Doubted)
    }

    /// Whether a sign-in of this run worked with this client.
    pub(super) fn has_proven_client(&self, id: &str) -> bool {
        matches!(&self.state().trust, Trust::Proven(proven) if proven == id)
    }

    /// The reason to leave the authorization server alone for now.
    pub(super) fn back_off(&self) -> Option<AuthError> {
        let state = self.state();
        let back_off = state.back_off.as_ref()?;
        let left = back_off.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| back_off.error.retried_after(left))
    }

    /// Leaves the authorization server alone: as long as it wishes, or twice as long as the last time.
    pub(super) fn start_back_off(&self, error: &AuthError) {
        let Some(retry_after) = error.retry_after() else {
            return;
        };
        let mut state = self.state();
        let doubled = state.back_off.as_ref().map_or(Duration::ZERO, |last| {
            (last.pause * 2).min(LONGEST_BACK_OFF)
        });
        let pause = doubled.max(retry_after);
        state.back_off = Some(BackOff {
            until: Instant::now() + pause,
            pause,
            error: error.clone(),
        });
    }

    /// Lets pasted answers go the way of those that a browser brings.
    pub(super) fn expect_answers(&self, answers: mpsc::Sender<Callback>) {
        *self.answers.lock() = Some(answers);
    }

    /// The way to the sign-in under way, if there is one.
    pub(super) fn answers(&self) -> Option<mpsc::Sender<Callback>> {
        let answers = self.answers.lock();
        answers.clone().filter(|answers| !answers.is_closed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
