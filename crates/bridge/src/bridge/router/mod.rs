//! Router: the lane of each message, outcome and timer, and the table of requests without an answer.
//!
//! It owns the state machines and carries out their steps, by other machines or by an [`Action`]. It does no IO and
//! reads no clock. `legacy` and `modern` have the lanes of the two eras, `replies` the way of a reply to the app.

mod legacy;
mod listening;
mod lists;
mod modern;
mod provisional;
mod replies;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::action::{Action, ActionOutbox, Flight, LinkId, OutgoingRequest, Timer};
use super::app_patience::AppPatience;
use super::downgraded::DowngradedSessions;
use super::exchanges::{Exchange, Exchanges, Lane};
use super::facts::Facts;
use super::list::List;
use super::list_pages::Collector;
use super::local_tool::LocalTools;
use super::native::{Cancellation, NativeLane, NativeStep};
use super::progress::ProgressReports;
use super::provisional_initialize::Answers;
use super::provisional_lists::ProvisionalLists;
use super::remembered_lists::ListForm;
use super::reply::Reply;
use super::server_requests::ServerRequest;
use super::sign_in_notice::SignInNotice;
use super::subscriptions::AppSubscriptions;
use super::terms::Terms;
use super::tool_filter::HiddenTools;
use super::{Answering, Config};
use crate::endpoint::{Event, Failure, Outcome, Phase, Request, Track, WaitLimits};
use legacy::LegacyLane;
use listening::stream_reply;
use mcp_bridge_auth::SignInStage;
use mcp_bridge_protocol::era::{Era, Passage};
use mcp_bridge_protocol::message::{IdMap, Kind, Message, RequestId};

/// Requests of the app that may be under way at once.
const MAX_IN_FLIGHT: usize = 10_000;

/// Limit for errors without an id in each period: an app that writes garbage must not cause a flood of them.
const ANONYMOUS_ERRORS: u32 = 5;

/// See [`ANONYMOUS_ERRORS`].
const ANONYMOUS_ERRORS_PERIOD: Duration = Duration::from_secs(1);

/// Time that a cancelled request's stream stays open, so that the server hears of the cancellation
/// before it sees the connection go.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Limit of a request's wait for a server that cannot be reached if there is none for sign-ins (`Answering::AfterServer`):
/// less than the minute after which apps give up.
const SERVER_PATIENCE: Duration = Duration::from_secs(45);

/// The state machines of one conversation, and the tables that they share.
#[derive(Debug)]
pub(super) struct Router {
    out: ActionOutbox,
    /// The server's host and port, for messages to people.
    host: String,
    patience: AppPatience,
    /// The app's requests that have no answer yet. One that is not in here any more is not answered again.
    unanswered: IdMap<RequestId, Asked>,
    exchanges: Exchanges,
    native: NativeLane,
    legacy: LegacyLane,
    /// The last `initialize` of the legacy app.
    initialize: Option<Message>,
    /// Version and capabilities that the legacy app was told, and those of the server.
    terms: Terms,
    notice: SignInNotice,
    downgraded: DowngradedSessions,
    /// Absent where nothing is hidden from the app.
    hidden_tools: Option<HiddenTools>,
    list_pages: Collector,
    provisional: ProvisionalLists,
    local_tools: LocalTools,
    subscriptions: AppSubscriptions,
    progress: ProgressReports,
    /// The beginning of the period, and the errors without an id in it.
    anonymous_errors: (Instant, u32),
    /// True if the bridge is on its way out.
    stopping: bool,
}

/// A request that has no answer yet.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    era: Era,
    origin: RequestOrigin,
    /// True if it is for a list from its beginning, and not for a further page.
    is_from_start: bool,
    /// The request, if it is for a list whose pages are to be collected.
    list: Option<Message>,
}

/// Sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestOrigin {
    App,
    /// The bridge itself, which consumes the list.
    Bridge,
}

