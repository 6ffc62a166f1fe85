//! Introduction of a bridge to those who look.

use serde::{Deserialize, Serialize};

/// Version of what is said on a socket. A view of another version is refused.
const FORMAT: u32 = 1;

/// First line of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    format: u32,
    /// The process.
    pub(crate) pid: u32,
    /// URL of the server, without what may be secret.
    pub(crate) server: String,
    /// The moment of the start, as in RFC 3339.
    pub(crate) started: String,
    /// Version of the program.
    pub(crate) version: String,
}

impl Introduction {
    /// The introduction of this process, which starts now.
    pub(crate) fn of_this_process(server: String) -> Self {
        Self {
            format: FORMAT,
            pid: std::process::id(),
            server,
            started: crate::recording::rfc3339(std::time::SystemTime::now()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Returns whether both programs speak the same.
    pub(super) fn is_understood(&self) -> bool {
        self.format == FORMAT
    }
}
