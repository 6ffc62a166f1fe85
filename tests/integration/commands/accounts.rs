//! `login`, `logout`, `status` and `store`, as somebody at a terminal sees them: the built program, a
//! provider, and what is printed as a whole.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::era::Eras;
use crate::examples::example_server::client::options_for;
use crate::program;
use crate::server::Server;
use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Device, Grants, TokenReply};
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::program::{CommandOutput, Program, Running};

/// Somebody with a directory and a browser of their own.
struct Person {
    home: TempDir,
    browser: BrowserDouble,
}

impl Person {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let browser = BrowserDouble::noting(home.path());
        Self { home, browser }
    }

    fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    fn command(&self, args: &[&str]) -> Program {
        let program = program::program().args(args).home(self.home.path());
        program.browser(&self.browser).search_path().stdin_open()
    }

    fn start(&self, args: &[&str]) -> Running {
        self.command(args).spawn()
    }

    /// Runs a command to its end.
    async fn run(&self, args: &[&str]) -> CommandOutput {
        self.command(args).run().await
    }

    /// Runs a command that has to open the browser, and signs in there.
    async fn sign_in(&self, args: &[&str]) -> CommandOutput {
        let command = self.start(args);
        let page = self.browser.page().await;
        HeadlessBrowser::default().visit(page).await;
        let said = command.ends().await;
        assert!(said.succeeded(), "{}", said.stderr);
        said
    }

    /// The files of credentials, with what they say.
    fn files(&self) -> Vec<(PathBuf, String)> {
        let entries = fs::read_dir(self.store()).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.is_file() && !path.ends_with("settings.json"))
            .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
            .collect()
    }
}

/// Checks all of stdout, with the same origin in every run.
#[track_caller]
fn prints(said: &CommandOutput, provider: &AuthorizationServer, expected: &str) {
    let stdout = said.stdout.replace(&provider.origin(), "http://server");
    let expected = expected.trim_start_matches('\n');
    assert_eq!(stdout, expected, "stderr: {}", said.stderr);
}

#[track_caller]
#[cfg(target_os = "linux")]
fn fails_with(said: &CommandOutput, provider: &AuthorizationServer, expected: &str) {
    let stderr = said.stderr.replace(&provider.origin(), "http://server");
    assert_eq!(stderr, expected.trim_start_matches('\n'));
    assert_eq!(said.stdout, "");
    assert_eq!(said.status, 1);
}

/// A provider that tells who signs in, and for how long.
async fn provider() -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.token_lifetime = Some(3600);
        it.user = Some("ada@example.com".into());
        it.resource_metadata = json!({ "scopes_supported": ["mcp:read", "mcp:write"] });
    });
    provider
}

fn with_revocation(provider: &AuthorizationServer) {
    let endpoint = format!("{}/revoke", provider.origin());
    provider.behave(|it| it.server_metadata = json!({ "revocation_endpoint": endpoint }));
}

#[tokio::test]
async fn login_says_who_signed_in_for_how_long_and_where_it_is_kept() {
    let provider = provider().await;
    let person = Person::new();
    let url = provider.mcp_url();
    let said = person.sign_in(&["login", url.as_str()]).await;
    prints(
        &said,
        &provider,
        "
Signed in to http://server/mcp
  signed in   as ada@example.com
  scopes      mcp:read mcp:write
  token       expires in 60 minutes, and will be renewed
  issuer      http://server
  kept in     a file
The server is provider 1 and offers 2 tools.
",
    );
    let beginning = "127.0.0.1 wants you to sign in. If no page opens in your browser, open this address \
                     on this machine:\nhttp://localhost:";
    assert!(said.stderr.starts_with(beginning), "{}", said.stderr);
    assert_eq!(said.stderr.lines().count(), 4, "{}", said.stderr);

    let again = person.run(&["login", url.as_str()]).await;
    prints(
        &again,
        &provider,
        "
Already signed in to http://server/mcp
  signed in   as ada@example.com
  scopes      mcp:read mcp:write
  token       expires in 60 minutes, and will be renewed
  issuer      http://server
  kept in     a file
The server is provider 1 and offers 2 tools.
To sign in anew, perhaps as somebody else, pass --force.
",
    );
    provider.behave(|it| it.user = Some("bob@example.com".into()));
    let forced = person.sign_in(&["login", url.as_str(), "--force"]).await;
    assert!(forced.stdout.contains("Signed in to"), "{}", forced.stdout);
    assert!(forced.stdout.contains("as bob@"), "{}", forced.stdout);
}

