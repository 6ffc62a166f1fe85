//! `--record`: what passes, as a HAR file.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::{
    LIMIT,
    app::Launch,
    fault_server::FaultServer,
    reply::Reply,
    request::{Request, call, rpc},
    secrets,
};

/// A bridge that records in `it.har` of the directory.
fn recording(server: &FaultServer, directory: &TempDir) -> Launch {
    let file = directory.path().join("it.har");
    program::bridge_for(server).args([Path::new("--record"), &file])
}

/// The entries of a recording, which has to be whole and without secrets.
fn entries(directory: &TempDir) -> Vec<Value> {
    let text = text(directory);
    entries_in(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(directory: &TempDir) -> String {
    std::fs::read_to_string(directory.path().join("it.har")).expect("a recording")
}

fn entries_in(text: &str) -> serde_json::Result<Vec<Value>> {
    assert_eq!(secrets::shown_in(text), None, "{text}");
    let har: Value = serde_json::from_str(text)?;
    let log = &har["log"];
    assert_eq!(log["version"], "1.2");
    assert_eq!(log["creator"]["name"], "mcp-bridge");
    let entries = log["entries"].as_array().expect("entries").clone();
    for entry in &entries {
        is_har(entry);
    }
    Ok(entries)
}

/// Asserts the members that HAR 1.2 demands of an entry.
fn is_har(entry: &Value) {
    let has = |place: &Value, members: &[&str]| {
        for member in members {
            assert!(place.get(member).is_some(), "no {member}: {entry:#}");
        }
    };
    has(
        entry,
        &[
            "startedDateTime",
            "time",
            "request",
            "response",
            "cache",
            "timings",
        ],
    );
    let common = [
        "httpVersion",
        "cookies",
        "headers",
        "headersSize",
        "bodySize",
    ];
    has(&entry["request"], &common);
    has(&entry["request"], &["method", "url", "queryString"]);
    has(&entry["response"], &common);
    has(
        &entry["response"],
        &["status", "statusText", "content", "redirectURL"],
    );
    has(&entry["response"]["content"], &["size", "mimeType"]);
    has(&entry["timings"], &["send", "wait", "receive"]);
}

fn of_kind<'a>(entries: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let is_kind = |entry: &&Value| entry["_mcp"]["kind"] == kind;
    entries.iter().filter(is_kind).collect()
}

/// Waits until the recording has such an entry.
async fn has_entry(directory: &TempDir, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            // This may read in the middle of a write, which the system does not prevent.
            let entries = entries_in(&text(directory)).unwrap_or_default();
            if let Some(entry) = entries.into_iter().find(&is_wanted) {
                return entry;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(LIMIT, found).await;
    found.unwrap_or_else(|_| panic!("no such entry: {:#?}", entries(directory)))
}

#[tokio::test]
async fn messages_exchanges_and_steps_of_a_session_are_recorded() {
    let directory = TempDir::new().expect("a directory for the test");
    let server = FaultServer::start();
    let mut app = recording(&server, &directory).start();
    app.initialize().await;
    app.call("one", "echo", "hello").await;
    app.result("one").await;
    app.finish().await;
    let entries = entries(&directory);
    let messages = of_kind(&entries, "message");
    let passed = |direction: &str, kind: &str, id: &str| {
        let is_it = |entry: &&&Value| {
            let mcp = &entry["_mcp"];
            mcp["direction"] == direction && mcp["message"] == kind && mcp["id"] == id
        };
        messages.iter().filter(is_it).count()
    };
    for id in ["init", "one"] {
        assert_eq!(passed("from-app", "request", id), 1, "{entries:#?}");
        assert_eq!(passed("to-app", "response", id), 1, "{entries:#?}");
    }
    let exchanges = of_kind(&entries, "http");
    let call = exchanges.iter().find(|entry| {
        let body = entry["request"]["postData"]["text"].as_str();
        body.is_some_and(|body| body.contains("tools/call"))
    });
    let call = call.expect("the call is there");
    assert_eq!(call["request"]["method"], "POST");
    assert_eq!(call["response"]["status"], 200);
    assert_eq!(call["_mcp"]["state"], "ended");
    assert_eq!(call["_mcp"]["purpose"], "server");
    let answer = call["response"]["content"]["text"].as_str();
    assert!(
        answer.is_some_and(|text| text.contains("hello")),
        "{call:#}"
    );
    let header = json!({"name": "x-api-key", "value": "[masked]"});
    let headers = call["request"]["headers"].as_array().expect("headers");
    assert!(headers.contains(&header), "{call:#}");
    let steps: Vec<_> = of_kind(&entries, "step")
        .iter()
        .map(|entry| entry["_mcp"]["step"].clone())
        .collect();
    assert!(steps.contains(&"era".into()), "{steps:?}");
    assert!(steps.contains(&"session".into()), "{steps:?}");
}

/// An app that hides stderr also kills its bridge: what was recorded is there, and what was open is shown as that.
#[cfg(unix)]
#[tokio::test]
async fn a_recording_is_whole_when_the_bridge_is_killed() {
    use mcp_bridge_testkit::{reply::Gate, request::call};
    let directory = TempDir::new().expect("a directory for the test");
    let server = FaultServer::start();
    let gate = Gate::closed();
    let wait = gate.clone();
    server.always(call("echo"), move |request: &Request| {
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/message",
            "params": {"level": "info", "data": "half-way"}});
        Reply::sse()
            .data(progress.to_string())
            .wait(&wait)
            .data(request.echo())
            .close()
    });
    let mut app = recording(&server, &directory).start();
    app.initialize().await;
    app.call("one", "echo", "hello").await;
    app.server_sent("notifications/message").await;
    let is_open = |entry: &Value| {
        let text = entry["response"]["content"]["text"].as_str();
        entry["_mcp"]["state"] == "open" && text.is_some_and(|text| text.contains("half-way"))
    };
    has_entry(&directory, is_open).await;
    app.killed().await;
    assert!(entries(&directory).iter().any(is_open));
    gate.open();
}

