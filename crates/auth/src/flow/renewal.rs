//! Token refresh: each refresh token is used once, on this machine or by all that share a store (RFC 6749 §6).

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::client::registration::{ClientIdentity, ClientRegistration};
use crate::error::AuthError;
use crate::flow::client_choice::client_of;
use crate::flow::identity;
use crate::flow::order::Wanted;
use crate::flow::policy::Renewal;
use crate::flow::renewal_refusal::RenewalVerdict;
use crate::flow::session::{SignInSession, TokenSource};
use crate::grant::token_endpoint::{GrantError, Granted, TokenEndpoint};
use crate::store::Credential;
use crate::store::lock::{self, Lock, Wait, Waited};
use crate::store::refresh_intent::RefreshIntent;
use crate::store::refused_renewal::{AccessTokenState, Moment, RefusalKind, RefusedRenewal};
use crate::token::TokenSet;
use crate::transport::RETRY_AFTER_DEFAULT;
use mcp_bridge_net::observer::SignInStep;

/// Longest wait for a process that has begun to use the refresh token and lost its lock. It tries to store what it got each
/// second.
pub(crate) const UNFINISHED_WAIT: Duration = Duration::from_secs(5);

/// Interval at which that process is looked after.
const UNFINISHED_LOOK: Duration = Duration::from_millis(250);

/// A refusal that need not be asked for again: another process got it while this one waited for its turn, or
/// a page of this process is waiting for a person because of it.
async fn known_refusal(
    session: &SignInSession,
    credential: &Credential,
    arrived: Moment,
) -> Option<RefusedRenewal> {
    let refused = session.read_refused_renewal(credential).await?;
    let shows_page = session.is_renewal_refused() && session.stage.borrow().page().is_some();
    (refused.is_since(arrived) || shows_page).then_some(refused)
}

/// A turn to replace the stored tokens, among all processes.
pub(crate) struct Turn {
    lock: Lock,
    /// Moment from which it was waited for.
    arrived: Moment,
}

impl Turn {
    /// Lock behind it.
    pub(crate) const fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Ends it, and returns when another process can have the next.
    pub(crate) async fn end(self) {
        self.lock.release().await;
    }
}

/// The wait for a turn, or for several if one fails for want of the store.
pub(crate) fn wait(session: &SignInSession) -> Wait {
    Wait::for_lock(&session.store, "lock", lock::REFRESH_WAIT)
}

/// Takes the right to replace the stored tokens. None if another process has stored what is wanted meanwhile.
pub(crate) async fn turn(
    session: &SignInSession,
    wanted: &Wanted,
    wait: &mut Wait,
) -> Result<Option<Turn>, AuthError> {
    let arrived = Moment::now();
    loop {
        let step = wait.next().await?;
        session.show_store_outage(match &step {
            Waited::Away(error) => Some(error),
            Waited::Held(_) | Waited::Busy | Waited::TimedOut => None,
        });
        match step {
            Waited::Held(lock) => return Ok(Some(Turn { lock, arrived })),
            Waited::Away(_) => {}
            // On one machine the lock is free as soon.
            Waited::Busy if !session.shares_store() => {}
            Waited::Busy => {
                if session.reload().await.is_ok() && session.has_usable(wanted) {
                    return Ok(None);
                }
            }
            Waited::TimedOut => return Err(others_refresh()),
        }
    }
}

/// Takes the right to replace the stored tokens, whatever others have stored meanwhile.
pub(crate) async fn exclusive_turn(session: &SignInSession) -> Result<Turn, AuthError> {
    let arrived = Moment::now();
    let lock = lock(session).await?;
    Ok(Turn { lock, arrived })
}

/// The right to replace the stored tokens, whatever they are.
pub(crate) async fn lock(session: &SignInSession) -> Result<Lock, AuthError> {
    lock::acquire(&session.store, "lock", lock::REFRESH_WAIT)
        .await?
        .ok_or_else(others_refresh)
}

fn others_refresh() -> AuthError {
    AuthError::Unavailable {
        reason: "another process is refreshing the token".into(),
        retry_after: RETRY_AFTER_DEFAULT,
    }
}

