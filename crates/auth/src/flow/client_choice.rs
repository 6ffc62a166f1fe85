//! Client choice: which client this program is at an authorization server, for all grants.
//!
//! In this order (MCP authorization, "Client Registration Approaches"):
//!
//! 1. the client that the user has registered;
//! 2. the client ID metadata document, if the user has one and the server reads them;
//! 3. the client that an earlier sign-in has registered;
//! 4. a client that is registered now (RFC 7591).
//!
//! Tokens that npm `mcp-remote` has left belong to the client that they were issued to, which goes before 2.

use std::time::SystemTime;

use crate::client::registration::{ClientIdentity, ClientRegistration, DynamicRegistration};
use crate::config::{Config, Grant};
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::error::AuthError;
use crate::flow::order::Reason;
use crate::flow::session::SignInSession;
use crate::store::Credential;
use crate::store::mcp_remote::ImportedClient;
use mcp_bridge_net::setting::Setting;

/// The client of a sign-in.
#[derive(Debug)]
pub(crate) enum ClientChoice {
    /// As the user has configured it: pre-registered, or a client ID metadata document.
    Configured(ClientRegistration),
    /// Registered by an earlier sign-in.
    Remembered(DynamicRegistration),
    /// To be registered.
    Unregistered,
}

impl ClientChoice {
    /// Chooses among what the user has configured and what is `remembered`.
    pub(crate) fn new(
        config: &Config,
        metadata: &AuthorizationServerMetadata,
        remembered: Option<DynamicRegistration>,
    ) -> Self {
        if config.client.is_some() {
            return Self::Configured(ClientRegistration::PreRegistered);
        }
        if config.client_metadata_url.is_some() && metadata.client_id_metadata_document_supported {
            return Self::Configured(ClientRegistration::MetadataDocument);
        }
        remembered.map_or(Self::Unregistered, Self::Remembered)
    }

    /// The client, if the user has chosen it, so that nothing is registered.
    pub(crate) fn into_configured(self) -> Option<ClientRegistration> {
        match self {
            Self::Configured(client) => Some(client),
            Self::Remembered(_) | Self::Unregistered => None,
        }
    }
}

/// The registration that an earlier sign-in has left, if it is still good and for this grant.
pub(crate) fn remembered(
    stored: Option<&Credential>,
    grant: &Grant,
) -> Option<DynamicRegistration> {
    match &stored?.client {
        ClientRegistration::Dynamic(registration)
            if !registration.is_expired(SystemTime::now()) && registration.is_for(grant) =>
        {
            Some(registration.clone())
        }
        ClientRegistration::Dynamic(_)
        | ClientRegistration::PreRegistered
        | ClientRegistration::MetadataDocument
        | ClientRegistration::Unregistered => None,
    }
}

/// The client that the tokens of `mcp-remote` were issued to. None if that is not known, or was another authorization
/// server's.
pub(crate) fn for_imported(
    config: &Config,
    metadata: &AuthorizationServerMetadata,
    imported: Option<ImportedClient>,
) -> Option<ClientRegistration> {
    let configured = ClientChoice::new(config, metadata, None).into_configured();
    let may_differ = configured != Some(ClientRegistration::PreRegistered);
    let Some(imported) = imported.filter(|_| may_differ) else {
        return configured;
    };
    let is_known_here = imported.issuer.as_ref() == Some(&metadata.issuer);
    is_known_here.then_some(ClientRegistration::Dynamic(imported.registration))
}

/// The client where there is no person, which is always the user's. A token from outside is enough without one.
pub(crate) fn for_unattended(config: &Config) -> Result<ClientRegistration, AuthError> {
    if config.client.is_some() {
        return Ok(ClientRegistration::PreRegistered);
    }
    match config.grant {
        Grant::JwtBearer { .. } | Grant::TokenExchange { .. } => {
            Ok(ClientRegistration::Unregistered)
        }
        Grant::EnterpriseManaged(_) => Err(AuthError::Configuration(format!(
            "the company's sign-in needs {}: the client that is registered at the server's authorization server",
            Setting::ClientId
        ))),
        Grant::AuthorizationCode | Grant::DeviceCode | Grant::ClientCredentials { .. } => {
            Err(AuthError::Configuration(format!(
                "client credentials need {} and a client secret",
                Setting::ClientId
            )))
        }
    }
}

/// The client of a credential, as the token endpoint wants to see it.
pub(crate) fn client_of(
    session: &SignInSession,
    credential: &Credential,
) -> Result<ClientIdentity, AuthError> {
    let client = credential.client.client(
        &session.config,
        &credential.metadata,
        credential.quirks.authentication,
    );
    let client = client.ok_or_else(|| {
        AuthError::Configuration("the stored client is no longer configured".into())
    })?;
    Ok(ClientIdentity {
        prover: session.prover(credential),
        ..client
    })
}

/// Refuses another authorization server than the one that our credentials were made with, if they cannot be made anew
/// (MCP authorization, "Authorization Server Binding"); and the same one where only another one could help.
pub(crate) fn refuse_foreign_issuer(
    session: &SignInSession,
    metadata: &AuthorizationServerMetadata,
    reason: Reason,
) -> Result<(), AuthError> {
    let Some(known) = session.credential() else {
        return Ok(());
    };
    let config = &session.config;
    let same = known.metadata.issuer == metadata.issuer;
    if same && reason == Reason::FreshTokenRefused {
        return Err(AuthError::FreshTokenRefused);
    }
    let is_given = match known.client {
        ClientRegistration::PreRegistered => config.client.is_some(),
        // A token from outside is as good as a client's secret.
        ClientRegistration::Unregistered => true,
        ClientRegistration::MetadataDocument | ClientRegistration::Dynamic(_) => false,
    };
    if !same && is_given && config.issuer.is_none() {
        return Err(AuthError::IssuerChanged {
            recorded: known.metadata.issuer,
            found: metadata.issuer.clone(),
        });
    }
    Ok(())
}
