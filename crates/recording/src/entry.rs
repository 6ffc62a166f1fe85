//! Entries of a HAR 1.2 log, made of events.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use super::date::DateWriter;
use super::exchange::{OpenExchange, ShownHead};
use super::har::{HarEntries, HarEntry, NO_RESPONSE, NO_TIMINGS, STUB_REQUEST, STUB_RESPONSE};
use super::headers::ShownHeaders;
use super::json::{push_escaped, push_number};
use super::masking::Masking;
use super::queue::{Direction, EventBatch, QueuedEvent, QueuedKind, QueuedMessage, QueuedRequest};
use super::shown_url::ShownUrl;
use mcp_bridge_net::observer::MessageKind;

/// Exchanges that are open at once. More do not come up, as connections are bounded.
const MAX_OPEN: usize = 1024;

/// Entries that are being made.
#[derive(Debug)]
pub(super) struct Entries {
    dates: DateWriter,
    masking: Masking,
    request_headers: ShownHeaders,
    response_headers: ShownHeaders,
    url: ShownUrl,
    open: BTreeMap<u64, OpenExchange>,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            dates: DateWriter::default(),
            masking: Masking::default(),
            request_headers: ShownHeaders::of_requests(),
            response_headers: ShownHeaders::of_responses(),
            url: ShownUrl::default(),
            open: BTreeMap::new(),
        }
    }
}

impl Entries {
    /// Takes events. Adds the entries that are finished by them.
    pub(super) fn on_events(&mut self, batch: &EventBatch, finished: &mut HarEntries) {
        for event in batch.events() {
            self.on_event(event, batch, finished);
        }
        if batch.lost > 0 {
            let lost = batch.lost;
            let detail = format!("{lost} events were left out, as the disk is too slow");
            self.push_step(finished, SystemTime::now(), "recording", detail.as_bytes());
        }
    }

    /// Adds the entries of the exchanges that have not ended. Returns whether there are some that have begun after this
    /// moment, which are left out.
    pub(super) fn add_open(&mut self, before: SystemTime, entries: &mut HarEntries) -> bool {
        let mut are_young = false;
        for (number, exchange) in &mut self.open {
            match exchange.shown(before, &mut self.masking) {
                Some(json) => entries.keep_open(*number, json),
                None => are_young = true,
            }
        }
        are_young
    }

    fn on_event(&mut self, event: &QueuedEvent, batch: &EventBatch, finished: &mut HarEntries) {
        let at = event.at;
        match &event.kind {
            QueuedKind::Message(message) => self.push_message(finished, at, message, batch),
            QueuedKind::Request(request) => self.on_request(at, request, batch),
            QueuedKind::ResponseHead {
                exchange,
                version,
                status,
                headers,
            } => {
                if let Some(open) = self.open.get_mut(exchange) {
                    let headers = batch.headers(*headers);
                    let (shown, masking) = (&mut self.response_headers, &mut self.masking);
                    let head = ShownHead::new(at, (*version, *status), headers, shown, masking);
                    open.on_head(head);
                }
            }
            QueuedKind::ResponseBody { exchange, body } => {
                if let Some(open) = self.open.get_mut(exchange) {
                    open.on_body(at, batch.text(body.kept), body.bytes);
                }
            }
            QueuedKind::ResponseEnd { exchange, failure } => {
                if let Some(open) = self.open.remove(exchange) {
                    let failure = failure.map(|failure| batch.text(failure));
                    finished.finish(Some(*exchange), |out| {
                        open.end(out, &mut self.masking, at, failure);
                    });
                }
            }
            QueuedKind::Step { name, detail } => {
                self.push_step(finished, at, name, batch.text(*detail));
            }
        }
    }

    fn on_request(&mut self, at: SystemTime, request: &QueuedRequest, batch: &EventBatch) {
        if self.open.len() >= MAX_OPEN {
            self.open.pop_first();
        }
        let url = batch.text(request.url);
        self.url.show(url, request.purpose, &mut self.masking);
        let open = OpenExchange::new(
            at,
            request,
            &self.url,
            batch,
            &mut self.request_headers,
            &mut self.masking,
            &mut self.dates,
        );
        self.open.insert(request.exchange, open);
    }

