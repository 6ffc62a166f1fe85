//! GNOME Keyring, on a bus of its own, as the keychain. Skipped, with a message, where it is not installed.

use std::fs;
use std::process::Stdio;

use tempfile::tempdir;
use tokio::process::Command;

use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
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

#[tokio::test]
async fn the_keychain_of_a_linux_desktop_keeps_a_sign_in() {
    for program in ["dbus-run-session", "gnome-keyring-daemon"] {
        if !is_installed(program) {
            eprintln!("skipped: there is no {program}");
            return;
        }
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
