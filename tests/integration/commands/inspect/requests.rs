//! Requests of the server, which a person answers on the page.

use serde_json::{Value, json};

use super::Inspector;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::mcp::Binding;
use mcp_bridge_testkit::modern::complete;
use mcp_bridge_testkit::reply::{Gate, Reply};
use mcp_bridge_testkit::request::{Request, answer_to, call, rpc};

fn message(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params}).to_string()
}

/// A server whose tool asks this, and ends when the gate is opened.
fn asking(method: &'static str, params: Value) -> (FaultServer, Gate) {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let wait = gate.clone();
    server.always(call("echo"), move |request: &Request| {
        Reply::sse()
            .data(message(method, &params))
            .wait(&wait)
            .data(request.result(r#"{"content":[]}"#))
            .close()
    });
    (server, gate)
}

impl Inspector {
    /// The next question that waits, when the tool is called.
    async fn question(&self, cookie: &str) -> Value {
        let has_one = |event: &Value| event["questions"][0]["number"].is_number();
        let state = self.has_event(cookie, has_one).await;
        state["questions"][0].clone()
    }

    /// Calls the tool, and does this meanwhile.
    async fn call_and<T>(&self, cookie: &str, meanwhile: impl Future<Output = T>) -> (Value, T) {
        let wanted = json!({"method": "tools/call", "params": {"name": "echo"}});
        let (called, done) = tokio::join!(self.rpc(cookie, &wanted), meanwhile);
        let text = called.text().await.expect("text");
        let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (answer, done)
    }
}

#[tokio::test]
async fn each_kind_of_request_is_shown_and_answered_by_hand() {
    let form = json!({
        "message": "Which coffee?",
        "requestedSchema": {"type": "object", "properties": {"coffee": {"type": "string"}}},
    });
    let page = json!({
        "mode": "url", "message": "Confirm there", "elicitationId": "e", "url": "https://shop.example/confirm",
    });
    let text = json!({"role": "user", "content": {"type": "text", "text": "Hello?"}});
    let sampling = json!({"messages": [text], "maxTokens": 10});
    let sampled = json!({
        "role": "assistant", "content": {"type": "text", "text": "Hello."}, "model": "a person", "stopReason": "endTurn",
    });
    for (method, params, answer) in [
        (
            "elicitation/create",
            form,
            json!({"action": "accept", "content": {"coffee": "flat white"}}),
        ),
        ("elicitation/create", page, json!({"action": "accept"})),
        ("sampling/createMessage", sampling, sampled),
        (
            "roots/list",
            json!({}),
            json!({"roots": [{"uri": "file:///work"}]}),
        ),
    ] {
        let (server, gate) = asking(method, params.clone());
        let inspector = Inspector::of_server(&server).await;
        let cookie = inspector.cookie().await;
        let answering = async {
            let question = inspector.question(&cookie).await;
            assert_eq!(question["method"], method);
            assert_eq!(question["params"], params);
            let given = json!({"number": question["number"], "result": answer});
            let given = inspector.act(&cookie, "/answer", &given.to_string()).await;
            assert_eq!(given, "answered\n");
            let received = server.received(answer_to(r#""q""#), 1).await;
            gate.open();
            received
        };
        let (called, received) = inspector.call_and(&cookie, answering).await;
        let received: Value = serde_json::from_str(received.text()).expect("JSON");
        assert_eq!(received["result"], answer, "{method}");
        assert!(called["result"].is_object(), "{called}");
        let is_empty = |event: &Value| event["questions"] == json!([]);
        inspector.has_event(&cookie, is_empty).await;
    }
}

#[tokio::test]
async fn a_request_that_is_refused_gets_the_error_of_the_person() {
    let (server, gate) = asking("sampling/createMessage", json!({"messages": []}));
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    let refusing = async {
        let number = inspector.question(&cookie).await["number"].clone();
        let refusal = json!({"code": -1, "message": "User rejected sampling request"});
        let answer = json!({"number": number, "error": refusal}).to_string();
        assert_eq!(
            inspector.act(&cookie, "/answer", &answer).await,
            "answered\n"
        );
        // Nobody waits for a second one.
        let again = inspector.act(&cookie, "/answer", &answer).await;
        assert_eq!(
            again,
            "409: the server does not wait for this answer any more\n"
        );
        let received = server.received(answer_to(r#""q""#), 1).await;
        gate.open();
        received
    };
    let (_, received) = inspector.call_and(&cookie, refusing).await;
    let received: Value = serde_json::from_str(received.text()).expect("JSON");
    assert_eq!(received["error"]["code"], -1);
}

/// The server has changed its mind.
#[tokio::test]
async fn a_request_that_the_server_takes_back_is_gone() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let wait = gate.clone();
    server.always(call("echo"), move |request: &Request| {
        let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q"}});
        Reply::sse()
            .data(message("roots/list", &json!({})))
            .wait(&wait)
            .data(cancelled.to_string())
            .data(request.result(r#"{"content":[]}"#))
            .close()
    });
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    let waiting = async {
        let number = inspector.question(&cookie).await["number"].clone();
        gate.open();
        let is_empty = |event: &Value| event["questions"] == json!([]);
        inspector.has_event(&cookie, is_empty).await;
        let answer = json!({"number": number, "result": {"roots": []}}).to_string();
        inspector.act(&cookie, "/answer", &answer).await
    };
    let (_, late) = inspector.call_and(&cookie, waiting).await;
    assert!(late.starts_with("409: "), "{late}");
    assert_eq!(server.count(&answer_to(r#""q""#)), 0, "{}", server.story());
}

/// A modern server asks by a result, and is answered by a repetition of the request.
#[tokio::test]
async fn a_modern_server_is_answered_in_its_own_way() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(call("echo"), |request: &Request| {
        let params = request.params();
        if params["inputResponses"].is_null() {
            let asked = json!({"the roots": {"method": "roots/list", "params": {}}});
            let result = json!({"resultType": "input_required", "inputRequests": asked});
            return Reply::json(request.result(result.to_string()));
        }
        let told = params["inputResponses"]["the roots"].to_string();
        complete(
            request,
            &json!({"content": [{"type": "text", "text": told}]}),
        )
    });
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    let answering = async {
        let question = inspector.question(&cookie).await;
        assert_eq!(question["method"], "roots/list");
        let roots = json!({"roots": [{"uri": "file:///work"}]});
        let answer = json!({"number": question["number"], "result": roots}).to_string();
        inspector.act(&cookie, "/answer", &answer).await
    };
    let (called, answered) = inspector.call_and(&cookie, answering).await;
    assert_eq!(answered, "answered\n");
    let text = called["result"]["content"][0]["text"].as_str();
    assert!(
        text.is_some_and(|text| text.contains("file:///work")),
        "{called}"
    );
}

#[tokio::test]
async fn log_messages_and_notifications_reach_the_page_and_the_level_the_server() {
    let server = FaultServer::start();
    server.always(rpc("logging/setLevel"), |request: &Request| {
        Reply::json(request.result("{}"))
    });
    server.always(call("echo"), |request: &Request| {
        let params = json!({"level": "warning", "logger": "shop", "data": "out of beans"});
        let entry = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
        let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        Reply::sse()
            .data(entry.to_string())
            .data(changed.to_string())
            .data(request.result(r#"{"content":[]}"#))
            .close()
    });
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    let wanted = json!({"method": "logging/setLevel", "params": {"level": "warning"}});
    inspector.rpc(&cookie, &wanted).await;
    let set = server.received(rpc("logging/setLevel"), 1).await;
    assert_eq!(set.params()["level"], "warning");
    inspector.call_and(&cookie, async {}).await;
    for method in ["notifications/message", "notifications/tools/list_changed"] {
        let is_there = |event: &Value| {
            event["_mcp"]["method"] == method && event["_mcp"]["direction"] == "to-app"
        };
        inspector.has_event(&cookie, is_there).await;
    }
}