    fn push_message(
        &mut self,
        finished: &mut HarEntries,
        at: SystemTime,
        message: &QueuedMessage,
        batch: &EventBatch,
    ) {
        let (dates, masking) = (&mut self.dates, &mut self.masking);
        let kind = match message.kind {
            MessageKind::Request => "request",
            MessageKind::Notification => "notification",
            MessageKind::Response => "response",
            MessageKind::Error => "error",
        };
        let (stand_in, direction) = match message.direction {
            Direction::FromApp => ("STDIN", "from-app"),
            Direction::ToApp => ("STDOUT", "to-app"),
        };
        let (method, bytes) = (batch.text(message.method), message.body.bytes as u64);
        finished.finish(None, |out| {
            push_beginning(out, dates, at, stand_in);
            out.extend_from_slice(b"stdio://app/");
            match method {
                b"" => out.extend_from_slice(kind.as_bytes()),
                method => push_escaped(out, method),
            }
            out.extend_from_slice(STUB_REQUEST);
            match message.direction {
                Direction::FromApp => {
                    push_number(out, bytes);
                    out.extend_from_slice(
                        br#","postData":{"mimeType":"application/json","text":""#,
                    );
                    masking.push_message(out, batch.text(message.body.kept));
                    out.extend_from_slice(br#""}},"#);
                    out.extend_from_slice(NO_RESPONSE);
                }
                Direction::ToApp => {
                    out.extend_from_slice(b"0},");
                    out.extend_from_slice(STUB_RESPONSE);
                    push_number(out, bytes);
                    out.extend_from_slice(br#","mimeType":"application/json","text":""#);
                    masking.push_message(out, batch.text(message.body.kept));
                    out.extend_from_slice(br#""},"redirectURL":"","headersSize":-1,"bodySize":"#);
                    push_number(out, bytes);
                }
            }
            out.extend_from_slice(NO_TIMINGS);
            out.extend_from_slice(br#""_mcp":{"kind":"message","direction":""#);
            out.extend_from_slice(direction.as_bytes());
            out.extend_from_slice(br#"","message":""#);
            out.extend_from_slice(kind.as_bytes());
            out.extend_from_slice(br#"","id":"#);
            out.extend_from_slice(message.id.map_or(b"null", |id| batch.text(id)));
            out.extend_from_slice(br#","method":""#);
            push_escaped(out, method);
            out.extend_from_slice(br#""}}"#);
        });
    }

    fn push_step(&mut self, finished: &mut HarEntries, at: SystemTime, name: &str, detail: &[u8]) {
        let (dates, masking) = (&mut self.dates, &self.masking);
        finished.finish(None, |out| {
            push_step(out, dates, at, name, |out| masking.push_text(out, detail));
        });
    }
}

/// The entry of a step of the connection.
#[must_use]
pub fn step_entry(at: SystemTime, name: &str, detail: &str) -> HarEntry<'static> {
    let mut out = Vec::new();
    push_step(&mut out, &mut DateWriter::default(), at, name, |out| {
        push_escaped(out, detail.as_bytes());
    });
    HarEntry {
        exchange: None,
        json: Cow::Owned(String::from_utf8(out).unwrap_or_default()),
    }
}

fn push_step(
    out: &mut Vec<u8>,
    dates: &mut DateWriter,
    at: SystemTime,
    name: &str,
    push_detail: impl Fn(&mut Vec<u8>),
) {
    push_beginning(out, dates, at, "STEP");
    out.extend_from_slice(b"mcp-bridge://step/");
    push_escaped(out, name.as_bytes());
    out.extend_from_slice(STUB_REQUEST);
    out.extend_from_slice(b"0},");
    out.extend_from_slice(NO_RESPONSE);
    out.extend_from_slice(NO_TIMINGS);
    out.extend_from_slice(br#""comment":""#);
    push_detail(out);
    out.extend_from_slice(br#"","_mcp":{"kind":"step","step":""#);
    push_escaped(out, name.as_bytes());
    out.extend_from_slice(br#"","detail":""#);
    push_detail(out);
    out.extend_from_slice(br#""}}"#);
}

/// The beginning of an entry that is no HTTP exchange, up to its URL.
fn push_beginning(out: &mut Vec<u8>, dates: &mut DateWriter, at: SystemTime, method: &str) {
    out.extend_from_slice(br#"{"startedDateTime":""#);
    dates.push(out, at);
    out.extend_from_slice(br#"","time":0,"request":{"method":""#);
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(br#"","url":""#);
}
