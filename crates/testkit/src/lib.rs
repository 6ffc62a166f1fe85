//! Test support: doubles for everything that the bridge talks with, and the program itself as a test starts it.
//!
//! Without the feature `doubles` there are only the fuzz corpus and the runner of transcripts, so that crates without a runtime stay without one.

#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    clippy::unwrap_used,
    reason = "a double that cannot do its part fails the test"
)]

pub mod corpus;
pub mod script;

#[cfg(feature = "doubles")]
pub mod app;
#[cfg(feature = "doubles")]
pub mod authorization_server;
#[cfg(feature = "doubles")]
pub mod browser;
#[cfg(feature = "doubles")]
pub mod envelope;
#[cfg(feature = "doubles")]
pub mod fault_server;
#[cfg(all(feature = "doubles", unix))]
pub mod home;
#[cfg(feature = "doubles")]
pub mod identity_provider;
#[cfg(feature = "doubles")]
pub mod ledger;
#[cfg(feature = "doubles")]
pub mod limits;
#[cfg(feature = "doubles")]
pub mod mcp;
#[cfg(feature = "doubles")]
pub mod mcp_remote;
#[cfg(feature = "doubles")]
pub mod modern;
#[cfg(feature = "doubles")]
pub mod program;
#[cfg(all(feature = "doubles", unix))]
pub mod redis_server;
#[cfg(feature = "doubles")]
pub mod reply;
#[cfg(feature = "doubles")]
pub mod request;
#[cfg(feature = "doubles")]
pub mod schema;
#[cfg(feature = "doubles")]
pub mod secrets;
#[cfg(feature = "doubles")]
pub mod snapshot;
#[cfg(all(feature = "doubles", unix))]
pub mod terminal;
#[cfg(feature = "doubles")]
pub mod tls_server;
#[cfg(feature = "doubles")]
pub mod transcript;

#[cfg(feature = "doubles")]
pub use limits::{LIMIT, free_port, listen_when_free, soon, visit_when_it_listens};
#[cfg(feature = "doubles")]
pub use secrets::{HEADER_MARKER, MARKERS, QUERY_MARKER, SESSION_MARKER};
