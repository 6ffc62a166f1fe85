//! The stream on which the server speaks without being asked.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    reply::{Piece, Reply},
    request::{Request, Want, get, resume_after, rpc},
};

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"vendor/note","params":{"n":1.0}}"#;

/// HL-12, HL-13, HL-20
#[tokio::test]
async fn the_server_asks_and_tells_on_the_get_stream_and_the_app_answers() {
    const ASK: &str = r#"{"jsonrpc":"2.0","id":0,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}"#;
    const ANSWER: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"role":"assistant","extra":1.0}}"#;
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    let stream = server.received(get(), 1).await;
    assert_eq!(stream.header("accept"), Some("text/event-stream"));
    assert_eq!(stream.header("mcp-protocol-version"), Some("2025-06-18"));
    assert_eq!(stream.header("last-event-id"), None);
    server.push(NOTE);
    assert_eq!(app.server_sent("vendor/note").await.text, NOTE);
    server.push(ASK);
    assert_eq!(app.server_sent("sampling/createMessage").await.text, ASK);
    app.send(ANSWER).await;
    let answer = server.received(Want::Response, 1).await;
    assert_eq!(answer.text(), ANSWER);
    app.finish().await;
}

/// HL-12: the stream comes after the handshake, not before.
#[tokio::test]
async fn the_get_stream_is_opened_after_initialized() {
    let server = FaultServer::start();
    let app = program::initialized(&server).await;
    server.received(get(), 1).await;
    let order: Vec<_> = server.requests().iter().map(Request::rpc_method).collect();
    assert_eq!(order, ["initialize", "notifications/initialized", ""]);
    app.finish().await;
}

/// X-50, HL-12
#[tokio::test]
async fn a_server_without_a_get_stream_is_not_asked_for_one_again() {
    let replies: [fn() -> Reply; 3] = [
        || Reply::status(405),
        || Reply::json("{}"),
        || Reply::status(200).body("text/html", "<p>hello</p>"),
    ];
    for reply in replies {
        let server = FaultServer::start();
        server.always(get(), move |_| reply());
        let mut app = program::initialized(&server).await;
        server.received(get(), 1).await;
        for _ in 0..5 {
            app.still_served().await;
        }
        assert_eq!(server.count(&get()), 1);
        app.finish().await;
    }
}

/// X-50, HL-26, I4
#[tokio::test]
async fn a_get_stream_that_is_refused_or_ends_at_once_makes_no_storm_and_heals() {
    const CALLS: usize = 5;
    const OPENINGS: usize = 20;
    let replies: [fn() -> Reply; 5] = [
        || Reply::status(409),
        || Reply::status(503),
        Reply::sse,
        || Reply::sse().bytes("retry: 0\n\n").close(),
        Reply::no_answer_but_reset,
    ];
    for reply in replies {
        let server = FaultServer::start();
        server.always(get(), move |_| reply());
        let mut app = program::initialized(&server).await;
        server.received(get(), 1).await;
        for _ in 0..CALLS {
            app.still_served().await;
        }
        let openings = server.count(&get());
        assert!(openings <= OPENINGS, "{openings} streams for {CALLS} calls");
        server.behave();
        // The next request is a sign that the server is there.
        app.still_served().await;
        server.received(get(), openings + 1).await;
        app.finish().await;
    }
}

/// X-50, HL-15, B14
#[tokio::test]
async fn a_get_stream_that_breaks_is_opened_again_after_its_last_event() {
    for end in [|| Piece::Reset, || Piece::End] {
        let server = FaultServer::start();
        let mut app = program::initialized(&server).await;
        server.received(get(), 1).await;
        let event = format!("id: g-7\nretry: 10\ndata: {NOTE}\n\n");
        server.push_piece(Piece::Bytes(event.into_bytes()));
        app.server_sent("vendor/note").await;
        server.push_piece(end());
        server.received(resume_after("g-7"), 1).await;
        server.push(NOTE);
        app.server_sent("vendor/note").await;
        app.finish().await;
    }
}

/// X-47: rmcp numbers the empty event at the start of a stream and the first message alike.
#[tokio::test]
async fn a_message_with_the_id_of_the_empty_event_before_it_is_delivered() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    let events = format!("data: \nid: 0\nretry: 3000\n\ndata: {NOTE}\nid: 0\n\n");
    server.push_piece(Piece::Bytes(events.into_bytes()));
    app.server_sent("vendor/note").await;
    app.finish().await;
}

/// B14, X-50
#[tokio::test]
async fn a_get_stream_without_event_ids_is_opened_again_when_it_breaks() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    server.push(NOTE);
    app.server_sent("vendor/note").await;
    server.push_piece(Piece::Reset);
    let again = server.received(get(), 2).await;
    assert_eq!(again.header("last-event-id"), None);
    server.push(NOTE);
    app.server_sent("vendor/note").await;
    app.finish().await;
}

/// B14: after an outage of any length.
#[tokio::test]
async fn a_get_stream_comes_back_when_the_server_does() {
    let server = FaultServer::start();
    let launch = program::bridge_for(&server).args(["--patience", "0.1"]);
    let mut app = launch.start();
    app.initialize().await;
    server.received(get(), 1).await;
    server.go_down().await;
    app.request(1, "ping", &json!({})).await;
    app.response(1).await;
    server.come_up();
    app.still_served().await;
    server.received(get(), 2).await;
    server.push(NOTE);
    app.server_sent("vendor/note").await;
    assert_eq!(server.count(&rpc("initialize")), 2);
    app.finish().await;
}
