//! Request metadata (`_meta`) of MCP 2026-07-28: protocol version, client info, capabilities; and the result of
//! `server/discover`.

use serde_json::json;

use super::object::Object;
use crate::codes::{INVALID_PARAMS, UNSUPPORTED_VERSION, UNSUPPORTED_VERSION_DRAFT};
use crate::message::{Message, RequestId, decoded, each_member, is_object};

/// The modern version that the bridge speaks where it translates.
pub const MODERN_VERSION: &str = "2026-07-28";

/// The newest version with a handshake: what a legacy server is asked for, and what an app is offered
/// that asks for an unknown one.
pub const NEWEST_LEGACY: &str = "2025-11-25";

pub(super) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub(super) const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(super) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(super) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The member of `_meta` that names the subscription of a notification: the id of its request.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Tasks of 2025-11-25.
pub(super) const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// The tasks extension of the modern era, as it is declared in `capabilities.extensions`.
pub(super) const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The server's era by its answer to `server/discover`, or by its refusal of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// The server speaks [`MODERN_VERSION`].
    Modern,
    /// The server speaks modern versions, but not that one.
    OtherModern(Vec<String>),
    /// The server speaks versions up to 2025-11-25 alone.
    LegacyOnly(Vec<String>),
    /// Nothing that a modern server would say.
    NotModern,
}

impl Discovery {
    /// Reads the response to `server/discover`: a result with `supportedVersions`, or the error
    /// `UnsupportedProtocolVersion` with `data.supported` (specification, "Versioning").
    #[must_use]
    pub fn of(response: &Message) -> Self {
        let versions = match response.error_text() {
            None => response.result_member::<Vec<String>>("supportedVersions"),
            Some((UNSUPPORTED_VERSION | UNSUPPORTED_VERSION_DRAFT, _)) => {
                supported_versions(response)
            }
            Some(_) => None,
        };
        match versions {
            None => Self::NotModern,
            Some(versions) if versions.is_empty() => Self::NotModern,
            Some(versions) if versions.iter().any(|version| version == MODERN_VERSION) => {
                Self::Modern
            }
            Some(versions) if versions.iter().any(|version| is_modern(version)) => {
                Self::OtherModern(versions)
            }
            Some(versions) => Self::LegacyOnly(versions),
        }
    }
}

/// The versions that an `UnsupportedProtocolVersion` error names.
pub(super) fn supported_versions(response: &Message) -> Option<Vec<String>> {
    Object::parse(response.error_json()?)?
        .object("data")?
        .read("supported")
}

/// Versions are dates, so that one of the future is modern, too.
#[must_use]
pub fn is_modern(version: &str) -> bool {
    is_date(version) && version >= MODERN_VERSION
}

