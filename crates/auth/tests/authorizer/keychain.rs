//! Secrets in the keychain: what holds for files holds there, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_bridge_auth::{
    Account, Config, Interaction, Keychain, KeychainLimits, Place, Servers, Store, StoreError,
    Vault, choose_place,
};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Dpop};
use mcp_bridge_testkit::{LIMIT, soon};

use crate::support::{AuthorizedClient, config};

/// A keychain whose content can be seen, and which fails when told to.
#[derive(Default)]
struct Drawer {
    secrets: Mutex<BTreeMap<String, Vec<u8>>>,
    fault: Mutex<Fault>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    Locked,
    Forgetful,
}

impl Vault for Drawer {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        self.check()?;
        Ok(self.secrets.lock().unwrap().get(name).cloned())
    }

    fn set(&self, name: &str, secret: &[u8]) -> Result<(), String> {
        self.check()?;
        if *self.fault.lock().unwrap() != Fault::Forgetful {
            self.secrets
                .lock()
                .unwrap()
                .insert(name.into(), secret.into());
        }
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), String> {
        self.check()?;
        self.secrets.lock().unwrap().remove(name);
        Ok(())
    }
}

impl Drawer {
    fn check(&self) -> Result<(), String> {
        match *self.fault.lock().unwrap() {
            Fault::Locked => Err("it is locked".into()),
            Fault::None | Fault::Forgetful => Ok(()),
        }
    }

