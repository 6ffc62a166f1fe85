//! Tokens that are bound to a key (DPoP, RFC 9449), on the wire of the program.

use std::collections::HashSet;

use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program;
use mcp_bridge_testkit::app::App;
use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Dpop, Seen};
use mcp_bridge_testkit::browser::BrowserDouble;

/// A person with a home and a browser, and a server that asks for bound tokens.
struct Scene {
    provider: AuthorizationServer,
    home: TempDir,
    browser: BrowserDouble,
}

impl Scene {
    async fn new(rules: Dpop) -> Self {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            it.dpop = Some(rules);
            it.has_session = true;
        });
        let home = TempDir::new().expect("a directory");
        let browser = BrowserDouble::signing_in(home.path());
        Self {
            provider,
            home,
            browser,
        }
    }

    /// A bridge whose session is open.
    async fn served(&self, flags: &[&str]) -> App {
        let mut app =
            program::start_signed_out(&self.provider, self.home.path(), &self.browser, flags);
        app.initialize().await;
        app.request(7, "tools/list", &json!({})).await;
        app.result(7).await;
        app
    }

    fn behave(&self, rules: Dpop) {
        self.provider.behave(|it| it.dpop = Some(rules));
    }

    /// The requests to the MCP server, with a token or without.
    fn requests(&self) -> Vec<Seen> {
        self.provider.seen("/mcp")
    }
}

fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    Some(seen.headers.get(name)?.to_str().expect("ASCII"))
}

/// the double checks the proofs; each is used once.
#[tokio::test]
async fn every_request_of_a_session_has_its_own_proof() {
    let scene = Scene::new(Dpop {
        resource_nonce: Some("nonce-of-mcp"),
        ..Dpop::default()
    })
    .await;
    let mut app = scene.served(&[]).await;
    app.request(8, "tools/list", &json!({})).await;
    app.result(8).await;
    app.finish().await;
    let requests = scene.requests();
    let bound: Vec<_> = requests
        .iter()
        .filter(|it| header(it, "authorization").is_some_and(|it| it.starts_with("DPoP ")))
        .collect();
    let methods: HashSet<_> = bound.iter().map(|it| it.method.as_str()).collect();
    assert_eq!(methods, HashSet::from(["POST", "GET", "DELETE"]));
    let proofs: HashSet<_> = bound
        .iter()
        .map(|it| header(it, "dpop").expect("a proof"))
        .collect();
    assert_eq!(proofs.len(), bound.len());
    assert_eq!(scene.provider.seen("/authorize").len(), 1);
    assert!(!requests.iter().any(|it| {
        let token = it.headers.get(AUTHORIZATION);
        token.is_some_and(|it| it.to_str().expect("ASCII").starts_with("Bearer "))
    }));
}

/// neither a loop nor another sign-in.
#[tokio::test]
async fn a_server_that_wants_another_nonce_each_time_is_one_error() {
    let scene = Scene::new(Dpop::default()).await;
    let mut app = scene.served(&[]).await;
    scene.behave(Dpop {
        resource_nonce: Some("n"),
        refuses_nonces: true,
        ..Dpop::default()
    });
    let before = scene.requests().len();
    app.request(8, "tools/call", &json!({ "name": "a" })).await;
    let data = app.own_error(8, "auth_proof_refused").await;
    assert!(
        data["hint"].as_str().expect("a hint").contains("--dpop"),
        "{data}"
    );
    assert_eq!(scene.requests().len(), before + 2);
    scene.behave(Dpop::default());
    app.request(9, "tools/list", &json!({})).await;
    app.result(9).await;
    app.finish().await;
    assert_eq!(scene.provider.seen("/authorize").len(), 1);
}

///
#[tokio::test]
async fn a_refused_proof_is_an_error_that_says_how_far_the_clock_is_off() {
    let scene = Scene::new(Dpop::default()).await;
    let mut app = scene.served(&[]).await;
    for (id, clock_ahead, hint) in [
        (8, 0, "tell the server's operator"),
        (
            9,
            11 * 60 + 20,
            "the clock of this machine is 11 min behind",
        ),
    ] {
        scene.behave(Dpop {
            clock_ahead,
            resource_refusal: Some("iat is too far away"),
            ..Dpop::default()
        });
        app.request(id, "tools/call", &json!({ "name": "a" })).await;
        let error: Value = app.error(id).await;
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("iat is too far away"), "{error}");
        let told = error["data"]["hint"].as_str().expect("a hint");
        assert!(told.contains(hint), "{error}");
    }
    scene.behave(Dpop {
        clock_ahead: -9 * 60,
        ..Dpop::default()
    });
    app.request(10, "tools/list", &json!({})).await;
    app.result(10).await;
    app.finish().await;
    assert_eq!(scene.provider.seen("/authorize").len(), 1);
}

///
#[tokio::test]
async fn the_flag_binds_tokens_always_or_never() {
    for (flag, scheme) in [("required", "DPoP "), ("off", "Bearer ")] {
        let scene = Scene::new(Dpop {
            is_silent: flag == "required",
            ..Dpop::default()
        })
        .await;
        let app = scene.served(&["--dpop", flag]).await;
        app.finish().await;
        let requests = scene.requests();
        let last = requests.last().expect("a request");
        let header = header(last, "authorization").expect("a token");
        assert!(header.starts_with(scheme), "{flag}: {header}");
    }
}
