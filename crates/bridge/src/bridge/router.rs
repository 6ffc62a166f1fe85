//! Router: the lane of each message, outcome and timer, and the table of requests without an answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::action::{Action, Facts, Flight, HeldBackId, LinkId, Outbox, Outgoing, Timer};
use super::exchanges::{Exchange, Exchanges, Lane};
use super::lanes::{Downgraded, LegacyLane};
use super::list_pages::{Collector, List};
use super::local_tool::LocalTools;
use super::progress::Progress;
use super::provisional_initialize::Answers;
use super::provisional_lists::ProvisionalLists;
use super::remembered_lists::{Form, RememberedLists};
use super::server_requests::{ServerRequest, ServerRequests};
use super::sign_in_notice::SignInNotice;
use super::subscriptions::Subscriptions;
use super::terms::Terms;
use super::tools::Tools;
use super::{Answering, Config};
use crate::endpoint::{Event, Failure, Outcome, Phase, Request, Track, WaitLimits};
use mcp_bridge_auth::SignInStage;
use mcp_bridge_protocol::codes::INVALID_REQUEST;
use mcp_bridge_protocol::era::{Era, Passage};
use mcp_bridge_protocol::message::{Kind, Message, RequestId, member};

/// Requests of the app that may be under way at once.
pub(super) const MAX_IN_FLIGHT: usize = 10_000;

/// Answers without an id in each period: a broken pipe full of garbage is no reason for a storm.
const ANONYMOUS_ERRORS: u32 = 5;
const ANONYMOUS_ERRORS_PERIOD: Duration = Duration::from_secs(1);

/// How long a cancelled request's stream stays open, so that the server hears of the cancellation
/// before it sees the connection go.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Time that a request waits for a server that cannot be reached where the app waits for everything
/// (`--wait-for-auth`): apps end a call after a minute.
const UNLIMITED_PATIENCE: Duration = Duration::from_secs(45);

/// All that is under way between one app and one server.
pub(super) struct Router {
    pub(super) out: Outbox,
    /// The server's host and port, for messages to people.
    pub(super) host: String,
    /// The app's requests that have no answer yet. What is not in here any more is not answered again.
    pub(super) unanswered: HashMap<RequestId, Asked>,
    pub(super) exchanges: Exchanges,
    /// Requests of the server that the app has not answered.
    pub(super) server_requests: ServerRequests,
    pub(super) legacy: LegacyLane,
    /// The last `initialize` of the legacy app.
    pub(super) initialize: Option<Message>,
    pub(super) answering: Answering,
    /// What the legacy app was told of the server, and what the server is.
    pub(super) terms: Terms,
    pub(super) notices: SignInNotice,
    /// True if the bridge is on its way out.
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
    /// True if a timer is set to look which of them wait.
    pub(super) looks_at_waiting: bool,
    /// Responses that come right behind progress.
    pub(super) held_back: Vec<(HeldBackId, Message)>,
    anonymous_errors: (Instant, u32),
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

impl Router {
    pub(super) fn new(config: &Config) -> Self {
        let now = Instant::now();
        Self {
            out: Outbox::new(Facts {
                now,
                sign_in: SignInStage::None,
                app_reads: true,
                all_is_written: true,
                is_presumed: false,
            }),
            host: config.endpoint.host(),
            unanswered: HashMap::new(),
            exchanges: Exchanges::default(),
            server_requests: ServerRequests::default(),
            legacy: LegacyLane::Fresh,
            initialize: None,
            answering: config.answering,
            terms: Terms::default(),
            notices: SignInNotice::new(config.input, config.endpoint.host()),
            stopping: false,
            downgraded: Vec::new(),
            tools: config.tools.clone().map(Tools::new),
            list_pages: Collector::new(config.list_pages),
            provisional: ProvisionalLists::default(),
            remembered: RememberedLists::default(),
            local_tools: LocalTools::default(),
            subscriptions: Subscriptions::default(),
            progress: Progress::default(),
            looks_at_waiting: false,
            held_back: Vec::new(),
            anonymous_errors: (now, 0),
        }
    }

    pub(super) const fn outbox(&mut self) -> &mut Outbox {
        &mut self.out
    }

