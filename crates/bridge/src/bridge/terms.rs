//! Difference between the capabilities and version that a legacy app was told, and those of the server.
//!
//! An app that was answered before the server was there keeps its version and what it was promised; so does
//! one whose server refuses its version, or comes back as another one. Without a difference nothing here
//! touches a message.

use super::list_pages::List;
use super::provisional_initialize::Told;
use mcp_bridge_protocol::codes::METHOD_NOT_FOUND;
use mcp_bridge_protocol::era::{Adapter, Era, Passage};
use mcp_bridge_protocol::message::{Message, member};

/// On which terms the app and the server speak.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// What the app was told.
    told: Told,
    /// What the server says.
    server: Told,
    /// The translation between their revisions, where they differ.
    adapter: Option<Adapter>,
}

impl Terms {
    pub(super) const fn told(&self) -> &Told {
        &self.told
    }

    /// The app is told this, and what the server says is not known yet.
    pub(super) fn tell(&mut self, response: &Message) {
        *self = Self {
            told: Told::by(response),
            ..Self::default()
        };
    }

    /// The server says this itself.
    pub(super) fn take_server(&mut self, response: &Message) {
        self.server = Told::by(response);
        self.adapter = Adapter::between(self.told.version(), self.server.version());
    }

    /// The response to a request of the app, as the app has to get it; `None` if that is as it is.
    pub(super) fn answer(&self, method: &str, response: &Message) -> Option<Message> {
        if let Some(nothing) = self.nothing(method, response) {
            return Some(nothing);
        }
        self.adapter?.result_for_app(method, response)
    }

    /// What becomes of a request or a notification of the server.
    pub(super) fn take_from_server(&self, message: &Message) -> Passage {
        let passage = |adapter: Adapter| adapter.take_from_server(message);
        self.adapter.map_or(Passage::Unchanged, passage)
    }

    /// What becomes of a notification of the app.
    pub(super) fn take_from_app(&self, notification: &Message) -> Passage {
        let passage = |adapter: Adapter| adapter.take_from_app(notification);
        self.adapter.map_or(Passage::Unchanged, passage)
    }

    /// The app's response to a request of the server, as the server has to get it.
    pub(super) fn answer_for_server(&self, method: &str, response: Message) -> Message {
        let changed = self
            .adapter
            .and_then(|adapter| adapter.result_for_server(method, &response));
        changed.unwrap_or(response)
    }

    /// The response where the server does not have what the app was promised.
    fn nothing(&self, method: &str, response: &Message) -> Option<Message> {
        let error = response.error_json()?;
        let (capability, result) = promised_by(method)?;
        let id = response.id()?;
        let is_promised = self.told != self.server && self.told.has(capability);
        let is_missing = match response.error_text() {
            Some((METHOD_NOT_FOUND, _)) => true,
            _ => !self.server.has(capability) && is_refusal(error),
        };
        (is_promised && is_missing).then(|| Message::result(id, &result))
    }
}

/// The capability that promises a method, and the empty result of that method.
fn promised_by(method: &str) -> Option<(&'static str, String)> {
    if let Some(list) = List::of_method(method) {
        return Some((list.capability(), list.empty_result(Era::Legacy)));
    }
    match method {
        "completion/complete" => Some(("completions", r#"{"completion":{"values":[]}}"#.into())),
        "logging/setLevel" => Some(("logging", "{}".into())),
        _ => None,
    }
}

/// Whether an error is the server's, or ours about an HTTP status by which it may refuse a method that it does
/// not know.
fn is_refusal(error: &str) -> bool {
    let data: Option<serde_json::Value> = member(error, "data");
    let data = data.unwrap_or_default();
    if data["source"] != "mcp-bridge" {
        return true;
    }
    let status = data["httpStatus"].as_u64();
    matches!(status, Some(400 | 404 | 405 | 422 | 501))
}
