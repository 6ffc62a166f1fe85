//! SSE parser: event streams (WHATWG HTML, "Server-sent events").

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr2;

use mcp_bridge_net::http::json::BYTE_ORDER_MARK;

/// Limit for the length of an event id that is kept, in bytes. A longer one is none: it could not be sent back as a header.
const MAX_ID_BYTES: usize = 4 * 1024;

/// Limit for the memory that a stream keeps for further events while it is quiet, in bytes. There may be many streams.
const MAX_IDLE_BYTES: usize = 64 * 1024;

/// A dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// The event's type; `message` where the stream names none.
    pub(super) name: Bytes,
    /// The data, its lines joined by LF.
    pub(super) data: Bytes,
    /// The id that this event itself carried.
    pub(super) id: Option<Bytes>,
}

/// The event was longer than the parser keeps.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {limit} bytes")]
pub(super) struct TooLarge {
    limit: usize,
}

/// Cuts a byte stream into events, whatever pieces the bytes arrive in. Each byte is looked at once.
#[derive(Debug)]
pub(super) struct EventParser {
    buffer: BytesMut,
    /// The longest line that was cut out of the memory behind the buffer.
    longest: usize,
    /// The bytes of `buffer` that are known to hold no line end.
    scanned: usize,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    at_start: bool,
    limit: usize,
    name: Bytes,
    data: Data,
    /// The last event id of the stream.
    id: Option<Bytes>,
    /// The event that is being read has set `id`.
    id_is_new: bool,
    retry: Option<u64>,
}

/// The `data` lines of the event that is being read. Nearly every event has just one, which stays the
/// slice that it arrived in.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Data {
    fn push(&mut self, line: Bytes) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut lines = BytesMut::from(first);
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&line);
                Self::Many(lines)
            }
            Self::Many(mut lines) => {
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&line);
                Self::Many(lines)
            }
        };
    }

    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(line) => line.len(),
            Self::Many(lines) => lines.len(),
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        match std::mem::take(self) {
            Self::None => None,
            Self::One(line) => Some(line),
            Self::Many(lines) => Some(lines.freeze()),
        }
    }
}

