//! OAuth 2.1 for a native client, as the MCP specification asks for it.
//!
//! [`Authorizer`] is the entry. `flow/policy.rs` decides where a token comes from: from the store, a refresh, or a sign-in.
//!
//! On the way to a sign-in each step is a value that the next one needs: `BearerChallenge` →
//! `ProtectedResourceMetadata` → `AuthorizationServerMetadata` → `ClientRegistration` →
//! `AuthorizationRequest` → `AuthorizationResponse` → `TokenSet`.
//!
//! A folder uses those before it in this list, and none after it:
//!
//! - `error`, `sign_in_page`: words of the public interface;
//! - `desktop`, `executable`, `keychain`: the operating system's session, lookup of programs, and keychain;
//! - `config`: the choices of the user;
//! - `transport`: HTTP, limited in time, size and addresses, and the shapes of answers;
//! - `token`: access and refresh tokens, and scopes;
//! - `discovery`: challenges (RFC 9110 §11.6.1) and metadata documents (RFC 9728, RFC 8414);
//! - `client`: registration (RFC 7591) and client authentication;
//! - `grant`: the authorization request and the token endpoint;
//! - `store`: credentials, locks between processes, and records that processes share;
//! - `callback`, `prompt`, `linger`: the way back from the browser, instructions for a person, the helper process;
//! - `flow`: the policy, and each way to a token.
//!
//! Nothing in here knows of MCP messages.

mod callback;
mod client;
mod config;
mod desktop;
mod discovery;
mod error;
mod executable;
mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grant;
mod keychain;
mod linger;
mod prompt;
mod sign_in_page;
mod store;
mod token;
mod transport;

use std::net::TcpListener;
use std::sync::Arc;

use reqwest::StatusCode;
use tokio::sync::watch;
use url::Url;

pub use self::callback::pasted::PasteError;
pub use self::config::{
    Addresses, AnswerInput, Bearer, Browser, Callback, ClientAuthentication, ClientCredential,
    CommandError, Config, Dpop, ExternalToken, ExternalTokenError, Grant, Helper, IdentityProvider,
    IssuerCheck, IssuerUrl, KeyError, MissingPkceMetadata, PreRegisteredClient, ResourceParameter,
    SERVER_FAILURES, SIGN_IN_TIMEOUT, SharedPlace, SignInPlace, SignInSharing, SigningKey, Store,
    StoreAddress, StoreAddressError, StoreKeyError, StoreKeys, SubjectToken, TokenCommand,
    TokenType,
};
pub use self::discovery::challenge::has_challenge;
pub use self::discovery::refusal::Refusal;
pub use self::error::{AuthError, ClockDifference};
pub use self::flow::examination::{
    Examination, ExaminedAuthentication, ExaminedBinding, ExaminedChallenge,
    ExaminedIdentityProvider, ExaminedResource, ExaminedServer, RegistrationWay,
};
pub use self::flow::header_program::HeaderProgram;
pub use self::flow::overview::{ClientKind, ClientOverview, SignInOverview, TokenOverview};
pub use self::flow::own_headers::OwnHeaders;
pub use self::flow::policy::{Interaction, Renewal};
pub use self::flow::secret_headers::{HeaderPiece, SecretHeader, SecretHeaders};
pub use self::flow::shared_sign_in::ExaminedSharing;
pub use self::flow::sign_out::{Revocation, SignedOut};
pub use self::grant::authorization::RESERVED_PARAMETERS;
pub use self::keychain::{
    BadSecretName, Keychain, KeychainError, KeychainLimits, SecretName, Vault,
};
pub use self::linger::{HandedOver, inherited_sockets, leave_console};
pub use self::prompt::announcement::SIGN_IN_TARGET;
pub use self::prompt::browser_launcher::open_page;
pub use self::sign_in_page::{SignInPage, SignInStage};
pub use self::store::mcp_remote::Leftover;
pub use self::store::{
    Account, Expiry, OpenError, Place, Servers, SignedIn, StoreError, Voucher, choose_place,
    directory_of_account, is_sealed, note_directory, place_of_new, remove_remains,
};
pub use self::token::AccessToken;
pub use self::token::proof::ProofObjection;

