//! Tokens from a program of the user's own: `--auth-command`.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::program;
use mcp_bridge_testkit::{
    HEADER_MARKER, LIMIT,
    app::{App, Launch},
    fault_server::FaultServer,
    mcp::Binding,
    reply::Reply,
    request::{Request, get, post},
};

/// A program that prints what a test wants, and how often it was run.
pub(super) struct Program {
    directory: TempDir,
}

impl Program {
    /// Runs `script` with its own number in `$run`.
    pub(super) fn new(script: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        let program = Self { directory };
        let runs = program.runs_file();
        let runs = runs.display();
        let text = format!(
            "echo run >> '{runs}'\nrun=0\nwhile read -r line; do run=$((run+1)); done < '{runs}'\n\
             {script}\n"
        );
        fs::write(program.path(), text).expect("the directory is ours");
        program
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("print token")
    }

    fn runs_file(&self) -> PathBuf {
        self.directory.path().join("runs")
    }

    pub(super) fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.runs_file());
        runs.unwrap_or_default().lines().count()
    }

    fn start(&self, server: &FaultServer) -> App {
        self.launch(server).start()
    }

    fn launch(&self, server: &FaultServer) -> Launch {
        let command = self.command();
        program::bridge_for(server).args(["--auth-command", &command, "--drain-timeout", "0"])
    }

    /// The command line that runs it.
    pub(super) fn command(&self) -> String {
        // In quotation marks, because there is a space in it.
        format!("/bin/sh  '{}'", self.path().display())
    }
}

fn bearer(request: &Request) -> Option<&str> {
    request.header("authorization")?.strip_prefix("Bearer ")
}

