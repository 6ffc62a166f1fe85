//! Sign-in on another machine that shares the store, for one that has no browser.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::AuthError;
use crate::flow::order::Order;
use crate::flow::session::SignInSession;
use crate::prompt::announcement::SIGN_IN_TARGET;
use crate::sign_in_page::SignInStage;
use mcp_bridge_net::observer::SignInStep;

/// Interval at which the store is looked into.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until somebody has signed in elsewhere, by `command`, no longer than a sign-in here would take.
pub(crate) async fn wait(
    session: &SignInSession,
    order: &Order,
    command: &str,
) -> Result<(), AuthError> {
    let command = command.to_owned();
    tracing::warn!(
        target: SIGN_IN_TARGET,
        "Nobody is signed in yet. Run `{command}` on a machine with a browser; this one finds the sign-in in the store."
    );
    session.transport.step(SignInStep::Waiting, || {
        format!("somebody has to run `{command}`")
    });
    session
        .stage
        .send_replace(SignInStage::Elsewhere(command.clone()));
    let deadline = Instant::now() + session.config.timeout;
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        if let Err(error) = session.reload().await {
            tracing::debug!(%error, "the store is looked into again");
        }
        if session.has_usable(&order.wanted) {
            return Ok(());
        }
    }
    Err(AuthError::SignInElsewhere { command })
}
