//! Sign-ins of companies and workloads, by the program: the identity provider of a company, and tokens that come from outside.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program;
use mcp_bridge_testkit::app::{App, initialize_line};
use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Trust};
use mcp_bridge_testkit::browser::BrowserDouble;
#[cfg(target_os = "linux")]
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::identity_provider::{
    IDP_CLIENT, IDP_SECRET, OpenIdProvider, SERVER_CLIENT,
};
use mcp_bridge_testkit::program::CommandOutput;

const SERVER_SECRET: &str = "server-secret-MARKER";

/// Employee of a company with a home, a browser and a configuration file, which the company has given them.
struct Employee {
    home: TempDir,
    browser: BrowserDouble,
    file: PathBuf,
}

impl Employee {
    fn new(configuration: &str) -> Self {
        let home = TempDir::new().expect("a directory");
        let browser = BrowserDouble::signing_in(home.path());
        let file = write(home.path(), "company.toml", configuration);
        write(home.path(), "idp-secret", IDP_SECRET);
        write(home.path(), "server-secret", SERVER_SECRET);
        Self {
            home,
            browser,
            file,
        }
    }

    fn at(idp: &OpenIdProvider) -> Self {
        Self::new(&format!(
            "idp-issuer = \"{}\"\nidp-client-id = \"{IDP_CLIENT}\"\n\
             idp-client-secret-file = \"idp-secret\"\nclient-id = \"{SERVER_CLIENT}\"\n\
             client-secret-file = \"server-secret\"\n",
            idp.issuer()
        ))
    }

    fn start(&self, server: &AuthorizationServer) -> App {
        let file = self.file.to_str().expect("UTF-8");
        let flags = ["--config", file];
        program::start_signed_out(server, self.home.path(), &self.browser, &flags)
    }

    async fn runs(&self, words: &[&str]) -> CommandOutput {
        let command = program::command(words.iter().copied());
        command.home(self.home.path()).run().await
    }

    async fn doctor(&self, server: &AuthorizationServer) -> String {
        let file = self.file.to_str().expect("UTF-8");
        let output = self
            .runs(&["doctor", server.mcp_url().as_str(), "--config", file])
            .await;
        output.stdout
    }
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).expect("the directory is writable");
    path
}

async fn server_of(idp: &OpenIdProvider) -> AuthorizationServer {
    let server = AuthorizationServer::start().await;
    server.register(SERVER_CLIENT, Some(SERVER_SECRET), "unused");
    server.behave(|it| it.trust = Some(Trust::IdentityProvider(idp.issuer())));
    server
}

async fn trusting(token: &str) -> AuthorizationServer {
    let server = AuthorizationServer::start().await;
    server.behave(|it| it.trust = Some(Trust::Token(token.into())));
    server
}

async fn lists_tools(mut app: App) {
    app.initialize().await;
    app.request(7, "tools/list", &json!({})).await;
    let tools = app.result(7).await;
    assert_eq!(tools["tools"][0]["name"], "a", "{tools}");
    app.finish().await;
}

/// ten bridges, as an app with ten servers starts them; the settings come from a file.
#[tokio::test]
async fn ten_bridges_of_a_company_open_one_page() {
    let idp = OpenIdProvider::start().await;
    let employee = Employee::at(&idp);
    let mut servers = Vec::new();
    for _ in 0..10 {
        servers.push(server_of(&idp).await);
    }
    let first = employee.doctor(&servers[0]).await;
    assert!(first.contains("nobody has signed in there yet"), "{first}");
    let sessions: Vec<_> = servers
        .iter()
        .map(|server| tokio::spawn(lists_tools(employee.start(server))))
        .collect();
    for session in sessions {
        session.await.expect("each session works");
    }
    assert_eq!(idp.sign_ins(), 1);
    let again = employee.doctor(&servers[0]).await;
    assert!(again.contains("; signed in there"), "{again}");

    let status = employee.runs(&["status"]).await.stdout;
    assert!(status.contains("as ada@company.example"), "{status}");
    assert_eq!(status.matches("for all servers of the company").count(), 1);
    let by = format!("of the sign-in at {}", idp.issuer());
    assert_eq!(status.matches(&by).count(), servers.len(), "{status}");
    let status = employee.runs(&["status", "--json"]).await.stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status[0]["identityProvider"], idp.issuer());

    // A sign-out there is for all that follows.
    employee.runs(&["logout", &idp.issuer()]).await;
    servers[0].revoke_access_tokens();
    lists_tools(employee.start(&servers[0])).await;
    assert_eq!(idp.sign_ins(), 2);
}

