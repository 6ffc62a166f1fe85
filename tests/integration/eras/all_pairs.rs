//! Every app with every server: rmcp's client and the example server, which both know both eras, with
//! the built bridge between them. Where a modern app meets a legacy server, the specification lets it go
//! back to `initialize`, and rmcp's does; an app that goes on all the same is played by hand.

#![expect(
    clippy::unwrap_used,
    reason = "a double that cannot do its part fails the test"
)]

use rmcp::ClientLifecycleMode;
use rmcp::model::{CallToolResult, ProtocolVersion};
use rmcp::service::ClientInitializeError;
use serde_json::{Value, json};

use crate::auth::sign_in::rmcp_client::{self, App};
use crate::auth::sign_in::user::User;
use crate::era::Eras;
use crate::examples::example_server::client::options_for;
use crate::server::Server;
use mcp_bridge_testkit::app;

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// A name that no header can hold as it is.
const COFFEE: &str = "Großer Brauner ☕";

async fn server(eras: Eras) -> Server {
    let options = options_for(eras);
    Server::start(options).await.unwrap()
}

fn discover() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    }
}

/// Looks first, and begins with `initialize` if that leads nowhere: as an app does that knows both eras.
fn auto() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    }
}

/// The outcome of `work`, while the person agrees to everything that a window shows.
async fn attended<T>(user: &mut User, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            window = user.window() => window.sign_in().await,
        }
    }
}

async fn start(
    begin: ClientLifecycleMode,
    user: &mut User,
    server: &Server,
) -> Result<App, ClientInitializeError> {
    let start = App::start_as(begin, user, server.url());
    attended(user, start).await
}

/// Begins without a sign-in, so that the first thing that the bridge learns is that it needs one.
async fn converses(begin: ClientLifecycleMode, eras: Eras, version: &str) {
    let server = server(eras).await;
    let mut user = User::new();
    let app = start(begin, &mut user, &server).await.unwrap();
    says_all(app, &mut user, version).await;
    server.stop().await;
}

/// Lists, calls, is told of a change and is asked a question. `version` is the one that the app is to see.
async fn says_all(mut app: App, user: &mut User, version: &str) {
    assert_eq!(app.version(), version);
    let tools = attended(user, app.tools()).await;
    for tool in ["add-to-menu", "echo", "order-coffee"] {
        assert!(tools.iter().any(|name| name == tool), "{tools:?}");
    }
    let echoed = app.call("echo", json!({ "text": "Grüße" })).await;
    assert_eq!(text(&echoed), "Grüße");

    is_told_of_a_change(&mut app, version).await;

    let order = attended(user, app.call("order-coffee", json!({}))).await;
    let question = "Which coffee would you like, Ada Lovelace?";
    assert_eq!(app.question().await, question);
    let confirmation = "One flat white for Ada Lovelace is on its way, with 2 lumps of sugar.";
    assert_eq!(text(&order), confirmation);
    app.leave().await;
}

/// A server, and a person whose bridge has credentials for it.
async fn signed_in(eras: Eras) -> (Server, User) {
    let server = server(eras).await;
    let mut user = User::new();
    let app = App::start(&mut user, server.url()).await;
    app.leave().await;
    (server, user)
}

/// The argument of the tool goes along in a header too, where the server is asked in the modern era.
async fn is_told_of_a_change(app: &mut App, version: &str) {
    if version == MODERN {
        let mut subscription = app.listen().await;
        add_to_menu(app).await;
        rmcp_client::change(&mut subscription).await;
    } else {
        add_to_menu(app).await;
        app.change().await;
    }
    let menu = app.resources().await;
    assert!(menu.iter().any(|name| name == COFFEE), "{menu:?}");
}

async fn add_to_menu(app: &App) {
    let added = app.call("add-to-menu", json!({ "coffee": COFFEE })).await;
    assert_eq!(text(&added), format!("{COFFEE} is on the menu."));
}

fn text(result: &CallToolResult) -> &str {
    let content = result.content.first().and_then(|block| block.as_text());
    &content.expect("a text").text
}

#[tokio::test]
async fn a_legacy_app_converses_with_a_legacy_server() {
    converses(ClientLifecycleMode::Initialize, Eras::Legacy, LEGACY).await;
}

#[tokio::test]
async fn a_legacy_app_converses_with_a_modern_server() {
    converses(ClientLifecycleMode::Initialize, Eras::Modern, LEGACY).await;
}

