//! Opening of a legacy session (`initialize`), as a state machine. The app gets its answer within a second, even while
//! a person signs in or the server is down; what needs the server waits for it, for a bounded time.
//!
//! Events go in, [`OpeningStep`]s come out. When the opening is over it turns into what comes after it: see [`NextState`].
//! `promise` has the app's answer before there is a session, `outcome` the end of each attempt.

mod outcome;
mod promise;

use std::time::Duration;

use tokio::time::Instant;

use super::Answering;
use super::facts::Facts;
use super::pending_queue::{PendingQueue, Ticket};
use super::reply::Reply;
use crate::endpoint::{Failure, Phase};
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_protocol::message::{Message, RequestId};
pub(super) use outcome::{LegacySession, NextState, OpenSession};
use promise::{EarlierAnswer, PROMISE_AFTER};

/// The first and the longest pause between two tries to open the session. A request of the app ends it.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(20);

/// Messages of the app that may wait for a session.
const MAX_PENDING: usize = 10_000;

/// The session that is being opened for a legacy app.
#[derive(Debug)]
pub(super) struct LegacyOpening {
    settings: OpeningSettings,
    initialize: Message,
    /// Moment when it was sent first.
    started: Instant,
    /// Messages that came behind it, for nobody knows yet who will take them.
    pending: PendingQueue,
    /// The version in the app's answer, once it has one.
    told_version: Option<String>,
    known: EarlierAnswer,
    attempt: OpeningAttempt,
    backoff: Backoff,
    /// True if no time is left for another attempt.
    is_stopping: bool,
}

/// Settings of an opening.
#[derive(Debug, Clone)]
pub(super) struct OpeningSettings {
    pub(super) answering: Answering,
    /// The server's host and port.
    pub(super) host: String,
}

#[derive(Debug)]
enum OpeningAttempt {
    /// The `initialize` is with the server, after the attempt before it ended so, if there was one.
    UnderWay(Option<Reply>),
    /// It has ended so, which is the error for those who wait.
    Failed(Reply),
}

/// Time limit for a message that waits for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingExpiry {
    /// That of the setting.
    Patience,
    /// None here: the message is a list request of the app, and all of these have one clock together.
    ListClock,
}

/// A wait of an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpeningTimer {
    /// The app may have waited long enough for the answer to its `initialize`.
    Promise,
    /// The session may be tried again.
    Retry,
    /// A pending message has waited long enough.
    Expired(Ticket),
}

/// Something to be done for an opening.
#[derive(Debug)]
pub(super) enum OpeningStep {
    /// Send the app's `initialize` to the server.
    Send(Message),
    /// End the exchange of this `initialize`.
    Abort(RequestId),
    /// Answer the app's request of this id.
    Answer(Reply),
    /// The same for a request that will never have a session; a list may be given instead.
    Refuse(Message, Reply),
    /// Answer the app's `initialize` in place of the server.
    Promise(Message),
    /// Hand the timer back after this time.
    After(Duration, OpeningTimer),
    /// Read the server's earlier answers, and hand them back.
    Recall,
}

impl LegacyOpening {
    /// Begins with the app's `initialize`.
    pub(super) fn begin(
        settings: OpeningSettings,
        initialize: Message,
        facts: &Facts,
    ) -> (Self, Vec<OpeningStep>) {
        let opening = Self::new(settings, initialize, facts);
        let mut steps = vec![OpeningStep::Send(opening.initialize.clone())];
        if opening.patience().is_some() {
            steps.push(OpeningStep::After(PROMISE_AFTER, OpeningTimer::Promise));
        }
        (opening, steps)
    }

    /// Begins for an app that has the answer to its `initialize`, with this version, from an earlier session. These
    /// messages wait for the session first.
    pub(super) fn begin_answered(
        settings: OpeningSettings,
        initialize: Message,
        told_version: &str,
        pending: Option<Message>,
        facts: &Facts,
    ) -> (Self, Vec<OpeningStep>) {
        let mut opening = Self::new(settings, initialize, facts);
        opening.told_version = Some(told_version.to_owned());
        if let Some(message) = pending {
            opening.pending.push(message);
        }
        let steps = vec![OpeningStep::Send(opening.initialize.clone())];
        (opening, steps)
    }

    fn new(settings: OpeningSettings, initialize: Message, facts: &Facts) -> Self {
        Self {
            settings,
            initialize,
            started: facts.now,
            pending: PendingQueue::default(),
            told_version: None,
            known: EarlierAnswer::Unread,
            attempt: OpeningAttempt::UnderWay(None),
            backoff: Backoff::new(RETRY_PAUSE, MAX_RETRY_PAUSE),
            is_stopping: false,
        }
    }

    /// The messages that wait for the session.
    pub(super) const fn pending(&self) -> &PendingQueue {
        &self.pending
    }

    /// Returns whether the app has the answer to its `initialize`.
    pub(super) const fn is_answered(&self) -> bool {
        self.told_version.is_some()
    }

    /// The id of the `initialize`.
    pub(super) fn id(&self) -> Option<&RequestId> {
        self.initialize.id()
    }

