//! External authorization server, such as a company's identity provider: its access tokens, verified by its keys or by
//! introspection.
//!
//! | file | RFC |
//! |---|---|
//! | `metadata.rs`: its endpoints, and requests to them | 8414, OpenID Connect Discovery |
//! | `keys.rs`, `../signature.rs`: tokens that are JWTs | 9068, 7515, 7517 |
//! | `introspection.rs`: tokens of any form | 7662 |
//! | `claims.rs`: what a good token says | 9068 §2.2 |

mod claims;
mod introspection;
mod keys;
mod metadata;

use std::str::FromStr;

use mcp_bridge_net::http;
use url::Url;

use super::scope::{Scope, Scopes};
use super::token::Token;
use claims::{OtherBinding, TokenClaims};
use introspection::Introspection;
use keys::SigningKeys;
use metadata::IssuerConnection;

pub(crate) use claims::Person;

/// Settings of the operator for the issuer.
#[derive(Clone)]
pub(crate) struct IssuerSettings {
    /// Its identifier.
    pub(crate) identifier: IssuerIdentifier,
    /// Names of this server in `aud`. Without any it is the URL of the MCP endpoint (RFC 8707 §2).
    pub(crate) audiences: Vec<String>,
    /// Scopes that every request needs, as tokens write them.
    pub(crate) required_scopes: Vec<String>,
    /// Text before the name of a scope where a client asks for it, such as `api://mcp/` at Entra ID.
    pub(crate) scope_prefix: String,
    /// With these credentials, tokens are introspected. Without, they have to be JWTs.
    pub(crate) introspection_client: Option<IntrospectionClient>,
}

/// Credentials of this server at the introspection endpoint.
#[derive(Clone)]
pub(crate) struct IntrospectionClient {
    /// Its `client_id`.
    pub(crate) id: String,
    /// Its secret.
    pub(crate) secret: Token,
}

/// The `issuer` of authorization server metadata, character by character: some end with a slash, and some do not.
#[derive(Clone)]
pub(crate) struct IssuerIdentifier {
    text: String,
    url: Url,
}

impl FromStr for IssuerIdentifier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.query().is_some() || url.fragment().is_some() || !is_protected(&url) {
            return Err("has to be an https URL without a query".to_owned());
        }
        let text = text.to_owned();
        Ok(Self { text, url })
    }
}

/// Returns whether nobody on the way can change what is fetched from there.
fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && http::is_loopback(url)
}

/// Reason why a token does not let its client in.
pub(crate) enum TokenRefusal {
    /// The token is not good here; this says why.
    Invalid(&'static str),
    /// It is good, but lacks a scope that every request needs.
    MissingScope,
    /// The issuer does not answer, so nobody knows.
    Unverifiable,
}

/// Reason why the issuer's answer is of no use, for the log.
#[derive(Debug, thiserror::Error)]
enum IssuerFailure {
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    #[error("{0} answers with status {1}")]
    Status(Url, u16),
    #[error("{0} answers with something else than the JSON that belongs there")]
    Content(Url),
    #[error("no metadata of the issuer names its {0}")]
    Undiscovered(&'static str),
    #[error("its keys have been fetched too often in the last minute")]
    TooManyFetches,
}

/// Outcome of a verification. The inner error says what is wrong with the token.
type Verified = Result<Result<TokenClaims, &'static str>, IssuerFailure>;

/// The authorization server that issues the tokens for this server.
pub(crate) struct ExternalIssuer {
    settings: IssuerSettings,
    verifier: Verifier,
}

enum Verifier {
    Keys(SigningKeys),
    Introspection(Introspection),
}

impl ExternalIssuer {
    /// Nothing is connected yet. `resource` is the URL of the MCP endpoint.
    pub(crate) fn new(mut settings: IssuerSettings, resource: &str) -> Result<Self, http::Error> {
        if settings.audiences.is_empty() {
            settings.audiences.push(resource.to_owned());
        }
        let connection = IssuerConnection::new(settings.identifier.clone())?;
        let verifier = match settings.introspection_client.clone() {
            Some(client) => Verifier::Introspection(Introspection::new(connection, client)),
            None => Verifier::Keys(SigningKeys::new(connection)),
        };
        Ok(Self { settings, verifier })
    }

    /// Its identifier.
    pub(crate) fn identifier(&self) -> &str {
        &self.settings.identifier.text
    }

    /// Verifies a token that a client presented; returns in whose name it acts.
    pub(crate) async fn verify(&self, token: &str) -> Result<Person, TokenRefusal> {
        let verified = match &self.verifier {
            Verifier::Keys(keys) => keys.verify(token, &self.settings).await,
            Verifier::Introspection(endpoint) => endpoint.verify(token, &self.settings).await,
        };
        let claims = match verified {
            Ok(Ok(claims)) => claims,
            Ok(Err(reason)) => return Err(TokenRefusal::Invalid(reason)),
            Err(failure) => {
                tracing::warn!(issuer = self.identifier(), %failure, "a token cannot be verified");
                return Err(TokenRefusal::Unverifiable);
            }
        };
        let bound_to = claims.binding().map_err(|OtherBinding| {
            TokenRefusal::Invalid("the token is bound to something that is not proved here")
        })?;
        let mut required = self.settings.required_scopes.iter();
        if !required.all(|scope| claims.has_scope(scope)) {
            return Err(TokenRefusal::MissingScope);
        }
        let person = Person::of(&claims, bound_to);
        person.ok_or(TokenRefusal::Invalid("the token names nobody"))
    }

    /// The names under which a client asks the issuer for these scopes, with spaces between.
    pub(crate) fn names_of(&self, scopes: &Scopes) -> String {
        let settings = &self.settings;
        let names = scopes.iter().flat_map(|scope| match scope {
            Scope::Profile => settings.required_scopes.clone(),
            Scope::Coffee => vec![scope.name().to_owned()],
        });
        let names = names.map(|name| format!("{}{name}", settings.scope_prefix));
        names.collect::<Vec<_>>().join(" ")
    }
}