#[tokio::test]
async fn streams_and_retries_are_steps_with_their_reasons() {
    let directory = TempDir::new().expect("a directory for the test");
    let server = FaultServer::start();
    server.once(rpc("tools/list"), |_: &Request| {
        Reply::status(503).header("Retry-After", "0")
    });
    let mut app = recording(&server, &directory).start();
    app.initialize().await;
    app.request(1, "tools/list", &json!({})).await;
    app.result(1).await;
    has_entry(&directory, |entry| {
        let detail = entry["_mcp"]["detail"].as_str().unwrap_or_default();
        entry["_mcp"]["step"] == "retry" && detail.contains("the server is busy")
    })
    .await;
    has_entry(&directory, |entry| entry["_mcp"]["step"] == "stream").await;
    app.finish().await;
}

#[tokio::test]
async fn a_sign_in_is_recorded_without_its_secrets() {
    let directory = TempDir::new().expect("a directory for the test");
    let home = TempDir::new().expect("a directory for the test");
    let provider = AuthorizationServer::start().await;
    let browser = BrowserDouble::signing_in(home.path());
    let file = directory.path().join("it.har");
    let file = file.display().to_string();
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &["--record", &file]);
    app.initialize().await;
    app.request(1, "tools/list", &json!({})).await;
    app.result(1).await;
    app.finish().await;
    let entries = entries(&directory);
    let exchanges = of_kind(&entries, "http");
    let has_tokens = |entry: &&&Value| {
        let text = entry["response"]["content"]["text"].as_str();
        text.is_some_and(|text| text.contains(r#""access_token":"[masked]""#))
    };
    let tokens = exchanges.iter().filter(has_tokens).count();
    assert_eq!(tokens, 1, "{exchanges:#?}");
    let is_sign_in = |entry: &&&Value| entry["_mcp"]["purpose"] == "sign-in";
    assert!(exchanges.iter().filter(is_sign_in).count() >= 3);
    let steps = of_kind(&entries, "step");
    assert!(
        steps
            .iter()
            .any(|entry| entry["_mcp"]["detail"] == "signed in")
    );
}

#[tokio::test]
async fn a_recording_that_cannot_be_written_ends_no_bridge() {
    let server = FaultServer::start();
    let launch = program::bridge_for(&server).args(["--record", "/nowhere/at/all.har"]);
    let mut app = launch.start();
    app.initialize().await;
    app.says("the recording cannot be written").await;
    app.still_served().await;
    app.finish().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_recording_is_private_and_the_one_before_it_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().expect("a directory for the test");
    let server = FaultServer::start();
    for _ in 0..2 {
        let mut app = recording(&server, &directory).start();
        app.initialize().await;
        app.finish().await;
    }
    for name in ["it.har", "it.har.1"] {
        let file = std::fs::metadata(directory.path().join(name)).expect(name);
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let files = std::fs::read_dir(directory.path()).expect("a directory");
    assert_eq!(files.count(), 2);
}

#[tokio::test]
async fn a_command_records_what_it_does() {
    let directory = TempDir::new().expect("a directory for the test");
    let server = FaultServer::start();
    server.always(call("echo"), |request: &Request| {
        Reply::json(request.echo())
    });
    let file = directory.path().join("it.har").display().to_string();
    let url = server.url();
    let program = program::command(["call", &url, "echo", "text=hello", "--record", &file]);
    program.run().await.is(0, "hello\n", "");
    let entries = entries(&directory);
    let methods: Vec<_> = of_kind(&entries, "http")
        .into_iter()
        .map(|entry| entry["request"]["method"].as_str())
        .collect();
    assert!(methods.contains(&Some("DELETE")), "{methods:?}");
    let is_call = |entry: &&Value| entry["_mcp"]["method"] == "tools/call";
    assert_eq!(
        of_kind(&entries, "message")
            .into_iter()
            .filter(is_call)
            .count(),
        1
    );
}
