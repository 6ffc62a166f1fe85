//! Difference between the capabilities and version that a legacy app was told, and those of the server.
//!
//! An app that was answered before the server was there keeps its version and what it was promised; so does
//! one whose server refuses its version, or comes back as another one. Without a difference nothing here
//! touches a message.

use super::list::List;
use super::provisional_initialize::AnnouncedServer;
use super::reply::Reply;
use crate::endpoint::Failure;
use mcp_bridge_protocol::codes::METHOD_NOT_FOUND;
use mcp_bridge_protocol::era::{Adapter, Era, Passage};
use mcp_bridge_protocol::message::{Message, member};

/// On which terms the app and the server speak.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// As the app was told.
    announced: AnnouncedServer,
    /// As the server says.
    server: AnnouncedServer,
    /// The translation between their revisions, where they differ.
    adapter: Option<Adapter>,
}

impl Terms {
    pub(super) const fn announced(&self) -> &AnnouncedServer {
        &self.announced
    }

    /// The app is told this, and what the server says is not known yet.
    pub(super) fn tell(&mut self, response: &Message) {
        *self = Self {
            announced: AnnouncedServer::from_response(response),
            ..Self::default()
        };
    }

    /// The server says this itself.
    pub(super) fn on_server(&mut self, response: &Message) {
        self.server = AnnouncedServer::from_response(response);
        self.adapter = Adapter::between(self.announced.version(), self.server.version());
    }

    /// The response to a request of the app, as the app has to get it; `None` if the reply is that.
    pub(super) fn on_reply(&self, method: &str, reply: &Reply) -> Option<Message> {
        if let Some(nothing) = self.nothing(method, reply) {
            return Some(nothing);
        }
        self.adapter?.result_for_app(method, reply.response()?)
    }

    /// Passage of a request or a notification of the server.
    pub(super) fn on_server_message(&self, message: &Message) -> Passage {
        let passage = |adapter: Adapter| adapter.on_server_message(message);
        self.adapter.map_or(Passage::Unchanged, passage)
    }

    /// Passage of a notification of the app.
    pub(super) fn on_app_notification(&self, notification: &Message) -> Passage {
        let passage = |adapter: Adapter| adapter.on_app_message(notification);
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
    fn nothing(&self, method: &str, reply: &Reply) -> Option<Message> {
        if !reply.is_error() {
            return None;
        }
        let (capability, result) = promised_by(method)?;
        let id = reply.id()?;
        let is_promised = self.announced != self.server && self.announced.has(capability);
        let is_missing = match reply.response().and_then(Message::error_text) {
            Some((METHOD_NOT_FOUND, _)) => true,
            _ => !self.server.has(capability) && is_refusal(reply),
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

/// Returns whether an error is the server's, or a failure by an HTTP status with which it may refuse a method that it
/// does not know.
fn is_refusal(error: &Reply) -> bool {
    match error {
        Reply::Response(error) => {
            let error = error.error_json();
            let data: Option<serde_json::Value> = error.and_then(|error| member(error, "data"));
            data.unwrap_or_default()["source"] != "mcp-bridge"
        }
        Reply::Failed(failed) => {
            let failure = match &failed.failure {
                Failure::MessageRefused { failure, .. } => failure,
                failure => failure,
            };
            let Failure::Status { status, .. } = failure else {
                return false;
            };
            matches!(status.as_u16(), 400 | 404 | 405 | 422 | 501)
        }
    }
}
