//! Interpreter of the translation between the eras. The translation itself
//! is in [`mcp_bridge_protocol::era`]; here its actions are carried out.

use super::action::{LinkId, OpeningId, Timer as BridgeTimer};
use super::exchanges::Lane;
use super::legacy_opening::{
    self, Expiry, Next, OpenSession, Opened, Opening, OpeningTimer, Settings, Step,
};
use super::pending_queue::{PendingQueue, Ticket};
use super::provisional_initialize::Answers;
use super::reply::Reply;
use super::router::{Origin, Router};
use crate::endpoint::{Failure, Listening, Outcome, Phase, Request};
use std::time::Duration;

use serde_json::json;

use super::Answering;
use super::list_pages::List;
use mcp_bridge_protocol::era::downgrade::{Client, Standalone};
use mcp_bridge_protocol::era::{Action, Downgrade, Era, Passage, Timer, Upgrade};
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// Sessions with a legacy server that are held for modern apps: one for each way in which the app
/// describes itself.
const MAX_DOWNGRADED: usize = 16;

/// Where the legacy app stands.
pub(super) enum LegacyLane {
    /// It has not begun.
    Fresh,
    /// Its session is being opened.
    Opening(OpeningId, Box<Opening>),
    /// It has a session with the server.
    Native,
    /// The server speaks the modern era alone.
    Upgraded(Box<Upgrade>),
}

impl LegacyLane {
    pub(super) const fn is_open(&self) -> bool {
        match self {
            Self::Fresh | Self::Opening(..) => false,
            Self::Native | Self::Upgraded(_) => true,
        }
    }
}

/// A session with a legacy server that is held for a modern app.
pub(super) struct Downgraded {
    client: Client,
    link: LinkId,
    state: DowngradedState,
}

enum DowngradedState {
    /// The session is being opened; these wait for it.
    Opening(PendingQueue),
    Open(Box<Downgrade>),
    /// The session could not be opened. The next request tries again.
    Failed,
}

impl Downgraded {
    /// The requests that wait for the session.
    pub(super) const fn held(&self) -> Option<&PendingQueue> {
        match &self.state {
            DowngradedState::Opening(held) => Some(held),
            DowngradedState::Open(_) | DowngradedState::Failed => None,
        }
    }

    /// The exchange by which the request `id` is with the server: its endpoint and its id there.
    pub(super) fn exchange_of(&self, id: &RequestId) -> Option<(LinkId, RequestId)> {
        match &self.state {
            DowngradedState::Open(session) => Some((self.link, session.exchange_of(id)?.clone())),
            DowngradedState::Opening(_) | DowngradedState::Failed => None,
        }
    }
}

impl Router {
    /// A message of the app in the legacy era.
    pub(super) fn take_legacy(&mut self, message: Message) {
        let is_initialize = message.method() == Some("initialize");
        match &mut self.legacy {
            LegacyLane::Opening(_, opening) if is_initialize && opening.is_answered() => {
                // It has begun anew.
                let opening = std::mem::replace(&mut self.legacy, LegacyLane::Fresh);
                if let LegacyLane::Opening(id, opening) = opening {
                    let steps = opening.abandon();
                    self.take_opening_steps(id, steps);
                }
                self.open_legacy(message);
            }
            LegacyLane::Opening(..) => self.take_while_opening(message),
            LegacyLane::Upgraded(upgrade) if is_initialize => {
                let actions = upgrade.close();
                self.act(Lane::Upgraded, actions);
                self.open_legacy(message);
            }
            LegacyLane::Upgraded(upgrade) => {
                let actions = upgrade.take_from_app(&message);
                self.act(Lane::Upgraded, actions);
            }
            LegacyLane::Fresh | LegacyLane::Native if is_initialize => self.open_legacy(message),
            LegacyLane::Fresh | LegacyLane::Native => match message.kind() {
                Kind::Request { .. } => self.start_exchange(message, Lane::Native),
                Kind::Notification { .. } => match self.terms.take_from_app(&message) {
                    Passage::Unchanged => self.send_in_turn(LinkId::MAIN, message, None),
                    Passage::Changed(message) => self.send_in_turn(LinkId::MAIN, message, None),
                    Passage::Dropped | Passage::Refused(_) => {}
                },
                Kind::Response { .. } => self.send_in_turn(LinkId::MAIN, message, None),
            },
        }
    }

