//! Native lane: an app and a server of the same era, whose messages pass as they are.

use super::server_requests::{ServerRequest, ServerRequests};
use crate::endpoint::Phase;
use mcp_bridge_protocol::codes::INVALID_REQUEST;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// The requests of the server that the app has not answered. Messages go in, [`NativeStep`]s come out.
#[derive(Debug, Default)]
pub(super) struct NativeLane {
    server_requests: ServerRequests,
}

/// Something to be done with a message of the server.
#[derive(Debug)]
pub(super) enum NativeStep {
    /// Write it to the app.
    ToApp(Message),
    /// Answer the server's request.
    ToServer(Message),
    /// It is the response to this request of the app.
    Answer(RequestId, Message),
}

/// Signal by which the server learns of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancellation {
    /// The end of the stream, or nothing: it has not received the request.
    EndStream,
    /// The app's notification, after which the stream ends.
    Notify,
}

impl NativeLane {
    /// Records the capabilities that the app declares.
    pub(super) fn on_initialize(&mut self, initialize: &Message) {
        self.server_requests.on_initialize(initialize);
    }

    /// The error for a request of the server whose capability the app has not declared.
    pub(super) fn refuse_undeclared(&mut self, message: &Message) -> Option<Message> {
        self.server_requests.refuse_undeclared(message)
    }

    /// A message of the server in a session of this generation.
    pub(super) fn on_server(&mut self, message: Message, generation: u64) -> Option<NativeStep> {
        match message.kind() {
            Kind::Response { id } => {
                let id = id.clone()?;
                return Some(NativeStep::Answer(id, message));
            }
            Kind::Request { id, method } => {
                let request = ServerRequest {
                    method: method.clone(),
                    generation,
                };
                if !self.server_requests.insert(id, request) {
                    let text = "too many requests wait for the app's answer";
                    let refusal = Message::error(Some(id), INVALID_REQUEST, text, None);
                    return Some(NativeStep::ToServer(refusal));
                }
            }
            Kind::Notification { method } => {
                if method == "notifications/cancelled"
                    && let Some(id) = message.id_param("requestId")
                {
                    self.server_requests.remove(&id);
                }
            }
        }
        Some(NativeStep::ToApp(message))
    }

    /// Takes out the request of the server that the app's response is for.
    pub(super) fn take_request(&mut self, id: &RequestId) -> Option<ServerRequest> {
        self.server_requests.remove(id)
    }

    /// The way in which the server hears that the app has cancelled a request in this phase.
    pub(super) const fn cancellation(era: Era, phase: Phase) -> Cancellation {
        match (era, phase) {
            (Era::Modern, _)
            | (Era::Legacy, Phase::Queued | Phase::SigningIn | Phase::Unreachable) => {
                Cancellation::EndStream
            }
            (Era::Legacy, Phase::Sent) => Cancellation::Notify,
        }
    }
}
