//! An MCP server with its authorization server, strict about what a client owes them, and with faults on request.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use url::Url;

use crate::modern;

/// An MCP server and its authorization server at one address, strict about everything a client owes them.
#[derive(Clone)]
pub struct AuthorizationServer {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    _server: Arc<AbortOnDrop>,
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the provider does instead of the right thing. Changed while it runs.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Behaviour {
    /// Replaces or removes members of the protected resource metadata.
    pub resource_metadata: Value,
    /// Replaces or removes members of the authorization server metadata.
    pub server_metadata: Value,
    /// Answers of the token endpoint, first come first served; then it works.
    pub token_replies: Vec<TokenReply>,
    /// The token endpoint answers all requests like this.
    pub token_outage: Option<TokenReply>,
    /// Seconds that tokens live, told and enforced.
    pub token_lifetime: Option<u64>,
    /// What the 401 says beyond `Bearer`.
    pub challenge: Challenge,
    /// Where the challenge says that the metadata lies, instead of the right place.
    pub named_metadata: Option<String>,
    /// The challenges of the 401, line by line, instead of the right one: name and value of the header.
    pub challenge_lines: Option<Vec<(&'static str, String)>>,
    /// Paths that answer with this document.
    pub documents: HashMap<String, Value>,
    /// Paths that redirect.
    pub redirects: HashMap<String, String>,
    /// The scope that `/mcp` asks for.
    pub required_scope: Option<String>,
    /// Members of the answer to the authorization request to set, or with null to remove.
    pub authorization_response: Value,
    /// Members of the registration answer to set, or with null to remove.
    pub registration_reply: Value,
    /// The status of the registration endpoint, if not 201.
    pub registration_status: Option<u16>,
    /// Paths that answer with this status and text, whatever is asked.
    pub broken_paths: HashMap<String, (u16, String)>,
    /// Whether refresh tokens are issued.
    pub grants: Grants,
    /// Whether `resource` is refused, as Entra ID does.
    pub refuses_resource: bool,
    /// Scopes that the authorization endpoint knows; None knows all.
    pub known_scopes: Option<Vec<String>>,
    /// `/mcp` answers 403 with this challenge.
    pub forbids: Option<String>,
    /// What a person at another device did with the code so far.
    pub device: Device,
    /// How clients have to authenticate, whatever the metadata says.
    pub authentication: Authentication,
    /// Codes are used up also by requests of clients that are refused.
    pub loses_codes_of_refused_clients: bool,
    /// No client without a secret is registered.
    pub registers_no_public_client: bool,
    /// The scope that is granted, whatever is asked for.
    pub granted_scope: Option<String>,
    /// Clients that the authorization endpoint no longer knows answer this.
    pub forgotten_client_status: u16,
    /// Where the authorization endpoint sends the browser of clients that it no longer knows, instead.
    pub forgotten_client_page: Option<String>,
    /// `/mcp` wants no token.
    pub is_open: bool,
    /// Who signs in, as an ID token tells it.
    pub user: Option<String>,
    /// Stands before the body of every answer that has one.
    pub body_prefix: &'static str,
    /// Time after which a token that was issued is on its way.
    pub token_delay: Option<Duration>,
    /// `/mcp` opens a session, refuses its notifications once the session is being ended (DELETE), and ends it once that
    /// has led to a token request.
    pub refuses_at_the_end: bool,
}

/// How clients authenticate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// By the id and, if there is one, the secret, in the header or in the body.
    Any,
    /// The secret belongs in the body.
    OnlyPost,
    /// The secret belongs in the header, and the id must not stand in the body, too.
    OnlyBasic,
    /// As the Python SDK has it: by the registered method; the id always has to be in the body, and at the
    /// revocation endpoint a `client_secret` as well.
    LikePythonSdk,
    /// The id alone, although there may be a secret, as canaille has it.
    OnlyId,
    /// Clients without a secret are registered, and refused afterwards.
    OnlyConfidential,
}

/// What a person at another device did with the code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Waiting,
    Approved,
    Refused,
}

/// What the 401 tells about the metadata.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    Metadata,
    Bare,
    /// There is no challenge at all.
    Missing,
}

/// What a grant consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Grants {
    RotatingRefreshTokens,
    AccessTokensOnly,
}

