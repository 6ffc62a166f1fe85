//! Files of the bridge that others can write, that were left unfinished, or that cannot be written.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::auth::sign_in::user::{self, User};
use crate::examples::example_server::client::options;
use crate::program;
use crate::server::Server;
use mcp_bridge_testkit::LIMIT;
use mcp_bridge_testkit::app::{App, INITIALIZED, Launch, initialize_line};
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::fault_server::FaultServer;

/// Number of a user that nobody here is.
const SOMEBODY: u32 = 12_345;

async fn server() -> Server {
    Server::start(options()).await.unwrap()
}

/// The bridge with the log of the default level.
fn launch(user: &User, url: &str) -> Launch {
    let path = |path: PathBuf| path.into_os_string().into_string().unwrap();
    program::bridge()
        .args([url])
        .leaves_orphans()
        .env("MCP_BRIDGE_DIR", path(user.store()))
        .env("BROWSER", path(user.browser()))
        .env("NAMESPACES", namespaces())
}

/// Starts an app that wants to sign in.
async fn asking(launch: Launch) -> App {
    let mut app = launch.start();
    app.send(initialize_line("2025-11-25")).await;
    app
}

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

/// Signs in and leaves, so that everything is stored.
async fn sign_in_once(user: &mut User, server: &Server) {
    let mut app = asking(launch(user, server.url())).await;
    user.window().await.sign_in().await;
    is_signed_in(&mut app).await;
    app.request("list", "tools/list", &json!({})).await;
    app.result("list").await;
    app.finish().await;
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn credential(user: &User) -> PathBuf {
    user.stored("json").pop().unwrap().0
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Access of somebody else to a credential.
type Tampering = fn(&User);

#[tokio::test]
async fn a_credential_that_others_can_write_is_refused_and_replaced_by_a_new_sign_in() {
    let mut cases: Vec<(Tampering, &str)> = vec![
        (|user| set_mode(&credential(user), 0o666), "chmod 600"),
        (|user| set_mode(&credential(user), 0o620), "chmod 600"),
        (|user| set_mode(&credential(user), 0o602), "chmod 600"),
        (
            |user| {
                let path = credential(user);
                let target = user.file("elsewhere.json");
                fs::rename(&path, &target).unwrap();
                symlink(target, path).unwrap();
            },
            "symbolic link",
        ),
    ];
    if is_root() {
        cases.push((
            |user| chown(credential(user), Some(SOMEBODY), None).unwrap(),
            "belongs to another user (12345)",
        ));
    }
    let server = server().await;
    for (tamper, advice) in cases {
        let mut user = User::new();
        sign_in_once(&mut user, &server).await;
        let path = credential(&user);
        tamper(&user);
        let mut app = asking(launch(&user, server.url())).await;
        user.window().await.sign_in().await;
        is_signed_in(&mut app).await;
        let stderr = app.finish().await.stderr;
        assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
        assert_eq!(stderr.matches(advice).count(), 1, "{advice}: {stderr}");
        assert_eq!(mode(&path), 0o600);
        let mut app = asking(launch(&user, server.url())).await;
        is_signed_in(&mut app).await;
        app.finish().await;
        user.saw_every_window();
    }
}

#[tokio::test]
async fn nothing_in_a_directory_that_others_can_write_is_trusted_or_added_to() {
    let mut cases: Vec<(Tampering, &str)> = vec![
        (|user| set_mode(&user.store(), 0o777), "chmod 700"),
        (|user| set_mode(&user.store(), 0o770), "chmod 700"),
        (|user| set_mode(&user.file("."), 0o777), "chmod o-w"),
        (
            |user| {
                let target = user.file("open");
                fs::rename(user.store(), &target).unwrap();
                symlink(&target, user.store()).unwrap();
                set_mode(&target, 0o722);
            },
            "chmod 700",
        ),
    ];
    if is_root() {
        cases.push((
            |user| chown(user.store(), Some(SOMEBODY), None).unwrap(),
            "belongs to another user (12345)",
        ));
        cases.push((
            |user| {
                let target = user.file("mine");
                fs::rename(user.store(), &target).unwrap();
                symlink(target, user.store()).unwrap();
                std::os::unix::fs::lchown(user.store(), Some(SOMEBODY), None).unwrap();
            },
            "can be changed by another user",
        ));
    }
    let server = server().await;
    for (tamper, problem) in cases {
        let mut user = User::new();
        sign_in_once(&mut user, &server).await;
        let before = user.stored("json");
        tamper(&user);
        let mut app = asking(launch(&user, server.url())).await;
        user.window().await.sign_in().await;
        is_signed_in(&mut app).await;
        let stderr = app.finish().await.stderr;
        assert!(stderr.contains(problem), "{problem}: {stderr}");
        let said = stderr.matches("lasts for this run only").count();
        assert_eq!(said, 1, "{problem}: {stderr}");
        assert_eq!(user.stored("json"), before, "{problem}");
    }
}

#[tokio::test]
async fn a_directory_with_the_sticky_bit_and_an_empty_one_can_be_used() {
    let server = server().await;
    for sticky in [0o1777, 0o777] {
        let mut user = User::new();
        fs::create_dir(user.store()).unwrap();
        set_mode(&user.store(), sticky);
        sign_in_once(&mut user, &server).await;
        let mut app = asking(launch(&user, server.url())).await;
        is_signed_in(&mut app).await;
        let stderr = app.finish().await.stderr;
        assert!(!stderr.contains("others"), "{stderr}");
    }
}

/// The facts about a server are written before anybody signs in.
#[tokio::test]
async fn an_empty_directory_that_others_can_write_is_made_private_by_the_first_file_in_it() {
    let fault_server = FaultServer::start();
    let server = server().await;
    let mut user = User::new();
    fs::create_dir(user.store()).unwrap();
    set_mode(&user.store(), 0o775);
    let mut app = launch(&user, &fault_server.url()).start();
    app.initialize().await;
    app.request("list", "tools/list", &json!({})).await;
    app.result("list").await;
    app.finish().await;
    assert!(!files(&user.store()).is_empty());
    assert_eq!(mode(&user.store()), 0o700);
    sign_in_once(&mut user, &server).await;
    assert_eq!(user.stored("json").len(), 1);
}

#[tokio::test]
async fn the_record_of_a_sign_in_under_way_that_others_can_write_is_not_continued() {
    let server = server().await;
    let user = User::new();
    let launch = || launch(&user, server.url()).args(["--no-linger"]);
    let mut first = asking(launch()).await;
    let second = launch();
    let old = user.window().await;
    first.signal(Signal::KILL);
    first.finish().await;
    let record = user.stored("sign-in").pop().unwrap().0;
    set_mode(&record, 0o646);
    let mut app = asking(second).await;
    let new = user.window().await;
    assert_ne!(new.parameter("state"), old.parameter("state"));
    new.sign_in().await;
    is_signed_in(&mut app).await;
    let stderr = app.finish().await.stderr;
    assert!(stderr.contains(record.to_str().unwrap()), "{stderr}");
}

#[tokio::test]
async fn remembered_answers_and_lists_that_others_can_write_are_refused_and_written_anew() {
    let server = server().await;
    let mut user = User::new();
    sign_in_once(&mut user, &server).await;
    let caches: Vec<_> = files(&user.store())
        .into_iter()
        .filter(|path| path.parent() != Some(&user.store()))
        .collect();
    assert!(caches.len() >= 2, "{caches:?}");
    for path in &caches {
        set_mode(path, 0o666);
    }
    let mut app = asking(launch(&user, server.url())).await;
    is_signed_in(&mut app).await;
    app.request("list", "tools/list", &json!({})).await;
    app.result("list").await;
    let stderr = app.finish().await.stderr;
    for path in caches {
        let path_text = path.to_str().unwrap();
        let mut lines = stderr.lines().filter(|line| line.contains(path_text));
        let line = lines.next().unwrap_or_default();
        assert!(line.contains("others can have changed it"), "{stderr}");
        assert_eq!(mode(&path), 0o600, "{path_text}");
    }
}

/// Temporary files as a killed process leaves them, in all directories.
fn leave_unfinished(store: &Path) -> Vec<PathBuf> {
    let folders = ["", "answers", "servers", "lists/account", "migrations"];
    folders
        .iter()
        .map(|folder| {
            let folder = store.join(folder);
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join(".new-aBc123");
            fs::write(&path, "token-of-a-killed-process").unwrap();
            path
        })
        .collect()
}

#[tokio::test]
async fn unfinished_files_are_removed_at_the_start_and_at_logout() {
    let server = server().await;
    let mut user = User::new();
    sign_in_once(&mut user, &server).await;
    let left = leave_unfinished(&user.store());
    let being_written = user.store().join(".new-dEf456");
    fs::write(&being_written, "token-of-a-living-process").unwrap();
    let writer = fs::File::open(&being_written).unwrap();
    fs4::FileExt::lock(&writer).unwrap();
    let mut app = asking(launch(&user, server.url())).await;
    is_signed_in(&mut app).await;
    app.finish().await;
    assert!(left.iter().all(|path| !path.exists()));
    assert!(being_written.exists());

    drop(writer);
    let left = leave_unfinished(&user.store());
    let credential = credential(&user);
    let damaged = credential.with_extension("corrupt");
    fs::copy(&credential, &damaged).unwrap();
    let (status, output) = run_command(&user, &["logout", server.url()]).await;
    assert!(status, "{output}");
    assert!(left.iter().all(|path| !path.exists()));
    assert!(!being_written.exists());
    for path in files(&user.store()) {
        let text = user::read(&path);
        assert!(!text.contains("token"), "{}: {text}", path.display());
    }
}

#[tokio::test]
async fn logout_removes_what_is_unfinished_or_damaged_although_nobody_is_signed_in() {
    let user = User::new();
    fs::create_dir(user.store()).unwrap();
    set_mode(&user.store(), 0o700);
    let left = leave_unfinished(&user.store());
    let name = format!("{:024x}.{:024x}.corrupt", 1, 2);
    let damaged = user.store().join(name);
    fs::write(&damaged, "token").unwrap();
    let (status, output) = run_command(&user, &["logout", "--all"]).await;
    assert!(status, "{output}");
    assert!(left.iter().all(|path| !path.exists()));
    assert!(!damaged.exists());
}

/// Success and output of a command.
async fn run_command(user: &User, args: &[&str]) -> (bool, String) {
    let program = program::program().args(args);
    let output = program
        .env("HOME", user.file("."))
        .env("MCP_BRIDGE_DIR", user.store())
        .run()
        .await;
    (output.succeeded(), output.stdout + &output.stderr)
}

/// Hindrance to storing a credential: a script that starts the bridge, and the reason in the log.
struct Hindrance {
    script: &'static str,
    reason: &'static str,
}

/// A limit on the size of files, which needs no rights.
const FILE_SIZE_LIMIT: Hindrance = Hindrance {
    script: r#"ulimit -f 0; exec "$0" "$@""#,
    reason: "File too large",
};

/// A file system of the bridge's own that takes two pages. A file has one, a record of a credential takes one.
const FULL_DISK: Hindrance = Hindrance {
    script: r#"PATH=/usr/sbin:/usr/bin:/sbin:/bin; exec unshare $NAMESPACES sh -c '
        mkdir -p "$MCP_BRIDGE_DIR" &&
        mount -t tmpfs -o size=8k,mode=700 none "$MCP_BRIDGE_DIR" &&
        ! cat /dev/zero 2> /dev/null > "$MCP_BRIDGE_DIR/full" &&
        exec "$0" "$@"' "$0" "$@""#,
    reason: "No space left on device",
};

/// One without room for another name, let alone a lock.
const NO_INODES: Hindrance = Hindrance {
    script: r#"PATH=/usr/sbin:/usr/bin:/sbin:/bin; exec unshare $NAMESPACES sh -c '
        mkdir -p "$MCP_BRIDGE_DIR" &&
        mount -t tmpfs -o nr_inodes=1,mode=700 none "$MCP_BRIDGE_DIR" &&
        exec "$0" "$@"' "$0" "$@""#,
    reason: "No space left on device",
};

/// A directory that nobody can write.
const READ_ONLY: Hindrance = Hindrance {
    script: r#"PATH=/usr/sbin:/usr/bin:/sbin:/bin; exec unshare $NAMESPACES sh -c '
        mkdir -p "$MCP_BRIDGE_DIR" &&
        mount -t tmpfs -o ro,mode=700 none "$MCP_BRIDGE_DIR" &&
        exec "$0" "$@"' "$0" "$@""#,
    reason: "Read-only file system",
};

/// One in which nothing can be created.
const READ_ONLY_HOME: Hindrance = Hindrance {
    script: r#"PATH=/usr/sbin:/usr/bin:/sbin:/bin; exec unshare $NAMESPACES sh -c '
        mkdir -p "$HOME/ro" &&
        mount -t tmpfs -o ro none "$HOME/ro" &&
        export MCP_BRIDGE_DIR="$HOME/ro/bridge" &&
        exec "$0" "$@"' "$0" "$@""#,
    reason: "Read-only file system",
};

/// Arguments that `unshare` needs in order to mount: root is root already.
fn namespaces() -> &'static str {
    if is_root() {
        "--mount"
    } else {
        "--mount --map-root-user"
    }
}

fn can_mount() -> bool {
    let script = "mount -t tmpfs none /tmp";
    let tried = Command::new("unshare")
        .args(namespaces().split(' '))
        .args(["sh", "-c", script])
        .stderr(Stdio::null())
        .status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: no file system can be mounted here");
    }
    can
}