    /// A request of the app in the modern era.
    pub(super) fn take_modern(&mut self, request: Message) {
        if self.downgraded.is_empty() || request.method() == Some("server/discover") {
            self.start_exchange(request, Lane::Native);
        } else {
            self.downgrade(request);
        }
    }

    /// A response of the app that is for none of the server's own requests: for a question of ours, then.
    pub(super) fn take_answer(&mut self, response: &Message) {
        let LegacyLane::Upgraded(upgrade) = &mut self.legacy else {
            tracing::debug!("dropped a response of the app that answers no request");
            return;
        };
        let actions = upgrade.take_from_app(response);
        self.act(Lane::Upgraded, actions);
    }

    /// The app has given up a request that is not with the server in its own words.
    pub(super) fn cancel_translated(&mut self, id: &RequestId, era: Era, notification: &Message) {
        if era == Era::Modern {
            if self.withdraw_unsent(id) {
                return;
            }
            for at in 0..self.downgraded.len() {
                let session = &mut self.downgraded[at];
                let actions = match &mut session.state {
                    DowngradedState::Open(downgrade) => downgrade.take_from_app(notification),
                    DowngradedState::Opening(held) => {
                        held.withdraw(id);
                        continue;
                    }
                    DowngradedState::Failed => continue,
                };
                let lane = Lane::Downgraded(session.link);
                self.act(lane, actions);
            }
            return;
        }
        match &mut self.legacy {
            LegacyLane::Opening(_, opening) => opening.on_cancelled(id),
            LegacyLane::Upgraded(upgrade) => {
                let actions = upgrade.take_from_app(notification);
                self.act(Lane::Upgraded, actions);
            }
            LegacyLane::Fresh | LegacyLane::Native => {}
        }
    }

    /// Withdraws a modern app's request that is on its way to a legacy server, if it has not been sent.
    fn withdraw_unsent(&mut self, id: &RequestId) -> bool {
        let found = self.downgraded.iter().find_map(|it| it.exchange_of(id));
        let Some((link, leg)) = found else {
            return false;
        };
        let exchange = self.exchanges.get(link, &leg);
        let phase = exchange.map(|exchange| exchange.flight.track.phase());
        if !matches!(
            phase,
            Some(Phase::Queued | Phase::SigningIn | Phase::Unreachable)
        ) {
            return false;
        }
        self.abort(Lane::Downgraded(link), &leg);
        if let Some(session) = self.open_session(link) {
            session.forget_unsent(id);
        }
        true
    }

    /// What came of a request that was with the server.
    pub(super) fn settle(
        &mut self,
        lane: Lane,
        id: &RequestId,
        outcome: Outcome,
        request: &Request,
    ) {
        let outcome = match (lane, outcome) {
            (Lane::Native, outcome) if request.method() == "initialize" => {
                return self.on_opening_outcome(outcome);
            }
            (_, Outcome::Failed(failure)) => {
                let method = request.method();
                Outcome::Response(failure.to_response(id, method, &self.host()))
            }
            (_, outcome) => outcome,
        };
        let outcome = match outcome {
            // The version of a session of our own is nobody else's business.
            Outcome::OtherVersion(response) => Outcome::Response(response),
            outcome => outcome,
        };
        match (lane, outcome) {
            (Lane::Native, Outcome::Response(response)) => self.answer(response),
            (Lane::Native, Outcome::LegacyOnly) => self.downgrade(request.message().clone()),
            (Lane::Native, Outcome::Ended(_)) => self.end_subscription(id),
            (Lane::Downgraded(link), Outcome::Response(response))
                if request.method() == "initialize" =>
            {
                self.opened_downgraded(link, &response);
            }
            (lane, Outcome::Response(response) | Outcome::Ended(response)) => {
                self.take_translated(lane, &response, None);
            }
            // Only a legacy app's own `initialize` and a modern app's own requests end so.
            (
                lane,
                outcome @ (Outcome::ModernOnly(_)
                | Outcome::OtherVersion(_)
                | Outcome::LegacyOnly
                | Outcome::Failed(_)),
            ) => {
                tracing::error!(?lane, ?outcome, "an exchange ended unexpectedly");
                let method = request.method();
                let failure = Failure::Internal.to_response(id, method, &self.host());
                self.take_translated(lane, &failure, None);
            }
        }
    }

