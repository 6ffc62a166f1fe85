//! One sign-in for several servers of a provider (`--share-sign-in`): pages, audiences of tokens, refusals, sign-out.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::collections::HashMap;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use url::Url;

use crate::program;
use mcp_bridge_testkit::app::App;
#[cfg(target_os = "linux")]
use mcp_bridge_testkit::app::initialize_line;
use mcp_bridge_testkit::authorization_server::{
    Audience, AuthorizationServer, Device, Dpop, Grants, Targets,
};
#[cfg(target_os = "linux")]
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::browser::{BrowserDouble, MARK};
use mcp_bridge_testkit::program::CommandOutput;
#[cfg(unix)]
use mcp_bridge_testkit::redis_server::RedisServer;

/// A person with a home and a browser, and servers with one provider, which they sign in at.
struct Scene {
    provider: AuthorizationServer,
    home: TempDir,
    browser: BrowserDouble,
    flags: Vec<String>,
    /// Key of the store, if it is one of several machines.
    key: Option<&'static str>,
}

impl Scene {
    async fn with(audience: Audience, targets: Targets) -> Self {
        let home = tempdir().unwrap();
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            it.audience = audience;
            it.targets = targets;
            let revocation = format!("{}/revoke", provider.origin());
            it.server_metadata = json!({ "revocation_endpoint": revocation });
        });
        Self {
            browser: BrowserDouble::signing_in(home.path()),
            provider,
            home,
            flags: vec!["--share-sign-in".into()],
            key: None,
        }
    }

    /// A provider that restricts each token to the server that it is asked for.
    async fn new() -> Self {
        Self::with(Audience::Jwt, Targets::Any).await
    }

    fn url(&self, server: &str) -> Url {
        self.provider.further_mcp_url(server)
    }

    fn start(&self, server: &str) -> App {
        self.start_with(server, &self.browser)
    }

    fn start_with(&self, server: &str, browser: &BrowserDouble) -> App {
        let launch =
            program::bridge().with(|it| it.home(self.home.path()).browser(browser).search_path());
        let launch = match self.key {
            Some(key) => launch.env("MCP_BRIDGE_STORE_KEY", key),
            None => launch,
        };
        launch
            .args([self.url(server).as_str()])
            .args(&self.flags)
            .leaves_orphans()
            .start()
    }

    /// A session in which a server is used.
    async fn uses(&self, server: &str) {
        let mut app = self.start(server);
        works(&mut app).await;
        app.finish().await;
    }

    async fn run(&self, words: &[&str]) -> CommandOutput {
        let command = program::command(words.iter().copied());
        let command = command.home(self.home.path()).browser(&self.browser);
        command.search_path().run().await
    }

    async fn status(&self) -> Vec<Value> {
        let status = self.run(&["status", "--json"]).await.stdout;
        serde_json::from_str(&status).unwrap()
    }

    /// The resources that the page named, for each page that a person has signed in on.
    fn pages(&self) -> Vec<Vec<String>> {
        let seen = self.provider.seen("/authorize").into_iter();
        // Looking whether a stored client is still known shows nothing to anybody.
        let shown = seen.filter(|seen| seen.headers.contains_key(MARK));
        shown.map(|seen| seen.resources).collect()
    }

    fn resource(&self, server: &str) -> String {
        self.url(server).into()
    }

    fn resources(&self, servers: &[&str]) -> Vec<String> {
        servers.iter().map(|it| self.resource(it)).collect()
    }

    /// Nobody got a token that is for another one.
    fn check_tokens(&self) {
        let none: [String; 0] = [];
        assert_eq!(self.provider.misplaced_tokens(), none);
    }
}

async fn works(app: &mut App) {
    app.initialize().await;
    app.request(7, "tools/list", &json!({})).await;
    let tools = app.result(7).await;
    assert_eq!(tools["tools"][0]["name"], "a", "{tools}");
}

///
#[tokio::test]
async fn servers_of_one_provider_need_one_sign_in() {
    let scene = Scene::new().await;
    for server in ["a", "b", "c"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.pages(), [scene.resources(&["a"])]);
    // Each has a token of its own, in each session.
    for server in ["a", "b", "c"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.pages().len(), 1);
    scene.check_tokens();

    let status = scene.run(&["status"]).await.stdout;
    let shares = format!("shares      the sign-in at {}", scene.provider.origin());
    assert_eq!(status.matches(&shares).count(), 3, "{status}");
    for server in ["a", "b", "c"] {
        let row = format!("shared by   {}", scene.url(server));
        assert!(status.contains(&row), "{status}");
    }
    let status = scene.status().await;
    let of_all = status
        .iter()
        .find(|it| it.get("sharedBy").is_some())
        .unwrap();
    assert_eq!(of_all["sharedBy"], json!(scene.resources(&["a", "b", "c"])));
    let of_one = status.iter().find(|it| it["server"] == scene.resource("a"));
    assert_eq!(of_one.unwrap()["sharedSignIn"], scene.provider.origin());
    assert_eq!(of_one.unwrap()["signedIn"]["renewable"], true);
}

