//! An app and a server that are not of the same era, over real pipes and real HTTP.
//!
//! The translation of each message is shown by the transcripts (`crates/protocol/tests/transcripts`), which
//! are played against `era` alone. Here is what they cannot show: that its actions become requests,
//! streams that close, and sessions. Rows that stand in transcripts alone, by their files:
//!
//! | row | transcript |
//! |---|---|
//! | X-86 | `upgrade/a_server_that_refuses_the_version_it_offers_is_asked_once_more` |
//! | X-87 | `upgrade/a_server_that_asks_for_ever_is_stopped`, `…that_only_wants_to_be_asked_again…`, `…that_does_not_say_what_it_wants…` |
//! | X-88 | `upgrade/an_app_is_not_asked_what_it_does_not_offer`, `downgrade/a_client_is_not_asked_what_it_does_not_offer` |
//! | X-89 | `upgrade/fifty_questions_at_once_are_too_many` |
//! | X-90 | `upgrade/a_question_that_nobody_answers_is_withdrawn`, `…an_apps_error_ends_the_call…`, `…a_request_that_is_cancelled_takes_its_questions_with_it` |
//! | X-91 | `upgrade/questions_become_requests…`, with a unit test of `era` for the large one |
//! | X-92 | `upgrade/questions_of_two_requests_do_not_mix`; also `two_conversations_of_questions_do_not_mix` here |
//! | X-93 | `upgrade/a_stream_that_is_not_acknowledged_is_given_up` |
//! | X-94 | `upgrade/a_stream_that_ends_is_opened_again_and_what_was_missed_is_made_up_for`, `…a_stream_that_breaks_again_and_again_is_tried_more_rarely` |
//! | X-95 | `downgrade/a_subscription_becomes_subscriptions_with_the_server` |
//! | X-100 | `upgrade/a_result_of_an_unknown_kind_is_invalid` |
//! | X-101 | `upgrade/output_that_is_no_object_is_put_into_one` |
//! | X-102 | `upgrade/tasks_of_the_older_kind_do_not_exist`, `…each_request_says_who_asks…` |

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    app::{App, INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    modern::{VERSION, complete, on_stream, unsupported},
    reply::{Gate, Piece, Reply},
    request::{Request, Want, call, delete, get, rpc},
};

const META: &str = "io.modelcontextprotocol/";

fn listen() -> Want {
    rpc("subscriptions/listen")
}

/// A tool that first wants to know the roots, and then gives back what it was told.
fn asks_for_roots(request: &Request) -> Reply {
    let params = request.params();
    if params["inputResponses"].is_null() {
        let question = json!({"method": "roots/list", "params": {}});
        let result = json!({
            "resultType": "input_required",
            "inputRequests": {"the roots": question},
            "requestState": params["arguments"]["text"],
        });
        return Reply::json(request.result(result.to_string()));
    }
    let told = json!([
        params["requestState"],
        params["inputResponses"]["the roots"]
    ]);
    complete(
        request,
        &json!({"content": [{"type": "text", "text": told.to_string()}]}),
    )
}

fn told(result: &Value) -> Value {
    let text = result["content"][0]["text"].as_str().expect("a text");
    serde_json::from_str(text).expect("it is ours")
}

async fn answer(app: &mut App, question: &Value, result: &Value) {
    let line = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
    app.send(line.to_string()).await;
}

