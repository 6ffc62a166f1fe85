//! Requests of the server that wait for the app's answer.

use std::collections::HashMap;

use mcp_bridge_protocol::message::{Kind, Message, RequestId};

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