    /// A subscription has ended without a response, of which the app hears by a cancellation (MCP
    /// 2026-07-28, "Cancellation").
    fn end_subscription(&mut self, id: &RequestId) {
        self.progress.end(id);
        if self.unanswered.remove(id).is_none() {
            return;
        }
        let id: serde_json::Value = serde_json::from_str(id.as_json()).unwrap_or_default();
        let params = serde_json::json!({ "requestId": id, "reason": "the connection was lost" });
        self.write(Message::notification("notifications/cancelled", &params));
    }

    /// What the server says in another era than the app's. `stream` is the request on whose stream it
    /// came.
    pub(super) fn take_translated(
        &mut self,
        lane: Lane,
        message: &Message,
        stream: Option<&RequestId>,
    ) {
        let actions = match lane {
            Lane::Native => return,
            Lane::Upgraded => match &mut self.legacy {
                LegacyLane::Upgraded(upgrade) => upgrade.take_from_server(message, stream),
                LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Opening(..) => return,
            },
            Lane::Downgraded(link) => match self.open_session(link) {
                Some(downgrade) => downgrade.take_from_server(message, stream),
                None => return,
            },
        };
        self.act(lane, actions);
    }

    pub(super) fn take_timer(&mut self, lane: Lane, timer: Timer) {
        let actions = match lane {
            Lane::Native => return,
            Lane::Upgraded => match &mut self.legacy {
                LegacyLane::Upgraded(upgrade) => upgrade.take_timer(timer),
                LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Opening(..) => return,
            },
            Lane::Downgraded(link) => match self.open_session(link) {
                Some(downgrade) => downgrade.take_timer(timer),
                None => return,
            },
        };
        self.act(lane, actions);
    }

    /// The server's own stream of a session is there, or will not be.
    pub(super) fn take_listening(&mut self, link: LinkId, listening: Listening) {
        let standalone = match listening {
            Listening::Open => Standalone::Open,
            Listening::Refused => Standalone::Refused,
        };
        if let Some(downgrade) = self.open_session(link) {
            let actions = downgrade.take_standalone(standalone);
            self.act(Lane::Downgraded(link), actions);
        }
        let is_available = link == LinkId::MAIN && listening == Listening::Open;
        if is_available && self.legacy.is_open() && self.provisional.has_given() {
            self.on_server_available();
        }
    }

    /// A session was lost, and there is another in its place.
    pub(super) fn take_reopened(&mut self, link: LinkId, response: &Message) {
        if link == LinkId::MAIN && matches!(self.legacy, LegacyLane::Native) {
            self.terms.take_server(response);
            self.on_server_available();
        }
        if let Some(downgrade) = self.open_session(link) {
            let actions = downgrade.take_new_session();
            self.act(Lane::Downgraded(link), actions);
        }
    }

    /// Serves a request of the modern era by a session with the legacy server.
    fn downgrade(&mut self, request: Message) {
        let client = Client::of(&request);
        let known = self
            .downgraded
            .iter()
            .position(|known| known.client == client);
        let Some(at) = known else {
            return self.open_downgraded(client, request);
        };
        let session = &mut self.downgraded[at];
        let lane = Lane::Downgraded(session.link);
        match &mut session.state {
            DowngradedState::Open(downgrade) => {
                let actions = downgrade.take_from_app(&request);
                self.act(lane, actions);
            }
            DowngradedState::Opening(pending) => {
                let link = session.link;
                let ticket = pending.push(request);
                if let Some(patience) = self.patience() {
                    self.out.after(patience, BridgeTimer::Pending(link, ticket));
                }
            }
            DowngradedState::Failed => {
                session.state = DowngradedState::Opening(PendingQueue::default());
                self.start_session(at);
                self.downgrade(request);
            }
        }
    }