/// An answer of the token endpoint.
#[derive(Clone)]
pub struct TokenReply {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl TokenReply {
    pub fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({ "error": code }))
    }

    pub fn page(status: u16, text: &str) -> Self {
        Self {
            status,
            content_type: "text/html",
            headers: Vec::new(),
            body: text.to_owned(),
        }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body: body.to_string(),
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            resource_metadata: json!({}),
            server_metadata: json!({}),
            token_replies: Vec::new(),
            token_outage: None,
            token_lifetime: None,
            challenge: Challenge::Metadata,
            named_metadata: None,
            challenge_lines: None,
            documents: HashMap::new(),
            redirects: HashMap::new(),
            required_scope: None,
            authorization_response: json!({}),
            registration_reply: json!({}),
            registration_status: None,
            broken_paths: HashMap::new(),
            grants: Grants::RotatingRefreshTokens,
            refuses_resource: false,
            known_scopes: None,
            forbids: None,
            device: Device::Waiting,
            authentication: Authentication::Any,
            loses_codes_of_refused_clients: false,
            registers_no_public_client: false,
            granted_scope: None,
            forgotten_client_status: 400,
            forgotten_client_page: None,
            is_open: false,
            user: None,
            body_prefix: "",
            token_delay: None,
            refuses_at_the_end: false,
        }
    }
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: HeaderMap,
    pub form: HashMap<String, String>,
    pub body: String,
}

#[derive(Default)]
struct Inner {
    behaviour: Behaviour,
    seen: Vec<Seen>,
    clients: HashMap<String, Client>,
    codes: HashMap<String, Grant>,
    refresh_tokens: HashMap<String, Grant>,
    used_refresh_tokens: HashSet<String>,
    access_tokens: HashMap<String, (Grant, std::time::Instant)>,
    counter: u64,
    /// True once the session is being ended.
    is_ending: bool,
    /// True once a notification waits for that.
    has_late_notification: bool,
}

#[derive(Clone)]
struct Client {
    secret: Option<String>,
    redirect_uris: Vec<String>,
    /// `token_endpoint_auth_method`
    method: String,
    /// None for a client that was registered by hand, and may do anything.
    grant_types: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Grant {
    client_id: String,
    redirect_uri: String,
    challenge: String,
    resource: Option<String>,
    scope: String,
}

impl AuthorizationServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner::default()));
        let app = Router::new()
            .fallback(answer)
            .with_state((address, Arc::clone(&inner)));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            inner,
            _server: Arc::new(AbortOnDrop(server.abort_handle())),
        }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn mcp_url(&self) -> Url {
        Url::parse(&format!("{}/mcp", self.origin())).unwrap()
    }

    /// Changes what it does from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.lock().behaviour);
    }

    /// All requests so far to `path`.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let inner = self.lock();
        inner
            .seen
            .iter()
            .filter(|seen| seen.path == path)
            .cloned()
            .collect()
    }

    /// The paths of all requests so far, in order, beside `/mcp`.
    pub fn paths(&self) -> Vec<String> {
        let inner = self.lock();
        inner
            .seen
            .iter()
            .map(|seen| seen.path.clone())
            .filter(|path| path != "/mcp")
            .collect()
    }

    /// Token requests with a refresh token so far.
    pub fn refreshes(&self) -> usize {
        count_refreshes(&self.lock())
    }

    /// True once a notification waits for the end of the session: see [`Behaviour::refuses_at_the_end`].
    pub fn has_late_notification(&self) -> bool {
        self.lock().has_late_notification
    }

    /// The refresh token that is good now.
    pub fn last_refresh_token(&self) -> String {
        let inner = self.lock();
        inner.refresh_tokens.keys().next().unwrap().clone()
    }

    /// Forgets all access tokens, as a restarted server does.
    pub fn revoke_access_tokens(&self) {
        self.lock().access_tokens.clear();
    }

    /// Forgets refresh tokens, too: only a person can help now.
    pub fn revoke_all(&self) {
        let mut inner = self.lock();
        inner.access_tokens.clear();
        inner.refresh_tokens.clear();
    }

    /// Forgets all clients.
    pub fn forget_clients(&self) {
        self.lock().clients.clear();
    }

    /// Registers a client by hand.
    pub fn register(&self, id: &str, secret: Option<&str>, redirect_uri: &str) {
        let client = Client {
            secret: secret.map(Into::into),
            redirect_uris: vec![redirect_uri.into()],
            method: "client_secret_basic".into(),
            grant_types: None,
        };
        self.lock().clients.insert(id.into(), client);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

fn count_refreshes(inner: &Inner) -> usize {
    let is_refresh = |seen: &&Seen| {
        let grant = seen.form.get("grant_type");
        seen.path == "/token" && grant.is_some_and(|grant| grant == "refresh_token")
    };
    inner.seen.iter().filter(is_refresh).count()
}

type Shared = (SocketAddr, Arc<Mutex<Inner>>);

async fn answer(State((address, inner)): State<Shared>, request: Request) -> Response {
    let (prefix, delay, refuses_at_the_end) = {
        let behaviour = &inner.lock().unwrap().behaviour;
        (
            behaviour.body_prefix,
            behaviour.token_delay,
            behaviour.refuses_at_the_end,
        )
    };
    let is_token_request = request.uri().path() == "/token";
    if refuses_at_the_end && request.uri().path() == "/mcp" {
        return answer_at_the_end(address, inner, request).await;
    }
    let response = answer_without_prefix(address, inner, request).await;
    if let Some(delay) = delay.filter(|_| is_token_request) {
        tokio::time::sleep(delay).await;
    }
    if prefix.is_empty() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    if body.is_empty() {
        return Response::from_parts(head, body.into());
    }
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, [prefix.as_bytes(), &body].concat().into())
}

