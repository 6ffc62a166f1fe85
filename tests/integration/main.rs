//! The bridge as an app sees it: the built binary, real pipes, real HTTP.
//!
//! A folder is about one topic, and a module of it about one behaviour. Each test names in its doc comment the requirements
//! that it shows, by their ids in `docs/requirements.md`. What must hold in every test is checked by
//! [`support::app::App::finish`]; a test that does not call it fails.

#[path = "../../examples/demo/browser.rs"]
mod browser;
#[path = "../../examples/demo/era.rs"]
mod era;
#[path = "../../examples/demo/message.rs"]
mod message;
#[path = "../../examples/server/mod.rs"]
mod server;
mod support;
mod support_auth;

mod auth_addresses;
mod auth_browser;
mod auth_callback;
mod auth_client_authentication;
mod auth_discovery;
mod auth_foreign_answers;
mod auth_grants;
mod auth_keychain;
mod auth_many;
mod auth_oidc_provider;
mod auth_refusals;
mod auth_registration;
mod auth_scopes;
mod auth_short_address;
mod auth_sign_in;
mod auth_store;
mod auth_tokens;

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
