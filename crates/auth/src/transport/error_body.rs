//! Error responses of the token, device authorization, registration and revocation endpoints (RFC 6749 §5.2,
//! RFC 7591 §3.2.2), also in formats of the server's own: other JSON, plain text, web pages.

use reqwest::StatusCode;
use serde_json::{Map, Value};

use crate::error::shown;
use mcp_bridge_net::http::json::{self, BYTE_ORDER_MARK};
use mcp_bridge_text::printable;

/// Limit for the part of a body that is searched for words that a person can read, in bytes.
const LARGEST_TEXT: usize = 16 * 1024;

/// Limit for such words, in characters; a sentence or two.
const LONGEST_WORDS: usize = 200;

/// Depth in a JSON document to which words are looked for.
const DEEPEST_MEMBER: usize = 4;

/// Members of JSON documents that hold a message for people, the best first; compared without case and
/// punctuation.
const MESSAGES: [&str; 15] = [
    "errordescription",
    "message",
    "msg",
    "errormessage",
    "errorsummary",
    "errmsg",
    "detail",
    "details",
    "description",
    "reason",
    "faultstring",
    "title",
    "errors",
    "error",
    "fault",
];

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OAuthErrorBody {
    /// The error code; none if the response is not in the standard form.
    pub(crate) code: Option<String>,
    /// Further words of the response. Where there is no code it begins with the status.
    pub(crate) description: Option<String>,
}

impl OAuthErrorBody {
    /// Reads any response that does not bring what was asked for.
    pub(crate) fn read(status: StatusCode, body: &[u8]) -> Self {
        let json = json::parse::<Value>(body).ok();
        if let Some(Value::Object(members)) = &json
            && let Some(standard) = Self::standard(members)
        {
            return standard;
        }
        let words = match &json {
            Some(value) => words_in(value),
            None => words_of_text(body),
        };
        Self {
            code: None,
            description: Some(match words {
                Some(words) => format!("{status}: {words}"),
                None => status.to_string(),
            }),
        }
    }

    /// The members of the standard form; a server that has no `error_description` may have its message
    /// elsewhere.
    pub(crate) fn standard(members: &Map<String, Value>) -> Option<Self> {
        let code = members.get("error").and_then(Value::as_str)?;
        if code.is_empty() {
            return None;
        }
        let others: Map<_, _> = members
            .iter()
            .filter(|(name, _)| *name != "error")
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Some(Self {
            code: Some(code.to_owned()),
            description: words_in(&Value::Object(others)),
        })
    }

    /// Code and description in one line.
    pub(crate) fn text(&self) -> String {
        let parts = [self.code.as_deref(), self.description.as_deref()];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        shown(&parts.join(": "))
    }
}

/// The message for people in a JSON document.
pub(crate) fn words_in(value: &Value) -> Option<String> {
    words_within(value, DEEPEST_MEMBER)
}

fn words_within(value: &Value, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => readable(text),
        Value::Array(elements) => elements
            .iter()
            .find_map(|element| words_within(element, depth)),
        Value::Object(members) => MESSAGES.iter().find_map(|wanted| {
            let (_, value) = members.iter().find(|(name, _)| is_named(name, wanted))?;
            words_within(value, depth)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn is_named(name: &str, wanted: &str) -> bool {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
    letters
        .map(|byte| byte.to_ascii_lowercase())
        .eq(wanted.bytes())
}

/// The words of a body that is not JSON: a web page without its markup, or the text as it is.
fn words_of_text(body: &[u8]) -> Option<String> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let text = String::from_utf8_lossy(&body[..body.len().min(LARGEST_TEXT)]);
    let text = text.trim();
    if text.starts_with('<') {
        return readable(&without_markup(text));
    }
    readable(text)
}

/// `text` on one line, without what a terminal would not print, and not longer than a message should be.
fn readable(text: &str) -> Option<String> {
    let line = printable::line(text);
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let short = printable::short_line(&line, LONGEST_WORDS);
    (!short.is_empty()).then_some(short)
}

/// The text of a web page: what stands between tags, outside of scripts and styles.
fn without_markup(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        text.push(' ');
        let tag = &rest[start..];
        let end = match hidden_element(tag) {
            Some(closing) => find_ignoring_case(tag, closing).unwrap_or(tag.len()),
            None => 0,
        };
        rest = tag[end..]
            .find('>')
            .map_or("", |close| &tag[end + close + 1..]);
    }
    text.push_str(rest);
    ENTITIES.iter().fold(text, |text, (entity, character)| {
        text.replace(entity, character)
    })
}

/// Character references that messages have (HTML Living Standard §13.5).
const ENTITIES: [(&str, &str); 7] = [
    ("&nbsp;", " "),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&amp;", "&"),
];

/// The end of an element whose content is not shown, if `tag` begins one.
fn hidden_element(tag: &str) -> Option<&'static str> {
    let begins = |name: &str| {
        tag.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if begins("<script") {
        return Some("</script");
    }
    if begins("<style") {
        return Some("</style");
    }
    begins("<!--").then_some("-->")
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    // Behind the first characters, so that `<!--` does not end where it begins.
    let offset = wanted.len().min(text.len());
    let found = text.as_bytes()[offset..]
        .windows(wanted.len())
        .position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))?;
    Some(offset + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> String {
        OAuthErrorBody::read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).text()
    }

    #[test]
    fn an_error_response_of_any_format_is_a_line_for_people() {
        let check = |status, body: &str, expected: &str| {
            assert_eq!(read(status, body), expected, "{body}");
        };
        check(
            400,
            r#"{"error":"invalid_grant","error_description":"used"}"#,
            "invalid_grant: used",
        );
        check(400, r#"{"error":"invalid_grant"}"#, "invalid_grant");
        check(
            400,
            r#"{"error":"invalid_grant","error_description":null,"message":"used"}"#,
            "invalid_grant: used",
        );
        check(
            401,
            r#"[{"logref":"59","message":"Error: 'Bad credentials'"}]"#,
            "401 Unauthorized: Error: 'Bad credentials'",
        );
        check(
            400,
            r#"{"statusCode":400,"Message":"Redirect URI mismatch"}"#,
            "400 Bad Request: Redirect URI mismatch",
        );
        check(
            422,
            r#"{"detail":[{"loc":["body","client_id"],"msg":"field required"}]}"#,
            "422 Unprocessable Entity: field required",
        );
        check(
            403,
            r#"{"error":{"type":"x","error_message":"no\u001b[2J\nway\u202e"}}"#,
            "403 Forbidden: no\u{fffd}[2J way\u{fffd}",
        );
        check(400, r#"{"errors":["one","two"]}"#, "400 Bad Request: one");
        check(404, "Not found", "404 Not Found: Not found");
        check(400, "\u{feff}{\"error\":\"x\"}", "x");
        check(
            400,
            "<!doctype html><html><head><style>a > b {}</style><!-- <b>no</b> --><title>Oops</title>\
             <SCRIPT>if (a < b) {}</SCRIPT></head>\n<body>Bad &amp; <b>broken</b></body></html>",
            "400 Bad Request: Oops Bad & broken",
        );
        check(400, "<a", "400 Bad Request");
        check(400, "<script>", "400 Bad Request");
        for nothing in ["", "  ", "null", "1", "{}", "[]", r#"{"token":"secret"}"#] {
            check(401, nothing, "401 Unauthorized");
        }
        let long = read(400, &"word ".repeat(10_000));
        assert!(long.chars().count() < 250 && long.ends_with('…'), "{long}");
        assert_eq!(read(400, &"[".repeat(5_000)).chars().count(), 218);
    }
}
