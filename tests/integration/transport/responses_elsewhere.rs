//! Responses that come on another stream than that of their request, as the official Ruby SDK sends them: on the
//! session's GET stream, with an acknowledgement for the POST.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    app::{App, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    reply::{Gate, Piece, Reply},
    request::{Want, call, get, rpc},
};

const HEAD: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

/// A session whose GET stream is open.
async fn with_stream(server: &FaultServer) -> App {
    let app = program::initialized(server).await;
    server.received(get(), 1).await;
    app
}

/// The response to the request with this id.
fn response(id: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"on":"the session's stream"}}}}"#)
}

fn accepted() -> Reply {
    Reply::status(202)
}

/// HC-11, HL-24, X-34
#[tokio::test]
async fn a_response_on_the_session_stream_after_an_acknowledgement_is_delivered() {
    let acknowledgements: [fn() -> Reply; 8] = [
        accepted,
        || Reply::status(202).body("text/plain", "Accepted"),
        || Reply::status(202).body("application/json", "null"),
        || Reply::status(204),
        || Reply::json(r#"{"accepted":true}"#),
        || Reply::json(""),
        || Reply::status(200),
        || Reply::status(200).body("text/plain", "OK"),
    ];
    for acknowledgement in acknowledgements {
        let server = FaultServer::start();
        server.once(call("slow"), move |_| acknowledgement());
        let mut app = with_stream(&server).await;
        app.call(1, "slow", "").await;
        server.received(call("slow"), 1).await;
        // Meanwhile the acknowledgement is read.
        app.still_served().await;
        server.push(response(1));
        assert_eq!(app.result(1).await["on"], "the session's stream");
        app.still_served().await;
        assert_eq!(server.count(&call("slow")), 1);
        app.finish().await;
    }
}

/// HC-11: the acknowledgement comes when the app has its response.
#[tokio::test]
async fn a_response_on_the_session_stream_before_the_acknowledgement_is_delivered_once() {
    let ends: [fn(Reply) -> Reply; 3] = [
        |reply| reply.bytes(HEAD),
        |reply| {
            let body = response(1);
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            reply.bytes(format!("{head}Content-Length: {length}\r\n\r\n{body}"))
        },
        |reply| reply.reset(),
    ];
    for end in ends {
        let server = FaultServer::start();
        let gate = Gate::closed();
        let held = gate.clone();
        server.once(call("quick"), move |_| end(Reply::raw("").wait(&held)));
        let mut app = with_stream(&server).await;
        app.call(1, "quick", "").await;
        server.received(call("quick"), 1).await;
        server.push(response(1));
        assert_eq!(app.result(1).await["on"], "the session's stream");
        gate.open();
        app.still_served().await;
        let finished = app.finish().await;
        assert!(finished.unread.is_empty(), "{:?}", finished.unread);
    }
}

/// HC-11: both streams bring it, or one of them twice.
#[tokio::test]
async fn a_response_that_comes_twice_is_delivered_once() {
    let server = FaultServer::start();
    server.once(call("twice"), |_| accepted());
    server.once(call("both"), |request| Reply::json(request.echo()));
    let mut app = with_stream(&server).await;
    app.call(1, "twice", "").await;
    server.received(call("twice"), 1).await;
    server.push(response(1));
    server.push(response(1));
    app.result(1).await;
    app.call(2, "both", "").await;
    server.received(call("both"), 1).await;
    server.push(response(2));
    app.result(2).await;
    app.still_served().await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// Many at once, in another order than they were asked for.
#[tokio::test]
async fn responses_on_the_session_stream_find_their_requests() {
    const CALLS: usize = 20;
    let server = FaultServer::start();
    server.always(call("slow"), |_| accepted());
    let mut app = with_stream(&server).await;
    for id in 1..=CALLS {
        app.call(id, "slow", "").await;
    }
    server.received(call("slow"), CALLS).await;
    for id in (1..=CALLS).rev() {
        server.push(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"of":{id}}}}}"#
        ));
    }
    for id in 1..=CALLS {
        assert_eq!(app.result(id).await["of"], id);
    }
    app.finish().await;
}

