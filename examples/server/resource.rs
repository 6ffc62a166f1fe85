//! The resource server: says who issues tokens for it, and lets nobody in without one.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::issuer::{ExternalIssuer, Person, TokenRefusal};
use super::scope::{Scope, Scopes};
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
    let authorized = match check_token(&app, request.headers()).await {
        Ok(authorized) => authorized,
        Err(refusal) => return refusal.response(&app),
    };
    let (mut request, needed) = match needed_scopes(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    if !authorized.scopes.include(&needed) {
        // What is there already stays in the list: the client will ask for exactly these.
        let scopes = authorized.scopes.union(&needed);
        return Refusal::InsufficientScope(scopes).response(&app);
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

/// Reasons to refuse a request (RFC 6750 §3.1).
enum Refusal {
    /// There is no token. That is not an error yet, so the answer names none.
    NoToken,
    /// There is one, but it is not good here and now.
    InvalidToken(&'static str),
    /// It is good, but not for this. These are the scopes that would do.
    InsufficientScope(Scopes),
    /// Nobody knows whether it is good. Another one would not help, so the client is to try again.
    Unverifiable,
}

impl From<TokenRefusal> for Refusal {
    fn from(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::Invalid(reason) => Self::InvalidToken(reason),
            TokenRefusal::MissingScope => Self::InsufficientScope(Scopes::from(BASIC_SCOPES)),
            TokenRefusal::Unverifiable => Self::Unverifiable,
        }
    }
}

/// Time after which a client should try again while the issuer does not answer, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

async fn check_token(app: &App, headers: &HeaderMap) -> Result<Authorized, Refusal> {
    let presented = bearer_token(headers).ok_or(Refusal::NoToken)?;
    if let Some(issuer) = &app.issuer {
        return Ok(issuer.verify(presented).await?.into());
    }
    app.catch_up().await;
    check_own_token(app, presented)
}

/// Checks a token of the authorization server that is in this process.
fn check_own_token(app: &App, presented: &str) -> Result<Authorized, Refusal> {
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
    Ok(Authorized {
        account: user.into(),
        client_name: client.name.clone(),
        scopes: token.scopes.clone(),
    })
}

/// The token of `Authorization: Bearer`. The scheme's name has no case (RFC 9110 §11.1).
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// Which scopes a request needs: for a tool call that depends on the tool, so the body is looked at
/// before rmcp gets it.
async fn needed_scopes(request: Request) -> Result<(Request, Scopes), Response> {
    if request.method() != Method::POST {
        return Ok((request, Scopes::from(BASIC_SCOPES)));
    }
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BODY_BYTES).await else {
        return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    };
    // What is no JSON names no tool; rmcp says what is wrong with it.
    let message: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let request = Request::from_parts(parts, Body::from(bytes));
    let needed = match message["params"]["name"].as_str() {
        Some(super::mcp::ORDER_COFFEE) => Scopes::from([Scope::Profile, Scope::Coffee]),
        Some(_) | None => Scopes::from(BASIC_SCOPES),
    };
    Ok((request, needed))
}

/// The session that a request belongs to.
pub(crate) fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(HeaderName::from_static("mcp-session-id"))?
        .to_str()
        .ok()
}

impl Refusal {
    /// The answer with its challenge: the client learns where to find out about tokens (RFC 9728
    /// §5.1) and which scopes to ask for (RFC 6750 §3).
    fn response(&self, app: &App) -> Response {
        let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", app.origin);
        let basic = Scopes::from(BASIC_SCOPES);
        let (status, error, scope) = match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, String::new(), &basic),
            Self::InvalidToken(reason) => (
                StatusCode::UNAUTHORIZED,
                format!(r#"error="invalid_token", error_description="{reason}", "#),
                &basic,
            ),
            Self::InsufficientScope(scopes) => (
                StatusCode::FORBIDDEN,
                r#"error="insufficient_scope", error_description="the user must allow more", "#
                    .to_owned(),
                scopes,
            ),
            Self::Unverifiable => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return (status, [(header::RETRY_AFTER, RETRY_AFTER)]).into_response();
            }
        };
        let scope = match app.scope_names(scope).as_str() {
            "" => String::new(),
            names => format!(r#"scope="{names}", "#),
        };
        let challenge = format!(r#"Bearer {error}{scope}resource_metadata="{metadata}""#);
        let mut response = status.into_response();
        if let Ok(value) = HeaderValue::from_str(&challenge) {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}
