//! The helper's part of a sign-in: from the end of the bridge to a stored token, or to the time limit.

use std::net::TcpListener;
use std::time::Duration;

use crate::error::AuthError;
use crate::flow::attempt::SignInAttempt;
use crate::flow::browser;
use crate::flow::session::SignInSession;
use crate::linger::HandedOver;
use crate::store::lock;
use crate::store::pending::PendingSignIn;

/// Longest time that the lock of a process that has just ended may still be held. Others that wait for it give way;
/// one that keeps it all the same goes on with the sign-in, and the helper is not needed.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Interval at which the helper looks whether its sign-in is still wanted: not after a sign-out, and not when the
/// directory of the tokens is gone.
const LOOK: Duration = Duration::from_secs(1);

/// Finishes a sign-in of another process, which has ended. `sockets` are those of its callback, if they
/// could be passed on.
pub(crate) async fn finish_sign_in(
    session: &SignInSession,
    handed_over: HandedOver,
    sockets: Vec<TcpListener>,
) {
    if !session.can_keep().await {
        return;
    }
    let Ok(Some(_lock)) = lock::acquire(&session.store, "sign-in.lock", LOCK_WAIT).await else {
        return;
    };
    let Some(pending) = PendingSignIn::read(&session.store).await else {
        return;
    };
    let Some(left) = pending.time_left(session.config.timeout) else {
        return;
    };
    session.load().await;
    let HandedOver {
        credential,
        request,
        client,
    } = handed_over;
    let attempt = SignInAttempt::taken_over(session, credential, request, client, sockets).await;
    let Some(mut attempt) = attempt else { return };
    pending.kept_by_helper().write(&session.store).await;
    let outcome = tokio::select! {
        outcome = browser::await_answer(session, &mut attempt, left) => outcome,
        () = withdrawn(session) => Err(AuthError::Interrupted),
    };
    // Before the lock is free, so that whoever takes it finds the port free as well.
    attempt.listener.close().await;
    match outcome {
        // Somebody has signed out.
        Err(AuthError::Interrupted) => {}
        outcome => browser::record_end(session, outcome.as_ref().err()).await,
    }
}

/// Resolves when nobody wants the sign-in any more.
async fn withdrawn(session: &SignInSession) {
    loop {
        tokio::time::sleep(LOOK).await;
        if !PendingSignIn::is_recorded(&session.store).await {
            return;
        }
    }
}
