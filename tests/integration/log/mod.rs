//! The log on stderr, and text of servers in it.

mod debug_log;
mod floods;
mod metrics;
mod printable_text;
mod recording;
mod request_spans;
