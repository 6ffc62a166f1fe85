//! The sign-in page as the app is told of it: in the progress of requests that wait, and in a form where
//! the app opens no page.

use serde_json::{Value, json};

use crate::auth::sign_in::user::{User, Window};
use crate::era::Eras;
use crate::examples::example_server::client::options_for;
use crate::server::Server as ExampleServer;
use mcp_bridge_testkit::{
    app::{App, INITIALIZED, Line},
    fault_server::FaultServer,
    mcp::Binding,
    modern,
    reply::Reply,
    request::{get, post},
};

async fn example_server() -> ExampleServer {
    let eras = Eras::Legacy;
    let options = options_for(eras);
    ExampleServer::start(options).await.expect("it starts")
}

/// A server that takes no more requests without a token of `issuer`.
fn wants_a_token(server: &FaultServer, issuer: &ExampleServer) {
    let host = server.host();
    let issuer = issuer.url().trim_end_matches("/mcp").to_owned();
    let metadata = json!({ "resource": server.url(), "authorization_servers": [issuer] });
    server.once(get(), move |_| Reply::json(metadata.to_string()));
    server.always(post(), move |request| {
        let challenge = format!("Bearer resource_metadata=\"http://{host}/metadata\"");
        let refusal = Reply::status(401).header("WWW-Authenticate", &challenge);
        request.header("Authorization").is_none().then_some(refusal)
    });
}

fn initialize(version: &str, elicitation: &Value) -> String {
    let params = json!({
        "protocolVersion": version,
        "capabilities": {"elicitation": elicitation},
        "clientInfo": {"name": "app-double", "version": "1"}
    });
    json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params}).to_string()
}

async fn begin(app: &mut App, version: &str, elicitation: &Value) {
    app.send(initialize(version, elicitation)).await;
    app.result("init").await;
    app.send(INITIALIZED).await;
}

fn call(tool: &str) -> Value {
    json!({"name": tool, "arguments": {"text": "x"}, "_meta": {"progressToken": 7}})
}

/// Waits until the progress of the request says where to sign in.
async fn is_told_where(app: &mut App, window: &Window) {
    let expected = format!("Sign in: {}", window.short_address());
    let mut last = f64::NEG_INFINITY;
    loop {
        let progress = app.server_sent("notifications/progress").await.value();
        let params = &progress["params"];
        assert_eq!(params["progressToken"], 7);
        let value = params["progress"].as_f64().expect("a number");
        assert!(last < value, "{last} {value}");
        last = value;
        if params["message"] == expected.as_str() {
            return;
        }
    }
}

async fn question(app: &mut App) -> Value {
    app.server_sent("elicitation/create").await.value()
}

async fn answer(app: &mut App, question: &Value, action: &str) {
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": action}});
    app.send(answer.to_string()).await;
}

/// A form without fields whose message has the address.
fn is_form(question: &Value, window: &Window) {
    let params = &question["params"];
    assert_eq!(params.get("mode"), None, "{params}");
    let schema = json!({"type": "object", "properties": {}});
    assert_eq!(params["requestedSchema"], schema);
    let text = params["message"].as_str().expect("a text");
    assert!(text.contains(window.page.as_str()), "{text}");
}

/// The app was not asked anything else.
fn nothing_else_is_asked(unread: &[Line]) {
    let asks = |line: &&Line| line.message.method().as_deref() == Some("elicitation/create");
    let asked: Vec<_> = unread.iter().filter(asks).collect();
    assert!(asked.is_empty(), "{asked:?}");
}

#[tokio::test]
async fn a_call_that_waits_for_a_session_says_where_to_sign_in() {
    let user = User::new();
    let server = example_server().await;
    let mut app = user.launch(server.url()).start();
    begin(&mut app, "2025-11-25", &json!({"url": {}})).await;
    app.request("call", "tools/call", &call("get-user-data"))
        .await;
    let window = user.window().await;
    is_told_where(&mut app, &window).await;
    window.sign_in().await;
    app.result("call").await;
    app.finish().await;
}

/// A token that was taken back in the middle of a session.
#[tokio::test]
async fn a_call_in_a_session_says_where_to_sign_in() {
    for binding in [Binding::Streamable, Binding::Modern] {
        let user = User::new();
        let issuer = example_server().await;
        let server = FaultServer::start_as(binding);
        let resource = ["--resource", issuer.url()];
        let mut app = user.launch(&server.url()).args(resource).start();
        begin(&mut app, "2025-11-25", &json!({})).await;
        app.still_served().await;
        wants_a_token(&server, &issuer);
        app.request("call", "tools/call", &call("echo")).await;
        let window = user.window().await;
        is_told_where(&mut app, &window).await;
        window.sign_in().await;
        app.result("call").await;
        app.finish().await;
    }
}

