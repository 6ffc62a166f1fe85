//! Eras and transports that a server supports: known in this process, and noted on disk for a day.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinSet, spawn_blocking};
use url::Url;

use mcp_bridge_net::http::bare;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::private_file::{private_folder, read_trusted, write_private};
use mcp_bridge_protocol::era::Revision;
use mcp_bridge_protocol::message::Message;

/// Lifetime of a note. A server that was of the legacy era alone may have learned the other one since, and would
/// never show it.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Folder of the notes, in the directory of the credentials.
const FOLDER: &str = "servers";
const LEVELS: usize = 1;

/// The layout of the file.
const FORMAT: u32 = 1;

/// The eras and transports that one server supports, as far as they are known. [`Self::load`] comes before anything
/// else. It is written in the pool for blocking work.
#[derive(Debug)]
pub(super) struct ServerSupport {
    loaded: OnceLock<()>,
    known: Arc<KnownSupport>,
    /// Tasks that write the note.
    saving: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct KnownSupport {
    note: SupportNote,
    facts: Mutex<SupportFacts>,
    /// The server's last answer to `server/discover`.
    discovered: Mutex<Option<Message>>,
    /// Held by whoever writes: the last to write has the last facts.
    writing: tokio::sync::Mutex<()>,
}

/// The file with the facts, if there is one.
#[derive(Debug, Clone)]
struct SupportNote {
    /// The server's URL as it may be shown.
    server: String,
    path: Option<PathBuf>,
}

/// Facts, none of which follows from the others: a server may speak both eras, and the legacy one over
/// either transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SupportFacts {
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
struct SupportFile {
    format: u32,
    /// The URL without its query, which may hold the user's key.
    server: String,
    /// Seconds since 1970.
    at: u64,
    #[serde(flatten)]
    known: SupportFacts,
}

/// Facts about a server from an earlier conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// Its URL, without the query.
    pub url: Url,
    /// Eras and transports, in words.
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
            .filter_map(|entry| SupportFile::read(&entry.path()));
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

impl SupportFacts {
    /// True if there is more to remember than that the server answers `initialize`, which everybody expects.
    fn say_something(self) -> bool {
        self.modern.is_some()
            || self.legacy == Some(false)
            || self.http_sse == Some(true)
            || self.accepts.is_some()
            || self.open == Some(true)
    }

    /// Eras and transports in words; none if they are not known.
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

impl SupportFile {
    /// The file at `path`, if it still counts.
    fn read(path: &Path) -> Option<Self> {
        let text = read_trusted(path, "the note of what a server speaks")?;
        let file: Self = serde_json::from_slice(&text).ok()?;
        let age = now().checked_sub(file.at)?;
        (file.format == FORMAT && age < LIFETIME.as_secs()).then_some(file)
    }
}

impl ServerSupport {
    /// For the server at `url`, with a note in `directory` if there is one. Reads nothing yet.
    pub(super) fn new(url: &Url, directory: Option<&Path>) -> Self {
        let name = hex(&Sha256::digest(url.as_str()));
        let note = SupportNote {
            server: bare(url).into(),
            path: directory.map(|directory| directory.join(FOLDER).join(name + ".json")),
        };
        Self {
            loaded: OnceLock::new(),
            known: Arc::new(KnownSupport {
                note,
                facts: Mutex::default(),
                discovered: Mutex::default(),
                writing: tokio::sync::Mutex::default(),
            }),
            saving: Mutex::default(),
        }
    }

    /// Reads the note of an earlier run, once.
    pub(super) fn load(&self) {
        // Read here, for what follows needs it, and a thread for one small file would be the only one of most sessions.
        self.loaded.get_or_init(|| {
            if let Some(facts) = self.known.note.read() {
                *self.known.facts.lock() = facts;
            }
        });
    }

    pub(super) fn is_modern_only(&self) -> bool {
        let facts = self.facts();
        facts.modern == Some(true) && facts.legacy == Some(false)
    }

    pub(super) fn is_legacy_only(&self) -> bool {
        self.facts().modern == Some(false)
    }

    /// Returns whether the server was last reached by HTTP+SSE.
    pub(super) fn is_http_sse(&self) -> bool {
        self.facts().http_sse == Some(true)
    }

    /// The version that the server last accepted in place of the app's.
    pub(super) fn accepted_version(&self) -> Option<Revision> {
        self.facts().accepts
    }

    /// The server's last answer to `server/discover`.
    pub(super) fn discovered(&self) -> Option<Message> {
        self.known.discovered.lock().clone()
    }

