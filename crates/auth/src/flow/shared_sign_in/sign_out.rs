//! Sign-out of a server that shares a sign-in, and of all that share it.

use crate::error::AuthError;
use crate::flow::renewal;
use crate::flow::session::SignInSession;
use crate::flow::shared_sign_in::shared_account;
use crate::flow::shared_sign_in::sharers::Sharers;
use crate::flow::sign_out::{Revocation, revoke};
use crate::store::pending::PendingSignIn;
use crate::store::refused_renewal::RefusedRenewal;
use crate::store::{Account, Credential, CredentialStore};

/// Leaves the shared sign-in that brought the tokens of `credential`, under the lock of the server's own account. The last server
/// ends it; for the others it stays. None if it is not shared.
pub(crate) async fn leave(
    session: &SignInSession,
    credential: &Credential,
) -> Result<Option<Revocation>, AuthError> {
    let Some(shared) = shared_account(session, credential) else {
        return Ok(None);
    };
    let _held = shared.renewing.lock().await;
    let lock = renewal::lock(&shared).await?;
    let name = session.store.account_name();
    let others = members(&shared).await?;
    let others = others.iter().filter(|it| it.name() != name).count();
    let mut sharers = Sharers::read(&shared).await;
    sharers.leave(credential.resource.as_deref().unwrap_or_default());
    sharers.write(&shared, &lock).await;
    let issuer = &credential.metadata.issuer;
    let ended = if others > 0 {
        Revocation::Shared(others)
    } else {
        end(&shared, issuer).await
    };
    lock.release().await;
    Ok(Some(ended))
}

/// Ends the shared sign-in, under its lock.
async fn end(shared: &SignInSession, issuer: &str) -> Revocation {
    let stored = shared.load_stored(issuer).await;
    let revocation = match &stored {
        Some(stored) => revoke(shared, stored).await,
        None => Revocation::NoToken,
    };
    if let Err(error) = shared.forget(issuer).await {
        tracing::warn!(%error, "the shared sign-in could not be removed");
    }
    Sharers::clear(shared).await;
    RefusedRenewal::clear(&shared.store).await;
    PendingSignIn::clear_what_no_app_waits_for(&shared.store).await;
    revocation
}

/// The accounts of the servers whose tokens are of this shared sign-in.
async fn members(shared: &SignInSession) -> Result<Vec<Account>, AuthError> {
    let members = shared.store.with(CredentialStore::members).await;
    Ok(members.unwrap_or(Ok(Vec::new()))?)
}

/// Forgets the tokens of all servers that share the sign-in of `session`, which is about to end. Nothing if it is not shared.
pub(crate) async fn end_members(session: &SignInSession) -> Result<(), AuthError> {
    let stored = session.store.with(CredentialStore::load_all).await;
    let stored = stored.unwrap_or(Ok(Vec::new()))?;
    if stored.iter().all(|credential| credential.shared.is_none()) {
        return Ok(());
    }
    for account in members(session).await? {
        let options = session.transport.options().clone();
        let config = session.config.clone();
        let member = SignInSession::with_key(account.server, config, options, account.key);
        let lock = renewal::lock(&member).await?;
        if let Err(error) = member.forget(&account.issuer).await {
            tracing::warn!(%error, "a token of the shared sign-in could not be removed");
        }
        lock.release().await;
    }
    Sharers::clear(session).await;
    Ok(())
}
