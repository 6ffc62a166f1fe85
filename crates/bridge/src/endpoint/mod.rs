//! The MCP endpoint over HTTP: messages of the app go in, messages of the server come out of a channel.
//!
//! [`Endpoint::request`] ends in exactly one response, the server's or an error of ours, whatever
//! happens on the way. Everything else that the server sends (notifications, requests of its own)
//! arrives as [`Inbound`], in the order in which it was read.

mod answer;
mod body;
mod credentials;
mod exchange;
mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod greeting;
mod header_mismatch;
mod headers;
mod http_sse;
mod in_flight;
mod keep_alive;
mod link;
mod listen;
mod modern;
mod opening;
mod outage;
mod probe;
mod recovery;
mod request;
mod request_progress;
mod retry;
mod send;
mod server_support;
mod session;
mod sse;
mod stream;
mod tool_headers;
mod unusable;
mod wire_log;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use url::Url;

pub use body::ContentType;
pub use failure::{ConnectCause, Failure};
pub use probe::{HttpSseConversation, Probe, Reply};
pub use request::{Initiative, Request};
pub use request_progress::{Phase, Track, WaitLimits};
pub use retry::is_safe;
pub use server_support::KnownServer;

use answer::Damaged;
use body::BodyLimits;
use credentials::Credentials;
use header_mismatch::Listed;
use http_sse::HttpSse;
use in_flight::InFlight;
use keep_alive::KeepAlive;
use listen::Listener;
use mcp_bridge_auth::{self as auth, Authorizer, HeaderProgram, OwnHeaders, SecretHeaders};
use mcp_bridge_net::http::{self, Client};
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_protocol::message::{Message, RequestId};
use outage::Outage;
use recovery::Recovery;
use server_support::ServerSupport;
use session::Sessions;
use tool_headers::ToolHeaders;

/// Limit for the messages that were read and not looked at, in bytes. One alone may be larger.
const INBOUND_BYTES: usize = 4 * 1024 * 1024;

/// The largest message without another setting, in bytes: more than any server has been seen to send.
pub const MAX_MESSAGE: usize = 128 * 1024 * 1024;

/// Settings of the endpoint.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// The endpoint's URL.
    pub url: Url,
    /// Headers of the user's own, sent to the endpoint's origin only.
    pub headers: HeaderMap,
    /// Further ones with secrets of the keychain, if there are any.
    pub secret_headers: Option<Arc<SecretHeaders>>,
    /// The program that prints further headers, if there is one.
    pub header_program: Option<Arc<HeaderProgram>>,
    /// Limit for a request without an answer or a sign of progress; `None` for as long as it takes.
    pub request_timeout: Option<Duration>,
    /// Limit for an HTTP response to begin; `None` for as long as it takes.
    pub headers_timeout: Option<Duration>,
    /// Limit for the silence of an HTTP response once it has begun; `None` for as long as it likes.
    pub body_timeout: Option<Duration>,
    /// Transports to try.
    pub transport: TransportChoice,
    /// Era to speak where the app and the server do not agree by themselves.
    pub protocol: Protocol,
    /// Directory for notes of what a server supports; without one nothing is noted.
    pub directory: Option<PathBuf>,
    /// The largest message taken from the server, in bytes.
    pub max_message: usize,
    /// Headers of MCP 2026-07-28 that a message has although its era does not demand them.
    pub param_headers: ParamHeaders,
    /// Treatment of the server's cookies.
    pub cookies: CookiePolicy,
    /// Treatment of a server that is not up.
    pub patience: Patience,
    /// Time without messages after which a ping is sent in the session; `None` for never.
    pub keep_alive: Option<Duration>,
    /// The network.
    pub http: http::Options,
}

