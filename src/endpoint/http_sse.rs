//! The HTTP+SSE transport of MCP 2024-11-05: one event stream brings everything, each message goes out
//! as a POST to the address that the stream's first event names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use url::Url;

use super::answer::messages;
use super::body::{self, ContentType};
use super::send::{Outgoing, Repeat, SessionUse, Verb};
use super::stream::{Backoff, EventStream};
use super::track::Track;
use super::{Endpoint, Failure};
use crate::auth::Interaction;
use crate::message::{Kind, Message, RequestId};

/// How long the server may take to name the address for messages.
const ENDPOINT_EVENT_LIMIT: Duration = Duration::from_secs(10);

/// How long a message waits for a stream that is being opened again.
const RECONNECT_LIMIT: Duration = Duration::from_secs(15);

/// The connection to one server. It opens itself again when it breaks, until it is dropped.
#[derive(Debug)]
pub(super) struct HttpSse {
    link: watch::Sender<Link>,
    waiting: Mutex<HashMap<RequestId, oneshot::Sender<Message>>>,
    /// There is no stream per message that would keep them apart: one POST after the other.
    sending: tokio::sync::Mutex<()>,
    reader: Mutex<Option<AbortHandle>>,
}

/// Where messages can go at present.
#[derive(Debug, Clone)]
enum Link {
    /// Nowhere: the stream is being opened again.
    Down,
    /// To this address, but only what opens the conversation again.
    Reopening(Url),
    /// To this address.
    Up(Url),
}

impl Link {
    fn target_for(&self, session: &SessionUse) -> Option<&Url> {
        match (self, session) {
            (Self::Up(url), _)
            | (Self::Reopening(url), SessionUse::None | SessionUse::Fixed(_)) => Some(url),
            (Self::Reopening(_), SessionUse::Current) | (Self::Down, _) => None,
        }
    }
}

impl Drop for HttpSse {
    fn drop(&mut self) {
        if let Some(reader) = self.lock_reader().take() {
            reader.abort();
        }
    }
}

impl HttpSse {
    /// Opens the stream and learns the address for messages.
    pub(super) async fn connect(
        endpoint: &Arc<Endpoint>,
        track: &Track,
    ) -> Result<Arc<Self>, Failure> {
        let (stream, target) = open(endpoint, Interaction::Allowed, track).await?;
        let connection = Arc::new(Self {
            link: watch::Sender::new(Link::Up(target)),
            waiting: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            reader: Mutex::default(),
        });
        let reader = tokio::spawn(read(
            Arc::downgrade(endpoint),
            Arc::downgrade(&connection),
            stream,
        ));
        *connection.lock_reader() = Some(reader.abort_handle());
        Ok(connection)
    }

    /// Sends a request and waits for its response on the stream.
    pub(super) async fn request(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &Message,
        id: &RequestId,
        session: &SessionUse,
        interaction: Interaction,
        track: &Track,
    ) -> Result<Message, Failure> {
        let turn = self.turn(session).await?;
        // Only now: a stream that breaks before has nothing to do with this request.
        let (sender, answer) = oneshot::channel();
        self.lock_waiting().insert(id.clone(), sender);
        let waiting = Waiting {
            connection: self,
            id,
        };
        turn.send(endpoint, request, interaction, track).await?;
        let answer = answer.await;
        drop(waiting);
        answer.map_err(|_| Failure::ConnectionLost {
            detail: "the event stream broke".to_owned(),
        })
    }

    /// Sends a message. Its HTTP response only says whether the server took it.
    pub(super) async fn post(
        &self,
        endpoint: &Arc<Endpoint>,
        message: &Message,
        session: &SessionUse,
        interaction: Interaction,
        track: &Track,
    ) -> Result<(), Failure> {
        let turn = self.turn(session).await?;
        turn.send(endpoint, message, interaction, track).await
    }

    /// Waits until there is somewhere to send to, and nobody else is sending.
    async fn turn(&self, session: &SessionUse) -> Result<Turn<'_>, Failure> {
        let mut link = self.link.subscribe();
        loop {
            let usable = link.wait_for(|link| link.target_for(session).is_some());
            if !matches!(timeout(RECONNECT_LIMIT, usable).await, Ok(Ok(_))) {
                return Err(Failure::SessionLost(
                    "its event stream cannot be opened".to_owned(),
                ));
            }
            let one_at_a_time = self.sending.lock().await;
            // The stream may have broken while others were sending.
            let target = self.link.borrow().target_for(session).cloned();
            if let Some(target) = target {
                return Ok(Turn {
                    target,
                    _one_at_a_time: one_at_a_time,
                });
            }
        }
    }

    /// All who wait for an answer on the stream that broke will not get it.
    fn lose_all(&self) {
        self.lock_waiting().clear();
    }

    async fn take(&self, endpoint: &Endpoint, message: Message) {
        if let Kind::Response { id: Some(id) } = message.kind()
            && let Some(waiting) = self.lock_waiting().remove(id)
        {
            // Whoever waited may have given up meanwhile.
            let _ = waiting.send(message);
            return;
        }
        endpoint
            .deliver(message, endpoint.sessions.generation(), None)
            .await;
    }

    fn lock_waiting(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<RequestId, oneshot::Sender<Message>>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_reader(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The right to send one message.
struct Turn<'a> {
    target: Url,
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

impl Turn<'_> {
    async fn send(
        self,
        endpoint: &Arc<Endpoint>,
        message: &Message,
        interaction: Interaction,
        track: &Track,
    ) -> Result<(), Failure> {
        let outgoing = Outgoing {
            target: &self.target,
            verb: Verb::Post(message.text().clone()),
            headers: HeaderMap::new(),
            session: SessionUse::None,
            interaction,
            repeat: Repeat::Never,
            track,
        };
        let accepted = endpoint.send(&outgoing).await?;
        body::drain(accepted.response);
        Ok(())
    }
}

/// Forgets a request that nobody waits for any more.
struct Waiting<'a> {
    connection: &'a HttpSse,
    id: &'a RequestId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.connection.lock_waiting().remove(self.id);
    }
}

