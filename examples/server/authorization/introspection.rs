//! Token introspection (RFC 7662), for resource servers.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::super::store::{AccessToken, Grant};
use super::super::token::Digest;
use super::super::{App, RESOURCE_SERVER_CLIENT_ID};
use super::client::authenticate;
use super::error::{ErrorCode, OAuthError, no_store};
use super::grants::TokenType;
use super::parameters::Parameters;

/// Answers `POST /introspect` (RFC 7662 §2).
///
/// Only the resource server may ask: others could try out tokens here (§4). Of a token that is not for it, it learns no
/// more than of one that does not exist (§2.2).
pub(crate) async fn introspect(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    let form = Parameters::parse(&body)?;
    let store = app.store();
    if authenticate(&store, &headers, &form)?.id != RESOURCE_SERVER_CLIENT_ID {
        let description = "only the resource server may introspect tokens";
        return Err(OAuthError::new(ErrorCode::InvalidClient, description));
    }
    let known = store.access_token(form.require("token")?);
    let active = known.filter(|(token, grant)| {
        token.expires_at > SystemTime::now()
            && app.other_resource.as_deref() == Some(grant.resource.as_str())
    });
    let answer = match active {
        Some((token, grant)) => Introspection::Active(ActiveToken::new(&app, token, grant)),
        None => Introspection::Inactive { active: false },
    };
    Ok(no_store(Json(answer)))
}

/// The answer (RFC 7662 §2.2).
#[derive(Serialize)]
#[serde(untagged)]
enum Introspection {
    Active(ActiveToken),
    Inactive { active: bool },
}

#[derive(Serialize)]
struct ActiveToken {
    active: bool,
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    scope: String,
    token_type: TokenType,
    /// Seconds since 1970.
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

/// The key that the token is bound to (RFC 9449 §6.2).
#[derive(Serialize)]
struct Confirmation {
    jkt: Digest,
}

impl ActiveToken {
    fn new(app: &App, token: &AccessToken, grant: &Grant) -> Self {
        let end = token.expires_at.duration_since(UNIX_EPOCH);
        Self {
            active: true,
            iss: app.origin.clone(),
            aud: grant.resource.clone(),
            sub: grant.user_id.clone(),
            client_id: grant.client_id.clone(),
            scope: token.scopes.to_string(),
            token_type: TokenType::of(token.bound_to.as_ref()),
            exp: end.unwrap_or_default().as_secs(),
            cnf: token.bound_to.clone().map(|jkt| Confirmation { jkt }),
        }
    }
}
