//! Live view of a running bridge (`inspect` without a URL): a private socket for each bridge, on which it tells what
//! passes.
//!
//! A bridge opens its socket a moment after its start, and that is all until somebody looks: nothing is observed, copied
//! or written. Who looks says one word, and from then on only reads; so a view changes nothing at the bridge.

mod introduction;
mod listener;
#[cfg(any(windows, test))]
mod proof;
mod running;
#[cfg(unix)]
mod unix;
mod view_sink;
#[cfg(windows)]
mod windows;

use std::path::{Path, PathBuf};

#[cfg(unix)]
use unix as socket;
#[cfg(windows)]
use windows as socket;

pub(crate) use introduction::Introduction;
pub(crate) use listener::Offer;
pub(crate) use running::{Viewed, running};

/// The one word of who looks.
const WORD: &[u8] = b"watch\n";

/// The directory of the sockets, in that of the credentials, which is private to the user.
const FOLDER: &str = "running";

/// Levels of directories from that of the credentials to that of the sockets.
const FOLDER_LEVELS: usize = 1;

/// Place of the sockets of bridges that keep their credentials in `directory`.
fn folder(directory: &Path) -> PathBuf {
    directory.join(FOLDER)
}