/// Reads the stream, and opens it again whenever it breaks.
async fn read(endpoint: Weak<Endpoint>, connection: Weak<HttpSse>, mut stream: EventStream) {
    let mut backoff = Backoff::default();
    loop {
        {
            let (Some(endpoint), Some(connection)) = (endpoint.upgrade(), connection.upgrade())
            else {
                return;
            };
            let reopen = Arc::clone(&endpoint.listener.reopen);
            tokio::select! {
                () = read_connection(&endpoint, &connection, &mut stream) => {}
                () = reopen.notified() => {}
            }
            connection.link.send_replace(Link::Down);
            connection.lose_all();
        }
        stream = loop {
            let Some(endpoint) = endpoint.upgrade() else {
                return;
            };
            let pause = stream.retry().unwrap_or_else(|| backoff.pause());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = endpoint.activity.notified() => {}
            }
            let Some(connection) = connection.upgrade() else {
                return;
            };
            match open(&endpoint, Interaction::Forbidden, &Track::default()).await {
                Ok((stream, target)) => {
                    backoff.reset();
                    connection.link.send_replace(Link::Reopening(target));
                    reinitialize(endpoint, connection);
                    break stream;
                }
                Err(failure) => {
                    tracing::debug!(host = %endpoint.host(), "no event stream: {failure}");
                }
            }
        };
    }
}

/// Tells the server again what the app once told it. Meanwhile the stream has to be read, so this is a
/// task of its own.
fn reinitialize(endpoint: Arc<Endpoint>, connection: Arc<HttpSse>) {
    tokio::spawn(async move {
        match endpoint.recover(endpoint.sessions.generation()).await {
            Ok(()) => {
                connection.link.send_if_modified(|link| match link {
                    Link::Reopening(url) => {
                        *link = Link::Up(url.clone());
                        true
                    }
                    Link::Up(_) | Link::Down => false,
                });
            }
            Err(failure) => {
                tracing::warn!(host = %endpoint.host(), "{failure}");
                // A stream without its session is of no use: both are opened anew.
                endpoint.listener.reopen();
            }
        }
    });
}

async fn read_connection(endpoint: &Endpoint, connection: &HttpSse, stream: &mut EventStream) {
    while let Ok(Some(event)) = stream.next().await {
        if &event.name[..] == b"endpoint" {
            match target(&endpoint.config.url, &event.data) {
                Ok(url) => {
                    connection.link.send_modify(|link| match link {
                        Link::Up(target) | Link::Reopening(target) => *target = url,
                        Link::Down => {}
                    });
                }
                Err(failure) => tracing::warn!(host = %endpoint.host(), "{failure}"),
            }
            continue;
        }
        for message in messages(&event.name, &event.data, endpoint) {
            connection.take(endpoint, message).await;
        }
    }
}

/// Opens the stream and waits for its first event, which names the address for messages.
async fn open(
    endpoint: &Arc<Endpoint>,
    interaction: Interaction,
    track: &Track,
) -> Result<(EventStream, Url), Failure> {
    let outgoing = Outgoing {
        target: &endpoint.config.url,
        verb: Verb::Get {
            last_event_id: None,
        },
        headers: HeaderMap::new(),
        session: SessionUse::None,
        interaction,
        repeat: Repeat::Initialize,
        track,
    };
    let accepted = endpoint.send(&outgoing).await?;
    let response = accepted.response;
    if ContentType::of(response.headers()) != ContentType::EventStream {
        return Err(Failure::InvalidResponse(
            "there is no event stream".to_owned(),
        ));
    }
    let base = accepted.redirected.as_ref().unwrap_or(outgoing.target);
    let mut stream = EventStream::new(response, endpoint.config.body_limits());
    let first = async {
        while let Some(event) = stream.next().await? {
            if &event.name[..] == b"endpoint" {
                return target(base, &event.data);
            }
        }
        Err(Failure::NoResponse("the event stream ended".to_owned()))
    };
    match timeout(ENDPOINT_EVENT_LIMIT, first).await {
        Ok(target) => Ok((stream, target?)),
        Err(_) => Err(Failure::Timeout(ENDPOINT_EVENT_LIMIT)),
    }
}

/// The address for messages: relative to the stream's, and of the same origin.
pub(super) fn target(base: &Url, data: &[u8]) -> Result<Url, Failure> {
    let reference = std::str::from_utf8(data).unwrap_or_default().trim();
    match base.join(reference) {
        Ok(url) if !reference.is_empty() && url.origin() == base.origin() => Ok(url),
        _ => Err(Failure::InvalidResponse(
            "its endpoint event names no address of the same origin".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_for_messages_stays_at_the_origin() {
        let base = Url::parse("https://example.com:8443/a/sse?x=1").unwrap();
        for (data, expected) in [
            (
                "/messages?id=1",
                Some("https://example.com:8443/messages?id=1"),
            ),
            ("messages", Some("https://example.com:8443/a/messages")),
            (
                "https://example.com:8443/m",
                Some("https://example.com:8443/m"),
            ),
            ("", None),
            ("https://example.com/m", None),
            ("http://example.com:8443/m", None),
            ("//evil.example/m", None),
            ("javascript:alert(1)", None),
            ("file:///etc/passwd", None),
        ] {
            let target = target(&base, data.as_bytes()).ok();
            assert_eq!(target.as_ref().map(Url::as_str), expected, "{data}");
        }
    }
}