/// T-1, T-4, T-5, T-6, T-10, T-20, T-23
#[tokio::test]
async fn a_legacy_app_is_served_by_a_modern_server() {
    let server = FaultServer::start_as(Binding::Modern);
    server.once(call("long"), |request| {
        let token = &request.params()["_meta"]["progressToken"];
        let params = json!({"progressToken": token, "progress": 1});
        let progress =
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
        Reply::sse().data(progress.to_string()).data(request.echo())
    });
    let mut app = program::start(&server);
    let result = app.initialize().await;
    assert_eq!(result["protocolVersion"], "2025-06-18");
    assert_eq!(result["serverInfo"]["name"], "fault-server");
    app.request(1, "tools/list", &json!({})).await;
    let tools = app.result(1).await;
    assert_eq!(tools["tools"][0]["name"], "echo");
    assert_eq!(tools["resultType"], Value::Null);
    let meta = &server.received(rpc("tools/list"), 1).await.params()["_meta"];
    assert_eq!(meta[format!("{META}protocolVersion")], VERSION);
    assert_eq!(meta[format!("{META}clientInfo")]["name"], "app-double");
    assert!(meta[format!("{META}clientCapabilities")]["roots"].is_object());
    let params =
        json!({"name": "long", "arguments": {"text": "done"}, "_meta": {"progressToken": "p"}});
    app.request(2, "tools/call", &params).await;
    app.server_sent("notifications/progress").await;
    assert_eq!(app.result(2).await["content"][0]["text"], "done");
    app.request(3, "logging/setLevel", &json!({"level": "error"}))
        .await;
    app.result(3).await;
    app.request(4, "ping", &json!({})).await;
    app.result(4).await;
    app.still_served().await;
    let level = &server.received(call("echo"), 1).await.params()["_meta"];
    assert_eq!(level[format!("{META}logLevel")], "error");
    let stream = server.received(listen(), 1).await;
    server.push(on_stream(
        &stream,
        "notifications/tools/list_changed",
        &json!({}),
    ));
    let changed = app.server_sent("notifications/tools/list_changed").await;
    assert_eq!(changed.value()["params"]["_meta"], Value::Null);
    for method in ["ping", "logging/setLevel", "notifications/initialized"] {
        assert_eq!(server.count(&rpc(method)), 0);
    }
    assert_eq!(server.count(&get()) + server.count(&delete()), 0);
    app.finish().await;
}

/// T-11, T-12, T-21: make before break.
#[tokio::test]
async fn subscriptions_of_a_legacy_app_are_one_stream_that_is_replaced() {
    let server = FaultServer::start_as(Binding::Modern);
    let mut app = program::initialized(&server).await;
    server.received(listen(), 1).await;
    app.request(1, "resources/subscribe", &json!({"uri": "a:1"}))
        .await;
    app.result(1).await;
    let stream = server.received(listen(), 2).await;
    assert_eq!(
        stream.params()["notifications"]["resourceSubscriptions"],
        json!(["a:1"])
    );
    server.aborted(1).await;
    server.push(on_stream(
        &stream,
        "notifications/resources/updated",
        &json!({"uri": "a:1"}),
    ));
    let updated = app.server_sent("notifications/resources/updated").await;
    assert_eq!(updated.value()["params"], json!({"uri": "a:1"}));
    app.request(2, "resources/unsubscribe", &json!({"uri": "a:1"}))
        .await;
    app.result(2).await;
    server.received(listen(), 3).await;
    server.aborted(2).await;
    assert_eq!(server.count(&rpc("resources/subscribe")), 0);
    app.finish().await;
}

/// T-22: what may have been missed is announced; a server that then has no such streams is not asked again.
#[tokio::test]
async fn the_stream_of_a_legacy_app_outlives_its_connection_until_it_is_refused() {
    let server = FaultServer::start_as(Binding::Modern);
    let mut app = program::initialized(&server).await;
    server.received(listen(), 1).await;
    app.still_served().await;
    server.push_piece(Piece::Reset);
    server.received(listen(), 2).await;
    app.server_sent("notifications/tools/list_changed").await;

    server.always(listen(), |_| Reply::status(404));
    server.push_piece(Piece::Reset);
    server.received(listen(), 3).await;
    for _ in 0..3 {
        app.still_served().await;
    }
    assert_eq!(server.count(&listen()), 3, "{}", server.story());
    assert_eq!(server.count(&rpc("server/discover")), 1);
    app.finish().await;
}

/// T-25, T-28, T-29, X-92
#[tokio::test]
async fn two_conversations_of_questions_do_not_mix() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(call("ask"), asks_for_roots);
    let mut app = program::initialized(&server).await;
    app.call(1, "ask", "first").await;
    let first = app.server_sent("roots/list").await.value();
    app.call(2, "ask", "second").await;
    let second = app.server_sent("roots/list").await.value();
    assert_ne!(first["id"], second["id"]);
    answer(&mut app, &second, &json!({"roots": [{"uri": "file:///2"}]})).await;
    let result = app.result(2).await;
    assert_eq!(
        told(&result),
        json!(["second", {"roots": [{"uri": "file:///2"}]}])
    );
    answer(&mut app, &first, &json!({"roots": []})).await;
    assert_eq!(told(&app.result(1).await), json!(["first", {"roots": []}]));
    // Too late, and twice.
    answer(&mut app, &first, &json!({"roots": []})).await;
    app.still_served().await;
    let legs = server.requests_for(&call("ask"));
    let ids: std::collections::BTreeSet<_> = legs.iter().map(|leg| leg.message().id()).collect();
    assert_eq!((legs.len(), ids.len()), (4, 4));
    app.finish().await;
}