pub(super) fn is_date(version: &str) -> bool {
    version.len() == 10
        && version.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// The refusal of a modern request that lacks what each one must carry, whichever server it is for
/// (specification, "`_meta`"); `None` if all is there.
#[must_use]
pub fn refuse_malformed(request: &Message) -> Option<Message> {
    let id = request.id()?;
    let has_version = request
        .meta_json(PROTOCOL_VERSION)
        .and_then(decoded)
        .is_some();
    let has_capabilities = request
        .meta_json(CLIENT_CAPABILITIES)
        .is_some_and(is_object);
    let missing = match (has_version, has_capabilities) {
        (false, _) => PROTOCOL_VERSION,
        (true, false) => CLIENT_CAPABILITIES,
        (true, true) => return None,
    };
    let text = format!("Invalid params: _meta[\"{missing}\"] is missing or malformed");
    Some(Message::error(Some(id), INVALID_PARAMS, &text, None))
}

/// The token under which somebody wants to hear of the progress of a request with these params.
pub(super) fn progress_token(params: &Object) -> Option<RequestId> {
    let mut token = None;
    each_member(params.get("_meta")?.get(), |name, value| {
        if name == "progressToken" {
            token = RequestId::from_json(value);
        }
    })?;
    token
}

/// Removes what the legacy era does not know from the `_meta` of params or of a result.
pub(super) fn strip_modern(holder: &mut Object) {
    holder.strip("_meta", |name| {
        matches!(
            name,
            PROTOCOL_VERSION
                | CLIENT_INFO
                | CLIENT_CAPABILITIES
                | LOG_LEVEL
                | SERVER_INFO
                | SUBSCRIPTION_ID
        )
    });
}

/// Removes what the modern era does not know from the `_meta` of params or of a result.
pub(super) fn strip_legacy(holder: &mut Object) {
    holder.strip("_meta", |name| name == RELATED_TASK);
}

/// Returns whether results of the method say how long they hold (specification, "Caching").
pub(super) fn is_cacheable(method: &str) -> bool {
    matches!(
        method,
        "server/discover"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
    )
}

/// Log levels, the most verbose first (RFC 5424 §6.2.1).
pub(super) const LOG_LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The place of a level among [`LOG_LEVELS`].
pub(super) fn severity(level: &str) -> Option<usize> {
    LOG_LEVELS.iter().position(|known| *known == level)
}

/// The `InitializeRequest` or `DiscoverRequest` parts that say nothing: an app that does not name
/// itself.
pub(super) fn anonymous() -> serde_json::Value {
    json!({ "name": "unknown", "version": "unknown" })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(&Bytes::copy_from_slice(text.as_bytes())).expect(text)
    }

    /// X-83, E-2, E-4, E-7, E-8
    #[test]
    fn a_discovery_tells_the_era() {
        let versions = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        for (supported, expected) in [
            (r#"["2026-07-28"]"#, Discovery::Modern),
            (
                r#"["2025-11-25","2027-01-01","2026-07-28"]"#,
                Discovery::Modern,
            ),
            (
                r#"["2025-11-25","2027-01-01"]"#,
                Discovery::OtherModern(versions(&["2025-11-25", "2027-01-01"])),
            ),
            (
                r#"["2025-06-18","2025-11-25"]"#,
                Discovery::LegacyOnly(versions(&["2025-06-18", "2025-11-25"])),
            ),
            (
                r#"["latest"]"#,
                Discovery::LegacyOnly(versions(&["latest"])),
            ),
            ("[]", Discovery::NotModern),
            ("[7]", Discovery::NotModern),
            (r#""2026-07-28""#, Discovery::NotModern),
            ("null", Discovery::NotModern),
        ] {
            for response in [
                format!(r#""result":{{"supportedVersions":{supported}}}"#),
                format!(
                    r#""error":{{"code":-32022,"message":"","data":{{"supported":{supported}}}}}"#
                ),
                format!(
                    r#""error":{{"code":-32004,"message":"","data":{{"supported":{supported}}}}}"#
                ),
            ] {
                let response = format!(r#"{{"jsonrpc":"2.0","id":1,{response}}}"#);
                assert_eq!(Discovery::of(&message(&response)), expected, "{response}");
            }
        }
    }

    /// E-3
    #[test]
    fn other_errors_and_results_are_not_modern() {
        for response in [
            r#""error":{"code":-32601,"message":"Method not found"}"#,
            r#""error":{"code":-32022,"message":"no list"}"#,
            r#""error":{"code":-32000,"message":"","data":{"supported":["2026-07-28"]}}"#,
            r#""result":{}"#,
            r#""result":[]"#,
        ] {
            let response = format!(r#"{{"jsonrpc":"2.0","id":1,{response}}}"#);
            let discovery = Discovery::of(&message(&response));
            assert_eq!(discovery, Discovery::NotModern, "{response}");
        }
    }

    /// E-8
    #[test]
    fn versions_are_compared_as_dates() {
        for version in ["2026-07-28", "2026-07-29", "2030-01-01"] {
            assert!(is_modern(version), "{version}");
        }
        for version in [
            "2026-07-27",
            "2025-11-25",
            "1900-01-01",
            "9",
            "2027",
            "next-version",
        ] {
            assert!(!is_modern(version), "{version}");
        }
    }

    /// ST-36, X-15
    #[test]
    fn a_request_that_does_not_say_who_asks_is_refused() {
        for (meta, is_refused) in [
            (
                format!(r#"{{"{PROTOCOL_VERSION}":"2026-07-28","{CLIENT_CAPABILITIES}":{{}}}}"#),
                false,
            ),
            (
                format!(r#"{{"{PROTOCOL_VERSION}":"1900-01-01","{CLIENT_CAPABILITIES}":{{}}}}"#),
                false,
            ),
            (
                format!(r#"{{"{PROTOCOL_VERSION}":7,"{CLIENT_CAPABILITIES}":{{}}}}"#),
                true,
            ),
            (
                format!(r#"{{"{PROTOCOL_VERSION}":"2026-07-28","{CLIENT_CAPABILITIES}":[]}}"#),
                true,
            ),
            (format!(r#"{{"{PROTOCOL_VERSION}":"2026-07-28"}}"#), true),
            ("7".to_owned(), true),
        ] {
            let request =
                format!(r#"{{"jsonrpc":"2.0","id":"x","method":"m","params":{{"_meta":{meta}}}}}"#);
            let refusal = refuse_malformed(&message(&request));
            let code = refusal
                .and_then(|refusal| refusal.error_text())
                .map(|(code, _)| code);
            assert_eq!(code, is_refused.then_some(INVALID_PARAMS), "{meta}");
        }
    }
}
