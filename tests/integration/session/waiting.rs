//! Requests that wait for a server that cannot be reached: how long, what ends the wait, and what the app
//! hears meanwhile.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::program;
use mcp_bridge_testkit::{
    app::{App, INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::{Binding, event, initialize_result},
    modern,
    reply::{Gate, Piece, Reply},
    request::{Request, call, rpc},
};

/// Connections of an app of each era to a server of each kind.
const CONNECTIONS: [(Binding, AppEra); 5] = [
    (Binding::Streamable, AppEra::Legacy),
    (Binding::HttpSse, AppEra::Legacy),
    (Binding::Modern, AppEra::Modern),
    (Binding::Modern, AppEra::Legacy),
    (Binding::Streamable, AppEra::Modern),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AppEra {
    Legacy,
    Modern,
}

impl AppEra {
    /// Starts the conversation, so that the next call has only its own way to go.
    async fn begin(self, app: &mut App) {
        match self {
            Self::Legacy => {
                app.initialize().await;
                app.still_served().await;
            }
            Self::Modern => app.still_served_modern().await,
        }
    }

    /// Calls `echo` with a progress token that is the id.
    async fn call(self, app: &mut App, id: &str) {
        let params = json!({"name": "echo", "arguments": {"text": id}});
        let mut params = match self {
            Self::Legacy => params,
            Self::Modern => modern::signed(&params),
        };
        params["_meta"]["progressToken"] = id.into();
        app.request(id, "tools/call", &params).await;
    }
}

/// Runs a test for each of them, all at once.
async fn in_each_connection<T>(test: impl Fn(Binding, AppEra) -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    let mut tests = JoinSet::new();
    for (binding, era) in CONNECTIONS {
        tests.spawn(test(binding, era));
    }
    while let Some(ended) = tests.join_next().await {
        ended.expect("it does not fail");
    }
}

/// The next progress that the app hears of; returns its params.
async fn progress(app: &mut App) -> Value {
    let notification = app.server_sent("notifications/progress").await;
    notification.value()["params"].clone()
}

/// The next progress of the request with this token, which waits for the server.
async fn waits_for(app: &mut App, server: &FaultServer, token: &str) -> f64 {
    let progress = progress(app).await;
    assert_eq!(progress["progressToken"], token, "{progress}");
    let text = format!("waiting for {}", server.host());
    assert_eq!(progress["message"], text.as_str());
    assert_eq!(progress.get("total"), None, "nobody knows how long");
    progress["progress"].as_f64().expect("a number")
}

#[tokio::test]
async fn a_call_waits_for_a_server_that_goes_down_and_comes_back() {
    in_each_connection(|binding, era| async move {
        let server = FaultServer::start_as(binding);
        server.allow_requests(200);
        let mut app = program::start(&server);
        era.begin(&mut app).await;
        server.go_down().await;
        era.call(&mut app, "late").await;
        // Longer than a request was once tried.
        let first = waits_for(&mut app, &server, "late").await;
        let second = waits_for(&mut app, &server, "late").await;
        assert!(first < second, "{first} {second}");
        server.come_up();
        let result = app.result("late").await;
        assert_eq!(result["content"][0]["text"], "late", "{binding:?} {era:?}");
        app.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_call_that_has_waited_long_enough_names_the_cause_and_the_time() {
    in_each_connection(|binding, era| async move {
        let server = FaultServer::start_as(binding);
        let impatient = ["--patience", "0.2"];
        let mut app = program::bridge_for(&server).args(impatient).start();
        era.begin(&mut app).await;
        server.go_down().await;
        // The connection is seen to be gone.
        era.call(&mut app, "first").await;
        app.own_error("first", "refused|connection_lost").await;
        era.call(&mut app, "second").await;
        let error = app.error("second").await;
        assert_eq!(error["data"]["kind"], "refused", "{error}");
        assert_eq!(error["data"].get("outcomeUnknown"), None, "{error}");
        let text = error["message"].as_str().expect("a text");
        let told = text.split(", tried for ").nth(1);
        let seconds = told.and_then(|told| told.split(" s (").next());
        let seconds: f64 = seconds.and_then(|it| it.parse().ok()).expect(text);
        assert!(seconds >= 0.2, "{text}");
        assert!(text.contains("refused"), "{text}");
        server.come_up();
        era.call(&mut app, "third").await;
        app.response("third").await;
        app.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_it_waits_is_never_sent() {
    in_each_connection(|binding, era| async move {
        let server = FaultServer::start_as(binding);
        let mut app = program::start(&server);
        era.begin(&mut app).await;
        server.go_down().await;
        era.call(&mut app, "cancelled").await;
        waits_for(&mut app, &server, "cancelled").await;
        app.cancel("cancelled").await;
        server.come_up();
        era.call(&mut app, "other").await;
        app.result("other").await;
        let finished = app.finish().await;
        let calls = server.requests_for(&call("echo"));
        let sent = calls.iter().filter(|it| it.text().contains("cancelled"));
        assert_eq!(sent.count(), 0, "{binding:?} {era:?} {}", server.story());
        let told = |line: &mcp_bridge_testkit::app::Line| line.text.contains("\"cancelled\"");
        assert!(!finished.unread.iter().any(told), "{:?}", finished.unread);
    })
    .await;
}

#[tokio::test]
async fn the_end_of_stdin_ends_the_wait() {
    in_each_connection(|binding, era| async move {
        let server = FaultServer::start_as(binding);
        let mut app = program::start(&server);
        era.begin(&mut app).await;
        server.go_down().await;
        era.call(&mut app, "waits").await;
        waits_for(&mut app, &server, "waits").await;
        app.close_stdin();
        app.own_error("waits", "refused|session_lost").await;
        app.finish().await;
    })
    .await;
}

#[tokio::test]
async fn all_calls_that_wait_are_sent_when_the_server_is_back() {
    const CALLS: usize = 40;
    let server = FaultServer::start();
    server.allow_requests(3 * CALLS);
    let mut app = program::initialized(&server).await;
    server.go_down().await;
    app.notices_the_outage().await;
    for number in 0..CALLS {
        app.call(number, "echo", &number.to_string()).await;
    }
    AppEra::Legacy.call(&mut app, "last").await;
    waits_for(&mut app, &server, "last").await;
    server.come_up();
    app.result("last").await;
    for number in 0..CALLS {
        let result = app.result(number).await;
        assert_eq!(result["content"][0]["text"], number.to_string());
    }
    assert_eq!(server.count(&rpc("initialize")), 2, "{}", server.story());
    app.finish().await;
}

/// The first call finds the session lost, and then nobody who could open another.
#[tokio::test]
async fn a_server_that_goes_while_the_session_is_opened_again_is_waited_for() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    server.forget_sessions();
    let refuse = Gate::closed();
    let until_refused = refuse.clone();
    server.once(call("echo"), move |request: &Request| {
        let body = request.error(-32001, "Session not found");
        let reply = Reply::status(404).header("Content-Type", "application/json");
        let reply = reply.header("Connection", "close");
        reply.chunked().wait(&until_refused).bytes(body)
    });
    AppEra::Legacy.call(&mut app, "waits").await;
    server.received(call("echo"), 2).await;
    server.stop_listening().await;
    refuse.open();
    waits_for(&mut app, &server, "waits").await;
    server.come_up();
    app.result("waits").await;
    app.finish().await;
}

/// Before there is a session, too.
#[tokio::test]
async fn a_call_that_is_held_until_there_is_a_session_is_reported_as_waiting() {
    in_each_connection(|binding, era| async move {
        let server = FaultServer::start_down(binding);
        server.allow_requests(200);
        let mut app = program::start(&server);
        if era == AppEra::Legacy {
            app.send(initialize_line("2025-06-18")).await;
            app.result("init").await;
            app.send(INITIALIZED).await;
        }
        era.call(&mut app, "held").await;
        let first = waits_for(&mut app, &server, "held").await;
        let second = waits_for(&mut app, &server, "held").await;
        assert!(first < second);
        server.come_up();
        app.result("held").await;
        app.finish().await;
    })
    .await;
}

/// The value has to grow (MCP "Progress"), whatever the server begins with.
#[tokio::test]
async fn progress_of_the_server_is_greater_than_what_was_reported_before() {
    let server = FaultServer::start();
    server.once(call("echo"), |request: &Request| {
        let progress = |value: u32| {
            let params = json!({"progressToken": "late", "progress": value, "total": 1});
            let method = "notifications/progress";
            json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
        };
        Reply::sse()
            .data(progress(0))
            .data(progress(1))
            .data(request.echo())
    });
    let mut app = program::start(&server);
    app.initialize().await;
    server.go_down().await;
    app.notices_the_outage().await;
    AppEra::Legacy.call(&mut app, "late").await;
    let mut last = waits_for(&mut app, &server, "late").await;
    server.come_up();
    app.result("late").await;
    let rest = app.unread();
    let values = rest.iter().map(mcp_bridge_testkit::app::Line::value);
    let values = values.filter_map(|it| it["params"]["progress"].as_f64());
    for value in values {
        assert!(last < value, "{last} {value}");
        last = value;
    }
    assert!(last >= 1.0, "{rest:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_call_without_a_token_is_not_reported_and_neither_is_one_that_is_with_the_server() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(call("slow"), move |request: &Request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    let params = json!({"name": "slow", "_meta": {"progressToken": "slow"}});
    app.request("slow", "tools/call", &params).await;
    server.received(call("slow"), 1).await;
    server.stop_listening().await;
    app.call("untold", "echo", "x").await;
    AppEra::Legacy.call(&mut app, "told").await;
    waits_for(&mut app, &server, "told").await;
    waits_for(&mut app, &server, "told").await;
    server.come_up();
    gate.open();
    for id in ["slow", "untold", "told"] {
        app.result(id).await;
    }
    app.finish().await;
}

/// With `--read-only` a call waits for the list of tools, and the list for the server.
#[tokio::test]
async fn a_call_that_waits_for_the_list_of_tools_is_reported_as_waiting() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let tool = json!({"name": "echo", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
        Reply::json(request.result(json!({"tools": [tool]}).to_string()))
    });
    let mut app = program::bridge_for(&server).args(["--read-only"]).start();
    app.initialize().await;
    server.go_down().await;
    AppEra::Legacy.call(&mut app, "judged").await;
    waits_for(&mut app, &server, "judged").await;
    server.come_up();
    app.result("judged").await;
    app.finish().await;
}

/// A connection that comes up and says nothing sensible is no server that is down.
#[tokio::test]
async fn a_call_that_was_sent_is_not_sent_again_when_the_server_goes_down() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    server.once(call("deed"), |_| Reply::no_answer_ever());
    app.call("deed", "deed", "").await;
    server.received(call("deed"), 1).await;
    server.go_down().await;
    let data = app.own_error("deed", "connection_lost").await;
    assert_eq!(data["outcomeUnknown"], true);
    server.come_up();
    app.still_served().await;
    assert_eq!(server.count(&call("deed")), 1);
    app.finish().await;
}

/// `--wait-for-auth` has no limit of its own for a call.
#[tokio::test]
async fn an_app_that_waits_for_everything_waits_for_a_server_that_comes_back() {
    let server = FaultServer::start();
    server.once(rpc("initialize"), |request: &Request| {
        Reply::json(request.result(initialize_result(&json!("2025-06-18"))))
    });
    let mut app = program::bridge_for(&server)
        .args(["--wait-for-auth"])
        .start();
    app.initialize().await;
    server.go_down().await;
    AppEra::Legacy.call(&mut app, "late").await;
    waits_for(&mut app, &server, "late").await;
    waits_for(&mut app, &server, "late").await;
    server.speak(Binding::Stateless);
    server.come_up();
    app.result("late").await;
    app.finish().await;
}

/// Apps on the TypeScript SDK drop progress that they read together with the response. Nothing else is
/// kept back: another response that came later is there first.
#[tokio::test]
async fn a_response_right_behind_progress_of_its_request_is_written_a_moment_later() {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.times(2, call("both"), |_| Reply::status(202));
    let mut app = program::start(&server);
    app.initialize().await;
    app.still_served().await;
    let params = json!({"name": "both", "arguments": {}, "_meta": {"progressToken": "token"}});
    app.request("reported", "tools/call", &params).await;
    app.call("silent", "both", "").await;
    server.received(call("both"), 2).await;
    let progress = json!({"progressToken": "token", "progress": 1});
    let messages = [
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}),
        json!({"jsonrpc": "2.0", "id": "reported", "result": {"content": []}}),
        json!({"jsonrpc": "2.0", "method": "vendor/note"}),
        json!({"jsonrpc": "2.0", "id": "silent", "result": {"content": []}}),
    ];
    let events = messages.map(|message| event(&message.to_string()));
    server.push_piece(Piece::Bytes(events.concat()));
    app.next_lines_are(&[
        "notifications/progress",
        "vendor/note",
        "silent",
        "reported",
    ])
    .await;
    app.finish().await;
}

/// The end of stdin loses nothing.
#[tokio::test]
async fn a_response_right_behind_progress_is_written_at_the_end_of_stdin_too() {
    let server = FaultServer::start();
    server.once(call("reported"), |request: &Request| {
        let params = json!({"progressToken": "token", "progress": 1});
        let method = "notifications/progress";
        let progress = json!({"jsonrpc": "2.0", "method": method, "params": params});
        let reply = Reply::sse().data(progress.to_string());
        reply.data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    let params = json!({"name": "reported", "arguments": {"text": "x"}, "_meta": {"progressToken": "token"}});
    app.request(1, "tools/call", &params).await;
    app.close_stdin();
    app.next_lines_are(&["notifications/progress", "1"]).await;
    app.finish().await;
}