/// T-8, X-90: while the server works, and while the user thinks.
#[tokio::test]
async fn what_a_legacy_app_cancels_is_closed_at_a_modern_server() {
    let server = FaultServer::start_as(Binding::Modern);
    server.once(call("slow"), |_| Reply::no_answer_ever());
    server.always(call("ask"), asks_for_roots);
    let mut app = program::initialized(&server).await;
    app.call(1, "slow", "").await;
    server.received(call("slow"), 1).await;
    app.cancel(1).await;
    server.aborted(1).await;
    app.call(2, "ask", "").await;
    let question = app.server_sent("roots/list").await.value();
    app.cancel(2).await;
    let withdrawn = app.server_sent("notifications/cancelled").await.value();
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    answer(&mut app, &question, &json!({"roots": []})).await;
    app.still_served().await;
    assert_eq!(server.count(&call("ask")), 1);
    app.finish().await;
}

/// ST-38
#[tokio::test]
async fn what_a_legacy_app_asked_before_it_began_anew_is_answered_with_an_error() {
    let server = FaultServer::start_as(Binding::Modern);
    server.once(call("slow"), |_| Reply::no_answer_ever());
    server.always(call("ask"), asks_for_roots);
    let mut app = program::initialized(&server).await;
    server.received(listen(), 1).await;
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(listen(), move |_| Reply::sse().wait(&held));
    app.call(1, "slow", "").await;
    app.call(2, "ask", "").await;
    let question = app.server_sent("roots/list").await.value();
    app.request(3, "resources/subscribe", &json!({"uri": "a:1"}))
        .await;
    server.received(call("slow"), 1).await;
    server.received(listen(), 2).await;
    app.send(initialize_line("2025-06-18").replace("\"init\"", "\"again\""))
        .await;
    for id in [1, 2, 3] {
        app.own_error(id, "session_lost").await;
    }
    let withdrawn = app.server_sent("notifications/cancelled").await.value();
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    assert_eq!(
        app.result("again").await["serverInfo"]["name"],
        "fault-server"
    );
    app.send(INITIALIZED).await;
    // The call and both streams.
    server.aborted(3).await;
    server.received(listen(), 3).await;
    app.still_served().await;
    app.finish().await;
}

/// T-34, X-85: there is no session to lose, but an era. The app gets another session behind its back.
#[tokio::test]
async fn a_modern_server_that_is_put_back_serves_on() {
    let server = FaultServer::start_as(Binding::Modern);
    let memory = tempfile::TempDir::new().expect("a directory");
    let start = || {
        let directory = memory.path().to_str().expect("a path is text");
        program::bridge_for(&server)
            .env("MCP_BRIDGE_DIR", directory)
            .start()
    };
    let mut app = start();
    app.initialize().await;
    app.still_served().await;
    server.speak(Binding::Streamable);
    server.once(rpc("tools/call"), |request| {
        let body = unsupported(request, &["2025-11-25"]);
        Reply::status(400).body("application/json", body)
    });
    app.call(1, "echo", "").await;
    app.own_error(1, "version").await;
    app.still_served().await;
    server.received(rpc("notifications/initialized"), 1).await;
    app.finish().await;
    // The next start has not kept the wrong verdict.
    let probes = server.count(&rpc("server/discover"));
    let mut app = start();
    app.initialize().await;
    app.still_served().await;
    assert_eq!(server.count(&rpc("server/discover")), probes);
    app.finish().await;
}

/// U-1, U-2, U-10: over both transports of the older era.
#[tokio::test]
async fn a_modern_app_that_goes_on_is_served_by_a_legacy_server() {
    for binding in [Binding::Streamable, Binding::Stateless, Binding::HttpSse] {
        let server = FaultServer::start_as(binding);
        let mut app = program::start(&server);
        app.discover(0).await;
        assert_eq!(app.error(0).await["code"], -32601);
        app.ask(1, "tools/list", &json!({})).await;
        let result = app.result(1).await;
        assert_eq!(result["tools"][0]["name"], "echo");
        assert_eq!(result["resultType"], "complete");
        assert_eq!(result["cacheScope"], "private");
        let list = server.received(rpc("tools/list"), 1).await;
        assert!(!list.text().contains(META), "{}", list.text());
        app.still_served_modern().await;
        let order: Vec<_> = server.requests().iter().map(Request::rpc_method).collect();
        let initialize = order.iter().rposition(|method| method == "initialize");
        let initialized = order
            .iter()
            .position(|method| method == "notifications/initialized");
        let listed = order.iter().position(|method| method == "tools/list");
        assert!(
            initialize < initialized && initialized < listed,
            "{order:?}"
        );
        assert_eq!(server.count(&rpc("notifications/initialized")), 1);
        app.finish().await;
        assert_eq!(
            server.count(&delete()),
            usize::from(binding == Binding::Streamable)
        );
    }
}

