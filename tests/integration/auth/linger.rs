//! A sign-in that outlives its bridge: apps kill bridges while a person signs in.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;
use tempfile::{TempDir, tempdir};
use tokio::net::TcpListener;
use url::Url;

use crate::program;
use mcp_bridge_testkit::app::{App, initialize_line};
use mcp_bridge_testkit::authorization_server::{AuthorizationServer, TokenReply};
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::program::Program;
use mcp_bridge_testkit::{free_port, soon};

/// Interval at which to look for what a process does that nobody waits for.
const LOOK: Duration = Duration::from_millis(25);

/// A person with a home and a browser, and a server that wants them to sign in.
struct Scene {
    provider: AuthorizationServer,
    home: TempDir,
    browser: BrowserDouble,
}

impl Scene {
    async fn new() -> Self {
        let home = tempdir().unwrap();
        Self {
            provider: AuthorizationServer::start().await,
            browser: BrowserDouble::noting(home.path()),
            home,
        }
    }

    /// A bridge that an app has started and said its first word to.
    async fn bridge(&self, flags: &[&str]) -> App {
        let mut bridge =
            program::start_signed_out(&self.provider, self.home.path(), &self.browser, flags);
        bridge.send(initialize_line("2025-06-18")).await;
        bridge
    }

    /// The page that the browser was sent to.
    async fn page(&self) -> Url {
        self.browser.page().await
    }

    /// The helpers of this person.
    fn helpers(&self) -> Vec<u32> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|it| it.file_name().to_str()?.parse().ok());
        ids.filter(|id| is_helper(*id, self.home.path())).collect()
    }

    /// The one helper, as soon as it has a session of its own.
    async fn helper(&self) -> u32 {
        let found = async {
            loop {
                match self.helpers()[..] {
                    [id] if stat(id, SESSION) == i64::from(id) => return id,
                    _ => tokio::time::sleep(LOOK).await,
                }
            }
        };
        soon("one helper", found).await
    }

    /// Waits until the helper has noticed the end of the bridge.
    async fn helper_has_taken_over(&self) {
        let is_noted = || {
            let files = fs::read_dir(self.home.path().join("store")).unwrap();
            let texts = files.flatten().map(|it| fs::read_to_string(it.path()));
            texts.flatten().any(|text| text.contains("\"since\""))
        };
        let noted = async {
            while !is_noted() {
                tokio::time::sleep(LOOK).await;
            }
        };
        soon("the takeover", noted).await;
    }

    async fn no_helper(&self) {
        let gone = async {
            while !self.helpers().is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        };
        soon("the end of the helper", gone).await;
    }

    /// Proves that the next start is signed in, without a page.
    async fn is_signed_in(&self) {
        let mut next = self.bridge(&[]).await;
        next.is_in_session().await;
        next.finish().await;
        assert!(!self.browser.was_started().await, "a page too many");
    }

    /// Standard output of a command.
    async fn run(&self, args: &[&str]) -> String {
        self.command(args).run().await.stdout
    }

    fn command(&self, args: &[&str]) -> Program {
        let program = program::program().args(args);
        program.home(self.home.path()).browser(&self.browser)
    }
}

/// Positions in `/proc/PID/stat` behind the command (proc(5)).
const PARENT: usize = 1;
const SESSION: usize = 3;

fn stat(id: u32, position: usize) -> i64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
    let value = behind
        .split(' ')
        .nth(position)
        .and_then(|it| it.parse().ok());
    value.unwrap_or_default()
}

fn is_helper(id: u32, home: &Path) -> bool {
    let read = |name: &str| fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
    let contains = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|it| it == word);
    contains(&read("cmdline"), b"finish-sign-in")
        && contains(&read("environ"), home.to_str().unwrap().as_bytes())
}

fn port(page: &Url) -> u16 {
    let mut pairs = page.query_pairs();
    let (_, uri) = pairs.find(|(name, _)| name == "redirect_uri").unwrap();
    Url::parse(&uri).unwrap().port().unwrap()
}

async fn is_free(port: u16) -> bool {
    let v4 = TcpListener::bind(("127.0.0.1", port)).await;
    let v6 = TcpListener::bind(("::1", port)).await;
    v4.is_ok() && v6.is_ok()
}

#[derive(Debug, Clone, Copy)]
enum End {
    Signal(Signal),
    Input,
}

impl End {
    async fn of(self, mut bridge: App) {
        match self {
            Self::Signal(signal) => _ = bridge.end_with_group(signal).await,
            Self::Input => {
                bridge.close_stdin();
                bridge.finish().await;
            }
        }
    }
}

