//! The pump between the app and the endpoint.
//!
//! One task owns the conversation: which requests wait for their answer, which requests of the server
//! wait for the app's, and what has to go before what. It reads a line, decides, and hands on; all that
//! takes time happens in tasks of its own, so that a slow call holds nobody up.

mod surroundings;
mod turns;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::auth::{self, Authorizer};
use crate::endpoint::{self, Endpoint, Failure, Inbound, Phase, Track};
use crate::message::{INVALID_REQUEST, Invalid, Kind, Message, RequestId};
use crate::stdio::{Line, LineReader, LineWriter};
use surroundings::Surroundings;
use turns::Turns;

/// Messages of the server that wait for their turn. When they are this many, reading from its
/// connections stops, and TCP slows the server down.
const INBOUND_MESSAGES: usize = 64;

/// Requests of the app that may be under way at once.
const MAX_IN_FLIGHT: usize = 10_000;

/// Notifications and responses of the app that may wait to be sent.
const MAX_OUTBOUND: usize = 10_000;

/// Requests of the server that may wait for the app's answer.
const MAX_SERVER_REQUESTS: usize = 10_000;

/// Answers without an id in a second: a broken pipe full of garbage is no reason for a storm.
const ANONYMOUS_ERRORS_PER_SECOND: u32 = 5;

/// How long a cancelled request's stream stays open, so that the server hears of the cancellation
/// before it sees the connection go.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// How long the server may take to hear that the session is over, at the end of the input.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// All that a signal leaves time for.
const SIGNAL_LIMIT: Duration = Duration::from_millis(500);

/// How long the app may take to read the last lines.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// What the bridge is told to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The remote side.
    pub endpoint: endpoint::Config,
    /// How to sign in; `None` where the user's own headers are the way in.
    pub auth: Option<auth::Config>,
    /// How long answers are awaited after the end of the input.
    pub drain: Duration,
    /// The largest line taken from the app, in bytes.
    pub max_message: usize,
}

/// Why the bridge ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The app closed the input, or stopped reading the output.
    AppLeft,
    /// The process was told to stop.
    Stopped,
    /// The bridge has to be started anew to go on, for this reason.
    Obsolete(String),
}

/// Carries messages between the app on `input` and `output` and the endpoint, until the app leaves or
/// `stop` resolves.
pub async fn run<I, O>(config: Config, input: I, output: O, stop: impl Future<Output = ()>) -> End
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin + Send + 'static,
{
    let mut lines = LineReader::new(input, config.max_message);
    let (writer, mut writing) = LineWriter::spawn(output);
    let (mut bridge, mut from_server) = Bridge::new(&config, writer.clone());
    let endpoint = Arc::clone(&bridge.endpoint);
    let mut surroundings = Surroundings::new();
    let mut stop = std::pin::pin!(stop);
    let mut ended = std::pin::pin!(endpoint.ended());

    let end = loop {
        tokio::select! {
            line = async { writer.room_for_answers().await; lines.next().await } => match line {
                Ok(Some(line)) => bridge.take_line(line),
                Ok(None) => break End::AppLeft,
                Err(error) => {
                    tracing::warn!("cannot read from the app: {error}");
                    break End::AppLeft;
                }
            },
            inbound = async { writer.room().await; from_server.recv().await } => {
                if let Some(inbound) = inbound {
                    bridge.take_inbound(inbound);
                }
            }
            Some(done) = bridge.exchanges.join_next_with_id() => bridge.exchange_ended(&done),
            Some(_) = bridge.outbound.join_next() => {}
            _ = &mut writing => break End::AppLeft,
            reason = &mut ended => break End::Obsolete(reason),
            () = &mut stop => break End::Stopped,
            () = surroundings.changed() => {
                if surroundings.parent_died() {
                    break End::AppLeft;
                }
                endpoint.woke_up();
            }
        }
    };

    let limit = if end == End::Stopped {
        SIGNAL_LIMIT
    } else {
        config.drain
    };
    let drained = async {
        if !writing.is_finished() {
            bridge
                .drain(&mut from_server, &writer, limit, &mut writing)
                .await;
        }
        endpoint
            .close(if end == End::Stopped {
                SIGNAL_LIMIT
            } else {
                CLOSE_LIMIT
            })
            .await;
    };
    if end == End::Stopped {
        drained.await;
    } else {
        tokio::select! {
            () = drained => {}
            () = stop => {}
        }
    }
    drop((bridge, writer));
    if !writing.is_finished() {
        let _ = timeout(FLUSH_LIMIT, writing).await;
    }
    end
}

/// The conversation.
struct Bridge {
    endpoint: Arc<Endpoint>,
    writer: LineWriter,
    sender: mpsc::Sender<Inbound>,
    turns: Turns,
    /// Whether the app has its answer to `initialize`.
    initialized: bool,
    in_flight: HashMap<RequestId, InFlight>,
    exchanges: JoinSet<()>,
    /// The request of each exchange, to answer it should the exchange break.
    by_task: HashMap<tokio::task::Id, RequestId>,
    /// Notifications and responses on their way to the server.
    outbound: JoinSet<()>,
    /// Requests of the server that the app has not answered, and the session they belong to.
    server_requests: HashMap<RequestId, u64>,
    anonymous_errors: (Instant, u32),
}

