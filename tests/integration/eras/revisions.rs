//! An app and a server that speak different revisions of the legacy era.
//!
//! | issue | what shows it |
//! | --- | --- |
//! | no `null` in a provisional answer | `a_remembered_answer_says_nothing_of_what_the_server_lacks`, and `finish` in every test |
//! | the bridge never ends because of its provisional answer | `an_app_keeps_its_version_where_a_late_server_speaks_an_older_one`, `a_remembered_answer_that_has_become_wrong_costs_nothing`, `a_server_that_comes_back_with_another_version_serves_on`; over the eras `era_translated` |
//! | differences are translated | `what_an_older_app_does_not_know_is_translated_or_refused`; each of them is a unit test of `era::adapt` |
//! | `initialize` refused for its version | `a_refused_version_is_followed_by_an_older_one` and what follows it; the order is a unit test of `endpoint::greeting` |

use serde_json::{Value, json};

use crate::auth::sign_in::user::User;
use crate::program;
use mcp_bridge_testkit::{
    app::{App, INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    modern,
    reply::Reply,
    request::{Request, answer_to, call, get, rpc},
};

/// From now on the server answers `initialize` in this version, whatever it is asked for.
fn speaks(server: &FaultServer, version: &'static str, capabilities: &Value) {
    let capabilities = capabilities.clone();
    server.always(rpc("initialize"), move |request| {
        Reply::json(initialized(request, version, &capabilities))
    });
}

fn initialized(request: &Request, version: &str, capabilities: &Value) -> String {
    let info = json!({"name": "fault-server", "version": "1"});
    let result =
        json!({"protocolVersion": version, "capabilities": capabilities, "serverInfo": info});
    request.result(result.to_string())
}

fn stateless_down() -> FaultServer {
    FaultServer::start_down(Binding::Stateless)
}

/// The app begins while the server is down, and is told this version.
async fn begins(app: &mut App, asks: &str, told: &str) -> Value {
    app.send(initialize_line(asks)).await;
    let result = app.result("init").await;
    assert_eq!(result["protocolVersion"], told, "{result}");
    app.send(INITIALIZED).await;
    result
}

/// Lists that the server lacks are answered as if they were there and empty.
async fn has_nothing_but_tools(app: &mut App) {
    let reference = json!({"type": "ref/prompt", "name": "p"});
    let complete = json!({"ref": reference, "argument": {"name": "a", "value": ""}});
    for (method, params, expected) in [
        ("prompts/list", json!({}), json!({"prompts": []})),
        ("resources/list", json!({}), json!({"resources": []})),
        (
            "resources/templates/list",
            json!({}),
            json!({"resourceTemplates": []}),
        ),
        (
            "completion/complete",
            complete,
            json!({"completion": {"values": []}}),
        ),
    ] {
        app.request(method, method, &params).await;
        assert_eq!(app.result(method).await, expected, "{method}");
    }
    // What is no list stays what the server says of it.
    app.request("get", "prompts/get", &json!({"name": "p"}))
        .await;
    assert_eq!(app.error("get").await["code"], -32601);
    app.request("list", "tools/list", &json!({})).await;
    assert_eq!(app.result("list").await["tools"][0]["name"], "echo");
    app.still_served().await;
}

#[tokio::test]
async fn an_app_keeps_its_version_where_a_late_server_speaks_an_older_one() {
    for version in ["2025-06-18", "2025-03-26", "2024-11-05"] {
        let user = User::new();
        let server = stateless_down();
        speaks(&server, version, &json!({"tools": {}}));
        let mut app = user.launch(&server.url()).start();
        begins(&mut app, "2025-11-25", "2025-11-25").await;
        app.request("early", "tools/list", &json!({})).await;
        server.come_up();
        assert_eq!(app.result("early").await["tools"][0]["name"], "echo");
        has_nothing_but_tools(&mut app).await;
        let sent = server.received(rpc("tools/call"), 1).await;
        assert_eq!(sent.header("mcp-protocol-version"), Some(version));
        app.finish().await;

        // The next app is told the version that the server speaks.
        server.go_down().await;
        let mut again = user.launch(&server.url()).start();
        begins(&mut again, "2025-11-25", version).await;
        again.finish().await;
    }
}

#[tokio::test]
async fn a_remembered_answer_says_nothing_of_what_the_server_lacks() {
    let user = User::new();
    let server = stateless_down();
    speaks(
        &server,
        "2025-06-18",
        &json!({"tools": {}, "prompts": null}),
    );
    server.come_up();
    let mut first = user.launch(&server.url()).server(&server).start();
    first.initialize().await;
    first.finish().await;
    server.go_down().await;
    let mut second = user.launch(&server.url()).start();
    let told = begins(&mut second, "2025-06-18", "2025-06-18").await;
    let expected = json!({"tools": {"listChanged": true}});
    assert_eq!(told["capabilities"], expected);
    server.come_up();
    second.still_served().await;
    second.finish().await;
}

#[tokio::test]
async fn a_remembered_answer_that_has_become_wrong_costs_nothing() {
    let user = User::new();
    let server = stateless_down();
    let all = json!({"tools": {}, "prompts": {}, "resources": {}, "completions": {}});
    speaks(&server, "2025-11-25", &all);
    server.come_up();
    let mut first = user.launch(&server.url()).start();
    first.send(initialize_line("2025-11-25")).await;
    first.result("init").await;
    first.finish().await;
    server.go_down().await;
    server.behave();
    speaks(&server, "2025-06-18", &json!({"tools": {}}));

    let mut second = user.launch(&server.url()).start();
    begins(&mut second, "2025-11-25", "2025-11-25").await;
    server.come_up();
    has_nothing_but_tools(&mut second).await;
    second.finish().await;
}

#[tokio::test]
async fn what_an_older_app_does_not_know_is_translated_or_refused() {
    let user = User::new();
    let server = FaultServer::start_down(Binding::Streamable);
    speaks(&server, "2025-03-26", &json!({"tools": {}}));
    server.come_up();
    let mut first = user.launch(&server.url()).start();
    first.send(initialize_line("2025-11-25")).await;
    first.result("init").await;
    first.finish().await;
    server.go_down().await;
    server.behave();

    let mut app = user.launch(&server.url()).start();
    app.is_translated_for();
    begins(&mut app, "2025-11-25", "2025-03-26").await;
    server.come_up();
    server.received(get(), 1).await;
    server.once(call("link"), |request| {
        let form = json!({"type": "object", "properties": {}});
        let params = json!({"message": "m", "requestedSchema": form});
        let question =
            json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": params});
        let over = json!({"jsonrpc": "2.0", "method": "notifications/elicitation/complete",
            "params": {"elicitationId": "1"}});
        let link = json!({"type": "resource_link", "uri": "file:///a", "name": "a"});
        let result = request.result(json!({"content": [link]}).to_string());
        let batch = format!("[{question},{over}]");
        Reply::sse().data(batch).data(result)
    });
    app.call(1, "link", "").await;
    let content = &app.result(1).await["content"];
    assert_eq!(*content, json!([{"type": "text", "text": "a: file:///a"}]));
    let refusal = server.received(answer_to("7"), 1).await;
    assert_eq!(refusal.message().error().expect("an error")["code"], -32601);
    app.still_served().await;
    app.finish().await;
}

#[tokio::test]
async fn a_server_that_comes_back_with_another_version_serves_on() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    server.speak(Binding::Stateless);
    server.once(call("echo"), |request| {
        let body = request.error(-32001, "Session not found");
        Reply::status(404).body("application/json", body)
    });
    server.once(rpc("initialize"), |request| {
        Reply::json(initialized(request, "2025-03-26", &json!({"tools": {}})))
    });
    app.still_served().await;
    app.request("prompts", "prompts/list", &json!({})).await;
    // Prompts were never promised.
    assert_eq!(app.error("prompts").await["code"], -32601);
    app.request("resources", "resources/list", &json!({})).await;
    assert_eq!(app.result("resources").await, json!({"resources": []}));
    let last = server.received(rpc("resources/list"), 1).await;
    assert_eq!(last.header("mcp-protocol-version"), Some("2025-03-26"));
    app.finish().await;
}

