//! Feed of recorded entries for the page: the latest state of each, bounded, with those to come.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use crate::recording::{HarEntries, HarEntry, Sink};
use mcp_bridge_net::mutex::Mutex;

/// Bytes of entries that are kept; the oldest give way.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Entries of a recording or of a connection.
#[derive(Debug)]
pub(super) struct Feed {
    state: Mutex<FeedState>,
    /// The number of the entry to come.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct FeedState {
    /// Empty where a later entry tells of the same exchange.
    entries: VecDeque<Option<Arc<str>>>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    /// The numbers of the entries about exchanges that are open.
    open: HashMap<u64, u64>,
}

impl Feed {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            next: watch::channel(0).0,
        })
    }

    /// Adds an entry.
    pub(super) fn push(&self, entry: &HarEntry<'_>, is_open: bool) {
        let mut state = self.state.lock();
        if !state.is_news(entry) {
            return;
        }
        let number = state.push(entry);
        if let (Some(exchange), true) = (entry.exchange, is_open) {
            state.open.insert(exchange, number);
        }
        self.next.send_replace(number + 1);
    }

    /// The first entry from this number on, with its own; `None` if there is none yet.
    pub(super) fn from(&self, number: u64) -> Option<(u64, Arc<str>)> {
        let state = self.state.lock();
        let at = usize::try_from(number.saturating_sub(state.first)).ok()?;
        let mut rest = state.entries.iter().enumerate().skip(at);
        rest.find_map(|(at, entry)| Some((state.first + at as u64, Arc::clone(entry.as_ref()?))))
    }

    /// Resolves once there is an entry of this number.
    pub(super) async fn has(&self, number: u64) {
        // The sender is in here.
        let _ = self.next.subscribe().wait_for(|next| *next > number).await;
    }
}

impl FeedState {
    /// Returns whether an entry says something else than the one before about its exchange.
    fn is_news(&self, entry: &HarEntry<'_>) -> bool {
        let known = entry.exchange.and_then(|it| self.open.get(&it));
        let known = known.and_then(|number| self.entries.get(self.place(*number)?)?.as_ref());
        known.is_none_or(|known| **known != *entry.json)
    }

    fn push(&mut self, entry: &HarEntry<'_>) -> u64 {
        let before = entry.exchange.and_then(|it| self.open.remove(&it));
        if let Some(before) = before.and_then(|number| self.place(number))
            && let Some(before) = self.entries.get_mut(before).and_then(Option::take)
        {
            self.bytes -= before.len();
        }
        self.bytes += entry.json.len();
        self.entries.push_back(Some(entry.json.as_ref().into()));
        while self.bytes > MAX_BYTES
            && let Some(oldest) = self.entries.pop_front()
        {
            self.first += 1;
            self.bytes -= oldest.map_or(0, |oldest| oldest.len());
        }
        self.first + self.entries.len() as u64 - 1
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }
}

/// The feed as the destination of a recording.
pub(super) struct FeedSink(pub(super) Arc<Feed>);

impl Sink for FeedSink {
    fn write(&mut self, entries: &HarEntries) -> io::Result<()> {
        for entry in entries.finished() {
            self.0.push(&entry, false);
        }
        for entry in entries.open() {
            self.0.push(&entry, true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(exchange: Option<u64>, json: &str) -> HarEntry<'_> {
        HarEntry {
            exchange,
            json: json.into(),
        }
    }

    fn finished(exchange: Option<u64>, json: &str) -> HarEntries {
        HarEntries::finished_one(&entry(exchange, json))
    }

    fn open(exchange: u64, json: &str) -> HarEntries {
        HarEntries::open_one(&entry(Some(exchange), json))
    }

    fn all(feed: &Feed) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let mut number = 0;
        while let Some((at, entry)) = feed.from(number) {
            found.push((at, entry.to_string()));
            number = at + 1;
        }
        found
    }

    #[test]
    fn of_each_exchange_the_latest_state_is_there() {
        let feed = Feed::new();
        let mut sink = FeedSink(Arc::clone(&feed));
        sink.write(&finished(None, "a")).unwrap();
        sink.write(&open(7, "open")).unwrap();
        // Nothing new about the exchange.
        sink.write(&finished(None, "b")).unwrap();
        sink.write(&open(7, "open")).unwrap();
        let expected = [(0, "a"), (1, "open"), (2, "b")];
        assert_eq!(all(&feed), expected.map(|(at, it)| (at, it.to_owned())));
        sink.write(&open(7, "more")).unwrap();
        sink.write(&finished(Some(7), "ended")).unwrap();
        let expected = [(0, "a"), (2, "b"), (4, "ended")];
        assert_eq!(all(&feed), expected.map(|(at, it)| (at, it.to_owned())));
    }

    #[test]
    fn the_oldest_entries_give_way() {
        let feed = Feed::new();
        let long = "x".repeat(MAX_BYTES / 4);
        for _ in 0..10 {
            feed.push(&entry(None, &long), false);
        }
        let kept: Vec<_> = all(&feed).into_iter().map(|(at, _)| at).collect();
        assert_eq!(kept, [6, 7, 8, 9]);
    }
}
