//! Credentials in files that are encrypted, because the user names a key.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::program;
use mcp_bridge_testkit::app::{App, initialize_line};
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::home::files_below;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// A user with a sign-in, which the provider gave only once.
struct Owner {
    provider: AuthorizationServer,
    home: TempDir,
}

impl Owner {
    /// Somebody who has signed in. `keys` are those in the file of `--store-key-file`, if it is named.
    async fn signed_in(keys: Option<&str>) -> Self {
        let owner = Self {
            provider: AuthorizationServer::start().await,
            home: tempdir().unwrap(),
        };
        let browser = BrowserDouble::signing_in(owner.home.path());
        let login = program::program()
            .home(owner.home.path())
            .browser(&browser)
            .search_path()
            .args(["login", owner.provider.mcp_url().as_str()])
            .args(owner.key_flags(keys));
        let said = login.stdin_open().run().await;
        assert!(said.succeeded(), "{}", said.stderr);
        owner
    }

    /// Puts keys into a file, and names it.
    fn key_flags(&self, keys: Option<&str>) -> Vec<String> {
        let Some(keys) = keys else { return Vec::new() };
        let file = self.home.path().join("store.key");
        fs::write(&file, keys).unwrap();
        let file = file.into_os_string().into_string().unwrap();
        vec!["--store-key-file".to_owned(), file]
    }

    /// A bridge that does not wait for a person.
    fn start(&self, keys: Option<&str>) -> App {
        let home = self.home.path();
        let launch = program::bridge().with(|program| program.home(home));
        launch
            .args([self.provider.mcp_url().as_str(), "--no-browser"])
            .args(["--patience", "5"])
            .args(self.key_flags(keys))
            .start()
    }

    /// A bridge in a session, which it has only if it has the sign-in.
    async fn in_session(&self, keys: Option<&str>) -> App {
        let mut bridge = self.start(keys);
        bridge.send(initialize_line("2025-06-18")).await;
        bridge.is_in_session().await;
        assert_eq!(self.provider.seen("/authorize").len(), 1);
        bridge
    }

    /// Lets a bridge with these keys renew the tokens, and so write them.
    async fn renew(&self, keys: Option<&str>) {
        let mut bridge = self.in_session(keys).await;
        self.provider.revoke_access_tokens();
        call(&mut bridge, "after the renewal").await;
        bridge.finish().await;
    }

    /// The error of a bridge with these keys.
    async fn error(&self, keys: Option<&str>) -> Value {
        let mut bridge = self.start(keys);
        bridge.send(initialize_line("2025-06-18")).await;
        bridge.result("init").await;
        bridge
            .request(2, "tools/call", &json!({"name": "echo"}))
            .await;
        let error = bridge.error(2).await;
        bridge.finish().await;
        error
    }

    /// The file of the credential, and its text.
    fn credential(&self) -> (PathBuf, String) {
        let mut files = files_below(self.home.path()).into_iter();
        let is_credential = |text: &str| text.contains("refresh") || text.contains("\"sealed\"");
        let found = files.find_map(|(path, text)| {
            let text = String::from_utf8(text).ok()?;
            let path = PathBuf::from(path);
            let is_json = path.extension().is_some_and(|it| it == "json");
            (is_json && is_credential(&text)).then_some((path, text))
        });
        found.unwrap()
    }
}

async fn call(bridge: &mut App, id: &str) {
    bridge
        .request(id, "tools/call", &json!({"name": "echo"}))
        .await;
    bridge.result(id).await;
}

///
#[tokio::test]
async fn with_a_key_no_file_has_a_readable_token() {
    let owner = Owner::signed_in(Some(KEY)).await;
    owner.renew(Some(KEY)).await;
    assert_eq!(owner.provider.refreshes(), 1);
    assert!(owner.credential().1.contains("\"sealed\""));
    for (path, content) in files_below(owner.home.path()) {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains("-MARKER"), "{path:?}: {text}");
    }
}

///
#[tokio::test]
async fn a_sign_in_in_clear_is_used_with_a_key_and_encrypted_at_its_renewal() {
    let owner = Owner::signed_in(None).await;
    assert!(owner.credential().1.contains("-MARKER"));
    owner.renew(Some(KEY)).await;
    let (_, text) = owner.credential();
    assert!(!text.contains("-MARKER"), "{text}");
    owner.in_session(Some(KEY)).await.finish().await;
}

///
#[tokio::test]
async fn without_its_key_a_sign_in_is_neither_used_nor_replaced() {
    let owner = Owner::signed_in(Some(KEY)).await;
    let before = owner.credential();
    let name = serde_json::from_str::<Value>(&before.1).unwrap()["key"].clone();
    for keys in [None, Some(OTHER_KEY)] {
        let error = owner.error(keys).await;
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(name.as_str().unwrap()) || keys.is_none(),
            "{message}"
        );
        let hint = error["data"]["hint"].as_str().unwrap();
        assert!(hint.contains("--store-key-file"), "{hint}");
        assert_eq!(owner.credential(), before);
    }
    owner.in_session(Some(KEY)).await.finish().await;
    assert_eq!(owner.provider.refreshes(), 0);
}

///
#[tokio::test]
async fn a_key_is_replaced_without_a_sign_in() {
    let owner = Owner::signed_in(Some(KEY)).await;
    let both = format!("# since today\n{OTHER_KEY}\n{KEY}\n");
    owner.renew(Some(&both)).await;
    owner.in_session(Some(OTHER_KEY)).await.finish().await;
    owner.error(Some(KEY)).await;
}

///
#[tokio::test]
async fn a_file_that_was_changed_is_put_aside_and_not_used() {
    let owner = Owner::signed_in(Some(KEY)).await;
    let (path, text) = owner.credential();
    let path = owner.home.path().join(path);
    let mut record: Value = serde_json::from_str(&text).unwrap();
    let data = record["data"].as_str().unwrap();
    let first = if data.starts_with('A') { 'B' } else { 'A' };
    record["data"] = format!("{first}{}", &data[1..]).into();
    let changed = record.to_string();
    fs::write(&path, &changed).unwrap();
    let error = owner.error(Some(KEY)).await;
    assert_eq!(error["data"]["kind"], "auth_required", "{error}");
    let aside = fs::read_to_string(path.with_extension("corrupt")).unwrap();
    assert_eq!(aside, changed);
}

///
#[tokio::test]
async fn the_command_for_a_new_key_prints_one_that_can_be_used() {
    let print = || program::program().args(["store", "key"]).run();
    let (key, another) = (print().await.stdout, print().await.stdout);
    assert_ne!(key, another);
    let owner = Owner::signed_in(Some(&key)).await;
    owner
        .in_session(Some(&format!("{another}{key}")))
        .await
        .finish()
        .await;
}
