//! The app has its answers while a person signs in and while the server is down, and hears of it when the
//! server is there.
//!
//! | B1, B18, B12 | what shows it |
//! | --- | --- |
//! | `initialize` and `ping` are answered | `an_app_is_answered_while_the_authorization_server_never_does`, `an_app_is_answered_while_the_server_is_down` |
//! | what needs the server waits, or fails with the sign-in page | `a_sign_in_is_shown_in_the_app_and_its_end_announced` |
//! | the answer is the last one known | `what_the_server_said_the_last_time_is_what_the_app_is_told` |
//! | another version than was presumed | `revisions` |
//! | `--wait-for-auth` | `an_app_waits_for_the_sign_in_if_it_is_to` |

use serde_json::{Value, json};

use crate::auth::sign_in::user::{self, User};
use crate::era::Eras;
use crate::examples::example_server::client::options_for;
use crate::program;
use crate::server::Server as ExampleServer;
use mcp_bridge_testkit::{
    app::{App, INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    reply::Reply,
    request::{get, post, rpc},
};

/// Requests that are to fail wait for a moment only, and so do lists.
const IMPATIENT: [&str; 2] = ["--patience", "0.1"];

const LISTS: [&str; 3] = [
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
];

async fn example_server(eras: Eras) -> ExampleServer {
    let options = options_for(eras);
    ExampleServer::start(options).await.expect("it starts")
}

/// `initialize` of an app that can show pages.
fn initialize_of_an_app_that_opens_pages() -> String {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {"form": {}, "url": {}}},
        "clientInfo": {"name": "app-double", "version": "1"}
    });
    json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params}).to_string()
}

/// The app begins, and is told all that an unknown server may have.
async fn is_answered(app: &mut App) {
    app.send(initialize_line("2025-11-25")).await;
    let result = app.result("init").await;
    assert_eq!(result["protocolVersion"], "2025-11-25");
    for list in ["tools", "prompts", "resources"] {
        assert_eq!(
            result["capabilities"][list]["listChanged"], true,
            "{result}"
        );
    }
    app.send(INITIALIZED).await;
    app.request("ping", "ping", &json!({})).await;
    assert_eq!(app.result("ping").await, json!({}));
}

/// From now on the server refuses requests without a token.
fn wants_a_token(server: &FaultServer) {
    let metadata = format!("http://{}/metadata", server.host());
    server.always(post(), move |request| {
        let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
        let refusal = Reply::status(401).header("WWW-Authenticate", &challenge);
        request.header("Authorization").is_none().then_some(refusal)
    });
}

/// Tokens for the server are to be had from the example server.
fn names_its_authorization_server(server: &FaultServer, issuer: &ExampleServer) {
    let issuer = issuer.url().trim_end_matches("/mcp").to_owned();
    let metadata = json!({ "resource": server.url(), "authorization_servers": [issuer] });
    server.always(get(), move |_| Reply::json(metadata.to_string()));
}

/// The app asks for all lists before the server is there, and gets them empty.
async fn lists_are_empty(app: &mut App) {
    for list in ["tools", "prompts", "resources"] {
        let id = format!("early-{list}");
        app.request(id.as_str(), &format!("{list}/list"), &json!({}))
            .await;
        assert_eq!(app.result(id.as_str()).await, json!({ list: [] }));
    }
}

async fn lists_have_changed(app: &mut App) {
    for list in LISTS {
        app.server_sent(list).await;
    }
}

async fn user_is_known(app: &mut App, id: &str) {
    let params = json!({ "name": "get-user-data", "arguments": {} });
    app.request(id, "tools/call", &params).await;
    let result = app.result(id).await;
    assert_eq!(result["structuredContent"]["id"], user::NAME, "{result}");
}

#[tokio::test]
async fn an_app_is_answered_while_the_authorization_server_never_does() {
    let server = FaultServer::start();
    wants_a_token(&server);
    server.always(get(), |_| Reply::no_answer_ever());
    let mut app = program::bridge_at(&server.url()).args(IMPATIENT).start();
    is_answered(&mut app).await;
    app.call(1, "echo", "").await;
    let data = app.own_error(1, "auth_unavailable").await;
    assert_eq!(data["host"], server.host());
    app.request("ping again", "ping", &json!({})).await;
    app.result("ping again").await;
    app.finish().await;
}

