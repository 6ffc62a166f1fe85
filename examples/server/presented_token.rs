//! Access token of a request, and the check that whoever sends it may: by the token alone (RFC 6750), or with a proof of the key
//! that it is bound to (RFC 9449 §7.1).

use axum::http::{HeaderMap, Method, header};

use super::App;
use super::dpop::{BoundToken, DpopPolicy, Proof, ProvenRequest, Role};
use super::refusal::Refusal;
use super::token::Digest;

/// Authentication scheme of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Dpop,
}

impl Scheme {
    /// Its name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// The token of a request.
pub(crate) struct PresentedToken<'a> {
    /// The scheme that it came with.
    pub(crate) scheme: Scheme,
    /// The token itself.
    pub(crate) text: &'a str,
}

impl<'a> PresentedToken<'a> {
    /// Reads the header `Authorization`. Names of schemes have no case (RFC 9110 §11.1). Without DPoP there is one.
    pub(crate) fn of(headers: &'a HeaderMap, policy: DpopPolicy) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (name, token) = value.split_once(' ')?;
        let schemes: &[Scheme] = match policy {
            DpopPolicy::Off => &[Scheme::Bearer],
            DpopPolicy::Auto | DpopPolicy::Required => &[Scheme::Bearer, Scheme::Dpop],
        };
        let mut schemes = schemes.iter();
        let scheme = schemes.find(|scheme| name.eq_ignore_ascii_case(scheme.name()))?;
        Some(Self {
            scheme: *scheme,
            text: token.trim(),
        })
    }

    /// Checks that the sender may use the token, given the key that it is bound to. Returns the proof, if one was needed.
    ///
    /// A bound token must not work as a bearer token, or a thief would use it as that (RFC 9449 §7.2).
    pub(crate) async fn check_sender(
        &self,
        app: &App,
        headers: &HeaderMap,
        method: &Method,
        bound_to: Option<&Digest>,
    ) -> Result<Option<Proof>, Refusal> {
        let policy = app.dpop.policy();
        let key = match (self.scheme, bound_to) {
            (Scheme::Bearer, None) if policy == DpopPolicy::Required => {
                let reason = "the token is not bound to a key, and this server takes no others";
                return Err(Refusal::InvalidToken(reason));
            }
            (Scheme::Bearer, None) => return Ok(None),
            (Scheme::Bearer, Some(_)) if policy == DpopPolicy::Off => {
                let reason = "the token is bound to a key, and this server takes no proofs of one";
                return Err(Refusal::InvalidToken(reason));
            }
            (Scheme::Bearer, Some(_)) => {
                let reason = "the token is bound to a key: it needs the scheme DPoP and a proof";
                return Err(Refusal::InvalidToken(reason));
            }
            (Scheme::Dpop, None) => {
                let reason = "the token is not bound to a key: its scheme is Bearer";
                return Err(Refusal::InvalidToken(reason));
            }
            (Scheme::Dpop, Some(key)) => key,
        };
        let request = ProvenRequest {
            role: Role::ResourceServer,
            method,
            url: &app.resource,
            token: Some(BoundToken {
                text: self.text,
                key,
            }),
        };
        Ok(Some(app.dpop.verify(headers, &request).await?))
    }
}
