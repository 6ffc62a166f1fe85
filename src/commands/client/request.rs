//! Messages that the commands send to a server.

use serde_json::{Map, Value, json};

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
    /// All that a server may ask a client for.
    All,
}

/// `initialize`, which begins a conversation of the legacy era.
pub(super) fn initialize(id: &RequestId, capabilities: Capabilities) -> Message {
    let capabilities = match capabilities {
        Capabilities::None => json!({}),
        Capabilities::Elicitation => json!({ "elicitation": { "form": {}, "url": {} } }),
        Capabilities::All => json!({
            "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {},
        }),
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

/// A request for a list, from its beginning or at a cursor.
pub(super) fn list(id: &RequestId, method: &str, cursor: Option<&str>) -> Message {
    let cursor = cursor.map(|cursor| format!(r#","cursor":{}"#, Value::from(cursor)));
    let params = format!("{{{}{}}}", progress_token(id), cursor.unwrap_or_default());
    Message::request(id, method, &params)
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

/// `resources/read`.
pub(super) fn read_resource(id: &RequestId, uri: &str) -> Message {
    let params = format!("{{{},\"uri\":{}}}", progress_token(id), Value::from(uri));
    Message::request(id, "resources/read", &params)
}

/// `prompts/get` with arguments that are the JSON text of an object.
pub(super) fn get_prompt(id: &RequestId, name: &str, arguments: &str) -> Message {
    let (token, name) = (progress_token(id), Value::from(name));
    let params = format!(r#"{{{token},"name":{name},"arguments":{arguments}}}"#);
    Message::request(id, "prompts/get", &params)
}

/// An argument that is being typed (MCP "Completion").
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct Completion<'a> {
    pub(in crate::commands) reference: Reference<'a>,
    pub(in crate::commands) argument: &'a str,
    /// The beginning of its value.
    pub(in crate::commands) value: &'a str,
    /// The arguments that have a value already.
    pub(in crate::commands) others: &'a Map<String, Value>,
}

/// The owner of an argument.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) enum Reference<'a> {
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A resource template, by its text.
    Template(&'a str),
}

/// `completion/complete`.
pub(super) fn complete(id: &RequestId, completion: &Completion<'_>) -> Message {
    let reference = match completion.reference {
        Reference::Prompt(name) => json!({ "type": "ref/prompt", "name": name }),
        Reference::Template(uri) => json!({ "type": "ref/resource", "uri": uri }),
    };
    let argument = json!({ "name": completion.argument, "value": completion.value });
    let mut params = json!({ "ref": reference, "argument": argument });
    if !completion.others.is_empty() {
        params["context"] = json!({ "arguments": completion.others });
    }
    Message::request(id, "completion/complete", &params.to_string())
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
        let list = list(&id, "tools/list", Some("\"2\""));
        assert_eq!(
            list.params_json(),
            Some(r#"{"_meta":{"progressToken":7},"cursor":"\"2\""}"#)
        );
    }
}