#[tokio::test]
async fn a_legacy_app_converses_with_a_server_of_both_eras() {
    converses(ClientLifecycleMode::Initialize, Eras::Dual, LEGACY).await;
}

#[tokio::test]
async fn a_modern_app_converses_with_a_modern_server() {
    converses(discover(), Eras::Modern, MODERN).await;
}

#[tokio::test]
async fn a_modern_app_converses_with_a_server_of_both_eras() {
    converses(discover(), Eras::Dual, MODERN).await;
}

/// ST-33: it hears that the server is of the older era, and begins with `initialize`.
#[tokio::test]
async fn an_app_of_both_eras_goes_back_to_initialize_with_a_legacy_server() {
    let (server, mut user) = signed_in(Eras::Legacy).await;
    let app = start(auto(), &mut user, &server).await.unwrap();
    says_all(app, &mut user, LEGACY).await;
    server.stop().await;
}

/// ST-31: a look opens no browser. So nobody knows yet what the server is, the app goes on in the era
/// that it likes best, and the bridge translates.
#[tokio::test]
async fn an_app_of_both_eras_converses_with_a_legacy_server_that_wants_a_sign_in_first() {
    converses(auto(), Eras::Legacy, MODERN).await;
}

#[tokio::test]
async fn an_app_of_both_eras_converses_with_a_modern_server() {
    converses(auto(), Eras::Modern, MODERN).await;
}

#[tokio::test]
async fn an_app_of_both_eras_converses_with_a_server_of_both() {
    converses(auto(), Eras::Dual, MODERN).await;
}

/// ST-33: an app that knows the modern era alone has to know.
#[tokio::test]
async fn a_modern_app_learns_that_the_server_is_legacy() {
    let (server, mut user) = signed_in(Eras::Legacy).await;
    let refused = start(discover(), &mut user, &server).await;
    let error = refused.err().expect("an error").to_string();
    assert!(error.contains("-32601"), "{error}");
    server.stop().await;
}

/// A request of the modern era, written by hand.
fn modern(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "0" },
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
    });
    params
}

/// U-2 and following: the bridge opens the session, hears the server's question and has it answered.
#[tokio::test]
async fn a_modern_app_that_never_looks_converses_with_a_legacy_server() {
    let server = server(Eras::Legacy).await;
    let mut user = User::new();
    let mut app = user.launch(server.url()).start();

    let echo = modern(json!({ "name": "echo", "arguments": { "text": "Grüße" } }));
    app.request("echo", "tools/call", &echo).await;
    let result = attended(&mut user, app.result("echo")).await;
    assert_eq!(result["content"][0]["text"], "Grüße");
    assert_eq!(result["resultType"], "complete");

    is_told_by_hand(&mut app).await;

    let order = json!({ "name": "order-coffee", "arguments": {} });
    app.request("order", "tools/call", &modern(order.clone()))
        .await;
    let asked = attended(&mut user, app.result("order")).await;
    assert_eq!(asked["resultType"], "input_required");
    let (key, question) = asked["inputRequests"]
        .as_object()
        .and_then(|questions| questions.iter().next())
        .expect("a question");
    assert_eq!(question["method"], "elicitation/create");

    let answer = json!({ "action": "accept", "content": { "coffee": "flat white", "sugar": 2 } });
    let mut again = order;
    again["inputResponses"] = json!({ key: answer });
    again["requestState"] = asked["requestState"].clone();
    app.request("again", "tools/call", &modern(again)).await;
    assert_eq!(
        app.result("again").await["content"][0]["text"],
        "One flat white for Ada Lovelace is on its way, with 2 lumps of sugar."
    );
    app.finish().await;
    server.stop().await;
}

async fn is_told_by_hand(app: &mut app::App) {
    let wanted = json!({ "notifications": { "resourcesListChanged": true } });
    app.request("listen", "subscriptions/listen", &modern(wanted))
        .await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    let coffee = json!({ "name": "add-to-menu", "arguments": { "coffee": COFFEE } });
    app.request("add", "tools/call", &modern(coffee)).await;
    let added = app.result("add").await;
    assert_eq!(
        added["content"][0]["text"],
        format!("{COFFEE} is on the menu.")
    );
    let told = app
        .server_sent("notifications/resources/list_changed")
        .await;
    assert_eq!(
        told.value()["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "listen"
    );
    app.cancel("listen").await;
}
