//! Servers of 2024-11-05: one GET stream that names where to POST.

use serde_json::json;

use tokio::task::JoinSet;

use crate::program;
use mcp_bridge_testkit::{
    app::{App, INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::{Binding, MESSAGES_PATH, event, initialize_result},
    reply::{Gate, Piece, Reply},
    request::{Request, call, delete, get, post, rpc},
};

fn start_sse_only(server: &FaultServer) -> App {
    program::bridge_for(server)
        .args(["--transport", "sse-only"])
        .start()
}

/// HS-1, HS-3
#[tokio::test]
async fn a_server_of_2024_is_found_when_it_refuses_the_post() {
    for status in [400, 404, 405] {
        let server = FaultServer::start_as(Binding::HttpSse);
        server.always(rpc("initialize"), move |request: &Request| {
            (request.target != MESSAGES_PATH).then(|| Reply::status(status))
        });
        let mut app = program::start(&server);
        app.initialize().await;
        app.still_served().await;
        let stream = server.received(get(), 1).await;
        assert!(
            stream
                .header("accept")
                .expect("checked")
                .contains("text/event-stream")
        );
        assert_eq!(server.received(call("echo"), 1).await.target, MESSAGES_PATH);
        app.finish().await;
        assert_eq!(server.count(&delete()), 0);
    }
}

/// The names of the choices mean what they mean there.
#[tokio::test]
async fn the_transport_can_be_chosen() {
    let sse = || FaultServer::start_as(Binding::HttpSse);
    for (server, choice) in [
        (sse(), "sse-first"),
        (sse(), "sse-only"),
        (sse(), "http-first"),
        (FaultServer::start(), "http-first"),
        (FaultServer::start(), "http-only"),
    ] {
        let mut app = program::bridge_for(&server)
            .args(["--transport", choice])
            .start();
        app.initialize().await;
        app.still_served().await;
        app.finish().await;
    }
}

/// `sse-first` with a server that has no such stream.
#[tokio::test]
async fn a_streamable_server_is_found_when_it_has_no_stream_of_2024() {
    let server = FaultServer::start();
    let mut app = program::bridge_for(&server)
        .args(["--transport", "sse-first"])
        .start();
    // Without a session the server refuses the GET, as servers do.
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
}

/// `http-only` and a server of 2024.
#[tokio::test]
async fn with_http_only_a_server_of_2024_is_an_error() {
    let server = FaultServer::start_as(Binding::HttpSse);
    let mut app = program::bridge_for(&server)
        .args(["--transport", "http-only"])
        .start();
    app.send(initialize_line("2025-06-18")).await;
    assert_eq!(
        app.own_error("init", "http_status").await["httpStatus"],
        405
    );
    assert_eq!(server.count(&get()), 0);
    app.finish().await;
}

/// HS-3, HS-4
#[tokio::test]
async fn messages_come_with_or_without_their_type_and_other_events_are_ignored() {
    const NOTE: &str = r#"{"jsonrpc":"2.0","method":"vendor/note","params":{"n":1.0}}"#;
    let server = FaultServer::start_as(Binding::HttpSse);
    let mut app = start_sse_only(&server);
    app.initialize().await;
    for text in [
        format!(": ping\n\nevent: ping\ndata: {NOTE}\n\n"),
        format!("data: {NOTE}\n\n"),
        format!("event: message\r\ndata: {NOTE}\r\n\r\n"),
        "data: not JSON\n\n".to_owned(),
    ] {
        server.push_piece(Piece::Bytes(text.into_bytes()));
    }
    for _ in 0..2 {
        assert_eq!(app.server_sent("vendor/note").await.text, NOTE);
    }
    server.push(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    app.server_sent("roots/list").await;
    app.send(r#"{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}"#)
        .await;
    server
        .received(mcp_bridge_testkit::request::Want::Response, 1)
        .await;
    app.still_served().await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// HS-6
#[tokio::test]
async fn posts_are_sent_one_at_a_time_and_in_order() {
    const CALLS: usize = 10;
    let server = FaultServer::start_as(Binding::HttpSse);
    let mut app = start_sse_only(&server);
    let list = r#"{"jsonrpc":"2.0","id":"list","method":"tools/list"}"#;
    app.send_all(&[&initialize_line("2024-11-05"), INITIALIZED, list])
        .await;
    app.result("list").await;
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(call("first"), move |_| {
        // The double closes the connection after such a reply, and says so here: a request that is sent in that moment is lost.
        let accepted = "HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        Reply::raw("").wait(&held).bytes(accepted)
    });
    app.call("first", "first", "").await;
    for id in 0..CALLS {
        app.call(id, "echo", "").await;
    }
    server.received(call("first"), 1).await;
    assert_eq!(server.count(&call("echo")), 0);
    gate.open();
    server.push(r#"{"jsonrpc":"2.0","id":"first","result":{}}"#);
    app.result("first").await;
    for id in 0..CALLS {
        app.result(id).await;
    }
    let order: Vec<_> = server
        .requests_for(&call("echo"))
        .iter()
        .map(|request| {
            request
                .message()
                .id()
                .expect("an id")
                .parse::<usize>()
                .expect("a number")
        })
        .collect();
    assert_eq!(order, (0..CALLS).collect::<Vec<_>>());
    app.finish().await;
}

/// HS-7, HC-11
#[tokio::test]
async fn a_post_that_is_refused_fails_its_request() {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.once(call("faulty"), |_| Reply::status(500));
    server.once(call("reset"), |_| Reply::no_answer_but_reset());
    let mut app = start_sse_only(&server);
    app.initialize().await;
    app.call(1, "faulty", "").await;
    assert_eq!(app.own_error(1, "http_status").await["httpStatus"], 500);
    app.call(2, "reset", "").await;
    app.own_error(2, "connection_lost").await;
    app.still_served().await;
    app.finish().await;
}

/// X-71, HS-2
#[tokio::test]
async fn an_endpoint_at_another_origin_is_refused() {
    let elsewhere = FaultServer::start_as(Binding::HttpSse);
    for endpoint in [
        format!("http://{}/messages", elsewhere.host()),
        "https://mcp.example/messages".to_owned(),
        "//mcp.example/messages".to_owned(),
        "javascript:alert(1)".to_owned(),
        "http://[bad".to_owned(),
    ] {
        let server = FaultServer::start_as(Binding::HttpSse);
        server.always(get(), move |_| {
            Reply::sse()
                .bytes(format!("event: endpoint\ndata: {endpoint}\n\n"))
                .stall()
        });
        let mut app = start_sse_only(&server);
        app.send(initialize_line("2024-11-05")).await;
        app.own_error("init", "invalid_response|redirect").await;
        app.finish().await;
        assert_eq!(server.count(&post()), 0);
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// X-71, HS-2
#[tokio::test]
async fn an_endpoint_that_never_comes_is_an_error() {
    let replies: [fn() -> Reply; 4] = [
        || Reply::sse().bytes(": wait\n\n").stall(),
        Reply::sse,
        || Reply::status(500),
        || Reply::status(200).body("text/html", "<p>hello</p>"),
    ];
    let mut cases = JoinSet::new();
    for reply in replies {
        cases.spawn(async move {
            let server = FaultServer::start_as(Binding::HttpSse);
            server.always(get(), move |_| reply());
            let mut app = program::bridge_for(&server)
                .args(["--transport", "sse-only", "--connect-timeout", "0.5"])
                .args(["--wait-for-auth"])
                .start();
            app.send(initialize_line("2024-11-05")).await;
            app.error("init").await;
            assert_eq!(server.count(&post()), 0);
            server.behave();
            app.initialize().await;
            app.still_served().await;
            app.finish().await;
        });
    }
    cases.join_all().await;
}

/// X-71, HS-2
#[tokio::test]
async fn an_endpoint_is_resolved_against_the_url_of_the_stream() {
    for endpoint in [
        "messages?channel=1",
        "/messages?channel=1",
        "./messages?channel=1",
    ] {
        let server = FaultServer::start_as(Binding::HttpSse);
        let mut app = start_sse_only(&server);
        let (sender, pieces) = tokio::sync::mpsc::unbounded_channel();
        let mut pieces = Some(pieces);
        server.once(get(), move |_| {
            let reply = Reply::sse().bytes(format!("event: endpoint\ndata: {endpoint}\n\n"));
            reply.follow(pieces.take().expect("one stream"))
        });
        server.always(post(), move |request| {
            assert_eq!(request.target, MESSAGES_PATH);
            let answer = request.result(initialize_result(&json!("2024-11-05")));
            let _ = sender.send(Piece::Bytes(event(&answer)));
            Reply::status(200)
        });
        app.send(initialize_line("2024-11-05")).await;
        app.result("init").await;
        app.finish().await;
    }
}

/// X-71, HS-5
#[tokio::test]
async fn a_second_endpoint_replaces_the_first() {
    let server = FaultServer::start_as(Binding::HttpSse);
    let mut app = start_sse_only(&server);
    app.initialize().await;
    app.still_served().await;
    server.push_piece(Piece::Bytes(
        b"event: endpoint\ndata: /messages?channel=2\n\n".to_vec(),
    ));
    let note = r#"{"jsonrpc":"2.0","method":"vendor/note"}"#;
    server.push(note);
    app.server_sent("vendor/note").await;
    app.send(note).await;
    assert_eq!(
        server.received(rpc("vendor/note"), 1).await.target,
        "/messages?channel=2"
    );
    app.finish().await;
}

/// HS-5
#[tokio::test]
async fn a_stream_that_breaks_fails_what_is_in_flight_and_the_session_is_opened_again() {
    for end in [|| Piece::Reset, || Piece::End] {
        let server = FaultServer::start_as(Binding::HttpSse);
        server.once(call("stuck"), |_| Reply::status(202));
        let mut app = start_sse_only(&server);
        app.initialize().await;
        app.still_served().await;
        app.call(1, "stuck", "").await;
        server.received(call("stuck"), 1).await;
        server.push_piece(end());
        let data = app.own_error(1, "connection_lost|session_lost").await;
        assert_eq!(data["outcomeUnknown"], true, "{data}");
        app.still_served().await;
        assert_eq!(server.count(&rpc("initialize")), 2);
        assert_eq!(server.count(&rpc("notifications/initialized")), 2);
        assert_eq!(server.count(&call("stuck")), 1);
        app.server_sent("notifications/tools/list_changed").await;
        let finished = app.finish().await;
        assert!(finished.unread.is_empty(), "{:?}", finished.unread);
    }
}

/// X-61, HS-5
#[tokio::test]
async fn a_session_that_cannot_be_opened_again_at_once_is_opened_later() {
    let server = FaultServer::start_as(Binding::HttpSse);
    let mut app = start_sse_only(&server);
    app.initialize().await;
    app.still_served().await;
    server.times(2, rpc("initialize"), |_| Reply::status(500));
    server.push_piece(Piece::End);
    server.received(rpc("initialize"), 2).await;
    app.still_served().await;
    assert_eq!(server.count(&rpc("initialize")), 4);
    app.finish().await;
}

/// HS-5: the server is gone, and comes back.
#[tokio::test]
async fn a_server_that_goes_down_and_comes_back_is_found_again() {
    let server = FaultServer::start_as(Binding::HttpSse);
    let mut app = program::bridge_for(&server)
        .args(["--transport", "sse-only", "--patience", "0.2"])
        .start();
    app.initialize().await;
    app.still_served().await;
    server.go_down().await;
    app.call(1, "echo", "").await;
    app.own_error(1, "refused|connection_lost|session_lost")
        .await;
    server.come_up();
    app.still_served().await;
    assert_eq!(server.count(&rpc("initialize")), 2);
    app.finish().await;
}

/// HL-19
#[tokio::test]
async fn a_cancelled_call_is_cancelled_and_its_late_answer_dropped() {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.once(call("slow"), |_| Reply::status(202));
    let mut app = start_sse_only(&server);
    app.initialize().await;
    app.call(1, "slow", "").await;
    server.received(call("slow"), 1).await;
    app.cancel(1).await;
    let notice = server.received(rpc("notifications/cancelled"), 1).await;
    assert_eq!(notice.params(), json!({"requestId": 1}));
    server.push(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    app.still_served().await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// X-19: there is no session to delete, and nothing hangs on the open stream.
#[tokio::test]
async fn the_end_of_stdin_ends_the_process_although_the_stream_is_open() {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.once(call("stuck"), |_| Reply::status(202));
    let mut app = program::bridge_for(&server)
        .args(["--transport", "sse-only", "--drain-timeout", "0.2"])
        .start();
    app.initialize().await;
    app.call(1, "stuck", "").await;
    server.received(call("stuck"), 1).await;
    app.close_stdin();
    app.finish().await;
}

/// Each try to open the session has a stream of its own, which ends with it.
#[tokio::test]
async fn the_stream_of_a_session_that_could_not_be_opened_is_closed() {
    const TRIES: usize = 3;
    let server = FaultServer::start_as(Binding::HttpSse);
    server.times(TRIES, rpc("initialize"), |_| Reply::status(500));
    let mut app = start_sse_only(&server);
    app.initialize().await;
    app.still_served().await;
    server.aborted(TRIES).await;
    assert_eq!(server.count(&get()), TRIES + 1, "{}", server.story());
    app.finish().await;
}

/// A call that is under way on the stream of before has its answer from there.
#[tokio::test]
async fn an_app_that_begins_anew_gets_the_answers_that_are_under_way() {
    let server = FaultServer::start_as(Binding::HttpSse);
    let (sender, pieces) = tokio::sync::mpsc::unbounded_channel();
    let mut pieces = Some(pieces);
    server.once(get(), move |_| {
        let endpoint = format!("event: endpoint\ndata: {MESSAGES_PATH}\n\n");
        let reply = Reply::sse().bytes(endpoint);
        reply.follow(pieces.take().expect("the first stream"))
    });
    let first = sender.clone();
    server.once(rpc("initialize"), move |request: &Request| {
        let answer = request.result(initialize_result(&json!("2024-11-05")));
        let _ = first.send(Piece::Bytes(event(&answer)));
        Reply::status(202)
    });
    server.once(call("slow"), |_| Reply::status(202));
    let mut app = start_sse_only(&server);
    app.initialize().await;
    app.call("slow", "slow", "").await;
    server.received(call("slow"), 1).await;
    app.send(initialize_line("2024-11-05").replace("\"init\"", "\"again\""))
        .await;
    app.result("again").await;
    app.send(INITIALIZED).await;
    let answer = r#"{"jsonrpc":"2.0","id":"slow","result":{"content":[]}}"#;
    sender
        .send(Piece::Bytes(event(answer)))
        .expect("the stream is open");
    app.result("slow").await;
    app.still_served().await;
    // Nobody has use for it any more.
    server.aborted(1).await;
    app.finish().await;
}

/// The stream breaks while the first `initialize` waits for its answer: that is said again on the next one,
/// and nothing else is.
#[tokio::test]
async fn a_stream_that_breaks_during_the_first_initialize_costs_one_more_stream() {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.times(2, rpc("initialize"), |_| Reply::status(202));
    let mut app = start_sse_only(&server);
    app.send(initialize_line("2025-06-18")).await;
    server.received(rpc("initialize"), 1).await;
    server.push_piece(Piece::End);
    server.received(rpc("initialize"), 2).await;
    // A request of the bridge itself shows that whatever follows from the new stream has happened.
    let ping = r#"{"jsonrpc":"2.0","id":"q","method":"ping"}"#;
    server.push(ping);
    app.server_sent("ping").await;
    server.push(r#"{"jsonrpc":"2.0","id":"init","result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#);
    let result = app.result("init").await;
    assert_eq!(result["serverInfo"]["name"], "s");
    app.send(INITIALIZED).await;
    app.still_served().await;
    assert_eq!(server.count(&get()), 2, "{}", server.story());
    assert_eq!(server.count(&rpc("initialize")), 2, "{}", server.story());
    app.finish().await;
}
