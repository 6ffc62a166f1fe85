//! Bounds in bytes, not only in count, for what is kept of a server's texts. [`crate::support::app::App::finish`]
//! looks at the memory.

use serde_json::json;

use crate::support::{
    app::{App, Launch},
    fault_server::Server,
    reply::Reply,
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
    let server = Server::start();
    server.once(call("stream"), |request| {
        let note = json!({"jsonrpc": "2.0", "method": "vendor/note"}).to_string();
        let events = KEPT / LENGTH;
        let stream = (0..events).fold(Reply::sse(), |stream, number| {
            stream.event(&long(number, LENGTH), &note)
        });
        answered(stream, request)
    });
    let mut app = App::initialized(&server).await;
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
        let server = Server::start();
        server.once(call("stream"), move |request| {
            let requests = 0..KEPT / LENGTH;
            let asked = requests.fold(Reply::sse(), |stream, number| stream.data(ask(number)));
            answered(asked, request)
        });
        let mut app = App::initialized(&server).await;
        app.call(1, "stream", "").await;
        app.result(1).await;
        app.finish().await;
    }
}

#[tokio::test]
async fn the_newest_cookies_of_a_server_are_kept_and_no_more() {
    const ANSWERS: i64 = 40;
    let server = Server::start();
    server.always(call("cookies"), |request| {
        let answer = Reply::json(request.echo());
        let number = request.message().id().unwrap_or_default().to_owned();
        let cookies = (0..10).fold(answer, |answer, place| {
            let cookie = format!("c{number}-{place}=1; Path=/");
            answer.header("Set-Cookie", &cookie)
        });
        Some(cookies.header("Set-Cookie", &format!("long={}; Path=/", "x".repeat(5_000))))
    });
    let mut app = App::initialized(&server).await;
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
    let server = Server::start();
    for body in [
        |request: &Request, batch: String| answered(Reply::sse().data(batch), request),
        |_: &Request, batch: String| Reply::json(batch),
    ] {
        server.once(call("batch"), move |request| {
            let batch = format!("[{}1]", "1,".repeat(4 << 20));
            body(request, batch)
        });
    }
    let mut app = App::initialized(&server).await;
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
    let server = Server::start();
    let launch = Launch::for_server(&server).args(["--read-only", "--list-pages", "pass"]);
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
    let server = Server::start();
    server.once(call("stream"), |request| {
        let notes = 0..KEPT / LENGTH;
        let stream = notes.fold(Reply::sse(), |stream, number| {
            let params = json!({ "text": long(number, LENGTH) });
            let note = json!({"jsonrpc": "2.0", "method": "vendor/note", "params": params});
            stream.data(note.to_string())
        });
        answered(stream, request)
    });
    let mut app = App::initialized(&server).await;
    app.call(1, "stream", "").await;
    app.result(1).await;
    app.finish().await;
}