#[tokio::test]
async fn login_takes_the_address_at_which_a_browser_elsewhere_ended() {
    let provider = provider().await;
    let person = Person::new();
    let mut command = person.start(&["login", provider.mcp_url().as_str()]);
    let page = person.browser.page().await;
    let answer = HeadlessBrowser::default().approve(page).await;
    let lines = format!("hello\n\nhttp://localhost/?code=forged&state=forged\n{answer}");
    command.write_line(&lines).await;
    let said = command.ends().await;
    assert!(said.stdout.starts_with("Signed in to"), "{}", said.stderr);
    for told in [
        "Not accepted: `hello` is neither an address nor a code. Paste the whole address of the page at which the browser ended; it has code= in it.\n",
        "Not accepted: this is the answer to another sign-in. Open the address above, and paste the one at which that ends.\n",
    ] {
        assert!(said.stderr.contains(told), "{}", said.stderr);
    }
    assert!(!said.stderr.contains("attack"), "{}", said.stderr);
}

#[tokio::test]
async fn login_by_device_code_shows_the_code() {
    let provider = provider().await;
    let endpoint = format!("{}/device", provider.origin());
    provider.behave(|it| {
        it.server_metadata = json!({ "device_authorization_endpoint": endpoint });
        it.device = Device::Approved;
    });
    let person = Person::new();
    let url = provider.mcp_url();
    let said = person.run(&["login", url.as_str(), "--device-code"]).await;
    assert!(said.stdout.starts_with("Signed in to"), "{}", said.stderr);
    let stderr = said.stderr.replace(&provider.origin(), "http://server");
    assert_eq!(
        stderr,
        "127.0.0.1 wants you to sign in. On any device, open\nhttp://server/activate\nand enter the \
         code WDJB-MJHT\n"
    );
}

#[tokio::test]
async fn over_ssh_login_says_which_port_to_forward() {
    let provider = provider().await;
    let person = Person::new();
    let port = mcp_bridge_testkit::free_port().to_string();
    let command = person.command(&["login", provider.mcp_url().as_str(), &port]);
    let command = command
        .env("SSH_CONNECTION", "10.0.0.9 50022 10.0.0.5 22")
        .stdin("")
        .spawn();
    let page = person.browser.page().await;
    HeadlessBrowser::default().visit(page).await;
    let said = command.ends().await;
    let line = format!(
        "For that page to load, run this first on the machine of the browser:\n\
         ssh -N -L {port}:localhost:{port} 10.0.0.5\n"
    );
    assert!(!said.stderr.contains(&format!("http://localhost:{port}/\n")));
    assert!(said.stderr.contains(&line), "{}", said.stderr);
}

#[tokio::test]
async fn login_fails_with_what_the_authorization_server_says() {
    let provider = provider().await;
    provider.behave(|it| {
        it.authorization_response = json!({ "code": null, "error": "access_denied" });
    });
    let person = Person::new();
    let command = person.start(&["login", provider.mcp_url().as_str()]);
    let page = person.browser.page().await;
    HeadlessBrowser::default().visit(page).await;
    let said = command.ends().await;
    assert_eq!(said.status, 1);
    let (_, error) = said.stderr.split_once("\nerror: ").unwrap();
    let error = error.replace(&provider.origin()["http://".len()..], "server");
    assert_eq!(
        error,
        "server: the sign-in was refused: access_denied\n\nhint: try again: the next request opens the sign-in page again\n"
    );
    assert_eq!(said.stdout, "");
}

