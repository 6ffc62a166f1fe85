//! The resource server: protected resource metadata (RFC 9728) and bearer tokens (RFC 6750).

use std::sync::Arc;

use axum::extract::{Json, Request, State};
use axum::http::{StatusCode, header::AUTHORIZATION, header::WWW_AUTHENTICATE};
use axum::{middleware::Next, response::IntoResponse, response::Response};

use crate::token::{Verifier, words};

pub struct Resource {
    pub metadata_url: url::Url,
    /// Scopes that every request needs, with spaces between.
    pub scopes: String,
    pub verifier: Verifier,
}

/// Answers `GET /.well-known/oauth-protected-resource/…` (RFC 9728 §3).
pub async fn metadata(State(resource): State<Arc<Resource>>) -> Json<serde_json::Value> {
    let mut document = serde_json::json!({
        "resource": resource.verifier.audience,
        "authorization_servers": [resource.verifier.issuer],
        "bearer_methods_supported": ["header"],
    });
    if !resource.scopes.is_empty() {
        document["scopes_supported"] = resource.scopes.split_whitespace().collect();
    }
    Json(document)
}

/// Lets requests with a good token through, with its claims in their extensions.
pub async fn require_token(State(resource): State<Arc<Resource>>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|it| it.to_str().ok()?.split_once(' '));
    let Some((_, token)) = header.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")) else {
        return challenge(&resource, StatusCode::UNAUTHORIZED, "");
    };
    match resource.verifier.verify(token.trim()).await {
        Ok(Ok(claims)) => {
            let granted: Vec<_> = words(&claims.0["scope"]).chain(words(&claims.0["scp"])).collect();
            if !resource.scopes.split_whitespace().all(|scope| granted.contains(&scope)) {
                return challenge(&resource, StatusCode::FORBIDDEN, r#"error="insufficient_scope", "#);
            }
            request.extensions_mut().insert(claims);
            next.run(request).await
        }
        Ok(Err(reason)) => {
            let error = format!(r#"error="invalid_token", error_description="{reason}", "#);
            challenge(&resource, StatusCode::UNAUTHORIZED, &error)
        }
        Err(error) => {
            eprintln!("a token cannot be verified: {error:?}");
            StatusCode::SERVICE_UNAVAILABLE.into_response() // Another token would not help, so not 401.
        }
    }
}

/// Tells the client where the metadata is, and which scopes to ask for.
fn challenge(Resource { metadata_url, scopes, .. }: &Resource, status: StatusCode, error: &str) -> Response {
    let scope = if scopes.is_empty() { String::new() } else { format!(r#"scope="{scopes}", "#) };
    let value = format!(r#"Bearer {error}{scope}resource_metadata="{metadata_url}""#);
    (status, [(WWW_AUTHENTICATE, value)]).into_response()
}
