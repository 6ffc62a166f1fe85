//! Recordings of commands (`--record`).

use std::path::Path;

#[cfg(feature = "commands")]
use crate::cli::ServerConnection;
use crate::recording::Recording;
#[cfg(feature = "commands")]
use mcp_bridge_net::observer::Observation;

/// Recording of a command, if it makes one. The file is whole when this is dropped.
#[cfg(feature = "commands")]
#[derive(Debug, Default)]
pub(super) struct CommandRecording(Option<Recording>);

#[cfg(feature = "commands")]
impl CommandRecording {
    /// The recording that the flags of a connection ask for, which it is observed by.
    #[must_use]
    pub(super) fn of(connection: &mut ServerConnection) -> Self {
        let mut recording = Self::default();
        recording.observe(connection);
        recording
    }

    /// Observes one more connection.
    pub(super) fn observe(&mut self, connection: &mut ServerConnection) {
        let Some(path) = &connection.record else {
            return;
        };
        if self.0.is_none() {
            self.0 = start(path);
        }
        if let Some(recording) = &self.0 {
            connection.endpoint.http.observation = Observation::by(recording.recorder());
        }
    }

    /// The recording itself, beside which there may be other observers.
    pub(super) fn recording(&self) -> Option<&Recording> {
        self.0.as_ref()
    }
}

#[cfg(feature = "commands")]
impl Drop for CommandRecording {
    fn drop(&mut self) {
        if let Some(recording) = self.0.take() {
            recording.finish();
        }
    }
}

/// Starts a recording. A file that cannot be written is no reason to end.
pub(super) fn start(path: &Path) -> Option<Recording> {
    let recording = Recording::start(path);
    recording
        .inspect_err(|error| {
            tracing::warn!(file = %path.display(), %error, "the recording cannot be written");
        })
        .ok()
}
