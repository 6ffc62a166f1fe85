//! An authorization server as a resource server sees it: metadata, keys and introspection, as the test says.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{StatusCode, header};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;

use super::client::{Client, basic, options};
use crate::server::issuer::IssuerSettings;
use crate::server::{Options, Server};

pub(super) const CLIENT_ID: &str = "mcp server";
pub(super) const SECRET: &str = "s%cret: of the server";

/// A key of the issuer.
pub(super) struct Key {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    pub(super) fn p256(id: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        let pair = Pair::P256(pair);
        Self { id, pair }
    }

    pub(super) fn ed25519(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let pair = Pair::Ed25519(pair);
        Self { id, pair }
    }

    pub(super) fn public(&self) -> Value {
        match &self.pair {
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
                    "x": encoded(&point[1..33]), "y": encoded(&point[33..]),
                })
            }
            Pair::Ed25519(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": encoded(pair.public_key().as_ref()),
            }),
        }
    }

    pub(super) fn header(&self) -> Value {
        let algorithm = match self.pair {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        };
        json!({ "alg": algorithm, "typ": "at+jwt", "kid": self.id })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    pub(super) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| encoded(part.to_string().as_bytes()));
        let message = format!("{header}.{claims}");
        let signature = match &self.pair {
            Pair::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message.as_bytes());
                encoded(signature.unwrap().as_ref())
            }
            Pair::Ed25519(pair) => encoded(pair.sign(message.as_bytes()).as_ref()),
        };
        format!("{message}.{signature}")
    }
}

pub(super) fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// The parts of an authorization server that a resource server sees.
#[derive(Default)]
pub(super) struct IssuerState {
    url: String,
    pub(super) keys: Vec<Value>,
    pub(super) is_down: bool,
    pub(super) fetches: u32,
    /// Introspection response for each token.
    pub(super) tokens: HashMap<String, Value>,
    /// Number of introspection requests whose connection is closed without a response.
    pub(super) broken_connections: u32,
}

pub(super) struct Issuer {
    state: Arc<Mutex<IssuerState>>,
}

type Shared = State<Arc<Mutex<IssuerState>>>;

impl Issuer {
    /// `path` is that of its identifier.
    pub(super) async fn start(path: &str, keys: &[&Key]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(IssuerState {
            url: format!("http://{address}{path}"),
            keys: keys.iter().map(|key| key.public()).collect(),
            ..IssuerState::default()
        }));
        let path = path.trim_end_matches('/');
        let metadata = format!("{path}/.well-known/openid-configuration");
        let router = Router::new()
            .route(&metadata, get(describe))
            .route("/keys", get(give_keys))
            .route("/introspect", post(introspect))
            .with_state(Arc::clone(&state));
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { state }
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut IssuerState) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub(super) fn url(&self) -> String {
        self.change(|state| state.url.clone())
    }

    /// The server with this issuer, and a client of it.
    pub(super) async fn server(
        &self,
        change: impl FnOnce(&mut IssuerSettings),
    ) -> (Server, Client) {
        let mut settings = IssuerSettings {
            identifier: self.url().parse().unwrap(),
            audiences: Vec::new(),
            required_scopes: Vec::new(),
            scope_prefix: String::new(),
            introspection_client: None,
        };
        change(&mut settings);
        let server = Server::start(Options {
            issuer: Some(settings),
            ..options()
        });
        let server = server.await.unwrap();
        let client = Client::unknown(&server);
        (server, client)
    }

    /// Claims of a good token for the server.
    pub(super) fn claims(&self, server: &Server) -> Value {
        json!({
            "iss": self.url(), "aud": server.url(), "sub": "an account", "client_id": "an app",
            "name": "Ada Lovelace", "exp": now() + 3600, "nbf": now() - 5,
        })
    }
}

async fn describe(State(issuer): Shared) -> Json<Value> {
    let url = issuer.lock().unwrap().url.clone();
    let origin = url::Url::parse(&url).unwrap().origin();
    let origin = origin.ascii_serialization();
    Json(json!({
        "issuer": url, "jwks_uri": format!("{origin}/keys"),
        "introspection_endpoint": format!("{origin}/introspect"),
    }))
}

async fn give_keys(State(issuer): Shared) -> Result<Json<Value>, StatusCode> {
    let mut issuer = issuer.lock().unwrap();
    issuer.fetches += 1;
    if issuer.is_down {
        return Err(StatusCode::BAD_GATEWAY);
    }
    Ok(Json(json!({ "keys": issuer.keys })))
}

async fn introspect(
    State(issuer): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, StatusCode> {
    if headers[header::AUTHORIZATION] != basic(CLIENT_ID, SECRET) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let form: HashMap<_, _> = form_urlencoded::parse(&body).into_owned().collect();
    let mut issuer = issuer.lock().unwrap();
    if issuer.broken_connections > 0 {
        issuer.broken_connections -= 1;
        drop(issuer);
        // The task of the connection ends, without the message of a panic.
        std::panic::resume_unwind(Box::new("a broken connection"));
    }
    let inactive = json!({ "active": false });
    Ok(Json(
        issuer
            .tokens
            .get(&form["token"])
            .unwrap_or(&inactive)
            .clone(),
    ))
}
