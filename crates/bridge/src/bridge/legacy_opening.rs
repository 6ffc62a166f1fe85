//! Opening of a legacy session (`initialize`), as a state machine. The app gets its answer within a second, even while
//! a person signs in or the server is down; what needs the server waits for it, for a bounded time.
//!
//! Events go in, [`OpeningStep`]s come out. When the opening is over it turns into what comes after it: see [`NextState`].

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Answering;
use super::facts::Facts;
use super::pending_queue::{PendingQueue, Ticket};
use super::provisional_initialize::{self, AnnouncedServer, Answers};
use super::reply::Reply;
use crate::endpoint::{Failure, LostSubscription, Outcome, Phase};
use mcp_bridge_auth::AuthError;
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_protocol::codes::INTERNAL_ERROR;
use mcp_bridge_protocol::era::{NEWEST_LEGACY, Upgrade, asking_for, telling};
use mcp_bridge_protocol::message::{Message, RequestId};

/// Time that the server has for its own answer to `initialize` when something else than the server is in
/// the way: a sign-in, or a connection that does not come up. Apps want an answer within seconds.
const PROMISE_AFTER: Duration = Duration::from_millis(750);

/// Time that a server has that may only be slow, and of which nothing is known. What it answers in the end
/// is better than what can be presumed of it.
const PROMISE_FOR_SLOW_AFTER: Duration = Duration::from_secs(5);

/// Interval at which to look what is in the way, between the two.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Limit for the time that the disk takes to bring the server's earlier answer.
const RECALL_LIMIT: Duration = Duration::from_secs(1);

/// The first and the longest pause between two tries to open the session. A request of the app ends it.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(20);

/// The longest pause where no connection comes up: that costs the server nothing, and a person waits for
/// tools.
const MAX_CONNECT_PAUSE: Duration = Duration::from_secs(5);

/// The pause after a failure of the authorization server, which counts sign-ins.
const SIGN_IN_RETRY_PAUSE: Duration = Duration::from_secs(60);

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

/// The server's earlier answer to `initialize`.
#[derive(Debug)]
enum EarlierAnswer {
    /// Nobody has looked yet.
    Unread,
    /// It was asked for at this moment.
    Asked(Instant),
    /// It was read; `None` if there is none.
    Read(Option<Value>),
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

/// State after the outcome of an `initialize`.
#[derive(Debug)]
pub(super) enum NextState {
    /// The session is still being opened.
    Opening(Box<LegacyOpening>, Vec<OpeningStep>),
    /// There is a session.
    Open(Box<LegacySession>),
    /// The app's `initialize` is answered with this error, and it has to begin anew.
    Refused(Reply, PendingQueue),
}

/// A session that has been opened.
#[derive(Debug)]
pub(super) struct LegacySession {
    pub(super) session: OpenSession,
    /// The version that the app asked for.
    pub(super) asked: String,
    /// The answer for the app.
    pub(super) response: Message,
    /// True if the app has got one before.
    pub(super) is_answered: bool,
    /// The server's own answer.
    pub(super) server: Message,
    pub(super) pending: PendingQueue,
}

/// Session by the era of its server.
#[derive(Debug)]
pub(super) enum OpenSession {
    Native,
    Upgraded(Box<Upgrade>),
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

    /// The server's earlier answers have been read.
    pub(super) fn on_recalled(
        &mut self,
        answers: &Answers,
        phase: Option<Phase>,
        facts: &Facts,
    ) -> Vec<OpeningStep> {
        if !matches!(self.known, EarlierAnswer::Asked(_)) {
            return Vec::new();
        }
        self.known = EarlierAnswer::Read(answers.answer_to(&self.version_asked()));
        self.promise_if_due(phase, facts).into_iter().collect()
    }

