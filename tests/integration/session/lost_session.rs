//! A session that the server forgets is opened again, and the app does not notice.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    SESSION_MARKER,
    app::{INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::initialize_result,
    reply::{Gate, Reply},
    request::{Request, Want, call, get, get_in_session, rpc},
};

/// Notifications that fill every queue on the way to an app that does not read.
const NOTES: usize = 200;
const NOTE_BYTES: usize = 64 * 1024;

fn session(request: &Request) -> &str {
    request.header("mcp-session-id").unwrap_or_default()
}

/// X-60, HL-6, B4
#[tokio::test]
async fn five_requests_that_meet_a_lost_session_share_one_new_session() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(call("old stream"), move |request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    app.call("old", "old stream", "not disturbed").await;
    server.received(call("old stream"), 1).await;
    // All five have been sent before the first of them is refused.
    let refuse = Gate::closed();
    let until_refused = refuse.clone();
    server.times(5, call("echo"), move |request| {
        let body = request.error(-32001, "Session not found");
        let reply = Reply::status(404).header("Content-Type", "application/json");
        reply.chunked().wait(&until_refused).bytes(body)
    });
    for id in 1..=5 {
        app.call(id, "echo", "through").await;
    }
    server.received(call("echo"), 5).await;
    refuse.open();
    for id in 1..=5 {
        assert_eq!(app.result(id).await["content"][0]["text"], "through");
    }
    gate.open();
    assert_eq!(
        app.result("old").await["content"][0]["text"],
        "not disturbed"
    );
    assert_eq!(server.count(&rpc("initialize")), 2);
    assert_eq!(server.count(&rpc("notifications/initialized")), 2);
    assert_eq!(server.count(&call("echo")), 10);
    assert_eq!(server.count(&call("old stream")), 1);
    app.finish().await;
}

/// B4, HL-6
#[tokio::test]
async fn what_the_app_had_set_up_is_set_up_again_in_the_new_session() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    app.request(1, "logging/setLevel", &json!({"level": "debug"}))
        .await;
    app.result(1).await;
    app.request(2, "logging/setLevel", &json!({"level": "warning"}))
        .await;
    app.result(2).await;
    for (id, uri) in [(3, "a:kept"), (4, "a:dropped")] {
        app.request(id, "resources/subscribe", &json!({"uri": uri}))
            .await;
        app.result(id).await;
    }
    app.request(5, "resources/unsubscribe", &json!({"uri": "a:dropped"}))
        .await;
    app.result(5).await;
    server.restart().await;
    app.notices_closed_connections().await;
    app.still_served().await;
    server.received(get_in_session("-2"), 1).await;
    let in_new = |method: &str| -> Vec<Value> {
        let requests = server.requests_for(&rpc(method));
        let new = requests
            .iter()
            .filter(|request| session(request).ends_with("-2"));
        new.map(Request::params).collect()
    };
    assert_eq!(in_new("logging/setLevel"), [json!({"level": "warning"})]);
    assert_eq!(in_new("resources/subscribe"), [json!({"uri": "a:kept"})]);
    assert!(in_new("resources/unsubscribe").is_empty());
    let first = &server.requests_for(&rpc("initialize"))[0];
    let second = &server.requests_for(&rpc("initialize"))[1];
    assert_eq!(first.params(), second.params());
    // The answers to what the bridge asked by itself are not for the app; that the tools may have
    // changed is.
    app.server_sent("notifications/tools/list_changed").await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// B4
#[tokio::test]
async fn a_restart_of_the_server_between_two_calls_goes_unnoticed() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    for _ in 0..3 {
        server.restart().await;
        app.notices_closed_connections().await;
        app.still_served().await;
    }
    assert_eq!(server.count(&rpc("initialize")), 4);
    app.finish().await;
}

