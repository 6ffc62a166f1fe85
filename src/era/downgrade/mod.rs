//! A modern app that goes on in its era, and a legacy server.

use super::{Action, Timer};
use crate::message::{Message, RequestId};

/// Who asks: requests that differ in this need sessions of their own, for a legacy server is told once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client {
    info: String,
    capabilities: String,
}

impl Client {
    /// The client that a modern request names.
    #[must_use]
    pub fn of(_request: &Message) -> Self {
        todo!()
    }
    /// The `initialize` request, with the id `id`, for a session of this client.
    #[must_use]
    pub fn initialize_request(&self, _id: &RequestId) -> Message {
        todo!()
    }
}

/// The translation for one session with a legacy server.
#[derive(Debug)]
pub struct Downgrade {}

/// Whether the server's own stream is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standalone {
    Open,
    Refused,
}

impl Downgrade {
    /// Begins with the server's response to `initialize`; the actions complete the handshake.
    /// `None` if that response is an error.
    pub fn open(
        _client: &Client,
        _initialize_response: &Message,
        _host: &str,
    ) -> Option<(Self, Vec<Action>)> {
        todo!()
    }
    /// Takes a message of the app.
    pub fn take_from_app(&mut self, _message: &Message) -> Vec<Action> {
        todo!()
    }
    /// Takes a message of the server; `stream` is the exchange on whose stream it came.
    pub fn take_from_server(
        &mut self,
        _message: &Message,
        _stream: Option<&RequestId>,
    ) -> Vec<Action> {
        todo!()
    }
    /// Takes a timer that has run out.
    pub fn take_timer(&mut self, _timer: Timer) -> Vec<Action> {
        todo!()
    }
    /// What became of the standalone GET stream
    pub fn take_standalone(&mut self, _standalone: Standalone) -> Vec<Action> {
        todo!()
    }
    /// The session was replaced
    pub fn take_new_session(&mut self) -> Vec<Action> {
        todo!()
    }
    /// Gives everything up.
    pub fn close(&mut self) -> Vec<Action> {
        todo!()
    }
}
