//! Record of the servers that share a sign-in, beside the shared account: the extent of the next sign-in, and refusals.

use serde::{Deserialize, Serialize};

use crate::error::AuthError;
use crate::flow::renewal;
use crate::flow::session::SignInSession;
use crate::store::lock::Lock;
use crate::store::{CredentialStore, SharedGrant};
use crate::token::scope::Scopes;

/// Extension of the record.
const EXTENSION: &str = "sharers";

/// The record, as the log names it.
const KIND: &str = "the record of a shared sign-in";

/// Limit for the servers in a record, and so for the resources in a request. An app has fewer; the oldest one is forgotten.
const MOST_SHARERS: usize = 30;

/// Servers that share a sign-in, or have tried to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sharers {
    servers: Vec<Sharer>,
    /// True if the authorization server gives tokens only for what the authorization request has named (RFC 8707 §2.2 leaves
    /// that to it).
    #[serde(default)]
    names_all: bool,
}

/// A server that shares a sign-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sharer {
    resource: String,
    scopes: Scopes,
    /// Refusal of a token for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<RefusedSharing>,
}

/// Refusal of a token for one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RefusedSharing {
    /// The grant for which it was refused, by the moment of its sign-in.
    signed_in_at: u64,
    reason: String,
}

/// Extent of the next sign-in beyond the server that asks for it.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    /// Further resources to name.
    pub(crate) resources: Vec<String>,
    /// Scopes of the other servers.
    pub(crate) scopes: Scopes,
}

impl Extent {
    /// The extent of a sign-in in `session` for the server with this `resource`. Nothing, unless the authorization server is known
    /// to restrict its tokens: else a token could be good at all of them.
    pub(crate) async fn of(session: &SignInSession, issuer: &str, resource: Option<&str>) -> Self {
        if !session.is_shared() {
            return Self::default();
        }
        let stored = session.load_stored(issuer).await;
        let grant = stored.and_then(|stored| stored.shared);
        if grant.is_none_or(|grant| grant.unproven.is_some()) {
            return Self::default();
        }
        let sharers = Sharers::read(session).await;
        let is_other = |it: &&Sharer| Some(it.resource.as_str()) != resource;
        let others = || sharers.servers.iter().filter(is_other);
        let scopes = others().fold(Scopes::default(), |all, it| all.union(&it.scopes));
        let resources = others().filter(|_| sharers.names_all);
        Self {
            resources: resources.map(|it| it.resource.clone()).collect(),
            scopes,
        }
    }
}

impl Sharers {
    pub(super) async fn read(shared: &SignInSession) -> Self {
        let read = |store: &CredentialStore| store.read_beside(EXTENSION, KIND);
        let record = shared.store.with(read).await;
        let record = record.and_then(|record: Result<Option<Self>, _>| record.ok()?);
        record.unwrap_or_default()
    }

    /// Publishes the record, under the lock of the shared account.
    pub(super) async fn write(&self, shared: &SignInSession, lock: &Lock) {
        let (record, condition) = (self.clone(), lock.condition());
        let written = shared
            .store
            .with(move |store| store.try_write_beside(EXTENSION, &record, condition));
        if let Some(Err(error)) = written.await {
            tracing::debug!(%error, "{EXTENSION} not recorded");
        }
    }

    /// Removes the record.
    pub(super) async fn clear(shared: &SignInSession) {
        let removed = |store: &CredentialStore| store.remove_beside(EXTENSION);
        shared.store.with(removed).await;
    }

    /// Records that the grant which is there brings no token for `resource` that is of use.
    pub(super) async fn refuse(
        shared: &SignInSession,
        resource: &str,
        reason: &str,
    ) -> Result<(), AuthError> {
        let lock = renewal::lock(shared).await?;
        shared.reload().await?;
        let grant = shared.credential().and_then(|it| it.shared);
        if let Some(grant) = grant {
            let mut sharers = Self::read(shared).await;
            sharers.note_refusal(resource, &grant, reason.to_owned());
            sharers.write(shared, &lock).await;
        }
        lock.release().await;
        Ok(())
    }

    /// Enters a server. True if that is news.
    pub(super) fn enter(&mut self, resource: &str, scopes: &Scopes) -> bool {
        if let Some(known) = self.find(resource) {
            let is_news = known.scopes != *scopes;
            known.scopes = scopes.clone();
            return is_news;
        }
        if self.servers.len() >= MOST_SHARERS {
            self.servers.remove(0);
        }
        self.servers.push(Sharer {
            resource: resource.to_owned(),
            scopes: scopes.clone(),
            refused: None,
        });
        true
    }

    /// Removes a server.
    pub(super) fn leave(&mut self, resource: &str) {
        self.servers.retain(|it| it.resource != resource);
    }

    /// From now on sign-ins name all servers.
    pub(super) fn name_all(&mut self) {
        self.names_all = true;
    }

    pub(super) fn note_refusal(&mut self, resource: &str, grant: &SharedGrant, reason: String) {
        if let Some(known) = self.find(resource) {
            known.refused = Some(RefusedSharing {
                signed_in_at: grant.signed_in_at,
                reason,
            });
        }
    }

    /// True if this grant is known to bring no token for `resource`.
    pub(super) fn has_refused(&self, resource: &str, grant: &SharedGrant) -> bool {
        self.refusal(resource, grant).is_some()
    }

    /// The reason for which this grant brings no token for `resource`.
    pub(super) fn refusal(&self, resource: &str, grant: &SharedGrant) -> Option<&str> {
        let known = self.servers.iter().find(|it| it.resource == resource)?;
        let refused = known.refused.as_ref()?;
        (refused.signed_in_at == grant.signed_in_at).then_some(&*refused.reason)
    }

    fn find(&mut self, resource: &str) -> Option<&mut Sharer> {
        self.servers.iter_mut().find(|it| it.resource == resource)
    }
}
