//! Entries of a HAR 1.2 log, made of events. `_mcp` in an entry says of which kind it is, and what HAR has no place for.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{StatusCode, Version};
use serde_json::{Value, json};
use time::OffsetDateTime;
use url::Url;

use super::masking::Masking;
use mcp_bridge_net::observer::{EventKind, ObservedEvent, ObservedRequest, Purpose};
use mcp_bridge_protocol::message::{Kind, Message};

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
pub(crate) struct HarEntry {
    /// Number of the HTTP exchange that it is about.
    pub(crate) exchange: Option<u64>,
    /// The entry as JSON, on one line.
    pub(crate) json: String,
}

impl HarEntry {
    fn new(json: String) -> Self {
        Self {
            exchange: None,
            json,
        }
    }
}

/// An HTTP exchange that has not ended.
#[derive(Debug)]
struct OpenExchange {
    begun: SystemTime,
    purpose: Purpose,
    /// `request` of the entry.
    request: Value,
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
    /// As HAR has them.
    headers: Value,
    content_type: String,
    location: String,
}

impl Entries {
    /// Takes an event. Returns the entry that is finished by it.
    pub(super) fn on_event(&mut self, event: ObservedEvent) -> Option<HarEntry> {
        let at = event.at;
        match event.kind {
            EventKind::FromApp(text) => Some(HarEntry::new(self.message(at, "from-app", &text))),
            EventKind::ToApp(text) => Some(HarEntry::new(self.message(at, "to-app", &text))),
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
        let query: Vec<_> = Url::parse(&url)
            .iter()
            .flat_map(|url| url.query_pairs().into_owned().collect::<Vec<_>>())
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        let mut entry = json!({
            "method": request.method.as_str(),
            "url": url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": headers,
            "queryString": query,
            "headersSize": -1,
            "bodySize": request.body.len(),
        });
        if !request.body.is_empty() {
            entry["postData"] = json!({
                "mimeType": text_of(&request.headers, &CONTENT_TYPE),
                "text": self.masking.text(&request.body),
            });
        }
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
    fn message(&self, at: SystemTime, direction: &str, text: &Bytes) -> String {
        let message = Message::parse(text);
        let (kind, id, method) = match &message {
            Ok(message) => describe(message),
            Err(_) => ("invalid", Value::Null, String::new()),
        };
        let shown = self.masking.text(text);
        let name = if method.is_empty() { kind } else { &method };
        let mut entry = stub(at, &format!("stdio://app/{name}"));
        entry["_mcp"] = json!({
            "kind": "message", "direction": direction, "message": kind, "id": id, "method": method,
        });
        let content = json!({ "mimeType": "application/json", "text": shown });
        if direction == "from-app" {
            entry["request"]["method"] = "STDIN".into();
            entry["request"]["bodySize"] = text.len().into();
            entry["request"]["postData"] = content;
        } else {
            entry["request"]["method"] = "STDOUT".into();
            entry["response"]["bodySize"] = text.len().into();
            entry["response"]["content"] = content;
            entry["response"]["content"]["size"] = text.len().into();
        }
        entry.to_string()
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
        let head_at = self.head.as_ref().map_or(self.last_change, |head| head.at);
        let (wait, receive) = (
            milliseconds(self.begun, head_at),
            milliseconds(head_at, self.last_change),
        );
        // A sum of rounded numbers is not as round as they are.
        let time = ((wait + receive) * 100.0).round() / 100.0;
        let mut entry = json!({
            "startedDateTime": rfc3339(self.begun),
            "time": time,
            "request": self.request,
            "response": self.response(masking),
            "cache": {},
            "timings": { "send": 0, "wait": wait, "receive": receive },
            "_mcp": {
                "kind": "http", "exchange": number, "purpose": purpose, "state": state,
                "host": self.url.host_str(),
            },
        });
        if let Some(failure) = &self.failure {
            let failure = masking.text(failure.as_bytes());
            entry["response"]["_error"] = failure.as_str().into();
            entry["_mcp"]["failure"] = failure.into();
        }
        HarEntry {
            exchange: Some(number),
            json: entry.to_string(),
        }
    }

    fn response(&self, masking: &Masking) -> Value {
        let Some(head) = &self.head else {
            return no_response();
        };
        json!({
            "status": head.status.as_u16(),
            "statusText": head.status.canonical_reason().unwrap_or_default(),
            "httpVersion": format!("{:?}", head.version),
            "cookies": [],
            "headers": head.headers,
            "content": {
                "size": self.body_bytes,
                "mimeType": head.content_type,
                "text": masking.text(&self.body),
            },
            "redirectURL": masking.text(head.location.as_bytes()),
            "headersSize": -1,
            "bodySize": self.body_bytes,
        })
    }
}

/// The entry of a step of the connection.
pub(crate) fn step_entry(at: SystemTime, name: &str, detail: &str) -> HarEntry {
    let mut entry = stub(at, &format!("mcp-bridge://step/{name}"));
    entry["request"]["method"] = "STEP".into();
    entry["comment"] = detail.into();
    entry["_mcp"] = json!({ "kind": "step", "step": name, "detail": detail });
    HarEntry::new(entry.to_string())
}

/// An entry that is no HTTP exchange, with what HAR demands of one.
fn stub(at: SystemTime, url: &str) -> Value {
    json!({
        "startedDateTime": rfc3339(at),
        "time": 0,
        "request": {
            "url": url, "httpVersion": "", "cookies": [], "headers": [], "queryString": [],
            "headersSize": -1, "bodySize": 0,
        },
        "response": no_response(),
        "cache": {},
        "timings": { "send": 0, "wait": 0, "receive": 0 },
    })
}

fn no_response() -> Value {
    json!({
        "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
        "content": { "size": 0, "mimeType": "" }, "redirectURL": "", "headersSize": -1, "bodySize": -1,
    })
}

/// Kind, id and method of a message.
fn describe(message: &Message) -> (&'static str, Value, String) {
    let id = |id: &str| serde_json::from_str(id).unwrap_or(Value::Null);
    let method = message.method().unwrap_or_default().to_owned();
    match message.kind() {
        Kind::Request { id: of, .. } => ("request", id(of.as_json()), method),
        Kind::Notification { .. } => ("notification", Value::Null, method),
        Kind::Response { id: of } => {
            let of = of.as_ref().map_or(Value::Null, |of| id(of.as_json()));
            let kind = if message.is_error() {
                "error"
            } else {
                "response"
            };
            (kind, of, method)
        }
    }
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
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let millisecond = at.millisecond();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}
