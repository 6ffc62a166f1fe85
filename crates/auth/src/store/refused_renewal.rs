//! Record of refused refresh requests, shared by the processes of one account.
//!
//! It is about the tokens that were stored when the refusal came, and void as soon as there are others. It
//! lies beside the credential, so that a refusal never makes a process write the credential, which may be in
//! a keychain. Apps end their bridges after a request or two, so failures are counted across processes.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::store::key::CredentialKey;
use crate::store::records::Records;
use crate::store::{Credential, SharedStore, StoreError, read_beside};

/// Extension of the record.
const EXTENSION: &str = "refused";

/// The record, as the log names it.
const KIND: &str = "the record of a refused renewal";

/// Outcome of the attempts to renew one set of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedRenewal {
    issuer: String,
    /// When the tokens were obtained, which tells them from others.
    obtained_at: u64,
    pub(crate) refusal: RefusalKind,
    pub(crate) access_token: AccessTokenState,
    /// Moment when it was refused the last time.
    at: Moment,
}

/// Kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefusalKind {
    /// For good.
    Final,
    /// By a failing server, so many times.
    Failures(u32),
}

/// State of the access token at the MCP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccessTokenState {
    /// It has not refused it.
    Unknown,
    /// It refuses it.
    Over,
}

/// A time that processes compare: microseconds since 1970. A request on this machine takes less than a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros());
        Self(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

impl RefusedRenewal {
    /// The record of the account.
    pub(crate) async fn read(store: &SharedStore) -> Option<Self> {
        let read = store.with(|store| store.read_beside(EXTENSION, KIND)).await;
        read?.unwrap_or_default()
    }

    /// One more refusal of the tokens that `before` is about, too. None if the credential has no tokens.
    pub(crate) fn after(
        before: Option<&Self>,
        credential: &Credential,
        refusal: RefusalKind,
        access_token: AccessTokenState,
    ) -> Option<Self> {
        Some(Self {
            issuer: credential.metadata.issuer.clone(),
            obtained_at: credential.tokens.as_ref()?.obtained_at,
            refusal: before.map_or(refusal, |before| before.refusal.and(refusal)),
            access_token: before.map_or(access_token, |it| it.access_token.max(access_token)),
            at: Moment::now(),
        })
    }

    /// Publishes the record. Without a store there is nobody to tell.
    pub(crate) async fn write(self, store: &SharedStore) {
        store
            .with(move |store| store.write_beside(EXTENSION, &self))
            .await;
    }

    /// Removes the record.
    pub(crate) async fn clear(store: &SharedStore) {
        store.with(|store| store.remove_beside(EXTENSION)).await;
    }

    /// Tells whether only a person can help: after a final refusal; or after `most_failures` failures of the server,
    /// if the MCP server refuses the access token, too.
    pub(crate) fn needs_sign_in(&self, access_token: AccessTokenState, most_failures: u32) -> bool {
        match (self.refusal, access_token) {
            (RefusalKind::Final, _) => true,
            (RefusalKind::Failures(number), AccessTokenState::Over) => number >= most_failures,
            (RefusalKind::Failures(_), AccessTokenState::Unknown) => false,
        }
    }

    /// Returns whether a refusal came after `moment`.
    pub(crate) fn is_since(&self, moment: Moment) -> bool {
        self.at > moment
    }

    /// True if the record is about the tokens that `issuer` gave at `obtained_at`.
    pub(crate) fn is_about(&self, issuer: &str, obtained_at: u64) -> bool {
        self.issuer == issuer && self.obtained_at == obtained_at
    }
}

impl RefusalKind {
    /// Both refusals together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Final, _) | (_, Self::Final) => Self::Final,
            (Self::Failures(one), Self::Failures(two)) => Self::Failures(one.saturating_add(two)),
        }
    }
}

/// The record of an account.
pub(crate) fn read_of_account(
    records: &dyn Records,
    key: &CredentialKey,
) -> Result<Option<RefusedRenewal>, StoreError> {
    read_beside(records, key, EXTENSION, KIND)
}