    fn fails(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn text(&self) -> String {
        let secrets = self.secrets.lock().unwrap();
        secrets
            .values()
            .map(|it| String::from_utf8_lossy(it))
            .collect()
    }

    fn keychain(self: &Arc<Self>) -> Keychain {
        let limits = KeychainLimits {
            time: LIMIT,
            size: 400,
        };
        Keychain::new(Arc::clone(self) as Arc<dyn Vault>, limits)
    }
}

/// The configuration of another process, with the flag `store`.
fn with(drawer: &Arc<Drawer>, directory: &Path, store: Option<Store>) -> Config {
    Config {
        store,
        keychain: drawer.keychain(),
        ..config(directory)
    }
}

/// All that lies in files.
fn files(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap();
    let read = |path| fs::read_to_string(path).unwrap();
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

#[track_caller]
fn holds_no_secret(directory: &Path) {
    let files = files(directory);
    for secret in ["access-MARKER", "refresh-MARKER", "secret-MARKER"] {
        assert!(!files.contains(secret), "{secret} in a file");
    }
}

/// A provider whose clients have secrets.
async fn provider() -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    let methods = json!(["client_secret_basic"]);
    provider.behave(|it| {
        it.registers_no_public_client = true;
        it.server_metadata = json!({ "token_endpoint_auth_methods_supported": methods });
    });
    provider
}

#[tokio::test]
async fn secrets_in_the_keychain_are_in_no_file_and_the_next_start_needs_no_flag() {
    let provider = provider().await;
    let directory = tempdir().unwrap();
    let drawer = Arc::new(Drawer::default());
    let app = AuthorizedClient::new(
        &provider,
        with(&drawer, directory.path(), Some(Store::Keychain)),
    );
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    holds_no_secret(directory.path());
    for secret in ["access-MARKER", "refresh-MARKER", "secret-MARKER"] {
        assert!(drawer.text().contains(secret), "{secret} is kept");
    }

    // The refresh needs the client's secret, and its answer goes to the keychain as well.
    provider.revoke_access_tokens();
    let next = AuthorizedClient::new(&provider, with(&drawer, directory.path(), None));
    let answer = next.call_as(Interaction::Forbidden).await;
    assert_eq!(answer.unwrap(), StatusCode::OK);
    assert_eq!(provider.refreshes(), 1);
    holds_no_secret(directory.path());

    assert_eq!(next.authorizer.sign_out().await.unwrap().len(), 1);
    assert_eq!(drawer.text(), "");
}

/// A-66, as with files.
///
#[tokio::test]
async fn the_key_of_bound_tokens_is_where_the_tokens_are() {
    let provider = provider().await;
    provider.behave(|it| it.dpop = Some(Dpop::default()));
    let directory = tempdir().unwrap();
    let drawer = Arc::new(Drawer::default());
    let app = AuthorizedClient::new(
        &provider,
        with(&drawer, directory.path(), Some(Store::Keychain)),
    );
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert!(!files(directory.path()).contains("proof_key"));
    assert!(drawer.text().contains("proof_key"));
    provider.revoke_access_tokens();
    let next = AuthorizedClient::new(&provider, with(&drawer, directory.path(), None));
    let answer = next.call_as(Interaction::Forbidden).await;
    assert_eq!(answer.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_token_in_the_keychain_is_used_once() {
    let provider = provider().await;
    let directory = tempdir().unwrap();
    let drawer = Arc::new(Drawer::default());
    let first = AuthorizedClient::new(
        &provider,
        with(&drawer, directory.path(), Some(Store::Keychain)),
    );
    first.call_with_browser().await.unwrap();
    provider.revoke_access_tokens();
    let apps =
        [(); 3].map(|()| AuthorizedClient::new(&provider, with(&drawer, directory.path(), None)));
    let calls: Vec<_> = apps.iter().map(AuthorizedClient::spawn_call).collect();
    for call in calls {
        assert_eq!(soon("a call", call).await.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(provider.refreshes(), 1);
}

#[tokio::test]
async fn where_the_keychain_fails_the_sign_in_lasts_for_the_run_and_no_file_gets_a_secret() {
    let provider = provider().await;
    provider.behave(|it| it.token_lifetime = Some(1));
    let directory = tempdir().unwrap();
    let drawer = Arc::new(Drawer::default());
    drawer.fails(Fault::Locked);
    let app = AuthorizedClient::new(
        &provider,
        with(&drawer, directory.path(), Some(Store::Keychain)),
    );
    assert!(app.authorizer.check_store().await.is_err());
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    soon("two refreshes", async {
        while provider.refreshes() < 2 {
            let answer = app.call_as(Interaction::Forbidden).await;
            assert_eq!(answer.unwrap(), StatusCode::OK);
        }
    })
    .await;
    holds_no_secret(directory.path());
    assert_eq!(drawer.text(), "");
}

/// Secrets in the keychain are there again when it is.
#[tokio::test]
async fn a_keychain_that_is_locked_for_a_while_loses_nothing() {
    let provider = provider().await;
    let directory = tempdir().unwrap();
    let drawer = Arc::new(Drawer::default());
    let first = AuthorizedClient::new(
        &provider,
        with(&drawer, directory.path(), Some(Store::Keychain)),
    );
    first.call_with_browser().await.unwrap();
    drawer.fails(Fault::Locked);
    let locked = AuthorizedClient::new(&provider, with(&drawer, directory.path(), None));
    let error = locked.call_as(Interaction::Forbidden).await.unwrap_err();
    assert_eq!(error.kind(), "auth_required");
    let signed_out = locked.authorizer.sign_out().await.unwrap();
    assert!(matches!(
        signed_out[0].forgotten,
        Err(StoreError::Keychain(_))
    ));
    drawer.fails(Fault::None);
    let again = AuthorizedClient::new(&provider, with(&drawer, directory.path(), None));
    let answer = again.call_as(Interaction::Forbidden).await;
    assert_eq!(answer.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn secrets_move_and_are_deleted_only_when_they_have_arrived() {
    let provider = provider().await;
    let directory = tempdir().unwrap();
    let drawer = Arc::new(Drawer::default());
    let keychain = drawer.keychain();
    let app = AuthorizedClient::new(&provider, with(&drawer, directory.path(), None));
    app.call_with_browser().await.unwrap();
    let in_file = files(directory.path());
    let account = || Account::all(directory.path()).remove(0);

    for fault in [Fault::Locked, Fault::Forgetful] {
        drawer.fails(fault);
        account()
            .move_to(Place::Keychain, &keychain)
            .await
            .unwrap_err();
        assert_eq!(files(directory.path()), in_file);
    }
    drawer.fails(Fault::None);
    assert!(account().move_to(Place::Keychain, &keychain).await.unwrap());
    assert!(!account().move_to(Place::Keychain, &keychain).await.unwrap());
    holds_no_secret(directory.path());
    assert_eq!(account().place, Place::Keychain);
    assert!(
        account().signed_in.unwrap().renewable,
        "told without the keychain"
    );
    let next = AuthorizedClient::new(&provider, with(&drawer, directory.path(), None));
    let answer = next.call_as(Interaction::Forbidden).await;
    assert_eq!(answer.unwrap(), StatusCode::OK);

    drawer.fails(Fault::Locked);
    account().move_to(Place::File, &keychain).await.unwrap_err();
    drawer.fails(Fault::None);
    assert!(account().move_to(Place::File, &keychain).await.unwrap());
    assert_eq!(drawer.text(), "");
    assert_eq!(files(directory.path()), in_file);
}

/// The choice outlives what it was made for.
#[tokio::test]
async fn what_was_chosen_for_a_server_or_for_all_is_where_a_new_sign_in_goes() {
    let provider = provider().await;
    let url = provider.mcp_url();
    for (servers, place) in [
        (Servers::All, Place::Keychain),
        (Servers::One(&url), Place::Keychain),
        (Servers::One(&url), Place::File),
    ] {
        let directory = tempdir().unwrap();
        let drawer = Arc::new(Drawer::default());
        if place == Place::File {
            choose_place(directory.path(), Servers::All, Place::Keychain).unwrap();
        }
        choose_place(directory.path(), servers, place).unwrap();
        let app = AuthorizedClient::new(&provider, with(&drawer, directory.path(), None));
        app.call_with_browser().await.unwrap();
        assert_eq!(Account::all(directory.path())[0].place, place);
        assert_eq!(drawer.text().is_empty(), place == Place::File);
    }
}

#[tokio::test]
async fn in_memory_nothing_is_kept() {
    let provider = provider().await;
    let directory = tempdir().unwrap();
    let drawer = Arc::new(Drawer::default());
    let app = AuthorizedClient::new(
        &provider,
        with(&drawer, directory.path(), Some(Store::Memory)),
    );
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    provider.revoke_access_tokens();
    let answer = app.call_as(Interaction::Forbidden).await;
    assert_eq!(answer.unwrap(), StatusCode::OK);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(drawer.text(), "");
}

/// A bridge that runs must not bring back by a refresh what the person has ended.
#[tokio::test]
async fn a_sign_out_elsewhere_is_noticed_before_a_refresh() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let running = AuthorizedClient::new(&provider, config(directory.path()));
    running.call_with_browser().await.unwrap();
    let elsewhere = AuthorizedClient::new(&provider, config(directory.path()));
    elsewhere.authorizer.sign_out().await.unwrap();
    provider.revoke_access_tokens();
    let error = running.call_as(Interaction::Forbidden).await.unwrap_err();
    assert_eq!(error.kind(), "auth_required");
    assert_eq!(provider.refreshes(), 0);
    assert!(Account::all(directory.path()).is_empty());
    assert_eq!(running.call_with_browser().await.unwrap(), StatusCode::OK);
}

/// The runtime goes on while the keychain hangs.
#[tokio::test]
async fn a_keychain_that_hangs_holds_nobody_up_but_the_sign_in() {
    struct Hanging(Mutex<std::sync::mpsc::Receiver<()>>);
    impl Vault for Hanging {
        fn get(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
            let _ = self.0.lock().unwrap().recv();
            Err("too late".into())
        }
        fn set(&self, name: &str, _: &[u8]) -> Result<(), String> {
            self.get(name).map(|_| ())
        }
        fn delete(&self, name: &str) -> Result<(), String> {
            self.get(name).map(|_| ())
        }
    }
    let (_held, never) = std::sync::mpsc::channel();
    let limits = KeychainLimits {
        time: Duration::from_millis(50),
        size: usize::MAX,
    };
    let provider = provider().await;
    let directory = tempdir().unwrap();
    let config = Config {
        store: Some(Store::Keychain),
        keychain: Keychain::new(Arc::new(Hanging(Mutex::new(never))), limits),
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    holds_no_secret(directory.path());
}
