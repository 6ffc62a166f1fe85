//! Newline-delimited JSON-RPC on two byte streams (MCP "stdio" transport).

mod lines;
mod os;
#[cfg(all(unix, any(test, not(target_os = "linux"))))]
mod shared_pipe;
mod writer;

pub use lines::{Line, LineReader};
pub use os::{is_closed_pipe, keep_from_children, report, report_width, stdin, stdout};
pub use writer::LineWriter;
