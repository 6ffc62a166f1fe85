//! Time that requests wait for the server, by the app that asks.

use std::time::Duration;

use super::Answering;
use super::list::List;
use mcp_bridge_protocol::message::Message;

/// Hosts give a list half a minute.
const USUAL: Duration = Duration::from_secs(25);

/// An app that asks for each list once in a session and waits as long as that takes has nothing of an early
/// answer. So it may wait as long as its two lists would, one after the other.
const LISTS_OF_PATIENT_APPS: u32 = 2;

/// Such apps by their name in `clientInfo`, tried with `tests/hosts`: Continue, and Qwen Code, whose name ends with the
/// server's.
const PATIENT_APP: &str = "continue-cli-client";
const PATIENT_APP_PREFIX: &str = "qwen-cli-mcp-client-";

/// Limits of the app's waits.
#[derive(Debug)]
pub(super) struct AppPatience {
    answering: Answering,
    /// True if the app waits for its lists as long as they take.
    waits_for_lists: bool,
}

impl AppPatience {
    pub(super) const fn new(answering: Answering) -> Self {
        Self {
            answering,
            waits_for_lists: false,
        }
    }

    /// A legacy app says which one it is.
    pub(super) fn on_initialize(&mut self, initialize: &Message) {
        self.waits_for_lists = waits_for_lists(initialize);
    }

    /// Time at which a legacy app is answered before there is a session.
    pub(super) const fn answering(&self) -> Answering {
        self.answering
    }

    /// Time that all list requests wait together; `None` for as long as it takes.
    pub(super) fn of_lists(&self) -> Option<Duration> {
        match self.answering {
            Answering::AtOnce {
                patience,
                list_wait: Some(wait),
            } => Some(wait.min(patience)),
            Answering::AtOnce {
                patience,
                list_wait: None,
            } if self.waits_for_lists => Some(patience * LISTS_OF_PATIENT_APPS),
            Answering::AtOnce {
                patience,
                list_wait: None,
            } => Some(USUAL.min(patience)),
            Answering::AfterServer => None,
        }
    }

    /// Time that a request waits for a sign-in, a session or the server; `None` for as long as it takes.
    pub(super) fn of_request(&self, method: &str) -> Option<Duration> {
        let Answering::AtOnce { patience, .. } = self.answering else {
            return None;
        };
        if List::of_method(method).is_none() {
            return Some(patience);
        }
        Some(patience.max(self.of_lists().unwrap_or_default()))
    }
}

fn waits_for_lists(initialize: &Message) -> bool {
    let client: serde_json::Value = initialize.param("clientInfo").unwrap_or_default();
    let name = client["name"].as_str().unwrap_or_default();
    name == PATIENT_APP || name.starts_with(PATIENT_APP_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_that_wait_are_known_by_their_names() {
        for (name, expected) in [
            ("continue-cli-client", true),
            ("continue-cli-client-2", false),
            ("qwen-cli-mcp-client-example", true),
            ("codex-mcp-client", false),
            ("", false),
        ] {
            let params = serde_json::json!({ "clientInfo": { "name": name } });
            let initialize = Message::request(
                &mcp_bridge_protocol::message::RequestId::from_string("1"),
                "initialize",
                &params.to_string(),
            );
            assert_eq!(waits_for_lists(&initialize), expected, "{name}");
        }
    }
}
