//! Snapshots of whole command outputs in the main situations: stdout, stderr and exit status, each a file in
//! `snapshots/`. See [`mcp_bridge_testkit::snapshot`] for how a change is accepted.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::examples::example_server::client::options;
use crate::program;
use crate::server::Server;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::{
    fault_server,
    mcp::Binding,
    program::Running,
    snapshot::{Volatile, is_as_committed},
};

/// Somebody with a home and a browser, who runs one command after the other.
struct Person {
    home: TempDir,
    browser: BrowserDouble,
    volatile: Volatile,
}

impl Person {
    /// At a server whose URL is this.
    fn at(url: &str) -> Self {
        let home = TempDir::new().unwrap();
        let browser = BrowserDouble::noting(home.path());
        let port = Url::parse(url).unwrap().port_or_known_default().unwrap();
        let volatile = Volatile::new([
            (home.path().display().to_string(), "~"),
            (program::path().to_owned(), "BRIDGE"),
            (format!(":{port}"), ":PORT"),
            // ECONNREFUSED on Linux and on macOS.
            ("os error 111".to_owned(), "os error N"),
            ("os error 61".to_owned(), "os error N"),
        ]);
        Self {
            home,
            browser,
            volatile,
        }
    }

    fn start(&self, line: &[&str]) -> Running {
        let program = program::program().args(line).home(self.home.path());
        program.browser(&self.browser).search_path().spawn()
    }

    async fn ended(&self, name: &str, line: &[&str], command: Running) {
        let mut ran = command.ends().await;
        ran.stderr = without_queries(&ran.stderr);
        is_as_committed(name, line, &ran, &self.volatile);
    }

    /// Runs a command, and compares what it says with the file of that name.
    async fn says(&self, name: &str, line: &[&str]) {
        self.ended(name, line, self.start(line)).await;
    }

    /// The same with a page of the example server on its way, on which the person presses a button.
    async fn says_after(&self, decision: &str, name: &str, line: &[&str]) {
        let command = self.start(line);
        let page = self.browser.started().await.arguments.remove(0);
        let answer = crate::browser::sign_in(&page, "ada", decision).await;
        mcp_bridge_testkit::visit_when_it_listens(&answer.unwrap()).await;
        self.ended(name, line, command).await;
    }
}

/// The text without the queries of its URLs: state, challenge and client are others each time.
fn without_queries(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        match word.split_once("/authorize?") {
            Some((before, query)) => {
                let rest = query.trim_start_matches(|c: char| !c.is_whitespace());
                shown.extend([before, "/authorize?QUERY", rest]);
            }
            None => shown.push_str(word),
        }
    }
    shown
}

#[tokio::test]
async fn help_is_as_committed() {
    for (name, line) in [
        ("help", &["--help"][..]),
        ("help_sign_in", &["help", "sign-in"]),
        ("help_tools", &["help", "tools"]),
        ("help_messages", &["help", "messages"]),
        ("help_environment", &["help", "environment"]),
        ("help_login", &["help", "login"]),
        ("help_unknown", &["help", "singing"]),
        ("no_arguments", &[]),
    ] {
        let ran = program::command(line.iter().copied()).run().await;
        is_as_committed(name, line, &ran, &Volatile::default());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_way_of_a_person_through_a_sign_in_is_as_committed() {
    let server = Server::start(options()).await.unwrap();
    let url = &server.url().to_owned();
    let person = Person::at(url);
    person.says("status_of_nobody", &["status"]).await;
    person.says("logout_of_nobody", &["logout", url]).await;
    let login = ["login", url];
    person.says_after("deny", "login_denied", &login).await;
    person.says_after("allow", "login", &login).await;
    person.says("login_again", &login).await;
    person.says("status_signed_in", &["status"]).await;
    person.says("tools", &["tools", url]).await;
    person
        .says("call", &["call", url, "echo", "text=hello"])
        .await;
    person
        .says("call_json", &["call", url, "echo", "text=hello", "--json"])
        .await;
    person
        .says("call_without_argument", &["call", url, "echo"])
        .await;
    person
        .says("call_of_a_wrong_name", &["call", url, "ecko", "text=hello"])
        .await;
    person.says("logout", &["logout", url]).await;
    person.says("status_signed_out", &["status"]).await;
    server.stop().await;
    let down = ["doctor", url, "--ipv4"];
    person.says("doctor_of_a_server_that_is_down", &down).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_that_wants_no_sign_in_is_told_as_that() {
    let server = fault_server::FaultServer::start_as(Binding::Streamable);
    let url = server.url();
    let (url, _) = url.split_once('?').unwrap();
    let person = Person::at(url);
    person.says("tools_without_sign_in", &["tools", url]).await;
    person.says("status_not_needed", &["status"]).await;
    person
        .says("status_not_needed_json", &["status", "--json"])
        .await;
    person.says("login_not_needed", &["login", url]).await;
}

#[cfg(unix)]
#[tokio::test]
async fn an_installation_is_as_committed() {
    const URL: &str = "https://mcp.example.com/mcp";
    let person = Person::at(URL);
    let file = person.home.path().join(".cursor/mcp.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, json!({ "mcpServers": {} }).to_string()).unwrap();
    let line = ["install", "--client", "cursor", "example", URL];
    person.says("install_without_a_terminal", &line).await;
    let print = ["install", "--client", "cursor", "--print", "example", URL];
    person.says("install_print", &print).await;
    let yes = ["install", "--client", "cursor", "--yes", "example", URL];
    person.says("install", &yes).await;
    person.says("install_again", &yes).await;
    let remove = [
        "install", "--client", "cursor", "--yes", "--remove", "example",
    ];
    person.says("install_remove", &remove).await;
}
