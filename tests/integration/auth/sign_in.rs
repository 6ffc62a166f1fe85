//! The built bridge and the example server: who has to sign in, how often, and what of it can be seen.

#![expect(
    clippy::unwrap_used,
    reason = "a double that cannot do its part fails the test"
)]

pub(crate) mod rmcp_client;
pub(crate) mod user;

use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::StatusCode;
#[cfg(unix)]
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::examples::example_server::client::options;
use crate::server::{Options, PRE_REGISTERED_CLIENT_ID, Server, Token};
use mcp_bridge_testkit::app::{App, INITIALIZED, initialize_line};
use mcp_bridge_testkit::{HEADER_MARKER, LIMIT, QUERY_MARKER, free_port, visit_when_it_listens};
use user::{Tokens, User, Window};

/// A token that lives so long is renewed while a test runs.
const SHORT: Duration = Duration::from_secs(1);

async fn server() -> Server {
    Server::start(options()).await.unwrap()
}

async fn ask(app: &mut App) {
    app.send(initialize_line("2025-11-25")).await;
}

/// The rest of the conversation: the session is there, and the tools know who it is.
async fn is_signed_in(app: &mut App) {
    app.result("init").await;
    app.send(INITIALIZED).await;
    assert_eq!(user_data(app, "data").await["id"], user::NAME);
}

async fn user_data(app: &mut App, id: &str) -> Value {
    let params = json!({ "name": "get-user-data", "arguments": {} });
    app.request(id, "tools/call", &params).await;
    app.result(id).await["structuredContent"].clone()
}

/// Calls until the stored tokens are others than these, which takes the bridge a refresh.
async fn refreshed(app: &mut App, user: &User, before: &Tokens) -> Tokens {
    let deadline = Instant::now() + LIMIT;
    for number in 0.. {
        assert_eq!(
            user_data(app, &format!("call {number}")).await["id"],
            user::NAME
        );
        match user.tokens() {
            Some(tokens) if tokens != *before => return tokens,
            Some(_) | None => assert!(Instant::now() < deadline, "no refresh"),
        }
    }
    unreachable!("the deadline comes first")
}

/// The clients that registered.
fn registrations(state_file: &Path) -> usize {
    let state: Value = serde_json::from_str(&user::read(state_file)).unwrap();
    let clients = state["clients"].as_object().map(serde_json::Map::len);
    clients.expect("the state has clients")
}

/// A-66b, X-131
#[tokio::test]
async fn two_bridges_that_start_at_once_open_one_browser_window() {
    let user = User::new();
    let state_file = user.file("server.json");
    let server = Server::start(Options {
        state_file: Some(state_file.clone()),
        ..options()
    })
    .await
    .unwrap();
    let mut apps = [(); 2].map(|()| user.launch(server.url()).start());
    for app in &mut apps {
        ask(app).await;
    }
    user.window().await.sign_in().await;
    for app in &mut apps {
        is_signed_in(app).await;
    }
    for app in apps {
        app.finish().await;
    }
    user.saw_every_window();
    assert_eq!(registrations(&state_file), 1);
}

/// the window that the killed process opened is the one that counts.
#[cfg(unix)]
#[tokio::test]
async fn when_the_bridge_that_opened_the_window_is_killed_another_takes_the_answer() {
    let user = User::new();
    let state_file = user.file("server.json");
    let server = Server::start(Options {
        state_file: Some(state_file.clone()),
        ..options()
    })
    .await
    .unwrap();
    let mut apps = Vec::from([(); 3].map(|()| user.launch(server.url()).start()));
    for app in &mut apps {
        ask(app).await;
    }
    let window = user.window().await;
    let owner = apps.iter().position(|app| app.pid() == window.opened_by);
    let mut owner = apps.remove(owner.expect("one of them opened it"));
    owner.signal(Signal::KILL);
    owner.exit().await;
    window.sign_in().await;
    for app in &mut apps {
        is_signed_in(app).await;
    }
    for app in apps.into_iter().chain([owner]) {
        app.finish().await;
    }
    user.saw_every_window();
    assert_eq!(registrations(&state_file), 1);
}

