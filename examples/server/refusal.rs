//! Refusals of the resource server, and the challenges that tell a client what to do about them (RFC 6750 §3, RFC 9449 §7.1).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::dpop::{DpopPolicy, ProofRefusal};
use super::issuer::TokenRefusal;
use super::presented_token::Scheme;
use super::resource::BASIC_SCOPES;
use super::scope::Scopes;

/// Time after which a client should try again while the issuer or Redis does not answer, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// Reasons to refuse a request (RFC 6750 §3.1).
pub(crate) enum Refusal {
    /// There is no token. That is not an error yet, so the answer names none.
    NoToken,
    /// There is one, but it is not good here and now.
    InvalidToken(&'static str),
    /// The proof that came with it is not good (RFC 9449 §7.1).
    InvalidProof(String),
    /// The proof needs a nonce (RFC 9449 §9).
    WantsNonce,
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

impl From<ProofRefusal> for Refusal {
    fn from(refusal: ProofRefusal) -> Self {
        match refusal {
            ProofRefusal::Invalid(reason) => Self::InvalidProof(reason),
            ProofRefusal::WantsNonce => Self::WantsNonce,
            ProofRefusal::OtherKey => {
                Self::InvalidToken("the token is bound to another key than that of the proof")
            }
            ProofRefusal::Unverifiable => Self::Unverifiable,
        }
    }
}

impl Refusal {
    /// The answer to a request whose token came with this scheme.
    pub(crate) fn response(&self, app: &App, scheme: Scheme) -> Response {
        let status = match self {
            Self::InsufficientScope(_) => StatusCode::FORBIDDEN,
            Self::Unverifiable => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return (status, [(header::RETRY_AFTER, RETRY_AFTER)]).into_response();
            }
            Self::NoToken | Self::InvalidToken(_) | Self::InvalidProof(_) | Self::WantsNonce => {
                StatusCode::UNAUTHORIZED
            }
        };
        let mut response = status.into_response();
        let mut error = self.error();
        // The error belongs to the scheme that was used, which comes first; the other one is an offer.
        for scheme in self.schemes(app.dpop.policy(), scheme) {
            let challenge = self.challenge(app, *scheme, &std::mem::take(&mut error));
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                let headers = response.headers_mut();
                headers.append(header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }

    /// The schemes that a client can use (RFC 9449 §7.2), the one that it has used first.
    const fn schemes(&self, policy: DpopPolicy, used: Scheme) -> &'static [Scheme] {
        use Scheme::{Bearer, Dpop};
        match (policy, used, self) {
            (DpopPolicy::Off, _, _) | (DpopPolicy::Auto, Bearer, Self::InsufficientScope(_)) => {
                &[Bearer]
            }
            (DpopPolicy::Required, _, _) | (DpopPolicy::Auto, Dpop, Self::InsufficientScope(_)) => {
                &[Dpop]
            }
            (DpopPolicy::Auto, Bearer, _) => &[Bearer, Dpop],
            (DpopPolicy::Auto, Dpop, _) => &[Dpop, Bearer],
        }
    }

    /// A challenge: the client learns where to find out about tokens (RFC 9728 §5.1) and which scopes to ask for
    /// (RFC 6750 §3).
    fn challenge(&self, app: &App, scheme: Scheme, error: &str) -> String {
        let basic = Scopes::from(BASIC_SCOPES);
        let scopes = match self {
            Self::InsufficientScope(scopes) => scopes,
            _ => &basic,
        };
        let scope = match app.scope_names(scopes).as_str() {
            "" => String::new(),
            names => format!(r#"scope="{names}", "#),
        };
        let algorithms = match (scheme, app.dpop.algorithms()) {
            (Scheme::Dpop, Some(names)) => format!(r#"algs="{}", "#, names.join(" ")),
            (Scheme::Dpop | Scheme::Bearer, _) => String::new(),
        };
        let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", app.origin);
        let name = scheme.name();
        format!(r#"{name} {error}{algorithms}{scope}resource_metadata="{metadata}""#)
    }

    /// The parameters that say what is wrong.
    fn error(&self) -> String {
        let (code, description) = match self {
            Self::NoToken | Self::Unverifiable => return String::new(),
            Self::InvalidToken(reason) => ("invalid_token", *reason),
            Self::InvalidProof(reason) => ("invalid_dpop_proof", reason.as_str()),
            Self::WantsNonce => (
                "use_dpop_nonce",
                "the proof needs a recent nonce of this server",
            ),
            Self::InsufficientScope(_) => ("insufficient_scope", "the user must allow more"),
        };
        format!(r#"error="{code}", error_description="{description}", "#)
    }
}
