//! Watch on the host: exit of the parent process, and system suspend.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval};

/// Interval at which to look whether the parent is alive and whether the machine was asleep.
const TICK: Duration = Duration::from_secs(2);

/// A wall clock that is this far ahead of the monotonic one has seen the machine sleep.
const SLEPT: Duration = Duration::from_secs(20);

/// The parent process and the clocks, looked at now and then.
#[derive(Debug)]
pub(super) struct HostWatch {
    ticks: tokio::time::Interval,
    parent: Option<u32>,
    clocks: (Instant, SystemTime),
}

impl HostWatch {
    pub(super) fn new() -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            parent: parent_id(),
            clocks: (Instant::now(), SystemTime::now()),
        }
    }

    /// Resolves when the parent has died or the machine has slept.
    pub(super) async fn changed(mut self) -> Self {
        loop {
            self.ticks.tick().await;
            if self.parent_died() || self.slept() {
                return self;
            }
        }
    }

    /// An app that was killed may leave its end of the pipe with a process that it started.
    pub(super) fn parent_died(&self) -> bool {
        self.parent.is_some() && parent_id() != self.parent
    }

    fn slept(&mut self) -> bool {
        let (instant, wall) =
            std::mem::replace(&mut self.clocks, (Instant::now(), SystemTime::now()));
        let passed = self.clocks.1.duration_since(wall).unwrap_or_default();
        passed > instant.elapsed() + SLEPT
    }
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "other systems have no parent to watch"
)]
fn parent_id() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

#[cfg(not(unix))]
const fn parent_id() -> Option<u32> {
    None
}
