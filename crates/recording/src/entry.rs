//! Entries of a HAR 1.2 log, made of events.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{StatusCode, Version};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use url::Url;

use super::har::{
    Content, LogEntry, Mcp, NameAndValue, Nothing, PostData, RequestPart, ResponsePart, Timings,
};
use super::masking::Masking;
use mcp_bridge_net::observer::{EventKind, ObservedEvent, ObservedRequest, Purpose};
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// Limit for the part of a body that is kept until its exchange ends, in bytes: what is shown of it and enough behind
/// that to recognize a secret there.
const KEPT_BODY_BYTES: usize = 80 * 1024;

/// Exchanges that are open at once. More do not come up, as connections are bounded.
const MAX_OPEN: usize = 1024;

/// Entries that are being made.
#[derive(Debug, Default)]
pub(super) struct Entries {
    masking: Masking,
    open: BTreeMap<u64, OpenExchange>,
}

/// An entry of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct HarEntry {
    /// Number of the HTTP exchange that it is about.
    pub exchange: Option<u64>,
    /// The entry as JSON, on one line.
    pub json: String,
}

impl HarEntry {
    /// Makes it of what it says, which cannot fail: all keys are texts.
    fn of(exchange: Option<u64>, entry: &LogEntry<'_, impl Serialize>) -> Self {
        let json = serde_json::to_string(entry).unwrap_or_default();
        Self { exchange, json }
    }
}

/// An HTTP exchange that has not ended.
#[derive(Debug)]
struct OpenExchange {
    begun: SystemTime,
    purpose: Purpose,
    /// `request` of the entry, as JSON.
    request: Box<RawValue>,
    url: Url,
    head: Option<ObservedHead>,
    body: BytesMut,
    body_bytes: usize,
    last_change: SystemTime,
    failure: Option<String>,
}

/// The head of its response.
#[derive(Debug)]
struct ObservedHead {
    at: SystemTime,
    version: Version,
    status: StatusCode,
    headers: Vec<NameAndValue>,
    content_type: String,
    location: String,
}

