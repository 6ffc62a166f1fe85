//! GNOME Keyring, on a bus of its own, as the keychain. Skipped, with a message, where it is not installed.

use std::fs;
use std::process::Stdio;

use tempfile::tempdir;
use tokio::process::Command;

use mcp_bridge_testkit::app::initialize_line;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::request::Request;
use mcp_bridge_testkit::soon;

/// Signs in, and is signed in at the next start, which is told neither of the keychain nor, as by the apps
/// of the official SDKs, where the bus is; moves the tokens to and fro; signs out.
const SCRIPT: &str = r#"
set -e
printf password | gnome-keyring-daemon --unlock --components=secrets > /dev/null
ln -s "$(echo "$DBUS_SESSION_BUS_ADDRESS" | sed 's/unix:path=//; s/,.*//')" "$XDG_RUNTIME_DIR/bus"
"$BRIDGE" login "$URL" --store keychain
unset DBUS_SESSION_BUS_ADDRESS
"$BRIDGE" login "$URL" | head -1
cat "$MCP_BRIDGE_DIR"/*.json > "$HOME/while-in-keychain"
"$BRIDGE" store file
"$BRIDGE" store keychain
"$BRIDGE" logout "$URL" | head -1
"$BRIDGE" status | head -1
"#;

fn is_installed(program: &str) -> bool {
    let found = std::process::Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

fn is_keychain_there() -> bool {
    let missing = ["dbus-run-session", "gnome-keyring-daemon"]
        .into_iter()
        .find(|program| !is_installed(program));
    if let Some(program) = missing {
        eprintln!("skipped: there is no {program}");
    }
    missing.is_none()
}

/// Keeps an API key, uses it in a header, and deletes it.
const SECRETS: &str = r#"
printf password | gnome-keyring-daemon --unlock --components=secrets > /dev/null
"$BRIDGE" secret list
printf 'header-MARKER\n' | "$BRIDGE" secret set example-key
"$BRIDGE" secret list
"$BRIDGE" tools "$URL" --header 'X-Api-Key: <{keychain:example-key}>' > "$HOME/tools"
"$BRIDGE" secret delete example-key
"$BRIDGE" secret list
"$BRIDGE" secret delete example-key 2>&1
"$BRIDGE" tools "$URL" --header 'X-Api-Key: {keychain:example-key}' 2> "$HOME/missing"
"#;

/// A-115
#[tokio::test]
async fn an_api_key_in_the_keychain_of_a_linux_desktop_is_put_into_a_header() {
    if !is_keychain_there() {
        return;
    }
    let server = FaultServer::start();
    let home = tempdir().unwrap();
    let session = Command::new("dbus-run-session")
        .args(["--", "bash", "-c", SECRETS])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .env("MCP_BRIDGE_DIR", home.path().join("store"))
        .env("BRIDGE", crate::program::path())
        .env("URL", server.url())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = soon("the end of the session", session).await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        stdout,
        "\
No secret is in the keychain.
Kept in the keychain. A header refers to it by {keychain:example-key}.
example-key
Deleted.
No secret is in the keychain.
error: there is no secret example-key in the keychain

hint: mcp-bridge secret list shows those that there are
",
        "{stderr}"
    );
    let missing = fs::read_to_string(home.path().join("missing")).unwrap();
    for words in [
        "the header x-api-key needs a secret: there is no secret example-key in the keychain",
        "hint: put it there: mcp-bridge secret set example-key",
    ] {
        assert!(missing.contains(words), "{missing}");
    }
    let requests = server.requests();
    assert!(!requests.is_empty(), "{stderr}");
    let has_key = |request: &Request| request.header("x-api-key") == Some("<header-MARKER>");
    assert!(requests.iter().all(has_key));
}

/// A person at a terminal installs a server with an API key.
const INSTALL: &str = r#"
printf password | gnome-keyring-daemon --unlock --components=secrets > /dev/null
printf 'y\ny\n' | script -qec \
  "$BRIDGE install --client cursor example $URL -- --header 'X-Api-Key: header-MARKER'" /dev/null
"$BRIDGE" secret list > "$HOME/names"
"#;

/// A-115
#[tokio::test]
async fn install_offers_to_keep_an_api_key_in_the_keychain() {
    if !is_keychain_there() {
        return;
    }
    if !is_installed("script") {
        eprintln!("skipped: there is no script");
        return;
    }
    let home = tempdir().unwrap();
    let session = Command::new("dbus-run-session")
        .args(["--", "bash", "-c", INSTALL])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .env("BRIDGE", crate::program::path())
        .env("URL", "https://mcp.example.com/mcp")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = soon("the end of the session", session).await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let written = fs::read_to_string(home.path().join(".cursor/mcp.json"));
    let written = written.unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert!(
        written.contains("X-Api-Key: {keychain:example-x-api-key}"),
        "{written}"
    );
    assert!(!written.contains("header-MARKER"), "{written}");
    let names = fs::read_to_string(home.path().join("names")).unwrap();
    assert_eq!(names, "example-x-api-key\n", "{stdout}");
}

/// A-115: a keychain that waits for its person, and does not answer. The app is answered all the same, and nothing is sent
/// without the header.
#[tokio::test]
async fn a_locked_keychain_delays_no_answer_to_the_app() {
    let server = FaultServer::start();
    let home = tempdir().unwrap();
    let bus = home.path().join("bus");
    let _silent = std::os::unix::net::UnixListener::bind(&bus).unwrap();
    let launch = crate::program::bridge_for(&server).with(|program| program.home(home.path()));
    let mut app = launch
        .env(
            "DBUS_SESSION_BUS_ADDRESS",
            format!("unix:path={}", bus.display()),
        )
        .args(["--header", "X-Api-Key: {keychain:example-key}"])
        .start();
    app.initialize().await;
    app.finish().await;
    assert!(server.requests().is_empty());
}

/// A-115: an app is told which secret is missing, and why.
#[tokio::test]
async fn an_app_is_told_of_a_secret_that_is_not_to_be_had() {
    let server = FaultServer::start();
    let home = tempdir().unwrap();
    let launch = crate::program::bridge_for(&server).with(|program| program.home(home.path()));
    let mut app = launch
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
        .args(["--header", "X-Api-Key: {keychain:example-key}"])
        .start();
    app.send(initialize_line("2025-06-18")).await;
    let error = app.error("init").await;
    assert_eq!(error["data"]["kind"], "auth_no_secret", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("the header x-api-key needs a secret"),
        "{message}"
    );
    app.finish().await;
    assert!(server.requests().is_empty());
}

/// A-115: on a machine without a keychain, such as a server.
#[tokio::test]
async fn without_a_keychain_the_error_says_what_to_do_instead() {
    let server = FaultServer::start();
    let url = server.url();
    let header = ["--header", "X-Api-Key: {keychain:example-key}"];
    for args in [
        &["secret", "list"][..],
        &["tools", &url, header[0], header[1]],
    ] {
        let program = crate::program::command(args.iter().copied());
        let program = program.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
        let output = program.run().await;
        assert!(!output.succeeded());
        assert!(
            output.stderr.contains("the keychain can't be used"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("--header"), "{}", output.stderr);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_keychain_of_a_linux_desktop_keeps_a_sign_in() {
    if !is_keychain_there() {
        return;
    }
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let session = Command::new("dbus-run-session")
        .args(["--", "bash", "-c", SCRIPT])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .env("MCP_BRIDGE_DIR", home.path().join("store"))
        .env("BROWSER", browser.path())
        .env("BRIDGE", crate::program::path())
        .env("URL", provider.mcp_url().as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let page = browser.page().await;
    HeadlessBrowser::default().visit(page).await;
    let output = soon("the end of the session", session.wait_with_output()).await;
    let output = output.unwrap();
    let stdout =
        String::from_utf8_lossy(&output.stdout).replace(&provider.origin(), "http://server");
    assert_eq!(
        stdout,
        "\
Signed in to http://server/mcp
  signed in   yes
  token       does not say when it expires
  issuer      http://server
  kept in     the keychain
The server is provider 1 and offers 2 tools.
Already signed in to http://server/mcp
http://server/mcp: moved to a file
New sign-ins are kept in a file, too.
http://server/mcp: moved to the keychain
New sign-ins are kept in the keychain, too.
http://server/mcp: not revoked, because http://server offers no revocation, but forgotten here
No sign-in is stored on this machine yet.
",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let stored = fs::read_to_string(home.path().join("while-in-keychain")).unwrap();
    assert!(stored.contains("keychain"), "{stored}");
    for secret in ["access-MARKER", "refresh-MARKER"] {
        assert!(!stored.contains(secret), "{stored}");
    }
}
