//! Exponential back-off: pauses that double up to a longest one.

use std::time::Duration;

use mcp_bridge_text::random;

/// Pauses between tries: each is twice as long as the one before it, up to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        self.pause_within(self.longest)
    }

    /// The pause before the next try, where it must not be longer than `longest` this time.
    pub fn pause_within(&mut self, longest: Duration) -> Duration {
        let pause = self.next.min(longest).min(self.longest);
        self.next = pause.saturating_mul(2);
        pause
    }

    /// The same with [`jittered`].
    pub fn jittered_pause(&mut self) -> Duration {
        jittered(self.pause())
    }

    /// Returns whether the next pause is the first one.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// Begins with the first pause again, after a success.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

/// The pause, shortened by up to a quarter at random so that many processes do not come back at once.
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a fraction of that precision is plenty"
    )]
    let fraction = random::number() as f64 / u64::MAX as f64;
    pause.mul_f64(0.75 + fraction / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let mut pauses = || backoff.pause().as_millis();
        let first = [pauses(), pauses(), pauses(), pauses(), pauses(), pauses()];
        assert_eq!(first, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert!(backoff.is_fresh());
        assert_eq!(backoff.pause(), FIRST);
    }

    #[test]
    fn a_pause_can_be_held_shorter_for_once() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let limit = Duration::from_millis(150);
        let pauses = [
            backoff.pause(),
            backoff.pause_within(limit),
            backoff.pause(),
        ];
        assert_eq!(pauses.map(|it| it.as_millis()), [100, 150, 300]);
    }

    #[test]
    fn jitter_takes_a_quarter_at_most() {
        let mut backoff = Backoff::new(LONGEST, LONGEST);
        for _ in 0..40 {
            let pause = backoff.jittered_pause();
            assert!((LONGEST.mul_f64(0.75)..=LONGEST).contains(&pause));
        }
    }
}
