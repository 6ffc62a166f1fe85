//! JSON-RPC message: the envelope, read without touching what is inside.
//!
//! A [`Message`] is the text as it arrived plus what the bridge has to know of it: its kind, its id and
//! its method. Params, results and errors stay text, so that integers beyond 2^53, `1.0`, `1e400`, key
//! order, unknown members and lone surrogates reach the other side as they were sent.

mod batch;
pub(crate) mod envelope;
mod id;
mod id_map;
mod list;
mod members;
mod scanner;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use crate::codes::{INVALID_REQUEST, PARSE_ERROR};
pub use batch::Parsed;
use envelope::Envelope;
pub use id::RequestId;
pub use id_map::{IdHasher, IdMap};
pub use list::{EmptyCursor, MAX_PAGES, NextPage, Pages, next_cursor, params_on_behalf_of};
use members::{Member, last_named, may_have, members};
pub use members::{decoded, member, member_json};
pub(crate) use members::{each_member, is_object};

/// Bytes of an envelope beside its id, method and contents.
const ENVELOPE_BYTES: usize = 48;

/// Kind of a message, by JSON-RPC 2.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Has an id and a method: wants exactly one response.
    Request {
        /// The id to answer.
        id: RequestId,
        /// The method.
        method: String,
    },
    /// Has a method and no id: is never answered.
    Notification {
        /// The method.
        method: String,
    },
    /// Has a result or an error.
    Response {
        /// The request that it answers; `None` for `null`, which only an error may have.
        id: Option<RequestId>,
    },
}

/// One JSON-RPC message, kept as the text it arrived in.
#[derive(Debug, Clone)]
pub struct Message(Arc<Parts>);

/// Shared, because a message is wherever somebody may need it again.
#[derive(Debug)]
struct Parts {
    text: Bytes,
    kind: Kind,
    id: Option<Range<usize>>,
    params: Option<Range<usize>>,
    result: Option<Range<usize>>,
    error: Option<Range<usize>>,
    /// The members of `params`, once somebody has asked for one.
    param_members: OnceLock<Vec<Member>>,
    /// Those of the `_meta` in them, likewise.
    meta_members: OnceLock<Vec<Member>>,
    /// True if the text is known to have no line break.
    is_one_line: bool,
}

impl Parts {
    /// A message of which no part is known yet.
    const fn new(text: Bytes, kind: Kind) -> Self {
        Self {
            text,
            kind,
            id: None,
            params: None,
            result: None,
            error: None,
            param_members: OnceLock::new(),
            meta_members: OnceLock::new(),
            is_one_line: false,
        }
    }
}

/// Reason why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not UTF-8, or not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not a JSON-RPC 2.0 message.
    #[error("not a JSON-RPC 2.0 message: {reason}")]
    NotAMessage {
        /// The id, where there is one that may be echoed.
        id: Option<RequestId>,
        /// The defect, in words.
        reason: &'static str,
    },
}

impl Invalid {
    /// The error response that JSON-RPC asks for: the id where one could be read, else `null`.
    #[must_use]
    pub fn to_response(&self) -> Message {
        let (id, code) = match self {
            Self::NotJson(_) => (None, PARSE_ERROR),
            Self::NotAMessage { id, .. } => (id.as_ref(), INVALID_REQUEST),
        };
        Message::error(id, code, &self.to_string(), None)
    }

    const fn not_a_message(id: Option<RequestId>, reason: &'static str) -> Self {
        Self::NotAMessage { id, reason }
    }
}

impl Message {
    /// Reads a text that holds one message or a batch of them (JSON-RPC 2.0 §6, MCP 2025-03-26).
    ///
    /// An empty batch is one invalid message, as JSON-RPC has it.
    #[must_use]
    pub fn parse_all(text: &Bytes) -> Parsed {
        Parsed::of(text)
    }

    /// Reads a text that holds one message.
    pub fn parse(text: &Bytes) -> Result<Self, Invalid> {
        let utf8 =
            std::str::from_utf8(text).map_err(|error| Invalid::NotJson(error.to_string()))?;
        Envelope::read(utf8)
            .map_err(|error| Invalid::NotJson(error.to_string()))?
            .into_message(text)
    }

    /// The id of the request whose text begins with `prefix`, for a text that was too long to keep.
    #[must_use]
    pub fn id_in_prefix(prefix: &[u8]) -> Option<RequestId> {
        let envelope = Envelope::of_prefix(prefix)?;
        envelope.method?;
        RequestId::from_json(envelope.id?)
    }