/// from a terminal, before an app needs it.
#[tokio::test]
async fn a_login_is_for_all_servers_of_the_company() {
    let idp = OpenIdProvider::start().await;
    let employee = Employee::at(&idp);
    let (one, other) = (server_of(&idp).await, server_of(&idp).await);
    let file = employee.file.to_str().expect("UTF-8");
    let login = program::command(["login", one.mcp_url().as_str(), "--config", file]);
    let login = login.home(employee.home.path()).browser(&employee.browser);
    let login = login.search_path().run().await;
    assert!(login.succeeded(), "{}", login.stderr);
    lists_tools(employee.start(&other)).await;
    assert_eq!(idp.sign_ins(), 1);
}

/// an app ends its bridge while the person is at the identity provider.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_sign_in_at_the_identity_provider_outlives_its_bridge() {
    let idp = OpenIdProvider::start().await;
    let employee = Employee::at(&idp);
    let (one, other) = (server_of(&idp).await, server_of(&idp).await);
    let browser = BrowserDouble::noting(&employee.home.path().join("noting"));
    let file = employee.file.to_str().expect("UTF-8");
    let flags = ["--config", file];
    let mut bridge = program::start_signed_out(&one, employee.home.path(), &browser, &flags);
    bridge.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    bridge.end_with_group(rustix::process::Signal::TERM).await;
    HeadlessBrowser::default().visit(page).await;
    lists_tools(employee.start(&other)).await;
    assert_eq!(idp.sign_ins(), 1);
}

/// the app learns who refused, and no page opens again.
#[tokio::test]
async fn an_app_is_told_that_the_identity_provider_refuses() {
    let idp = OpenIdProvider::start().await;
    let employee = Employee::at(&idp);
    let server = server_of(&idp).await;
    let refusal = ("access_denied", "your group may not use this server");
    idp.behave(|it| it.exchange_outage = Some(refusal));
    for _ in 0..2 {
        let mut app = employee.start(&server);
        app.send(initialize_line("2025-06-18")).await;
        let error = app.error("init").await;
        assert_eq!(error["data"]["kind"], "auth_identity_refused", "{error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(refusal.1), "{message}");
        app.finish().await;
    }
    assert_eq!(idp.sign_ins(), 1);
}

/// the path in a configuration file is relative to it.
#[tokio::test]
async fn a_workload_signs_in_with_its_token_in_a_file() {
    let server = trusting("workload-MARKER").await;
    let workload = Employee::new("workload-token = \"file:token\"\n");
    let missing = workload.doctor(&server).await;
    assert!(missing.contains("external_token"), "{missing}");
    assert!(
        missing.contains("there is no token in the file"),
        "{missing}"
    );
    write(workload.home.path(), "token", "workload-MARKER\n");
    lists_tools(workload.start(&server)).await;
    let doctor = workload.doctor(&server).await;
    assert!(doctor.contains("external_token"), "{doctor}");
    assert!(!doctor.contains("MARKER"), "{doctor}");
    let status = workload.runs(&["status"]).await.stdout;
    assert!(status.contains("of the token in the file"), "{status}");
}

/// from a variable, and by a program.
#[tokio::test]
async fn tokens_from_variables_and_programs_are_grants() {
    for (flags, variable) in [
        (vec!["--workload-token", "env:WORKLOAD"], true),
        (
            vec!["--subject-token", "env:WORKLOAD", "--audience", "a"],
            true,
        ),
        #[cfg(unix)]
        (
            vec!["--workload-token", "command:echo workload-token"],
            false,
        ),
    ] {
        let server = trusting("workload-token").await;
        let issuer = server.origin();
        let home = TempDir::new().expect("a directory");
        let browser = BrowserDouble::forbidden(home.path());
        let mut launch = program::bridge()
            .with(|it| it.home(home.path()).browser(&browser).search_path())
            .args([server.mcp_url().as_str()])
            .args(["--issuer", &issuer])
            .args(&flags);
        if variable {
            launch = launch.env("WORKLOAD", "workload-token");
        }
        lists_tools(launch.start()).await;
        assert_eq!(server.seen("/token").len(), 1, "{flags:?}");
    }
}
