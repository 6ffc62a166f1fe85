//! Time that list requests wait for the server, by the app that asks.

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

/// Time that all list requests wait together, by the `initialize` of a legacy app; `None` for as long as it takes.
pub(super) fn list_wait(answering: Answering, initialize: Option<&Message>) -> Option<Duration> {
    match answering {
        Answering::AtOnce {
            patience,
            list_wait: Some(wait),
        } => Some(wait.min(patience)),
        Answering::AtOnce {
            patience,
            list_wait: None,
        } => Some(match initialize {
            Some(initialize) if is_patient(initialize) => patience * LISTS_OF_PATIENT_APPS,
            Some(_) | None => USUAL.min(patience),
        }),
        Answering::AfterServer => None,
    }
}

/// Time that a request waits for a sign-in, a session or the server; `None` for as long as it takes.
pub(super) fn patience(
    answering: Answering,
    initialize: Option<&Message>,
    method: &str,
) -> Option<Duration> {
    let Answering::AtOnce { patience, .. } = answering else {
        return None;
    };
    let is_list = List::of_method(method).is_some();
    let list_wait = list_wait(answering, initialize).filter(|_| is_list);
    Some(patience.max(list_wait.unwrap_or_default()))
}

/// Returns whether the app waits for its lists.
fn is_patient(initialize: &Message) -> bool {
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
            assert_eq!(is_patient(&initialize), expected, "{name}");
        }
    }
}
