//! Sign-out: token revocation (RFC 7009) and removal of what is stored.

use crate::error::AuthError;
use crate::flow::client_choice::client_of;
use crate::flow::renewal;
use crate::flow::session::SignInSession;
use crate::flow::shared_sign_in::{end_members, leave};
use crate::grant::token_endpoint::TokenEndpoint;
use crate::store::pending::PendingSignIn;
use crate::store::refused_renewal::RefusedRenewal;
use crate::store::{Credential, CredentialStore, StoreError};

/// Outcome of a sign-out at one authorization server.
#[derive(Debug)]
pub struct SignedOut {
    /// The authorization server.
    pub issuer: String,
    /// Revocation of its tokens.
    pub revocation: Revocation,
    /// Removal of what was stored.
    pub forgotten: Result<(), StoreError>,
}

/// Outcome of the revocation of tokens at the authorization server (RFC 7009).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// It has.
    Done,
    /// There was no token to be revoked.
    NoToken,
    /// It has no revocation endpoint: tokens are good until their end.
    NotOffered,
    /// It was asked and did not, for this reason.
    Failed(String),
    /// So many other servers go on with the sign-in that was shared.
    Shared(usize),
}

/// Ends all sign-ins of the session's key. Other processes that refresh are waited for.
pub(crate) async fn sign_out(session: &SignInSession) -> Result<Vec<SignedOut>, AuthError> {
    end_members(session).await?;
    let _held = session.renewing.lock().await;
    let _lock = renewal::lock(session).await?;
    let stored = session.store.with(CredentialStore::load_all).await;
    let stored = stored.transpose()?;
    let mut ended = Vec::new();
    for credential in stored.unwrap_or_default() {
        let revocation = match leave(session, &credential).await? {
            Some(revocation) => revocation,
            None => revoke(session, &credential).await,
        };
        let issuer = credential.metadata.issuer;
        ended.push(SignedOut {
            revocation,
            forgotten: session.forget(&issuer).await,
            issuer,
        });
    }
    session.store.with(CredentialStore::sweep).await;
    RefusedRenewal::clear(&session.store).await;
    PendingSignIn::clear_what_no_app_waits_for(&session.store).await;
    Ok(ended)
}

pub(crate) async fn revoke(session: &SignInSession, credential: &Credential) -> Revocation {
    let Some(tokens) = &credential.tokens else {
        return Revocation::NoToken;
    };
    let Some(endpoint) = credential.metadata.revocation_endpoint.clone() else {
        return Revocation::NotOffered;
    };
    let Ok(client) = client_of(session, credential) else {
        return Revocation::Failed("the client that signed in is not among the flags".into());
    };
    let issued = TokenEndpoint {
        transport: &session.transport,
        metadata: &credential.metadata,
        client: &client,
    };
    match issued.revoke(endpoint, tokens).await {
        Ok(()) => Revocation::Done,
        Err(reason) => Revocation::Failed(reason),
    }
}
