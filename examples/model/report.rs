//! The history of a run, and what was wrong in it.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

/// Events that are shown when something is wrong; the file has all.
const SHOWN_EVENTS: usize = 60;

/// Violations that are kept. The first says most.
const MOST_VIOLATIONS: usize = 20;

/// Record of the run so far. Cheap to clone; all clones share one record.
#[derive(Clone)]
pub(crate) struct Report(Arc<Inner>);

struct Inner {
    started: Instant,
    state: Mutex<State>,
}

struct State {
    last: VecDeque<String>,
    file: File,
    violations: Vec<String>,
    counts: BTreeMap<String, u64>,
    step: u64,
}

impl Report {
    /// A report whose events go to a file as well.
    pub(crate) fn new(file: &Path) -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            state: Mutex::new(State {
                last: VecDeque::new(),
                file: File::create(file).expect("the directory is ours"),
                violations: Vec::new(),
                counts: BTreeMap::new(),
                step: 0,
            }),
        }))
    }

    /// Enters something that happened.
    pub(crate) fn event(&self, text: impl AsRef<str>) {
        let mut state = self.state();
        let line = format!(
            "{:>9.3} {}",
            self.0.started.elapsed().as_secs_f64(),
            text.as_ref()
        );
        let _ = writeln!(state.file, "{line}");
        state.last.push_back(line);
        if state.last.len() > SHOWN_EVENTS {
            state.last.pop_front();
        }
    }

    /// Enters something that must not happen.
    pub(crate) fn violate(&self, text: impl AsRef<str>) {
        self.event(format!("VIOLATION: {}", text.as_ref()));
        let mut state = self.state();
        if state.violations.len() < MOST_VIOLATIONS {
            let text = format!("{} (step {})", text.as_ref(), state.step);
            state.violations.push(text);
        }
    }

    /// Counts something for the summary.
    pub(crate) fn count(&self, name: &str) {
        let mut state = self.state();
        match state.counts.get_mut(name) {
            Some(count) => *count += 1,
            None => _ = state.counts.insert(name.to_owned(), 1),
        }
    }

    pub(crate) fn at_step(&self, number: u64) {
        self.state().step = number;
    }

    pub(crate) fn has_violations(&self) -> bool {
        !self.state().violations.is_empty()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    pub(crate) fn last_events(&self) -> Vec<String> {
        self.state().last.iter().cloned().collect()
    }

    /// Counts of each event, several on a line.
    pub(crate) fn summary(&self) -> String {
        const WIDTH: usize = 100;
        let mut lines = String::new();
        let mut width = 0;
        for (name, count) in &self.state().counts {
            let item = format!("{name} {count}, ");
            if width + item.len() > WIDTH {
                lines.push('\n');
                width = 0;
            }
            width += item.len();
            lines.push_str(&item);
        }
        lines.trim_end_matches(", ").to_owned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics with it")
    }
}
