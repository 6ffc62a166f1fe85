//! Snapshot files of command outputs, in `tests/integration/commands/snapshots`.
//!
//! `MCP_BRIDGE_ACCEPT=1 cargo test --test integration -- snapshots::` writes them anew; the difference is then
//! there for review.

use std::path::Path;

use crate::program::CommandOutput;

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/integration/commands/snapshots"
);

/// The variable by which a person accepts what the commands say now.
const ACCEPT: &str = "MCP_BRIDGE_ACCEPT";

/// Parts of an output that differ from run to run, with the words that stand for them.
#[derive(Default)]
pub struct Volatile(Vec<(String, &'static str)>);

impl Volatile {
    /// Parts with the words that stand for them.
    pub fn new<T: Into<String>>(parts: impl IntoIterator<Item = (T, &'static str)>) -> Self {
        let parts = parts.into_iter().map(|(part, word)| (part.into(), word));
        let mut parts: Vec<_> = parts.collect();
        // A path before its beginning.
        parts.sort_by_key(|(part, _)| std::cmp::Reverse(part.len()));
        Self(parts)
    }

    fn replace(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, (part, word)| {
            text.replace(part, word)
        });
        without_measurements(&text.replace(env!("CARGO_PKG_VERSION"), "VERSION"))
    }
}

/// Compares what a command said with the file of that name.
pub fn is_as_committed(name: &str, line: &[&str], ran: &CommandOutput, volatile: &Volatile) {
    let line = volatile.replace(&[&["mcp-bridge"], line].concat().join(" "));
    let (stdout, stderr) = (volatile.replace(&ran.stdout), volatile.replace(&ran.stderr));
    let status = ran.status;
    let found =
        format!("$ {line}\nexit status {status}\n--- stdout ---\n{stdout}--- stderr ---\n{stderr}");
    let path = Path::new(FOLDER).join(format!("{name}.txt"));
    if std::env::var_os(ACCEPT).is_some() {
        std::fs::create_dir_all(FOLDER).expect("the folder");
        return std::fs::write(&path, found).expect("the file");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let committed = committed.replace("\r\n", "\n");
    assert!(
        found == committed,
        "{name} differs; if that is meant, run with {ACCEPT}=1\n--- committed\n{committed}\n--- found\n{found}"
    );
}

/// The address on this machine that leads to a sign-in page; its port is a free one.
fn is_short_address(word: &str) -> bool {
    let rest = word.strip_prefix("http://localhost:");
    let port = rest.and_then(|rest| rest.strip_suffix('/'));
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Milliseconds, times of the day and callback ports, which no two runs share.
fn without_measurements(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n']).collect::<Vec<_>>();
    let mut shown = String::new();
    for (at, word) in words.iter().enumerate() {
        let number = word.trim_end().trim_start_matches('(');
        let is_number =
            !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        let has_unit = words
            .get(at + 1)
            .is_some_and(|next| matches!(next.trim_end().trim_end_matches([',', ')', ';']), "ms"));
        if is_number && has_unit {
            shown.push_str(&word.replace(number, "N"));
        } else if is_short_address(word.trim_end()) {
            shown.push_str(&word.replace(word.trim_end(), "http://localhost:CALLBACK_PORT/"));
        } else {
            shown.push_str(word);
        }
    }
    shown
}