/// without the flag each server has its own, as before.
#[tokio::test]
async fn without_the_flag_nothing_is_shared() {
    let mut scene = Scene::new().await;
    scene.flags.clear();
    scene.uses("a").await;
    scene.uses("b").await;
    assert_eq!(
        scene.pages(),
        [scene.resources(&["a"]), scene.resources(&["b"])]
    );
    assert_eq!(scene.provider.refreshes(), 0);
}

/// an app starts all its bridges at once.
#[tokio::test]
async fn bridges_of_two_servers_at_once_open_one_page() {
    let scene = Scene::new().await;
    let (mut one, mut other) = (scene.start("a"), scene.start("b"));
    tokio::join!(works(&mut one), works(&mut other));
    one.finish().await;
    other.finish().await;
    assert_eq!(scene.pages().len(), 1);
    scene.check_tokens();
}

/// tokens that live for seconds, and the provider takes a second use of a refresh token for theft.
#[tokio::test]
async fn a_refresh_token_is_used_once_by_all_that_share_it() {
    let scene = Scene::new().await;
    scene.provider.behave(|it| it.token_lifetime = Some(3));
    let mut apps = ["a", "b", "c", "a"].map(|server| scene.start(server));
    for app in &mut apps {
        works(app).await;
    }
    let mut round = 0;
    while scene.provider.refreshes() < 12 {
        round += 1;
        let [one, two, three, four] = &mut apps;
        tokio::join!(
            call(one, round),
            call(two, round),
            call(three, round),
            call(four, round)
        );
    }
    for app in apps {
        app.finish().await;
    }
    assert_eq!(scene.pages().len(), 1);
    scene.check_tokens();
}

async fn call(app: &mut App, round: u64) {
    let id = 100 + round;
    app.request(id, "tools/call", &json!({"name": "a"})).await;
    app.result(id).await;
}

/// the authorization server tells for whom an opaque token is (RFC 7662).
#[tokio::test]
async fn opaque_tokens_are_shared_if_the_provider_says_for_whom_they_are() {
    let scene = Scene::with(Audience::Introspected, Targets::Any).await;
    for server in ["a", "b"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.pages().len(), 1);
    assert!(!scene.provider.seen("/introspect").is_empty());
    scene.check_tokens();
}

/// a token that any server accepts must not come from a sign-in for several.
#[tokio::test]
async fn opaque_tokens_are_not_shared() {
    let scene = Scene::with(Audience::Unsaid, Targets::Any).await;
    for server in ["a", "b", "a", "b"] {
        scene.uses(server).await;
    }
    assert_eq!(
        scene.pages(),
        [scene.resources(&["a"]), scene.resources(&["b"])]
    );
    // Each goes on with a refresh token of its own.
    scene.provider.revoke_access_tokens();
    for server in ["a", "b"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.pages().len(), 2);
    let status = scene.run(&["status"]).await.stdout;
    assert!(!status.contains("the sign-in at"), "{status}");
}

///
#[tokio::test]
async fn a_token_for_another_server_is_given_up() {
    let scene = Scene::with(Audience::Unsaid, Targets::Any).await;
    let of_first = scene.resources(&["a"]);
    scene
        .provider
        .behave(|it| it.audience = Audience::Fixed(of_first));
    scene.uses("a").await;
    let of_both = scene.resources(&["a", "b"]);
    scene
        .provider
        .behave(|it| it.audience = Audience::Fixed(of_both));
    for _ in 0..3 {
        scene.uses("b").await;
    }
    // The page of the second named the first one, too, and its token was good at both: nobody has used that.
    let pages = scene.pages();
    assert_eq!(pages[1], scene.resources(&["b", "a"]), "{pages:?}");
    assert_eq!(pages[2..], [scene.resources(&["b"])], "{pages:?}");
    scene.uses("a").await;
    assert_eq!(scene.pages().len(), 3);
}

