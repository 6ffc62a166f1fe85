//! The resource server: says who issues tokens for it, and lets nobody in without one.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::dpop::{DpopPolicy, Proof};
use super::issuer::{ExternalIssuer, Person};
use super::presented_token::{PresentedToken, Scheme};
use super::refusal::Refusal;
use super::scope::{Scope, Scopes};
use super::token::Digest;
use super::users::{self, User};
use super::{App, MAX_BODY_BYTES};

/// The scopes that are needed for anything at all.
pub(crate) const BASIC_SCOPES: [Scope; 1] = [Scope::Profile];

/// User and client behind a request. The check puts it into the request's extensions, for the tools to find.
#[derive(Clone)]
pub(crate) struct Authorized {
    /// In whose name the client acts.
    pub(crate) account: Account,
    /// Name of the client, as it gave it itself.
    pub(crate) client_name: String,
    /// Scopes that the user granted.
    pub(crate) scopes: Scopes,
}

/// Profile of the user.
#[derive(Clone)]
pub(crate) struct Account {
    /// Identifier that never changes.
    pub(crate) id: String,
    /// Full name, or what the issuer says instead.
    pub(crate) name: String,
    /// E-mail address, unless the issuer keeps it to itself.
    pub(crate) email: Option<String>,
    /// Default order. An issuer does not know it.
    pub(crate) favourite_coffee: Option<String>,
}

impl From<&User> for Account {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.to_owned(),
            name: user.name.to_owned(),
            email: Some(user.email.to_owned()),
            favourite_coffee: Some(user.favourite_coffee.to_owned()),
        }
    }
}

impl From<Person> for Authorized {
    fn from(person: Person) -> Self {
        Self {
            account: Account {
                id: person.id,
                name: person.name,
                email: person.email,
                favourite_coffee: None,
            },
            client_name: person.client,
            scopes: person.scopes,
        }
    }
}

/// Answers `GET /.well-known/oauth-protected-resource/mcp` (RFC 9728 §3): the path of the resource
/// comes after the well-known one.
pub(crate) async fn metadata(State(app): State<Arc<App>>) -> Json<ProtectedResourceMetadata> {
    Json(ProtectedResourceMetadata {
        resource: app.resource.clone(),
        resource_name: "MCP example server",
        authorization_servers: [app
            .issuer
            .as_ref()
            .map_or(app.origin.as_str(), ExternalIssuer::identifier)
            .to_owned()],
        scopes_supported: scopes_supported(&app),
        bearer_methods_supported: ["header"],
        dpop_signing_alg_values_supported: app.dpop.algorithms(),
        dpop_bound_access_tokens_required: app.dpop.policy() == DpopPolicy::Required,
    })
}

