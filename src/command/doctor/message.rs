//! What the examination says to a server: what any app says first.

use serde_json::json;

use mcp_bridge_protocol::era::{NEWEST_LEGACY, Upgrade};
use mcp_bridge_protocol::message::{Message, RequestId};

/// The first message of an app of the legacy era.
pub(super) fn initialize() -> Message {
    let params = json!({
        "protocolVersion": NEWEST_LEGACY,
        "capabilities": {},
        "clientInfo": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
    });
    request("initialize", &params.to_string())
}

/// The message that ends the handshake.
pub(super) fn initialized() -> Message {
    Message::notification("notifications/initialized", &json!({}))
}

/// A request of the legacy era. Its method is its id, too: none is sent twice in a conversation.
pub(super) fn request(method: &str, params: &str) -> Message {
    Message::request(&RequestId::from_string(method), method, params)
}

/// The first message of an app of the modern era.
pub(super) fn discover() -> Message {
    Upgrade::discover_request(&initialize(), &RequestId::from_string("server/discover"))
}

/// A request of the modern era without any params but who asks.
pub(super) fn modern_request(method: &str) -> Message {
    let discover = discover();
    request(method, discover.params_json().unwrap_or("{}"))
}
