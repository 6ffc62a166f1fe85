//! Generator of request ids and timers.

use std::hash::{BuildHasher as _, RandomState};

use super::Timer;
use crate::message::RequestId;

/// Makes ids that neither the app nor another run of the bridge uses.
#[derive(Debug)]
pub(super) struct Mint {
    prefix: u64,
    next: u64,
}

impl Mint {
    pub(super) fn new() -> Self {
        Self {
            prefix: random(),
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
        format!("{}-{:016x}", self.text(), random())
    }

    pub(super) fn timer(&mut self) -> Timer {
        self.next += 1;
        Timer(self.next)
    }
}

/// A UUID, version 4 (RFC 9562 §5.4).
pub(super) fn uuid() -> String {
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// The standard library's hasher has keys from the operating system's random numbers.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minted_is_new() {
        let (mut one, mut other) = (Mint::new(), Mint::new());
        let texts = [one.text(), one.text(), other.text()];
        assert!(texts[0] != texts[1] && texts[0] != texts[2] && texts[1] != texts[2]);
        assert_ne!(one.timer(), one.timer());
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let uuid = uuid();
        let parts: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{uuid}");
        assert_eq!(&uuid[14..15], "4");
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
    }
}
