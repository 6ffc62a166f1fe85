//! Sign-in policy: where the next token comes from, in which order, and under which locks.
//!
//! - **Before a request** ([`token`]): the token in use. Near its end, a renewal is awaited for a bounded time.
//! - **After a refusal** ([`authorize`]): a token that has come meanwhile, else a renewal, else a sign-in. A refusal for
//!   want of scope needs a sign-in at once, because a refresh cannot widen a grant.
//! - **A renewal** ([`renew`]): with the refresh token; where no person is needed, by the same request again.
//! - **A sign-in** ([`sign_in`]): by one that is shared with other servers if the user wants that ([`shared_sign_in`]), else with
//!   what `mcp-remote` has left, else by the configured grant.
//!
//! ```text
//! renewal   mutex ─ still wanted? ─ task ─ process lock ─ read the store ─ still wanted? ─ refresh ─ save ─ release
//! sign-in   mutex ─ still wanted? ─ task ─ process lock ─ read the store ─ still wanted? ─ sign in ─ save ─ release
//! ```
//!
//! The mutex lets the requests of a process share one renewal and one sign-in, and their failure. The task goes on when
//! its request is cancelled. The lock between the processes is held until the tokens are saved. Each step after
//! a wait begins with the question whether it [`still`] is wanted.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use crate::config::{Grant, SignInPlace};
use crate::discovery::challenge::BearerChallenge;
use crate::discovery::refusal::Refusal;
use crate::error::AuthError;
use crate::flow::order::{Order, Reason, Wanted};
use crate::flow::renewal::Turn;
use crate::flow::session::{Freshness, SignInSession};
use crate::flow::shared_sign_in::{self, Outcome};
use crate::flow::sign_in_lock::{self, SignInLock};
use crate::flow::{browser, device_code, import, renewal, sign_in_elsewhere, unattended};
use crate::sign_in_page::SignInStage;
use crate::store::lock::Wait;
use crate::store::pending::{PendingSignIn, now_millis};
use crate::token::AccessToken;
use crate::token::scope::Scopes;
use mcp_bridge_net::http::host_and_port;
use mcp_bridge_net::observer::SignInStep;

/// Longest wait of a request for a renewal ahead of time. Then it goes out with the old token.
pub(crate) const REFRESH_AHEAD_WAIT: Duration = Duration::from_secs(5);

/// Age below which a token that is refused is not refreshed again: the next one would be refused too.
pub(crate) const FRESH: Duration = Duration::from_secs(10);

/// Limit for step-ups to one set of scopes in a run; a server that keeps asking would not accept the next token either.
const MOST_STEP_UPS: u32 = 2;

/// Permission to ask a person to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// The request is somebody's wish.
    Allowed,
    /// The request is ours, such as a notification stream: refresh at most.
    Forbidden,
}

/// Outcome of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// There is a new token.
    Done,
    /// There is nothing to refresh with, or it was refused.
    NeedsSignIn,
}

/// The token for the next request; none if there is none. It is renewed ahead of its end. Where that does not work for
/// now, the old one goes out and the server decides.
pub(crate) async fn token(session: &Arc<SignInSession>) -> Option<AccessToken> {
    session.load().await;
    if session.is_renewal_due() {
        let renewal = renew(session, Wanted::Fresh);
        if let Ok(Err(error)) = timeout(REFRESH_AHEAD_WAIT, renewal).await {
            tracing::debug!(%error, "not renewed ahead of time");
        }
    }
    session.token()
}

/// Gets another token after a refusal, by whatever it takes and `interaction` permits.
pub(crate) async fn authorize(
    session: &Arc<SignInSession>,
    refusal: Refusal,
    interaction: Interaction,
) -> Result<(), AuthError> {
    session.load().await;
    let challenge = refusal.challenges.into_bearer();
    let order = Order::new(challenge, Wanted::OtherThan(refusal.refused));
    match refusal.status {
        StatusCode::UNAUTHORIZED => replace(session, order, interaction).await,
        StatusCode::FORBIDDEN if order.challenge.wants_more_scope() => {
            step_up(session, order, interaction).await
        }
        _ => Err(AuthError::Forbidden),
    }
}

/// Gets a token for a server that has not asked for one, by a sign-in if the present one is missing or expires soon. `None`
/// if the server offers no sign-in.
pub(crate) async fn volunteer(
    session: &Arc<SignInSession>,
) -> Result<Option<AccessToken>, AuthError> {
    let token = token(session).await;
    if token.is_some() && !session.is_stale() {
        return Ok(token);
    }
    let mut discovered = None;
    if token.is_none() && session.config.grant.needs_discovery() {
        discovered = session.discovery().find_published().await?;
        if discovered.is_none() {
            return Ok(None);
        }
    }
    let order = Order::new(BearerChallenge::default(), Wanted::OtherThan(token));
    let order = order.with_discovered(discovered);
    replace(session, order, Interaction::Allowed).await?;
    Ok(session.token())
}

