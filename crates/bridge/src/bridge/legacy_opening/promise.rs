//! Provisional answer to the app's `initialize`, before the session is open.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{LegacyOpening, OpeningAttempt, OpeningStep, OpeningTimer};
use crate::bridge::facts::Facts;
use crate::bridge::provisional_initialize::{self, AnnouncedServer, Answers};
use crate::endpoint::Phase;

/// Time that the server has for its own answer to `initialize` when something else than the server is in
/// the way: a sign-in, or a connection that does not come up. Apps want an answer within seconds.
pub(super) const PROMISE_AFTER: Duration = Duration::from_millis(750);

/// Time that a server has that may only be slow, and of which nothing is known. What it answers in the end
/// is better than what can be presumed of it.
const PROMISE_FOR_SLOW_AFTER: Duration = Duration::from_secs(5);

/// Interval at which to look what is in the way, between the two.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Limit for the time that the disk takes to bring the server's earlier answer.
const RECALL_LIMIT: Duration = Duration::from_secs(1);

/// The server's earlier answer to `initialize`.
#[derive(Debug)]
pub(super) enum EarlierAnswer {
    /// Nobody has looked yet.
    Unread,
    /// It was asked for at this moment.
    Asked(Instant),
    /// It was read; `None` if there is none.
    Read(Option<Value>),
}

impl LegacyOpening {
    /// The server's earlier answers have been read.
    pub(in crate::bridge) fn on_recalled(
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

    /// Answers the app's `initialize` for the server, if that is what the app needs now.
    pub(super) fn consider_promise(
        &mut self,
        phase: Option<Phase>,
        facts: &Facts,
    ) -> Vec<OpeningStep> {
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
}
