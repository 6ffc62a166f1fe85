//! Newline-delimited JSON-RPC on two byte streams (MCP "stdio" transport).

mod lines;
mod os;
mod writer;

pub use lines::{Line, LineReader};
pub use os::{is_closed_pipe, keep_from_children, report, report_width, stdin, stdout};
pub use writer::LineWriter;
