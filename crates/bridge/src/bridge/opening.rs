//! Opening of a legacy session (`initialize`). The app gets its answer within a second, even while a person signs
//! in or the server is down; what needs the server waits for it, for a bounded time.

use std::cell::OnceCell;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Answering;
use super::conversation::{Conversation, MAX_IN_FLIGHT, Origin};
use super::lanes::LegacyLane;
use super::list_pages::{CollectionId, List};
use super::outbound::Lane;
use super::pending_queue::{Held, Ticket};
use super::provisional_initialize;
use super::remembered_lists::Form;
use crate::endpoint::{Failure, Outcome, Phase};
use mcp_bridge_auth::AuthError;
use mcp_bridge_protocol::codes::INTERNAL_ERROR;
use mcp_bridge_protocol::era::{NEWEST_LEGACY, Timer, Upgrade, asking_for, telling};
use mcp_bridge_protocol::message::{Message, RequestId};

/// How long the server has for its own answer to `initialize` when something else than the server is in
/// the way: a sign-in, or a connection that does not come up. Apps want an answer within seconds.
const PROMISE_AFTER: Duration = Duration::from_millis(750);

/// How long a server has that may only be slow, and of which nothing is known. What it answers in the end
/// is better than what can be presumed of it.
const PROMISE_FOR_SLOW_AFTER: Duration = Duration::from_secs(5);

/// How often to look what is in the way, between the two.
const LOOK: Duration = Duration::from_millis(250);

/// The first and the longest pause between two tries to open the session. A request of the app ends it.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(20);

/// The longest pause where no connection comes up: that costs the server nothing, and a person waits for
/// tools.
const MAX_CONNECT_PAUSE: Duration = Duration::from_secs(5);

/// The pause after a failure of the authorization server, which counts sign-ins.
const SIGN_IN_RETRY_PAUSE: Duration = Duration::from_secs(60);

/// The session that is being opened for a legacy app.
pub(super) struct Opening {
    /// Tells it from the one before it.
    ticket: Ticket,
    initialize: Message,
    /// What came behind waits, for nobody knows yet who will take it.
    held: Held,
    /// Whether the app has its answer already.
    is_answered: bool,
    /// What the server said the last time, once that was looked up.
    known: OnceCell<Option<Value>>,
    attempt: Attempt,
    pause: Duration,
}

enum Attempt {
    /// The `initialize` is with the server, after the attempt before it failed with this error, if there was one.
    UnderWay(Option<Message>),
    /// It has failed; this is the error for those who wait.
    Failed(Message),
}

/// Something that is due.
#[derive(Debug)]
pub(super) enum Alarm {
    /// The app may have waited long enough for the answer to its `initialize`, sent at this moment.
    Promise(Ticket, Instant),
    /// The session may be tried again.
    Retry(Ticket),
    /// A held message has waited long enough.
    Expired(Ticket),
    /// The pages of a list have taken long enough.
    ListPages(CollectionId),
    /// It is time to look which requests wait.
    Waiting,
    /// A response has been kept back long enough.
    HeldBack(Ticket),
    /// What a translation between the eras waited for.
    Translation(Lane, Timer),
    /// List requests may have waited long enough.
    Lists(Instant),
    /// The lists that are on disk.
    Recalled(Form, Vec<(List, String)>),
    /// `list_changed` has waited for answers long enough.
    Announce(Instant),
    /// A server that was lost in a session may be there again.
    CheckReturn,
    /// The app may have waited long enough for the acknowledgement of this subscription.
    Subscription(RequestId, Instant),
    /// This subscription may be tried again.
    Resubscribe(RequestId, Instant),
}

impl Opening {
    fn new(ticket: Ticket, initialize: Message) -> Self {
        Self {
            ticket,
            initialize,
            held: Held::default(),
            is_answered: false,
            known: OnceCell::new(),
            attempt: Attempt::UnderWay(None),
            pause: RETRY_PAUSE,
        }
    }