use self::flow::command::CommandTokens;
use self::flow::session::SignInSession;
use self::flow::{overview, policy, shared_sign_in, sign_out, takeover};
use self::store::{CredentialKey, CredentialStore};
use self::transport::gateway::Gateway;
use mcp_bridge_net::http;

/// Holds back further refreshes: see [`Authorizer::settle`].
#[derive(Debug)]
pub struct Settled {
    _held: Vec<tokio::sync::OwnedMutexGuard<()>>,
}

/// The source of tokens for one MCP server.
#[derive(Debug)]
pub struct Authorizer {
    session: Arc<SignInSession>,
    /// Source of all tokens, if there is to be no sign-in.
    command: Option<CommandTokens>,
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

/// True if a browser that is started here would be seen by a person, as far as one can know.
#[must_use]
pub fn can_show_pages() -> bool {
    desktop::has_screen(&desktop::missing_variables())
}

impl Authorizer {
    /// Tokens for the MCP endpoint `server`. Nothing is read, sent or opened before a token is asked for.
    #[must_use]
    pub fn new(server: Url, config: Config, http: http::Options) -> Self {
        Self {
            command: config.command.clone().map(CommandTokens::new),
            session: Arc::new(SignInSession::new(server, config, http)),
        }
    }

    /// The same with the headers of the user's own, which a gateway before the server may want for the documents of the
    /// sign-in, too. They go to the server's origin only.
    #[must_use]
    pub fn with_headers(self, headers: OwnHeaders) -> Self {
        let gateway = Gateway::before(&self.session.server, Box::new(headers));
        self.session.transport.pass(gateway);
        self
    }

    /// The same for an account that is stored, with its server, whatever else `config` says of accounts.
    #[must_use]
    pub fn of_account(account: &Account, config: Config, http: http::Options) -> Self {
        let session =
            SignInSession::with_key(account.server.clone(), config, http, account.key.clone());
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
        match &self.command {
            Some(command) => command.token(policy::REFRESH_AHEAD_WAIT).await.map(Some),
            None => Ok(policy::token(&self.session).await),
        }
    }

    /// Gets another token after a refusal, by whatever it takes and `interaction` permits. [`Self::token`] returns it.
    ///
    /// Callers share one refresh and one sign-in. A sign-in goes on when its caller is gone, so that the
    /// next attempt finds its token.
    pub async fn authorize(
        &self,
        refusal: Refusal,
        interaction: Interaction,
    ) -> Result<(), AuthError> {
        if let Some(peer) = refusal.peer {
            self.session.transport.server_answered_from(peer);
        }
        let Some(command) = &self.command else {
            return policy::authorize(&self.session, refusal, interaction).await;
        };
        match refusal.challenges.into_bearer().scope {
            Some(scope) if refusal.status == StatusCode::FORBIDDEN => {
                Err(AuthError::InsufficientScope { scope })
            }
            _ => command.replace(refusal.refused).await,
        }
    }

    /// True if the server offers a sign-in, which it may do without asking for one.
    pub async fn offers_sign_in(&self) -> Result<bool, AuthError> {
        if !self.session.config.grant.needs_discovery() {
            return Ok(true);
        }
        let published = self.session.discovery().find_published().await?;
        Ok(published.is_some())
    }

    /// A token for a server that has not asked for one, by a sign-in if there is none that is good for a while.
    /// None if the server offers no sign-in.
    pub async fn volunteer(&self) -> Result<Option<AccessToken>, AuthError> {
        match &self.command {
            Some(_) => self.token().await,
            None => policy::volunteer(&self.session).await,
        }
    }

