//! Shared sign-in: one for several servers of an issuer, whose refresh token brings a token for each of them (RFC 8707 §2.2).
//!
//! The shared account is a session of its own, with the issuer in the place of the server: it has a record, locks, refreshes and a
//! page like any other, and its key tells nothing of an MCP server. It alone has the refresh token. A server's own account gets
//! access tokens from it, each proven to be for that server alone ([`proof`]).
//!
//! ```text
//! sign-in, for the first server    ─ refresh token; access token with the first server as its audience
//! refresh with another `resource`  ─ refresh token; access token with the second server as its audience
//! ```
//!
//! If the proof fails, or the authorization server refuses, the server signs in by itself. That is recorded ([`sharers`]), so it
//! costs one request for each grant and no page.
//!
//! Two accounts are locked in one order: the server's own, then the shared one.

mod examination;
mod join;
mod proof;
mod sharers;
mod sign_out;

use std::pin::Pin;
use std::sync::Arc;

use url::Url;

use crate::config::{Bearer, Config, Grant, ResourceParameter, SignInPlace, SignInSharing};
use crate::discovery::authorization_server::MetadataOrigin;
use crate::discovery::{Discovered, resource_parameter};
use crate::error::AuthError;
use crate::flow::client_choice::refuse_foreign_issuer;
use crate::flow::import;
use crate::flow::order::{Order, Reason, Wanted};
use crate::flow::policy::{self, FRESH, Renewal};
use crate::flow::proof_of_possession::{Binding, ResourceWish};
use crate::flow::session::{Freshness, SignInSession, TokenSource};
use crate::store::lock::Lock;
use crate::store::{Credential, CredentialKey, Voucher};
use crate::token::scope::Scopes;
use mcp_bridge_text::secret::Secret;

use self::join::{Joined, join, join_under_lock};
use self::sharers::Sharers;

pub use self::examination::ExaminedSharing;
pub(crate) use self::examination::examined;
pub(crate) use self::proof::examine;
pub(crate) use self::sharers::Extent;
pub(crate) use self::sign_out::{end_members, leave};

/// Limit for the pages of one sign-in: that of another server, which may turn out not to be enough, and that of this one.
const MOST_PAGES: usize = 2;

/// Outcome of a sign-in that may be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is a token for the server.
    Done,
    /// The server signs in by itself.
    Alone,
}

/// Wish of a server for a token of the sign-in that it shares.
#[derive(Debug)]
struct Wish {
    shared: Arc<SignInSession>,
    /// The server, as the authorization server knows it.
    resource: String,
    scopes: Scopes,
    wanted: Wanted,
}

impl Config {
    /// The configuration of the sign-in that the servers of `issuer` share, for the one with this `resource`.
    fn at_shared_sign_in(&self, issuer: &str, resource: ResourceParameter) -> Self {
        Self {
            server_as_given: None,
            headers_as_given: Secret::new(Vec::new()),
            mcp_remote_directory: None,
            identity_headers: Secret::new(Vec::new()),
            issuer: Some(issuer.to_owned()),
            resource,
            sharing: SignInSharing::Off,
            ..self.clone()
        }
    }
}

impl Wish {
    /// The wish of a sign-in. None if there is nothing to share.
    async fn of_order(session: &SignInSession, order: &Order) -> Result<Option<Self>, AuthError> {
        let discovered = order.discover(session).await?;
        refuse_foreign_issuer(session, &discovered.metadata, order.reason)?;
        Ok(Self::new(session, order, discovered))
    }

    fn new(session: &SignInSession, order: &Order, discovered: &Discovered) -> Option<Self> {
        let config = &session.config;
        let Discovered { resource, metadata } = discovered;
        let wish = ResourceWish::new(&order.challenge, Some(discovered));
        let binding = match Binding::new(config, wish, metadata) {
            Binding::Bound => "bound",
            Binding::Bearer => "bearer",
            Binding::Impossible { .. } => return None,
        };
        let resource = resource_parameter(config, &session.server, resource.as_ref());
        let (Some(resource), Ok(issuer)) = (resource, Url::parse(&metadata.issuer)) else {
            return None;
        };
        if metadata.origin == MetadataOrigin::DefaultEndpoints {
            return None;
        }
        let name = &metadata.issuer;
        let of_all = Config {
            scope: None,
            ..config.at_shared_sign_in(name, ResourceParameter::Automatic)
        };
        let key = CredentialKey::of_shared_sign_in(&issuer, &of_all, binding);
        let of_server = config.at_shared_sign_in(name, ResourceParameter::Fixed(resource.clone()));
        Some(Self {
            shared: session.share(issuer, of_server, key),
            resource,
            scopes: order.select_scopes(config, Some(discovered)),
            wanted: order.wanted.clone(),
        })
    }

    /// The wish of a renewal. None if the tokens of `credential` are not of a sign-in that is shared.
    fn of_renewal(
        session: &SignInSession,
        credential: &Credential,
        wanted: &Wanted,
    ) -> Option<Self> {
        let resource = credential.resource.clone()?;
        Some(Self {
            shared: shared_account(session, credential)?,
            resource,
            scopes: credential.tokens.as_ref()?.requested.clone(),
            wanted: wanted.clone(),
        })
    }
}

