//! Routing of messages between the app and its server, and the table of requests in flight.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::initialize_cache::Memory;
use super::lanes::{Downgraded, LegacyLane};
use super::list_pages::{Collector, List};
use super::local_tool::LocalTools;
use super::opening::Alarm;
use super::outbound::{Exchange, Lane, Link};
use super::pending_queue::{Ticket, Tickets};
use super::progress::Progress;
use super::provisional_lists::ProvisionalLists;
use super::remembered_lists::RememberedLists;
use super::server_requests::{ServerRequest, ServerRequests};
use super::sign_in_notice::Notices;
use super::subscriptions::Subscriptions;
use super::terms::Terms;
use super::tools::Tools;
use super::{Answering, Config, Input};
use crate::endpoint::{self, Event, Failure, Inbound, Outcome, Phase};
use crate::stdio::{Line, LineWriter};
use mcp_bridge_auth::{Authorizer, SIGN_IN_TARGET, SignInStage};
use mcp_bridge_net::setting::Setting;
use mcp_bridge_protocol::codes::INVALID_REQUEST;
use mcp_bridge_protocol::era::{Era, Passage};
use mcp_bridge_protocol::message::{Invalid, Kind, Message, RequestId, member};

/// Requests of the app that may be under way at once.
pub(super) const MAX_IN_FLIGHT: usize = 10_000;

/// Answers without an id in each period: a broken pipe full of garbage is no reason for a storm.
const ANONYMOUS_ERRORS: u32 = 5;
const ANONYMOUS_ERRORS_PERIOD: Duration = Duration::from_secs(1);

/// How long a cancelled request's stream stays open, so that the server hears of the cancellation
/// before it sees the connection go.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Messages of the server that wait for their turn. When they are this many, reading from its
/// connections stops, and TCP slows the server down.
const INBOUND_MESSAGES: usize = 64;

/// All that is under way between one app and one server.
pub(super) struct Conversation {
    pub(super) config: endpoint::Config,
    pub(super) authorizer: Option<Arc<Authorizer>>,
    /// The first one carries what the app says in the server's own era; each of the others is a session
    /// that is held for an app of the other era.
    pub(super) links: Vec<Link>,
    pub(super) writer: LineWriter,
    pub(super) sender: mpsc::Sender<Inbound>,
    /// The app's requests that have no answer yet. What is not in here any more is not answered again.
    pub(super) unanswered: HashMap<RequestId, Asked>,
    /// The requests that are with the server, by the number of their endpoint and their id there.
    pub(super) exchanges: HashMap<(usize, RequestId), Exchange>,
    /// Notifications and responses on their way to the server, and else what must not be cut off.
    pub(super) outbound: JoinSet<()>,
    /// Requests of the server that the app has not answered.
    pub(super) server_requests: ServerRequests,
    pub(super) legacy: LegacyLane,
    /// The last `initialize` of the legacy app.
    pub(super) initialize: Option<Message>,
    pub(super) answering: Answering,
    /// What the legacy app was told of the server, and what the server is.
    pub(super) terms: Terms,
    pub(super) memory: Memory,
    pub(super) tickets: Tickets,
    pub(super) alarms: JoinSet<Alarm>,
    pub(super) notices: Notices,
    /// Whether the bridge is on its way out.
    pub(super) stopping: bool,
    pub(super) downgraded: Vec<Downgraded>,
    /// Absent where nothing is hidden from the app.
    pub(super) tools: Option<Tools>,
    pub(super) list_pages: Collector,
    pub(super) provisional: ProvisionalLists,
    pub(super) remembered: RememberedLists,
    pub(super) local_tools: LocalTools,
    pub(super) subscriptions: Subscriptions,
    /// The requests that want to hear of progress.
    pub(super) progress: Progress,
    /// True if an alarm is set to look which of them wait.
    pub(super) looks_at_waiting: bool,
    /// Responses that come right behind progress.
    pub(super) held_back: Vec<(Ticket, Message)>,
    anonymous_errors: (Instant, u32),
    input: Input,
}