    /// A message of the app.
    pub(super) fn on_message(&mut self, message: Message) {
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
                        .on_initialized(self.terms.told(), self.out.facts());
                    self.write_all(shown);
                    if self.legacy.is_open() && self.provisional.has_given() {
                        self.on_server_available();
                    }
                }
                match Era::of_request(&message) {
                    Era::Modern => self.send_in_turn(LinkId::MAIN, message, None),
                    Era::Legacy => self.take_legacy(message),
                }
            }
            Kind::Response { .. } if self.notices.is_answer(&message) => {
                let shown = self
                    .notices
                    .on_answer(&message, self.terms.told(), self.out.facts());
                self.write_all(shown);
            }
            Kind::Response { id } => {
                let asked = id.as_ref().and_then(|id| self.server_requests.remove(id));
                let Some(ServerRequest { method, generation }) = asked else {
                    return self.take_answer(&message);
                };
                let message = self.terms.answer_for_server(&method, message);
                self.send_in_turn(LinkId::MAIN, message, Some(generation));
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
            return self.write(failure.to_response(&id, &method, &self.host));
        }
        let meta = request.param::<&RawValue>("_meta");
        let era = Era::of_meta(&request, meta);
        // Before there is a session, a ping can only be about the bridge (MCP "Lifecycle").
        if era == Era::Legacy && method == "ping" && !self.legacy.is_open() {
            return self.write(Message::result(&id, "{}"));
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
        let Some(exchange) = self.exchanges.get(LinkId::MAIN, &id) else {
            return self.cancel_translated(&id, era, notification);
        };
        if exchange.lane == Lane::Upgraded {
            return self.cancel_translated(&id, era, notification);
        }
        match (era, exchange.flight.track.phase()) {
            // A modern server hears of it by the end of the stream; the others have not taken it yet.
            (Era::Modern, _)
            | (Era::Legacy, Phase::Queued | Phase::SigningIn | Phase::Unreachable) => {
                self.abort(Lane::Native, &id);
            }
            (Era::Legacy, Phase::Sent) => {
                let flight = Arc::clone(&exchange.flight);
                self.exchanges.remove(LinkId::MAIN, &id);
                self.send_in_turn(LinkId::MAIN, notification.clone(), None);
                self.out.push(Action::AbortAfter(CANCEL_GRACE, flight));
            }
        }
    }

