//! Interactive sign-in: one browser tab for all requests and all processes of an account.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::callback::page::Page;
use crate::client::registration::ClientRegistration;
use crate::error::AuthError;
use crate::flow::attempt::{Keeper, SignInAttempt};
use crate::flow::order::Order;
use crate::flow::session::{SignInSession, TokenSource};
use crate::flow::sign_in_lock::Arrival;
use crate::flow::{identity, page, renewal, shared_sign_in};
use crate::grant::authorization::{AuthorizationError, AuthorizationResponse};
use crate::grant::token_endpoint::{GrantError, Granted, TokenEndpoint};
use crate::linger::HelperGuard;
use crate::prompt::announcement::SIGN_IN_TARGET;
use crate::prompt::browser_launcher::BrowserLaunch;
use crate::sign_in_page::{SignInPage, SignInStage};
use crate::store::pending::PendingSignIn;
use crate::transport::error_code::{Meaning, meaning};
use mcp_bridge_net::observer::SignInStep;
use mcp_bridge_text::secret::Secret;

/// Lets other processes know that the sign-in is over, and if it failed, of `error`.
pub(crate) async fn record_end(session: &SignInSession, error: Option<&AuthError>) {
    let open = PendingSignIn::read(&session.store).await;
    match error.and_then(|error| PendingSignIn::ended(error, open.as_ref())) {
        Some(ended) => ended.write(&session.store).await,
        None => PendingSignIn::clear(&session.store).await,
    }
}

/// Shows the page to a person and waits for the answer.
pub(crate) async fn sign_in(
    session: &SignInSession,
    order: &Order,
    pending: Option<PendingSignIn>,
    arrival: Arrival,
) -> Result<(), AuthError> {
    let unanswered = pending.as_ref().and_then(PendingSignIn::unanswered_client);
    let continued = continued(session, order, pending, arrival).await;
    let (mut attempt, pending, open_page) = if let Some(continued) = continued {
        continued
    } else {
        let attempt = SignInAttempt::prepare(session, order, unanswered.as_deref()).await?;
        let pending = attempt.pending();
        (attempt, pending, OpenPage::Now)
    };
    attempt.guard = start_helper(session, &attempt).await;
    let helper = attempt.guard.state();
    pending.with_helper(helper).write(&session.store).await;
    session.expect_answers(attempt.listener.answers());
    show_page(session, &attempt, &open_page).await;
    let outcome = await_answer(session, &mut attempt, session.config.timeout).await;
    attempt.listener.close().await;
    attempt.guard.dismiss().await;
    outcome
}

/// Starts the helper that the user wants, if what it gets could be kept.
async fn start_helper(session: &SignInSession, attempt: &SignInAttempt) -> HelperGuard {
    let Some(helper) = &session.config.helper else {
        return HelperGuard::default();
    };
    if !session.can_keep().await {
        return HelperGuard::default();
    }
    HelperGuard::start(helper, attempt.listener.sockets(), &attempt.handed_over()).await
}

/// The sign-in of a process that has ended, if it can be gone on with.
async fn continued(
    session: &SignInSession,
    order: &Order,
    pending: Option<PendingSignIn>,
    arrival: Arrival,
) -> Option<(SignInAttempt, PendingSignIn, OpenPage)> {
    let pending = pending?;
    let request = pending.request(session.config.timeout)?;
    if arrival == Arrival::First && pending.is_given_up() {
        return None;
    }
    let attempt = SignInAttempt::resume(session, order, request, pending.client_origin()).await?;
    tracing::info!("going on with the sign-in of a process that has ended");
    let open_page = if has_tab(session, &pending, arrival) {
        OpenPage::AlreadyOpen
    } else {
        OpenPage::Now
    };
    let pending = match open_page {
        OpenPage::AlreadyOpen => pending,
        OpenPage::Now => pending.reopened(),
    };
    Some((attempt, pending, open_page))
}

/// True if a browser shows the page, as far as one can know. Who starts an app anew may have closed the tab
/// before, so a process that was started after the page was opened, and finds nobody waiting for it, opens it
/// once more, and after that no more often than others do.
fn has_tab(session: &SignInSession, pending: &PendingSignIn, arrival: Arrival) -> bool {
    let may_be_closed =
        arrival == Arrival::First && pending.was_opened_once_before(session.started_at);
    pending.has_tab() && !may_be_closed
}

