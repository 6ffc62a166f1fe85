//! A stream that breaks before the answer is taken up again where it was, if the server numbers its
//! events.

use std::time::Duration;

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    reply::Reply,
    request::{call, get, resume_after, rpc},
};

fn note(number: usize) -> String {
    json!({"jsonrpc": "2.0", "method": "vendor/note", "params": {"number": number}}).to_string()
}

/// X-43, HL-15, HL-16, HL-18
#[tokio::test]
async fn a_stream_that_breaks_is_resumed_after_the_last_event_and_the_wait_the_server_asked_for() {
    const RETRY: Duration = Duration::from_millis(200);
    let breaks: [fn(Reply) -> Reply; 3] = [Reply::close, Reply::reset, |reply| reply];
    for end in breaks {
        let server = FaultServer::start();
        server.once(call("stream"), move |_| {
            end(Reply::sse()
                .bytes("retry: 200\n")
                .event("a-1", note(1))
                .event("a-2", note(2)))
        });
        // The stream of the call is resumed on a GET that has nothing of the request itself, so the
        // answer is written out.
        server.once(resume_after("a-2"), |_| {
            let result = r#"{"jsonrpc":"2.0","id":1,"result":{"resumed":true}}"#;
            Reply::sse().event("a-3", note(3)).event("a-4", result)
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "stream", "").await;
        assert_eq!(app.result(1).await["resumed"], true);
        for number in 1..=3 {
            assert_eq!(app.server_sent("vendor/note").await.text, note(number));
        }
        let asked = server.received(call("stream"), 1).await.at;
        let resumed = server.received(resume_after("a-2"), 1).await;
        assert!(
            resumed.at - asked >= RETRY,
            "resumed after {:?}",
            resumed.at - asked
        );
        assert_eq!(server.count(&call("stream")), 1);
        app.still_served().await;
        app.finish().await;
    }
}

/// X-43, HL-17: a first event with an id and no data, then polling.
#[tokio::test]
async fn a_server_may_close_the_stream_again_and_again_before_it_answers() {
    const POLLS: usize = 4;
    let server = FaultServer::start();
    server.once(call("stream"), |_| {
        Reply::sse().bytes("id: p-0\nretry: 10\ndata:\n\n")
    });
    for poll in 1..POLLS {
        server.once(resume_after(&format!("p-{}", poll - 1)), move |_| {
            Reply::sse().bytes(format!("id: p-{poll}\ndata\n\n"))
        });
    }
    server.once(resume_after(&format!("p-{}", POLLS - 1)), |_| {
        Reply::sse().event(
            "p-9",
            r#"{"jsonrpc":"2.0","id":1,"result":{"polled":true}}"#,
        )
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    assert_eq!(app.result(1).await["polled"], true);
    app.finish().await;
}

/// HL-15: each stream has its own position.
#[tokio::test]
async fn two_streams_that_break_are_resumed_each_at_its_own_event() {
    let server = FaultServer::start();
    server.always(call("stream"), |request| {
        let id = request.message().id().expect("an id").to_owned();
        Reply::sse()
            .bytes("retry: 10\n")
            .event(&format!("s{id}"), note(1))
            .close()
    });
    for id in 1..=2 {
        server.once(resume_after(&format!("s{id}")), move |_| {
            Reply::sse().data(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"of":{id}}}}}"#
            ))
        });
    }
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    app.call(2, "stream", "").await;
    for id in 1..=2 {
        assert_eq!(app.result(id).await["of"], id);
    }
    app.finish().await;
}

/// X-44, HL-18
#[tokio::test]
async fn a_tool_call_whose_stream_cannot_be_resumed_is_reported_with_its_outcome_unknown() {
    let breaks: [fn(Reply) -> Reply; 3] = [Reply::close, Reply::reset, |reply| reply];
    for end in breaks {
        let server = FaultServer::start();
        server.always(call("stream"), move |_| end(Reply::sse().data(note(1))));
        let mut app = program::initialized(&server).await;
        app.call(1, "stream", "").await;
        let data = app.own_error(1, "connection_lost|no_response").await;
        assert_eq!(data["outcomeUnknown"], true, "{data}");
        assert_eq!(server.count(&call("stream")), 1);
        app.still_served().await;
        app.finish().await;
    }
}

/// X-44, HL-18: what has no side effect may simply be asked again.
#[tokio::test]
async fn a_safe_request_whose_connection_is_lost_is_sent_again() {
    let replies: [fn() -> Reply; 4] = [
        || Reply::sse().data(note(1)).close(),
        || Reply::sse().data(note(1)).reset(),
        Reply::no_answer_but_reset,
        Reply::no_answer_but_close,
    ];
    let methods = ["tools/list", "prompts/get", "resources/read", "ping"];
    for (reply, method) in replies.into_iter().zip(methods) {
        let server = FaultServer::start();
        server.once(rpc(method), move |_| reply());
        server.once(rpc(method), |request| Reply::json(request.result("{}")));
        let mut app = program::initialized(&server).await;
        app.request(1, method, &json!({})).await;
        app.result(1).await;
        assert_eq!(server.count(&rpc(method)), 2);
        app.finish().await;
    }
}