/// The document (RFC 9728 §2).
#[derive(Serialize)]
pub(crate) struct ProtectedResourceMetadata {
    /// Must be the URL that the client wanted to reach: clients compare.
    resource: String,
    resource_name: &'static str,
    authorization_servers: [String; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<String>,
    bearer_methods_supported: [&'static str; 1],
    /// Algorithms of proofs. A client takes them as the wish for tokens that are bound to a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    dpop_signing_alg_values_supported: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dpop_bound_access_tokens_required: bool,
}

/// The scopes that a client may ask for at once. Another issuer need not know that of the coffee, and would refuse a client
/// that asks for it; who needs it is told so by a 403.
fn scopes_supported(app: &App) -> Vec<String> {
    let scopes = match &app.issuer {
        Some(_) => Scopes::from(BASIC_SCOPES),
        None => Scopes::from(Scope::ALL),
    };
    let names = app.scope_names(&scopes);
    names.split_whitespace().map(str::to_owned).collect()
}

/// Lets a request through to the MCP server if its access token is good for it (RFC 6750 §2.1 and
/// §3.1), with the user it stands for.
pub(crate) async fn require_token(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let (headers, method) = (request.headers(), request.method());
    let Some(presented) = PresentedToken::of(headers, app.dpop.policy()) else {
        return Refusal::NoToken.response(&app, Scheme::Bearer);
    };
    let scheme = presented.scheme;
    let (authorized, proof) = match check_token(&app, &presented, headers, method).await {
        Ok(checked) => checked,
        Err(refusal) => return refusal.response(&app, scheme),
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if let Some(proof) = proof
        && let Err(refusal) = proof.check_body(&body)
    {
        return Refusal::from(refusal).response(&app, scheme);
    }
    let needed = needed_scopes(&parts.method, &body);
    let mut request = Request::from_parts(parts, Body::from(body));
    if !authorized.scopes.include(&needed) {
        // What is there already stays in the list: the client will ask for exactly these.
        let scopes = authorized.scopes.union(&needed);
        return Refusal::InsufficientScope(scopes).response(&app, scheme);
    }
    if let Some(id) = session_id(request.headers())
        && !app.sessions.belongs_to(id, &authorized.account.id).await
    {
        return (StatusCode::NOT_FOUND, "this session does not exist").into_response();
    }

    let user = authorized.account.id.clone();
    request.extensions_mut().insert(authorized);
    let response = next.run(request).await;
    if let Some(id) = session_id(response.headers()) {
        app.sessions.opened(id, &user).await;
    }
    response
}

/// Checks the token of a request and, if it is bound to a key, the proof.
async fn check_token(
    app: &App,
    presented: &PresentedToken<'_>,
    headers: &HeaderMap,
    method: &Method,
) -> Result<(Authorized, Option<Proof>), Refusal> {
    let (authorized, bound_to) = if let Some(issuer) = &app.issuer {
        let person = issuer.verify(presented.text).await?;
        let bound_to = person.bound_to.clone();
        (person.into(), bound_to)
    } else {
        app.catch_up().await;
        check_own_token(app, presented.text)?
    };
    let checked = presented.check_sender(app, headers, method, bound_to.as_ref());
    Ok((authorized, checked.await?))
}

/// Checks a token of the authorization server that is in this process. Returns the key that it is bound to, too.
fn check_own_token(app: &App, presented: &str) -> Result<(Authorized, Option<Digest>), Refusal> {
    let store = app.store();
    let (token, grant) = store
        .access_token(presented)
        .ok_or(Refusal::InvalidToken("the token is not known here"))?;
    if token.expires_at <= SystemTime::now() {
        return Err(Refusal::InvalidToken("the token has expired"));
    }
    // A token that was made for another server must not work here, and the other way round
    // (RFC 8707 §2; MCP, authorization: Token Handling).
    if grant.resource != app.resource {
        return Err(Refusal::InvalidToken("the token is for another resource"));
    }
    let user = users::find(&grant.user_id).ok_or(Refusal::InvalidToken("the account is gone"))?;
    let client = store.client(&grant.client_id);
    let client = client.ok_or(Refusal::InvalidToken("the client is gone"))?;
    let authorized = Authorized {
        account: user.into(),
        client_name: client.name.clone(),
        scopes: token.scopes.clone(),
    };
    Ok((authorized, token.bound_to.clone()))
}

/// Scopes that a request needs: for a tool call that depends on the tool, so the body is looked at
/// before rmcp gets it.
fn needed_scopes(method: &Method, body: &[u8]) -> Scopes {
    if method != Method::POST {
        return Scopes::from(BASIC_SCOPES);
    }
    // What is no JSON names no tool; rmcp says what is wrong with it.
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    match message["params"]["name"].as_str() {
        Some(super::mcp::ORDER_COFFEE) => Scopes::from([Scope::Profile, Scope::Coffee]),
        Some(_) | None => Scopes::from(BASIC_SCOPES),
    }
}

/// The session that a request belongs to.
pub(crate) fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(HeaderName::from_static("mcp-session-id"))?
        .to_str()
        .ok()
}
