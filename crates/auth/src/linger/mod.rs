//! The detached helper process that finishes a sign-in after the end of this process.
//!
//! Apps kill a bridge while a person still signs in. A helper is started with each sign-in page, in a session
//! of its own. It reads what it needs from a pipe and does nothing more until that pipe ends: then the bridge
//! is gone, however it ended, and the helper takes the answer of the browser and stores the token (`flow/takeover.rs`).
//! If the system allows it, the helper has the listening sockets from the beginning ([`os`]), so that there is
//! no moment in which the port is closed.
//!
//! The pipe carries lines: a brief of the program's own, then a [`HandedOver`] for each page, and at the end of
//! the sign-in the word [`DISMISSED`].

mod os;

use std::io::{self, BufRead, Write as _};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::config::Helper;
use crate::grant::authorization::AuthorizationRequest;
use crate::store::Credential;
use crate::store::pending::{ClientOrigin, HelperState};
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_text::secret::Secret;

pub use os::{inherited_sockets, leave_console};

/// Longest time that the helper may take to read a line or to end. It does either at once.
const HELPER_LIMIT: Duration = Duration::from_secs(2);

/// The last line to a helper that is not needed.
const DISMISSED: &str = "dismissed";

/// A sign-in as it stands: all that is needed to take its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct HandedOver {
    pub(crate) credential: Credential,
    pub(crate) request: AuthorizationRequest,
    pub(crate) client: ClientOrigin,
}

impl HandedOver {
    /// Reads lines of the bridge until it ends. None if it ended its sign-in before, or never began one.
    pub fn await_end_of_bridge(lines: impl BufRead) -> io::Result<Option<Self>> {
        let mut last = None;
        for line in lines.lines() {
            let line = line?;
            if line == DISMISSED {
                return Ok(None);
            }
            // A line that the end has cut off is no page that a person was shown.
            if let Ok(handed_over) = serde_json::from_str(&line) {
                last = Some(handed_over);
            }
        }
        Ok(last)
    }
}

/// A helper that was started. It takes over when this is dropped without [`HelperGuard::dismiss`].
#[derive(Debug, Default)]
pub(crate) struct HelperGuard(Option<Arc<Mutex<os::Pipe>>>);

impl HelperGuard {
    /// Starts a helper that gets these sockets, and the sign-in if this process ends.
    pub(crate) async fn start(
        helper: &Helper,
        sockets: &[Arc<TcpListener>],
        handed_over: &HandedOver,
    ) -> Self {
        let pipe = match os::start(helper, sockets) {
            Ok(pipe) => pipe,
            Err(error) => {
                tracing::debug!(%error, "no helper: the sign-in ends with this process");
                return Self::default();
            }
        };
        let guard = Self(Some(Arc::new(Mutex::new(pipe))));
        guard.write(helper.brief.expose()).await;
        guard.tell(handed_over).await;
        guard
    }

    /// The state of the helper while this process lives.
    pub(crate) const fn state(&self) -> HelperState {
        match self.0 {
            Some(_) => HelperState::Ready,
            None => HelperState::None,
        }
    }

    /// Tells the helper how the sign-in stands now.
    pub(crate) async fn tell(&self, handed_over: &HandedOver) {
        if let Ok(line) = serde_json::to_string(handed_over) {
            self.write(&line).await;
        }
    }

    /// Ends the helper, because the sign-in is over. The port is free when this returns.
    pub(crate) async fn dismiss(self) {
        self.write(DISMISSED).await;
        self.with_pipe(os::Pipe::wait_for_end).await;
    }

    async fn write(&self, line: &str) {
        let line = Secret::new(format!("{line}\n"));
        self.with_pipe(move |pipe| pipe.write_all(line.expose().as_bytes()))
            .await;
    }

    /// Does something that may block, for a bounded time.
    async fn with_pipe(&self, work: impl FnOnce(&mut os::Pipe) -> io::Result<()> + Send + 'static) {
        let Some(pipe) = self.0.clone() else { return };
        let work = tokio::task::spawn_blocking(move || work(&mut pipe.lock()));
        match timeout(HELPER_LIMIT, work).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::debug!(%error, "the helper does not answer"),
            Ok(Err(_)) | Err(_) => tracing::debug!("the helper does not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_was_dismissed_or_told_of_no_page_has_nothing_to_do() {
        for lines in ["", "dismissed\n", "{\"cut\":", "no JSON\ndismissed\n"] {
            let found = HandedOver::await_end_of_bridge(lines.as_bytes()).unwrap();
            assert!(found.is_none(), "{lines}");
        }
    }
}
