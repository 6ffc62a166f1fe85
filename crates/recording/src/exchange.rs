//! HTTP exchange that is being recorded, and its entry.

use std::time::{Duration, SystemTime};

use reqwest::{StatusCode, Version};

use super::date::DateWriter;
use super::har::NO_RESPONSE;
use super::headers::ShownHeaders;
use super::json::{push_hundredths, push_number};
use super::masking::Masking;
use super::queue::{EventBatch, KEPT_BODY_BYTES, QueuedRequest};
use super::shown_url::ShownUrl;
use mcp_bridge_net::observer::Purpose;

/// An exchange whose entry is not finished.
#[derive(Debug)]
pub(super) struct OpenExchange {
    begun: SystemTime,
    /// The beginning of the entry: its moment and its request.
    request: Vec<u8>,
    /// The part of the end about the other side.
    target: Vec<u8>,
    head: Option<ShownHead>,
    body: Vec<u8>,
    body_bytes: usize,
    last_change: SystemTime,
    failure: Option<Vec<u8>>,
    /// The entry as long as the exchange is open; empty if it has changed.
    shown: Vec<u8>,
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct ShownHead {
    at: SystemTime,
    version: &'static str,
    status: StatusCode,
    /// The headers, the type of the content, and the target of a redirect, as JSON.
    headers: Vec<u8>,
    content_type: Vec<u8>,
    location: Vec<u8>,
}

/// State of an exchange, as an entry names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExchangeState {
    Open,
    Ended,
}

