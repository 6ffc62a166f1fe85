//! HTTP client of the sign-in: bounded in time and size, https only, to permitted addresses.

pub(crate) mod address;
pub(crate) mod error_body;
pub(crate) mod error_code;
pub(crate) mod gateway;
pub(crate) mod token_reply;

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use oauth2::{HttpRequest, HttpResponse};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderName};
use reqwest::{Client, Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::error::{AuthError, shown};
use crate::transport::address::AddressGuard;
use crate::transport::error_code::speaks_of_a_failure;
use crate::transport::gateway::Gateway;
use crate::transport::token_reply::{sent_form, standard_form};
pub(crate) use mcp_bridge_net::http::bare;
use mcp_bridge_net::http::{self, RedirectRefusal, Redirects, is_loopback, json};
use mcp_bridge_net::observer::{ObservedExchange, Purpose, SignInStep, Step};

/// Limit for a look at the authorization endpoint.
const GET_TIMEOUT: Duration = Duration::from_secs(10);

/// Limit for a token or registration request; some providers take their time.
const POST_TIMEOUT: Duration = Duration::from_secs(30);

/// Header that carries the nonce for the next DPoP proof (RFC 9449 §8.2).
pub(crate) const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Limit for any answer. Real documents have a few KiB.
const LARGEST_BODY: usize = 1 << 20;

/// Limit for the redirects in front of a metadata document; all on its own origin.
const MOST_REDIRECTS: usize = 3;

/// Pause for a server that does not ask for one itself.
pub(crate) const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);

/// The longest `Retry-After` that is honoured; beyond it a person would think that we hang.
const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(300);

/// The sign-in's way to the network.
#[derive(Debug)]
pub(crate) struct Transport {
    options: http::Options,
    guard: AddressGuard,
    /// One for each [`ClientSettings`], built when the first URL of that kind comes up: a client for https reads the
    /// whole trust store.
    clients: [OnceLock<Client>; 5],
    /// The gateway before the MCP server, if it wants headers.
    gateway: OnceLock<Gateway>,
}

/// Settings that a URL needs: loopback is never behind a proxy, and plain http needs no trust store.
#[derive(Debug, Clone, Copy)]
enum ClientSettings {
    Plain,
    Https,
    LoopbackHttps,
    /// With the client certificate, which not everybody may see.
    HttpsWithIdentity,
    LoopbackHttpsWithIdentity,
}

impl ClientSettings {
    fn for_url(url: &Url, options: &http::Options) -> Self {
        match url.scheme() {
            "https" => match (is_loopback(url), options.shows_identity_to(url)) {
                (false, false) => Self::Https,
                (true, false) => Self::LoopbackHttps,
                (false, true) => Self::HttpsWithIdentity,
                (true, true) => Self::LoopbackHttpsWithIdentity,
            },
            _ => Self::Plain,
        }
    }
}

/// Reason for the absence of a metadata document at a URL.
#[derive(Debug)]
pub(crate) enum NoDocument {
    /// Nothing is there: a 4xx status, or a redirect to another origin.
    Absent(StatusCode),
    /// A server error, a URL that must not be requested, or something that is no JSON object, such as a start
    /// page that answers every path.
    Unusable(AuthError),
    /// No connection came up, so its whole origin need not be asked again.
    Unreachable(AuthError),
    /// No answer in time.
    TimedOut(AuthError),
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct WholeAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    /// Target of a redirect; none if it is no redirect.
    pub(crate) location: Option<Url>,
}

/// An answer whose body has not been read.
#[derive(Debug)]
struct AuthResponse {
    response: Response,
    /// The exchange, for who observes it, until its end.
    observed: Option<Box<ObservedExchange>>,
}

impl AuthResponse {
    fn new(response: Response, observed: Option<Box<ObservedExchange>>) -> Self {
        if let Some(observed) = &observed {
            observed.on_head(response.version(), response.status(), response.headers());
        }
        Self { response, observed }
    }

