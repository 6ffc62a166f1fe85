//! Cache of the eras and transports that a server supports, kept for a day.

use std::path::{Path, PathBuf};
use std::sync::MutexGuard;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use mcp_bridge_net::http::bare;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::private_file::{private_folder, read_trusted, write_private};
use mcp_bridge_protocol::era::Revision;
use mcp_bridge_protocol::message::Message;

/// How long a verdict counts. A server that was of the legacy era alone may have learned the other one
/// since, and would never show it.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the verdicts lie, in the directory of the credentials.
const FOLDER: &str = "servers";
const LEVELS: usize = 1;

/// The layout of the file.
const FORMAT: u32 = 1;

/// The verdict on one server.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The server's URL as it may be shown.
    server: String,
    file: Option<PathBuf>,
    state: Mutex<Option<State>>,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    /// The server's last answer to `server/discover`.
    discovered: Option<Message>,
}

/// Facts, none of which follows from the others: a server may speak both eras, and the legacy one over
/// either transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    modern: Option<bool>,
    legacy: Option<bool>,
    #[serde(default)]
    http_sse: Option<bool>,
    /// The version that it accepts in `initialize`, where it refused the app's.
    #[serde(default)]
    accepts: Option<Revision>,
    /// True if it has listed its tools to who had no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    format: u32,
    /// The URL without its query, which may hold the user's key.
    server: String,
    /// Seconds since 1970.
    at: u64,
    #[serde(flatten)]
    known: Known,
}

/// What is known of a server from an earlier conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// Its URL, without the query.
    pub url: Url,
    /// What it speaks, in words.
    pub speaks: &'static str,
    /// True if it serves people who have not signed in.
    pub is_open: bool,
}

impl KnownServer {
    /// All servers of which something is known, as far as `directory` has it and it is not out of date.
    #[must_use]
    pub fn all(directory: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(directory.join(FOLDER)) else {
            return Vec::new();
        };
        let files = entries
            .flatten()
            .filter_map(|entry| File::read(&entry.path()));
        let mut known: Vec<_> = files
            .filter_map(|file| {
                Some(Self {
                    url: Url::parse(&file.server).ok()?,
                    speaks: file.known.in_words()?,
                    is_open: file.known.open == Some(true),
                })
            })
            .collect();
        known.sort_by(|a, b| a.url.cmp(&b.url));
        known
    }
}

impl Known {
    /// What the server speaks; none if that is not known.
    fn in_words(self) -> Option<&'static str> {
        match (self.modern, self.legacy, self.http_sse) {
            (_, _, Some(true)) => Some("MCP up to 2025-11-25, over the older HTTP+SSE"),
            (Some(true), Some(false), _) => Some("MCP 2026-07-28 alone"),
            (Some(true), Some(true), _) => Some("MCP 2026-07-28, and up to 2025-11-25"),
            (Some(true), None, _) => Some("MCP 2026-07-28"),
            (Some(false), _, _) | (None, Some(true), _) => Some("MCP up to 2025-11-25"),
            (None, Some(false) | None, _) => None,
        }
    }
}

impl File {
    /// The file at `path`, if it still counts.
    fn read(path: &Path) -> Option<Self> {
        let text = read_trusted(path, "the note of what a server speaks")?;
        let file: Self = serde_json::from_slice(&text).ok()?;
        let age = now().checked_sub(file.at)?;
        (file.format == FORMAT && age < LIFETIME.as_secs()).then_some(file)
    }
}

impl Verdict {
    /// The verdict on the server at `url`, kept in `directory` if there is one. Reads nothing yet.
    pub(super) fn new(url: &Url, directory: Option<&Path>) -> Self {
        let name = hex(&Sha256::digest(url.as_str()));
        Self {
            server: bare(url).into(),
            file: directory.map(|directory| directory.join(FOLDER).join(name + ".json")),
            state: Mutex::new(None),
        }
    }

    pub(super) fn is_modern_only(&self) -> bool {
        let known = self.known();
        known.modern == Some(true) && known.legacy == Some(false)
    }

    pub(super) fn is_legacy_only(&self) -> bool {
        self.known().modern == Some(false)
    }

    /// The server has shown whether it speaks the modern era.
    pub(super) fn is_modern(&self, modern: bool) {
        self.learn(|known| known.modern = Some(modern));
    }

    /// The server has shown whether it speaks the legacy era.
    pub(super) fn is_legacy(&self, legacy: bool) {
        self.learn(|known| known.legacy = Some(legacy));
    }

