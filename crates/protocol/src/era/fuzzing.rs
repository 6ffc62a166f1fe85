//! Conversations between the eras that the input chooses, behind `fuzz/`.

use super::random_walk::{Choices, Walk, WalkedPair};

/// An app and a server that say anything at any time: each request is answered once. The input makes their choices.
///
/// # Panics
///
/// If it does not hold.
pub fn conversation(data: &[u8]) {
    for pair in [WalkedPair::upgrade(), WalkedPair::downgrade()] {
        Walk::new(Choices::given(data), pair).go();
    }
}
