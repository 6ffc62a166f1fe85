//! The tag of a message: which app wrote it, in which life of its bridge, and its number there.

use std::fmt::{self, Display};

use serde_json::Value;

use mcp_bridge_testkit::request::Request;

/// The tag of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tag {
    pub(crate) app: usize,
    /// Bridges of the app before, and this one.
    pub(crate) generation: u64,
    pub(crate) number: u64,
}

impl Tag {
    pub(crate) fn text(&self) -> String {
        self.to_string()
    }

    /// Reads a text that [`Self::text`] made.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let tag = Self {
            app: parts.next()?.strip_prefix('a')?.parse().ok()?,
            generation: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(tag)
    }

    /// The tag in the params of a request, or in the arguments of a tool.
    pub(crate) fn of_request(request: &Request) -> Option<Self> {
        let params = request.params();
        let find = |value: &Value| value.as_str().and_then(Self::parse);
        find(&params["tag"]).or_else(|| find(&params["arguments"]["text"]))
    }
}

impl Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            app,
            generation,
            number,
        } = self;
        write!(f, "a{app}.{generation}.{number}")
    }
}