    /// The next piece of the body; `None` at its end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, reqwest::Error> {
        let chunk = self.response.chunk().await;
        match (&chunk, &mut self.observed) {
            (Ok(Some(piece)), Some(observed)) => observed.on_body(piece),
            (Err(error), Some(observed)) => observed.on_failure(error),
            (Ok(None), _) | (_, None) => {}
        }
        chunk
    }
}

impl std::ops::Deref for AuthResponse {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

impl Transport {
    pub(crate) fn new(options: http::Options, guard: AddressGuard) -> Self {
        Self {
            options,
            guard,
            clients: Default::default(),
            gateway: OnceLock::new(),
        }
    }

    /// The options of its clients.
    pub(crate) const fn options(&self) -> &http::Options {
        &self.options
    }

    /// From now on requests that pass this gateway have its headers.
    pub(crate) fn pass(&self, gateway: Gateway) {
        let _ = self.gateway.set(gateway);
    }

    /// Tells an observer of a step of the sign-in.
    pub(crate) fn step(&self, step: SignInStep, detail: impl FnOnce() -> String) {
        self.options.observation.step(Step::SignIn(step), detail);
    }

    /// Fetches a metadata document, a JSON object.
    pub(crate) async fn fetch_document(
        &self,
        url: &Url,
        limit: Duration,
    ) -> Result<Value, NoDocument> {
        let mut redirects = Redirects::new(Method::GET, MOST_REDIRECTS);
        loop {
            let mut request = Request::new(Method::GET, redirects.url(url).clone());
            *request.timeout_mut() = Some(limit);
            request.headers_mut().insert(ACCEPT, JSON);
            let response = self.try_send(request).await?;
            match redirects.follow(url, response.status(), response.headers()) {
                Ok(true) => {}
                Ok(false) => return read_document(redirects.url(url), response).await,
                Err(RedirectRefusal::NoLocation | RedirectRefusal::Elsewhere(_)) => {
                    return Err(NoDocument::Absent(response.status()));
                }
                Err(refusal @ (RedirectRefusal::TooLong(_) | RedirectRefusal::TooMany)) => {
                    return Err(unusable(url, &refusal.to_string()));
                }
            }
        }
    }

    /// Posts a JSON document and takes whatever comes; no redirects.
    pub(crate) async fn post_json(
        &self,
        url: &Url,
        body: &Value,
    ) -> Result<WholeAnswer, AuthError> {
        let mut request = Request::new(Method::POST, url.clone());
        *request.timeout_mut() = Some(POST_TIMEOUT);
        request.headers_mut().insert(ACCEPT, JSON);
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        *request.body_mut() = Some(body.to_string().into());
        let response = self.send(request).await?;
        refuse_outage(url, &response)?;
        read_body(url, response).await
    }

    /// The status of a page and where it redirects to, without its text.
    pub(crate) async fn fetch_head(&self, url: &Url) -> Result<ResponseHead, AuthError> {
        let mut request = Request::new(Method::GET, url.clone());
        *request.timeout_mut() = Some(GET_TIMEOUT);
        let response = self.send(request).await?;
        Ok(ResponseHead {
            status: response.status(),
            location: location(url, &response),
        })
    }

    /// Refuses a page that a person's browser must not be sent to.
    pub(crate) async fn check_page(&self, page: &Url) -> Result<(), AuthError> {
        Box::pin(self.guard.check_page(page)).await
    }

    /// Notes the address that the MCP server answered from, which decides whether it lies inside.
    pub(crate) fn server_answered_from(&self, peer: IpAddr) {
        self.guard.server_answered_from(peer);
    }

    /// Sends what the `oauth2` crate has built to an endpoint of ours.
    pub(crate) async fn execute_at(
        &self,
        endpoint: &Url,
        mut request: HttpRequest,
    ) -> Result<HttpResponse, AuthError> {
        *request.uri_mut() = endpoint.as_str().parse().map_err(|_| {
            AuthError::Configuration(format!("{} cannot be requested", bare(endpoint)))
        })?;
        self.execute(request).await
    }

