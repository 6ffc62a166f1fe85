//! Load of the machine, by which a reader can tell how much the figures are worth.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app;

/// Time for which the processors are watched.
const WATCH: Duration = Duration::from_secs(2);

/// Load of the machine while nothing was measured.
pub(crate) struct Load {
    processors: usize,
    /// The share of the processors' time that others took; none where it is not known.
    others: Option<f64>,
}

impl Load {
    /// Watches the machine. Nothing of the bench may run meanwhile.
    pub(crate) fn watch() -> Self {
        let before = ticks();
        app::pause(WATCH);
        let others = before
            .zip(ticks())
            .map(|((busy, all), (busy_now, all_now))| (busy_now - busy) / (all_now - all).max(1.0));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { processors, others }
    }

    fn share(&self) -> String {
        self.others.map_or_else(
            || "an unknown share".to_owned(),
            |share| format!("{:.0} %", share * 100.0),
        )
    }
}

/// A sentence for readers of the tables.
pub(crate) fn sentence(before: &Load, after: &Load) -> String {
    format!(
        "Load of the machine ({} processors): other processes took {} of their time just before the run, and {} just after it.",
        before.processors,
        before.share(),
        after.share()
    )
}

pub(crate) fn json(before: &Load, after: &Load) -> Value {
    json!({ "processors": before.processors, "others_before": before.others, "others_after": after.others })
}

/// Ticks of all processors since the start of the machine: busy ones, and all.
fn ticks() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; the rest is in user already.
    let all: f64 = ticks.iter().take(8).sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Some((all - idle, all))
}