impl Router {
    pub(super) fn new(config: &Config) -> Self {
        let now = Instant::now();
        let host = config.endpoint.host();
        let patience = match config.answering {
            Answering::AtOnce { patience, .. } => Some(patience),
            Answering::AfterServer => None,
        };
        let tools = config.tools.clone();
        Self {
            out: ActionOutbox::new(Facts {
                now,
                sign_in: SignInStage::None,
                app_reads: true,
                all_is_written: true,
                is_presumed: false,
            }),
            patience: AppPatience::new(config.answering),
            unanswered: IdMap::default(),
            exchanges: Exchanges::default(),
            native: NativeLane::default(),
            legacy: LegacyLane::Fresh,
            initialize: None,
            terms: Terms::default(),
            notice: SignInNotice::new(config.input, host.clone()),
            downgraded: DowngradedSessions::new(host.clone(), patience),
            hidden_tools: tools.map(|filter| HiddenTools::new(filter, host.clone())),
            list_pages: Collector::new(config.list_pages),
            provisional: ProvisionalLists::default(),
            local_tools: LocalTools::new(host.clone()),
            subscriptions: AppSubscriptions::default(),
            progress: ProgressReports::default(),
            anonymous_errors: (now, 0),
            stopping: false,
            host,
        }
    }

    pub(super) const fn outbox(&mut self) -> &mut ActionOutbox {
        &mut self.out
    }

    /// A message of the app.
    pub(super) fn on_message(&mut self, message: Message) {
        match message.kind() {
            Kind::Request { id, method } => {
                let (id, method) = (id.clone(), method.clone());
                self.on_request(message, id, method);
            }
            Kind::Notification { method } => match method.as_str() {
                "notifications/cancelled" => self.on_cancelled(&message),
                // A call that wants no answer would pass the filter.
                "tools/call" if self.hidden_tools.is_some() => {
                    tracing::warn!("dropped a tools/call without an id");
                }
                "notifications/initialized" => {
                    self.on_initialized();
                    self.on_notification(message);
                }
                _ => self.on_notification(message),
            },
            Kind::Response { .. } if self.notice.is_answer(&message) => {
                let facts = self.out.facts();
                let shown = self
                    .notice
                    .on_answer(&message, self.terms.announced(), facts);
                self.write_all(shown);
            }
            Kind::Response { id } => {
                let request = id.as_ref().and_then(|id| self.native.take_request(id));
                let Some(ServerRequest { method, generation }) = request else {
                    return self.on_answer(&message);
                };
                let message = self.terms.answer_for_server(&method, message);
                self.notify_server(LinkId::MAIN, message, Some(generation));
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
            } => self.on_server_message(link, message, generation, exchange.as_ref()),
            Event::Outcome { id, outcome } => match self.exchanges.remove(link, &id) {
                Some(exchange) => self.on_outcome(&exchange, outcome),
                None => {
                    tracing::debug!(%id, "dropped what came of a request that was given up");
                }
            },
            Event::Listening(listening) => self.on_listening(link, listening),
            Event::Reopened(response) => self.on_reopened(link, &response),
        }
        self.announce_when_answered();
    }

