//! The client at an authorization server: registered dynamically (RFC 7591), by a client ID metadata document, or by
//! hand.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::client::authentication::{LearntMethod, Methods};
use crate::config::{ClientAuthentication, ClientCredential, Config, Dpop, Grant};
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::token::proof::Prover;
use crate::token::{secret_serde, unix_millis};
use mcp_bridge_text::secret::Secret;

/// The grant of a sign-in in a browser (RFC 6749 §4.1).
pub(crate) const AUTHORIZATION_CODE: &str = "authorization_code";

/// The grant of every later token (RFC 6749 §6).
pub(crate) const REFRESH_TOKEN: &str = "refresh_token";

/// Registration of this client at an authorization server. What the user supplied is not in here, so it is
/// never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum ClientRegistration {
    /// By the user's hand.
    PreRegistered,
    /// By the URL of a document about it (draft-ietf-oauth-client-id-metadata-document).
    MetadataDocument,
    /// By our own request (RFC 7591).
    Dynamic(DynamicRegistration),
    /// Not at all: the grant says on whose behalf a request is made (RFC 7521 §4.1).
    Unregistered,
}

/// The answer to a registration request (RFC 7591 §3.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DynamicRegistration {
    pub(crate) client_id: String,
    #[serde(
        default,
        with = "secret_serde::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) client_secret: Option<Secret<String>>,
    /// Seconds since 1970; 0 is never.
    #[serde(default)]
    pub(crate) client_secret_expires_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_endpoint_auth_method: Option<ClientAuthentication>,
    /// The one that was registered; a request with another is refused.
    pub(crate) redirect_uri: String,
    /// Grants that it was registered for (RFC 7591 §2); a request for another grant is refused.
    #[serde(default = "browser_grant_types")]
    pub(crate) grant_types: Vec<String>,
}

/// Grants of clients that were registered before that was stored.
fn browser_grant_types() -> Vec<String> {
    [AUTHORIZATION_CODE, REFRESH_TOKEN]
        .map(str::to_owned)
        .into()
}

impl DynamicRegistration {
    /// A registration that another program made for us.
    pub(crate) fn imported(
        client_id: String,
        client_secret: Option<String>,
        method: Option<&str>,
        redirect_uri: String,
    ) -> Self {
        Self {
            client_id,
            client_secret: client_secret.filter(|it| !it.is_empty()).map(Secret::new),
            client_secret_expires_at: 0,
            token_endpoint_auth_method: method.and_then(ClientAuthentication::from_name),
            redirect_uri,
            grant_types: browser_grant_types(),
        }
    }

    /// True if it was registered for `grant`.
    pub(crate) fn is_for(&self, grant: &Grant) -> bool {
        self.grant_types.iter().any(|it| it == grant.grant_type())
    }

    /// True if its secret is past its time.
    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        let now = unix_millis(now) / 1000;
        self.client_secret_expires_at != 0 && self.client_secret_expires_at <= now
    }
}

/// A client as the token endpoint wants to see it.
#[derive(Debug, Clone)]
pub(crate) struct ClientIdentity {
    /// Empty for one that is not registered.
    pub(crate) id: String,
    pub(crate) credential: ClientCredential,
    pub(crate) methods: Methods,
    /// Maker of proofs, if the tokens that it gets are to be bound to a key (RFC 9449 §5).
    pub(crate) prover: Option<Prover>,
    /// The user's choice about that.
    pub(crate) dpop: Dpop,
}

impl ClientIdentity {
    /// True if it has nothing to prove its identity with.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.credential, ClientCredential::None)
    }
}

impl ClientRegistration {
    /// Takes the secret out of the registration.
    pub(crate) fn take_secret(&mut self) -> Option<Secret<String>> {
        match self {
            Self::Dynamic(registration) => registration.client_secret.take(),
            Self::PreRegistered | Self::MetadataDocument | Self::Unregistered => None,
        }
    }

    /// Puts the secret back that was taken out.
    pub(crate) fn put_secret(&mut self, secret: Option<Secret<String>>) {
        match self {
            Self::Dynamic(registration) => registration.client_secret = secret,
            Self::PreRegistered | Self::MetadataDocument | Self::Unregistered => {}
        }
    }

    /// The client behind the registration. None if the user has taken away what it was made from.
    pub(crate) fn client(
        &self,
        config: &Config,
        metadata: &AuthorizationServerMetadata,
        learnt: Option<LearntMethod>,
    ) -> Option<ClientIdentity> {
        let (id, credential, agreed) = match self {
            Self::PreRegistered => {
                let client = config.client.as_ref()?;
                (client.id.clone(), client.credential.clone(), client.method)
            }
            Self::MetadataDocument => {
                let id = config.client_metadata_url.as_ref()?.to_string();
                (id, ClientCredential::None, None)
            }
            Self::Unregistered => (String::new(), ClientCredential::None, None),
            Self::Dynamic(registration) => {
                let secret = registration.client_secret.clone();
                let credential = secret.map_or(ClientCredential::None, ClientCredential::Secret);
                let agreed = registration.token_endpoint_auth_method;
                (registration.client_id.clone(), credential, agreed)
            }
        };
        let methods = Methods::new(&credential, agreed, metadata, learnt);
        Some(ClientIdentity {
            id,
            credential,
            methods,
            prover: None,
            dpop: config.dpop,
        })
    }
}
