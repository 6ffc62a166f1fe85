//! History of the sign-ins of this process: the last failure, and a limit for their number.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::AuthError;

/// Limit for sign-ins that begin within [`SIGN_INS_PERIOD`]. No person does more; a server that takes back
/// what it gives, and an app that tries again by itself, would open tab after tab.
const MOST_SIGN_INS: usize = 5;

/// See [`MOST_SIGN_INS`].
const SIGN_INS_PERIOD: Duration = Duration::from_secs(300);

/// History of the last sign-ins of this process.
#[derive(Debug, Default)]
pub(crate) struct SignInHistory {
    failure: Option<(Instant, AuthError)>,
    begun: VecDeque<Instant>,
}

impl SignInHistory {
    /// Counts one more sign-in, unless there were too many.
    pub(crate) fn begin(&mut self) -> Result<(), AuthError> {
        self.begun
            .retain(|moment| moment.elapsed() < SIGN_INS_PERIOD);
        if self.begun.len() >= MOST_SIGN_INS {
            return Err(AuthError::TooManySignIns);
        }
        self.begun.push_back(Instant::now());
        Ok(())
    }

    pub(crate) fn failure_since(&self, moment: Instant) -> Option<AuthError> {
        self.failure
            .as_ref()
            .filter(|(ended, _)| *ended >= moment)
            .map(|(_, error)| error.clone())
    }

    pub(crate) fn record(&mut self, failure: Option<&AuthError>) {
        self.failure = failure.map(|error| (Instant::now(), error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sign_ins_are_limited_for_a_while() {
        let mut history = SignInHistory::default();
        for _ in 0..MOST_SIGN_INS {
            history.begin().unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(matches!(history.begin(), Err(AuthError::TooManySignIns)));
        tokio::time::advance(SIGN_INS_PERIOD.saturating_sub(Duration::from_secs(5))).await;
        history.begin().unwrap();
        assert!(matches!(history.begin(), Err(AuthError::TooManySignIns)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_counts_for_those_who_waited_for_it() {
        let mut history = SignInHistory::default();
        let before = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        history.record(Some(&AuthError::Interrupted));
        assert!(history.failure_since(before).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(history.failure_since(Instant::now()).is_none());
        history.record(None);
        assert!(history.failure_since(before).is_none());
    }
}
