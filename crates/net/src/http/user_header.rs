//! Headers of the user's own: which values may be sent, and which names are not the user's to set.

use reqwest::header::{HeaderName, HeaderValue};

/// The value of a header of the user's own, marked as sensitive; none if it has other characters than printable ASCII and
/// tabs (RFC 9110 §5.5): a line break in it would be another header.
#[must_use]
pub fn user_header_value(text: &str) -> Option<HeaderValue> {
    let is_legal = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    if !text.bytes().all(is_legal) {
        return None;
    }
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Headers that MCP and HTTP give a meaning that only the bridge can know. People copy some of them from
/// examples for other programs, so they are no error.
#[must_use]
pub fn is_reserved_header(name: &HeaderName) -> bool {
    const RESERVED: [&str; 11] = [
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "dpop",
        "host",
        "last-event-id",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    name.as_str().starts_with("mcp-") || RESERVED.contains(&name.as_str())
}
