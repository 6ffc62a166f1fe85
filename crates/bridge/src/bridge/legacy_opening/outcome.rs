//! Outcome of an attempt to open a legacy session: a session, another attempt, or a refusal.

use std::time::Duration;

use serde_json::json;

use super::{LegacyOpening, OpeningAttempt, OpeningStep, OpeningTimer};
use crate::bridge::Answering;
use crate::bridge::pending_queue::PendingQueue;
use crate::bridge::reply::Reply;
use crate::endpoint::{Failure, LostSubscription, Outcome};
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_protocol::codes::INTERNAL_ERROR;
use mcp_bridge_protocol::era::{NEWEST_LEGACY, Upgrade, asking_for, telling};
use mcp_bridge_protocol::message::Message;

/// The longest pause where no connection comes up: that costs the server nothing, and a person waits for
/// tools.
const MAX_CONNECT_PAUSE: Duration = Duration::from_secs(5);

/// The pause after a failure of the authorization server, which counts sign-ins.
const SIGN_IN_RETRY_PAUSE: Duration = Duration::from_secs(60);

/// State after the outcome of an `initialize`.
#[derive(Debug)]
pub(in crate::bridge) enum NextState {
    /// The session is still being opened.
    Opening(Box<LegacyOpening>, Vec<OpeningStep>),
    /// There is a session.
    Open(Box<LegacySession>),
    /// The app's `initialize` is answered with this error, and it has to begin anew.
    Refused(Reply, PendingQueue),
}

/// A session that has been opened.
#[derive(Debug)]
pub(in crate::bridge) struct LegacySession {
    pub(in crate::bridge) session: OpenSession,
    /// The version that the app asked for.
    pub(in crate::bridge) asked: String,
    /// The answer for the app.
    pub(in crate::bridge) response: Message,
    /// True if the app has got one before.
    pub(in crate::bridge) is_answered: bool,
    /// The server's own answer.
    pub(in crate::bridge) server: Message,
    pub(in crate::bridge) pending: PendingQueue,
}

/// Session by the era of its server.
#[derive(Debug)]
pub(in crate::bridge) enum OpenSession {
    Native,
    Upgraded(Box<Upgrade>),
}

impl LegacyOpening {
    /// The outcome of the `initialize`.
    pub(in crate::bridge) fn on_outcome(self: Box<Self>, outcome: Outcome) -> NextState {
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
    pub(super) fn refused(mut self: Box<Self>, error: Reply) -> NextState {
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
