//! Messages that the commands send to a server.

use serde_json::{Value, json};

use crate::commands::schema::Execution;
use mcp_bridge_protocol::era::{NEWEST_LEGACY, Upgrade};
use mcp_bridge_protocol::message::{Message, RequestId};

/// The client capabilities of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capabilities {
    /// Nobody is there to answer the server.
    None,
    /// Forms and pages (MCP "Elicitation").
    Elicitation,
}

/// `initialize`, which begins a conversation of the legacy era.
pub(super) fn initialize(id: &RequestId, capabilities: Capabilities) -> Message {
    let capabilities = match capabilities {
        Capabilities::None => json!({}),
        Capabilities::Elicitation => json!({ "elicitation": { "form": {}, "url": {} } }),
    };
    let params = json!({
        "protocolVersion": NEWEST_LEGACY,
        "capabilities": capabilities,
        "clientInfo": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
    });
    Message::request(id, "initialize", &params.to_string())
}

/// The notification that ends the handshake of the legacy era.
pub(in crate::commands) fn initialized() -> Message {
    Message::notification("notifications/initialized", &json!({}))
}

/// `initialize` of a client without capabilities, and with its method as id, as for [`legacy`].
pub(in crate::commands) fn bare_initialize() -> Message {
    initialize(&RequestId::from_string("initialize"), Capabilities::None)
}

/// A request of the legacy era without params. Its method is its id, too, so that a conversation has one of it.
pub(in crate::commands) fn legacy(method: &str) -> Message {
    Message::request(&RequestId::from_string(method), method, "{}")
}

/// `server/discover`, the first request of the modern era.
pub(in crate::commands) fn discover() -> Message {
    let id = RequestId::from_string("server/discover");
    Upgrade::discover_request(&bare_initialize(), &id)
}

/// A request of the modern era, whose params are those that each one has. Its method is its id, too.
pub(in crate::commands) fn modern(method: &str) -> Message {
    let discover = discover();
    let params = discover.params_json().unwrap_or("{}");
    Message::request(&RequestId::from_string(method), method, params)
}

/// `tools/list`, from its beginning or at a cursor.
pub(super) fn list_tools(id: &RequestId, cursor: Option<&str>) -> Message {
    let cursor = cursor.map(|cursor| format!(r#","cursor":{}"#, Value::from(cursor)));
    let params = format!("{{{}{}}}", progress_token(id), cursor.unwrap_or_default());
    Message::request(id, "tools/list", &params)
}

/// `tools/call` with arguments that are the JSON text of an object.
pub(super) fn call_tool(
    id: &RequestId,
    tool: &str,
    arguments: &str,
    execution: Execution,
) -> Message {
    let task = match execution {
        Execution::Direct => "",
        Execution::AsTask => r#","task":{}"#,
    };
    let (token, tool) = (progress_token(id), Value::from(tool));
    let params = format!(r#"{{{token},"name":{tool},"arguments":{arguments}{task}}}"#);
    Message::request(id, "tools/call", &params)
}

/// `tasks/result` or `tasks/cancel`.
pub(super) fn of_task(id: &RequestId, method: &str, task: &str) -> Message {
    let params = json!({ "taskId": task });
    Message::request(id, method, &params.to_string())
}

/// `notifications/cancelled`.
pub(super) fn cancelled(id: &RequestId) -> Message {
    // An id of a command's own is always JSON.
    let id: Value = serde_json::from_str(id.as_json()).unwrap_or_default();
    let params = json!({ "requestId": id, "reason": "interrupted" });
    Message::notification("notifications/cancelled", &params)
}

/// The member of `params` that asks for progress. The token of a request is its id.
fn progress_token(id: &RequestId) -> String {
    format!(r#""_meta":{{"progressToken":{id}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_a_call_keep_their_spelling() {
        let id = RequestId::from_number(7);
        let arguments = r#"{"b": 12345678901234567890123, "a":1e400}"#;
        let call = call_tool(&id, "a\"b", arguments, Execution::AsTask);
        assert_eq!(
            call.params_json(),
            Some(
                r#"{"_meta":{"progressToken":7},"name":"a\"b","arguments":{"b": 12345678901234567890123, "a":1e400},"task":{}}"#
            )
        );
        let list = list_tools(&id, Some("\"2\""));
        assert_eq!(
            list.params_json(),
            Some(r#"{"_meta":{"progressToken":7},"cursor":"\"2\""}"#)
        );
    }
}
