//! Program that finishes a sign-in after the end of this process.

use std::path::PathBuf;

use mcp_bridge_text::secret::Secret;

/// Program that finishes a sign-in in a process of its own.
#[derive(Debug, Clone)]
pub struct Helper {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) brief: Secret<String>,
}

impl Helper {
    /// A program that starts itself once more and ends, if it gets these arguments. The process started thus is the
    /// helper, and `brief` the first line that it reads.
    #[must_use]
    pub const fn new(program: PathBuf, arguments: Vec<String>, brief: String) -> Self {
        Self {
            program,
            arguments,
            brief: Secret::new(brief),
        }
    }
}
