//! Event streams as servers write them, and as they should not.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    reply::{Gate, Reply},
    request::{Request, call, get},
};

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"vendor/note","params":{"text":"ü ☃ 🦀"}}"#;

/// Runs a tool call that is answered by this stream; the app expects the tool's answer.
async fn delivers(what: &str, notes: usize, respond: impl Fn(&Request) -> Reply + Send + 'static) {
    let server = FaultServer::start();
    server.once(call("stream"), respond);
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", what).await;
    assert_eq!(app.result(1).await["content"][0]["text"], what);
    for _ in 0..notes {
        assert_eq!(app.server_sent("vendor/note").await.text, NOTE, "{what}");
    }
    app.still_served().await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{what}: {:?}", finished.unread);
}

/// X-39, SSE-1
#[tokio::test]
async fn all_line_ends_are_understood() {
    for (what, end) in [("LF", "\n"), ("CRLF", "\r\n"), ("CR", "\r")] {
        delivers(what, 1, move |request| {
            let text = format!(
                "data: {NOTE}\n\nevent: message\ndata: {}\n\n",
                request.echo()
            );
            Reply::sse().bytes(text.replace('\n', end))
        })
        .await;
    }
    delivers("mixed", 1, |request| {
        let text = format!("data: {NOTE}\r\n\nid: 1\rdata: {}\n\r\n", request.echo());
        Reply::sse().bytes(text)
    })
    .await;
}

/// X-39, SSE-1
#[tokio::test]
async fn a_stream_may_be_cut_anywhere() {
    for (what, end) in [("every byte", "\n"), ("every byte with CRLF", "\r\n")] {
        delivers(what, 1, move |request| {
            let text = format!(
                "\u{feff}id: ☃\ndata: {NOTE}\n\ndata: {}\n\n",
                request.echo()
            );
            let text = text.replace('\n', end);
            text.bytes()
                .fold(Reply::sse(), |reply, byte| reply.bytes([byte]))
        })
        .await;
    }
}

/// X-39, SSE-1
#[tokio::test]
async fn a_byte_order_mark_is_ignored() {
    delivers("mark", 0, |request| {
        Reply::sse().bytes(format!("\u{feff}data: {}\n\n", request.echo()))
    })
    .await;
}

/// X-39, HM-13, SSE-2
#[tokio::test]
async fn comments_and_unknown_fields_are_ignored() {
    delivers("comments", 1, |request| {
        let comments = ": keep-alive\n\n:\n".repeat(10_000);
        let text = format!(
            "data: {NOTE}\nfoo: bar\nbaz\n: x\n\ndata:{}\n\n",
            request.echo()
        );
        Reply::sse().bytes(comments).bytes(text)
    })
    .await;
}

/// X-39, SSE-3
#[tokio::test]
async fn several_data_lines_are_one_message() {
    delivers("lines", 0, |request| {
        let (start, end) = (request.echo(), String::new());
        let cut = start.find(",\"result\"").expect("a member") + 1;
        Reply::sse().bytes(format!(
            "data: {}\ndata\ndata: {}{end}\n\n",
            &start[..cut],
            &start[cut..]
        ))
    })
    .await;
}

/// X-39, SSE-4
#[tokio::test]
async fn events_of_other_types_and_without_data_are_no_messages() {
    delivers("types", 1, |request| {
        Reply::sse()
            .bytes(format!("event: ping\ndata: {NOTE}\n\n"))
            .bytes("event: error\ndata: something is wrong\n\n")
            .bytes("event: endpoint\ndata: /elsewhere\n\n")
            .bytes("data\n\nid\n\ndata:\n\nretry: 1\n\n")
            .bytes(format!(
                "event: message\ndata: {NOTE}\n\nevent\ndata: {}\n\n",
                request.echo()
            ))
    })
    .await;
}

/// X-40, SSE-3
#[tokio::test]
async fn an_answer_without_the_last_blank_line_is_delivered() {
    delivers("one end", 0, |request| {
        Reply::sse().bytes(format!("data: {}\n", request.echo()))
    })
    .await;
    delivers("no end", 0, |request| {
        Reply::sse().bytes(format!("data: {}", request.echo()))
    })
    .await;
    delivers("cut off", 0, |request| {
        Reply::sse()
            .bytes(format!("data: {}", request.echo()))
            .close()
    })
    .await;
}

