//! Lists while a sign-in is missing or the server is down: remembered, empty, or with a tool that leads to the
//! sign-in, and never an error.

use serde_json::{Value, json};

use crate::auth::sign_in::user::{self, User, Window};
use crate::browser;
use crate::era::Eras;
use crate::examples::example_server::client::options_for;
use crate::program;
use crate::server::Server as ExampleServer;
use mcp_bridge_testkit::visit_when_it_listens;
use mcp_bridge_testkit::{
    app::{App, INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    reply::Reply,
    request::{Request, Want, call, get, post, rpc},
};

/// Lists do not wait.
const NO_WAIT: [&str; 2] = ["--list-wait", "0"];

const METHODS: [(&str, &str); 4] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

async fn example_server() -> ExampleServer {
    let options = options_for(Eras::Legacy);
    ExampleServer::start(options).await.expect("it starts")
}

async fn begins(app: &mut App) {
    app.send(initialize_line("2025-11-25")).await;
    app.result("init").await;
    app.send(INITIALIZED).await;
}

async fn lists(app: &mut App, id: &str, method: &str) -> Value {
    app.request(id, method, &json!({})).await;
    app.result(id).await
}

fn names(result: &Value) -> Vec<&str> {
    let tools = result["tools"].as_array().expect("a list");
    let names = tools.iter().map(|tool| tool["name"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

/// From now on the server lists these tools, on two pages.
fn lists_on_two_pages(server: &FaultServer, first: &'static str, second: &'static str) {
    server.always(rpc("tools/list"), move |request: &Request| {
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        let result = match request.params()["cursor"].as_str() {
            None => json!({"tools": [tool(first)], "nextCursor": "2"}),
            Some(_) => json!({"tools": [tool(second)]}),
        };
        Reply::json(request.result(result.to_string()))
    });
}

#[tokio::test]
async fn a_list_that_is_not_remembered_is_empty_while_the_server_is_down() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::bridge_for(&server).args(NO_WAIT).start();
    begins(&mut app).await;
    for (method, member) in METHODS {
        assert_eq!(lists(&mut app, method, method).await, json!({ member: [] }));
    }
    server.come_up();
    app.server_sent("notifications/tools/list_changed").await;
    app.server_sent("notifications/prompts/list_changed").await;
    app.server_sent("notifications/resources/list_changed")
        .await;
    assert_eq!(
        names(&lists(&mut app, "tools", "tools/list").await)[0],
        "echo"
    );
    app.finish().await;
}

/// One clock for all of them: the second does not wait for as long as the first has.
#[tokio::test]
async fn lists_that_are_asked_for_together_are_answered_together() {
    let server = FaultServer::start_down(Binding::Streamable);
    let args = ["--list-wait", "1"];
    let mut app = program::bridge_for(&server).args(args).start();
    begins(&mut app).await;
    for (method, _) in METHODS {
        app.request(method, method, &json!({})).await;
    }
    for (method, member) in METHODS {
        assert_eq!(app.result(method).await, json!({ member: [] }));
    }
    // The time is over, so that this one is answered as it comes.
    lists(&mut app, "late", "tools/list").await;
    app.finish().await;
}

#[tokio::test]
async fn an_app_that_has_asked_for_no_list_hears_of_no_change() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::bridge_for(&server).args(NO_WAIT).start();
    begins(&mut app).await;
    lists(&mut app, "prompts", "prompts/list").await;
    server.come_up();
    app.server_sent("notifications/prompts/list_changed").await;
    app.still_served().await;
    let unread = app.finish().await.unread;
    let changes = unread.iter().filter_map(|line| line.message.method());
    assert_eq!(changes.count(), 0);
}

/// Some apps register everything twice when they ask again before they have their answer.
#[tokio::test]
async fn answers_that_are_due_come_before_the_announcement() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::bridge_for(&server).args(NO_WAIT).start();
    begins(&mut app).await;
    lists(&mut app, "tools", "tools/list").await;
    app.call("held", "echo", "held").await;
    server.come_up();
    app.server_sent("notifications/tools/list_changed").await;
    let before = app.unread();
    let is_answer = |line: &mcp_bridge_testkit::app::Line| line.message.id() == Some("\"held\"");
    assert!(before.iter().any(is_answer), "{before:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_remembered_list_is_given_whole_while_the_server_is_down() {
    let user = User::new();
    let server = FaultServer::start();
    lists_on_two_pages(&server, "first", "second");
    let mut app = user.launch(&server.url()).start();
    begins(&mut app).await;
    let live = lists(&mut app, "live", "tools/list").await;
    app.finish().await;
    server.go_down().await;

    // Long before the time for the others is over, which is longer than a test waits for an answer.
    let patient = ["--list-wait", "1000", "--patience", "1000"];
    let mut app = user.launch(&server.url()).args(patient).start();
    begins(&mut app).await;
    assert_eq!(lists(&mut app, "remembered", "tools/list").await, live);
    assert_eq!(names(&live), ["first", "second"]);
    app.finish().await;

    // The filter of today, and not that of the run in which it was remembered.
    let filter = ["--ignore-tool", "fir*"];
    let mut app = user
        .launch(&server.url())
        .args(NO_WAIT)
        .args(filter)
        .start();
    begins(&mut app).await;
    let remembered = lists(&mut app, "remembered", "tools/list").await;
    assert_eq!(names(&remembered), ["second"]);
    server.come_up();
    app.server_sent("notifications/tools/list_changed").await;
    app.finish().await;
}

/// A command that every system has.
const PRINTS_A_TOKEN: &str = if cfg!(windows) {
    "cmd /c echo token"
} else {
    "/bin/echo token"
};

#[tokio::test]
async fn lists_are_remembered_for_one_account_only() {
    let user = User::new();
    let server = FaultServer::start();
    let header = |key: &'static str| ["--header", key];
    let mut app = user.launch(&server.url()).args(header("X-Key: a")).start();
    begins(&mut app).await;
    assert_eq!(
        names(&lists(&mut app, "live", "tools/list").await)[0],
        "echo"
    );
    app.finish().await;
    server.go_down().await;
    let launches = [
        user.launch(&server.url()).args(header("X-Key: b")),
        user.launch(&server.url()),
        user.launch(&server.url())
            .args(header("X-Key: a"))
            .args(["--profile", "other"]),
        user.launch(&server.url())
            .args(header("X-Key: a"))
            .args(["--auth-command", PRINTS_A_TOKEN]),
    ];
    for launch in launches {
        let mut app = launch.args(NO_WAIT).start();
        begins(&mut app).await;
        assert_eq!(
            lists(&mut app, "1", "tools/list").await,
            json!({"tools": []})
        );
        app.finish().await;
    }
    let same = user.launch(&server.url()).args(header("X-Key: a"));
    let mut app = same.args(NO_WAIT).start();
    begins(&mut app).await;
    assert_eq!(names(&lists(&mut app, "1", "tools/list").await)[0], "echo");
    app.finish().await;
}

#[tokio::test]
async fn a_sign_out_forgets_the_lists() {
    let user = User::new();
    let server = example_server().await;
    let mut app = user.launch(server.url()).start();
    begins(&mut app).await;
    user.window().await.sign_in().await;
    lists(&mut app, "live", "tools/list").await;
    app.finish().await;
    let remembered = user.store().join("lists");
    let accounts = || remembered.read_dir().expect("a directory").count();
    assert_eq!(accounts(), 1);
    let signed_out = program::command(["logout", server.url()])
        .env("MCP_BRIDGE_DIR", user.store())
        .run()
        .await;
    assert_eq!(signed_out.status, 0, "{}", signed_out.stderr);
    assert_eq!(accounts(), 0);
}

#[tokio::test]
async fn while_a_sign_in_is_missing_a_tool_leads_to_it_and_waits_for_it() {
    let user = User::new();
    let server = example_server().await;
    let mut app = user.launch(server.url()).args(NO_WAIT).start();
    begins(&mut app).await;
    let window = user.window().await;
    let listed = lists(&mut app, "tools", "tools/list").await;
    assert_eq!(names(&listed), ["sign_in"]);
    let description = listed["tools"][0]["description"].as_str().expect("a text");
    assert!(
        description.contains(&short_address(&window)),
        "{description}"
    );
    assert_eq!(
        lists(&mut app, "prompts", "prompts/list").await,
        json!({"prompts": []})
    );

    app.call("sign in", "sign_in", "").await;
    window.sign_in().await;
    let done = app.result("sign in").await;
    assert_eq!(done["isError"], Value::Null);
    let text = done["content"][0]["text"].as_str().expect("a text");
    assert!(text.contains("is done"), "{text}");
    app.server_sent("notifications/tools/list_changed").await;
    let listed = lists(&mut app, "again", "tools/list").await;
    assert!(!names(&listed).contains(&"sign_in"), "{listed}");

    // An app that has not asked again may still call it.
    app.call("late", "sign_in", "").await;
    assert_eq!(app.result("late").await["isError"], Value::Null);
    app.finish().await;
    user.saw_every_window();
}

#[tokio::test]
async fn a_call_of_the_sign_in_tool_ends_with_the_address_when_nobody_signs_in() {
    let user = User::new();
    let server = example_server().await;
    let args = ["--patience", "0.5"];
    let mut app = user.launch(server.url()).args(args).start();
    begins(&mut app).await;
    let window = user.window().await;
    assert_eq!(
        names(&lists(&mut app, "tools", "tools/list").await),
        ["sign_in"]
    );
    app.call("sign in", "sign_in", "").await;
    let result = app.result("sign in").await;
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().expect("a text");
    assert!(text.contains(&short_address(&window)), "{text}");
    app.finish().await;
}

/// The app has not asked for the list again, and the call may be meant for the server.
#[tokio::test]
async fn a_tool_of_the_server_with_the_name_of_the_local_one_is_called() {
    let user = User::new();
    let issuer = example_server().await;
    let server = FaultServer::start();
    wants_sign_in(&server, rpc("initialize"), &issuer);
    lists_on_two_pages(&server, "first", "sign_in");
    server.always(call("sign_in"), |request: &Request| {
        let result = json!({"content": [{"type": "text", "text": "the server's"}]});
        Reply::json(request.result(result.to_string()))
    });
    let mut app = user
        .launch(&server.url())
        .args(NO_WAIT)
        .args(["--resource", issuer.url()])
        .start();
    begins(&mut app).await;
    let window = user.window().await;
    assert_eq!(
        names(&lists(&mut app, "tools", "tools/list").await),
        ["sign_in"]
    );
    window.sign_in().await;
    app.server_sent("notifications/tools/list_changed").await;
    app.call("call", "sign_in", "").await;
    let result = app.result("call").await;
    assert_eq!(
        result["content"][0]["text"],
        "the server's",
        "{}",
        server.story()
    );
    app.finish().await;
}

#[tokio::test]
async fn a_sign_in_that_is_refused_is_told_by_the_tool_which_begins_another() {
    let user = User::new();
    let server = example_server().await;
    let mut app = user.launch(server.url()).args(NO_WAIT).start();
    begins(&mut app).await;
    app.call("waits", "get-user-data", "").await;
    denies(&user.window().await).await;
    app.own_error("waits", "auth_denied").await;
    let listed = lists(&mut app, "tools", "tools/list").await;
    assert_eq!(names(&listed), ["sign_in"]);
    app.call("sign in", "sign_in", "").await;
    user.window().await.sign_in().await;
    assert_eq!(app.result("sign in").await["isError"], Value::Null);
    app.server_sent("notifications/tools/list_changed").await;
    app.finish().await;
    user.saw_every_window();
}

#[tokio::test]
async fn a_list_that_waits_for_a_server_that_turns_out_wrong_says_why() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::start(&server);
    begins(&mut app).await;
    app.request("tools", "tools/list", &json!({})).await;
    app.request("prompts", "prompts/list", &json!({})).await;
    server.always(post(), |_| Reply::status(404));
    server.always(get(), |_| Reply::status(404));
    server.come_up();
    let listed = app.result("tools").await;
    assert_eq!(names(&listed), ["connection_status"]);
    let description = listed["tools"][0]["description"].as_str().expect("a text");
    assert!(description.contains("404"), "{description}");
    assert_eq!(app.result("prompts").await, json!({"prompts": []}));
    app.call("why", "connection_status", "").await;
    let why = app.result("why").await;
    assert_eq!(why["isError"], true);
    let text = why["content"][0]["text"].as_str().expect("a text");
    assert!(text.contains("404"), "{text}");
    server.behave();
    app.call("and now", "connection_status", "").await;
    assert_eq!(app.result("and now").await["isError"], Value::Null);
    app.server_sent("notifications/tools/list_changed").await;
    app.finish().await;
}

/// In a session the app keeps the tools that it had.
#[tokio::test]
async fn a_server_that_goes_down_in_a_session_leaves_its_lists() {
    let server = FaultServer::start();
    let mut app = program::bridge_for(&server).args(NO_WAIT).start();
    begins(&mut app).await;
    let live = lists(&mut app, "live", "tools/list").await;
    server.go_down().await;
    assert_eq!(lists(&mut app, "down", "tools/list").await, live);
    server.come_up();
    app.still_served().await;
    app.server_sent("notifications/tools/list_changed").await;
    app.finish().await;
}

#[tokio::test]
async fn a_request_beyond_those_that_may_wait_gets_an_error() {
    /// As many as may wait for a session.
    const MESSAGES: usize = 10_000;
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::start(&server);
    begins(&mut app).await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
    app.send_all(&vec![note; MESSAGES]).await;
    app.call("one more", "echo", "").await;
    app.own_error("one more", "overloaded").await;
    app.finish().await;
}

/// Filter of a subscription to everything.
fn everything() -> Value {
    json!({"notifications": {
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true
    }})
}

/// The app of a widely used agent: it probes, subscribes and lists, and gives up what is not answered.
#[tokio::test]
async fn a_modern_app_is_subscribed_and_has_its_lists_before_the_sign_in() {
    let user = User::new();
    let server = example_server().await;
    let mut app = user.launch(server.url()).args(NO_WAIT).start();
    app.discover("probe").await;
    let discovered = app.result("probe").await;
    assert_eq!(discovered["capabilities"]["tools"]["listChanged"], true);
    app.ask("sub", "subscriptions/listen", &everything()).await;
    let acknowledged = app
        .server_sent("notifications/subscriptions/acknowledged")
        .await;
    let params = &acknowledged.value()["params"];
    assert_eq!(params["notifications"], everything()["notifications"]);
    assert_eq!(
        params["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "sub"
    );
    let window = user.window().await;
    app.ask("tools", "tools/list", &json!({})).await;
    let listed = app.result("tools").await;
    assert_eq!(names(&listed), ["sign_in"]);
    assert_eq!(listed["ttlMs"], 0);

    let arguments = json!({"name": "sign_in", "arguments": {}});
    app.ask("sign in", "tools/call", &arguments).await;
    window.sign_in().await;
    let done = app.result("sign in").await;
    assert_eq!(done["isError"], Value::Null, "{done}");
    let changed = app.server_sent("notifications/tools/list_changed").await;
    let meta = &changed.value()["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], "sub");
    app.ask("again", "tools/list", &json!({})).await;
    let listed = app.result("again").await;
    assert!(!names(&listed).contains(&"sign_in"), "{listed}");
    // What the answer to the probe promised and the server does not have is empty.
    app.ask("prompts", "prompts/list", &json!({})).await;
    assert!(app.result("prompts").await["prompts"].is_array());
    app.cancel("sub").await;
    let unread = app.finish().await.unread;
    let methods = unread.iter().filter_map(|line| line.message.method());
    let methods: Vec<_> = methods.collect();
    for method in [
        "notifications/subscriptions/acknowledged",
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
    ] {
        assert!(!methods.iter().any(|it| it == method), "{methods:?}");
    }
    user.saw_every_window();
}

/// The answer to a probe for which nobody signs in promises everything.
#[tokio::test]
async fn a_list_that_was_promised_to_a_modern_app_and_does_not_exist_is_empty() {
    let user = User::new();
    let issuer = example_server().await;
    let server = FaultServer::start_as(Binding::Modern);
    wants_sign_in(&server, post(), &issuer);
    let mut app = user
        .launch(&server.url())
        .args(["--resource", issuer.url()])
        .start();
    app.discover("probe").await;
    app.result("probe").await;
    app.ask("tools", "tools/list", &json!({})).await;
    user.window().await.sign_in().await;
    assert_eq!(names(&app.result("tools").await), ["echo"]);
    app.ask("prompts", "prompts/list", &json!({})).await;
    assert_eq!(app.result("prompts").await["prompts"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn a_subscription_is_acknowledged_while_the_server_is_down_and_follows_it() {
    let server = FaultServer::start_down(Binding::Modern);
    let mut app = program::bridge_for(&server).args(NO_WAIT).start();
    app.ask("sub", "subscriptions/listen", &everything()).await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    app.ask("tools", "tools/list", &json!({})).await;
    assert_eq!(app.result("tools").await["tools"], json!([]));
    server.come_up();
    app.server_sent("notifications/tools/list_changed").await;
    server.received(rpc("subscriptions/listen"), 1).await;
    app.cancel("sub").await;
    let unread = app.finish().await.unread;
    assert!(unread.is_empty(), "{unread:?}");
}

/// MCP 2026-07-28, "Subscriptions": a server that tears a subscription down says so.
#[tokio::test]
async fn a_subscription_to_a_resource_that_the_server_does_not_tell_of_ends() {
    let server = FaultServer::start_down(Binding::Modern);
    server.always(rpc("subscriptions/listen"), |request: &Request| {
        let meta = json!({"io.modelcontextprotocol/subscriptionId": "sub"});
        let params = json!({"notifications": {"toolsListChanged": true}, "_meta": meta});
        let method = "notifications/subscriptions/acknowledged";
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        assert!(request.message().id().is_some());
        Reply::sse().data(message.to_string()).stall()
    });
    let mut app = program::bridge_for(&server).args(NO_WAIT).start();
    let filter = json!({"notifications": {
        "toolsListChanged": true, "resourceSubscriptions": ["file:///a"]
    }});
    app.ask("sub", "subscriptions/listen", &filter).await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    app.ask("tools", "tools/list", &json!({})).await;
    app.result("tools").await;
    server.come_up();
    app.server_sent("notifications/tools/list_changed").await;
    let ended = app.server_sent("notifications/cancelled").await.value();
    assert_eq!(ended["params"]["requestId"], "sub");
    app.cancel("sub").await;
    app.finish().await;
}

/// The address of the callback listener, which leads to the sign-in page.
fn short_address(window: &Window) -> String {
    let listener = window.redirect_uri().join("/");
    listener.expect("a path").into()
}

/// The person says no.
async fn denies(window: &Window) {
    let denied = browser::sign_in(window.page.as_str(), user::NAME, "deny").await;
    visit_when_it_listens(&denied.expect("a sign-in page")).await;
}

/// The server wants a token of the example server's for these requests.
fn wants_sign_in(server: &FaultServer, requests: Want, issuer: &ExampleServer) {
    let metadata = format!("http://{}/metadata", server.host());
    server.always(requests, move |request| {
        let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
        let refusal = Reply::status(401).header("WWW-Authenticate", &challenge);
        request.header("Authorization").is_none().then_some(refusal)
    });
    let issuer = issuer.url().trim_end_matches("/mcp").to_owned();
    let metadata = json!({ "resource": server.url(), "authorization_servers": [issuer] });
    server.always(get(), move |request| {
        let is_metadata = request.target.contains("metadata");
        is_metadata.then(|| Reply::json(metadata.to_string()))
    });
}
