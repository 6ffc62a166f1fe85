//! Tokens that have to be accepted, and tokens that must not be, at the program itself: an issuer in this process, good
//! or forged tokens of it, and what the program answers over HTTP.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const CLIENT_ID: &str = "the resource server";
const CLIENT_SECRET: &str = "s%cret:with+signs";
/// `form-encoded(id):form-encoded(secret)`, in Base64 (RFC 6749 §2.3.1).
const CREDENTIALS: &str = "Basic dGhlK3Jlc291cmNlK3NlcnZlcjpzJTI1Y3JldCUzQXdpdGglMkJzaWducw==";

/// Variables that the tests must not take from their own environment.
const SETTINGS: [&str; 5] =
    ["RESOURCE", "SCOPES", "INTROSPECTION_CLIENT_ID", "INTROSPECTION_CLIENT_SECRET", "CACHE_SECONDS"];

/// A key of the issuer, with its id.
struct Key {
    id: &'static str,
    secret: EncodingKey,
}

impl Key {
    fn generate(id: &'static str) -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self { id, secret: EncodingKey::from_ec_der(pair.as_ref()) }
    }

    fn public(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.secret, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        jwk
    }

    fn header(&self) -> Header {
        Header { typ: Some("at+jwt".to_owned()), kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.secret).unwrap()
    }
}

/// The parts of an authorization server that a resource server sees.
struct Issuer {
    url: String,
    keys: Mutex<JwkSet>,
    /// False while it refuses to give its keys.
    answers: Mutex<bool>,
    /// Number of times that the keys were fetched.
    fetched: Mutex<u32>,
    /// Introspection response for each token.
    tokens: Mutex<HashMap<String, Value>>,
    introspected: Mutex<u32>,
}

impl Issuer {
    /// `path` is that of the issuer's URL, and `metadata` that of its metadata.
    async fn start_at(path: &str, metadata: &str, keys: &[&Key]) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Arc::new(Self {
            url: format!("http://{}{path}", listener.local_addr().unwrap()),
            keys: Mutex::new(JwkSet { keys: keys.iter().map(|key| key.public()).collect() }),
            answers: Mutex::new(true),
            fetched: Mutex::default(),
            tokens: Mutex::default(),
            introspected: Mutex::default(),
        });
        let app = Router::new()
            .route(metadata, get(describe))
            .route("/keys", get(give_keys))
            .route("/introspect", post(introspect))
            .with_state(issuer.clone());
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        issuer
    }

    async fn start(keys: &[&Key]) -> Arc<Self> {
        Self::start_at("", "/.well-known/oauth-authorization-server", keys).await
    }

    /// The claims of a good token for this resource.
    fn claims(&self, resource: &str) -> Value {
        json!({ "iss": self.url, "aud": resource, "sub": "ada", "scope": "mcp:use", "exp": now() + 3600, "nbf": now() - 5 })
    }
}

async fn describe(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let origin = url::Url::parse(&issuer.url).unwrap().origin().ascii_serialization();
    Json(json!({
        "issuer": issuer.url,
        "jwks_uri": format!("{origin}/keys"),
        "introspection_endpoint": format!("{origin}/introspect"),
    }))
}

async fn give_keys(State(issuer): State<Arc<Issuer>>) -> Result<Json<JwkSet>, StatusCode> {
    *issuer.fetched.lock().unwrap() += 1;
    let keys = issuer.keys.lock().unwrap().clone();
    if *issuer.answers.lock().unwrap() { Ok(Json(keys)) } else { Err(StatusCode::BAD_GATEWAY) }
}

async fn introspect(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Result<Json<Value>, StatusCode> {
    *issuer.introspected.lock().unwrap() += 1;
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != CREDENTIALS) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let known = issuer.tokens.lock().unwrap().get(&form["token"]).cloned();
    Ok(Json(known.unwrap_or_else(|| json!({ "active": false }))))
}

/// The program, with an issuer.
struct Server {
    process: Child,
    /// URL of its MCP endpoint.
    url: String,
}