    /// Whether the server was last reached by HTTP+SSE.
    pub(super) fn is_http_sse(&self) -> bool {
        self.known().http_sse == Some(true)
    }

    /// The server has shown whether it speaks HTTP+SSE.
    pub(super) fn speaks_http_sse(&self, http_sse: bool) {
        self.learn(|known| known.http_sse = Some(http_sse));
    }

    /// The version that the server last accepted in place of the app's.
    pub(super) fn accepted(&self) -> Option<Revision> {
        self.known().accepts
    }

    /// The server has shown which version it accepts in place of the app's.
    pub(super) fn accepts(&self, version: Option<Revision>) {
        self.learn(|known| known.accepts = version);
    }

    /// The server has listed its tools with a token, or without one.
    pub(super) fn record_open(&self, open: bool) {
        self.learn(|known| known.open = Some(open));
    }

    pub(super) fn discovered(&self) -> Option<Message> {
        self.lock().as_ref()?.discovered.clone()
    }

    pub(super) fn set_discovered(&self, answer: &Message) {
        self.loaded(|state| state.discovered = Some(answer.clone()));
    }

    fn known(&self) -> Known {
        self.loaded(|state| state.known)
    }

    fn learn(&self, fact: impl FnOnce(&mut Known)) {
        let (before, after) = self.loaded(|state| {
            let before = state.known;
            fact(&mut state.known);
            (before, state.known)
        });
        // That a server answers `initialize` is what everybody expects: not worth a file.
        let says_something = |known: Known| {
            known.modern.is_some()
                || known.legacy == Some(false)
                || known.http_sse == Some(true)
                || known.accepts.is_some()
                || known.open == Some(true)
        };
        let worth_a_file = before != after && (says_something(after) || says_something(before));
        if worth_a_file && let Err(error) = self.save(after) {
            tracing::debug!("cannot remember the server's era: {error}");
        }
    }

    fn loaded<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let state = state.get_or_insert_with(|| State {
            known: self.load().unwrap_or_default(),
            discovered: None,
        });
        use_it(state)
    }

    fn load(&self) -> Option<Known> {
        File::read(self.file.as_ref()?).map(|file| file.known)
    }

    fn save(&self, known: Known) -> io::Result<()> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let Some(directory) = path.parent() else {
            return Ok(());
        };
        private_folder(directory, LEVELS)?;
        let file = File {
            format: FORMAT,
            server: self.server.clone(),
            at: now(),
            known,
        };
        write_private(path, &file)
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock()
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Url {
        Url::parse("https://mcp.example.com/mcp").unwrap()
    }

    #[test]
    fn a_verdict_is_there_for_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let verdict = Verdict::new(&server(), Some(directory.path()));
        verdict.is_modern(true);
        verdict.is_legacy(false);
        assert!(Verdict::new(&server(), Some(directory.path())).is_modern_only());
        let other = Url::parse("https://mcp.example.com/other").unwrap();
        assert!(!Verdict::new(&other, Some(directory.path())).is_modern_only());
    }

    #[test]
    fn an_old_or_broken_file_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let verdict = Verdict::new(&server(), Some(directory.path()));
        verdict.is_modern(false);
        let path = verdict.file.unwrap();
        for text in [
            r#"{"format":1,"server":"x","at":1,"modern":false,"legacy":null}"#,
            r#"{"format":2,"server":"x","at":99999999999,"modern":false,"legacy":null}"#,
            "{",
            "",
        ] {
            fs::write(&path, text).unwrap();
            assert!(!Verdict::new(&server(), Some(directory.path())).is_legacy_only());
        }
    }

    #[test]
    fn what_is_known_can_be_shown_and_is_kept_without_the_query() {
        let directory = tempfile::tempdir().unwrap();
        let with_key = Url::parse("https://mcp.example.com/mcp?key=hunter2").unwrap();
        Verdict::new(&with_key, Some(directory.path())).is_modern(true);
        let other = Url::parse("https://a.example.com/mcp").unwrap();
        Verdict::new(&other, Some(directory.path())).is_modern(false);
        let known = KnownServer::all(directory.path());
        let shown: Vec<_> = known
            .iter()
            .map(|it| (it.url.as_str(), it.speaks))
            .collect();
        assert_eq!(
            shown,
            [
                ("https://a.example.com/mcp", "MCP up to 2025-11-25"),
                ("https://mcp.example.com/mcp", "MCP 2026-07-28"),
            ]
        );
        for entry in fs::read_dir(directory.path().join(FOLDER)).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_plain_legacy_server_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        Verdict::new(&server(), Some(directory.path())).is_legacy(true);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
