//! Token refresh: each refresh token is used once on this machine (RFC 6749 §6).

use std::time::{Duration, SystemTime};

use super::attempt::client_of;
use super::client_credentials;
use super::error::AuthError;
use super::grant::{GrantError, Granted, TokenEndpoint};
use super::lock::{self, Lock};
use super::refused_renewal::{AccessTokenState, Moment, Refusal, RefusedRenewal};
use super::registration::{Client, ClientRegistration};
use super::renewal_refusal::Verdict;
use super::session::{Session, Source, Wanted};
use super::store::Credential;
use super::token::{AccessToken, TokenSet};
use super::transport::RETRY_AFTER_DEFAULT;

/// How long to wait for another process' refresh: a little longer than its token request may take.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(40);

/// The outcome of a renewal.
#[derive(Debug)]
pub(super) enum Renewal {
    /// This token.
    Token(AccessToken),
    /// There is nothing to refresh with, or it was refused.
    NeedsSignIn,
}

/// Finds another token or refreshes the one in use.
///
/// The lock between the processes is held from reading the store to writing it, so that a refresh token is
/// used once: a server that rotates them takes a second use for theft and revokes all (RFC 9700 §4.14.2).
/// An outage keeps everything as it is.
pub(super) async fn renew(session: &Session, wanted: &Wanted) -> Result<Renewal, AuthError> {
    if let Some(token) = session.usable(wanted) {
        return Ok(Renewal::Token(token));
    }
    if let Some(error) = session.back_off() {
        return Err(error);
    }
    let arrived = Moment::now();
    let _lock = exclusive(session).await?;
    session.reload().await;
    // A refresh would undo what the person has asked for.
    if session.notice_sign_out().await {
        return Ok(Renewal::NeedsSignIn);
    }
    if let Some(token) = session.usable(wanted) {
        return Ok(Renewal::Token(token));
    }
    let outcome = match refreshable(session) {
        Some((credential, client)) => {
            let access_token = access_token_state(session, wanted);
            match known_refusal(session, &credential, arrived).await {
                Some(refused) => judged(session, &refused, access_token, None),
                None => refresh(session, credential, &client, access_token).await,
            }
            .inspect(|is_renewed| {
                // A server that was set up anew has forgotten the client with the refresh token.
                if !is_renewed {
                    session.doubt_client();
                }
            })
        }
        None => client_credentials::repeat(session).await,
    };
    match outcome {
        Ok(true) => Ok(session.token().map_or(Renewal::NeedsSignIn, Renewal::Token)),
        Ok(false) => Ok(Renewal::NeedsSignIn),
        Err(error) => {
            session.start_back_off(&error);
            Err(error)
        }
    }
}

/// A refusal that need not be asked for again: another process got it while this one waited for its turn, or
/// a page of this process is waiting for a person because of it.
async fn known_refusal(
    session: &Session,
    credential: &Credential,
    arrived: Moment,
) -> Option<RefusedRenewal> {
    let refused = RefusedRenewal::read(session, credential).await?;
    let shows_page = session.is_renewal_refused() && session.stage.borrow().page().is_some();
    (refused.is_since(arrived) || shows_page).then_some(refused)
}

/// The right to replace the stored tokens, among all processes.
pub(super) async fn exclusive(session: &Session) -> Result<Lock, AuthError> {
    let path = session
        .with_store(|store| store.path("lock"))
        .await
        .flatten();
    lock::acquire(path, LOCK_WAIT)
        .await
        .ok_or_else(|| AuthError::Unavailable {
            reason: "another process is refreshing the token".into(),
            retry_after: RETRY_AFTER_DEFAULT,
        })
}

/// The credential in use with its client, if it has a refresh token and its client still exists.
fn refreshable(session: &Session) -> Option<(Credential, Client)> {
    let credential = session.credential()?;
    credential.tokens.as_ref()?.refresh_token.as_ref()?;
    if let ClientRegistration::Dynamic(registration) = &credential.client
        && registration.is_expired(SystemTime::now())
    {
        return None;
    }
    let client = client_of(session, &credential).ok()?;
    Some((credential, client))
}

fn access_token_state(session: &Session, wanted: &Wanted) -> AccessTokenState {
    match wanted {
        Wanted::OtherThan(Some(refused)) if session.token().as_ref() == Some(refused) => {
            AccessTokenState::Over
        }
        Wanted::OtherThan(_) | Wanted::Fresh => AccessTokenState::Unknown,
    }
}

/// The outcome of a refresh that was refused: false if a person has to sign in, else `error`.
fn judged(
    session: &Session,
    refused: &RefusedRenewal,
    access_token: AccessTokenState,
    error: Option<AuthError>,
) -> Result<bool, AuthError> {
    if refused.needs_sign_in(access_token, session.config.server_failures) {
        return Ok(false);
    }
    Err(error.unwrap_or_else(|| AuthError::ServerFailed {
        reason: "another process was refused a new token just now".into(),
        retry_after: RETRY_AFTER_DEFAULT,
    }))
}

