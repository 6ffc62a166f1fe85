//! Trace context of OpenTelemetry in `_meta`, in each pair of app and server.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::mcp::Binding;
use mcp_bridge_testkit::modern;
use mcp_bridge_testkit::request::call;

const KEYS: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// Parameters of a call with the context of a trace.
fn traced_call() -> Value {
    json!({
        "name": "echo",
        "arguments": {"text": "traced"},
        "_meta": {
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "tracestate": "vendor=t61rcWkgMzE,other=00f067aa0ba902b7",
            "baggage": "user=Am%C3%A9lie,tier=gold;since=2024",
        },
    })
}

/// The call came with the context in `_meta` alone: the convention has no HTTP headers for it.
async fn received_as_sent(server: &FaultServer) {
    let request = server.received(call("echo"), 1).await;
    let meta = &request.params()["_meta"];
    for key in KEYS {
        assert_eq!(meta[key], traced_call()["_meta"][key], "{}", request.text());
        assert_eq!(request.header(key), None, "{:?}", request.headers);
    }
}

/// HC-17
#[tokio::test]
async fn trace_context_of_a_legacy_app_reaches_servers_of_both_eras_in_meta() {
    for binding in [Binding::Streamable, Binding::HttpSse, Binding::Modern] {
        let server = FaultServer::start_as(binding);
        let mut app = program::initialized(&server).await;
        app.request(1, "tools/call", &traced_call()).await;
        assert_eq!(app.result(1).await["content"][0]["text"], "traced");
        received_as_sent(&server).await;
        app.finish().await;
    }
}

/// HC-17
#[tokio::test]
async fn trace_context_of_a_modern_app_reaches_servers_of_both_eras_in_meta() {
    for binding in [Binding::Streamable, Binding::HttpSse, Binding::Modern] {
        let server = FaultServer::start_as(binding);
        let mut app = program::start(&server);
        let mut params = modern::signed(&traced_call());
        for key in KEYS {
            params["_meta"][key] = traced_call()["_meta"][key].clone();
        }
        app.request(1, "tools/call", &params).await;
        assert_eq!(app.result(1).await["content"][0]["text"], "traced");
        received_as_sent(&server).await;
        app.finish().await;
    }
}
