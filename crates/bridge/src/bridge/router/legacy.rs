//! Lane of a legacy app: the opening of its session, then native or upgraded.

use serde_json::json;

use super::{RequestOrigin, Router};
use crate::bridge::action::{Action, LinkId, OpeningId, Timer};
use crate::bridge::exchanges::Lane;
use crate::bridge::legacy_opening::{
    LegacyOpening, LegacySession, NextState, OpenSession, OpeningSettings, OpeningStep,
    OpeningTimer, PendingExpiry,
};
use crate::bridge::list::List;
use crate::bridge::provisional_initialize::Answers;
use crate::bridge::reply::Reply;
use crate::endpoint::{Outcome, Phase};
use mcp_bridge_protocol::era::{Era, Passage, Upgrade};
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// State of the legacy app. Each state is replaced by the next as a whole.
#[derive(Debug)]
pub(super) enum LegacyLane {
    /// It has not begun.
    Fresh,
    /// Its session is being opened.
    Opening(OpeningId, Box<LegacyOpening>),
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

    /// The translation for a modern server.
    pub(super) fn upgrade(&mut self) -> Option<&mut Upgrade> {
        match self {
            Self::Upgraded(upgrade) => Some(upgrade),
            Self::Fresh | Self::Opening(..) | Self::Native => None,
        }
    }
}

impl Router {
    /// A message of the app in the legacy era.
    pub(super) fn on_legacy(&mut self, message: Message) {
        let is_initialize = message.method() == Some("initialize");
        match &mut self.legacy {
            LegacyLane::Opening(_, opening) if is_initialize && opening.is_answered() => {
                // It has begun anew.
                let opening = std::mem::replace(&mut self.legacy, LegacyLane::Fresh);
                if let LegacyLane::Opening(id, opening) = opening {
                    self.follow_opening_steps(id, opening.abandon());
                }
                self.open_legacy(message);
            }
            LegacyLane::Opening(..) => self.on_message_while_opening(message),
            LegacyLane::Upgraded(upgrade) if is_initialize => {
                let actions = upgrade.close();
                self.act(Lane::Upgraded, actions);
                self.open_legacy(message);
            }
            LegacyLane::Upgraded(upgrade) => {
                let actions = upgrade.on_app_message(&message);
                self.act(Lane::Upgraded, actions);
            }
            LegacyLane::Fresh | LegacyLane::Native if is_initialize => self.open_legacy(message),
            LegacyLane::Fresh | LegacyLane::Native => self.on_native_from_app(message),
        }
    }

    /// A message of the app for a server of its era.
    fn on_native_from_app(&mut self, message: Message) {
        match message.kind() {
            Kind::Request { .. } => self.send_native(message, Era::Legacy),
            Kind::Notification { .. } => match self.terms.on_app_notification(&message) {
                Passage::Unchanged => self.notify_server(LinkId::MAIN, message, None),
                Passage::Changed(message) => self.notify_server(LinkId::MAIN, message, None),
                Passage::Dropped | Passage::Refused(_) => {}
            },
            Kind::Response { .. } => self.notify_server(LinkId::MAIN, message, None),
        }
    }

    /// A response of the app that is for none of the server's own requests: for a question of ours, then.
    pub(super) fn on_answer(&mut self, response: &Message) {
        let Some(upgrade) = self.legacy.upgrade() else {
            tracing::debug!("dropped a response of the app that answers no request");
            return;
        };
        let actions = upgrade.on_app_message(response);
        self.act(Lane::Upgraded, actions);
    }

    /// The app is ready for messages of the server.
    pub(super) fn on_initialized(&mut self) {
        let facts = self.out.facts();
        let shown = self.notice.on_initialized(self.terms.announced(), facts);
        self.write_all(shown);
        if self.legacy.is_open() && self.provisional.has_given() {
            self.on_server_available();
        }
    }

    /// The app has given up a request that is not with the server as it is.
    pub(super) fn cancel_legacy(&mut self, id: &RequestId, notification: &Message) {
        match &mut self.legacy {
            LegacyLane::Opening(_, opening) => opening.on_cancelled(id),
            LegacyLane::Upgraded(upgrade) => {
                let actions = upgrade.on_app_message(notification);
                self.act(Lane::Upgraded, actions);
            }
            LegacyLane::Fresh | LegacyLane::Native => {}
        }
    }

    /// Opens a session for the app's `initialize`.
    fn open_legacy(&mut self, initialize: Message) {
        self.notice.on_initialize(&initialize);
        self.native.on_initialize(&initialize);
        self.provisional.on_initialize();
        self.patience.on_initialize(&initialize);
        self.initialize = Some(initialize.clone());
        let facts = self.out.facts();
        let (opening, steps) = LegacyOpening::begin(self.opening_settings(), initialize, facts);
        self.start_opening(opening, steps);
    }

    /// The server has left the modern era in the middle of the conversation. The app keeps its session, and
    /// gets another server behind it.
    pub(super) fn begin_anew(&mut self) {
        self.out.push(Action::EraOver);
        let Some(initialize) = self.initialize.clone() else {
            return;
        };
        let LegacyLane::Upgraded(upgrade) = &mut self.legacy else {
            return;
        };
        let actions = upgrade.close();
        self.act(Lane::Upgraded, actions);
        self.provisional.on_another_server();
        let initialized = Message::notification("notifications/initialized", &json!({}));
        let (opening, steps) = LegacyOpening::begin_answered(
            self.opening_settings(),
            initialize,
            self.terms.announced().version(),
            self.notice.is_ready().then_some(initialized),
            self.out.facts(),
        );
        self.start_opening(opening, steps);
    }

