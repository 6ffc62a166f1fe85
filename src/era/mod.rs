//! Placeholder until the branch lands.
use crate::message::Message;
/// Era.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize` and a session.
    Legacy,
    /// From 2026-07-28 on: each request says who asks.
    Modern,
}
impl Era {
    /// The era of a message.
    #[must_use]
    pub fn of_request(message: &Message) -> Self {
        let meta = message.param::<&serde_json::value::RawValue>("_meta");
        let version = meta.is_some_and(|meta| {
            meta.get()
                .contains("io.modelcontextprotocol/protocolVersion")
        });
        if version || message.method() == Some("server/discover") {
            Self::Modern
        } else {
            Self::Legacy
        }
    }
}
