//! Spans of requests in the log of `--debug`: each line that belongs to a request of the app names it, whatever happens to
//! the request, with many in flight.

use std::collections::HashMap;

use serde_json::json;
use tempfile::tempdir;

use crate::program;
use mcp_bridge_testkit::app::initialize_line;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    reply::{Gate, Reply},
    request::{call, resume_after, rpc},
};

/// Requests that are in flight together.
const REQUESTS: usize = 64;

/// Requests that meet the same.
const OF_A_KIND: usize = REQUESTS / 8;

/// Beginnings of the lines that are no request's: of the session, of its own stream, of notifications, and of the line that
/// the end of the test sends.
const OF_NO_REQUEST: [&str; 7] = [
    "-> server: POST notification",
    "<- server: accepted",
    "-> server: GET event stream",
    "<- server: event stream opened",
    "-> server: DELETE session",
    "<- server: session ended",
    "refused a line of the app",
];

/// A line of the log.
#[derive(Debug)]
struct Line<'a> {
    /// The id and the method of the request, if it names one.
    request: Option<(&'a str, &'a str)>,
    /// The rest, other spans included.
    text: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let levels = [" DEBUG ", "  INFO ", "  WARN "];
        let (_, line) = levels.iter().find_map(|level| line.split_once(level))?;
        let named = line.strip_prefix("request{id=").and_then(|rest| {
            let (fields, text) = rest.split_once("}: ")?;
            let (id, method) = fields.split_once(" method=")?;
            Some(((id, method.trim_matches('"')), text))
        });
        Some(match named {
            Some((request, text)) => Self {
                request: Some(request),
                text,
            },
            None => Self {
                request: None,
                text: line,
            },
        })
    }

    /// True if its fields name a request that no task carries yet.
    fn names_request_in_fields(&self) -> bool {
        self.text.contains(" id=") && self.text.contains(" method=")
    }

    fn is_of_no_request(&self) -> bool {
        OF_NO_REQUEST.iter().any(|it| self.text.starts_with(it))
    }
}

/// Lines of each request by id; none may be without a request but those that are no request's.
fn by_request(log: &str) -> HashMap<String, Vec<&str>> {
    let mut requests: HashMap<_, Vec<_>> = HashMap::new();
    for line in log.lines().filter_map(Line::parse) {
        match line.request {
            Some((id, _)) => requests.entry(id.to_owned()).or_default().push(line.text),
            None => assert!(
                line.names_request_in_fields() || line.is_of_no_request(),
                "{line:?}\n{log}"
            ),
        }
    }
    requests
}

fn note(number: usize) -> String {
    json!({"jsonrpc": "2.0", "method": "vendor/note", "params": {"number": number}}).to_string()
}

/// The id of the request in the arguments, as the tool of the double has it.
fn id_of(request: &mcp_bridge_testkit::request::Request) -> usize {
    let text = request.params()["arguments"]["text"].clone();
    let text = text.as_str().expect("a text");
    text.parse().expect("the id of the request")
}

