//! OAuth 2.1 for a native client, as the MCP specification asks for it.
//!
//! [`Authorizer`] is the only door. What it does to get a token, in this order:
//!
//! 1. another request, or another process, has brought a new one meanwhile;
//! 2. the refresh token brings one (`renewal`);
//! 3. a person signs in (`sign_in`).
//!
//! Where the user names a program that prints tokens, there is none of this: `command` runs it.
//!
//! On the way to a sign-in each step is a value that the next one needs: `BearerChallenge` →
//! `ProtectedResourceMetadata` → `AuthorizationServerMetadata` → `ClientRegistration` →
//! `AuthorizationRequest` → `AuthorizationResponse` → `TokenSet`.
//!
//! Nothing in here knows of MCP messages.

mod address;
mod address_range;
mod announcement;
mod attempt;
mod authorization;
mod authorization_server;
mod browser;
mod challenge;
mod client_assertion;
mod client_authentication;
mod client_credentials;
mod client_probe;
mod command;
mod config;
mod desktop;
mod device_code;
mod discovery;
mod error;
mod error_body;
mod examination;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grant;
mod linger;
mod lock;
mod loopback;
mod mcp_remote;
mod page;
mod pasted;
mod pending;
mod protected_resource;
mod refused_renewal;
mod registration;
mod registration_request;
mod renewal;
mod renewal_refusal;
mod scope;
mod search;
mod session;
mod sign_in;
mod sign_in_page;
mod sign_out;
mod store;
mod token;
mod token_reply;
mod transport;
mod turn;
mod well_known;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Instrument as _;
use url::Url;

pub use self::authorization::RESERVED_PARAMETERS;
pub use self::challenge::has_challenge;
pub use self::client_assertion::{KeyError, SigningKey};
pub use self::command::{CommandError, TokenCommand};
pub use self::config::{
    Addresses, AnswerInput, Bearer, Browser, Callback, ClientAuthentication, ClientCredential,
    Config, Grant, IssuerCheck, MissingPkceMetadata, PreRegisteredClient, ResourceParameter,
    SERVER_FAILURES, SIGN_IN_TIMEOUT, Store,
};
pub use self::error::AuthError;
pub use self::examination::{
    Examination, ExaminedAuthentication, ExaminedChallenge, ExaminedResource, ExaminedServer,
    RegistrationWay,
};
pub use self::linger::{HandedOver, Helper, inherited_sockets, leave_console};
pub use self::mcp_remote::Leftover;
pub use self::pasted::PasteError;
pub use self::sign_in::SIGN_IN_TARGET;
pub use self::sign_in_page::SignInPage;
pub use self::sign_out::{Revocation, SignedOut};
pub use self::store::{
    Account, Expiry, Keychain, KeychainError, Limits, Place, Servers, SignedIn, StoreError, Vault,
    choose_place, directory_of_account, note_directory, place_of_new, remove_remains,
};
pub use self::token::AccessToken;

use self::challenge::BearerChallenge;
use self::command::CommandTokens;
use self::renewal::Renewal;
use self::scope::Scopes;
use self::session::{Freshness, Session, Wanted};
use self::store::{CredentialKey, CredentialStore};
use mcp_bridge_net::http;

/// How long a request waits for a new token ahead of time before it goes out with the old one.
const REFRESH_AHEAD_WAIT: Duration = Duration::from_secs(5);

/// A token that is refused so soon after it was issued will not get better by trying again.
const FRESH: Duration = Duration::from_secs(10);

/// How often one scope is asked for in a run; a server that keeps asking does not want us.
const MOST_STEP_UPS: u32 = 2;

/// Holds back further refreshes: see [`Authorizer::settle`].
#[derive(Debug)]
pub struct Settled {
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

/// The source of tokens for one MCP server.
#[derive(Debug)]
pub struct Authorizer {
    session: Arc<Session>,
    /// Where all tokens come from, if there is to be no sign-in.
    command: Option<CommandTokens>,
}

/// A request that the server turned down.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// 401 or 403.
    pub status: StatusCode,
    /// All `WWW-Authenticate` lines.
    www_authenticate: Vec<HeaderValue>,
    /// The token that the request carried.
    pub refused: Option<AccessToken>,
    /// The address that the refusal came from; none where a proxy stands between.
    peer: Option<IpAddr>,
}

