//! The tools, in both eras of the protocol.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, initialize, start, text};

pub(super) const SESSION: &str = "mcp-session-id";

/// A `tools/call` request of 2026-07-28, which needs no session.
async fn call(client: &Client, token: &str, name: &str, mut params: Value) -> Vec<Value> {
    params["name"] = json!(name);
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "0" },
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        "progressToken": "progress",
    });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let response = client
        .mcp(token, &message)
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", name)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut messages = Messages::of(response);
    let mut received = Vec::new();
    while let Some(message) = messages.next().await {
        received.push(message);
    }
    received
}

/// The messages of a JSON response or an event stream, as they come.
pub(super) struct Messages {
    response: Response,
    text: String,
}

impl Messages {
    pub(super) fn of(response: Response) -> Self {
        Self {
            response,
            text: String::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let (message, rest) = (parse(line), rest.to_owned());
                self.text = rest;
                if message.is_some() {
                    return message;
                }
                continue;
            }
            match self.response.chunk().await.unwrap() {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => return parse(&std::mem::take(&mut self.text)),
            }
        }
    }
}

fn parse(line: &str) -> Option<Value> {
    serde_json::from_str(line.strip_prefix("data:").unwrap_or(line)).ok()
}

/// The data depend on the token of the request and on nothing else.
#[tokio::test]
async fn get_user_data_returns_who_authorized_the_request() {
    let server = start().await;
    let client = Client::registered(&server).await;
    for (user, name) in [("ada", "Ada Lovelace"), ("grace", "Grace Hopper")] {
        let tokens = client.tokens(user, "profile").await;
        let messages = call(&client, &tokens.access, "get-user-data", json!({})).await;
        let data = &messages.last().unwrap()["result"]["structuredContent"];
        assert_eq!(data["id"], user);
        assert_eq!(data["name"], name);
        assert_eq!(data["app"], "Test");
        assert_eq!(data["scopes"], json!(["profile"]));
    }
}

#[tokio::test]
async fn echo_returns_its_text() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile").await;
    let params = json!({ "arguments": { "text": "Grüße, 世界" } });
    let messages = call(&client, &tokens.access, "echo", params).await;
    assert_eq!(
        messages.last().unwrap()["result"]["content"][0]["text"],
        "Grüße, 世界"
    );
}

#[tokio::test]
async fn count_down_reports_progress_before_its_result() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile").await;
    let params = json!({ "arguments": { "from": 2 } });
    let messages = call(&client, &tokens.access, "count-down", params).await;
    let (result, progress) = messages.split_last().unwrap();
    let seen: Vec<_> = progress
        .iter()
        .map(|message| {
            (
                text(&message["method"]),
                message["params"]["progress"].as_f64(),
            )
        })
        .collect();
    let method = "notifications/progress".to_owned();
    assert_eq!(seen, [(method.clone(), Some(0.0)), (method, Some(1.0))]);
    assert_eq!(result["result"]["content"][0]["text"], "Lift-off!");

    let too_far = json!({ "arguments": { "from": 51 } });
    let messages = call(&client, &tokens.access, "count-down", too_far).await;
    assert_eq!(messages.last().unwrap()["error"]["code"], -32602);
}

/// MCP 2026-07-28: the result asks, and the next request answers.
#[tokio::test]
async fn order_coffee_asks_in_its_result_in_the_modern_era() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile coffee").await;

    let asked = call(&client, &tokens.access, ORDER_COFFEE, json!({})).await;
    let result = &asked.last().unwrap()["result"];
    assert_eq!(result["resultType"], "input_required");
    let question = &result["inputRequests"]["order"];
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(
        question["params"]["message"],
        "Which coffee would you like, Ada Lovelace?"
    );

    let answers = json!({ "order": { "action": "accept", "content": { "coffee": "flat white" } } });
    let answered = json!({ "inputResponses": answers });
    let messages = call(&client, &tokens.access, ORDER_COFFEE, answered).await;
    assert_eq!(
        messages.last().unwrap()["result"]["content"][0]["text"],
        FLAT_WHITE
    );
}

pub(super) const ORDER_COFFEE: &str = "order-coffee";
pub(super) const FLAT_WHITE: &str =
    "One flat white for Ada Lovelace is on its way, with 0 lumps of sugar.";

/// MCP 2025-11-25: the server sends a request on the stream of the call.
#[tokio::test]
async fn order_coffee_asks_with_a_request_in_the_legacy_era() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile coffee").await;
    let session = open_session(&client, &tokens.access).await;
    let send = |message: Value| {
        client
            .mcp(&tokens.access, &message)
            .header(SESSION, &session)
            .send()
    };

    let params = json!({ "name": ORDER_COFFEE });
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
    let mut messages = Messages::of(send(call).await.unwrap());
    let question = messages.next().await.unwrap();
    assert_eq!(question["method"], "elicitation/create");

    let result = json!({ "action": "accept", "content": { "coffee": "flat white" } });
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
    assert_eq!(send(answer).await.unwrap().status(), StatusCode::ACCEPTED);
    let result = messages.next().await.unwrap();
    assert_eq!(result["result"]["content"][0]["text"], FLAT_WHITE);
}

/// MCP, security best practices: Session Hijacking
#[tokio::test]
async fn a_session_answers_only_to_the_user_that_opened_it() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let ada = client.tokens("ada", "profile").await;
    let grace = client.tokens("grace", "profile").await;
    let session = open_session(&client, &ada.access).await;
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    for (tokens, status) in [(&ada, StatusCode::OK), (&grace, StatusCode::NOT_FOUND)] {
        let request = client.mcp(&tokens.access, &list).header(SESSION, &session);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

pub(super) async fn open_session(client: &Client, token: &str) -> String {
    let response = client.mcp(token, &initialize()).send().await.unwrap();
    let session = response.headers()[SESSION].to_str().unwrap().to_owned();
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let accepted = client
        .mcp(token, &initialized)
        .header(SESSION, &session)
        .send()
        .await
        .unwrap();
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    session
}