/// U-5
#[tokio::test]
async fn a_question_of_a_legacy_server_ends_the_request_and_the_retry_goes_on_with_it() {
    const QUESTION: &str = r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#;
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(call("ask"), move |request| {
        Reply::sse().data(QUESTION).wait(&held).data(request.echo())
    });
    server.once(Want::Response, move |_| {
        gate.open();
        Reply::status(202)
    });
    let mut app = program::start(&server);
    app.discover(0).await;
    app.error(0).await;
    app.ask_tool(1, "ask", "asked and answered").await;
    let asked = app.result(1).await;
    assert_eq!(asked["resultType"], "input_required");
    let questions = asked["inputRequests"].as_object().expect("questions");
    let (key, question) = questions.iter().next().expect("one question");
    assert_eq!(question["method"], "roots/list");
    let retry = json!({
        "name": "ask",
        "arguments": {"text": "asked and answered"},
        "requestState": asked["requestState"],
        "inputResponses": {key: {"roots": []}},
    });
    app.ask(2, "tools/call", &retry).await;
    let result = app.result(2).await;
    assert_eq!(result["content"][0]["text"], "asked and answered");
    assert_eq!(result["resultType"], "complete");
    let answer = server.received(Want::Response, 1).await;
    assert_eq!(answer.message().id(), Some(r#""q""#));
    assert_eq!(answer.message().result(), Some(r#"{"roots":[]}"#));
    assert_eq!(server.count(&call("ask")), 1);
    // A state is good for one retry.
    app.ask(3, "tools/call", &retry).await;
    assert_eq!(app.error(3).await["code"], -32602);
    app.finish().await;
}

/// U-7: a legacy server hears of a cancellation by a notification.
#[tokio::test]
async fn what_a_modern_app_cancels_is_cancelled_at_a_legacy_server() {
    let server = FaultServer::start();
    server.once(call("slow"), |_| Reply::no_answer_ever());
    let mut app = program::start(&server);
    app.discover(0).await;
    app.error(0).await;
    app.ask_tool(1, "slow", "").await;
    let request = server.received(call("slow"), 1).await;
    app.cancel(1).await;
    let cancelled = server.received(rpc("notifications/cancelled"), 1).await;
    let id = cancelled.params()["requestId"].to_string();
    assert_eq!(Some(id.as_str()), request.message().id());
    server.aborted(1).await;
    app.still_served_modern().await;
    app.finish().await;
}

/// U-4
#[tokio::test]
async fn a_subscription_of_a_modern_app_is_the_stream_of_the_session() {
    let server = FaultServer::start();
    let mut app = program::start(&server);
    app.discover(0).await;
    app.error(0).await;
    let filter =
        json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["a:1"]}});
    app.ask("sub", "subscriptions/listen", &filter).await;
    let granted = app
        .server_sent("notifications/subscriptions/acknowledged")
        .await
        .value();
    assert_eq!(granted["params"]["notifications"], filter["notifications"]);
    let subscribed = server.received(rpc("resources/subscribe"), 1).await;
    assert_eq!(subscribed.params()["uri"], "a:1");
    server.received(get(), 1).await;
    server.push(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let changed = app
        .server_sent("notifications/tools/list_changed")
        .await
        .value();
    assert_eq!(
        changed["params"]["_meta"][format!("{META}subscriptionId")],
        "sub"
    );
    app.cancel("sub").await;
    server.received(rpc("resources/unsubscribe"), 1).await;
    app.finish().await;
}

/// U-9, HL-6: the session that is held for a modern app is opened again like any other.
#[tokio::test]
async fn a_modern_app_does_not_notice_that_its_session_is_lost() {
    let server = FaultServer::start();
    let mut app = program::start(&server);
    app.discover(0).await;
    app.error(0).await;
    app.still_served_modern().await;
    for sessions in 2..4 {
        server.forget_sessions();
        app.still_served_modern().await;
        assert_eq!(server.count(&rpc("initialize")), sessions);
        assert_eq!(server.count(&rpc("notifications/initialized")), sessions);
    }
    app.finish().await;
}
