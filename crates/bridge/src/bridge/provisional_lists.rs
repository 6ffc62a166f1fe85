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

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::list::List;
use super::remembered_lists::{ListForm, RememberedLists};
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

/// State of the list requests. Events go in, [`ListStep`]s come out.
#[derive(Debug, Default)]
pub(super) struct ProvisionalLists {
    remembered: RememberedLists,
    /// Moment when the first list request came since the server was there last.
    started: Option<Instant>,
    next_check: Option<Instant>,
    /// Moment when the lists on disk were asked for, by form; `None` once they have come.
    recalls: HashMap<ListForm, Option<Instant>>,
    /// The lists that were given without the server.
    given: HashSet<(Era, List)>,
    announcement: Option<PendingAnnouncement>,
    /// True if the return of the server is checked after a pause.
    awaits_return: bool,
}

/// `list_changed`, as it waits for the answers that are due.
#[derive(Debug)]
struct PendingAnnouncement {
    awaited: Vec<RequestId>,
    due: Instant,
}

/// A list request of the app that has no answer yet.
#[derive(Debug, Clone)]
pub(super) struct WaitingList {
    pub(super) id: RequestId,
    pub(super) list: List,
    /// The form in which the app gets it.
    pub(super) form: ListForm,
    /// True if it waits for a sign-in, a session or a connection.
    pub(super) is_blocked: bool,
}

/// Something to be done for list requests.
#[derive(Debug)]
pub(super) enum ListStep {
    /// Hand the timer back after this time.
    After(Duration, ListTimer),
    /// Read the lists that are stored in this form, and hand them back.
    Recall(ListForm),
    /// Answer this request without the server.
    Give(RequestId, List),
}

/// A wait of the list requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListTimer {
    /// They may have waited long enough.
    Check(Instant),
    /// `list_changed` has waited for answers long enough.
    Announce(Instant),
    /// A server that was lost in a session may be there again.
    CheckReturn,
}

/// Progress of a list request when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListArrival {
    /// It waits for a session.
    Pending,
    /// It has just gone out, and shows only later whether it gets through.
    Sent,
}

impl ProvisionalLists {
    /// The app begins a session.
    pub(super) fn on_initialize(&mut self) {
        *self = Self {
            recalls: std::mem::take(&mut self.recalls),
            remembered: std::mem::take(&mut self.remembered),
            ..Self::default()
        };
    }

    /// The legacy app gets another server: all its lists may be out of date.
    pub(super) fn on_another_server(&mut self) {
        let lists = List::ALL.into_iter().map(|list| (Era::Legacy, list));
        self.given.extend(lists);
    }

    /// Returns whether a list was answered without the server, and the app does not know yet that this is over.
    pub(super) fn has_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// A list request of the app. All of them wait this long together.
    pub(super) fn on_request(
        &mut self,
        arrival: ListArrival,
        wait: Duration,
        now: Instant,
    ) -> Option<ListStep> {
        let started = *self.started.get_or_insert(now);
        let at_the_earliest = match arrival {
            ListArrival::Pending => now,
            ListArrival::Sent => now + CHECK_INTERVAL,
        };
        let due = (started + REMEMBERED_AFTER.min(wait)).max(at_the_earliest);
        self.check_at(due, now)
    }

    /// It is time to answer the requests that have waited long enough, of these.
    pub(super) fn on_check(
        &mut self,
        due: Instant,
        wait: Duration,
        waiting: &[WaitingList],
        now: Instant,
    ) -> Vec<ListStep> {
        if self.next_check != Some(due) {
            return Vec::new();
        }
        self.next_check = None;
        let Some(started) = self.started else {
            return Vec::new();
        };
        if waiting.is_empty() {
            // Where nothing was given the server has answered, with an error perhaps.
            if !self.has_given() {
                self.started = None;
            }
            return Vec::new();
        }
        let elapsed = now - started;
        let (is_over, may_remember) = (elapsed >= wait, elapsed >= REMEMBERED_AFTER);
        let mut steps = Vec::new();
        let mut are_left = false;
        for it in waiting {
            let is_ready = it.is_blocked && self.is_recalled(it.form, now, &mut steps);
            let is_remembered = may_remember && self.remembered.get(it.list, it.form).is_some();
            if is_ready && (is_over || is_remembered) {
                steps.push(ListStep::Give(it.id.clone(), it.list));
            } else {
                are_left = true;
            }
        }
        if are_left {
            steps.extend(self.check_at(now + CHECK_INTERVAL, now));
        }
        steps
    }

