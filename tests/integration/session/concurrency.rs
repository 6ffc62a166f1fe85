//! Many requests at once, and requests that are given up.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    app::initialize_line,
    fault_server::FaultServer,
    mcp::{Binding, initialize_result},
    reply::{Gate, Reply},
    request::{Want, call, get, rpc},
};

/// I5
#[tokio::test]
async fn a_slow_call_holds_nobody_up() {
    const CALLS: usize = 20;
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("slow"), move |request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    app.call("slow", "slow", "at last").await;
    server.received(call("slow"), 1).await;
    for id in 0..CALLS {
        app.call(id, "echo", "quick").await;
    }
    for id in 0..CALLS {
        app.result(id).await;
    }
    gate.open();
    assert_eq!(app.result("slow").await["content"][0]["text"], "at last");
    app.finish().await;
}

/// X-74, I5
#[tokio::test]
async fn many_endless_streams_do_not_starve_a_request() {
    const STREAMS: usize = 150;
    let server = FaultServer::start();
    server.allow_requests(2 * STREAMS);
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("endless"), move |request| {
        Reply::sse().bytes(":\n\n").wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    for id in 0..STREAMS {
        app.call(id, "endless", "").await;
    }
    server.received(call("endless"), STREAMS).await;
    app.still_served().await;
    gate.open();
    app.finish().await;
}

/// HL-2
#[tokio::test]
async fn notifications_arrive_in_the_order_they_were_written() {
    const NOTES: usize = 20;
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    let note = |number| json!({"jsonrpc": "2.0", "method": "vendor/note", "params": {"n": number}});
    let lines: Vec<_> = (0..NOTES).map(|number| note(number).to_string()).collect();
    app.send_all(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    server.received(rpc("vendor/note"), NOTES).await;
    let arrived = server.requests_for(&rpc("vendor/note"));
    let arrived: Vec<_> = arrived
        .iter()
        .map(mcp_bridge_testkit::request::Request::text)
        .collect();
    assert_eq!(arrived, lines);
    app.finish().await;
}

/// HL-19
#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server_and_its_late_answer_is_dropped() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(call("slow"), move |request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "slow", "too late").await;
    server.received(call("slow"), 1).await;
    app.cancel(1).await;
    let notice = server.received(rpc("notifications/cancelled"), 1).await;
    assert_eq!(notice.params(), json!({"requestId": 1}));
    gate.open();
    app.still_served().await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// HL-19, HC-6: the type of the id counts.
#[tokio::test]
async fn a_cancellation_means_the_id_with_its_type() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("slow"), move |request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "slow", "number").await;
    app.call("1", "slow", "string").await;
    server.received(call("slow"), 2).await;
    app.cancel("1").await;
    app.still_served().await;
    gate.open();
    assert_eq!(app.result(1).await["content"][0]["text"], "number");
    app.finish().await;
}

/// HL-1
#[tokio::test]
async fn initialize_cannot_be_cancelled() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(rpc("initialize"), move |request| {
        let result = initialize_result(&json!("2025-06-18"));
        Reply::sse().wait(&held).data(request.result(result))
    });
    let mut app = program::start(&server);
    app.send(initialize_line("2025-06-18")).await;
    server.received(rpc("initialize"), 1).await;
    app.cancel("init").await;
    gate.open();
    app.result("init").await;
    assert_eq!(server.count(&rpc("notifications/cancelled")), 0);
    app.finish().await;
}

/// HL-19
#[tokio::test]
async fn the_cancellation_of_an_unknown_or_finished_request_does_nothing() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    for line in [
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":404}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":null}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#,
    ] {
        app.send(line).await;
        app.still_served().await;
    }
    app.finish().await;
}

/// HL-19: cancelled before it could be sent.
#[tokio::test]
async fn a_request_cancelled_while_it_waits_for_the_handshake_is_not_answered() {
    let server = FaultServer::start_as(Binding::Stateless);
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(rpc("initialize"), move |request| {
        let result = initialize_result(&json!("2025-06-18"));
        Reply::sse().wait(&held).data(request.result(result))
    });
    let mut app = program::start(&server);
    app.send(initialize_line("2025-06-18")).await;
    server.received(rpc("initialize"), 1).await;
    app.call(1, "echo", "").await;
    app.cancel(1).await;
    gate.open();
    app.result("init").await;
    app.send(mcp_bridge_testkit::app::INITIALIZED).await;
    app.still_served().await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// P-1, P-2
#[tokio::test]
async fn progress_reaches_the_app_as_it_was_sent_and_not_after_the_answer() {
    const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t☃","progress":1.0,"total":3}}"#;
    let server = FaultServer::start();
    server.once(call("slow"), |request| {
        assert_eq!(request.params()["_meta"]["progressToken"], "t☃");
        Reply::sse()
            .data(PROGRESS)
            .data(PROGRESS)
            .data(request.echo())
            .data(PROGRESS)
    });
    let mut app = program::initialized(&server).await;
    let params = json!({"name": "slow", "_meta": {"progressToken": "t☃"}});
    app.request(1, "tools/call", &params).await;
    app.result(1).await;
    for _ in 0..2 {
        assert_eq!(
            app.server_sent("notifications/progress").await.text,
            PROGRESS
        );
    }
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// X-68
#[tokio::test]
async fn a_request_of_the_server_may_have_the_id_of_a_request_of_the_app() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(call("ask"), move |request| {
        let question = r#"{"jsonrpc":"2.0","id":1,"method":"roots/list","params":{}}"#;
        Reply::sse().data(question).wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "ask", "asked").await;
    app.server_sent("roots/list").await;
    app.send(r#"{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}"#)
        .await;
    let answer = server.received(Want::Response, 1).await;
    assert_eq!(answer.message().result(), Some(r#"{"roots":[]}"#));
    gate.open();
    assert_eq!(app.result(1).await["content"][0]["text"], "asked");
    app.finish().await;
}

/// X-69, I4
#[tokio::test]
async fn a_thousand_requests_of_the_server_are_all_asked_and_all_answered() {
    const QUESTIONS: usize = 1_000;
    let server = FaultServer::start();
    server.allow_requests(QUESTIONS + 50);
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    for id in 0..QUESTIONS {
        server.push(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"vendor/unknown"}}"#
        ));
    }
    for id in 0..QUESTIONS {
        assert_eq!(
            app.server_sent("vendor/unknown").await.message.id(),
            Some(&*id.to_string())
        );
        let error = json!({"code": -32601, "message": "Method not found"});
        app.send(json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string())
            .await;
    }
    server.received(Want::Response, QUESTIONS).await;
    app.still_served().await;
    app.finish().await;
}
