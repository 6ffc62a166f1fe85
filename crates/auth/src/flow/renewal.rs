//! Token refresh: each refresh token is used once on this machine (RFC 6749 §6).

use std::time::SystemTime;

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
use crate::store::lock::{self, Lock};
use crate::store::refused_renewal::{AccessTokenState, Moment, RefusalKind, RefusedRenewal};
use crate::token::TokenSet;
use crate::transport::RETRY_AFTER_DEFAULT;
use mcp_bridge_net::observer::SignInStep;

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

/// The right to replace the stored tokens, among all processes.
pub(crate) async fn lock(session: &SignInSession) -> Result<Lock, AuthError> {
    let path = session.store.path("lock").await;
    lock::acquire(path, lock::REFRESH_WAIT)
        .await
        .ok_or_else(|| AuthError::Unavailable {
            reason: "another process is refreshing the token".into(),
            retry_after: RETRY_AFTER_DEFAULT,
        })
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
    arrived: Moment,
) -> Result<Renewal, AuthError> {
    let access_token = access_token_state(session, wanted);
    let renewal = match known_refusal(session, &credential, arrived).await {
        Some(refused) => judge(session, &refused, access_token, None)?,
        None => use_refresh_token(session, credential, client, access_token).await?,
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

async fn use_refresh_token(
    session: &SignInSession,
    mut credential: Credential,
    client: &ClientIdentity,
    access_token: AccessTokenState,
) -> Result<Renewal, AuthError> {
    let Some(old) = credential.tokens.clone() else {
        return Ok(Renewal::NeedsSignIn);
    };
    let failure = match request(session, &credential, client, &old).await {
        Ok(granted) => {
            credential.receive(granted);
            session.adopt(credential, TokenSource::Refresh).await;
            return Ok(Renewal::Done);
        }
        Err(failure) => failure,
    };
    let is_ours = matches!(credential.client, ClientRegistration::Dynamic(_));
    match RenewalVerdict::from_failure(&failure) {
        RenewalVerdict::ResourceIsUnwanted if credential.resource().is_some() => {
            credential.quirks.no_resource = true;
            Box::pin(use_refresh_token(session, credential, client, access_token)).await
        }
        RenewalVerdict::ScopeIsUnwanted if !credential.quirks.no_scope => {
            credential.quirks.no_scope = true;
            Box::pin(use_refresh_token(session, credential, client, access_token)).await
        }
        RenewalVerdict::TokenIsVoid => Ok(give_up(session, &old, GiveUp::Tokens).await),
        RenewalVerdict::ClientIsUnknown if is_ours => {
            Ok(give_up(session, &old, GiveUp::ClientIdentity).await)
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
    session.reload().await;
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
async fn give_up(session: &SignInSession, void: &TokenSet, what: GiveUp) -> Renewal {
    session.reload().await;
    let Some(mut credential) = session.credential() else {
        return Renewal::NeedsSignIn;
    };
    if is_newer(&credential, void) {
        return Renewal::Done;
    }
    tracing::info!("the authorization server has ended this sign-in");
    session.transport.step(SignInStep::Ended, || {
        "ended by the authorization server".to_owned()
    });
    match what {
        GiveUp::Tokens => {
            credential.tokens = None;
            session.adopt(credential, TokenSource::Store).await;
        }
        GiveUp::ClientIdentity => {
            if let Err(error) = session.forget(&credential.metadata.issuer).await {
                tracing::warn!(%error, "a client that is void could not be removed");
            }
        }
    }
    Renewal::NeedsSignIn
}

/// True if `credential` has another refresh token than `tokens`.
fn is_newer(credential: &Credential, tokens: &TokenSet) -> bool {
    let current = credential.tokens.as_ref();
    current.is_some_and(|current| current.refresh_token != tokens.refresh_token)
}