    /// The messages that wait for the session.
    pub(super) const fn held(&self) -> &Held {
        &self.held
    }

    /// Drops the request `id`, which the app has given up.
    pub(super) fn withdraw(&mut self, id: &RequestId) {
        self.held.withdraw(id);
    }
}

impl Conversation {
    pub(super) fn open_legacy(&mut self, initialize: Message) {
        self.notices.take_initialize(&initialize);
        self.server_requests.take_initialize(&initialize);
        self.provisional.begin();
        self.initialize = Some(initialize.clone());
        let ticket = self.tickets.next();
        let opening = Opening::new(ticket, initialize.clone());
        self.legacy = LegacyLane::Opening(Box::new(opening));
        self.start_exchange(initialize, Lane::Native);
        if self.patience().is_some() {
            self.set_alarm(PROMISE_AFTER, Alarm::Promise(ticket, Instant::now()));
        }
    }

    /// Opens a session for an app that has the answer to its `initialize` from an earlier one.
    fn open_answered(&mut self, initialize: Message) {
        let ticket = self.tickets.next();
        let mut opening = Opening::new(ticket, initialize.clone());
        opening.is_answered = true;
        if self.notices.is_ready() {
            let initialized = Message::notification("notifications/initialized", &json!({}));
            opening.held.push(self.tickets.next(), initialized);
        }
        self.legacy = LegacyLane::Opening(Box::new(opening));
        self.start_exchange(initialize, Lane::Native);
    }

    /// A message of the legacy app that comes while its session is being opened.
    pub(super) fn take_while_opening(&mut self, message: Message) {
        let LegacyLane::Opening(opening) = &mut self.legacy else {
            return;
        };
        if message.method() == Some("initialize") && opening.is_answered {
            // It has begun anew.
            if let Some(id) = opening.initialize.id().cloned() {
                self.abort(Lane::Native, &id);
            }
            return self.open_legacy(message);
        }
        if opening.held.len() >= MAX_IN_FLIGHT {
            return self.refuse_held(&message);
        }
        let ticket = self.tickets.next();
        let is_answered = opening.is_answered;
        let request = message.id().cloned().filter(|_| message.is_request());
        let at_once = message
            .id()
            .cloned()
            .filter(|_| is_answered && sets_log_level(&message));
        let id = message.id().map(RequestId::as_json);
        tracing::debug!(
            id,
            method = message.method(),
            "held until there is a session"
        );
        opening.held.push(ticket, message);
        if let Some(id) = at_once {
            // The bridge logs too. The server hears of it when it is there, and its answer goes nowhere.
            self.answer(&Message::result(&id, "{}"));
        } else if let Some(id) = request {
            if !self.is_list_of_app(&id) {
                self.expire(ticket);
            }
            self.try_again();
        }
    }

    /// Refuses a message that there is no room for while the session is being opened.
    fn refuse_held(&mut self, message: &Message) {
        let (Some(id), Some(method)) = (message.id(), message.method()) else {
            return tracing::warn!("dropped a message of the app: too many wait for initialize");
        };
        let failure = Failure::Overloaded {
            limit: MAX_IN_FLIGHT,
        };
        self.answer(&failure.to_response(id, method, &self.host()));
    }

    /// Returns whether a request is one of the app for a list, which has a clock of its own.
    fn is_list_of_app(&self, id: &RequestId) -> bool {
        let asked = self.unanswered.get(id);
        asked.is_some_and(|it| it.origin == Origin::App && List::of_method(&it.method).is_some())
    }

    /// Lets a held request wait for a bounded time.
    pub(super) fn expire(&mut self, ticket: Ticket) {
        if let Some(patience) = self.patience() {
            self.set_alarm(patience, Alarm::Expired(ticket));
        }
    }