impl Entries {
    /// Takes an event. Returns the entry that is finished by it.
    pub(super) fn on_event(&mut self, event: ObservedEvent) -> Option<HarEntry> {
        let at = event.at;
        match event.kind {
            EventKind::FromApp(text) => Some(self.message(at, Direction::FromApp, &text)),
            EventKind::ToApp(text) => Some(self.message(at, Direction::ToApp, &text)),
            EventKind::Step { step, detail } => Some(self.note(at, step.name(), &detail)),
            EventKind::Request(request) => {
                self.on_request(at, *request);
                None
            }
            EventKind::ResponseHead {
                exchange,
                version,
                status,
                headers,
            } => {
                let head = self.head(at, version, status, &headers);
                if let Some(open) = self.open.get_mut(&exchange) {
                    (open.head, open.last_change) = (Some(head), at);
                }
                None
            }
            EventKind::ResponseBody { exchange, piece } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.on_body(at, &piece);
                }
                None
            }
            EventKind::ResponseEnd { exchange, failure } => {
                let mut ended = self.open.remove(&exchange)?;
                (ended.failure, ended.last_change) = (failure, at);
                Some(ended.to_entry(exchange, &self.masking, "ended"))
            }
        }
    }

    /// The entries of the exchanges that have not ended.
    pub(super) fn open(&self) -> Vec<HarEntry> {
        let open = self.open.iter();
        open.map(|(number, exchange)| exchange.to_entry(*number, &self.masking, "open"))
            .collect()
    }

    /// The entry that stands for events which are missing.
    pub(super) fn left_out(&self, count: u64, at: SystemTime) -> HarEntry {
        let detail = format!("{count} events were left out, as the disk is too slow");
        self.note(at, "recording", &detail)
    }

    fn on_request(&mut self, at: SystemTime, request: ObservedRequest) {
        if self.open.len() >= MAX_OPEN {
            self.open.pop_first();
        }
        let headers = self.masking.request_headers(&request.headers);
        let url = self.masking.url(&request.url, request.purpose);
        let query = query_of(&url);
        let body = self.masking.text(&request.body);
        let mime_type = text_of(&request.headers, &CONTENT_TYPE);
        let entry = RequestPart {
            http_version: "HTTP/1.1",
            headers: &headers,
            query_string: &query,
            body_size: request.body.len(),
            post_data: (!request.body.is_empty()).then_some(PostData {
                mime_type: &mime_type,
                text: &body,
            }),
            ..RequestPart::stub(request.method.as_str(), &url)
        };
        let Ok(entry) = serde_json::value::to_raw_value(&entry) else {
            return;
        };
        let open = OpenExchange {
            begun: at,
            purpose: request.purpose,
            request: entry,
            url: request.url,
            head: None,
            body: BytesMut::new(),
            body_bytes: 0,
            last_change: at,
            failure: None,
        };
        self.open.insert(request.exchange, open);
    }

    fn head(
        &mut self,
        at: SystemTime,
        version: Version,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> ObservedHead {
        ObservedHead {
            at,
            version,
            status,
            headers: self.masking.response_headers(headers),
            content_type: text_of(headers, &CONTENT_TYPE),
            location: text_of(headers, &LOCATION),
        }
    }

    /// A message of the app, or for it.
    fn message(&self, at: SystemTime, direction: Direction, text: &Bytes) -> HarEntry {
        let message = Message::parse(text);
        let described = message.as_ref().map(describe);
        let (kind, id, method) = described.unwrap_or(("invalid", None, ""));
        let shown = self.masking.text(text);
        let mime_type = "application/json";
        let url = format!(
            "stdio://app/{}",
            if method.is_empty() { kind } else { method }
        );
        let mut request = RequestPart::stub(direction.method(), &url);
        let mut response = ResponsePart::none();
        match direction {
            Direction::FromApp => {
                request.body_size = text.len();
                let text = &shown;
                request.post_data = Some(PostData { mime_type, text });
            }
            Direction::ToApp => {
                response.body_size = size(text.len());
                response.content = Content {
                    size: text.len(),
                    mime_type,
                    text: Some(&shown),
                };
            }
        }
        let mcp = Mcp::Message {
            direction: direction.name(),
            message: kind,
            id,
            method,
        };
        HarEntry::of(None, &stub(at, request, response, mcp))
    }

    fn note(&self, at: SystemTime, name: &str, detail: &str) -> HarEntry {
        step_entry(at, name, &self.masking.text(detail.as_bytes()))
    }
}

