//! Refused refresh requests: which answers of the token endpoint end a grant, and which say nothing about it.
//!
//! | answer to a refresh request | verdict |
//! |---|---|
//! | `invalid_target`, `invalid_scope` | [`Verdict::ResourceIsUnwanted`], [`Verdict::ScopeIsUnwanted`] |
//! | `invalid_grant` | [`Verdict::TokenIsVoid`] |
//! | `invalid_client` | [`Verdict::ClientIsUnknown`] |
//! | 400, 401, 403 with any other code, or in any other shape | [`Verdict::Refused`] |
//! | another 4xx with an OAuth error code | [`Verdict::Refused`] |
//! | `temporarily_unavailable`, `slow_down` | [`Verdict::Passing`] |
//! | `server_error`; 5xx with any other OAuth error code; another 4xx | [`Verdict::ServerFails`] |
//! | 408, 425, 429; other 5xx; redirects; no answer; 2xx without a token | [`Verdict::Passing`] |
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
pub(crate) enum Verdict {
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

impl Verdict {
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
fn verdict(status: StatusCode, code: &str, reason: &str) -> Verdict {
    if PASSING_CODES.contains(&code) {
        return Verdict::Passing;
    }
    if status.is_server_error() {
        return if speaks_of_a_failure(code) {
            Verdict::ServerFails
        } else {
            Verdict::Passing
        };
    }
    if !status.is_client_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return Verdict::Passing;
    }
    if code == "server_error" {
        return Verdict::ServerFails;
    }
    match meaning(code, reason) {
        Meaning::ResourceIsUnwanted => return Verdict::ResourceIsUnwanted,
        Meaning::ScopeIsUnwanted => return Verdict::ScopeIsUnwanted,
        Meaning::GrantIsDead => return Verdict::TokenIsVoid,
        Meaning::ClientIsDead if code == "invalid_client" => return Verdict::ClientIsUnknown,
        Meaning::ClientIsDead | Meaning::Other => {}
    }
    let is_about_the_request = matches!(status.as_u16(), 400 | 401 | 403);
    if is_about_the_request || is_oauth_code(code) {
        Verdict::Refused
    } else {
        Verdict::ServerFails
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_verdict() {
        let check = |status: u16, code: &str, expected: Verdict| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(verdict(status, code, code), expected, "{status} {code}");
        };
        for status in [400, 401, 403, 422] {
            check(status, "invalid_grant", Verdict::TokenIsVoid);
            check(status, "invalid_client", Verdict::ClientIsUnknown);
            check(status, "invalid_target", Verdict::ResourceIsUnwanted);
            check(status, "invalid_scope", Verdict::ScopeIsUnwanted);
            check(status, "unauthorized_client", Verdict::Refused);
            check(status, "invalid_request", Verdict::Refused);
            check(status, "access_denied", Verdict::Refused);
            check(status, "token_expired", Verdict::Refused);
            check(status, "temporarily_unavailable", Verdict::Passing);
            check(status, "slow_down", Verdict::Passing);
            check(status, "server_error", Verdict::ServerFails);
        }
        // HTML, text, JSON of another shape, nothing at all.
        for status in [400, 401, 403] {
            check(status, "", Verdict::Refused);
            check(status, "Bad Request", Verdict::Refused);
        }
        for status in [404, 405, 410, 415, 422, 451] {
            check(status, "", Verdict::ServerFails);
        }
        for status in [408, 425, 429] {
            check(status, "invalid_grant", Verdict::Passing);
            check(status, "", Verdict::Passing);
        }
        for status in [500, 502, 503] {
            check(status, "server_error", Verdict::ServerFails);
            check(status, "invalid_grant", Verdict::ServerFails);
            check(status, "temporarily_unavailable", Verdict::Passing);
            check(status, "Internal Server Error", Verdict::Passing);
            check(status, "500", Verdict::Passing);
            check(status, "", Verdict::Passing);
        }
        check(302, "", Verdict::Passing);
    }

    #[test]
    fn without_an_answer_nothing_is_known() {
        let outage = AuthError::Unavailable {
            reason: "timed out".into(),
            retry_after: std::time::Duration::ZERO,
        };
        assert_eq!(
            Verdict::from_failure(&GrantError::Failed(outage)),
            Verdict::Passing
        );
        let failed = AuthError::ServerFailed {
            reason: "server_error".into(),
            retry_after: std::time::Duration::ZERO,
        };
        assert_eq!(
            Verdict::from_failure(&GrantError::Failed(failed)),
            Verdict::ServerFails
        );
    }
}