    /// The lists on disk have been read.
    pub(super) fn on_recalled(
        &mut self,
        form: ListForm,
        lists: Vec<(List, String)>,
        now: Instant,
    ) -> Option<ListStep> {
        self.recalls.insert(form, None);
        self.remembered.recall(form, lists);
        self.check_at(now, now)
    }

    /// A list is answered without the server.
    pub(super) fn on_given(&mut self, era: Era, list: List) {
        tracing::info!(
            list = list.member(),
            "answered a list request without the server"
        );
        self.given.insert((era, list));
    }

    /// A list that the server has given whole, before any tool is hidden. True if it has to be stored.
    pub(super) fn on_live_list(&mut self, list: List, form: ListForm, response: &Message) -> bool {
        self.remembered.learn(list, form, response)
    }

    /// The remembered list as the response to the request `id`.
    pub(super) fn remembered(
        &self,
        id: &RequestId,
        list: List,
        era: Era,
        form: ListForm,
    ) -> Option<Message> {
        let remembered = self.remembered.get(list, form)?.with_id(id);
        Some(match era {
            Era::Legacy => remembered,
            Era::Modern => without_lifetime(&remembered),
        })
    }

    /// The server can be asked: the app is to hear of it once these requests have their answers.
    pub(super) fn on_server_available(
        &mut self,
        awaited: impl Iterator<Item = RequestId>,
        now: Instant,
    ) -> Option<ListStep> {
        self.started = None;
        if !self.has_given() || self.announcement.is_some() {
            return None;
        }
        let due = now + ANNOUNCEMENT_LIMIT;
        self.announcement = Some(PendingAnnouncement {
            awaited: awaited.collect(),
            due,
        });
        Some(ListStep::After(
            ANNOUNCEMENT_LIMIT,
            ListTimer::Announce(due),
        ))
    }

    /// Returns whether the answers have been waited for long enough.
    pub(super) fn on_announcement_due(&mut self, due: Instant) -> bool {
        let is_due = self.announcement.as_ref().is_some_and(|it| it.due == due);
        if is_due {
            self.announcement = None;
        }
        is_due
    }

    /// Answers may have been written. Returns whether none is left that goes before the announcement.
    pub(super) fn on_answers(&mut self, is_unanswered: impl Fn(&RequestId) -> bool) -> bool {
        let Some(announcement) = &mut self.announcement else {
            return false;
        };
        announcement.awaited.retain(is_unanswered);
        let are_answered = announcement.awaited.is_empty();
        if are_answered {
            self.announcement = None;
        }
        are_answered
    }

    /// Takes out the lists of this era whose change is to be announced, by their capabilities.
    pub(super) fn take_given(&mut self, era: Era) -> HashSet<&'static str> {
        let taken = self.given.extract_if(|(of, _)| *of == era);
        taken.map(|(_, list)| list.capability()).collect()
    }

    /// A server was lost in a session. Its return is checked after a pause.
    pub(super) fn on_lost(&mut self) -> Option<ListStep> {
        let is_asked = std::mem::replace(&mut self.awaits_return, true);
        (!is_asked).then_some(ListStep::After(RETURN_CHECK_PAUSE, ListTimer::CheckReturn))
    }

    /// The pause before the return of the server is checked is over. Returns whether that matters still.
    pub(super) fn on_return_check(&mut self) -> bool {
        self.awaits_return = false;
        self.has_given()
    }

    fn check_at(&mut self, due: Instant, now: Instant) -> Option<ListStep> {
        if self.next_check.is_some_and(|next| next <= due) {
            return None;
        }
        self.next_check = Some(due);
        let wait = due.saturating_duration_since(now);
        Some(ListStep::After(wait, ListTimer::Check(due)))
    }

    /// Returns whether the lists on disk have been read, which is begun here. A disk that does not answer is not
    /// waited for.
    fn is_recalled(&mut self, form: ListForm, now: Instant, steps: &mut Vec<ListStep>) -> bool {
        match self.recalls.get(&form) {
            Some(None) => true,
            Some(Some(asked)) => now - *asked >= RECALL_LIMIT,
            None => {
                self.recalls.insert(form, Some(now));
                steps.push(ListStep::Recall(form));
                false
            }
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