/// A request that has no answer yet.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) era: Era,
    pub(super) origin: Origin,
    /// True if it is for a list from its beginning, and not for a further page.
    pub(super) is_from_start: bool,
    /// The request, if it is for a list whose pages are to be collected.
    pub(super) list: Option<Message>,
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The app's.
    App,
    /// One of our own, for a list that is not handed on.
    Bridge,
}

impl Conversation {
    pub(super) fn new(
        config: &Config,
        authorizer: Option<Arc<Authorizer>>,
        writer: LineWriter,
    ) -> (Self, mpsc::Receiver<Inbound>) {
        let (sender, from_server) = mpsc::channel(INBOUND_MESSAGES);
        let stage = authorizer.as_ref().map(|it| it.watch_sign_in());
        let mut conversation = Self {
            config: config.endpoint.clone(),
            authorizer,
            links: Vec::new(),
            writer,
            sender,
            unanswered: HashMap::new(),
            exchanges: HashMap::new(),
            outbound: JoinSet::new(),
            server_requests: ServerRequests::default(),
            legacy: LegacyLane::Fresh,
            initialize: None,
            answering: config.answering,
            terms: Terms::default(),
            memory: config.memory.clone(),
            tickets: Tickets::default(),
            alarms: JoinSet::new(),
            notices: Notices::new(config.input, stage),
            stopping: false,
            downgraded: Vec::new(),
            tools: config.tools.clone().map(Tools::new),
            list_pages: Collector::new(config.list_pages),
            provisional: ProvisionalLists::default(),
            remembered: RememberedLists::new(config.memory.lists()),
            local_tools: LocalTools::default(),
            subscriptions: Subscriptions::default(),
            progress: Progress::default(),
            looks_at_waiting: false,
            held_back: Vec::new(),
            anonymous_errors: (Instant::now(), 0),
            input: config.input,
        };
        conversation.add_link(config.endpoint.clone());
        (conversation, from_server)
    }

    pub(super) fn take_line(&mut self, line: Line) {
        match line {
            Line::Text(text) if self.input == Input::Terminal && !begins_json(&text) => {
                self.take_pasted(&text);
            }
            Line::Text(text) => {
                for message in Message::parse_all(&text) {
                    match message {
                        Ok(message) => self.take_message(message),
                        Err(invalid) => self.refuse(&invalid),
                    }
                }
            }
            Line::TooLong { prefix } => {
                tracing::warn!(
                    "skipped a line of the app that is above {}",
                    Setting::MaxMessageSize
                );
                let id = Message::id_in_prefix(&prefix);
                let text = format!(
                    "the message is larger than {} allows",
                    Setting::MaxMessageSize
                );
                let refusal = Message::error(id.as_ref(), INVALID_REQUEST, &text, None);
                self.write_refusal(&refusal);
            }
        }
    }

