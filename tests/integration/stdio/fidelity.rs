//! Fidelity: messages pass the bridge byte for byte.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    app::initialize_line,
    fault_server::FaultServer,
    reply::Reply,
    request::{Want, rpc},
};

/// Members and values that a typed model or a usual JSON tree would change.
const DELICATE: [(&str, &str); 12] = [
    ("an integer beyond 2^53", r#"{"n":9007199254740993}"#),
    (
        "an integer of twenty digits",
        r#"{"n":12345678901234567890123}"#,
    ),
    ("a fraction that is whole", r#"{"n":1.0}"#),
    ("a number out of range", r#"{"n":1e400}"#),
    ("a spelling of a number", r#"{"n":-0.0,"m":1E+2}"#),
    ("the order of members", r#"{"z":1,"a":2,"m":3}"#),
    ("a lone surrogate", r#"{"s":"\ud800"}"#),
    ("an escape", r#"{"s":"\u0041\/\u0000"}"#),
    ("other scripts", r#"{"s":"日本語 ☃ 🦀"}"#),
    ("a doubled key", r#"{"k":1,"k":2}"#),
    (
        "an unknown member of params",
        r#"{"name":"x","vendorField":{"a":[null]}}"#,
    ),
    ("spaces", r#"{ "a" : [ 1 , 2 ] }"#),
];

/// X-9, HC-15
#[tokio::test]
async fn params_and_results_keep_their_bytes() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    for (number, (what, params)) in DELICATE.iter().enumerate() {
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"vendor/mirror","params":{params}}}"#
        );
        app.send(&line).await;
        let answer = app.response(number).await;
        assert_eq!(answer.message.result(), Some(*params), "{what}");
        let request = server.received(rpc("vendor/mirror"), number + 1).await;
        assert_eq!(request.text(), line, "{what}");
    }
    app.finish().await;
}

/// X-9
#[tokio::test]
async fn results_in_an_event_stream_keep_their_bytes() {
    let server = FaultServer::start();
    server.always(rpc("vendor/mirror"), |request| {
        let params = request.message().params().expect("params");
        Reply::sse().data(request.result(params))
    });
    let mut app = program::initialized(&server).await;
    for (number, (what, params)) in DELICATE.iter().enumerate() {
        app.send(format!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"vendor/mirror","params":{params}}}"#
        ))
        .await;
        let answer = app.response(number).await;
        assert_eq!(answer.message.result(), Some(*params), "{what}");
    }
    app.finish().await;
}

/// HC-15: other bridges write their own name and their own JSON over the app's.
#[tokio::test]
async fn initialize_reaches_the_server_as_the_app_wrote_it() {
    let server = FaultServer::start();
    let line = initialize_line("2025-06-18").replace("app-double", "app \\u0064ouble");
    let mut app = program::start(&server);
    app.send(&line).await;
    app.result("init").await;
    assert_eq!(server.received(rpc("initialize"), 1).await.text(), line);
    app.finish().await;
}

/// HC-15: an additional member drops a message elsewhere.
#[tokio::test]
async fn unknown_members_of_the_envelope_survive_in_both_directions() {
    let server = FaultServer::start();
    server.once(rpc("vendor/do"), |request| {
        let id = request.message().id().expect("an id");
        let body = format!(r#"{{"trace":1,"result":{{"x":1.0}},"id":{id},"jsonrpc":"2.0"}}"#);
        Reply::json(body)
    });
    let mut app = program::initialized(&server).await;
    let line = r#"{"vendor":true,"method":"vendor/do","id":1,"jsonrpc":"2.0","params":[]}"#;
    app.send(line).await;
    let answer = app.response(1).await;
    assert_eq!(
        answer.text,
        r#"{"trace":1,"result":{"x":1.0},"id":1,"jsonrpc":"2.0"}"#
    );
    assert_eq!(server.received(rpc("vendor/do"), 1).await.text(), line);
    app.finish().await;
}

/// SSE-11
#[tokio::test]
async fn a_pretty_printed_answer_becomes_one_line() {
    let pretty = "{\r\n  \"a\": [\n    1.0,\r    2\n  ],\n  \"s\": \"\\n\"\n}";
    let server = FaultServer::start();
    server.once(rpc("vendor/json"), move |request| {
        Reply::json(request.result(pretty).replace(",\"", ",\n\t\""))
    });
    server.once(rpc("vendor/sse"), move |request| {
        let body = request.result(pretty).replace('\r', "");
        let lines: Vec<_> = body.lines().map(|line| format!("data: {line}\n")).collect();
        Reply::sse().bytes(lines.concat()).bytes("\n")
    });
    let mut app = program::initialized(&server).await;
    for (id, method) in [(1, "vendor/json"), (2, "vendor/sse")] {
        app.request(id, method, &json!({})).await;
        let result = app.result(id).await;
        assert_eq!(result, json!({"a": [1.0, 2], "s": "\n"}));
    }
    app.finish().await;
}

/// HL-20, HL-22
#[tokio::test]
async fn unknown_requests_and_notifications_pass_in_both_directions() {
    const NOTE: &str = r#"{"jsonrpc":"2.0","method":"vendor/note","params":{"n":1.0},"extra":[]}"#;
    const ASK: &str = r#"{"jsonrpc":"2.0","id":1e400,"method":"vendor/ask"}"#;
    const QUESTION: &str =
        r#"{"jsonrpc":"2.0","id":"q\u0031","method":"vendor/ask","params":{"n":1e400}}"#;
    const ANSWER: &str = r#"{"jsonrpc":"2.0","id":"q\u0031","result":{"n":1e400}}"#;
    let server = FaultServer::start();
    server.once(rpc("vendor/do"), |request| {
        Reply::sse()
            .data(NOTE)
            .data(QUESTION)
            .data(request.result("{}"))
    });
    let mut app = program::initialized(&server).await;
    app.send(NOTE).await;
    assert_eq!(server.received(rpc("vendor/note"), 1).await.text(), NOTE);
    app.request(1, "vendor/do", &json!({})).await;
    assert_eq!(app.server_sent("vendor/note").await.text, NOTE);
    assert_eq!(app.server_sent("vendor/ask").await.text, QUESTION);
    app.result(1).await;
    app.send(ANSWER).await;
    assert_eq!(server.received(Want::Response, 1).await.text(), ANSWER);
    // A request cannot have such an id: there is nobody to answer.
    app.send(ASK).await;
    app.error_without_id().await;
    app.finish().await;
}

/// HC-10: a JSON-RPC error with an HTTP error status is the server's word, not ours.
#[tokio::test]
async fn errors_of_the_server_keep_code_message_and_data_whatever_the_status() {
    const ERROR: &str = r#"{"code":-31999,"message":"no ☃ today","data":{"n":1.0,"why":[1e400]}}"#;
    for status in [200, 400, 403, 404, 409, 422, 429, 500, 502] {
        let server = FaultServer::start();
        server.once(rpc("vendor/do"), move |request| {
            let id = request.message().id().expect("an id");
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{ERROR}}}"#);
            Reply::status(status).body("application/json", body)
        });
        let mut app = program::initialized(&server).await;
        app.send(r#"{"jsonrpc":"2.0","id":1,"method":"vendor/do"}"#)
            .await;
        let answer = app.response(1).await;
        // With a session, a 404 whose error is not about a method means that the session is gone.
        if status == 404 {
            let error = answer.message.error().expect("the well-behaved answer");
            assert_eq!(error["code"], -32601);
        } else {
            assert!(answer.text.contains(ERROR), "{status}: {}", answer.text);
        }
        app.finish().await;
    }
}
