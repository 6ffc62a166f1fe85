//! The bridge as an app sees it: the built binary, real pipes, real HTTP.

#[path = "../../examples/demo/browser.rs"]
mod browser;
#[path = "../../examples/server/mod.rs"]
mod server;
mod support;
mod support_auth;

mod answers;
mod auth_callback;
mod auth_sign_in;
mod auth_tokens;
mod command_line;
mod concurrency;
mod config_files;
mod connections;
mod event_stream;
mod example_server;
mod fidelity;
mod get_stream;
mod http_sse;
mod lifecycle;
mod resume;
mod session;
mod stdin;
mod unreachable;
