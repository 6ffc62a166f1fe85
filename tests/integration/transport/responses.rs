//! Unusual and failing HTTP responses: each request still gets one answer, which says what is wrong.

use std::time::Duration;

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    reply::{Piece, Reply},
    request::{Request, call, delete, get, rpc},
};

/// Runs a tool call against this reply; returns the app and the data of the bridge's own error.
async fn error_for(kind: &str, respond: fn(&Request) -> Reply) -> Value {
    let server = FaultServer::start();
    // With a stream of the session the response could come there.
    server.always(get(), |_| Reply::status(405));
    server.always(call("faulty"), respond);
    let mut app = program::initialized(&server).await;
    app.call(1, "faulty", "").await;
    let data = app.own_error(1, kind).await;
    assert_eq!(data["host"], server.host(), "{data}");
    assert!(data["reason"].is_string(), "{data}");
    app.still_served().await;
    // What may have been done is never asked for twice.
    assert_eq!(server.count(&call("faulty")), 1);
    app.finish().await;
    data
}

/// X-31
#[tokio::test]
async fn a_page_of_html_is_an_error_that_names_the_type() {
    let server = FaultServer::start();
    server.once(call("faulty"), |_| {
        Reply::status(200).body(
            "text/html; charset=utf-8",
            "<html>Sign in to the hotel</html>",
        )
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "faulty", "").await;
    let error = app.error(1).await;
    assert_eq!(error["data"]["kind"], "invalid_response");
    assert!(
        error["message"]
            .as_str()
            .expect("text")
            .contains("text/html"),
        "{error}"
    );
    app.still_served().await;
    app.finish().await;
}

/// X-32
#[tokio::test]
async fn an_invalid_body_is_an_error() {
    error_for("invalid_response", |_| {
        Reply::json(r#"{"jsonrpc":"2.0","id":1,"resu"#)
    })
    .await;
    error_for("invalid_response|no_response", |_| Reply::json("42")).await;
    error_for("invalid_response", |_| Reply::json("\u{0}")).await;
    error_for("invalid_response|no_response", |_| Reply::json("")).await;
}

/// X-32
#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let cut = error_for("connection_lost|invalid_response", |request| {
        let body = request.echo();
        let length = body.len() + 10;
        Reply::raw(format!("{HEAD}Content-Length: {length}\r\n\r\n{body}")).close()
    });
    assert_eq!(cut.await["outcomeUnknown"], true);
    let reset = error_for("connection_lost|invalid_response", |_| {
        Reply::raw(format!("{HEAD}Content-Length: 100\r\n\r\n{{")).reset()
    });
    assert_eq!(reset.await["outcomeUnknown"], true);
    let chunk = error_for("connection_lost|invalid_response", |_| {
        Reply::raw(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n")).close()
    });
    assert_eq!(chunk.await["outcomeUnknown"], true);
}