    /// A person at the terminal has the browser elsewhere, and brings the address where it ended.
    fn take_pasted(&self, text: &[u8]) {
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

    fn take_message(&mut self, message: Message) {
        self.links[0].endpoint.log_from_app(&message);
        match message.kind() {
            Kind::Request { id, method } => {
                let (id, method) = (id.clone(), method.clone());
                self.take_request(message, id, method);
            }
            Kind::Notification { method } if method == "notifications/cancelled" => {
                self.take_cancellation(&message);
            }
            // A call that wants no answer would pass the filter.
            Kind::Notification { method } if method == "tools/call" && self.tools.is_some() => {
                tracing::warn!("dropped a tools/call without an id");
            }
            Kind::Notification { method } => {
                if method == "notifications/initialized" {
                    let shown = self
                        .notices
                        .take_initialized(self.terms.told(), &self.host());
                    self.write_all(&shown);
                    if self.legacy.is_open() && self.provisional.has_given() {
                        self.on_server_available();
                    }
                }
                match Era::of_request(&message) {
                    Era::Modern => self.send_in_turn(0, message, None),
                    Era::Legacy => self.take_legacy(message),
                }
            }
            Kind::Response { .. } if self.notices.is_answer(&message) => {
                let host = self.host();
                let shown = self.notices.take_answer(&message, self.terms.told(), &host);
                self.write_all(&shown);
            }
            Kind::Response { id } => {
                let asked = id.as_ref().and_then(|id| self.server_requests.remove(id));
                let Some(ServerRequest { method, generation }) = asked else {
                    return self.take_answer(&message);
                };
                let message = self.terms.answer_for_server(&method, message);
                self.send_in_turn(0, message, Some(generation));
            }
        }
    }

    fn take_request(&mut self, request: Message, id: RequestId, method: String) {
        if let Some(asked) = self.unanswered.get(&id) {
            // An app that gave its probe up goes on with `initialize`, maybe under the same id.
            if method != "initialize" || asked.method != "server/discover" {
                tracing::warn!(%id, method, "dropped a request whose id is in use");
                return;
            }
            self.abort(Lane::Native, &id);
        }
        if self.unanswered.len() >= MAX_IN_FLIGHT {
            let failure = Failure::Overloaded {
                limit: MAX_IN_FLIGHT,
            };
            return self.write(&failure.to_response(&id, &method, &self.host()));
        }
        let meta = request.param::<&RawValue>("_meta");
        let era = Era::of_meta(&request, meta);
        // Before there is a session, a ping can only be about the bridge (MCP "Lifecycle").
        if era == Era::Legacy && method == "ping" && !self.legacy.is_open() {
            return self.write(&Message::result(&id, "{}"));
        }
        let list = self.list_pages.wants(&request, &method);
        let list = list.then(|| request.clone());
        let is_list = List::of_method(&method).is_some();
        let is_from_start = is_list && request.param::<String>("cursor").is_none();
        if let Some(token) = meta.and_then(progress_token) {
            self.watch_progress(&id, token);
        }
        let asked = Asked {
            method,
            era,
            origin: Origin::App,
            is_from_start,
            list,
        };
        self.unanswered.insert(id, asked);
        if self.local_tools_take(&request) || self.tools_take(&request) {
            return;
        }
        match era {
            Era::Legacy => self.take_legacy(request),
            Era::Modern => {
                if request.method() == Some("subscriptions/listen") {
                    self.on_subscription(&request);
                }
                self.take_modern(request);
            }
        }
        if is_list {
            self.on_list_request(era);
        }
    }

    /// MCP "Cancellation": the app gets no answer any more, and the server hears of it as its era wants.
    pub(super) fn take_cancellation(&mut self, notification: &Message) {
        let Some(id) = notification.id_param("requestId") else {
            tracing::debug!("ignored a cancellation without a requestId");
            return;
        };
        let Some(asked) = self.unanswered.get(&id) else {
            tracing::debug!(%id, "ignored the cancellation of a request that is not in flight");
            return;
        };
        if asked.method == "initialize" {
            tracing::debug!("ignored the cancellation of initialize");
            return;
        }
        tracing::debug!(%id, method = asked.method, "the app has cancelled its request");
        let era = asked.era;
        self.unanswered.remove(&id);
        self.progress.end(&id);
        if self.cancel_list_pages(&id) {
            return;
        }
        let Some(exchange) = self.exchanges.get(&(0, id.clone())) else {
            return self.cancel_translated(&id, era, notification);
        };
        if exchange.lane == Lane::Upgraded {
            return self.cancel_translated(&id, era, notification);
        }
        match (era, exchange.track.phase()) {
            // A modern server hears of it by the end of the stream; the others have not taken it yet.
            (Era::Modern, _)
            | (Era::Legacy, Phase::Queued | Phase::SigningIn | Phase::Unreachable) => {
                self.abort(Lane::Native, &id);
            }
            (Era::Legacy, Phase::Sent) => {
                let task = exchange.task.clone();
                self.exchanges.remove(&(0, id));
                self.send_in_turn(0, notification.clone(), None);
                tokio::spawn(async move {
                    sleep(CANCEL_GRACE).await;
                    task.abort();
                });
            }
        }
    }

    pub(super) fn take_inbound(&mut self, inbound: Inbound) {
        let Inbound {
            endpoint, event, ..
        } = inbound;
        match event {
            Event::Message {
                message,
                generation,
                exchange,
            } => {
                if let Some(tools) = &mut self.tools {
                    tools.hear(&message);
                }
                if ServerRequest::is_absurd(&message) {
                    return tracing::debug!(
                        "dropped a request of the server whose id or method is too long"
                    );
                }
                let lane = match &exchange {
                    None => Some(Downgraded::lane_of_link(endpoint)),
                    Some(id) => {
                        let exchange = self.exchanges.get(&(endpoint, id.clone()));
                        exchange.map(|exchange| exchange.lane)
                    }
                };
                match lane {
                    Some(Lane::Native) => self.take_native(&message, generation),
                    Some(lane) => self.take_translated(lane, &message, exchange.as_ref()),
                    None => tracing::debug!("dropped a message of a stream that was given up"),
                }
            }
            Event::Outcome { id, outcome } => {
                let Some(exchange) = self.exchanges.remove(&(endpoint, id.clone())) else {
                    tracing::debug!(%id, "dropped what came of a request that was given up");
                    return;
                };
                let is_unreached = match &outcome {
                    Outcome::Failed(Failure::SessionLost(_)) => true,
                    Outcome::Failed(_) => exchange.track.is_blocked(),
                    _ => false,
                };
                self.provisional.settling(is_unreached);
                self.settle(exchange.lane, &id, outcome, exchange.request);
                self.provisional.settling(false);
            }
            Event::Listening(listening) => self.take_listening(endpoint, listening),
            Event::Reopened(response) => self.take_reopened(endpoint, &response),
        }
        self.announce_when_answered();
    }

    /// What the server says in the era of the app.
    fn take_native(&mut self, message: &Message, generation: u64) {
        if let Some(error) = self.server_requests.refuse_undeclared(message) {
            return self.send_in_turn(0, error, Some(generation));
        }
        let changed;
        let message = match self.terms.take_from_server(message) {
            Passage::Unchanged => message,
            Passage::Changed(message) => {
                changed = message;
                &changed
            }
            Passage::Refused(error) => return self.send_in_turn(0, error, Some(generation)),
            Passage::Dropped => {
                let method = message.method();
                return tracing::debug!(method, "dropped: the app's revision does not have it");
            }
        };
        match message.kind() {
            Kind::Response { id } => {
                // It has come on another stream than its own, which then need not go on. The exchange of
                // an `initialize` is not given up: it has the session to install.
                let given_up = id.as_ref().filter(|id| self.is_native_request(id)).cloned();
                if let Some(id) = given_up {
                    self.abort(Lane::Native, &id);
                    self.answer(message);
                } else {
                    tracing::debug!("dropped a response of the server that answers no request");
                }
                return;
            }
            Kind::Request { id, method } => {
                let request = ServerRequest {
                    method: method.clone(),
                    generation,
                };
                if !self.server_requests.insert(id, request) {
                    let text = "too many requests wait for the app's answer";
                    let refusal = Message::error(Some(id), INVALID_REQUEST, text, None);
                    return self.send_in_turn(0, refusal, Some(generation));
                }
            }
            Kind::Notification { method } => {
                if !self.subscriptions_pass(message) {
                    return;
                }
                if method == "notifications/cancelled"
                    && let Some(id) = message.id_param("requestId")
                {
                    self.server_requests.remove(&id);
                }
            }
        }
        self.write_from_server(message);
    }

    /// Writes a request or a notification of the server.
    pub(super) fn write_from_server(&mut self, message: &Message) {
        if message.method() == Some("notifications/progress") {
            self.progress.take_from_server(message);
        }
        self.write(message);
    }

    fn is_native_request(&self, id: &RequestId) -> bool {
        self.exchanges
            .get(&(0, id.clone()))
            .is_some_and(|exchange| {
                exchange.lane == Lane::Native && exchange.request.method() != Some("initialize")
            })
    }

    /// Gives the app the response to one of its requests, unless it has one already or wants none.
    pub(super) fn answer(&mut self, response: &Message) {
        let Some(asked) = response.id().and_then(|id| self.unanswered.remove(id)) else {
            return tracing::debug!("dropped a response that the app does not wait for");
        };
        let list = List::of_method(&asked.method);
        if self.keep_promised(&asked, response) {
            return;
        }
        if let Some(list) = list
            && (self.take_own_list(&asked, response)
                || self.give_list_for_error(list, &asked, response))
        {
            return;
        }
        let changed = match asked.era {
            Era::Legacy => self.terms.answer(&asked.method, response),
            Era::Modern => list.and_then(|list| self.missing_list(list, response)),
        };
        let response = changed.as_ref().unwrap_or(response);
        if let Some(list) = list {
            self.answer_list(list, asked, response);
        } else {
            self.write_response(response);
        }
    }

    /// Waits until a task of the conversation has ended, and draws the consequences.
    pub(super) async fn task_ended(&mut self) {
        tokio::select! {
            Some(_) = self.outbound.join_next() => {}
            Some(alarm) = self.alarms.join_next() => {
                if let Ok(alarm) = alarm {
                    self.take_alarm(alarm);
                    self.announce_when_answered();
                }
            }
            () = self.notices.changed() => self.take_sign_in_stage(),
            else => std::future::pending().await,
        }
    }

    /// The sign-in has gone on: the app can show the page, or ask again for what it could not get.
    fn take_sign_in_stage(&mut self) {
        let shown = self.notices.show(self.terms.told(), &self.host());
        self.write_all(&shown);
        let is_opening = matches!(self.legacy, LegacyLane::Opening(_));
        if self.notices.stage() == SignInStage::Done && !is_opening {
            self.on_server_available();
        }
    }

    /// Whether somebody still waits for something.
    pub(super) fn is_busy(&self) -> bool {
        let waiting = |asked: &Asked| asked.method != "subscriptions/listen";
        self.unanswered.values().any(waiting)
            || !self.outbound.is_empty()
            || !self.held_back.is_empty()
    }

    /// Nobody is asked to sign in any more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.stop_opening();
        for link in &self.links {
            link.endpoint.stop();
        }
    }