/// CSRF (RFC 6749 §10.12).
#[tokio::test]
async fn an_answer_with_a_wrong_state_neither_signs_in_nor_ends_the_sign_in() {
    let server = server().await;
    let user = User::new();
    // Without it, `initialize` is answered provisionally.
    let launch = user.launch(server.url()).args(["--wait-for-auth"]);
    let mut app = launch.start();
    ask(&mut app).await;
    let window = user.window().await;
    let state = window.parameter("state");
    let redirect_uri = window.redirect_uri();
    for forged in [
        "code=forged&state=wrong".to_owned(),
        "code=forged&state=".to_owned(),
        "code=forged".to_owned(),
        format!("code=forged&state={state}x"),
        format!("code=forged&state={}", &state[1..]),
        "error=access_denied&state=wrong".to_owned(),
        "error=access_denied".to_owned(),
    ] {
        let mut url = redirect_uri.clone();
        url.set_query(Some(&forged));
        assert_eq!(
            visit_when_it_listens(&url).await,
            StatusCode::BAD_REQUEST,
            "{forged}"
        );
        assert_eq!(user.tokens(), None, "{forged}");
    }
    assert!(
        app.unread().is_empty(),
        "an answer before anybody signed in"
    );
    window.sign_in().await;
    is_signed_in(&mut app).await;
    app.finish().await;
    user.saw_every_window();
}

///
#[tokio::test]
async fn the_next_start_needs_no_browser() {
    let server = server().await;
    let user = User::new();
    let mut app = user.launch(server.url()).start();
    ask(&mut app).await;
    user.window().await.sign_in().await;
    is_signed_in(&mut app).await;
    app.finish().await;
    for _ in 0..2 {
        let mut next = user.launch(server.url()).start();
        ask(&mut next).await;
        is_signed_in(&mut next).await;
        next.finish().await;
    }
    user.saw_every_window();
}

/// in the process that signed in, and in the next one.
#[tokio::test]
async fn a_token_that_ends_is_renewed_without_a_browser() {
    let user = User::new();
    let server = Server::start(Options {
        token_lifetime: SHORT,
        ..options()
    })
    .await
    .unwrap();
    let mut app = user.launch(server.url()).start();
    ask(&mut app).await;
    user.window().await.sign_in().await;
    is_signed_in(&mut app).await;
    let first = user.tokens().expect("stored before the answer");
    let second = refreshed(&mut app, &user, &first).await;
    assert_ne!(second.refresh, first.refresh);
    app.finish().await;

    let mut next = user.launch(server.url()).start();
    ask(&mut next).await;
    is_signed_in(&mut next).await;
    let before = user.tokens().unwrap();
    refreshed(&mut next, &user, &before).await;
    next.finish().await;
    user.saw_every_window();
}

/// with a limit for answers that is far longer than a test waits for the end.
async fn leaves_while_the_window_is_open(leave: impl FnOnce(&mut App)) {
    let server = server().await;
    let user = User::new();
    let alone = ["--drain-timeout", "600", "--no-linger"];
    let mut app = user.launch(server.url()).args(alone).start();
    ask(&mut app).await;
    let window = user.window().await;
    leave(&mut app);
    let status = app.exit().await;
    assert!(status.success(), "{status}");
    app.finish().await;
    let port = window.redirect_uri().port().unwrap();
    for address in ["127.0.0.1", "[::1]"] {
        let bound = TcpListener::bind(format!("{address}:{port}"));
        let taken = bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
        assert!(!taken, "{address}:{port} is still taken");
    }

    // The next one that starts opens the page once more, for a person who has closed the window; another may
    // still answer in the first one.
    let mut next = user.launch(server.url()).start();
    ask(&mut next).await;
    let again = user.window().await;
    assert_eq!(again.parameter("state"), window.parameter("state"));
    window.sign_in().await;
    is_signed_in(&mut next).await;
    next.finish().await;
    user.saw_every_window();
}