impl EventParser {
    /// A parser for one stream, which refuses events above `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            longest: 0,
            scanned: 0,
            after_cr: false,
            at_start: true,
            limit,
            name: Bytes::new(),
            data: Data::None,
            id: None,
            id_is_new: false,
            retry: None,
        }
    }

    /// Takes the bytes that arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The reconnection time that the stream asked for, in milliseconds.
    pub(super) const fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The last event id, which survives the end of the connection.
    pub(super) const fn last_event_id(&self) -> Option<&Bytes> {
        self.id.as_ref()
    }

    /// Forgets the unfinished event of a connection that ended. Last event id and retry time stay.
    pub(super) fn reconnected(&mut self) {
        self.buffer = BytesMut::new();
        self.longest = 0;
        self.scanned = 0;
        self.after_cr = false;
        self.at_start = true;
        self.name = Bytes::new();
        self.data = Data::None;
        self.id_is_new = false;
    }

    /// The data of an event that the end of the stream cut off before its blank line.
    ///
    /// The standard discards it; a caller that can tell a whole message from half of one need not.
    pub(super) fn unfinished(&mut self) -> Option<Bytes> {
        let rest = self.buffer.split().freeze();
        self.scanned = 0;
        if !rest.is_empty() {
            self.field(&rest);
        }
        self.data.take().map(without_byte_order_mark)
    }

    /// The next event that is complete in what was pushed.
    pub(super) fn next(&mut self) -> Result<Option<SseEvent>, TooLarge> {
        while let Some(line) = self.line() {
            if !line.is_empty() {
                self.field(&line);
            } else if let Some(event) = self.dispatch() {
                return Ok(Some(event));
            }
            if self.data.len() > self.limit {
                return Err(TooLarge { limit: self.limit });
            }
        }
        if self.buffer.len() > self.limit {
            return Err(TooLarge { limit: self.limit });
        }
        Ok(None)
    }

    fn line(&mut self) -> Option<Bytes> {
        if self.at_start {
            let known = self.buffer.len().min(BYTE_ORDER_MARK.len());
            if self.buffer[..known] == BYTE_ORDER_MARK[..known] {
                if known < BYTE_ORDER_MARK.len() {
                    return None;
                }
                self.buffer.advance(known);
            }
            self.at_start = false;
        }
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
        }
        let Some(end) = memchr2(b'\n', b'\r', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let mut line = self.buffer.split_to(self.scanned + end + 1).freeze();
        self.scanned = 0;
        self.longest = self.longest.max(line.len());
        if self.longest > MAX_IDLE_BYTES && self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.longest = 0;
        }
        self.after_cr = line.ends_with(b"\r");
        line.truncate(line.len() - 1);
        Some(line)
    }

    fn field(&mut self, line: &Bytes) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let mut start = (colon + 1).min(line.len());
        if line.get(start) == Some(&b' ') {
            start += 1;
        }
        let value = line.slice(start..);
        match &line[..colon] {
            b"data" => self.data.push(value),
            b"event" => self.name = value,
            b"id" if !value.contains(&0) => {
                // Copied: the id outlives the buffer that it arrived in.
                let is_kept = !value.is_empty() && value.len() <= MAX_ID_BYTES;
                self.id = is_kept.then(|| Bytes::copy_from_slice(&value));
                self.id_is_new = true;
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let digits = String::from_utf8_lossy(&value);
                self.retry = Some(digits.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }

    /// Ends the event at its blank line. One without data lines is not dispatched; its id counts all the
    /// same (so does the empty "priming event" of MCP 2025-11-25, whose data is an empty line).
    fn dispatch(&mut self) -> Option<SseEvent> {
        let name = std::mem::take(&mut self.name);
        let id_is_new = std::mem::take(&mut self.id_is_new);
        let data = without_byte_order_mark(self.data.take()?);
        Some(SseEvent {
            name: if name.is_empty() {
                Bytes::from_static(b"message")
            } else {
                name
            },
            data,
            id: self.id.clone().filter(|_| id_is_new),
        })
    }
}

/// The data is JSON, which has no byte order mark, and some servers write one in front of it.
fn without_byte_order_mark(mut data: Bytes) -> Bytes {
    if data.starts_with(BYTE_ORDER_MARK) {
        data.advance(BYTE_ORDER_MARK.len());
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64;

    /// The events of `stream` as `name|data|id`, fed in pieces of `step` bytes.
    fn events(stream: &[u8], step: usize) -> Vec<String> {
        let mut parser = EventParser::new(LIMIT);
        let mut events = Vec::new();
        for piece in stream.chunks(step) {
            parser.push(piece);
            while let Some(event) = parser.next().expect("within the limit") {
                let part = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
                let id = event
                    .id
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |id| part(id));
                events.push(format!("{}|{}|{id}", part(&event.name), part(&event.data)));
            }
        }
        events
    }

    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        for step in 1..=stream.len() {
            assert_eq!(
                events(stream.as_bytes(), step),
                expected,
                "{step} bytes at a time"
            );
        }
    }

    #[test]
    fn lines_end_in_lf_cr_or_both_wherever_the_pieces_are_cut() {
        check(
            "data: a\n\ndata:b\r\rdata: ü\r\n\r\nevent: x\rdata: d\n\r\n",
            &["message|a|-", "message|b|-", "message|ü|-", "x|d|-"],
        );
    }

    #[test]
    fn a_byte_order_mark_is_dropped_before_the_stream_and_before_data() {
        check(
            "\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n",
            &["message|a|-", "message|c|-"],
        );
        check(
            "data: \u{feff}{}\n\ndata: {\ndata: \u{feff}}\n\n",
            &["message|{}|-", "message|{\n\u{feff}}|-"],
        );
    }

    #[test]
    fn data_lines_are_joined_and_one_blank_is_stripped() {
        check(
            "data:  a\ndata\ndata:b\ndata: c\n\n",
            &["message| a\n\nb\nc|-"],
        );
    }

    #[test]
    fn comments_and_unknown_fields_are_skipped() {
        check(
            ": keep-alive\n:\n\nfoo: bar\nevent: end\n\ndata: a\n\n",
            &["message|a|-"],
        );
    }

    #[test]
    fn an_event_has_the_id_that_it_sets_itself() {
        check(
            "id: 1\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid: 2\ndata: d\n\n",
            &["message|a|1", "message|b|-", "message|c|-", "message|d|2"],
        );
    }

    #[test]
    fn the_last_event_id_lasts_until_it_is_set_anew_or_reset() {
        let mut parser = EventParser::new(LIMIT);
        for (piece, expected) in [
            ("id: 1\ndata: a\n\n", Some("1")),
            ("data: b\n\n", Some("1")),
            ("id\n\n", None),
        ] {
            parser.push(piece.as_bytes());
            while parser.next().expect("within the limit").is_some() {}
            assert_eq!(
                parser.last_event_id().map(|id| &id[..]),
                expected.map(str::as_bytes)
            );
        }
    }

    #[test]
    fn an_event_without_data_still_sets_the_id() {
        let mut parser = EventParser::new(LIMIT);
        parser.push(b"id: 7\n\n");
        assert_eq!(parser.next(), Ok(None));
        assert_eq!(parser.last_event_id(), Some(&Bytes::from_static(b"7")));
    }

    #[test]
    fn retry_takes_digits_only() {
        for (line, expected) in [
            ("retry: 0", Some(0)),
            ("retry: 500", Some(500)),
            ("retry: 99999999999999999999999", Some(u64::MAX)),
            ("retry: -1", None),
            ("retry: abc", None),
            ("retry:", None),
        ] {
            let mut parser = EventParser::new(LIMIT);
            parser.push(format!("{line}\n\n").as_bytes());
            assert_eq!(parser.next(), Ok(None));
            assert_eq!(parser.retry(), expected, "{line}");
        }
    }

    #[test]
    fn an_event_above_the_limit_is_refused_however_it_is_made_up() {
        for stream in [
            format!("data: {}", "x".repeat(LIMIT + 1)),
            "data: 0123456789\n".repeat(LIMIT / 10 + 1),
        ] {
            let mut parser = EventParser::new(LIMIT);
            parser.push(stream.as_bytes());
            assert_eq!(parser.next(), Err(TooLarge { limit: LIMIT }));
        }
    }

    #[test]
    fn what_the_end_cut_off_can_be_asked_for() {
        for stream in ["data: {}\n", "data: {}"] {
            let mut parser = EventParser::new(LIMIT);
            parser.push(stream.as_bytes());
            assert_eq!(parser.next(), Ok(None));
            assert_eq!(parser.unfinished(), Some(Bytes::from_static(b"{}")));
        }
    }
}
