//! Bodies and events that hold no JSON-RPC message: the app hears what is wrong with them.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    app::App,
    fault_server::FaultServer,
    mcp::Binding,
    reply::{Piece, Reply},
    request::{Request, call, get},
};

/// A response with bytes of Latin-1 and of CP949 in a string.
fn foreign_bytes(request: &Request) -> Vec<u8> {
    let mut bytes = request
        .result(r#"{"content":[{"type":"text","text":"caf@ @@"}]}"#)
        .into_bytes();
    let mut foreign = [0xE9, 0xB0, 0xA1].into_iter();
    for byte in bytes.iter_mut().filter(|byte| **byte == b'@') {
        *byte = foreign.next().expect("one for each");
    }
    bytes
}

fn event(data: &[u8]) -> Vec<u8> {
    [b"data: ", data, b"\n\n"].concat()
}

/// X-7, SSE-1: from an app such bytes are an error, from a server they are decoded as event streams are.
#[tokio::test]
async fn bytes_that_are_no_utf8_are_replaced() {
    let replies: [fn(&Request) -> Reply; 4] = [
        |request| Reply::status(200).body("application/json", foreign_bytes(request)),
        |request| Reply::sse().bytes(event(&foreign_bytes(request))),
        // Without the last blank line.
        |request| Reply::sse().bytes([b"data: ", &foreign_bytes(request)[..]].concat()),
        |request| {
            let batch = [b"[", &foreign_bytes(request)[..], b"]"].concat();
            Reply::status(200).body("application/json", batch)
        },
    ];
    for reply in replies {
        let server = FaultServer::start();
        server.once(call("foreign"), reply);
        let mut app = program::initialized(&server).await;
        app.call(1, "foreign", "").await;
        let result = app.result(1).await;
        assert_eq!(result["content"][0]["text"], "caf\u{fffd} \u{fffd}\u{fffd}");
        app.finish().await;
    }
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    let note = b"{\"jsonrpc\":\"2.0\",\"method\":\"vendor/note\",\"params\":{\"a\":\"\xe9\"}}";
    server.push_piece(Piece::Bytes(event(note)));
    let note = app.server_sent("vendor/note").await;
    assert_eq!(note.value()["params"]["a"], "\u{fffd}");
    app.finish().await;
}

/// The error of a tool call with this reply, which says that the tool may have done its work.
async fn error_of(server: &FaultServer, app: &mut App, reply: fn(&Request) -> Reply) -> Value {
    server.once(call("faulty"), reply);
    let id = server.requests().len();
    app.call(id, "faulty", "").await;
    let error = app.error(id).await;
    assert_eq!(error["data"]["source"], "mcp-bridge", "{error}");
    assert_eq!(error["data"]["outcomeUnknown"], true, "{error}");
    let text = error["message"].as_str().expect("a text");
    assert!(text.contains("check whether the server has done"), "{text}");
    assert!(!text.contains("try again"), "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    error
}

type Case = (&'static str, fn(&Request) -> Reply);

/// X-31, X-32, X-35, X-36, X-53
#[tokio::test]
async fn a_body_that_cannot_be_used_says_why() {
    const GZIP: [u8; 4] = [0x1F, 0x8B, 8, 0];
    let cases: [Case; 17] = [
        ("EOF while parsing", |request| {
            Reply::json(&request.echo()[..40])
        }),
        ("zero bytes", |request| {
            Reply::json(request.result("\"a\u{0}b\""))
        }),
        ("encoded in UTF-32", |_| {
            Reply::json("\u{0}\u{0}\u{0}\u{0}{}")
        }),
        ("begins with “Internal trouble”", |_| {
            Reply::json("Internal trouble")
        }),
        ("begins with “token …”", |_| {
            Reply::json("token aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        }),
        ("begins with “oops”", |_| {
            Reply::status(200).bytes("oops")
        }),
        ("a web page", |_| Reply::json("<html><body>hello")),
        ("text/html", |_| {
            Reply::status(200).body("text/html", "<p>hello</p>")
        }),
        ("an event stream", |request| {
            Reply::json(format!("event: message\ndata: {}\n\n", request.echo()))
        }),
        ("type application/octet-stream", |request| {
            let event = event(request.echo().as_bytes());
            Reply::status(200).body("application/octet-stream", event)
        }),
        ("answers another request, “999”", |_| {
            Reply::json(r#"{"jsonrpc":"2.0","id":999,"result":{}}"#)
        }),
        ("answers another request", |_| {
            Reply::json(r#"[{"jsonrpc":"2.0","id":"x","result":{}}]"#)
        }),
        ("only said “[]”", |_| Reply::json("[]")),
        ("no \"jsonrpc\": \"2.0\"", |request| {
            Reply::json(request.echo().replace(r#""jsonrpc":"2.0","#, ""))
        }),
        ("gzip encoding is broken", |request| {
            Reply::json(request.echo()).header("Content-Encoding", "gzip")
        }),
        ("compressed by gzip", |_| {
            Reply::status(200).body("application/json", GZIP)
        }),
        ("Content-Encoding “br”", |_| {
            Reply::json("\u{1}\u{2}\u{3}").header("Content-Encoding", "br")
        }),
    ];
    let server = FaultServer::start();
    server.always(get(), |_| Reply::status(405));
    let mut app = program::initialized(&server).await;
    for (expected, reply) in cases {
        let error = error_of(&server, &mut app, reply).await;
        let text = error["message"].as_str().expect("a text");
        assert!(text.contains(expected), "expected {expected}: {text}");
        assert!(text.contains(&server.host()), "{text}");
        let kind = error["data"]["kind"].as_str().expect("a kind");
        assert!(
            ["invalid_response", "no_response"].contains(&kind),
            "{text}"
        );
    }
    app.still_served().await;
    app.finish().await;
}

/// X-36: the response counts, whatever else a batch holds.
#[tokio::test]
async fn a_response_in_a_batch_with_other_things_is_delivered() {
    let server = FaultServer::start();
    server.once(call("mixed"), |request| {
        Reply::json(format!("[42,{},{{\"id\":5}}]", request.echo()))
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "mixed", "here").await;
    assert_eq!(app.result(1).await["content"][0]["text"], "here");
    app.finish().await;
}

/// X-40, X-41, SSE-10
#[tokio::test]
async fn a_stream_without_a_usable_response_says_why() {
    let cases: [Case; 7] = [
        ("the event stream ended", |_| Reply::sse()),
        ("not JSON: it begins with “ping”", |_| {
            Reply::sse().data("ping").data("ping")
        }),
        ("2 of its events were no messages", |_| {
            Reply::sse().data("{}").data("{}")
        }),
        // A damaged response ends the wait, although the stream stays open.
        ("not JSON: ", |request| {
            let echo = request.echo();
            Reply::sse().data(&echo[..echo.len() - 3]).stall()
        }),
        ("zero bytes", |request| {
            Reply::sse().data(request.result("\"\u{0}\"")).stall()
        }),
        ("no \"jsonrpc\": \"2.0\"", |request| {
            let echo = request.echo().replace(r#""jsonrpc":"2.0","#, "");
            Reply::sse().data(echo).stall()
        }),
        ("cut off at the end of the stream, not JSON", |request| {
            let echo = request.echo();
            Reply::sse().bytes(format!("data: {}", &echo[..echo.len() - 3]))
        }),
    ];
    let server = FaultServer::start();
    server.always(get(), |_| Reply::status(405));
    let mut app = program::initialized(&server).await;
    for (expected, reply) in cases {
        let error = error_of(&server, &mut app, reply).await;
        let text = error["message"].as_str().expect("a text");
        assert!(text.contains(expected), "expected {expected}: {text}");
    }
    app.still_served().await;
    app.finish().await;
}

/// A request of the server or a notification that is damaged ends no request.
#[tokio::test]
async fn damage_to_another_message_does_not_end_the_request() {
    let server = FaultServer::start();
    server.once(call("noisy"), |request| {
        Reply::sse()
            .data(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list","params":{"#)
            .data(r#"{"jsonrpc":"2.0","method":"vendor/note","params":{"result":1,"id":1,"#)
            .data(r#"{"type":"heartbeat","id":1}"#)
            .data(r#"{"jsonrpc":"2.0","id":1"#)
            .data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "noisy", "here").await;
    assert_eq!(app.result(1).await["content"][0]["text"], "here");
    app.finish().await;
}

/// The same on the stream that the response comes on after an acknowledgement.
#[tokio::test]
async fn a_damaged_response_on_the_session_stream_says_why() {
    let server = FaultServer::start();
    server.once(call("slow"), |_| Reply::status(202));
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    app.call(1, "slow", "").await;
    server.received(call("slow"), 1).await;
    server.push(r#"{"jsonrpc":"2.0","id":1,"result":{"a":"b"#);
    let error = app.error(1).await;
    assert!(error["message"].to_string().contains("not JSON"), "{error}");
    assert_eq!(error["data"]["outcomeUnknown"], true);
    app.still_served().await;
    app.finish().await;
}

/// The same over HTTP+SSE, where the request would wait for ever.
#[tokio::test]
async fn a_damaged_response_over_http_sse_says_why() {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.times(2, call("slow"), |_| Reply::status(202));
    let mut app = program::bridge_for(&server)
        .args(["--transport", "sse-only", "--max-message-size", "1"])
        .start();
    app.initialize().await;
    app.call(1, "slow", "").await;
    server.received(call("slow"), 1).await;
    server.push(r#"{"jsonrpc":"2.0","id":1,"result":{"a":"b"#);
    let error = app.error(1).await;
    assert!(error["message"].to_string().contains("not JSON"), "{error}");
    app.still_served().await;
    // A response above the limit ends the stream, and says why.
    app.call(2, "slow", "").await;
    server.received(call("slow"), 2).await;
    let blob = "x".repeat(2 << 20);
    server.push(json!({"jsonrpc": "2.0", "id": 2, "result": blob}).to_string());
    let error = app.error(2).await;
    assert!(
        error["message"].to_string().contains("larger than"),
        "{error}"
    );
    app.still_served().await;
    app.finish().await;
}

/// SSE-10: some servers send data as a heartbeat.
#[tokio::test]
async fn heartbeats_that_are_data_cost_one_line_of_log_for_each_stream() {
    const BEATS: usize = 30;
    for beat in ["ping", "{}", "[]", "null", "17", r#"{"type":"heartbeat"}"#] {
        let server = FaultServer::start();
        server.once(call("slow"), move |request| {
            (0..BEATS)
                .fold(Reply::sse(), |reply, _| reply.data(beat))
                .data(request.echo())
        });
        let mut app = program::initialized(&server).await;
        server.received(get(), 1).await;
        let beats = event(beat.as_bytes()).repeat(BEATS);
        server.push_piece(Piece::Bytes(
            [&b"id: 1\nretry: 10\ndata:\n\n"[..], &beats].concat(),
        ));
        server.push_piece(Piece::End);
        server.received(get(), 2).await;
        server.push_piece(Piece::Bytes(beats));
        server.push(r#"{"jsonrpc":"2.0","method":"vendor/note"}"#);
        app.server_sent("vendor/note").await;
        app.call(1, "slow", "").await;
        app.result(1).await;
        let finished = app.finish().await;
        assert!(finished.unread.is_empty(), "{:?}", finished.unread);
        let lines = |level: &str| {
            let lines = finished.stderr.lines();
            let is_about_it = |line: &&str| line.contains(level) && line.contains("no message");
            lines.filter(is_about_it).count()
        };
        assert_eq!(lines("WARN"), 2, "{beat}: {}", finished.stderr);
        assert_eq!(lines("DEBUG"), 3 * BEATS - 2, "{beat}");
    }
}