/// Renews the tokens in use, because somebody wants it.
pub(crate) async fn renew_now(session: &Arc<SignInSession>) -> Result<Renewal, AuthError> {
    session.load().await;
    match session.token() {
        Some(token) => renew(session, Wanted::OtherThan(Some(token))).await,
        None => Ok(Renewal::NeedsSignIn),
    }
}

/// After a 401.
pub(crate) async fn replace(
    session: &Arc<SignInSession>,
    mut order: Order,
    interaction: Interaction,
) -> Result<(), AuthError> {
    if session.has_usable(&order.wanted) {
        return Ok(());
    }
    // A token fresh from a refresh that is refused again shows that refreshing does not help.
    // Nor does it where a token has to be bound to a key: a refresh brings tokens of the same kind.
    if session.freshness(FRESH) != Freshness::Refreshed
        && !order.wants_binding()
        && renew(session, order.wanted.clone()).await? == Renewal::Done
    {
        return Ok(());
    }
    order.reason = match session.freshness(FRESH) {
        Freshness::SignedIn => Reason::FreshTokenRefused,
        Freshness::Refreshed if session.has_signed_in_within(FRESH) => Reason::FreshTokenRefused,
        Freshness::Refreshed | Freshness::Old => Reason::NoToken,
    };
    sign_in(session, order, interaction).await
}

/// After a 403 with `insufficient_scope` (MCP authorization, "Step-Up Authorization Flow").
async fn step_up(
    session: &Arc<SignInSession>,
    mut order: Order,
    interaction: Interaction,
) -> Result<(), AuthError> {
    if session.has_usable(&order.wanted) {
        return Ok(());
    }
    let required = Scopes::parse(order.challenge.scope.as_deref().unwrap_or_default());
    let insufficient = || AuthError::InsufficientScope {
        scope: required.to_string(),
    };
    if required.is_empty() || !session.may_step_up(&required, MOST_STEP_UPS) {
        return Err(insufficient());
    }
    order.reason = Reason::MoreScope;
    order.scopes = session.requested_scopes().union(&required);
    sign_in(session, order, interaction).await?;
    if session.lacks_granted(&required) {
        return Err(insufficient());
    }
    Ok(())
}

/// Renews the tokens in use, once for all requests of this process.
async fn renew(session: &Arc<SignInSession>, wanted: Wanted) -> Result<Renewal, AuthError> {
    let arrived = Instant::now();
    let mutex = async {
        let held = Arc::clone(&session.renewing).lock_owned().await;
        match session.store_failure_since(arrived) {
            Some(error) => Err(error),
            None => Ok(held),
        }
    };
    let Still::Wanted(held) = still(session, &wanted, Guarded::Memory, mutex).await? else {
        return Ok(Renewal::Done);
    };
    // Made here, so that it is within the span of the request that needs the token.
    let span = tracing::debug_span!("refresh", host = %host_and_port(&session.server));
    let session = Arc::clone(session);
    // Between the answer of the token endpoint and the disk nobody may cancel it, or a rotated refresh token would be
    // lost.
    let task = tokio::spawn(async move {
        let _held = held;
        let renewal = renew_in_turn(&session, &wanted);
        renewal.instrument(span).await
    });
    finish(task).await
}

/// Renews the tokens in use, once for all processes.
///
/// The lock is held from reading the store to writing it, so that a refresh token is used once: a server that
/// rotates them takes a second use for theft and revokes all (RFC 9700 §4.14.2).
pub(crate) async fn renew_in_turn(
    session: &SignInSession,
    wanted: &Wanted,
) -> Result<Renewal, AuthError> {
    if let Some(error) = session.refresh_pause() {
        return Err(error);
    }
    let mut wait = renewal::wait(session);
    let outcome = loop {
        let outcome = Box::pin(take_turn(session, wanted, &mut wait)).await;
        let Err(error @ AuthError::StoreUnavailable { locked: false, .. }) = outcome else {
            break outcome;
        };
        // Its connection broke, and the next one works in most cases.
        if let Err(error) = wait.outlast(error).await {
            break Err(error);
        }
    };
    session.show_store_outage(None);
    outcome.inspect_err(|error| session.start_refresh_pause(error))
}

async fn take_turn(
    session: &SignInSession,
    wanted: &Wanted,
    wait: &mut Wait,
) -> Result<Renewal, AuthError> {
    let turn = renewal::turn(session, wanted, wait);
    let Still::Wanted(Some(turn)) = still(session, wanted, Guarded::Store, turn).await? else {
        return Ok(Renewal::Done);
    };
    let outcome = renew_under_lock(session, wanted, &turn).await;
    turn.end().await;
    outcome
}

async fn renew_under_lock(
    session: &SignInSession,
    wanted: &Wanted,
    turn: &Turn,
) -> Result<Renewal, AuthError> {
    // A refresh would undo what the person has asked for.
    if session.notice_sign_out().await {
        return Ok(Renewal::NeedsSignIn);
    }
    match renewal::refreshable(session) {
        Some((credential, client)) => {
            let refresh = renewal::refresh(session, credential, &client, wanted, turn);
            Box::pin(refresh).await
        }
        None => match Box::pin(shared_sign_in::renew(session, wanted, turn.lock())).await? {
            Some(renewal) => Ok(renewal),
            None => unattended::repeat(session).await,
        },
    }
}

