//! The HTTP+SSE transport of MCP 2024-11-05: one event stream brings everything, each message goes out
//! as a POST to the address that the stream's first event names.

use std::sync::{Arc, Weak};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use url::Url;

use super::answer::messages;
use super::body::{self, BodyLimits, ContentType};
use super::exchange::traffic;
use super::in_flight::InFlight;
use super::link::{self, SignIn, StreamLink, StreamWait};
use super::request_progress::Track;
use super::retry::{Cause, Repeat, Retries};
use super::send::{Outgoing, SendOptions, SessionUse, Verb};
use super::sse::SseEvent;
use super::stream::{EventStream, reconnect_backoff};
use super::unusable::excerpt;
use super::{Endpoint, Failure, Request};
use mcp_bridge_auth::{AuthError, Interaction};
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_net::http::{Response, Traffic, bare, check_length};
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::Step;
use mcp_bridge_protocol::message::{Kind, Message};

/// Limit for the server to name the address for messages.
const ENDPOINT_EVENT_LIMIT: Duration = Duration::from_secs(10);

/// The connection to one server. It opens itself again when it breaks, until another takes its place. Its
/// stream is read as long as somebody has it: the endpoint, or a request that awaits its response on it.
#[derive(Debug)]
pub(super) struct HttpSse {
    link: watch::Sender<StreamLink>,
    in_flight: InFlight,
    /// There is no stream per message that would keep them apart: one POST after the other.
    sending: tokio::sync::Mutex<()>,
    /// Ends the pause before the stream is opened again.
    retry: Arc<Notify>,
    reader: Mutex<Option<AbortHandle>>,
    signing_in: SignIn,
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
        endpoint.note(Step::Transport, "HTTP+SSE, by an endpoint event");
        let connection = Arc::new(Self {
            link: watch::Sender::new(StreamLink::Up(target)),
            in_flight: InFlight::default(),
            sending: tokio::sync::Mutex::default(),
            retry: Arc::default(),
            reader: Mutex::default(),
            signing_in: SignIn::default(),
        });
        let reader = tokio::spawn(read(
            Arc::downgrade(endpoint),
            Arc::downgrade(&connection),
            stream,
        ));
        *connection.lock_reader() = Some(reader.abort_handle());
        Ok(connection)
    }

    /// Another connection takes the place of this one: nothing more is sent here.
    pub(super) fn retire(&self) {
        self.link.send_replace(StreamLink::Closed);
    }

    /// Sends a request and waits for its response on the stream.
    pub(super) async fn request(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &Request,
        options: &SendOptions<'_>,
    ) -> Result<Message, Failure> {
        let turn = self.turn(endpoint, options).await?;
        // Only now: a stream that breaks before has nothing to do with this request.
        let mut waiting = self.in_flight.register(request.id());
        turn.send(endpoint, request.message(), options).await?;
        waiting.response().await
    }

    /// Sends a message. Its HTTP response only says whether the server took it.
    pub(super) async fn post(
        &self,
        endpoint: &Arc<Endpoint>,
        message: &Message,
        options: &SendOptions<'_>,
    ) -> Result<(), Failure> {
        let turn = self.turn(endpoint, options).await?;
        turn.send(endpoint, message, options).await
    }

    /// Waits until there is somewhere to send to, and nobody else is sending. Where that takes a sign-in, a message
    /// that may ask for one does.
    async fn turn(
        &self,
        endpoint: &Arc<Endpoint>,
        options: &SendOptions<'_>,
    ) -> Result<PostTurn<'_>, Failure> {
        let mut retries = Retries::new(Repeat::Never);
        loop {
            let wait = link::wait(&self.link, &self.retry, endpoint, options);
            if let StreamWait::SignIn = wait.await? {
                // A server that refuses each new token would have it sign in without end.
                if !retries.allow(Cause::SignInForStream) {
                    return Err(AuthError::SignInRequired { url: None }.into());
                }
                self.sign_in(endpoint, options.track).await?;
                continue;
            }
            let one_at_a_time = self.sending.lock().await;
            // The stream may have broken while others were sending.
            let target = self.link.borrow().target_for(&options.session).cloned();
            if let Some(target) = target {
                return Ok(PostTurn {
                    target,
                    _one_at_a_time: one_at_a_time,
                });
            }
        }
    }

    /// Gets a token that opens the stream, and lets the stream be opened.
    async fn sign_in(&self, endpoint: &Arc<Endpoint>, track: &Track) -> Result<(), Failure> {
        let is_needed = || matches!(*self.link.borrow(), StreamLink::SignInRequired);
        // Boxed: it is large, and rare.
        let opened = Box::pin(async {
            open(endpoint, Interaction::Allowed, track).await?;
            self.link.send_if_modified(|link| {
                let waits = matches!(link, StreamLink::SignInRequired);
                if waits {
                    *link = StreamLink::Down(None);
                }
                waits
            });
            self.retry.notify_one();
            Ok(())
        });
        self.signing_in
            .once(endpoint, track, is_needed, opened)
            .await
    }

    /// The address that messages go to at present, as it may be shown.
    pub(super) fn address(&self) -> Option<String> {
        match &*self.link.borrow() {
            StreamLink::Up(url) | StreamLink::Reopening(url) => Some(bare(url).to_string()),
            StreamLink::Down(_) | StreamLink::SignInRequired | StreamLink::Closed => None,
        }
    }

    /// Says where messages can go now. False where another connection has taken the place of this one.
    fn set_link(&self, now: StreamLink) -> bool {
        let set = |link: &mut StreamLink| {
            let is_open = !matches!(link, StreamLink::Closed);
            if is_open {
                *link = now;
            }
            is_open
        };
        self.link.send_if_modified(set)
    }

    async fn on_message(&self, endpoint: &Endpoint, message: Message) {
        if let Kind::Response { id } = message.kind() {
            let id = id.clone();
            let settled = id
                .as_ref()
                .is_some_and(|known| self.in_flight.settle(known, Ok(message)));
            if !settled {
                endpoint.drop_response(id.as_ref());
            }
            return;
        }
        endpoint
            .deliver(message, endpoint.sessions.generation(), None)
            .await;
    }

    fn lock_reader(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.reader.lock()
    }
}