/// Where the sign-in stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SignInStage {
    /// Nobody is asked to sign in.
    #[default]
    None,
    /// This page waits for a person.
    Page(SignInPage),
    /// The sign-in has brought a token.
    Done,
}

impl SignInStage {
    /// The page that waits for a person.
    #[must_use]
    pub const fn page(&self) -> Option<&SignInPage> {
        match self {
            Self::Page(page) => Some(page),
            Self::None | Self::Done => None,
        }
    }
}

/// Whether a person may be asked to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// The request is somebody's wish.
    Allowed,
    /// The request is ours, such as a notification stream: refresh at most.
    Forbidden,
}

impl Refusal {
    /// The refusal of a request that carried `refused`.
    #[must_use]
    pub fn new(status: StatusCode, headers: &HeaderMap, refused: Option<AccessToken>) -> Self {
        Self {
            status,
            www_authenticate: challenge::lines(headers),
            refused,
            peer: None,
        }
    }

    /// The same with the address of the server that sent it, if that is known.
    #[must_use]
    pub const fn from_peer(mut self, peer: Option<IpAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// Whether another token may change the server's mind: 401, or 403 with `insufficient_scope` (RFC 6750
    /// §3.1).
    #[must_use]
    pub fn is_about_the_token(&self) -> bool {
        match self.status {
            StatusCode::UNAUTHORIZED => true,
            StatusCode::FORBIDDEN => {
                BearerChallenge::find(&self.www_authenticate).wants_more_scope()
            }
            _ => false,
        }
    }
}

/// The name under which everything is kept that belongs to one account at the MCP endpoint `server`. It
/// tells nothing of either. Credentials have the same name, except that a command that brings tokens, which
/// has none stored, is part of it.
#[must_use]
pub fn account_name(server: &Url, config: &Config) -> String {
    let name = CredentialKey::new(server, config).name().to_owned();
    match &config.command {
        Some(command) => format!("{name}-{}", command.fingerprint()),
        None => name,
    }
}

impl Authorizer {
    /// Tokens for the MCP endpoint `server`. Nothing is read, sent or opened before a token is asked for.
    #[must_use]
    pub fn new(server: Url, config: Config, http: http::Options) -> Self {
        Self {
            command: config.command.clone().map(CommandTokens::new),
            session: Arc::new(Session::new(server, config, http)),
        }
    }

    /// The same for an account that is stored, with its server, whatever else `config` says of accounts.
    #[must_use]
    pub fn of_account(account: &Account, config: Config, http: http::Options) -> Self {
        let session = Session::with_key(account.server.clone(), config, http, account.key.clone());
        Self {
            session: Arc::new(session),
            command: None,
        }
    }

    /// The token for the next request, or none when there is none: the server may not want one.
    ///
    /// It is renewed ahead of its end, with a bounded wait. This never opens a browser, and if renewing does
    /// not work out for now, the old token goes out and the server decides. It fails only where the tokens
    /// come from a command and there is none yet.
    pub async fn token(&self) -> Result<Option<AccessToken>, AuthError> {
        if let Some(command) = &self.command {
            return command.token(REFRESH_AHEAD_WAIT).await.map(Some);
        }
        self.session.load().await;
        if self.session.is_renewal_due() {
            let renewal = self.renew(Wanted::Fresh);
            if let Ok(Err(error)) = timeout(REFRESH_AHEAD_WAIT, renewal).await {
                tracing::debug!(%error, "not renewed ahead of time");
            }
        }
        Ok(self.session.token())
    }

