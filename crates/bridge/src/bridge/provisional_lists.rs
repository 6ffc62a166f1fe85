//! Provisional answers to list requests (tools, prompts, resources) while a sign-in is missing or the server
//! cannot be reached.
//!
//! Hosts give a list half a minute, ask for one after the other, and end the process of a server that fails
//! or is late. So all list requests share one clock, which begins with the first of them: a remembered list
//! is given after a moment, and when the clock ends the rest is answered, by an empty list or by a
//! [local tool](super::local_tool). An error would end the session in some hosts. Once the server is there,
//! `list_changed` follows for the lists that were given so, after the answers that are still due.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::action::Timer;
use super::action::{Action, LinkId};
use super::exchanges::Lane;
use super::lanes::LegacyLane;
use super::list_pages::List;
use super::remembered_lists::Form;
use super::router::{Asked, Origin, Router};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Message, RequestId};

/// Time before a remembered list is given. A server that is up, and a token that only needs a refresh, take
/// less, and an app that gives its requests five seconds gets it in time.
const REMEMBERED_AFTER: Duration = Duration::from_secs(3);

/// Interval at which it is checked whether requests still wait for the server.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Limit for the time that the disk takes to bring remembered lists.
const RECALL_LIMIT: Duration = Duration::from_secs(1);

/// Limit for the time that `list_changed` waits for answers that are due: one of them may be a long call.
const ANNOUNCEMENT_LIMIT: Duration = Duration::from_secs(5);

/// Pause before a server that was lost in a session is asked for its tools again, so that its return is
/// noticed although the app asks for nothing.
const RETURN_CHECK_PAUSE: Duration = Duration::from_secs(20);

/// The clock of the list requests, and what was answered without the server.
#[derive(Debug, Default)]
pub(super) struct ProvisionalLists {
    /// Moment when the first list request came since the server was there last.
    started: Option<Instant>,
    next_check: Option<Instant>,
    /// Moment when the lists on disk were asked for, by form; `None` once they have come.
    recalls: HashMap<Form, Option<Instant>>,
    /// The lists that were given without the server.
    given: HashSet<(Era, List)>,
    announcement: Option<Announcement>,
    /// True if the return of the server is checked after a pause.
    awaits_return: bool,
    /// True if the outcome that is being settled is a failure before the server had the request.
    outcome_is_unreached: bool,
}

/// `list_changed`, as it waits for the answers that are due.
#[derive(Debug)]
struct Announcement {
    awaited: Vec<RequestId>,
    due: Instant,
}

impl ProvisionalLists {
    /// The app begins a session.
    pub(super) fn begin(&mut self) {
        *self = Self {
            recalls: std::mem::take(&mut self.recalls),
            ..Self::default()
        };
    }

    /// The legacy app gets another server: all its lists may be out of date.
    pub(super) fn another_server(&mut self) {
        let lists = List::ALL.into_iter().map(|list| (Era::Legacy, list));
        self.given.extend(lists);
    }

    /// Takes note of whether the outcome that is settled next is a failure before the server had the request.
    pub(super) const fn settling(&mut self, is_unreached: bool) {
        self.outcome_is_unreached = is_unreached;
    }

    /// Returns whether the outcome that is being settled is a failure before the server had the request.
    pub(super) const fn is_unreached(&self) -> bool {
        self.outcome_is_unreached
    }

    /// Returns whether a list was answered without the server, and the app does not know yet that this is over.
    pub(super) fn has_given(&self) -> bool {
        !self.given.is_empty()
    }
}

impl Router {
    /// A list request of the app is on its way, or waits for a session.
    pub(super) fn on_list_request(&mut self, era: Era) {
        let Some(wait) = self.list_wait().filter(|_| self.has_session_to_lose(era)) else {
            return;
        };
        let now = self.out.now();
        let started = *self.provisional.started.get_or_insert(now);
        // A request that has just gone out shows only later whether it gets through.
        let at_the_earliest = match self.legacy {
            LegacyLane::Opening(..) => now,
            LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Upgraded(_) => {
                now + CHECK_INTERVAL
            }
        };
        let due = (started + REMEMBERED_AFTER.min(wait)).max(at_the_earliest);
        self.check_lists_at(due);
    }

