//! Rate limit for log lines from one place of the code: servers and apps cause lines, and a log that fills the disk
//! is of no use. What is left out is counted, and the count is logged.

use std::collections::HashMap;
use std::sync::{LazyLock, MutexGuard};
use std::time::{Duration, Instant};

use mcp_bridge_net::mutex::Mutex;
use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

/// The period that the limits are for.
const PERIOD: Duration = Duration::from_secs(10);

/// Lines of one place of the code in a period: what a person would read, and what a search may look for.
const LINES: u32 = 50;
const DEBUG_LINES: u32 = 500;

/// Lines about messages, of which there is one for each.
const MESSAGE_LINES: u32 = 20_000;

/// The module whose lines are about messages.
const MESSAGE_TARGET: &str = "mcp_bridge_core::endpoint::wire_log";

/// Lines of each place of the code in its present period. As many entries as the code has places.
static PLACES: LazyLock<Mutex<HashMap<Identifier, LogSite>>> = LazyLock::new(Mutex::default);

struct LogSite {
    quota: Quota,
    location: String,
}

/// A limit on lines of one kind.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u32,
    since: Instant,
    lines: u32,
    left_out: u64,
}

/// Returns whether there is room for another line of this place; if so, how many were left out before it.
pub(super) fn admit(metadata: &Metadata<'_>) -> Option<u64> {
    let mut places = places();
    let place = places
        .entry(metadata.callsite())
        .or_insert_with(|| LogSite::new(metadata));
    place.quota.admit(Instant::now())
}

/// Takes the counts of lines that were left out and not told of yet, with the place of the code it would have come
/// from.
pub(super) fn take_left_out() -> Vec<(u64, String)> {
    let mut places = places();
    let places = places.values_mut();
    places
        .map(|place| (place.quota.take_left_out(), place.location.clone()))
        .filter(|(left_out, _)| *left_out > 0)
        .collect()
}

fn places() -> MutexGuard<'static, HashMap<Identifier, LogSite>> {
    PLACES.lock()
}

fn limit(metadata: &Metadata<'_>) -> u32 {
    if metadata.target() == MESSAGE_TARGET {
        MESSAGE_LINES
    } else if *metadata.level() >= Level::DEBUG {
        DEBUG_LINES
    } else {
        LINES
    }
}

impl LogSite {
    fn new(metadata: &Metadata<'_>) -> Self {
        let module = metadata.module_path().unwrap_or_default();
        let (_, module) = module.split_once("::").unwrap_or_default();
        Self {
            quota: Quota::new(limit(metadata)),
            location: format!("{}, line {}", module, metadata.line().unwrap_or_default()),
        }
    }
}

impl Quota {
    /// So many lines in each period.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            since: Instant::now(),
            lines: 0,
            left_out: 0,
        }
    }

    /// Returns whether there is room for another line; if so, how many were left out before it.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= PERIOD {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines >= self.limit {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(self.take_left_out())
    }

    /// Takes the number of lines that were left out and not told of yet.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_told_in_the_next_period() {
        let begin = Instant::now();
        let mut quota = Quota::new(2);
        quota.since = begin;
        let mut admit = |seconds| quota.admit(begin + Duration::from_secs(seconds));
        assert_eq!(admit(0), Some(0));
        assert_eq!(admit(1), Some(0));
        assert_eq!(admit(2), None);
        assert_eq!(admit(9), None);
        assert_eq!(admit(10), Some(2));
        assert_eq!(admit(11), Some(0));
        assert_eq!(admit(12), None);
    }
}
