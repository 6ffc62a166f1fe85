//! Progress notifications for requests that wait for a sign-in or for a server that cannot be reached, so that a
//! person sees the reason and the app's time limit starts anew.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::action::{Action, HeldBackId, LinkId, Timer};
use super::exchanges::Exchange;
use super::lanes::LegacyLane;
use super::pending_queue::PendingQueue;
use super::router::Router;
use crate::endpoint::Phase;
use mcp_bridge_auth::SignInPage;
use mcp_bridge_protocol::message::{Message, RequestId};

/// Interval at which to look which requests wait, while there are any that want to hear of progress.
const LOOK: Duration = Duration::from_secs(1);

/// Time that a response is kept back that comes right behind the progress of its request, from the moment
/// in which that is written. Apps on the TypeScript SDK drop progress that they read together with the
/// response, and two lines that are written at once are read at once.
const APART: Duration = Duration::from_millis(3);

/// An obstacle before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// A person who signs in.
    SignIn,
    /// The server.
    Server,
}

impl Router {
    /// A request of the app with a progress token begins.
    pub(super) fn watch_progress(&mut self, id: &RequestId, token: RequestId) {
        self.progress.begin(id, token);
        if !std::mem::replace(&mut self.looks_at_waiting, true) {
            self.out.after(LOOK, Timer::Waiting);
        }
    }

    /// Tells the app of the requests that wait, unless it does not read.
    pub(super) fn report_waiting(&mut self) {
        self.progress.retain(|id| self.unanswered.contains_key(id));
        self.looks_at_waiting = !self.progress.is_empty();
        if !self.looks_at_waiting {
            return;
        }
        self.out.after(LOOK, Timer::Waiting);
        if !self.out.facts().app_reads {
            return;
        }
        let page = self.pending_page();
        let host = self.host();
        for (id, obstacle) in self.waiting() {
            let text = match (obstacle, &page) {
                (Obstacle::SignIn, Some(page)) => format!("Sign in: {page}"),
                (Obstacle::SignIn, None) | (Obstacle::Server, _) => format!("waiting for {host}"),
            };
            if let Some(report) = self.progress.report(&id, text, self.out.now()) {
                self.write(report);
            }
        }
    }

    pub(super) fn pending_page(&self) -> Option<SignInPage> {
        self.out.facts().sign_in.page().cloned()
    }

    /// The requests that wait, of those that want to hear of progress and have not heard of the server's.
    fn waiting(&self) -> Vec<(RequestId, Obstacle)> {
        let held = self.held_ids();
        let listings = [
            self.tools.as_ref().and_then(|tools| tools.waiting_calls()),
            self.local_tools.waiting_calls(),
        ];
        // By the call, the list request that it waits for.
        let listings: HashMap<&RequestId, &RequestId> = listings
            .into_iter()
            .flatten()
            .flat_map(|(list, calls)| calls.into_iter().map(move |call| (call, list)))
            .collect();
        let obstacle_of = |id: &RequestId| {
            if held.contains(id) {
                // Who waits for a session waits for the sign-in, if one is under way.
                return Some(Obstacle::SignIn);
            }
            self.obstacle_of_exchange(id)
        };
        let waiting = self.progress.unreported().into_iter().filter_map(|id| {
            let sent = listings.get(&id).copied().unwrap_or(&id);
            let obstacle = obstacle_of(sent)?;
            Some((id, obstacle))
        });
        waiting.collect()
    }

    /// The requests that wait for a session.
    fn held_ids(&self) -> HashSet<&RequestId> {
        let opening = match &self.legacy {
            LegacyLane::Opening(_, opening) => Some(opening.pending()),
            LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Upgraded(_) => None,
        };
        let downgraded = self.downgraded.iter().filter_map(|session| session.held());
        let held = opening.into_iter().chain(downgraded);
        held.flat_map(PendingQueue::ids).collect()
    }

    fn obstacle_of_exchange(&self, id: &RequestId) -> Option<Obstacle> {
        match self.exchange_for(id)?.flight.track.phase() {
            Phase::SigningIn => Some(Obstacle::SignIn),
            Phase::Queued | Phase::Unreachable => Some(Obstacle::Server),
            Phase::Sent => None,
        }
    }

    /// The exchange by which a request of the app is with the server.
    pub(super) fn exchange_for(&self, id: &RequestId) -> Option<&Exchange> {
        if let LegacyLane::Upgraded(upgrade) = &self.legacy
            && let Some(attempt) = upgrade.exchange_of(id)
        {
            return self.exchanges.get(LinkId::MAIN, attempt);
        }
        let downgraded = self.downgraded.iter().find_map(|it| it.exchange_of(id));
        match downgraded {
            Some((link, attempt)) => self.exchanges.get(link, &attempt),
            None => self.exchanges.get(LinkId::MAIN, id),
        }
    }

    /// Writes the response to a request of the app, a moment later if it comes right behind progress.
    pub(super) fn write_response(&mut self, response: Message) {
        if self.progress.is_empty() {
            return self.write(response);
        }
        let progress = response.id().and_then(|id| self.progress.end(id));
        let Some(progress) = progress else {
            return self.write(response);
        };
        let facts = self.out.facts();
        if facts.now - progress >= APART && facts.all_is_written {
            return self.write(response);
        }
        let ticket = self.out.held_back_id();
        self.held_back.push((ticket, response));
        self.out
            .push(Action::AfterWritten(APART, Timer::HeldBack(ticket)));
    }

    /// A response has been kept back long enough.
    pub(super) fn write_held_back(&mut self, ticket: HeldBackId) {
        let at = self.held_back.iter().position(|(held, _)| *held == ticket);
        if let Some(at) = at {
            let (_, response) = self.held_back.remove(at);
            self.write(response);
        }
    }

    /// Writes what is kept back: no more time is left.
    pub(super) fn write_all_held_back(&mut self) {
        for (_, response) in std::mem::take(&mut self.held_back) {
            self.write(response);
        }
    }
}
