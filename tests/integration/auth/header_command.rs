//! Headers from a program of the user's own: `--header-command`.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;

use super::auth_command::Program;
use crate::program;
use mcp_bridge_testkit::app::{App, Launch};
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::mcp::Binding;
use mcp_bridge_testkit::reply::Reply;
use mcp_bridge_testkit::request::{Request, get, post};
use mcp_bridge_testkit::{HEADER_MARKER, soon};

fn launch(program: &Program, server: &FaultServer) -> Launch {
    let command = program.command();
    program::bridge_for(server).args(["--header-command", &command, "--drain-timeout", "0"])
}

fn start(program: &Program, server: &FaultServer) -> App {
    launch(program, server).start()
}

/// The key that a gateway wants in `X-Gateway`, which a test may change.
#[derive(Clone)]
struct Key(Arc<Mutex<&'static str>>);

impl Key {
    fn change(&self, key: &'static str) {
        *self.0.lock().expect("nobody panics") = key;
    }
}

/// A server behind a gateway that answers in this way to who does not have the key.
fn server_behind_gateway(
    first: &'static str,
    refusal: impl Fn() -> Reply + Clone + Send + 'static,
) -> (FaultServer, Key) {
    let server = FaultServer::start();
    let key = Key(Arc::new(Mutex::new(first)));
    for want in [post(), get()] {
        let (key, refusal) = (key.clone(), refusal.clone());
        server.always(want, move |request: &Request| {
            let wanted = *key.0.lock().expect("nobody panics");
            (request.header("x-gateway") != Some(wanted)).then(&refusal)
        });
    }
    (server, key)
}

/// A-114
#[tokio::test]
async fn each_request_has_the_headers_that_the_program_printed_once() {
    let (server, _) = server_behind_gateway("one", || Reply::status(403));
    let program = Program::new(r#"echo '{"X-Gateway": "one", "X-Other": "a b"}'"#);
    let mut app = start(&program, &server);
    app.initialize().await;
    for id in 0..5 {
        app.call(id, "echo", "").await;
    }
    for id in 0..5 {
        app.result(id).await;
    }
    app.finish().await;
    assert_eq!(program.runs(), 1);
    let requests = server.requests();
    assert!(requests.iter().any(|request| request.method == "DELETE"));
    assert!(
        requests
            .iter()
            .all(|request| request.header("x-other") == Some("a b"))
    );
}

/// A-114: whichever way the gateway has to say no.
#[tokio::test]
async fn after_a_refusal_the_program_is_run_once_more_for_all_who_wait() {
    let refusals: [fn() -> Reply; 4] = [
        || Reply::status(401),
        || Reply::status(403),
        || Reply::status(407),
        || Reply::status(302).header("Location", "https://login.example/"),
    ];
    for refusal in refusals {
        let (server, key) = server_behind_gateway("key-1", refusal);
        let program = Program::new(r#"echo "X-Gateway: key-$run""#);
        let mut app = start(&program, &server);
        app.initialize().await;
        key.change("key-2");
        for id in 0..5 {
            app.call(id, "echo", "").await;
        }
        for id in 0..5 {
            app.result(id).await;
        }
        app.finish().await;
        assert_eq!(program.runs(), 2);
    }
}

/// A-114: the documents of the sign-in lie behind the gateway, too.
#[tokio::test]
async fn a_gateways_header_goes_along_with_a_sign_in_at_the_server() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.gateway = Some("key-1"));
    let home = TempDir::new().expect("a directory");
    let browser = BrowserDouble::signing_in(home.path());
    let program = Program::new(r#"echo "{\"X-Gateway\": \"key-$run\"}""#);
    let flags = ["--header-command", &program.command()];
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &flags);
    app.initialize().await;
    app.request(7, "tools/list", &json!({})).await;
    app.result(7).await;
    provider.behave(|it| it.gateway = Some("key-2"));
    app.request(8, "tools/list", &json!({})).await;
    app.result(8).await;
    provider.revoke_access_tokens();
    app.request(9, "tools/list", &json!({})).await;
    app.result(9).await;
    app.finish().await;
    assert_eq!(program.runs(), 2);
    assert_eq!(provider.seen("/authorize").len(), 1);
    assert_eq!(provider.refreshes(), 1);
}

/// A-114: where the program brings the credential of the server itself, nobody is asked to sign in.
#[tokio::test]
async fn a_program_that_prints_the_authorization_takes_the_place_of_the_sign_in() {
    let provider = AuthorizationServer::start().await;
    let home = TempDir::new().expect("a directory");
    let browser = BrowserDouble::forbidden(home.path());
    let program = Program::new("echo 'Authorization: Bearer unknown-there'");
    let flags = ["--header-command", &program.command(), "--fail-fast"];
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &flags);
    app.request(1, "tools/list", &json!({})).await;
    let error = app.error(1).await;
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("the server refuses what it prints"),
        "{error}"
    );
    let hint = error["data"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("--header-command"), "{error}");
    app.finish().await;
    assert_eq!(program.runs(), 2);
    assert!(!browser.was_started_by_now());
    assert_eq!(provider.paths(), [""; 0]);
}

