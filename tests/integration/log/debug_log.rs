//! The log of `--debug` and `--log-level trace`: a line for each request and response, with its bodies.

use std::collections::HashMap;

use crate::program;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::{
    HEADER_MARKER, LIMIT, QUERY_MARKER,
    app::{App, Launch},
    fault_server::FaultServer,
    reply::{Gate, Reply},
    request::{call, get, rpc},
};

/// The bridge at another level than the double's own `--debug`.
fn at_level(server: &FaultServer, args: &[&str]) -> Launch {
    program::bridge()
        .server(server)
        .args([server.url().as_str()])
        .args(["--header", "X-Api-Key: ${API_KEY}"])
        .args(args.iter().copied())
        .env("API_KEY", HEADER_MARKER)
}

fn lines<'a>(log: &'a str, parts: &[&str]) -> Vec<&'a str> {
    let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
    log.lines().filter(has_all).collect()
}

/// The value of a field in a line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = format!(" {name}=");
    let (_, rest) = line.split_once(&start)?;
    rest.split_whitespace().next()
}

/// Waits until the log has such a line.
async fn logged(app: &App, parts: &[&str]) -> String {
    let found = async {
        loop {
            if let Some(line) = lines(&app.stderr(), parts).first() {
                return (*line).to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(LIMIT, found).await;
    found.unwrap_or_else(|_| panic!("no line with {parts:?}:\n{}", app.stderr()))
}

#[tokio::test]
async fn each_request_and_its_response_have_a_line_with_what_can_be_measured() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.call("one", "echo", "hello").await;
    app.result("one").await;
    app.request(7, "tools/list", &serde_json::json!({})).await;
    app.result(7).await;
    let log = app.finish().await.stderr;
    for (id, method) in [
        ("\"one\"", "tools/call"),
        ("7", "tools/list"),
        ("\"init\"", "initialize"),
    ] {
        let name = format!("request{{id={id} method=\"{method}\"}}: ");
        let sent = lines(&log, &[&name, "-> server: POST request"]);
        let received = lines(&log, &[&name, "<- server: response"]);
        assert_eq!((sent.len(), received.len()), (1, 1), "{log}");
        // 2026-11-28T04:43:32.522894Z
        let time = sent[0].split_whitespace().next().unwrap_or_default();
        assert!(
            time.len() > 20 && time.contains('T') && time.ends_with('Z'),
            "{log}"
        );
        assert!(field(sent[0], "bytes").is_some_and(|bytes| bytes != "0"));
        assert_eq!(field(sent[0], "try"), Some("1"));
        assert_eq!(field(received[0], "status"), Some("200"));
        for name in ["ms", "bytes", "try"] {
            assert!(field(received[0], name).is_some(), "{name}: {log}");
        }
        let has_session = field(sent[0], "session").is_some();
        assert_eq!(has_session, method != "initialize", "{log}");
    }
    let notification = ["notification", "method=\"notifications/initialized\""];
    assert_eq!(lines(&log, &notification).len(), 2, "{log}");
    let accepted = lines(
        &log,
        &[
            "<- server: accepted",
            "method=\"notifications/initialized\"",
        ],
    );
    assert_eq!(field(accepted[0], "status"), Some("202"), "{log}");
    assert_eq!(
        lines(&log, &["-> server: DELETE session"]).len(),
        1,
        "{log}"
    );
    assert!(!log.contains("TRACE") && !log.contains("hello"), "{log}");
}

#[tokio::test]
async fn with_many_calls_in_flight_each_line_names_its_request() {
    const CALLS: usize = 64;
    let server = FaultServer::start();
    server.allow_requests(100);
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("held"), move |request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    for id in 0..CALLS {
        app.call(id, "held", "").await;
    }
    server.received(call("held"), CALLS).await;
    gate.open();
    for id in 0..CALLS {
        app.result(id).await;
    }
    let log = app.finish().await.stderr;
    let mut counts: HashMap<_, [usize; 2]> = HashMap::new();
    for line in lines(&log, &["tools/call", " server: "]) {
        let (_, rest) = line
            .split_once("request{id=")
            .expect("it names its request");
        let (id, _) = rest.split_once(' ').expect("the method is behind it");
        let received = usize::from(line.contains("<- server: response"));
        counts.entry(id).or_default()[received] += 1;
    }
    assert_eq!(counts.len(), CALLS, "{log}");
    assert!(counts.values().all(|count| *count == [1, 1]), "{log}");
}

#[tokio::test]
async fn a_call_that_hangs_has_a_line_when_it_is_sent_and_another_after_some_seconds() {
    let server = FaultServer::start();
    server.once(call("hangs"), |_| Reply::no_answer_ever());
    server.once(call("stalls"), |_| Reply::sse().stall());
    let mut app = program::initialized(&server).await;
    app.call(1, "hangs", "").await;
    app.call(2, "stalls", "").await;
    let silent = "no response yet: the server has not answered the HTTP request (try 1)";
    for (id, parts) in [
        (1, ["-> server: POST", ""]),
        (1, [silent, "seconds="]),
        (
            2,
            [
                "no response yet: the server has answered 200 OK",
                "seconds=",
            ],
        ),
    ] {
        let id = format!("request{{id={id} ");
        logged(&app, &[&id, parts[0], parts[1]]).await;
    }
    for id in [1, 2] {
        app.cancel(id).await;
    }
    logged(&app, &["the app has cancelled its request", "id=1"]).await;
    app.still_served().await;
    app.finish().await;
}

#[tokio::test]
async fn a_request_that_is_sent_again_has_a_line_for_each_try() {
    let server = FaultServer::start();
    server.once(rpc("tools/list"), |_| {
        Reply::status(503).header("Retry-After", "0")
    });
    let mut app = program::initialized(&server).await;
    app.request(1, "tools/list", &serde_json::json!({})).await;
    app.result(1).await;
    server.once(call("lost"), |_| Reply::no_answer_but_reset());
    app.call(2, "lost", "").await;
    app.own_error(2, "connection_lost").await;
    app.still_served().await;
    let log = app.finish().await.stderr;
    for (parts, attempt) in [
        (["request{id=1 ", "-> server: POST request"], "1"),
        (["request{id=1 ", "<- server: refused status=503"], "1"),
        (["request{id=1 ", "<- server: response status=200"], "2"),
        (
            [
                "request{id=2 ",
                "<- server: no HTTP response: the connection broke",
            ],
            "1",
        ),
    ] {
        let found = lines(&log, &parts);
        assert!(!found.is_empty(), "{parts:?}: {log}");
        assert_eq!(field(found[0], "try"), Some(attempt), "{log}");
    }
}

#[tokio::test]
async fn what_the_server_says_of_its_own_accord_has_lines_too() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    logged(&app, &["<- server: event stream opened status=200"]).await;
    server.push(r#"{"jsonrpc":"2.0","id":5,"method":"roots/list"}"#);
    server.push(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    app.server_sent("roots/list").await;
    app.server_sent("notifications/tools/list_changed").await;
    app.send(r#"{"jsonrpc":"2.0","id":5,"result":{"roots":[]}}"#)
        .await;
    logged(
        &app,
        &["<- server: request id=5 method=\"roots/list\" bytes="],
    )
    .await;
    logged(
        &app,
        &["<- server: notification method=\"notifications/tools/list_changed\""],
    )
    .await;
    logged(&app, &["-> server: POST response id=5 bytes="]).await;
    logged(&app, &["<- server: accepted id=5 status=202"]).await;
    app.still_served().await;
    app.finish().await;
}

#[tokio::test]
async fn trace_adds_bodies_that_are_bounded_and_have_no_secret() {
    let server = FaultServer::start();
    server.once(call("secrets"), |request| {
        let text = r#"{\"access_token\": \"cleartext-token\"} the end"#;
        Reply::json(request.result(format!(
            r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#
        )))
    });
    server.once(call("large"), |request| {
        let text = "x".repeat(100_000);
        Reply::json(request.result(format!(
            r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#
        )))
    });
    let mut app = at_level(&server, &["--log-level", "trace"]).start();
    app.initialize().await;
    app.still_served().await;
    // A well-behaved app does not have them; who repeats them does not get them into the log.
    let in_session = server.received(rpc("tools/call"), 1).await;
    let session = in_session.header("mcp-session-id").expect("a session");
    let secrets = format!("{HEADER_MARKER} {QUERY_MARKER} {session} an-argument");
    app.call(1, "secrets", &secrets).await;
    app.result(1).await;
    app.call(2, "large", "").await;
    app.result(2).await;
    // That the markers are not in it is checked by `finish`.
    let log = app.stderr();
    app.finish().await;
    let sent = lines(&log, &["request{id=1 ", "-> server: {"]);
    let masked = "\"text\":\"[masked] [masked] [masked] an-argument\"";
    assert!(sent[0].contains(masked), "{log}");
    let received = lines(&log, &["request{id=1 ", "<- server: {"]);
    let masked = r#"{\"access_token\": \"[masked]\"} the end"#;
    assert!(received[0].contains(masked), "{log}");
    assert!(!log.contains("cleartext-token"), "{log}");
    let large = lines(&log, &["request{id=2 ", "<- server: {"]);
    assert!(
        large[0].len() < 5_000 && large[0].ends_with('…'),
        "{}",
        large[0].len()
    );
}

#[tokio::test]
async fn the_log_file_gets_the_same_and_stderr_nothing() {
    let server = FaultServer::start();
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("bridge.log");
    let path = path.to_str().expect("UTF-8");
    let mut app = at_level(&server, &["--debug", "--log-file", path]).start();
    app.initialize().await;
    app.still_served().await;
    assert_eq!(app.finish().await.stderr, "");
    let log = std::fs::read_to_string(path).expect("the log");
    for part in ["-> server: POST request", "<- server: response status=200"] {
        assert!(!lines(&log, &["tools/call", part]).is_empty(), "{log}");
    }
}

#[tokio::test]
async fn at_the_default_level_a_healthy_session_is_silent() {
    let server = FaultServer::start();
    let mut app = at_level(&server, &[]).start();
    app.initialize().await;
    app.still_served().await;
    let log = app.stderr();
    app.finish().await;
    assert_eq!(log, "");
}

#[tokio::test]
async fn the_requests_of_a_sign_in_have_lines_in_a_span_of_their_own() {
    let provider = AuthorizationServer::start().await;
    let url = provider.mcp_url();
    let args = ["login", url.as_str(), "--debug", "--auth-timeout", "1"];
    let ran = program::command(args).run().await;
    let register = format!("{}/register", provider.origin());
    let span = format!("sign_in{{host={}}}: ", url.authority());
    let sent = lines(
        &ran.stderr,
        &[&format!("{span}-> sign-in method=POST"), &register],
    );
    let received = lines(
        &ran.stderr,
        &[&format!("{span}<- sign-in"), &register, "status=201", "ms="],
    );
    assert_eq!((sent.len(), received.len()), (1, 1), "{ran:?}");
}