impl Server {
    fn start(issuer: &str, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_resource-server"))
            .envs(SETTINGS.map(|name| (name, "")))
            .env("NO_PROXY", "127.0.0.1")
            .env("ISSUER", issuer)
            .env("LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { process, url: url.split_once(" at ").unwrap().0.to_owned() }
    }

    /// The answer to a call of `whoami` with these credentials.
    async fn call(&self, authorization: Option<&str>) -> Response {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami" } });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(&self.url).json(&call);
        let request = request.header(header::ACCEPT, "application/json, text/event-stream");
        let request = request.header("mcp-protocol-version", "2025-11-25");
        let request = authorization.into_iter().fold(request, |it, value| it.header(header::AUTHORIZATION, value));
        request.send().await.unwrap()
    }

    async fn is_accepted(&self, token: &str) {
        let answer = self.call(Some(&format!("Bearer {token}"))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.headers());
        let body = answer.text().await.unwrap();
        assert!(body.contains(r#"signed in as \"ada\""#), "{body}");
    }

    async fn is_refused(&self, what: &str, token: &str) {
        let answer = self.call(Some(&format!("Bearer {token}"))).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
        let challenge = challenge(&answer);
        assert!(challenge.starts_with(r#"Bearer error="invalid_token", error_description=""#), "{what}: {challenge}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn challenge(answer: &Response) -> &str {
    answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap()
}

async fn fetch(url: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(url).send().await.unwrap().json().await.unwrap()
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn without_a_token_the_client_learns_where_to_get_one() {
    let issuer = Issuer::start(&[]).await;
    let server = Server::start(&issuer.url, &[("SCOPES", "mcp:use files")]);
    let metadata = server.url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp");

    for authorization in [None, Some("Basic YTpi"), Some("Bearer")] {
        let answer = server.call(authorization).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(challenge(&answer), format!(r#"Bearer scope="mcp:use files", resource_metadata="{metadata}""#));
    }
    let document = fetch(&metadata).await;
    let expected = json!({
        "resource": server.url,
        "authorization_servers": [issuer.url],
        "scopes_supported": ["mcp:use", "files"],
        "bearer_methods_supported": ["header"],
    });
    assert_eq!(document, expected);
}

#[tokio::test]
async fn a_server_without_scopes_of_its_own_names_none() {
    let issuer = Issuer::start(&[]).await;
    let server = Server::start(&issuer.url, &[]);
    let metadata = server.url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp");
    let answer = server.call(None).await;
    assert_eq!(challenge(&answer), format!(r#"Bearer resource_metadata="{metadata}""#));
    assert_eq!(fetch(&metadata).await.get("scopes_supported"), None);
}

#[tokio::test]
async fn jwts_of_the_issuer_are_accepted_in_each_form_that_is_in_use() {
    let key = Key::generate("first");
    let issuer = Issuer::start(&[&key]).await;
    let server = Server::start(&issuer.url, &[("SCOPES", "mcp:use")]);
    let claims = issuer.claims(&server.url);

    for typ in [Some("at+jwt"), Some("application/at+JWT"), Some("JWT"), None] {
        let header = Header { typ: typ.map(str::to_owned), ..key.header() };
        server.is_accepted(&key.sign(&header, &claims)).await;
    }
    server.is_accepted(&key.sign(&Header { kid: None, ..key.header() }, &claims)).await;
    for (claim, value) in [
        ("aud", json!(["another", server.url])),
        ("scope", json!("openid mcp:use")),
        ("scope", json!(["openid", "mcp:use"])),
        ("nbf", json!(now() + 5)),
    ] {
        server.is_accepted(&key.sign(&key.header(), &with(&claims, claim, value))).await;
    }
    let with_scp = with(&without(&claims, "scope"), "scp", json!(["mcp:use"]));
    server.is_accepted(&key.sign(&key.header(), &with_scp)).await;
    assert_eq!(*issuer.fetched.lock().unwrap(), 1);
}

#[tokio::test]
async fn jwts_that_are_not_the_issuers_or_not_for_here_and_now_are_refused() {
    let key = Key::generate("first");
    let issuer = Issuer::start(&[&key]).await;
    let server = Server::start(&issuer.url, &[]);
    let claims = issuer.claims(&server.url);
    server.is_accepted(&key.sign(&key.header(), &claims)).await;

    for (claim, value) in [
        ("iss", json!("https://evil.example.com")),
        ("iss", json!(format!("{}/", issuer.url))),
        ("aud", json!("https://another.example.com/mcp")),
        ("aud", json!([issuer.url])),
        ("aud", json!(format!("{}/", server.url))),
        ("exp", json!(now() - 1)),
        ("exp", json!("never")),
        ("nbf", json!(now() + 3600)),
    ] {
        let what = format!("{claim}: {value}");
        server.is_refused(&what, &key.sign(&key.header(), &with(&claims, claim, value))).await;
    }
    for claim in ["iss", "aud", "exp"] {
        server.is_refused(claim, &key.sign(&key.header(), &without(&claims, claim))).await;
    }
    for typ in ["logout+jwt", "dpop+jwt"] {
        let header = Header { typ: Some(typ.to_owned()), ..key.header() };
        server.is_refused(typ, &key.sign(&header, &claims)).await;
    }
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..key.header() };
    server.is_refused("crit", &key.sign(&header, &claims)).await;
    server.is_refused("another key", &Key::generate("first").sign(&key.header(), &claims)).await;
    let public = key.public().algorithm;
    let public = serde_json::to_value(public).unwrap()["x"].as_str().unwrap().to_owned();
    let confused = Header { kid: key.header().kid, ..Header::new(Algorithm::HS256) };
    let confused = encode(
        &confused,
        &claims,
        &EncodingKey::from_base64_secret(&public).unwrap_or(EncodingKey::from_secret(public.as_bytes())),
    );
    server.is_refused("HS256 with the public key", &confused.unwrap()).await;
    let signed = key.sign(&key.header(), &claims);
    let (_, rest) = signed.split_once('.').unwrap();
    // {"alg":"none","typ":"at+jwt"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{rest}");
    server.is_refused("alg none", &none).await;
    server.is_refused("alg none, no signature", &format!("{}.", none.rsplit_once('.').unwrap().0)).await;
    server.is_refused("no JWT", "opaque").await;
}

#[tokio::test]
async fn a_token_without_the_scope_is_answered_with_403() {
    let key = Key::generate("first");
    let issuer = Issuer::start(&[&key]).await;
    let server = Server::start(&issuer.url, &[("SCOPES", "mcp:use files")]);
    let token = key.sign(&key.header(), &issuer.claims(&server.url));

    let answer = server.call(Some(&format!("Bearer {token}"))).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let expected = r#"Bearer error="insufficient_scope", scope="mcp:use files", resource_metadata=""#;
    assert!(challenge(&answer).starts_with(expected), "{}", challenge(&answer));
}

#[tokio::test]
async fn new_keys_of_the_issuer_are_noticed_and_withdrawn_ones_end() {
    let (first, second) = (Key::generate("first"), Key::generate("second"));
    let issuer = Issuer::start(&[&first]).await;
    let server = Server::start(&issuer.url, &[("CACHE_SECONDS", "0")]);
    let claims = issuer.claims(&server.url);
    server.is_accepted(&first.sign(&first.header(), &claims)).await;

    *issuer.keys.lock().unwrap() = JwkSet { keys: vec![second.public()] };
    server.is_accepted(&second.sign(&second.header(), &claims)).await;
    server.is_refused("withdrawn key", &first.sign(&first.header(), &claims)).await;
}

#[tokio::test]
async fn unknown_keys_do_not_make_it_ask_the_issuer_again_and_again() {
    let key = Key::generate("first");
    let issuer = Issuer::start(&[&key]).await;
    let server = Server::start(&issuer.url, &[("CACHE_SECONDS", "3600")]);
    let claims = issuer.claims(&server.url);

    let unknown = Key::generate("unknown");
    for _ in 0..5 {
        server.is_refused("unknown kid", &unknown.sign(&unknown.header(), &claims)).await;
    }
    server.is_accepted(&key.sign(&key.header(), &claims)).await;
    assert_eq!(*issuer.fetched.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_metadata_is_found_at_each_place_where_issuers_have_it() {
    let key = Key::generate("first");
    for place in [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
    ] {
        let issuer = Issuer::start_at("/tenant", place, &[&key]).await;
        let server = Server::start(&issuer.url, &[]);
        server.is_accepted(&key.sign(&key.header(), &issuer.claims(&server.url))).await;
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_no_fault_of_the_token() {
    let key = Key::generate("first");
    let nowhere = Issuer::start_at("", "/elsewhere", &[&key]).await;
    let server = Server::start(&nowhere.url, &[]);
    let token = key.sign(&key.header(), &nowhere.claims(&server.url));
    for _ in 0..2 {
        assert_eq!(server.call(Some(&format!("Bearer {token}"))).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn introspected_tokens_are_accepted_while_they_are_active_and_for_this_server() {
    let issuer = Issuer::start(&[]).await;
    let client = [("INTROSPECTION_CLIENT_ID", CLIENT_ID), ("INTROSPECTION_CLIENT_SECRET", CLIENT_SECRET)];
    let settings = [&client[..], &[("CACHE_SECONDS", "0"), ("SCOPES", "mcp:use")]].concat();
    let server = Server::start(&issuer.url, &settings);
    let active = with(&issuer.claims(&server.url), "active", json!(true));
    let tokens = [
        ("good", active.clone()),
        ("short", json!({ "active": true, "aud": [server.url], "sub": "ada", "scope": "mcp:use" })),
        ("wrong issuer", with(&active, "iss", json!("https://evil.example.com"))),
        ("wrong audience", with(&active, "aud", json!("https://another.example.com/mcp"))),
        ("no audience", without(&active, "aud")),
        ("not active", with(&active, "active", json!(false))),
        ("active in words", with(&active, "active", json!("true"))),
    ];
    issuer.tokens.lock().unwrap().extend(tokens.iter().map(|(name, claims)| ((*name).to_owned(), claims.clone())));

    server.is_accepted("good").await;
    server.is_accepted("short").await;
    for (token, _) in &tokens[2..] {
        server.is_refused(token, token).await;
    }
    server.is_refused("unknown", "unknown").await;
    issuer.tokens.lock().unwrap().remove("good");
    server.is_refused("revoked", "good").await;
}

#[tokio::test]
async fn an_introspected_token_is_remembered_for_a_while() {
    let issuer = Issuer::start(&[]).await;
    let client = [("INTROSPECTION_CLIENT_ID", CLIENT_ID), ("INTROSPECTION_CLIENT_SECRET", CLIENT_SECRET)];
    let server = Server::start(&issuer.url, &[&client[..], &[("CACHE_SECONDS", "3600")]].concat());
    let active = with(&issuer.claims(&server.url), "active", json!(true));
    issuer.tokens.lock().unwrap().insert("good".to_owned(), active);

    server.is_accepted("good").await;
    server.is_accepted("good").await;
    assert_eq!(*issuer.introspected.lock().unwrap(), 1);
}

#[tokio::test]
async fn an_introspected_token_is_not_remembered_beyond_its_end() {
    let issuer = Issuer::start(&[]).await;
    let client = [("INTROSPECTION_CLIENT_ID", CLIENT_ID), ("INTROSPECTION_CLIENT_SECRET", CLIENT_SECRET)];
    let server = Server::start(&issuer.url, &[&client[..], &[("CACHE_SECONDS", "3600")]].concat());
    let ends = with(&with(&issuer.claims(&server.url), "active", json!(true)), "exp", json!(now()));
    issuer.tokens.lock().unwrap().insert("ends".to_owned(), ends);

    server.is_accepted("ends").await;
    issuer.tokens.lock().unwrap().remove("ends");
    server.is_refused("ended", "ends").await;
}

#[tokio::test]
async fn keys_that_are_known_count_on_while_the_issuer_does_not_answer() {
    let (key, unknown) = (Key::generate("first"), Key::generate("unknown"));
    let issuer = Issuer::start(&[&key]).await;
    let server = Server::start(&issuer.url, &[("CACHE_SECONDS", "0")]);
    let claims = issuer.claims(&server.url);
    server.is_accepted(&key.sign(&key.header(), &claims)).await;

    *issuer.answers.lock().unwrap() = false;
    let token = unknown.sign(&unknown.header(), &claims);
    assert_eq!(server.call(Some(&format!("Bearer {token}"))).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    server.is_accepted(&key.sign(&key.header(), &claims)).await;
}

#[tokio::test]
async fn wrong_credentials_for_introspection_are_no_fault_of_the_token() {
    let issuer = Issuer::start(&[]).await;
    let client = [("INTROSPECTION_CLIENT_ID", CLIENT_ID), ("INTROSPECTION_CLIENT_SECRET", "wrong")];
    let server = Server::start(&issuer.url, &client);
    assert_eq!(server.call(Some("Bearer any")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}
