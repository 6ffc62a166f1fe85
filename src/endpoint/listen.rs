//! The standalone stream for what the server says of its own accord (MCP 2025-11-25, "Listening for
//! Messages from the Server").

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::answer::messages;
use super::body::ContentType;
use super::send::{Outgoing, Repeat, SessionUse, Verb};
use super::session::Session;
use super::stream::{Backoff, EventStream};
use super::track::Track;
use super::{Endpoint, Event, Failure};
use crate::auth::Interaction;
use crate::http::Response;

/// The task that holds the stream open.
#[derive(Debug, Default)]
pub(super) struct Listener {
    task: Mutex<Option<AbortHandle>>,
    pub(super) reopen: Arc<Notify>,
}

impl Listener {
    /// Gives the present connection up and makes another.
    pub(super) fn reopen(&self) {
        self.reopen.notify_waiters();
    }

    pub(super) fn stop(&self) {
        self.replace(None);
    }

    fn replace(&self, task: Option<AbortHandle>) {
        let mut current = self
            .task
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(previous) = std::mem::replace(&mut *current, task) {
            previous.abort();
        }
    }
}

/// How a connection of the stream ended.
enum End {
    /// The server has no such stream, or the session is over: there is nothing to wait for.
    Final,
    /// Another connection may do better.
    Passing { brought_something: bool },
    /// The session is lost.
    SessionLost,
}

impl Endpoint {
    /// Opens the stream for the current session, and keeps it open until the session ends.
    pub(super) fn listen(self: &Arc<Self>) {
        // The older transport has its one stream open already.
        if self.http_sse().is_some() {
            return;
        }
        let session = self.sessions.current();
        let task = tokio::spawn(listen(Arc::downgrade(self), session));
        self.listener.replace(Some(task.abort_handle()));
    }
}

async fn listen(endpoint: Weak<Endpoint>, session: Session) {
    let mut backoff = Backoff::default();
    let mut stream: Option<EventStream> = None;
    loop {
        let Some(endpoint) = endpoint.upgrade() else {
            return;
        };
        if endpoint.sessions.generation() != session.generation {
            return;
        }
        let reopen = Arc::clone(&endpoint.listener.reopen);
        let end = tokio::select! {
            end = connect_and_read(&endpoint, &session, &mut stream) => end,
            () = reopen.notified() => End::Passing { brought_something: true },
        };
        match end {
            End::Final => return endpoint.tell(Event::Listening(false)).await,
            End::SessionLost => {
                // A task of its own: the recovery replaces this one by the new session's.
                let generation = session.generation;
                let endpoint = Arc::clone(&endpoint);
                tokio::spawn(async move {
                    if let Err(failure) = endpoint.recover(generation).await {
                        tracing::debug!(host = %endpoint.host(), "{failure}");
                    }
                });
                return;
            }
            End::Passing { brought_something } => {
                if brought_something {
                    backoff.reset();
                }
            }
        }
        let retry = stream.as_ref().and_then(EventStream::retry);
        let pause = retry.unwrap_or_else(|| backoff.pause());
        pause_or_activity(&endpoint, pause, retry).await;
    }
}

/// Waits for the pause to pass, or until a request goes out: then the server is probably there again.
/// A reconnection time that the server asked for is kept.
async fn pause_or_activity(endpoint: &Endpoint, pause: Duration, retry: Option<Duration>) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = endpoint.activity.notified(), if retry.is_none() => {}
    }
}

async fn connect_and_read(
    endpoint: &Arc<Endpoint>,
    session: &Session,
    stream: &mut Option<EventStream>,
) -> End {
    let cursor = stream.as_ref().and_then(EventStream::cursor);
    let response = match connect(endpoint, session, cursor).await {
        Ok(response) => response,
        Err(failure) => return end_of(endpoint, &failure, stream.is_some()),
    };
    let stream = if let Some(stream) = stream {
        stream.resume(response);
        stream
    } else {
        endpoint.tell(Event::Listening(true)).await;
        stream.insert(EventStream::new(response, endpoint.config.body_limits()))
    };
    let mut brought_something = false;
    loop {
        match stream.next().await {
            Ok(Some(event)) => {
                brought_something = true;
                for message in messages(&event.name, &event.data, endpoint) {
                    endpoint.deliver(message, session.generation, None).await;
                }
            }
            Ok(None) => return End::Passing { brought_something },
            Err(failure) => {
                tracing::debug!(host = %endpoint.host(), "the notification stream broke: {failure}");
                return End::Passing { brought_something };
            }
        }
    }
}

async fn connect(
    endpoint: &Arc<Endpoint>,
    session: &Session,
    last_event_id: Option<HeaderValue>,
) -> Result<Response, Failure> {
    let track = Track::default();
    let outgoing = Outgoing {
        target: &endpoint.config.url,
        verb: Verb::Get { last_event_id },
        headers: HeaderMap::new(),
        session: SessionUse::Fixed(session.clone()),
        interaction: Interaction::Forbidden,
        repeat: Repeat::Never,
        track: &track,
    };
    let response = endpoint.send(&outgoing).await?.response;
    match ContentType::of(response.headers()) {
        ContentType::EventStream => Ok(response),
        _ => Err(Failure::InvalidResponse("no event stream".to_owned())),
    }
}

/// What a refused connection means. `had_one` tells whether this session has had the stream before.
fn end_of(endpoint: &Endpoint, failure: &Failure, had_one: bool) -> End {
    tracing::debug!(host = %endpoint.host(), "no notification stream: {failure}");
    match failure {
        Failure::Status { status, .. } => match *status {
            StatusCode::NOT_FOUND | StatusCode::GONE if had_one => End::SessionLost,
            StatusCode::CONFLICT | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                End::Passing {
                    brought_something: false,
                }
            }
            status if status.is_client_error() => End::Final,
            _ => End::Passing {
                brought_something: false,
            },
        },
        Failure::Connect { .. }
        | Failure::ConnectionLost { .. }
        | Failure::Timeout(_)
        | Failure::Auth(_) => End::Passing {
            brought_something: false,
        },
        Failure::Redirect { .. }
        | Failure::InvalidResponse(_)
        | Failure::NoResponse(_)
        | Failure::HttpSse
        | Failure::Unsendable(_)
        | Failure::TooLarge { .. }
        | Failure::SessionLost(_)
        | Failure::SignInNotReady(_)
        | Failure::NoSession(_)
        | Failure::Overloaded { .. }
        | Failure::ShuttingDown
        | Failure::Internal => End::Final,
    }
}
