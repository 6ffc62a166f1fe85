//! Dynamic client registration (RFC 7591).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::App;
use super::super::store::Full;
use super::super::token::Token;
use super::client::ClientAuthentication;
use super::client_metadata::{AuthMethod, ClientMetadata};
use super::error::{ErrorCode, OAuthError, no_store};

/// Answers `POST /register` (RFC 7591 §3).
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    check_sender(&app, &headers)?;
    let metadata = ClientMetadata::parse(&body)?;

    let client_id = Token::generate().into_inner();
    let secret = Token::generate();
    let (authentication, client_secret) = match metadata.token_endpoint_auth_method() {
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
    let mut client = metadata.client(client_id.clone(), authentication);
    client.registered_from = Some(address.ip());
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
