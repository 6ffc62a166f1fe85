//! Overview of the sign-in in use: client, scopes and lifetime of the token, without secrets.

use serde::Serialize;

use crate::client::registration::ClientRegistration;
use crate::config::{ClientAuthentication, ClientCredential};
use crate::error::shown;
use crate::flow::client_choice::client_of;
use crate::flow::session::SignInSession;
use crate::store::{Credential, Summary};
use crate::token::TokenSet;

/// The sign-in that is in use.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignInOverview {
    /// The authorization server.
    pub issuer: String,
    /// The client that has signed in.
    pub client: ClientOverview,
    /// The tokens, if there are any.
    pub tokens: Option<TokenOverview>,
}

/// The client of a sign-in.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientOverview {
    /// The way in which it became known to the authorization server.
    pub kind: ClientKind,
    /// Its id; none if it is no longer configured.
    pub id: Option<String>,
    /// Proof of its identity at the token endpoint, in words.
    pub authentication: &'static str,
    /// The method that was agreed on at its registration.
    pub method: Option<ClientAuthentication>,
    /// Expiry of its secret, in seconds since 1970; none if it has none, or one that does not expire.
    pub secret_expires_at: Option<u64>,
}

/// Way in which a client became known to an authorization server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientKind {
    /// The user has registered it.
    PreRegistered,
    /// By the URL of a document about it.
    MetadataDocument,
    /// By a request (RFC 7591).
    Dynamic,
    /// Not at all: the grant says on whose behalf a request is made (RFC 7521 §4.1).
    Unregistered,
}

/// Tokens, without themselves.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenOverview {
    /// The person's name, if the authorization server told it.
    pub user: Option<String>,
    /// Scopes that were asked for, separated by spaces.
    pub requested: String,
    /// Scopes that were granted.
    pub granted: String,
    /// When they were issued, in milliseconds since 1970.
    pub obtained_at: u64,
    /// Lifetime from then on, in seconds, if the authorization server told it.
    pub lifetime: Option<u64>,
    /// True if there is a refresh token.
    pub is_renewable: bool,
    /// True if the access token is bound to a key (RFC 9449).
    pub is_bound: bool,
}

/// The sign-in in use; none if there is none.
pub(crate) fn overview(session: &SignInSession) -> Option<SignInOverview> {
    let credential = session.credential()?;
    Some(SignInOverview {
        issuer: shown(&credential.metadata.issuer),
        client: client(session, &credential),
        tokens: credential.tokens.as_ref().map(tokens),
    })
}

fn client(session: &SignInSession, credential: &Credential) -> ClientOverview {
    let (kind, method, expiry) = match &credential.client {
        ClientRegistration::PreRegistered => (ClientKind::PreRegistered, None, 0),
        ClientRegistration::MetadataDocument => (ClientKind::MetadataDocument, None, 0),
        ClientRegistration::Unregistered => (ClientKind::Unregistered, None, 0),
        ClientRegistration::Dynamic(registration) => (
            ClientKind::Dynamic,
            registration.token_endpoint_auth_method,
            registration.client_secret_expires_at,
        ),
    };
    let identity = client_of(session, credential).ok();
    let authentication = match identity.as_ref().map(|it| &it.credential) {
        Some(ClientCredential::None) => "public, without a secret",
        Some(ClientCredential::Secret(_)) => "by a secret",
        Some(ClientCredential::Assertion(_)) => "by a token of its workload",
        Some(ClientCredential::PrivateKey(_)) => "by a private key",
        None => "no longer configured",
    };
    ClientOverview {
        kind,
        id: identity.map(|client| shown(&client.id)),
        authentication,
        method,
        secret_expires_at: (expiry != 0).then_some(expiry),
    }
}

fn tokens(tokens: &TokenSet) -> TokenOverview {
    let Summary {
        user,
        granted,
        obtained_at,
        lifetime,
        renewable,
        is_bound,
    } = Summary::from_tokens(tokens);
    TokenOverview {
        user,
        requested: shown(&tokens.requested.to_string()),
        granted: shown(&granted.to_string()),
        obtained_at,
        lifetime,
        is_renewable: renewable,
        is_bound,
    }
}
