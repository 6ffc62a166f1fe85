//! `mcp-bridge inspect` without a URL: the bridges that are running, and the view of one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::inspect::Inspector;
use crate::program;
use mcp_bridge_testkit::app::App;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::limits::soon;
use mcp_bridge_testkit::program::{CommandOutput, Program};
use mcp_bridge_testkit::reply::Reply;
use mcp_bridge_testkit::request::{Request, call, rpc};
use mcp_bridge_testkit::{HEADER_MARKER, secrets};

/// Bridges and inspectors of one user.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        let home = TempDir::new().expect("a directory for the test");
        Self { home }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("bridge")
    }

    fn folder(&self) -> PathBuf {
        self.directory().join("running")
    }

    /// An app with a bridge that can be looked at.
    async fn app(&self, server: &FaultServer) -> App {
        server.always(call("echo"), |request: &Request| {
            Reply::json(request.echo())
        });
        let launch = program::bridge_for(server).env("MCP_BRIDGE_DIR", self.directory());
        let mut app = launch.start();
        app.initialize().await;
        app.says("mcp-bridge inspect can look at this bridge").await;
        app
    }

    fn inspect(&self, args: &[&str]) -> Program {
        let all = ["inspect"].into_iter().chain(args.iter().copied());
        program::command(all).env("MCP_BRIDGE_DIR", self.directory())
    }

    /// An inspector that sees what passes from now on.
    async fn looks(&self, args: &[&str]) -> Inspector {
        let inspector = Inspector::of_program(self.inspect(args)).await;
        let cookie = inspector.cookie().await;
        inspector
            .has_event(&cookie, |event| event["_mcp"]["step"] == "bridge")
            .await;
        inspector
    }

    /// `inspect` where it opens no page.
    async fn list(&self, args: &[&str]) -> CommandOutput {
        self.inspect(args).run().await
    }

    /// The sockets that are there.
    fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    fn socket(&self) -> PathBuf {
        let sockets = self.sockets();
        assert_eq!(sockets.len(), 1, "{sockets:?}");
        sockets[0].clone()
    }
}

/// Waits for the answer to a call of a tool with this text.
async fn sees(inspector: &Inspector, text: &str) -> Value {
    let cookie = inspector.cookie().await;
    let is_wanted = |event: &Value| {
        let content = event["response"]["content"]["text"].as_str();
        event["_mcp"]["direction"] == "to-app" && content.is_some_and(|it| it.contains(text))
    };
    inspector.has_event(&cookie, is_wanted).await
}

fn mode(path: &Path) -> u32 {
    let found = fs::metadata(path).expect("it is there");
    found.permissions().mode() & 0o777
}

#[tokio::test]
async fn a_running_bridge_is_shown_to_several_and_none_of_them_can_ask_for_anything() {
    let server = FaultServer::start();
    let user = User::new();
    let mut app = user.app(&server).await;
    let first = user.looks(&[]).await;
    let second = user.looks(&[]).await;
    let cookie = first.cookie().await;
    let about = first.has_event(&cookie, |event| event.get("isLive").is_some());
    let about = about.await;
    assert_eq!(
        (&about["isLive"], &about["isAttached"]),
        (&json!(false), &json!(true))
    );
    let title = format!("bridge {} at {}", app.pid(), server.url_in_hints());
    assert_eq!(about["title"], title);

    app.call(7, "echo", "for both").await;
    sees(&first, "for both").await;
    sees(&second, "for both").await;
    let sent = first.has_event(&cookie, |event| {
        let headers = event["request"]["headers"].to_string();
        event["_mcp"]["kind"] == "http" && headers.contains("x-api-key")
    });
    let sent = sent.await.to_string();
    assert!(!sent.contains(HEADER_MARKER), "{sent}");

    let before = server.requests().len();
    let asked = json!({"method": "tools/call", "params": {"name": "echo"}});
    let refused = first.rpc(&cookie, &asked).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(server.requests().len(), before, "{}", server.story());

    // One leaves, and the other still sees.
    first.running.interrupt();
    assert_eq!(first.running.ends().await.status, 0);
    app.call(8, "echo", "for one").await;
    sees(&second, "for one").await;

    // The bridge ends while it is looked at, and takes its socket with it.
    app.finish().await;
    assert_eq!(user.sockets(), [] as [PathBuf; 0]);
    let cookie = second.cookie().await;
    second
        .has_event(&cookie, |event| {
            let detail = event["_mcp"]["detail"].as_str();
            detail.is_some_and(|it| it.ends_with(" has ended"))
        })
        .await;
    // The end of the session was still told.
    second
        .has_event(&cookie, |event| event["request"]["method"] == "DELETE")
        .await;
}