#[tokio::test]
async fn a_person_who_finishes_after_the_end_of_the_bridge_is_signed_in_at_the_next_start() {
    let ends = [
        End::Signal(Signal::TERM),
        End::Signal(Signal::KILL),
        End::Input,
    ];
    for end in ends {
        let scene = Scene::new().await;
        let bridge = scene.bridge(&["--drain-timeout", "0"]).await;
        let page = scene.page().await;
        // At once: the helper was started before the browser, and the port is never closed.
        end.of(bridge).await;
        let (status, shown) = HeadlessBrowser::default().visit(page.clone()).await;
        assert_eq!(status, StatusCode::OK, "{end:?}");
        assert!(shown.contains("You are signed in"), "{end:?}: {shown}");
        scene.no_helper().await;
        assert!(is_free(port(&page)).await, "{end:?}");
        scene.is_signed_in().await;
        assert_eq!(scene.provider.seen("/register").len(), 1);
        assert_eq!(scene.provider.seen("/token").len(), 1);
    }
}

#[tokio::test]
async fn the_helper_is_no_descendant_of_the_bridge_and_shows_no_secret_in_its_command_line() {
    let scene = Scene::new().await;
    let bridge = scene.bridge(&["--header", "X-Api-Key: key-MARKER"]).await;
    let page = scene.page().await;
    let helper = scene.helper().await;
    assert_ne!(stat(helper, SESSION), stat(bridge.pid(), SESSION));
    assert_ne!(stat(helper, PARENT), i64::from(bridge.pid()));
    let (_, state) = page
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap();
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{helper}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(&*state), "{file}");
        assert!(!text.contains("key-MARKER"), "{file}");
    }
    bridge.end_with_group(Signal::KILL).await;
    HeadlessBrowser::default().visit(page).await;
    scene.no_helper().await;
}

#[tokio::test]
async fn a_helper_that_nobody_comes_to_ends_with_the_time_limit() {
    let scene = Scene::new().await;
    let bridge = scene.bridge(&["--auth-timeout", "3"]).await;
    let page = scene.page().await;
    scene.helper().await;
    bridge.end_with_group(Signal::KILL).await;
    scene.no_helper().await;
    assert!(is_free(port(&page)).await);

    // The next one begins anew.
    let next = scene.bridge(&["--no-linger"]).await;
    assert_ne!(scene.page().await, page);
    next.killed().await;
}

#[tokio::test]
async fn with_no_linger_the_port_is_closed_with_the_bridge() {
    let scene = Scene::new().await;
    let bridge = scene.bridge(&["--no-linger"]).await;
    let page = scene.page().await;
    assert!(scene.helpers().is_empty());
    bridge.end_with_group(Signal::TERM).await;
    assert!(scene.helpers().is_empty());
    assert!(is_free(port(&page)).await);
}

#[tokio::test]
async fn no_helper_is_left_when_the_sign_in_has_ended_before_the_bridge() {
    let scene = Scene::new().await;
    let mut bridge = scene.bridge(&[]).await;
    let page = scene.page().await;
    scene.helper().await;
    HeadlessBrowser::default().visit(page.clone()).await;
    bridge.is_in_session().await;
    scene.no_helper().await;
    assert!(is_free(port(&page)).await);
    bridge.finish().await;

    // Nor of one that was refused.
    scene.provider.revoke_all();
    scene.provider.behave(|it| {
        it.authorization_response = json!({ "code": null, "error": "access_denied" });
    });
    let bridge = scene.bridge(&[]).await;
    HeadlessBrowser::default().visit(scene.page().await).await;
    scene.no_helper().await;
    bridge.finish().await;
    scene.no_helper().await;
}

#[tokio::test]
async fn starts_while_a_helper_waits_share_its_sign_in_and_open_its_page_again_once() {
    let scene = Scene::new().await;
    let first = scene.bridge(&[]).await;
    let page = scene.page().await;
    let helper = scene.helper().await;
    first.end_with_group(Signal::TERM).await;

    let mut next = Vec::new();
    for _ in 0..3 {
        next.push(scene.bridge(&["--debug"]).await);
    }
    assert_eq!(scene.page().await, page);
    for bridge in &next {
        bridge.says(page.as_str()).await;
    }
    assert!(!scene.browser.was_started().await, "once for all of them");
    assert_eq!(scene.helpers(), [helper], "and no helper more");
    // These are killed as well, and so is one that comes later and need not open it any more.
    for bridge in next {
        bridge.end_with_group(Signal::KILL).await;
    }
    let mut last = scene.bridge(&["--debug"]).await;
    last.says(page.as_str()).await;
    assert!(!scene.browser.was_started().await, "not at every start");
    assert_eq!(scene.helpers(), [helper]);

    let (_, shown) = HeadlessBrowser::default().visit(page).await;
    assert!(shown.contains("You are signed in"), "{shown}");
    last.is_in_session().await;
    last.finish().await;
    scene.no_helper().await;
    assert_eq!(scene.provider.seen("/register").len(), 1);
    assert_eq!(scene.provider.seen("/token").len(), 1);
}