    /// Another token after a refusal, by whatever it takes and `interaction` permits.
    ///
    /// Callers share one refresh and one sign-in. A sign-in goes on when its caller is gone, so that the
    /// next attempt finds its token.
    pub async fn authorize(
        &self,
        refusal: Refusal,
        interaction: Interaction,
    ) -> Result<AccessToken, AuthError> {
        if let Some(peer) = refusal.peer {
            self.session.transport.server_answered_from(peer);
        }
        let challenge = BearerChallenge::find(&refusal.www_authenticate);
        if let Some(command) = &self.command {
            return match challenge.scope {
                Some(scope) if refusal.status == StatusCode::FORBIDDEN => {
                    Err(AuthError::InsufficientScope { scope })
                }
                _ => command.replace(refusal.refused).await,
            };
        }
        self.session.load().await;
        let wanted = Wanted::OtherThan(refusal.refused);
        match refusal.status {
            StatusCode::UNAUTHORIZED => self.replace(challenge, wanted, interaction).await,
            StatusCode::FORBIDDEN if challenge.wants_more_scope() => {
                self.step_up(challenge, wanted, interaction).await
            }
            _ => Err(AuthError::Forbidden),
        }
    }

    /// Whether the server offers a sign-in, which it may do without asking for one.
    pub async fn offers_sign_in(&self) -> Result<bool, AuthError> {
        if !self.session.config.grant.needs_discovery() {
            return Ok(true);
        }
        discovery::is_sign_in_published(&self.session).await
    }

    /// A token for a server that has not asked for one, by a sign-in if there is none that is good for a while.
    /// None if the server offers no sign-in.
    pub async fn volunteer(&self) -> Result<Option<AccessToken>, AuthError> {
        let token = self.token().await?;
        if self.command.is_some() || (token.is_some() && !self.session.is_stale()) {
            return Ok(token);
        }
        if token.is_none() && !self.offers_sign_in().await? {
            return Ok(None);
        }
        let challenge = BearerChallenge::default();
        let wanted = Wanted::OtherThan(token);
        self.replace(challenge, wanted, Interaction::Allowed)
            .await
            .map(Some)
    }

    /// The page of the sign-in that waits for a person, in this process or in another one of the same
    /// account.
    #[must_use]
    pub fn pending_sign_in(&self) -> Option<SignInPage> {
        self.session.stage.borrow().page().cloned()
    }

    /// Where the sign-in stands, and waits for it to go on.
    #[must_use]
    pub fn watch_sign_in(&self) -> tokio::sync::watch::Receiver<SignInStage> {
        self.session.stage.subscribe()
    }

    /// The accounts that are stored under this one's key, one for each authorization server.
    pub async fn accounts(&self) -> Vec<Account> {
        let Some(directory) = self.session.config.directory.clone() else {
            return Vec::new();
        };
        let key = self.session.key.clone();
        let all = tokio::task::spawn_blocking(move || Account::all(&directory)).await;
        let mut accounts = all.unwrap_or_default();
        accounts.retain(|account| account.key == key);
        accounts
    }

    /// Whether credentials can be kept where the user wants them.
    pub async fn check_store(&self) -> Result<(), KeychainError> {
        let checked = self.session.with_store(CredentialStore::check).await;
        checked.unwrap_or(Ok(()))
    }

    /// Ends the sign-in: tells the authorization servers (RFC 7009), and forgets all tokens and clients of
    /// this account. What became of each is told by the authorization server.
    pub async fn sign_out(&self) -> Result<Vec<SignedOut>, AuthError> {
        sign_out::sign_out(&self.session).await
    }

    /// What a sign-in after this refusal would find, step by step. Nothing is registered or opened.
    pub async fn examine(&self, refusal: &Refusal) -> Examination<'_> {
        self.session.load().await;
        Examination::new(&self.session, refusal)
    }

    /// Waits for a refresh under way to be stored, and tries again to store what could not be. A process that ends without
    /// this may lose a refresh token that was just replaced. Bounded by the limit of a token request; a sign-in is not
    /// waited for. No other refresh begins until what is returned is dropped.
    pub async fn settle(&self) -> Settled {
        let turn = Arc::clone(&self.session.renewing).lock_owned().await;
        self.session.with_store(CredentialStore::save_again).await;
        Settled { _turn: turn }
    }

