//! Authorization server metadata (RFC 8414).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::super::scope::Scope;
use super::super::{App, Registration};

/// Answers `GET /.well-known/oauth-authorization-server` (RFC 8414 §3).
pub(crate) async fn metadata(State(app): State<Arc<App>>) -> Json<AuthorizationServerMetadata> {
    let endpoint = |path: &str| format!("{}/{path}", app.origin);
    let (registration_endpoint, client_authentication): (_, &[_]) = match app.registration {
        Registration::Dynamic => (
            Some(endpoint("register")),
            &["none", "client_secret_basic", "client_secret_post"],
        ),
        Registration::BeforehandOnly => (None, &["client_secret_basic"]),
    };
    let introspected = app.other_resource.is_some();
    Json(AuthorizationServerMetadata {
        issuer: app.origin.clone(),
        authorization_endpoint: endpoint("authorize"),
        token_endpoint: endpoint("token"),
        registration_endpoint,
        revocation_endpoint: endpoint("revoke"),
        introspection_endpoint: introspected.then(|| endpoint("introspect")),
        scopes_supported: Scope::ALL.map(Scope::name),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: ["authorization_code", "refresh_token"],
        token_endpoint_auth_methods_supported: client_authentication,
        revocation_endpoint_auth_methods_supported: client_authentication,
        introspection_endpoint_auth_methods_supported: introspected
            .then_some(["client_secret_basic"]),
        code_challenge_methods_supported: ["S256"],
        authorization_response_iss_parameter_supported: true,
        dpop_signing_alg_values_supported: app.dpop.algorithms(),
        client_id_metadata_document_supported: app.documents.is_some(),
    })
}

/// The document (RFC 8414 §2).
#[derive(Serialize)]
pub(crate) struct AuthorizationServerMetadata {
    /// Must be the URL from which the address of this document was made: clients compare.
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    revocation_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint: Option<String>,
    scopes_supported: [&'static str; Scope::ALL.len()],
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: &'static [&'static str],
    revocation_endpoint_auth_methods_supported: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint_auth_methods_supported: Option<[&'static str; 1]>,
    /// MCP clients refuse a server that does not say this.
    code_challenge_methods_supported: [&'static str; 1],
    /// RFC 9207 §3: the authorization response carries `iss`.
    authorization_response_iss_parameter_supported: bool,
    /// RFC 9449 §5.1
    #[serde(skip_serializing_if = "Option::is_none")]
    dpop_signing_alg_values_supported: Option<&'static [&'static str]>,
    /// `client_id` may be the URL of a document that describes the client (`client_documents`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    client_id_metadata_document_supported: bool,
}