#[tokio::test]
async fn an_app_is_answered_while_the_server_is_down() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::bridge_for(&server).args(IMPATIENT).start();
    is_answered(&mut app).await;
    app.call(1, "echo", "").await;
    app.own_error(1, "refused").await;
    lists_are_empty(&mut app).await;
    server.come_up();
    lists_have_changed(&mut app).await;
    app.request(2, "tools/list", &json!({})).await;
    assert_eq!(app.result(2).await["tools"][0]["name"], "echo");
    assert_eq!(server.count(&rpc("notifications/initialized")), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_request_waits_for_a_server_that_comes_up() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::start(&server);
    is_answered(&mut app).await;
    // The bridge has things to log itself, so this is answered before the server is there.
    let level = json!({"level": "info"});
    app.request("level", "logging/setLevel", &level).await;
    assert_eq!(app.result("level").await, json!({}));
    app.request(1, "tools/list", &json!({})).await;
    app.cancel(1).await;
    app.request(2, "tools/list", &json!({})).await;
    server.come_up();
    assert_eq!(app.result(2).await["tools"][0]["name"], "echo");
    assert_eq!(server.count(&rpc("tools/list")), 1, "{}", server.story());
    server.received(rpc("logging/setLevel"), 1).await;
    app.finish().await;
}

#[tokio::test]
async fn a_server_that_speaks_the_other_era_comes_up_late() {
    let server = FaultServer::start_down(Binding::Modern);
    let mut app = program::bridge_for(&server).args(IMPATIENT).start();
    is_answered(&mut app).await;
    lists_are_empty(&mut app).await;
    server.come_up();
    lists_have_changed(&mut app).await;
    app.still_served().await;
    app.finish().await;
}

#[tokio::test]
async fn a_sign_in_is_shown_in_the_app_and_its_end_announced() {
    let user = User::new();
    let server = example_server(Eras::Legacy).await;
    let mut app = user.launch(server.url()).args(IMPATIENT).start();
    app.send(initialize_of_an_app_that_opens_pages()).await;
    app.result("init").await;
    app.send(INITIALIZED).await;
    let window = user.window().await;

    let note = app.server_sent("notifications/message").await.value();
    let text = note["params"]["data"].as_str().expect("a text").to_owned();
    let port = window.redirect_uri().port().expect("a port");
    let short_first = format!("http://localhost:{port}/ (which leads to {})", window.page);
    assert!(text.contains(&short_first), "{text}");
    let question = app.server_sent("elicitation/create").await.value();
    assert_eq!(question["params"]["mode"], "url");
    assert_eq!(question["params"]["url"], window.page.as_str());
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    app.send(answer.to_string()).await;

    app.call(1, "get-user-data", "").await;
    let data = app.own_error(1, "auth_required").await;
    assert_eq!(data["signInUrl"], window.page.as_str());
    app.request(2, "tools/list", &json!({})).await;
    app.result(2).await;

    window.sign_in().await;
    app.server_sent(LISTS[0]).await;
    let complete = app.server_sent("notifications/elicitation/complete").await;
    assert_eq!(
        complete.value()["params"]["elicitationId"],
        question["params"]["elicitationId"]
    );
    user_is_known(&mut app, "data").await;
    app.finish().await;
    user.saw_every_window();
}

#[tokio::test]
async fn a_question_that_nobody_answered_is_withdrawn_after_the_sign_in() {
    let user = User::new();
    let server = example_server(Eras::Legacy).await;
    let mut app = user.launch(server.url()).start();
    app.send(initialize_of_an_app_that_opens_pages()).await;
    app.result("init").await;
    app.send(INITIALIZED).await;
    let question = app.server_sent("elicitation/create").await.value();
    user.window().await.sign_in().await;
    let withdrawn = app.server_sent("notifications/cancelled").await.value();
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    user_is_known(&mut app, "data").await;
    app.finish().await;
}

/// A token that was taken back in the middle of a session.
#[tokio::test]
async fn a_sign_in_in_a_session_is_announced_to_whom_it_came_too_late() {
    let user = User::new();
    let issuer = example_server(Eras::Legacy).await;
    let server = FaultServer::start();
    names_its_authorization_server(&server, &issuer);
    let mut app = user
        .launch(&server.url())
        .args(IMPATIENT)
        .args(["--resource", issuer.url()])
        .start();
    app.initialize().await;
    wants_a_token(&server);
    app.call("call", "echo", "").await;
    let data = app.own_error("call", "auth_required").await;
    assert_eq!(data["outcomeUnknown"], Value::Null);
    app.request(1, "tools/list", &json!({})).await;
    assert_eq!(app.result(1).await["tools"][0]["name"], "sign_in");
    user.window().await.sign_in().await;
    app.server_sent("notifications/tools/list_changed").await;
    app.request(2, "tools/list", &json!({})).await;
    app.result(2).await;
    app.finish().await;
}

