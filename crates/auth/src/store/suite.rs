//! Test suite of the places for credentials: what holds for files holds for the keychain and for Redis.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use url::Url;

use super::lock::{self, Lock};
use super::records::{Condition, Fence};
use super::refresh_intent::RefreshIntent;
use super::*;
use crate::client::registration::ClientRegistration;
use crate::config::StoreKeys;
#[cfg(feature = "redis")]
use crate::config::{SharedPlace, StoreAddress};
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::keychain::KeychainLimits;
use crate::keychain::memory::MemoryVault;
use crate::token::TokenSet;
#[cfg(feature = "redis")]
use mcp_bridge_testkit::redis_server::RedisServer;
use mcp_bridge_testkit::{LIMIT, free_port, soon};
use mcp_bridge_text::secret::Secret;

const NO_WAIT: Duration = Duration::ZERO;

/// A place, as several processes use it.
struct TestPlace {
    config: Config,
    /// Lives as long as the place.
    directory: TempDir,
    #[cfg(feature = "redis")]
    server: Option<RedisServer>,
}

impl TestPlace {
    fn with(store: Store, directory: TempDir) -> Self {
        let limits = KeychainLimits {
            time: LIMIT,
            size: 2560,
        };
        let config = Config {
            directory: Some(directory.path().to_owned()),
            store: Some(store),
            keychain: Keychain::new(Arc::new(MemoryVault::default()), limits),
            ..Config::default()
        };
        Self {
            config,
            directory,
            #[cfg(feature = "redis")]
            server: None,
        }
    }

    fn files() -> Self {
        Self::with(Store::File, tempdir().unwrap())
    }

    /// Files that are encrypted.
    fn encrypted() -> Self {
        let mut place = Self::with(Store::File, tempdir().unwrap());
        place.config.store_keys = Some(StoreKeys::parse(StoreKeys::generate().expose()).unwrap());
        place
    }

    fn keychain() -> Self {
        Self::with(Store::Keychain, tempdir().unwrap())
    }

    /// None, with a message, where there is no `redis-server`.
    #[cfg(feature = "redis")]
    fn redis() -> Option<Self> {
        let server = RedisServer::start()?;
        let mut place = Self::with(shared_place(&server.url()), tempdir().unwrap());
        place.server = Some(server);
        Some(place)
    }

    /// The store of a process.
    fn store(&self) -> CredentialStore {
        self.store_of("https://mcp.example/mcp")
    }

    fn store_of(&self, server: &str) -> CredentialStore {
        let server = Url::parse(server).unwrap();
        let key = CredentialKey::new(&server, &self.config);
        CredentialStore::new(key, &server, &self.config)
    }

    fn records(&self) -> SharedRecords {
        self.store().lock_name("").unwrap().0
    }

    fn accounts(&self) -> Vec<Account> {
        Account::all_in(&self.records()).unwrap()
    }
}

/// The same key each time.
#[cfg(feature = "redis")]
fn shared_place(url: &str) -> Store {
    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    Store::Shared(Box::new(SharedPlace {
        address: StoreAddress::parse(url).unwrap(),
        keys: StoreKeys::parse(KEY).unwrap(),
    }))
}

fn credential(issuer: &str, token: Option<&str>) -> Credential {
    let server = Url::parse("https://mcp.example/mcp").unwrap();
    let issuer = Url::parse(issuer).unwrap();
    let metadata = AuthorizationServerMetadata::with_token_endpoint(issuer);
    let registration = ClientRegistration::PreRegistered;
    let mut credential = Credential::new(server, metadata, None, registration);
    credential.tokens = token.map(tokens);
    credential
}

fn tokens(token: &str) -> TokenSet {
    let value: Value = json!({
        "access_token": token,
        "refresh_token": format!("refresh-{token}"),
        "obtained_at": 1,
    });
    serde_json::from_value(value).unwrap()
}

fn token(credential: Option<&Credential>) -> Option<String> {
    let tokens = credential?.tokens.as_ref()?;
    Some(tokens.access_token.expose().to_owned())
}

fn loaded(store: &CredentialStore) -> Option<String> {
    token(store.load().unwrap().as_ref())
}

const ISSUER: &str = "https://issuer.example/token";

async fn take(store: &SharedStore, kind: &'static str) -> Option<Lock> {
    lock::acquire(store, kind, NO_WAIT).await.unwrap()
}

