//! GET stream for the server's own messages (MCP 2025-11-25, "Listening for Messages from the Server").

use std::sync::{Arc, Weak};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::answer::messages;
use super::body::ContentType;
use super::request_progress::Track;
use super::retry::Repeat;
use super::send::{Outgoing, SessionUse, Verb};
use super::session::McpSession;
use super::stream::{EventStream, reconnect_backoff};
use super::{Endpoint, Event, Failure, Listening};
use mcp_bridge_auth::Interaction;
use mcp_bridge_net::http::{Response, Traffic};
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::Step;
use mcp_bridge_protocol::message::{Kind, Message};

/// The task that holds the stream open.
#[derive(Debug, Default)]
pub(super) struct Listener {
    task: Mutex<Option<AbortHandle>>,
    pub(super) reopen: Arc<Notify>,
    stream: watch::Sender<SessionStream>,
    /// Told of each event on the stream.
    event: Notify,
}

/// The stream, for requests whose responses may come on it.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionStream {
    /// The session that it belongs to; 0 while there is none.
    generation: u64,
    /// Reason for which the server refuses to open it.
    refusal: Option<String>,
    /// Reason for the end of its last connection, or for its failure.
    trouble: Option<String>,
}

impl SessionStream {
    /// Returns whether this is the stream of that session.
    pub(super) const fn is_of(&self, generation: u64) -> bool {
        self.generation == generation && generation != 0
    }

    /// Reason why the stream of that session will not bring a response any more.
    pub(super) fn no_hope(&self, generation: u64) -> Option<Failure> {
        if !self.is_of(generation) {
            let detail = "the session ended".to_owned();
            return Some(Failure::ConnectionLost { detail });
        }
        let refusal = self.refusal.as_ref()?;
        Some(Failure::Unanswered(format!(
            "the stream that could bring it was refused: {refusal}"
        )))
    }

    /// The same for a stream that is being opened again, in brackets for the end of a sentence.
    pub(super) fn trouble(&self) -> String {
        let trouble = self.trouble.as_ref();
        trouble.map_or_else(String::new, |trouble| format!(" (it broke: {trouble})"))
    }
}

impl Listener {
    /// Follows what becomes of the stream.
    pub(super) fn watch(&self) -> watch::Receiver<SessionStream> {
        self.stream.subscribe()
    }

    /// Resolves with the next event on the stream.
    pub(super) async fn brought_something(&self) {
        self.event.notified().await;
    }

    /// Notes what has become of the stream of a session, unless there is another by now.
    fn note(&self, generation: u64, change: impl FnOnce(&mut SessionStream)) {
        self.stream.send_if_modified(|stream| {
            let is_current = stream.is_of(generation);
            if is_current {
                change(stream);
            }
            is_current
        });
    }

    /// Gives the present connection up and makes another.
    pub(super) fn reopen(&self) {
        self.reopen.notify_waiters();
    }

    pub(super) fn stop(&self) {
        self.replace(None);
        self.stream.send_replace(SessionStream::default());
    }

    fn replace(&self, task: Option<AbortHandle>) {
        let mut current = self.task.lock();
        if let Some(previous) = std::mem::replace(&mut *current, task) {
            previous.abort();
        }
    }
}

/// End of a connection of the stream.
enum ConnectionEnd {
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
        self.listener.stream.send_replace(SessionStream {
            generation: session.generation,
            ..SessionStream::default()
        });
        let task = tokio::spawn(listen(Arc::downgrade(self), session));
        self.listener.replace(Some(task.abort_handle()));
    }
}