#[tokio::test]
async fn an_app_of_the_modern_era_is_told_where_to_sign_in_and_that_lists_have_changed() {
    let user = User::new();
    let issuer = example_server(Eras::Legacy).await;
    let server = FaultServer::start_as(Binding::Modern);
    names_its_authorization_server(&server, &issuer);
    wants_a_token(&server);
    let mut app = user
        .launch(&server.url())
        .args(IMPATIENT)
        .args(["--resource", issuer.url()])
        .start();
    let listen = json!({"notifications": {"toolsListChanged": true}});
    app.ask("listen", "subscriptions/listen", &listen).await;
    let window = user.window().await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    app.ask("call", "prompts/get", &json!({"name": "x"})).await;
    let data = app.own_error("call", "auth_required").await;
    assert_eq!(data["signInUrl"], window.page.as_str());
    app.ask(1, "tools/list", &json!({})).await;
    assert_eq!(app.result(1).await["tools"][0]["name"], "sign_in");
    window.sign_in().await;
    let changed = app.server_sent("notifications/tools/list_changed").await;
    let meta = &changed.value()["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], "listen");
    app.ask(3, "tools/list", &json!({})).await;
    assert!(app.result(3).await["tools"].is_array());
    app.cancel("listen").await;
    app.finish().await;
}

#[tokio::test]
async fn what_the_server_said_the_last_time_is_what_the_app_is_told() {
    let user = User::new();
    let server = FaultServer::start();
    let mut first = user.launch(&server.url()).start();
    let real = first.initialize().await;
    first.finish().await;
    server.go_down().await;

    let mut second = user.launch(&server.url()).args(IMPATIENT).start();
    second.send(initialize_line("2025-06-18")).await;
    let told = second.result("init").await;
    assert_eq!(told["serverInfo"], real["serverInfo"]);
    assert_eq!(told["protocolVersion"], real["protocolVersion"]);
    assert_eq!(told["capabilities"]["tools"]["listChanged"], true);
    assert_eq!(told["capabilities"]["prompts"], Value::Null);
    second.send(INITIALIZED).await;
    second.request("early", "tools/list", &json!({})).await;
    second.result("early").await;
    server.come_up();
    second.server_sent(LISTS[0]).await;
    second.still_served().await;
    second.finish().await;
}

/// Another account at the same server has another memory.
#[tokio::test]
async fn what_is_remembered_belongs_to_one_account() {
    let user = User::new();
    let server = FaultServer::start();
    let mut first = user.launch(&server.url()).start();
    first.initialize().await;
    first.finish().await;
    server.go_down().await;

    let other = ["--profile", "other"];
    let mut second = user.launch(&server.url()).args(other).start();
    is_answered(&mut second).await;
    server.come_up();
    second.still_served().await;
    second.finish().await;
}

#[tokio::test]
async fn an_app_waits_for_the_sign_in_if_it_is_to() {
    let user = User::new();
    let server = example_server(Eras::Legacy).await;
    let flag = ["--wait-for-auth"];
    let mut app = user.launch(server.url()).args(flag).start();
    app.send(initialize_line("2025-11-25")).await;
    user.window().await.sign_in().await;
    let result = app.result("init").await;
    assert_eq!(result["serverInfo"]["name"], "mcp-bridge-example");
    app.send(INITIALIZED).await;
    user_is_known(&mut app, "data").await;
    let finished = app.finish().await;
    let announced = |line: &mcp_bridge_testkit::app::Line| {
        let method = line.message.method().unwrap_or_default();
        LISTS.contains(&method.as_str())
    };
    assert!(!finished.unread.iter().any(announced));
}

#[tokio::test]
async fn an_app_that_begins_anew_before_the_server_is_there_is_answered_again() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::bridge_for(&server).args(IMPATIENT).start();
    is_answered(&mut app).await;
    let again = initialize_line("2025-11-25").replace("\"init\"", "\"again\"");
    app.send(again).await;
    app.result("again").await;
    app.send(INITIALIZED).await;
    lists_are_empty(&mut app).await;
    server.come_up();
    lists_have_changed(&mut app).await;
    app.still_served().await;
    assert_eq!(server.count(&rpc("initialize")), 1, "{}", server.story());
    app.finish().await;
}

#[tokio::test]
async fn an_app_that_leaves_before_the_server_is_there_gets_its_answers() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::start(&server);
    is_answered(&mut app).await;
    app.request(1, "tools/list", &json!({})).await;
    app.close_stdin();
    app.own_error(1, "refused|shutting_down").await;
    app.finish().await;
}

/// An error page in the server's place does not pass by itself, and the app is told at once.
#[tokio::test]
async fn a_wrong_address_is_named_in_the_answer_to_initialize() {
    let server = FaultServer::start();
    server.always(post(), |_| Reply::status(404));
    server.always(get(), |_| Reply::status(404));
    let mut app = program::start(&server);
    app.send(initialize_line("2025-06-18")).await;
    app.own_error("init", "http_status").await;
    server.behave();
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
}
