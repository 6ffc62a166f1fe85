//! Event stream with resumption (MCP 2025-11-25, "Resumability and Redelivery").

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderValue;

use super::body::{BodyLimits, next_chunk};
use super::sse::{EventParser, SseEvent};
use super::{Failure, body, unusable};
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_net::http::Response;

/// The bounds for the reconnection time that a server asks for.
const MIN_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(300);

/// The reconnection time where the server names none, doubled up to the maximum.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Limits for the event ids that are remembered, to drop what a server sends again after a resume, and for their bytes
/// together.
const SEEN_IDS: usize = 256;
const SEEN_BYTES: usize = 64 * 1024;

/// One stream over all its connections.
#[derive(Debug)]
pub(super) struct EventStream {
    response: Response,
    parser: EventParser,
    seen: VecDeque<Bytes>,
    /// The bytes in `seen`.
    seen_bytes: usize,
    limits: BodyLimits,
    skipped: Skipped,
}

/// Events that held no message.
#[derive(Debug, Default)]
struct Skipped {
    count: u64,
    last: String,
}

impl EventStream {
    /// The stream whose first connection is `response`.
    pub(super) fn new(response: Response, limits: BodyLimits) -> Self {
        Self {
            response,
            parser: EventParser::new(limits.message),
            seen: VecDeque::new(),
            seen_bytes: 0,
            limits,
            skipped: Skipped::default(),
        }
    }

    /// Notes an event that holds no message. Some servers send one as a heartbeat, so there is one line in the
    /// log for a whole stream; `--debug` shows and counts the others.
    pub(super) fn skip(&mut self, host: &str, reason: &str) {
        self.skipped.count += 1;
        reason.clone_into(&mut self.skipped.last);
        match self.skipped.count {
            1 => tracing::warn!(host, "skipped an event that is no message: {reason}"),
            count => tracing::debug!(host, count, "skipped an event that is no message: {reason}"),
        }
    }

    /// Account of skipped events, for the error of a request whose response did not come: the rest of a sentence.
    pub(super) fn account(&self) -> String {
        let encoding = unusable::foreign_encoding(self.response.headers());
        let encoding = encoding.map_or_else(String::new, |encoding| format!("; {encoding}"));
        match (self.skipped.count, &self.skipped.last) {
            (0, _) => encoding,
            (1, reason) => format!("; one of its events was no message: {reason}{encoding}"),
            (count, reason) => {
                format!("; {count} of its events were no messages, the last: {reason}{encoding}")
            }
        }
    }

    /// The next event that has not been seen; `None` when the connection ended as it should.
    pub(super) async fn next(&mut self) -> Result<Option<SseEvent>, Failure> {
        loop {
            while let Some(event) = self.parser.next().map_err(|_| Failure::TooLarge {
                limit: self.limits.message,
            })? {
                if self.is_new(&event) {
                    return Ok(Some(event));
                }
            }
            match next_chunk(&mut self.response, self.limits.silence).await? {
                Some(chunk) => self.parser.push(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// The message that the end of the connection cut off before its blank line, if it is whole.
    pub(super) fn unfinished(&mut self) -> Option<Bytes> {
        self.parser.unfinished()
    }

    /// Goes on with another connection.
    pub(super) fn resume(&mut self, response: Response) {
        self.response = response;
        self.parser.reconnected();
    }

    /// The value of `Last-Event-ID`: the id that was seen last, if it is legal in a header.
    pub(super) fn cursor(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.parser.last_event_id()?).ok()
    }

    /// The reconnection time that the server asks for.
    pub(super) fn retry(&self) -> Option<Duration> {
        let retry = Duration::from_millis(self.parser.retry()?);
        Some(retry.clamp(MIN_RETRY, MAX_RETRY))
    }

    /// Lets the connection end in peace.
    pub(super) fn drain(self) {
        body::drain(self.response);
    }

    /// An event without data brings nothing that could come twice. Servers begin a stream with one, and
    /// some give its id to the first message as well.
    fn is_new(&mut self, event: &SseEvent) -> bool {
        let Some(id) = event.id.as_ref().filter(|_| !event.data.is_empty()) else {
            return true;
        };
        if self.seen.contains(id) {
            return false;
        }
        self.seen.push_back(id.clone());
        self.seen_bytes += id.len();
        while (self.seen.len() > SEEN_IDS || self.seen_bytes > SEEN_BYTES)
            && let Some(oldest) = self.seen.pop_front()
        {
            self.seen_bytes -= oldest.len();
        }
        true
    }
}

/// The pauses before a stream is opened again.
pub(super) const fn reconnect_backoff() -> Backoff {
    Backoff::new(FIRST_PAUSE, MAX_PAUSE)
}
