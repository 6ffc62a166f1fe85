//! Sockets of running bridges, on Unix.

mod listener;
mod running;
mod socket;
mod view_sink;

use std::path::{Path, PathBuf};

pub(crate) use listener::Offer;
pub(crate) use running::{Viewed, running};

/// The one word of who looks.
const WORD: &[u8] = b"watch\n";

/// The directory of the sockets, in that of the credentials, which is private to the user.
const FOLDER: &str = "running";

/// Place of the sockets of bridges that keep their credentials in `directory`.
fn folder(directory: &Path) -> PathBuf {
    directory.join(FOLDER)
}
