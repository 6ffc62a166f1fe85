//! OAuth error codes, and their meaning for what the client holds (RFC 6749 §4.1.2.1, §5.2; RFC 8707 §2).

/// Codes that ask for patience (RFC 6749 §4.1.2.1, RFC 8628 §3.5).
pub(crate) const PASSING_CODES: [&str; 2] = ["temporarily_unavailable", "slow_down"];

/// Meaning of an error code for what we hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The refresh token or code is used up, revoked or not ours.
    GrantIsDead,
    /// The client is unknown there, or may not do this.
    ClientIsDead,
    /// The `resource` parameter is not liked (RFC 8707 §2; Entra ID says it in its own way).
    ResourceIsUnwanted,
    /// A scope is unknown there.
    ScopeIsUnwanted,
    /// Nothing that would justify giving anything up.
    Other,
}

/// Meaning of an OAuth error code, here or in the answer of the authorization endpoint.
pub(crate) fn meaning(code: &str, reason: &str) -> Meaning {
    // Entra ID, for `resource` beside v2 scopes.
    const UNWANTED_RESOURCE: [&str; 3] = ["AADSTS9010010", "AADSTS901002", "AADSTS500011"];
    if code == "invalid_target" || UNWANTED_RESOURCE.iter().any(|code| reason.contains(code)) {
        return Meaning::ResourceIsUnwanted;
    }
    match code {
        "invalid_grant" => Meaning::GrantIsDead,
        "invalid_client" | "unauthorized_client" => Meaning::ClientIsDead,
        "invalid_scope" => Meaning::ScopeIsUnwanted,
        _ => Meaning::Other,
    }
}

/// True if `code`, which came with a server error, is an OAuth error code that does not ask for patience.
pub(crate) fn speaks_of_a_failure(code: &str) -> bool {
    is_oauth_code(code) && !PASSING_CODES.contains(&code)
}

/// True if `code` looks like an error code of OAuth, unlike the "Internal Server Error" that web frameworks
/// put into a member of the same name.
pub(crate) fn is_oauth_code(code: &str) -> bool {
    let is_fit =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    code.bytes().any(|byte| byte.is_ascii_lowercase()) && code.bytes().all(is_fit)
}
