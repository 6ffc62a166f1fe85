//! An OAuth and MCP client that does only what a test tells it to.

use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use mcp_bridge_net::http;
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use crate::browser;
use crate::era::Eras;
use crate::server::client_documents::DocumentSettings;
use crate::server::deployment::Deployment;
use crate::server::dpop::DpopSettings;
use crate::server::{Options, Server, Token};

/// Time that an answer may take. Nothing here waits for anything.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:49152/callback";
pub(crate) const STATE: &str = "state-of-the-test";
pub(crate) const VERIFIER: &str = "verifier-of-the-test-that-is-long-enough-for-rfc-7636";

/// A server with the defaults, on a free port, with nothing on disk.
pub(crate) async fn start() -> Server {
    Server::start(options()).await.unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        port: 0,
        token_lifetime: Duration::from_secs(3600),
        state_file: None,
        client_secret: None,
        resource_server: None,
        issuer: None,
        redis: None,
        deployment: Deployment::default(),
        dpop: DpopSettings::default(),
        client_documents: DocumentSettings::default(),
        versions: Eras::Dual.versions(),
        around_endpoint: None,
    }
}

/// The same for a server that serves these eras alone.
pub(crate) fn options_for(eras: Eras) -> Options {
    eras.restrict(options())
}

pub(crate) fn with_client_secret(secret: &str) -> Options {
    Options {
        client_secret: Some(Token::from(secret.to_owned())),
        ..options()
    }
}

/// The client, with what it is registered as.
pub(crate) struct Client {
    http: reqwest::Client,
    /// URL of the MCP endpoint.
    pub(crate) resource: String,
    pub(crate) id: String,
}

/// The answer of the token endpoint.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// The part of a response that tests look at.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Client {
    /// A client that is not registered.
    pub(crate) fn unknown(server: &Server) -> Self {
        Self::unknown_at(server.url())
    }

    /// The same for the MCP endpoint at this URL.
    fn unknown_at(endpoint: &str) -> Self {
        let url = endpoint.parse().unwrap();
        let http = http::Options::default()
            .builder(&url)
            .unwrap()
            .timeout(LIMIT)
            .build();
        Self {
            http: http.unwrap(),
            resource: endpoint.to_owned(),
            id: "unknown".to_owned(),
        }
    }

    /// A public client for [`REDIRECT_URI`].
    pub(crate) async fn registered(server: &Server) -> Self {
        Self::registered_at(server.url()).await
    }

    /// The same at the server with this MCP endpoint.
    pub(crate) async fn registered_at(endpoint: &str) -> Self {
        let client = Self::unknown_at(endpoint);
        let answer = client.register(public_client()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        client.known_as(&text(&answer.body["client_id"]))
    }

    /// The client with another `client_id`.
    pub(crate) fn known_as(self, id: &str) -> Self {
        let id = id.to_owned();
        Self { id, ..self }
    }

    /// The URL of a path on the server.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&self.resource).unwrap().join(path).unwrap()
    }

    /// The HTTP client, for a test that makes requests of its own.
    pub(crate) fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(self.url(path))
    }

    pub(crate) async fn register(&self, metadata: Value) -> Answer {
        let request = self
            .post("/register")
            .header(header::CONTENT_TYPE, "application/json");
        answer(request.body(metadata.to_string()).send().await.unwrap()).await
    }

    /// The parameters of an authorization request, for the test to spoil.
    pub(crate) fn authorization_request(&self) -> Vec<(&'static str, String)> {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.id.clone()),
            ("redirect_uri", REDIRECT_URI.to_owned()),
            ("state", STATE.to_owned()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
            ("resource", self.resource.clone()),
            ("scope", "profile".to_owned()),
        ]
    }

    pub(crate) fn authorization_url(&self, parameters: &[(&str, String)]) -> Url {
        let mut url = self.url("/authorize");
        url.query_pairs_mut().extend_pairs(parameters);
        url
    }

    /// Signs `user` in and returns the code.
    pub(crate) async fn code(&self, user: &str, scope: &str) -> String {
        let parameters = with(self.authorization_request(), "scope", scope);
        self.code_for(&parameters, user).await
    }

    /// Signs `user` in with this authorization request, and returns the code.
    pub(crate) async fn code_for(&self, request: &[(&str, String)], user: &str) -> String {
        let address = self.authorization_url(request);
        let callback = browser::sign_in(address.as_str(), user, "allow")
            .await
            .unwrap();
        query(&callback, "code").unwrap()
    }

    /// The parameters that exchange a code, for the test to spoil.
    pub(crate) fn code_exchange(&self, code: &str) -> Vec<(&'static str, String)> {
        vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", REDIRECT_URI.to_owned()),
            ("client_id", self.id.clone()),
            ("code_verifier", VERIFIER.to_owned()),
            ("resource", self.resource.clone()),
        ]
    }

    /// The parameters of a refresh, for the test to spoil.
    pub(crate) fn refresh(&self, refresh_token: &str) -> Vec<(&'static str, String)> {
        vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", refresh_token.to_owned()),
            ("client_id", self.id.clone()),
            ("resource", self.resource.clone()),
        ]
    }

    /// Asks the token endpoint as a public client.
    pub(crate) async fn token(&self, parameters: &[(&str, String)]) -> Answer {
        answer(form(self.post("/token"), parameters).send().await.unwrap()).await
    }

    /// The whole sign-in.
    pub(crate) async fn tokens(&self, user: &str, scope: &str) -> Tokens {
        let code = self.code(user, scope).await;
        self.token(&self.code_exchange(&code)).await.tokens()
    }

    /// A message for the MCP endpoint.
    pub(crate) fn mcp(&self, token: &str, message: &Value) -> RequestBuilder {
        self.mcp_at("/mcp", token, message)
    }

    /// A message for another MCP endpoint.
    pub(crate) fn mcp_at(&self, url: &str, token: &str, message: &Value) -> RequestBuilder {
        self.post(url)
            .bearer_auth(token)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .body(message.to_string())
    }

    /// The status and challenge with which the endpoint meets an access token.
    pub(crate) async fn try_token(&self, token: &str) -> (StatusCode, String) {
        let response = self.mcp(token, &initialize()).send().await.unwrap();
        (response.status(), challenge(&response))
    }
}

impl Answer {
    pub(crate) fn error(&self) -> String {
        text(&self.body["error"])
    }

    pub(crate) fn tokens(&self) -> Tokens {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        Tokens {
            access: text(&self.body["access_token"]),
            refresh: text(&self.body["refresh_token"]),
        }
    }
}

/// The registration of a native app.
pub(crate) fn public_client() -> Value {
    json!({
        "client_name": "Test",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    })
}

pub(crate) fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "test", "version": "0" },
        },
    })
}

/// The parameters with one set to another value; an empty one counts as absent.
pub(crate) fn with(
    mut parameters: Vec<(&'static str, String)>,
    name: &'static str,
    value: &str,
) -> Vec<(&'static str, String)> {
    parameters.retain(|(known, _)| *known != name);
    parameters.push((name, value.to_owned()));
    parameters
}

pub(crate) fn form(request: RequestBuilder, parameters: &[(&str, String)]) -> RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    request
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body)
}

/// The value of an `Authorization` header (RFC 6749 §2.3.1).
pub(crate) fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

pub(crate) async fn answer(response: Response) -> Answer {
    let status = response.status();
    let text = response.text().await.unwrap();
    Answer {
        status,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}

pub(crate) fn challenge(response: &Response) -> String {
    let value = response.headers().get(header::WWW_AUTHENTICATE);
    value
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

pub(crate) fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no string: {value}"))
        .to_owned()
}