    fn opening_settings(&self) -> OpeningSettings {
        OpeningSettings {
            answering: self.patience.answering(),
            host: self.host.clone(),
        }
    }

    fn start_opening(&mut self, opening: LegacyOpening, steps: Vec<OpeningStep>) {
        let id = self.out.opening_id();
        self.legacy = LegacyLane::Opening(id, Box::new(opening));
        self.follow_opening_steps(id, steps);
    }

    fn on_message_while_opening(&mut self, message: Message) {
        let is_list = message.id().is_some_and(|id| self.is_list_of_app(id));
        let expiry = if is_list {
            PendingExpiry::ListClock
        } else {
            PendingExpiry::Patience
        };
        if let LegacyLane::Opening(id, opening) = &mut self.legacy {
            let id = *id;
            let steps = opening.on_app(message, expiry);
            self.follow_opening_steps(id, steps);
        }
    }

    /// Returns whether a request is one of the app for a list, which has a clock of its own.
    fn is_list_of_app(&self, id: &RequestId) -> bool {
        let asked = self.unanswered.get(id);
        asked.is_some_and(|it| {
            it.origin == RequestOrigin::App && List::of_method(&it.method).is_some()
        })
    }

    pub(super) fn on_opening_timer(&mut self, id: OpeningId, timer: OpeningTimer) {
        let phase = self.initialize_phase();
        if let LegacyLane::Opening(current, opening) = &mut self.legacy
            && *current == id
        {
            let steps = opening.on_timer(timer, phase, self.out.facts());
            self.follow_opening_steps(id, steps);
        }
    }

    pub(super) fn on_opening_recalled(&mut self, answers: &Answers) {
        let phase = self.initialize_phase();
        if let LegacyLane::Opening(id, opening) = &mut self.legacy {
            let id = *id;
            let steps = opening.on_recalled(answers, phase, self.out.facts());
            self.follow_opening_steps(id, steps);
        }
    }

    fn initialize_phase(&self) -> Option<Phase> {
        let LegacyLane::Opening(_, opening) = &self.legacy else {
            return None;
        };
        self.phase(opening.id()?)
    }

    pub(super) fn on_opening_outcome(&mut self, outcome: Outcome) {
        self.turn_opening(|opening| opening.on_outcome(outcome));
    }

    /// No time is left for another attempt.
    pub(super) fn stop_opening(&mut self) {
        self.turn_opening(LegacyOpening::on_stop);
    }

    /// Puts what comes after it in the place of the opening.
    fn turn_opening(&mut self, turn: impl FnOnce(Box<LegacyOpening>) -> NextState) {
        let (id, opening) = match std::mem::replace(&mut self.legacy, LegacyLane::Fresh) {
            LegacyLane::Opening(id, opening) => (id, opening),
            other => {
                self.legacy = other;
                return;
            }
        };
        match turn(opening) {
            NextState::Opening(opening, steps) => {
                self.legacy = LegacyLane::Opening(id, opening);
                self.follow_opening_steps(id, steps);
            }
            NextState::Open(opened) => self.on_opened(*opened),
            NextState::Refused(error, pending) => {
                self.answer(error);
                for message in pending {
                    self.on_legacy(message);
                }
            }
        }
    }

    /// There is a session.
    fn on_opened(&mut self, opened: LegacySession) {
        let kept = Action::KeepAnswer(opened.asked, opened.response.clone());
        self.out.push(kept);
        self.legacy = match opened.session {
            OpenSession::Native => LegacyLane::Native,
            OpenSession::Upgraded(upgrade) => LegacyLane::Upgraded(upgrade),
        };
        if !opened.is_answered {
            self.terms.tell(&opened.response);
            self.answer(opened.response);
        }
        self.terms.on_server(&opened.server);
        for message in opened.pending {
            self.on_legacy(message);
        }
        self.on_server_available();
    }

    fn follow_opening_steps(&mut self, id: OpeningId, steps: Vec<OpeningStep>) {
        for step in steps {
            match step {
                OpeningStep::Send(initialize) => self.send_native(initialize, Era::Legacy),
                OpeningStep::Abort(id) => self.abort(Lane::Native, &id),
                OpeningStep::Answer(reply) => self.answer(reply),
                OpeningStep::Refuse(request, error) => self.refuse_session(&request, error),
                OpeningStep::Promise(response) => {
                    self.terms.tell(&response);
                    self.answer(response);
                }
                OpeningStep::After(wait, timer) => self.out.after(wait, Timer::Opening(id, timer)),
                OpeningStep::Recall => self.out.push(Action::RecallAnswers),
            }
        }
    }

    /// Refuses a request that has waited for a session in vain. A list is given all the same.
    fn refuse_session(&mut self, request: &Message, error: Reply) {
        let list = request.method().and_then(List::of_method);
        let is_given = request.id().is_some_and(|id| self.is_list_of_app(id)) && !self.stopping;
        match (list.filter(|_| is_given), request.id()) {
            (Some(list), Some(id)) => {
                self.give_list(id, list, Some(&error));
            }
            _ => self.answer(error),
        }
    }
}