    fn open_downgraded(&mut self, client: Client, request: Message) {
        if self.downgraded.len() >= MAX_DOWNGRADED {
            let (Some(id), Some(method)) = (request.id(), request.method()) else {
                return;
            };
            let failure = Failure::Overloaded {
                limit: MAX_DOWNGRADED,
            };
            return self.answer(failure.to_response(id, method, &self.host()));
        }
        let link = self.out.open_link();
        self.downgraded.push(Downgraded {
            client,
            link,
            state: DowngradedState::Opening(PendingQueue::default()),
        });
        self.start_session(self.downgraded.len() - 1);
        self.downgrade(request);
    }

    fn start_session(&mut self, at: usize) {
        let session = &self.downgraded[at];
        let id = RequestId::from_string(&format!("mcp-bridge-session-{}", session.link.number()));
        let initialize = session.client.initialize_request(&id);
        self.start_exchange(initialize, Lane::Downgraded(session.link));
    }

    fn opened_downgraded(&mut self, link: LinkId, response: &Message) {
        let host = self.host();
        let Some(session) = self.downgraded.iter_mut().find(|known| known.link == link) else {
            return;
        };
        let opened = Downgrade::open(&session.client, response, &host);
        let (state, actions) = match opened {
            Some((downgrade, actions)) => (DowngradedState::Open(Box::new(downgrade)), actions),
            None => (DowngradedState::Failed, Vec::new()),
        };
        let failed = matches!(state, DowngradedState::Failed);
        let held = match std::mem::replace(&mut session.state, state) {
            DowngradedState::Opening(held) => held,
            DowngradedState::Open(_) | DowngradedState::Failed => PendingQueue::default(),
        };
        self.act(Lane::Downgraded(link), actions);
        for request in held {
            match request.id() {
                Some(id) if failed => self.answer(response.with_id(id)),
                _ => self.downgrade(request),
            }
        }
    }

    /// Returns whether the request `id` waits for a session with a legacy server.
    pub(super) fn is_held_downgraded(&self, id: &RequestId) -> bool {
        self.downgraded.iter().any(|session| match &session.state {
            DowngradedState::Opening(held) => held.contains(id),
            DowngradedState::Open(_) | DowngradedState::Failed => false,
        })
    }

    /// A request has waited long enough for the session on this link.
    pub(super) fn on_pending_expired(&mut self, link: LinkId, ticket: Ticket) {
        let mut sessions = self.downgraded.iter_mut();
        let session = sessions.find(|session| session.link == link);
        let request = session.and_then(|session| match &mut session.state {
            DowngradedState::Opening(pending) => pending.take(ticket),
            DowngradedState::Open(_) | DowngradedState::Failed => None,
        });
        let Some((id, method)) = request.as_ref().and_then(|it| it.id().zip(it.method())) else {
            return;
        };
        let patience = self.patience().unwrap_or_default();
        let failure = legacy_opening::obstacle(patience, None, self.out.facts());
        self.answer(failure.to_response(id, method, &self.host()));
    }

    fn open_session(&mut self, link: LinkId) -> Option<&mut Downgrade> {
        let session = self
            .downgraded
            .iter_mut()
            .find(|known| known.link == link)?;
        match &mut session.state {
            DowngradedState::Open(downgrade) => Some(downgrade),
            DowngradedState::Opening(_) | DowngradedState::Failed => None,
        }
    }

