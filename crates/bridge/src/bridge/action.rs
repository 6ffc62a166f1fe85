//! Actions of the state machines, which [`io`](super::io) carries out, and the outbox that collects them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::exchanges::Lane;
use super::facts::Facts;
use super::legacy_opening::OpeningTimer;
use super::list::List;
use super::list_pages::CollectionId;
use super::pending_queue::Ticket;
use super::progress::ProgressTimer;
use super::provisional_lists::ListTimer;
use super::remembered_lists::ListForm;
use super::reply::FailedRequest;
use super::subscriptions::SubscriptionTimer;
use crate::endpoint::{Request, Track};
use mcp_bridge_protocol::era;
use mcp_bridge_protocol::message::Message;

/// Something to be done outside of the state machines.
#[derive(Debug)]
pub(super) enum Action {
    /// Write it to the app.
    ToApp(Message),
    /// Write the error of this request to the app.
    Fail(FailedRequest),
    /// Send this request to the server.
    Request(LinkId, OutgoingRequest),
    /// Send this notification or response to the server, after the notifications before it; a response for a request
    /// of the server only if the session is still of this generation.
    Notify(LinkId, Message, Option<u64>),
    /// End the task of this request. Nothing comes back for it.
    Abort(Arc<Flight>),
    /// The same after this time.
    AbortAfter(Duration, Arc<Flight>),
    /// Hand the timer back after this time.
    After(Duration, Timer),
    /// The same, a little earlier at random, so that many processes do not come back to a server at once.
    AfterAbout(Duration, Timer),
    /// Hand the timer back this time after everything is written that the app is to get.
    AfterWritten(Duration, Timer),
    /// Open another link to the server, on which the legacy era is spoken.
    OpenLink(LinkId),
    /// The server has left the modern era.
    EraOver,
    /// Read the server's earlier answers to `initialize`, and hand them back.
    RecallAnswers,
    /// Read the lists that are stored in this form, and hand them back.
    RecallLists(ListForm),
    /// Store what the server answered to an `initialize` with this version.
    KeepAnswer(String, Message),
    /// Store a list of the server.
    KeepList(List, ListForm, Message),
}

/// A wait that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Timer {
    /// One of the opening of a legacy session.
    Opening(OpeningId, OpeningTimer),
    /// A message that waits for the session on this link has waited long enough.
    Pending(LinkId, Ticket),
    /// The pages of a list have taken long enough.
    ListPages(CollectionId),
    /// One for the sake of progress.
    Progress(ProgressTimer),
    /// One of a translation between the eras.
    Translation(Lane, era::Timer),
    /// One of the list requests.
    Lists(ListTimer),
    /// One of a subscription.
    Subscription(SubscriptionTimer),
}

/// Stands for one opening of a legacy session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpeningId(u64);

/// A request on its way to the server.
#[derive(Debug)]
pub(super) struct OutgoingRequest {
    pub(super) request: Request,
    pub(super) flight: Arc<Flight>,
}

/// The progress of a request that is with the server, and the task that carries it.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) track: Track,
    task: OnceLock<AbortHandle>,
}

/// A connection to the server with sessions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LinkId(u32);

/// The actions of the state machines since the last time, and what they know of the world.
#[derive(Debug)]
pub(super) struct ActionOutbox {
    actions: Vec<Action>,
    facts: Facts,
    /// Links that were opened.
    links: u32,
    /// Openings that have begun.
    openings: u64,
}

impl Flight {
    pub(super) fn new(track: Track) -> Arc<Self> {
        Arc::new(Self {
            track,
            task: OnceLock::new(),
        })
    }

    /// Notes the task that carries the request.
    pub(super) fn started(&self, task: AbortHandle) {
        // Nothing is sent twice.
        let _ = self.task.set(task);
    }

    /// Ends the task.
    pub(super) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl LinkId {
    /// The link that carries the app's messages in the era of the server.
    pub(super) const MAIN: Self = Self(0);

    /// The number for names and log lines.
    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

impl ActionOutbox {
    pub(super) fn new(facts: Facts) -> Self {
        Self {
            actions: Vec::new(),
            facts,
            links: 0,
            openings: 0,
        }
    }

    /// The actions so far. The vector that is given takes the next ones.
    pub(super) fn take(&mut self, next: Vec<Action>) -> Vec<Action> {
        std::mem::replace(&mut self.actions, next)
    }

    /// Notes the state of the world before the next event.
    pub(super) fn observe(&mut self, update: impl FnOnce(&mut Facts)) {
        update(&mut self.facts);
    }

    pub(super) const fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) const fn now(&self) -> Instant {
        self.facts.now
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Writes a message to the app.
    pub(super) fn write(&mut self, message: Message) {
        self.push(Action::ToApp(message));
    }

    pub(super) fn after(&mut self, wait: Duration, timer: Timer) {
        self.push(Action::After(wait, timer));
    }

    pub(super) const fn opening_id(&mut self) -> OpeningId {
        self.openings += 1;
        OpeningId(self.openings)
    }

    /// Opens another link.
    pub(super) fn open_link(&mut self) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        self.push(Action::OpenLink(link));
        link
    }
}
