//! Pause between two attempts to refresh, after an outage of the authorization server.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::AuthError;

/// The longest pause between two attempts to refresh.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A pause, and the outage that it is for.
#[derive(Debug, Clone)]
pub(crate) struct RefreshPause {
    until: Instant,
    length: Duration,
    error: AuthError,
}

impl RefreshPause {
    /// The pause after `error`: as long as the authorization server wishes, or twice as long as the last one. None if the
    /// error does not pass by itself.
    pub(crate) fn after(error: &AuthError, last: Option<&Self>) -> Option<Self> {
        let wished = error.retry_after()?;
        let doubled = last.map_or(Duration::ZERO, |last| (last.length * 2).min(LONGEST_PAUSE));
        let length = doubled.max(wished);
        Some(Self {
            until: Instant::now() + length,
            length,
            error: error.clone(),
        })
    }

    /// The error for callers during the pause; none when it is over.
    pub(crate) fn reason(&self) -> Option<AuthError> {
        let left = self.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| self.error.retried_after(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_doubles_and_ends() {
        let outage = AuthError::Unavailable {
            reason: "503".into(),
            retry_after: Duration::from_secs(5),
        };
        let mut last = None;
        for seconds in [5, 10, 20, 40, 60, 60] {
            let pause = RefreshPause::after(&outage, last.as_ref()).unwrap();
            tokio::time::advance(Duration::from_secs(seconds - 1)).await;
            assert!(pause.reason().is_some(), "{seconds}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(pause.reason().is_none(), "{seconds}");
            last = Some(pause);
        }
    }
}
