//! `login` at a terminal, as a newcomer sees it: everything that stands on the screen.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::{TempDir, tempdir};
use url::Url;

use crate::program;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::program::Running;
use mcp_bridge_testkit::soon;
use mcp_bridge_testkit::terminal::Terminal;

/// Interval at which to look at the screen.
const LOOK: Duration = Duration::from_millis(25);

/// A terminal with `login` in it.
struct LoginTerminal {
    terminal: Terminal,
    screen: Arc<Mutex<String>>,
    login: Running,
    _home: TempDir,
}

impl LoginTerminal {
    fn login(provider: &AuthorizationServer, variables: &[(&str, &str)]) -> Self {
        let home = tempdir().unwrap();
        let terminal = Terminal::open();
        let program = program::program()
            .home(home.path())
            .env("PATH", home.path());
        let mut program = program
            .env_remove("BROWSER")
            .env_remove("XDG_RUNTIME_DIR")
            .args(["login", provider.mcp_url().as_str()]);
        for (name, value) in variables {
            program = program.env(name, value);
        }
        let login = program
            .stdin_from(terminal.other_end())
            .stdout_to(terminal.other_end())
            .stderr_to(terminal.other_end())
            .spawn();
        let mut reader = terminal.screen();
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when the program has left the terminal.
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).replace('\r', "");
                shown.lock().unwrap().push_str(&text);
            }
        });
        Self {
            terminal,
            screen,
            login,
            _home: home,
        }
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    async fn shows(&self, text: &str) {
        let shown = async {
            while !self.screen().contains(text) {
                tokio::time::sleep(LOOK).await;
            }
        };
        soon(text, shown).await;
    }

    fn types(&mut self, line: &str) {
        self.terminal.types(&format!("{line}\n"));
    }

    /// The address of the sign-in page on the screen.
    fn page(&self) -> Url {
        let screen = self.screen();
        let line = screen.lines().find(|line| line.contains("/authorize?"));
        Url::parse(line.unwrap()).unwrap()
    }

    /// All that is on the screen at the end, the same in each run.
    async fn ends(mut self, provider: &AuthorizationServer, page: &Url) -> String {
        let status = self.login.status().await;
        assert_eq!(status, 0, "{}", self.screen());
        self.shows("The server is").await;
        let (_, redirect_uri) = page
            .query_pairs()
            .find(|(name, _)| name == "redirect_uri")
            .unwrap();
        let port = Url::parse(&redirect_uri).unwrap().port().unwrap();
        plain(&self.screen())
            .replace(page.as_str(), "PAGE")
            .replace(&provider.origin(), "http://server")
            .replace(&format!("localhost:{port}"), "localhost:PORT")
            .replace(&format!("-L {port}:"), "-L PORT:")
    }
}

/// The text without colours.
fn plain(screen: &str) -> String {
    let mut parts = screen.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    let others = parts.map(|part| part.split_once('m').map_or(part, |(_, text)| text));
    first + &others.collect::<String>()
}

const SIGNED_IN: &str = "\
Signed in to http://server/mcp
  signed in   yes
  token       does not say when it expires
  issuer      http://server
  kept in     a file
The server is provider 1 and offers 2 tools.
";

#[tokio::test]
async fn on_a_fresh_machine_without_a_browser_login_says_what_to_open_and_what_to_paste() {
    let provider = AuthorizationServer::start().await;
    let mut terminal = LoginTerminal::login(&provider, &[]);
    terminal.shows("/authorize?").await;
    terminal.shows("state=").await;
    terminal.shows("\n").await;
    let page = terminal.page();
    terminal.types("hello");
    terminal.shows("neither an address").await;
    terminal.types(page.as_str());
    terminal.shows("address of the sign-in page").await;
    let answer = HeadlessBrowser::default().approve(page.clone()).await;
    terminal.types(answer.as_str());
    let screen = terminal.ends(&provider, &page).await;
    let screen = screen.replace(answer.as_str(), "ANSWER");
    let answer = answer.as_str().replace(&provider.origin(), "http://server");
    let port = Url::parse(&answer).unwrap().port().unwrap();
    let screen = screen.replace(&answer.replace(&format!(":{port}"), ":PORT"), "ANSWER");
    assert_eq!(
        screen,
        format!(
            "\
127.0.0.1 wants you to sign in. No browser could be started. Open this address in one on this machine:
http://localhost:PORT/
In a browser on another machine, open this one, and paste here the address at which it ends:
PAGE
hello
Not accepted: `hello` is neither an address nor a code. Paste the whole address of the page at which the browser ended; it has code= in it.
PAGE
Not accepted: this is the address of the sign-in page. Open it in a browser, sign in there, and paste the address at which that ends.
ANSWER
{SIGNED_IN}"
        )
    );
}

#[tokio::test]
async fn over_ssh_login_shows_the_whole_address_and_both_ways_to_finish() {
    let provider = AuthorizationServer::start().await;
    let variables = [
        ("SSH_CONNECTION", "10.0.0.9 50022 10.0.0.5 22"),
        ("BROWSER", "/nowhere/firefox"),
    ];
    let terminal = LoginTerminal::login(&provider, &variables);
    terminal.shows("ssh -N -L").await;
    let page = terminal.page();
    HeadlessBrowser::default().visit(page.clone()).await;
    let screen = terminal.ends(&provider, &page).await;
    assert_eq!(
        screen,
        format!(
            "\
127.0.0.1 wants you to sign in. Open this address in a browser:
PAGE
Paste here the address at which the browser ends. If that page does not load, that is fine.
For that page to load, run this first on the machine of the browser:
ssh -N -L PORT:localhost:PORT 10.0.0.5
{SIGNED_IN}"
        )
    );
}

#[tokio::test]
async fn with_a_browser_login_says_what_to_do_if_no_page_opens() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let browser = BrowserDouble::noting(directory.path());
    let path = browser.path();
    let terminal = LoginTerminal::login(&provider, &[("BROWSER", path.to_str().unwrap())]);
    let page = browser.page().await;
    terminal.shows(page.as_str()).await;
    HeadlessBrowser::default().visit(page.clone()).await;
    let screen = terminal.ends(&provider, &page).await;
    assert_eq!(
        screen,
        format!(
            "\
127.0.0.1 wants you to sign in. If no page opens in your browser, open this address on this machine:
http://localhost:PORT/
In a browser on another machine, open this one, and paste here the address at which it ends:
PAGE
{SIGNED_IN}"
        )
    );
}
