//! MCP 2026-07-28 as the doubles speak it: who asks stands in each request.

use std::collections::BTreeMap;

use serde_json::{Value, json, value::RawValue};

use crate::{mcp::initialize_result, reply::Reply, request::Request};

/// The version of the protocol.
pub const VERSION: &str = "2026-07-28";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
/// The member of `_meta` that names the subscription of a notification.
pub const SUBSCRIPTION_KEY: &str = "io.modelcontextprotocol/subscriptionId";

/// The `_meta` of an app that can show a form and list its roots.
pub fn meta() -> Value {
    json!({
        VERSION_KEY: VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "app-double", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "roots": {}},
    })
}

/// The params with who asks in them.
pub fn signed(params: &Value) -> Value {
    let mut params = params.clone();
    params["_meta"] = meta();
    params
}

/// True if the request has the metadata of the modern era.
pub fn is_modern(request: &Request) -> bool {
    version(request).is_some()
}

/// Reads nothing else of the params, which may be such as only the bridge can carry.
fn version(request: &Request) -> Option<Value> {
    #[derive(serde::Deserialize)]
    struct Params<'a> {
        #[serde(borrow, rename = "_meta")]
        meta: BTreeMap<String, &'a RawValue>,
    }
    let params: Params = serde_json::from_str(request.message().params()?).ok()?;
    serde_json::from_str(params.meta.get(VERSION_KEY)?.get()).ok()
}

/// Faults of a modern request of the bridge: members that are missing, and those that must not be there.
pub fn faults(request: &Request) -> Vec<String> {
    let name = request.rpc_method();
    let version = version(request).unwrap_or_default();
    let expectations = [
        (
            "not a POST",
            request.method == "POST" && !request.message().is_response(),
        ),
        ("a session id", request.header("mcp-session-id").is_none()),
        ("a Last-Event-ID", request.header("last-event-id").is_none()),
        (
            "Mcp-Method is not the method",
            request.header_values("mcp-method") == [name.as_str()],
        ),
        (
            "MCP-Protocol-Version is not that of the body",
            request.header("mcp-protocol-version") == version.as_str(),
        ),
        ("a posted cancellation", name != "notifications/cancelled"),
    ];
    let broken = expectations.into_iter().filter(|(_, holds)| !holds);
    broken
        .map(|(fault, _)| format!("{name}: {fault}"))
        .collect()
}

/// Answer of a server of this revision.
pub fn reply(request: &Request) -> Reply {
    if request.method != "POST" {
        return Reply::status(405);
    }
    if !request.message().is_owed_an_answer() {
        return Reply::status(202);
    }
    if version(request) != Some(VERSION.into()) {
        return Reply::status(400).body("application/json", unsupported(request, &[VERSION]));
    }
    let tool = json!({"name": "echo", "inputSchema": {"type": "object"}});
    match request.rpc_method().as_str() {
        "server/discover" => Reply::json(discovery(request, &json!([VERSION]))),
        "tools/list" => complete(request, &json!({"tools": [tool]})),
        "tools/call" => {
            let text = &request.params()["arguments"]["text"];
            let content = json!({"content": [{"type": "text", "text": text}]});
            complete(request, &content)
        }
        // Gives the params back as they were written.
        "vendor/mirror" => {
            Reply::json(request.result(request.message().params().unwrap_or("null")))
        }
        _ => {
            let body = request.error(-32601, "Method not found");
            Reply::status(404).body("application/json", body)
        }
    }
}

/// A result that is the end of its request.
pub fn complete(request: &Request, result: &Value) -> Reply {
    let mut result = result.clone();
    result["resultType"] = "complete".into();
    if result.get("tools").is_some() {
        for (name, value) in [("ttlMs", json!(0)), ("cacheScope", json!("private"))] {
            if result.get(name).is_none() {
                result[name] = value;
            }
        }
    }
    Reply::json(request.result(result.to_string()))
}

/// The answer to `server/discover` with this in `supportedVersions`.
pub fn discovery(request: &Request, versions: &Value) -> String {
    let initialized: Value =
        serde_json::from_str(&initialize_result(&Value::Null)).expect("it is ours");
    let result = json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": initialized["capabilities"],
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": initialized["serverInfo"]},
    });
    request.result(result.to_string())
}

/// The refusal of a version by a server that speaks these.
pub fn unsupported(request: &Request, supported: &[&str]) -> String {
    error_with_data(
        request,
        -32022,
        &json!({"supported": supported, "requested": version(request)}),
    )
}

/// An error with data.
pub fn error_with_data(request: &Request, code: i64, data: &Value) -> String {
    let mut error: Value =
        serde_json::from_str(&request.error(code, "refused")).expect("it is ours");
    error["error"]["data"] = data.clone();
    error.to_string()
}

/// The first event of a subscription: all that was asked for is granted.
pub fn acknowledgement(request: &Request) -> String {
    let notifications = request.params()["notifications"].clone();
    on_stream(
        request,
        "notifications/subscriptions/acknowledged",
        &json!({"notifications": notifications}),
    )
}

/// A notification on the stream of this subscription.
pub fn on_stream(listen: &Request, method: &str, params: &Value) -> String {
    let id = listen.message().id().expect("it is a request");
    let id: Value = serde_json::from_str(id).expect("an id is JSON");
    let mut params = params.clone();
    params["_meta"] = json!({ SUBSCRIPTION_KEY: id });
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}
