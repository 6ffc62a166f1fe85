//! Refused request: its status, its challenge, and the token that it carried.

use std::net::IpAddr;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::discovery::challenge::{BearerChallenge, Challenges};
use crate::token::AccessToken;
use crate::token::proof::ProofObjection;

/// A request that the server turned down.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// 401 or 403.
    pub status: StatusCode,
    /// The token that the request carried.
    pub refused: Option<AccessToken>,
    /// Its challenges, as far as they could be read.
    pub(crate) challenges: Challenges,
    /// The address that the refusal came from; none where a proxy stands between.
    pub(crate) peer: Option<IpAddr>,
}

impl Refusal {
    /// The refusal of a request that carried `refused`.
    #[must_use]
    pub fn new(status: StatusCode, headers: &HeaderMap, refused: Option<AccessToken>) -> Self {
        Self {
            status,
            refused,
            challenges: Challenges::parse(headers),
            peer: None,
        }
    }

    /// The same with the address of the server that sent it, if that is known.
    #[must_use]
    pub const fn from_peer(mut self, peer: Option<IpAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// Objection to the proof that went with the token (RFC 9449 §7.1): not the token is refused.
    #[must_use]
    pub fn objection(&self) -> Option<&ProofObjection> {
        let token = self.refused.as_ref()?;
        let challenge = self.challenges.bearer()?;
        challenge.objection.as_ref().filter(|_| token.is_bound())
    }

    /// True if it says where the sign-in is described (RFC 9728 §5.1), as an MCP server does and a gateway before it does not.
    #[must_use]
    pub fn names_metadata(&self) -> bool {
        let challenge = self.challenges.bearer();
        challenge.is_some_and(|it| it.resource_metadata.is_some())
    }

    /// True if another token may change the server's mind: 401, or 403 with `insufficient_scope` (RFC 6750 §3.1).
    #[must_use]
    pub fn is_about_the_token(&self) -> bool {
        match self.status {
            StatusCode::UNAUTHORIZED => true,
            StatusCode::FORBIDDEN => self
                .challenges
                .bearer()
                .is_some_and(BearerChallenge::wants_more_scope),
            _ => false,
        }
    }
}
