//! Programs that the bridge starts on Windows, and files that others have open there.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use reqwest::StatusCode;
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::program;
use mcp_bridge_testkit::app::initialize_line;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::visit_when_it_listens;

/// The commands of Google's and Azure's tools are batch files, which Windows itself does not find by their names.
#[tokio::test]
async fn a_batch_file_on_the_path_prints_the_token() {
    let server = FaultServer::start();
    let directory = TempDir::new().expect("a directory");
    let script = "@echo off\r\necho {\"token\": \"of-%1\", \"expires_in\": 3600}\r\n";
    fs::write(directory.path().join("gcloud.cmd"), script).expect("the directory is ours");
    let launch = program::bridge_for(&server).args(["--auth-command", "gcloud auth"]);
    let mut app = launch
        .env("PATH", directory.path().to_str().expect("UTF-8"))
        .start();
    app.initialize().await;
    app.finish().await;
    let requests = server.requests();
    let mut tokens = requests.iter().map(|it| it.header("authorization"));
    assert!(tokens.all(|token| token == Some("Bearer of-auth")));
}

/// A browser runs on for days. [`mcp_bridge_testkit::app::App::finish`] waits for the end of stdout and stderr, which a browser that
/// has inherited them would keep open.
#[tokio::test]
async fn a_browser_that_stays_does_not_keep_the_apps_pipes_open() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().expect("a directory");
    let browser = BrowserDouble::noting(home.path());
    let flags = ["--drain-timeout", "0", "--no-linger"];
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &flags);
    app.send(initialize_line("2025-06-18")).await;
    let window = browser.started().await;
    app.close_stdin();
    app.finish().await;
    drop(window);
}

/// Apps end a bridge while a person signs in. The helper takes over the port then.
#[tokio::test]
async fn a_sign_in_outlives_the_bridge() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().expect("a directory");
    let browser = BrowserDouble::noting(home.path());
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &[]);
    app.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    app.killed().await;
    let callback = HeadlessBrowser::default().approve(page).await;
    assert_eq!(visit_when_it_listens(&callback).await, StatusCode::OK);

    let mut next = program::start_signed_out(&provider, home.path(), &browser, &[]);
    next.send(initialize_line("2025-06-18")).await;
    next.is_in_session().await;
    next.finish().await;
    assert_eq!(provider.seen("/token").len(), 1);
    assert!(!browser.was_started().await, "a page too many");
}

/// RFC 6749 §6: a rotated refresh token that is not stored is lost. Backup programs, indexers and virus scanners read files at any
/// time.
#[tokio::test]
async fn a_renewed_credential_is_stored_while_others_read_the_file() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().expect("a directory");
    let browser = BrowserDouble::noting(home.path());
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &[]);
    app.send(initialize_line("2025-06-18")).await;
    HeadlessBrowser::default().visit(browser.page().await).await;
    app.is_in_session().await;
    let reader = Reader::of(&home.path().join("store"));
    provider.revoke_access_tokens();
    app.request(2, "tools/list", &json!({})).await;
    app.result(2).await;
    app.finish().await;
    drop(reader);

    let mut next = program::start_signed_out(&provider, home.path(), &browser, &[]);
    next.send(initialize_line("2025-06-18")).await;
    next.is_in_session().await;
    next.finish().await;
    assert_eq!(provider.refreshes(), 1, "the new token was stored");
    assert!(!browser.was_started().await);
}

/// A thread that reads all files of a directory again and again.
struct Reader {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn of(directory: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (directory, until) = (directory.to_owned(), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                for entry in fs::read_dir(&directory).expect("the store").flatten() {
                    // One that is being replaced cannot be opened.
                    let _ = fs::read(entry.path());
                }
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