    /// A timer has run out.
    pub(super) fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Opening(id, timer) => self.on_opening_timer(id, timer),
            Timer::Pending(link, ticket) => self.on_pending_expired(link, ticket),
            Timer::ListPages(id) => {
                let steps = self.list_pages.on_timer(id);
                self.follow_page_steps(steps);
            }
            Timer::Progress(timer) => self.on_progress_timer(timer),
            Timer::Translation(lane, timer) => self.on_translation_timer(lane, timer),
            Timer::Lists(timer) => self.on_list_timer(timer),
            Timer::Subscription(timer) => self.on_subscription_timer(&timer),
        }
        self.announce_when_answered();
    }

    /// The server's earlier answers to `initialize` have been read.
    pub(super) fn on_answers(&mut self, answers: &Answers) {
        self.on_opening_recalled(answers);
        self.announce_when_answered();
    }

    /// The lists on disk have been read.
    pub(super) fn on_lists(&mut self, form: ListForm, lists: Vec<(List, String)>) {
        let step = self.provisional.on_recalled(form, lists, self.out.now());
        self.follow_list_steps(step);
        self.announce_when_answered();
    }

    /// The sign-in has gone on: the app can show the page, or ask again for what it could not get.
    pub(super) fn on_sign_in_stage(&mut self) {
        let facts = self.out.facts();
        let is_done = facts.sign_in == SignInStage::Done;
        let shown = self.notice.on_stage(self.terms.announced(), facts);
        self.write_all(shown);
        if is_done && !matches!(self.legacy, LegacyLane::Opening(..)) {
            self.on_server_available();
        }
    }

    /// Writes an error for something that was no request. One without an id is not written too often,
    /// and one with an id only if no request waits under it.
    pub(super) fn refuse_line(&mut self, refusal: Message) {
        if let Some(id) = refusal.id() {
            if !self.unanswered.contains_key(id) {
                self.out.write(refusal);
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
            self.out.write(refusal);
        }
    }

    /// Returns whether somebody still waits for something.
    pub(super) fn is_busy(&self) -> bool {
        let waiting = |asked: &Asked| asked.method != "subscriptions/listen";
        self.unanswered.values().any(waiting) || self.progress.holds_back()
    }

    /// The app has left. Nobody is asked to sign in any more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.stop_opening();
    }

    /// Answers all that is not answered: nothing more will come.
    pub(super) fn give_up(&mut self) {
        let steps = self.list_pages.on_end();
        self.follow_page_steps(steps);
        self.write_held_back();
        for (id, asked) in std::mem::take(&mut self.unanswered) {
            if asked.origin == RequestOrigin::App {
                let reply = Reply::of_failure(&id, &asked.method, Failure::ShuttingDown);
                self.write_reply(reply);
            }
        }
    }

    /// Ends all that is with the server.
    pub(super) fn abort_all(&mut self) {
        for exchange in self.exchanges.drain() {
            self.out.push(Action::Abort(exchange.flight));
        }
    }

    fn on_request(&mut self, request: Message, id: RequestId, method: String) {
        if let Some(asked) = self.unanswered.get(&id) {
            // An app that gave its probe up goes on with `initialize`, maybe under the same id.
            if method != "initialize" || asked.method != "server/discover" {
                tracing::warn!(%id, method, "dropped a request whose id is in use");
                return;
            }
            self.abort(Lane::Native, &id);
        }
        if self.unanswered.len() >= MAX_IN_FLIGHT {
            let limit = MAX_IN_FLIGHT;
            let failure = Failure::Overloaded { limit };
            return self.write_reply(Reply::of_failure(&id, &method, failure));
        }
        let era = Era::of_request(&request);
        // Before there is a session, a ping can only be about the bridge (MCP "Lifecycle").
        if era == Era::Legacy && method == "ping" && !self.legacy.is_open() {
            return self.out.write(Message::result(&id, "{}"));
        }
        if let Some(token) = progress_token(&request) {
            self.watch_progress(&id, token);
        }
        let is_list = List::of_method(&method).is_some();
        let collects = self.list_pages.wants(&request, &method);
        let asked = Asked {
            is_from_start: is_list && request.param::<String>("cursor").is_none(),
            list: collects.then(|| request.clone()),
            method,
            era,
            origin: RequestOrigin::App,
        };
        self.unanswered.insert(id, asked);
        if self.is_local_call(&request) || self.is_held_by_tool_filter(&request) {
            return;
        }
        if era == Era::Modern && request.method() == Some("subscriptions/listen") {
            self.on_subscription(&request);
        }
        self.dispatch(request, era);
        self.reopen_lost_subscriptions();
        if is_list {
            self.on_list_request(era);
        }
    }

    /// Gives a request of the app to the lane of its era.
    fn dispatch(&mut self, request: Message, era: Era) {
        match era {
            Era::Legacy => self.on_legacy(request),
            Era::Modern => self.on_modern_request(request),
        }
    }

    fn on_notification(&mut self, notification: Message) {
        match Era::of_request(&notification) {
            Era::Modern => self.notify_server(LinkId::MAIN, notification, None),
            Era::Legacy => self.on_legacy(notification),
        }
    }

    /// MCP "Cancellation": the app gets no answer any more, and the server hears of it as its era wants.
    fn on_cancelled(&mut self, notification: &Message) {
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
        self.subscriptions.on_end(&id);
        self.unanswered.remove(&id);
        self.progress.end(&id);
        if let Some(page) = self.list_pages.on_cancelled(&id) {
            return self.cancel_own(&page);
        }
        match self.exchanges.get(LinkId::MAIN, &id) {
            Some(exchange) if exchange.lane == Lane::Native => {
                let flight = Arc::clone(&exchange.flight);
                match NativeLane::cancellation(era, flight.track.phase()) {
                    Cancellation::EndStream => self.abort(Lane::Native, &id),
                    Cancellation::Notify => {
                        self.exchanges.remove(LinkId::MAIN, &id);
                        self.notify_server(LinkId::MAIN, notification.clone(), None);
                        self.out.push(Action::AbortAfter(CANCEL_GRACE, flight));
                    }
                }
            }
            Some(_) | None => self.cancel_translated(&id, era, notification),
        }
    }

    fn on_server_message(
        &mut self,
        link: LinkId,
        message: Message,
        generation: u64,
        exchange: Option<&RequestId>,
    ) {
        if let Some(tools) = &mut self.hidden_tools {
            tools.on_server_message(&message);
        }
        if ServerRequest::is_absurd(&message) {
            return tracing::debug!(
                "dropped a request of the server whose id or method is too long"
            );
        }
        let lane = match exchange {
            None => Some(Lane::of_link(link)),
            Some(id) => self.exchanges.get(link, id).map(|exchange| exchange.lane),
        };
        match lane {
            Some(Lane::Native) => self.on_native_message(message, generation, exchange),
            Some(lane) => self.on_translated_message(lane, &message, exchange),
            None => tracing::debug!("dropped a message of a stream that was given up"),
        }
    }

    /// A message of the server in the era of the app.
    fn on_native_message(&mut self, message: Message, generation: u64, stream: Option<&RequestId>) {
        if let Some(error) = self.native.refuse_undeclared(&message) {
            return self.notify_server(LinkId::MAIN, error, Some(generation));
        }
        let message = match self.terms.on_server_message(&message) {
            Passage::Unchanged => message,
            Passage::Changed(message) => message,
            Passage::Refused(error) => {
                return self.notify_server(LinkId::MAIN, error, Some(generation));
            }
            Passage::Dropped => {
                let method = message.method();
                return tracing::debug!(method, "dropped: the app's revision does not have it");
            }
        };
        if self.is_held_by_subscriptions(&message, stream) {
            return;
        }
        match self.native.on_server(message, generation) {
            Some(NativeStep::ToApp(message)) => self.write_from_server(message),
            Some(NativeStep::ToServer(refusal)) => {
                self.notify_server(LinkId::MAIN, refusal, Some(generation));
            }
            // It has come on another stream than its own, which then need not go on.
            Some(NativeStep::Answer(id, response)) if self.is_native_request(&id) => {
                self.abort(Lane::Native, &id);
                self.answer(response);
            }
            Some(NativeStep::Answer(..)) | None => {
                tracing::debug!("dropped a response of the server that answers no request");
            }
        }
    }

    /// Returns whether a request is with the server as it is. The exchange of an `initialize` is not given up: it has
    /// the session to install.
    fn is_native_request(&self, id: &RequestId) -> bool {
        let exchange = self.exchanges.get(LinkId::MAIN, id);
        exchange.is_some_and(|it| it.lane == Lane::Native && it.request.method() != "initialize")
    }

    /// The end of a request that was with the server.
    fn on_outcome(&mut self, exchange: &Exchange, outcome: Outcome) {
        let (request, lane) = (&exchange.request, exchange.lane);
        let (id, method) = (request.id(), request.method());
        if lane == Lane::Native && method == "initialize" {
            return self.on_opening_outcome(outcome);
        }
        match (lane, outcome) {
            (Lane::Native, Outcome::LegacyOnly) => self.downgrade(request.message().clone()),
            (Lane::Native, Outcome::SubscriptionLost(lost)) => {
                self.on_subscription_lost(id, &lost);
            }
            // The app of a downgraded lane negotiates no version.
            (_, Outcome::Response(response) | Outcome::OtherVersion(response)) => {
                self.on_reply(exchange, response.into());
            }
            (lane, Outcome::SubscriptionLost(lost)) => {
                let reply = stream_reply(id, method, lost.failure);
                self.on_translated_reply(lane, reply);
            }
            (_, Outcome::Failed(failure)) => {
                let reach = exchange.reach(&failure);
                let reply = Reply::of_failure(id, method, failure).with_reach(reach);
                self.on_reply(exchange, reply);
            }
            // Only a legacy app's own `initialize` and a modern app's own requests end so.
            (lane, outcome @ (Outcome::ModernOnly(_) | Outcome::LegacyOnly)) => {
                tracing::error!(?lane, ?outcome, "an exchange ended unexpectedly");
                let reply = Reply::of_failure(id, method, Failure::Internal);
                self.on_reply(exchange, reply);
            }
        }
    }

    fn on_reply(&mut self, exchange: &Exchange, reply: Reply) {
        match exchange.lane {
            Lane::Native => self.answer(reply),
            Lane::Downgraded(link) if exchange.request.method() == "initialize" => {
                let steps = self.downgraded.on_initialized(link, &reply);
                self.follow_session_steps(steps);
            }
            lane => self.on_translated_reply(lane, reply),
        }
    }

    /// Sends a request of the app as it is, in its era.
    fn send_native(&mut self, request: Message, era: Era) {
        self.send(request, Lane::Native, era);
    }

    /// Sends a request of a translation.
    fn send_translated(&mut self, request: Message, lane: Lane) {
        let era = match lane {
            Lane::Upgraded => Era::Modern,
            Lane::Native | Lane::Downgraded(_) => Era::Legacy,
        };
        self.send(request, lane, era);
    }

    fn send(&mut self, request: Message, lane: Lane, era: Era) {
        let initiative = self.initiative(&request, lane);
        let Some(request) = Request::new(request, era) else {
            return;
        };
        let request = request.with_initiative(initiative);
        let id = request.id().clone();
        let limits = self.wait_limits(request.method(), lane);
        let flight = Flight::new(Track::new(limits).with_span_of(&id));
        let exchange = Exchange {
            request: request.clone(),
            lane,
            flight: Arc::clone(&flight),
        };
        self.exchanges.insert(id, exchange);
        let outgoing = OutgoingRequest { request, flight };
        self.out.push(Action::Request(lane.link(), outgoing));
    }

    /// The limits of a request's waits.
    fn wait_limits(&self, method: &str, lane: Lane) -> WaitLimits {
        let patience = self.patience.of_request(method);
        let signs_in_at_leisure = matches!(method, "initialize" | "subscriptions/listen");
        // The opening sends the app's own `initialize` again by itself.
        let is_tried_again = method == "initialize" && lane == Lane::Native;
        WaitLimits {
            sign_in: patience.filter(|_| !signs_in_at_leisure),
            server: (!is_tried_again).then(|| patience.unwrap_or(SERVER_PATIENCE)),
        }
    }

    /// Ends an exchange; nothing of it will be heard any more.
    fn abort(&mut self, lane: Lane, id: &RequestId) {
        if let Some(exchange) = self.exchanges.remove(lane.link(), id) {
            self.out.push(Action::Abort(exchange.flight));
        }
    }

    /// Sends a notification, or a response for a request of the server in the session `session`, after
    /// the notifications that came before it.
    fn notify_server(&mut self, link: LinkId, message: Message, session: Option<u64>) {
        self.out.push(Action::Notify(link, message, session));
    }

    /// The exchange by which a request of the app is with the server.
    fn exchange_for(&self, id: &RequestId) -> Option<&Exchange> {
        if let LegacyLane::Upgraded(upgrade) = &self.legacy
            && let Some(attempt) = upgrade.exchange_of(id)
        {
            return self.exchanges.get(LinkId::MAIN, attempt);
        }
        match self.downgraded.exchange_of(id) {
            Some((link, attempt)) => self.exchanges.get(link, &attempt),
            None => self.exchanges.get(LinkId::MAIN, id),
        }
    }

    /// Returns whether a request waits for a sign-in, a session or a connection.
    fn is_blocked(&self, id: &RequestId, era: Era) -> bool {
        if let Some(exchange) = self.exchange_for(id) {
            return exchange.flight.track.is_blocked();
        }
        match era {
            Era::Legacy => matches!(self.legacy, LegacyLane::Opening(..)),
            Era::Modern => self.downgraded.pending().any(|pending| pending == id),
        }
    }

    /// The phase of a request of the app's own messages.
    fn phase(&self, id: &RequestId) -> Option<Phase> {
        Some(self.exchanges.get(LinkId::MAIN, id)?.flight.track.phase())
    }
}

/// The token under which the app wants to hear of a request's progress.
fn progress_token(request: &Message) -> Option<RequestId> {
    RequestId::from_json(request.meta_json("progressToken")?)
}
