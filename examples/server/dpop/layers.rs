//! Layers around the endpoints: the proof of a token request, and the nonce of each response.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::App;
use super::super::authorization::OAuthError;
use super::super::token::Digest;
use super::{Dpop, DpopPolicy, NONCE, PROOF, ProofRefusal, ProvenRequest, Role};

/// The key that a token request proved, as extension of the request; `None` without a proof.
#[derive(Clone)]
pub(crate) struct ProvenKey(pub(crate) Option<Digest>);

/// Verifies the proof of a token request (§5), and hands out a nonce.
///
/// This is outside of the transaction on the shared store, since the request may be carried out several times there, and the
/// proof is good once.
pub(crate) async fn prove_key(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let role = Role::AuthorizationServer;
    let response = match proven_key(&app, request.headers()).await {
        Ok(key) => {
            request.extensions_mut().insert(key);
            next.run(request).await
        }
        Err(refusal) => OAuthError::from(refusal).into_response(),
    };
    app.dpop.with_nonce(role, response).await
}

async fn proven_key(app: &App, headers: &HeaderMap) -> Result<ProvenKey, ProofRefusal> {
    let has_proof = headers.contains_key(PROOF);
    match app.dpop.policy() {
        DpopPolicy::Off => return Ok(ProvenKey(None)),
        DpopPolicy::Auto if !has_proof => return Ok(ProvenKey(None)),
        DpopPolicy::Required if !has_proof => return Err(ProofRefusal::missing()),
        DpopPolicy::Auto | DpopPolicy::Required => {}
    }
    let request = ProvenRequest {
        role: Role::AuthorizationServer,
        method: &Method::POST,
        url: &format!("{}/token", app.origin),
        token: None,
    };
    let proof = app.dpop.verify(headers, &request).await?;
    Ok(ProvenKey(Some(proof.key().clone())))
}

/// Hands out a nonce with each response of the MCP endpoint (§9).
pub(crate) async fn hand_out_nonces(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    app.dpop.with_nonce(Role::ResourceServer, response).await
}

impl ProofRefusal {
    /// For a client that has to prove a key and does not.
    pub(crate) fn missing() -> Self {
        Self::invalid("tokens are bound to a key here, so a DPoP proof is needed (RFC 9449)")
    }
}

impl Dpop {
    /// The response with the present nonce, if nonces are needed here.
    async fn with_nonce(&self, role: Role, mut response: Response) -> Response {
        let Some(nonces) = &self.nonces else {
            return response;
        };
        let nonce = match nonces.current(role).await {
            Ok(nonce) => nonce,
            Err(error) => {
                tracing::warn!(%error, "Redis does not answer, so there is no nonce");
                return response;
            }
        };
        if let Ok(nonce) = HeaderValue::from_str(&nonce) {
            response.headers_mut().insert(NONCE, nonce);
        }
        response
    }
}
