//! State of a shared sign-in as it concerns one server, for `doctor`.

use crate::discovery::Discovered;
use crate::error::shown;
use crate::flow::order::Order;
use crate::flow::session::SignInSession;
use crate::flow::shared_sign_in::sharers::Sharers;
use crate::flow::shared_sign_in::{Wish, is_wanted};
use crate::store::CredentialStore;

/// State of a sign-in that is to be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExaminedSharing {
    /// It cannot be shared: the server has no resource identifier, or its provider no metadata.
    Impossible,
    /// Nobody has signed in yet.
    NotSignedIn,
    /// The provider's tokens are not for one server alone.
    Unproven(String),
    /// The provider gave no token for this server.
    Refused(String),
    /// So many servers have tokens of it.
    Shared(usize),
}

/// The state of the sign-in that this server shares; none if it is not to share one.
pub(crate) async fn examined(
    session: &SignInSession,
    order: &Order,
    discovered: &Discovered,
) -> Option<ExaminedSharing> {
    if !is_wanted(session) {
        return None;
    }
    let Some(wish) = Wish::new(session, order, discovered) else {
        return Some(ExaminedSharing::Impossible);
    };
    let shared = &*wish.shared;
    let stored = shared.load_stored(&discovered.metadata.issuer).await;
    let Some((stored, grant)) = stored.and_then(|it| Some((it.clone(), it.shared?))) else {
        return Some(ExaminedSharing::NotSignedIn);
    };
    if let Some(reason) = &grant.unproven {
        return Some(ExaminedSharing::Unproven(shown(reason)));
    }
    if let Some(reason) = Sharers::read(shared).await.refusal(&wish.resource, &grant) {
        return Some(ExaminedSharing::Refused(shown(reason)));
    }
    if stored.tokens.is_none() {
        return Some(ExaminedSharing::NotSignedIn);
    }
    let members = shared.store.with(CredentialStore::members).await;
    let members = members.and_then(Result::ok).unwrap_or_default();
    Some(ExaminedSharing::Shared(members.len()))
}