    /// The id of the request that a damaged text answers, as far as it can be read: it has an id, no method, and
    /// another member that only JSON-RPC has.
    #[must_use]
    pub fn answered_id_in_prefix(prefix: &[u8]) -> Option<RequestId> {
        let envelope = Envelope::of_prefix(prefix)?;
        let is_json_rpc = envelope.jsonrpc.or(envelope.result).or(envelope.error);
        is_json_rpc.filter(|_| envelope.method.is_none())?;
        RequestId::from_json(envelope.id?)
    }

    /// An error response.
    #[must_use]
    pub fn error(
        id: Option<&RequestId>,
        code: i64,
        message: &str,
        data: Option<&serde_json::Value>,
    ) -> Self {
        let id = id.map_or("null", RequestId::as_json);
        let message = serde_json::Value::from(message);
        let data = data.map_or_else(String::new, |data| format!(r#","data":{data}"#));
        Self::built(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}{data}}}}}"#
        ))
    }

    /// A response with `result`, which is JSON text.
    #[must_use]
    pub fn result(id: &RequestId, result: &str) -> Self {
        let mut text = String::with_capacity(ENVELOPE_BYTES + id.as_json().len() + result.len());
        text.push_str(r#"{"jsonrpc":"2.0","id":"#);
        let id_range = push(&mut text, id.as_json());
        text.push_str(r#","result":"#);
        let result = push(&mut text, result);
        text.push('}');
        let kind = Kind::Response {
            id: Some(id.clone()),
        };
        Self(Arc::new(Parts {
            id: Some(id_range),
            result: Some(result),
            ..Parts::new(text.into(), kind)
        }))
    }

    /// A request with `params`, which is the JSON text of an object.
    #[must_use]
    pub fn request(id: &RequestId, method: &str, params: &str) -> Self {
        let length = ENVELOPE_BYTES + id.as_json().len() + method.len() + params.len();
        let mut text = String::with_capacity(length);
        text.push_str(r#"{"jsonrpc":"2.0","id":"#);
        let id_range = push(&mut text, id.as_json());
        text.push_str(r#","method":"#);
        push_string(&mut text, method);
        text.push_str(r#","params":"#);
        let params = push(&mut text, params);
        text.push('}');
        let kind = Kind::Request {
            id: id.clone(),
            method: method.to_owned(),
        };
        Self(Arc::new(Parts {
            id: Some(id_range),
            params: Some(params),
            ..Parts::new(text.into(), kind)
        }))
    }

    /// A notification with `params`.
    #[must_use]
    pub fn notification(method: &str, params: &serde_json::Value) -> Self {
        let method = serde_json::Value::from(method);
        Self::built(format!(
            r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#
        ))
    }

    /// A copy that carries `id` instead of its own; everything else keeps its bytes.
    #[must_use]
    pub fn with_id(&self, id: &RequestId) -> Self {
        if self.id() == Some(id) {
            return self.clone();
        }
        let mut text = BytesMut::with_capacity(self.0.text.len() + id.as_json().len() + 8);
        if let Some(range) = &self.0.id {
            text.extend_from_slice(&self.0.text[..range.start]);
            text.extend_from_slice(id.as_json().as_bytes());
            text.extend_from_slice(&self.0.text[range.end..]);
        } else {
            let brace = memchr::memchr(b'{', &self.0.text).map_or(0, |at| at + 1);
            text.extend_from_slice(&self.0.text[..brace]);
            text.extend_from_slice(format!(r#""id":{id},"#).as_bytes());
            text.extend_from_slice(&self.0.text[brace..]);
        }
        Self::parse(&text.freeze()).unwrap_or_else(|_| self.clone())
    }

    /// The text as it arrived.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.0.text
    }

    /// The kind of the message.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// Returns whether this is a request, which wants a response.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.kind(), Kind::Request { .. })
    }

    /// The method of a request or a notification.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Request { method, .. } | Kind::Notification { method } => Some(method),
            Kind::Response { .. } => None,
        }
    }

    /// The id of a request, or of the request that a response answers.
    #[must_use]
    pub fn id(&self) -> Option<&RequestId> {
        match &self.0.kind {
            Kind::Request { id, .. } => Some(id),
            Kind::Response { id } => id.as_ref(),
            Kind::Notification { .. } => None,
        }
    }

    /// Returns whether this is an error response.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.0.error.is_some()
    }

    /// A member of `params`, if `params` is an object that has it and it reads as `T`.
    #[must_use]
    pub fn param<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.param_json(name)?).ok()
    }

    /// A member of `params`, if it is a string.
    #[must_use]
    pub fn text_param(&self, name: &str) -> Option<Cow<'_, str>> {
        decoded(self.param_json(name)?)
    }

    /// The JSON text of a member of `params`.
    #[must_use]
    pub fn param_json(&self, name: &str) -> Option<&str> {
        // As bytes, for a long text would be checked to be UTF-8 each time.
        let params = &self.0.text[self.0.params.clone()?];
        let known = &self.0.param_members;
        if known.get().is_none() && !may_have(params, name) {
            return None;
        }
        let members = known.get_or_init(|| members(self.params_json().unwrap_or_default()));
        let member = last_named(members, name, params)?;
        std::str::from_utf8(&params[member.value.clone()]).ok()
    }

    /// The JSON text of a member of the `_meta` in `params`.
    #[must_use]
    pub fn meta_json(&self, name: &str) -> Option<&str> {
        let meta = self.param_json("_meta")?;
        let members = self.0.meta_members.get_or_init(|| members(meta));
        let member = last_named(members, name, meta.as_bytes())?;
        Some(&meta[member.value.clone()])
    }

    /// A member of `result`, likewise.
    #[must_use]
    pub fn result_member<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        member(self.part(self.0.result.as_ref())?, name)
    }

    /// The JSON text of `params`.
    #[must_use]
    pub fn params_json(&self) -> Option<&str> {
        self.part(self.0.params.as_ref())
    }

    /// The JSON text of `result`.
    #[must_use]
    pub fn result_json(&self) -> Option<&str> {
        self.part(self.0.result.as_ref())
    }

    /// The JSON text of `error`, unless that is `null`.
    #[must_use]
    pub fn error_json(&self) -> Option<&str> {
        self.part(self.0.error.as_ref())
    }

    /// The id that a member of `params` holds, as in `notifications/cancelled`.
    #[must_use]
    pub fn id_param(&self, name: &str) -> Option<RequestId> {
        RequestId::from_json(member_json(self.params_json()?, name)?)
    }

    /// The error's code and message, as far as they can be read.
    #[must_use]
    pub fn error_text(&self) -> Option<(i64, String)> {
        let error = self.part(self.0.error.as_ref())?;
        let code = member::<i64>(error, "code")?;
        Some((code, member::<String>(error, "message").unwrap_or_default()))
    }

    /// The text on one line. A raw line break in valid JSON can only be white space between tokens, so
    /// a blank in its place changes nothing.
    #[must_use]
    pub fn line(&self) -> Bytes {
        if self.0.is_one_line || memchr::memchr2(b'\n', b'\r', &self.0.text).is_none() {
            return self.0.text.clone();
        }
        let mut line = BytesMut::from(&self.0.text[..]);
        for byte in line.iter_mut() {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        line.freeze()
    }

    fn part(&self, range: Option<&Range<usize>>) -> Option<&str> {
        std::str::from_utf8(&self.0.text[range?.clone()]).ok()
    }

    /// A message of our own, whose text is valid by construction.
    fn built(text: String) -> Self {
        Self::parse(&Bytes::from(text)).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

/// Appends a part of a message; returns where it stands.
fn push(text: &mut String, part: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(part);
    start..text.len()
}

/// Appends a text as a JSON string.
pub(crate) fn push_string(json: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// The range of `part`, which is a slice of `text`, in it.
fn range_in(text: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, Invalid> {
        Message::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    fn kind(text: &str) -> Kind {
        parse(text).expect(text).kind().clone()
    }

    fn id(text: &str) -> RequestId {
        RequestId::from_json(text).expect(text)
    }

    #[test]
    fn the_kind_follows_from_id_and_method() {
        let method = "m".to_owned();
        assert_eq!(
            kind(r#"{"jsonrpc":"2.0","id":0,"method":"m"}"#),
            Kind::Request {
                id: id("0"),
                method: method.clone()
            }
        );
        assert_eq!(
            kind(r#"{"jsonrpc":"2.0","method":"m","x":[1e400]}"#),
            Kind::Notification { method }
        );
        for text in [
            r#"{"jsonrpc":"2.0","id":"","result":null}"#,
            r#"{"id":"","error":{"code":1,"message":""},"jsonrpc":"2.0"}"#,
        ] {
            assert_eq!(
                kind(text),
                Kind::Response {
                    id: Some(id(r#""""#))
                }
            );
        }
        assert_eq!(
            kind(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#),
            Kind::Response { id: None }
        );
    }

    #[test]
    fn ids_are_compared_by_type_and_value() {
        assert_ne!(id("1"), id(r#""1""#));
        assert_eq!(id(r#""a""#), id(r#""\u0061""#));
        assert_ne!(id("9223372036854775808"), id("9223372036854775809"));
        assert_eq!(id(r#""\ud800""#).as_json(), r#""\ud800""#);
        for text in ["null", "1.5", "1.0", "1e3", "true", "{}", "[1]", "-"] {
            assert_eq!(RequestId::from_json(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_id_if_there_is_one() {
        for (text, expected) in [
            ("42", None),
            (r#""x""#, None),
            ("1e400", None),
            ("{}", None),
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, Some(id("1"))),
            (r#"{"id":1,"method":"a"}"#, Some(id("1"))),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Some(id("1"))),
            (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, None),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"a"}"#, None),
            (r#"{"jsonrpc":"2.0","id":1}"#, Some(id("1"))),
        ] {
            match parse(text) {
                Err(Invalid::NotAMessage { id, .. }) => assert_eq!(id, expected, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_json_is_refused_as_that() {
        for text in ["{", "nope", "{} {}", "{\"a\":\"\u{0}\"}", "\u{0}{}"] {
            assert!(matches!(parse(text), Err(Invalid::NotJson(_))), "{text:?}");
        }
        assert!(matches!(
            Message::parse(&Bytes::from_static(b"{\"a\":\"\xff\"}")),
            Err(Invalid::NotJson(_))
        ));
    }

    #[test]
    fn the_text_survives_whatever_is_inside() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for inside in [
            "12345678901234567890123",
            "1.0",
            "1e400",
            r#"{"z":1,"a":2,"z":3}"#,
            r#""\ud800""#,
            &deep,
        ] {
            let text =
                format!(r#"{{"jsonrpc":"2.0","vendor":{inside},"method":"m","params":{inside}}}"#);
            assert_eq!(parse(&text).expect(inside).text(), text.as_bytes());
        }
    }

    #[test]
    fn a_pretty_printed_message_becomes_one_line() {
        let message = parse("{\r\n \"jsonrpc\": \"2.0\",\n \"method\": \"a\\nb\"\n}").unwrap();
        assert_eq!(
            &message.line()[..],
            b"{   \"jsonrpc\": \"2.0\",  \"method\": \"a\\nb\" }"
        );
    }

    #[test]
    fn a_batch_is_split_and_an_empty_one_refused() {
        let parsed = Message::parse_all(&Bytes::from_static(
            br#" [ {"jsonrpc":"2.0","id":1,"method":"a"}, 7 ,{"jsonrpc":"2.0","method":"b"}]"#,
        ));
        assert!(!parsed.is_valid());
        let parsed: Vec<_> = parsed.collect();
        assert_eq!(
            parsed[0].as_ref().unwrap().text(),
            &br#"{"jsonrpc":"2.0","id":1,"method":"a"}"#[..]
        );
        assert!(parsed[1].is_err());
        assert_eq!(parsed[2].as_ref().unwrap().method(), Some("b"));
        assert!(!Message::parse_all(&Bytes::from_static(b"[]")).is_valid());
    }

    #[test]
    fn members_are_found_by_name() {
        let message = parse(
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"reason":"\u0061","requestId":"x"}}"#,
        )
        .unwrap();
        assert_eq!(message.param::<String>("reason").as_deref(), Some("a"));
        assert_eq!(message.id_param("requestId"), Some(id(r#""x""#)));
        assert_eq!(message.param::<String>("absent"), None);
    }

    #[test]
    fn an_id_is_put_in_the_place_of_null_or_of_nothing() {
        for text in [
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"x","more":1.0}}"#,
            r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"x","more":1.0}}"#,
        ] {
            let answer = parse(text).unwrap().with_id(&id("7"));
            assert_eq!(answer.id(), Some(&id("7")));
            assert_eq!(answer.error_text(), Some((-1, "x".to_owned())));
            assert!(std::str::from_utf8(answer.text()).unwrap().contains("1.0"));
        }
    }

    #[test]
    fn the_id_of_a_cut_off_request_is_found() {
        let text = br#"{"jsonrpc":"2.0","id":"big","method":"tools/call","params":{"a":"AAAA"#;
        assert_eq!(Message::id_in_prefix(text), Some(id(r#""big""#)));
        assert_eq!(Message::id_in_prefix(br#"{"params":{"a":"AAAA"#), None);
    }
}
