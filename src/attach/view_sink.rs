//! Lines of a view: entries of a recording, and the states of open ones where they have changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;

use crate::recording::{HarEntries, HarEntry, Sink};

/// Destination of a recording: who looks at the bridge.
pub(super) struct ViewSink {
    lines: Sender<Bytes>,
    /// Of each open exchange, the hash of what was told last.
    told: HashMap<u64, u64>,
}

/// A line.
#[derive(Debug, Deserialize)]
pub(super) struct ViewLine<'a> {
    exchange: Option<u64>,
    #[serde(rename = "isOpen")]
    is_open: bool,
    #[serde(borrow)]
    entry: &'a RawValue,
}

impl ViewSink {
    pub(super) fn new(lines: Sender<Bytes>) -> Self {
        Self {
            lines,
            told: HashMap::new(),
        }
    }

    fn send(&self, entry: &HarEntry<'_>, is_open: bool) {
        // If nobody looks any more, the recording is told so.
        let _ = self.lines.blocking_send(line(entry, is_open));
    }
}

/// An entry as a line.
pub(super) fn line(entry: &HarEntry<'_>, is_open: bool) -> Bytes {
    let (exchange, json) = (serde_json::json!(entry.exchange), &entry.json);
    format!("{{\"exchange\":{exchange},\"isOpen\":{is_open},\"entry\":{json}}}\n").into()
}

impl Sink for ViewSink {
    fn write(&mut self, entries: &HarEntries) -> io::Result<()> {
        for entry in entries.finished() {
            self.send(&entry, false);
        }
        let mut told = HashMap::new();
        for entry in entries.open() {
            let mut hasher = DefaultHasher::new();
            entry.json.hash(&mut hasher);
            let (hash, exchange) = (hasher.finish(), entry.exchange.unwrap_or_default());
            if self.told.get(&exchange) != Some(&hash) {
                self.send(&entry, true);
            }
            told.insert(exchange, hash);
        }
        self.told = told;
        Ok(())
    }
}

impl ViewLine<'_> {
    /// Gives it to another destination.
    pub(super) fn pass(&self, sink: &mut impl Sink) -> io::Result<()> {
        let entry = HarEntry {
            exchange: self.exchange,
            json: self.entry.get().into(),
        };
        sink.write(&if self.is_open {
            HarEntries::open_one(&entry)
        } else {
            HarEntries::finished_one(&entry)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(exchange: Option<u64>, json: &'static str) -> HarEntry<'static> {
        HarEntry {
            exchange,
            json: json.into(),
        }
    }

    struct Written(Vec<(bool, HarEntry<'static>)>);

    impl Sink for Written {
        fn write(&mut self, entries: &HarEntries) -> io::Result<()> {
            let all = entries.finished().map(|it| (false, it));
            let all = all.chain(entries.open().map(|it| (true, it)));
            self.0.extend(all.map(|(is_open, it)| {
                let json = it.json.into_owned().into();
                (is_open, HarEntry { json, ..it })
            }));
            Ok(())
        }
    }

    #[test]
    fn lines_become_the_entries_that_they_were_and_an_unchanged_one_is_told_once() {
        let (sender, mut lines) = tokio::sync::mpsc::channel(10);
        let mut sink = ViewSink::new(sender);
        let told = [
            HarEntries::finished_one(&entry(None, "{}")),
            HarEntries::open_one(&entry(Some(7), r#"{"a":1}"#)),
            HarEntries::open_one(&entry(Some(7), r#"{"a":1}"#)),
            HarEntries::open_one(&entry(Some(7), r#"{"a":2}"#)),
            HarEntries::finished_one(&entry(Some(7), r#"{"a":3}"#)),
        ];
        for entries in &told {
            sink.write(entries).unwrap();
        }
        drop(sink);
        let mut written = Written(Vec::new());
        while let Some(line) = lines.blocking_recv() {
            let line: ViewLine<'_> = serde_json::from_slice(&line).unwrap();
            line.pass(&mut written).unwrap();
        }
        let expected = [
            (false, entry(None, "{}")),
            (true, entry(Some(7), r#"{"a":1}"#)),
            (true, entry(Some(7), r#"{"a":2}"#)),
            (false, entry(Some(7), r#"{"a":3}"#)),
        ];
        assert_eq!(written.0, expected);
    }
}