    /// The outcome of the `initialize`.
    pub(super) fn on_outcome(self: Box<Self>, outcome: Outcome) -> NextState {
        match outcome {
            Outcome::LegacyOnly => NextState::Opening(self, Vec::new()),
            // An `initialize` is no subscription.
            Outcome::Failed(failure)
            | Outcome::SubscriptionLost(LostSubscription { failure, .. }) => {
                self.on_failure(failure)
            }
            Outcome::Response(response) | Outcome::OtherVersion(response)
                if response.is_error() =>
            {
                self.refused(Reply::Response(response))
            }
            Outcome::Response(response) => {
                self.opened(OpenSession::Native, response.clone(), response)
            }
            Outcome::OtherVersion(server) => {
                let response = telling(&server, &self.version_asked());
                self.opened(OpenSession::Native, response, server)
            }
            Outcome::ModernOnly(discover) => self.opened_modern(&discover),
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

    /// Answers the app's `initialize` for the server, if that is what the app needs now.
    fn consider_promise(&mut self, phase: Option<Phase>, facts: &Facts) -> Vec<OpeningStep> {
        if self.is_answered() || self.is_stopping {
            return Vec::new();
        }
        if let EarlierAnswer::Unread = self.known {
            self.known = EarlierAnswer::Asked(facts.now);
            let timer = OpeningStep::After(CHECK_INTERVAL, OpeningTimer::Promise);
            return vec![OpeningStep::Recall, timer];
        }
        let step = self.promise_if_due(phase, facts);
        let step = step.unwrap_or(OpeningStep::After(CHECK_INTERVAL, OpeningTimer::Promise));
        vec![step]
    }

    fn promise_if_due(&mut self, phase: Option<Phase>, facts: &Facts) -> Option<OpeningStep> {
        if self.is_answered() || self.is_stopping {
            return None;
        }
        let known = match &self.known {
            EarlierAnswer::Asked(asked) if facts.now - *asked < RECALL_LIMIT => return None,
            EarlierAnswer::Unread | EarlierAnswer::Asked(_) => None,
            EarlierAnswer::Read(known) => known.as_ref(),
        };
        let is_stuck = match self.attempt {
            OpeningAttempt::Failed(_) => true,
            OpeningAttempt::UnderWay(_) => phase != Some(Phase::Sent),
        };
        if !is_stuck && known.is_none() && facts.now - self.started < PROMISE_FOR_SLOW_AFTER {
            return None;
        }
        let id = self.initialize.id()?;
        let (asked, host) = (self.version_asked(), &self.settings.host);
        let response = provisional_initialize::answer(id, &asked, known, host);
        tracing::info!("answered initialize before the server has");
        self.told_version = Some(
            AnnouncedServer::from_response(&response)
                .version()
                .to_owned(),
        );
        Some(OpeningStep::Promise(response))
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

    /// The session could not be opened, for now or for good.
    fn on_failure(mut self: Box<Self>, failure: Failure) -> NextState {
        let Some(id) = self.initialize.id().cloned() else {
            return NextState::Opening(self, Vec::new());
        };
        let retry = match self.settings.answering {
            Answering::AtOnce { .. } if !self.is_stopping => {
                retry_pause(&failure, &mut self.backoff)
            }
            Answering::AtOnce { .. } | Answering::AfterServer => None,
        };
        let error = Reply::of_failure(&id, "initialize", failure);
        let Some(pause) = retry else {
            return self.refused(error);
        };
        self.attempt = OpeningAttempt::Failed(error);
        let timer = OpeningStep::After(pause, OpeningTimer::Retry);
        NextState::Opening(self, vec![timer])
    }

    /// There will be no session unless the app asks again.
    fn refused(mut self: Box<Self>, error: Reply) -> NextState {
        if !self.is_answered() {
            return NextState::Refused(error, self.pending);
        }
        let requests = self.pending.take_requests().into_iter();
        let steps = requests.filter_map(|request| {
            let error = error.with_id(request.id()?);
            Some(OpeningStep::Refuse(request, error))
        });
        let steps = steps.collect();
        self.attempt = OpeningAttempt::Failed(error);
        NextState::Opening(self, steps)
    }

    /// The server speaks the modern era alone.
    fn opened_modern(self: Box<Self>, discover: &Message) -> NextState {
        let initialize = match &self.told_version {
            Some(version) => asking_for(&self.initialize, version),
            None => self.initialize.clone(),
        };
        match Upgrade::open(&initialize, discover, &self.settings.host) {
            Ok((upgrade, response)) => {
                // What a modern server says is translated into the words of that revision.
                let server = telling(&response, NEWEST_LEGACY);
                self.opened(OpenSession::Upgraded(Box::new(upgrade)), response, server)
            }
            Err(error) => {
                let (host, reason) = (&self.settings.host, error.to_string());
                let text = format!("mcp-bridge: {host}: {reason}");
                let data = json!({
                    "source": "mcp-bridge",
                    "kind": "protocol_version",
                    "host": host,
                    "reason": reason,
                });
                let id = self.initialize.id();
                let error = Message::error(id, INTERNAL_ERROR, &text, Some(&data));
                self.refused(Reply::Response(error))
            }
        }
    }

    fn opened(
        self: Box<Self>,
        session: OpenSession,
        response: Message,
        server: Message,
    ) -> NextState {
        NextState::Open(Box::new(LegacySession {
            session,
            asked: self.version_asked(),
            response,
            is_answered: self.is_answered(),
            server,
            pending: self.pending,
        }))
    }
}

/// The obstacle before a session for which a request has waited as long as it can.
pub(super) fn obstacle(answering: Answering, phase: Option<Phase>, facts: &Facts) -> Failure {
    if let Some(page) = facts.sign_in.page() {
        let url = Some(page.clone());
        return AuthError::SignInRequired { url }.into();
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

/// Pause before another try; `None` if that would not help.
fn retry_pause(failure: &Failure, backoff: &mut Backoff) -> Option<Duration> {
    if let Failure::Auth(error) = failure {
        return error.retry_after().map(|_| SIGN_IN_RETRY_PAUSE);
    }
    if !failure.may_pass() {
        return None;
    }
    Some(match failure {
        Failure::Connect { .. } => backoff.pause_within(MAX_CONNECT_PAUSE),
        _ => backoff.pause(),
    })
}
