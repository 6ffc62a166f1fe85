//! `--metrics`: numbers about the bridge, scraped over HTTP.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HOST};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program;
use mcp_bridge_testkit::app::{App, Launch};
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::limits::client;
use mcp_bridge_testkit::reply::Reply;
use mcp_bridge_testkit::request::{Request, call, rpc};

/// Prints the samples of an OpenMetrics text, as prometheus-client reads them; ends with 75 where it is not installed.
const FOREIGN_PARSER: &str = "\
import sys
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    sys.exit(75)
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = ','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))
        print(f'{sample.name}{{{labels}}} {sample.value:g}')
";

/// Status of a parser that is not there.
const NOT_INSTALLED: i32 = 75;

/// The samples of a scrape, as `name{label=value} number`.
struct Samples(Vec<String>);

impl Samples {
    /// Read by our own eyes: the format is a line per sample.
    fn of(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (sample, number) = line.rsplit_once(' ').expect("a sample has a value");
            let number: f64 = number.parse().expect("a number");
            let sample = sample.replace('"', "");
            let labels = if sample.ends_with('}') { "" } else { "{}" };
            format!("{sample}{labels} {number}")
        });
        Self(samples.collect())
    }

    /// Read by a parser of others; `None`, with a message, where it is not installed.
    fn by_foreign_parser(text: &str) -> Option<Self> {
        // The second is the system's, beside which another may be installed.
        let parsed = ["python3", "/usr/bin/python3"]
            .iter()
            .find_map(|python| parsed_by(python, text));
        if parsed.is_none() {
            eprintln!(
                "skipped: prometheus_client for Python is not installed, so no other parser reads the metrics"
            );
        }
        parsed.map(|samples| Self(samples.lines().map(str::to_owned).collect()))
    }

    fn has(&self, sample: &str) -> bool {
        self.0.iter().any(|one| one == sample)
    }

    #[track_caller]
    fn have(&self, expected: &[&str]) {
        for sample in expected {
            assert!(self.has(sample), "no {sample} in {:#?}", self.0);
        }
    }
}