/// Signs in, once for all requests of this process.
async fn sign_in(
    session: &Arc<SignInSession>,
    mut order: Order,
    interaction: Interaction,
) -> Result<(), AuthError> {
    order.interaction = interaction;
    let needs_person = session.config.grant.needs_person();
    if interaction == Interaction::Forbidden && needs_person {
        let url = session.stage.borrow().page().cloned();
        return Err(AuthError::SignInRequired { url });
    }
    let arrived = Instant::now();
    let mutex = async {
        let held = Arc::clone(&session.signing_in).lock_owned().await;
        // Who waited for a sign-in that failed does not start the next one by itself.
        match held.failure_since(arrived) {
            Some(error) => Err(error),
            None => Ok(held),
        }
    };
    let Still::Wanted(mut held) = still(session, &order.wanted, Guarded::Memory, mutex).await?
    else {
        return Ok(());
    };
    if needs_person && session.config.person == SignInPlace::Here {
        held.begin()?;
    }
    let span = tracing::debug_span!("sign_in", host = %host_and_port(&session.server));
    let session = Arc::clone(session);
    // It goes on when its request is gone, so that the next one finds its token.
    let task = tokio::spawn(async move {
        let signed_in = sign_in_in_turn(&session, &order);
        let outcome = signed_in.instrument(span).await;
        session.stage.send_replace(match &outcome {
            Ok(()) => SignInStage::Done,
            Err(_) => SignInStage::None,
        });
        if let Err(error) = &outcome {
            session
                .transport
                .step(SignInStep::Failed, || format!("failed: {error}"));
        }
        held.record(outcome.as_ref().err());
        outcome
    });
    finish(task).await
}

/// Signs in, once for all processes.
pub(crate) async fn sign_in_in_turn(
    session: &SignInSession,
    order: &Order,
) -> Result<(), AuthError> {
    if shared_sign_in::sign_in(session, order).await? == Outcome::Done {
        return Ok(());
    }
    if let (SignInPlace::Elsewhere { command }, true) =
        (&session.config.person, session.config.grant.needs_person())
    {
        return sign_in_elsewhere::wait(session, order, command).await;
    }
    let arrived = now_millis();
    let lock = sign_in_lock::take(session);
    let Still::Wanted(lock) = still(session, &order.wanted, Guarded::Store, lock).await? else {
        return Ok(());
    };
    let SignInLock { arrival, _lock } = lock;
    let pending = PendingSignIn::read(&session.store).await;
    let limit = session.config.timeout;
    if let Some(error) = pending
        .as_ref()
        .and_then(|pending| pending.failure_since(arrived, session.started_at, limit))
    {
        return Err(error);
    }
    if session.credential().is_none() && import::take_over(session, order).await? {
        return Ok(());
    }
    let outcome = match &session.config.grant {
        Grant::AuthorizationCode => {
            Box::pin(browser::sign_in(session, order, pending, arrival)).await
        }
        Grant::DeviceCode => device_code::sign_in(session, order).await,
        Grant::ClientCredentials { .. }
        | Grant::JwtBearer { .. }
        | Grant::TokenExchange { .. }
        | Grant::EnterpriseManaged(_) => unattended::obtain(session, order).await,
    };
    browser::record_end(session, outcome.as_ref().err()).await;
    outcome?;
    session.token().map(|_| ()).ok_or(AuthError::Interrupted)
}

/// Place that a lock guards, where its previous holder may have put the token that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guarded {
    /// The memory of this process.
    Memory,
    /// The store, which all processes share.
    Store,
}

/// Answer to whether work is still wanted after the wait for its lock.
enum Still<L> {
    /// The lock is held for it.
    Wanted(L),
    /// Somebody else got the token meanwhile.
    Superfluous,
}

/// Takes the lock, reads again what it guards, and answers whether the work is still wanted.
async fn still<L>(
    session: &SignInSession,
    wanted: &Wanted,
    guarded: Guarded,
    lock: impl Future<Output = Result<L, AuthError>>,
) -> Result<Still<L>, AuthError> {
    let lock = lock.await?;
    match guarded {
        Guarded::Memory => {}
        Guarded::Store => session.reload().await?,
    }
    if session.has_usable(wanted) {
        return Ok(Still::Superfluous);
    }
    Ok(Still::Wanted(lock))
}

/// Waits for a task that goes on if this is dropped.
pub(crate) async fn finish<T>(task: JoinHandle<Result<T, AuthError>>) -> Result<T, AuthError> {
    match task.await {
        Ok(outcome) => outcome,
        Err(end) if end.is_panic() => std::panic::resume_unwind(end.into_panic()),
        Err(_) => Err(AuthError::Interrupted),
    }
}
