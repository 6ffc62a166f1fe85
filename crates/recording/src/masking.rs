//! Masking of secrets in what is recorded: headers by their names, texts by what they say and by the secrets that the
//! headers have shown.

use std::collections::VecDeque;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::har::NameAndValue;
use mcp_bridge_net::observer::Purpose;
use mcp_bridge_text::redaction::{MASK, redacted};

/// Limit for the part of a body that is recorded, in bytes.
const BODY_BYTES: usize = 64 * 1024;

/// Secrets that are remembered: tokens and sessions change from time to time.
const MAX_SECRETS: usize = 64;

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

/// The secrets that have been seen.
#[derive(Debug, Default)]
pub(super) struct Masking {
    secrets: VecDeque<String>,
}

impl Masking {
    /// Request headers as HAR has them.
    pub(super) fn request_headers(&mut self, headers: &HeaderMap) -> Vec<NameAndValue> {
        self.headers(headers, |name| {
            let is_of_mcp = name.as_str().starts_with("mcp-") && name.as_str() != SESSION_ID;
            is_of_mcp || PUBLIC_REQUEST_HEADERS.contains(&name.as_str())
        })
    }

    /// Response headers as HAR has them.
    pub(super) fn response_headers(&mut self, headers: &HeaderMap) -> Vec<NameAndValue> {
        self.headers(headers, |name| {
            !SECRET_RESPONSE_HEADERS.contains(&name.as_str())
        })
    }

    fn headers(
        &mut self,
        headers: &HeaderMap,
        is_public: impl Fn(&HeaderName) -> bool,
    ) -> Vec<NameAndValue> {
        let mut shown = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let value = if is_public(name) {
                self.text(value.as_bytes())
            } else {
                self.learn(value);
                MASK.to_owned()
            };
            let name = name.as_str().to_owned();
            shown.push(NameAndValue { name, value });
        }
        shown
    }

    /// A URL. The query of the server's URL is the user's own.
    pub(super) fn url(&mut self, url: &Url, purpose: Purpose) -> String {
        let mut url = url.clone();
        if purpose == Purpose::Server && url.query().is_some() {
            let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            let mut query = url.query_pairs_mut();
            query.clear();
            for (name, value) in pairs {
                query.append_pair(&name, if value.is_empty() { "" } else { "masked" });
                self.add(&value);
            }
        }
        self.text(url.as_str().as_bytes())
    }

    /// The beginning of a text.
    pub(super) fn text(&self, text: &[u8]) -> String {
        let (first, second) = self.secrets.as_slices();
        redacted(text, first.iter().chain(second), BODY_BYTES)
    }

    fn learn(&mut self, value: &HeaderValue) {
        let Ok(value) = value.to_str() else { return };
        self.add(value);
        // A scheme before it (`Bearer …`), or the attributes behind a cookie, may be missing where it is repeated.
        for word in value.split([' ', ';', '=']) {
            self.add(word);
        }
    }

    fn add(&mut self, secret: &str) {
        /// Shorter words, such as schemes, may be any.
        const SHORTEST: usize = 8;
        if secret.len() < SHORTEST || self.secrets.iter().any(|known| known == secret) {
            return;
        }
        if self.secrets.len() >= MAX_SECRETS {
            self.secrets.pop_front();
        }
        self.secrets.push_back(secret.to_owned());
    }
}
