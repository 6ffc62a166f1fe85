//! Lines of the log that a server or an app causes are bounded, and those left out are counted.

use crate::program;
use mcp_bridge_testkit::{HEADER_MARKER, fault_server::FaultServer, reply::Reply, request::call};

/// The most that a flood may make of the log, in bytes.
const LARGEST_LOG: usize = 256 * 1024;

/// Number of lines that were left out, as the log tells it.
fn left_out(log: &str) -> u64 {
    let counts = log.lines().filter(|line| line.contains("left out"));
    let words = counts.flat_map(|line| line.split_whitespace());
    words.filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// Answers after so many events that are no messages.
fn flood(server: &FaultServer, events: usize) {
    server.once(call("flood"), move |request| {
        Reply::sse()
            .bytes("data:x\n\n".repeat(events))
            .data(request.echo())
    });
}

#[tokio::test]
async fn a_flood_of_events_that_are_no_messages_does_not_flood_the_log() {
    const EVENTS: usize = 100_000;
    let server = FaultServer::start();
    flood(&server, EVENTS);
    let mut app = program::initialized(&server).await;
    app.call(1, "flood", "").await;
    app.result(1).await;
    app.still_served().await;
    let log = app.finish().await.stderr;
    assert!(log.len() < LARGEST_LOG, "{} bytes", log.len());
    let shown = log.matches("skipped an event that is no message").count();
    let left_out = usize::try_from(left_out(&log)).expect("a count");
    assert!(
        shown > 1 && shown + left_out == EVENTS,
        "{shown} + {left_out}"
    );
}

/// A server may name a method of any length, and log as much as it likes.
#[tokio::test]
async fn long_names_and_many_messages_of_a_server_do_not_flood_the_log() {
    const MESSAGES: usize = 20_000;
    let server = FaultServer::start();
    server.once(call("flood"), |request| {
        let method = "x".repeat(1 << 20);
        let named = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
        Reply::sse().data(named).data(request.echo())
    });
    let mut app = program::initialized(&server).await;
    app.call(1, "flood", "").await;
    app.result(1).await;
    let log = app.finish().await.stderr;
    assert!(log.len() < LARGEST_LOG, "{} bytes", log.len());

    let server = FaultServer::start();
    server.once(call("echo"), |request| {
        let message = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"oh"}}"#;
        Reply::sse()
            .bytes(format!("data: {message}\n\n").repeat(MESSAGES))
            .data(request.echo())
    });
    let (url, header) = (server.url(), format!("X-Api-Key: {HEADER_MARKER}"));
    let ran = program::command(["call", &url, "echo", "text=hi", "--header", &header]);
    let ran = ran.run().await;
    assert!(ran.stderr.len() < LARGEST_LOG, "{} bytes", ran.stderr.len());
    let shown = ran.stderr.matches("error: oh").count();
    let left_out = usize::try_from(left_out(&ran.stderr)).expect("a count");
    assert!(
        shown > 1 && left_out > 1 && shown + left_out <= MESSAGES,
        "{shown} + {left_out}"
    );
}

#[tokio::test]
async fn a_flood_of_lines_of_the_app_does_not_flood_the_log_at_any_level() {
    const LINES: usize = 20_000;
    for level in ["warn", "debug", "trace"] {
        let server = FaultServer::start();
        let mut app = program::bridge()
            .server(&server)
            .args([server.url().as_str(), "--log-level", level])
            .args(["--header", "X-Api-Key: ${API_KEY}"])
            .env("API_KEY", HEADER_MARKER)
            .start();
        app.initialize().await;
        app.write("no JSON\n".repeat(LINES).as_bytes()).await;
        app.still_served().await;
        let log = app.finish().await.stderr;
        assert!(log.len() < LARGEST_LOG, "{level}: {} bytes", log.len());
        let shown = log.matches("refused a line of the app").count();
        // One more was refused at the end of the test.
        let left_out = usize::try_from(left_out(&log)).expect("a count");
        assert!(shown + left_out > LINES, "{level}: {shown} + {left_out}");
    }
}
