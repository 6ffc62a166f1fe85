//! An OpenID provider of a company that answers for its people at other authorization servers, strict about what a client owes it,
//! and with faults on request.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use url::Url;

/// The client that is registered there.
pub const IDP_CLIENT: &str = "bridge at the identity provider";

/// Its secret.
pub const IDP_SECRET: &str = "idp-secret-MARKER";

/// The same program at the authorization servers.
pub const SERVER_CLIENT: &str = "bridge";

const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:";

/// The double; it ends when it is dropped.
pub struct OpenIdProvider {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    server: tokio::task::AbortHandle,
}

/// Faults and settings, which a test changes while it runs.
pub struct ProviderBehaviour {
    /// Claims of the ID token to set, or with null to remove.
    pub claims: Value,
    /// Seconds that an ID token lives.
    pub lifetime: u64,
    /// ID tokens are signed with a key that is not published.
    pub signs_with_other_key: bool,
    /// There are refresh tokens.
    pub issues_refresh_tokens: bool,
    /// A refresh brings an ID token.
    pub renews_id_tokens: bool,
    /// Errors of the exchange, first come first served; then it works.
    pub exchange_errors: Vec<(&'static str, &'static str)>,
    /// The exchange always fails so.
    pub exchange_outage: Option<(&'static str, &'static str)>,
    /// Type of what the exchange issues.
    pub issued_token_type: &'static str,
}

struct Inner {
    behaviour: ProviderBehaviour,
    keys: [EcdsaKeyPair; 2],
    codes: HashMap<String, HashMap<String, String>>,
    refresh_tokens: HashSet<String>,
    used: HashSet<String>,
    exchanges: Vec<HashMap<String, String>>,
    sign_ins: usize,
    refreshes: usize,
    counter: u64,
}

type Shared = (SocketAddr, Arc<Mutex<Inner>>);
type Form = HashMap<String, String>;

impl Drop for OpenIdProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl OpenIdProvider {
    /// Starts it at a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner {
            behaviour: ProviderBehaviour {
                claims: json!({}),
                lifetime: 600,
                signs_with_other_key: false,
                issues_refresh_tokens: true,
                renews_id_tokens: true,
                exchange_errors: Vec::new(),
                exchange_outage: None,
                issued_token_type: "id-jag",
            },
            keys: [new_key(), new_key()],
            codes: HashMap::new(),
            refresh_tokens: HashSet::new(),
            used: HashSet::new(),
            exchanges: Vec::new(),
            sign_ins: 0,
            refreshes: 0,
            counter: 0,
        }));
        let app = Router::new()
            .fallback(answer)
            .with_state((address, Arc::clone(&inner)));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            inner,
            server: server.abort_handle(),
        }
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what it does from now on.
    pub fn behave(&self, change: impl FnOnce(&mut ProviderBehaviour)) {
        change(&mut self.lock().behaviour);
    }

    /// Sign-ins so far.
    pub fn sign_ins(&self) -> usize {
        self.lock().sign_ins
    }

    /// Refreshes so far.
    pub fn refreshes(&self) -> usize {
        self.lock().refreshes
    }

    /// Requests to exchange a token so far.
    pub fn exchanges(&self) -> Vec<HashMap<String, String>> {
        self.lock().exchanges.clone()
    }

    /// An ID token, as a sign-in elsewhere would bring it.
    pub fn id_token(&self) -> String {
        let issuer = self.issuer();
        self.lock().id_token(&issuer, None)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

fn new_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
}