impl EndpointConfig {
    /// The settings of the program without flags.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            headers: HeaderMap::new(),
            secret_headers: None,
            header_program: None,
            request_timeout: None,
            headers_timeout: None,
            body_timeout: None,
            transport: TransportChoice::HttpFirst,
            protocol: Protocol::Auto,
            directory: None,
            max_message: MAX_MESSAGE,
            param_headers: ParamHeaders::Auto,
            cookies: CookiePolicy::Keep,
            patience: Patience::WaitInSession,
            keep_alive: None,
            http: http::Options::default(),
        }
    }

    /// The source of tokens for the server.
    #[must_use]
    pub fn authorizer(&self, auth: auth::Config) -> Authorizer {
        Authorizer::new(self.url.clone(), auth, self.http.clone()).with_headers(self.own_headers())
    }

    /// All headers of the user's own.
    #[must_use]
    pub fn own_headers(&self) -> OwnHeaders {
        OwnHeaders {
            fixed: self.headers.clone(),
            secret: self.secret_headers.clone(),
            program: self.header_program.clone(),
        }
    }

    /// The server's host and port, for messages to people.
    #[must_use]
    pub fn host(&self) -> String {
        http::host_and_port(&self.url)
    }

    /// A client for the server, with cookies of its own.
    fn client(&self) -> Result<Client, Failure> {
        let cookies = match self.cookies {
            CookiePolicy::Keep => Some(Arc::default()),
            CookiePolicy::Ignore => None,
        };
        Client::new(&self.http, &self.url, cookies).map_err(|error| Failure::of_client(&error))
    }

    /// Limits for the body of a response.
    fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            message: self.max_message,
            silence: self.body_timeout,
        }
    }
}

/// Transports to try, and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportChoice {
    /// Streamable HTTP; HTTP+SSE if the server refuses that as one of 2024-11-05 does.
    HttpFirst,
    /// HTTP+SSE; streamable HTTP if there is no such stream.
    SseFirst,
    /// Streamable HTTP.
    HttpOnly,
    /// HTTP+SSE (MCP 2024-11-05).
    SseOnly,
}

/// Era to speak with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The app's own; the other one, by translation, where the server refuses that.
    Auto,
    /// Up to 2025-11-25 (`initialize`).
    Legacy,
    /// From 2026-07-28 on.
    Modern,
    /// From 2026-07-28 on if the server speaks it, even to an app that does not.
    PreferModern,
}

/// Policy for `Mcp-Param-*`, and in the legacy era for `Mcp-Name` and `Mcp-Method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamHeaders {
    /// `Mcp-Param-*` where the tool's schema asks for it; `Mcp-Name` for legacy servers too that were seen
    /// to read such headers.
    Auto,
    /// The same, and `Mcp-Name` for every legacy server.
    Always,
    /// None of these headers, except for those that the modern era demands.
    Off,
}

/// Policy for the server's cookies, which are kept in this process only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookiePolicy {
    /// They are: a load balancer may route by them.
    Keep,
    /// They are not.
    Ignore,
}

/// Treatment of a server that is not up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Try again for a bounded time.
    Wait,
    /// Likewise, except for `initialize`: whoever sent that tries again.
    WaitInSession,
    /// Fail at once.
    FailFast,
}

/// An event of an endpoint. They come in the order in which they happened.
#[derive(Debug)]
pub struct Inbound {
    /// The event.
    pub event: Event,
    /// The room that it takes among what has not been looked at.
    pub room: Option<OwnedSemaphorePermit>,
}

/// See [`Inbound`].
#[derive(Debug)]
pub enum Event {
    /// A message that the server sent of its own accord, or along with an answer.
    Message {
        /// The message.
        message: Message,
        /// The session in which it was sent, to which an answer has to go.
        generation: u64,
        /// The request on whose stream it came; `None` for the server's own stream.
        exchange: Option<RequestId>,
    },
    /// The state of the server's own stream.
    Listening(Listening),
    /// The session was lost, and there is another in its place: the server's answer to the new `initialize`.
    Reopened(Message),
    /// Outcome of a request.
    Outcome {
        /// The request's id.
        id: RequestId,
        /// Its outcome.
        outcome: Outcome,
    },
}

impl Event {
    /// The bytes of the message in it.
    fn size(&self) -> usize {
        match self {
            Self::Message { message, .. } | Self::Reopened(message) => message.text().len(),
            Self::Outcome { outcome, .. } => match outcome {
                Outcome::Response(message)
                | Outcome::OtherVersion(message)
                | Outcome::ModernOnly(message) => message.text().len(),
                Outcome::Failed(_) | Outcome::LegacyOnly | Outcome::SubscriptionLost(_) => 0,
            },
            Self::Listening(_) => 0,
        }
    }
}

/// State of the server's own stream in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// It is open.
    Open,
    /// There will be none.
    Refused,
}