    /// The server has shown whether it speaks the modern era.
    pub(super) fn record_modern(&self, modern: bool) {
        self.record(|facts| facts.modern = Some(modern));
    }

    /// The server has shown whether it speaks the legacy era.
    pub(super) fn record_legacy(&self, legacy: bool) {
        self.record(|facts| facts.legacy = Some(legacy));
    }

    /// The server has shown whether it speaks HTTP+SSE.
    pub(super) fn record_http_sse(&self, http_sse: bool) {
        self.record(|facts| facts.http_sse = Some(http_sse));
    }

    /// The server has shown which version it accepts in place of the app's.
    pub(super) fn record_accepted_version(&self, version: Option<Revision>) {
        self.record(|facts| facts.accepts = version);
    }

    /// The server has listed its tools with a token, or without one.
    pub(super) fn record_open(&self, open: bool) {
        self.record(|facts| facts.open = Some(open));
    }

    /// The server has answered `server/discover`.
    pub(super) fn record_discovered(&self, answer: &Message) {
        *self.known.discovered.lock() = Some(answer.clone());
    }

    /// Waits until everything is on disk.
    pub(super) async fn saved(&self) {
        let saving = std::mem::take(&mut *self.saving.lock());
        saving.join_all().await;
    }

    fn facts(&self) -> SupportFacts {
        *self.known.facts.lock()
    }

    fn record(&self, fact: impl FnOnce(&mut SupportFacts)) {
        let (before, after) = {
            let mut facts = self.known.facts.lock();
            let before = *facts;
            fact(&mut facts);
            (before, *facts)
        };
        let worth_a_file = before != after && (after.say_something() || before.say_something());
        if !worth_a_file || self.known.note.path.is_none() {
            return;
        }
        let known = Arc::clone(&self.known);
        let mut saving = self.saving.lock();
        while saving.try_join_next().is_some() {}
        saving.spawn(async move { known.save().await });
    }
}

impl KnownSupport {
    async fn save(&self) {
        let _writing = self.writing.lock().await;
        let (note, facts) = (self.note.clone(), *self.facts.lock());
        let written = spawn_blocking(move || note.write(facts)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!("cannot remember the server's era: {error}");
        }
    }
}

impl SupportNote {
    fn read(&self) -> Option<SupportFacts> {
        SupportFile::read(self.path.as_ref()?).map(|file| file.known)
    }

    fn write(&self, facts: SupportFacts) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let Some(directory) = path.parent() else {
            return Ok(());
        };
        private_folder(directory, LEVELS)?;
        let file = SupportFile {
            format: FORMAT,
            server: self.server.clone(),
            at: now(),
            known: facts,
        };
        write_private(path, &file)
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

    fn load(url: &Url, directory: &Path) -> ServerSupport {
        let support = ServerSupport::new(url, Some(directory));
        support.load();
        support
    }

    #[tokio::test]
    async fn what_was_recorded_is_there_for_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let support = load(&server(), directory.path());
        support.record_modern(true);
        support.record_legacy(false);
        support.saved().await;
        assert!(load(&server(), directory.path()).is_modern_only());
        let other = Url::parse("https://mcp.example.com/other").unwrap();
        assert!(!load(&other, directory.path()).is_modern_only());
    }

    #[tokio::test]
    async fn an_old_or_broken_file_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let support = load(&server(), directory.path());
        support.record_modern(false);
        support.saved().await;
        let path = support.known.note.path.clone().unwrap();
        assert!(load(&server(), directory.path()).is_legacy_only());
        for text in [
            r#"{"format":1,"server":"x","at":1,"modern":false,"legacy":null}"#,
            r#"{"format":2,"server":"x","at":99999999999,"modern":false,"legacy":null}"#,
            "{",
            "",
        ] {
            fs::write(&path, text).unwrap();
            assert!(!load(&server(), directory.path()).is_legacy_only());
        }
    }

    #[tokio::test]
    async fn what_is_known_can_be_shown_and_is_kept_without_the_query() {
        let directory = tempfile::tempdir().unwrap();
        let with_key = Url::parse("https://mcp.example.com/mcp?key=hunter2").unwrap();
        let other = Url::parse("https://a.example.com/mcp").unwrap();
        for (url, is_modern) in [(with_key, true), (other, false)] {
            let support = load(&url, directory.path());
            support.record_modern(is_modern);
            support.saved().await;
        }
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

    #[tokio::test]
    async fn a_plain_legacy_server_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let support = load(&server(), directory.path());
        support.record_legacy(true);
        support.saved().await;
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
