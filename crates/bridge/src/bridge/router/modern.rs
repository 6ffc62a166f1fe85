//! Lane of a modern app: native, or downgraded where the server speaks the legacy era alone.

use std::sync::Arc;

use super::Router;
use super::legacy::LegacyLane;
use crate::bridge::action::{self, LinkId, Timer};
use crate::bridge::downgraded::SessionStep;
use crate::bridge::exchanges::Lane;
use crate::bridge::legacy_opening;
use crate::bridge::pending_queue::Ticket;
use crate::bridge::reply::{FailedRequest, Reply};
use crate::endpoint::{Failure, Listening, Phase};
use mcp_bridge_protocol::era::downgrade::Standalone;
use mcp_bridge_protocol::era::{self, Action, Era, ExchangeFailure, Passage, Prospect};
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

impl Router {
    /// A request of the app in the modern era.
    pub(super) fn on_modern_request(&mut self, request: Message) {
        if self.downgraded.is_empty() || request.method() == Some("server/discover") {
            self.send_native(request, Era::Modern);
        } else {
            self.downgrade(request);
        }
    }

    /// Serves a request of the modern era by a session with the legacy server.
    pub(super) fn downgrade(&mut self, request: Message) {
        let out = &mut self.out;
        let steps = self.downgraded.on_request(request, || out.open_link());
        self.follow_session_steps(steps);
    }

    pub(super) fn follow_session_steps(&mut self, steps: Vec<SessionStep>) {
        for step in steps {
            match step {
                SessionStep::Send(link, request) => {
                    self.send_translated(request, Lane::Downgraded(link));
                }
                SessionStep::Translate(link, actions) => self.act(Lane::Downgraded(link), actions),
                SessionStep::Answer(reply) => self.answer(reply),
                SessionStep::After(wait, link, ticket) => {
                    self.out.after(wait, Timer::Pending(link, ticket));
                }
            }
        }
    }

    /// A request has waited long enough for the session on this link.
    pub(super) fn on_pending_expired(&mut self, link: LinkId, ticket: Ticket) {
        let request = self.downgraded.take_expired(link, ticket);
        let Some((id, method)) = request.as_ref().and_then(|it| it.id().zip(it.method())) else {
            return;
        };
        let failure = legacy_opening::obstacle(self.patience.answering(), None, self.out.facts());
        self.answer(Reply::of_failure(id, method, failure));
    }

    /// The app has given up a request that is not with the server in its own words.
    pub(super) fn cancel_translated(&mut self, id: &RequestId, era: Era, notification: &Message) {
        match era {
            Era::Legacy => self.cancel_legacy(id, notification),
            Era::Modern if self.withdraw_unsent(id) => {}
            Era::Modern => {
                let steps = self.downgraded.on_cancelled(id, notification);
                self.follow_session_steps(steps);
            }
        }
    }

    /// Withdraws a modern app's request that is on its way to a legacy server, if it has not been sent.
    fn withdraw_unsent(&mut self, id: &RequestId) -> bool {
        let Some((link, attempt)) = self.downgraded.exchange_of(id) else {
            return false;
        };
        let exchange = self.exchanges.get(link, &attempt);
        let phase = exchange.map(|exchange| exchange.flight.track.phase());
        match phase {
            Some(Phase::Queued | Phase::SigningIn | Phase::Unreachable) => {}
            Some(Phase::Sent) | None => return false,
        }
        self.abort(Lane::Downgraded(link), &attempt);
        if let Some(session) = self.downgraded.on_link(link) {
            session.forget_unsent(id);
        }
        true
    }

    /// A message of the server in another era than the app's. `stream` is the request on whose stream it came.
    pub(super) fn on_translated_message(
        &mut self,
        lane: Lane,
        message: &Message,
        stream: Option<&RequestId>,
    ) {
        let actions = match lane {
            Lane::Native => None,
            Lane::Upgraded => {
                let upgrade = self.legacy.upgrade();
                upgrade.map(|it| it.on_server_message(message, stream))
            }
            Lane::Downgraded(link) => {
                let session = self.downgraded.on_link(link);
                session.map(|it| it.on_server_message(message, stream))
            }
        };
        self.act(lane, actions.unwrap_or_default());
    }

    /// The reply of a server to a request of a translation.
    pub(super) fn on_translated_reply(&mut self, lane: Lane, reply: Reply) {
        let failed = match reply {
            Reply::Response(response) => return self.on_translated_message(lane, &response, None),
            Reply::Failed(failed) => failed,
        };
        let id = failed.id.clone();
        let failure = self.exchange_failure(failed);
        let actions = match lane {
            Lane::Native => None,
            Lane::Upgraded => {
                let upgrade = self.legacy.upgrade();
                upgrade.map(|it| it.on_failure(&id, &failure))
            }
            Lane::Downgraded(link) => {
                let session = self.downgraded.on_link(link);
                session.map(|it| it.on_failure(&id, &failure))
            }
        };
        self.act(lane, actions.unwrap_or_default());
    }