/// Outcome of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Its response.
    Response(Message),
    /// It is an `initialize`, which the server refused for its version. This is its answer to one with
    /// another version.
    OtherVersion(Message),
    /// There is no response, for this reason.
    Failed(Failure),
    /// It is an `initialize`, and the server speaks the modern era alone. This is what the server
    /// answered to `server/discover`.
    ModernOnly(Message),
    /// It is of the modern era, and the server speaks the legacy era alone: nothing came of it.
    LegacyOnly,
    /// It is a subscription that the server had acknowledged, and whose stream is over without a response.
    SubscriptionLost(LostSubscription),
}

/// End of a subscription without a response.
#[derive(Debug)]
pub struct LostSubscription {
    /// Reason for the end of its stream, or for which it was not opened again.
    pub failure: Failure,
    /// True if an event came on the stream.
    pub brought_events: bool,
}

/// The remote side. Cheap to share; all methods may run at once.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    /// Absent when the user gave an `Authorization` header: then that is the way in.
    authorizer: Option<Arc<Authorizer>>,
    /// The credentials that were sent last, to mask them in bodies that are logged; kept at that log level only.
    logged_credentials: Mutex<Credentials>,
    client: Mutex<Option<Client>>,
    sessions: Sessions,
    recovery: Recovery,
    outage: Outage,
    /// Headers that the listed tools ask for.
    tool_headers: ToolHeaders,
    /// Held while the tools are listed after a refusal for headers.
    relearning: tokio::sync::Mutex<Option<Listed>>,
    /// Eras and transports of the server.
    support: ServerSupport,
    /// True if the app was told that the server may have everything.
    has_presumed: AtomicBool,
    /// For the ids of requests of our own.
    ids: AtomicU64,
    listener: Listener,
    /// Requests of the legacy era over streamable HTTP that have no response yet.
    in_flight: InFlight,
    keep_alive: KeepAlive,
    /// The connection of the older transport, where the server speaks that.
    http_sse: Mutex<Option<Arc<HttpSse>>>,
    inbound: mpsc::Sender<Inbound>,
    /// Bytes of messages that may wait in `inbound`.
    inbound_room: Arc<Semaphore>,
    /// Told whenever the app sends a request: a good moment to try the lost stream of a session again, and as good as
    /// a ping.
    activity: Notify,
    stopping: watch::Sender<bool>,
    /// Reason why nothing more can be had from the server in this process.
    ended: watch::Sender<Option<String>>,
}

impl Endpoint {
    #[must_use]
    /// An endpoint that hands what the server sends to `inbound`. Does nothing on the network.
    pub fn new(
        config: EndpointConfig,
        authorizer: Option<Arc<Authorizer>>,
        inbound: mpsc::Sender<Inbound>,
    ) -> Arc<Self> {
        Arc::new(Self {
            support: ServerSupport::new(&config.url, config.directory.as_deref()),
            config,
            authorizer,
            logged_credentials: Mutex::default(),
            client: Mutex::default(),
            sessions: Sessions::default(),
            recovery: Recovery::default(),
            outage: Outage::default(),
            tool_headers: ToolHeaders::default(),
            relearning: tokio::sync::Mutex::default(),
            has_presumed: AtomicBool::new(false),
            ids: AtomicU64::new(0),
            listener: Listener::default(),
            in_flight: InFlight::default(),
            keep_alive: KeepAlive::default(),
            http_sse: Mutex::default(),
            inbound,
            inbound_room: Arc::new(Semaphore::new(INBOUND_BYTES)),
            activity: Notify::new(),
            stopping: watch::Sender::new(false),
            ended: watch::Sender::new(None),
        })
    }

    /// The endpoint's host and port, for messages to people.
    #[must_use]
    pub fn host(&self) -> String {
        self.config.host()
    }

    /// Returns whether the app's `server/discover` was answered for a server that may have everything.
    #[must_use]
    pub fn has_presumed(&self) -> bool {
        self.has_presumed.load(Ordering::Relaxed)
    }