/// Refusals of a version by servers.
fn refusals() -> Vec<fn(&Request) -> Reply> {
    const TEXT: &str = "Unsupported protocol version (supported versions: 2025-06-18, 2025-03-26)";
    vec![
        |_| Reply::status(400).body("text/plain", TEXT),
        |_| Reply::status(400),
        |_| {
            Reply::status(422).body(
                "application/json",
                r#"{"error":"invalid_protocol_version"}"#,
            )
        },
        |request| {
            let body = request.error(-32000, TEXT);
            Reply::status(400).body("application/json", body)
        },
        |request| Reply::json(request.error(-32602, "Invalid params")),
        |request| {
            let data = json!({"supported": ["2025-06-18", "2025-03-26"]});
            Reply::json(modern::error_with_data(request, -32602, &data))
        },
        |request| Reply::status(404).body("application/json", request.error(-32600, TEXT)),
    ]
}

#[tokio::test]
async fn a_refused_version_is_followed_by_an_older_one() {
    for refuse in refusals() {
        let server = FaultServer::start();
        server.always(rpc("initialize"), move |request| {
            let is_new = request.params()["protocolVersion"] == "2025-11-25";
            is_new.then(|| refuse(request))
        });
        let mut app = program::start(&server);
        app.send(initialize_line("2025-11-25")).await;
        let result = app.result("init").await;
        assert_eq!(result["protocolVersion"], "2025-11-25");
        app.send(INITIALIZED).await;
        app.still_served().await;
        let tries = server.requests_for(&rpc("initialize"));
        assert_eq!(tries.len(), 2, "{}", server.story());
        assert_eq!(tries[1].header("mcp-protocol-version"), Some("2025-06-18"));
        let sent = server.received(call("echo"), 1).await;
        assert_eq!(sent.header("mcp-protocol-version"), Some("2025-06-18"));
        // A lost session is opened again in the version that was accepted.
        server.forget_sessions();
        app.still_served().await;
        assert_eq!(server.count(&rpc("initialize")), 3, "{}", server.story());
        app.finish().await;
    }
}

