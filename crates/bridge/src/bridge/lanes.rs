//! Interpreter of the translation between the eras. The translation itself
//! is in [`mcp_bridge_protocol::era`]; here its actions are carried out.

use super::conversation::Conversation;
use super::opening::{Alarm, Opening};
use super::outbound::Lane;
use super::pending_queue::{Held, Ticket};
use crate::endpoint::{self, Failure, Outcome, Patience, Phase, Protocol};
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
    Opening(Box<Opening>),
    /// It has a session with the server.
    Native,
    /// The server speaks the modern era alone.
    Upgraded(Box<Upgrade>),
}

impl LegacyLane {
    pub(super) const fn is_open(&self) -> bool {
        match self {
            Self::Fresh | Self::Opening(_) => false,
            Self::Native | Self::Upgraded(_) => true,
        }
    }
}

/// A session with a legacy server that is held for a modern app.
pub(super) struct Downgraded {
    client: Client,
    link: usize,
    state: DowngradedState,
}

enum DowngradedState {
    /// The session is being opened; these wait for it.
    Opening(Held),
    Open(Box<Downgrade>),
    /// The session could not be opened. The next request tries again.
    Failed,
}

impl Downgraded {
    /// The requests that wait for the session.
    pub(super) const fn held(&self) -> Option<&Held> {
        match &self.state {
            DowngradedState::Opening(held) => Some(held),
            DowngradedState::Open(_) | DowngradedState::Failed => None,
        }
    }

    /// The exchange by which the request `id` is with the server: its endpoint and its id there.
    pub(super) fn exchange_of(&self, id: &RequestId) -> Option<(usize, RequestId)> {
        match &self.state {
            DowngradedState::Open(session) => Some((self.link, session.exchange_of(id)?.clone())),
            DowngradedState::Opening(_) | DowngradedState::Failed => None,
        }
    }

    /// Whose words come and go on the server's own stream of a link.
    pub(super) const fn lane_of_link(link: usize) -> Lane {
        match link {
            0 => Lane::Native,
            link => Lane::Downgraded(link),
        }
    }
}

impl Conversation {
    /// A message of the app in the legacy era.
    pub(super) fn take_legacy(&mut self, message: Message) {
        let is_initialize = message.method() == Some("initialize");
        match &mut self.legacy {
            LegacyLane::Opening(_) => self.take_while_opening(message),
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
                    Passage::Unchanged => self.send_in_turn(0, message, None),
                    Passage::Changed(message) => self.send_in_turn(0, message, None),
                    Passage::Dropped | Passage::Refused(_) => {}
                },
                Kind::Response { .. } => self.send_in_turn(0, message, None),
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
            LegacyLane::Opening(opening) => opening.withdraw(id),
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
        let exchange = self.exchanges.get(&(link, leg.clone()));
        let phase = exchange.map(|exchange| exchange.track.phase());
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
        request: Message,
    ) {
        let outcome = match (lane, outcome) {
            (Lane::Native, outcome) if request.method() == Some("initialize") => {
                return self.opened(&request, outcome);
            }
            (_, Outcome::Failed(failure)) => {
                let method = request.method().unwrap_or_default();
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
            (Lane::Native, Outcome::Response(response)) => self.answer(&response),
            (Lane::Native, Outcome::LegacyOnly) => self.downgrade(request),
            (Lane::Native, Outcome::Ended(_)) => self.end_subscription(id),
            (Lane::Downgraded(link), Outcome::Response(response))
                if request.method() == Some("initialize") =>
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
                let method = request.method().unwrap_or_default();
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
        self.write(&Message::notification("notifications/cancelled", &params));
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
                LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Opening(_) => return,
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
                LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Opening(_) => return,
            },
            Lane::Downgraded(link) => match self.open_session(link) {
                Some(downgrade) => downgrade.take_timer(timer),
                None => return,
            },
        };
        self.act(lane, actions);
    }

    /// The server's own stream of a session is there, or will not be.
    pub(super) fn take_listening(&mut self, link: usize, listening: bool) {
        let standalone = if listening {
            Standalone::Open
        } else {
            Standalone::Refused
        };
        if let Some(downgrade) = self.open_session(link) {
            let actions = downgrade.take_standalone(standalone);
            self.act(Lane::Downgraded(link), actions);
        }
        if link == 0 && listening && self.legacy.is_open() && self.provisional.has_given() {
            self.on_server_available();
        }
    }

    /// A session was lost, and there is another in its place.
    pub(super) fn take_reopened(&mut self, link: usize, response: &Message) {
        if link == 0 && matches!(self.legacy, LegacyLane::Native) {
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
            DowngradedState::Opening(held) => {
                let ticket = self.tickets.next();
                held.push(ticket, request);
                self.expire(ticket);
            }
            DowngradedState::Failed => {
                session.state = DowngradedState::Opening(Held::default());
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
            return self.answer(&failure.to_response(id, method, &self.host()));
        }
        let link = self.add_link(endpoint::Config {
            protocol: Protocol::Legacy,
            patience: Patience::Wait,
            ..self.config.clone()
        });
        self.downgraded.push(Downgraded {
            client,
            link,
            state: DowngradedState::Opening(Held::default()),
        });
        self.start_session(self.downgraded.len() - 1);
        self.downgrade(request);
    }

    fn start_session(&mut self, at: usize) {
        let session = &self.downgraded[at];
        let id = RequestId::from_string(&format!("mcp-bridge-session-{}", session.link));
        let initialize = session.client.initialize_request(&id);
        self.start_exchange(initialize, Lane::Downgraded(session.link));
    }

    fn opened_downgraded(&mut self, link: usize, response: &Message) {
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
            DowngradedState::Open(_) | DowngradedState::Failed => Held::default(),
        };
        self.act(Lane::Downgraded(link), actions);
        for request in held {
            match request.id() {
                Some(id) if failed => self.answer(&response.with_id(id)),
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

    /// Takes out the held request of a ticket.
    pub(super) fn take_held_downgraded(&mut self, ticket: Ticket) -> Option<Message> {
        self.downgraded
            .iter_mut()
            .find_map(|session| match &mut session.state {
                DowngradedState::Opening(held) => held.take(ticket),
                DowngradedState::Open(_) | DowngradedState::Failed => None,
            })
    }

    fn open_session(&mut self, link: usize) -> Option<&mut Downgrade> {
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
                    Kind::Response { .. } => self.answer(&message),
                    Kind::Request { .. } | Kind::Notification { .. } => {
                        self.tell_app(lane, &message);
                    }
                },
                Action::Request(message) => self.start_exchange(message, lane),
                Action::Notify(message) => self.send_in_turn(lane.link(), message, None),
                Action::Abort(id) => self.abort(lane, &id),
                Action::After(wait, timer) => {
                    self.set_alarm(wait, Alarm::Translation(lane, timer));
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
}