/// The samples, as prometheus-client of this interpreter reads them, if it has it.
fn parsed_by(python: &str, text: &str) -> Option<String> {
    let parser = Command::new(python)
        .args(["-c", FOREIGN_PARSER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut parser = parser.ok()?;
    let mut input = parser.stdin.take().expect("a pipe");
    // One that is not there does not read.
    let _ = input.write_all(text.as_bytes());
    drop(input);
    let output = parser.wait_with_output().expect("the parser ends");
    if output.status.code() == Some(NOT_INSTALLED) {
        return None;
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{text}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// The address at which this bridge says that its metrics are.
async fn address_of(app: &App) -> String {
    app.says("/metrics").await;
    let stderr = app.stderr();
    let (_, rest) = stderr
        .split_once("metrics are at ")
        .expect("the bridge says where");
    let end = rest.find("/metrics").expect("the path") + "/metrics".len();
    rest[..end].to_owned()
}

async fn scrape(address: &str) -> String {
    let response = client().build().expect("a client").get(address).send();
    let response = response.await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    let kind = response.headers()[CONTENT_TYPE].to_str().expect("text");
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    response.text().await.expect("a body")
}

fn with_metrics(server: &FaultServer) -> Launch {
    program::bridge_for(server).args(["--metrics", "0"])
}

#[tokio::test]
async fn requests_errors_and_latencies_are_scraped_over_http() {
    let server = FaultServer::start();
    server.once(call("broken"), |_: &Request| Reply::status(500));
    server.once(call("refused"), |request: &Request| {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let error = json!({"code": -32602, "message": "no"});
        Reply::json(json!({"jsonrpc": "2.0", "id": body["id"], "error": error}).to_string())
    });
    server.once(rpc("tools/list"), |_: &Request| {
        Reply::status(503).header("Retry-After", "0")
    });
    let mut app = with_metrics(&server).start();
    let address = address_of(&app).await;
    app.initialize().await;
    app.request(1, "tools/list", &json!({})).await;
    app.result(1).await;
    app.call(2, "echo", "hello").await;
    app.result(2).await;
    app.call(3, "broken", "").await;
    app.own_error(3, "http_status").await;
    app.call(4, "refused", "").await;
    app.error(4).await;
    let text = scrape(&address).await;
    let by_us = Samples::of(&text);
    let by_others = Samples::by_foreign_parser(&text);
    for samples in [Some(by_us), by_others].iter().flatten() {
        samples.have(&[
            "mcp_bridge_requests_total{method=initialize} 1",
            "mcp_bridge_requests_total{method=tools/list} 1",
            "mcp_bridge_requests_total{method=tools/call} 3",
            "mcp_bridge_requests_open{} 0",
            "mcp_bridge_errors_total{kind=http_status} 1",
            "mcp_bridge_errors_total{kind=server} 1",
            "mcp_bridge_request_duration_seconds_count{method=tools/call} 3",
            "mcp_bridge_http_requests_total{status=503,to=server} 1",
            "mcp_bridge_http_retries_total{} 1",
            "mcp_bridge_sign_in_state{mcp_bridge_sign_in_state=none} 1",
            "mcp_bridge_sign_in_state{mcp_bridge_sign_in_state=signed_in} 0",
        ]);
    }
    app.finish().await;
}

#[tokio::test]
async fn the_sign_in_and_its_refreshes_are_counted() {
    let home = TempDir::new().expect("a directory for the test");
    let provider = AuthorizationServer::start().await;
    let browser = BrowserDouble::signing_in(home.path());
    let flags = ["--metrics", "0", "--log-level", "info"];
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &flags);
    let address = address_of(&app).await;
    app.initialize().await;
    app.request(1, "tools/list", &json!({})).await;
    app.result(1).await;
    Samples::of(&scrape(&address).await).have(&[
        "mcp_bridge_sign_in_state{mcp_bridge_sign_in_state=signed_in} 1",
        "mcp_bridge_sign_ins_total{outcome=done} 1",
        "mcp_bridge_token_refreshes_total{} 0",
        "mcp_bridge_http_requests_total{status=401,to=server} 1",
    ]);
    provider.revoke_access_tokens();
    app.request(2, "tools/list", &json!({})).await;
    app.result(2).await;
    Samples::of(&scrape(&address).await).have(&[
        "mcp_bridge_sign_in_state{mcp_bridge_sign_in_state=signed_in} 1",
        "mcp_bridge_sign_ins_total{outcome=done} 1",
        "mcp_bridge_token_refreshes_total{} 1",
        "mcp_bridge_token_refresh_outcomes_total{outcome=done} 1",
    ]);
    app.finish().await;
}

#[tokio::test]
async fn a_sign_in_that_waits_for_a_person_and_tokens_that_were_stored_are_states() {
    let home = TempDir::new().expect("a directory for the test");
    let provider = AuthorizationServer::start().await;
    let flags = ["--metrics", "0", "--log-level", "info", "--no-linger"];
    let browser = BrowserDouble::noting(home.path());
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &flags);
    let address = address_of(&app).await;
    app.initialize().await;
    browser.started().await;
    let waiting = "mcp_bridge_sign_in_state{mcp_bridge_sign_in_state=waiting} 1";
    Samples::of(&scrape(&address).await).have(&[waiting]);
    app.killed().await;

    program::sign_in(&provider, &home.path().join("store")).await;
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &flags);
    let address = address_of(&app).await;
    app.initialize().await;
    app.request(1, "tools/list", &json!({})).await;
    app.result(1).await;
    Samples::of(&scrape(&address).await).have(&[
        "mcp_bridge_sign_in_state{mcp_bridge_sign_in_state=signed_in} 1",
        "mcp_bridge_sign_ins_total{outcome=done} 0",
    ]);
    app.finish().await;
}

#[tokio::test]
async fn a_web_page_cannot_read_the_metrics_under_a_name_of_its_own() {
    let server = FaultServer::start();
    let mut app = with_metrics(&server).start();
    let address = address_of(&app).await;
    app.initialize().await;
    let client = client().build().expect("a client");
    for (host, expected) in [
        ("attacker.example", StatusCode::FORBIDDEN),
        ("localhost.attacker.example:80", StatusCode::FORBIDDEN),
        ("localhost", StatusCode::OK),
        ("127.0.0.1:1", StatusCode::OK),
        ("[::1]", StatusCode::OK),
    ] {
        let response = client.get(&address).header(HOST, host).send().await;
        assert_eq!(response.expect("a response").status(), expected, "{host}");
    }
    let elsewhere = address.replace("/metrics", "/");
    let response = client.get(elsewhere).send().await.expect("a response");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    app.finish().await;
}

#[tokio::test]
async fn metrics_that_cannot_be_served_end_no_bridge() {
    let server = FaultServer::start();
    let first = with_metrics(&server).start();
    let address = address_of(&first).await;
    let port = address.trim_start_matches("http://127.0.0.1:");
    let port = port.trim_end_matches("/metrics");
    let launch = program::bridge_for(&server).args(["--metrics", port]);
    let mut second = launch.start();
    second.initialize().await;
    second.says("the metrics cannot be served").await;
    second.still_served().await;
    second.finish().await;
    first.finish().await;
}

/// A recording sees what the metrics have counted.
#[tokio::test]
async fn metrics_and_a_recording_go_together() {
    let directory = TempDir::new().expect("a directory for the test");
    let file = directory.path().join("it.har");
    let server = FaultServer::start();
    let mut app = with_metrics(&server)
        .args([std::path::Path::new("--record"), &file])
        .start();
    let address = address_of(&app).await;
    app.initialize().await;
    app.call(1, "echo", "hello").await;
    app.result(1).await;
    Samples::of(&scrape(&address).await).have(&["mcp_bridge_requests_total{method=tools/call} 1"]);
    app.finish().await;
    let recorded = std::fs::read_to_string(&file).expect("a recording");
    assert!(recorded.contains("tools/call"), "{recorded}");
}
