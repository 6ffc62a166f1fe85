//! A JSON-RPC message with its members as they were written.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

/// The members of a message, each as text, so that `1`, `1.0` and `"1"` stay apart.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Envelope {
    /// The member `jsonrpc`.
    #[serde(default, deserialize_with = "present")]
    pub jsonrpc: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    id: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    method: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    params: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    error: Option<Box<RawValue>>,
}

impl Envelope {
    /// The message in `text`, or `None` if it is not a JSON object.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The id as it was written, quotes included.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref().map(RawValue::get)
    }

    /// The method of a request or notification.
    pub fn method(&self) -> Option<String> {
        serde_json::from_str(self.method.as_deref()?.get()).ok()
    }

    /// The params as they were written.
    pub fn params(&self) -> Option<&str> {
        self.params.as_deref().map(RawValue::get)
    }

    /// The result as it was written.
    pub fn result(&self) -> Option<&str> {
        self.result.as_deref().map(RawValue::get)
    }

    /// The error.
    pub fn error(&self) -> Option<Value> {
        serde_json::from_str(self.error.as_deref()?.get()).ok()
    }

    /// The error as it was written.
    pub fn error_text(&self) -> Option<&str> {
        self.error.as_deref().map(RawValue::get)
    }

    /// True for a result or an error.
    pub fn is_response(&self) -> bool {
        self.result.is_some() || self.error.is_some()
    }

    /// True if the sender of this message is owed one answer: it has an id that an answer can carry.
    pub fn is_owed_an_answer(&self) -> bool {
        !self.is_response() && self.id().is_some_and(is_request_id)
    }
}

/// A string or an integer, as JSON-RPC in MCP allows.
fn is_request_id(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text.starts_with('"')
        || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A member that is there, be it `null`; serde would take `null` for an absent one.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}
