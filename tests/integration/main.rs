//! The bridge as an app sees it: the built binary, real pipes, real HTTP.

#[path = "../../examples/demo/browser.rs"]
mod browser;
#[path = "../../examples/server/mod.rs"]
mod server;

mod config_files;
mod example_server;