    /// The end of the last attempt that is over, if it failed.
    pub(super) const fn last_error(&self) -> Option<&Reply> {
        match &self.attempt {
            OpeningAttempt::Failed(error) => Some(error),
            OpeningAttempt::UnderWay(previous) => previous.as_ref(),
        }
    }

    /// Ends for an app that begins anew.
    pub(super) fn abandon(self) -> Vec<OpeningStep> {
        let id = self.initialize.id().cloned();
        id.map(OpeningStep::Abort).into_iter().collect()
    }

    /// A message of the app, which waits.
    pub(super) fn on_app(&mut self, message: Message, expiry: PendingExpiry) -> Vec<OpeningStep> {
        if self.pending.len() >= MAX_PENDING {
            return Self::refuse_pending(&message);
        }
        let request = message.id().cloned().filter(|_| message.is_request());
        let sets_log_level = message.method() == Some("logging/setLevel");
        tracing::debug!(
            id = message.id().map(RequestId::as_json),
            method = message.method(),
            "held until there is a session"
        );
        let ticket = self.pending.push(message);
        let Some(id) = request else {
            return Vec::new();
        };
        if sets_log_level && self.is_answered() {
            // The bridge logs too. The server hears of it when it is there, and its answer goes nowhere.
            return vec![OpeningStep::Answer(Message::result(&id, "{}").into())];
        }
        let patience = self
            .patience()
            .filter(|_| expiry == PendingExpiry::Patience);
        let timer =
            patience.map(|patience| OpeningStep::After(patience, OpeningTimer::Expired(ticket)));
        let mut steps: Vec<_> = timer.into_iter().collect();
        steps.extend(self.try_again());
        steps
    }

    /// The app has given up a request.
    pub(super) fn on_cancelled(&mut self, id: &RequestId) {
        self.pending.withdraw(id);
    }

    /// A wait is over. `phase` is that of the `initialize` that is with the server.
    pub(super) fn on_timer(
        &mut self,
        timer: OpeningTimer,
        phase: Option<Phase>,
        facts: &Facts,
    ) -> Vec<OpeningStep> {
        match timer {
            OpeningTimer::Promise => self.consider_promise(phase, facts),
            OpeningTimer::Retry => self.try_again().into_iter().collect(),
            OpeningTimer::Expired(ticket) => self.expire(ticket, phase, facts),
        }
    }

    /// No time is left for another attempt.
    pub(super) fn on_stop(mut self: Box<Self>) -> NextState {
        self.is_stopping = true;
        match &self.attempt {
            OpeningAttempt::Failed(error) => {
                let error = error.clone();
                self.refused(error)
            }
            OpeningAttempt::UnderWay(_) => NextState::Opening(self, Vec::new()),
        }
    }

    /// Time that a request waits for a session; `None` for as long as it takes.
    const fn patience(&self) -> Option<Duration> {
        match self.settings.answering {
            Answering::AtOnce { patience, .. } => Some(patience),
            Answering::AfterServer => None,
        }
    }

    fn version_asked(&self) -> String {
        self.initialize.param("protocolVersion").unwrap_or_default()
    }

    /// Refuses a message that there is no room for.
    fn refuse_pending(message: &Message) -> Vec<OpeningStep> {
        let (Some(id), Some(method)) = (message.id(), message.method()) else {
            tracing::warn!("dropped a message of the app: too many wait for initialize");
            return Vec::new();
        };
        let failure = Failure::Overloaded { limit: MAX_PENDING };
        vec![OpeningStep::Answer(Reply::of_failure(id, method, failure))]
    }

    fn try_again(&mut self) -> Option<OpeningStep> {
        let OpeningAttempt::Failed(error) = &self.attempt else {
            return None;
        };
        self.attempt = OpeningAttempt::UnderWay(Some(error.clone()));
        Some(OpeningStep::Send(self.initialize.clone()))
    }

    /// A pending request has waited long enough.
    fn expire(&mut self, ticket: Ticket, phase: Option<Phase>, facts: &Facts) -> Vec<OpeningStep> {
        let request = self.pending.take(ticket);
        let Some((id, method)) = request.as_ref().and_then(|it| it.id().zip(it.method())) else {
            return Vec::new();
        };
        let answering = self.settings.answering;
        let reply = match &self.attempt {
            OpeningAttempt::Failed(error) => error.with_id(id),
            OpeningAttempt::UnderWay(previous) => {
                match (obstacle(answering, phase, facts), previous) {
                    (Failure::NoSession(_), Some(error)) => error.with_id(id),
                    (obstacle, _) => Reply::of_failure(id, method, obstacle),
                }
            }
        };
        vec![OpeningStep::Answer(reply)]
    }
}

/// The obstacle before a session for which a request has waited as long as it can.
pub(super) fn obstacle(answering: Answering, phase: Option<Phase>, facts: &Facts) -> Failure {
    if let Some(unfinished) = facts.sign_in.obstacle() {
        return unfinished.into();
    }
    let waited = match answering {
        Answering::AtOnce { patience, .. } => patience,
        Answering::AfterServer => Duration::ZERO,
    };
    match phase {
        Some(Phase::SigningIn) => Failure::SignInNotReady(waited),
        Some(Phase::Sent | Phase::Queued | Phase::Unreachable) | None => Failure::NoSession(waited),
    }
}