/// X-40
#[tokio::test]
async fn a_part_of_an_answer_is_not_delivered() {
    let server = FaultServer::start();
    server.once(call("stream"), |request| {
        let echo = request.echo();
        Reply::sse().bytes(format!("data: {}", &echo[..echo.len() - 2]))
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    let data = app
        .own_error(1, "no_response|connection_lost|invalid_response")
        .await;
    assert_eq!(data["outcomeUnknown"], true);
    app.still_served().await;
    app.finish().await;
}

/// X-41, SSE-10
#[tokio::test]
async fn an_event_that_is_no_message_is_skipped() {
    delivers("malformed", 1, |request| {
        Reply::sse()
            .data("not JSON")
            .data("{\"jsonrpc\":\"2.0\"")
            .data("42")
            .data(NOTE)
            .data(request.echo())
    })
    .await;
    let server = FaultServer::start();
    server.once(call("stream"), |_| Reply::sse().data("not JSON"));
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    app.own_error(1, "no_response|invalid_response").await;
    app.still_served().await;
    app.finish().await;
}

/// X-37, HL-21, P-2
#[tokio::test]
async fn after_the_answer_nothing_more_of_a_stream_is_delivered() {
    delivers("once", 1, |request| {
        Reply::sse()
            .data(NOTE)
            .data(request.echo())
            .data(request.result("{}"))
            .data(request.error(-32000, "late"))
            .data(NOTE)
    })
    .await;
}

/// HL-21
#[tokio::test]
async fn a_stream_that_stays_open_after_the_answer_is_left() {
    let server = FaultServer::start();
    server.once(call("stream"), |request| {
        Reply::sse().event("1", request.echo()).stall()
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    app.result(1).await;
    server.aborted(1).await;
    assert_eq!(
        server
            .requests_for(&get())
            .iter()
            .filter(|get| get.header("last-event-id").is_some())
            .count(),
        0
    );
    app.finish().await;
}

/// X-38, HL-13
#[tokio::test]
async fn a_response_to_no_request_is_dropped_and_one_in_flight_is_delivered_from_any_stream() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(call("stream"), |_| {
        Reply::sse()
            .data(r#"{"jsonrpc":"2.0","id":99,"result":{}}"#)
            .stall()
    });
    server.once(call("other"), move |request| {
        Reply::sse()
            .data(r#"{"jsonrpc":"2.0","id":"1","result":{}}"#)
            .wait(&held)
            .data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    app.call(1, "stream", "").await;
    server.received(call("stream"), 1).await;
    server.push(r#"{"jsonrpc":"2.0","id":98,"result":{}}"#);
    server.push(r#"{"jsonrpc":"2.0","id":1,"result":{"from":"the other stream"}}"#);
    assert_eq!(app.result(1).await["from"], "the other stream");
    app.call(2, "other", "mine").await;
    gate.open();
    assert_eq!(app.result(2).await["content"][0]["text"], "mine");
    app.finish().await;
}

/// X-42, SSE-7
#[tokio::test]
async fn an_event_above_the_limit_fails_its_request_only() {
    const MIB: usize = 1 << 20;
    let server = FaultServer::start();
    server.once(call("long event"), |request| {
        Reply::sse().data(request.result(json!("x".repeat(3 * MIB)).to_string()))
    });
    server.once(call("endless line"), |_| {
        let line = vec![b'x'; MIB];
        (0..96)
            .fold(Reply::sse().bytes("data: "), |reply, _| {
                reply.bytes(line.clone())
            })
            .stall()
    });
    server.once(call("endless event"), |_| {
        let line = format!("data: {}\n", "x".repeat(MIB / 8));
        (0..768)
            .fold(Reply::sse(), |reply, _| reply.bytes(line.clone()))
            .stall()
    });
    server.once(call("endless comment"), |request| {
        let line = vec![b':'; MIB];
        let reply = (0..96).fold(Reply::sse(), |reply, _| reply.bytes(line.clone()));
        reply.bytes("\n").data(request.echo())
    });
    let mut app = program::bridge_for(&server)
        .args(["--max-message-size", "1"])
        .start();
    app.initialize().await;
    for (id, tool) in [(1, "long event"), (2, "endless line"), (3, "endless event")] {
        app.call(id, tool, "").await;
        app.own_error(id, "too_large").await;
    }
    // Whether a comment counts is open; the answer is one either way.
    app.call(4, "endless comment", "").await;
    app.response(4).await;
    app.still_served().await;
    app.finish().await;
}

/// SSE-8
#[tokio::test]
async fn the_content_type_is_compared_without_case_and_parameters() {
    for kind in [
        "text/event-stream; charset=utf-8",
        "Text/Event-Stream",
        "text/event-stream;x=y",
    ] {
        delivers(kind, 0, move |request| {
            let body = format!("data: {}\n\n", request.echo());
            Reply::status(200).body(kind, body)
        })
        .await;
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        delivers(kind, 0, move |request| {
            Reply::status(200).body(kind, request.echo())
        })
        .await;
    }
}

/// X-49, SSE-5
#[tokio::test]
async fn no_event_id_gets_into_a_header_as_more_than_a_value() {
    let long = "i".repeat(1 << 20);
    for id in ["a\u{0}b", "☃", "\u{1b}[31m", "x: y", " ", &long] {
        let server = FaultServer::start();
        let stored = id.to_owned();
        server.once(call("stream"), move |_| {
            Reply::sse()
                .event(&stored, NOTE)
                .bytes("retry: 1\n\n")
                .close()
        });
        // Should it resume, there is nothing to be had.
        server.always(get(), |_| Reply::status(405));
        let mut app = program::initialized(&server).await;
        app.call(1, "stream", "").await;
        app.server_sent("vendor/note").await;
        app.error(1).await;
        app.still_served().await;
        app.finish().await;
        for request in server.requests_for(&get()) {
            let resumes = request.header("last-event-id").unwrap_or(id);
            assert!(resumes == id || resumes == id.trim(), "{resumes:?}");
            assert!(request.header("x").is_none());
        }
    }
}
