//! Content of results: text, images, sounds and resources (MCP `ContentBlock` and `ResourceContents`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::text::first_line;
use mcp_bridge_protocol::message::member;

/// A piece of a result.
pub(super) enum Block {
    Text(String),
    /// Anything else, described; with its bytes if they came along.
    Other {
        description: String,
        bytes: Option<Vec<u8>>,
    },
}

impl Block {
    /// Reads a block (MCP `ContentBlock`).
    pub(super) fn read(block: &str) -> Self {
        let text = |name: &str| member::<String>(block, name);
        let kind = text("type").unwrap_or_default();
        match kind.as_str() {
            "text" => text("text").map_or_else(|| Self::unknown(&kind), Self::Text),
            "image" | "audio" => Self::encoded(&kind, text("mimeType"), text("data")),
            "resource" => {
                let resource = member::<&RawValue>(block, "resource").map_or("{}", RawValue::get);
                Self::of_resource(resource)
            }
            "resource_link" => {
                let name = text("title").or_else(|| text("name"));
                let parts = [name, text("uri"), text("mimeType"), text("description")];
                let parts: Vec<_> = parts.into_iter().flatten().collect();
                Self::described(&format!("link: {}", parts.join(", ")), None)
            }
            _ => Self::unknown(&kind),
        }
    }

    /// Reads the contents of a resource (MCP `ResourceContents`).
    pub(super) fn of_resource(contents: &str) -> Self {
        let text = |name: &str| member::<String>(contents, name);
        if let Some(text) = text("text") {
            return Self::Text(text);
        }
        let what = format!("resource {}", text("uri").unwrap_or_default());
        Self::encoded(&what, text("mimeType"), text("blob"))
    }

    fn unknown(kind: &str) -> Self {
        Self::described(&format!("content of the type \"{kind}\", see --json"), None)
    }

    fn encoded(what: &str, mime_type: Option<String>, data: Option<String>) -> Self {
        let mime_type = mime_type.unwrap_or_else(|| "of no type".to_owned());
        let bytes = BASE64_STANDARD.decode(data.unwrap_or_default()).ok();
        let size = bytes.as_ref().map_or_else(
            || "which is no base64".to_owned(),
            |bytes| format!("{}, saved by --output FILE", size(bytes.len())),
        );
        Self::described(&format!("{what}: {mime_type}, {size}"), bytes)
    }

    fn described(description: &str, bytes: Option<Vec<u8>>) -> Self {
        Self::Other {
            description: first_line(description, None),
            bytes,
        }
    }
}

/// A number of bytes, for people.
#[expect(
    clippy::cast_precision_loss,
    reason = "one digit behind the point is all that is shown"
)]
pub(super) fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = KIB * KIB;
    match bytes {
        MIB.. => format!("{:.1} MiB", bytes as f64 / MIB as f64),
        KIB.. => format!("{:.1} KiB", bytes as f64 / KIB as f64),
        _ => format!("{bytes} bytes"),
    }
}
