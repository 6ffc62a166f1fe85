//! Sign-in lock: the right to sign in, which one process of an account has at a time.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Browser;
use crate::error::AuthError;
use crate::flow::page;
use crate::flow::session::SignInSession;
use crate::prompt::announcement::SIGN_IN_TARGET;
use crate::prompt::browser_launcher::BrowserLaunch;
use crate::sign_in_page::{SignInPage, SignInStage};
use crate::store::lock::{self, Lock};
use crate::store::pending::PendingSignIn;
use mcp_bridge_net::observer::SignInStep;

/// Interval at which a waiting process looks which page the other one shows.
const LOOK: Duration = Duration::from_secs(1);

/// Time that a helper gets to take over, which has the sockets of a sign-in whose process has ended. It tries all
/// the time.
const GIVING_WAY: Duration = Duration::from_millis(500);

/// Time that another process may take beyond the person's time: discovery, registration, the exchange.
const OVERHEAD: Duration = Duration::from_secs(90);

/// The right to sign in, among all processes.
pub(crate) struct SignInLock {
    pub(crate) arrival: Arrival,
    pub(crate) _lock: Lock,
}

/// Order of this process and another one that signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// None was: if there is a page, the process that opened it has ended.
    First,
    /// One was, and this one has waited for it.
    Later,
}

/// Takes the right to sign in. While another process has it, its page is shown as ours.
pub(crate) async fn take(session: &SignInSession) -> Result<SignInLock, AuthError> {
    let limit = session.config.timeout;
    let deadline = Instant::now() + limit + OVERHEAD;
    let mut arrival = Arrival::First;
    let mut patience = Duration::ZERO;
    let mut has_reopened = false;
    let mut has_given_way = false;
    while Instant::now() < deadline {
        if let Some(lock) = lock::acquire(&session.store, "sign-in.lock", patience).await? {
            if has_given_way || !has_helper_ready(session).await {
                return Ok(SignInLock {
                    arrival,
                    _lock: lock,
                });
            }
            has_given_way = true;
            drop(lock);
            tokio::time::sleep(GIVING_WAY).await;
            continue;
        }
        arrival = Arrival::Later;
        patience = LOOK;
        let pending = PendingSignIn::read(&session.store).await;
        if !has_reopened && is_kept_for(session, pending.as_ref()) {
            has_reopened = true;
            reopen(session).await;
        }
        let page =
            pending.and_then(|pending| Some(page::for_request(session, pending.request(limit)?)));
        let stage = page.map_or(SignInStage::None, SignInStage::Page);
        let is_new = session.stage.send_if_modified(|shown| {
            let differs = *shown != stage;
            *shown = stage.clone();
            differs
        });
        if let (true, Some(page)) = (is_new, stage.page()) {
            session.transport.step(SignInStep::Waiting, || {
                format!("another process waits for a person at {}", page.url())
            });
            tracing::info!(
                target: SIGN_IN_TARGET,
                "another mcp-bridge waits for the same sign-in already. {}",
                page::announcement(session, page, BrowserLaunch::Before)
            );
        }
    }
    let page = session.stage.borrow().page().cloned();
    let url = page.map(|page| SignInPage::whole(page.url().clone()));
    Err(AuthError::TimedOut { limit, url })
}

/// Returns whether the process that opened the page has ended and has a helper, which has not taken over yet.
async fn has_helper_ready(session: &SignInSession) -> bool {
    let pending = PendingSignIn::read(&session.store).await;
    pending.is_some_and(|pending| {
        pending.has_helper_ready() && pending.request(session.config.timeout).is_some()
    })
}

/// Returns whether this process should open the page of a helper again.
fn is_kept_for(session: &SignInSession, pending: Option<&PendingSignIn>) -> bool {
    session.config.browser != Browser::None
        && pending.is_some_and(|pending| pending.is_kept_for(session.started_at))
}

/// Opens the page of a helper again, unless another process that was started just now does.
async fn reopen(session: &SignInSession) {
    let lock = lock::acquire(&session.store, "reopening.lock", Duration::ZERO);
    let Ok(Some(_lock)) = lock.await else {
        return;
    };
    let pending = PendingSignIn::read(&session.store).await;
    let Some(pending) = pending.filter(|pending| is_kept_for(session, Some(pending))) else {
        return;
    };
    let limit = session.config.timeout;
    let Some(url) = pending.request(limit).map(|request| request.url.clone()) else {
        return;
    };
    pending.reopened().write(&session.store).await;
    page::open_browser(session, &url).await;
}