#[tokio::test]
async fn a_version_that_was_accepted_is_asked_for_at_the_next_start() {
    let user = User::new();
    let server = FaultServer::start();
    server.always(rpc("initialize"), |request| {
        let is_new = request.params()["protocolVersion"] == "2025-11-25";
        let refusal = || Reply::status(400).body("text/plain", "unsupported protocol version");
        is_new.then(refusal)
    });
    for tries in [2, 3] {
        let mut app = user.launch(&server.url()).start();
        app.send(initialize_line("2025-11-25")).await;
        let result = app.result("init").await;
        assert_eq!(result["protocolVersion"], "2025-11-25");
        assert_eq!(
            server.count(&rpc("initialize")),
            tries,
            "{}",
            server.story()
        );
        app.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_wants_the_version_in_a_header_gets_it_on_the_second_try() {
    let server = FaultServer::start();
    server.always(rpc("initialize"), |request| {
        let refusal = "Missing MCP-Protocol-Version header";
        let is_missing = request.header("mcp-protocol-version").is_none();
        is_missing.then(|| Reply::status(400).body("text/plain", refusal))
    });
    let mut app = program::start(&server);
    app.send(initialize_line("2025-11-25")).await;
    app.result("init").await;
    app.send(INITIALIZED).await;
    app.still_served().await;
    let tries = server.requests_for(&rpc("initialize"));
    assert_eq!(tries.len(), 2, "{}", server.story());
    assert_eq!(tries[1].params()["protocolVersion"], "2025-11-25");
    server.forget_sessions();
    app.still_served().await;
    app.finish().await;
}

/// The number of tries is bounded, and the error is that of the first.
#[tokio::test]
async fn a_server_that_refuses_everything_is_asked_a_few_times() {
    let server = FaultServer::start();
    server.always(rpc("initialize"), |request| {
        let asked = request.params()["protocolVersion"].clone();
        Reply::json(request.error(-32602, &format!("no {asked}")))
    });
    let mut app = program::start(&server);
    app.send(initialize_line("2025-11-25")).await;
    let error = app.error("init").await;
    assert_eq!(error["message"], "no \"2025-11-25\"");
    assert_eq!(server.count(&rpc("initialize")), 3, "{}", server.story());
    app.finish().await;
}

#[tokio::test]
async fn a_place_that_is_not_there_is_no_refusal_of_a_version() {
    for status in [404, 405] {
        let server = FaultServer::start_as(Binding::HttpSse);
        server.always(rpc("initialize"), move |request| {
            let is_elsewhere = request.target.starts_with("/sse");
            is_elsewhere.then(|| Reply::status(status))
        });
        let mut app = program::bridge_for(&server).start();
        app.send(initialize_line("2025-11-25")).await;
        app.result("init").await;
        app.send(INITIALIZED).await;
        app.still_served().await;
        assert_eq!(server.count(&rpc("initialize")), 2, "{}", server.story());
        app.finish().await;
    }
}
