//! Messages of the benchmark: requests of the app, and expected responses, byte for byte.

use std::io::Write as _;
use std::sync::Mutex;

use bytes::Bytes;

pub(crate) const LEGACY: &str = "2025-11-25";
pub(crate) const MODERN: &str = "2026-07-28";

pub(crate) const JSON: &str = "application/json";
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// The member of `_meta` by which a request is one of the modern era.
pub(crate) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

const WHO: &str = concat!(
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"#,
    r#""io.modelcontextprotocol/clientCapabilities":{}"#
);

/// The era of MCP that one side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// Form of the server's answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// One JSON body.
    Json,
    /// An event stream.
    Sse,
}

/// Tool of a call.
#[derive(Debug, Clone)]
pub(crate) enum Tool {
    /// The text of the request back.
    Echo(Reply),
    /// A text of this many bytes.
    Give(usize, Reply),
    /// Nothing, for a text of this many bytes.
    Take(usize),
    /// An answer after so many milliseconds.
    Wait(u64),
    /// So many progress notifications on the response, and then the answer.
    Progress(usize),
    /// So many notifications on the session's own stream, and then the answer.
    Push(usize),
}

/// One request, and what has to come back.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) request: Bytes,
    /// The one text in the content of the result.
    pub(crate) text: Bytes,
    /// Notifications that come before the answer.
    pub(crate) notifications: usize,
    /// They come on the session's own stream.
    pub(crate) on_session: bool,
}

impl Call {
    pub(crate) fn new(id: u64, tool: &Tool, era: Era) -> Self {
        let mut text = Bytes::from(format!("answer {id}"));
        let mut notifications = 0;
        let (name, arguments) = match *tool {
            Tool::Echo(reply) => {
                text = Bytes::from(format!("echo {id} of a small text, as most arguments are"));
                let echoed = String::from_utf8_lossy(&text);
                (
                    "echo",
                    format!(r#""text":"{echoed}","as":"{}""#, reply.name()),
                )
            }
            Tool::Give(bytes, reply) => {
                text = pattern(bytes);
                (
                    "give",
                    format!(r#""count":{bytes},"as":"{}""#, reply.name()),
                )
            }
            Tool::Take(bytes) => {
                let taken = String::from_utf8_lossy(&pattern(bytes)).into_owned();
                ("take", format!(r#""text":"{taken}","tag":{id}"#))
            }
            Tool::Wait(milliseconds) => ("wait", format!(r#""count":{milliseconds},"tag":{id}"#)),
            Tool::Progress(count) => {
                notifications = count;
                ("progress", format!(r#""count":{count},"tag":{id}"#))
            }
            Tool::Push(count) => {
                notifications = count;
                ("push", format!(r#""count":{count},"tag":{id}"#))
            }
        };
        let meta = match (era, tool) {
            (Era::Modern, _) => format!(r#","_meta":{{{WHO}}}"#),
            (Era::Legacy, Tool::Progress(_)) => format!(r#","_meta":{{"progressToken":{id}}}"#),
            (Era::Legacy, _) => String::new(),
        };
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{{{arguments}}}{meta}}}}}"#
        );
        Self {
            id,
            request: request.into(),
            text,
            notifications,
            on_session: matches!(tool, Tool::Push(_)),
        }
    }

    /// Returns whether `line` is the answer as the server wrote it.
    pub(crate) fn is_answered_by(&self, line: &[u8], era: Era) -> bool {
        let head = answer_head(self.id);
        let tail = answer_tail(era).as_bytes();
        line.len() == head.len() + self.text.len() + tail.len()
            && line.starts_with(head.as_bytes())
            && line.ends_with(tail)
            && line[head.len()..][..self.text.len()] == self.text[..]
    }
}

impl Reply {
    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Sse => "sse",
        }
    }
}

/// Beginning of a response. The text follows, and then [`answer_tail`].
pub(crate) fn answer_head(id: impl std::fmt::Display) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#)
}

pub(crate) const fn answer_tail(era: Era) -> &'static str {
    match era {
        Era::Legacy => r#""}]}}"#,
        Era::Modern => r#""}],"resultType":"complete"}}"#,
    }
}

/// The progress notification of this number, counted from 0.
pub(crate) fn progress(token: impl std::fmt::Display, number: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{number}}}}}"#
    )
}

/// The notification of this number on the session's own stream.
pub(crate) fn pushed(number: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":{number}}}}}"#
    )
}

pub(crate) const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#
);

pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The first word of a modern app.
pub(crate) fn discover() -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{{"_meta":{{{WHO}}}}}}}"#
    )
}

/// The members of `_meta` by which a list says how many tools it is to have, in pages of how many.
pub(crate) const COUNT_KEY: &str = "bench/count";
pub(crate) const PAGE_KEY: &str = "bench/page";

/// Every tenth tool has a name that begins so, for a bridge that hides them.
pub(crate) const HIDDEN: &str = "hidden";

/// Tools in a list of so many that a bridge which hides some leaves.
pub(crate) const fn visible(count: usize) -> usize {
    count - count / 10
}

/// A request for the list of so many tools, in pages of this size.
pub(crate) fn list(id: u64, count: usize, page: usize) -> Bytes {
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{"_meta":{{"{COUNT_KEY}":{count},"{PAGE_KEY}":{page}}}}}}}"#
    );
    request.into()
}

/// A request for a further page.
pub(crate) fn list_from(id: u64, cursor: &str) -> Bytes {
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{"cursor":"{cursor}"}}}}"#
    );
    request.into()
}

/// Text that occurs once in each tool of a list.
pub(crate) const SCHEMA: &str = r#""inputSchema":"#;

/// Tools of these numbers, as they stand in a list.
pub(crate) fn tools(numbers: std::ops::Range<usize>) -> Bytes {
    let mut text = Vec::new();
    for number in numbers.clone() {
        let kind = if number % 10 == 9 { HIDDEN } else { "tool" };
        let comma = if number + 1 == numbers.end { "" } else { "," };
        write!(
            text,
            r#"{{"name":"{kind}-{number}","description":"A tool of the benchmark: it takes a text and gives it back.",{SCHEMA}{{"type":"object","properties":{{"text":{{"type":"string","description":"Any text"}}}},"required":["text"]}}}}{comma}"#
        )
        .expect("memory takes everything");
    }
    text.into()
}

/// A text of this many bytes in which no two places look alike for long.
pub(crate) fn pattern(bytes: usize) -> Bytes {
    /// The longest that was asked for: shorter ones are its beginning.
    static LONGEST: Mutex<Bytes> = Mutex::new(Bytes::new());
    let mut longest = LONGEST.lock().expect("nobody panics with it");
    if longest.len() < bytes {
        // A word is at most nine bytes.
        let mut text = Vec::with_capacity(bytes + 9);
        let mut word = 0_u32;
        while text.len() < bytes {
            write!(text, "{word:x} ").expect("memory takes everything");
            word += 1;
        }
        text.truncate(bytes);
        *longest = text.into();
    }
    longest.slice(..bytes)
}