impl OpenExchange {
    fn on_body(&mut self, at: SystemTime, piece: &Bytes) {
        self.last_change = at;
        self.body_bytes += piece.len();
        let room = KEPT_BODY_BYTES.saturating_sub(self.body.len());
        self.body.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn to_entry(&self, number: u64, masking: &Masking, state: &str) -> HarEntry {
        let purpose = match self.purpose {
            Purpose::Server => "server",
            Purpose::SignIn => "sign-in",
        };
        let timings = self.timings();
        // A sum of rounded numbers is not as round as they are.
        let time = ((timings.wait + timings.receive) * 100.0).round() / 100.0;
        let failure = self.failure.as_ref();
        let failure = failure.map(|it| masking.text(it.as_bytes()));
        let failure = failure.as_deref();
        let body = masking.text(&self.body);
        let location = self
            .head
            .as_ref()
            .map(|it| masking.text(it.location.as_bytes()));
        let version = self.head.as_ref().map(|it| format!("{:?}", it.version));
        let response = match &self.head {
            Some(head) => ResponsePart {
                status: head.status.as_u16(),
                status_text: head.status.canonical_reason().unwrap_or_default(),
                http_version: version.as_deref().unwrap_or_default(),
                headers: &head.headers,
                content: Content {
                    size: self.body_bytes,
                    mime_type: &head.content_type,
                    text: Some(&body),
                },
                redirect_url: location.as_deref().unwrap_or_default(),
                body_size: size(self.body_bytes),
                ..ResponsePart::none()
            },
            None => ResponsePart::none(),
        };
        let entry = LogEntry {
            started_date_time: rfc3339(self.begun),
            time,
            request: &self.request,
            response: ResponsePart {
                error: failure,
                ..response
            },
            cache: Nothing {},
            timings,
            comment: None,
            mcp: Mcp::Http {
                exchange: number,
                purpose,
                state,
                host: self.url.host_str(),
                failure,
            },
        };
        HarEntry::of(Some(number), &entry)
    }

    fn timings(&self) -> Timings {
        let head_at = self.head.as_ref().map_or(self.last_change, |head| head.at);
        Timings {
            send: 0,
            wait: milliseconds(self.begun, head_at),
            receive: milliseconds(head_at, self.last_change),
        }
    }
}

/// Direction of a message between app and bridge.
#[derive(Debug, Clone, Copy)]
enum Direction {
    FromApp,
    ToApp,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::FromApp => "from-app",
            Self::ToApp => "to-app",
        }
    }

    /// Stand-in for the method of a request.
    fn method(self) -> &'static str {
        match self {
            Self::FromApp => "STDIN",
            Self::ToApp => "STDOUT",
        }
    }
}

/// The entry of a step of the connection.
#[must_use]
pub fn step_entry(at: SystemTime, name: &str, detail: &str) -> HarEntry {
    let url = format!("mcp-bridge://step/{name}");
    let mcp = Mcp::Step { step: name, detail };
    let entry = LogEntry {
        comment: Some(detail),
        ..stub(
            at,
            RequestPart::stub("STEP", &url),
            ResponsePart::none(),
            mcp,
        )
    };
    HarEntry::of(None, &entry)
}

/// An entry that is no HTTP exchange, with what HAR demands of one.
fn stub<'a>(
    at: SystemTime,
    request: RequestPart<'a>,
    response: ResponsePart<'a>,
    mcp: Mcp<'a>,
) -> LogEntry<'a, RequestPart<'a>> {
    LogEntry {
        started_date_time: rfc3339(at),
        time: 0.0,
        request,
        response,
        cache: Nothing {},
        timings: Timings::default(),
        comment: None,
        mcp,
    }
}

/// Kind, id and method of a message.
fn describe(message: &Message) -> (&'static str, Option<&RawValue>, &str) {
    let method = message.method().unwrap_or_default();
    match message.kind() {
        Kind::Request { id, .. } => ("request", raw(id), method),
        Kind::Notification { .. } => ("notification", None, method),
        Kind::Response { id } => {
            let id = id.as_ref().and_then(raw);
            let kind = if message.is_error() {
                "error"
            } else {
                "response"
            };
            (kind, id, method)
        }
    }
}

fn raw(id: &RequestId) -> Option<&RawValue> {
    serde_json::from_str(id.as_json()).ok()
}

/// The parameters in a URL.
fn query_of(url: &str) -> Vec<NameAndValue> {
    let Some(url) = url.contains('?').then(|| Url::parse(url).ok()).flatten() else {
        return Vec::new();
    };
    let pairs = url.query_pairs().into_owned();
    pairs
        .map(|(name, value)| NameAndValue { name, value })
        .collect()
}

fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn text_of(headers: &HeaderMap, name: &reqwest::header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Milliseconds between two moments, to the hundredth.
fn milliseconds(from: SystemTime, to: SystemTime) -> f64 {
    let passed = to.duration_since(from).unwrap_or_default();
    (passed.as_secs_f64() * 100_000.0).round() / 100.0
}

/// A moment as in RFC 3339, in milliseconds and UTC.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let millisecond = at.millisecond();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}