async fn listen(endpoint: Weak<Endpoint>, session: McpSession) {
    let mut backoff = reconnect_backoff();
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
            () = reopen.notified() => ConnectionEnd::Passing { brought_something: true },
        };
        match end {
            ConnectionEnd::Final => {
                return endpoint.tell(Event::Listening(Listening::Refused)).await;
            }
            ConnectionEnd::SessionLost => {
                endpoint
                    .listener
                    .note(session.generation, |stream| stream.generation = 0);
                // A task of its own: the recovery replaces this one by the new session's.
                let generation = session.generation;
                let endpoint = Arc::clone(&endpoint);
                tokio::spawn(async move {
                    if let Err(failure) = endpoint.recover(generation).await {
                        tracing::debug!(host = %endpoint.host(), "no session for the notification stream: {failure}");
                    }
                });
                return;
            }
            ConnectionEnd::Passing { brought_something } => {
                if brought_something {
                    backoff.reset();
                }
            }
        }
        let retry = stream.as_ref().and_then(EventStream::retry);
        let pause = retry.unwrap_or_else(|| backoff.jittered_pause());
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
    session: &McpSession,
    stream: &mut Option<EventStream>,
) -> ConnectionEnd {
    let cursor = stream.as_ref().and_then(EventStream::cursor);
    let response = match connect(endpoint, session, cursor).await {
        Ok(response) => response,
        Err(failure) => {
            let end = end_of(endpoint, &failure, stream.is_some());
            endpoint
                .listener
                .note(session.generation, |stream| match end {
                    ConnectionEnd::Final => stream.refusal = Some(failure.to_string()),
                    ConnectionEnd::Passing { .. } => stream.trouble = Some(failure.to_string()),
                    ConnectionEnd::SessionLost => {}
                });
            return end;
        }
    };
    endpoint
        .listener
        .note(session.generation, |stream| stream.trouble = None);
    let stream = if let Some(stream) = stream {
        endpoint.note(Step::Stream, "notification stream opened again");
        stream.resume(response);
        stream
    } else {
        endpoint.note(Step::Stream, "notification stream opened");
        endpoint.tell(Event::Listening(Listening::Open)).await;
        stream.insert(EventStream::new(response, endpoint.config.body_limits()))
    };
    let mut brought_something = false;
    loop {
        match stream.next().await {
            Ok(Some(event)) => {
                brought_something = true;
                for message in messages(stream, &event, endpoint) {
                    match message {
                        Ok(message) => on_message(endpoint, session, message).await,
                        Err(damaged) => endpoint.settle_damaged(damaged),
                    }
                }
                endpoint.listener.event.notify_waiters();
            }
            Ok(None) => {
                endpoint.note(Step::Stream, "notification stream ended by the server");
                return ConnectionEnd::Passing { brought_something };
            }
            Err(failure) => {
                endpoint.step(Step::Stream, || format!("notifications broken: {failure}"));
                tracing::debug!(host = %endpoint.host(), "the notification stream broke: {failure}");
                endpoint.listener.note(session.generation, |stream| {
                    stream.trouble = Some(failure.to_string());
                });
                return ConnectionEnd::Passing { brought_something };
            }
        }
    }
}

/// Hands a message on: a response to the request that waits for it, anything else to the app.
async fn on_message(endpoint: &Endpoint, session: &McpSession, message: Message) {
    if let Kind::Response { id } = message.kind() {
        let id = id.clone();
        return endpoint.settle(id.as_ref(), message);
    }
    endpoint.deliver(message, session.generation, None).await;
}

async fn connect(
    endpoint: &Arc<Endpoint>,
    session: &McpSession,
    last_event_id: Option<HeaderValue>,
) -> Result<Response, Failure> {
    let track = Track::default();
    let outgoing = Outgoing {
        target: &endpoint.config.url,
        verb: Verb::Get { last_event_id },
        traffic: Traffic::Stream,
        headers: HeaderMap::new(),
        session: SessionUse::Fixed(session.clone()),
        interaction: Interaction::Forbidden,
        repeat: Repeat::Never,
        track: &track,
    };
    let response = endpoint.send(&outgoing).await?.response;
    match ContentType::from_headers(response.headers()) {
        ContentType::EventStream => {
            track.wire.accepted("event stream opened");
            Ok(response)
        }
        kind => Err(Failure::no_event_stream(&kind)),
    }
}

/// The end that a refused connection means. `had_one` tells whether this session has had the stream before.
fn end_of(endpoint: &Endpoint, failure: &Failure, had_one: bool) -> ConnectionEnd {
    tracing::debug!(host = %endpoint.host(), "no notification stream: {failure}");
    endpoint.step(Step::Stream, || {
        format!("no notification stream: {failure}")
    });
    match failure {
        Failure::Status { status, .. } => match *status {
            StatusCode::NOT_FOUND | StatusCode::GONE if had_one => ConnectionEnd::SessionLost,
            StatusCode::CONFLICT | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                ConnectionEnd::Passing {
                    brought_something: false,
                }
            }
            status if status.is_client_error() => ConnectionEnd::Final,
            _ => ConnectionEnd::Passing {
                brought_something: false,
            },
        },
        Failure::Connect { .. }
        | Failure::ConnectionLost { .. }
        | Failure::Timeout(_)
        | Failure::Auth(_) => ConnectionEnd::Passing {
            brought_something: false,
        },
        Failure::Redirect { .. }
        | Failure::InvalidResponse(_)
        | Failure::NoResponse(_)
        | Failure::Unusable(_)
        | Failure::Unanswered(_)
        | Failure::MessageAddress(_)
        | Failure::MessageRefused { .. }
        | Failure::HttpSse
        | Failure::Unsendable(_)
        | Failure::TooLarge { .. }
        | Failure::SessionLost(_)
        | Failure::SignInNotReady(_)
        | Failure::NoSession(_)
        | Failure::Overloaded { .. }
        | Failure::ShuttingDown
        | Failure::Internal => ConnectionEnd::Final,
    }
}
