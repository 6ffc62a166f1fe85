//! State of the world outside of the state machines.

use tokio::time::Instant;

use mcp_bridge_auth::SignInStage;

/// State of the world at the moment of an event.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) now: Instant,
    /// The state of the sign-in.
    pub(super) sign_in: SignInStage,
    /// True if the app reads what is written.
    pub(super) app_reads: bool,
    /// True if all lines for the app have been written.
    pub(super) all_is_written: bool,
    /// True if the app's `server/discover` was answered for a server that may have everything.
    pub(super) is_presumed: bool,
}