async fn provider() -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_lifetime = Some(1));
    provider
}

/// Starts an app and signs in.
async fn signed_in(launch: Launch, user: &mut User) -> App {
    let mut app = asking(launch).await;
    HeadlessBrowser::default()
        .visit(user.window().await.page)
        .await;
    app.result("init").await;
    app.send(INITIALIZED).await;
    app
}

/// Calls until there were so many refreshes. The provider rotates refresh tokens, so each needs what the one before
/// brought.
async fn refreshed(app: &mut App, provider: &AuthorizationServer, number: usize) {
    let refreshed = async {
        let mut count = 0;
        while provider.refreshes() < number {
            count += 1;
            let id = format!("ping {number} {count}");
            app.request(id.as_str(), "ping", &json!({})).await;
            app.result(id).await;
        }
    };
    let refreshed = tokio::time::timeout(LIMIT, refreshed).await;
    refreshed.expect("a refresh");
}

/// The sign-in and what is rotated last for the run, and the log says so once, with path and reason.
async fn lasts_for_the_run(hindrance: Hindrance) {
    let provider = provider().await;
    let mut user = User::new();
    let launch = launch(&user, provider.mcp_url().as_str());
    let launch = launch.through_shell(hindrance.script);
    let mut app = signed_in(launch, &mut user).await;
    refreshed(&mut app, &provider, 2).await;
    let stderr = app.finish().await.stderr;
    let lines = stderr.lines();
    let said: Vec<_> = lines
        .filter(|line| line.contains("the sign-in can't be saved, so it lasts for this run only"))
        .collect();
    assert_eq!(said.len(), 1, "{stderr}");
    assert!(said[0].contains(hindrance.reason), "{stderr}");
    assert!(said[0].contains("/bridge"), "{stderr}");
    user.saw_every_window();
    assert_eq!(user.stored("json"), []);
}

