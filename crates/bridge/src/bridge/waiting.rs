//! Progress notifications for requests that wait for a sign-in or for a server that cannot be reached, so that a
//! person sees the reason and the app's time limit starts anew.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::conversation::Conversation;
use super::lanes::LegacyLane;
use super::opening::Alarm;
use super::outbound::Lane;
use super::pending_queue::{Held, Ticket};
use crate::endpoint::Phase;
use mcp_bridge_auth::SignInPage;
use mcp_bridge_protocol::message::{Message, RequestId};

/// Interval at which to look which requests wait, while there are any that want to hear of progress.
const LOOK: Duration = Duration::from_secs(1);

/// Time that a response is kept back that comes right behind the progress of its request, from the moment
/// in which that is written. Apps on the TypeScript SDK drop progress that they read together with the
/// response, and two lines that are written at once are read at once.
const APART: Duration = Duration::from_millis(3);

/// Longest time that the progress may take to be written.
const WRITE_LIMIT: Duration = Duration::from_millis(50);

/// An obstacle before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// A person who signs in.
    SignIn,
    /// The server.
    Server,
}

impl Conversation {
    /// A request of the app with a progress token begins.
    pub(super) fn watch_progress(&mut self, id: &RequestId, token: RequestId) {
        self.progress.begin(id, token);
        if !std::mem::replace(&mut self.looks_at_waiting, true) {
            self.set_alarm(LOOK, Alarm::Waiting);
        }
    }

    /// Tells the app of the requests that wait, unless it does not read.
    pub(super) fn report_waiting(&mut self) {
        self.progress.retain(|id| self.unanswered.contains_key(id));
        self.looks_at_waiting = !self.progress.is_empty();
        if !self.looks_at_waiting {
            return;
        }
        self.set_alarm(LOOK, Alarm::Waiting);
        let page = self.pending_page();
        let host = self.host();
        for (id, obstacle) in self.waiting() {
            if !self.writer.has_room() {
                return;
            }
            let text = match (obstacle, &page) {
                (Obstacle::SignIn, Some(page)) => format!("Sign in: {page}"),
                (Obstacle::SignIn, None) | (Obstacle::Server, _) => format!("waiting for {host}"),
            };
            if let Some(report) = self.progress.report(&id, text) {
                self.write(&report);
            }
        }
    }

    fn pending_page(&self) -> Option<SignInPage> {
        let authorizer = self.authorizer.as_ref()?;
        authorizer.pending_sign_in()
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
            LegacyLane::Opening(opening) => Some(opening.held()),
            LegacyLane::Fresh | LegacyLane::Native | LegacyLane::Upgraded(_) => None,
        };
        let downgraded = self.downgraded.iter().filter_map(|session| session.held());
        let held = opening.into_iter().chain(downgraded);
        held.flat_map(Held::ids).collect()
    }

    fn obstacle_of_exchange(&self, id: &RequestId) -> Option<Obstacle> {
        let exchange = self.exchanges.get(&self.exchange_for(id))?;
        match exchange.track.phase() {
            Phase::SigningIn => Some(Obstacle::SignIn),
            Phase::Queued | Phase::Unreachable => Some(Obstacle::Server),
            Phase::Sent => None,
        }
    }

    /// The exchange by which a request of the app is with the server: its endpoint and its id there.
    pub(super) fn exchange_for(&self, id: &RequestId) -> (usize, RequestId) {
        if let LegacyLane::Upgraded(upgrade) = &self.legacy
            && let Some(leg) = upgrade.exchange_of(id)
        {
            return (Lane::Upgraded.link(), leg.clone());
        }
        let downgraded = self.downgraded.iter().find_map(|it| it.exchange_of(id));
        downgraded.unwrap_or_else(|| (Lane::Native.link(), id.clone()))
    }

    /// Writes the response to a request of the app, a moment later if it comes right behind progress.
    pub(super) fn write_response(&mut self, response: &Message) {
        if self.progress.is_empty() {
            return self.write(response);
        }
        let progress = response.id().and_then(|id| self.progress.end(id));
        let Some(progress) = progress else {
            return self.write(response);
        };
        if progress.elapsed() >= APART && self.writer.has_written() {
            return self.write(response);
        }
        let ticket = self.tickets.next();
        self.held_back.push((ticket, response.clone()));
        let writer = self.writer.clone();
        self.alarms.spawn(async move {
            // An app that does not read has other lines before it than the progress.
            let _ = timeout(WRITE_LIMIT, writer.written()).await;
            sleep(APART).await;
            Alarm::HeldBack(ticket)
        });
    }

    /// A response has been kept back long enough.
    pub(super) fn write_held_back(&mut self, ticket: Ticket) {
        let at = self.held_back.iter().position(|(held, _)| *held == ticket);
        if let Some(at) = at {
            let (_, response) = self.held_back.remove(at);
            self.write(&response);
        }
    }

    /// Writes what is kept back: no more time is left.
    pub(super) fn write_all_held_back(&mut self) {
        for (_, response) in std::mem::take(&mut self.held_back) {
            self.write(&response);
        }
    }
}
