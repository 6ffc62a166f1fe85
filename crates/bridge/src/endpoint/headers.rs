//! The headers by which MCP 2026-07-28 lets gateways route without reading the body ("Standard Request
//! Headers", "Custom Headers", "Value Encoding").

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::ParamHeaders;
use super::tool_headers::ToolHeaders;
use mcp_bridge_protocol::message::{Message, decoded, member, member_json};

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The member of `_meta` that tells the revision a request is made in.
pub(super) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// The largest integer that every JSON reader keeps exactly.
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// A longer method is none, and would only make servers refuse the whole request for its headers.
const MAX_METHOD_BYTES: usize = 1024;

/// The method cannot stand in a header, so the message cannot be sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the method is too long, or has characters that a header may not have")]
pub(super) struct BadMethod;

/// The headers for a request or a notification of the modern era.
pub(super) fn modern(
    message: &Message,
    tools: &ToolHeaders,
    params: ParamHeaders,
) -> Result<HeaderMap, BadMethod> {
    let mut headers = HeaderMap::new();
    let method = message.method().unwrap_or_default();
    headers.insert(METHOD, method_header(method).ok_or(BadMethod)?);
    if let Some(version) = version(message).and_then(|version| plain(&version)) {
        headers.insert(PROTOCOL_VERSION, version);
    }
    headers.extend(name(message, method).map(|name| (NAME, encoded(&name))));
    match params {
        ParamHeaders::Auto | ParamHeaders::Always => mirror(message, method, tools, &mut headers),
        ParamHeaders::Off => {}
    }
    Ok(headers)
}

/// The headers for a message of the legacy era, which has no rules for them. Gateways of today route by
/// the method; the others go to servers that read them (GitHub's, for one, refuses calls without them on
/// sessions of 2025-11-25).
pub(super) fn legacy(message: &Message, tools: &ToolHeaders, params: ParamHeaders) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(method) = message.method().filter(|_| params != ParamHeaders::Off) else {
        return headers;
    };
    headers.extend(method_header(method).map(|method| (METHOD, method)));
    if params == ParamHeaders::Always || tools.are_read() {
        headers.extend(name(message, method).map(|name| (NAME, encoded(&name))));
        mirror(message, method, tools, &mut headers);
    }
    headers
}

/// Adds the arguments of a tool call that the tool wants to see in headers.
fn mirror(message: &Message, method: &str, tools: &ToolHeaders, headers: &mut HeaderMap) {
    if method != "tools/call" {
        return;
    }
    let Some(tool) = message.text_param("name") else {
        return;
    };
    let wanted = tools.of_tool(&tool);
    if wanted.is_empty() {
        return;
    }
    let arguments = message.param_json("arguments");
    for (name, path) in wanted {
        let value = arguments.and_then(|arguments| argument(arguments, &path));
        if let Some(value) = value.and_then(|value| text(&value, &name)) {
            headers.insert(name, encoded(&value));
        }
    }
}

fn method_header(method: &str) -> Option<HeaderValue> {
    plain(method).filter(|value| !value.is_empty() && value.len() <= MAX_METHOD_BYTES)
}

/// The revision that a message says it is made in.
pub(super) fn version(message: &Message) -> Option<Cow<'_, str>> {
    decoded(message.meta_json(VERSION_KEY)?)
}

/// The value of `Mcp-Name`: the thing that the method is about.
fn name<'a>(message: &'a Message, method: &str) -> Option<Cow<'a, str>> {
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        // The tasks extension (SEP-2663, "Routing Headers").
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    message.text_param(member)
}

/// The argument at `path`.
fn argument(arguments: &str, path: &[String]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut object = arguments;
    for parent in parents {
        object = member_json(object, parent)?;
    }
    member(object, last)
}

/// An argument as text; `None` where no header is sent.
fn text(value: &Value, header: &HeaderName) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => {
            let integer = integer(number);
            if integer.is_none() {
                tracing::warn!(%header, "not sent: the argument is not an integer within ±(2^53−1)");
            }
            integer.map(|integer| integer.to_string())
        }
        Value::Null => None,
        Value::Array(_) | Value::Object(_) => {
            tracing::warn!(%header, "not sent: the argument is not a primitive value");
            None
        }
    }
}

