//! Headers as HAR has them, with those masked that may be secret.
//!
//! From one request to the next, most headers stay as they are. So the JSON of each is kept, and used again.

use std::ops::Range;

use super::json::push_escaped;
use super::masking::Masking;
use mcp_bridge_text::redaction::MASK;

/// Request headers whose values are shown, beside those of MCP. All others may be the user's own, such as API keys.
const PUBLIC_REQUEST_HEADERS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "origin",
    "user-agent",
];

/// Headers of MCP whose values give access to something.
const SESSION_ID: &str = "mcp-session-id";

/// Response headers whose values are masked.
const SECRET_RESPONSE_HEADERS: [&str; 4] = [
    SESSION_ID,
    "set-cookie",
    "authorization",
    "proxy-authorization",
];

/// Headers that are kept, and the longest that is, in bytes: those of a common request.
const MAX_KEPT: usize = 64;
const LONGEST_KEPT: usize = 4096;

/// Headers of one kind, as they were shown last.
#[derive(Debug)]
pub(super) struct ShownHeaders {
    is_public: fn(&[u8]) -> bool,
    kept: Vec<ShownHeader>,
    revision: u64,
}

/// A header, and its JSON.
#[derive(Default)]
struct ShownHeader {
    name: Vec<u8>,
    value: Vec<u8>,
    json: Vec<u8>,
    /// Place of the value in it.
    shown: Range<usize>,
}

impl std::fmt::Debug for ShownHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.json))
    }
}

impl ShownHeaders {
    pub(super) fn of_requests() -> Self {
        Self::new(|name| {
            let is_of_mcp = name.starts_with(b"mcp-") && name != SESSION_ID.as_bytes();
            let mut public = PUBLIC_REQUEST_HEADERS.iter();
            is_of_mcp || public.any(|known| known.as_bytes() == name)
        })
    }

    pub(super) fn of_responses() -> Self {
        Self::new(|name| {
            let mut secret = SECRET_RESPONSE_HEADERS.iter();
            !secret.any(|known| known.as_bytes() == name)
        })
    }

    fn new(is_public: fn(&[u8]) -> bool) -> Self {
        Self {
            is_public,
            kept: Vec::new(),
            revision: 0,
        }
    }

    /// Appends the elements of a list of headers. `on_shown` is told each name, and the value as the inside of a JSON
    /// string.
    pub(super) fn push<'a>(
        &mut self,
        out: &mut Vec<u8>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        masking: &mut Masking,
        mut on_shown: impl FnMut(&[u8], &[u8]),
    ) {
        if self.revision != masking.revision() {
            self.kept.clear();
            self.revision = masking.revision();
        }
        let mut beyond = ShownHeader::default();
        for (at, (name, value)) in headers.enumerate() {
            if at == self.kept.len() && at < MAX_KEPT {
                self.kept.push(ShownHeader::default());
            }
            let header = self.kept.get_mut(at).unwrap_or(&mut beyond);
            if header.name != name || header.value != value {
                header.show(name, value, self.is_public, masking);
            }
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&header.json);
            on_shown(name, &header.json[header.shown.clone()]);
            if header.value.len() > LONGEST_KEPT {
                *header = ShownHeader::default();
            }
        }
    }
}

impl ShownHeader {
    fn show(
        &mut self,
        name: &[u8],
        value: &[u8],
        is_public: fn(&[u8]) -> bool,
        masking: &mut Masking,
    ) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.value.clear();
        self.value.extend_from_slice(value);
        let json = &mut self.json;
        json.clear();
        json.extend_from_slice(b"{\"name\":\"");
        push_escaped(json, name);
        json.extend_from_slice(b"\",\"value\":\"");
        let start = json.len();
        if is_public(name) {
            masking.push_text(json, value);
        } else {
            masking.learn(value);
            json.extend_from_slice(MASK.as_bytes());
        }
        self.shown = start..json.len();
        json.extend_from_slice(b"\"}");
    }
}