async fn answer_at_the_end(
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    request: Request,
) -> Response {
    if request.method() == Method::DELETE {
        let refreshes = count_refreshes(&inner.lock().unwrap());
        inner.lock().unwrap().is_ending = true;
        until(&inner, |inner| count_refreshes(inner) > refreshes).await;
        return StatusCode::OK.into_response();
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    if message["method"] == "notifications/late" {
        inner.lock().unwrap().has_late_notification = true;
        until(&inner, |inner| inner.is_ending).await;
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let request = Request::from_parts(parts, body.into());
    let mut response = answer_without_prefix(address, Arc::clone(&inner), request).await;
    if message["method"] == "initialize" {
        let id = HeaderValue::from_static("session-1");
        response.headers_mut().insert("mcp-session-id", id);
    }
    response
}

async fn until(inner: &Mutex<Inner>, is_so: impl Fn(&Inner) -> bool) {
    while !is_so(&inner.lock().unwrap()) {
        tokio::task::yield_now().await;
    }
}

async fn answer_without_prefix(
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = to_bytes(body, 1 << 20).await.unwrap();
    let pairs = |text: &[u8]| -> HashMap<String, String> {
        url::form_urlencoded::parse(text).into_owned().collect()
    };
    let seen = Seen {
        path: parts.uri.path().into(),
        query: pairs(parts.uri.query().unwrap_or_default().as_bytes()),
        headers: parts.headers,
        form: pairs(&body),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut inner = inner.lock().unwrap();
    inner.seen.push(seen.clone());
    if let Some((status, text)) = inner.behaviour.broken_paths.get(&seen.path) {
        return (StatusCode::from_u16(*status).unwrap(), text.clone()).into_response();
    }
    if let Some(target) = inner.behaviour.redirects.get(&seen.path) {
        return Redirect::to(target).into_response();
    }
    if let Some(document) = inner.behaviour.documents.get(&seen.path) {
        return axum::Json(document.clone()).into_response();
    }
    let origin = format!("http://{address}");
    match seen.path.as_str() {
        "/mcp" => inner.mcp(&origin, &seen),
        "/.well-known/oauth-protected-resource/mcp" => inner.resource_metadata(&origin),
        "/.well-known/oauth-authorization-server" => inner.server_metadata(&origin),
        "/register" => inner.register(&seen),
        "/authorize" => inner.authorize(&origin, &seen),
        "/token" => inner.token(&seen),
        "/device" => inner.device(&origin, &seen),
        "/revoke" => inner.revoke(&seen),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Inner {
    fn mcp(&self, origin: &str, seen: &Seen) -> Response {
        if self.behaviour.is_open {
            return Self::json_rpc(seen);
        }
        let token = seen
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let grant = token
            .and_then(|token| self.access_tokens.get(token))
            .filter(|(_, issued)| {
                let lifetime = self.behaviour.token_lifetime;
                lifetime.is_none_or(|seconds| issued.elapsed() < Duration::from_secs(seconds))
            });
        let metadata = match self.behaviour.challenge {
            Challenge::Bare | Challenge::Missing => String::new(),
            Challenge::Metadata => {
                let path = self.behaviour.named_metadata.as_deref();
                let path = path.unwrap_or("/.well-known/oauth-protected-resource/mcp");
                let base = if path.starts_with('/') { origin } else { "" };
                format!(r#" resource_metadata="{base}{path}""#)
            }
        };
        let Some((grant, _)) = grant else {
            if let Some(lines) = &self.behaviour.challenge_lines {
                let mut headers = HeaderMap::new();
                for (name, value) in lines {
                    headers.append(*name, value.parse().unwrap());
                }
                return (StatusCode::UNAUTHORIZED, headers).into_response();
            }
            if self.behaviour.challenge == Challenge::Missing {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            return (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, format!("Bearer{metadata}"))],
            )
                .into_response();
        };
        if let Some(challenge) = &self.behaviour.forbids {
            let headers = [(header::WWW_AUTHENTICATE, challenge.clone())];
            return (StatusCode::FORBIDDEN, headers).into_response();
        }
        let required = self.behaviour.required_scope.as_deref().unwrap_or_default();
        let granted: Vec<_> = grant.scope.split(' ').collect();
        if required
            .split_whitespace()
            .all(|scope| granted.contains(&scope))
        {
            return Self::json_rpc(seen);
        }
        let challenge =
            format!(r#"Bearer error="insufficient_scope", scope="{required}",{metadata}"#);
        (
            StatusCode::FORBIDDEN,
            [(header::WWW_AUTHENTICATE, challenge)],
        )
            .into_response()
    }

    /// Enough of MCP for a bridge to have something to carry.
    fn json_rpc(seen: &Seen) -> Response {
        let message: Value = serde_json::from_str(&seen.body).unwrap_or_default();
        let Some(id) = message.get("id") else {
            return StatusCode::OK.into_response();
        };
        let mut result = match message["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "provider", "version": "1" },
            }),
            Some("tools/list") => {
                let tool =
                    |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
                json!({ "tools": [tool("a"), tool("b")] })
            }
            _ => json!({}),
        };
        if seen
            .headers
            .get("mcp-protocol-version")
            .is_some_and(|it| it == modern::VERSION)
        {
            result["resultType"] = "complete".into();
            result["ttlMs"] = 0.into();
            result["cacheScope"] = "private".into();
        }
        axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
    }

    fn resource_metadata(&self, origin: &str) -> Response {
        let document = json!({
            "resource": format!("{origin}/mcp"),
            "authorization_servers": [origin],
        });
        axum::Json(changed(document, &self.behaviour.resource_metadata)).into_response()
    }

    fn server_metadata(&self, origin: &str) -> Response {
        let document = json!({
            "issuer": origin,
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "registration_endpoint": format!("{origin}/register"),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": true,
        });
        axum::Json(changed(document, &self.behaviour.server_metadata)).into_response()
    }

    fn register(&mut self, seen: &Seen) -> Response {
        if let Some(status) = self.behaviour.registration_status {
            let body = axum::Json(self.behaviour.registration_reply.clone());
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
        let request: Value = serde_json::from_str(&seen.body).unwrap();
        let method = request["token_endpoint_auth_method"].as_str().unwrap();
        if self.behaviour.registers_no_public_client && method == "none" {
            let error = json!({ "error": "invalid_client_metadata" });
            return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
        }
        let id = self.fresh("client");
        let secret = (method != "none").then(|| self.fresh("secret"));
        let uris: Vec<String> = serde_json::from_value(request["redirect_uris"].clone()).unwrap();
        let mut reply = request.clone();
        reply["client_id"] = id.clone().into();
        if let Some(secret) = &secret {
            reply["client_secret"] = secret.clone().into();
        }
        let client = Client {
            secret: secret.or_else(|| {
                let given = self.behaviour.registration_reply.get("client_secret");
                let given = given.and_then(Value::as_str).map(str::to_owned);
                given.filter(|secret| !secret.is_empty())
            }),
            redirect_uris: uris,
            method: method.to_owned(),
            grant_types: serde_json::from_value(request["grant_types"].clone()).ok(),
        };
        self.clients.insert(id, client);
        let reply = changed(reply, &self.behaviour.registration_reply);
        (StatusCode::CREATED, axum::Json(reply)).into_response()
    }

    fn authorize(&mut self, origin: &str, seen: &Seen) -> Response {
        let query = |name: &str| seen.query.get(name).cloned().unwrap_or_default();
        let client_id = query("client_id");
        let redirect_uri = query("redirect_uri");
        let known = self.clients.get(&client_id);
        if !known.is_some_and(|client| client.redirect_uris.contains(&redirect_uri)) {
            if let Some(page) = &self.behaviour.forgotten_client_page {
                return Redirect::to(page).into_response();
            }
            let status = StatusCode::from_u16(self.behaviour.forgotten_client_status).unwrap();
            return (status, "unknown client or redirect URI").into_response();
        }
        assert_eq!(query("response_type"), "code");
        assert_eq!(query("code_challenge_method"), "S256");
        assert!(query("state").len() >= 22, "128 bit of state");
        let mut answer = json!({ "state": query("state"), "iss": origin });
        if self.behaviour.refuses_resource && seen.query.contains_key("resource") {
            answer["error"] = "invalid_target".into();
        } else if self.has_unknown_scope(&query("scope")) {
            answer["error"] = "invalid_scope".into();
        } else {
            let code = self.fresh("code");
            let grant = Grant {
                client_id,
                redirect_uri: redirect_uri.clone(),
                challenge: query("code_challenge"),
                resource: seen.query.get("resource").cloned(),
                scope: query("scope"),
            };
            self.codes.insert(code.clone(), grant);
            answer["code"] = code.into();
        }
        let answer = changed(answer, &self.behaviour.authorization_response);
        let mut target = Url::parse(&redirect_uri).unwrap();
        for (name, value) in answer.as_object().unwrap() {
            target
                .query_pairs_mut()
                .append_pair(name, value.as_str().unwrap());
        }
        Redirect::to(target.as_str()).into_response()
    }

    fn has_unknown_scope(&self, scope: &str) -> bool {
        let Some(known) = &self.behaviour.known_scopes else {
            return false;
        };
        scope
            .split_whitespace()
            .any(|scope| !known.iter().any(|known| known == scope))
    }

    fn token(&mut self, seen: &Seen) -> Response {
        let scripted = match &self.behaviour.token_outage {
            Some(reply) => Some(reply.clone()),
            None if self.behaviour.token_replies.is_empty() => None,
            None => Some(self.behaviour.token_replies.remove(0)),
        };
        if let Some(reply) = scripted {
            let mut response = (
                StatusCode::from_u16(reply.status).unwrap(),
                [(header::CONTENT_TYPE, reply.content_type)],
                reply.body,
            )
                .into_response();
            for (name, value) in reply.headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            return response;
        }
        let error = |status: u16, code: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            (status, axum::Json(json!({ "error": code }))).into_response()
        };
        let client_id = match self.authenticated(seen) {
            Ok(id) => id,
            Err(refusal) => {
                if self.behaviour.loses_codes_of_refused_clients {
                    self.codes.clear();
                }
                return *refusal;
            }
        };
        if !self.is_registered_for(&client_id, &seen.form["grant_type"]) {
            return error(400, "unauthorized_client");
        }
        if self.behaviour.refuses_resource && seen.form.contains_key("resource") {
            return error(400, "invalid_target");
        }
        let form = |name: &str| seen.form.get(name).cloned().unwrap_or_default();
        let grant = match form("grant_type").as_str() {
            "authorization_code" => self.codes.remove(&form("code")).filter(|grant| {
                let digest = Sha256::digest(form("code_verifier"));
                grant.challenge == BASE64_URL_SAFE_NO_PAD.encode(digest)
                    && grant.redirect_uri == form("redirect_uri")
                    && grant.resource == seen.form.get("resource").cloned()
            }),
            "refresh_token" => {
                let used = form("refresh_token");
                // A second use is theft: the family ends (RFC 9700 §4.14.2).
                if self.used_refresh_tokens.contains(&used) {
                    self.refresh_tokens.clear();
                    self.access_tokens.clear();
                    return error(400, "invalid_grant");
                }
                self.used_refresh_tokens.insert(used.clone());
                self.refresh_tokens.remove(&used)
            }
            "urn:ietf:params:oauth:grant-type:device_code" => match self.behaviour.device {
                Device::Waiting => return error(400, "authorization_pending"),
                Device::Refused => return error(400, "access_denied"),
                Device::Approved => self.codes.remove(&form("device_code")),
            },
            "client_credentials" => Some(Grant {
                client_id: client_id.clone(),
                redirect_uri: String::new(),
                challenge: String::new(),
                resource: seen.form.get("resource").cloned(),
                scope: form("scope"),
            }),
            _ => return error(400, "unsupported_grant_type"),
        };
        let Some(grant) = grant.filter(|grant| grant.client_id == client_id) else {
            return error(400, "invalid_grant");
        };
        axum::Json(self.issue(grant)).into_response()
    }

    /// RFC 7009 §2
    fn revoke(&mut self, seen: &Seen) -> Response {
        let client_id = match self.authenticated(seen) {
            Ok(id) => id,
            Err(refusal) => return *refusal,
        };
        let is_python = self.behaviour.authentication == Authentication::LikePythonSdk;
        if is_python && !seen.form.contains_key("client_secret") {
            return refused(400, "invalid_request", "client_secret: Field required");
        }
        let token = &seen.form["token"];
        let is_theirs = |grant: &Grant| grant.client_id == client_id;
        if self.refresh_tokens.get(token).is_some_and(is_theirs) {
            self.refresh_tokens.remove(token);
            self.access_tokens
                .retain(|_, (grant, _)| grant.client_id != client_id);
        }
        StatusCode::OK.into_response()
    }

    /// RFC 8628 §3.2
    fn device(&mut self, origin: &str, seen: &Seen) -> Response {
        let client_id = match self.authenticated(seen) {
            Ok(id) => id,
            Err(refusal) => return *refusal,
        };
        if !self.is_registered_for(&client_id, "urn:ietf:params:oauth:grant-type:device_code") {
            let words = "device_code is not allowed for this client";
            return refused(400, "invalid_request", words);
        }
        let code = self.fresh("device");
        let grant = Grant {
            client_id,
            redirect_uri: String::new(),
            challenge: "device".into(),
            resource: seen.form.get("resource").cloned(),
            scope: seen.form.get("scope").cloned().unwrap_or_default(),
        };
        self.codes.insert(code.clone(), grant);
        axum::Json(json!({
            "device_code": code,
            "user_code": "WDJB-MJHT",
            "verification_uri": format!("{origin}/activate"),
            "expires_in": 60,
            "interval": 1,
        }))
        .into_response()
    }

    fn issue(&mut self, mut grant: Grant) -> Value {
        if let Some(granted) = &self.behaviour.granted_scope {
            grant.scope.clone_from(granted);
        }
        let access_token = self.fresh("access");
        let mut reply = json!({ "access_token": access_token, "token_type": "Bearer" });
        if let Some(user) = &self.behaviour.user {
            let claims = json!({ "sub": "17", "email": user }).to_string();
            let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
            reply["id_token"] = format!("e30.{claims}.unsigned").into();
        }
        if !grant.scope.is_empty() {
            reply["scope"] = grant.scope.clone().into();
        }
        if let Some(seconds) = self.behaviour.token_lifetime {
            reply["expires_in"] = seconds.into();
        }
        if self.behaviour.grants == Grants::RotatingRefreshTokens && !grant.challenge.is_empty() {
            let refresh_token = self.fresh("refresh");
            reply["refresh_token"] = refresh_token.clone().into();
            self.refresh_tokens.insert(refresh_token, grant.clone());
        }
        self.access_tokens
            .insert(access_token, (grant, std::time::Instant::now()));
        reply
    }

    /// The client that a request proves to come from, by exactly one method.
    fn authenticated(&self, seen: &Seen) -> Result<String, Box<Response>> {
        let invalid = |words: &str| Box::new(refused(401, "invalid_client", words));
        let mode = self.behaviour.authentication;
        let basic = seen.headers.get(header::AUTHORIZATION).map(basic_pair);
        let id = seen.form.get("client_id").cloned();
        let posted = seen.form.get("client_secret").cloned();
        if let Some(assertion) = seen.form.get("client_assertion") {
            return Ok(Self::vouched(assertion));
        }
        if mode == Authentication::LikePythonSdk {
            return self.authenticated_like_python(basic, id, posted);
        }
        if posted.is_some() && basic.is_some() {
            return Err(Box::new(refused(
                400,
                "invalid_request",
                "two methods at once",
            )));
        }
        match (mode, &basic) {
            (Authentication::OnlyPost, Some(_)) => return Err(invalid("not in the header")),
            (Authentication::OnlyBasic, None) => return Err(invalid("not in the body")),
            (Authentication::OnlyBasic, Some(_)) if id.is_some() => {
                return Err(Box::new(refused(
                    400,
                    "invalid_request",
                    "client_id is there twice",
                )));
            }
            _ => {}
        }
        let (id, secret) = match basic {
            Some((id, secret)) => (id, Some(secret)),
            None => (id.ok_or_else(|| invalid("no client"))?, posted),
        };
        let client = self.clients.get(&id).ok_or_else(|| invalid("unknown"))?;
        let is_right = match mode {
            Authentication::OnlyId => secret.is_none(),
            Authentication::OnlyConfidential => secret.is_some() && client.secret == secret,
            _ => client.secret == secret,
        };
        is_right.then_some(id).ok_or_else(|| invalid("not proven"))
    }

    /// `ClientAuthenticator` of the Python SDK.
    fn authenticated_like_python(
        &self,
        basic: Option<(String, String)>,
        id: Option<String>,
        posted: Option<String>,
    ) -> Result<String, Box<Response>> {
        let unauthorized = |words: &str| Box::new(refused(401, "unauthorized_client", words));
        let id = id.ok_or_else(|| unauthorized("Missing client_id"))?;
        let client = self
            .clients
            .get(&id)
            .ok_or_else(|| unauthorized("Invalid client_id"))?;
        let secret = match client.method.as_str() {
            "client_secret_basic" => {
                let (named, secret) = basic.ok_or_else(|| {
                    unauthorized("Missing or invalid Basic authentication in Authorization header")
                })?;
                assert_eq!(named, id);
                Some(secret)
            }
            "client_secret_post" => posted,
            _ => None,
        };
        if client.secret.is_some() && client.secret != secret {
            return Err(unauthorized("Invalid client_secret"));
        }
        Ok(id)
    }

    fn is_registered_for(&self, client_id: &str, grant_type: &str) -> bool {
        let client = self.clients.get(client_id);
        let registered = client.and_then(|client| client.grant_types.as_ref());
        registered.is_none_or(|grants| grants.iter().any(|grant| grant == grant_type))
    }

    /// The client that a signed statement speaks of. Its signature is checked where it is made.
    fn vouched(assertion: &str) -> String {
        let claims = assertion.split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["iss"], claims["sub"]);
        claims["sub"].as_str().unwrap().to_owned()
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.counter += 1;
        format!("{kind}-MARKER-{}", self.counter)
    }
}

/// An error response (RFC 6749 §5.2).
fn refused(status: u16, code: &str, words: &str) -> Response {
    let error = json!({ "error": code, "error_description": words });
    let status = StatusCode::from_u16(status).unwrap();
    (status, axum::Json(error)).into_response()
}

/// Id and secret of an `Authorization: Basic` header (RFC 6749 §2.3.1).
fn basic_pair(value: &HeaderValue) -> (String, String) {
    let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
    let pair = String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
    let (id, secret) = pair.split_once(':').unwrap();
    let decode = |text: &str| -> String {
        url::form_urlencoded::parse(format!("x={text}").as_bytes())
            .next()
            .unwrap()
            .1
            .into_owned()
    };
    (decode(id), decode(secret))
}

/// `document` with the members of `change`; null removes one.
fn changed(mut document: Value, change: &Value) -> Value {
    let members = document.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    document
}
