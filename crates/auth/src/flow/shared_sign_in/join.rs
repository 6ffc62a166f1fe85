//! Join: a token for one server out of the sign-in that it shares, under the locks of both accounts.

use std::time::{Duration, SystemTime};

use crate::error::AuthError;
use crate::flow::client_choice::client_of;
use crate::flow::order::{OFFLINE_ACCESS, Wanted};
use crate::flow::policy::Renewal;
use crate::flow::renewal::{self, Turn};
use crate::flow::session::{SignInSession, TokenSource};
use crate::flow::shared_sign_in::Wish;
use crate::flow::shared_sign_in::proof::objection;
use crate::flow::shared_sign_in::sharers::Sharers;
use crate::store::lock::Lock;
use crate::store::{Credential, SharedGrant, Voucher};
use crate::token::{Age, unix_millis};
use crate::transport::RETRY_AFTER_DEFAULT;

/// Time for which an authorization server that does not restrict its tokens is not asked to share. Somebody may set it up
/// otherwise; finding out costs no page.
const UNPROVEN_FOR: Duration = Duration::from_secs(24 * 3600);

/// Outcome of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// The server's own account has a token.
    Done,
    /// A person has to sign in, for all servers.
    NeedsPerson,
    /// The server has to sign in by itself.
    Alone,
}

/// Outcome of a look for a token in the shared account.
enum Found {
    /// A token for the server, of a grant that stays with the shared account.
    Token(Box<Credential>),
    /// The whole grant, which is for the server alone.
    Grant(Box<Credential>),
    /// Nothing.
    Nothing(Joined),
}

/// Gets a token for the server from the shared account, if that can be done without a person.
pub(super) async fn join(
    session: &SignInSession,
    wish: &Wish,
    source: TokenSource,
) -> Result<Joined, AuthError> {
    let own = renewal::lock(session).await?;
    let joined = join_under_lock(session, wish, &own, source).await;
    own.release().await;
    joined
}

/// The same under the lock of the server's own account.
pub(super) async fn join_under_lock(
    session: &SignInSession,
    wish: &Wish,
    own: &Lock,
    source: TokenSource,
) -> Result<Joined, AuthError> {
    session.reload().await?;
    if session.has_usable(&wish.wanted) {
        return Ok(Joined::Done);
    }
    let shared = &*wish.shared;
    let _held = shared.renewing.lock().await;
    let turn = renewal::exclusive_turn(shared).await?;
    let joined = join_in_turn(session, wish, own, &turn, source).await;
    turn.end().await;
    joined
}

async fn join_in_turn(
    session: &SignInSession,
    wish: &Wish,
    own: &Lock,
    turn: &Turn,
    source: TokenSource,
) -> Result<Joined, AuthError> {
    match find(session, wish, turn).await? {
        Found::Token(credential) => {
            session.adopt_under(own, *credential, source).await?;
            Ok(Joined::Done)
        }
        Found::Grant(credential) => {
            session.adopt_under(own, *credential, source).await?;
            let shared = &*wish.shared;
            if let Some(mut rest) = shared.credential() {
                rest.tokens = None;
                let lock = turn.lock();
                shared.adopt_under(lock, rest, TokenSource::Store).await?;
            }
            Ok(Joined::Done)
        }
        Found::Nothing(joined) => Ok(joined),
    }
}

/// Looks for a token in the shared account, and uses its refresh token if there is none.
async fn find(session: &SignInSession, wish: &Wish, turn: &Turn) -> Result<Found, AuthError> {
    let shared = &*wish.shared;
    shared.reload().await?;
    shared.notice_sign_out().await;
    let mut sharers = Sharers::read(shared).await;
    if sharers.enter(&wish.resource, &wish.scopes) {
        sharers.write(shared, turn.lock()).await;
    }
    let credential = shared.credential();
    let (Some(credential), Some(grant)) = (
        &credential,
        credential.as_ref().and_then(|it| it.shared.as_ref()),
    ) else {
        return Ok(Found::Nothing(Joined::NeedsPerson));
    };
    if grant.unproven.is_some() {
        return Ok(unshared(session, wish, credential, grant));
    }
    if sharers.has_refused(&wish.resource, grant) {
        return Ok(Found::Nothing(Joined::Alone));
    }
    if credential.tokens.is_none() {
        return Ok(Found::Nothing(Joined::NeedsPerson));
    }
    let reason = match Box::pin(take(session, wish, credential, turn)).await? {
        Taken::Token(credential) => return Ok(Found::Token(credential)),
        Taken::NeedsPerson => return Ok(Found::Nothing(Joined::NeedsPerson)),
        Taken::Refused(reason) => reason,
    };
    tracing::info!(%reason, "the shared sign-in brings no token for this server");
    if !covers(credential, grant, wish) {
        // A sign-in that names this server, too, may bring it.
        sharers.name_all();
        sharers.write(shared, turn.lock()).await;
        return Ok(Found::Nothing(Joined::NeedsPerson));
    }
    sharers.note_refusal(&wish.resource, grant, reason);
    sharers.write(shared, turn.lock()).await;
    Ok(Found::Nothing(Joined::Alone))
}

