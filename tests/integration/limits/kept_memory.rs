//! Bounds in bytes, not only in count, for what is kept of a server's texts. [`mcp_bridge_testkit::app::App::finish`]
//! looks at the memory.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    modern::SUBSCRIPTION_KEY,
    reply::{Gate, Reply},
    request::{Request, call, rpc},
};

/// More than the bridge may take in all, if it is kept.
const KEPT: usize = 96 << 20;

/// A text that is unlike those of other numbers.
fn long(number: usize, length: usize) -> String {
    format!("{number}-{}", "x".repeat(length))
}

/// A stream that ends with the response.
fn answered(stream: Reply, request: &Request) -> Reply {
    stream.data(request.result(json!({ "content": [] }).to_string()))
}

/// SSE-12
#[tokio::test]
async fn long_event_ids_are_not_kept() {
    const LENGTH: usize = 512 << 10;
    let server = FaultServer::start();
    server.once(call("stream"), |request| {
        let note = json!({"jsonrpc": "2.0", "method": "vendor/note"}).to_string();
        let events = KEPT / LENGTH;
        let stream = (0..events).fold(Reply::sse(), |stream, number| {
            stream.event(&long(number, LENGTH), &note)
        });
        answered(stream, request)
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    app.result(1).await;
    app.finish().await;
}

#[tokio::test]
async fn requests_of_the_server_with_long_ids_or_methods_wait_only_as_long_as_there_is_room() {
    const LENGTH: usize = 1 << 20;
    let asks: [fn(usize) -> String; 2] = [
        |number| {
            json!({"jsonrpc": "2.0", "id": long(number, LENGTH), "method": "roots/list"})
                .to_string()
        },
        |number| {
            json!({"jsonrpc": "2.0", "id": number, "method": long(number, LENGTH)}).to_string()
        },
    ];
    for ask in asks {
        let server = FaultServer::start();
        server.once(call("stream"), move |request| {
            let requests = 0..KEPT / LENGTH;
            let asked = requests.fold(Reply::sse(), |stream, number| stream.data(ask(number)));
            answered(asked, request)
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "stream", "").await;
        app.result(1).await;
        app.finish().await;
    }
}

#[tokio::test]
async fn the_newest_cookies_of_a_server_are_kept_and_no_more() {
    const ANSWERS: i64 = 40;
    let server = FaultServer::start();
    server.always(call("cookies"), |request| {
        let answer = Reply::json(request.echo());
        let number = request.message().id().unwrap_or_default().to_owned();
        let cookies = (0..10).fold(answer, |answer, place| {
            let cookie = format!("c{number}-{place}=1; Path=/");
            answer.header("Set-Cookie", &cookie)
        });
        Some(cookies.header("Set-Cookie", &format!("long={}; Path=/", "x".repeat(5_000))))
    });
    let mut app = program::initialized(&server).await;
    for id in 1..=ANSWERS {
        app.call(id, "cookies", "").await;
        app.result(id).await;
    }
    let requests = server.requests_for(&call("cookies"));
    let last = requests.last().expect("a request");
    let cookies = last.header("cookie").expect("cookies");
    assert_eq!(cookies.split("; ").count(), 50);
    assert!(cookies.contains("c39-9=1") && !cookies.contains("long="));
    app.finish().await;
}

#[tokio::test]
async fn a_batch_of_next_to_nothing_a_million_times_is_refused_as_a_whole() {
    let server = FaultServer::start();
    for body in [
        |request: &Request, batch: String| answered(Reply::sse().data(batch), request),
        |_: &Request, batch: String| Reply::json(batch),
    ] {
        server.once(call("batch"), move |request| {
            let batch = format!("[{}1]", "1,".repeat(4 << 20));
            body(request, batch)
        });
    }
    let mut app = program::initialized(&server).await;
    app.call(1, "batch", "").await;
    app.result(1).await;
    app.call(2, "batch", "").await;
    app.error(2).await;
    app.finish().await;
}

/// `--read-only` has to know what each tool does.
#[tokio::test]
async fn names_of_tools_are_remembered_only_as_far_as_there_is_room() {
    const LENGTH: usize = 64 << 10;
    const LISTS: usize = 12;
    let server = FaultServer::start();
    let launch = program::bridge_for(&server).args(["--read-only", "--list-pages", "pass"]);
    let mut app = launch.start();
    app.initialize().await;
    for list in 0..LISTS {
        server.once(rpc("tools/list"), move |request| {
            let tools: Vec<_> = (0..KEPT / LENGTH / LISTS)
                .map(|number| {
                    let name = long(list * KEPT + number, LENGTH);
                    json!({ "name": name, "inputSchema": { "type": "object" } })
                })
                .collect();
            Reply::json(request.result(json!({ "tools": tools }).to_string()))
        });
        let id = i64::try_from(list).expect("small");
        app.request(id, "tools/list", &json!({})).await;
        app.result(id).await;
    }
    app.finish().await;
}

/// Reading is faster than looking at what was read.
#[tokio::test]
async fn long_notifications_wait_for_their_turn_only_as_long_as_there_is_room() {
    const LENGTH: usize = 1 << 20;
    let server = FaultServer::start();
    server.once(call("stream"), |request| {
        let notes = 0..KEPT / LENGTH;
        let stream = notes.fold(Reply::sse(), |stream, number| {
            let params = json!({ "text": long(number, LENGTH) });
            let note = json!({"jsonrpc": "2.0", "method": "vendor/note", "params": params});
            stream.data(note.to_string())
        });
        answered(stream, request)
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "stream", "").await;
    app.result(1).await;
    app.finish().await;
}

#[tokio::test]
async fn cursors_of_lists_are_kept_only_as_far_as_there_is_room() {
    const LENGTH: usize = 63 << 10;
    const LISTS: i64 = 16;
    let server = FaultServer::start();
    server.allow_requests(10_000);
    server.always(rpc("tools/list"), |request| {
        let cursor = request.params()["cursor"].as_str().map_or(0, str::len);
        let next = long(cursor, LENGTH + cursor % LENGTH);
        let page = json!({ "tools": [], "nextCursor": next }).to_string();
        Reply::json(request.result(page))
    });
    let mut app = program::initialized(&server).await;
    for id in 1..=LISTS {
        app.request(id, "tools/list", &json!({})).await;
    }
    for id in 1..=LISTS {
        app.result(id).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn pages_that_become_one_list_take_no_more_memory_than_there_is_room_for() {
    const LENGTH: usize = 1 << 20;
    for (pages, merged) in [(5, 5), (31, 1)] {
        let server = FaultServer::start();
        for page in 1..=pages {
            server.once(rpc("tools/list"), move |request| {
                let tool = json!({"name": page.to_string(), "description": "x".repeat(LENGTH)});
                let next = (page < pages).then(|| page.to_string());
                let page = json!({ "tools": [tool], "nextCursor": next }).to_string();
                Reply::json(request.result(page))
            });
        }
        let mut app = program::initialized(&server).await;
        app.request(1, "tools/list", &json!({})).await;
        let tools = app.result(1).await["tools"].as_array().map(Vec::len);
        assert_eq!(tools, Some(merged));
        app.finish().await;
    }
}

/// The state that a modern server gives a legacy app's calls to be sent back with the answers to its questions.
#[tokio::test]
async fn states_of_questions_wait_only_as_long_as_there_is_room() {
    const LENGTH: usize = 4 << 20;
    let calls = i64::try_from(KEPT / LENGTH).expect("small");
    let server = FaultServer::start_as(Binding::Modern);
    server.always(call("ask"), |request| {
        let number = request.message().id().map_or(0, str::len);
        let result = json!({
            "resultType": "input_required",
            "inputRequests": {"the roots": {"method": "roots/list", "params": {}}},
            "requestState": long(number, LENGTH),
        });
        Reply::json(request.result(result.to_string()))
    });
    let mut app = program::initialized(&server).await;
    for id in 1..=calls {
        app.call(id, "ask", "").await;
        server
            .received(call("ask"), usize::try_from(id).expect("small"))
            .await;
    }
    app.still_served().await;
    for id in 1..=calls {
        app.cancel(id).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn questions_and_outcomes_wait_for_a_modern_app_only_as_long_as_there_is_room() {
    const LENGTH: usize = 4 << 20;
    let calls = i64::try_from(KEPT / LENGTH / 2).expect("small");
    let server = FaultServer::start();
    server.always(call("ask"), |request| {
        let id = format!("question {}", request.message().id().unwrap_or_default());
        let params = json!({"message": "x".repeat(LENGTH), "requestedSchema": {}});
        let question =
            json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params});
        let result = json!({"content": [{"type": "text", "text": "x".repeat(LENGTH)}]});
        let answer = request.result(result.to_string());
        Some(Reply::sse().data(question.to_string()).data(answer))
    });
    let mut app = program::start(&server);
    app.discover(0).await;
    app.error(0).await;
    for id in 1..=calls {
        app.ask_tool(id, "ask", "").await;
        app.result(id).await;
    }
    app.finish().await;
}

/// The server acknowledges any number of resources that nobody asked for.
#[tokio::test]
async fn of_an_acknowledgement_only_what_was_asked_for_is_kept() {
    const LENGTH: usize = 1 << 20;
    // Each has a connection with buffers of its own.
    let subscriptions = 40;
    let server = FaultServer::start_as(Binding::Modern);
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(rpc("subscriptions/listen"), move |request| {
        let id: serde_json::Value =
            serde_json::from_str(request.message().id().unwrap_or_default()).expect("an id");
        let uris: Vec<_> = (0..LENGTH / 64).map(|number| long(number, 56)).collect();
        let params = json!({"notifications": {"resourceSubscriptions": uris}, "_meta": {SUBSCRIPTION_KEY: id}});
        let method = "notifications/subscriptions/acknowledged";
        let note = json!({"jsonrpc": "2.0", "method": method, "params": params});
        Some(Reply::sse().data(note.to_string()).wait(&held))
    });
    let mut app = program::start(&server);
    for number in 0..subscriptions {
        let filter = json!({"notifications": {"toolsListChanged": true}});
        app.ask(number.to_string().as_str(), "subscriptions/listen", &filter)
            .await;
        app.server_sent("notifications/subscriptions/acknowledged")
            .await;
    }
    gate.open();
    for number in 0..subscriptions {
        app.cancel(number.to_string().as_str()).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn challenges_with_quotes_that_are_not_closed_are_read_once() {
    let server = FaultServer::start();
    server.always(call("locked"), |_| {
        let lines = 0..20;
        let line = format!("Bearer {}", "a='b, c=\"d\\".repeat(800));
        let locked = lines.fold(Reply::status(403), |reply, _| {
            reply.header("WWW-Authenticate", &line)
        });
        Some(locked)
    });
    let mut app = program::initialized(&server).await;
    for id in 1..=20 {
        app.call(id, "locked", "").await;
        app.error(id).await;
    }
    app.finish().await;
}