#[tokio::test]
async fn an_app_that_leaves_during_the_sign_in_takes_the_bridge_with_it() {
    leaves_while_the_window_is_open(App::close_stdin).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_during_the_sign_in_ends_the_bridge() {
    leaves_while_the_window_is_open(|app| app.signal(Signal::TERM)).await;
}

/// who brings a header of their own does not want to sign in.
#[tokio::test]
async fn a_header_of_the_users_own_that_is_refused_is_an_error_and_no_sign_in() {
    let server = server().await;
    let user = User::new();
    let mut app = user
        .launch(server.url())
        .args(["--header", "Authorization: Bearer ${API_KEY}"])
        .start();
    ask(&mut app).await;
    let data = app.own_error("init", "http_status").await;
    assert_eq!(data["httpStatus"], 401, "{data}");
    app.finish().await;
    user.saw_every_window();
    assert!(!user.store().exists(), "something was stored");
}

/// The example server asks for another scope before, so the person signs in a second time.
#[tokio::test]
async fn rmcps_client_is_asked_by_a_tool_through_the_bridge() {
    let server = server().await;
    let mut user = User::new();
    let mut app = rmcp_client::App::start(&mut user, server.url()).await;
    let consent = async { user.window().await.sign_in().await };
    let (result, ()) = tokio::join!(app.call("order-coffee", json!({})), consent);
    assert_eq!(
        app.question().await,
        "Which coffee would you like, Ada Lovelace?"
    );
    assert_eq!(
        text(&result),
        "One flat white for Ada Lovelace is on its way, with 2 lumps of sugar."
    );
    app.leave().await;
    user.saw_every_window();
}

#[tokio::test]
async fn rmcps_client_hears_of_progress_through_the_bridge() {
    let server = server().await;
    let mut user = User::new();
    let mut app = rmcp_client::App::start(&mut user, server.url()).await;
    let result = app.call("count-down", json!({ "from": 3 })).await;
    assert_eq!(text(&result), "Lift-off!");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let progress = app.progress().await;
        seen.push((progress.progress, progress.total, progress.message));
    }
    seen.sort_by(|one, other| one.0.total_cmp(&other.0));
    let expected = [(0.0, "3 …"), (1.0, "2 …"), (2.0, "1 …")];
    let expected = expected.map(|(done, text)| (done, Some(3.0), Some(text.to_owned())));
    assert_eq!(seen, expected);
    app.leave().await;
    user.saw_every_window();
}

fn text(result: &rmcp::model::CallToolResult) -> &str {
    let content = result.content.first().and_then(|block| block.as_text());
    &content.expect("a text").text
}

/// what the bridge says at its most talkative on stderr.
#[tokio::test]
async fn no_secret_of_a_sign_in_is_shown_on_stderr() {
    no_secret_is_shown(LogTo::Stderr).await;
}