    /// From now on nobody is asked to sign in; what waits for it fails.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves, with the reason, when the server cannot be reached and nobody wants to wait for it.
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(reason) = ended.borrow_and_update().clone() {
                return reason;
            }
            // Cannot fail: the sender is in the endpoint, which is held right here.
            let _ = ended.changed().await;
        }
    }

    /// The server cannot be reached, for this reason, and nobody wants to wait for it.
    fn end(&self, reason: &str) {
        self.ended.send_replace(Some(reason.to_owned()));
    }

    /// The server has left the modern era: whatever was known of it is wrong.
    pub fn era_over(&self) {
        self.support.record_modern(false);
    }

    /// Lets go of connections that a sleeping computer has left half open, and opens the notification
    /// stream again.
    pub fn woke_up(&self) {
        *self.lock_client() = None;
        self.listener.reopen();
    }

    /// The session that is current now.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.sessions.generation()
    }

    /// Ends the session: closes the notification stream, tells the server (HTTP DELETE) and writes what is
    /// known of it to disk, waiting `limit` for that at most.
    pub async fn close(self: &Arc<Self>, limit: Duration) {
        self.listener.stop();
        self.keep_alive.stop();
        self.set_http_sse(None);
        let session = self.sessions.close();
        let ended = async {
            if session.id.is_some() {
                self.delete(&session).await;
            }
        };
        let _ = tokio::join!(
            tokio::time::timeout(limit, ended),
            tokio::time::timeout(limit, self.support.saved()),
        );
    }

    fn http_sse(&self) -> Option<Arc<HttpSse>> {
        self.lock_http_sse().clone()
    }

    fn set_http_sse(&self, connection: Option<Arc<HttpSse>>) {
        let previous = std::mem::replace(&mut *self.lock_http_sse(), connection);
        if let Some(previous) = previous {
            previous.retire();
        }
    }

    fn lock_http_sse(&self) -> std::sync::MutexGuard<'_, Option<Arc<HttpSse>>> {
        self.http_sse.lock()
    }

    fn client(&self) -> Result<Client, Failure> {
        let mut client = self.lock_client();
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let built = self.config.client()?;
        *client = Some(built.clone());
        Ok(built)
    }

    fn lock_client(&self) -> std::sync::MutexGuard<'_, Option<Client>> {
        self.client.lock()
    }

    /// An id for a request of our own.
    fn next_id(&self) -> RequestId {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        RequestId::from_string(&format!("mcp-bridge-{number}"))
    }

    /// Hands a message to the app, as soon as the app reads.
    async fn deliver(&self, message: Message, generation: u64, exchange: Option<&RequestId>) {
        self.log_delivery(&message, exchange);
        self.tell(Event::Message {
            message,
            generation,
            exchange: exchange.cloned(),
        })
        .await;
    }

    /// Hands over what there is to tell, as soon as there is room for it.
    pub async fn tell(&self, event: Event) {
        let size = event.size().min(INBOUND_BYTES);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        // Mostly there is room at once, and a wait for it costs more than the rest.
        let room = match Arc::clone(&self.inbound_room).try_acquire_many_owned(size) {
            Ok(room) => Some(room),
            Err(_) => Box::pin(self.room(size)).await,
        };
        let Err(TrySendError::Full(inbound)) = self.inbound.try_send(Inbound { event, room })
        else {
            // The channel is closed only when the bridge is gone, and then nobody is left to tell.
            return;
        };
        let _ = Box::pin(self.inbound.send(inbound)).await;
    }

    async fn room(&self, size: u32) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.inbound_room).acquire_many_owned(size);
        room.await.ok()
    }

    /// Takes a response that has come on another stream than that of its request.
    fn settle(&self, id: Option<&RequestId>, response: Message) {
        let settled = id.is_some_and(|known| self.in_flight.settle(known, Ok(response)));
        if !settled {
            self.drop_response(id);
        }
    }

    /// Takes a response that cannot be read, likewise.
    fn settle_damaged(&self, damaged: Damaged) {
        let Damaged { answers, reason } = damaged;
        if !self
            .in_flight
            .settle(&answers, Err(Failure::Unusable(reason.into())))
        {
            self.drop_response(Some(&answers));
        }
    }

    /// Deals with a response that nobody here waits for.
    fn drop_response(&self, id: Option<&RequestId>) {
        let id = id.map_or("null", RequestId::as_json);
        tracing::debug!(host = %self.host(), id, "dropped a response of the server for which no request waits");
    }
}
