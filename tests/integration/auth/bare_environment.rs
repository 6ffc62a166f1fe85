//! Apps that pass few variables on: what the bridge finds all the same.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::program;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::program::{CommandOutput, Program, Running};

struct Person {
    home: TempDir,
    provider: AuthorizationServer,
    browser: BrowserDouble,
}

impl Person {
    async fn new() -> Self {
        let home = tempdir().unwrap();
        Self {
            provider: AuthorizationServer::start().await,
            browser: BrowserDouble::noting(home.path()),
            home,
        }
    }

    /// The program with a home, a search path, and these variables.
    fn start(&self, words: &[&str], variables: &[(&str, &Path)]) -> Running {
        self.command(words, variables).spawn()
    }

    fn command(&self, words: &[&str], variables: &[(&str, &Path)]) -> Program {
        let mut program = self.bare(program::program()).args(words).stdin_open();
        for (name, value) in variables {
            program = program.env(name, value);
        }
        program
    }

    fn bare(&self, program: Program) -> Program {
        let program = program.home(self.home.path()).browser(&self.browser);
        program
            .search_path()
            .env_remove("MCP_BRIDGE_DIR")
            .env_remove("XDG_RUNTIME_DIR")
    }

    /// Signs in at a terminal with these variables.
    async fn login(&self, words: &[&str], variables: &[(&str, &Path)]) {
        let url = self.provider.mcp_url();
        let words: Vec<_> = ["login", url.as_str()]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let login = self.start(&words, variables);
        let page = self.browser.page().await;
        HeadlessBrowser::default().visit(page).await;
        assert!(login.ends().await.succeeded());
    }

    /// Proves that a bridge of an app without further variables is signed in.
    async fn an_app_is_signed_in(&self) {
        let url = self.provider.mcp_url();
        let bridge = program::bridge().with(|program| self.bare(program));
        let bridge = bridge.args([url.as_str()]).leaves_orphans();
        let mut app = bridge.start();
        app.initialize().await;
        app.request(2, "tools/list", &json!({})).await;
        assert!(app.result(2).await["tools"].is_array());
        app.finish().await;
        assert!(!self.browser.was_started().await, "a page");
    }

    async fn run(&self, words: &[&str], variables: &[(&str, &Path)]) -> CommandOutput {
        self.command(words, variables).run().await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

#[tokio::test]
async fn a_sign_in_under_xdg_data_home_is_found_by_an_app_that_does_not_pass_it_on() {
    let person = Person::new().await;
    let data = person.path("data");
    person.login(&[], &[("XDG_DATA_HOME", &data)]).await;
    assert!(data.join("mcp-bridge").is_dir());
    person.an_app_is_signed_in().await;
    let default = person.path(".local/share/mcp-bridge");
    let note = default.join("directories.json");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&note), 0o600);
    assert_eq!(mode(&default), 0o700);
    assert!(!fs::read_to_string(note).unwrap().contains("MARKER"));
}

#[tokio::test]
async fn what_is_signed_in_in_the_default_place_is_used_whatever_the_note_says() {
    let person = Person::new().await;
    person.login(&[], &[]).await;
    let data = person.path("data");
    person.login(&[], &[("XDG_DATA_HOME", &data)]).await;
    // The one of the default place is the one that the app has used, and goes on to use.
    fs::remove_dir_all(data).unwrap();
    person.an_app_is_signed_in().await;
}

#[tokio::test]
async fn a_directory_of_the_users_own_is_noted_nowhere() {
    let person = Person::new().await;
    let own = person.path("own");
    person.login(&[], &[("MCP_BRIDGE_DIR", &own)]).await;
    assert!(!person.path(".local").exists());
    let status = person.run(&["status"], &[]).await;
    let stdout = status.stdout;
    assert!(stdout.starts_with("No sign-in is stored"), "{stdout}");
}

#[tokio::test]
async fn the_browser_gets_the_session_that_the_app_has_not_passed_on() {
    let person = Person::new().await;
    let runtime = person.path("run");
    fs::create_dir(&runtime).unwrap();
    let _sockets = ["bus", "wayland-3"].map(|name| UnixListener::bind(runtime.join(name)).unwrap());
    let script = format!(
        "#!/bin/sh\nexec '{}' \"$WAYLAND_DISPLAY\" \"$DBUS_SESSION_BUS_ADDRESS\"\n",
        person.browser.path().display()
    );
    let browser = person.path("tells-its-session");
    fs::write(&browser, script).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let url = person.provider.mcp_url();
    let words = ["login", url.as_str()];
    let variables: [(&str, &Path); 2] = [("XDG_RUNTIME_DIR", &runtime), ("BROWSER", &browser)];
    let login = person.start(&words, &variables);
    let bus = format!("unix:path={}", runtime.join("bus").display());
    assert_eq!(
        person.browser.started().await.arguments,
        ["wayland-3", &bus]
    );
    drop(login);

    // Over SSH the screen of this machine is not the person's.
    let remote = Path::new("10.0.0.9 50022 10.0.0.5 22");
    let variables: [(&str, &Path); 4] = [
        ("XDG_RUNTIME_DIR", &runtime),
        ("BROWSER", &browser),
        ("SSH_CONNECTION", remote),
        ("MCP_BRIDGE_DIR", &runtime.join("other")),
    ];
    let login = person.start(&words, &variables);
    assert_eq!(person.browser.started().await.arguments, ["", ""]);
    drop(login);
}

#[tokio::test]
async fn a_browser_that_ends_with_an_error_at_once_is_followed_by_the_next() {
    let person = Person::new().await;
    let list = std::env::join_paths(["/bin/false".into(), person.browser.path()]).unwrap();
    let url = person.provider.mcp_url();
    let list = PathBuf::from(list);
    let login = person.start(&["login", url.as_str()], &[("BROWSER", &list)]);
    let page = person.browser.page().await;
    HeadlessBrowser::default().visit(page).await;
    assert!(login.ends().await.succeeded());
}
