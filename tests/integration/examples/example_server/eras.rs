//! Requests of the era that the server does not serve, and the header that repeats an argument.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::client::{Client, answer, initialize, options_for};
use crate::era::Eras;
use crate::server::Server;

const VERSION_HEADER: &str = "mcp-protocol-version";
const MODERN: &str = "2026-07-28";

/// A server of these eras, with a client that has a token for it.
async fn signed_in(eras: Eras) -> (Server, Client, String) {
    let server = Server::start(options_for(eras)).await.unwrap();
    let client = Client::registered(&server).await;
    let token = client.tokens("ada", "profile").await.access;
    (server, client, token)
}

fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "0" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

#[tokio::test]
async fn a_modern_server_refuses_initialize_and_says_what_it_supports() {
    let (_server, client, token) = signed_in(Eras::Modern).await;
    let response = client.mcp(&token, &initialize()).send().await.unwrap();
    let answer = answer(response).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["id"], 1);
    assert_eq!(answer.body["error"]["code"], -32022);
    assert_eq!(answer.body["error"]["data"]["supported"], json!([MODERN]));
    assert_eq!(answer.body["error"]["data"]["requested"], "2025-11-25");
}

#[tokio::test]
async fn a_modern_server_refuses_a_request_that_does_not_say_who_asks() {
    let (_server, client, token) = signed_in(Eras::Modern).await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let response = client.mcp(&token, &list).send().await.unwrap();
    let answer = answer(response).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["error"]["code"], -32020);
}

/// It knows neither the version nor the codes with which a later server would say so.
#[tokio::test]
async fn a_legacy_server_refuses_a_modern_request_like_one_of_its_time() {
    let (_server, client, token) = signed_in(Eras::Legacy).await;
    for method in ["server/discover", "tools/list"] {
        let request = client.mcp(&token, &modern(method, json!({})));
        let request = request
            .header(VERSION_HEADER, MODERN)
            .header("mcp-method", method);
        let answer = answer(request.send().await.unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.body["error"]["code"], -32000);
        assert_eq!(answer.body["error"]["data"], Value::Null);
    }
}

/// MCP 2026-07-28, transports: Custom Headers
#[tokio::test]
async fn add_to_menu_wants_its_argument_in_a_header_too() {
    for eras in [Eras::Modern, Eras::Dual] {
        let (_server, client, token) = signed_in(eras).await;
        let params = json!({ "name": "add-to-menu", "arguments": { "coffee": "Ristretto" } });
        let call = |coffee: Option<&str>| {
            let request = client
                .mcp(&token, &modern("tools/call", params.clone()))
                .header(VERSION_HEADER, MODERN)
                .header("mcp-method", "tools/call")
                .header("mcp-name", "add-to-menu");
            match coffee {
                Some(coffee) => request.header("mcp-param-coffee", coffee),
                None => request,
            }
        };
        for coffee in [None, Some("Lungo")] {
            let answer = answer(call(coffee).send().await.unwrap()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{coffee:?}");
            assert_eq!(answer.body["error"]["code"], -32020, "{coffee:?}");
        }
        let accepted = call(Some("Ristretto")).send().await.unwrap();
        assert_eq!(accepted.status(), StatusCode::OK);
        let said = accepted.text().await.unwrap();
        assert!(said.contains("Ristretto is on the menu."), "{said}");
    }
}
