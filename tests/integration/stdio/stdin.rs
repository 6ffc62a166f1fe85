//! Standard input: valid, odd and invalid lines.

use std::time::Instant;

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    reply::{Gate, Reply},
    request::{Want, call, delete, post, rpc},
};

/// X-1
#[tokio::test]
async fn a_line_that_is_not_json_is_answered_with_a_parse_error_and_the_pipe_goes_on() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.send(r#"{"jsonrpc": "2.0", "id": 1, "method"#).await;
    assert_eq!(app.error_without_id().await["code"], -32700);
    app.still_served().await;
    let finished = app.finish().await;
    assert!(!finished.stderr.is_empty(), "the line is not logged");
}

/// X-1, I4
#[tokio::test]
async fn a_storm_of_lines_that_are_not_json_is_not_answered_with_a_storm() {
    const LINES: usize = 5_000;
    const ANSWERS: usize = 500;
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.send("not JSON\n".repeat(LINES).trim_end()).await;
    app.still_served().await;
    let answers = app.finish().await.unread.len();
    assert!((1..ANSWERS).contains(&answers), "{answers} answers");
}

/// X-2
#[tokio::test]
async fn json_that_is_no_request_is_an_invalid_request_and_is_not_forwarded() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    for (id, line) in [
        ("1", r#"{"jsonrpc":"1.0","id":1,"method":"vendor/never"}"#),
        ("2", r#"{"id":2,"method":"vendor/never"}"#),
        (r#""three""#, r#"{"jsonrpc":"2.0","id":"three"}"#),
        ("4", r#"{"jsonrpc":"2.0","id":4,"method":7}"#),
        ("5", r#"{"jsonrpc":2.0,"id":5,"method":"vendor/never"}"#),
    ] {
        app.send(line).await;
        let answer = app.response_to(id).await.value();
        assert_eq!(answer["error"]["code"], -32600, "{line}");
    }
    // No id to answer: the first is answered, the others as far as the limit allows.
    for line in ["42", r#""x""#, "{}", "null", "true"] {
        app.send(line).await;
    }
    assert_eq!(app.error_without_id().await["code"], -32600);
    app.still_served().await;
    assert_eq!(server.count(&rpc("vendor/never")), 0);
    app.finish().await;
}

/// X-3
#[tokio::test]
async fn an_id_that_is_neither_string_nor_integer_is_refused_and_not_forwarded() {
    for id in ["null", "1.5", "{}", "[1]", "true", "1e3"] {
        let server = FaultServer::start();
        let mut app = program::initialized(&server).await;
        app.send(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"vendor/never"}}"#
        ))
        .await;
        assert_eq!(app.error_without_id().await["code"], -32600, "{id}");
        app.still_served().await;
        assert_eq!(server.count(&rpc("vendor/never")), 0, "{id}");
        app.finish().await;
    }
}

/// X-4, HC-6
#[tokio::test]
async fn odd_ids_in_flight_together_come_back_with_their_type_and_digits() {
    const IDS: [&str; 8] = [
        "0",
        r#""""#,
        "1",
        r#""1""#,
        "-1",
        "9223372036854775808",
        "123456789012345678901234567890",
        r#""ü / \u0000 \" ☃""#,
    ];
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(rpc("vendor/mirror"), move |request| {
        Reply::status(200)
            .header("Content-Type", "application/json")
            .chunked()
            .wait(&held)
            .bytes(request.result(request.message().params().expect("params")))
    });
    let mut app = program::initialized(&server).await;
    for id in IDS {
        let text = json!(id);
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"vendor/mirror","params":{{"for":{text}}}}}"#
        );
        app.send(line).await;
    }
    server.received(rpc("vendor/mirror"), IDS.len()).await;
    gate.open();
    for id in IDS {
        let answer = app.response_to(id).await.value();
        assert_eq!(answer["result"]["for"], id);
    }
    app.finish().await;
}

/// X-5
#[tokio::test]
async fn a_second_request_with_an_id_in_flight_is_dropped() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("slow"), move |request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    app.call(7, "slow", "first").await;
    server.received(call("slow"), 1).await;
    app.call(7, "slow", "second").await;
    app.still_served().await;
    gate.open();
    assert_eq!(app.result(7).await["content"][0]["text"], "first");
    assert_eq!(server.count(&call("slow")), 1);
    // Once it is answered, the id is free.
    app.call(7, "echo", "third").await;
    assert_eq!(app.result(7).await["content"][0]["text"], "third");
    app.finish().await;
}