/// the authorization server gives tokens for what the page has named alone.
#[tokio::test]
async fn a_provider_that_wants_all_servers_named_gets_them_named() {
    let scene = Scene::with(Audience::Jwt, Targets::Named).await;
    let scopes = |scope: &str| vec![scope.to_owned()];
    scene.provider.behave(|it| {
        it.scopes_of = HashMap::from([
            ("/mcp/a".to_owned(), scopes("read:a")),
            ("/mcp/b".to_owned(), scopes("read:b")),
        ]);
    });
    for server in ["a", "b", "a", "b"] {
        scene.uses(server).await;
    }
    assert_eq!(
        scene.pages(),
        [scene.resources(&["a"]), scene.resources(&["b", "a"])]
    );
    // The next sign-in is for all at once.
    scene.provider.revoke_all();
    for server in ["a", "b"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.pages()[2..], [scene.resources(&["a", "b"])]);
    scene.check_tokens();
    let seen = scene.provider.seen("/token");
    let asked: Vec<_> = seen.iter().filter_map(|it| it.form.get("scope")).collect();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|it| *it == "read:a" || *it == "read:b"),
        "{asked:?}"
    );
}

/// refused for good, with a page for each server and no more requests for what is known to be refused.
#[tokio::test]
async fn a_refused_server_signs_in_by_itself_and_stays_so() {
    let scene = Scene::with(Audience::Jwt, Targets::One).await;
    for server in ["a", "b"] {
        scene.uses(server).await;
    }
    scene.provider.revoke_access_tokens();
    for server in ["a", "b"] {
        scene.uses(server).await;
    }
    let (pages, refreshes) = (scene.pages().len(), scene.provider.refreshes());
    assert!(pages <= 3, "{:?}", scene.pages());
    for round in 1..=3 {
        scene.provider.revoke_access_tokens();
        for server in ["a", "b"] {
            scene.uses(server).await;
        }
        assert_eq!(scene.pages().len(), pages);
        // One for each, which worked.
        assert_eq!(scene.provider.refreshes(), refreshes + 2 * round);
    }
    scene.check_tokens();
}

/// the tokens are right, and the server does not like them.
#[tokio::test]
async fn a_server_that_refuses_the_shared_sign_in_gets_one_of_its_own() {
    let scene = Scene::new().await;
    scene.uses("a").await;
    scene.provider.behave(|it| it.loner = Some("/mcp/b".into()));
    scene.uses("b").await;
    assert_eq!(
        scene.pages(),
        [scene.resources(&["a"]), scene.resources(&["b"])]
    );
    scene.uses("a").await;
    assert_eq!(scene.pages().len(), 2);
}

/// the person has withdrawn their consent.
#[tokio::test]
async fn a_grant_that_has_ended_is_renewed_by_one_page() {
    let scene = Scene::new().await;
    for server in ["a", "b"] {
        scene.uses(server).await;
    }
    scene.provider.revoke_all();
    for server in ["b", "a"] {
        scene.uses(server).await;
    }
    assert_eq!(
        scene.pages(),
        [scene.resources(&["a"]), scene.resources(&["b"])]
    );
    scene.check_tokens();
}

/// without a refresh token there is nothing to share.
#[tokio::test]
async fn a_provider_without_refresh_tokens_signs_each_server_in() {
    let scene = Scene::new().await;
    scene
        .provider
        .behave(|it| it.grants = Grants::AccessTokensOnly);
    for server in ["a", "b", "a", "b"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.pages().len(), 2);
    scene.check_tokens();
}

///
#[tokio::test]
async fn a_sign_out_of_one_server_leaves_the_others_signed_in() {
    let scene = Scene::new().await;
    for server in ["a", "b"] {
        scene.uses(server).await;
    }
    let logout = ["logout", &scene.resource("a")];
    let said = scene.run(&logout).await.stdout;
    assert!(
        said.contains("another server goes on with the sign-in"),
        "{said}"
    );
    assert_eq!(scene.provider.seen("/revoke").len(), 0);
    scene.provider.revoke_access_tokens();
    scene.uses("b").await;
    assert_eq!(scene.pages().len(), 1);

    // The last one ends it.
    let said = scene.run(&["logout", &scene.resource("b")]).await.stdout;
    assert!(said.contains("revoked, and forgotten here"), "{said}");
    assert_eq!(scene.provider.seen("/revoke").len(), 1);
    assert_eq!(
        scene
            .status()
            .await
            .iter()
            .filter(|it| it["signedIn"].is_object())
            .count(),
        0
    );
    scene.uses("a").await;
    assert_eq!(scene.pages().len(), 2);
}