/// HL-13: the response may also come on the POST stream of another request.
#[tokio::test]
async fn a_response_on_the_stream_of_another_request_is_delivered() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(call("carrier"), move |request| {
        Reply::sse()
            .wait(&held)
            .data(response(2))
            .data(request.echo())
    });
    server.once(call("carried"), |_| accepted());
    let mut app = with_stream(&server).await;
    app.call(1, "carrier", "mine").await;
    app.call(2, "carried", "").await;
    server.received(call("carrier"), 1).await;
    server.received(call("carried"), 1).await;
    gate.open();
    assert_eq!(app.result(2).await["on"], "the session's stream");
    assert_eq!(app.result(1).await["content"][0]["text"], "mine");
    app.finish().await;
}

/// HL-24, X-34: where no stream can bring the response, that is said at once.
#[tokio::test]
async fn an_acknowledgement_without_a_session_stream_is_an_error_that_says_so() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(get(), move |_| {
        Reply::raw("")
            .wait(&held)
            .bytes("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
    });
    server.always(call("slow"), |_| accepted());
    // The stream is still being opened.
    let mut app = with_stream(&server).await;
    app.call(1, "slow", "").await;
    server.received(call("slow"), 1).await;
    gate.open();
    // There is none, which is known by now.
    for id in [1, 2] {
        let error = app.error(id).await;
        let text = error["message"].as_str().expect("a text");
        assert_eq!(error["data"]["kind"], "no_response");
        assert_eq!(error["data"]["outcomeUnknown"], true);
        for part in [
            "202 Accepted",
            "was refused",
            "405",
            "check whether the server has done",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("try again"), "{text}");
        if id == 1 {
            app.call(2, "slow", "").await;
        }
    }
    assert_eq!(server.count(&call("slow")), 2);
    app.finish().await;
}

/// HL-1: there is no session yet, and so no stream.
#[tokio::test]
async fn an_initialize_that_is_only_acknowledged_is_an_error() {
    let server = FaultServer::start();
    server.always(rpc("initialize"), |_| accepted());
    let mut app = program::start(&server);
    app.send(initialize_line("2025-06-18")).await;
    app.own_error("init", "no_response").await;
    app.finish().await;
}