    /// Returns whether an app asks that would lose its session by an error. A request without a handshake is that of
    /// a script, which wants to know.
    fn has_session_to_lose(&self, era: Era) -> bool {
        era == Era::Modern || !matches!(self.legacy, LegacyLane::Fresh)
    }

    fn check_lists_at(&mut self, due: Instant) {
        if self.provisional.next_check.is_some_and(|next| next <= due) {
            return;
        }
        self.provisional.next_check = Some(due);
        let wait = due.saturating_duration_since(self.out.now());
        self.out.after(wait, Timer::Lists(due));
    }

    /// Answers the list requests that have waited long enough.
    pub(super) fn check_lists(&mut self, due: Instant) {
        if self.provisional.next_check != Some(due) {
            return;
        }
        self.provisional.next_check = None;
        let (Some(started), Some(wait)) = (self.provisional.started, self.list_wait()) else {
            return;
        };
        let waiting = self.waiting_lists();
        if waiting.is_empty() || self.stopping {
            // Where nothing was given the server has answered, with an error perhaps.
            if !self.provisional.has_given() {
                self.provisional.started = None;
            }
            return;
        }
        let elapsed = self.out.now() - started;
        let (is_over, may_remember) = (elapsed >= wait, elapsed >= REMEMBERED_AFTER);
        for (id, list, era) in waiting {
            if !self.is_list_blocked(&id, era) || !self.is_recalled(era) {
                continue;
            }
            if is_over || (may_remember && self.remembered_list(list, era).is_some()) {
                self.give_list(&id, list, None);
            }
        }
        if !self.waiting_lists().is_empty() {
            self.check_lists_at(self.out.now() + CHECK_INTERVAL);
        }
    }

    /// The app's list requests that have no answer yet.
    fn waiting_lists(&self) -> Vec<(RequestId, List, Era)> {
        let unanswered = self.unanswered.iter();
        unanswered
            .filter(|(_, asked)| asked.origin == Origin::App)
            .filter_map(|(id, asked)| {
                let list = List::of_method(&asked.method)?;
                Some((id.clone(), list, asked.era))
            })
            .collect()
    }

    /// Returns whether a list request waits for a sign-in, a session or a connection.
    fn is_list_blocked(&self, id: &RequestId, era: Era) -> bool {
        if self.list_pages.is_collecting(id) {
            return false;
        }
        if let Some(exchange) = self.exchange_for(id) {
            return exchange.flight.track.is_blocked();
        }
        match era {
            Era::Legacy => matches!(self.legacy, LegacyLane::Opening(..)),
            Era::Modern => self.is_held_downgraded(id),
        }
    }

    /// Returns whether the lists on disk have been read, which is begun here. A disk that does not answer is not
    /// waited for.
    fn is_recalled(&mut self, era: Era) -> bool {
        let form = self.form(era);
        match self.provisional.recalls.get(&form) {
            Some(None) => true,
            Some(Some(asked)) => self.out.now() - *asked >= RECALL_LIMIT,
            None => {
                let asked = Some(self.out.now());
                self.provisional.recalls.insert(form, asked);
                self.out.push(Action::RecallLists(form));
                false
            }
        }
    }

    /// The lists on disk have been read.
    pub(super) fn on_recalled(&mut self, form: Form, lists: Vec<(List, String)>) {
        self.provisional.recalls.insert(form, None);
        self.remembered.recall(form, lists);
        self.check_lists_at(self.out.now());
    }

    fn form(&self, era: Era) -> Form {
        let told = self.terms.told().version();
        if told.is_empty()
            && let Some(initialize) = &self.initialize
        {
            let asked: String = initialize.param("protocolVersion").unwrap_or_default();
            return Form::of(era, &asked);
        }
        Form::of(era, told)
    }

