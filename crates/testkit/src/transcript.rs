//! Messages that the app got, each checked against the schema of the revision that the app speaks.
//!
//! A message that the server sent just so is the server's own business: fault servers break the protocol on
//! purpose. Everything else was made or changed by the bridge, and has to be valid.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, value::RawValue};

use crate::{envelope::Envelope, modern, schema::Schema};

/// A message that is larger is not checked, in bytes: its text would be kept to the end of the test.
const LARGEST_CHECKED: usize = 256 * 1024;

/// Messages that are kept until they are checked at the end; no test has as many.
const MOST_CHECKED: usize = 10_000;

/// The newest revision with a handshake, for an app that has not made any.
const NEWEST_LEGACY: &str = "2025-11-25";

/// Messages that the app wrote and got, as far as the check needs them.
#[derive(Debug, Default)]
pub struct Transcript {
    /// The revision that the app was told by the answer to its `initialize`.
    revision: Option<String>,
    asked: HashMap<String, Asked>,
    received: Vec<Received>,
}

#[derive(Debug, Clone)]
struct Asked {
    method: String,
    is_modern: bool,
}

#[derive(Debug)]
struct Received {
    text: String,
    revision: String,
    /// The method of the request that it answers, if it answers one.
    answers: Option<String>,
}

impl Transcript {
    /// Enters a message that the app writes.
    pub fn write(&mut self, message: &Envelope) {
        let (Some(id), Some(method)) = (message.id(), message.method()) else {
            return;
        };
        let version = "io.modelcontextprotocol/protocolVersion";
        let is_modern = method == "server/discover"
            || message
                .params()
                .is_some_and(|params| params.contains(version));
        let asked = Asked { method, is_modern };
        self.asked.insert(id.to_owned(), asked);
    }

    /// Enters a message that the app reads.
    pub fn read(&mut self, text: &str, message: &Envelope) {
        let asked = message.id().filter(|_| message.is_response());
        let asked = asked.and_then(|id| self.asked.get(id)).cloned();
        if let Some(asked) = &asked
            && asked.method == "initialize"
            && let Some(result) = message.result()
            && let Ok(result) = serde_json::from_str::<Value>(result)
        {
            self.revision = result["protocolVersion"].as_str().map(str::to_owned);
        }
        if text.len() > LARGEST_CHECKED || self.received.len() >= MOST_CHECKED {
            return;
        }
        let is_modern = match &asked {
            Some(asked) => asked.is_modern,
            // What comes on a subscription, and the end of one, belongs to an app without a handshake.
            None => text.contains(modern::SUBSCRIPTION_KEY) || self.speaks_modern_alone(),
        };
        let revision = if is_modern {
            modern::VERSION
        } else {
            self.revision.as_deref().unwrap_or(NEWEST_LEGACY)
        };
        self.received.push(Received {
            text: text.to_owned(),
            revision: revision.to_owned(),
            answers: asked.map(|asked| asked.method),
        });
    }

    fn speaks_modern_alone(&self) -> bool {
        self.revision.is_none() && self.asked.values().any(|asked| asked.is_modern)
    }

    /// Faults of the messages that the server did not send just so.
    pub fn faults(&self, sent: &Sent) -> Vec<String> {
        let made = self
            .received
            .iter()
            .filter(|received| !sent.contains(&received.text));
        made.filter_map(Received::fault).collect()
    }
}

impl Received {
    fn fault(&self) -> Option<String> {
        // Revisions that a test has made up have no schema.
        let schema = Schema::of(&self.revision)?;
        let message: Value = serde_json::from_str(&self.text).ok()?;
        let checked = match (message["method"].as_str(), message.get("result")) {
            (Some(method), _) => schema.check_sent(method, &message),
            (None, Some(result)) => {
                schema.check_result(self.answers.as_deref().unwrap_or_default(), result)
            }
            (None, None) => schema.check_error(&message),
        };
        let Self { text, revision, .. } = self;
        let why = checked.err()?;
        Some(format!("not valid in MCP {revision}: {why}\n{text}"))
    }
}

/// The messages that a server has sent. Ids do not count: the bridge has some of its own.
#[derive(Debug, Clone, Default)]
pub struct Sent(HashSet<[String; 4]>);

impl Sent {
    /// Enters a body of an HTTP answer: one message, a batch, or an event stream.
    pub fn add_body(&mut self, body: &[u8]) {
        let text = String::from_utf8_lossy(body);
        self.add(&text);
        let mut data = Vec::new();
        for line in text.lines().chain([""]) {
            match line.strip_prefix("data:") {
                Some(part) => data.push(part.strip_prefix(' ').unwrap_or(part)),
                None if line.is_empty() => self.add(&std::mem::take(&mut data).join("\n")),
                None => {}
            }
        }
    }

    fn add(&mut self, text: &str) {
        if text.len() > LARGEST_CHECKED {
            return;
        }
        if let Ok(batch) = serde_json::from_str::<Vec<Box<RawValue>>>(text) {
            for message in &batch {
                self.add(message.get());
            }
        } else if let Some(key) = key(text) {
            self.0.insert(key);
        }
    }

    fn contains(&self, text: &str) -> bool {
        key(text).is_some_and(|key| self.0.contains(&key))
    }
}

/// All of a message but its id, on one line.
fn key(text: &str) -> Option<[String; 4]> {
    let message = Envelope::parse(text)?;
    let error = message.error_text();
    let parts = [
        message.method().unwrap_or_default(),
        message.params().unwrap_or_default().to_owned(),
        message.result().unwrap_or_default().to_owned(),
        error.unwrap_or_default().to_owned(),
    ];
    Some(parts.map(|part| part.replace(['\n', '\r'], " ")))
}
