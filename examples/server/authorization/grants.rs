//! Token endpoint (RFC 6749 §3.2) and token revocation (RFC 7009).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::super::App;
use super::super::dpop::{ProofRefusal, ProvenKey};
use super::super::scope::Scopes;
use super::super::store::{Binding, IssuedTokens, NotRefreshable, Store};
use super::super::token::Digest;
use super::client::{Client, GrantType, authenticate};
use super::error::{ErrorCode, OAuthError, no_store};
use super::parameters::Parameters;

/// Lengths that a PKCE verifier may have (RFC 7636 §4.1).
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;

/// Answers `POST /token` (RFC 6749 §3.2). If the client has proved a key, the tokens are bound to it (RFC 9449 §5).
pub(crate) async fn token(
    State(app): State<Arc<App>>,
    Extension(ProvenKey(key)): Extension<ProvenKey>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    let response = issue(&app, &headers, &body, key.as_ref());
    // Also a refusal may have changed something: a code that is used twice ends its grant.
    app.save().await;
    Ok(no_store(Json(response?)))
}

fn issue(
    app: &App,
    headers: &HeaderMap,
    body: &[u8],
    key: Option<&Digest>,
) -> Result<TokenResponse, OAuthError> {
    let form = Parameters::parse(body)?;
    let mut store = app.store();
    let client = authenticate(&store, headers, &form)?.clone();
    let (grant_type, exchange): (_, Exchange) = match form.require("grant_type")? {
        "authorization_code" => (GrantType::AuthorizationCode, exchange_code),
        "refresh_token" => (GrantType::RefreshToken, exchange_refresh_token),
        other => {
            let description = format!("{other} is not supported");
            return Err(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                description,
            ));
        }
    };
    if !client.grant_types.contains(&grant_type) {
        let description = "the client is not registered for this grant type";
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, description));
    }
    if client.wants_bound_tokens && key.is_none() {
        return Err(ProofRefusal::missing().into());
    }
    let presented = Presented {
        client: &client,
        form: &form,
        key,
    };
    let (grant_id, scopes) = exchange(app, &mut store, &presented)?;
    let binding = Binding {
        access_token: key.cloned(),
        // A client that authenticates may change its key (RFC 9449 §5).
        refresh_token: key.filter(|_| client.is_public()).cloned(),
    };
    let tokens = store.issue(&grant_id, scopes.clone(), app.token_lifetime, binding);
    let token_type = TokenType::of(key);
    Ok(TokenResponse::new(
        app, &client, tokens, token_type, &scopes,
    ))
}

/// Answers `POST /revoke` (RFC 7009 §2): signing out. An unknown token is revoked already.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    let form = Parameters::parse(&body)?;
    {
        let mut store = app.store();
        let client = authenticate(&store, &headers, &form)?.clone();
        store.revoke(form.require("token")?, &client.id);
    }
    app.save().await;
    Ok(StatusCode::OK.into_response())
}

/// Conversion of the client's code or token into a grant and scopes for the access token, by grant type.
type Exchange = fn(&App, &mut Store, &Presented<'_>) -> Result<(String, Scopes), OAuthError>;

/// The client, its request, and the key that it proved.
struct Presented<'a> {
    client: &'a Client,
    form: &'a Parameters,
    key: Option<&'a Digest>,
}

/// RFC 6749 §4.1.3, with the verifier of RFC 7636 §4.6.
fn exchange_code(
    app: &App,
    store: &mut Store,
    &Presented { client, form, key }: &Presented<'_>,
) -> Result<(String, Scopes), OAuthError> {
    let (request, grant_id) = store
        .redeem_code(form.require("code")?)
        .ok_or_else(|| invalid_grant("the code is unknown, expired or was used before"))?;
    if request.client_id != client.id {
        return Err(invalid_grant("the code was issued to another client"));
    }
    if form.require("redirect_uri")? != request.redirect_uri {
        return Err(invalid_grant(
            "redirect_uri differs from the authorization request",
        ));
    }
    let verifier = form.require("code_verifier")?;
    if !VERIFIER_CHARS.contains(&verifier.len()) || Digest::of(verifier) != request.code_challenge {
        return Err(invalid_grant("code_verifier does not fit code_challenge"));
    }
    if request.bound_to.is_some() && request.bound_to.as_ref() != key {
        return Err(invalid_grant(
            "the code is bound to a key (dpop_jkt) that the request does not prove",
        ));
    }
    check_target(app, form, &request.resource)?;
    Ok((grant_id, request.scopes))
}

/// RFC 6749 §6, with the rotation of RFC 9700 §4.14.2: the presented token has had its use.
fn exchange_refresh_token(
    app: &App,
    store: &mut Store,
    &Presented { client, form, key }: &Presented<'_>,
) -> Result<(String, Scopes), OAuthError> {
    let presented = form.require("refresh_token")?;
    let refreshable = store.refreshable(presented, &client.id, key);
    let (grant_id, grant) = refreshable.map_err(|reason| {
        invalid_grant(match reason {
            NotRefreshable::Unknown => "the refresh token is unknown, expired, revoked or used",
            NotRefreshable::OtherKey => {
                "the refresh token is bound to a key that the request does not prove"
            }
        })
    })?;
    check_target(app, form, &grant.resource)?;
    let scopes = match form.get("scope").map(Scopes::parse) {
        None => grant.scopes,
        Some(Ok(fewer)) if grant.scopes.include(&fewer) => fewer,
        Some(_) => {
            let description = "a refresh cannot give more than the user granted";
            return Err(OAuthError::new(ErrorCode::InvalidScope, description));
        }
    };
    store.spend(presented);
    Ok((grant_id, scopes))
}

/// Checks that the tokens are asked for the resource that the user granted, and that tokens for it can
/// still be had here (RFC 8707 §2.2).
fn check_target(app: &App, form: &Parameters, granted: &str) -> Result<(), OAuthError> {
    if form.get("resource") == Some(granted) && app.issues_for(granted) {
        return Ok(());
    }
    let description = format!("resource must be {granted}");
    Err(OAuthError::new(ErrorCode::InvalidTarget, description))
}

fn invalid_grant(description: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidGrant, description)
}

/// The answer (RFC 6749 §5.1).
#[derive(Serialize)]
struct TokenResponse {
    access_token: String,
    token_type: TokenType,
    /// Seconds.
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    scope: String,
}

/// Scheme by which a token has to be presented.
#[derive(Serialize)]
pub(super) enum TokenType {
    /// RFC 6750
    Bearer,
    /// RFC 9449 §5
    #[serde(rename = "DPoP")]
    Dpop,
}

impl TokenType {
    /// The type of a token that is bound to this key.
    pub(super) const fn of(key: Option<&Digest>) -> Self {
        match key {
            Some(_) => Self::Dpop,
            None => Self::Bearer,
        }
    }
}

impl TokenResponse {
    fn new(
        app: &App,
        client: &Client,
        tokens: IssuedTokens,
        token_type: TokenType,
        scopes: &Scopes,
    ) -> Self {
        let may_refresh = client.grant_types.contains(&GrantType::RefreshToken);
        Self {
            access_token: tokens.access_token.into_inner(),
            token_type,
            expires_in: app.token_lifetime.as_secs(),
            refresh_token: may_refresh.then(|| tokens.refresh_token.into_inner()),
            scope: scopes.to_string(),
        }
    }
}
