//! `mcp-bridge inspect`: the page in the browser, and that nobody else can drive it.

mod findings;
mod requests;
mod sign_in;

use reqwest::header::{COOKIE, HOST, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::program;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::limits::{client, soon};
use mcp_bridge_testkit::program::{Program, Running};
use mcp_bridge_testkit::reply::Reply;
use mcp_bridge_testkit::request::{Request, call, delete, rpc};
use mcp_bridge_testkit::secrets;

/// The inspector at work, and a browser that was sent to its page.
pub(super) struct Inspector {
    pub(super) running: Running,
    page: Url,
    client: Client,
    /// Told of the pages that the bridge opens.
    browser: BrowserDouble,
    _home: TempDir,
}

impl Inspector {
    async fn start(args: &[&str]) -> Self {
        let all = ["inspect"].into_iter().chain(args.iter().copied());
        Self::of_program(program::command(all)).await
    }

    pub(super) async fn of_program(program: Program) -> Self {
        let home = TempDir::new().expect("a directory for the test");
        let browser = BrowserDouble::noting(home.path());
        let running = program.browser(&browser).search_path().spawn();
        let page = browser.page().await;
        let client = client().redirect(redirect::Policy::none());
        Self {
            running,
            page,
            client: client.build().expect("a client"),
            browser,
            _home: home,
        }
    }

    async fn of_server(server: &FaultServer) -> Self {
        let header = format!("X-Api-Key: {}", mcp_bridge_testkit::HEADER_MARKER);
        Self::start(&[server.url().as_str(), "--header", &header]).await
    }

    async fn of_recording(entries: &[Value]) -> Self {
        let har = json!({"log": {"version": "1.2", "entries": entries}});
        let file = tempfile::NamedTempFile::new().expect("a file for the test");
        std::fs::write(file.path(), har.to_string()).expect("it is ours");
        let path = file.path().display().to_string();
        Self::start(&["--recording", &path]).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.page.join(path).expect("a path");
        self.client.request(method, url)
    }

    /// The cookie that the token is exchanged for.
    pub(super) async fn cookie(&self) -> String {
        let entered = self.client.get(self.page.clone()).send().await;
        let entered = entered.expect("an answer");
        assert_eq!(entered.status(), StatusCode::SEE_OTHER);
        assert_eq!(entered.headers()[LOCATION], "/");
        let cookie = entered.headers()[SET_COOKIE].to_str().expect("text");
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        cookie.split(';').next().expect("a pair").to_owned()
    }

    /// Posts a message as the page does.
    pub(super) async fn rpc(&self, cookie: &str, body: &Value) -> Response {
        self.post(cookie, "/rpc", body.to_string()).await
    }

    /// Posts what the page wants done.
    async fn post(&self, cookie: &str, path: &str, body: String) -> Response {
        let origin = self.page.origin().ascii_serialization();
        let request = self.request(Method::POST, path).header(COOKIE, cookie);
        let request = request.header(ORIGIN, origin).body(body);
        request.send().await.expect("an answer")
    }

    /// Posts what the page wants done, and returns what it is told: an error has the status in it.
    async fn act(&self, cookie: &str, path: &str, body: &str) -> String {
        let done = self.post(cookie, path, body.to_owned()).await;
        let status = done.status();
        let text = done.text().await.expect("text");
        assert_eq!(secrets::shown_in(&text), None, "{text}");
        match status {
            StatusCode::OK => text,
            _ => format!("{}: {text}", status.as_u16()),
        }
    }

    /// Reads the event stream until it has such an event.
    pub(super) async fn has_event(
        &self,
        cookie: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let request = self.request(Method::GET, "/events").header(COOKIE, cookie);
        let mut response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut text = String::new();
        let reading = async {
            while let Some(chunk) = response.chunk().await.expect("a stream") {
                text.push_str(&String::from_utf8_lossy(&chunk));
                assert_eq!(secrets::shown_in(&text), None, "{text}");
                let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
                let mut events = data.filter_map(|data| serde_json::from_str(data).ok());
                if let Some(found) = events.find(&is_wanted) {
                    return found;
                }
            }
            panic!("the stream has ended: {text}")
        };
        soon("an event", reading).await
    }
}

fn is_safe(headers: &HeaderMap) {
    let policy = headers["content-security-policy"].to_str().expect("text");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers.get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn the_page_opens_by_the_token_and_has_no_script_of_its_own_in_it() {
    let inspector = Inspector::of_recording(&[]).await;
    let cookie = inspector.cookie().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/tools.js", "text/javascript; charset=utf-8"),
        ("/lists.js", "text/javascript; charset=utf-8"),
        ("/signin.js", "text/javascript; charset=utf-8"),
        ("/requests.js", "text/javascript; charset=utf-8"),
        ("/findings.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
    ] {
        let request = inspector.request(Method::GET, path);
        let response = request.header(COOKIE, &cookie).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], kind);
        assert_eq!(response.headers()["content-encoding"], "gzip");
        is_safe(response.headers());
    }
    let missing = inspector.request(Method::GET, "/other");
    let missing = missing
        .header(COOKIE, &cookie)
        .send()
        .await
        .expect("an answer");
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_is_there_without_the_token() {
    let inspector = Inspector::of_recording(&[]).await;
    for path in ["/", "/?token=guessed", "/app.js", "/events", "/other"] {
        let response = inspector.request(Method::GET, path).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        assert!(response.headers().get(SET_COOKIE).is_none());
        is_safe(response.headers());
    }
}

/// DNS rebinding: the attacker's name leads to this machine, and the browser takes both for one site.
#[tokio::test]
async fn a_page_that_has_bound_its_name_to_this_machine_gets_nothing() {
    let inspector = Inspector::of_recording(&[]).await;
    let cookie = inspector.cookie().await;
    let port = inspector.page.port().expect("a port");
    let attacker = format!("attacker.example:{port}");
    let page = inspector.client.get(inspector.page.clone());
    let events = inspector.request(Method::GET, "/events");
    for request in [page, events.header(COOKIE, &cookie)] {
        let response = request.header(HOST, &attacker).send().await;
        assert_eq!(response.expect("an answer").status(), StatusCode::FORBIDDEN);
    }
}

/// The cookie is sent with requests of pages on other ports of this machine, as they are of the same site.
#[tokio::test]
async fn another_page_can_neither_post_nor_read_the_events() {
    let server = FaultServer::start();
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    server.received(rpc("notifications/initialized"), 1).await;
    let call = json!({"method": "tools/call", "params": {"name": "echo"}}).to_string();
    for (name, value) in [
        ("origin", "http://attacker.example"),
        ("origin", "http://127.0.0.1:1"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let post = |path| inspector.request(Method::POST, path).body(call.clone());
        let events = inspector.request(Method::GET, "/events");
        let state = inspector.request(Method::GET, "/sign-in");
        for request in [
            post("/rpc"),
            post("/answer"),
            post("/findings"),
            post("/sign-in/end"),
            post("/sign-in/client"),
            events,
            state,
        ] {
            let request = request.header(COOKIE, &cookie).header(name, value);
            let response = request.send().await.expect("an answer");
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name}: {value}");
        }
    }
    // Nor does one that says nothing of its origin.
    let post = inspector.request(Method::POST, "/rpc").body(call);
    let response = post
        .header(COOKIE, &cookie)
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(server.count(&rpc("tools/call")), 0, "{}", server.story());
}

#[tokio::test]
async fn a_recording_is_shown_and_nothing_can_be_asked_there() {
    let entry = |begun: &str| json!({"startedDateTime": begun, "_mcp": {"kind": "step"}});
    let entries = [entry("2026-01-02T00:00:00Z"), entry("2026-01-01T00:00:00Z")];
    let inspector = Inspector::of_recording(&entries).await;
    let cookie = inspector.cookie().await;
    let about = inspector.has_event(&cookie, |event| event.get("isLive").is_some());
    assert_eq!(about.await["isLive"], false);
    let first = inspector.has_event(&cookie, |event| event.get("startedDateTime").is_some());
    assert_eq!(first.await["startedDateTime"], "2026-01-01T00:00:00Z");
    for path in ["/rpc", "/answer", "/findings", "/sign-in/start"] {
        let body = json!({"method": "ping"}).to_string();
        let refused = inspector.post(&cookie, path, body).await;
        assert_eq!(refused.status(), StatusCode::CONFLICT, "{path}");
    }
}

#[tokio::test]
async fn a_connection_is_shown_as_it_happens_and_the_page_can_call_a_tool() {
    let server = FaultServer::start();
    server.always(call("echo"), |request: &Request| {
        Reply::json(request.echo())
    });
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    let session = inspector.has_event(&cookie, |event| event["_mcp"]["step"] == "session");
    assert_eq!(session.await["_mcp"]["detail"], "opened, with an id");
    let arguments = json!({"name": "echo", "arguments": {"text": "hello"}});
    let called = inspector
        .rpc(
            &cookie,
            &json!({"method": "tools/call", "params": arguments}),
        )
        .await;
    assert_eq!(called.status(), StatusCode::OK);
    let answer: Value = serde_json::from_str(&called.text().await.expect("text")).expect("JSON");
    assert_eq!(answer["result"]["content"][0]["text"], "hello");
    inspector
        .has_event(&cookie, |event| {
            let sent = event["request"]["postData"]["text"].as_str();
            event["_mcp"]["kind"] == "http" && sent.is_some_and(|it| it.contains("tools/call"))
        })
        .await;
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_named() {
    let server = FaultServer::start();
    server.once(rpc("tools/list"), |_: &Request| {
        Reply::status(503).header("retry-after", "0")
    });
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    inspector
        .rpc(&cookie, &json!({"method": "tools/list"}))
        .await;
    let is_retry = |event: &Value| event["_mcp"]["step"] == "retry";
    let retry = inspector.has_event(&cookie, is_retry).await;
    let detail = retry["_mcp"]["detail"].as_str().expect("words");
    assert!(detail.starts_with("tools/list #"), "{detail}");
    assert!(detail.ends_with("ms: the server is busy"), "{detail}");
}

/// A person presses "Cancel", or closes the page.
#[tokio::test]
async fn a_call_that_the_page_gives_up_is_cancelled_at_the_server() {
    let server = FaultServer::start();
    server.always(call("echo"), |_: &Request| Reply::no_answer_ever());
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    let wanted = json!({"method": "tools/call", "params": {"name": "echo"}});
    let called = tokio::select! {
        answer = inspector.rpc(&cookie, &wanted) => panic!("{answer:?}"),
        called = server.received(call("echo"), 1) => called,
    };
    let cancelled = server.received(rpc("notifications/cancelled"), 1).await;
    let id: Value = serde_json::from_str(called.message().id().expect("an id")).expect("JSON");
    assert_eq!(cancelled.params()["requestId"], id);
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_the_page_and_the_session() {
    let server = FaultServer::start();
    let inspector = Inspector::of_server(&server).await;
    server.received(rpc("notifications/initialized"), 1).await;
    inspector.running.interrupt();
    let ran = inspector.running.ends().await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stderr
            .starts_with("The inspector is at\nhttp://127.0.0.1:"),
        "{ran:?}"
    );
    assert_eq!(server.count(&delete()), 1, "{}", server.story());
}

#[tokio::test]
async fn a_file_that_is_no_recording_is_refused() {
    let ran = program::command(["inspect", "--recording", "/nowhere/at/all.har"]);
    let ran = ran.run().await;
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr
            .starts_with("error: cannot read /nowhere/at/all.har: "),
        "{ran:?}"
    );
}
