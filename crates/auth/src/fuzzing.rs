//! Properties of what authorization servers answer for any input, behind `fuzz/`. A property that does not hold panics.

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde_json::Value;

use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::discovery::challenge::BearerChallenge;
use crate::discovery::protected_resource::ProtectedResourceMetadata;
use crate::transport::WholeAnswer;
use crate::transport::token_reply;
use mcp_bridge_net::http::json;

/// `WWW-Authenticate` header lines: what is found in them stands in them.
///
/// # Panics
///
/// If it does not hold.
pub fn challenge(data: &[u8]) {
    let lines: Vec<HeaderValue> = data
        .split(|byte| *byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect();
    let found = BearerChallenge::find(&lines).unwrap_or_default();
    let longest = lines.iter().map(HeaderValue::len).max().unwrap_or_default();
    for value in [found.resource_metadata, found.scope, found.error]
        .into_iter()
        .flatten()
    {
        // A byte that is no UTF-8 becomes U+FFFD, which has three.
        assert!(value.len() <= 3 * longest);
    }
}

/// Metadata documents (RFC 8414, RFC 9728).
pub fn metadata(data: &[u8]) {
    let _ = json::parse::<AuthorizationServerMetadata>(data);
    let _ = json::parse::<ProtectedResourceMetadata>(data);
}

/// A token response with the status of its first byte: errors are an object with a code (RFC 6749 §5.2).
///
/// # Panics
///
/// If it does not hold.
pub fn token_response(data: &[u8]) {
    let Some((&status, body)) = data.split_first() else {
        return;
    };
    let status = StatusCode::from_u16(100 + u16::from(status) * 2).expect("a status");
    let body = body.to_vec();
    let _ = token_reply::without_token(&json::parse(&body));
    let response =
        token_reply::standard_form(WholeAnswer { status, body }, b"client_secret=correct-horse");
    if response.status().is_success() {
        return;
    }
    let error: Value = serde_json::from_slice(response.body()).expect("an object");
    assert!(error["error"].is_string(), "{error}");
    assert!(!error.to_string().contains("correct-horse"), "{error}");
}

#[cfg(test)]
mod tests {
    use mcp_bridge_testkit::corpus::replay;

    use super::*;

    #[test]
    fn the_inputs_that_fuzzing_found_keep_the_properties() {
        replay("challenge", challenge);
        replay("metadata", metadata);
        replay("token_response", token_response);
    }
}