    fn remembered_list(&self, list: List, era: Era) -> Option<&Message> {
        self.remembered.get(list, self.form(era))
    }

    /// Answers a list request without the server: by what is remembered, or else by what leads on from
    /// `error`, the reason why nothing will come, or from what is waited for.
    pub(super) fn give_list(&mut self, id: &RequestId, list: List, error: Option<&Message>) {
        let Some(asked) = self.unanswered.get(id) else {
            return;
        };
        let (era, is_from_start) = (asked.era, asked.is_from_start);
        if !is_from_start {
            // A further page, whatever it is of: there is none.
            let end = Message::result(id, &list.empty_result(era));
            return self.give_response(id, list, era, end);
        }
        let remembered = self.remembered_response(id, list, era);
        let response =
            remembered.unwrap_or_else(|| self.response_to_obstacle(id, list, era, error));
        let is_lost = self.obstacle_of_lists(error).is_none();
        self.give_response(id, list, era, response);
        if is_lost {
            self.await_return();
        }
    }

    fn give_response(&mut self, id: &RequestId, list: List, era: Era, response: Message) {
        tracing::info!(
            list = list.member(),
            "answered a list request without the server"
        );
        self.withdraw(id, era);
        self.provisional.given.insert((era, list));
        self.write_response(response);
    }

    /// A remembered list as the app gets it now.
    fn remembered_response(&self, id: &RequestId, list: List, era: Era) -> Option<Message> {
        let remembered = self.remembered_list(list, era)?.with_id(id);
        let remembered = match era {
            Era::Legacy => remembered,
            Era::Modern => without_lifetime(&remembered),
        };
        Some(match (list, &self.tools) {
            (List::Tools, Some(tools)) => tools.without_hidden(&remembered),
            _ => remembered,
        })
    }

    /// An empty list, or the local tool that says what is missing.
    fn response_to_obstacle(
        &mut self,
        id: &RequestId,
        list: List,
        era: Era,
        error: Option<&Message>,
    ) -> Message {
        let obstacle = self.obstacle_of_lists(error);
        let elements = match (list, obstacle) {
            (List::Tools, Some(obstacle)) => self.offer_local_tool(&obstacle),
            _ => String::new(),
        };
        Message::result(id, &list.result(&elements, era))
    }

    /// Takes the app's list request `id` off its way to the server, which has not seen it.
    fn withdraw(&mut self, id: &RequestId, era: Era) {
        self.unanswered.remove(id);
        let is_native = self
            .exchanges
            .get(LinkId::MAIN, id)
            .is_some_and(|exchange| exchange.lane == Lane::Native);
        if is_native {
            return self.abort(Lane::Native, id);
        }
        let request_id: serde_json::Value = serde_json::from_str(id.as_json()).unwrap_or_default();
        let params = json!({ "requestId": request_id, "reason": "answered without the server" });
        let cancelled = Message::notification("notifications/cancelled", &params);
        self.cancel_translated(id, era, &cancelled);
    }

    /// Takes an error in place of a list that the app asked for. True if the list was given instead,
    /// because the server has not had the request.
    pub(super) fn give_list_for_error(
        &mut self,
        list: List,
        asked: &Asked,
        error: &Message,
    ) -> bool {
        let is_unreached = self.provisional.outcome_is_unreached && error.is_error();
        let is_of_app = asked.origin == Origin::App
            && self.list_wait().is_some()
            && self.has_session_to_lose(asked.era);
        let Some(id) = error
            .id()
            .filter(|_| is_unreached && is_of_app && !self.stopping)
        else {
            return false;
        };
        // For a moment it is unanswered again: `give_list` answers only what is.
        self.unanswered.insert(id.clone(), asked.clone());
        self.give_list(id, list, Some(error));
        true
    }

    /// Takes a list that the server has given the app, before tools are hidden in it.
    pub(super) fn on_live_list(&mut self, list: List, era: Era, response: &Message) {
        self.learn_names(list, response);
        if self.pending_page().is_none() && self.waiting_lists().is_empty() {
            self.on_server_available();
        }
        let form = self.form(era);
        if self.remembered.learn(list, form, response) {
            self.out
                .push(Action::KeepList(list, form, response.clone()));
        }
    }

