//! Sign-in as the page shows and drives it.

use std::sync::{Arc, Mutex};

use reqwest::header::COOKIE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::Url;

use super::Inspector;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::limits::soon;
use mcp_bridge_testkit::request::rpc;
use mcp_bridge_testkit::secrets;

impl Inspector {
    /// The person signs in on the page that the bridge opens.
    pub(super) async fn signs_in(&self, cookie: &str) -> Url {
        let page = self.browser.page().await;
        HeadlessBrowser::default().visit(page.clone()).await;
        self.has_event(cookie, |event| event["connection"]["phase"] == "connected")
            .await;
        page
    }

    /// The state of the sign-in.
    async fn state(&self, cookie: &str) -> Value {
        let request = self.request(Method::GET, "/sign-in");
        let state = request.header(COOKIE, cookie).send().await;
        let state = state.expect("an answer");
        assert_eq!(state.status(), StatusCode::OK);
        let text = state.text().await.expect("text");
        assert_eq!(secrets::shown_in(&text), None, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Does something, and returns what the person is told.
    async fn said(&self, cookie: &str, path: &str, body: &str) -> String {
        let told = self.act(cookie, path, body).await;
        let told: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
        told["said"].as_str().expect("words").to_owned()
    }
}

/// All events that the page gets.
struct EventWatch {
    text: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl EventWatch {
    async fn of(inspector: &Inspector, cookie: &str) -> Self {
        let request = inspector.request(Method::GET, "/events");
        let events = request.header(COOKIE, cookie).send().await;
        let mut events = events.expect("an answer");
        let text = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&text);
        let reading = tokio::spawn(async move {
            while let Ok(Some(chunk)) = events.chunk().await {
                let chunk = String::from_utf8_lossy(&chunk);
                seen.lock().expect("it is whole").push_str(&chunk);
            }
        });
        Self { text, reading }
    }

    async fn end(self) -> String {
        soon("the end of the events", self.reading)
            .await
            .expect("no panic");
        self.text.lock().expect("it is whole").clone()
    }
}

async fn server() -> AuthorizationServer {
    let server = AuthorizationServer::start().await;
    let revocation = format!("{}/revoke", server.origin());
    server.behave(|it| {
        it.server_metadata = json!({
            "revocation_endpoint": revocation,
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        });
        it.token_lifetime = Some(3600);
        it.registers_no_public_client = true;
    });
    server
}

#[cfg(unix)]
#[tokio::test]
async fn a_person_signs_in_refreshes_and_signs_out_and_no_secret_reaches_the_page() {
    let server = server().await;
    let inspector = Inspector::start(&[server.mcp_url().as_str()]).await;
    let cookie = inspector.cookie().await;
    let events = EventWatch::of(&inspector, &cookie).await;
    let page = inspector.browser.page().await;
    let waiting = inspector.state(&cookie).await;
    assert_eq!(waiting["isPending"], true);
    assert_eq!(waiting["signIn"], Value::Null);
    HeadlessBrowser::default().visit(page.clone()).await;
    inspector
        .has_event(&cookie, |it| it["connection"]["phase"] == "connected")
        .await;

    let state = inspector.state(&cookie).await;
    assert_eq!(state["isPending"], false);
    assert_eq!(state["place"], "a file that only you can read");
    let sign_in = &state["signIn"];
    assert_eq!(sign_in["issuer"], server.origin());
    assert_eq!(sign_in["client"]["kind"], "dynamic");
    assert_eq!(sign_in["client"]["authentication"], "by a secret");
    assert_eq!(sign_in["tokens"]["lifetime"], 3600);
    assert_eq!(sign_in["tokens"]["isRenewable"], true);

    let said = inspector.said(&cookie, "/sign-in/refresh", "").await;
    assert_eq!(
        (said.as_str(), server.refreshes()),
        ("The token was replaced.", 1)
    );
    let said = inspector.said(&cookie, "/sign-in/start", "").await;
    assert_eq!(said, "Signed in.");
    let look: Value =
        serde_json::from_str(&inspector.act(&cookie, "/sign-in/look", "").await).expect("JSON");
    assert_eq!(
        (&look["isRefused"], &look["status"]),
        (&json!(true), &json!(401))
    );
    assert_eq!(look["server"]["revokes"], true);
    inspector.act(&cookie, "/findings", "").await;

    let said = inspector.said(&cookie, "/sign-in/end", "").await;
    let expected = format!(
        "Signed out: {} has revoked the tokens; nothing of it is kept here.",
        server.origin()
    );
    assert_eq!(said, expected);
    assert!(!server.seen("/revoke").is_empty());
    assert_eq!(inspector.state(&cookie).await["signIn"], Value::Null);
    let said = inspector.act(&cookie, "/sign-in/refresh", "").await;
    assert!(
        said.starts_with("502: there is nothing to refresh with"),
        "{said}"
    );
    let said = inspector.said(&cookie, "/sign-in/end", "").await;
    assert_eq!(said, "Nobody was signed in.");

    inspector.running.interrupt();
    let Inspector { running, .. } = inspector;
    let ran = running.ends().await;
    assert_eq!(ran.status, 0, "{ran:?}");
    let seen = events.end().await;
    // All of it was there to be seen.
    for document in [
        "/register",
        "/token",
        "/revoke",
        "oauth-authorization-server",
    ] {
        assert!(seen.contains(document), "{document}: {seen}");
    }
    assert_eq!(secrets::shown_in(&seen), None, "{seen}");
    let exchanged = server.seen("/token");
    let verifier = exchanged[0].form["code_verifier"].as_str();
    let of_page = |name: &str| {
        let mut pairs = page.query_pairs();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let state = of_page("state").expect("a state");
    for secret in [verifier, &state] {
        assert!(secret.len() > 20 && !seen.contains(secret), "{seen}");
    }
    assert!(seen.contains(&of_page("code_challenge").expect("a challenge")));
}

#[tokio::test]
async fn a_server_that_registers_no_clients_takes_the_one_that_a_person_types() {
    let server = server().await;
    server.behave(|it| it.server_metadata = json!({"registration_endpoint": null}));
    let inspector = Inspector::start(&[server.mcp_url().as_str()]).await;
    let cookie = inspector.cookie().await;
    inspector
        .has_event(&cookie, |it| it["connection"]["phase"] == "failed")
        .await;
    let look: Value =
        serde_json::from_str(&inspector.act(&cookie, "/sign-in/look", "").await).expect("JSON");
    let needed = &look["neededClient"];
    assert_eq!(needed["issuer"], server.origin());
    let redirect_uri = needed["redirectUri"].as_str().expect("an address");

    let secret = "secret-MARKER-of-a-person";
    server.register("typed", Some(secret), redirect_uri);
    let refused = inspector
        .act(&cookie, "/sign-in/client", r#"{"id": " "}"#)
        .await;
    assert_eq!(refused, "502: the client id is missing\n");
    let broken = format!(r#"{{"id": "typed", "secret": {{"{secret}": 1}}}}"#);
    let refused = inspector.act(&cookie, "/sign-in/client", &broken).await;
    assert_eq!(refused, "502: not a client: id and secret are texts\n");
    let typed = json!({"id": "typed", "secret": secret}).to_string();
    let said = inspector.said(&cookie, "/sign-in/client", &typed).await;
    assert!(said.contains("kept until the inspector ends"), "{said}");
    assert_eq!(inspector.state(&cookie).await["client"], "typed");

    let signing_in = inspector.said(&cookie, "/sign-in/start", "");
    let (said, _) = tokio::join!(signing_in, inspector.signs_in(&cookie));
    assert_eq!(said, "Signed in.");
    let client = inspector.state(&cookie).await["signIn"]["client"].clone();
    assert_eq!(
        (&client["kind"], &client["id"]),
        (&json!("preRegistered"), &json!("typed"))
    );
    inspector
        .has_event(&cookie, |it| it["_mcp"]["detail"] == "signed in")
        .await;
}

#[tokio::test]
async fn a_sign_out_does_not_wait_for_a_sign_in_that_nobody_finishes() {
    let server = server().await;
    let inspector = Inspector::start(&[server.mcp_url().as_str()]).await;
    let cookie = inspector.cookie().await;
    inspector.browser.page().await;
    let said = inspector.said(&cookie, "/sign-in/end", "");
    let said = soon("the end of the sign-out", said).await;
    assert!(
        said.starts_with("Signed out: there was no token to revoke; "),
        "{said}"
    );
    inspector
        .has_event(&cookie, |it| it["connection"]["phase"] == "idle")
        .await;
}

/// A browser on another machine cannot reach the callback.
#[tokio::test]
async fn the_address_at_which_the_browser_ended_can_be_pasted() {
    let server = server().await;
    let inspector = Inspector::start(&[server.mcp_url().as_str()]).await;
    let cookie = inspector.cookie().await;
    let page = inspector.browser.page().await;
    let refused = inspector.act(&cookie, "/sign-in/paste", "no address").await;
    assert!(refused.starts_with("502: not accepted: "), "{refused}");
    let ended = HeadlessBrowser::default().approve(page).await;
    let said = inspector
        .said(&cookie, "/sign-in/paste", ended.as_str())
        .await;
    assert_eq!(said, "Accepted.");
    inspector
        .has_event(&cookie, |it| it["connection"]["phase"] == "connected")
        .await;
}

#[tokio::test]
async fn a_server_without_a_sign_in_says_so_and_so_does_a_header_of_ones_own() {
    let server = FaultServer::start();
    server.allow_requests(200);
    let inspector = Inspector::of_server(&server).await;
    let cookie = inspector.cookie().await;
    server.received(rpc("notifications/initialized"), 1).await;
    let said = inspector.said(&cookie, "/sign-in/start", "").await;
    assert_eq!(
        said,
        "The server wants no sign-in: it answers without one, and offers none."
    );
    let server = FaultServer::start();
    let header = format!("Authorization: {}", mcp_bridge_testkit::HEADER_MARKER);
    let inspector = Inspector::start(&[server.url().as_str(), "--header", &header]).await;
    let cookie = inspector.cookie().await;
    assert_eq!(inspector.state(&cookie).await["way"], "header");
    let refused = inspector.act(&cookie, "/sign-in/start", "").await;
    assert_eq!(
        refused,
        "502: your own Authorization header is the way in, so there is no sign-in\n"
    );
}