    /// Does what a translation asks for.
    pub(super) fn act(&mut self, lane: Lane, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToApp(message) => match message.kind() {
                    Kind::Response { .. } => self.answer(message),
                    Kind::Request { .. } | Kind::Notification { .. } => {
                        self.tell_app(lane, &message);
                    }
                },
                Action::Request(message) => self.start_exchange(message, lane),
                Action::Notify(message) => self.send_in_turn(lane.link(), message, None),
                Action::Abort(id) => self.abort(lane, &id),
                Action::After(wait, timer) => {
                    self.out.after(wait, BridgeTimer::Translation(lane, timer));
                }
                Action::EraOver => self.begin_anew(),
            }
        }
    }

    /// A request or a notification that a translation has for the app.
    fn tell_app(&mut self, lane: Lane, message: &Message) {
        if lane != Lane::Upgraded {
            if self.subscriptions_pass(message) {
                self.write_from_server(message);
            }
            return;
        }
        match self.terms.take_from_server(message) {
            Passage::Unchanged => self.write_from_server(message),
            Passage::Changed(message) => self.write_from_server(&message),
            Passage::Refused(error) => self.take_answer(&error),
            Passage::Dropped => {}
        }
    }

    /// Opens a session for the app's `initialize`.
    fn open_legacy(&mut self, initialize: Message) {
        self.notices.on_initialize(&initialize);
        self.server_requests.take_initialize(&initialize);
        self.provisional.begin();
        self.initialize = Some(initialize.clone());
        let facts = self.out.facts();
        let (opening, steps) = Opening::begin(self.opening_settings(), initialize, facts);
        self.start_opening(opening, steps);
    }

    /// The server has left the modern era in the middle of the conversation. The app keeps its session, and
    /// gets another server behind it.
    fn begin_anew(&mut self) {
        self.out.push(super::action::Action::EraOver);
        let Some(initialize) = self.initialize.clone() else {
            return;
        };
        let LegacyLane::Upgraded(upgrade) = &mut self.legacy else {
            return;
        };
        let actions = upgrade.close();
        self.act(Lane::Upgraded, actions);
        self.provisional.another_server();
        let initialized = Message::notification("notifications/initialized", &json!({}));
        let (opening, steps) = Opening::begin_answered(
            self.opening_settings(),
            initialize,
            self.terms.told().version(),
            self.notices.is_ready().then_some(initialized),
            self.out.facts(),
        );
        self.start_opening(opening, steps);
    }

    fn opening_settings(&self) -> Settings {
        Settings {
            answering: self.answering,
            host: self.host(),
        }
    }

    fn start_opening(&mut self, opening: Opening, steps: Vec<Step>) {
        let id = self.out.opening_id();
        self.legacy = LegacyLane::Opening(id, Box::new(opening));
        self.take_opening_steps(id, steps);
    }

    fn take_while_opening(&mut self, message: Message) {
        let is_list = message.id().is_some_and(|id| self.is_list_of_app(id));
        let expiry = if is_list {
            Expiry::ListClock
        } else {
            Expiry::Patience
        };
        if let LegacyLane::Opening(id, opening) = &mut self.legacy {
            let id = *id;
            let steps = opening.on_app(message, expiry);
            self.take_opening_steps(id, steps);
        }
    }

    /// Returns whether a request is one of the app for a list, which has a clock of its own.
    fn is_list_of_app(&self, id: &RequestId) -> bool {
        let asked = self.unanswered.get(id);
        asked.is_some_and(|it| it.origin == Origin::App && List::of_method(&it.method).is_some())
    }

    pub(super) fn on_opening_timer(&mut self, id: OpeningId, timer: OpeningTimer) {
        let phase = self.initialize_phase();
        if let LegacyLane::Opening(current, opening) = &mut self.legacy
            && *current == id
        {
            let steps = opening.on_timer(timer, phase, self.out.facts());
            self.take_opening_steps(id, steps);
        }
    }

    pub(super) fn on_opening_recalled(&mut self, answers: &Answers) {
        let phase = self.initialize_phase();
        if let LegacyLane::Opening(id, opening) = &mut self.legacy {
            let id = *id;
            let steps = opening.on_recalled(answers, phase, self.out.facts());
            self.take_opening_steps(id, steps);
        }
    }

    fn initialize_phase(&self) -> Option<Phase> {
        let LegacyLane::Opening(_, opening) = &self.legacy else {
            return None;
        };
        self.exchanges.phase(opening.id()?)
    }

    fn on_opening_outcome(&mut self, outcome: Outcome) {
        self.turn_opening(|opening| opening.on_outcome(outcome));
    }

    /// No time is left for another attempt.
    pub(super) fn stop_opening(&mut self) {
        self.turn_opening(Opening::on_stop);
    }

    /// Puts what comes after it in the place of the opening.
    fn turn_opening(&mut self, turn: impl FnOnce(Box<Opening>) -> Next) {
        let (id, opening) = match std::mem::replace(&mut self.legacy, LegacyLane::Fresh) {
            LegacyLane::Opening(id, opening) => (id, opening),
            other => {
                self.legacy = other;
                return;
            }
        };
        match turn(opening) {
            Next::Opening(opening, steps) => {
                self.legacy = LegacyLane::Opening(id, opening);
                self.take_opening_steps(id, steps);
            }
            Next::Open(opened) => self.on_opened(*opened),
            Next::Refused(error, pending) => {
                self.answer_with(error);
                for message in pending {
                    self.take_legacy(message);
                }
            }
        }
    }

    /// There is a session.
    fn on_opened(&mut self, opened: Opened) {
        let kept = super::action::Action::KeepAnswer(opened.asked, opened.response.clone());
        self.out.push(kept);
        self.legacy = match opened.session {
            OpenSession::Native => LegacyLane::Native,
            OpenSession::Upgraded(upgrade) => LegacyLane::Upgraded(upgrade),
        };
        if !opened.is_answered {
            self.terms.tell(&opened.response);
            self.answer(opened.response);
        }
        self.terms.take_server(&opened.server);
        for message in opened.pending {
            self.take_legacy(message);
        }
        self.on_server_available();
    }

    fn take_opening_steps(&mut self, id: OpeningId, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(initialize) => self.start_exchange(initialize, Lane::Native),
                Step::Abort(id) => self.abort(Lane::Native, &id),
                Step::Answer(reply) => self.answer_with(reply),
                Step::Refuse(request, error) => self.refuse_session(&request, error),
                Step::Promise(response) => {
                    self.terms.tell(&response);
                    self.answer(response);
                }
                Step::After(wait, timer) => self.out.after(wait, BridgeTimer::Opening(id, timer)),
                Step::Recall => self.out.push(super::action::Action::RecallAnswers),
            }
        }
    }

    /// Refuses a request that has waited for a session in vain. A list is given all the same.
    fn refuse_session(&mut self, request: &Message, error: Reply) {
        let list = request.method().and_then(List::of_method);
        let is_given = request.id().is_some_and(|id| self.is_list_of_app(id)) && !self.stopping;
        match (list.filter(|_| is_given), request.id()) {
            (Some(list), Some(id)) => {
                let error = self.render(error);
                self.give_list(id, list, Some(&error));
            }
            _ => self.answer_with(error),
        }
    }

    fn render(&self, reply: Reply) -> Message {
        match reply {
            Reply::Response(response) => response,
            Reply::Failed(it) => it.failure.to_response(&it.id, &it.method, &self.host()),
        }
    }

    fn answer_with(&mut self, reply: Reply) {
        let response = self.render(reply);
        self.answer(response);
    }

    /// Reason why the last attempt at a session that is over has failed.
    pub(super) fn last_opening_error(&self) -> Option<Message> {
        match &self.legacy {
            LegacyLane::Opening(_, opening) => {
                opening.last_error().map(|error| self.render(error.clone()))
            }
            LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Upgraded(_) => None,
        }
    }

    /// How long a request waits for a session; `None` for as long as it takes.
    pub(super) const fn patience(&self) -> Option<Duration> {
        match self.answering {
            Answering::AtOnce { patience, .. } => Some(patience),
            Answering::AfterServer => None,
        }
    }
}