struct InFlight {
    method: String,
    track: Arc<Track>,
    task: AbortHandle,
}

impl Bridge {
    fn new(config: &Config, writer: LineWriter) -> (Self, mpsc::Receiver<Inbound>) {
        let (sender, from_server) = mpsc::channel(INBOUND_MESSAGES);
        let authorizer = config.auth.clone().map(|auth| {
            let http = config.endpoint.http.clone();
            Authorizer::new(config.endpoint.url.clone(), auth, http)
        });
        let endpoint = Endpoint::new(config.endpoint.clone(), authorizer, sender.clone());
        let bridge = Self {
            endpoint,
            writer,
            sender,
            turns: Turns::default(),
            initialized: false,
            in_flight: HashMap::new(),
            exchanges: JoinSet::new(),
            by_task: HashMap::new(),
            outbound: JoinSet::new(),
            server_requests: HashMap::new(),
            anonymous_errors: (Instant::now(), 0),
        };
        (bridge, from_server)
    }

    fn take_line(&mut self, line: Line) {
        match line {
            Line::Text(text) => {
                for message in Message::parse_all(&text) {
                    match message {
                        Ok(message) => self.take_message(message),
                        Err(invalid) => self.refuse(&invalid),
                    }
                }
            }
            Line::TooLong { prefix } => {
                tracing::warn!("skipped a line of the app that is above --max-message-size");
                let id = Message::id_in_prefix(&prefix);
                let text = "the message is larger than --max-message-size allows";
                if id
                    .as_ref()
                    .is_none_or(|id| !self.in_flight.contains_key(id))
                {
                    self.answer_error(id.as_ref(), text);
                }
            }
        }
    }

    fn take_message(&mut self, message: Message) {
        match message.kind() {
            Kind::Request { id, method } => {
                let (id, method) = (id.clone(), method.clone());
                self.take_request(message, id, method);
            }
            Kind::Notification { method } if method == "notifications/cancelled" => {
                self.take_cancellation(message);
            }
            Kind::Notification { .. } => self.send_in_turn(message, None),
            Kind::Response { id } => {
                let asked = id.as_ref().and_then(|id| self.server_requests.remove(id));
                if asked.is_some() {
                    self.send_in_turn(message, asked);
                } else {
                    tracing::debug!("dropped a response of the app that answers no request");
                }
            }
        }
    }

