//! Refused refresh requests: which answers of the token endpoint end a grant, and which say nothing about it.
//!
//! | answer to a refresh request | verdict |
//! |---|---|
//! | `invalid_target`, `invalid_scope` | [`RenewalVerdict::ResourceIsUnwanted`], [`RenewalVerdict::ScopeIsUnwanted`] |
//! | `invalid_grant` | [`RenewalVerdict::TokenIsVoid`] |
//! | `invalid_client` | [`RenewalVerdict::ClientIsUnknown`] |
//! | 400, 401, 403 with any other code, or in any other shape | [`RenewalVerdict::Refused`] |
//! | another 4xx with an OAuth error code | [`RenewalVerdict::Refused`] |
//! | `temporarily_unavailable`, `slow_down` | [`RenewalVerdict::Passing`] |
//! | `server_error`; 5xx with any other OAuth error code; another 4xx | [`RenewalVerdict::ServerFails`] |
//! | 408, 425, 429; other 5xx; redirects; no answer; 2xx without a token | [`RenewalVerdict::Passing`] |
//!
//! A stored refresh token is deleted on `invalid_grant` alone (and with a client of our own making that the
//! server does not know), because only that is the authorization server's word about it. Any other refusal
//! may be the fault of this program or of something between, such as a firewall. The token is then kept
//! until a sign-in has brought another one, and it is tried once more before a person is asked.

use reqwest::StatusCode;

use crate::error::AuthError;
use crate::grant::token_endpoint::GrantError;
use crate::transport::error_code::{
    Meaning, PASSING_CODES, is_oauth_code, meaning, speaks_of_a_failure,
};

/// Meaning of a failed refresh request for the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenewalVerdict {
    /// The same request without `resource` may work.
    ResourceIsUnwanted,
    /// The same request without `scope` may work.
    ScopeIsUnwanted,
    /// The refresh token is void, in the server's own word.
    TokenIsVoid,
    /// The server does not know the client.
    ClientIsUnknown,
    /// The refresh token is not accepted; another request would fare no better.
    Refused,
    /// The authorization server fails by its own account. Some say so of every refused refresh token.
    ServerFails,
    /// It says nothing about the refresh token.
    Passing,
}

impl RenewalVerdict {
    /// True if the refresh token may be good for another request.
    pub(crate) const fn is_about_request(self) -> bool {
        match self {
            Self::ResourceIsUnwanted | Self::ScopeIsUnwanted | Self::Refused => true,
            Self::TokenIsVoid | Self::ClientIsUnknown | Self::ServerFails | Self::Passing => false,
        }
    }

    pub(crate) fn from_failure(failure: &GrantError) -> Self {
        match failure {
            GrantError::Refused(refusal) => {
                verdict(refusal.status(), refusal.code(), refusal.reason())
            }
            GrantError::Failed(AuthError::ServerFailed { .. }) => Self::ServerFails,
            GrantError::Failed(_) => Self::Passing,
        }
    }
}

/// The verdict on an answer; `code` is empty if it is not in the form of RFC 6749 §5.2.
fn verdict(status: StatusCode, code: &str, reason: &str) -> RenewalVerdict {
    if PASSING_CODES.contains(&code) {
        return RenewalVerdict::Passing;
    }
    if status.is_server_error() {
        return if speaks_of_a_failure(code) {
            RenewalVerdict::ServerFails
        } else {
            RenewalVerdict::Passing
        };
    }
    if !status.is_client_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return RenewalVerdict::Passing;
    }
    if code == "server_error" {
        return RenewalVerdict::ServerFails;
    }
    match meaning(code, reason) {
        Meaning::ResourceIsUnwanted => return RenewalVerdict::ResourceIsUnwanted,
        Meaning::ScopeIsUnwanted => return RenewalVerdict::ScopeIsUnwanted,
        Meaning::GrantIsDead => return RenewalVerdict::TokenIsVoid,
        Meaning::ClientIsDead if code == "invalid_client" => {
            return RenewalVerdict::ClientIsUnknown;
        }
        Meaning::ClientIsDead | Meaning::Other => {}
    }
    let is_about_the_request = matches!(status.as_u16(), 400 | 401 | 403);
    if is_about_the_request || is_oauth_code(code) {
        RenewalVerdict::Refused
    } else {
        RenewalVerdict::ServerFails
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_verdict() {
        let check = |status: u16, code: &str, expected: RenewalVerdict| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(verdict(status, code, code), expected, "{status} {code}");
        };
        for status in [400, 401, 403, 422] {
            check(status, "invalid_grant", RenewalVerdict::TokenIsVoid);
            check(status, "invalid_client", RenewalVerdict::ClientIsUnknown);
            check(status, "invalid_target", RenewalVerdict::ResourceIsUnwanted);
            check(status, "invalid_scope", RenewalVerdict::ScopeIsUnwanted);
            check(status, "unauthorized_client", RenewalVerdict::Refused);
            check(status, "invalid_request", RenewalVerdict::Refused);
            check(status, "access_denied", RenewalVerdict::Refused);
            check(status, "token_expired", RenewalVerdict::Refused);
            check(status, "temporarily_unavailable", RenewalVerdict::Passing);
            check(status, "slow_down", RenewalVerdict::Passing);
            check(status, "server_error", RenewalVerdict::ServerFails);
        }
        // HTML, text, JSON of another shape, nothing at all.
        for status in [400, 401, 403] {
            check(status, "", RenewalVerdict::Refused);
            check(status, "Bad Request", RenewalVerdict::Refused);
        }
        for status in [404, 405, 410, 415, 422, 451] {
            check(status, "", RenewalVerdict::ServerFails);
        }
        for status in [408, 425, 429] {
            check(status, "invalid_grant", RenewalVerdict::Passing);
            check(status, "", RenewalVerdict::Passing);
        }
        for status in [500, 502, 503] {
            check(status, "server_error", RenewalVerdict::ServerFails);
            check(status, "invalid_grant", RenewalVerdict::ServerFails);
            check(status, "temporarily_unavailable", RenewalVerdict::Passing);
            check(status, "Internal Server Error", RenewalVerdict::Passing);
            check(status, "500", RenewalVerdict::Passing);
            check(status, "", RenewalVerdict::Passing);
        }
        check(302, "", RenewalVerdict::Passing);
    }

    #[test]
    fn without_an_answer_nothing_is_known() {
        let outage = AuthError::Unavailable {
            reason: "timed out".into(),
            retry_after: std::time::Duration::ZERO,
        };
        assert_eq!(
            RenewalVerdict::from_failure(&GrantError::Failed(outage)),
            RenewalVerdict::Passing
        );
        let failed = AuthError::ServerFailed {
            reason: "server_error".into(),
            retry_after: std::time::Duration::ZERO,
        };
        assert_eq!(
            RenewalVerdict::from_failure(&GrantError::Failed(failed)),
            RenewalVerdict::ServerFails
        );
    }
}