/// The session of the sign-in that brought the tokens of `credential`, if that is shared.
pub(crate) fn shared_account(
    session: &SignInSession,
    credential: &Credential,
) -> Option<Arc<SignInSession>> {
    let Some(Voucher::SharedSignIn(name)) = &credential.voucher else {
        return None;
    };
    if *name == session.store.account_name() {
        return None;
    }
    let key = CredentialKey::from_name(name)?;
    let issuer = &credential.metadata.issuer;
    let resource = ResourceParameter::Fixed(credential.resource.clone()?);
    let config = session.config.at_shared_sign_in(issuer, resource);
    Some(session.share(Url::parse(issuer).ok()?, config, key))
}

/// Signs in together with other servers, if they are to share it.
///
/// The type of the future is named, because the policy of the shared session is the one that leads here.
pub(crate) fn sign_in<'a>(
    session: &'a SignInSession,
    order: &'a Order,
) -> Pin<Box<dyn Future<Output = Result<Outcome, AuthError>> + Send + 'a>> {
    Box::pin(async move {
        if !is_wanted(session) || order.reason == Reason::FreshTokenRefused {
            return Ok(Outcome::Alone);
        }
        if !session.can_keep().await {
            return Ok(Outcome::Alone);
        }
        match Wish::of_order(session, order).await? {
            Some(wish) => Box::pin(sign_in_for(session, order, &wish)).await,
            None => Ok(Outcome::Alone),
        }
    })
}

/// True if the user wants to share the sign-in, and it is one that can be shared.
pub(crate) fn is_wanted(session: &SignInSession) -> bool {
    let config = &session.config;
    let is_sign_in = match &config.grant {
        Grant::AuthorizationCode | Grant::DeviceCode => true,
        Grant::ClientCredentials { .. }
        | Grant::JwtBearer { .. }
        | Grant::TokenExchange { .. }
        | Grant::EnterpriseManaged(_) => false,
    };
    is_sign_in && config.sharing == SignInSharing::OneIssuer && config.bearer == Bearer::AccessToken
}

async fn sign_in_for(
    session: &SignInSession,
    order: &Order,
    wish: &Wish,
) -> Result<Outcome, AuthError> {
    let shared = &*wish.shared;
    if has_been_refused(session, order) {
        let reason = "the server accepts none of its tokens";
        Sharers::refuse(shared, &wish.resource, reason).await?;
        return Ok(Outcome::Alone);
    }
    let mut source = TokenSource::Refresh;
    let mut joined = match order.reason {
        Reason::MoreScope => {
            shared.reload().await?;
            Joined::NeedsPerson
        }
        Reason::NoToken | Reason::FreshTokenRefused => join(session, wish, source).await?,
    };
    for _ in 0..MOST_PAGES {
        match joined {
            Joined::Done => return Ok(Outcome::Done),
            Joined::Alone => return Ok(Outcome::Alone),
            Joined::NeedsPerson if !asks_here(session, order).await => return Ok(Outcome::Alone),
            Joined::NeedsPerson => {}
        }
        let page = order.for_account_of(shared);
        match Box::pin(policy::sign_in_in_turn(shared, &page)).await {
            Ok(()) => {}
            Err(AuthError::NotShared { reason, .. }) => {
                Sharers::refuse(shared, &wish.resource, &reason).await?;
                return Ok(Outcome::Alone);
            }
            Err(error) => return Err(error),
        }
        source = TokenSource::SignIn;
        joined = join(session, wish, source).await?;
    }
    Ok(match joined {
        Joined::Done => Outcome::Done,
        Joined::Alone | Joined::NeedsPerson => Outcome::Alone,
    })
}

/// True if a person is to be asked by this process, and for all servers.
async fn asks_here(session: &SignInSession, order: &Order) -> bool {
    if session.config.person != SignInPlace::Here {
        return false;
    }
    session.credential().is_some() || import::find(session, order).await.is_none()
}

/// True if the server has just refused a token that the shared sign-in had brought only just now.
fn has_been_refused(session: &SignInSession, order: &Order) -> bool {
    let credential = session.credential();
    let voucher = credential.and_then(|credential| credential.voucher);
    let Wanted::OtherThan(Some(refused)) = &order.wanted else {
        return false;
    };
    matches!(voucher, Some(Voucher::SharedSignIn(_)))
        && order.reason == Reason::NoToken
        && session.freshness(FRESH) == Freshness::Refreshed
        && session.token().as_ref() == Some(refused)
}

/// Renews the token of a server that shares a sign-in, under the `lock` of its own account. None if it does not share one.
pub(crate) async fn renew(
    session: &SignInSession,
    wanted: &Wanted,
    lock: &Lock,
) -> Result<Option<Renewal>, AuthError> {
    if !is_wanted(session) {
        return Ok(None);
    }
    let credential = session.credential();
    let wish = credential.and_then(|credential| Wish::of_renewal(session, &credential, wanted));
    let Some(wish) = wish else {
        return Ok(None);
    };
    let joined = join_under_lock(session, &wish, lock, TokenSource::Refresh).await?;
    Ok(Some(match joined {
        Joined::Done => Renewal::Done,
        Joined::Alone | Joined::NeedsPerson => Renewal::NeedsSignIn,
    }))
}
