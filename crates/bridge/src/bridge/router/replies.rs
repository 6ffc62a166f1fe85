//! Way of a reply to the app: what stands in for an error, and the distance to progress.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::Router;
use super::legacy::LegacyLane;
use crate::bridge::action::{Action, Timer};
use crate::bridge::list::List;
use crate::bridge::pending_queue::PendingQueue;
use crate::bridge::progress::{self, ProgressTimer, ReplyTiming};
use crate::bridge::reply::Reply;
use crate::endpoint::Phase;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Message, RequestId};

impl Router {
    /// Gives the app the reply to one of its requests, unless it has one already or wants none.
    pub(super) fn answer(&mut self, reply: impl Into<Reply>) {
        let reply = reply.into();
        let Some(asked) = reply.id().and_then(|id| self.unanswered.remove(id)) else {
            return tracing::debug!("dropped a response that the app does not wait for");
        };
        if asked.method == "subscriptions/listen" && self.keeps_subscription(&asked, &reply) {
            return;
        }
        let list = List::of_method(&asked.method);
        if let Some(list) = list
            && (self.on_own_list(&asked, &reply) || self.gives_list_for(list, &asked, &reply))
        {
            return;
        }
        let changed = match asked.era {
            Era::Legacy => self.terms.on_reply(&asked.method, &reply),
            Era::Modern => list.and_then(|list| self.missing_list(list, &reply)),
        };
        let reply = changed.map_or(reply, Reply::Response);
        match (list, reply) {
            (Some(list), Reply::Response(response)) => self.on_list(list, asked, response),
            (_, reply) => self.write_apart(reply),
        }
    }

    /// Writes a reply.
    pub(super) fn write_reply(&mut self, reply: Reply) {
        match reply {
            Reply::Response(response) => self.out.write(response),
            Reply::Failed(failed) => self.out.push(Action::Fail(failed)),
        }
    }

    pub(super) fn write_all(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.out.write(message);
        }
    }

    /// Writes a request or a notification of the server.
    pub(super) fn write_from_server(&mut self, message: Message) {
        if message.method() == Some("notifications/progress") {
            self.progress.on_progress(&message, self.out.now());
        }
        self.out.write(message);
    }

    /// Writes the reply to a request of the app, a moment later if it comes right behind progress.
    pub(super) fn write_apart(&mut self, reply: Reply) {
        match self.progress.on_reply(reply, self.out.facts()) {
            ReplyTiming::Write(reply) => self.write_reply(reply),
            ReplyTiming::AfterWritten(wait, timer) => {
                let timer = Timer::Progress(timer);
                self.out.push(Action::AfterWritten(wait, timer));
            }
        }
    }

    /// Writes what is kept back: no more time is left.
    pub(super) fn write_held_back(&mut self) {
        for reply in self.progress.take_all_held_back() {
            self.write_reply(reply);
        }
    }

    /// A request of the app with a progress token.
    pub(super) fn watch_progress(&mut self, id: &RequestId, token: RequestId) {
        if let Some(wait) = self.progress.on_request(id, token) {
            self.out.after(wait, Timer::Progress(ProgressTimer::Look));
        }
    }

    pub(super) fn on_progress_timer(&mut self, timer: ProgressTimer) {
        match timer {
            ProgressTimer::Look => self.report_waiting(),
            ProgressTimer::HeldBack(id) => {
                if let Some(reply) = self.progress.take_held_back(id) {
                    self.write_reply(reply);
                }
            }
        }
    }

    /// Tells the app of the requests that wait, unless it does not read.
    fn report_waiting(&mut self) {
        let unanswered = &self.unanswered;
        let Some((ids, wait)) = self.progress.on_look(|id| unanswered.contains_key(id)) else {
            return;
        };
        self.out.after(wait, Timer::Progress(ProgressTimer::Look));
        if !self.out.facts().app_reads {
            return;
        }
        for (id, obstacle) in self.waiting(ids) {
            let facts = self.out.facts();
            let report = self.progress.on_waiting(&id, obstacle, &self.host, facts);
            if let Some(report) = report {
                self.out.write(report);
            }
        }
    }

    /// The requests that wait, of these.
    fn waiting(&self, ids: Vec<RequestId>) -> Vec<(RequestId, progress::WaitReason)> {
        let opening = match &self.legacy {
            LegacyLane::Opening(_, opening) => Some(opening.pending()),
            LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Upgraded(_) => None,
        };
        let opening = opening.into_iter().flat_map(PendingQueue::ids);
        let pending: HashSet<&RequestId> = opening.chain(self.downgraded.pending()).collect();
        let filter = self.hidden_tools.as_ref();
        let listings = [
            filter.and_then(|tools| tools.waiting_calls()),
            self.local_tools.waiting_calls(),
        ];
        // By the call, the list request that it waits for.
        let listings: HashMap<&RequestId, &RequestId> = listings
            .into_iter()
            .flatten()
            .flat_map(|(list, calls)| calls.into_iter().map(move |call| (call, list)))
            .collect();
        let obstacle_of = |id: &RequestId| {
            if pending.contains(id) {
                // A request that waits for a session waits for the sign-in, if one is under way.
                return Some(progress::WaitReason::SignIn);
            }
            match self.exchange_for(id)?.flight.track.phase() {
                Phase::SigningIn => Some(progress::WaitReason::SignIn),
                Phase::Queued | Phase::Unreachable => Some(progress::WaitReason::Server),
                Phase::Sent => None,
            }
        };
        let waiting = ids.into_iter().filter_map(|id| {
            let sent = listings.get(&id).copied().unwrap_or(&id);
            let obstacle = obstacle_of(sent)?;
            Some((id, obstacle))
        });
        waiting.collect()
    }
}

/// The notification that cancels a request for this reason.
pub(super) fn cancellation(id: &RequestId, reason: &str) -> Message {
    let id: serde_json::Value = serde_json::from_str(id.as_json()).unwrap_or_default();
    let params = json!({ "requestId": id, "reason": reason });
    Message::notification("notifications/cancelled", &params)
}
