//! Failures of renewals that a session remembers: refusals, pauses, outages of the store, and doubts about the client.

use tokio::time::Instant;

use super::{SignInSession, Trust};
use crate::error::AuthError;
use crate::flow::refresh_pause::RefreshPause;
use crate::sign_in_page::SignInStage;
use crate::store::refused_renewal::{AccessTokenState, RefusalKind, RefusedRenewal};
use crate::store::{Credential, StoreError};

impl SignInSession {
    /// The refusal to renew the tokens of `credential`, in this process or another one.
    pub(crate) async fn read_refused_renewal(
        &self,
        credential: &Credential,
    ) -> Option<RefusedRenewal> {
        let stored = RefusedRenewal::read(&self.store).await;
        let obtained_at = credential.tokens.as_ref()?.obtained_at;
        let known = stored.or_else(|| self.state().refused.clone())?;
        let is_about = known.is_about(&credential.metadata.issuer, obtained_at);
        is_about.then_some(known)
    }

    /// Records one more refusal to renew the tokens of `credential`. None if it has no tokens.
    pub(crate) async fn record_refused_renewal(
        &self,
        credential: &Credential,
        refusal: RefusalKind,
        access_token: AccessTokenState,
    ) -> Option<RefusedRenewal> {
        let before = self.read_refused_renewal(credential).await;
        let record = RefusedRenewal::after(before.as_ref(), credential, refusal, access_token)?;
        record.clone().write(&self.store).await;
        self.state().refused = Some(record.clone());
        Some(record)
    }

    /// True if this process has tried to renew the tokens in use, and they were refused.
    pub(crate) fn is_renewal_refused(&self) -> bool {
        let state = self.state();
        let (Some(refused), Some(credential)) = (&state.refused, &state.credential) else {
            return false;
        };
        let tokens = credential.tokens.as_ref();
        tokens.is_some_and(|it| refused.is_about(&credential.metadata.issuer, it.obtained_at))
    }

    /// The reason to leave the authorization server alone for now.
    pub(crate) fn refresh_pause(&self) -> Option<AuthError> {
        self.state().refresh_pause.as_ref()?.reason()
    }

    /// Leaves the authorization server alone for a while, if `error` may pass.
    pub(crate) fn start_refresh_pause(&self, error: &AuthError) {
        let mut state = self.state();
        if matches!(error, AuthError::StoreUnavailable { .. }) {
            // It has been waited for already, and may be back.
            state.store_failure = Some((Instant::now(), error.clone()));
            return;
        }
        if let Some(pause) = RefreshPause::after(error, state.refresh_pause.as_ref()) {
            state.refresh_pause = Some(pause);
        }
    }

    /// The failure for want of the store that came after `arrived`: who has waited for that renewal waits for no other.
    pub(crate) fn store_failure_since(&self, arrived: Instant) -> Option<AuthError> {
        let state = self.state();
        let (moment, error) = state.store_failure.as_ref()?;
        (*moment > arrived).then(|| error.clone())
    }

    /// Shows an outage of the store to those who cannot wait for its end; none if it has answered.
    pub(crate) fn show_store_outage(&self, error: Option<&StoreError>) {
        let stage = error.map_or(SignInStage::None, |error| {
            SignInStage::StoreAway(error.to_string())
        });
        self.stage.send_if_modified(|shown| {
            let is_hidden = !matches!(shown, SignInStage::None | SignInStage::StoreAway(_));
            if is_hidden || *shown == stage {
                return false;
            }
            *shown = stage;
            true
        });
    }

    /// Remembers that the authorization server knows this client.
    pub(crate) fn prove_client(&self, id: &str) {
        self.state().trust = Trust::Proven(id.to_owned());
    }

    /// Lets go of [`Self::prove_client`], because the authorization server has refused a renewal.
    pub(crate) fn doubt_client(&self) {
        self.state().trust = Trust::Doubted;
    }

    /// True if a renewal was refused since the client was last known to be alive.
    pub(crate) fn doubts_client(&self) -> bool {
        matches!(self.state().trust, Trust::Doubted)
    }

    /// True if a sign-in of this run worked with this client.
    pub(crate) fn has_proven_client(&self, id: &str) -> bool {
        matches!(&self.state().trust, Trust::Proven(proven) if proven == id)
    }
}
