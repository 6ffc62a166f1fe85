//! Sockets of running bridges, on Unix.

mod listener;
mod running;
mod socket;
mod view_sink;

pub(crate) use listener::Offer;
pub(crate) use running::{Viewed, running};

/// The one word of who looks.
const WORD: &[u8] = b"watch\n";