#[tokio::test]
async fn several_bridges_are_listed_and_one_is_chosen_by_its_process() {
    let user = User::new();
    let none = user.list(&[]).await;
    assert_eq!((none.status, none.stdout.as_str()), (1, ""));
    assert!(
        none.stderr
            .starts_with("error: no bridge of yours is running on this machine\n"),
        "{none:?}"
    );
    let (server, other) = (FaultServer::start(), FaultServer::start());
    let (app, mut second) = (user.app(&server).await, user.app(&other).await);
    let listed = user.list(&[]).await;
    assert_eq!((listed.status, listed.stderr.as_str()), (0, ""));
    for (app, server) in [(&app, &server), (&second, &other)] {
        let is_it = |line: &str| {
            line.trim_start().starts_with(&format!("{} ", app.pid()))
                && line.ends_with(&server.url_in_hints())
        };
        assert!(listed.stdout.lines().any(is_it), "{listed:?}");
    }
    let pid = second.pid().to_string();
    let inspector = user.looks(&["--bridge", &pid]).await;
    second.call(1, "echo", "chosen").await;
    sees(&inspector, "chosen").await;
    let wrong = user.list(&["--bridge", "1"]).await;
    assert_eq!(wrong.status, 1);
    assert!(
        wrong
            .stderr
            .starts_with("error: no bridge of yours has the process id 1\n"),
        "{wrong:?}"
    );
    app.finish().await;
    second.finish().await;
}

#[tokio::test]
async fn the_socket_of_a_killed_bridge_is_removed() {
    let server = FaultServer::start();
    let user = User::new();
    user.app(&server).await.killed().await;
    let stale = user.socket();
    let none = user.list(&[]).await;
    assert_eq!(none.status, 1, "{none:?}");
    assert!(!stale.exists());
    // Another bridge does it, too.
    user.app(&server).await.killed().await;
    let stale = user.socket();
    let app = user.app(&server).await;
    assert_ne!(user.socket(), stale);
    app.finish().await;
}

#[tokio::test]
async fn only_the_user_can_connect() {
    let server = FaultServer::start();
    let user = User::new();
    let app = user.app(&server).await;
    assert_eq!((mode(&user.folder()), mode(&user.socket())), (0o700, 0o600));
    app.finish().await;
}

#[tokio::test]
async fn whoever_says_something_else_is_told_nothing_and_the_bridge_goes_on() {
    let server = FaultServer::start();
    let user = User::new();
    let mut app = user.app(&server).await;
    let socket = user.socket();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    for said in [format!("{call}\n"), format!("watch\n{call}\n")] {
        let stream = UnixStream::connect(&socket).await.expect("a listener");
        let mut stream = BufReader::new(stream);
        let mut heard = String::new();
        let introduced = stream.read_line(&mut heard);
        soon("the introduction", introduced).await.expect("a line");
        stream.write_all(said.as_bytes()).await.expect("it reads");
        // A connection that is closed before all was read from it may be reported as an error.
        let _ = soon("the end", stream.read_to_string(&mut heard)).await;
        assert!(!heard.contains("tools/call"), "{heard}");
        assert_eq!(secrets::shown_in(&heard), None);
    }
    assert_eq!(server.count(&rpc("tools/call")), 0, "{}", server.story());
    app.call(2, "echo", "still").await;
    app.finish().await;
}

/// A user of this machine.
enum Account {
    Own,
    Nobody,
}

/// Words of the socket to this user, who connects and says nothing; `None` if that cannot be tried here.
async fn told_to(account: Account, socket: &Path) -> Option<String> {
    const CONNECT: &str = r#"
        my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or do { print "kept out"; exit };
        shutdown($socket, 1);
        print "connected ";
        while (sysread($socket, my $piece, 4096)) { print $piece }"#;
    let user: &[&str] = match account {
        Account::Own => &[],
        Account::Nobody => &["--reuid=65534", "--regid=65534", "--clear-groups"],
    };
    let connecting = tokio::process::Command::new("setpriv")
        .args(user)
        .args(["perl", "-MIO::Socket::UNIX", "-e", CONNECT])
        .arg(socket)
        .output();
    let output = soon("the end of the connection", connecting).await.ok()?;
    let text = String::from_utf8(output.stdout).expect("text");
    output.status.success().then_some(text)
}

#[tokio::test]
async fn another_user_of_the_machine_is_told_nothing_even_where_the_folder_is_open() {
    let server = FaultServer::start();
    let user = User::new();
    let app = user.app(&server).await;
    let socket = user.socket();
    let (Some(own), Some(kept_out)) = (
        told_to(Account::Own, &socket).await,
        told_to(Account::Nobody, &socket).await,
    ) else {
        eprintln!(
            "skipped: nobody else can be on this machine (root, setpriv and perl are needed)"
        );
        app.finish().await;
        return;
    };
    assert!(own.contains(r#""server":"#), "{own}");
    assert_eq!(kept_out, "kept out");
    // Somebody has opened all of it by hand.
    let (directory, folder) = (user.directory(), user.folder());
    for path in [user.home.path(), &directory, &folder, &socket] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("it is ours");
    }
    let told = told_to(Account::Nobody, &socket).await;
    assert_eq!(told.as_deref(), Some("connected "));
    app.finish().await;
}