    /// The server can be asked: the app hears of it once the answers that are due are written.
    pub(super) fn on_server_available(&mut self) {
        self.provisional.started = None;
        self.resubscribe_all();
        if !self.provisional.has_given() || self.provisional.announcement.is_some() {
            return;
        }
        let due = self.out.now() + ANNOUNCEMENT_LIMIT;
        let is_awaited =
            |asked: &Asked| asked.origin == Origin::App && asked.method != "subscriptions/listen";
        let unanswered = self.unanswered.iter();
        let awaited = unanswered.filter(|(_, asked)| is_awaited(asked));
        self.provisional.announcement = Some(Announcement {
            awaited: awaited.map(|(id, _)| id.clone()).collect(),
            due,
        });
        self.out.after(ANNOUNCEMENT_LIMIT, Timer::Announce(due));
        self.announce_when_answered();
    }

    /// The answers have been waited for long enough.
    pub(super) fn on_announcement_due(&mut self, due: Instant) {
        let is_due = |it: &Announcement| it.due == due;
        if self.provisional.announcement.as_ref().is_some_and(is_due) {
            self.write_all_held_back();
            self.announce_lists();
        }
    }

    /// Announces the lists if all answers that go before are written.
    pub(super) fn announce_when_answered(&mut self) {
        let Some(announcement) = &mut self.provisional.announcement else {
            return;
        };
        let unanswered = &self.unanswered;
        announcement
            .awaited
            .retain(|id| unanswered.contains_key(id));
        // A response that is held back for its progress goes before it, too.
        if announcement.awaited.is_empty() && self.held_back.is_empty() {
            self.announce_lists();
        }
    }

    /// Tells the app to ask again for the lists that it got without the server.
    fn announce_lists(&mut self) {
        self.provisional.announcement = None;
        let changed = |era| {
            let given = self.provisional.given.iter();
            let given = given.filter(move |(of, _)| *of == era);
            let capabilities: HashSet<_> = given.map(|(_, list)| list.capability()).collect();
            capabilities
        };
        let (legacy, modern) = (changed(Era::Legacy), changed(Era::Modern));
        if self.legacy.is_open() && self.notices.is_ready() {
            for change in self.terms.told().list_changes(&legacy) {
                self.out.to_app(change);
            }
            self.provisional
                .given
                .retain(|(era, _)| *era != Era::Legacy);
        }
        if !modern.is_empty() {
            self.announce_to_subscriptions(&modern);
            self.provisional
                .given
                .retain(|(era, _)| *era != Era::Modern);
        }
    }

    /// Has the return of a server noticed that was lost in a session. A session that is being opened
    /// notices it by itself, and a modern app hears of it by its subscription.
    pub(super) fn await_return(&mut self) {
        if !self.legacy.is_open() || !self.provisional.has_given() {
            return;
        }
        if !std::mem::replace(&mut self.provisional.awaits_return, true) {
            self.out.after(RETURN_CHECK_PAUSE, Timer::CheckReturn);
        }
    }

    pub(super) fn check_return(&mut self) {
        self.provisional.awaits_return = false;
        if self.provisional.has_given() && self.legacy.is_open() && !self.stopping {
            self.ask_for_names();
        }
    }
}

/// A list of a modern server whose time to live does not count any more.
fn without_lifetime(response: &Message) -> Message {
    let (Some(id), Some(result)) = (response.id(), response.result_json()) else {
        return response.clone();
    };
    let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(result);
    let zero = serde_json::from_str::<&RawValue>("0");
    let (Ok(mut members), Ok(zero)) = (members, zero) else {
        return response.clone();
    };
    members.insert("ttlMs".to_owned(), zero);
    match serde_json::to_string(&members) {
        Ok(result) => Message::result(id, &result),
        Err(_) => response.clone(),
    }
}
