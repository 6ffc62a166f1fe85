//! Record of a refresh that is about to begin, for stores that several machines share.
//!
//! It is written before the request and removed with its outcome. A process that finds one of another process, which has lost
//! its lock meanwhile, gives that one time to store what it may have got: a second use of the refresh token may end the
//! grant (RFC 9700 §4.14.2).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::records::{Condition, Fence};
use crate::store::{CredentialStore, SharedStore, StoreError};
use mcp_bridge_text::secret::Secret;

/// Extension of the record.
const EXTENSION: &str = "refreshing";

/// The record, as the log names it.
const KIND: &str = "the record of a refresh";

/// Hash digits of a refresh token: enough to tell it from others.
const HASH_CHARS: usize = 24;

/// A refresh that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefreshIntent {
    /// A hash of the refresh token.
    token: String,
    /// Fence of the lock under which it begins.
    fence: u64,
}

impl RefreshIntent {
    pub(crate) fn new(refresh_token: &Secret<String>, Fence(fence): Fence) -> Self {
        let mut token = format!("{:x}", Sha256::digest(refresh_token.expose()));
        token.truncate(HASH_CHARS);
        Self { token, fence }
    }

    /// True if another process has begun to use the same refresh token, and its outcome is unknown.
    pub(crate) async fn is_unfinished_elsewhere(
        &self,
        store: &SharedStore,
    ) -> Result<bool, StoreError> {
        let read = |store: &CredentialStore| store.read_beside::<Self>(EXTENSION, KIND);
        let other = store.with(read).await.unwrap_or(Ok(None))?;
        Ok(other.is_some_and(|other| other.token == self.token && other.fence != self.fence))
    }

    /// Publishes it, unless another process has taken the lock.
    pub(crate) async fn write(self, store: &SharedStore) -> Result<(), StoreError> {
        let condition = Condition::NotLaterThan(Fence(self.fence));
        let write =
            move |store: &CredentialStore| store.try_write_beside(EXTENSION, &self, condition);
        store.with(write).await.unwrap_or(Ok(()))
    }

    /// Removes it, because the outcome is known.
    pub(crate) async fn clear(store: &SharedStore) {
        store.with(|store| store.remove_beside(EXTENSION)).await;
    }
}
