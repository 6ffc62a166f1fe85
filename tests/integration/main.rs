//! The bridge as an app sees it: the built binary, real pipes, real HTTP.

mod support;

mod answers;
mod command_line;
mod concurrency;
mod connections;
mod event_stream;
mod fidelity;
mod get_stream;
mod http_sse;
mod lifecycle;
mod resume;
mod session;
mod stdin;
mod unreachable;