/// HC-16
#[tokio::test]
async fn the_time_limit_ends_the_wait_for_the_session_stream() {
    let server = FaultServer::start();
    server.once(call("slow"), |_| accepted());
    let mut app = program::bridge_for(&server)
        .args(["--request-timeout", "0.3"])
        .start();
    app.initialize().await;
    server.received(get(), 1).await;
    app.call(1, "slow", "").await;
    let data = app.own_error(1, "timeout").await;
    assert_eq!(data["outcomeUnknown"], true);
    let notice = server.received(rpc("notifications/cancelled"), 1).await;
    assert_eq!(notice.params()["requestId"], 1);
    server.push(response(1));
    app.still_served().await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// HL-19: a cancelled request gets no response, and its id may be used again.
#[tokio::test]
async fn a_cancellation_ends_the_wait_for_the_session_stream() {
    let server = FaultServer::start();
    server.times(2, call("slow"), |_| accepted());
    let mut app = with_stream(&server).await;
    app.call(1, "slow", "").await;
    server.received(call("slow"), 1).await;
    app.still_served().await;
    app.cancel(1).await;
    server.received(rpc("notifications/cancelled"), 1).await;
    app.call(1, "slow", "").await;
    server.received(call("slow"), 2).await;
    app.still_served().await;
    server.push(response(1));
    app.result(1).await;
    app.finish().await;
}

/// HL-6, X-60
#[tokio::test]
async fn the_end_of_the_session_ends_the_wait_for_its_stream() {
    let server = FaultServer::start();
    server.once(call("slow"), |_| accepted());
    server.once(rpc("tools/list"), |_| accepted());
    let mut app = with_stream(&server).await;
    app.call(1, "slow", "").await;
    app.request(2, "tools/list", &json!({})).await;
    server.received(call("slow"), 1).await;
    server.received(rpc("tools/list"), 1).await;
    app.still_served().await;
    server.forget_sessions();
    app.still_served().await;
    let data = app.own_error(1, "connection_lost").await;
    assert_eq!(data["outcomeUnknown"], true, "{data}");
    // What has no side effects is asked for again, in the new session.
    assert_eq!(app.result(2).await["tools"][0]["name"], "echo");
    assert_eq!(server.count(&call("slow")), 1);
    app.finish().await;
}

/// HL-15
#[tokio::test]
async fn a_session_stream_that_breaks_may_bring_the_response_when_it_is_open_again() {
    for end in [|| Piece::Reset, || Piece::End] {
        let server = FaultServer::start();
        server.once(call("slow"), |_| accepted());
        let mut app = with_stream(&server).await;
        app.call(1, "slow", "").await;
        server.received(call("slow"), 1).await;
        app.still_served().await;
        server.push_piece(Piece::Bytes(b"id: g-1\nretry: 10\ndata:\n\n".to_vec()));
        server.push_piece(end());
        server.received(get(), 2).await;
        server.push(response(1));
        app.result(1).await;
        app.finish().await;
    }
}

/// HL-6: what the bridge remembers of a session, and asks for itself, does not depend on the stream.
#[tokio::test]
async fn a_subscription_that_was_confirmed_on_the_session_stream_is_renewed_in_a_new_session() {
    let server = FaultServer::start();
    server.once(rpc("resources/subscribe"), |_| accepted());
    let mut app = with_stream(&server).await;
    let params = json!({"uri": "test://a"});
    app.request(1, "resources/subscribe", &params).await;
    server.received(rpc("resources/subscribe"), 1).await;
    server.push(response(1));
    app.result(1).await;
    server.forget_sessions();
    app.still_served().await;
    let renewed = server.received(rpc("resources/subscribe"), 2).await;
    assert_eq!(renewed.params()["uri"], "test://a");
    app.finish().await;
}

/// HL-20: a request of the server on the same stream is answered meanwhile.
#[tokio::test]
async fn what_else_the_session_stream_brings_comes_before_the_response() {
    let server = FaultServer::start();
    server.once(call("slow"), |_| accepted());
    let mut app = with_stream(&server).await;
    app.call(1, "slow", "").await;
    server.received(call("slow"), 1).await;
    app.still_served().await;
    server.push(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    app.server_sent("roots/list").await;
    app.send(r#"{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}"#)
        .await;
    server.received(Want::Response, 1).await;
    server.push(r#"{"jsonrpc":"2.0","method":"vendor/note"}"#);
    server.push(response(1));
    app.result(1).await;
    let before: Vec<_> = app.unread().iter().map(|line| line.text.clone()).collect();
    assert_eq!(before, [r#"{"jsonrpc":"2.0","method":"vendor/note"}"#]);
    app.finish().await;
}

/// An app of 2026-07-28 has a session with a server that only knows the older revisions.
#[tokio::test]
async fn a_response_on_the_session_stream_reaches_an_app_of_the_newer_era() {
    let server = FaultServer::start_as(Binding::Stateless);
    server.once(call("slow"), |_| accepted());
    let mut app = program::start(&server);
    app.discover(0).await;
    app.response(0).await;
    app.still_served_modern().await;
    server.received(get(), 1).await;
    app.ask_tool(1, "slow", "").await;
    let posted = server.received(call("slow"), 1).await;
    let result = json!({"content": [{"type": "text", "text": "late"}]}).to_string();
    server.push(posted.result(result));
    assert_eq!(app.result(1).await["content"][0]["text"], "late");
    app.finish().await;
}