    pub(super) fn take_alarm(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Promise(ticket, since) => self.consider_promise(ticket, since),
            Alarm::Retry(ticket) => {
                if matches!(&self.legacy, LegacyLane::Opening(it) if it.ticket == ticket) {
                    self.try_again();
                }
            }
            Alarm::Expired(ticket) => self.give_up_held(ticket),
            Alarm::ListPages(id) => self.take_list_timer(id),
            Alarm::Waiting => self.report_waiting(),
            Alarm::HeldBack(ticket) => self.write_held_back(ticket),
            Alarm::Translation(lane, timer) => self.take_timer(lane, timer),
            Alarm::Lists(due) => self.check_lists(due),
            Alarm::Recalled(form, lists) => self.on_recalled(form, lists),
            Alarm::Announce(due) => self.on_announcement_due(due),
            Alarm::CheckReturn => self.check_return(),
            Alarm::Subscription(id, opened) => self.consider_acknowledgement(&id, opened),
            Alarm::Resubscribe(id, opened) => self.resubscribe(&id, opened),
        }
    }

    /// How long a request waits for a session; `None` for as long as it takes.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self.answering {
            Answering::AtOnce { patience, .. } => Some(patience),
            Answering::AfterServer => None,
        }
    }

    pub(super) fn set_alarm(&mut self, wait: Duration, alarm: Alarm) {
        self.alarms.spawn(async move {
            sleep(wait).await;
            alarm
        });
    }

    fn try_again(&mut self) {
        let LegacyLane::Opening(opening) = &mut self.legacy else {
            return;
        };
        if let Attempt::Failed(error) = &opening.attempt {
            opening.attempt = Attempt::UnderWay(Some(error.clone()));
            let initialize = opening.initialize.clone();
            self.start_exchange(initialize, Lane::Native);
        }
    }

    /// Answers the app's `initialize` for the server, if that is what the app needs now.
    fn consider_promise(&mut self, ticket: Ticket, since: Instant) {
        let LegacyLane::Opening(opening) = &self.legacy else {
            return;
        };
        if opening.ticket != ticket || opening.is_answered || self.stopping {
            return;
        }
        let is_stuck = match opening.attempt {
            Attempt::Failed(_) => true,
            Attempt::UnderWay(_) => self.initialize_phase() != Some(Phase::Sent),
        };
        let asked = version_asked_by(&opening.initialize);
        let known = opening
            .known
            .get_or_init(|| self.memory.recall().to(&asked));
        if !is_stuck && known.is_none() && since.elapsed() < PROMISE_FOR_SLOW_AFTER {
            return self.set_alarm(LOOK, Alarm::Promise(ticket, since));
        }
        let Some(id) = opening.initialize.id() else {
            return;
        };
        let response = provisional_initialize::answer(id, &asked, known.as_ref(), &self.host());
        tracing::info!("answered initialize before the server has");
        if let LegacyLane::Opening(opening) = &mut self.legacy {
            opening.is_answered = true;
        }
        self.terms.tell(&response);
        self.answer(&response);
    }

    fn initialize_phase(&self) -> Option<Phase> {
        let LegacyLane::Opening(opening) = &self.legacy else {
            return None;
        };
        self.phase_of(opening.initialize.id()?)
    }

    /// A request has waited long enough for its session.
    fn give_up_held(&mut self, ticket: Ticket) {
        let Some(request) = self.take_held(ticket) else {
            return;
        };
        let (Some(id), Some(method)) = (request.id(), request.method()) else {
            return;
        };
        if let Some(error) = self.failed_opening() {
            let error = error.with_id(id);
            return self.answer(&error);
        }
        let obstacle = self.obstacle();
        let response = match (&obstacle, self.previous_failure()) {
            (Failure::NoSession(_), Some(error)) => error.with_id(id),
            _ => obstacle.to_response(id, method, &self.host()),
        };
        self.answer(&response);
    }

    /// Why the last try to open the session has failed, unless another is under way.
    fn failed_opening(&self) -> Option<&Message> {
        let LegacyLane::Opening(opening) = &self.legacy else {
            return None;
        };
        match &opening.attempt {
            Attempt::Failed(error) => Some(error),
            Attempt::UnderWay(_) => None,
        }
    }

    /// Reason why the last attempt that is over has failed.
    pub(super) fn last_opening_error(&self) -> Option<&Message> {
        self.failed_opening().or_else(|| self.previous_failure())
    }

    /// Why the attempt before the one under way has failed.
    fn previous_failure(&self) -> Option<&Message> {
        match &self.legacy {
            LegacyLane::Opening(opening) => match &opening.attempt {
                Attempt::UnderWay(error) => error.as_ref(),
                Attempt::Failed(_) => None,
            },
            _ => None,
        }
    }

    fn take_held(&mut self, ticket: Ticket) -> Option<Message> {
        if let LegacyLane::Opening(opening) = &mut self.legacy
            && let Some(message) = opening.held.take(ticket)
        {
            return Some(message);
        }
        self.take_held_downgraded(ticket)
    }

    /// What the requests that wait for a session wait for.
    fn obstacle(&self) -> Failure {
        let page = self
            .authorizer
            .as_ref()
            .and_then(|authorizer| authorizer.pending_sign_in());
        if page.is_some() {
            return AuthError::SignInRequired { url: page }.into();
        }
        let patience = self.patience().unwrap_or_default();
        match self.initialize_phase() {
            Some(Phase::SigningIn) => Failure::SignInNotReady(patience),
            Some(Phase::Sent | Phase::Queued | Phase::Unreachable) | None => {
                Failure::NoSession(patience)
            }
        }
    }

    /// The session could not be opened, for now or for good.
    fn opening_failed(&mut self, failure: &Failure) {
        let LegacyLane::Opening(opening) = &mut self.legacy else {
            return;
        };
        let Some(id) = opening.initialize.id().cloned() else {
            return;
        };
        let host = self.links[0].endpoint.host();
        let error = failure.to_response(&id, "initialize", &host);
        let retry = match self.answering {
            Answering::AtOnce { .. } if !self.stopping => retry_pause(failure, &mut opening.pause),
            Answering::AtOnce { .. } | Answering::AfterServer => None,
        };
        match retry {
            Some(pause) => {
                opening.attempt = Attempt::Failed(error);
                let ticket = opening.ticket;
                self.set_alarm(pause, Alarm::Retry(ticket));
            }
            None => self.opening_refused(&error),
        }
    }

    /// There will be no session unless the app asks again: for this reason, as an error.
    fn opening_refused(&mut self, error: &Message) {
        let LegacyLane::Opening(opening) = &mut self.legacy else {
            return;
        };
        if !opening.is_answered {
            let held = std::mem::take(&mut opening.held);
            self.legacy = LegacyLane::Fresh;
            self.answer(error);
            return held
                .into_iter()
                .for_each(|message| self.take_legacy(message));
        }
        opening.attempt = Attempt::Failed(error.clone());
        for request in opening.held.take_requests() {
            let Some(id) = request.id() else {
                continue;
            };
            let list = request.method().and_then(List::of_method);
            match list.filter(|_| self.is_list_of_app(id) && !self.stopping) {
                Some(list) => self.give_list(id, list, Some(error)),
                None => self.answer(&error.with_id(id)),
            }
        }
    }

    /// No time is left for another try.
    pub(super) fn stop_opening(&mut self) {
        if let Some(error) = self.failed_opening().cloned() {
            self.opening_refused(&error);
        }
    }

    /// What came of the legacy app's `initialize`.
    pub(super) fn opened(&mut self, initialize: &Message, outcome: Outcome) {
        match outcome {
            Outcome::LegacyOnly => {}
            Outcome::Failed(failure) => self.opening_failed(&failure),
            Outcome::Response(response)
            | Outcome::OtherVersion(response)
            | Outcome::Ended(response)
                if response.is_error() =>
            {
                self.opening_refused(&response);
            }
            Outcome::Response(response) | Outcome::Ended(response) => {
                self.begin(LegacyLane::Native, initialize, &response, &response);
            }
            Outcome::OtherVersion(response) => {
                let told = telling(&response, &version_asked_by(initialize));
                self.begin(LegacyLane::Native, initialize, &told, &response);
            }
            Outcome::ModernOnly(discover) => self.opened_modern(initialize, &discover),
        }
    }

    /// The server speaks the modern era alone.
    fn opened_modern(&mut self, initialize: &Message, discover: &Message) {
        let is_answered = matches!(&self.legacy, LegacyLane::Opening(it) if it.is_answered);
        let app = if is_answered {
            asking_for(initialize, self.terms.told().version())
        } else {
            initialize.clone()
        };
        match Upgrade::open(&app, discover, &self.host()) {
            Ok((upgrade, response)) => {
                let lane = LegacyLane::Upgraded(Box::new(upgrade));
                // What a modern server says is translated into the words of that revision.
                let server = telling(&response, NEWEST_LEGACY);
                self.begin(lane, initialize, &response, &server);
            }
            Err(error) => {
                let (host, reason) = (self.host(), error.to_string());
                let text = format!("mcp-bridge: {host}: {reason}");
                let data = json!({
                    "source": "mcp-bridge",
                    "kind": "protocol_version",
                    "host": host,
                    "reason": reason,
                });
                let error = Message::error(initialize.id(), INTERNAL_ERROR, &text, Some(&data));
                self.opening_refused(&error);
            }
        }
    }

    /// There is a session. The app is told `told` unless it has an answer already, which it keeps then; the
    /// server says `server`.
    fn begin(&mut self, lane: LegacyLane, initialize: &Message, told: &Message, server: &Message) {
        self.remember(initialize, told);
        let LegacyLane::Opening(opening) = std::mem::replace(&mut self.legacy, lane) else {
            return;
        };
        if !opening.is_answered {
            self.terms.tell(told);
            self.answer(told);
        }
        self.terms.take_server(server);
        opening.held.into_iter().for_each(|it| self.take_legacy(it));
        self.on_server_available();
    }

    /// The server has left the modern era in the middle of the conversation. The app keeps its session, and
    /// gets another server behind it.
    pub(super) fn begin_anew(&mut self) {
        self.endpoint().era_over();
        let Some(initialize) = self.initialize.clone() else {
            return;
        };
        let LegacyLane::Upgraded(upgrade) = &mut self.legacy else {
            return;
        };
        let actions = upgrade.close();
        self.act(Lane::Upgraded, actions);
        self.provisional.another_server();
        self.open_answered(initialize);
    }

    fn remember(&mut self, initialize: &Message, response: &Message) {
        let memory = self.memory.clone();
        let (asked, response) = (version_asked_by(initialize), response.clone());
        // Among what is waited for at the end, so that also a short run is remembered.
        self.outbound.spawn(async move {
            let kept = tokio::task::spawn_blocking(move || memory.keep(&asked, &response));
            // It fails only when the runtime ends.
            let _ = kept.await;
        });
    }
}

fn sets_log_level(message: &Message) -> bool {
    message.is_request() && message.method() == Some("logging/setLevel")
}

fn version_asked_by(initialize: &Message) -> String {
    initialize.param("protocolVersion").unwrap_or_default()
}

/// How long to wait before another try; `None` if that would not help.
fn retry_pause(failure: &Failure, pause: &mut Duration) -> Option<Duration> {
    if let Failure::Auth(error) = failure {
        return error.retry_after().map(|_| SIGN_IN_RETRY_PAUSE);
    }
    if !failure.may_pass() {
        return None;
    }
    let longest = match failure {
        Failure::Connect { .. } => MAX_CONNECT_PAUSE,
        _ => MAX_RETRY_PAUSE,
    };
    let this = (*pause).min(longest);
    *pause = this * 2;
    Some(this)
}
