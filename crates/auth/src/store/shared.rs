//! Credential store for asynchronous callers: its operations run in the pool for what blocks.

use std::sync::{Arc, Weak};

use super::records::SharedRecords;
use super::{CredentialKey, CredentialStore};

/// The store of one account, shared by the tasks of a process.
#[derive(Debug, Clone)]
pub(crate) struct SharedStore(Arc<CredentialStore>);

impl SharedStore {
    pub(crate) fn new(store: CredentialStore) -> Self {
        Self(Arc::new(store))
    }

    /// Runs a short, blocking operation. None if the runtime is ending.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&CredentialStore) -> T + Send + 'static,
    ) -> Option<T> {
        let store = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || operation(&store))
            .await
            .ok()
    }

    /// Returns true if there is no credential of the account, and that is known without a thread that may wait.
    pub(crate) fn is_surely_empty(&self) -> bool {
        self.0.is_surely_empty()
    }

    /// The place and name of a lock of the account. None if nothing is stored.
    pub(crate) fn lock_name(&self, kind: &str) -> Option<(SharedRecords, String)> {
        self.0.lock_name(kind)
    }

    /// True if it is the store of the account with this key.
    pub(crate) fn has_key(&self, key: &CredentialKey) -> bool {
        self.0.has_key(key)
    }

    /// The name of the account.
    pub(crate) fn account_name(&self) -> String {
        self.0.account_name().to_owned()
    }

    /// True if there is a credential that could not be saved, and a place for it.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.0.has_unsaved()
    }

    /// The same store, for a task that must not keep it alive.
    pub(crate) fn downgrade(&self) -> Weak<CredentialStore> {
        Arc::downgrade(&self.0)
    }

    /// The store behind [`Self::downgrade`], as long as somebody uses it.
    pub(crate) fn upgrade(store: &Weak<CredentialStore>) -> Option<Self> {
        store.upgrade().map(Self)
    }
}
