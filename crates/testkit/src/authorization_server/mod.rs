//! An MCP server with its authorization server, strict about what a client owes them, and with faults on request.

mod assertions;
mod behaviour;
mod client_authentication;
mod dpop;
mod endpoints;
mod resource;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

pub use assertions::Trust;
pub use behaviour::{
    Audience, Authentication, Behaviour, Challenge, Device, Grants, Targets, TokenReply,
};
pub use dpop::Dpop;

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

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The HTTP method.
    pub method: Method,
    /// The path of the URL.
    pub path: String,
    /// The parameters of the query.
    pub query: HashMap<String, String>,
    /// The resources in the query.
    pub resources: Vec<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The parameters of a form in the body.
    pub form: HashMap<String, String>,
    /// The body.
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
    /// Ids of the proofs so far.
    proof_ids: HashSet<String>,
    counter: u64,
    /// Tokens that were sent to another server than they are for, with its path.
    misplaced: Vec<String>,
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
    /// Resource of the token.
    resource: Option<String>,
    /// Resources that the authorization request has named.
    named: Vec<String>,
    scope: String,
    /// Thumbprint of the key that the tokens are bound to (RFC 9449 §6).
    key: Option<String>,
}

impl AuthorizationServer {
    /// Starts the server at a free port.
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

    /// The origin of all its URLs, which is its issuer as well.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of the MCP server.
    pub fn mcp_url(&self) -> Url {
        Url::parse(&format!("{}/mcp", self.origin())).unwrap()
    }

    /// The URL of another MCP server with this authorization server.
    pub fn further_mcp_url(&self, name: &str) -> Url {
        Url::parse(&format!("{}/mcp/{name}", self.origin())).unwrap()
    }

    /// The paths of servers that got a token which is for another one.
    pub fn misplaced_tokens(&self) -> Vec<String> {
        self.lock().misplaced.clone()
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

impl Inner {
    fn stamped(&self, seen: &Seen, response: Response) -> Response {
        match &self.behaviour.dpop {
            Some(rules) => rules.stamped(&seen.path, response),
            None => response,
        }
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
    let response = answer_without_prefix(address, Arc::clone(&inner), request).await;
    if is_token_request {
        until(&inner, |inner| !inner.behaviour.holds_tokens).await;
    }
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
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let seen = Seen {
        method: parts.method,
        path: parts.uri.path().into(),
        query: pairs(query),
        resources: url::form_urlencoded::parse(query)
            .filter(|(name, _)| name == "resource")
            .map(|(_, value)| value.into_owned())
            .collect(),
        headers: parts.headers,
        form: pairs(&body),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut inner = inner.lock().unwrap();
    inner.seen.push(seen.clone());
    if let Some(wanted) = inner.behaviour.gateway
        && seen.path != "/authorize"
        && seen.headers.get("x-gateway").is_none_or(|it| it != wanted)
    {
        return (StatusCode::FORBIDDEN, "the gateway knows nobody like that").into_response();
    }
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
        path if path == "/mcp" || path.starts_with("/mcp/") => {
            let response = inner.mcp(&origin, &seen);
            inner.stamped(&seen, response)
        }
        path if path.starts_with("/.well-known/oauth-protected-resource/mcp") => {
            inner.resource_metadata(&origin, path)
        }
        "/.well-known/oauth-authorization-server" => inner.server_metadata(&origin),
        "/register" => inner.register(&seen),
        "/authorize" => inner.authorize(&origin, &seen),
        "/token" if inner.takes_assertion(&seen) => inner.assertion_grant(&origin, &seen),
        "/token" => {
            let response = inner.token(&origin, &seen);
            inner.stamped(&seen, response)
        }
        "/device" => inner.device(&origin, &seen),
        "/revoke" => inner.revoke(&seen),
        "/introspect" => inner.introspect(&seen),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
