//! Actions of a translation, collected while one message is processed.

use std::time::Duration;

use serde_json::json;

use super::object::Object;
use super::{Action, Timer};
use crate::codes::INTERNAL_ERROR;
use crate::message::{Message, RequestId};

/// The actions so far, and the ids and timers of our own that they need.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) ids: super::ids::IdSource,
    actions: Vec<Action>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            ids: super::ids::IdSource::new(),
            actions: Vec::new(),
        }
    }

    /// The actions since the last time, in order.
    pub(super) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn tell_app(&mut self, message: Message) {
        self.push(Action::ToApp(message));
    }

    /// Answers a request of the app.
    pub(super) fn reply(&mut self, id: &RequestId, result: &Object) {
        self.tell_app(Message::result(id, &result.to_json()));
    }

    /// Answers a request of the app with an error of the protocol.
    pub(super) fn refuse(&mut self, id: &RequestId, code: i64, text: &str) {
        self.tell_app(Message::error(Some(id), code, text, None));
    }

    /// Answers a request of the app with an error of ours, which says so in `data.source`: the codes
    /// around -32000 are taken (specification, "Error Codes").
    pub(super) fn fail(&mut self, id: &RequestId, kind: &str, text: &str) {
        let data = json!({ "source": "mcp-bridge", "kind": kind });
        let error = Message::error(Some(id), INTERNAL_ERROR, text, Some(&data));
        self.tell_app(error);
    }

    /// Answers a request of the app with the error object of another response.
    pub(super) fn pass_error(&mut self, id: &RequestId, error: &str) {
        let mut response = Object::default();
        response.set("jsonrpc", &"2.0");
        response.set_json("id", id.as_json());
        response.set_json("error", error);
        self.tell_app(response.into_message());
    }

    /// Sends a request to the server.
    pub(super) fn request(&mut self, id: &RequestId, method: &str, params: &Object) {
        self.push(Action::Request(Message::request(
            id,
            method,
            &params.to_json(),
        )));
    }

    /// Asks for a timer.
    pub(super) fn after(&mut self, wait: Duration) -> Timer {
        let timer = self.ids.timer();
        self.push(Action::After(wait, timer));
        timer
    }

    /// Asks for a timer that may run out a little earlier.
    pub(super) fn after_about(&mut self, wait: Duration) -> Timer {
        let timer = self.ids.timer();
        self.push(Action::AfterAbout(wait, timer));
        timer
    }
}
