//! A new token without a person: by the refresh token, used once on this machine.

use std::time::{Duration, SystemTime};

use super::attempt::client_of;
use super::client_credentials;
use super::error::AuthError;
use super::grant::{GrantError, Granted, Meaning, TokenEndpoint};
use super::lock::{self, Lock};
use super::registration::{Client, ClientRegistration};
use super::session::{Session, Source, Wanted};
use super::store::Credential;
use super::token::{AccessToken, TokenSet};
use super::transport::RETRY_AFTER_DEFAULT;

/// How long to wait for another process' refresh: a little longer than its token request may take.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(40);

/// What came of it.
#[derive(Debug)]
pub(super) enum Renewal {
    /// This token.
    Token(AccessToken),
    /// There is nothing to refresh with, or the server has declared it void.
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
        Some((credential, client)) => refresh(session, credential, &client).await,
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

/// Uses the refresh token. False if the server says that it, or the client, is void.
async fn refresh(
    session: &Session,
    mut credential: Credential,
    client: &Client,
) -> Result<bool, AuthError> {
    let Some(old) = credential.tokens.clone() else {
        return Ok(false);
    };
    let refusal = match request(session, &credential, client, &old).await {
        Ok(granted) => {
            credential.receive(granted);
            session.adopt(credential, Source::Refresh).await;
            return Ok(true);
        }
        Err(GrantError::Failed(error @ AuthError::UnsafeUrl { .. })) => return Err(error),
        Err(GrantError::Failed(error)) => return Err(passing(error)),
        Err(GrantError::Refused(refusal)) => refusal,
    };
    match refusal.meaning() {
        Meaning::ResourceIsUnwanted if credential.resource().is_some() => {
            credential.quirks.no_resource = true;
            Box::pin(refresh(session, credential, client)).await
        }
        Meaning::ScopeIsUnwanted if !credential.quirks.no_scope => {
            credential.quirks.no_scope = true;
            Box::pin(refresh(session, credential, client)).await
        }
        Meaning::GrantIsDead => Ok(give_up(session, &old, GiveUp::Tokens).await),
        Meaning::ClientIsDead => match credential.client {
            ClientRegistration::Dynamic(_) => Ok(give_up(session, &old, GiveUp::Client).await),
            ClientRegistration::PreRegistered | ClientRegistration::MetadataDocument => {
                Err(AuthError::ClientRejected {
                    issuer: credential.metadata.issuer,
                    reason: refusal.reason().into(),
                })
            }
        },
        Meaning::ResourceIsUnwanted | Meaning::ScopeIsUnwanted | Meaning::Other => {
            Err(refusal.into_passing())
        }
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

/// Nonsense from the token endpoint, such as the page of a captive portal, passes.
fn passing(error: AuthError) -> AuthError {
    match error {
        error @ AuthError::Unavailable { .. } => error,
        other => AuthError::Unavailable {
            reason: other.to_string(),
            retry_after: RETRY_AFTER_DEFAULT,
        },
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
    let current = credential.tokens.as_ref();
    if current.is_some_and(|tokens| tokens.refresh_token != void.refresh_token) {
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