    /// The machine has slept: connections are half open.
    pub(super) fn woke_up(&self) {
        for link in &self.links {
            link.endpoint.woke_up();
        }
    }

    /// Answers all that is not answered: nothing more will come.
    pub(super) fn give_up(&mut self) {
        self.end_list_pages();
        self.write_all_held_back();
        let host = self.host();
        for (id, asked) in std::mem::take(&mut self.unanswered) {
            if asked.origin == Origin::Bridge {
                continue;
            }
            self.write(&Failure::ShuttingDown.to_response(&id, &asked.method, &host));
        }
    }

    /// Ends everything with the server, within `limit`.
    pub(super) async fn close(&mut self, limit: Duration) {
        for (_, exchange) in self.exchanges.drain() {
            exchange.task.abort();
        }
        let mut closing = JoinSet::new();
        for link in &self.links {
            let endpoint = Arc::clone(&link.endpoint);
            closing.spawn(async move { endpoint.close(limit).await });
        }
        closing.join_all().await;
    }

    pub(super) fn host(&self) -> String {
        self.links[0].endpoint.host()
    }

    pub(super) fn write(&self, message: &Message) {
        self.links[0].endpoint.log_to_app(message);
        self.writer.send(message.line());
    }

    fn write_all(&self, messages: &[Message]) {
        for message in messages {
            self.write(message);
        }
    }

    fn refuse(&mut self, invalid: &Invalid) {
        tracing::warn!("refused a line of the app: {invalid}");
        self.write_refusal(&invalid.to_response());
    }

    /// Writes an error for something that was no request. One without an id is not written too often,
    /// and one with an id only if no request waits under it.
    fn write_refusal(&mut self, refusal: &Message) {
        if let Some(id) = refusal.id() {
            if !self.unanswered.contains_key(id) {
                self.write(refusal);
            }
            return;
        }
        let (since, count) = &mut self.anonymous_errors;
        if since.elapsed() >= ANONYMOUS_ERRORS_PERIOD {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count <= ANONYMOUS_ERRORS {
            self.write(refusal);
        }
    }
}

/// The token under which the app wants to hear of a request's progress, by the request's `_meta`.
fn progress_token(meta: &RawValue) -> Option<RequestId> {
    RequestId::from_json(member::<&RawValue>(meta.get(), "progressToken")?.get())
}

fn begins_json(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'{' | b'['))
}
