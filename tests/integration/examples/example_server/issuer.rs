//! The server with an authorization server elsewhere: tokens that let in, and tokens that must not. npm's oidc-provider is
//! the authorization server in `tests/foreign`.

use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use super::client::{Client, challenge, initialize};
use super::issuer_double::{CLIENT_ID, Issuer, Key, SECRET, encoded, now};
use crate::server::Token;
use crate::server::issuer::IntrospectionClient;

fn set(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    changed[name] = value;
    changed
}

fn without(claims: &Value, name: &str) -> Value {
    let mut changed = claims.clone();
    changed.as_object_mut().unwrap().remove(name);
    changed
}

async fn status(client: &Client, token: &str) -> StatusCode {
    client.try_token(token).await.0
}

#[tokio::test]
async fn tokens_of_the_issuer_let_in_and_the_server_issues_none() {
    let (p256, ed25519) = (Key::p256("one"), Key::ed25519("two"));
    // A path, as Keycloak and Entra ID have one, and a slash at the end, as Auth0.
    for path in ["", "/", "/realms/mcp"] {
        let issuer = Issuer::start(path, &[&p256, &ed25519]).await;
        let (server, client) = issuer.server(|_| {}).await;
        let (refused, told) = client.try_token("opaque").await;
        assert_eq!(refused, StatusCode::UNAUTHORIZED);
        assert!(!told.contains("scope="), "{told}");
        let document = client.get("/.well-known/oauth-protected-resource").send();
        let document: Value = document
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(document["authorization_servers"], json!([issuer.url()]));
        assert_eq!(document["scopes_supported"], Value::Null);
        for gone in ["/.well-known/oauth-authorization-server", "/authorize"] {
            let response = client.get(gone).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{gone}");
        }
        for gone in ["/token", "/register", "/revoke", "/consent", "/introspect"] {
            let response = client.post(gone).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{gone}");
        }

        let claims = issuer.claims(&server);
        let several = set(
            &claims,
            "aud",
            json!(["https://other.example", server.url()]),
        );
        for good in [
            p256.sign(&claims),
            ed25519.sign(&claims),
            p256.sign(&several),
            p256.sign_with(&without(&p256.header(), "typ"), &claims),
            p256.sign_with(&set(&p256.header(), "typ", json!("JWT")), &claims),
            p256.sign_with(&without(&p256.header(), "kid"), &claims),
        ] {
            assert_eq!(status(&client, &good).await, StatusCode::OK, "{path}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_token_with_one_thing_wrong_lets_nobody_in() {
    let (key, other) = (Key::p256("one"), Key::p256("one"));
    let issuer = Issuer::start("", &[&key]).await;
    let (server, client) = issuer.server(|_| {}).await;
    let claims = issuer.claims(&server);
    let header = key.header();
    let good = key.sign(&claims);
    assert_eq!(status(&client, &good).await, StatusCode::OK);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other_claims = encoded(set(&claims, "sub", json!("root")).to_string().as_bytes());
    let first = signed.split('.').next().unwrap();
    for (what, token) in [
        ("a signature of another key", other.sign(&claims)),
        ("no signature", format!("{signed}.")),
        (
            "other claims",
            format!("{first}.{other_claims}.{signature}"),
        ),
        (
            "alg none",
            key.sign_with(&set(&header, "alg", json!("none")), &claims),
        ),
        (
            "alg HS256",
            key.sign_with(&set(&header, "alg", json!("HS256")), &claims),
        ),
        (
            "alg of another key type",
            key.sign_with(&set(&header, "alg", json!("RS256")), &claims),
        ),
        (
            "typ of a logout token",
            key.sign_with(&set(&header, "typ", json!("logout+jwt")), &claims),
        ),
        (
            "an unknown critical header",
            key.sign_with(&set(&header, "crit", json!(["b64"])), &claims),
        ),
        (
            "another issuer",
            key.sign(&set(&claims, "iss", json!("https://evil.example"))),
        ),
        ("no issuer", key.sign(&without(&claims, "iss"))),
        (
            "another audience",
            key.sign(&set(&claims, "aud", json!("https://other.example/mcp"))),
        ),
        ("no audience", key.sign(&without(&claims, "aud"))),
        (
            "an end in the past",
            key.sign(&set(&claims, "exp", json!(now() - 1))),
        ),
        ("no end", key.sign(&without(&claims, "exp"))),
        (
            "a beginning in the future",
            key.sign(&set(&claims, "nbf", json!(now() + 3600))),
        ),
        ("no account", key.sign(&without(&claims, "sub"))),
        (
            "a key that it is bound to",
            key.sign(&set(&claims, "cnf", json!({"jkt": "x"}))),
        ),
        ("no JWT", "opaque".to_owned()),
    ] {
        let (status, challenge) = client.try_token(&token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}");
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{what}: {challenge}"
        );
        assert!(
            challenge.contains("resource_metadata="),
            "{what}: {challenge}"
        );
    }
    assert_eq!(status(&client, &good).await, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_unknown_ones_do_not_flood_the_issuer() {
    let (old, new) = (Key::p256("old"), Key::p256("new"));
    let issuer = Issuer::start("", &[&old]).await;
    let (server, client) = issuer.server(|_| {}).await;
    let claims = issuer.claims(&server);
    assert_eq!(status(&client, &old.sign(&claims)).await, StatusCode::OK);
    issuer.change(|state| state.keys = vec![new.public()]);
    assert_eq!(status(&client, &new.sign(&claims)).await, StatusCode::OK);
    // The old one is withdrawn.
    assert_eq!(
        status(&client, &old.sign(&claims)).await,
        StatusCode::UNAUTHORIZED
    );
    let unknown = Key::p256("unknown").sign(&claims);
    let mut last = StatusCode::OK;
    for _ in 0..20 {
        last = status(&client, &unknown).await;
    }
    // Nobody knows then whether the issuer has this key by now.
    assert_eq!(last, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(issuer.change(|state| state.fetches), 6);
    assert_eq!(status(&client, &new.sign(&claims)).await, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn an_issuer_that_is_down_ends_no_sign_in() {
    let (key, next) = (Key::p256("one"), Key::p256("two"));
    let issuer = Issuer::start("", &[&key]).await;
    issuer.change(|state| state.is_down = true);
    let (server, client) = issuer.server(|_| {}).await;
    let claims = issuer.claims(&server);
    let request = client.mcp(&key.sign(&claims), &initialize());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(challenge(&response), "");
    issuer.change(|state| state.is_down = false);
    assert_eq!(status(&client, &key.sign(&claims)).await, StatusCode::OK);
    issuer.change(|state| state.is_down = true);
    // Keys that are known go on.
    assert_eq!(status(&client, &key.sign(&claims)).await, StatusCode::OK);
    let unknown = status(&client, &next.sign(&claims)).await;
    assert_eq!(unknown, StatusCode::SERVICE_UNAVAILABLE);
    server.stop().await;
}

/// As Entra ID has it: the audience is no URL, scopes are asked for with a prefix, and tokens have them without.
#[tokio::test]
async fn a_token_that_lacks_a_scope_is_told_under_which_name_to_ask_for_it() {
    let key = Key::p256("one");
    let issuer = Issuer::start("/tenant/v2.0", &[&key]).await;
    let (server, client) = issuer
        .server(|settings| {
            settings.audiences = vec!["an application".to_owned()];
            settings.required_scopes = vec!["mcp.use".to_owned()];
            settings.scope_prefix = "api://mcp/".to_owned();
        })
        .await;
    let claims = set(&issuer.claims(&server), "aud", json!("an application"));
    for (name, value, expected) in [
        ("scp", json!("mcp.use"), StatusCode::OK),
        ("scp", json!(["mcp.use", "more"]), StatusCode::OK),
        ("scope", json!("more mcp.use"), StatusCode::OK),
        ("scope", json!("mcp.user"), StatusCode::FORBIDDEN),
        ("roles", json!(["mcp.use"]), StatusCode::FORBIDDEN),
    ] {
        let token = key.sign(&set(&claims, name, value));
        let (status, challenge) = client.try_token(&token).await;
        assert_eq!(status, expected, "{name} {challenge}");
        let asked = challenge.contains(r#"scope="api://mcp/mcp.use""#);
        assert_eq!(asked, expected == StatusCode::FORBIDDEN, "{challenge}");
    }
    let document = client.get("/.well-known/oauth-protected-resource").send();
    let document: Value = document
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(document["scopes_supported"], json!(["api://mcp/mcp.use"]));

    let coffee = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "order-coffee"}});
    let token = key.sign(&set(&claims, "scp", json!("mcp.use")));
    let response = client.mcp(&token, &coffee).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let challenge = challenge(&response);
    let scopes = r#"scope="api://mcp/mcp.use api://mcp/coffee""#;
    assert!(challenge.contains(scopes), "{challenge}");
    server.stop().await;
}

#[tokio::test]
async fn an_introspected_token_ends_when_it_is_revoked() {
    let issuer = Issuer::start("", &[]).await;
    let client_of = |secret: &str| IntrospectionClient {
        id: CLIENT_ID.to_owned(),
        secret: Token::from(secret.to_owned()),
    };
    let (server, client) = issuer
        .server(|settings| settings.introspection_client = Some(client_of(SECRET)))
        .await;
    let active = set(&issuer.claims(&server), "active", json!(true));
    let (lapsed, past) = (json!(now() - 1), json!(now() + 60));
    for (token, answer, expected) in [
        ("good", active.clone(), StatusCode::OK),
        ("without issuer", without(&active, "iss"), StatusCode::OK),
        ("ends later", set(&active, "exp", past), StatusCode::OK),
        (
            "another issuer",
            set(&active, "iss", json!("https://evil.example")),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "another audience",
            set(&active, "aud", json!("https://other.example")),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "no audience",
            without(&active, "aud"),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "lapsed",
            set(&active, "exp", lapsed),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "bound",
            set(&active, "cnf", json!({"jkt": "x"})),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "active in words",
            set(&active, "active", json!("true")),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "unknown",
            json!({"active": false}),
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        issuer.change(|state| state.tokens.insert(token.replace(' ', "-"), answer));
        let met = status(&client, &token.replace(' ', "-")).await;
        assert_eq!(met, expected, "{token}");
    }
    // As when the issuer closes a kept connection while the request is on its way.
    issuer.change(|state| state.broken_connections = 1);
    assert_eq!(status(&client, "good").await, StatusCode::OK);
    issuer.change(|state| state.broken_connections = 2);
    let unknown = status(&client, "good").await;
    assert_eq!(unknown, StatusCode::SERVICE_UNAVAILABLE);
    issuer.change(|state| state.tokens.remove("good"));
    assert_eq!(status(&client, "good").await, StatusCode::UNAUTHORIZED);
    server.stop().await;

    // Wrong credentials are the operator's mistake, and no reason for a client to sign in again.
    let (server, client) = issuer
        .server(|settings| settings.introspection_client = Some(client_of("wrong")))
        .await;
    assert_eq!(
        status(&client, "good").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    server.stop().await;
}