/// A-114: one error that says what to do, and nothing is sent.
#[tokio::test]
async fn what_is_no_header_is_an_error_that_names_the_program_and_repeats_nothing() {
    let endless = "while :; do echo 0123456789012345678901234567890123456789; done";
    for (script, expected) in [
        (
            format!("echo garbage {HEADER_MARKER}"),
            "neither JSON nor lines",
        ),
        (
            format!("printf '%s' '{{\"X-A\": \"a\\r\\n{HEADER_MARKER}\"}}'"),
            "characters that a header may not have",
        ),
        ("exit 0".to_owned(), "it printed nothing"),
        (
            "echo 'not logged in' >&2; exit 3".to_owned(),
            "exit status: 3: not logged in",
        ),
        (endless.to_owned(), "65536 bytes"),
    ] {
        let server = FaultServer::start_as(Binding::Stateless);
        let program = Program::new(&script);
        let mut app = start(&program, &server);
        app.request(1, "tools/list", &json!({})).await;
        let error = app.error(1).await;
        assert_eq!(error["data"]["kind"], "auth_command_failed");
        let text = error.to_string();
        assert!(
            text.contains(expected) && text.contains("`sh` printed no header"),
            "{text}"
        );
        assert!(
            text.contains("--header-command") && !text.contains(HEADER_MARKER),
            "{text}"
        );
        // `finish` looks for the marker in the log.
        app.finish().await;
        assert!(server.requests().is_empty());
    }
}

/// A-114: the app is answered all the same, and nothing is sent without the headers. The bridge ends the program, whose end
/// nobody may take note of, so it may be left as a zombie.
#[tokio::test]
async fn a_program_that_hangs_delays_no_answer_to_the_app() {
    let server = FaultServer::start();
    let program = Program::new("exec /bin/sleep 20");
    let mut app = launch(&program, &server).leaves_orphans().start();
    app.initialize().await;
    app.finish().await;
    assert_eq!(program.runs(), 1);
    assert!(server.requests().is_empty());
}

/// [`App::finish`] looks for the marker, with everything said that can be said.
#[tokio::test]
async fn a_printed_header_is_never_shown() {
    let server = FaultServer::start();
    let program = Program::new(&format!("echo X-Key: {HEADER_MARKER}"));
    let mut app = start(&program, &server);
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|it| it.header("x-key") == Some(HEADER_MARKER))
    );
}

/// A-114
#[tokio::test]
async fn headers_are_replaced_before_they_expire() {
    let server = FaultServer::start();
    server.allow_requests(usize::MAX);
    let program =
        Program::new(r#"echo "{\"headers\": {\"X-Key\": \"key-$run\"}, \"expires_in\": 1}""#);
    let mut app = start(&program, &server);
    app.initialize().await;
    let replaced = async {
        while program.runs() < 2 {
            app.still_served().await;
        }
    };
    soon("another run", replaced).await;
    app.still_served().await;
    app.finish().await;
    let last = server
        .requests()
        .last()
        .and_then(|it| it.header("x-key").map(str::to_owned));
    assert_ne!(last.as_deref(), Some("key-1"));
}
