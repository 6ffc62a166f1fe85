//! Generator of request ids and timers.

use mcp_bridge_text::random;

use super::Timer;
use crate::message::RequestId;

/// Random bytes in a string that nobody can guess (RFC 6749 §10.10: with a chance below 2^-128).
const SECRET_BYTES: usize = 16;

/// Makes ids that neither the app nor another run of the bridge uses.
#[derive(Debug)]
pub(super) struct IdSource {
    prefix: u64,
    next: u64,
}

impl IdSource {
    pub(super) fn new() -> Self {
        Self {
            prefix: random::number(),
            next: 0,
        }
    }

    /// A string that was not given out before.
    pub(super) fn text(&mut self) -> String {
        self.next += 1;
        format!("mcp-bridge-{:016x}-{}", self.prefix, self.next)
    }

    pub(super) fn id(&mut self) -> RequestId {
        RequestId::from_string(&self.text())
    }

    /// A string that nobody can guess.
    pub(super) fn secret(&mut self) -> String {
        format!("{}-{}", self.text(), random::string::<SECRET_BYTES>())
    }

    pub(super) fn timer(&mut self) -> Timer {
        self.next += 1;
        Timer(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minted_is_new() {
        let (mut one, mut other) = (IdSource::new(), IdSource::new());
        let texts = [one.text(), one.text(), other.text()];
        assert!(texts[0] != texts[1] && texts[0] != texts[2] && texts[1] != texts[2]);
        assert_ne!(one.timer(), one.timer());
    }
}
