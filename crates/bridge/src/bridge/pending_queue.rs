//! Queue of messages that wait for a session.

use std::collections::VecDeque;

use mcp_bridge_protocol::message::{Message, RequestId};

/// The messages, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct PendingQueue {
    messages: VecDeque<(Ticket, Message)>,
    /// Makes tickets.
    count: u64,
}

/// Stands for one message of a queue. No two are the same, whereas an id may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl PendingQueue {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn push(&mut self, message: Message) -> Ticket {
        self.count += 1;
        let ticket = Ticket(self.count);
        self.messages.push_back((ticket, message));
        ticket
    }

    /// The ids of the requests.
    pub(super) fn ids(&self) -> impl Iterator<Item = &RequestId> {
        self.messages.iter().filter_map(|(_, message)| message.id())
    }

    /// Takes out the message of a ticket, if it still waits.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Message> {
        let at = self
            .messages
            .iter()
            .position(|(known, _)| *known == ticket)?;
        self.messages.remove(at).map(|(_, message)| message)
    }

    /// Drops the request `id`, which the app has given up.
    pub(super) fn withdraw(&mut self, id: &RequestId) {
        self.messages
            .retain(|(_, message)| message.id() != Some(id));
    }

    /// Takes out all requests; what needs no answer stays.
    pub(super) fn take_requests(&mut self) -> Vec<Message> {
        let (requests, others) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition(|(_, message)| message.is_request());
        self.messages = others;
        VecDeque::into_iter(requests)
            .map(|(_, message)| message)
            .collect()
    }
}

impl IntoIterator for PendingQueue {
    type Item = Message;
    type IntoIter = std::iter::Map<
        std::collections::vec_deque::IntoIter<(Ticket, Message)>,
        fn((Ticket, Message)) -> Message,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter().map(|(_, message)| message)
    }
}
