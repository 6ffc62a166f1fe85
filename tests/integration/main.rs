//! The bridge as an app sees it: the built binary, real pipes, real HTTP.
//!
//! A folder is about one topic, and a module of it about one behaviour. Each test names in its doc comment the requirements
//! that it shows, by their ids in `docs/requirements.md`. What must hold in every test is checked by
//! [`mcp_bridge_testkit::app::App::finish`]; a test that does not call it fails.

#[path = "../../examples/demo/browser.rs"]
mod browser;
#[path = "../../examples/demo/era.rs"]
mod era;
#[path = "../../examples/demo/message.rs"]
mod message;
#[path = "../../examples/server/mod.rs"]
mod server;

mod program;

mod auth;
mod cli;
mod commands;
mod documents;
mod eras;
mod examples;
mod limits;
mod lists;
mod log;
mod session;
mod stdio;
mod transport;