///
#[tokio::test]
async fn a_sign_out_at_the_provider_is_for_all() {
    let scene = Scene::new().await;
    for server in ["a", "b"] {
        scene.uses(server).await;
    }
    let said = scene
        .run(&["logout", &scene.provider.origin()])
        .await
        .stdout;
    assert!(said.contains("revoked, and forgotten here"), "{said}");
    assert_eq!(scene.provider.seen("/revoke").len(), 1);
    for server in ["b", "a"] {
        scene.uses(server).await;
    }
    assert_eq!(
        scene.pages(),
        [scene.resources(&["a"]), scene.resources(&["b"])]
    );
}

/// the flag in a file, and the diagnosis.
#[tokio::test]
async fn doctor_says_whether_the_sign_in_can_be_shared() {
    let mut scene = Scene::new().await;
    let file = scene.home.path().join("bridge.toml");
    std::fs::write(&file, "share-sign-in = true\n").unwrap();
    let file = file.to_str().unwrap().to_owned();
    scene.flags = vec!["--config".into(), file.clone()];
    let doctor = async |scene: &Scene, server: &str| {
        let url = scene.resource(server);
        let words = ["doctor", &url, "--config", &file];
        let lines = scene.run(&words).await.stdout;
        let mut lines = lines.lines();
        let line = lines.find(|line| line.contains("shared_sign_in"));
        line.unwrap().to_owned()
    };
    let line = doctor(&scene, "a").await;
    assert!(line.contains("nobody has signed in"), "{line}");
    scene.uses("a").await;
    let line = doctor(&scene, "b").await;
    assert!(line.contains("shared by 1 server"), "{line}");
    let scene = Scene::with(Audience::Unsaid, Targets::Any).await;
    let scene = Scene {
        flags: vec!["--config".into(), file.clone()],
        ..scene
    };
    scene.uses("a").await;
    let line = doctor(&scene, "a").await;
    assert!(
        line.contains("do not say which server they are for"),
        "{line}"
    );
}

/// tokens that are bound to a key are shared with it.
#[tokio::test]
async fn bound_tokens_are_shared() {
    let mut scene = Scene::new().await;
    scene.flags.extend(["--dpop".into(), "required".into()]);
    scene.provider.behave(|it| it.dpop = Some(Dpop::default()));
    for server in ["a", "b", "a"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.pages().len(), 1);
    scene.check_tokens();
}

/// the person signs in on another device (RFC 8628).
#[tokio::test]
async fn a_sign_in_by_device_code_is_shared() {
    let mut scene = Scene::new().await;
    scene.flags.push("--device-code".into());
    let endpoint = format!("{}/device", scene.provider.origin());
    scene.provider.behave(|it| {
        it.server_metadata["device_authorization_endpoint"] = endpoint.into();
        it.device = Device::Approved;
    });
    for server in ["a", "b", "a"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.provider.seen("/device").len(), 1);
    assert_eq!(scene.pages().len(), 0);
    scene.check_tokens();
}

/// the app ends its bridge while the person signs in, and starts another one.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_shared_sign_in_outlives_its_bridge() {
    let scene = Scene::new().await;
    let browser = BrowserDouble::noting(&scene.home.path().join("noting"));
    let mut bridge = scene.start_with("a", &browser);
    bridge.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    bridge.end_with_group(rustix::process::Signal::TERM).await;
    HeadlessBrowser::default().visit(page).await;
    for server in ["b", "a"] {
        scene.uses(server).await;
    }
    assert_eq!(scene.pages().len(), 1);
    scene.check_tokens();
}

/// several machines. Skipped, with a message, where `redis-server` is not installed.
#[cfg(unix)]
#[tokio::test]
async fn machines_that_share_a_store_share_the_sign_in() {
    let Some(redis) = RedisServer::start() else {
        return;
    };
    let mut scene = Scene::new().await;
    scene.flags.extend(["--store".into(), redis.url()]);
    scene.key = Some("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    let (mut one, mut other) = (scene.start("a"), scene.start("b"));
    tokio::join!(works(&mut one), works(&mut other));
    scene.provider.revoke_access_tokens();
    // Another machine has another home.
    let elsewhere = Scene {
        provider: scene.provider.clone(),
        home: tempdir().unwrap(),
        browser: BrowserDouble::signing_in(&scene.home.path().join("elsewhere")),
        flags: scene.flags.clone(),
        key: scene.key,
    };
    elsewhere.uses("c").await;
    tokio::join!(elsewhere.uses("a"), call(&mut one, 1), call(&mut other, 1));
    one.finish().await;
    other.finish().await;
    assert_eq!(scene.pages().len(), 1);
    scene.check_tokens();
}