    /// The page of the sign-in that waits for a person, in this process or in another one of the same
    /// account.
    #[must_use]
    pub fn pending_sign_in(&self) -> Option<SignInPage> {
        self.session.stage.borrow().page().cloned()
    }

    /// The error for those who cannot wait for the sign-in that is under way.
    #[must_use]
    pub fn unfinished_sign_in(&self) -> AuthError {
        let stage = self.session.stage.borrow();
        stage
            .obstacle()
            .unwrap_or(AuthError::SignInRequired { url: None })
    }

    /// State of the sign-in; the receiver can wait for the next one.
    #[must_use]
    pub fn watch_sign_in(&self) -> watch::Receiver<SignInStage> {
        self.session.stage.subscribe()
    }

    /// Hands in what a person pasted for the sign-in under way: the address that their browser ended at, or
    /// the code alone. It is checked like an answer that a browser brings.
    pub async fn submit(&self, pasted: &str) -> Result<(), PasteError> {
        let Some(page) = self.pending_sign_in() else {
            return Err(PasteError::NothingWaits);
        };
        let session = self.session.of_person();
        callback::pasted::submit(pasted, &page, session.answers()).await
    }

    /// Finishes a sign-in of another process, which has ended. `sockets` are those of its callback, if they
    /// could be passed on.
    pub async fn finish_sign_in(&self, handed_over: HandedOver, sockets: Vec<TcpListener>) {
        let person = self.session.of_person();
        let shared = shared_sign_in::shared_account(&self.session, &handed_over.credential);
        let session = shared.unwrap_or(person);
        takeover::finish_sign_in(&session, handed_over, sockets).await;
    }

    /// The accounts that are stored under this one's key, one for each authorization server.
    pub async fn accounts(&self) -> Vec<Account> {
        let stored = self.session.store.with(CredentialStore::accounts).await;
        stored.unwrap_or(Ok(Vec::new())).unwrap_or_else(|error| {
            tracing::warn!(%error, "stored accounts can't be read");
            Vec::new()
        })
    }

    /// Checks that credentials can be kept where the user wants them.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        let checked = self.session.store.with(CredentialStore::check).await;
        checked.unwrap_or(Ok(()))
    }

    /// Ends the sign-in: tells the authorization servers (RFC 7009), and forgets all tokens and clients of
    /// this account. The outcome is told for each authorization server.
    pub async fn sign_out(&self) -> Result<Vec<SignedOut>, AuthError> {
        sign_out::sign_out(&self.session).await
    }

    /// The sign-in in use, without its secrets; none if there is none.
    pub async fn overview(&self) -> Option<SignInOverview> {
        self.session.load().await;
        overview::overview(&self.session)
    }

    /// Replaces the token in use now, whether that is about to end or not. Nobody is asked to sign in.
    pub async fn renew(&self) -> Result<Renewal, AuthError> {
        match &self.command {
            Some(command) => {
                let current = command.token(policy::REFRESH_AHEAD_WAIT).await?;
                command.replace(Some(current)).await.map(|()| Renewal::Done)
            }
            None => policy::renew_now(&self.session).await,
        }
    }

    /// A dry run of the sign-in after this refusal, step by step. Nothing is registered or opened.
    pub async fn examine(&self, refusal: &Refusal) -> Examination<'_> {
        self.session.load().await;
        Examination::new(&self.session, refusal)
    }

    /// Waits for a refresh under way to be stored, and tries again to store what could not be. A process that ends without
    /// this may lose a refresh token that was just replaced. Bounded by the limit of a token request; a sign-in is not
    /// waited for. No other refresh begins until what is returned is dropped.
    pub async fn settle(&self) -> Settled {
        let mut held = Vec::new();
        let shared = self.session.shared_sign_in();
        let own = std::iter::once(&self.session);
        for session in own.chain(&self.session.identity).chain(&shared) {
            held.push(Arc::clone(&session.renewing).lock_owned().await);
            session.store.with(CredentialStore::save_again).await;
        }
        Settled { _held: held }
    }
}