/// A dead refresh token, however it is told, is no reason for `login` to fail, and no sign-in for `status`.
#[tokio::test]
async fn login_signs_in_anew_where_the_refresh_token_is_refused_and_status_does_not_count_it() {
    let refusals = [
        TokenReply::error(400, "invalid_request"),
        TokenReply::page(403, "no"),
        TokenReply::error(500, "server_error"),
    ];
    for refusal in refusals {
        let provider = provider().await;
        let person = Person::new();
        let url = provider.mcp_url();
        person.sign_in(&["login", url.as_str()]).await;
        provider.revoke_access_tokens();
        provider.behave(|it| it.token_outage = Some(refusal.clone()));
        let login = person.start(&["login", url.as_str()]);
        let page = person.browser.page().await;
        let status = person.run(&["status"]).await;
        assert_eq!(
            status.stdout.contains("signed in   no"),
            refusal.status != 500,
            "{}",
            status.stdout
        );
        provider.behave(|it| it.token_outage = None);
        HeadlessBrowser::default().visit(page).await;
        let said = login.ends().await;
        assert!(said.stdout.starts_with("Signed in to"), "{}", said.stderr);
        let status = person.run(&["status"]).await;
        assert!(status.stdout.contains("signed in   as ada@example.com"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_login_that_is_interrupted_ends_and_leaves_its_page_to_the_next() {
    let provider = provider().await;
    let person = Person::new();
    let url = provider.mcp_url();
    let command = person.start(&["login", url.as_str()]);
    let page = person.browser.page().await;
    let status = person.run(&["status"]).await;
    prints(
        &status,
        &provider,
        "
http://server/mcp
  signed in   no
  waits for   somebody to sign in, on the page that is open
  issuer      http://server
  kept in     a file
",
    );
    command.interrupt();
    let said = command.ends().await;
    assert_eq!(said.status, 1);
    assert!(
        said.stderr
            .ends_with("error: interrupted; nobody has signed in\n"),
        "{}",
        said.stderr
    );

    let next = person.start(&["login", url.as_str()]);
    // The tab of the first one is still there.
    let callback = HeadlessBrowser::default().approve(page).await;
    mcp_bridge_testkit::visit_when_it_listens(&callback).await;
    let said = next.ends().await;
    assert!(said.stdout.starts_with("Signed in to"), "{}", said.stderr);
}

/// Nobody is left to wonder why no page opens.
#[tokio::test]
async fn a_second_login_shows_the_page_of_the_first() {
    let provider = provider().await;
    let person = Person::new();
    let url = provider.mcp_url();
    let first = person.start(&["login", url.as_str()]);
    let page = person.browser.started().await.arguments.remove(0);
    let mut second = person.start(&["login", url.as_str()]);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(second.next_line().await);
    }
    let words = "another mcp-bridge waits for the same sign-in already. 127.0.0.1 wants you to sign in. If \
                 the page is no longer open in your browser, open this address on this machine:";
    assert_eq!(told[0], words);
    assert_eq!(told[2..], ["which leads to:", &page]);
    HeadlessBrowser::default()
        .visit(Url::parse(&page).unwrap())
        .await;
    for login in [first, second] {
        let said = login.ends().await;
        assert!(said.stdout.contains("igned in to"), "{}", said.stderr);
    }
    assert!(!person.browser.was_started().await, "one tab");
}

#[tokio::test]
async fn flags_that_leave_nothing_to_sign_in_to_are_refused() {
    let person = Person::new();
    let url = "http://127.0.0.1:1/mcp";
    let said = person.run(&["login", url, "--store", "memory"]).await;
    assert_eq!(said.status, 2);
    assert_eq!(
        said.stderr,
        "error: --store memory would forget the sign-in as soon as it is done\n"
    );
    for command in ["login", "logout"] {
        let said = person
            .run(&[command, url, "--header", "Authorization: Bearer x"])
            .await;
        assert_eq!(said.status, 1);
        assert!(
            said.stderr.contains("Authorization header of your own"),
            "{}",
            said.stderr
        );
    }
    assert!(person.files().is_empty());
}

#[tokio::test]
async fn an_empty_store_is_met_with_what_to_do() {
    let provider = provider().await;
    let person = Person::new();
    let status = person.run(&["status"]).await;
    prints(
        &status,
        &provider,
        "
No sign-in is stored on this machine yet.
The bridge opens the sign-in page when your app first needs it. To sign in now:

  mcp-bridge login https://mcp.example.com/mcp
",
    );
    let json = person.run(&["status", "--json"]).await;
    prints(&json, &provider, "[]\n");
    let logout = person.run(&["logout", "--all"]).await;
    prints(
        &logout,
        &provider,
        "No sign-in is stored on this machine.\n",
    );
    let logout = person.run(&["logout", provider.mcp_url().as_str()]).await;
    prints(
        &logout,
        &provider,
        "No sign-in is stored for http://server/mcp.\n",
    );
    assert!(!person.store().exists());
}

#[tokio::test]
async fn status_tells_accounts_of_one_server_apart() {
    let provider = provider().await;
    let person = Person::new();
    let url = provider.mcp_url();
    for profile in ["home", "work"] {
        person
            .sign_in(&["login", url.as_str(), "--profile", profile])
            .await;
        provider.behave(|it| {
            it.user = None;
            it.grants = Grants::AccessTokensOnly;
            it.token_lifetime = None;
        });
    }
    let status = person.run(&["status"]).await;
    prints(
        &status,
        &provider,
        "
http://server/mcp (profile home)
  signed in   as ada@example.com
  scopes      mcp:read mcp:write
  token       expires in 60 minutes, and will be renewed
  issuer      http://server
  kept in     a file
  speaks      MCP 2025-06-18

http://server/mcp (profile work)
  signed in   yes
  scopes      mcp:read mcp:write
  token       does not say when it expires
  issuer      http://server
  kept in     a file
  speaks      MCP 2025-06-18
",
    );
    let json = person.run(&["status", "--json"]).await;
    let accounts: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(accounts[0]["signedIn"]["user"], "ada@example.com");
    assert_eq!(accounts[1]["profile"], "work");
    assert_eq!(accounts[1]["signedIn"]["expiresIn"], Value::Null);
    assert_eq!(
        accounts[1]["signedIn"]["scopes"],
        json!(["mcp:read", "mcp:write"])
    );

    let logout = person
        .run(&["logout", url.as_str(), "--profile", "work"])
        .await;
    assert!(logout.stdout.starts_with(url.as_str()), "{}", logout.stdout);
    let status = person.run(&["status"]).await;
    assert!(status.stdout.contains("profile home"), "{}", status.stdout);
    assert!(!status.stdout.contains("profile work"), "{}", status.stdout);
    let logout = person.run(&["logout", url.as_str()]).await;
    assert!(logout.stdout.contains("profile home"), "{}", logout.stdout);
    assert!(
        person
            .run(&["status"])
            .await
            .stdout
            .starts_with("No sign-in")
    );
}

/// a header on the command line is for the one server that is named there.
#[tokio::test]
async fn a_gateways_header_goes_along_with_login_and_logout_at_one_server() {
    let provider = provider().await;
    with_revocation(&provider);
    provider.behave(|it| it.gateway = Some("key"));
    let person = Person::new();
    let url = provider.mcp_url();
    let header = ["--header", "X-Gateway: key"];
    for what in [url.as_str(), "--all"] {
        person
            .sign_in(&["login", url.as_str(), header[0], header[1]])
            .await;
        let logout = person.run(&["logout", what, header[0], header[1]]).await;
        assert!(logout.succeeded(), "{}", logout.stderr);
    }
    let keys: Vec<_> = provider
        .seen("/revoke")
        .iter()
        .map(|request| request.headers.contains_key("x-gateway"))
        .collect();
    assert_eq!(keys, [true, false]);
}

#[tokio::test]
async fn logout_revokes_what_it_can_and_forgets_all_the_same() {
    let provider = provider().await;
    with_revocation(&provider);
    let person = Person::new();
    let url = provider.mcp_url();
    person.sign_in(&["login", url.as_str()]).await;
    let refresh_token = provider.last_refresh_token();
    let logout = person.run(&["logout", url.as_str()]).await;
    prints(
        &logout,
        &provider,
        "
http://server/mcp: revoked, and forgotten here
A bridge that is running keeps its token until the server refuses it, and then asks you to sign in.
",
    );
    assert_eq!(provider.seen("/revoke")[0].form["token"], refresh_token);
    for (path, text) in person.files() {
        assert!(!text.contains("MARKER"), "{}", path.display());
    }

    person.sign_in(&["login", url.as_str()]).await;
    provider.behave(|it| {
        it.broken_paths
            .insert("/revoke".into(), (503, String::new()));
    });
    let logout = person.run(&["logout", "--all"]).await;
    let stdout = logout.stdout.replace(&provider.origin(), "http://server");
    assert!(
        stdout.starts_with(
            "http://server/mcp: not revoked (the authorization server can't be reached"
        ),
        "{stdout}"
    );
    assert!(stdout.contains("but forgotten here\n"), "{stdout}");
    assert!(logout.succeeded());

    provider.behave(|it| it.server_metadata = json!({}));
    person.sign_in(&["login", url.as_str()]).await;
    let logout = person.run(&["logout", url.as_str()]).await;
    prints(
        &logout,
        &provider,
        "
http://server/mcp: not revoked, because http://server offers no revocation, but forgotten here
A bridge that is running keeps its token until the server refuses it, and then asks you to sign in.
",
    );
}

/// B20: else the next start would sign in again by itself.
#[tokio::test]
async fn logout_tells_of_what_mcp_remote_has_stored_and_deletes_it_when_told_to() {
    let provider = provider().await;
    let person = Person::new();
    let url = provider.mcp_url();
    let hash = format!("{:x}", <md5::Md5 as md5::Digest>::digest(url.as_str()));
    let folder = person.home.path().join(".mcp-auth/mcp-remote-v1");
    fs::create_dir_all(&folder).unwrap();
    for name in ["tokens", "client_info"] {
        fs::write(folder.join(format!("{hash}_{name}.json")), "{}").unwrap();
    }
    fs::write(folder.join("another_tokens.json"), "{}").unwrap();
    let logout = person.run(&["logout", url.as_str()]).await;
    prints(&logout, &provider,
        "
No sign-in is stored for http://server/mcp.
npm mcp-remote has stored a sign-in for this server, which the bridge would use. To delete it, too, pass --mcp-remote.
",
    );
    let logout = person.run(&["logout", url.as_str(), "--mcp-remote"]).await;
    prints(
        &logout,
        &provider,
        "
No sign-in is stored for http://server/mcp.
What npm mcp-remote had stored for this server is deleted.
",
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

/// On other systems it would be the keychain of whoever runs the tests.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_a_keychain_nothing_is_moved_and_nobody_signs_in() {
    let provider = provider().await;
    let person = Person::new();
    let url = provider.mcp_url();
    let expected = "
error: the keychain can't be used: no bus

hint: start GNOME Keyring, KWallet or another keychain with the Secret Service interface, or use --store file
";
    let without_reason = |said: &CommandOutput| CommandOutput {
        stderr: said
            .stderr
            .lines()
            .map(|line| match line.split_once("can't be used: ") {
                Some((begin, _)) => format!("{begin}can't be used: no bus\n"),
                None => format!("{line}\n"),
            })
            .collect(),
        stdout: said.stdout.clone(),
        status: said.status,
    };
    let login = person
        .run(&["login", url.as_str(), "--store", "keychain"])
        .await;
    fails_with(&without_reason(&login), &provider, expected);
    assert!(provider.seen("/authorize").is_empty());

    person.sign_in(&["login", url.as_str()]).await;
    let before = person.files();
    let store = person.run(&["store", "keychain"]).await;
    fails_with(&without_reason(&store), &provider, expected);
    assert_eq!(person.files(), before);
    let store = person.run(&["store"]).await;
    let stdout = store
        .stdout
        .replace(person.store().to_str().unwrap(), "DIRECTORY");
    assert_eq!(
        stdout.replace(&provider.origin(), "http://server"),
        "a file        http://server/mcp\nNew sign-ins are kept in a file, below DIRECTORY.\n"
    );
    let store = person.run(&["store", "file", url.as_str()]).await;
    prints(
        &store,
        &provider,
        "
http://server/mcp: was in a file already
New sign-ins at 127.0.0.1 are kept in a file, too.
",
    );
}

/// Both eras: what the server wants a token for, and the proof that it takes it.
#[tokio::test]
async fn login_proves_itself_at_servers_of_either_era() {
    for (eras, speaks) in [
        (Eras::Legacy, Some("MCP 2025-11-25")),
        (Eras::Modern, Some("MCP 2026-07-28 alone")),
    ] {
        let server = Server::start(options_for(eras)).await.unwrap();
        let person = Person::new();
        let command = person.start(&["login", server.url()]);
        let page = person.browser.started().await.arguments.remove(0);
        let answer = crate::browser::sign_in(&page, "ada", "allow").await;
        mcp_bridge_testkit::visit_when_it_listens(&answer.unwrap()).await;
        let said = command.ends().await;
        let stdout = said.stdout.replace(server.url(), "http://server/mcp");
        assert!(
            stdout.starts_with("Signed in to http://server/mcp\n"),
            "{}",
            said.stderr
        );
        assert!(stdout.contains("\nThe server is "), "{stdout}");
        assert!(stdout.contains(" tools.\n"), "{stdout}");
        let status = person.run(&["status", "--json"]).await;
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        assert_eq!(status[0]["speaks"].as_str(), speaks);
        let logout = person.run(&["logout", server.url()]).await;
        assert!(
            logout.stdout.contains(": revoked, and forgotten here\n"),
            "{}",
            logout.stdout
        );
    }
}

#[tokio::test]
async fn a_server_that_wants_no_sign_in_is_said_to_want_none() {
    let provider = provider().await;
    provider.behave(|it| {
        it.is_open = true;
        for name in ["oauth-protected-resource/mcp", "oauth-authorization-server"] {
            let page = (200, "<html>".to_owned());
            it.broken_paths.insert(format!("/.well-known/{name}"), page);
        }
    });
    let person = Person::new();
    let said = person.run(&["login", provider.mcp_url().as_str()]).await;
    prints(
        &said,
        &provider,
        "
http://server/mcp wants no sign-in: it answered without one, and offers none.
The server is provider 1 and offers 2 tools.
",
    );
    assert!(person.files().is_empty());
}

#[tokio::test]
async fn login_signs_in_where_a_server_offers_it_without_asking_for_it() {
    for names_resource in [true, false] {
        let provider = provider().await;
        provider.behave(|it| {
            it.is_open = true;
            if !names_resource {
                let path = "/.well-known/oauth-protected-resource/mcp".into();
                it.broken_paths.insert(path, (404, String::new()));
            }
        });
        let person = Person::new();
        let url = provider.mcp_url();
        let said = person.sign_in(&["login", url.as_str()]).await;
        let stdout = &said.stdout;
        assert!(stdout.starts_with("Signed in to"), "{stdout}");
        assert!(stdout.contains("offers 2 tools"), "{stdout}");
        let last = provider.seen("/mcp").pop().unwrap();
        assert!(last.headers.contains_key("authorization"), "it was tried");

        let again = person.run(&["login", url.as_str()]).await;
        assert!(again.stdout.starts_with("Already signed in to"));
        assert_eq!(provider.seen("/authorize").len(), 1);
    }
}

/// The server does not look at the token, so it does not refuse it.
#[tokio::test]
async fn login_signs_in_anew_where_a_server_takes_even_a_token_that_has_run_out() {
    let provider = provider().await;
    provider.behave(|it| {
        it.is_open = true;
        it.grants = Grants::AccessTokensOnly;
    });
    let person = Person::new();
    let url = provider.mcp_url();
    person.sign_in(&["login", url.as_str()]).await;
    let mut aged = 0;
    for (path, text) in person.files() {
        let Ok(mut stored) = serde_json::from_str::<Value>(&text) else {
            continue;
        };
        if let Some(obtained_at) = stored.pointer_mut("/tokens/obtained_at") {
            *obtained_at = 1000.into();
            fs::write(path, stored.to_string()).unwrap();
            aged += 1;
        }
    }
    assert_eq!(aged, 1);
    let said = person.sign_in(&["login", url.as_str()]).await;
    assert!(said.stdout.starts_with("Signed in to"), "{}", said.stdout);
    assert_eq!(provider.seen("/token").len(), 2);
}

#[tokio::test]
async fn login_fails_where_the_sign_in_that_a_server_offers_does_not_work() {
    let provider = provider().await;
    provider.behave(|it| {
        it.is_open = true;
        it.resource_metadata = json!({ "authorization_servers": ["http://as.example"] });
    });
    let person = Person::new();
    let said = person.run(&["login", provider.mcp_url().as_str()]).await;
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("as.example"), "{}", said.stderr);
}