impl OpenExchange {
    /// The exchange of a request, whose URL was masked before.
    pub(super) fn new(
        at: SystemTime,
        request: &QueuedRequest,
        url: &ShownUrl,
        batch: &EventBatch,
        headers: &mut ShownHeaders,
        masking: &mut Masking,
        dates: &mut DateWriter,
    ) -> Self {
        let mut out = Vec::with_capacity(1024 + request.body.bytes.min(KEPT_BODY_BYTES) * 3 / 2);
        out.extend_from_slice(br#"{"startedDateTime":""#);
        dates.push(&mut out, at);
        out.extend_from_slice(br#"","request":{"method":""#);
        // A token of RFC 9110, which needs no escapes.
        out.extend_from_slice(request.method.as_str().as_bytes());
        out.extend_from_slice(br#"","url":""#);
        out.extend_from_slice(&url.url);
        out.extend_from_slice(br#"","httpVersion":"HTTP/1.1","cookies":[],"headers":["#);
        let mut content_type = Vec::new();
        headers.push(
            &mut out,
            batch.headers(request.headers),
            masking,
            |name, value| {
                if name == b"content-type" {
                    content_type.extend_from_slice(value);
                }
            },
        );
        out.extend_from_slice(br#"],"queryString":["#);
        out.extend_from_slice(&url.query);
        out.extend_from_slice(br#"],"headersSize":-1,"bodySize":"#);
        push_number(&mut out, request.body.bytes as u64);
        if request.body.bytes > 0 {
            out.extend_from_slice(br#","postData":{"mimeType":""#);
            out.extend_from_slice(&content_type);
            out.extend_from_slice(br#"","text":""#);
            masking.push_message(&mut out, batch.text(request.body.kept));
            out.extend_from_slice(br#""}"#);
        }
        out.push(b'}');
        Self {
            begun: at,
            request: out,
            target: target(request, url),
            head: None,
            body: Vec::new(),
            body_bytes: 0,
            last_change: at,
            failure: None,
            shown: Vec::new(),
        }
    }

    pub(super) fn on_head(&mut self, head: ShownHead) {
        self.changes(head.at);
        self.head = Some(head);
    }

    pub(super) fn on_body(&mut self, at: SystemTime, piece: &[u8], bytes: usize) {
        self.changes(at);
        self.body_bytes += bytes;
        self.body.extend_from_slice(piece);
    }

    /// Appends the entry of the exchange, which has ended.
    pub(super) fn end(
        mut self,
        out: &mut Vec<u8>,
        masking: &mut Masking,
        at: SystemTime,
        failure: Option<&[u8]>,
    ) {
        self.changes(at);
        self.failure = failure.map(<[u8]>::to_vec);
        self.push(out, masking, ExchangeState::Ended);
    }

    /// The entry as long as the exchange is open; none if it has begun after this moment.
    pub(super) fn shown(&mut self, before: SystemTime, masking: &mut Masking) -> Option<&[u8]> {
        if self.begun > before {
            return None;
        }
        if self.shown.is_empty() {
            let mut shown = Vec::new();
            self.push(&mut shown, masking, ExchangeState::Open);
            self.shown = shown;
        }
        Some(&self.shown)
    }

    fn changes(&mut self, at: SystemTime) {
        self.last_change = at;
        self.shown.clear();
    }

    fn push(&self, out: &mut Vec<u8>, masking: &mut Masking, state: ExchangeState) {
        out.extend_from_slice(&self.request);
        out.push(b',');
        match &self.head {
            Some(head) => self.push_response(out, head, masking),
            None => out.extend_from_slice(NO_RESPONSE),
        }
        if let Some(failure) = &self.failure {
            out.extend_from_slice(br#","_error":""#);
            masking.push_text(out, failure);
            out.push(b'"');
        }
        let head_at = self.head.as_ref().map_or(self.last_change, |head| head.at);
        let wait = hundredths(self.begun, head_at);
        let receive = hundredths(head_at, self.last_change);
        out.extend_from_slice(br#"},"cache":{},"timings":{"send":0,"wait":"#);
        push_hundredths(out, wait);
        out.extend_from_slice(br#","receive":"#);
        push_hundredths(out, receive);
        out.extend_from_slice(br#"},"time":"#);
        push_hundredths(out, wait + receive);
        out.extend_from_slice(br#","_mcp":{"kind":"http","state":""#);
        out.extend_from_slice(match state {
            ExchangeState::Open => b"open",
            ExchangeState::Ended => b"ended",
        });
        out.extend_from_slice(&self.target);
        if let Some(failure) = &self.failure {
            out.extend_from_slice(br#","failure":""#);
            masking.push_text(out, failure);
            out.push(b'"');
        }
        out.extend_from_slice(b"}}");
    }

    fn push_response(&self, out: &mut Vec<u8>, head: &ShownHead, masking: &mut Masking) {
        out.extend_from_slice(br#""response":{"status":"#);
        push_number(out, u64::from(head.status.as_u16()));
        out.extend_from_slice(br#","statusText":""#);
        let reason = head.status.canonical_reason().unwrap_or_default();
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(br#"","httpVersion":""#);
        out.extend_from_slice(head.version.as_bytes());
        out.extend_from_slice(br#"","cookies":[],"headers":["#);
        out.extend_from_slice(&head.headers);
        out.extend_from_slice(br#"],"content":{"size":"#);
        push_number(out, self.body_bytes as u64);
        out.extend_from_slice(br#","mimeType":""#);
        out.extend_from_slice(&head.content_type);
        out.extend_from_slice(br#"","text":""#);
        if head.content_type.starts_with(b"text/event-stream") {
            masking.push_events(out, &self.body);
        } else {
            masking.push_message(out, &self.body);
        }
        out.extend_from_slice(br#""},"redirectURL":""#);
        out.extend_from_slice(&head.location);
        out.extend_from_slice(br#"","headersSize":-1,"bodySize":"#);
        push_number(out, self.body_bytes as u64);
    }
}

impl ShownHead {
    pub(super) fn new<'a>(
        at: SystemTime,
        (version, status): (Version, StatusCode),
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        shown: &mut ShownHeaders,
        masking: &mut Masking,
    ) -> Self {
        let mut head = Self {
            at,
            version: name_of(version),
            status,
            headers: Vec::with_capacity(512),
            content_type: Vec::new(),
            location: Vec::new(),
        };
        let (content_type, location) = (&mut head.content_type, &mut head.location);
        shown.push(&mut head.headers, headers, masking, |name, value| {
            let place = match name {
                b"content-type" => &mut *content_type,
                b"location" => &mut *location,
                _ => return,
            };
            place.clear();
            place.extend_from_slice(value);
        });
        head
    }
}

/// The end of an entry of an exchange, behind its state.
fn target(request: &QueuedRequest, url: &ShownUrl) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(br#"","exchange":"#);
    push_number(&mut out, request.exchange);
    out.extend_from_slice(match request.purpose {
        Purpose::Server => br#","purpose":"server","host":"#.as_slice(),
        Purpose::SignIn => br#","purpose":"sign-in","host":"#,
    });
    out.extend_from_slice(&url.host);
    out
}

fn name_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "",
    }
}

/// Time between two moments, in hundredths of a millisecond.
fn hundredths(from: SystemTime, to: SystemTime) -> u64 {
    let passed: Duration = to.duration_since(from).unwrap_or_default();
    u64::try_from((passed.as_micros() + 5) / 10).unwrap_or(u64::MAX)
}
