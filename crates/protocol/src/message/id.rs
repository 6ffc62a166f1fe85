//! Ids of requests.

use std::fmt;
use std::sync::Arc;

/// The id of a request: its JSON text in one canonical spelling, so that `1` and `"1"` differ and
/// `"a"` and `"\u0061"` do not.
///
/// MCP allows strings and integers of any size (basic protocol, "Requests").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Reads an id from its JSON text; `None` for `null`, fractions and everything that is no id.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        if let Some(quoted) = text.strip_prefix('"') {
            if !quoted.contains('\\') {
                return Some(Self(text.into()));
            }
            // A lone surrogate cannot be decoded; such an id is compared as it is spelled.
            let canonical = serde_json::from_str::<String>(text)
                .ok()
                .and_then(|value| serde_json::to_string(&value).ok());
            return Some(Self(canonical.unwrap_or_else(|| text.to_owned()).into()));
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_integer.then(|| Self(text.into()))
    }

    /// A string id, for requests of the bridge's own.
    #[must_use]
    pub fn from_string(value: &str) -> Self {
        Self(serde_json::Value::from(value).to_string().into())
    }

    /// A number as id, for requests of a client of our own.
    #[must_use]
    pub fn from_number(value: u64) -> Self {
        Self(value.to_string().into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