/// I4
#[tokio::test]
async fn a_safe_request_is_not_sent_again_for_ever() {
    const TRIES: usize = 10;
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |_| Reply::no_answer_but_reset());
    let mut app = program::initialized(&server).await;
    app.request(1, "tools/list", &json!({})).await;
    app.own_error(1, "connection_lost").await;
    assert!((2..=TRIES).contains(&server.count(&rpc("tools/list"))));
    app.still_served().await;
    app.finish().await;
}

/// X-46
#[tokio::test]
async fn a_server_that_does_not_resume_ends_the_request_with_an_error() {
    for status in [400, 404, 405, 501] {
        let server = FaultServer::start();
        server.once(call("stream"), |_| {
            Reply::sse()
                .bytes("retry: 1\n")
                .event("e-1", note(1))
                .close()
        });
        server.always(resume_after("e-1"), move |_| Reply::status(status));
        let mut app = program::initialized(&server).await;
        app.call(1, "stream", "").await;
        let data = app
            .own_error(1, "connection_lost|http_status|session_lost|no_response")
            .await;
        assert_eq!(data["outcomeUnknown"], true, "{data}");
        assert_eq!(server.count(&resume_after("e-1")), 1, "{status}");
        assert_eq!(server.count(&call("stream")), 1);
        app.still_served().await;
        app.finish().await;
    }
}

/// X-46
#[tokio::test]
async fn a_resumption_that_meets_a_new_session_ends_the_request_and_opens_the_session() {
    let server = FaultServer::start();
    server.once(call("stream"), |_| {
        Reply::sse()
            .bytes("retry: 50\n")
            .event("e-1", note(1))
            .close()
    });
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    app.call(1, "stream", "").await;
    app.server_sent("vendor/note").await;
    server.forget_sessions();
    let data = app
        .own_error(1, "session_lost|connection_lost|http_status")
        .await;
    assert_eq!(data["outcomeUnknown"], true, "{data}");
    app.still_served().await;
    assert_eq!(server.count(&rpc("initialize")), 2);
    assert_eq!(server.count(&call("stream")), 1);
    app.finish().await;
}

/// X-46, B18: the network may be gone for a moment.
#[tokio::test]
async fn a_resumption_that_fails_is_tried_again() {
    let server = FaultServer::start();
    server.once(call("stream"), |_| {
        Reply::sse()
            .bytes("retry: 10\n")
            .event("e-1", note(1))
            .close()
    });
    server.once(resume_after("e-1"), |_| Reply::no_answer_but_reset());
    server.once(resume_after("e-1"), |_| Reply::status(503));
    server.once(resume_after("e-1"), |_| {
        Reply::sse().event("e-2", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    app.result(1).await;
    app.finish().await;
}

/// X-47, HL-14
#[tokio::test]
async fn events_that_were_seen_before_are_not_delivered_again() {
    let server = FaultServer::start();
    server.once(call("stream"), |_| {
        Reply::sse()
            .bytes("retry: 1\n")
            .event("e-1", note(1))
            .event("e-2", note(2))
            .close()
    });
    server.once(resume_after("e-2"), |_| {
        let result = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        Reply::sse()
            .event("e-1", note(1))
            .event("e-2", note(2))
            .event("e-3", note(3))
            .event("e-4", result)
            .event("e-4", result)
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    app.result(1).await;
    for number in 1..=3 {
        assert_eq!(app.server_sent("vendor/note").await.text, note(number));
    }
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// X-48, SSE-6
#[tokio::test]
async fn a_wait_that_is_no_number_is_ignored() {
    for retry in ["abc", "-1", "1.5", "", "+5", "1e3", "٣"] {
        let server = FaultServer::start();
        server.once(call("stream"), move |_| {
            let first = Reply::sse().bytes("retry: 20\n").event("e-1", note(1));
            first.bytes(format!("retry: {retry}\n\n")).close()
        });
        server.once(resume_after("e-1"), |_| {
            Reply::sse().data(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "stream", "").await;
        app.result(1).await;
        app.finish().await;
    }
}

/// X-48, I4: a wait of nothing is no licence for a storm.
#[tokio::test]
async fn a_stream_that_is_closed_at_once_for_ever_does_not_make_a_storm() {
    const CALLS: usize = 20;
    let server = FaultServer::start();
    server.always(call("stream"), |_| {
        Reply::sse().bytes("id: e-1\nretry: 0\ndata:\n\n")
    });
    server.always(resume_after("e-1"), |_| Reply::sse());
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    server.received(resume_after("e-1"), 2).await;
    for id in 2..2 + CALLS {
        app.call(id, "echo", "").await;
        app.result(id).await;
    }
    // Either the bridge has given the call up, or it still polls with pauses.
    app.cancel(1).await;
    app.finish().await;
}