/// The right to send one message.
struct PostTurn<'a> {
    target: Url,
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

impl PostTurn<'_> {
    async fn send(
        self,
        endpoint: &Arc<Endpoint>,
        message: &Message,
        options: &SendOptions<'_>,
    ) -> Result<(), Failure> {
        let outgoing = Outgoing {
            target: &self.target,
            verb: Verb::Post(message.clone()),
            traffic: traffic(message),
            headers: HeaderMap::new(),
            session: SessionUse::None,
            interaction: options.interaction,
            repeat: Repeat::Never,
            track: options.track,
        };
        let accepted = endpoint.send(&outgoing).await?;
        options.track.wire.accepted("accepted");
        body::drain(accepted.response);
        Ok(())
    }
}

/// Reads the stream, and opens it again whenever it breaks.
async fn read(endpoint: Weak<Endpoint>, connection: Weak<HttpSse>, mut stream: EventStream) {
    let mut backoff = reconnect_backoff();
    loop {
        let Some(reopen) = endpoint.upgrade().map(|it| Arc::clone(&it.listener.reopen)) else {
            return;
        };
        let detail = tokio::select! {
            detail = read_connection(&endpoint, &connection, &mut stream) => detail,
            () = reopen.notified() => "the event stream was given up".to_owned(),
        };
        let Some(broken) = connection.upgrade() else {
            return;
        };
        // All who wait for an answer on the stream that broke will not get it.
        let failure = Failure::ConnectionLost { detail };
        broken.in_flight.fail_all(&failure);
        if !broken.set_link(StreamLink::Down(None)) {
            return;
        }
        drop(broken);
        match open_again(&endpoint, &connection, &stream, &mut backoff).await {
            Some(another) => stream = another,
            None => return,
        }
    }
}

/// Tries to open the stream until that works; `None` if nobody has use for it any more.
async fn open_again(
    endpoint: &Weak<Endpoint>,
    connection: &Weak<HttpSse>,
    broken: &EventStream,
    backoff: &mut Backoff,
) -> Option<EventStream> {
    loop {
        let endpoint = endpoint.upgrade()?;
        let retry = Arc::clone(&connection.upgrade()?.retry);
        let pause = broken.retry().unwrap_or_else(|| backoff.jittered_pause());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = endpoint.activity.notified() => {}
            () = retry.notified() => {}
        }
        let opened = open(&endpoint, Interaction::Forbidden, &Track::default()).await;
        let connection = connection.upgrade()?;
        match opened {
            Ok((stream, target)) => {
                backoff.reset();
                if !connection.set_link(StreamLink::Reopening(target)) {
                    return None;
                }
                reinitialize(endpoint, connection);
                return Some(stream);
            }
            Err(failure) => {
                tracing::debug!(host = %endpoint.host(), "no event stream: {failure}");
                let link = match failure {
                    Failure::Auth(error) if matches!(*error, AuthError::SignInRequired { .. }) => {
                        StreamLink::SignInRequired
                    }
                    failure => StreamLink::Down(Some(failure)),
                };
                if !connection.set_link(link) {
                    return None;
                }
            }
        }
    }
}