    /// Outages end here, so that nothing behind takes the page of a broken proxy for the word of the
    /// authorization server. Answers that providers give in other shapes come out as RFC 6749 §5 has them.
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse, AuthError> {
        let mut request = Request::try_from(request).map_err(|error| AuthError::Metadata {
            url: Url::parse("about:invalid").expect("a constant URL parses"),
            reason: error.to_string(),
        })?;
        *request.timeout_mut() = Some(POST_TIMEOUT);
        let url = request.url().clone();
        let sent = sent_form(&request);
        let response = self.send(request).await?;
        if let Err(outage) = refuse_outage(&url, &response) {
            let explained = response.status().is_server_error();
            return Err(if explained {
                explain(&url, outage, response, &sent).await
            } else {
                outage
            });
        }
        let head = response.headers();
        let kept = [NONCE, DATE].map(|name| (head.get(&name).cloned(), name));
        let answer = read_body(&url, response).await?;
        let mut standard = standard_form(answer, &sent);
        for (value, name) in kept {
            standard
                .headers_mut()
                .extend(value.map(|value| (name, value)));
        }
        Ok(standard)
    }

    async fn send(&self, request: Request) -> Result<AuthResponse, AuthError> {
        self.try_send(request).await.map_err(SendError::into_error)
    }

    async fn try_send(&self, mut request: Request) -> Result<AuthResponse, SendError> {
        let url = request.url().clone();
        http::check_length(&url).map_err(|error| SendError::NotRequested(error.into()))?;
        let permit = self.guard.check(&url).await;
        let _permit = permit.map_err(SendError::NotRequested)?;
        let client = self.client(&url).map_err(SendError::NotRequested)?;
        if let Some(gateway) = self.gateway.get() {
            let equipped = Box::pin(gateway.equip(&mut request)).await;
            equipped.map_err(SendError::NotRequested)?;
        }
        tracing::debug!(method = %request.method(), url = %bare(&url), "-> sign-in");
        let sent = Instant::now();
        let observed = self.observe(&request);
        let answer = match Box::pin(http::send(client, request)).await {
            Ok(response) => AuthResponse::new(response, observed),
            Err(error) => {
                if let Some(mut observed) = observed {
                    observed.on_failure(&error);
                }
                return Err(SendError::Failed(url, error));
            }
        };
        let response = &answer.response;
        self.guard.answered_from(&url, response.remote_addr());
        let (status, ms) = (response.status().as_u16(), sent.elapsed().as_millis());
        tracing::debug!(url = %bare(&url), status, ms, "<- sign-in");
        Ok(answer)
    }

    fn observe(&self, request: &Request) -> Option<Box<ObservedExchange>> {
        let body = request.body().and_then(reqwest::Body::as_bytes);
        self.options.observation.request(
            Purpose::SignIn,
            request.method(),
            request.url(),
            request.headers(),
            body.unwrap_or_default(),
        )
    }

    fn client(&self, url: &Url) -> Result<&Client, AuthError> {
        let slot = &self.clients[ClientSettings::for_url(url, &self.options) as usize];
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = self.options.builder(url).and_then(|builder| {
            builder
                .dns_resolver(self.guard.resolver())
                .build()
                .map_err(http::Error::Proxied)
        });
        let client = client.map_err(|error| {
            AuthError::Configuration(format!("can't set up TLS: {}", root_cause(&error)))
        })?;
        Ok(slot.get_or_init(|| client))
    }
}

const JSON: reqwest::header::HeaderValue =
    reqwest::header::HeaderValue::from_static("application/json");

/// Target of a redirect; none if it is no redirect, or says it in no way that can be followed.
fn location(from: &Url, response: &Response) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    http::location(from, response.headers())
}

