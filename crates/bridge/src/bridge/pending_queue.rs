//! Queue of messages that wait for a session.

use std::collections::VecDeque;

use mcp_bridge_protocol::message::{Message, RequestId};

/// The messages, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held(VecDeque<(Ticket, Message)>);

/// Stands for one held message. No two are the same, whereas an id may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// Makes tickets.
#[derive(Debug, Default)]
pub(super) struct Tickets(u64);

impl Tickets {
    pub(super) const fn next(&mut self) -> Ticket {
        self.0 += 1;
        Ticket(self.0)
    }
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, ticket: Ticket, message: Message) {
        self.0.push_back((ticket, message));
    }

    /// The ids of the requests.
    pub(super) fn ids(&self) -> impl Iterator<Item = &RequestId> {
        self.0.iter().filter_map(|(_, message)| message.id())
    }

    /// Takes out the message of a ticket, if it still waits.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Message> {
        let at = self.0.iter().position(|(known, _)| *known == ticket)?;
        self.0.remove(at).map(|(_, message)| message)
    }

    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.0.iter().any(|(_, message)| message.id() == Some(id))
    }

    /// Drops the request `id`, which the app has given up.
    pub(super) fn withdraw(&mut self, id: &RequestId) {
        self.0.retain(|(_, message)| message.id() != Some(id));
    }

    /// Takes out all requests; what needs no answer stays.
    pub(super) fn take_requests(&mut self) -> Vec<Message> {
        let (requests, others) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(_, message)| message.is_request());
        self.0 = others;
        VecDeque::into_iter(requests)
            .map(|(_, message)| message)
            .collect()
    }
}

impl IntoIterator for Held {
    type Item = Message;
    type IntoIter = std::iter::Map<
        std::collections::vec_deque::IntoIter<(Ticket, Message)>,
        fn((Ticket, Message)) -> Message,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(_, message)| message)
    }
}
