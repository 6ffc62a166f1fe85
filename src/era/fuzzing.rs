//! Conversations between the eras, see [`crate::fuzzing`].

use super::random_walk::{Choices, Pair, Walk};

/// An app and a server that say anything at any time: each request is answered once. The input makes their choices.
pub(crate) fn conversation(data: &[u8]) {
    for pair in [Pair::upgrade(), Pair::downgrade()] {
        Walk::new(Choices::given(data), pair).go();
    }
}
