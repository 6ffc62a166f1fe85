//! Interpreter of the state machines' actions: tasks, timers, files, the endpoints and the output.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;

use super::action::{Action, LinkId, OutgoingRequest, Timer};
use super::facts::Facts;
use super::host_watch::{HostChange, HostWatch};
use super::initialize_cache::Memory;
use super::list::List;
use super::panics::catch_panic;
use super::provisional_initialize::Answers;
use super::remembered_lists::ListForm;
use super::reply::FailedRequest;
use super::router::Router;
use super::send_order::Turns;
use super::{Config, End, Input};
use crate::endpoint::{self, Endpoint, Event, Failure, Inbound, Outcome, Patience, Protocol};
use crate::stdio::{Line, LineWriter};
use mcp_bridge_auth::{Authorizer, SIGN_IN_TARGET, SignInStage};
use mcp_bridge_net::backoff::jittered;
use mcp_bridge_net::setting::Setting;
use mcp_bridge_protocol::codes::INVALID_REQUEST;
use mcp_bridge_protocol::message::{Kind, Message};

/// Notifications and responses of the app that may wait to be sent.
const MAX_OUTBOUND: usize = 10_000;

/// Messages of one link that wait for their turn. When they are this many, reading from its connections stops,
/// and TCP slows the server down.
const INBOUND_MESSAGES: usize = 64;

/// Longest time that what the app is to get may take to be written, before a response goes out that is kept back
/// until then. An app that does not read has other lines before it.
const WRITE_LIMIT: Duration = Duration::from_millis(50);

/// An event that the app does not cause.
#[derive(Debug)]
pub(super) enum Wake {
    /// The server, on this link.
    Server(LinkId, Inbound),
    Timer(Timer),
    /// The server's earlier answers to `initialize`, from the disk.
    Answers(Answers),
    /// The lists that are on disk in this form.
    Lists(ListForm, Vec<(List, String)>),
    /// The sign-in has gone on.
    SignIn(watch::Receiver<SignInStage>),
    /// The host has changed.
    Host(HostWatch, HostChange),
    /// The server cannot be reached, for this reason, and must not be waited for.
    Unreachable(String),
    /// Something has been sent, or could not be.
    Sent,
}

/// Tasks and resources of one conversation.
pub(super) struct Io {
    config: endpoint::EndpointConfig,
    authorizer: Option<Arc<Authorizer>>,
    links: Links,
    writer: LineWriter,
    /// Notifications and responses on their way to the server, and else what must not be cut off.
    outbound: JoinSet<()>,
    /// Timers, reads of files, and watches on what rarely happens: a task that sleeps costs nothing per message.
    waits: JoinSet<Wake>,
    memory: Memory,
    input: Input,
    /// State of the sign-in, which is read before each event.
    sign_in: Option<watch::Receiver<SignInStage>>,
    /// A vector for the next actions.
    spare: Vec<Action>,
}

/// The links to the server.
struct Links {
    /// The one of the app's own messages.
    main: Arc<Endpoint>,
    all: Vec<ServerLink>,
    /// Position of the link that brought the last event.
    last: usize,
}

/// An endpoint, and what has to go before what on the way to it.
struct ServerLink {
    id: LinkId,
    endpoint: Arc<Endpoint>,
    turns: Turns,
    inbound: mpsc::Receiver<Inbound>,
}

impl Io {
    pub(super) fn new(
        config: &Config,
        authorizer: Option<Arc<Authorizer>>,
        writer: LineWriter,
    ) -> Self {
        let links = Links::new(config.endpoint.clone(), authorizer.clone());
        let mut waits = JoinSet::new();
        let endpoint = Arc::clone(&links.main);
        waits.spawn(async move { Wake::Unreachable(endpoint.ended().await) });
        waits.spawn(async { watched(HostWatch::new()).await });
        let sign_in = authorizer.as_ref().map(|it| {
            waits.spawn(changed(it.watch_sign_in()));
            let mut current = it.watch_sign_in();
            current.mark_changed();
            current
        });
        Self {
            links,
            config: config.endpoint.clone(),
            authorizer,
            writer,
            outbound: JoinSet::new(),
            waits,
            memory: config.memory.clone(),
            input: config.input,
            sign_in,
            spare: Vec::new(),
        }
    }

