//! The two ends that the bridge stands between, as doubles: the app that starts it and the server
//! behind it.
//!
//! What every test must prove is proved here and not in the tests: see [`app::App::finish`].

pub(crate) mod app;
pub(crate) mod command;
pub(crate) mod envelope;
pub(crate) mod fault_server;
#[cfg(unix)]
pub(crate) mod home;
pub(crate) mod ledger;
pub(crate) mod mcp;
pub(crate) mod modern;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod schema;
pub(crate) mod snapshot;
#[cfg(unix)]
pub(crate) mod terminal;
pub(crate) mod tls_server;
pub(crate) mod transcript;

use std::time::Duration;

/// How long a test waits for anything before it fails. Generous, because the machine may be busy:
/// nothing that works ever waits this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Secrets that no output of the bridge may show: a header's value, a part of every session id, and
/// a value in the query of the server's URL.
pub(crate) const MARKERS: [&str; 3] = [HEADER_MARKER, SESSION_MARKER, QUERY_MARKER];
pub(crate) const HEADER_MARKER: &str = "marker-of-a-header-value";
pub(crate) const SESSION_MARKER: &str = "marker-of-a-session-id";
pub(crate) const QUERY_MARKER: &str = "marker-of-a-query-value";