async fn what_one_process_saves_another_one_loads(place: &TestPlace) {
    let (one, other) = (place.store(), place.store());
    assert!(one.load().unwrap().is_none());
    assert_eq!(
        one.save(&credential(ISSUER, Some("a")), Condition::None),
        Saved::Kept
    );
    assert_eq!(loaded(&other).as_deref(), Some("a"));
    assert_eq!(
        other.save(&credential(ISSUER, Some("b")), Condition::None),
        Saved::Kept
    );
    assert_eq!(loaded(&one).as_deref(), Some("b"));
    assert!(!one.has_unsaved() && !other.has_unsaved());
    assert!(
        place
            .store_of("https://other.example/")
            .load()
            .unwrap()
            .is_none()
    );
}

async fn each_issuer_has_a_credential_and_the_newest_with_tokens_is_in_use(place: &TestPlace) {
    let store = place.store();
    let other = "https://other.example/token";
    store.save(&credential(ISSUER, Some("a")), Condition::None);
    store.save(&credential(other, None), Condition::None);
    assert_eq!(store.load_all().unwrap().len(), 2);
    assert_eq!(loaded(&store).as_deref(), Some("a"));
    let issuer = credential(other, None).metadata.issuer;
    let of_other = store.load_issuer(&issuer).unwrap();
    assert!(of_other.unwrap().tokens.is_none());
}

async fn a_removed_credential_is_gone_for_all_and_not_put_back(place: &TestPlace) {
    let (one, other) = (place.store(), place.store());
    let issuer = credential(ISSUER, None).metadata.issuer;
    one.save(&credential(ISSUER, Some("a")), Condition::None);
    assert!(!other.is_removed(&issuer));
    one.remove(&issuer).unwrap();
    assert!(other.is_removed(&issuer));
    assert!(other.load().unwrap().is_none());
    assert!(place.accounts().is_empty());
    one.remove(&issuer).unwrap();
    one.save(&credential(ISSUER, Some("b")), Condition::None);
    assert!(!other.is_removed(&issuer));
    assert_eq!(loaded(&other).as_deref(), Some("b"));
}

async fn a_lock_is_held_by_one_process_and_free_when_it_ends(place: &TestPlace) {
    let one = SharedStore::new(place.store());
    let other = SharedStore::new(place.store());
    let held = take(&one, "lock").await.expect("nobody has it");
    assert!(take(&other, "lock").await.is_none());
    let another = take(&other, "sign-in.lock").await;
    assert!(another.is_some(), "it is another lock");
    let elsewhere = SharedStore::new(place.store_of("https://other.example/"));
    assert!(take(&elsewhere, "lock").await.is_some(), "another account");
    held.release().await;
    assert!(take(&other, "lock").await.is_some());
}

async fn who_waits_for_a_lock_gets_it_when_its_holder_drops_it(place: &TestPlace) {
    let one = SharedStore::new(place.store());
    let other = SharedStore::new(place.store());
    let held = take(&one, "lock").await.expect("nobody has it");
    let waiting = tokio::spawn(async move { lock::acquire(&other, "lock", LIMIT).await });
    tokio::task::yield_now().await;
    assert!(take(&one, "lock").await.is_none());
    drop(held);
    let got = soon("the lock", waiting).await.unwrap().unwrap();
    assert!(got.is_some());
}

async fn records_beside_a_credential_are_read_by_all_and_are_no_accounts(place: &TestPlace) {
    let (one, other) = (place.store(), place.store());
    let read = |store: &CredentialStore| store.read_beside::<Value>("sign-in", "a record").unwrap();
    assert!(read(&one).is_none());
    one.write_beside("sign-in", &json!({"a": 1}));
    other.write_beside("sign-in", &json!({"b": "ü"}));
    assert_eq!(read(&one), Some(json!({"b": "ü"})));
    assert!(place.accounts().is_empty());
    assert!(one.load_all().unwrap().is_empty());
    one.remove_beside("sign-in");
    one.remove_beside("sign-in");
    assert!(read(&other).is_none());
}

async fn a_damaged_credential_is_ignored_and_replaced_by_the_next(place: &TestPlace) {
    let store = place.store();
    let issuer = credential(ISSUER, None).metadata.issuer;
    let name = store.key.record(&issuer);
    store.save(&credential(ISSUER, Some("a")), Condition::None);
    for text in ["", "[1,2]", "{\"version\":"] {
        let records = place.records();
        records
            .write(&name, text.as_bytes(), Condition::None)
            .unwrap();
        assert!(store.load().unwrap().is_none(), "{text}");
        assert_eq!(
            store.save(&credential(ISSUER, Some("b")), Condition::None),
            Saved::Kept
        );
        assert_eq!(loaded(&place.store()).as_deref(), Some("b"));
        store.sweep();
        assert_eq!(loaded(&place.store()).as_deref(), Some("b"));
    }
}