#[tokio::test]
async fn a_bridge_that_has_waited_leaves_the_sign_in_to_the_helper() {
    let scene = Scene::new().await;
    let owner = scene.bridge(&[]).await;
    let page = scene.page().await;
    scene.helper().await;
    let mut other = scene.bridge(&["--debug"]).await;
    other.says("another mcp-bridge waits").await;
    owner.end_with_group(Signal::KILL).await;
    let (_, shown) = HeadlessBrowser::default().visit(page).await;
    assert!(shown.contains("You are signed in"), "{shown}");
    other.is_in_session().await;
    other.finish().await;
    scene.no_helper().await;
    assert!(!scene.browser.was_started().await, "one page");
    assert_eq!(scene.provider.seen("/register").len(), 1);
    assert_eq!(scene.provider.seen("/token").len(), 1);
}

#[tokio::test]
async fn the_helper_asks_in_another_way_as_the_bridge_does() {
    let scene = Scene::new().await;
    let bridge = scene.bridge(&[]).await;
    let page = scene.page().await;
    scene.helper().await;
    bridge.end_with_group(Signal::KILL).await;
    let refused = TokenReply::error(400, "invalid_grant");
    scene.provider.behave(|it| it.token_replies = vec![refused]);
    let (_, shown) = HeadlessBrowser::default().visit(page).await;
    assert!(shown.contains("You are signed in"), "{shown}");
    assert_eq!(scene.provider.seen("/authorize").len(), 2);
    scene.is_signed_in().await;
}

#[tokio::test]
async fn a_client_of_the_users_own_signs_in_after_the_end_of_the_bridge_too() {
    let scene = Scene::new().await;
    let port = free_port().to_string();
    let redirect_uri = format!("http://localhost:{port}/oauth/callback");
    let provider = &scene.provider;
    provider.register("by-hand", Some("secret-MARKER"), &redirect_uri);
    let flags = [port.as_str(), "--client-id", "by-hand"];
    let bridge = scene.bridge(&flags).await;
    let page = scene.page().await;
    scene.helper().await;
    bridge.end_with_group(Signal::KILL).await;
    let (_, shown) = HeadlessBrowser::default().visit(page).await;
    assert!(shown.contains("You are signed in"), "{shown}");
    let mut next = scene.bridge(&flags).await;
    next.is_in_session().await;
    next.finish().await;
    assert!(!scene.browser.was_started().await);
}

#[tokio::test]
async fn logout_ends_a_sign_in_that_only_a_helper_waits_for() {
    let scene = Scene::new().await;
    let bridge = scene.bridge(&[]).await;
    let page = scene.page().await;
    scene.helper().await;
    bridge.end_with_group(Signal::TERM).await;
    scene.helper_has_taken_over().await;
    let url = scene.provider.mcp_url();
    scene.run(&["logout", url.as_str()]).await;
    scene.no_helper().await;
    assert!(is_free(port(&page)).await);
    assert!(scene.provider.seen("/token").is_empty());
}

#[tokio::test]
async fn a_login_that_is_interrupted_ends_with_its_port() {
    let scene = Scene::new().await;
    let url = scene.provider.mcp_url();
    let login = scene.command(&["login", url.as_str()]).spawn();
    let page = scene.page().await;
    login.interrupt();
    login.is_gone().await;
    assert!(scene.helpers().is_empty());
    assert!(is_free(port(&page)).await);
}

/// Over SSH nobody has a browser here.
#[tokio::test]
async fn login_passes_a_pasted_answer_on_to_the_helper_that_waits_for_it() {
    let scene = Scene::new().await;
    let bridge = scene.bridge(&[]).await;
    let page = scene.page().await;
    scene.helper().await;
    bridge.end_with_group(Signal::KILL).await;
    let url = scene.provider.mcp_url();
    let login = scene.command(&["login", url.as_str()]).stdin_open();
    let mut login = login.spawn();
    assert_eq!(scene.page().await, page, "it is opened again");
    let answer = HeadlessBrowser::default().approve(page).await;
    let mut forged = answer.clone();
    forged.set_query(Some("code=forged-1&state=forged"));
    login.says("another mcp-bridge waits").await;
    login.write_line(forged.as_str()).await;
    login.says("answer to another sign-in").await;
    login.write_line(answer.as_str()).await;
    let stdout = login.ends().await.stdout;
    // The token is there before the first visit ends, or it is not.
    assert!(stdout.contains("igned in to"), "{stdout}");
    scene.no_helper().await;
}

#[tokio::test]
async fn a_helper_goes_when_the_directory_of_its_tokens_is_gone() {
    let scene = Scene::new().await;
    let bridge = scene.bridge(&[]).await;
    scene.page().await;
    scene.helper().await;
    bridge.end_with_group(Signal::KILL).await;
    scene.helper_has_taken_over().await;
    fs::remove_dir_all(scene.home.path().join("store")).unwrap();
    scene.no_helper().await;
}
