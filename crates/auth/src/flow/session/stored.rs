//! Stored credential of a session: read, taken over from other processes, saved and forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{SignInSession, TokenSource};
use crate::config::Store;
use crate::error::AuthError;
use crate::flow::proof_of_possession;
use crate::store::lock::Lock;
use crate::store::records::Condition;
use crate::store::refused_renewal::RefusedRenewal;
use crate::store::{Credential, CredentialStore, Saved, SavedAgain, SharedStore, StoreError};
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_net::observer::SignInStep;

/// Pauses between attempts to save what could not be saved, from the first to the longest: a disk that was full has room
/// again at some time.
const SAVE_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The same for a store that several machines share. It has to be quick, since the others wait for no longer than
/// [`UNFINISHED_WAIT`](crate::flow::renewal::UNFINISHED_WAIT).
const SHARED_SAVE_PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

impl SignInSession {
    /// Reads what is stored, once.
    pub(crate) async fn load(&self) {
        let loaded = self
            .loaded
            .get_or_try_init(|| {
                Box::pin(async {
                    // A thread for that would be the only one of a session without a sign-in.
                    if self.store.is_surely_empty() {
                        return Ok(());
                    }
                    self.reload().await
                })
            })
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
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;
    use tokio::time::timeout;
    use url::Url;

    use super::*;
    use crate::client::registration::ClientRegistration;
    use crate::config::Config;
    use crate::discovery::authorization_server::AuthorizationServerMetadata;
    use crate::store::CredentialKey;
    use mcp_bridge_net::http;

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
