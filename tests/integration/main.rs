//! The bridge as an app sees it: the built binary, real pipes, real HTTP.

mod support;

mod answers;
mod command_line;
mod event_stream;
mod fidelity;
mod lifecycle;
mod stdin;
mod unreachable;