/// A number that is an integer, however it is spelled (`42.0` is 42).
fn integer(number: &serde_json::Number) -> Option<i64> {
    let integer = number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        #[expect(clippy::cast_precision_loss, reason = "2^53−1 is exact")]
        let safe = float.fract() == 0.0 && float.abs() <= MAX_SAFE_INTEGER as f64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked to be a safe integer"
        )]
        safe.then_some(float as i64)
    })?;
    (integer.abs() <= MAX_SAFE_INTEGER).then_some(integer)
}

/// A value that stands in a header as it is.
fn plain(value: &str) -> Option<HeaderValue> {
    is_plain(value)
        .then(|| HeaderValue::from_str(value).ok())
        .flatten()
}

/// A value as it is where that is legal, else in Base64 between marks.
fn encoded(value: &str) -> HeaderValue {
    let looks_encoded = value.starts_with("=?base64?") && value.ends_with("?=");
    if !looks_encoded && let Some(value) = plain(value) {
        return value;
    }
    let text = format!("=?base64?{}?=", STANDARD.encode(value));
    HeaderValue::try_from(text).unwrap_or_else(|_| unreachable!("Base64 is legal in a header"))
}

fn is_plain(value: &str) -> bool {
    let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    printable && !value.starts_with(' ') && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_the_specification_shows() {
        for (value, expected) in [
            ("us-west1", "us-west1"),
            ("us west 1", "us west 1"),
            ("", ""),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            ("日本語", "=?base64?5pel5pys6Kqe?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            (" us-west1", "=?base64?IHVzLXdlc3Qx?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("line1\r\nline2", "=?base64?bGluZTENCmxpbmUy?="),
            ("\tindented", "=?base64?CWluZGVudGVk?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("=?base64??=", "=?base64?PT9iYXNlNjQ/Pz0=?="),
            ("=?BASE64?abc?=", "=?BASE64?abc?="),
        ] {
            assert_eq!(encoded(value), expected, "{value:?}");
        }
    }

    #[test]
    fn arguments_become_text_by_their_type() {
        let header = HeaderName::from_static("mcp-param-x");
        for (json, expected) in [
            ("42", Some("42")),
            ("-7", Some("-7")),
            ("0", Some("0")),
            ("42.0", Some("42")),
            ("9007199254740991", Some("9007199254740991")),
            ("9007199254740992", None),
            ("1.5", None),
            ("true", Some("true")),
            ("false", Some("false")),
            (r#""""#, Some("")),
            ("null", None),
            ("[1]", None),
            ("{}", None),
        ] {
            let value = serde_json::from_str(json).unwrap();
            assert_eq!(text(&value, &header).as_deref(), expected, "{json}");
        }
    }

    fn message(text: &str) -> Message {
        Message::parse(&bytes::Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_request_has_its_method_name_version_and_mirrored_arguments() {
        let tools = ToolHeaders::default();
        let schema = r#"{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "where":{"type":"object","properties":{"zone":{"type":"integer","x-mcp-header":"Zone"}}}}}"#;
        let listed = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{{"name":"täg","inputSchema":{schema}}}]}}}}"#
        );
        tools.learn(&message(&listed.replace('\n', " ")));
        let headers = modern(
            &message(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"täg",
                "arguments":{"region":"ü","where":{"zone":7}},
                "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
            ),
            &tools,
            ParamHeaders::Auto,
        )
        .unwrap();
        for (name, expected) in [
            ("mcp-method", "tools/call"),
            ("mcp-name", "=?base64?dMOkZw==?="),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-param-region", "=?base64?w7w=?="),
            ("mcp-param-zone", "7"),
        ] {
            assert_eq!(headers[name], expected, "{name}");
        }
        assert_eq!(headers.len(), 5);
    }

    #[test]
    fn a_method_never_breaks_out_of_its_header() {
        let evil = message(r#"{"jsonrpc":"2.0","id":1,"method":"a\r\nEvil: 1"}"#);
        let headers = modern(&evil, &ToolHeaders::default(), ParamHeaders::Auto);
        assert_eq!(headers, Err(BadMethod));
    }
}
