//! Watch on the host: exit of the parent process, and system suspend.
//!
//! On systems that report these events, nothing runs until one is reported; on others they are polled.

#[cfg(target_os = "linux")]
mod events;

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

#[cfg(target_os = "linux")]
use events::{ClockJumps, ParentExit};

/// Interval at which to look where the system has no event, or denies it: short enough that a call after a sleep seldom
/// meets a dead connection, long enough to cost nothing.
const TICK: Duration = Duration::from_secs(5);

/// A clock that is this far ahead has seen the machine sleep: the wall clock ahead of the monotonic one, or either ahead of
/// the ticks.
const SLEPT: Duration = Duration::from_secs(20);

/// A change of the host that concerns the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostChange {
    /// The parent process is gone. An app that was killed may leave its end of the pipe with a process that it started.
    ParentDied,
    /// The machine has slept: connections are half open.
    Slept,
}

/// The parent process and the clocks.
#[derive(Debug)]
pub(super) struct HostWatch {
    parent: ParentWatch,
    sleep: SleepWatch,
}

impl HostWatch {
    pub(super) fn new() -> Self {
        Self {
            parent: ParentWatch::new(),
            sleep: SleepWatch::new(),
        }
    }

    /// Resolves with the next change.
    pub(super) async fn changed(&mut self) -> HostChange {
        tokio::select! {
            () = self.parent.died() => HostChange::ParentDied,
            () = self.sleep.ended() => HostChange::Slept,
        }
    }
}

#[derive(Debug)]
enum ParentWatch {
    #[cfg(target_os = "linux")]
    Event(ParentExit),
    /// Whoever becomes the parent when this one dies has another id.
    Ticks(Interval, u32),
    /// The system tells no parent.
    Nothing,
}

impl ParentWatch {
    fn new() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(exit) = ParentExit::new() {
            return Self::Event(exit);
        }
        match parent_id() {
            Some(parent) => Self::Ticks(ticks(), parent),
            None => Self::Nothing,
        }
    }

    async fn died(&mut self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Event(exit) => exit.happened().await,
            Self::Ticks(ticks, parent) => {
                while parent_id() == Some(*parent) {
                    ticks.tick().await;
                }
            }
            Self::Nothing => std::future::pending().await,
        }
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

#[derive(Debug)]
struct SleepWatch {
    occasions: Occasions,
    /// The monotonic and the wall clock at the last look.
    clocks: (Instant, SystemTime),
}

/// When to look at the clocks.
#[derive(Debug)]
enum Occasions {
    #[cfg(target_os = "linux")]
    Jumps(ClockJumps),
    Ticks(Interval),
}

impl SleepWatch {
    fn new() -> Self {
        Self {
            occasions: Occasions::new(),
            clocks: (Instant::now(), SystemTime::now()),
        }
    }

    /// Resolves when the machine has slept.
    async fn ended(&mut self) {
        loop {
            let due = self.occasions.next().await;
            let (instant, wall) =
                std::mem::replace(&mut self.clocks, (Instant::now(), SystemTime::now()));
            let (now, wall_now) = self.clocks;
            let wall = wall_now.duration_since(wall).unwrap_or_default();
            if is_sleep(now.duration_since(instant), wall, due) {
                return;
            }
        }
    }
}

impl Occasions {
    fn new() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(jumps) = ClockJumps::new() {
            return Self::Jumps(jumps);
        }
        Self::Ticks(ticks())
    }

    /// Resolves at the next one, with the time after which it was due, if it was.
    async fn next(&mut self) -> Option<Duration> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Jumps(jumps) => {
                jumps.next().await;
                None
            }
            Self::Ticks(ticks) => {
                ticks.tick().await;
                Some(TICK)
            }
        }
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Returns whether the machine slept between two looks at the clocks, by what the monotonic clock and the wall clock say has
/// passed. The monotonic clock stands still in a sleep on Linux and macOS. On Windows it goes on, and only the tick, which was
/// due after the last argument, comes late.
fn is_sleep(monotonic: Duration, wall: Duration, due: Option<Duration>) -> bool {
    wall > monotonic + SLEPT || due.is_some_and(|due| monotonic > due + SLEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_noticed_whether_or_not_the_monotonic_clock_goes_on() {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let tick = Some(TICK);
        assert!(!is_sleep(TICK, TICK, tick));
        assert!(is_sleep(TICK, HOUR, tick), "Linux and macOS");
        assert!(is_sleep(HOUR, HOUR, tick), "Windows");
        // A busy machine is late, and somebody may set the clock back.
        assert!(!is_sleep(TICK * 3, TICK * 3, tick));
        assert!(!is_sleep(TICK, Duration::ZERO, tick));
        // An event may come at any time.
        assert!(!is_sleep(HOUR, HOUR, None));
        assert!(is_sleep(HOUR, HOUR * 2, None));
    }

    /// In the paused clock of the test an hour takes no time, and brings each timer that there is.
    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn nothing_runs_while_the_host_does_not_change() {
        use std::pin::pin;

        let mut watch = HostWatch::new();
        let mut changed = pin!(watch.changed());
        let mut polls = 0;
        let watched = std::future::poll_fn(|context| {
            polls += 1;
            changed.as_mut().poll(context).map(Some)
        });
        let hour = tokio::time::timeout(Duration::from_secs(60 * 60), watched);
        assert!(hour.await.is_err(), "nothing has changed");
        assert_eq!(polls, 2, "at the beginning and at the end");
    }
}
