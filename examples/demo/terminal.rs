//! Terminal output of the demo: numbered steps, in colour where there is a terminal.

#![expect(
    clippy::disallowed_methods,
    reason = "this is no bridge: its output is for people"
)]

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::atomic::{AtomicU32, Ordering};

const BOLD: &str = "\x1b[1m";
const CYAN: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// The person's terminal, or the file or pipe that stands in for it.
pub(crate) struct Terminal {
    out: Stdout,
    coloured: bool,
    steps: AtomicU32,
}

impl Terminal {
    /// Standard output. Coloured if it is a terminal and the person did not say no
    /// (<https://no-color.org>).
    pub(crate) fn new() -> Self {
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let out = io::stdout();
        Self {
            coloured: out.is_terminal() && !no_color,
            out,
            steps: AtomicU32::new(0),
        }
    }

    /// Begins the next step.
    pub(crate) fn step(&self, title: &str) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        let number = self.paint(CYAN, &format!("{step}."));
        self.line(&format!("\n{number} {}", self.paint(BOLD, title)));
    }

    /// Says something that belongs to the step.
    pub(crate) fn detail(&self, text: impl Display) {
        self.line(&format!("   {text}"));
    }

    /// Shows a name and a value.
    pub(crate) fn value(&self, name: &str, value: impl Display) {
        self.detail(format_args!(
            "{} {value}",
            self.paint(DIM, &format!("{name:<16}"))
        ));
    }

    /// Says something that went well.
    pub(crate) fn success(&self, text: &str) {
        self.detail(format_args!("{} {text}", self.paint(GREEN, "✓")));
    }

    /// Says something that the person should notice.
    pub(crate) fn notice(&self, text: &str) {
        self.detail(self.paint(YELLOW, text));
    }

    /// Shows a line that the bridge wrote on stderr.
    pub(crate) fn bridge(&self, line: &str) {
        self.detail(self.paint(DIM, &format!("mcp-bridge │ {line}")));
    }

    /// Shows what the server heard.
    pub(crate) fn server(&self, heard: impl Display) {
        self.detail(self.paint(DIM, &format!("server     │ {heard}")));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.coloured {
            format!("{colour}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }

    /// Nobody may be reading any more; that is no reason to stop half-way.
    fn line(&self, text: &str) {
        let mut out = self.out.lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}
