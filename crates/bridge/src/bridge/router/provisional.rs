//! Lists without the server: the clock of list requests, what is given in their place, and the announcement that follows.

use super::legacy::LegacyLane;
use super::replies::cancellation;
use super::{Asked, RequestOrigin, Router};
use crate::bridge::action::{Action, LinkId, Timer};
use crate::bridge::exchanges::Lane;
use crate::bridge::list::List;
use crate::bridge::obstacle::Obstacle;
use crate::bridge::provisional_lists::{ListArrival, ListStep, ListTimer, WaitingList};
use crate::bridge::remembered_lists::ListForm;
use crate::bridge::reply::Reply;
use mcp_bridge_protocol::codes::METHOD_NOT_FOUND;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Message, RequestId};

impl Router {
    /// An empty list for a modern app in place of the error of a server that does not have the list, if the
    /// app was told that it may.
    pub(super) fn missing_list(&self, list: List, reply: &Reply) -> Option<Message> {
        let response = reply.response()?;
        let (code, _) = response.error_text()?;
        let is_promised = code == METHOD_NOT_FOUND && self.out.facts().is_presumed;
        let id = response.id().filter(|_| is_promised)?;
        Some(Message::result(id, &list.empty_result(Era::Modern)))
    }

    /// A list request of the app is on its way, or waits for a session.
    pub(super) fn on_list_request(&mut self, era: Era) {
        let Some(wait) = self
            .patience
            .of_lists()
            .filter(|_| self.has_session_to_lose(era))
        else {
            return;
        };
        let arrival = match self.legacy {
            LegacyLane::Opening(..) => ListArrival::Pending,
            LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Upgraded(_) => ListArrival::Sent,
        };
        let step = self.provisional.on_request(arrival, wait, self.out.now());
        self.follow_list_steps(step);
    }

    /// Returns whether an app asks that would lose its session by an error. A request without a handshake is that of
    /// a script, which wants to know.
    pub(super) const fn has_session_to_lose(&self, era: Era) -> bool {
        matches!(era, Era::Modern) || !matches!(self.legacy, LegacyLane::Fresh)
    }

    pub(super) fn on_list_timer(&mut self, timer: ListTimer) {
        match timer {
            ListTimer::Check(due) => self.check_lists(due),
            ListTimer::Announce(due) => {
                if self.provisional.on_announcement_due(due) {
                    self.write_held_back();
                    self.announce_lists();
                }
            }
            ListTimer::CheckReturn => {
                let matters = self.provisional.on_return_check();
                if matters && self.legacy.is_open() && !self.stopping {
                    let ask = self.local_tools.ask(None);
                    self.follow_local_steps(ask.into_iter().collect());
                }
            }
        }
    }

    pub(super) fn check_lists(&mut self, due: tokio::time::Instant) {
        let Some(wait) = self.patience.of_lists().filter(|_| !self.stopping) else {
            return;
        };
        let waiting = self.waiting_lists();
        let now = self.out.now();
        let steps = self.provisional.on_check(due, wait, &waiting, now);
        self.follow_list_steps(steps);
    }

    pub(super) fn follow_list_steps(&mut self, steps: impl IntoIterator<Item = ListStep>) {
        for step in steps {
            match step {
                ListStep::After(wait, timer) => {
                    self.out.after(wait, Timer::Lists(timer));
                }
                ListStep::Recall(form) => {
                    self.out.push(Action::RecallLists(form));
                }
                ListStep::Give(id, list) => self.give_list(&id, list, None),
            }
        }
    }

    /// The app's list requests that have no answer yet.
    pub(super) fn waiting_lists(&self) -> Vec<WaitingList> {
        let of_app = self.unanswered.iter();
        let of_app = of_app.filter(|(_, asked)| asked.origin == RequestOrigin::App);
        let waiting = of_app.filter_map(|(id, asked)| {
            let list = List::of_method(&asked.method)?;
            let is_collected = self.list_pages.is_collecting(id);
            Some(WaitingList {
                id: id.clone(),
                list,
                form: self.form(asked.era),
                is_blocked: !is_collected && self.is_blocked(id, asked.era),
            })
        });
        waiting.collect()
    }

    /// The form in which an app gets its lists.
    pub(super) fn form(&self, era: Era) -> ListForm {
        let announced = self.terms.announced().version();
        if announced.is_empty()
            && let Some(initialize) = &self.initialize
        {
            let asked: String = initialize.param("protocolVersion").unwrap_or_default();
            return ListForm::new(era, &asked);
        }
        ListForm::new(era, announced)
    }

    /// Answers a list request without the server: by what is remembered, or else by what leads on from
    /// `error`, the reason why nothing will come, or from what is waited for.
    pub(super) fn give_list(&mut self, id: &RequestId, list: List, error: Option<&Reply>) {
        let Some(asked) = self.unanswered.get(id) else {
            return;
        };
        let (era, is_from_start) = (asked.era, asked.is_from_start);
        if !is_from_start {
            // A further page, whatever it is of: there is none.
            let end = Message::result(id, &list.empty_result(era));
            return self.give_response(id, list, era, end);
        }
        let obstacle = self.obstacle_of_lists(error);
        let response = self.provisional_list(id, list, era, obstacle.as_ref());
        self.give_response(id, list, era, response);
        if obstacle.is_none() {
            self.await_return();
        }
    }