/// Need to open the page.
enum OpenPage {
    Now,
    AlreadyOpen,
}

/// Takes answers until one brings tokens, says no, or the time that is left is over.
pub(crate) async fn await_answer(
    session: &SignInSession,
    attempt: &mut SignInAttempt,
    left: Duration,
) -> Result<(), AuthError> {
    let deadline = Instant::now() + left;
    loop {
        let next = timeout_at(deadline, attempt.listener.next()).await;
        let Ok(Some(callback)) = next else {
            return Err(AuthError::TimedOut {
                limit: session.config.timeout,
                url: Some(SignInPage::whole(attempt.request.url.clone())),
            });
        };
        let (answer, page) = callback.into_parts();
        if !attempt.request.is_answered_by(&answer) {
            tracing::info!("ignored an answer that belongs to no sign-in of ours");
            let _ = page.send(Page::Unexpected);
            continue;
        }
        let is_code_alone = answer.is_code_alone();
        if is_code_alone && attempt.request.iss_promised {
            let _ = page.send(Page::IncompleteAnswer);
            continue;
        }
        match redeem(session, attempt, answer).await {
            // A person has mistyped. The page is still open.
            Err(_) if is_code_alone => _ = page.send(Page::Failed),
            Ok(granted) => return finish(session, attempt, granted, page).await,
            Err(rejection) => ask_again(session, attempt, rejection, page).await?,
        }
    }
}

async fn show_page(session: &SignInSession, attempt: &SignInAttempt, open_page: &OpenPage) {
    let page = page::for_request(session, &attempt.request);
    session.stage.send_replace(SignInStage::Page(page.clone()));
    session.transport.step(SignInStep::Waiting, || {
        format!("waiting for a person at {}", page.url())
    });
    let opened = match open_page {
        OpenPage::Now => page::open_browser(session, page.url()).await,
        OpenPage::AlreadyOpen => BrowserLaunch::Before,
    };
    tracing::warn!(target: SIGN_IN_TARGET, "{}", page::announcement(session, &page, opened));
}

/// Reason why an answer brought no tokens.
struct Rejection {
    error: AuthError,
    meaning: Meaning,
    page: Page,
}

impl From<AuthorizationError> for Rejection {
    fn from(error: AuthorizationError) -> Self {
        let (meaning, page) = match &error {
            AuthorizationError::Refused { error, description } => (
                meaning(error, description.as_deref().unwrap_or_default()),
                Page::Denied,
            ),
            AuthorizationError::WrongState
            | AuthorizationError::WrongIssuer(_)
            | AuthorizationError::NoCode => (Meaning::Other, Page::Failed),
        };
        Self {
            error: error.into(),
            meaning,
            page,
        }
    }
}

/// An error that another request would not change.
impl From<AuthError> for Rejection {
    fn from(error: AuthError) -> Self {
        Self {
            meaning: Meaning::Other,
            error,
            page: Page::Failed,
        }
    }
}

impl From<GrantError> for Rejection {
    fn from(error: GrantError) -> Self {
        Self {
            meaning: error.meaning(),
            error: error.into_error(),
            page: Page::Failed,
        }
    }
}

async fn redeem(
    session: &SignInSession,
    attempt: &mut SignInAttempt,
    answer: AuthorizationResponse,
) -> Result<Granted, Rejection> {
    let code: Secret<String> = attempt.request.code(answer)?;
    let endpoint = TokenEndpoint {
        transport: &session.transport,
        metadata: &attempt.credential.metadata,
        client: &attempt.client,
    };
    let mut outcome = endpoint.redeem(&attempt.request, code).await;
    if let Ok(granted) = outcome {
        let nonce = attempt.request.nonce();
        let credential = &attempt.credential;
        outcome = identity::verified(session, credential, Some(&nonce), granted).await;
    }
    if let Ok(granted) = &outcome {
        let SignInAttempt {
            credential,
            client,
            request,
            ..
        } = attempt;
        shared_sign_in::examine(session, credential, client, Some(request), granted).await?;
    }
    if let Err(GrantError::Refused(refusal)) = &outcome {
        attempt.credential.quirks.authentication = refusal.method();
    }
    outcome.map_err(|error| match attempt.credential.client {
        ClientRegistration::PreRegistered => Rejection {
            meaning: error.meaning(),
            error: error.about_client(&attempt.credential.metadata.issuer),
            page: Page::Failed,
        },
        ClientRegistration::Dynamic(_)
        | ClientRegistration::MetadataDocument
        | ClientRegistration::Unregistered => error.into(),
    })
}