async fn accounts_are_listed_with_their_place_and_without_asking_for_secrets(place: &TestPlace) {
    place
        .store()
        .save(&credential(ISSUER, Some("a")), Condition::None);
    let accounts = place.accounts();
    assert_eq!(accounts.len(), 1);
    let account = &accounts[0];
    assert!(account.signed_in.as_ref().is_some_and(|it| it.renewable));
    assert!(!account.is_pending);
    let expected = match place.config.store {
        Some(Store::Keychain) => Place::Keychain,
        Some(Store::Shared(_)) => Place::Shared,
        Some(Store::File | Store::Memory) | None => Place::File,
    };
    assert_eq!(account.place, expected);
    assert!(!format!("{account:?}").contains("refresh-a"));
    assert!(place.directory.path().exists());
}

async fn what_is_saved_in_a_turn_is_kept(place: &TestPlace) {
    let store = SharedStore::new(place.store());
    let held = take(&store, "lock").await.expect("nobody has it");
    let condition = held.condition();
    let saved = place
        .store()
        .save(&credential(ISSUER, Some("a")), condition);
    assert_eq!(saved, Saved::Kept);
    let saved = place
        .store()
        .save(&credential(ISSUER, Some("b")), condition);
    assert_eq!(saved, Saved::Kept);
    assert_eq!(loaded(&place.store()).as_deref(), Some("b"));
}

/// Declares the tests of the suite for each place.
macro_rules! suite {
    ($($test:ident,)+) => {
        mod files {
            $(#[tokio::test] async fn $test() {
                super::run(Some(super::TestPlace::files()), super::$test).await;
            })+
        }
        mod encrypted {
            $(#[tokio::test] async fn $test() {
                super::run(Some(super::TestPlace::encrypted()), super::$test).await;
            })+
        }
        mod keychain {
            $(#[tokio::test] async fn $test() {
                super::run(Some(super::TestPlace::keychain()), super::$test).await;
            })+
        }
        #[cfg(feature = "redis")]
        mod redis {
            $(#[tokio::test] async fn $test() {
                super::run(super::TestPlace::redis(), super::$test).await;
            })+
        }
    };
}

async fn run(place: Option<TestPlace>, test: impl AsyncFn(&TestPlace)) {
    if let Some(place) = place {
        test(&place).await;
    }
}

suite! {
    what_one_process_saves_another_one_loads,
    each_issuer_has_a_credential_and_the_newest_with_tokens_is_in_use,
    a_removed_credential_is_gone_for_all_and_not_put_back,
    a_lock_is_held_by_one_process_and_free_when_it_ends,
    who_waits_for_a_lock_gets_it_when_its_holder_drops_it,
    records_beside_a_credential_are_read_by_all_and_are_no_accounts,
    a_damaged_credential_is_ignored_and_replaced_by_the_next,
    accounts_are_listed_with_their_place_and_without_asking_for_secrets,
    what_is_saved_in_a_turn_is_kept,
}

/// Tests of stores that several machines share.
#[cfg(feature = "redis")]
mod shared {
    use super::*;

    impl TestPlace {
        fn server(&self) -> &RedisServer {
            self.server.as_ref().unwrap()
        }

        /// Ends all leases, as time does.
        fn end_leases(&self) {
            let found = self.server().ask("KEYS *lock");
            let keys: Vec<_> = found
                .lines()
                .filter(|line| line.ends_with("lock"))
                .collect();
            assert!(!keys.is_empty());
            for key in keys {
                self.server().ask(&format!("DEL {key}"));
            }
        }
    }

    #[tokio::test]
    async fn a_holder_whose_lease_is_over_cannot_overwrite_what_the_next_one_has_stored() {
        let Some(place) = TestPlace::redis() else {
            return;
        };
        let store = SharedStore::new(place.store());
        let late = take(&store, "lock").await.expect("nobody has it");
        place.end_leases();
        let next = take(&store, "lock").await.expect("its lease is over");
        assert!(late.fence() < next.fence());
        let save = |token, lock: &Lock| {
            let store = place.store();
            let saved = store.save(&credential(ISSUER, Some(token)), lock.condition());
            assert!(!store.has_unsaved());
            saved
        };
        assert_eq!(save("new", &next), Saved::Kept);
        assert_eq!(save("old", &late), Saved::Superseded);
        assert_eq!(loaded(&place.store()).as_deref(), Some("new"));
        drop(late);
        assert!(
            take(&store, "lock").await.is_none(),
            "it was not his any more"
        );
    }

