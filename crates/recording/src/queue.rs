//! Queue of observed events on their way to the thread that writes them.
//!
//! Events are copied into one text, which is used again: nothing is allocated for an event, and no buffer of a
//! connection is kept from being used again.

use std::mem::size_of;
use std::time::SystemTime;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Version};

use mcp_bridge_net::observer::{EventKind, MessageKind, ObservedEvent, ObservedMessage, Purpose};

/// Limit for the part of a body that is kept, in bytes: what is shown of it and enough behind that to recognize a secret
/// there.
pub(super) const KEPT_BODY_BYTES: usize = 80 * 1024;

/// Memory that an empty batch may keep for the next events, in bytes.
const SPARE_BYTES: usize = 1024 * 1024;

/// Events that have come, in their order.
#[derive(Debug, Default)]
pub(super) struct EventBatch {
    events: Vec<QueuedEvent>,
    text: Vec<u8>,
    /// Events that were left out.
    pub(super) lost: u64,
}

/// An event.
#[derive(Debug)]
pub(super) struct QueuedEvent {
    pub(super) at: SystemTime,
    pub(super) kind: QueuedKind,
}

/// The kinds of events, as of [`EventKind`].
#[derive(Debug)]
pub(super) enum QueuedKind {
    Message(QueuedMessage),
    Request(QueuedRequest),
    ResponseHead {
        exchange: u64,
        version: Version,
        status: StatusCode,
        headers: QueuedHeaders,
    },
    ResponseBody {
        exchange: u64,
        body: QueuedBody,
    },
    ResponseEnd {
        exchange: u64,
        failure: Option<TextPlace>,
    },
    Step {
        name: &'static str,
        detail: TextPlace,
    },
}

/// A message of the app, or for it.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) direction: Direction,
    pub(super) kind: MessageKind,
    pub(super) id: Option<TextPlace>,
    pub(super) method: TextPlace,
    pub(super) body: QueuedBody,
}

/// An HTTP request.
#[derive(Debug)]
pub(super) struct QueuedRequest {
    pub(super) exchange: u64,
    pub(super) purpose: Purpose,
    pub(super) method: Method,
    pub(super) url: TextPlace,
    pub(super) headers: QueuedHeaders,
    pub(super) body: QueuedBody,
}

/// Direction of a message between app and bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    FromApp,
    ToApp,
}

/// Place in the text of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextPlace {
    start: usize,
    end: usize,
}

/// Beginning of a body, and the length of the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueuedBody {
    pub(super) kept: TextPlace,
    pub(super) bytes: usize,
}

/// Headers: of each its name and its value, both behind their lengths.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueuedHeaders(TextPlace);

impl EventBatch {
    /// Number of the events.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lost == 0
    }

    /// Memory in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.events.len() * size_of::<QueuedEvent>()
    }

    /// The events.
    pub(super) fn events(&self) -> &[QueuedEvent] {
        &self.events
    }

    /// The text there.
    pub(super) fn text(&self, piece: TextPlace) -> &[u8] {
        &self.text[piece.start..piece.end]
    }

    /// Names and values of headers.
    pub(super) fn headers(&self, headers: QueuedHeaders) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.text(headers.0);
        std::iter::from_fn(move || {
            let name = part(&mut rest)?;
            Some((name, part(&mut rest)?))
        })
    }

    /// Forgets all, so that the memory can be used again.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.text.clear();
        self.lost = 0;
        self.text.shrink_to(SPARE_BYTES);
        self.events
            .shrink_to(SPARE_BYTES / size_of::<QueuedEvent>());
    }

    /// Adds a copy of an event.
    pub(super) fn push(&mut self, event: &ObservedEvent<'_>) {
        let kind = match &event.kind {
            EventKind::FromApp(message) => self.message(Direction::FromApp, message),
            EventKind::ToApp(message) => self.message(Direction::ToApp, message),
            EventKind::Request(request) => QueuedKind::Request(QueuedRequest {
                exchange: request.exchange,
                purpose: request.purpose,
                method: request.method.clone(),
                url: self.copy(request.url.as_str().as_bytes()),
                headers: self.copy_headers(request.headers),
                body: self.copy_body(request.body, KEPT_BODY_BYTES),
            }),
            EventKind::ResponseHead {
                exchange,
                version,
                status,
                headers,
            } => QueuedKind::ResponseHead {
                exchange: *exchange,
                version: *version,
                status: *status,
                headers: self.copy_headers(headers),
            },
            EventKind::ResponseBody {
                exchange,
                before,
                piece,
            } => QueuedKind::ResponseBody {
                exchange: *exchange,
                body: self.copy_body(piece, KEPT_BODY_BYTES.saturating_sub(*before)),
            },
            EventKind::ResponseEnd { exchange, failure } => QueuedKind::ResponseEnd {
                exchange: *exchange,
                failure: failure.map(|failure| self.copy(failure.as_bytes())),
            },
            EventKind::Step { step, detail } => QueuedKind::Step {
                name: step.name(),
                detail: self.copy(detail.as_bytes()),
            },
        };
        self.events.push(QueuedEvent { at: event.at, kind });
    }

    fn message(&mut self, direction: Direction, message: &ObservedMessage<'_>) -> QueuedKind {
        QueuedKind::Message(QueuedMessage {
            direction,
            kind: message.kind,
            id: message.id.map(|id| self.copy(id.as_bytes())),
            method: self.copy(message.method.as_bytes()),
            body: self.copy_body(message.text, KEPT_BODY_BYTES),
        })
    }

    fn copy(&mut self, text: &[u8]) -> TextPlace {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        TextPlace {
            start,
            end: self.text.len(),
        }
    }

    fn copy_body(&mut self, body: &[u8], most: usize) -> QueuedBody {
        QueuedBody {
            kept: self.copy(&body[..body.len().min(most)]),
            bytes: body.len(),
        }
    }

    fn copy_headers(&mut self, headers: &HeaderMap) -> QueuedHeaders {
        let start = self.text.len();
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                self.text.extend_from_slice(&part.len().to_ne_bytes());
                self.text.extend_from_slice(part);
            }
        }
        QueuedHeaders(TextPlace {
            start,
            end: self.text.len(),
        })
    }
}

/// Takes a text off that stands behind its length.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (part, behind) = behind.split_at_checked(usize::from_ne_bytes(*length))?;
    *rest = behind;
    Some(part)
}