/// X-6, B23
#[tokio::test]
async fn a_line_of_64_mib_goes_there_and_back() {
    const SIZE: usize = 64 << 20;
    const MEMORY_MIB: u64 = 512;
    let server = FaultServer::start();
    let launch = program::bridge_for(&server).memory_limit_mib(MEMORY_MIB);
    let mut app = launch.start();
    app.initialize().await;
    let params = format!(r#"{{"blob":"{}"}}"#, "x".repeat(SIZE));
    app.send(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"vendor/mirror","params":{params}}}"#
    ))
    .await;
    let answer = app.response(1).await;
    assert!(
        answer.message.result() == Some(&params),
        "the blob came back changed"
    );
    app.finish().await;
}

/// X-6, ST-6
#[tokio::test]
async fn a_line_above_the_limit_is_refused_and_the_pipe_goes_on() {
    const SIZE: usize = 3 << 20;
    let server = FaultServer::start();
    let launch = program::bridge_for(&server).args(["--max-message-size", "1"]);
    let mut app = launch.start();
    app.initialize().await;
    app.call(1, "echo", &"x".repeat(SIZE)).await;
    app.error(1).await;
    app.still_served().await;
    assert_eq!(server.count(&rpc("tools/call")), 1);
    app.finish().await;
}

/// X-6, I4
#[tokio::test]
async fn a_line_that_never_ends_does_not_fill_the_memory() {
    const CHUNKS: usize = 96;
    let server = FaultServer::start();
    let launch = program::bridge_for(&server).args(["--max-message-size", "1"]);
    let mut app = launch.start();
    app.initialize().await;
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..CHUNKS {
        app.write(&chunk).await;
    }
    app.write(b"\n").await;
    app.still_served().await;
    app.finish().await;
}

/// X-7
#[tokio::test]
async fn a_line_that_is_not_utf_8_is_malformed() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.write(
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vendor/never\",\"params\":{\"a\":\"\xff\"}}\n",
    )
    .await;
    assert_eq!(app.error_without_id().await["code"], -32700);
    app.still_served().await;
    assert_eq!(server.count(&rpc("vendor/never")), 0);
    app.finish().await;
}

/// X-8, ST-4
#[tokio::test]
async fn a_byte_order_mark_crlf_blank_lines_and_spaces_are_tolerated() {
    let server = FaultServer::start_as(Binding::Stateless);
    let mut app = program::start(&server);
    app.write(b"\xef\xbb\xbf").await;
    app.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}\r")
        .await;
    app.result(1).await;
    app.write(b"\n\r\n  \n\t\r\n").await;
    app.send("  \t{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}  ")
        .await;
    app.result(2).await;
    app.finish().await;
}

/// X-8
#[tokio::test]
async fn a_nul_byte_makes_a_line_malformed() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.write(b"{\"jsonrpc\":\"2.0\",\"id\":1,\0\"method\":\"vendor/never\"}\n")
        .await;
    assert_eq!(app.error_without_id().await["code"], -32700);
    app.still_served().await;
    assert_eq!(server.count(&rpc("vendor/never")), 0);
    app.finish().await;
}

/// X-9
#[tokio::test]
async fn json_nested_ten_thousand_deep_is_forwarded_or_refused_but_answered() {
    const DEPTH: usize = 10_000;
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    let deep = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    app.send(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"vendor/mirror","params":{{"deep":{deep}}}}}"#
    ))
    .await;
    app.response(1).await;
    app.still_served().await;
    app.finish().await;
}

/// X-10, ST-8, HL-23
#[tokio::test]
async fn a_batch_is_split_and_each_of_its_requests_is_answered() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.send(
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"vendor/note"},
        {"jsonrpc":"2.0","id":"2","method":"tools/list"},{"jsonrpc":"1.0","id":3,"method":"ping"}]"#
            .replace('\n', ""),
    )
    .await;
    app.result(1).await;
    app.result("2").await;
    assert_eq!(app.error(3).await["code"], -32600);
    server.received(rpc("vendor/note"), 1).await;
    // The server never sees an array: the harness looks at every body.
    app.finish().await;
}

/// X-10
#[tokio::test]
async fn an_empty_batch_is_an_invalid_request() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.send("[]").await;
    assert_eq!(app.error_without_id().await["code"], -32600);
    app.still_served().await;
    app.finish().await;
}

