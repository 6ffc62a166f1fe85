//! The error responses of OAuth.

use std::fmt;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::dpop::ProofRefusal;

/// OAuth error: a code for the client's program, and a sentence for its developer.
#[derive(Debug)]
pub(crate) struct OAuthError {
    /// The `error` member.
    pub(crate) code: ErrorCode,
    /// The `error_description` member.
    pub(crate) description: String,
}

/// The `error` codes that this server uses, with the section that defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// RFC 6749 §4.1.2.1: the user said no.
    AccessDenied,
    /// RFC 6749 §5.2: unknown client, or it did not prove who it is.
    InvalidClient,
    /// RFC 7591 §3.2.2
    InvalidClientMetadata,
    /// RFC 9449 §5: the proof is not good, or is missing where one is needed.
    InvalidDpopProof,
    /// RFC 6749 §5.2: the code or refresh token is not, or no longer, good.
    InvalidGrant,
    /// RFC 7591 §3.2.2
    InvalidRedirectUri,
    /// RFC 6749 §4.1.2.1 and §5.2
    InvalidRequest,
    /// RFC 6749 §4.1.2.1 and §5.2
    InvalidScope,
    /// RFC 8707 §2: tokens for this resource are not to be had here.
    InvalidTarget,
    /// RFC 6749 §4.1.2.1: too much to do.
    TemporarilyUnavailable,
    /// RFC 6749 §5.2: the client did not register for this grant type.
    UnauthorizedClient,
    /// RFC 6749 §5.2
    UnsupportedGrantType,
    /// RFC 6749 §4.1.2.1
    UnsupportedResponseType,
    /// RFC 9449 §8: the proof needs the nonce of this answer.
    UseDpopNonce,
}

impl OAuthError {
    /// An error with its explanation.
    pub(crate) fn new(code: ErrorCode, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
        }
    }
}

impl From<ProofRefusal> for OAuthError {
    fn from(refusal: ProofRefusal) -> Self {
        let (code, description) = match refusal {
            ProofRefusal::Invalid(reason) => (ErrorCode::InvalidDpopProof, reason),
            ProofRefusal::WantsNonce => {
                let description = "the proof needs a recent nonce of this server";
                (ErrorCode::UseDpopNonce, description.to_owned())
            }
            ProofRefusal::OtherKey => {
                let description = "the proof is of another key";
                (ErrorCode::InvalidGrant, description.to_owned())
            }
            ProofRefusal::Unverifiable => {
                let description = "proofs cannot be verified at present";
                (ErrorCode::TemporarilyUnavailable, description.to_owned())
            }
        };
        Self { code, description }
    }
}

impl ErrorCode {
    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::AccessDenied
            | Self::InvalidClientMetadata
            | Self::InvalidDpopProof
            | Self::InvalidGrant
            | Self::InvalidRedirectUri
            | Self::InvalidRequest
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::UnsupportedResponseType
            | Self::UseDpopNonce => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessDenied => "access_denied",
            Self::InvalidClient => "invalid_client",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UseDpopNonce => "use_dpop_nonce",
        })
    }
}

/// The JSON form, for endpoints that programs call (RFC 6749 §5.2, RFC 7591 §3.2.2).
impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({
            "error": self.code.to_string(),
            "error_description": self.description,
        });
        let mut response = (self.code.status(), no_store(Json(body))).into_response();
        if self.code == ErrorCode::InvalidClient {
            let challenge = header::HeaderValue::from_static("Basic realm=\"mcp-bridge example\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// A response that no cache may keep, because there are secrets in it (RFC 6749 §5.1).
pub(crate) fn no_store(response: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], response).into_response()
}