    #[tokio::test]
    async fn a_holder_whose_lease_is_over_does_not_undo_a_sign_out() {
        let Some(place) = TestPlace::redis() else {
            return;
        };
        let store = SharedStore::new(place.store());
        place
            .store()
            .save(&credential(ISSUER, Some("a")), Condition::None);
        let late = take(&store, "lock").await.expect("nobody has it");
        let issuer = credential(ISSUER, None).metadata.issuer;
        place.store().remove(&issuer).unwrap();
        let saved = place
            .store()
            .save(&credential(ISSUER, Some("b")), late.condition());
        assert_eq!(saved, Saved::Superseded);
        assert!(place.store().is_removed(&issuer));
    }

    #[tokio::test]
    async fn who_waits_for_a_lease_uses_one_connection_again() {
        let Some(place) = TestPlace::redis() else {
            return;
        };
        let connections = || -> usize {
            let stats = place.server().ask("INFO stats");
            let count = stats.split("total_connections_received:").nth(1).unwrap();
            count.split('\r').next().unwrap().parse().unwrap()
        };
        let store = SharedStore::new(place.store());
        let held = take(&store, "lock").await.expect("nobody has it");
        let before = connections();
        for _ in 0..5 {
            let waiting = lock::acquire(&store, "lock", Duration::from_millis(1));
            assert!(waiting.await.unwrap().is_none());
        }
        // The second question for the number is one as well.
        assert_eq!(connections() - before, 2);
        held.release().await;
        assert!(take(&store, "lock").await.is_some());
    }

    #[tokio::test]
    async fn what_redis_has_lost_counts_as_signed_out_by_nobody() {
        let Some(place) = TestPlace::redis() else {
            return;
        };
        let store = place.store();
        let issuer = credential(ISSUER, None).metadata.issuer;
        store.save(&credential(ISSUER, Some("a")), Condition::None);
        place.server().ask("FLUSHALL");
        assert!(store.load().unwrap().is_none());
        assert!(!store.is_removed(&issuer));
    }

    #[tokio::test]
    async fn fences_grow_even_if_redis_has_lost_its_memory() {
        let Some(place) = TestPlace::redis() else {
            return;
        };
        let store = SharedStore::new(place.store());
        let first = take(&store, "lock").await.unwrap().fence();
        place.server().ask("FLUSHALL");
        let second = take(&store, "lock").await.unwrap().fence();
        assert!(first < second);
    }

    #[tokio::test]
    async fn everything_of_an_account_vanishes_when_nobody_uses_it() {
        let Some(place) = TestPlace::redis() else {
            return;
        };
        let store = SharedStore::new(place.store());
        let held = take(&store, "lock").await;
        assert!(held.is_some());
        place
            .store()
            .save(&credential(ISSUER, Some("a")), Condition::None);
        let keys = place.server().ask("KEYS *");
        let keys: Vec<_> = keys
            .lines()
            .filter(|line| line.starts_with("mcp-bridge:"))
            .collect();
        assert_eq!(keys.len(), 2, "{keys:?}");
        for key in keys {
            let left = place.server().ask(&format!("PTTL {key}"));
            let left = left.lines().next().unwrap().trim_start_matches(':');
            assert!(left.parse::<i64>().unwrap() > 0, "{key} stays for ever");
        }
    }

    #[tokio::test]
    async fn a_refresh_that_another_process_began_is_unfinished_until_its_outcome_is_known() {
        let Some(place) = TestPlace::redis() else {
            return;
        };
        let store = SharedStore::new(place.store());
        let token = |text: &str| Secret::new(text.to_owned());
        let began = RefreshIntent::new(&token("r1"), Fence(1));
        began.clone().write(&store).await.unwrap();
        let unfinished =
            async |intent: RefreshIntent| intent.is_unfinished_elsewhere(&store).await.unwrap();
        assert!(!unfinished(began).await, "it is our own");
        assert!(unfinished(RefreshIntent::new(&token("r1"), Fence(2))).await);
        assert!(!unfinished(RefreshIntent::new(&token("r2"), Fence(2))).await);
        RefreshIntent::clear(&store).await;
        assert!(!unfinished(RefreshIntent::new(&token("r1"), Fence(2))).await);
    }

