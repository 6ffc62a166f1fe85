//! Dynamic client registration (RFC 7591).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mcp_bridge_text::printable::is_printable;
use serde::{Deserialize, Serialize};
use url::{Position, Url};

use super::super::App;
use super::super::scope::Scopes;
use super::super::store::Full;
use super::super::token::Token;
use super::client::{Client, ClientAuthentication, GrantType, is_plain_loopback};
use super::error::{ErrorCode, OAuthError, no_store};

/// Most redirect URIs that one client may have.
const MAX_REDIRECT_URIS: usize = 10;

/// Longest redirect URI. They are kept for each client.
const MAX_REDIRECT_URI_BYTES: usize = 2048;

/// Longest name of a client that the consent page has room for, in characters.
const MAX_NAME_CHARS: usize = 80;

/// Answers `POST /register` (RFC 7591 §3).
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    check_sender(&app, &headers)?;
    let metadata = serde_json::from_slice::<ClientMetadata>(&body)
        .map_err(|error| invalid_metadata(error.to_string()))?;
    metadata.check()?;

    let client_id = Token::generate().into_inner();
    let secret = Token::generate();
    let (authentication, client_secret) = match metadata.token_endpoint_auth_method {
        AuthMethod::None => (ClientAuthentication::Public, None),
        AuthMethod::ClientSecretBasic => (
            ClientAuthentication::Basic(secret.digest()),
            Some(secret.into_inner()),
        ),
        AuthMethod::ClientSecretPost => (
            ClientAuthentication::Post(secret.digest()),
            Some(secret.into_inner()),
        ),
    };
    let client = Client {
        id: client_id.clone(),
        name: metadata.client_name.clone(),
        redirect_uris: metadata.redirect_uris.clone(),
        grant_types: metadata.grant_types.clone(),
        authentication,
        wants_bound_tokens: metadata.dpop_bound_access_tokens,
        registered_from: Some(address.ip()),
        last_used: SystemTime::now(),
    };
    app.store().register(client).map_err(|Full| {
        OAuthError::new(
            ErrorCode::TemporarilyUnavailable,
            "too many clients are registered",
        )
    })?;
    app.save().await;

    let response = ClientInformation {
        client_id,
        client_id_issued_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        client_secret_expires_at: client_secret.is_some().then_some(0),
        client_secret,
        metadata,
    };
    Ok((StatusCode::CREATED, no_store(Json(response))).into_response())
}

/// Refuses what a page of another site can make a browser send without asking: a form, or text.
fn check_sender(app: &App, headers: &HeaderMap) -> Result<(), OAuthError> {
    let invalid = |description| Err(OAuthError::new(ErrorCode::InvalidRequest, description));
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| !app.is_allowed_origin(origin)) {
        return invalid("a page of another origin cannot register a client");
    }
    let content_type = headers.get(header::CONTENT_TYPE);
    let media_type = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return invalid("Content-Type must be application/json");
    }
    Ok(())
}

/// Client metadata (RFC 7591 §2). Members that are not known here are ignored, and
/// absent ones have the default of that section.
#[derive(Serialize, Deserialize)]
struct ClientMetadata {
    redirect_uris: Vec<String>,
    #[serde(default = "unnamed")]
    client_name: String,
    #[serde(default = "authorization_code")]
    grant_types: Vec<GrantType>,
    #[serde(default = "code")]
    response_types: Vec<ResponseType>,
    #[serde(default)]
    token_endpoint_auth_method: AuthMethod,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_type: Option<ApplicationType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// RFC 9449 §5.2
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dpop_bound_access_tokens: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResponseType {
    Code,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuthMethod {
    None,
    #[default]
    ClientSecretBasic,
    ClientSecretPost,
}

/// OpenID Connect Dynamic Client Registration §2, which MCP asks clients to send.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ApplicationType {
    Native,
    Web,
}

/// The answer: the client's metadata as registered, with its new identity (RFC 7591 §3.2.1).
#[derive(Serialize)]
struct ClientInformation {
    client_id: String,
    /// Seconds since 1970.
    client_id_issued_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// Zero: never. Must be there if there is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
    #[serde(flatten)]
    metadata: ClientMetadata,
}

impl ClientMetadata {
    /// Whether the values make sense together (RFC 7591 §3.2.2).
    fn check(&self) -> Result<(), OAuthError> {
        if self.redirect_uris.is_empty() || self.redirect_uris.len() > MAX_REDIRECT_URIS {
            let description = format!("redirect_uris must have 1 to {MAX_REDIRECT_URIS} entries");
            return Err(OAuthError::new(ErrorCode::InvalidRedirectUri, description));
        }
        for uri in &self.redirect_uris {
            self.check_redirect_uri(uri)?;
        }
        if !self.grant_types.contains(&GrantType::AuthorizationCode)
            || !self.response_types.contains(&ResponseType::Code)
        {
            return Err(invalid_metadata(
                "authorization_code and code are needed to sign in",
            ));
        }
        let name = &self.client_name;
        if name.chars().count() > MAX_NAME_CHARS || !name.chars().all(is_printable) {
            return Err(invalid_metadata(
                "client_name is too long or has invisible characters",
            ));
        }
        if name.trim().is_empty() {
            return Err(invalid_metadata("client_name is empty"));
        }
        let unknown = |name| invalid_metadata(format!("there is no scope {name}"));
        self.scope
            .as_deref()
            .map(Scopes::parse)
            .transpose()
            .map_err(unknown)?;
        Ok(())
    }

    fn check_redirect_uri(&self, uri: &str) -> Result<(), OAuthError> {
        let invalid = |reason: &str| {
            Err(OAuthError::new(
                ErrorCode::InvalidRedirectUri,
                format!("{uri} {reason}"),
            ))
        };
        if uri.len() > MAX_REDIRECT_URI_BYTES {
            let description =
                format!("a redirect URI is longer than {MAX_REDIRECT_URI_BYTES} bytes");
            return Err(OAuthError::new(ErrorCode::InvalidRedirectUri, description));
        }
        // URL parsers accept more than RFC 3986 and repair it. A redirect URI is compared as a string, and the consent
        // page shows it to a person, to whom it must mean what it means to the browser.
        if !uri.bytes().all(is_uri_character) {
            return invalid("must consist of the characters of RFC 3986");
        }
        let Ok(url) = Url::parse(uri) else {
            return invalid("is not an absolute URL");
        };
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("must not have a user name");
        }
        if !uri.starts_with(&url[..Position::AfterHost]) {
            return invalid("must begin with the scheme, two slashes and the host in lower case");
        }
        if url.fragment().is_some() {
            return invalid("must not have a fragment (RFC 6749 §3.1.2)");
        }
        match (url.scheme(), self.application_type) {
            ("https", _) => Ok(()),
            (_, Some(ApplicationType::Web)) => invalid("must be https for a web application"),
            _ if is_plain_loopback(&url) => Ok(()),
            _ => invalid("must be https, or http to this machine (RFC 8252 §7.3)"),
        }
    }
}

/// Reserved and unreserved characters and `%` (RFC 3986 §2).
fn is_uri_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn invalid_metadata(description: impl Into<String>) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClientMetadata, description)
}

fn unnamed() -> String {
    "An app without a name".to_owned()
}

fn authorization_code() -> Vec<GrantType> {
    vec![GrantType::AuthorizationCode]
}

fn code() -> Vec<ResponseType> {
    vec![ResponseType::Code]
}
