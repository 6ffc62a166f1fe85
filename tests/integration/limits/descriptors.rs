//! File descriptors and connections: their limits, and what waits for them.

use std::{
    collections::HashSet,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    app::{App, Launch, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    reply::{Gate, Reply},
    request::{Request, Want, call, delete, get, rpc},
};

/// Calls in flight: several times what there are descriptors for.
const CALLS: usize = 300;

/// Connections for requests whose answers are awaited, and those for urgent messages.
const MOST_EXCHANGES: usize = 64;
const MOST_URGENT: usize = 8;

/// The bridge with this soft and this hard limit on descriptors.
fn with_limits(server: &FaultServer, soft: usize, hard: usize) -> Launch {
    program::bridge_for(server)
        .memory_limit_mib(96)
        .through_shell(&format!(
            r#"ulimit -S -n {soft} && ulimit -H -n {hard} && exec "$0" "$@""#
        ))
}

/// Descriptors that a process has open.
fn open_descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it is running")
        .count()
}

/// Descriptors that a process has open, without its connections.
fn open_without_connections(pid: u32) -> usize {
    let path = |name: &str| format!("/proc/{pid}/{name}");
    let open = std::fs::read_dir(path("fd")).expect("it is running");
    let open: Vec<_> = open
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    let table = std::fs::read_to_string(path("net/tcp")).expect("it is running");
    let inode = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
    let connections: HashSet<_> = table.lines().filter_map(inode).collect();
    let is_connection = |target: &String| {
        let inode = target.strip_prefix("socket:[");
        let inode = inode.and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| connections.contains(inode))
    };
    open.len() - open.iter().filter(|it| is_connection(it)).count()
}

/// The soft limit on descriptors of a process.
fn soft_limit(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it is running");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let fields: Vec<_> = line.expect("a limit").split_whitespace().collect();
    fields[3].to_owned()
}

/// A server that answers calls of `slow` when so many are there, and from then on one for each that comes: none is
/// answered before another one could be sent.
fn slow_server(at_once: usize, as_stream: bool) -> FaultServer {
    let server = FaultServer::start();
    server.allow_requests(10 * CALLS);
    let waiting = Arc::new(Mutex::new(Vec::<Gate>::new()));
    let mut seen = 0;
    server.always(call("slow"), move |request| {
        seen += 1;
        let gate = Gate::closed();
        let mut waiting = waiting.lock().expect("nobody panics");
        waiting.push(gate.clone());
        if waiting.len() >= at_once {
            waiting.remove(0).open();
        }
        if seen == CALLS {
            waiting.drain(..).for_each(|gate| gate.open());
        }
        if as_stream {
            Reply::sse().bytes(":\n\n").wait(&gate).data(request.echo())
        } else {
            slow_json(&gate, request)
        }
    });
    server
}

/// A JSON answer whose body comes when the gate is opened.
fn slow_json(gate: &Gate, request: &Request) -> Reply {
    Reply::status(200)
        .header("Content-Type", "application/json")
        .wait(gate)
        .bytes(request.echo())
}

async fn calls_are_answered(app: &mut App, ids: std::ops::Range<usize>) {
    for id in ids.clone() {
        app.call(id, "slow", &id.to_string()).await;
    }
    for id in ids {
        assert_eq!(
            app.result(id).await["content"][0]["text"],
            id.to_string(),
            "each call has its own answer"
        );
    }
}

/// No call was sent before one that is so many places ahead. Connections come up in any order, so those that are under
/// way at once may overtake each other.
fn calls_were_sent_in_order(server: &FaultServer, calls: usize, at_once: usize) {
    let text = |request: &Request| request.params()["arguments"]["text"].clone();
    let sent: Vec<Value> = server
        .requests_for(&call("slow"))
        .iter()
        .map(text)
        .collect();
    let place = |id: usize| {
        let wanted = Value::from(id.to_string());
        sent.iter().position(|text| *text == wanted)
    };
    for id in 0..calls - at_once {
        assert!(place(id) < place(id + at_once), "{id} came late: {sent:?}");
    }
}