/// X-63, HL-7, B4
#[tokio::test]
async fn a_refusal_that_speaks_of_the_session_is_a_lost_session() {
    let refusals = [
        (404, ""),
        (
            400,
            r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#,
        ),
        (
            400,
            r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}"#,
        ),
        (400, r#"{"error":"Invalid or missing session"}"#),
        (401, r#"{"error":"Session not found"}"#),
        (410, "session expired"),
    ];
    for (status, body) in refusals {
        let server = FaultServer::start();
        let mut app = program::initialized(&server).await;
        server.once(call("echo"), move |_| {
            Reply::status(status).body("application/json", body)
        });
        app.still_served().await;
        assert_eq!(server.count(&rpc("initialize")), 2, "{status} {body}");
        app.finish().await;
    }
}

/// X-63: once, not for ever.
#[tokio::test]
async fn a_request_that_loses_every_session_ends_with_an_error() {
    for (status, body) in [(404, ""), (400, "no valid session")] {
        let server = FaultServer::start();
        server.always(call("cursed"), move |_| {
            Reply::status(status).body("text/plain", body)
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "cursed", "").await;
        let data = app.own_error(1, "session_lost|http_status").await;
        assert_eq!(data["httpStatus"], status, "{data}");
        assert!(server.count(&call("cursed")) <= 2);
        app.still_served().await;
        assert!(server.count(&rpc("initialize")) <= 3);
        app.finish().await;
    }
}

/// X-62, X-63
#[tokio::test]
async fn other_refusals_do_not_cost_the_session() {
    for (status, body) in [
        (
            400,
            r#"{"jsonrpc":"2.0","error":{"code":-32602,"message":"bad argument"},"id":1}"#,
        ),
        (400, "bad request"),
        (403, "forbidden"),
        (410, "gone"),
        (
            404,
            r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}"#,
        ),
    ] {
        let server = FaultServer::start();
        server.once(call("faulty"), move |_| {
            Reply::status(status).body("application/json", body)
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        app.error(1).await;
        app.still_served().await;
        assert_eq!(server.count(&rpc("initialize")), 1, "{status} {body}");
        assert_eq!(server.count(&call("faulty")), 1, "{status} {body}");
        app.finish().await;
    }
}

/// X-61
#[tokio::test]
async fn a_new_session_that_is_refused_fails_the_request_and_the_next_one_tries_again() {
    for status in [404, 400, 500, 503] {
        let server = FaultServer::start();
        let mut app = program::initialized(&server).await;
        app.still_served().await;
        server.forget_sessions();
        server.always(rpc("initialize"), move |_| Reply::status(status));
        app.call(1, "echo", "").await;
        app.own_error(1, "session_lost|http_status|overloaded")
            .await;
        server.behave();
        app.still_served().await;
        app.finish().await;
    }
}

/// X-61: the answer to `initialize` may be an error of the protocol too.
#[tokio::test]
async fn a_new_session_that_is_answered_with_an_error_fails_the_request() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    server.forget_sessions();
    // With one more for an older version.
    server.times(2, rpc("initialize"), |request| {
        Reply::json(request.error(-32602, "Unsupported protocol version"))
    });
    app.call(1, "echo", "").await;
    app.own_error(1, "session_lost").await;
    app.still_served().await;
    app.finish().await;
}

/// B17, X-61
#[tokio::test]
async fn the_end_of_stdin_is_noticed_while_a_new_session_is_being_opened() {
    let server = FaultServer::start();
    let launch = program::bridge_for(&server).args(["--drain-timeout", "0.2"]);
    let mut app = launch.start();
    app.initialize().await;
    app.still_served().await;
    server.forget_sessions();
    server.always(rpc("initialize"), |_| Reply::no_answer_ever());
    app.call(1, "echo", "").await;
    server.received(rpc("initialize"), 2).await;
    app.close_stdin();
    app.finish().await;
}

/// The session is open again as soon as the server says so; that the app does not read is no failure of it.
#[tokio::test]
async fn an_app_that_does_not_read_loses_nothing_of_a_new_session() {
    let server = FaultServer::start();
    server.allow_requests(200);
    let mut app = program::bridge_for(&server)
        .args(["--request-timeout", "1"])
        .memory_limit_mib(128)
        .start();
    app.initialize().await;
    server.received(get(), 1).await;
    app.stop_reading_stdout();
    let note = |number: usize| {
        let text = "x".repeat(NOTE_BYTES);
        let params = json!({"number": number, "text": text});
        json!({"jsonrpc": "2.0", "method": "vendor/note", "params": params}).to_string()
    };
    for number in 0..NOTES {
        server.push(note(number));
    }
    server.write_stands_still().await;
    server.forget_sessions();
    app.call(1, "echo", "x").await;
    server.received(rpc("notifications/initialized"), 2).await;
    // The call that has brought the new session about is given up meanwhile.
    server.received(rpc("notifications/cancelled"), 1).await;
    app.read_stdout();
    app.own_error(1, "timeout").await;
    app.server_sent("notifications/tools/list_changed").await;
    server.received(get_in_session("-2"), 1).await;
    app.still_served().await;
    app.finish().await;
}

/// HL-6: the loss may show on a notification or on an answer of the app first.
#[tokio::test]
async fn a_notification_that_meets_a_lost_session_is_sent_in_the_new_one() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    server.forget_sessions();
    app.send(r#"{"jsonrpc":"2.0","method":"vendor/note"}"#)
        .await;
    let second = server.received(rpc("vendor/note"), 2).await;
    assert!(session(&second).ends_with("-2"));
    app.still_served().await;
    assert_eq!(server.count(&rpc("initialize")), 2);
    app.finish().await;
}

/// X-64: the app cannot be told that the server changed, but it goes on.
#[tokio::test]
async fn a_server_that_comes_back_with_other_capabilities_is_served_on() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    server.forget_sessions();
    server.once(rpc("initialize"), |request| {
        let result = initialize_result(&json!("2025-06-18")).replace("logging", "completions");
        Reply::json(request.result(result)).header("Mcp-Session-Id", "other")
    });
    server.always(call("echo"), |request| {
        (session(request) == "other").then(|| Reply::json(request.echo()))
    });
    server.always(rpc("notifications/initialized"), |_| Reply::status(202));
    app.still_served().await;
    app.finish().await;
}

/// X-65, HL-4
#[tokio::test]
async fn a_session_id_that_no_header_should_carry_is_not_used() {
    for id in ["with space", "sn\u{2603}wman", "tab\there", "\u{7f}"] {
        let id =
            format!("{SESSION_MARKER} {id}").replace(' ', if id.contains(' ') { " " } else { "" });
        let server = FaultServer::start();
        let bad = id.clone();
        server.always(rpc("initialize"), move |request| {
            let result = initialize_result(&json!("2025-06-18"));
            Reply::json(request.result(result)).header("Mcp-Session-Id", &bad)
        });
        let launch = program::bridge_for(&server).args(["--wait-for-auth"]);
        let mut app = launch.start();
        app.send(initialize_line("2025-06-18")).await;
        let answer = app.response("init").await;
        assert!(answer.message.error().is_some(), "{id:?}");
        app.finish().await;
        assert_eq!(
            server
                .requests()
                .iter()
                .filter(|request| !session(request).is_empty())
                .count(),
            0
        );
    }
}

/// X-65
#[tokio::test]
async fn a_session_id_on_a_later_answer_is_not_taken() {
    let server = FaultServer::start();
    server.once(call("other"), |request| {
        Reply::json(request.echo()).header("Mcp-Session-Id", "another")
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "other", "").await;
    app.result(1).await;
    app.still_served().await;
    app.finish().await;
    let sessions = server.requests();
    let sessions = sessions.iter().map(session).filter(|id| !id.is_empty());
    assert!(sessions.clone().count() > 2);
    assert!(sessions.clone().all(|id| id.ends_with("-1")));
}

/// HL-3: the id is a header of the answer that carries the result, be it an event stream.
#[tokio::test]
async fn the_session_id_is_taken_from_an_event_stream_too() {
    let server = FaultServer::start();
    server.once(rpc("initialize"), |request| {
        let result = initialize_result(&json!("2025-03-26"));
        let reply = Reply::sse().header("MCP-SESSION-ID", "from-the-stream");
        reply.data(request.result(result))
    });
    server.always(call("echo"), |request| Reply::json(request.echo()));
    server.always(rpc("notifications/initialized"), |_| Reply::status(202));
    server.always(get(), |_| Reply::status(405));
    let mut app = program::start(&server);
    app.initialize().await;
    app.still_served().await;
    let request = server.received(call("echo"), 1).await;
    assert_eq!(session(&request), "from-the-stream");
    assert_eq!(request.header("mcp-protocol-version"), Some("2025-03-26"));
    app.finish().await;
}

/// X-67, HL-11
#[tokio::test]
async fn an_odd_protocol_version_is_forwarded_and_sent_only_if_a_header_can_carry_it() {
    for (version, header) in [
        (json!("2099-01-01"), Some("2099-01-01")),
        (json!("a\r\nX-Evil: 1"), None),
        (json!("☃"), None),
        (json!(""), None),
        (json!(20_250_618), None),
        (Value::Null, None),
    ] {
        let server = FaultServer::start();
        server.names_no_version();
        let answered = version.clone();
        server.once(rpc("initialize"), move |request| {
            let reply = Reply::json(request.result(initialize_result(&answered)));
            reply.header("Mcp-Session-Id", &format!("{SESSION_MARKER}-1"))
        });
        server.always(call("echo"), |request| Reply::json(request.echo()));
        server.always(rpc("notifications/initialized"), |_| Reply::status(202));
        server.always(get(), |_| Reply::status(405));
        let mut app = program::start(&server);
        assert_eq!(app.initialize().await["protocolVersion"], version);
        app.still_served().await;
        for request in server.requests_for(&call("echo")) {
            assert_eq!(request.header("mcp-protocol-version"), header);
            assert_eq!(request.header("x-evil"), None);
        }
        app.finish().await;
    }
}

/// X-11: a question of the old session has no one to answer to.
#[tokio::test]
async fn an_answer_to_a_question_of_the_lost_session_is_not_sent_to_the_new_one() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    server.push(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    app.server_sent("roots/list").await;
    server.restart().await;
    app.notices_closed_connections().await;
    app.still_served().await;
    app.send(r#"{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}"#)
        .await;
    app.still_served().await;
    assert_eq!(server.count(&Want::Response), 0);
    app.finish().await;
}

/// HL-1: an `initialize` that fails leaves nothing behind that the next one could trip over.
#[tokio::test]
async fn an_initialize_that_fails_can_be_tried_again() {
    let server = FaultServer::start();
    // With one more for an older version.
    server.times(2, rpc("initialize"), |request| {
        Reply::json(request.error(-32602, "not today"))
    });
    let mut app = program::start(&server);
    app.send(initialize_line("2025-06-18")).await;
    assert_eq!(app.error("init").await["code"], -32602);
    app.initialize().await;
    app.send(INITIALIZED).await;
    app.still_served().await;
    app.finish().await;
}
