//! The revisions of the legacy era, oldest first.

use serde::{Deserialize, Serialize};

use super::object::Object;
use super::request_meta::{NEWEST_LEGACY, is_date, is_modern};
use crate::message::Message;

/// A revision of MCP that has a handshake.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub enum Revision {
    /// The first one: HTTP+SSE.
    #[serde(rename = "2024-11-05")]
    V2024_11_05,
    /// Streamable HTTP, batches, audio.
    #[serde(rename = "2025-03-26")]
    V2025_03_26,
    /// Elicitation, structured output, links to resources; no batches.
    #[serde(rename = "2025-06-18")]
    V2025_06_18,
    /// URLs to open, tools in sampling, tasks.
    #[default]
    #[serde(rename = "2025-11-25")]
    V2025_11_25,
}

impl Revision {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
    ];

    /// Its name, as it stands in `protocolVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => NEWEST_LEGACY,
        }
    }

    /// The revision of this name.
    #[must_use]
    pub fn named(version: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == version)
    }

    /// The revision that a version comes closest to without being newer: versions are dates, and drafts and
    /// versions before the first one are spoken as well. What is no date counts as the newest.
    #[must_use]
    pub fn closest_to(version: &str) -> Self {
        if !is_date(version) {
            return Self::default();
        }
        let older = Self::ALL.into_iter().rev();
        let mut older = older.skip_while(|known| known.as_str() > version);
        older.next().unwrap_or(Self::V2024_11_05)
    }

    /// The revisions that a text names, each once, oldest first.
    #[must_use]
    pub fn named_in(text: &str) -> Vec<Self> {
        let named = |revision: &Self| text.contains(revision.as_str());
        Self::ALL.into_iter().filter(named).collect()
    }
}

/// The version that an app is told when nobody knows yet which one the server speaks: the one it asked for,
/// if that has a handshake.
#[must_use]
pub fn presumed_version(asked: &str) -> &str {
    if is_date(asked) && !is_modern(asked) {
        asked
    } else {
        NEWEST_LEGACY
    }
}

/// The `initialize` with another version in its params.
#[must_use]
pub fn asking_for(initialize: &Message, version: &str) -> Message {
    edited(initialize, "params", version)
}

/// The response to `initialize` with another version in its result.
#[must_use]
pub fn telling(response: &Message, version: &str) -> Message {
    edited(response, "result", version)
}

/// The message with another `protocolVersion` in its member `part`; everything else keeps its text.
fn edited(message: &Message, part: &str, version: &str) -> Message {
    let text = std::str::from_utf8(message.text()).unwrap_or_default();
    let Some(mut object) = Object::parse(text) else {
        return message.clone();
    };
    let mut inner = object.object(part).unwrap_or_default();
    inner.set("protocolVersion", &version);
    object.set_object(part, &inner);
    object.into_message()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_version_is_as_close_as_it_gets_to_a_revision() {
        for (version, expected) in [
            ("2024-11-05", Revision::V2024_11_05),
            ("2024-10-07", Revision::V2024_11_05),
            ("2025-05-01", Revision::V2025_03_26),
            ("2025-11-25", Revision::V2025_11_25),
            ("2026-01-01", Revision::V2025_11_25),
            ("latest", Revision::V2025_11_25),
            ("", Revision::V2025_11_25),
        ] {
            assert_eq!(Revision::closest_to(version), expected, "{version}");
        }
        for revision in Revision::ALL {
            assert_eq!(Revision::named(revision.as_str()), Some(revision));
            assert_eq!(Revision::closest_to(revision.as_str()), revision);
        }
        assert_eq!(Revision::named("latest"), None);
    }

    #[test]
    fn an_app_is_told_the_version_that_it_asked_for_if_that_has_a_handshake() {
        for (asked, told) in [
            ("2024-11-05", "2024-11-05"),
            ("2024-10-07", "2024-10-07"),
            ("2026-07-28", NEWEST_LEGACY),
            ("", NEWEST_LEGACY),
            ("1.0", NEWEST_LEGACY),
        ] {
            assert_eq!(presumed_version(asked), told, "{asked}");
        }
    }

    #[test]
    fn another_version_changes_nothing_else() {
        let message = |text: &str| Message::parse(&Bytes::copy_from_slice(text.as_bytes()));
        let initialize = r#"{"jsonrpc":"2.0","x":1e400,"id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"a":1.0}}}"#;
        let older = asking_for(&message(initialize).unwrap(), "2025-06-18");
        let expected = initialize.replace("2025-11-25", "2025-06-18");
        assert_eq!(older.text(), expected.as_bytes());
        let response =
            r#"{"jsonrpc":"2.0","id":1,"result":{"z":[1.0],"protocolVersion":"2025-06-18"}}"#;
        let newer = telling(&message(response).unwrap(), "2025-11-25");
        let expected = response.replace("2025-06-18", "2025-11-25");
        assert_eq!(newer.text(), expected.as_bytes());
    }
}