async fn finish(
    session: &SignInSession,
    attempt: &mut SignInAttempt,
    granted: Granted,
    page: oneshot::Sender<Page>,
) -> Result<(), AuthError> {
    // A refresh that runs elsewhere must not overwrite what the person has just agreed to.
    let _lock = renewal::lock(session).await.ok();
    // A sign-out ends a helper.
    if attempt.keeper == Keeper::Helper && !PendingSignIn::is_recorded(&session.store).await {
        let _ = page.send(Page::Failed);
        attempt.listener.close().await;
        return Err(AuthError::Interrupted);
    }
    attempt.credential.receive(granted);
    session.prove_client(&attempt.client.id);
    session
        .adopt(attempt.credential.clone(), TokenSource::SignIn)
        .await;
    let _ = page.send(match &session.config.callback.success_url {
        Some(url) => Page::SignedInAt(url.clone()),
        None => Page::SignedIn,
    });
    attempt.listener.close().await;
    tracing::info!("signed in");
    Ok(())
}

/// Sends the browser on with another request, if the rejection was about something that can be left out or
/// made anew; each at most once. Else the sign-in ends with the error.
async fn ask_again(
    session: &SignInSession,
    attempt: &mut SignInAttempt,
    rejection: Rejection,
    page: oneshot::Sender<Page>,
) -> Result<(), AuthError> {
    match change_request(session, attempt, rejection.meaning).await {
        Ok(Change::Made) => {
            tracing::info!(reason = %rejection.error, "asking in another way");
            session.transport.step(SignInStep::AskedAgain, || {
                format!("asking in another way: {}", rejection.error)
            });
            attempt.guard.tell(&attempt.handed_over()).await;
            let pending = match PendingSignIn::read(&session.store).await {
                Some(open) => open.asked_anew(attempt.request.clone(), attempt.client_origin()),
                None => attempt.pending(),
            };
            pending.write(&session.store).await;
            session
                .stage
                .send_replace(SignInStage::Page(page::for_request(
                    session,
                    &attempt.request,
                )));
            let _ = page.send(Page::Redirect(attempt.request.url.clone()));
            Ok(())
        }
        Ok(Change::Impossible) => {
            let _ = page.send(rejection.page);
            attempt.listener.close().await;
            Err(rejection.error)
        }
        Err(error) => {
            let _ = page.send(Page::Failed);
            attempt.listener.close().await;
            Err(error)
        }
    }
}

enum Change {
    Made,
    Impossible,
}

async fn change_request(
    session: &SignInSession,
    attempt: &mut SignInAttempt,
    meaning: Meaning,
) -> Result<Change, AuthError> {
    let quirks = &mut attempt.credential.quirks;
    match meaning {
        // Without them it would be a sign-in for one server, in the place of the one that others share.
        Meaning::ResourceIsUnwanted if !attempt.request.further_resources.is_empty() => {
            return Err(AuthError::NotShared {
                issuer: attempt.request.issuer.clone(),
                reason: "it takes no request for several servers".to_owned(),
            });
        }
        Meaning::ResourceIsUnwanted if attempt.request.resource.is_some() => {
            quirks.no_resource = true;
        }
        Meaning::ScopeIsUnwanted if session.config.pinned_scope().is_none() && !quirks.no_scope => {
            quirks.no_scope = true;
        }
        Meaning::ClientIsDead => {
            let replaced = attempt.replace_registration(session).await?;
            return Ok(if replaced {
                Change::Made
            } else {
                Change::Impossible
            });
        }
        // The code was used by somebody else: the process that this one took over from, or a program that
        // looks at links before people do.
        Meaning::GrantIsDead if !attempt.has_lost_code => attempt.has_lost_code = true,
        Meaning::ResourceIsUnwanted
        | Meaning::ScopeIsUnwanted
        | Meaning::GrantIsDead
        | Meaning::Other => return Ok(Change::Impossible),
    }
    attempt.renew_request(session)?;
    Ok(Change::Made)
}