    fn exchange_failure(&self, failed: FailedRequest) -> ExchangeFailure {
        let failure = &failed.failure;
        ExchangeFailure {
            prospect: prospect(failure),
            text: format!("mcp-bridge: {}: {failure} ({})", self.host, failure.hint()),
            cause: Arc::new(failed),
        }
    }

    pub(super) fn on_translation_timer(&mut self, lane: Lane, timer: era::Timer) {
        let actions = match lane {
            Lane::Native => None,
            Lane::Upgraded => self.legacy.upgrade().map(|it| it.on_timer(timer)),
            Lane::Downgraded(link) => {
                let session = self.downgraded.on_link(link);
                session.map(|it| it.on_timer(timer))
            }
        };
        self.act(lane, actions.unwrap_or_default());
    }

    /// The server's own stream of a session is there, or will not be.
    pub(super) fn on_listening(&mut self, link: LinkId, listening: Listening) {
        let standalone = match listening {
            Listening::Open => Standalone::Open,
            Listening::Refused => Standalone::Refused,
        };
        if let Some(session) = self.downgraded.on_link(link) {
            let actions = session.on_standalone(standalone);
            self.act(Lane::Downgraded(link), actions);
        }
        let is_available = link == LinkId::MAIN && listening == Listening::Open;
        if is_available && self.legacy.is_open() && self.provisional.has_given() {
            self.on_server_available();
        }
    }

    /// A session was lost, and there is another in its place.
    pub(super) fn on_reopened(&mut self, link: LinkId, response: &Message) {
        if link == LinkId::MAIN && matches!(self.legacy, LegacyLane::Native) {
            self.terms.on_server(response);
            self.on_server_available();
        }
        if let Some(session) = self.downgraded.on_link(link) {
            let actions = session.on_new_session();
            self.act(Lane::Downgraded(link), actions);
        }
    }

    /// Does what a translation asks for.
    pub(super) fn act(&mut self, lane: Lane, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToApp(message) => match message.kind() {
                    Kind::Response { .. } => self.answer(message),
                    Kind::Request { .. } | Kind::Notification { .. } => {
                        self.tell_app(lane, message);
                    }
                },
                Action::Fail(id, failure) => self.answer(failed(&id, &failure)),
                Action::Request(message) => self.send_translated(message, lane),
                Action::Notify(message) => self.notify_server(lane.link(), message, None),
                Action::Abort(id) => self.abort(lane, &id),
                Action::After(wait, timer) => {
                    self.out.after(wait, Timer::Translation(lane, timer));
                }
                Action::AfterAbout(wait, timer) => {
                    let timer = Timer::Translation(lane, timer);
                    self.out.push(action::Action::AfterAbout(wait, timer));
                }
                Action::EraOver => self.begin_anew(),
            }
        }
    }

    /// A request or a notification that a translation has for the app.
    fn tell_app(&mut self, lane: Lane, message: Message) {
        if lane != Lane::Upgraded {
            if !self.is_held_by_subscriptions(&message, None) {
                self.write_from_server(message);
            }
            return;
        }
        match self.terms.on_server_message(&message) {
            Passage::Unchanged => self.write_from_server(message),
            Passage::Changed(message) => self.write_from_server(message),
            Passage::Refused(error) => self.on_answer(&error),
            Passage::Dropped => {}
        }
    }
}

/// The failure that a translation hands back, as that of the app's request.
fn failed(id: &RequestId, failure: &ExchangeFailure) -> Reply {
    match failure.cause.downcast_ref::<FailedRequest>() {
        Some(failed) => Reply::Failed(failed.clone()).with_id(id),
        // Each failure comes from here.
        None => Reply::of_failure(id, "", Failure::Internal),
    }
}

/// Meaning of a failure for another attempt at the same.
fn prospect(failure: &Failure) -> Prospect {
    if failure.stream_may_return() {
        return Prospect::Broken;
    }
    let status = match failure {
        Failure::MessageRefused { failure, .. } => failure,
        failure => failure,
    };
    match status {
        Failure::Unsendable(_) => Prospect::Final,
        Failure::Status { status, .. } => match status.as_u16() {
            // A sign-in may be missing.
            401 | 403 | 407 => Prospect::MayPass,
            400..500 => Prospect::Final,
            _ => Prospect::MayPass,
        },
        _ => Prospect::MayPass,
    }
}