#[tokio::test]
async fn hundreds_of_calls_are_answered_with_few_descriptors() {
    for (limit, as_stream) in [(32, false), (32, true), (64, false), (64, true)] {
        // No more than are sure to be sent at once.
        let server = slow_server(3, as_stream);
        let mut app = with_limits(&server, limit, limit).start();
        app.initialize().await;
        calls_are_answered(&mut app, 0..CALLS).await;
        assert!(
            server.most_open_connections() < limit,
            "{} connections",
            server.most_open_connections()
        );
        assert_eq!(server.count(&call("slow")), CALLS);
        app.still_served().await;
        app.finish().await;
    }
}

#[tokio::test]
async fn calls_are_sent_in_the_order_of_the_app_and_no_more_of_them_than_there_are_places() {
    let server = slow_server(MOST_EXCHANGES, false);
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    calls_are_answered(&mut app, 0..CALLS).await;
    calls_were_sent_in_order(&server, CALLS, 2 * MOST_EXCHANGES);
    let most = server.most_open_connections();
    // The stream of the session has a connection, too.
    assert!(
        most <= MOST_EXCHANGES + MOST_URGENT + 1,
        "{most} connections"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_call_that_waits_for_a_place_can_be_cancelled_without_the_server_having_seen_it() {
    let server = FaultServer::start();
    server.allow_requests(3 * MOST_EXCHANGES);
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("slow"), move |request| slow_json(&held, request));
    let mut app = program::initialized(&server).await;
    for id in 0..MOST_EXCHANGES {
        app.call(id, "slow", "").await;
    }
    server.received(call("slow"), MOST_EXCHANGES).await;
    app.call("waits", "echo", "").await;
    app.cancel("waits").await;
    // One that the server has is cancelled there at once, although all places are taken.
    app.cancel(0).await;
    server.received(rpc("notifications/cancelled"), 1).await;
    app.still_served().await;
    gate.open();
    for id in 1..MOST_EXCHANGES {
        app.result(id).await;
    }
    assert_eq!(server.count(&rpc("notifications/cancelled")), 1);
    assert_eq!(server.count(&call("echo")), 1);
    app.finish().await;
}

/// A server whose calls of `ask` hold their streams open until the app has answered a question.
fn asking_server() -> FaultServer {
    let server = FaultServer::start();
    server.allow_requests(10 * CALLS);
    let gates = Arc::new(Mutex::new(std::collections::HashMap::<String, Gate>::new()));
    let asked = gates.clone();
    server.always(call("ask"), move |request| {
        let gate = Gate::closed();
        let id = format!("question of {}", request.message().id().expect("an id"));
        let question = json!({"jsonrpc": "2.0", "id": id, "method": "roots/list"});
        asked
            .lock()
            .expect("nobody panics")
            .insert(id, gate.clone());
        Reply::sse()
            .data(question.to_string())
            .wait(&gate)
            .data(request.echo())
    });
    server.always(Want::Response, move |request| {
        let id = request.message().id().expect("an id").to_owned();
        let id: String = serde_json::from_str(&id).expect("a string");
        gates.lock().expect("nobody panics")[&id].open();
        Reply::status(202)
    });
    server
}

/// Asks so many times and answers the questions when `open_at_once` of them are there.
async fn questions_are_answered(app: &mut App, calls: usize, open_at_once: usize) {
    for id in 0..calls {
        app.call(id, "ask", "").await;
    }
    let mut questions = Vec::new();
    for number in 0..calls {
        questions.push(app.server_sent("roots/list").await.value());
        if number + 1 < open_at_once {
            continue;
        }
        for question in questions.drain(..) {
            let answer = json!({"jsonrpc": "2.0", "id": question["id"],
                "result": {"roots": []}});
            app.send(answer.to_string()).await;
        }
    }
    for id in 0..calls {
        app.result(id).await;
    }
}

#[tokio::test]
async fn streams_that_wait_for_the_app_do_not_keep_its_answers_from_the_server() {
    let server = asking_server();
    let mut app = program::initialized(&server).await;
    // More streams than there are places for requests, and other requests beside them.
    questions_are_answered(&mut app, CALLS, 3 * MOST_EXCHANGES).await;
    app.still_served().await;
    app.finish().await;
}

#[tokio::test]
async fn with_few_descriptors_streams_do_not_keep_answers_from_the_server() {
    for limit in [32, 48] {
        let server = asking_server();
        let mut app = with_limits(&server, limit, limit).start();
        app.initialize().await;
        questions_are_answered(&mut app, CALLS, 4).await;
        app.still_served().await;
        app.finish().await;
    }
}

#[tokio::test]
async fn an_open_stream_on_every_place_does_not_keep_the_end_of_the_session_from_the_server() {
    let server = FaultServer::start();
    server.allow_requests(CALLS);
    server.always(call("endless"), |_| Reply::sse().bytes(":\n\n").stall());
    let mut app = with_limits(&server, 32, 32).start();
    app.initialize().await;
    for id in 0..CALLS / 4 {
        app.call(id, "endless", "").await;
    }
    server.received(call("endless"), 5).await;
    app.close_stdin();
    app.ends_by_itself().await;
    assert_eq!(server.count(&delete()), 1);
    app.finish().await;
}

#[tokio::test]
async fn requests_wait_for_a_descriptor_instead_of_failing() {
    let without_stream = || {
        let server = slow_server(1, false);
        server.always(get(), |_| Reply::status(405));
        server
    };
    let server = without_stream();
    let mut app = program::initialized(&server).await;
    // Without the files that are open for a moment at the beginning.
    let mut base = usize::MAX;
    for _ in 0..20 {
        app.still_served().await;
        base = base.min(open_without_connections(app.pid()));
    }
    app.finish().await;
    // Room for one connection.
    let server = without_stream();
    let mut app = with_limits(&server, base + 1, base + 1).start();
    app.initialize().await;
    calls_are_answered(&mut app, 0..CALLS / 10).await;
    app.still_served().await;
    calls_were_sent_in_order(&server, CALLS / 10, 4);
    let log = app.finish().await.stderr;
    assert!(log.contains("waiting for a file descriptor"), "{log}");
}

#[tokio::test]
async fn descriptors_are_given_back() {
    let server = slow_server(MOST_EXCHANGES, true);
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    let base = open_descriptors(app.pid());
    calls_are_answered(&mut app, 0..CALLS).await;
    server.restart().await;
    app.notices_closed_connections().await;
    while open_descriptors(app.pid()) > base {
        app.still_served().await;
    }
    app.finish().await;
}

/// Requests through a proxy have places as well.
#[tokio::test]
async fn through_a_proxy_connections_are_limited_as_well() {
    let proxy = slow_server(3, true);
    let mut app = program::bridge_at("http://mcp.example/mcp")
        .args([
            "--allow-http",
            "--proxy",
            &format!("http://{}", proxy.host()),
        ])
        .memory_limit_mib(96)
        .through_shell(r#"ulimit -n 40 && exec "$0" "$@""#)
        .start();
    app.send(initialize_line("2025-06-18")).await;
    app.result("init").await;
    calls_are_answered(&mut app, 0..CALLS).await;
    assert!(proxy.most_open_connections() < 40);
    app.finish().await;
}

#[tokio::test]
async fn the_older_transport_is_served_with_few_descriptors() {
    let server = FaultServer::start_as(Binding::HttpSse);
    server.allow_requests(2 * CALLS);
    let mut app = with_limits(&server, 32, 32).start();
    app.initialize().await;
    for id in 0..CALLS {
        app.call(id, "echo", "").await;
    }
    for id in 0..CALLS {
        app.result(id).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn the_soft_limit_is_raised_and_what_the_bridge_starts_gets_the_original_one() {
    let server = FaultServer::start();
    let directory = tempfile::tempdir().expect("a directory");
    let seen = directory.path().join("limit");
    let program = directory.path().join("program");
    let script = format!("#!/bin/sh\nulimit -S -n > {}\necho token\n", seen.display());
    std::fs::write(&program, script).expect("a script");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("our file");
    let mut app = with_limits(&server, 100, 1000)
        .args(["--auth-command", &program.display().to_string()])
        .start();
    app.initialize().await;
    assert_eq!(soft_limit(app.pid()), "1000");
    app.still_served().await;
    let limit = std::fs::read_to_string(seen).expect("the program ran");
    assert_eq!(limit.trim(), "100");
    app.finish().await;
}
