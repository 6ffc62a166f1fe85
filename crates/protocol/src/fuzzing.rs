//! Properties of messages and conversations for any input, behind `fuzz/`. A property that does not hold panics.

use bytes::Bytes;

pub use crate::era::fuzzing::conversation;
use crate::message::{Message, envelope};

/// A line of the app, or a body of the server: what was read as a message is the same message again after it was
/// written, on one line. The scanner of the envelope and the parser agree.
///
/// # Panics
///
/// If it does not hold.
pub fn message(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        envelope::agree(text);
    }
    let text = Bytes::copy_from_slice(data);
    for read in Message::parse_all(&text) {
        let message = read.unwrap_or_else(|invalid| invalid.to_response());
        let line = message.line();
        assert!(memchr::memchr2(b'\n', b'\r', &line).is_none());
        let again = Message::parse(&line).expect("what was written can be read");
        assert_eq!(again.kind(), message.kind());
        if let Some(id) = message.id() {
            let moved = message.with_id(id);
            assert_eq!(moved.id(), Some(id));
            assert_eq!(moved.method(), message.method());
        }
        for member in ["tools", "prompts"] {
            assert_eq!(
                message.with_elements(member, |_| true).kind(),
                message.kind()
            );
            let pages = [message.clone()];
            if let Some(joined) = message.with_pages(member, &pages) {
                assert_eq!(joined.kind(), message.kind());
            }
        }
    }
    let cut = &data[..data.len() / 2];
    let _ = Message::id_in_prefix(cut);
    let _ = Message::answered_id_in_prefix(cut);
}

#[cfg(test)]
mod tests {
    use mcp_bridge_testkit::corpus::replay;

    use super::*;

    #[test]
    fn the_inputs_that_fuzzing_found_keep_the_properties() {
        replay("message", message);
        replay("conversation", conversation);
    }
}
