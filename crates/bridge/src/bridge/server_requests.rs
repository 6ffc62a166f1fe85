//! Requests of the server: those that wait for the app's answer, and those that the app is not asked.

use std::collections::HashMap;

use serde_json::{Map, Value};

use mcp_bridge_protocol::codes::METHOD_NOT_FOUND;
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// Requests that a server may send only to a client that has declared a capability, with that capability (MCP 2025-11-25,
/// "Capability Negotiation"). Some apps never answer one that they have not declared.
const NEEDED: [(&str, &str); 3] = [
    ("elicitation/create", "elicitation"),
    ("sampling/createMessage", "sampling"),
    ("roots/list", "roots"),
];

/// Limits for the requests that wait at once, and for the bytes of their ids and methods together.
const MAX_REQUESTS: usize = 10_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Limit for the length of an id and of a method, in bytes. Each refusal repeats it, and many may have to wait until
/// the server takes them.
const MAX_NAME_BYTES: usize = 1024;

/// The requests, by their ids.
#[derive(Debug, Default)]
pub(super) struct ServerRequests {
    waiting: HashMap<RequestId, ServerRequest>,
    bytes: usize,
    undeclared: Vec<Undeclared>,
}

/// A method that the app is not asked, because it has not declared the capability for it.
#[derive(Debug)]
struct Undeclared {
    method: &'static str,
    capability: &'static str,
    is_logged: bool,
}

/// A request of the server.
#[derive(Debug)]
pub(super) struct ServerRequest {
    pub(super) method: String,
    /// The session that it belongs to.
    pub(super) generation: u64,
}

impl ServerRequest {
    /// Returns whether a message is a request with an id or a method of a length that nobody uses.
    pub(super) fn is_absurd(message: &Message) -> bool {
        match message.kind() {
            Kind::Request { id, method } => id.as_json().len().max(method.len()) > MAX_NAME_BYTES,
            Kind::Notification { .. } | Kind::Response { .. } => false,
        }
    }
}

impl ServerRequests {
    /// Takes the capabilities that the app declares.
    pub(super) fn on_initialize(&mut self, initialize: &Message) {
        let declared: Map<String, Value> = initialize.param("capabilities").unwrap_or_default();
        let is_declared = |capability| {
            let value = declared.get(capability);
            value.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
        };
        let undeclared = NEEDED
            .iter()
            .filter(|(_, capability)| !is_declared(*capability));
        self.undeclared = undeclared
            .map(|&(method, capability)| Undeclared {
                method,
                capability,
                is_logged: false,
            })
            .collect();
    }

    /// The error for a request whose capability the app has not declared; `None` if the app is to answer it.
    pub(super) fn refuse_undeclared(&mut self, message: &Message) -> Option<Message> {
        let Kind::Request { id, method } = message.kind() else {
            return None;
        };
        let mut undeclared = self.undeclared.iter_mut();
        let it = undeclared.find(|undeclared| undeclared.method == method)?;
        if !it.is_logged {
            it.is_logged = true;
            tracing::warn!(
                "the server sends {} although the app does not declare the capability {}: answered with \"Method not \
                 found\"",
                it.method,
                it.capability
            );
        }
        let text = "Method not found";
        Some(Message::error(Some(id), METHOD_NOT_FOUND, text, None))
    }

    /// Enters a request. False if there is no room for it.
    pub(super) fn insert(&mut self, id: &RequestId, request: ServerRequest) -> bool {
        self.remove(id);
        let size = size(id, &request);
        if self.waiting.len() >= MAX_REQUESTS || self.bytes + size > MAX_BYTES {
            return false;
        }
        self.bytes += size;
        self.waiting.insert(id.clone(), request);
        true
    }

    pub(super) fn remove(&mut self, id: &RequestId) -> Option<ServerRequest> {
        let request = self.waiting.remove(id)?;
        self.bytes -= size(id, &request);
        Some(request)
    }
}

fn size(id: &RequestId, request: &ServerRequest) -> usize {
    id.as_json().len() + request.method.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str) -> ServerRequest {
        ServerRequest {
            method: method.to_owned(),
            generation: 1,
        }
    }

    #[test]
    fn there_is_room_for_so_many_requests_and_for_so_many_bytes() {
        let id = |number: usize, length: usize| {
            RequestId::from_string(&format!("{number}{}", "x".repeat(length)))
        };
        // Two quotation marks and a digit stand beside the text of the second length.
        for (length, most) in [(0, MAX_REQUESTS), (MAX_BYTES / 3 - 8, 3)] {
            let mut requests = ServerRequests::default();
            let fits = |number: &usize| requests.insert(&id(*number, length), request("m"));
            assert_eq!((0..=most).take_while(fits).count(), most);
            assert!(requests.insert(&id(0, length), request("m")), "it is known");
            assert!(requests.remove(&id(1, length)).is_some());
            assert!(requests.insert(&id(most, length), request("m")));
            assert!(!requests.insert(&id(most + 1, length), request("m")));
            for number in 0..=most {
                requests.remove(&id(number, length));
            }
            assert_eq!(requests.bytes, 0);
        }
        assert!(!ServerRequests::default().insert(&id(0, 0), request(&"m".repeat(MAX_BYTES))));
    }
}