#[tokio::test]
async fn with_a_limit_on_the_size_of_files_a_sign_in_lasts_for_the_run() {
    lasts_for_the_run(FILE_SIZE_LIMIT).await;
}

#[tokio::test]
async fn on_a_full_disk_a_sign_in_lasts_for_the_run() {
    if can_mount() {
        lasts_for_the_run(FULL_DISK).await;
        lasts_for_the_run(NO_INODES).await;
    }
}

#[tokio::test]
async fn in_a_read_only_home_a_sign_in_lasts_for_the_run() {
    if can_mount() {
        lasts_for_the_run(READ_ONLY).await;
        lasts_for_the_run(READ_ONLY_HOME).await;
    }
}

/// Pause between two looks at a file.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::test]
async fn what_could_not_be_saved_is_saved_as_soon_as_that_works() {
    for moment in ["at once", "at a refresh", "at the end"] {
        let provider = provider().await;
        let mut user = User::new();
        let launch = launch(&user, provider.mcp_url().as_str());
        let launch = launch.through_shell(r#"ulimit -S -f 0; exec "$0" "$@""#);
        let mut app = signed_in(launch, &mut user).await;
        refreshed(&mut app, &provider, 1).await;
        assert_eq!(user.stored("json"), []);
        let limit = format!("--pid={}", app.pid());
        let raised = Command::new("prlimit")
            .args([limit.as_str(), "--fsize=unlimited"])
            .status();
        assert!(raised.unwrap().success());
        if moment == "at once" {
            // Without a further request.
            let deadline = Instant::now() + LIMIT;
            while user.tokens().is_none() {
                assert!(Instant::now() < deadline, "it is not saved");
                tokio::time::sleep(LOOK).await;
            }
        }
        if moment == "at a refresh" {
            let so_far = provider.refreshes();
            refreshed(&mut app, &provider, so_far + 1).await;
        }
        app.finish().await;
        let stored = user.tokens().map(|tokens| tokens.refresh);
        assert_eq!(stored, Some(provider.last_refresh_token()), "{moment}");
    }
}

#[tokio::test]
async fn what_could_not_be_saved_is_not_brought_back_after_a_logout_elsewhere() {
    let provider = provider().await;
    let mut user = User::new();
    let url = provider.mcp_url();
    let mut app = signed_in(launch(&user, url.as_str()), &mut user).await;
    let pid = format!("--pid={}", app.pid());
    let set = |limit: &str| {
        let limit = format!("--fsize={limit}");
        let set = Command::new("prlimit").args([&pid, &limit]).status();
        assert!(set.unwrap().success());
    };
    set("0:unlimited");
    let so_far = provider.refreshes();
    refreshed(&mut app, &provider, so_far + 1).await;
    fs::remove_file(credential(&user)).unwrap();
    set("unlimited");
    app.finish().await;
    assert_eq!(user.stored("json"), []);
}

#[tokio::test]
async fn a_credential_that_is_too_large_to_be_read_back_is_not_written() {
    let provider = provider().await;
    let large = "x".repeat(700 * 1024);
    provider.behave(|it| {
        it.server_metadata["scopes_supported"] = json!([large]);
        it.user = Some(large);
    });
    let mut user = User::new();
    let launch = launch(&user, provider.mcp_url().as_str()).memory_limit_mib(96);
    let mut app = signed_in(launch, &mut user).await;
    refreshed(&mut app, &provider, 2).await;
    let stderr = app.finish().await.stderr;
    let said = stderr.matches("lasts for this run only").count();
    assert_eq!(said, 1, "{stderr}");
    assert!(
        stderr.contains("no more than 1048576 are read back"),
        "{stderr}"
    );
    assert_eq!(user.tokens(), None);
}

#[tokio::test]
async fn a_login_that_cannot_be_saved_fails_and_says_why() {
    let provider = AuthorizationServer::start().await;
    let user = User::new();
    let command = program::program().through_shell(FILE_SIZE_LIMIT.script);
    let running = command
        .args(["login", provider.mcp_url().as_str()])
        .env("HOME", user.file("."))
        .env("MCP_BRIDGE_DIR", user.store())
        .env("BROWSER", user.browser())
        .spawn();
    HeadlessBrowser::default()
        .visit(user.window().await.page)
        .await;
    let output = running.ends().await;
    let stderr = output.stderr;
    assert_eq!(output.status, 1, "{stderr}");
    assert!(stderr.contains("File too large"), "{stderr}");
    assert!(stderr.contains("could not be kept"), "{stderr}");
}

#[tokio::test]
async fn a_log_file_that_cannot_be_written_leaves_the_log_on_stderr() {
    let server = FaultServer::start();
    let directory = tempfile::tempdir().unwrap();
    let limited = directory.path().join("limited.log");
    let limited = limited.to_str().unwrap();
    for (file, script) in [
        ("/dev/full", r#"exec "$0" "$@""#),
        ("/nowhere/bridge.log", r#"exec "$0" "$@""#),
        ("/", r#"exec "$0" "$@""#),
        (limited, FILE_SIZE_LIMIT.script),
    ] {
        let launch = program::bridge_for(&server).args(["--log-file", file]);
        let mut app = launch.through_shell(script).start();
        app.initialize().await;
        app.still_served().await;
        let stderr = app.finish().await.stderr;
        let said = stderr
            .matches("the log file cannot be written, so the log is on stderr")
            .count();
        assert_eq!(said, 1, "{file}: {stderr}");
        assert!(stderr.contains("-> server: POST request"), "{stderr}");
    }
}

#[tokio::test]
async fn a_full_disk_under_stderr_ends_nothing() {
    let server = FaultServer::start();
    let script = r#"exec "$0" "$@" 2> /dev/full"#;
    let mut app = program::bridge_for(&server).through_shell(script).start();
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
    let refused = program::command(["ftp://example.com/"]).through_shell(script);
    assert_eq!(refused.run().await.status, 2);
}

/// System calls of a command, by strace. None where that is not installed or not allowed.
fn traced(user: &User, calls: &str, args: &[&str]) -> Option<String> {
    let trace = user.file("trace");
    let allowed = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: strace is not installed, or may not trace");
        return None;
    }
    let output = trace.to_str().unwrap();
    program::program()
        .through(["strace", "-f", "-y", "-e", calls, "-o", output])
        .args(args)
        .env("HOME", user.file("."))
        .env("MCP_BRIDGE_DIR", user.store())
        .run_unread();
    Some(user::read(&trace))
}

/// Asserts that the directory is synchronized after the last renaming to this file.
fn is_synchronized(trace: &str, file: &Path) {
    let directory = file.parent().unwrap().canonicalize().unwrap();
    let renamed = trace
        .rfind(&format!("{}\"", file.display()))
        .unwrap_or_else(|| panic!("not renamed: {trace}"));
    let synced = trace.rfind(&format!("<{}>)", directory.display()));
    let synced = synced.unwrap_or_else(|| panic!("not synchronized: {trace}"));
    assert!(synced > renamed, "{trace}");
}

const RENAMES: &str = "trace=rename,renameat,renameat2,link,linkat,fsync,fdatasync";

#[tokio::test]
async fn a_directory_is_synchronized_when_a_file_in_it_was_replaced() {
    let user = User::new();
    let config = user.file("mcp.json");
    let install = |url: &str| {
        let path = config.to_str().unwrap();
        let args = [
            "install",
            "--client",
            "cursor",
            "--config-file",
            path,
            "--yes",
            "here",
            url,
        ];
        traced(&user, RENAMES, &args)
    };
    for url in ["https://a.example/mcp", "https://b.example/mcp"] {
        let Some(trace) = install(url) else { return };
        is_synchronized(&trace, &config);
    }
    let trace = traced(&user, RENAMES, &["store", "file"]).unwrap();
    is_synchronized(&trace, &user.store().join("settings.json"));
}

/// The process is killed when it would rename the temporary file.
#[tokio::test]
async fn what_a_killed_process_left_unfinished_is_removed() {
    let user = User::new();
    let kill = "inject=rename,renameat,renameat2,link,linkat:signal=SIGKILL";
    let config = user.file("mcp.json");
    let path = config.to_str().unwrap();
    let install = [
        "install",
        "--client",
        "cursor",
        "--config-file",
        path,
        "--yes",
        "here",
        "https://a.example/mcp",
    ];
    let unfinished = |directory: &Path| {
        let paths = files(directory).into_iter();
        let of_us = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(".new-") || name.starts_with(".mcp-bridge-")
        };
        paths.filter(of_us).count()
    };
    for args in [&["store", "file"][..], &install] {
        if traced(&user, kill, args).is_none() {
            return;
        }
        assert_eq!(unfinished(&user.file(".")), 1, "{args:?}");
        run_command(&user, args).await;
        run_command(&user, &["logout", "--all"]).await;
        assert_eq!(unfinished(&user.file(".")), 0, "{args:?}");
    }
}