/// The one token that a server takes, which a test may change.
#[derive(Clone)]
struct Taken(Arc<Mutex<&'static str>>);

impl Taken {
    fn is(&self, token: Option<&str>) -> bool {
        token == Some(*self.0.lock().expect("nobody panics"))
    }

    fn change(&self, token: &'static str) {
        *self.0.lock().expect("nobody panics") = token;
    }
}

fn server_that_takes(first: &'static str) -> (FaultServer, Taken) {
    let server = FaultServer::start();
    let taken = Taken(Arc::new(Mutex::new(first)));
    for want in [post(), get()] {
        let taken = taken.clone();
        server.always(want, move |request| {
            let refused = !taken.is(bearer(request));
            refused.then(|| Reply::status(401).header("WWW-Authenticate", "Bearer"))
        });
    }
    (server, taken)
}

#[tokio::test]
async fn a_command_is_run_once_for_all_requests() {
    let (server, _) = server_that_takes("one");
    let program = Program::new("echo one");
    let mut app = program.start(&server);
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
    assert!(
        requests
            .iter()
            .all(|request| bearer(request) == Some("one"))
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced_by_one_more_run_for_all_who_miss_it() {
    let (server, taken) = server_that_takes("token-1");
    let program = Program::new(r#"echo "token-$run""#);
    let mut app = program.start(&server);
    app.initialize().await;
    taken.change("token-2");
    for id in 0..5 {
        app.call(id, "echo", "").await;
    }
    for id in 0..5 {
        app.result(id).await;
    }
    app.finish().await;
    assert_eq!(program.runs(), 2);
}

#[tokio::test]
async fn a_token_is_replaced_before_it_runs_out() {
    let server = FaultServer::start();
    server.allow_requests(usize::MAX);
    let program = Program::new(r#"echo "{\"token\": \"token-$run\", \"expires_in\": 1}""#);
    let mut app = program.start(&server);
    app.initialize().await;
    let replaced = async {
        while program.runs() < 2 {
            app.still_served().await;
        }
    };
    timeout(LIMIT, replaced).await.expect("another run");
    app.still_served().await;
    app.finish().await;
    let last = server.requests();
    let last = last.iter().rev().find_map(bearer);
    assert_ne!(last, Some("token-1"));
}

#[tokio::test]
async fn a_command_that_fails_is_an_error_that_says_what_to_do_and_nothing_is_sent() {
    let server = FaultServer::start_as(Binding::Stateless);
    let program = Program::new("echo 'please log in first' >&2\nexit 3");
    let mut app = program.start(&server);
    app.request(1, "tools/list", &json!({})).await;
    let data = app.own_error(1, "auth_command_failed").await;
    assert!(
        data["hint"]
            .as_str()
            .expect("a hint")
            .contains("--auth-command")
    );
    let stderr = app.finish().await.stderr;
    assert!(stderr.contains("sh: please log in first"), "{stderr}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_app_is_told_what_the_command_said_last() {
    let server = FaultServer::start_as(Binding::Stateless);
    let program = Program::new("echo one >&2\necho 'please log in' >&2\nexit 3");
    let mut app = program.start(&server);
    app.request(1, "tools/list", &json!({})).await;
    let error = app.error(1).await;
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("exit status: 3: please log in"),
        "{message}"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let server = FaultServer::start_as(Binding::Stateless);
    let mut app = program::bridge_for(&server)
        .args(["--auth-command", "/no/such/program --secret hunter2"])
        .start();
    app.request(1, "tools/list", &json!({})).await;
    let error = app.error(1).await;
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("`program` printed no token"), "{message}");
    let stderr = app.finish().await.stderr;
    assert!(!message.contains("hunter2") && !stderr.contains("hunter2"));
}

/// There is no sign-in beside it, which would show by a request for metadata or a browser.
#[tokio::test]
async fn a_token_that_is_refused_again_and_again_is_an_error_and_no_sign_in() {
    let (server, _) = server_that_takes("another");
    let program = Program::new("echo always-the-same");
    let mut app = program.start(&server);
    app.request(1, "tools/list", &json!({})).await;
    let data = app.own_error(1, "auth_command_failed").await;
    assert!(
        data["hint"]
            .as_str()
            .expect("a hint")
            .contains("--auth-command")
    );
    app.finish().await;
    assert_eq!(program.runs(), 2);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.method == "POST")
    );
}

/// [`App::finish`] looks for the marker, with everything said that can be said.
#[tokio::test]
async fn a_token_is_never_shown() {
    let server = FaultServer::start();
    let program = Program::new(&format!("echo {HEADER_MARKER}"));
    let mut app = program.start(&server);
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
    assert_eq!(
        server.requests().iter().find_map(bearer),
        Some(HEADER_MARKER)
    );
}

#[tokio::test]
async fn what_is_no_token_is_refused_and_not_repeated() {
    let server = FaultServer::start_as(Binding::Stateless);
    let program = Program::new(&format!("echo hello {HEADER_MARKER}"));
    let mut app = program.start(&server);
    app.request(1, "tools/list", &json!({})).await;
    let error = app.error(1).await.to_string();
    assert!(
        error.contains("no token") && !error.contains(HEADER_MARKER),
        "{error}"
    );
    app.finish().await;
}

/// [`App::finish`] finds a process that is left behind.
#[tokio::test]
async fn a_command_that_prints_without_end_is_stopped() {
    let server = FaultServer::start_as(Binding::Stateless);
    let program = Program::new("while :; do echo 0123456789012345678901234567890123456789; done");
    let mut app = program.start(&server);
    app.request(1, "tools/list", &json!({})).await;
    let error = app.error(1).await;
    assert!(
        error["message"]
            .as_str()
            .expect("a message")
            .contains("65536 bytes")
    );
    app.finish().await;
}

/// Nobody may be there to take note of its end, so it may be left as a zombie.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_that_hangs_does_not_outlive_the_bridge() {
    use mcp_bridge_testkit::app::{INITIALIZED, initialize_line};

    let server = FaultServer::start_as(Binding::Stateless);
    let program = Program::new("echo \"pid $$\" >&2\nexec /bin/sleep 600");
    let mut app = program.launch(&server).leaves_orphans().start();
    app.send(initialize_line("2025-06-18")).await;
    app.send(INITIALIZED).await;
    let begun = async {
        loop {
            let stderr = app.stderr();
            let pid = stderr.lines().find_map(|line| line.split_once(": pid "));
            if let Some((_, pid)) = pid {
                break pid.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let pid = timeout(LIMIT, begun).await.expect("a run");
    app.close_stdin();
    app.finish().await;
    let ended = async {
        while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| !it.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, ended).await.expect("its end");
}
