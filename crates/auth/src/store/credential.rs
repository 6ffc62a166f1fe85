//! Credential: client registration and tokens of one authorization server for one MCP server.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use crate::client::authentication::LearntMethod;
use crate::client::registration::ClientRegistration;
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::error::shown;
use crate::grant::token_endpoint::Granted;
use crate::token::TokenSet;
use crate::token::proof_key::ProofKey;
use crate::token::scope::Scopes;
use crate::token::secret_serde;
use mcp_bridge_net::http::json::lenient;
use mcp_bridge_text::secret::Secret;

/// Changes when an older program could not read the file any more.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Credential that one authorization server gave us for one MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub(crate) version: u32,
    /// The MCP server, for the person who reads the file.
    pub(crate) server: Url,
    /// The name that the user gave the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The authorization server; nothing in here is ever sent to another one.
    pub(crate) metadata: AuthorizationServerMetadata,
    /// The `resource` that the tokens are for.
    pub(crate) resource: Option<String>,
    pub(crate) client: ClientRegistration,
    /// Voucher for the account beside its authorization server, if there is one.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) voucher: Option<Voucher>,
    /// Properties of the grant, if it is for several servers.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) shared: Option<SharedGrant>,
    /// The key that tokens are bound to, if they are (RFC 9449).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof_key: Option<ProofKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<TokenSet>,
    /// Requirements that this authorization server turned out to have.
    #[serde(default)]
    pub(crate) quirks: Quirks,
    /// Milliseconds since 1970; the newest credential of a server is the one in use.
    #[serde(default)]
    pub(crate) saved_at: u64,
}

/// Somebody who answers for an account beside its authorization server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Voucher {
    /// The identity provider of a company. The account there has itself.
    IdentityProvider(String),
    /// The issuer of the token in this place.
    ExternalToken(String),
    /// The sign-in that servers of one issuer share, by the name of its account.
    SharedSignIn(String),
}

/// Grant whose refresh token brings tokens for several servers, if its authorization server restricts each to one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedGrant {
    /// When the person signed in, in milliseconds since 1970; tells the grant from later ones.
    pub(crate) signed_in_at: u64,
    /// Resources that the authorization request named.
    pub(crate) resources: Vec<String>,
    /// Reason for which its tokens are for the server alone that asked first; none if they are proven to be restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unproven: Option<String>,
}

/// Parameters that an authorization server refused, so that they are not tried each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quirks {
    /// It refuses `resource` (RFC 8707 §2).
    #[serde(default)]
    pub(crate) no_resource: bool,
    /// It refuses the scopes that the resource names.
    #[serde(default)]
    pub(crate) no_scope: bool,
    /// It wants the client to authenticate in another way than was agreed on, or than it lists.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) authentication: Option<LearntMethod>,
}

/// The part of a credential that nobody else may see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Secrets {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<TokenSet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof_key: Option<ProofKey>,
    #[serde(
        default,
        with = "secret_serde::optional",
        skip_serializing_if = "Option::is_none"
    )]
    client_secret: Option<Secret<String>>,
}

/// Summary of tokens that may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The person's name, if the authorization server told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    pub(crate) granted: Scopes,
    /// Milliseconds since 1970.
    pub(crate) obtained_at: u64,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime: Option<u64>,
    /// True if there is a refresh token.
    pub(crate) renewable: bool,
    /// True if the access token is bound to a key.
    #[serde(default)]
    pub(crate) is_bound: bool,
}

impl Credential {
    pub(crate) fn new(
        server: Url,
        metadata: AuthorizationServerMetadata,
        resource: Option<String>,
        client: ClientRegistration,
    ) -> Self {
        Self {
            version: SCHEMA_VERSION,
            server: without_query(server),
            profile: None,
            metadata,
            resource,
            client,
            voucher: None,
            shared: None,
            proof_key: None,
            tokens: None,
            quirks: Quirks::default(),
            saved_at: 0,
        }
    }

    /// The `resource` parameter to send.
    pub(crate) fn resource(&self) -> Option<&str> {
        self.resource
            .as_deref()
            .filter(|_| !self.quirks.no_resource)
    }

    /// Takes what the token endpoint issued.
    pub(crate) fn receive(&mut self, granted: Granted) {
        self.tokens = Some(granted.tokens);
        self.quirks.authentication = granted.method;
    }

    /// The scopes to send out of `wanted`.
    pub(crate) fn scopes(&self, wanted: Scopes) -> Scopes {
        if self.quirks.no_scope {
            return Scopes::default();
        }
        wanted
    }

    /// Takes the secrets out.
    pub(crate) fn split(mut self) -> (Self, Secrets) {
        let secrets = Secrets {
            tokens: self.tokens.take(),
            proof_key: self.proof_key.take(),
            client_secret: self.client.take_secret(),
        };
        (self, secrets)
    }

    /// Puts the secrets back.
    pub(crate) fn joined(mut self, secrets: Secrets) -> Self {
        self.tokens = secrets.tokens;
        self.proof_key = secrets.proof_key;
        self.client.put_secret(secrets.client_secret);
        self
    }
}

impl Summary {
    pub(crate) fn from_tokens(tokens: &TokenSet) -> Self {
        Self {
            user: tokens
                .id_token
                .as_ref()
                .and_then(|token| user_name(token.expose())),
            granted: tokens.granted.clone(),
            obtained_at: tokens.obtained_at,
            lifetime: tokens.lifetime,
            renewable: tokens.refresh_token.is_some(),
            is_bound: tokens.is_bound,
        }
    }
}

/// A server's URL as it may be shown and stored: the query may hold the user's key, and nobody needs it.
pub(crate) fn without_query(mut server: Url) -> Url {
    server.set_query(None);
    server.set_fragment(None);
    server
}

/// The person that an ID token speaks of (OpenID Connect Core §5.1). It is shown and nothing else, so its
/// signature does not matter.
fn user_name(id_token: &str) -> Option<String> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1)?);
    let claims: Map<String, Value> = serde_json::from_slice(&claims.ok()?).ok()?;
    ["preferred_username", "email", "name", "sub"]
        .iter()
        .filter_map(|claim| claims.get(*claim)?.as_str())
        .find(|name| !name.trim().is_empty())
        .map(|name| shown(name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_token_tells_the_most_readable_name() {
        let check = |claims: &str, expected: Option<&str>| {
            let token = format!("e30.{}.x", BASE64_URL_SAFE_NO_PAD.encode(claims));
            assert_eq!(user_name(&token).as_deref(), expected, "{claims}");
        };
        check(
            r#"{"sub":"17","email":"ada@example.com"}"#,
            Some("ada@example.com"),
        );
        check(r#"{"sub":"17","preferred_username":"ada"}"#, Some("ada"));
        check(r#"{"sub":"17","name":" "}"#, Some("17"));
        check(r#"{"name":"a\u001b[31mda"}"#, Some("a\u{fffd}[31mda"));
        check("[]", None);
        assert_eq!(user_name("opaque"), None);
    }
}