/// The same in a file.
#[tokio::test]
async fn no_secret_of_a_sign_in_is_shown_in_the_log_file() {
    no_secret_is_shown(LogTo::File).await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LogTo {
    Stderr,
    File,
}

/// A sign-in with everything that can be secret in it, a forged answer, and refreshes; then a look at
/// everything that the bridge left behind.
async fn no_secret_is_shown(log_to: LogTo) {
    const CLIENT_SECRET: &str = "marker-of-a-client-secret";
    const FORGED_CODE: &str = "marker-of-a-forged-code";
    let server = Server::start(Options {
        token_lifetime: SHORT,
        client_secret: Some(Token::from(CLIENT_SECRET.to_owned())),
        ..options()
    })
    .await
    .unwrap();
    let user = User::new();
    let url = format!("{}?api_key={QUERY_MARKER}", server.url());
    let log_file = user.file("bridge.log");
    // A client that was registered by hand has one redirect URI, and so one port, which has to be free.
    let port = free_port().to_string();
    let mut launch = user
        .launch(&url)
        .args([port.as_str()])
        .args(["--client-id", PRE_REGISTERED_CLIENT_ID])
        .env("MCP_BRIDGE_CLIENT_SECRET", CLIENT_SECRET);
    if log_to == LogTo::File {
        launch = launch.args(["--log-file", log_file.to_str().unwrap()]);
    }
    let mut app = launch.start();
    ask(&mut app).await;
    let window = user.window().await;
    let in_memory = InMemory::of(&user, &window);
    let mut forged = window.redirect_uri();
    forged.set_query(Some(&format!("code={FORGED_CODE}&state=wrong")));
    assert_eq!(
        visit_when_it_listens(&forged).await,
        StatusCode::BAD_REQUEST
    );
    let callback = window.agree().await;
    assert_eq!(visit_when_it_listens(&callback).await, StatusCode::OK);
    is_signed_in(&mut app).await;
    let first = user.tokens().unwrap();
    let second = refreshed(&mut app, &user, &first).await;

    #[cfg(target_os = "linux")]
    let command_line = user::read(Path::new(&format!("/proc/{}/cmdline", app.pid())));
    app.close_stdin();
    app.exit().await;
    let finished = app.finish().await;
    user.saw_every_window();

    let basic = BASE64_STANDARD.encode(format!("{PRE_REGISTERED_CLIENT_ID}:{CLIENT_SECRET}"));
    let code = parameter(&callback, "code");
    // The end of the session may have taken one more.
    let last = user.tokens().unwrap();
    let tokens = [&first, &second, &last].map(|it| [it.access.clone(), it.refresh.clone()]);
    let mut secrets = Secrets(tokens.into_iter().flatten().collect());
    secrets
        .0
        .extend([code, in_memory.state, in_memory.verifier, basic]);
    secrets
        .0
        .extend([CLIENT_SECRET, FORGED_CODE, HEADER_MARKER].map(str::to_owned));
    // What the URL of the server holds is there because the person wrote it there.
    #[cfg(target_os = "linux")]
    secrets.are_not_in("the command line", &command_line);

    // The address of the page is for the person; its state is of use to nobody who sees it there.
    let page = window.page.as_str();
    let log = match log_to {
        LogTo::Stderr => finished.stderr,
        LogTo::File => {
            assert_eq!(finished.stderr.matches(page).count(), 1);
            secrets.are_not_in("stderr", &finished.stderr.replace(page, ""));
            assert_mode(&log_file, 0o600);
            user::read(&log_file)
        }
    };
    for step in [page, "signed in", "refreshing the token"] {
        assert!(log.contains(step), "the log does not say {step}:\n{log}");
    }
    let log = log.replace(page, "");
    secrets.are_not_in("the log", &log);
    assert!(!log.contains(QUERY_MARKER), "{log}");
    for line in &finished.unread {
        // An app that waits for long is told the address of the page.
        secrets.are_not_in("stdout", &line.text.replace(page, ""));
    }
    let answers = user.store().join("answers");
    let stored = [user.store(), answers.clone()].map(|directory| directory.read_dir().unwrap());
    for entry in stored.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_mode(&path, 0o700);
            continue;
        }
        assert_mode(&path, 0o600);
        let mut text = user::read(&path);
        let holds_tokens = path.parent() != Some(&answers);
        if holds_tokens && path.extension().is_some_and(|it| it == "json") {
            for token in [&last.access, &last.refresh] {
                assert!(text.contains(token), "{}", path.display());
                text = text.replace(token, "");
            }
        }
        secrets.are_not_in(&path.display().to_string(), &text);
        assert!(!text.contains(QUERY_MARKER), "{}", path.display());
    }
    assert_mode(&user.store(), 0o700);
}

/// The secrets of a sign-in that waits.
struct InMemory {
    state: String,
    verifier: String,
}

impl InMemory {
    /// As long as the window is open it is in a file, so that another process can go on.
    fn of(user: &User, window: &Window) -> Self {
        let (_, record) = user.stored("sign-in").pop().expect("a record");
        let record: Value = serde_json::from_str(&record).unwrap();
        let state = window.parameter("state");
        assert_eq!(record["request"]["state"], state);
        Self {
            state,
            verifier: record["request"]["verifier"].as_str().unwrap().to_owned(),
        }
    }
}

struct Secrets(Vec<String>);

impl Secrets {
    fn are_not_in(&self, place: &str, text: &str) {
        for secret in &self.0 {
            assert!(secret.len() > 8, "nobody could tell it from other text");
            assert!(!text.contains(secret), "{place} shows {secret}:\n{text}");
        }
    }
}

fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(known, _)| known == name);
    found.expect("it is there").1.into_owned()
}

#[cfg(unix)]
fn assert_mode(path: &Path, expected: u32) {
    let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, expected, "{}", path.display());
}

/// Other systems have no such bits.
#[cfg(not(unix))]
fn assert_mode(_: &Path, _: u32) {}