    /// After a 401.
    async fn replace(
        &self,
        challenge: BearerChallenge,
        wanted: Wanted,
        interaction: Interaction,
    ) -> Result<AccessToken, AuthError> {
        if let Some(token) = self.session.usable(&wanted) {
            return Ok(token);
        }
        // A token fresh from a refresh that is refused again shows that refreshing does not help.
        if self.session.freshness(FRESH) != Freshness::Refreshed
            && let Renewal::Token(token) = self.renew(wanted.clone()).await?
        {
            return Ok(token);
        }
        let reason = match self.session.freshness(FRESH) {
            Freshness::SignedIn => sign_in::Reason::FreshTokenRefused,
            Freshness::Refreshed if self.session.has_signed_in_within(FRESH) => {
                sign_in::Reason::FreshTokenRefused
            }
            Freshness::Refreshed | Freshness::Old => sign_in::Reason::NoToken,
        };
        let order = sign_in::Order {
            challenge,
            wanted,
            reason,
            scopes: Scopes::default(),
        };
        self.sign_in(order, interaction).await
    }

    /// After a 403 with `insufficient_scope` (MCP authorization, "Step-Up Authorization Flow"). A refresh
    /// can't widen a grant, so a person has to agree.
    async fn step_up(
        &self,
        challenge: BearerChallenge,
        wanted: Wanted,
        interaction: Interaction,
    ) -> Result<AccessToken, AuthError> {
        if let Some(token) = self.session.usable(&wanted) {
            return Ok(token);
        }
        let required = Scopes::parse(challenge.scope.as_deref().unwrap_or_default());
        if required.is_empty() || !self.session.may_step_up(&required, MOST_STEP_UPS) {
            return Err(AuthError::InsufficientScope {
                scope: required.to_string(),
            });
        }
        let order = sign_in::Order {
            challenge,
            wanted,
            reason: sign_in::Reason::MoreScope,
            scopes: self.session.requested_scopes().union(&required),
        };
        let token = self.sign_in(order, interaction).await?;
        if self.session.lacks_granted(&required) {
            return Err(AuthError::InsufficientScope {
                scope: required.to_string(),
            });
        }
        Ok(token)
    }

    async fn renew(&self, wanted: Wanted) -> Result<Renewal, AuthError> {
        let turn = Arc::clone(&self.session.renewing).lock_owned().await;
        let session = Arc::clone(&self.session);
        // In a task of its own: between the answer of the token endpoint and the disk nobody may cancel it,
        // or a rotated refresh token would be lost.
        finished(tokio::spawn(async move {
            let _turn = turn;
            let renewed = renewal::renew(&session, &wanted);
            renewed.instrument(tracing::debug_span!("refresh")).await
        }))
        .await
    }

    async fn sign_in(
        &self,
        order: sign_in::Order,
        interaction: Interaction,
    ) -> Result<AccessToken, AuthError> {
        if interaction == Interaction::Forbidden && self.session.config.grant.needs_person() {
            return Err(AuthError::SignInRequired {
                url: self.pending_sign_in(),
            });
        }
        let arrived = Instant::now();
        let mut turn = Arc::clone(&self.session.signing_in).lock_owned().await;
        // Who waited for a sign-in that failed does not start the next one by itself.
        if let Some(error) = turn.failure_since(arrived) {
            return Err(error);
        }
        if let Some(token) = self.session.usable(&order.wanted) {
            return Ok(token);
        }
        if self.session.config.grant.needs_person() {
            turn.begin()?;
        }
        let session = Arc::clone(&self.session);
        finished(tokio::spawn(async move {
            let signed_in = sign_in::sign_in(&session, &order);
            let span = tracing::debug_span!("sign_in");
            let outcome = signed_in.instrument(span).await;
            session.stage.send_replace(match &outcome {
                Ok(_) => SignInStage::Done,
                Err(_) => SignInStage::None,
            });
            turn.record(outcome.as_ref().err());
            outcome
        }))
        .await
    }
}

async fn finished<T>(task: JoinHandle<Result<T, AuthError>>) -> Result<T, AuthError> {
    match task.await {
        Ok(outcome) => outcome,
        Err(end) if end.is_panic() => std::panic::resume_unwind(end.into_panic()),
        Err(_) => Err(AuthError::Interrupted),
    }
}
