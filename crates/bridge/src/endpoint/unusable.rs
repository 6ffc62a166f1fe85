//! Unusable response bodies and events, which hold no JSON-RPC message: the reason in words, and the request that a
//! damaged response belongs to.

use std::borrow::Cow;

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::Failure;
use mcp_bridge_protocol::message::{Invalid, Message, Parsed, RequestId};
use mcp_bridge_text::printable;

/// Limits for the part of a text that is shown and for a word in it, in characters: a longer word may be a token.
const EXCERPT_CHARS: usize = 60;
const EXCERPT_WORD_CHARS: usize = 20;

/// Beginnings of the lines of an event stream.
const STREAM_FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// A text that holds no message.
#[derive(Debug)]
pub(super) struct UnusableText {
    /// The request that it would have answered, where that can be seen.
    pub(super) answers: Option<RequestId>,
    /// The defect in words, printable.
    pub(super) reason: String,
}

impl UnusableText {
    pub(super) fn describe(text: &[u8], invalid: &Invalid) -> Self {
        let reason = match invalid {
            Invalid::NotAMessage { .. } => invalid.to_string(),
            Invalid::NotJson(detail) => format!("not JSON: {}", what_it_is(text, detail)),
        };
        Self {
            answers: Message::answered_id_in_prefix(text),
            reason,
        }
    }
}

/// Reads the messages in a text that came by HTTP. Bytes that are no UTF-8 are replaced by U+FFFD in it, as the
/// WHATWG decodes event streams.
pub(super) fn parse_all(text: &mut Bytes) -> Parsed {
    let read = Message::parse_all(text);
    if read.is_valid() {
        return read;
    }
    match String::from_utf8_lossy(text) {
        Cow::Borrowed(_) => read,
        Cow::Owned(replaced) => {
            tracing::debug!("replaced bytes that are no UTF-8 in a message of the server");
            *text = replaced.into();
            Message::parse_all(text)
        }
    }
}

/// The failure of a request whose answer is such a text.
pub(super) fn failure(reason: &str, headers: &HeaderMap) -> Failure {
    Failure::Unusable(foreign_encoding(headers).unwrap_or_else(|| reason.to_owned()))
}

/// A `Content-Encoding` that the bridge neither asks for nor decodes, in words.
pub(super) fn foreign_encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get(CONTENT_ENCODING)?.as_bytes();
    let is_known = [&b"gzip"[..], b"identity", b""]
        .iter()
        .any(|known| encoding.eq_ignore_ascii_case(known));
    let encoding = excerpt(encoding);
    (!is_known).then(|| format!("it has the Content-Encoding {encoding}, which was not asked for"))
}

fn what_it_is(text: &[u8], detail: &str) -> Cow<'static, str> {
    let start = text.trim_ascii_start();
    if start.starts_with(b"\x1F\x8B") || start.starts_with("\u{1F}\u{FFFD}".as_bytes()) {
        return "it is compressed by gzip, and no Content-Encoding says so".into();
    }
    if memchr::memchr(0, start).is_some() {
        return format!("it has zero bytes in it ({detail})").into();
    }
    if start.starts_with(b"{") || start.starts_with(b"[") {
        return detail.to_owned().into();
    }
    if start.starts_with(b"<") {
        return "it is a web page".into();
    }
    if STREAM_FIELDS.iter().any(|field| start.starts_with(field)) {
        return "it is an event stream, and its Content-Type does not say so".into();
    }
    format!("it begins with {}", excerpt(start)).into()
}

/// The beginning of a text in quotes.
pub(super) fn excerpt(text: &[u8]) -> String {
    // A character has four bytes at most.
    let text = &text[..text.len().min(EXCERPT_CHARS * 4)];
    let mut shown = String::new();
    for word in printable::line(&String::from_utf8_lossy(text)).split_whitespace() {
        let is_short = word.chars().count() <= EXCERPT_WORD_CHARS;
        let word = if is_short { word } else { "…" };
        if shown.chars().count() + word.chars().count() > EXCERPT_CHARS {
            shown.push('…');
            break;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
    }
    format!("“{shown}”")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusable(text: &[u8]) -> UnusableText {
        let mut text = Bytes::copy_from_slice(text);
        let read = parse_all(&mut text).next().unwrap();
        UnusableText::describe(&text, &read.expect_err("it holds no message"))
    }

    #[test]
    fn the_reason_says_what_the_text_is() {
        for (text, expected) in [
            (&b"Accepted"[..], "it begins with “Accepted”"),
            (b"<!doctype html><p>hi", "it is a web page"),
            (b"event: message\ndata: {}\n\n", "it is an event stream"),
            (b"\x1f\x8b\x08\x00abc", "compressed by gzip"),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"resu", "EOF while parsing"),
            (b"{\"a\":\"b\0\"}", "zero bytes"),
            (b"42", "not a JSON-RPC 2.0 message"),
            (b"[]", "the batch is empty"),
        ] {
            let reason = unusable(text).reason;
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn an_excerpt_is_short_printable_and_without_long_words() {
        assert_eq!(
            excerpt(b"key \x1b[31mred\r\n sk-0123456789012345678901234567"),
            "“key \u{fffd}[31mred …”"
        );
        assert!(excerpt("wörd ".repeat(100).as_bytes()).chars().count() < EXCERPT_CHARS + 4);
    }

    #[test]
    fn a_damaged_response_belongs_to_the_request_whose_id_can_be_seen() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"a":"b"#, Some("7")),
            (r#"{"jsonrpc":"2.0","result":{},"id":"x","#, Some("\"x\"")),
            (r#"{"id":7,"result":{}}"#, Some("7")),
            (r#"{"jsonrpc":"2.0","id":7}"#, Some("7")),
            // A cut-off id, a request, a notification, a heartbeat.
            (r#"{"jsonrpc":"2.0","id":7"#, None),
            (r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{"#, None),
            (r#"{"jsonrpc":"2.0","method":"a","params":{"id":7,"#, None),
            (r#"{"type":"heartbeat","id":7}"#, None),
        ] {
            let answers = unusable(text.as_bytes()).answers;
            assert_eq!(answers.as_ref().map(RequestId::as_json), expected, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced() {
        let mut text = Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"caf\xe9\"}");
        let message = parse_all(&mut text).next().unwrap().expect("a message");
        assert_eq!(message.result_json(), Some("\"caf\u{fffd}\""));
    }
}