async fn answer(State((address, inner)): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let pairs = |text: &[u8]| -> Form { url::form_urlencoded::parse(text).into_owned().collect() };
    let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
    let issuer = format!("http://{address}");
    let mut inner = inner.lock().unwrap();
    match parts.uri.path() {
        "/.well-known/openid-configuration" => axum::Json(json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "scopes_supported": ["openid", "offline_access"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": true,
        }))
        .into_response(),
        "/jwks" => inner.jwks(),
        "/authorize" => inner.authorize(&issuer, query),
        "/token" => inner.token(&issuer, &parts.headers, &pairs(&body)),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn error(code: &str, words: &str) -> Response {
    let body = json!({ "error": code, "error_description": words });
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

impl Inner {
    fn jwks(&self) -> Response {
        let point = self.keys[0].public_key().as_ref();
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "1", "x": x, "y": y});
        axum::Json(json!({ "keys": [key] })).into_response()
    }

    /// Nobody has to sign in by hand. An OpenID provider knows nothing of MCP servers.
    fn authorize(&mut self, issuer: &str, query: Form) -> Response {
        assert_eq!(query["client_id"], IDP_CLIENT);
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["code_challenge_method"], "S256");
        assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
        assert!(!query["nonce"].is_empty());
        assert!(!query.contains_key("resource"), "{query:?}");
        self.sign_ins += 1;
        let code = self.fresh("code");
        let mut target = Url::parse(&query["redirect_uri"]).unwrap();
        target.query_pairs_mut().extend_pairs([
            ("code", code.as_str()),
            ("state", &query["state"]),
            ("iss", issuer),
        ]);
        self.codes.insert(code, query);
        Redirect::to(target.as_str()).into_response()
    }

    fn token(&mut self, issuer: &str, headers: &HeaderMap, form: &Form) -> Response {
        let encode =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(IDP_CLIENT), encode(IDP_SECRET));
        let expected = format!("Basic {}", BASE64_STANDARD.encode(pair));
        if headers
            .get(header::AUTHORIZATION)
            .is_none_or(|it| it != expected.as_str())
        {
            return error("invalid_client", "not proven");
        }
        match form["grant_type"].as_str() {
            "authorization_code" => {
                let Some(request) = self.codes.remove(&form["code"]) else {
                    return error("invalid_grant", "used up");
                };
                let digest = Sha256::digest(&form["code_verifier"]);
                assert_eq!(
                    request["code_challenge"],
                    BASE64_URL_SAFE_NO_PAD.encode(digest)
                );
                assert_eq!(request["redirect_uri"], form["redirect_uri"]);
                let id_token = self.id_token(issuer, Some(&request["nonce"]));
                self.issue(Some(id_token))
            }
            "refresh_token" => {
                let token = &form["refresh_token"];
                if self.used.contains(token) {
                    self.refresh_tokens.clear();
                }
                if !self.refresh_tokens.remove(token) {
                    return error("invalid_grant", "used up");
                }
                self.used.insert(token.clone());
                self.refreshes += 1;
                let renews = self.behaviour.renews_id_tokens;
                let id_token = renews.then(|| self.id_token(issuer, None));
                self.issue(id_token)
            }
            _ => self.exchange(issuer, form),
        }
    }

    fn issue(&mut self, id_token: Option<String>) -> Response {
        let mut reply = json!({
            "access_token": self.fresh("access"), "token_type": "Bearer", "expires_in": 60,
        });
        if let Some(id_token) = id_token {
            reply["id_token"] = id_token.into();
        }
        if self.behaviour.issues_refresh_tokens {
            let token = self.fresh("refresh");
            self.refresh_tokens.insert(token.clone());
            reply["refresh_token"] = token.into();
        }
        axum::Json(reply).into_response()
    }

    fn exchange(&mut self, issuer: &str, form: &Form) -> Response {
        assert_eq!(
            form["grant_type"],
            "urn:ietf:params:oauth:grant-type:token-exchange"
        );
        assert_eq!(form["requested_token_type"], format!("{TOKEN_TYPE}id-jag"));
        self.exchanges.push(form.clone());
        let errors = &mut self.behaviour.exchange_errors;
        let next = (!errors.is_empty()).then(|| errors.remove(0));
        if let Some((code, words)) = self.behaviour.exchange_outage.or(next) {
            return error(code, words);
        }
        if form["subject_token_type"] == format!("{TOKEN_TYPE}refresh_token") {
            assert!(self.refresh_tokens.contains(&form["subject_token"]));
        } else {
            assert_eq!(form["subject_token_type"], format!("{TOKEN_TYPE}id_token"));
            assert_eq!(form["subject_token"].split('.').count(), 3);
        }
        let header = json!({"alg": "ES256", "typ": "oauth-id-jag+jwt"});
        let claims = json!({
            "iss": issuer, "sub": "17", "aud": form["audience"], "client_id": SERVER_CLIENT,
            "resource": form["resource"], "jti": self.fresh("jag"),
        });
        axum::Json(json!({
            "access_token": signed(&self.keys[0], &header, &claims),
            "issued_token_type": format!("{TOKEN_TYPE}{}", self.behaviour.issued_token_type),
            "token_type": "N_A",
            "expires_in": 60,
        }))
        .into_response()
    }

    fn id_token(&self, issuer: &str, nonce: Option<&str>) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap().as_secs();
        let mut claims = json!({
            "iss": issuer, "aud": IDP_CLIENT, "sub": "17", "email": "ada@company.example",
            "iat": now, "exp": now + self.behaviour.lifetime, "jti": self.counter,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        for (name, value) in self.behaviour.claims.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let key = &self.keys[usize::from(self.behaviour.signs_with_other_key)];
        signed(key, &json!({"alg": "ES256", "kid": "1"}), &claims)
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.counter += 1;
        format!("{kind}-MARKER-{}", self.counter)
    }
}

fn signed(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
