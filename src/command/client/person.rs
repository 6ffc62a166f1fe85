//! What the server has to say to the person while a command runs, on stderr.

#![expect(
    deprecated,
    reason = "logging leaves MCP, but servers that log are not gone"
)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, FormElicitationCapability, Implementation,
    LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion,
    UrlElicitationCapability,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ClientHandler, ErrorData, RoleClient};
use serde_json::Value;

use super::questions;
use super::terminal::Terminal;
use crate::command::text::{cut, first_line, stderr_width};
use crate::log::Quota;
use mcp_bridge_text::printable;

/// Puts the cursor to the beginning of the line and empties it.
const EMPTY_LINE: &str = "\r\u{1b}[2K";

/// The client's side of the protocol.
pub(super) struct Person {
    /// Absent where nobody can be asked.
    pub(super) terminal: Option<Arc<Terminal>>,
    pub(super) notes: Arc<Notes>,
}

/// Lines on stderr. On a terminal, progress is one line that is written again and again.
pub(super) struct Notes {
    /// What the line of progress says now.
    progress: Mutex<Option<String>>,
    /// Limits what the server may have written here.
    quota: Mutex<Quota>,
}

/// Lines of the server in ten seconds: more than anybody reads.
const SERVER_LINES: u32 = 500;

impl Default for Notes {
    fn default() -> Self {
        Self {
            progress: Mutex::default(),
            quota: Mutex::new(Quota::new(SERVER_LINES)),
        }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let quota = self.quota.get_mut();
        let quota = quota.unwrap_or_else(std::sync::PoisonError::into_inner);
        report_left_out(quota.take_left_out());
    }
}

/// Tells how many lines of the server were left out.
fn report_left_out(left_out: u64) {
    if left_out > 0 {
        eprintln!("left out: {left_out} more lines of the server");
    }
}

impl Notes {
    /// Writes a line.
    fn say(&self, text: &str) {
        self.clear();
        eprintln!("{}", printable::block(text));
    }

    /// Writes a line of the server's, if it has not written too many.
    fn server_says(&self, text: &str) {
        if self.admits() {
            self.say(&text.replace('\n', "\n  "));
        }
    }

    fn admits(&self) -> bool {
        let mut quota = self.quota.lock();
        let quota = quota
            .as_mut()
            .map_or(None, |quota| quota.admit(Instant::now()));
        quota.map(report_left_out).is_some()
    }

    fn progress(&self, text: String) {
        if stderr_width().is_none() && !self.admits() {
            return;
        }
        match stderr_width() {
            Some(columns) => eprint!("{EMPTY_LINE}{}", cut(&text, columns.saturating_sub(1))),
            None => eprintln!("{text}"),
        }
        *self.lock() = Some(text);
    }

    /// Takes the line of progress away.
    pub(super) fn clear(&self) {
        if self.lock().take().is_some() && stderr_width().is_some() {
            eprint!("{EMPTY_LINE}");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ClientHandler for Person {
    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.notes.clear();
        let (ElicitRequestParams::FormElicitationParams { message, .. }
        | ElicitRequestParams::UrlElicitationParams { message, .. }) = &request
        else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        let Some(terminal) = &self.terminal else {
            let text = "declined: there is no terminal to answer on";
            self.notes
                .say(&format!("the server asks: {message}\n{text}"));
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        Ok(match &request {
            ElicitRequestParams::FormElicitationParams {
                requested_schema, ..
            } => {
                let schema = serde_json::to_string(requested_schema).unwrap_or_default();
                questions::form(terminal, message, &schema).await
            }
            ElicitRequestParams::UrlElicitationParams { url, .. } => {
                questions::page(terminal, message, url).await
            }
            _ => ElicitResult::new(ElicitationAction::Decline),
        })
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.notes.progress(progress_line(&progress));
    }

    async fn on_logging_message(
        &self,
        entry: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let level = serde_json::to_value(entry.level).unwrap_or_default();
        let level = level.as_str().unwrap_or("log").to_owned();
        let logger = entry.logger.map(|name| format!(" ({name})"));
        let text = match entry.data {
            Value::String(text) => text,
            data => data.to_string(),
        };
        let logger = logger.unwrap_or_default();
        self.notes.server_says(&format!("{level}{logger}: {text}"));
    }

    fn get_info(&self) -> ClientConfig {
        let elicitation = ElicitationCapability::new()
            .with_form(FormElicitationCapability::default())
            .with_url(UrlElicitationCapability::default());
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = Some(elicitation);
        let name = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        // The version of the era that begins with `initialize`; the bridge translates where it must.
        ClientConfig::new(capabilities, name).with_protocol_version(ProtocolVersion::V_2025_11_25)
    }
}

fn progress_line(progress: &ProgressNotificationParam) -> String {
    let done = match progress.total {
        Some(total) if total > 0.0 => format!("{:.0} %", progress.progress / total * 100.0),
        Some(_) | None => progress.progress.to_string(),
    };
    let message = first_line(progress.message.as_deref().unwrap_or_default(), None);
    format!("{done:>5}  {message}").trim_end().to_owned()
}