#[tokio::test]
async fn each_line_names_its_request_whatever_happens_to_it() {
    let server = FaultServer::start();
    server.allow_requests(REQUESTS * 4);
    let gate = Gate::closed();
    let held = gate.clone();
    server.always(call("held"), move |request| {
        Reply::sse().wait(&held).data(request.echo())
    });
    let held = gate.clone();
    server.always(call("noted"), move |request| {
        let note = note(id_of(request));
        Reply::sse().data(note).wait(&held).data(request.echo())
    });
    let held = gate.clone();
    server.always(call("resumed"), move |request| {
        let id = id_of(request);
        let reply = Reply::sse().wait(&held).bytes("retry: 10\n");
        reply.event(&format!("event-{id}"), note(id)).close()
    });
    server.always(call("lost"), |_| Reply::no_answer_but_reset());
    server.always(call("failed"), |_| Reply::status(500));
    server.always(call("garbled"), |_| Reply::json(r#"{"jsonrpc":"2.0""#));
    server.always(call("moved"), |_| {
        Reply::status(307).header("Location", "https://elsewhere.example/mcp")
    });
    server.times(OF_A_KIND, rpc("tools/list"), |_| {
        Reply::status(503).header("Retry-After", "0")
    });

    let mut app = program::initialized(&server).await;
    let tools = [
        "held", "noted", "resumed", "lost", "failed", "garbled", "moved",
    ];
    for id in 0..REQUESTS {
        match tools.get(id / OF_A_KIND) {
            Some(&tool) => {
                if tool == "resumed" {
                    let result = json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string();
                    server.once(resume_after(&format!("event-{id}")), move |_| {
                        Reply::sse().data(&result)
                    });
                }
                app.call(id, tool, &id.to_string()).await;
            }
            None => app.request(id, "tools/list", &json!({})).await,
        }
    }
    for tool in ["held", "noted", "resumed"] {
        server.received(call(tool), OF_A_KIND).await;
    }
    gate.open();
    for id in 0..REQUESTS {
        app.response(id).await;
    }
    for _ in 0..2 * OF_A_KIND {
        app.server_sent("vendor/note").await;
    }
    let log = app.finish().await.stderr;

    let requests = by_request(&log);
    for id in 0..REQUESTS {
        let lines = &requests[&id.to_string()];
        let expected: &[&str] = match tools.get(id / OF_A_KIND) {
            Some(&"held") => &["<- server: response"],
            Some(&"noted") => &["<- server: notification", "<- server: response"],
            Some(&"resumed") => &[
                "<- server: notification",
                "-> server: GET event stream",
                "<- server: event stream resumed",
                "<- server: response",
            ],
            Some(&"lost") => &["<- server: no HTTP response", "request failed: "],
            Some(&"failed") => &["<- server: refused status=500", "request failed: "],
            Some(_) => &["request failed: "],
            None => &["<- server: refused status=503", "<- server: response"],
        };
        assert!(lines[0].starts_with("-> server: POST request"), "{lines:?}");
        let mut rest = lines.iter();
        for expected in expected {
            let found = rest.any(|line| line.starts_with(expected));
            assert!(found, "{id}: {expected}: {lines:#?}");
        }
    }
}

#[tokio::test]
async fn a_refresh_and_a_sign_in_name_the_request_that_needs_them_and_the_host() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let mut app = program::start_signed_out(
        &provider,
        home.path(),
        &browser,
        // So that the requests below find a session, however long the sign-in takes.
        &["--debug", "--wait-for-auth"],
    );
    app.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    HeadlessBrowser::default().visit(page).await;
    app.result("init").await;
    provider.revoke_access_tokens();
    for id in 0..REQUESTS {
        app.request(id, "tools/list", &json!({})).await;
    }
    for id in 0..REQUESTS {
        app.result(id).await;
    }
    let log = app.finish().await.stderr;
    assert_eq!(provider.refreshes(), 1);

    let requests = by_request(&log);
    let host = provider.mcp_url().authority().to_owned();
    let token = format!("{}/token", provider.origin());
    let (mut signed_in, mut refreshed) = (0, 0);
    for (id, lines) in &requests {
        for line in lines.iter().filter(|line| line.contains(" sign-in ")) {
            let in_span = |name: &str| line.starts_with(&format!("{name}{{host={host}}}: "));
            if in_span("sign_in") {
                assert_eq!(id, "\"init\"", "{line}");
            }
            if line.contains("-> sign-in method=POST") && line.contains(&token) {
                signed_in += usize::from(in_span("sign_in"));
                refreshed += usize::from(in_span("refresh"));
            }
        }
    }
    assert_eq!((signed_in, refreshed), (1, 1), "{log}");
    assert_eq!(requests.len(), REQUESTS + 1, "{log}");
}