    #[tokio::test]
    async fn while_redis_is_away_tokens_stay_in_memory_and_are_saved_when_it_is_back() {
        let Some(mut place) = TestPlace::redis() else {
            return;
        };
        let store = place.store();
        store.save(&credential(ISSUER, Some("a")), Condition::None);
        place.server.as_mut().unwrap().stop();
        let saved = store.save(&credential(ISSUER, Some("b")), Condition::None);
        assert_eq!(saved, Saved::InMemory);
        assert_eq!(loaded(&store).as_deref(), Some("b"));
        let other = place.store();
        let error = other.load().unwrap_err().to_string();
        assert!(error.contains("redis+unix://"), "{error}");
        assert!(!other.is_removed(&credential(ISSUER, None).metadata.issuer));
        place.server.as_mut().unwrap().start_again();
        soon("saving", async {
            while store.save_again() != SavedAgain::Done {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(loaded(&other).as_deref(), Some("b"));
    }

    /// The user has the rights that the documentation names, and no others.
    #[tokio::test]
    async fn a_user_with_a_password_is_served_over_tls_in_a_database_of_their_own() {
        let certificates = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/integration/certificates"
        );
        let certificate = format!("{certificates}/good.pem");
        let key = format!("{certificates}/server.key");
        let authority = format!("{certificates}/authority.pem");
        let port = free_port();
        let page = include_str!("../../../../docs/shared-store.md");
        let rights = page.split("```text\nuser bridge ").nth(1).unwrap();
        let rights = rights.split('\n').next().unwrap();
        let mut options = vec!["--tls-port".to_owned(), port.to_string()];
        for (name, file) in [
            ("cert", &certificate),
            ("key", &key),
            ("ca-cert", &authority),
        ] {
            options.extend([format!("--tls-{name}-file"), file.clone()]);
        }
        options.extend(["--tls-auth-clients".into(), "no".into()]);
        options.extend(["--user".into(), "bridge".into()]);
        options.extend(rights.split(' ').map(str::to_owned));
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let Some(server) = RedisServer::with_options(&options) else {
            return;
        };
        let store = |url: &str| {
            let config = Config {
                store: Some(shared_place(url)),
                ..Config::default()
            };
            let server = Url::parse("https://mcp.example/mcp").unwrap();
            CredentialStore::new(CredentialKey::new(&server, &config), &server, &config)
        };
        let address = format!("rediss://bridge:PASSWORD@localhost:{port}/3?ca={authority}");
        let shared = SharedStore::new(store(&address));
        let held = take(&shared, "lock").await.expect("nobody has it");
        let saved = store(&address).save(&credential(ISSUER, Some("a")), held.condition());
        assert_eq!(saved, Saved::Kept);
        let waiting = lock::acquire(&shared, "lock", Duration::from_millis(1));
        assert!(waiting.await.unwrap().is_none());
        held.release().await;
        let (records, _) = store(&address).lock_name("").unwrap();
        assert_eq!(Account::all_in(&records).unwrap().len(), 1);
        assert!(server.ask("DBSIZE").starts_with(":0"), "database 0");

        let stranger = address.replace("PASSWORD", "wrong");
        let error = store(&stranger).load().unwrap_err().to_string();
        assert!(
            error.contains("authentication failed") && !error.contains("bridge:"),
            "{error}"
        );
        let untrusted = address.split('?').next().unwrap();
        let error = store(untrusted).load().unwrap_err().to_string();
        assert!(error.to_lowercase().contains("certificate"), "{error}");
    }

    #[tokio::test]
    async fn two_prefixes_are_two_stores() {
        let Some(place) = TestPlace::redis() else {
            return;
        };
        let store = |prefix: &str| {
            let url = format!("{}?prefix={prefix}", place.server().url());
            let config = Config {
                store: Some(shared_place(&url)),
                ..place.config.clone()
            };
            let server = Url::parse("https://mcp.example/mcp").unwrap();
            CredentialStore::new(CredentialKey::new(&server, &config), &server, &config)
        };
        store("a*").save(&credential(ISSUER, Some("a")), Condition::None);
        store("ab").save(&credential(ISSUER, Some("b")), Condition::None);
        for (prefix, expected) in [("a*", "a"), ("ab", "b")] {
            assert_eq!(loaded(&store(prefix)).as_deref(), Some(expected));
            let (records, _) = store(prefix).lock_name("").unwrap();
            assert_eq!(Account::all_in(&records).unwrap().len(), 1);
        }
        assert!(loaded(&store("c")).is_none());
    }
}
