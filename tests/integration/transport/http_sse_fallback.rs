//! HTTP+SSE after a refused POST, and the other way round: where neither works, the app hears what is in the way.

use serde_json::Value;

use crate::program;
use mcp_bridge_testkit::{
    app::{Launch, initialize_line},
    fault_server::FaultServer,
    mcp::{Binding, MESSAGES_PATH},
    reply::Reply,
    request::{Request, get, post},
};

/// The server's answer to a GET.
type Stream = fn() -> Reply;

fn endpoint_event(address: &str) -> Reply {
    Reply::sse()
        .bytes(format!("event: endpoint\ndata: {address}\n\n"))
        .stall()
}

/// The error of `initialize` at a server that refuses the POST with `status` and answers the GET with `stream`.
async fn error_at(status: u16, stream: Stream, flags: &[&str]) -> Value {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.always(get(), move |_| stream());
    server.always(post(), move |request: &Request| {
        let refused = Reply::status(status).body("text/plain", "refused here");
        (request.target != MESSAGES_PATH).then_some(refused)
    });
    error_of(program::bridge_for(&server).args(flags.iter().copied())).await
}

/// The error of `initialize`, or of the first request after it where the failure may pass, so that `initialize`
/// has a provisional answer.
async fn error_of(launch: Launch) -> Value {
    let mut app = launch.args(["--patience", "1"]).start();
    app.send(initialize_line("2025-06-18")).await;
    let answer = app.response("init").await.value();
    let error = if let Some(error) = answer.get("error") {
        error.clone()
    } else {
        app.call("call", "echo", "").await;
        app.error("call").await
    };
    app.finish().await;
    error
}

#[track_caller]
fn says(error: &Value, part: &str) {
    let text = error["message"].as_str().expect("a text");
    assert!(text.contains(part), "{text} does not say {part}");
    assert!(!text.contains("secret"), "{text}");
}

/// X-71, HS-2: an address at another origin is not followed, and named without its query.
#[tokio::test]
async fn an_address_for_messages_that_cannot_be_used_is_named() {
    let cases: [(&str, Stream); 4] = [
        ("http://app.internal:8000/messages as the address", || {
            endpoint_event("http://app.internal:8000/messages?session_id=secret")
        }),
        ("http://127.0.0.1:1/messages as the address", || {
            endpoint_event("http://127.0.0.1:1/messages?session_id=secret")
        }),
        (
            "no address for messages, but “javascript:alert(1)”",
            || endpoint_event("javascript:alert(1)"),
        ),
        ("no address for messages, but “”", || {
            endpoint_event(" ")
        }),
    ];
    for (expected, stream) in cases {
        for status in [400, 404, 405] {
            let error = error_at(status, stream, &[]).await;
            says(&error, expected);
            assert_eq!(error["data"]["kind"], "invalid_response");
        }
        for transport in ["sse-first", "sse-only"] {
            says(
                &error_at(405, stream, &["--transport", transport]).await,
                expected,
            );
        }
    }
}

/// HS-7: the path that a proxy took away is missing in the address for messages.
#[tokio::test]
async fn an_address_for_messages_that_refuses_them_is_named() {
    for status in [400, 403, 404, 405, 502] {
        let server = FaultServer::start_as(Binding::HttpSse);
        server.always(get(), |_| endpoint_event("/lost?session_id=secret"));
        server.always(post(), move |request: &Request| {
            let is_lost = request.target.starts_with("/lost");
            Reply::status(if is_lost { status } else { 405 })
        });
        let error = error_of(program::bridge_for(&server)).await;
        says(&error, &format!("names http://{}/lost for", server.host()));
        says(&error, &format!("the server answered {status}"));
        assert_eq!(error["data"]["kind"], "http_status");
        assert_eq!(error["data"]["httpStatus"], status);
    }
}

/// HS-7: a JSON-RPC error of the server is its own answer.
#[tokio::test]
async fn a_json_rpc_error_from_the_address_for_messages_stays_as_it_is() {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.always(get(), |_| endpoint_event("/m"));
    server.always(post(), |request: &Request| {
        let body = request.error(-32050, "not for you");
        let is_address = request.target.starts_with("/m");
        Some(if is_address && !request.target.starts_with("/mcp") {
            Reply::status(400).body("application/json", body)
        } else {
            Reply::status(405)
        })
    });
    let mut app = program::bridge_for(&server).start();
    app.send(initialize_line("2025-06-18")).await;
    assert_eq!(app.error("init").await["code"], -32050);
    app.finish().await;
}

/// HS-1: what is wrong with the stream says more than the refusal of the POST.
#[tokio::test]
async fn a_stream_that_is_of_no_use_is_told_of() {
    let cases: [(&str, Stream); 6] = [
        ("named an address for messages", Reply::sse),
        ("ended after 1 events", || {
            Reply::sse().data(r#"{"jsonrpc":"2.0","method":"hello"}"#)
        }),
        ("the server answered 500", || Reply::status(500)),
        ("the server answered 403", || Reply::status(403)),
        ("redirects to https://login.example/", || {
            Reply::status(302).header("Location", "https://login.example/?secret")
        }),
        ("the connection broke", Reply::no_answer_but_reset),
    ];
    for (expected, stream) in cases {
        says(&error_at(405, stream, &[]).await, expected);
    }
    // The credentials of the user's own are refused.
    let flags = ["--header", "Authorization: Bearer wrong"];
    for status in [400, 404, 405] {
        let error = error_at(status, || Reply::status(401), &flags).await;
        says(&error, "the server answered 401");
        says(&error, "check the credentials");
    }
}

/// HS-1: a GET that only says that there is no such thing says less than the refusal of the POST.
#[tokio::test]
async fn the_refusal_of_the_post_is_told_where_there_is_no_stream() {
    let streams: [Stream; 6] = [
        || Reply::status(404),
        || Reply::status(405),
        || Reply::status(406),
        || Reply::status(400).body("text/plain", "no session"),
        || Reply::status(200).body("text/html", "<p>hello</p>"),
        || Reply::json("{}"),
    ];
    for stream in streams {
        for status in [400, 404, 405] {
            for transport in ["http-first", "sse-first"] {
                let error = error_at(status, stream, &["--transport", transport]).await;
                says(&error, "refused here");
                assert_eq!(error["data"]["httpStatus"], status);
            }
        }
    }
    // A server that has read the message and refuses it knows better than its stream.
    let streams: [Stream; 3] = [
        Reply::sse,
        || Reply::status(500),
        || Reply::status(302).header("Location", "https://login.example/"),
    ];
    for stream in streams {
        says(&error_at(400, stream, &[]).await, "refused here");
    }
}
