//! Client metadata (RFC 7591 §2): from a registration request, or from the document that a client describes itself in.

use std::net::IpAddr;
use std::time::SystemTime;

use mcp_bridge_text::printable::is_printable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::{Position, Url};

use super::super::scope::Scopes;
use super::client::{Client, ClientAuthentication, GrantType, is_plain_loopback};
use super::error::{ErrorCode, OAuthError};

/// Most redirect URIs that one client may have.
const MAX_REDIRECT_URIS: usize = 10;

/// Longest redirect URI. They are kept for each client.
const MAX_REDIRECT_URI_BYTES: usize = 2048;

/// Longest name of a client that the consent page has room for, in characters.
const MAX_NAME_CHARS: usize = 80;

/// Client metadata (RFC 7591 §2). Members that are not known here are ignored, and
/// absent ones have the default of that section.
#[derive(Serialize, Deserialize)]
pub(crate) struct ClientMetadata {
    redirect_uris: Vec<String>,
    #[serde(default = "unnamed")]
    client_name: String,
    #[serde(default = "authorization_code")]
    grant_types: Vec<GrantType>,
    #[serde(default = "code")]
    response_types: Vec<ResponseType>,
    #[serde(default)]
    token_endpoint_auth_method: AuthMethod,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_type: Option<ApplicationType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// RFC 9449 §5.2
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dpop_bound_access_tokens: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResponseType {
    Code,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthMethod {
    None,
    #[default]
    ClientSecretBasic,
    ClientSecretPost,
}

/// OpenID Connect Dynamic Client Registration §2, which MCP asks clients to send.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ApplicationType {
    Native,
    Web,
}

impl ClientMetadata {
    /// Reads a registration request.
    pub(super) fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let metadata = serde_json::from_slice::<Self>(body);
        let metadata = metadata.map_err(|error| invalid_metadata(error.to_string()))?;
        metadata.check()?;
        Ok(metadata)
    }

    /// Reads a document, which is for other authorization servers, too: of its redirect URIs, those count that are permitted
    /// here.
    pub(crate) fn parse_document(document: Map<String, Value>) -> Result<Self, OAuthError> {
        let metadata = serde_json::from_value::<Self>(Value::Object(document));
        let mut metadata = metadata.map_err(|error| invalid_metadata(error.to_string()))?;
        let named = std::mem::take(&mut metadata.redirect_uris);
        let (permitted, others): (Vec<_>, Vec<_>) = named
            .into_iter()
            .partition(|uri| metadata.check_redirect_uri(uri).is_ok());
        metadata.redirect_uris = if permitted.is_empty() {
            others
        } else {
            permitted
        };
        metadata.check()?;
        Ok(metadata)
    }

    /// The wish of the client for its authentication.
    pub(super) const fn token_endpoint_auth_method(&self) -> AuthMethod {
        self.token_endpoint_auth_method
    }

    /// The client with this identifier.
    pub(super) fn client(&self, id: String, authentication: ClientAuthentication) -> Client {
        Client {
            id,
            name: self.client_name.clone(),
            redirect_uris: self.redirect_uris.clone(),
            grant_types: self.grant_types.clone(),
            authentication,
            wants_bound_tokens: self.dpop_bound_access_tokens,
            registered_from: None,
            last_used: SystemTime::now(),
            fresh_until: None,
        }
    }

    /// The client that describes itself at `id`, as it was asked for from an address.
    pub(crate) fn into_described_client(
        self,
        id: &str,
        asked_from: IpAddr,
        fresh_until: SystemTime,
    ) -> Client {
        Client {
            registered_from: Some(asked_from),
            fresh_until: Some(fresh_until),
            ..self.client(id.to_owned(), ClientAuthentication::Public)
        }
    }

    /// Returns whether the values make sense together (RFC 7591 §3.2.2).
    fn check(&self) -> Result<(), OAuthError> {
        if self.redirect_uris.is_empty() || self.redirect_uris.len() > MAX_REDIRECT_URIS {
            let description = format!("redirect_uris must have 1 to {MAX_REDIRECT_URIS} entries");
            return Err(OAuthError::new(ErrorCode::InvalidRedirectUri, description));
        }
        for uri in &self.redirect_uris {
            self.check_redirect_uri(uri)?;
        }
        if !self.grant_types.contains(&GrantType::AuthorizationCode)
            || !self.response_types.contains(&ResponseType::Code)
        {
            return Err(invalid_metadata(
                "authorization_code and code are needed to sign in",
            ));
        }
        let name = &self.client_name;
        if name.chars().count() > MAX_NAME_CHARS || !name.chars().all(is_printable) {
            return Err(invalid_metadata(
                "client_name is too long or has invisible characters",
            ));
        }
        if name.trim().is_empty() {
            return Err(invalid_metadata("client_name is empty"));
        }
        let unknown = |name| invalid_metadata(format!("there is no scope {name}"));
        self.scope
            .as_deref()
            .map(Scopes::parse)
            .transpose()
            .map_err(unknown)?;
        Ok(())
    }

    fn check_redirect_uri(&self, uri: &str) -> Result<(), OAuthError> {
        let invalid = |reason: &str| {
            Err(OAuthError::new(
                ErrorCode::InvalidRedirectUri,
                format!("{uri} {reason}"),
            ))
        };
        if uri.len() > MAX_REDIRECT_URI_BYTES {
            let description =
                format!("a redirect URI is longer than {MAX_REDIRECT_URI_BYTES} bytes");
            return Err(OAuthError::new(ErrorCode::InvalidRedirectUri, description));
        }
        // URL parsers accept more than RFC 3986 and repair it. A redirect URI is compared as a string, and the consent
        // page shows it to a person, to whom it must mean what it means to the browser.
        if !uri.bytes().all(is_uri_character) {
            return invalid("must consist of the characters of RFC 3986");
        }
        let Ok(url) = Url::parse(uri) else {
            return invalid("is not an absolute URL");
        };
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("must not have a user name");
        }
        if !uri.starts_with(&url[..Position::AfterHost]) {
            return invalid("must begin with the scheme, two slashes and the host in lower case");
        }
        if url.fragment().is_some() {
            return invalid("must not have a fragment (RFC 6749 §3.1.2)");
        }
        match (url.scheme(), self.application_type) {
            ("https", _) => Ok(()),
            (_, Some(ApplicationType::Web)) => invalid("must be https for a web application"),
            _ if is_plain_loopback(&url) => Ok(()),
            _ => invalid("must be https, or http to this machine (RFC 8252 §7.3)"),
        }
    }
}

/// Reserved and unreserved characters and `%` (RFC 3986 §2).
fn is_uri_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn invalid_metadata(description: impl Into<String>) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClientMetadata, description)
}

fn unnamed() -> String {
    "An app without a name".to_owned()
}

fn authorization_code() -> Vec<GrantType> {
    vec![GrantType::AuthorizationCode]
}

fn code() -> Vec<ResponseType> {
    vec![ResponseType::Code]
}