/// Uses the refresh token. False if a person has to sign in.
async fn refresh(
    session: &Session,
    mut credential: Credential,
    client: &Client,
    access_token: AccessTokenState,
) -> Result<bool, AuthError> {
    let Some(old) = credential.tokens.clone() else {
        return Ok(false);
    };
    let failure = match request(session, &credential, client, &old).await {
        Ok(granted) => {
            credential.receive(granted);
            session.adopt(credential, Source::Refresh).await;
            return Ok(true);
        }
        Err(failure) => failure,
    };
    let is_ours = matches!(credential.client, ClientRegistration::Dynamic(_));
    match Verdict::of(&failure) {
        Verdict::ResourceIsUnwanted if credential.resource().is_some() => {
            credential.quirks.no_resource = true;
            Box::pin(refresh(session, credential, client, access_token)).await
        }
        Verdict::ScopeIsUnwanted if !credential.quirks.no_scope => {
            credential.quirks.no_scope = true;
            Box::pin(refresh(session, credential, client, access_token)).await
        }
        Verdict::TokenIsVoid => Ok(give_up(session, &old, GiveUp::Tokens).await),
        Verdict::ClientIsUnknown if is_ours => Ok(give_up(session, &old, GiveUp::Client).await),
        Verdict::ClientIsUnknown
        | Verdict::Refused
        | Verdict::ResourceIsUnwanted
        | Verdict::ScopeIsUnwanted => {
            let error = failure.into_error();
            keep(session, &old, access_token, Refusal::Final, error).await
        }
        Verdict::ServerFails => {
            let error = passing(failure);
            keep(session, &old, access_token, Refusal::Failures(1), error).await
        }
        Verdict::Passing => Err(passing(failure)),
    }
}

async fn request(
    session: &Session,
    credential: &Credential,
    client: &Client,
    old: &TokenSet,
) -> Result<Granted, GrantError> {
    let endpoint = TokenEndpoint {
        transport: &session.transport,
        metadata: &credential.metadata,
        client,
    };
    let Some(refresh_token) = &old.refresh_token else {
        return Err(GrantError::Failed(AuthError::SignInRequired { url: None }));
    };
    tracing::debug!("refreshing the token");
    let scopes = credential.scopes(old.granted.clone());
    endpoint
        .refresh(old, refresh_token, &scopes, credential.resource())
        .await
}

/// The error for a caller who may try again. Nonsense from the token endpoint, such as the page of a captive
/// portal, passes; a URL that must not be used does not.
fn passing(failure: GrantError) -> AuthError {
    let error = match failure {
        GrantError::Refused(refusal) => return refusal.into_passing(),
        GrantError::Failed(error) => error,
    };
    match error {
        error @ (AuthError::Unavailable { .. }
        | AuthError::ServerFailed { .. }
        | AuthError::UnsafeUrl { .. }
        | AuthError::UrlTooLong(_)) => error,
        other => AuthError::Unavailable {
            reason: other.to_string(),
            retry_after: RETRY_AFTER_DEFAULT,
        },
    }
}

/// Keeps tokens that were refused, and records it. True if somebody has stored something newer, false if a
/// person has to sign in.
async fn keep(
    session: &Session,
    refused: &TokenSet,
    access_token: AccessTokenState,
    refusal: Refusal,
    error: AuthError,
) -> Result<bool, AuthError> {
    session.reload().await;
    let Some(credential) = session.credential() else {
        return Ok(false);
    };
    if is_newer(&credential, refused) {
        return Ok(true);
    }
    tracing::info!(%error, "the refresh token was refused");
    let recorded = RefusedRenewal::add(session, &credential, refusal, access_token).await;
    match recorded {
        Some(recorded) => judged(session, &recorded, access_token, Some(error)),
        None => Ok(false),
    }
}

enum GiveUp {
    Tokens,
    Client,
}

/// Drops what the server has declared void, unless somebody has stored something newer: where locks do not
/// work, the loser of a race must not delete what the winner got. True if there is something newer.
async fn give_up(session: &Session, void: &TokenSet, what: GiveUp) -> bool {
    session.reload().await;
    let Some(mut credential) = session.credential() else {
        return false;
    };
    if is_newer(&credential, void) {
        return true;
    }
    tracing::info!("the authorization server has ended this sign-in");
    match what {
        GiveUp::Tokens => {
            credential.tokens = None;
            session.adopt(credential, Source::Store).await;
        }
        GiveUp::Client => {
            if let Err(error) = session.forget(&credential.metadata.issuer).await {
                tracing::warn!(%error, "a client that is void could not be removed");
            }
        }
    }
    false
}

/// Whether `credential` has another refresh token than `tokens`.
fn is_newer(credential: &Credential, tokens: &TokenSet) -> bool {
    let current = credential.tokens.as_ref();
    current.is_some_and(|current| current.refresh_token != tokens.refresh_token)
}