#[tokio::test]
async fn a_call_of_a_modern_app_says_where_to_sign_in() {
    for binding in [Binding::Modern, Binding::Streamable] {
        let user = User::new();
        let issuer = example_server().await;
        let server = FaultServer::start_as(binding);
        let resource = ["--resource", issuer.url()];
        let mut app = user.launch(&server.url()).args(resource).start();
        app.still_served_modern().await;
        wants_a_token(&server, &issuer);
        let mut params = modern::signed(&call("echo"));
        params["_meta"]["progressToken"] = 7.into();
        app.request("call", "tools/call", &params).await;
        let window = user.window().await;
        is_told_where(&mut app, &window).await;
        window.sign_in().await;
        app.result("call").await;
        app.finish().await;
    }
}

#[tokio::test]
async fn an_app_that_refuses_the_page_unseen_is_asked_to_show_a_form_once() {
    for refusal in ["decline", "cancel", "error"] {
        let user = User::new();
        let server = example_server().await;
        let mut app = user.launch(server.url()).start();
        begin(&mut app, "2025-11-25", &json!({"form": {}, "url": {}})).await;
        let window = user.window().await;
        let page = question(&mut app).await;
        assert_eq!(page["params"]["mode"], "url");
        if refusal == "error" {
            let error = json!({"code": -32602, "message": "no"});
            let answer = json!({"jsonrpc": "2.0", "id": page["id"], "error": error});
            app.send(answer.to_string()).await;
        } else {
            answer(&mut app, &page, refusal).await;
        }
        let form = question(&mut app).await;
        is_form(&form, &window);
        assert_ne!(form["id"], page["id"]);
        answer(&mut app, &form, "decline").await;
        window.sign_in().await;
        app.still_served().await;
        let finished = app.finish().await;
        nothing_else_is_asked(&finished.unread);
        let withdrawn = |line: &Line| {
            let method = line.message.method();
            method.as_deref() == Some("notifications/cancelled")
        };
        assert!(!finished.unread.iter().any(withdrawn));
    }
}

#[tokio::test]
async fn an_app_that_accepts_the_page_is_not_asked_again() {
    let user = User::new();
    let server = example_server().await;
    let mut app = user.launch(server.url()).start();
    begin(&mut app, "2025-11-25", &json!({"form": {}, "url": {}})).await;
    let page = question(&mut app).await;
    answer(&mut app, &page, "accept").await;
    user.window().await.sign_in().await;
    app.server_sent("notifications/elicitation/complete").await;
    let finished = app.finish().await;
    nothing_else_is_asked(&finished.unread);
}

/// If no mode is named, forms are meant; before 2025-11-25 there was nothing else.
#[tokio::test]
async fn an_app_that_shows_forms_alone_is_asked_to_show_one() {
    for (version, elicitation) in [
        ("2025-11-25", json!({})),
        ("2025-11-25", json!({"form": {}})),
        ("2025-06-18", json!({})),
        ("2025-06-18", json!({"form": {}, "url": {}})),
    ] {
        let user = User::new();
        let server = example_server().await;
        let mut app = user.launch(server.url()).start();
        begin(&mut app, version, &elicitation).await;
        let window = user.window().await;
        let form = question(&mut app).await;
        is_form(&form, &window);
        window.sign_in().await;
        let withdrawn = app.server_sent("notifications/cancelled").await.value();
        assert_eq!(withdrawn["params"]["requestId"], form["id"]);
        let finished = app.finish().await;
        nothing_else_is_asked(&finished.unread);
    }
}

#[tokio::test]
async fn an_app_without_forms_is_not_asked_for_one() {
    for (version, elicitation) in [
        ("2025-11-25", json!({"url": {}})),
        ("2025-03-26", json!({"form": {}})),
    ] {
        let user = User::new();
        let server = example_server().await;
        let mut app = user.launch(server.url()).start();
        begin(&mut app, version, &elicitation).await;
        if version == "2025-11-25" {
            let page = question(&mut app).await;
            answer(&mut app, &page, "decline").await;
        }
        user.window().await.sign_in().await;
        app.still_served().await;
        let finished = app.finish().await;
        nothing_else_is_asked(&finished.unread);
    }
}