/// X-11
#[tokio::test]
async fn a_response_to_no_request_of_the_server_is_dropped() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.send(r#"{"jsonrpc":"2.0","id":999,"result":{}}"#).await;
    app.send(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#)
        .await;
    app.still_served().await;
    assert_eq!(server.count(&Want::Response), 0);
    app.finish().await;
}

/// X-13, ST-37
#[tokio::test]
async fn a_request_without_initialize_is_forwarded_for_the_server_to_judge() {
    let server = FaultServer::start_as(Binding::Stateless);
    let mut app = program::start(&server);
    app.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .await;
    assert_eq!(app.result(1).await["tools"][0]["name"], "echo");
    app.finish().await;
}

/// X-13, HL-1, HL-2
#[tokio::test]
async fn messages_in_one_write_reach_the_server_in_the_order_of_the_handshake() {
    let server = FaultServer::start_as(Binding::Stateless);
    let (opening, opened) = (Gate::closed(), Gate::closed());
    let (hold_opening, hold_opened) = (opening.clone(), opened.clone());
    server.once(rpc("notifications/initialized"), move |_| {
        Reply::raw("")
            .wait(&hold_opened)
            .bytes("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    });
    let mut app = program::start(&server);
    server.once(rpc("initialize"), move |request| {
        let result = mcp_bridge_testkit::mcp::initialize_result(&json!("2025-06-18"));
        Reply::sse()
            .wait(&hold_opening)
            .data(request.result(result))
    });
    app.send_all(&[
        &mcp_bridge_testkit::app::initialize_line("2025-06-18"),
        mcp_bridge_testkit::app::INITIALIZED,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
    ])
    .await;
    server.received(rpc("initialize"), 1).await;
    assert_eq!(
        server.requests().len(),
        1,
        "sent before initialize was answered"
    );
    opening.open();
    app.result("init").await;
    server.received(rpc("notifications/initialized"), 1).await;
    assert_eq!(
        server.count(&rpc("tools/list")),
        0,
        "sent before initialized was accepted"
    );
    let accepted = Instant::now();
    opened.open();
    app.result(1).await;
    assert!(server.requests_for(&rpc("tools/list"))[0].at >= accepted);
    app.finish().await;
}

/// ST-37
#[tokio::test]
async fn a_ping_while_initialize_is_under_way_is_answered() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(rpc("initialize"), move |request| {
        let result = mcp_bridge_testkit::mcp::initialize_result(&json!("2025-06-18"));
        Reply::sse().wait(&held).data(request.result(result))
    });
    let mut app = program::start(&server);
    app.send(mcp_bridge_testkit::app::initialize_line("2025-06-18"))
        .await;
    server.received(rpc("initialize"), 1).await;
    app.request("early", "ping", &Value::Null).await;
    app.result("early").await;
    gate.open();
    app.result("init").await;
    app.finish().await;
}

/// X-14, ST-38
#[tokio::test]
async fn a_second_initialize_opens_a_new_session_and_ends_the_old_one() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    app.initialize().await;
    app.still_served().await;
    let old = server.received(delete(), 1).await;
    assert!(
        old.header("mcp-session-id")
            .expect("checked")
            .ends_with("-1")
    );
    let newest = server.requests_for(&call("echo")).pop().expect("a call");
    assert!(
        newest
            .header("mcp-session-id")
            .expect("a session")
            .ends_with("-2")
    );
    app.finish().await;
    assert_eq!(server.count(&delete()), 2);
}

/// X-16, X-17
#[tokio::test]
async fn no_method_tool_name_or_uri_gets_into_a_header() {
    let evil = "a\r\nX-Evil: 1";
    let long = "m".repeat(1 << 20);
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    for (id, method) in [
        (1, evil),
        (2, "müthod ☃"),
        (3, long.as_str()),
        (4, " x"),
        (5, ""),
    ] {
        app.request(id, method, &json!({})).await;
        app.error(id).await;
    }
    for (id, name) in [(6, evil), (7, "☃ "), (8, "=?base64?x?=")] {
        app.call(id, name, "text").await;
        app.result(id).await;
        app.request(id, "resources/read", &json!({"uri": name}))
            .await;
        app.error(id).await;
    }
    app.still_served().await;
    for request in server.requests_for(&post()) {
        assert_eq!(request.header("x-evil"), None);
        let size: usize = request.headers.iter().map(|(_, value)| value.len()).sum();
        assert!(size < 4096, "{size} bytes of headers");
    }
    app.finish().await;
}
