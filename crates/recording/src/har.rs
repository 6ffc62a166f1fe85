//! HAR 1.2 entries as text. `_mcp` says of which kind one is, and what HAR has no place for.
//!
//! The text is put together from its constant parts, as a call makes three entries, and a serializer costs several times
//! as much.

use std::borrow::Cow;

/// Separator before each entry.
pub(super) const SEPARATOR: &[u8] = b",\n";

/// The rest of a request that is none, up to the size of its body, behind its method and URL.
pub(super) const STUB_REQUEST: &[u8] = br#"","httpVersion":"","cookies":[],"headers":[],"queryString":[],"headersSize":-1,"bodySize":"#;

/// No response.
pub(super) const NO_RESPONSE: &[u8] = br#""response":{"status":0,"statusText":"","httpVersion":"","cookies":[],"headers":[],"content":{"size":0,"mimeType":""},"redirectURL":"","headersSize":-1,"bodySize":-1"#;

/// The response of an entry that has a text alone, up to the size of that.
pub(super) const STUB_RESPONSE: &[u8] = br#""response":{"status":0,"statusText":"","httpVersion":"","cookies":[],"headers":[],"content":{"size":"#;

/// Part between the response of an entry that is no exchange and its kind.
pub(super) const NO_TIMINGS: &[u8] = br#"},"cache":{},"timings":{"send":0,"wait":0,"receive":0},"#;

/// Entries to be written: those that are finished, and behind them those of exchanges that are open.
#[derive(Debug, Default)]
pub struct HarEntries {
    /// All entries, each behind a separator.
    json: Vec<u8>,
    /// Of each entry, its exchange and its end.
    ends: Vec<(Option<u64>, usize)>,
    /// Number of those that are finished.
    finished: usize,
}

/// An entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HarEntry<'a> {
    /// Number of the HTTP exchange that it is about.
    pub exchange: Option<u64>,
    /// The entry as JSON, on one line.
    pub json: Cow<'a, str>,
}

impl HarEntries {
    /// A finished entry.
    #[must_use]
    pub fn finished_one(entry: &HarEntry<'_>) -> Self {
        let mut entries = Self::default();
        entries.add(entry);
        entries.finished = 1;
        entries
    }

    /// The entry of an open exchange.
    #[must_use]
    pub fn open_one(entry: &HarEntry<'_>) -> Self {
        let mut entries = Self::default();
        entries.add(entry);
        entries
    }

    /// The finished entries.
    pub fn finished(&self) -> impl Iterator<Item = HarEntry<'_>> {
        (0..self.finished).map(|at| self.entry(at))
    }

    /// The entries of exchanges that are open.
    pub fn open(&self) -> impl Iterator<Item = HarEntry<'_>> {
        (self.finished..self.ends.len()).map(|at| self.entry(at))
    }

    /// All entries, each behind [`SEPARATOR`], and the length of the finished ones.
    pub(super) fn json(&self) -> (&[u8], usize) {
        (&self.json, self.start(self.finished))
    }

    /// Length of the entries of open exchanges.
    pub(super) fn open_bytes(&self) -> usize {
        self.json.len() - self.start(self.finished)
    }

    /// Forgets all, so that the memory can be used again.
    pub(super) fn clear(&mut self) {
        /// Memory that is kept, in bytes.
        const SPARE_BYTES: usize = 1024 * 1024;
        self.json.clear();
        self.json.shrink_to(SPARE_BYTES);
        self.ends.clear();
        self.finished = 0;
    }

    /// Adds a finished entry, which `write` appends.
    pub(super) fn finish(&mut self, exchange: Option<u64>, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert_eq!(self.finished, self.ends.len(), "open ones come last");
        self.append(exchange, write);
        self.finished += 1;
    }

    /// Adds the entry of an open exchange.
    pub(super) fn keep_open(&mut self, exchange: u64, json: &[u8]) {
        self.append(Some(exchange), |out| out.extend_from_slice(json));
    }

    fn append(&mut self, exchange: Option<u64>, write: impl FnOnce(&mut Vec<u8>)) {
        self.json.extend_from_slice(SEPARATOR);
        write(&mut self.json);
        self.ends.push((exchange, self.json.len()));
    }

    fn add(&mut self, entry: &HarEntry<'_>) {
        self.append(entry.exchange, |out| {
            out.extend_from_slice(entry.json.as_bytes());
        });
    }

    fn entry(&self, at: usize) -> HarEntry<'_> {
        let (exchange, end) = self.ends[at];
        let json = &self.json[self.start(at) + SEPARATOR.len()..end];
        HarEntry {
            exchange,
            json: String::from_utf8_lossy(json),
        }
    }

    /// End of the entry before.
    fn start(&self, at: usize) -> usize {
        let before = at.checked_sub(1).and_then(|at| self.ends.get(at));
        before.map_or(0, |(_, end)| *end)
    }
}
