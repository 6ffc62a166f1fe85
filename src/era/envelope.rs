//! Who asks, as a modern request carries it (MCP 2026-07-28, basic protocol, "`_meta`").

use serde_json::json;

use super::INVALID_PARAMS;
use super::object::Object;
use crate::message::Message;

/// The modern version that the bridge speaks where it translates.
pub const MODERN_VERSION: &str = "2026-07-28";

pub(super) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub(super) const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(super) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(super) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
pub(super) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Tasks of 2025-11-25.
pub(super) const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// The tasks extension of the modern era, as it is declared in `capabilities.extensions`.
pub(super) const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// What the answer to `server/discover`, or a refusal of a version, says of the server's era.
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
    /// `UnsupportedProtocolVersion` with `data.supported` (specification, "Versioning"). Its number was
    /// -32004 before the release.
    #[must_use]
    pub fn of(response: &Message) -> Self {
        let versions = match response.error_text() {
            None => response.result_member::<Vec<String>>("supportedVersions"),
            Some((-32022 | -32004, _)) => supported_versions(response),
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
pub(super) fn is_modern(version: &str) -> bool {
    is_date(version) && version >= MODERN_VERSION
}

fn is_date(version: &str) -> bool {
    version.len() == 10
        && version.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// See [`super::refuse_malformed`].
pub(super) fn refuse_malformed(request: &Message) -> Option<Message> {
    let id = request.id()?;
    let meta = request.param::<Object>("_meta").unwrap_or_default();
    let missing = if meta.read::<String>(PROTOCOL_VERSION).is_none() {
        PROTOCOL_VERSION
    } else if meta.object(CLIENT_CAPABILITIES).is_none() {
        CLIENT_CAPABILITIES
    } else {
        return None;
    };
    let text = format!("Invalid params: _meta[\"{missing}\"] is missing or malformed");
    Some(Message::error(Some(id), INVALID_PARAMS, &text, None))
}

/// Removes what the legacy era does not know from the `_meta` of params or of a result.
pub(super) fn strip_modern(holder: &mut Object) {
    holder.edit("_meta", |meta| {
        meta.retain(|name| {
            !matches!(
                name,
                PROTOCOL_VERSION
                    | CLIENT_INFO
                    | CLIENT_CAPABILITIES
                    | LOG_LEVEL
                    | SERVER_INFO
                    | SUBSCRIPTION_ID
            )
        });
    });
}

/// Removes what the modern era does not know from the `_meta` of params or of a result.
pub(super) fn strip_legacy(holder: &mut Object) {
    holder.edit("_meta", |meta| {
        meta.remove(RELATED_TASK);
    });
}

/// Whether results of the method say how long they hold (specification, "Caching").
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