/// The tokens of an authorization server that does not restrict them: they are the first server's.
fn unshared(
    session: &SignInSession,
    wish: &Wish,
    credential: &Credential,
    grant: &SharedGrant,
) -> Found {
    if credential.tokens.is_some() && credential.resource.as_ref() == Some(&wish.resource) {
        let own = Credential {
            voucher: None,
            shared: None,
            ..of_server(session, wish, credential)
        };
        return Found::Grant(Box::new(own));
    }
    let now = unix_millis(SystemTime::now());
    let age = Duration::from_millis(now.saturating_sub(grant.signed_in_at));
    let is_known = age < UNPROVEN_FOR || credential.tokens.is_some();
    Found::Nothing(if is_known {
        Joined::Alone
    } else {
        Joined::NeedsPerson
    })
}

/// True if the sign-in was for this server, too.
fn covers(credential: &Credential, grant: &SharedGrant, wish: &Wish) -> bool {
    let requested = credential.tokens.as_ref().map(|tokens| &tokens.requested);
    grant.resources.contains(&wish.resource)
        && requested.is_some_and(|requested| wish.scopes.iter().all(|it| requested.contains(it)))
}

/// Outcome of a request for the token of one server.
enum Taken {
    Token(Box<Credential>),
    NeedsPerson,
    Refused(String),
}

/// The token in the shared account if it is for this server, else one for the refresh token.
async fn take(
    session: &SignInSession,
    wish: &Wish,
    credential: &Credential,
    turn: &Turn,
) -> Result<Taken, AuthError> {
    let shared = &*wish.shared;
    if !is_at_hand(session, wish, credential) {
        let Some((refreshed, client)) = renewal::refreshable(shared) else {
            return Ok(Taken::NeedsPerson);
        };
        let asked = asking_for(wish, refreshed);
        let wanted = Wanted::OtherThan(shared.token());
        match renewal::refresh(shared, asked, &client, &wanted, turn).await {
            Ok(Renewal::Done) => {}
            Ok(Renewal::NeedsSignIn) => return Ok(Taken::NeedsPerson),
            Err(AuthError::NotShared { reason, .. }) => return Ok(Taken::Refused(reason)),
            Err(error) => return Err(error),
        }
    }
    let Some(credential) = shared.credential() else {
        return Ok(Taken::NeedsPerson);
    };
    if credential.resource.as_ref() != Some(&wish.resource) {
        return Err(AuthError::Unavailable {
            reason: "another process has used the shared sign-in at the same time".into(),
            retry_after: RETRY_AFTER_DEFAULT,
        });
    }
    let client = client_of(shared, &credential)?;
    Ok(match objection(shared, &credential, &client).await {
        Some(reason) => Taken::Refused(reason),
        None => Taken::Token(Box::new(of_server(session, wish, &credential))),
    })
}

/// True if the shared account has the token that is wanted, such as just after the sign-in for this server.
fn is_at_hand(session: &SignInSession, wish: &Wish, credential: &Credential) -> bool {
    let Some(tokens) = &credential.tokens else {
        return false;
    };
    let token = &tokens.access_token;
    let age = tokens.age(SystemTime::now());
    credential.resource.as_ref() == Some(&wish.resource)
        && age == Age::Fresh
        && wish.wanted.is_met_by(token, age)
        && session.token().as_ref() != Some(token)
        && scopes_of_token(wish).all(|scope| tokens.granted.contains(scope))
}

/// The shared credential as it asks for a token of one server.
fn asking_for(wish: &Wish, mut credential: Credential) -> Credential {
    credential.resource = Some(wish.resource.clone());
    if let Some(tokens) = &mut credential.tokens {
        tokens.granted = scopes_of_token(wish).map(str::to_owned).collect();
    }
    credential
}

/// The scopes of a token for one server. `offline_access` is of the sign-in, and of no server.
fn scopes_of_token(wish: &Wish) -> impl Iterator<Item = &str> {
    wish.scopes.iter().filter(|scope| *scope != OFFLINE_ACCESS)
}

/// The credential of one server with the access token in the shared one, and the refresh token if that is not shared.
fn of_server(session: &SignInSession, wish: &Wish, shared: &Credential) -> Credential {
    let grant = shared.shared.as_ref();
    let is_shared = grant.is_some_and(|grant| grant.unproven.is_none());
    let mut credential = Credential::new(
        session.server.clone(),
        shared.metadata.clone(),
        Some(wish.resource.clone()),
        shared.client.clone(),
    );
    credential.quirks = shared.quirks;
    credential.proof_key.clone_from(&shared.proof_key);
    credential.tokens.clone_from(&shared.tokens);
    if let Some(tokens) = credential.tokens.as_mut().filter(|_| is_shared) {
        tokens.refresh_token = None;
        tokens.requested = wish.scopes.clone();
    }
    credential.voucher = Some(Voucher::SharedSignIn(wish.shared.store.account_name()));
    credential
}