    fn take_request(&mut self, request: Message, id: RequestId, method: String) {
        if self.in_flight.contains_key(&id) {
            tracing::warn!(%id, method, "dropped a request whose id is in use");
            return;
        }
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            let failure = Failure::Overloaded {
                limit: MAX_IN_FLIGHT,
            };
            self.write(&failure.to_response(&id, &method, &self.endpoint.host()));
            return;
        }
        // Before the session is there, a ping can only be about the bridge (MCP "Lifecycle").
        if method == "ping" && !self.initialized {
            self.write(&Message::result(&id, "{}"));
            return;
        }
        let (turn, wait) = if method == "initialize" {
            self.initialized = false;
            let turn = self.turns.take();
            self.turns.requests_wait_for(&turn);
            let wait = turn.before();
            (Some(turn), wait)
        } else {
            (None, self.turns.for_request())
        };
        let track = Arc::new(Track::default());
        let (endpoint, sender) = (Arc::clone(&self.endpoint), self.sender.clone());
        let exchange = {
            let track = Arc::clone(&track);
            async move {
                wait.passed().await;
                let generation = endpoint.generation();
                let message = endpoint.request(&request, &track).await;
                // The bridge takes what was sent until it ends, and then nobody wants the answer.
                let _ = sender
                    .send(Inbound {
                        message,
                        generation,
                    })
                    .await;
                drop(turn);
            }
        };
        let task = self.exchanges.spawn(exchange);
        self.by_task.insert(task.id(), id.clone());
        self.in_flight.insert(
            id,
            InFlight {
                method,
                track,
                task,
            },
        );
    }

    /// MCP "Cancellation": the server is told, the app gets no answer any more.
    fn take_cancellation(&mut self, notification: Message) {
        let Some(id) = notification.id_param("requestId") else {
            tracing::debug!("ignored a cancellation without a requestId");
            return;
        };
        let Some(request) = self.in_flight.get(&id) else {
            tracing::debug!(%id, "ignored the cancellation of a request that is not in flight");
            return;
        };
        if request.method == "initialize" {
            tracing::debug!("ignored the cancellation of initialize");
            return;
        }
        let Some(request) = self.in_flight.remove(&id) else {
            return;
        };
        match request.track.phase() {
            // The server has not taken it.
            Phase::Queued | Phase::SigningIn => request.task.abort(),
            Phase::Sent => {
                self.send_in_turn(notification, None);
                tokio::spawn(async move {
                    sleep(CANCEL_GRACE).await;
                    request.task.abort();
                });
            }
        }
    }

    /// Sends a notification, or a response for a request of the server in the session `session`, after
    /// the notifications that came before it.
    fn send_in_turn(&mut self, message: Message, session: Option<u64>) {
        if self.outbound.len() >= MAX_OUTBOUND {
            tracing::warn!("dropped a message of the app: {MAX_OUTBOUND} wait to be sent");
            return;
        }
        let endpoint = Arc::clone(&self.endpoint);
        let (turn, wait) = if session.is_some() {
            (None, self.turns.for_response())
        } else {
            let turn = self.turns.take();
            if message.method() == Some("notifications/initialized") {
                self.turns.requests_wait_for(&turn);
            }
            let wait = turn.before();
            (Some(turn), wait)
        };
        self.outbound.spawn(async move {
            wait.passed().await;
            if session.is_some_and(|session| session != endpoint.generation()) {
                tracing::debug!("dropped a response of the app for a session that is gone");
            } else {
                endpoint.notify(&message).await;
            }
            drop(turn);
        });
    }

    fn take_inbound(&mut self, inbound: Inbound) {
        let Inbound {
            message,
            generation,
        } = inbound;
        match message.kind() {
            Kind::Response { id } => {
                let Some(request) = id.as_ref().and_then(|id| self.in_flight.remove(id)) else {
                    tracing::debug!("dropped a response of the server that answers no request");
                    return;
                };
                // It may have come on another stream than its own, which then need not go on. The
                // exchange of `initialize` still has the session to install.
                if request.method == "initialize" {
                    self.initialized = true;
                } else {
                    request.task.abort();
                }
            }
            Kind::Request { id, .. } => {
                if self.server_requests.len() >= MAX_SERVER_REQUESTS {
                    let text = "too many requests wait for the app's answer";
                    let refusal = Message::error(Some(id), INVALID_REQUEST, text, None);
                    self.send_in_turn(refusal, Some(generation));
                    return;
                }
                self.server_requests.insert(id.clone(), generation);
            }
            Kind::Notification { method } => {
                if method == "notifications/cancelled"
                    && let Some(id) = message.id_param("requestId")
                {
                    self.server_requests.remove(&id);
                }
            }
        }
        self.write(&message);
    }

    /// An exchange hands its answer over before it ends; one that panicked has not.
    fn exchange_ended(&mut self, done: &Result<(tokio::task::Id, ()), JoinError>) {
        let (task, broken) = match done {
            Ok((task, ())) => (*task, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let Some(id) = self.by_task.remove(&task) else {
            return;
        };
        if !broken {
            return;
        }
        if let Some(request) = self.in_flight.remove(&id) {
            let host = self.endpoint.host();
            self.write(&Failure::Internal.to_response(&id, &request.method, &host));
        }
    }

    fn refuse(&mut self, invalid: &Invalid) {
        tracing::warn!("refused a line of the app: {invalid}");
        let response = invalid.to_response();
        match response.id() {
            Some(id) if self.in_flight.contains_key(id) => {}
            Some(_) => self.write(&response),
            None => self.write_anonymous(&response),
        }
    }

    fn answer_error(&mut self, id: Option<&RequestId>, text: &str) {
        let response = Message::error(id, INVALID_REQUEST, text, None);
        match id {
            Some(_) => self.write(&response),
            None => self.write_anonymous(&response),
        }
    }

    fn write_anonymous(&mut self, response: &Message) {
        const SECOND: Duration = Duration::from_secs(1);
        let (since, count) = &mut self.anonymous_errors;
        if since.elapsed() >= SECOND {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count <= ANONYMOUS_ERRORS_PER_SECOND {
            self.write(response);
        }
    }

    fn write(&self, message: &Message) {
        self.writer.send(message.line());
    }

    /// After the end of the input: hands on what still comes, until every request has its answer or
    /// `limit` has passed.
    async fn drain(
        &mut self,
        from_server: &mut mpsc::Receiver<Inbound>,
        writer: &LineWriter,
        limit: Duration,
        writing: &mut tokio::task::JoinHandle<io::Result<()>>,
    ) {
        self.endpoint.stop();
        let deadline = Instant::now() + limit;
        while !self.in_flight.is_empty() || !self.outbound.is_empty() {
            tokio::select! {
                inbound = async { writer.room().await; from_server.recv().await } => {
                    if let Some(inbound) = inbound {
                        self.take_inbound(inbound);
                    }
                }
                Some(done) = self.exchanges.join_next_with_id() => self.exchange_ended(&done),
                Some(_) = self.outbound.join_next() => {}
                _ = &mut *writing => return,
                () = sleep_until(deadline) => break,
            }
        }
        let host = self.endpoint.host();
        for (id, request) in std::mem::take(&mut self.in_flight) {
            request.task.abort();
            self.write(&Failure::ShuttingDown.to_response(&id, &request.method, &host));
        }
    }
}
