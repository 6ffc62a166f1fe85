//! Requests of the server that need a capability which the app has not declared (MCP 2025-11-25, "Capability Negotiation").

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    app::{App, INITIALIZED},
    fault_server::FaultServer,
    request::{Want, get},
};

/// The requests, with the capability that each needs.
const REQUESTS: [(&str, &str); 3] = [
    ("elicitation/create", "elicitation"),
    ("sampling/createMessage", "sampling"),
    ("roots/list", "roots"),
];

/// An app with these capabilities, once the server can reach it.
async fn app_with(server: &FaultServer, capabilities: &Value) -> App {
    let mut app = program::bridge_for(server).start();
    let info = json!({"name": "app-double", "version": "1"});
    let params =
        json!({"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": info});
    app.request("init", "initialize", &params).await;
    app.result("init").await;
    app.send(INITIALIZED).await;
    server.received(get(), 1).await;
    app
}

fn request(id: &str, method: &str) -> String {
    // Spaces, as the bridge would not write them.
    format!(r#"{{"jsonrpc": "2.0", "id": "{id}",  "method":"{method}", "params": {{"x": 1.0}}}}"#)
}

#[tokio::test]
async fn a_request_without_its_capability_is_refused_at_once_and_logged_once() {
    for undeclared in [json!({}), json!({"elicitation": null, "roots": false})] {
        let server = FaultServer::start();
        let mut app = app_with(&server, &undeclared).await;
        for (method, _) in REQUESTS {
            for id in ["first", "second"] {
                server.push(request(&format!("{id} {method}"), method));
            }
        }
        server.received(Want::Response, 2 * REQUESTS.len()).await;
        for answer in server.requests_for(&Want::Response) {
            assert_eq!(answer.message().error().expect("an error")["code"], -32601);
        }
        app.still_served().await;
        assert!(app.unread().is_empty());
        let finished = app.finish().await;
        for (method, capability) in REQUESTS {
            let lines = finished
                .stderr
                .lines()
                .filter(|line| line.contains("WARN") && line.contains(method));
            let lines: Vec<_> = lines.collect();
            assert_eq!(lines.len(), 1, "{}", finished.stderr);
            assert!(lines[0].contains(capability), "{}", lines[0]);
        }
    }
}

#[tokio::test]
async fn a_request_with_its_capability_reaches_the_app_byte_for_byte() {
    for (method, capability) in REQUESTS {
        let server = FaultServer::start();
        let mut app = app_with(&server, &json!({capability: {}})).await;
        for (other, _) in REQUESTS {
            server.push(request(other, other));
        }
        assert_eq!(app.server_sent(method).await.text, request(method, method));
        server.received(Want::Response, 2).await;
        let refused = server.requests_for(&Want::Response);
        assert!(refused.iter().all(|it| it.message().error().is_some()));
        let answer = json!({"jsonrpc": "2.0", "id": method, "result": {}});
        app.send(answer.to_string()).await;
        let answer = server.received(Want::Response, 3).await;
        assert_eq!(answer.message().result(), Some("{}"));
        app.finish().await;
    }
}

/// Only these three are known to need a capability.
#[tokio::test]
async fn other_requests_need_no_capability() {
    let server = FaultServer::start();
    let mut app = app_with(&server, &json!({})).await;
    let line = request("v", "vendor/ask");
    server.push(line.clone());
    assert_eq!(app.server_sent("vendor/ask").await.text, line);
    app.send(r#"{"jsonrpc":"2.0","id":"v","result":{}}"#).await;
    server.received(Want::Response, 1).await;
    app.finish().await;
}