/// X-33
#[tokio::test]
async fn json_without_a_content_type_is_recognised() {
    let server = FaultServer::start();
    server.once(call("unlabelled"), |request| {
        Reply::status(200).bytes(request.echo())
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "unlabelled", "here").await;
    assert_eq!(app.result(1).await["content"][0]["text"], "here");
    app.finish().await;
    error_for("invalid_response", |_| Reply::status(200).bytes("hello")).await;
}

/// A file saved with a byte order mark puts one before everything that a PHP application answers.
#[tokio::test]
async fn a_byte_order_mark_before_json_is_dropped() {
    let server = FaultServer::start();
    server.once(call("whole"), |request| {
        Reply::json(format!("\u{feff}{}", request.echo()))
    });
    server.once(call("streamed"), |request| {
        Reply::sse().data(format!("\u{feff}{}", request.echo()))
    });
    server.once(call("cut"), |request| {
        Reply::sse().bytes(format!("event: message\ndata: \u{feff}{}", request.echo()))
    });
    server.once(call("refused"), |request| {
        let error = request.error(-32001, "no");
        Reply::status(400).body("application/json", format!("\u{feff}{error}"))
    });
    let mut app = program::initialized(&server).await;
    for (id, tool) in [(1, "whole"), (2, "streamed"), (3, "cut")] {
        app.call(id, tool, "here").await;
        assert_eq!(app.result(id).await["content"][0]["text"], "here", "{tool}");
    }
    app.call(4, "refused", "").await;
    assert_eq!(app.error(4).await["code"], -32001);
    app.finish().await;
}

#[tokio::test]
async fn json_in_another_encoding_is_an_error_that_names_it() {
    let server = FaultServer::start();
    server.once(call("faulty"), |request| {
        let units = request.echo().encode_utf16().collect::<Vec<_>>();
        let bytes = units.into_iter().flat_map(u16::to_le_bytes);
        Reply::status(200).body("application/json", bytes.collect::<Vec<_>>())
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "faulty", "").await;
    let error = app.error(1).await;
    assert_eq!(error["data"]["kind"], "invalid_response");
    let message = error["message"].as_str().expect("text");
    assert!(message.contains("UTF-16"), "{message}");
    app.finish().await;
}

/// X-34, HL-24, HC-11
#[tokio::test]
async fn an_acceptance_is_no_answer_to_a_request() {
    for status in [202, 204] {
        let server = FaultServer::start();
        server.always(get(), |_| Reply::status(405));
        server.once(call("faulty"), move |_| Reply::status(status));
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        app.own_error(1, "no_response").await;
        app.still_served().await;
        app.finish().await;
    }
    error_for("no_response", |_| Reply::sse()).await;
}

/// X-35
#[tokio::test]
async fn an_answer_with_another_id_is_not_delivered() {
    for id in ["2", "\"1\"", "1.0", "null", "[]"] {
        let server = FaultServer::start();
        server.once(call("faulty"), move |_| {
            Reply::json(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#))
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        app.own_error(1, "invalid_response|no_response").await;
        app.still_served().await;
        app.finish().await;
    }
}

/// X-35, HC-10
#[tokio::test]
async fn an_error_without_an_id_belongs_to_the_request() {
    for (status, id) in [
        (200, r#""id":null,"#),
        (400, r#""id":null,"#),
        (400, ""),
        (500, ""),
    ] {
        let server = FaultServer::start();
        server.once(call("faulty"), move |_| {
            let error = r#""error":{"code":-32050,"message":"no","data":{"n":1.0}}"#;
            let body = format!(r#"{{"jsonrpc":"2.0",{id}{error}}}"#);
            Reply::status(status).body("application/json", body)
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        let error = app.error(1).await;
        assert_eq!(
            error,
            json!({"code": -32050, "message": "no", "data": {"n": 1.0}})
        );
        app.finish().await;
    }
}

/// X-36, HL-23
#[tokio::test]
async fn an_array_is_split_into_its_messages() {
    fn array(request: &Request) -> String {
        let note = r#"{"jsonrpc":"2.0","method":"vendor/note"}"#;
        format!("[{note},{},{note}]", request.echo())
    }
    let server = FaultServer::start();
    server.once(call("json"), |request| Reply::json(array(request)));
    server.once(call("sse"), |request| Reply::sse().data(array(request)));
    let mut app = program::initialized(&server).await;
    for (id, tool) in [(1, "json"), (2, "sse")] {
        app.call(id, tool, tool).await;
        assert_eq!(app.result(id).await["content"][0]["text"], tool);
        app.server_sent("vendor/note").await;
    }
    app.finish().await;
    error_for("invalid_response|no_response", |_| Reply::json("[]")).await;
}

/// X-52, HC-16
#[tokio::test]
async fn a_request_time_limit_ends_a_body_that_never_does_and_cancels_the_call() {
    let server = FaultServer::start();
    server.always(call("silent"), |_| Reply::no_answer_ever());
    server.always(call("drip"), |_| {
        Reply::status(200)
            .header("Content-Type", "application/json")
            .chunked()
            .bytes("{")
            .stall()
    });
    let mut app = program::bridge_for(&server)
        .args(["--request-timeout", "0.3"])
        .start();
    app.initialize().await;
    for (id, tool) in [(1, "silent"), (2, "drip")] {
        app.call(id, tool, "").await;
        let data = app.own_error(id, "timeout").await;
        assert_eq!(data["outcomeUnknown"], true, "{data}");
        let notice = server.received(rpc("notifications/cancelled"), id).await;
        assert_eq!(notice.params()["requestId"], id);
    }
    server.aborted(2).await;
    app.still_served().await;
    app.finish().await;
}

/// HC-16
#[tokio::test]
async fn progress_does_not_put_the_time_limit_off_for_ever() {
    const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#;
    const PERIOD: Duration = Duration::from_millis(20);
    let server = FaultServer::start();
    server.once(call("busy"), |_| {
        let (sender, pieces) = tokio::sync::mpsc::unbounded_channel();
        let event = format!("data: {PROGRESS}\n\n").into_bytes();
        tokio::spawn(async move {
            let mut period = tokio::time::interval(PERIOD);
            while sender.send(Piece::Bytes(event.clone())).is_ok() {
                period.tick().await;
            }
        });
        Reply::sse().follow(pieces)
    });
    let mut app = program::bridge_for(&server)
        .args(["--request-timeout", "0.1"])
        .start();
    app.initialize().await;
    app.call(1, "busy", "").await;
    app.own_error(1, "timeout").await;
    server.aborted(1).await;
    app.finish().await;
}

/// B5
#[tokio::test]
async fn an_answer_that_is_not_even_http_is_an_error() {
    const HEADERS: usize = 20_000;
    let garbage: [fn() -> Vec<u8>; 7] = [
        || b"not HTTP at all\r\n\r\n".to_vec(),
        || b"\0\0\0\0".to_vec(),
        || b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(),
        || b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n".to_vec(),
        || b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456".to_vec(),
        || b"HTTP/1.1 200 OK\r\nBad Header: 1\r\n\r\n".to_vec(),
        || format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(HEADERS)).into_bytes(),
    ];
    for bytes in garbage {
        let server = FaultServer::start();
        server.always(call("faulty"), move |_| Reply::raw(bytes()));
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        let data = app
            .own_error(1, "connection_lost|invalid_response|no_response")
            .await;
        assert_eq!(data["outcomeUnknown"], true, "{data}");
        assert_eq!(server.count(&call("faulty")), 1);
        app.still_served().await;
        app.finish().await;
    }
}

/// B5, HC-11
#[tokio::test]
async fn a_body_that_holds_another_message_than_the_answer_is_an_error() {
    for body in [
        r#"{"jsonrpc":"2.0","method":"vendor/note"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"vendor/ask"}"#,
        r#"[{"jsonrpc":"2.0","id":2,"result":{}}]"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}{"jsonrpc":"2.0","id":1,"result":{}}"#,
    ] {
        let server = FaultServer::start();
        server.once(call("faulty"), move |_| Reply::json(body));
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        app.own_error(1, "invalid_response|no_response").await;
        app.still_served().await;
        app.finish().await;
    }
}

/// X-53, I4
#[tokio::test]
async fn a_small_body_that_decodes_to_a_huge_one_is_cut_off() {
    const DECODED: usize = 96 << 20;
    let server = FaultServer::start();
    server.always(call("bomb"), |_| {
        Reply::status(200)
            .header("Content-Encoding", "gzip")
            .body("application/json", gzip_of_spaces(DECODED))
    });
    server.always(call("stream"), |_| {
        Reply::status(200)
            .header("Content-Encoding", "gzip")
            .body("text/event-stream", gzip_of_spaces(DECODED))
    });
    let mut app = program::bridge_for(&server)
        .args(["--max-message-size", "1"])
        .start();
    app.initialize().await;
    for (id, tool) in [(1, "bomb"), (2, "stream")] {
        app.call(id, tool, "").await;
        app.own_error(id, "too_large").await;
    }
    app.still_served().await;
    app.finish().await;
}

/// X-53
#[tokio::test]
async fn a_body_that_is_not_encoded_as_it_says_is_an_error() {
    error_for("invalid_response|connection_lost", |request| {
        Reply::json(request.echo()).header("Content-Encoding", "gzip")
    })
    .await;
}

/// SSE-7, B23
#[tokio::test]
async fn a_body_above_the_limit_is_an_error_and_the_pipe_goes_on() {
    const SIZE: usize = 3 << 20;
    let server = FaultServer::start();
    server.always(call("long"), |request| {
        Reply::json(request.result(json!({"blob": "x".repeat(SIZE)}).to_string()))
    });
    let mut app = program::bridge_for(&server)
        .args(["--max-message-size", "1"])
        .start();
    app.initialize().await;
    app.call(1, "long", "").await;
    app.own_error(1, "too_large").await;
    app.still_served().await;
    app.finish().await;
}

/// X-58
#[tokio::test]
async fn forbidden_without_a_challenge_is_an_error_and_no_sign_in() {
    let data = error_for("http_status|auth_forbidden", |_| Reply::status(403)).await;
    assert_eq!(data["httpStatus"], 403);
    let data = error_for("http_status|auth_forbidden", |_| {
        Reply::status(403).body("text/html", "<h1>Forbidden</h1>")
    });
    assert_eq!(data.await["httpStatus"], 403);
}

/// X-62, HL-5
#[tokio::test]
async fn a_404_without_a_session_is_an_error_and_no_new_session() {
    type Respond = fn(&Request) -> Reply;
    let replies: [(Respond, i64); 3] = [
        (|_| Reply::status(404), -32603),
        (
            |_| Reply::status(404).body("text/html", "<h1>Not Found</h1>"),
            -32603,
        ),
        (
            |request| {
                let body = request.error(-32601, "Method not found");
                Reply::status(404).body("application/json", body)
            },
            -32601,
        ),
    ];
    for (respond, code) in replies {
        let server = FaultServer::start_as(Binding::Stateless);
        server.once(call("faulty"), respond);
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        let error = app.error(1).await;
        assert_eq!(error["code"], code, "{error}");
        app.still_served().await;
        assert_eq!(server.count(&rpc("initialize")), 1);
        app.finish().await;
    }
}

/// X-66, HC-11
#[tokio::test]
async fn an_error_status_is_an_error_that_names_it() {
    for status in [
        400, 402, 405, 406, 408, 413, 415, 418, 431, 500, 502, 504, 599,
    ] {
        let server = FaultServer::start();
        server.once(call("faulty"), move |_| {
            Reply::status(status).body("text/plain", "no")
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        let data = app.own_error(1, "http_status").await;
        assert_eq!(data["httpStatus"], status);
        app.still_served().await;
        assert_eq!(server.count(&call("faulty")), 1, "{status}");
        assert_eq!(server.count(&rpc("initialize")), 1, "{status}");
        app.finish().await;
    }
}

/// X-66
#[tokio::test]
async fn a_request_that_is_safe_is_retried_when_the_server_says_when() {
    for status in [429, 503] {
        for after in ["0", "1", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            let server = FaultServer::start();
            server.once(rpc("tools/list"), move |_| {
                Reply::status(status).header("Retry-After", after)
            });
            let mut app = program::initialized(&server).await;
            app.request(1, "tools/list", &json!({})).await;
            assert_eq!(app.result(1).await["tools"][0]["name"], "echo");
            let tries = server.requests_for(&rpc("tools/list"));
            assert_eq!(tries.len(), 2);
            if after == "1" {
                let waited = tries[1].at - tries[0].at;
                assert!(waited.as_millis() >= 990, "only {waited:?}");
            }
            app.finish().await;
        }
    }
}

/// X-66
#[tokio::test]
async fn a_tool_call_is_not_retried_and_the_app_learns_when_to_come_back() {
    for status in [429, 503] {
        let server = FaultServer::start();
        server.once(call("busy"), move |_| {
            Reply::status(status).header("Retry-After", "7")
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "busy", "").await;
        let data = app.own_error(1, "http_status|overloaded").await;
        assert_eq!(data["retryAfter"], 7, "{data}");
        assert_eq!(server.count(&call("busy")), 1);
        app.still_served().await;
        app.finish().await;
    }
}

/// X-66
#[tokio::test]
async fn an_absurd_retry_after_is_not_waited_for() {
    let server = FaultServer::start();
    server.once(rpc("tools/list"), |_| {
        Reply::status(429).header("Retry-After", "99999999999999999999")
    });
    server.once(rpc("tools/list"), |_| {
        Reply::status(429).header("Retry-After", "86400")
    });
    let mut app = program::initialized(&server).await;
    for id in 1..=2 {
        app.request(id, "tools/list", &json!({})).await;
        app.own_error(id, "http_status|overloaded").await;
    }
    assert_eq!(server.count(&rpc("tools/list")), 2);
    app.finish().await;
}

/// X-66, I4
#[tokio::test]
async fn a_server_that_is_busy_for_ever_is_not_asked_for_ever() {
    const TRIES: usize = 10;
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |_| {
        Reply::status(503).header("Retry-After", "0")
    });
    let mut app = program::initialized(&server).await;
    app.request(1, "tools/list", &json!({})).await;
    let data = app.own_error(1, "http_status|overloaded").await;
    assert_eq!(data["httpStatus"], 503);
    assert!(server.count(&rpc("tools/list")) <= TRIES);
    app.still_served().await;
    app.finish().await;
}

/// HC-9, HC-12
#[tokio::test]
async fn how_a_notification_is_received_is_never_told_to_the_app() {
    type Respond = fn(&Request) -> Reply;
    let replies: [Respond; 8] = [
        |_| Reply::status(200),
        |_| Reply::status(204),
        |_| Reply::json("{}"),
        |_| Reply::sse(),
        |_| {
            Reply::status(400).body(
                "application/json",
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#,
            )
        },
        |_| Reply::status(500),
        |_| Reply::status(200).body("text/html", "<p>thanks</p>"),
        |_| Reply::no_answer_but_reset(),
    ];
    for respond in replies {
        let server = FaultServer::start();
        server.once(rpc("vendor/note"), respond);
        let mut app = program::initialized(&server).await;
        app.send(r#"{"jsonrpc":"2.0","method":"vendor/note"}"#)
            .await;
        server.received(rpc("vendor/note"), 1).await;
        app.still_served().await;
        let finished = app.finish().await;
        assert!(finished.unread.is_empty());
    }
}

/// HL-3, HL-9, HL-10, HC-4: the harness looks at every request; here each kind has been sent.
#[tokio::test]
async fn session_and_version_are_on_every_request_after_initialize() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    app.send(r#"{"jsonrpc":"2.0","method":"vendor/note"}"#)
        .await;
    server.received(get(), 1).await;
    server.received(rpc("vendor/note"), 1).await;
    app.finish().await;
    server.received(delete(), 1).await;
    for request in server.requests() {
        let is_first = request.rpc_method() == "initialize";
        assert_eq!(request.header("mcp-session-id").is_none(), is_first);
        let version = request.header("mcp-protocol-version");
        assert_eq!(version, (!is_first).then_some("2025-06-18"));
    }
}

/// A gzip body of so many spaces: one literal, then copies of what came before.
fn gzip_of_spaces(count: usize) -> Vec<u8> {
    // Fixed Huffman codes, RFC 1951 §3.2.6: a space is literal 0x20, a copy is length 258 (symbol
    // 285) at distance 1 (symbol 0).
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    const COPY: usize = 258;
    let mut bits = Bits {
        bytes: HEADER.to_vec(),
        used: 0,
    };
    bits.push("110");
    bits.push("01010000");
    for _ in 0..count / COPY {
        bits.push("1100010100000");
    }
    bits.push("0000000");
    bits.bytes
}

struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn push(&mut self, bits: &str) {
        for bit in bits.bytes() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if bit == b'1' {
                *self.bytes.last_mut().expect("just pushed") |= 1 << (self.used % 8);
            }
            self.used += 1;
        }
    }
}
