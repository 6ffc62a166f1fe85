//! The event stream of HTTP+SSE as a condition for sending: where messages go at present, and the wait
//! for a stream that is being opened again or wants a sign-in first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::outage;
use super::request_progress::{Phase, Track};
use super::send::{SendOptions, SessionUse};
use super::{Endpoint, Failure};
use mcp_bridge_auth::{AuthError, Interaction};

/// Time that a message for which nobody waits is kept for a stream that is being opened again.
const RECONNECT_LIMIT: Duration = Duration::from_secs(15);

/// Destination of messages at present.
#[derive(Debug, Clone)]
pub(super) enum StreamLink {
    /// Nowhere: the stream is being opened again. The failure is that of the last try.
    Down(Option<Failure>),
    /// Nowhere: the stream cannot be opened again before somebody signs in.
    SignInRequired,
    /// To this address, but only what opens the conversation again.
    Reopening(Url),
    /// To this address.
    Up(Url),
    /// Nowhere: another connection has taken the place of this one, which only brings what is awaited on it.
    Closed,
}

impl StreamLink {
    pub(super) fn target_for(&self, session: &SessionUse) -> Option<&Url> {
        match (self, session) {
            (Self::Up(url), _)
            | (Self::Reopening(url), SessionUse::None | SessionUse::Fixed(_)) => Some(url),
            (Self::Reopening(_), SessionUse::Current)
            | (Self::Down(_) | Self::SignInRequired | Self::Closed, _) => None,
        }
    }

    /// Reason why nothing can be sent, after a wait that took so long.
    fn failure(&self, tried: Duration) -> Failure {
        match self {
            Self::Down(Some(Failure::Connect { cause, detail, .. })) => Failure::Connect {
                cause: *cause,
                tried: Some(tried),
                detail: detail.clone(),
            },
            Self::Down(Some(why)) => {
                Failure::SessionLost(format!("its event stream cannot be opened: {why}"))
            }
            Self::Closed => Failure::SessionLost("the app has opened another".to_owned()),
            Self::Down(None) | Self::SignInRequired | Self::Reopening(_) | Self::Up(_) => {
                Failure::SessionLost("its event stream cannot be opened".to_owned())
            }
        }
    }
}

/// Outcome of the wait for a stream.
#[derive(Debug)]
pub(super) enum StreamWait {
    /// Messages can be sent.
    Up,
    /// The stream cannot be opened before somebody signs in, and the message may ask for that.
    SignIn,
}

/// Waits until `link` leads somewhere. `retry` ends the pause before the stream is opened again.
pub(super) async fn wait(
    link: &watch::Sender<StreamLink>,
    retry: &Notify,
    endpoint: &Endpoint,
    options: &SendOptions<'_>,
) -> Result<StreamWait, Failure> {
    let SendOptions {
        session,
        interaction,
        track,
    } = options;
    let end = |link: &StreamLink| match link {
        StreamLink::Closed => Some(Err(link.failure(Duration::ZERO))),
        StreamLink::SignInRequired if *interaction == Interaction::Allowed => {
            Some(Ok(StreamWait::SignIn))
        }
        link => link.target_for(session).map(|_| Ok(StreamWait::Up)),
    };
    let now = end(&link.borrow());
    if let Some(end) = now {
        return end;
    }
    let patience = track.wait_limit().unwrap_or(RECONNECT_LIMIT);
    let waiting = endpoint.outage.begin(Instant::now());
    let mut changes = link.subscribe();
    track.enter(Phase::Unreachable);
    loop {
        let connected = async {
            // Cannot fail: the sender is held by the caller.
            let _ = changes.wait_for(|link| end(link).is_some()).await;
        };
        let next = waiting.next_try(patience, endpoint.stopping.subscribe(), connected);
        let next = next.await;
        let link = link.borrow();
        if let Some(end) = end(&link) {
            return end;
        }
        match next {
            outage::WaitEnd::TryAgain => retry.notify_one(),
            outage::WaitEnd::GiveUp => return Err(link.failure(waiting.elapsed())),
        }
    }
}

/// The sign-in that lets a stream be opened again: one for all who wait for it.
#[derive(Debug, Default)]
pub(super) struct SignIn(Mutex<Option<FailedSignIn>>);

#[derive(Debug)]
struct FailedSignIn {
    at: Instant,
    failure: Failure,
}

impl SignIn {
    /// Signs in by `open`, unless another request has done so meanwhile, for as long as `track` allows.
    pub(super) async fn once(
        &self,
        endpoint: &Arc<Endpoint>,
        track: &Track,
        is_needed: impl Fn() -> bool,
        open: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let asked = Instant::now();
        let in_turn = async {
            let mut last = self.0.lock().await;
            if !is_needed() {
                return Ok(());
            }
            if let Some(failed) = &*last
                && failed.at >= asked
            {
                return Err(failed.failure.clone());
            }
            let opened = open.await;
            // Whoever has more time waits on where this request had none left.
            let failure = opened.as_ref().err();
            let failure = failure.filter(|failure| !failure.is_for_want_of_a_sign_in());
            *last = failure.map(|failure| FailedSignIn {
                at: Instant::now(),
                failure: failure.clone(),
            });
            opened
        };
        let deadline = track.sign_in_limit().map(|limit| asked + limit);
        track.enter(Phase::SigningIn);
        tokio::select! {
            biased;
            opened = in_turn => opened,
            () = until(deadline) => {
                let authorizer = endpoint.authorizer.as_ref();
                let error = authorizer.map(|authorizer| authorizer.unfinished_sign_in());
                Err(error.unwrap_or(AuthError::SignInRequired { url: None }).into())
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