/// Tells the server again what the app once told it. Meanwhile the stream has to be read, so this is a
/// task of its own.
fn reinitialize(endpoint: Arc<Endpoint>, connection: Arc<HttpSse>) {
    tokio::spawn(async move {
        // Where nothing was told yet, the app's own `initialize` comes by this stream.
        let told = if endpoint.sessions.is_initialized() {
            endpoint.recover(endpoint.sessions.generation()).await
        } else {
            Ok(())
        };
        match told {
            Ok(()) => {
                connection.link.send_if_modified(|link| match link {
                    StreamLink::Reopening(url) => {
                        *link = StreamLink::Up(url.clone());
                        true
                    }
                    StreamLink::Up(_)
                    | StreamLink::Down(_)
                    | StreamLink::SignInRequired
                    | StreamLink::Closed => false,
                });
            }
            Err(failure) => {
                tracing::warn!(host = %endpoint.host(), "no session on the event stream: {failure}");
                // A stream without its session is of no use: both are opened anew.
                endpoint.listener.reopen();
            }
        }
    });
}

/// Reads the stream to its end; returns why that came. The connection is not held meanwhile.
async fn read_connection(
    endpoint: &Weak<Endpoint>,
    connection: &Weak<HttpSse>,
    stream: &mut EventStream,
) -> String {
    loop {
        let event = match stream.next().await {
            Ok(Some(event)) => event,
            Ok(None) => return format!("the event stream ended{}", stream.account()),
            Err(failure) => return format!("the event stream broke: {failure}"),
        };
        let (Some(endpoint), Some(connection)) = (endpoint.upgrade(), connection.upgrade()) else {
            return "nobody has use for it".to_owned();
        };
        on_event(&endpoint, &connection, stream, &event).await;
    }
}

async fn on_event(
    endpoint: &Endpoint,
    connection: &HttpSse,
    stream: &mut EventStream,
    event: &SseEvent,
) {
    if &event.name[..] == b"endpoint" {
        match target(&endpoint.config.url, &event.data) {
            Ok(url) => {
                connection.link.send_modify(|link| match link {
                    StreamLink::Up(target) | StreamLink::Reopening(target) => *target = url,
                    StreamLink::Down(_) | StreamLink::SignInRequired | StreamLink::Closed => {}
                });
            }
            Err(failure) => {
                tracing::warn!(host = %endpoint.host(), "kept the address for messages: {failure}");
            }
        }
        return;
    }
    for message in messages(stream, event, endpoint) {
        match message {
            Ok(message) => connection.on_message(endpoint, message).await,
            Err(damaged) => {
                let failure = Failure::Unusable(damaged.reason.into());
                connection.in_flight.settle(&damaged.answers, Err(failure));
            }
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
        traffic: Traffic::Stream,
        headers: HeaderMap::new(),
        session: SessionUse::None,
        interaction,
        repeat: Repeat::Initialize,
        track,
    };
    let accepted = endpoint.send(&outgoing).await?;
    track.wire.accepted("event stream opened");
    let base = accepted.redirected.as_ref().unwrap_or(outgoing.target);
    let limits = endpoint.config.body_limits();
    let opened = first_event(base, accepted.response, limits);
    match timeout(ENDPOINT_EVENT_LIMIT, opened).await {
        Ok(opened) => opened,
        Err(_) => Err(Failure::NoResponse(format!(
            "its event stream named no address for messages within {} s",
            ENDPOINT_EVENT_LIMIT.as_secs()
        ))),
    }
}

/// Reads the answer to the GET of `base` up to the event that names the address for messages.
pub(super) async fn first_event(
    base: &Url,
    response: Response,
    limits: BodyLimits,
) -> Result<(EventStream, Url), Failure> {
    match ContentType::from_headers(response.headers()) {
        ContentType::EventStream => {}
        kind => return Err(Failure::no_event_stream(&kind)),
    }
    let mut stream = EventStream::new(response, limits);
    let mut others = 0;
    while let Some(event) = stream.next().await? {
        if &event.name[..] == b"endpoint" {
            let target = target(base, &event.data)?;
            return Ok((stream, target));
        }
        others += 1;
    }
    Err(Failure::NoResponse(format!(
        "its event stream ended after {others} events, and none of them named an address for messages"
    )))
}

/// The address for messages that `data` names: any that is of the same origin.
pub(super) fn target(base: &Url, data: &[u8]) -> Result<Url, Failure> {
    let reference = std::str::from_utf8(data).unwrap_or_default().trim();
    let url = base.join(reference).ok().filter(|_| !reference.is_empty());
    match url {
        Some(url) if url.origin() == base.origin() => match check_length(&url) {
            Ok(()) => Ok(url),
            Err(too_long) => Err(Failure::MessageAddress(format!(
                "an address for messages that is too long: {too_long}"
            ))),
        },
        Some(url) if url.has_host() => Err(Failure::MessageAddress(format!(
            "{} as the address for messages, which is not at {}, where the stream is",
            bare(&url),
            base.origin().ascii_serialization()
        ))),
        Some(_) | None => Err(Failure::MessageAddress(format!(
            "no address for messages, but {}",
            excerpt(data)
        ))),
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
