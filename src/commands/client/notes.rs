//! Progress and log entries of the server, and questions that nobody can answer, on stderr.

use std::time::Instant;

use crate::commands::text::{cut, stderr_width};
use crate::log::Quota;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_text::printable;

/// Puts the cursor to the beginning of the line and empties it.
const EMPTY_LINE: &str = "\r\u{1b}[2K";

/// Lines on stderr. On a terminal, progress is one line that is written again and again.
#[derive(Debug)]
pub(super) struct Notes {
    /// Text of the progress line.
    progress: Mutex<Option<String>>,
    /// Limits what the server may have written here.
    quota: Mutex<Quota>,
}

/// Lines of the server in ten seconds: more than anybody reads.
const SERVER_LINES: u32 = 500;

impl Default for Notes {
    fn default() -> Self {
        Self {
            progress: Mutex::default(),
            quota: Mutex::new(Quota::new(SERVER_LINES)),
        }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        report_left_out(self.quota.lock().take_left_out());
    }
}

/// Tells how many lines of the server were left out.
fn report_left_out(left_out: u64) {
    if left_out > 0 {
        eprintln!("left out: {left_out} more lines of the server");
    }
}

impl Notes {
    /// Writes a line.
    pub(super) fn say(&self, text: &str) {
        self.clear();
        eprintln!("{}", printable::block(text));
    }

    /// Writes a line of the server's, if it has not written too many.
    pub(super) fn server_says(&self, text: &str) {
        if self.admits() {
            self.say(&text.replace('\n', "\n  "));
        }
    }

    fn admits(&self) -> bool {
        let admitted = self.quota.lock().admit(Instant::now());
        admitted.map(report_left_out).is_some()
    }

    /// Writes the line of progress anew.
    pub(super) fn progress(&self, text: String) {
        if stderr_width().is_none() && !self.admits() {
            return;
        }
        match stderr_width() {
            Some(columns) => eprint!("{EMPTY_LINE}{}", cut(&text, columns.saturating_sub(1))),
            None => eprintln!("{text}"),
        }
        *self.lock() = Some(text);
    }

    /// Takes the line of progress away.
    pub(super) fn clear(&self) {
        if self.lock().take().is_some() && stderr_width().is_some() {
            eprint!("{EMPTY_LINE}");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.progress.lock()
    }
}
