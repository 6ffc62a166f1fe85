//! Masking of secrets in what is recorded: texts by what they say and by the secrets that the headers have shown.

use std::collections::VecDeque;
use std::fmt;

use memchr::memchr_iter;
use memchr::memmem::Finder;
use url::Url;

use super::json::push_escaped;
use super::recent::RecentTexts;
use mcp_bridge_net::observer::Purpose;
use mcp_bridge_text::redaction::redact;

/// Limit for the part of a body that is recorded, in bytes.
const BODY_BYTES: usize = 64 * 1024;

/// Secrets that are remembered: tokens and sessions change from time to time.
const MAX_SECRETS: usize = 64;

/// The secrets that have been seen.
#[derive(Default)]
pub(super) struct Masking {
    secrets: VecDeque<Finder<'static>>,
    revision: u64,
    recent: RecentTexts,
}

impl fmt::Debug for Masking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masking({} secrets)", self.secrets.len())
    }
}

impl Masking {
    /// Number that changes with the secrets: what was masked before may have to be masked anew.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// A URL. The query of the server's URL is the user's own.
    pub(super) fn url(&mut self, mut url: Url, purpose: Purpose) -> String {
        if purpose == Purpose::Server && url.query().is_some() {
            let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            let mut query = url.query_pairs_mut();
            query.clear();
            for (name, value) in pairs {
                query.append_pair(&name, if value.is_empty() { "" } else { "masked" });
                self.add(&value);
            }
        }
        let mut shown = String::new();
        self.mask(url.as_str().as_bytes(), BODY_BYTES, |piece| {
            shown.push_str(piece);
        });
        shown
    }

    /// Appends the beginning of a text as the inside of a JSON string.
    pub(super) fn push_text(&self, out: &mut Vec<u8>, text: &[u8]) {
        self.push_text_up_to(out, text, BODY_BYTES);
    }

    /// The same for a message, which most likely comes again as a body, or came before.
    pub(super) fn push_message(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        if let Some(shown) = self.recent.find(text) {
            out.extend_from_slice(shown);
            return;
        }
        let start = out.len();
        self.push_text(out, text);
        self.recent.keep(text, &out[start..]);
    }

    /// The same for an event stream, whose events are messages.
    pub(super) fn push_events(&self, out: &mut Vec<u8>, stream: &[u8]) {
        let stream_end = stream.len().min(BODY_BYTES);
        let mut rest = 0;
        let mut line_start = 0;
        for line_end in memchr_iter(b'\n', &stream[..stream_end]) {
            let line = &stream[line_start..line_end];
            let data = line.strip_prefix(b"data: ").unwrap_or_default();
            if let Some(shown) = self.recent.find(data) {
                self.push_text(out, &stream[rest..line_end - data.len()]);
                out.extend_from_slice(shown);
                rest = line_end;
            }
            line_start = line_end + 1;
        }
        self.push_text_up_to(out, &stream[rest..], BODY_BYTES.saturating_sub(rest));
    }

    fn push_text_up_to(&self, out: &mut Vec<u8>, text: &[u8], limit: usize) {
        self.mask(text, limit, |piece| push_escaped(out, piece.as_bytes()));
    }

    fn mask(&self, text: &[u8], limit: usize, show: impl FnMut(&str)) {
        redact(
            text,
            |text, found| {
                for secret in &self.secrets {
                    let length = secret.needle().len();
                    let places = secret.find_iter(text.as_bytes());
                    found.extend(places.map(|at| at..at + length));
                }
            },
            limit,
            show,
        );
    }

    /// Takes the value of a header for a secret.
    pub(super) fn learn(&mut self, value: &[u8]) {
        let Ok(value) = std::str::from_utf8(value) else {
            return;
        };
        self.add(value);
        // A scheme before it (`Bearer …`), or the attributes behind a cookie, may be missing where it is repeated.
        for word in value.split([' ', ';', '=']) {
            self.add(word);
        }
    }

    fn add(&mut self, secret: &str) {
        /// Shorter words, such as schemes, may be any.
        const SHORTEST: usize = 8;
        let is_known = |known: &Finder<'_>| known.needle() == secret.as_bytes();
        if secret.len() < SHORTEST || self.secrets.iter().any(is_known) {
            return;
        }
        if self.secrets.len() >= MAX_SECRETS {
            self.secrets.pop_front();
        }
        let finder = Finder::new(secret.as_bytes()).into_owned();
        self.secrets.push_back(finder);
        self.revision += 1;
        self.recent.clear();
    }
}