    /// An event of the server, on this link.
    pub(super) fn on_server(&mut self, link: LinkId, event: Event) {
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
                    None => Some(Lane::of_link(link)),
                    Some(id) => self.exchanges.get(link, id).map(|exchange| exchange.lane),
                };
                match lane {
                    Some(Lane::Native) => self.take_native(&message, generation),
                    Some(lane) => self.take_translated(lane, &message, exchange.as_ref()),
                    None => tracing::debug!("dropped a message of a stream that was given up"),
                }
            }
            Event::Outcome { id, outcome } => {
                let Some(exchange) = self.exchanges.remove(link, &id) else {
                    tracing::debug!(%id, "dropped what came of a request that was given up");
                    return;
                };
                let is_unreached = match &outcome {
                    Outcome::Failed(Failure::SessionLost(_)) => true,
                    Outcome::Failed(_) => exchange.flight.track.is_blocked(),
                    _ => false,
                };
                self.provisional.settling(is_unreached);
                self.settle(exchange.lane, &id, outcome, &exchange.request);
                self.provisional.settling(false);
            }
            Event::Listening(listening) => self.take_listening(link, listening),
            Event::Reopened(response) => self.take_reopened(link, &response),
        }
        self.announce_when_answered();
    }

    /// What the server says in the era of the app.
    fn take_native(&mut self, message: &Message, generation: u64) {
        if let Some(error) = self.server_requests.refuse_undeclared(message) {
            return self.send_in_turn(LinkId::MAIN, error, Some(generation));
        }
        let changed;
        let message = match self.terms.take_from_server(message) {
            Passage::Unchanged => message,
            Passage::Changed(message) => {
                changed = message;
                &changed
            }
            Passage::Refused(error) => {
                return self.send_in_turn(LinkId::MAIN, error, Some(generation));
            }
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
                    self.answer(message.clone());
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
                    return self.send_in_turn(LinkId::MAIN, refusal, Some(generation));
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
            self.progress.on_progress(message, self.out.now());
        }
        self.write(message.clone());
    }

    fn is_native_request(&self, id: &RequestId) -> bool {
        self.exchanges
            .get(LinkId::MAIN, id)
            .is_some_and(|exchange| {
                exchange.lane == Lane::Native && exchange.request.method() != "initialize"
            })
    }

    /// Sends a request to the server, on behalf of `lane`.
    pub(super) fn start_exchange(&mut self, request: Message, lane: Lane) {
        let era = match lane {
            Lane::Native => {
                let asked = request.id().and_then(|id| self.unanswered.get(id));
                asked.map_or_else(|| Era::of_request(&request), |asked| asked.era)
            }
            Lane::Upgraded => Era::Modern,
            Lane::Downgraded(_) => Era::Legacy,
        };
        let Some(request) = Request::new(request, era) else {
            return;
        };
        let id = request.id().clone();
        let limits = self.wait_limits(request.method(), lane);
        let flight = Flight::new(Track::new(limits).with_span_of(&id));
        let exchange = Exchange {
            request: request.clone(),
            lane,
            flight: Arc::clone(&flight),
        };
        self.exchanges.insert(id, exchange);
        let outgoing = Outgoing { request, flight };
        self.out.push(Action::Request(lane.link(), outgoing));
    }

    /// The limits of a request's waits.
    fn wait_limits(&self, method: &str, lane: Lane) -> WaitLimits {
        let patience = self.patience_with(method);
        let signs_in_at_leisure = matches!(method, "initialize" | "subscriptions/listen");
        // Whoever sends the app's own `initialize` tries again by itself.
        let is_tried_again = method == "initialize" && lane == Lane::Native;
        WaitLimits {
            sign_in: patience.filter(|_| !signs_in_at_leisure),
            server: (!is_tried_again).then(|| patience.unwrap_or(UNLIMITED_PATIENCE)),
        }
    }

    /// Ends an exchange; nothing of it will be heard any more.
    pub(super) fn abort(&mut self, lane: Lane, id: &RequestId) {
        if let Some(exchange) = self.exchanges.remove(lane.link(), id) {
            self.out.push(Action::Abort(exchange.flight));
        }
    }

    /// Sends a notification, or a response for a request of the server in the session `session`, after
    /// the notifications that came before it.
    pub(super) fn send_in_turn(&mut self, link: LinkId, message: Message, session: Option<u64>) {
        self.out.push(Action::Notify(link, message, session));
    }

    /// Gives the app the response to one of its requests, unless it has one already or wants none.
    pub(super) fn answer(&mut self, response: Message) {
        let Some(asked) = response.id().and_then(|id| self.unanswered.remove(id)) else {
            return tracing::debug!("dropped a response that the app does not wait for");
        };
        let list = List::of_method(&asked.method);
        if self.keep_promised(&asked, &response) {
            return;
        }
        if let Some(list) = list
            && (self.take_own_list(&asked, &response)
                || self.give_list_for_error(list, &asked, &response))
        {
            return;
        }
        let changed = match asked.era {
            Era::Legacy => self.terms.answer(&asked.method, &response),
            Era::Modern => list.and_then(|list| self.missing_list(list, &response)),
        };
        let response = changed.unwrap_or(response);
        if let Some(list) = list {
            self.answer_list(list, asked, response);
        } else {
            self.write_response(response);
        }
    }

    /// A timer has run out.
    pub(super) fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Opening(id, timer) => self.on_opening_timer(id, timer),
            Timer::Pending(link, ticket) => self.on_pending_expired(link, ticket),
            Timer::ListPages(id) => self.take_list_timer(id),
            Timer::Waiting => self.report_waiting(),
            Timer::HeldBack(id) => self.write_held_back(id),
            Timer::Translation(lane, timer) => self.take_timer(lane, timer),
            Timer::Lists(due) => self.check_lists(due),
            Timer::Announce(due) => self.on_announcement_due(due),
            Timer::CheckReturn => self.check_return(),
            Timer::Subscription(id, opened) => self.consider_acknowledgement(&id, opened),
            Timer::Resubscribe(id, opened) => self.resubscribe(&id, opened),
        }
        self.announce_when_answered();
    }

    /// The server's earlier answers to `initialize` have been read.
    pub(super) fn on_answers(&mut self, answers: &Answers) {
        self.on_opening_recalled(answers);
        self.announce_when_answered();
    }

    /// The lists on disk have been read.
    pub(super) fn on_lists(&mut self, form: Form, lists: Vec<(List, String)>) {
        self.on_recalled(form, lists);
        self.announce_when_answered();
    }

    /// The sign-in has gone on: the app can show the page, or ask again for what it could not get.
    pub(super) fn on_sign_in_stage(&mut self) {
        let shown = self.notices.on_stage(self.terms.told(), self.out.facts());
        self.write_all(shown);
        let is_opening = matches!(self.legacy, LegacyLane::Opening(..));
        if self.out.facts().sign_in == SignInStage::Done && !is_opening {
            self.on_server_available();
        }
    }

    /// Whether somebody still waits for something.
    pub(super) fn is_busy(&self) -> bool {
        let waiting = |asked: &Asked| asked.method != "subscriptions/listen";
        self.unanswered.values().any(waiting) || !self.held_back.is_empty()
    }

    /// Nobody is asked to sign in any more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.stop_opening();
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
            self.write(Failure::ShuttingDown.to_response(&id, &asked.method, &host));
        }
    }

    /// Ends all that is with the server.
    pub(super) fn abort_all(&mut self) {
        for exchange in self.exchanges.drain() {
            self.out.push(Action::Abort(exchange.flight));
        }
    }

    pub(super) fn host(&self) -> String {
        self.host.clone()
    }

    pub(super) fn write(&mut self, message: Message) {
        self.out.to_app(message);
    }

    fn write_all(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.write(message);
        }
    }

    /// Writes an error for something that was no request. One without an id is not written too often,
    /// and one with an id only if no request waits under it.
    pub(super) fn refuse_line(&mut self, refusal: Message) {
        if let Some(id) = refusal.id() {
            if !self.unanswered.contains_key(id) {
                self.write(refusal);
            }
            return;
        }
        let now = self.out.now();
        let (since, count) = &mut self.anonymous_errors;
        if now - *since >= ANONYMOUS_ERRORS_PERIOD {
            (*since, *count) = (now, 0);
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
