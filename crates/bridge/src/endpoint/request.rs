//! JSON-RPC request to the server, with the era that it is made in.

use mcp_bridge_protocol::era::{Era, Upgrade};
use mcp_bridge_protocol::message::{Message, RequestId};

/// A request to the server: a message that has an id and a method, and the era in which it is sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Request {
    message: Message,
    id: RequestId,
    era: Era,
    initiative: Initiative,
}

/// The one who wants a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiative {
    /// The app.
    App,
    /// The bridge, which keeps up a stream at a server that it knows: a refusal is no reason to ask for the server's era,
    /// and an attempt none to try other streams.
    Bridge,
}

impl Request {
    /// Takes `message` as a request of this era; `None` for a notification or a response.
    #[must_use]
    pub fn new(message: Message, era: Era) -> Option<Self> {
        if !message.is_request() {
            return None;
        }
        let id = message.id()?.clone();
        Some(Self {
            message,
            id,
            era,
            initiative: Initiative::App,
        })
    }

    /// The same request on this initiative.
    #[must_use]
    pub fn with_initiative(self, initiative: Initiative) -> Self {
        Self { initiative, ..self }
    }

    /// A request of our own. `params` is the JSON text of an object.
    pub(super) fn of_ours(id: RequestId, method: &str, params: &str, era: Era) -> Self {
        let message = Message::request(&id, method, params);
        Self {
            message,
            id,
            era,
            initiative: Initiative::App,
        }
    }

    /// The `server/discover` in place of an app's `initialize`.
    pub(super) fn discover(initialize: &Self, id: RequestId) -> Self {
        let message = Upgrade::discover_request(&initialize.message, &id);
        Self {
            message,
            id,
            era: Era::Modern,
            initiative: Initiative::App,
        }
    }

    /// The same request under another id.
    pub(super) fn with_id(&self, id: RequestId) -> Self {
        Self {
            message: self.message.with_id(&id),
            id,
            ..*self
        }
    }

    /// The same request after an edit that keeps its id.
    pub(super) fn edited(&self, edit: impl FnOnce(&Message) -> Message) -> Self {
        Self {
            message: edit(&self.message),
            ..self.clone()
        }
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// The id that the response has to carry.
    #[must_use]
    pub const fn id(&self) -> &RequestId {
        &self.id
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        // A request has one.
        self.message.method().unwrap_or_default()
    }

    /// The one who wants it.
    #[must_use]
    pub const fn initiative(&self) -> Initiative {
        self.initiative
    }

    /// The era in which it is sent.
    #[must_use]
    pub const fn era(&self) -> Era {
        self.era
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request(text: &'static str) -> Option<Request> {
        let message = Message::parse(&Bytes::from_static(text.as_bytes())).unwrap();
        Request::new(message, Era::Legacy)
    }

    #[test]
    fn only_a_message_with_id_and_method_is_a_request() {
        for (text, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#,
                Some("7 ping"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                None,
            ),
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, None),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
                None,
            ),
        ] {
            let read = request(text).map(|it| format!("{} {}", it.id(), it.method()));
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn another_id_is_in_the_text_as_well() {
        let request = request(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#).unwrap();
        let renamed = request.with_id(RequestId::from_number(8));
        assert_eq!(renamed.id(), renamed.message().id().unwrap());
        assert_eq!(renamed.method(), "ping");
    }
}
