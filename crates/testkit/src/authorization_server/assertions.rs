//! Grants that somebody else has issued: JWT bearer (RFC 7523 §2.1) and token exchange (RFC 8693).

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::client_authentication::refused;
use super::{Grant, Inner, Seen};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Foreign tokens that the server trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// This one alone, whatever the client.
    Token(String),
    /// Identity assertions of this issuer for this server and the client that brings them
    /// (draft-ietf-oauth-identity-assertion-authz-grant §4.4.1). Their signature is checked where they are made.
    IdentityProvider(String),
}

impl Inner {
    /// True if the request brings a foreign token, and no scripted reply is due.
    pub(super) fn takes_assertion(&self, seen: &Seen) -> bool {
        let grant_type = seen.form.get("grant_type").map(String::as_str);
        let is_scripted =
            self.behaviour.token_outage.is_some() || !self.behaviour.token_replies.is_empty();
        let is_foreign = matches!(grant_type, Some(JWT_BEARER | TOKEN_EXCHANGE));
        is_foreign && self.behaviour.trust.is_some() && !is_scripted
    }

    pub(super) fn assertion_grant(&mut self, origin: &str, seen: &Seen) -> Response {
        let form = |name: &str| seen.form.get(name).cloned().unwrap_or_default();
        let invalid = |words: &str| refused(400, "invalid_grant", words);
        let name = match form("grant_type").as_str() {
            JWT_BEARER => "assertion",
            _ => "subject_token",
        };
        let client_id = match self.authenticated(seen) {
            Ok(id) => id,
            Err(refusal)
                if seen.form.contains_key("client_id")
                    || seen.headers.contains_key("authorization") =>
            {
                return *refusal;
            }
            // The grant may be enough (RFC 7521 §4.1).
            Err(_) => String::new(),
        };
        match &self.behaviour.trust {
            Some(Trust::Token(token)) if *token == form(name) => {}
            Some(Trust::IdentityProvider(issuer)) => {
                let (header, claims) = jwt(&form(name));
                let expected = [
                    (&header["typ"], "oauth-id-jag+jwt"),
                    (&claims["iss"], issuer.as_str()),
                    (&claims["aud"], origin),
                    (&claims["client_id"], client_id.as_str()),
                    (&claims["resource"], &format!("{origin}/mcp")),
                ];
                if let Some((found, expected)) = expected.iter().find(|(it, other)| *it != other) {
                    return invalid(&format!("{found} instead of {expected}"));
                }
            }
            Some(Trust::Token(_)) | None => return invalid("that token is not trusted"),
        }
        let grant = Grant {
            client_id,
            redirect_uri: String::new(),
            challenge: String::new(),
            resource: seen.form.get("resource").cloned(),
            named: Vec::new(),
            scope: form("scope"),
            key: None,
        };
        let mut reply = self.issue(grant);
        if name == "subject_token" {
            reply["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:access_token");
        }
        axum::Json(reply).into_response()
    }
}

/// Header and claims of a JWT.
fn jwt(text: &str) -> (Value, Value) {
    let mut parts = text.split('.').map(|part| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    });
    (parts.next().unwrap(), parts.next().unwrap())
}