async fn read_document(url: &Url, response: AuthResponse) -> Result<Value, NoDocument> {
    refuse_outage(url, &response).map_err(NoDocument::Unusable)?;
    if !response.status().is_success() {
        return Err(NoDocument::Absent(response.status()));
    }
    let answer = read_body(url, response)
        .await
        .map_err(NoDocument::Unusable)?;
    match json::parse::<Value>(&answer.body) {
        Ok(document @ Value::Object(_)) => Ok(document),
        Ok(_) => Err(unusable(url, "it is not a JSON object")),
        Err(error) => Err(unusable(url, &error.to_string())),
    }
}

fn unusable(url: &Url, reason: &str) -> NoDocument {
    NoDocument::Unusable(AuthError::Metadata {
        url: bare(url),
        reason: reason.into(),
    })
}

/// Reason for the absence of an answer to a request.
enum SendError {
    /// It was not made.
    NotRequested(AuthError),
    Failed(Url, reqwest::Error),
}

impl SendError {
    fn into_error(self) -> AuthError {
        match self {
            Self::NotRequested(error) => error,
            Self::Failed(url, error) => unavailable(&url, &error),
        }
    }
}

impl From<SendError> for NoDocument {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotRequested(error) => Self::Unusable(error),
            SendError::Failed(url, error) if error.is_connect() => {
                Self::Unreachable(unavailable(&url, &error))
            }
            SendError::Failed(url, error) if error.is_timeout() => {
                Self::TimedOut(unavailable(&url, &error))
            }
            SendError::Failed(url, error) => Self::Unusable(unavailable(&url, &error)),
        }
    }
}

/// 429 and 5xx say nothing about the request (RFC 9110 §15.6, RFC 6585 §4).
fn refuse_outage(url: &Url, response: &Response) -> Result<(), AuthError> {
    let status = response.status();
    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return Ok(());
    }
    let retry_after = http::retry_after(response.headers())
        .unwrap_or(RETRY_AFTER_DEFAULT)
        .min(RETRY_AFTER_LONGEST);
    Err(AuthError::Unavailable {
        reason: format!("{} answered {status}", bare(url)),
        retry_after,
    })
}

/// A server error that carries an OAuth error code comes from the authorization server itself, not from
/// something in front of it. Others stay what they are.
async fn explain(url: &Url, outage: AuthError, response: AuthResponse, sent: &[u8]) -> AuthError {
    let AuthError::Unavailable {
        reason,
        retry_after,
    } = outage
    else {
        return outage;
    };
    let told = match read_body(url, response).await {
        Ok(answer) => oauth_error(answer, sent),
        Err(_) => None,
    };
    match told {
        Some(told) => AuthError::ServerFailed {
            reason: shown(&format!("{reason}: {told}")),
            retry_after,
        },
        None => AuthError::Unavailable {
            reason,
            retry_after,
        },
    }
}

/// The OAuth error in a JSON answer: its code and description.
fn oauth_error(answer: WholeAnswer, sent: &[u8]) -> Option<String> {
    let response = standard_form(answer, sent);
    let body: Value = serde_json::from_slice(response.body()).ok()?;
    let code = body.get("error")?.as_str();
    let code = code.filter(|code| speaks_of_a_failure(code))?;
    let description = body.get("error_description").and_then(Value::as_str);
    Some(match description {
        Some(description) => format!("{code}: {description}"),
        None => code.to_owned(),
    })
}

async fn read_body(url: &Url, mut response: AuthResponse) -> Result<WholeAnswer, AuthError> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unavailable(url, &error))?
    {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(AuthError::Metadata {
                url: bare(url),
                reason: format!("the answer is larger than {LARGEST_BODY} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(WholeAnswer { status, body })
}

fn unavailable(url: &Url, error: &reqwest::Error) -> AuthError {
    if let Some(refused) = crate::transport::address::refusal(error) {
        return AuthError::UnsafeUrl {
            url: bare(url).to_string(),
            reason: refused,
        };
    }
    AuthError::Unavailable {
        reason: format!("{}: {}", bare(url), root_cause(error)),
        retry_after: RETRY_AFTER_DEFAULT,
    }
}

/// The innermost cause, which names the fault; what lies around it repeats the URL with its query.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