    /// The endpoint of the main link.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.links.main
    }

    /// Lets the router take an event, and does what follows.
    pub(super) fn step(&mut self, router: &mut Router, event: impl FnOnce(&mut Router)) {
        router.outbox().observe(|facts| self.update(facts));
        event(router);
        let mut actions = router.outbox().take(std::mem::take(&mut self.spare));
        for action in actions.drain(..) {
            self.perform(action);
        }
        self.spare = actions;
    }

    fn update(&mut self, facts: &mut Facts) {
        facts.now = Instant::now();
        facts.app_reads = self.writer.has_room();
        facts.all_is_written = self.writer.has_written();
        facts.is_presumed = self.endpoint().has_presumed();
        if let Some(stage) = &mut self.sign_in
            && stage.has_changed().unwrap_or(false)
        {
            facts.sign_in = stage.borrow_and_update().clone();
        }
    }

    /// Takes a line of the app.
    pub(super) fn on_line(&mut self, router: &mut Router, line: Line) {
        match line {
            Line::Text(text) if self.input == Input::Terminal && !begins_json(&text) => {
                self.submit_pasted(&text);
            }
            Line::Text(text) => {
                for message in Message::parse_all(&text) {
                    match message {
                        Ok(message) => {
                            self.endpoint().log_from_app(&message);
                            self.step(router, |router| router.on_message(message));
                        }
                        Err(invalid) => {
                            tracing::warn!("refused a line of the app: {invalid}");
                            let refusal = invalid.to_response();
                            self.step(router, |router| router.refuse_line(refusal));
                        }
                    }
                }
            }
            Line::TooLong { prefix } => {
                let limit = Setting::MaxMessageSize;
                tracing::warn!("skipped a line of the app that is above {limit}");
                let id = Message::id_in_prefix(&prefix);
                let text = format!("the message is larger than {limit} allows");
                let refusal = Message::error(id.as_ref(), INVALID_REQUEST, &text, None);
                self.step(router, |router| router.refuse_line(refusal));
            }
        }
    }

    /// A person at the terminal has the browser elsewhere, and brings the address where it ended.
    fn submit_pasted(&self, text: &[u8]) {
        let pasted = String::from_utf8_lossy(text).into_owned();
        let Some(authorizer) = self.authorizer.clone() else {
            return tracing::warn!(target: SIGN_IN_TARGET, "not taken: this is no JSON-RPC message");
        };
        tokio::spawn(async move {
            if let Err(error) = authorizer.submit(&pasted).await {
                tracing::warn!(target: SIGN_IN_TARGET, "{error}");
            }
        });
    }

    /// Resolves with the next event that the app does not cause. Nothing comes from the server while the app does not
    /// read.
    pub(super) async fn woken(&mut self) -> Wake {
        let Self {
            links,
            writer,
            outbound,
            waits,
            ..
        } = self;
        tokio::select! {
            // What is rare comes first, so that a server that never pauses does not hold it up.
            biased;
            Some(wake) = waits.join_next() => wake.unwrap_or(Wake::Sent),
            Some(_) = outbound.join_next() => Wake::Sent,
            (link, inbound) = async { writer.room().await; links.next().await } => {
                Wake::Server(link, inbound)
            }
        }
    }

    /// Lets the router take such an event, and whatever has come from the server meanwhile. Returns the reason to end, if
    /// it is one.
    pub(super) fn on_wake(&mut self, router: &mut Router, wake: Wake) -> Option<End> {
        match wake {
            Wake::Server(link, inbound) => {
                self.step(router, |router| router.on_server(link, inbound.event));
                // What has come meanwhile goes along, without asking all the others first.
                while self.writer.has_room()
                    && let Some((link, inbound)) = self.links.ready()
                {
                    self.step(router, |router| router.on_server(link, inbound.event));
                }
            }
            Wake::Timer(timer) => self.step(router, |router| router.on_timer(timer)),
            Wake::Answers(answers) => self.step(router, |router| router.on_answers(&answers)),
            Wake::Lists(form, lists) => self.step(router, |router| router.on_lists(form, lists)),
            Wake::SignIn(stage) => {
                self.waits.spawn(changed(stage));
                self.step(router, Router::on_sign_in_stage);
            }
            Wake::Host(_, HostChange::ParentDied) => return Some(End::AppLeft),
            Wake::Host(watch, HostChange::Slept) => {
                self.waits.spawn(watched(watch));
                self.woke_up();
            }
            Wake::Unreachable(reason) => return Some(End::Unreachable(reason)),
            Wake::Sent => {}
        }
        None
    }

    /// Returns whether something is on its way to the server that must not be cut off.
    pub(super) fn is_busy(&self) -> bool {
        !self.outbound.is_empty()
    }

    /// Nobody is asked to sign in any more.
    pub(super) fn stop(&self) {
        for link in &self.links.all {
            link.endpoint.stop();
        }
    }

    /// The machine has slept: connections are half open.
    fn woke_up(&self) {
        for link in &self.links.all {
            link.endpoint.woke_up();
        }
    }

    /// Ends everything with the server, within `limit`.
    pub(super) async fn close(&mut self, limit: Duration) {
        let mut closing = JoinSet::new();
        for link in &self.links.all {
            let endpoint = Arc::clone(&link.endpoint);
            closing.spawn(async move { endpoint.close(limit).await });
        }
        closing.join_all().await;
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::ToApp(message) => self.write(&message),
            Action::Fail(FailedRequest {
                id,
                method,
                failure,
                ..
            }) => {
                let host = self.endpoint().host();
                self.write(&failure.to_response(&id, &method, &host));
            }
            Action::Request(link, request) => self.send_request(link, request),
            Action::Notify(link, message, session) => self.send_in_turn(link, message, session),
            Action::Abort(flight) => flight.abort(),
            Action::AbortAfter(wait, flight) => {
                tokio::spawn(async move {
                    sleep(wait).await;
                    flight.abort();
                });
            }
            Action::After(wait, timer) => self.set_timer(wait, timer),
            Action::AfterAbout(wait, timer) => self.set_timer(jittered(wait), timer),
            Action::AfterWritten(wait, timer) => self.set_timer_after_written(wait, timer),
            Action::OpenLink(link) => self.open_link(link),
            Action::EraOver => self.endpoint().era_over(),
            Action::RecallAnswers => {
                let memory = self.memory.clone();
                self.waits.spawn(async move {
                    let read = tokio::task::spawn_blocking(move || memory.recall()).await;
                    Wake::Answers(read.unwrap_or_default())
                });
            }
            Action::RecallLists(form) => {
                let files = self.memory.lists();
                self.waits.spawn(async move {
                    let read = tokio::task::spawn_blocking(move || files.read_all(form)).await;
                    // It fails only when the runtime ends.
                    Wake::Lists(form, read.unwrap_or_default())
                });
            }
            Action::KeepAnswer(asked, response) => {
                // Compared here: a thread for that would be the only one of most sessions.
                if let Some(answers) = self.memory.with_answer(&asked, &response) {
                    let memory = self.memory.clone();
                    self.store(move || memory.write(&answers));
                }
            }
            Action::KeepList(list, form, response) => {
                let files = self.memory.lists();
                self.store(move || {
                    files.keep(list, form, response.result_json().unwrap_or_default());
                });
            }
        }
    }

    fn set_timer(&mut self, wait: Duration, timer: Timer) {
        self.waits.spawn(async move {
            sleep(wait).await;
            Wake::Timer(timer)
        });
    }

    fn set_timer_after_written(&mut self, wait: Duration, timer: Timer) {
        let writer = self.writer.clone();
        self.waits.spawn(async move {
            let _ = timeout(WRITE_LIMIT, writer.written()).await;
            sleep(wait).await;
            Wake::Timer(timer)
        });
    }

    fn write(&self, message: &Message) {
        self.endpoint().log_to_app(message);
        self.writer.send(message.line());
    }

    /// Writes to the disk, among what is waited for at the end, so that also a short run is remembered.
    fn store(&mut self, write: impl FnOnce() + Send + 'static) {
        self.outbound.spawn(async move {
            // It fails only when the runtime ends.
            let _ = tokio::task::spawn_blocking(write).await;
        });
    }

    fn send_request(&mut self, link: LinkId, request: OutgoingRequest) {
        let OutgoingRequest { request, flight } = request;
        let id = request.id().clone();
        let Some(link) = self.links.get(link) else {
            return;
        };
        let wait = link.turns.for_request();
        // At other levels than `debug` neither the span nor what comes with it costs anything.
        let span = tracing::debug_span!("request", %id, method = request.method());
        let endpoint = Arc::clone(&link.endpoint);
        let is_long = request.method() == "subscriptions/listen";
        // Boxed, for the runtime moves what it is given more than once, and this is large. The box is made first, so that it is
        // not even moved there.
        let room = Box::new_uninit();
        let carried = Box::into_pin(Box::write(room, {
            let flight = Arc::clone(&flight);
            async move {
                wait.passed().await;
                let work = pin!(endpoint.request(&request, &flight.track));
                let outcome = catch_panic(work).await;
                let outcome = outcome.unwrap_or(Outcome::Failed(Failure::Internal));
                endpoint.tell(Event::Outcome { id, outcome }).await;
            }
        }));
        let task = if span.is_disabled() {
            tokio::spawn(carried).abort_handle()
        } else {
            let flight = Arc::clone(&flight);
            let watched = async move {
                tokio::select! {
                    () = carried => {}
                    _ = flight.track.report_silence(None), if !is_long => {}
                }
            };
            tokio::spawn(Box::pin(watched.instrument(span))).abort_handle()
        };
        flight.started(task);
    }

    fn send_in_turn(&mut self, link: LinkId, message: Message, session: Option<u64>) {
        if self.outbound.len() >= MAX_OUTBOUND {
            tracing::warn!("dropped a message of the app: {MAX_OUTBOUND} wait to be sent");
            return;
        }
        let Some(link) = self.links.get_mut(link) else {
            return;
        };
        let endpoint = Arc::clone(&link.endpoint);
        let (turn, wait) = if matches!(message.kind(), Kind::Response { .. }) {
            (None, link.turns.for_response())
        } else {
            let turn = link.turns.take();
            if message.method() == Some("notifications/initialized") {
                link.turns.requests_wait_for(&turn);
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

    /// Opens a link for sessions of the legacy era.
    fn open_link(&mut self, id: LinkId) {
        let config = endpoint::EndpointConfig {
            protocol: Protocol::Legacy,
            patience: Patience::Wait,
            ..self.config.clone()
        };
        let link = ServerLink::open(id, config, self.authorizer.clone());
        self.links.all.push(link);
    }
}

impl ServerLink {
    fn open(
        id: LinkId,
        config: endpoint::EndpointConfig,
        authorizer: Option<Arc<Authorizer>>,
    ) -> Self {
        let (sender, inbound) = mpsc::channel(INBOUND_MESSAGES);
        Self {
            id,
            endpoint: Endpoint::new(config, authorizer, sender),
            turns: Turns::default(),
            inbound,
        }
    }
}

impl Links {
    fn new(config: endpoint::EndpointConfig, authorizer: Option<Arc<Authorizer>>) -> Self {
        let main = ServerLink::open(LinkId::MAIN, config, authorizer);
        Self {
            main: Arc::clone(&main.endpoint),
            all: vec![main],
            last: 0,
        }
    }

    fn get(&self, id: LinkId) -> Option<&ServerLink> {
        self.all.iter().find(|link| link.id == id)
    }

    fn get_mut(&mut self, id: LinkId) -> Option<&mut ServerLink> {
        self.all.iter_mut().find(|link| link.id == id)
    }

    /// Resolves with the next event, of each link in its turn.
    async fn next(&mut self) -> (LinkId, Inbound) {
        poll_fn(|context| {
            self.first_ready(|link| match link.inbound.poll_recv(context) {
                // It is never closed, for its endpoint is here.
                Poll::Ready(inbound) => inbound,
                Poll::Pending => None,
            })
            .map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// An event that is here already.
    fn ready(&mut self) -> Option<(LinkId, Inbound)> {
        self.first_ready(|link| link.inbound.try_recv().ok())
    }

    fn first_ready(
        &mut self,
        mut receive: impl FnMut(&mut ServerLink) -> Option<Inbound>,
    ) -> Option<(LinkId, Inbound)> {
        let count = self.all.len();
        for offset in 1..=count {
            let at = (self.last + offset) % count;
            let link = &mut self.all[at];
            if let Some(inbound) = receive(link) {
                let id = link.id;
                self.last = at;
                return Some((id, inbound));
            }
        }
        None
    }
}

/// Resolves when the host has changed.
async fn watched(mut watch: HostWatch) -> Wake {
    let change = watch.changed().await;
    Wake::Host(watch, change)
}

/// Resolves when the sign-in has gone on.
async fn changed(mut stage: watch::Receiver<SignInStage>) -> Wake {
    if stage.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    Wake::SignIn(stage)
}

fn begins_json(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'{' | b'['))
}
