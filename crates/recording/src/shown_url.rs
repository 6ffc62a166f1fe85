//! URL of a request as HAR has it.

use url::Url;

use super::json::push_escaped;
use super::masking::Masking;
use mcp_bridge_net::observer::Purpose;

/// A URL, masked, with its parts as JSON. All but the sign-in ask for one URL, so the last one is kept.
#[derive(Default)]
pub(super) struct ShownUrl {
    given: Vec<u8>,
    purpose: Option<Purpose>,
    revision: u64,
    /// Inside of a string.
    pub(super) url: Vec<u8>,
    /// Elements of a list.
    pub(super) query: Vec<u8>,
    /// A string, or `null`.
    pub(super) host: Vec<u8>,
}

impl std::fmt::Debug for ShownUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.url))
    }
}

impl ShownUrl {
    /// Shows this URL.
    pub(super) fn show(&mut self, given: &[u8], purpose: Purpose, masking: &mut Masking) {
        if self.given == given
            && self.purpose == Some(purpose)
            && self.revision == masking.revision()
        {
            return;
        }
        let url = std::str::from_utf8(given).map(Url::parse);
        let Ok(Ok(url)) = url else {
            return;
        };
        *self = Self {
            given: given.to_vec(),
            purpose: Some(purpose),
            ..Self::default()
        };
        match url.host_str() {
            Some(host) => {
                self.host.push(b'"');
                push_escaped(&mut self.host, host.as_bytes());
                self.host.push(b'"');
            }
            None => self.host.extend_from_slice(b"null"),
        }
        let url = masking.url(url, purpose);
        push_escaped(&mut self.url, url.as_bytes());
        self.show_query(&url);
        self.revision = masking.revision();
    }

    /// The parameters in a URL.
    fn show_query(&mut self, url: &str) {
        let Some(url) = url.contains('?').then(|| Url::parse(url).ok()).flatten() else {
            return;
        };
        let out = &mut self.query;
        for (name, value) in url.query_pairs() {
            if !out.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"name":""#);
            push_escaped(out, name.as_bytes());
            out.extend_from_slice(br#"","value":""#);
            push_escaped(out, value.as_bytes());
            out.extend_from_slice(br#""}"#);
        }
    }
}