/// The credential in use with its client, if it has a refresh token and its client still exists.
pub(crate) fn refreshable(session: &SignInSession) -> Option<(Credential, ClientIdentity)> {
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

fn access_token_state(session: &SignInSession, wanted: &Wanted) -> AccessTokenState {
    match wanted {
        Wanted::OtherThan(Some(refused)) if session.token().as_ref() == Some(refused) => {
            AccessTokenState::Over
        }
        Wanted::OtherThan(_) | Wanted::Fresh => AccessTokenState::Unknown,
    }
}

/// The outcome of a refresh that was refused: a person has to sign in, else `error`.
fn judge(
    session: &SignInSession,
    refused: &RefusedRenewal,
    access_token: AccessTokenState,
    error: Option<AuthError>,
) -> Result<Renewal, AuthError> {
    if refused.needs_sign_in(access_token, session.config.server_failures) {
        return Ok(Renewal::NeedsSignIn);
    }
    Err(error.unwrap_or_else(|| AuthError::ServerFailed {
        reason: "another process was refused a new token just now".into(),
        retry_after: RETRY_AFTER_DEFAULT,
    }))
}

/// Uses the refresh token, unless it is known to be refused.
pub(crate) async fn refresh(
    session: &SignInSession,
    credential: Credential,
    client: &ClientIdentity,
    wanted: &Wanted,
    turn: &Turn,
) -> Result<Renewal, AuthError> {
    let access_token = access_token_state(session, wanted);
    let renewal = match known_refusal(session, &credential, turn.arrived).await {
        Some(refused) => judge(session, &refused, access_token, None)?,
        None => match announce(session, &credential, turn).await? {
            Announced::Superfluous => Renewal::Done,
            Announced::Begun => {
                let lock = &turn.lock;
                let used = use_refresh_token(session, credential, client, access_token, lock).await;
                if turn.lock.fence().is_some() && !session.store.has_unsaved() {
                    RefreshIntent::clear(&session.store).await;
                }
                used?
            }
        },
    };
    if renewal == Renewal::NeedsSignIn {
        // A server that was set up anew has forgotten the client with the refresh token.
        session.doubt_client();
    }
    Ok(match session.token() {
        Some(_) => renewal,
        None => Renewal::NeedsSignIn,
    })
}

/// Outcome of [`announce`].
enum Announced {
    /// The refresh may begin.
    Begun,
    /// Another process has stored other tokens.
    Superfluous,
}

/// Lets the processes that share a store know that the refresh token of `credential` is about to be used. If one that has
/// lost its lock has begun that before, it is waited for: it may have new tokens, and the old refresh token is void then.
async fn announce(
    session: &SignInSession,
    credential: &Credential,
    turn: &Turn,
) -> Result<Announced, AuthError> {
    let old = credential.tokens.as_ref();
    let refresh_token = old.and_then(|old| old.refresh_token.as_ref());
    let (Some(fence), Some(old), Some(refresh_token)) = (turn.lock.fence(), old, refresh_token)
    else {
        return Ok(Announced::Begun);
    };
    let intent = RefreshIntent::new(refresh_token, fence);
    let deadline = Instant::now() + UNFINISHED_WAIT;
    while intent.is_unfinished_elsewhere(&session.store).await? && Instant::now() < deadline {
        tracing::debug!("another process may have refreshed the token");
        tokio::time::sleep(UNFINISHED_LOOK).await;
        session.reload().await?;
        if session.credential().is_some_and(|it| is_newer(&it, old)) {
            return Ok(Announced::Superfluous);
        }
    }
    intent.write(&session.store).await?;
    Ok(Announced::Begun)
}

async fn use_refresh_token(
    session: &SignInSession,
    mut credential: Credential,
    client: &ClientIdentity,
    access_token: AccessTokenState,
    lock: &Lock,
) -> Result<Renewal, AuthError> {
    let Some(old) = credential.tokens.clone() else {
        return Ok(Renewal::NeedsSignIn);
    };
    let failure = match request(session, &credential, client, &old).await {
        Ok(granted) => {
            credential.receive(granted);
            session
                .adopt_under(lock, credential, TokenSource::Refresh)
                .await?;
            return Ok(Renewal::Done);
        }
        Err(failure) => failure,
    };
    let is_ours = matches!(credential.client, ClientRegistration::Dynamic(_));
    let verdict = RenewalVerdict::from_failure(&failure);
    if session.is_shared() && verdict.is_about_request() {
        // It says nothing about the other servers, for which the refresh token is as good as before.
        return Err(AuthError::NotShared {
            issuer: credential.metadata.issuer,
            reason: failure.into_error().to_string(),
        });
    }
    match verdict {
        RenewalVerdict::ResourceIsUnwanted if credential.resource().is_some() => {
            credential.quirks.no_resource = true;
            let again = use_refresh_token(session, credential, client, access_token, lock);
            Box::pin(again).await
        }
        RenewalVerdict::ScopeIsUnwanted if !credential.quirks.no_scope => {
            credential.quirks.no_scope = true;
            let again = use_refresh_token(session, credential, client, access_token, lock);
            Box::pin(again).await
        }
        RenewalVerdict::TokenIsVoid => give_up(session, &old, GiveUp::Tokens, lock).await,
        RenewalVerdict::ClientIsUnknown if is_ours => {
            give_up(session, &old, GiveUp::ClientIdentity, lock).await
        }
        RenewalVerdict::ClientIsUnknown
        | RenewalVerdict::Refused
        | RenewalVerdict::ResourceIsUnwanted
        | RenewalVerdict::ScopeIsUnwanted => {
            let error = failure.into_error();
            keep_refused(session, &old, access_token, RefusalKind::Final, error).await
        }
        RenewalVerdict::ServerFails => {
            let error = passing_error(failure);
            keep_refused(session, &old, access_token, RefusalKind::Failures(1), error).await
        }
        RenewalVerdict::Passing => Err(passing_error(failure)),
    }
}

async fn request(
    session: &SignInSession,
    credential: &Credential,
    client: &ClientIdentity,
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
    session
        .transport
        .step(SignInStep::Refreshing, || "refreshing the token".to_owned());
    let scopes = credential.scopes(old.granted.clone());
    let granted = endpoint
        .refresh(old, refresh_token, &scopes, credential.resource())
        .await?;
    identity::verified(session, credential, None, granted).await
}

/// The error for a caller who may try again. Nonsense from the token endpoint, such as the page of a captive
/// portal, passes; a URL that must not be used does not.
fn passing_error(failure: GrantError) -> AuthError {
    let error = match failure {
        GrantError::Refused(refusal) => return refusal.into_passing(),
        GrantError::Failed(error) => error,
    };
    match error {
        error @ (AuthError::Unavailable { .. }
        | AuthError::ServerFailed { .. }
        | AuthError::UnsafeUrl { .. }
        | AuthError::ProofRefused { .. }
        | AuthError::NotBound { .. }
        | AuthError::NotShared { .. }
        | AuthError::UrlTooLong(_)) => error,
        other => AuthError::Unavailable {
            reason: other.to_string(),
            retry_after: RETRY_AFTER_DEFAULT,
        },
    }
}

/// Keeps tokens that were refused, and records it. Done if somebody has stored something newer.
async fn keep_refused(
    session: &SignInSession,
    refused: &TokenSet,
    access_token: AccessTokenState,
    refusal: RefusalKind,
    error: AuthError,
) -> Result<Renewal, AuthError> {
    session.reload().await?;
    let Some(credential) = session.credential() else {
        return Ok(Renewal::NeedsSignIn);
    };
    if is_newer(&credential, refused) {
        return Ok(Renewal::Done);
    }
    tracing::info!(%error, "the refresh token was refused");
    session.transport.step(SignInStep::RefreshRefused, || {
        format!("the refresh token was refused: {error}")
    });
    let recorded = session
        .record_refused_renewal(&credential, refusal, access_token)
        .await;
    match recorded {
        Some(recorded) => judge(session, &recorded, access_token, Some(error)),
        None => Ok(Renewal::NeedsSignIn),
    }
}

enum GiveUp {
    Tokens,
    ClientIdentity,
}

/// Drops what the server has declared void, unless somebody has stored something newer: where locks do not
/// work, the loser of a race must not delete what the winner got. Done if there is something newer.
async fn give_up(
    session: &SignInSession,
    void: &TokenSet,
    what: GiveUp,
    lock: &Lock,
) -> Result<Renewal, AuthError> {
    session.reload().await?;
    let Some(mut credential) = session.credential() else {
        return Ok(Renewal::NeedsSignIn);
    };
    if is_newer(&credential, void) {
        return Ok(Renewal::Done);
    }
    tracing::info!("the authorization server has ended this sign-in");
    session.transport.step(SignInStep::Ended, || {
        "ended by the authorization server".to_owned()
    });
    match what {
        GiveUp::Tokens => {
            credential.tokens = None;
            session
                .adopt_under(lock, credential, TokenSource::Store)
                .await?;
        }
        GiveUp::ClientIdentity => {
            if let Err(error) = session.forget(&credential.metadata.issuer).await {
                tracing::warn!(%error, "a client that is void could not be removed");
            }
        }
    }
    Ok(Renewal::NeedsSignIn)
}

/// True if `credential` has another refresh token than `tokens`.
fn is_newer(credential: &Credential, tokens: &TokenSet) -> bool {
    let current = credential.tokens.as_ref();
    current.is_some_and(|current| current.refresh_token != tokens.refresh_token)
}
