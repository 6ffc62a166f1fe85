//! The bridge as an app sees it: the built binary, real pipes, real HTTP.
//!
//! Each module is about one behaviour, and each test names in its doc comment the requirements that it shows, by their ids
//! in `docs/requirements.md`. What must hold in every test is checked by [`support::app::App::finish`]; a test that does not
//! call it fails.

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

mod accounts;
mod answers;
mod auth_addresses;
#[cfg(target_os = "linux")]
mod auth_bare_environment;
mod auth_browser;
mod auth_callback;
mod auth_client_authentication;
#[cfg(unix)]
mod auth_command;
mod auth_discovery;
mod auth_foreign_answers;
mod auth_grants;
#[cfg(unix)]
mod auth_http_sse;
mod auth_keychain;
#[cfg(target_os = "linux")]
mod auth_linger;
mod auth_many;
mod auth_oidc_provider;
mod auth_processes;
mod auth_refusals;
mod auth_registration;
mod auth_scopes;
#[cfg(unix)]
mod auth_secret_service;
mod auth_short_address;
mod auth_sign_in;
mod auth_store;
mod auth_tokens;
mod client_certificate;
mod command_call;
#[cfg(unix)]
mod command_example;
mod command_line;
mod command_login;
mod command_tools;
mod concurrency;
mod config_files;
mod connections;
mod debug_log;
#[cfg(unix)]
#[cfg(target_os = "linux")]
mod descriptors;
mod doctor;
mod documents;
mod drop_in;
mod era_modern;
mod era_openings;
mod era_translated;
#[cfg(unix)]
mod eras;
mod event_stream;
mod example_server;
mod fidelity;
mod flag_file;
mod floods;
mod get_stream;
mod help;
mod http_sse;
#[cfg(unix)]
mod install;
#[cfg(unix)]
mod install_several;
mod keep_alive;
mod kept_memory;
mod lifecycle;
mod list_pages;
#[cfg(unix)]
mod list_wait;
#[cfg(unix)]
mod login_terminal;
#[cfg(unix)]
mod migrate;
mod network;
#[cfg(unix)]
mod online_at_once;
mod other_stream;
mod param_headers;
mod printable_text;
mod requirements;
#[cfg(unix)]
mod resource_server;
mod resume;
#[cfg(unix)]
mod revisions;
mod session;
mod sign_in;
#[cfg(unix)]
mod sign_in_shown;
#[cfg(unix)]
mod snapshots;
mod stdin;
#[cfg(target_os = "linux")]
mod stored_files;
mod tls;
mod tool_filters;
mod transport_fallback;
mod undeclared_requests;
mod unreachable;
mod unusable_answers;
mod waiting;
mod wrong_lines;