    pub(super) fn give_response(
        &mut self,
        id: &RequestId,
        list: List,
        era: Era,
        response: Message,
    ) {
        self.withdraw(id, era);
        self.provisional.on_given(era, list);
        self.write_apart(response.into());
    }

    /// A remembered list as the app gets it now, an empty one, or the local tool that says what is missing.
    pub(super) fn provisional_list(
        &mut self,
        id: &RequestId,
        list: List,
        era: Era,
        obstacle: Option<&Obstacle>,
    ) -> Message {
        let form = self.form(era);
        if let Some(remembered) = self.provisional.remembered(id, list, era, form) {
            return match (list, &self.hidden_tools) {
                (List::Tools, Some(tools)) => tools.without_hidden(&remembered),
                _ => remembered,
            };
        }
        let elements = match (list, obstacle) {
            (List::Tools, Some(obstacle)) => self.local_tools.offer(obstacle),
            _ => String::new(),
        };
        Message::result(id, &list.result(&elements, era))
    }

    /// Takes the app's list request `id` off its way to the server, which has not seen it.
    pub(super) fn withdraw(&mut self, id: &RequestId, era: Era) {
        self.unanswered.remove(id);
        let exchange = self.exchanges.get(LinkId::MAIN, id);
        if exchange.is_some_and(|exchange| exchange.lane == Lane::Native) {
            return self.abort(Lane::Native, id);
        }
        let cancelled = cancellation(id, "answered without the server");
        self.cancel_translated(id, era, &cancelled);
    }

    /// Takes an error in place of a list that the app asked for. True if the list was given instead,
    /// because the server has not had the request.
    pub(super) fn gives_list_for(&mut self, list: List, asked: &Asked, error: &Reply) -> bool {
        let is_of_app = asked.origin == RequestOrigin::App
            && self.patience.of_lists().is_some()
            && self.has_session_to_lose(asked.era);
        let is_given = error.is_unreached() && is_of_app && !self.stopping;
        let Some(id) = error.id().filter(|_| is_given) else {
            return false;
        };
        // For a moment it is unanswered again: `give_list` answers only what is.
        self.unanswered.insert(id.clone(), asked.clone());
        self.give_list(id, list, Some(error));
        true
    }

    /// Reason why the server does not list its tools, by `error` or by what is waited for. `None` where only the
    /// server can change that.
    pub(super) fn obstacle_of_lists(&self, error: Option<&Reply>) -> Option<Obstacle> {
        if let Some(page) = self.out.facts().sign_in.page() {
            return Some(Obstacle::SignIn {
                page: Some(page.clone()),
                problem: None,
            });
        }
        if let Some(error) = error {
            return Obstacle::of_error(error);
        }
        let last = match &self.legacy {
            LegacyLane::Opening(_, opening) => opening.last_error().and_then(Obstacle::of_error),
            LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Upgraded(_) => None,
        };
        if let Some(obstacle @ Obstacle::SignIn { .. }) = last {
            return Some(obstacle);
        }
        let is_signing_in = self.exchanges.is_any_signing_in();
        is_signing_in.then_some(Obstacle::SignIn {
            page: None,
            problem: None,
        })
    }

    /// The server can be asked: the app hears of it once the answers that are due are written.
    pub(super) fn on_server_available(&mut self) {
        let unanswered = &self.unanswered;
        let again = self
            .subscriptions
            .on_server_available(|id| unanswered.contains_key(id));
        // At the end there is no time for them.
        let again = again.into_iter().filter(|_| !self.stopping).collect();
        self.follow_subscription_steps(again);
        let is_awaited = |asked: &Asked| {
            asked.origin == RequestOrigin::App && asked.method != "subscriptions/listen"
        };
        let awaited = self.unanswered.iter();
        let awaited = awaited.filter(|(_, asked)| is_awaited(asked));
        let awaited = awaited.map(|(id, _)| id.clone());
        let step = self
            .provisional
            .on_server_available(awaited, self.out.now());
        self.follow_list_steps(step);
        self.announce_when_answered();
    }

    /// Announces the lists if all answers that go before are written.
    pub(super) fn announce_when_answered(&mut self) {
        // A response that is held back for its progress goes before it, too.
        if self.progress.holds_back() {
            return;
        }
        let unanswered = &self.unanswered;
        let are_answered = self
            .provisional
            .on_answers(|id| unanswered.contains_key(id));
        if are_answered {
            self.announce_lists();
        }
    }

    /// Tells the app to ask again for the lists that it got without the server.
    pub(super) fn announce_lists(&mut self) {
        if self.legacy.is_open() && self.notice.is_ready() {
            let legacy = self.provisional.take_given(Era::Legacy);
            let changes: Vec<_> = self.terms.announced().list_changes(&legacy).collect();
            self.write_all(changes);
        }
        let modern = self.provisional.take_given(Era::Modern);
        if !modern.is_empty() {
            let is_open = |id: &RequestId| {
                let asked = self.unanswered.get(id);
                asked.is_some_and(|asked| asked.method == "subscriptions/listen")
            };
            let changes = self.subscriptions.announce(&modern, is_open);
            self.write_all(changes);
        }
    }

    /// Has the return of a server noticed that was lost in a session. A session that is being opened
    /// notices it by itself, and a modern app hears of it by its subscription.
    pub(super) fn await_return(&mut self) {
        if self.legacy.is_open() && self.provisional.has_given() {
            let step = self.provisional.on_lost();
            self.follow_list_steps(step);
        }
    }
}
