//! Client credentials grant: tokens for the client itself, without a person (RFC 6749 §4.4; MCP extension
//! `io.modelcontextprotocol/oauth-client-credentials`).

use url::Url;

use super::attempt::client_of;
use super::authorization_server::AuthorizationServerMetadata;
use super::config::Grant;
use super::discovery::{discover, resource_parameter, scopes};
use super::error::AuthError;
use super::grant::TokenEndpoint;
use super::registration::ClientRegistration;
use super::scope::Scopes;
use super::session::{Session, Source};
use super::sign_in::{Order, Reason};
use super::store::Credential;
use mcp_bridge_net::setting::Setting;

/// Discovers the token endpoint, unless it is given, and asks it for a token.
pub(super) async fn obtain(
    session: &Session,
    order: &Order,
    token_endpoint: Option<&Url>,
) -> Result<(), AuthError> {
    if session.config.client.is_none() {
        return Err(AuthError::Configuration(format!(
            "client credentials need {} and a client secret",
            Setting::ClientId
        )));
    }
    if order.reason == Reason::FreshTokenRefused {
        return Err(AuthError::FreshTokenRefused);
    }
    let (metadata, resource, scopes) = if let Some(endpoint) = token_endpoint {
        (
            AuthorizationServerMetadata::with_token_endpoint(endpoint.clone()),
            resource_parameter(session, None),
            given_scopes(session, order),
        )
    } else {
        let discovered = discover(session, order).await?;
        let scopes = scopes(&session.config, order, &discovered);
        let resource = resource_parameter(session, discovered.resource.as_ref());
        (discovered.metadata, resource, scopes)
    };
    let stored = session.stored(&metadata.issuer).await;
    let mut credential = Credential::new(
        session.server.clone(),
        metadata,
        resource,
        ClientRegistration::PreRegistered,
    );
    if let Some(stored) = stored {
        credential.quirks.authentication = stored.quirks.authentication;
    }
    request(session, credential, &scopes).await
}

/// Asks again where the last token came from. False if this session works in another way.
pub(super) async fn repeat(session: &Session) -> Result<bool, AuthError> {
    match &session.config.grant {
        Grant::ClientCredentials { .. } => {}
        Grant::AuthorizationCode | Grant::DeviceCode => return Ok(false),
    }
    let Some(credential) = session.credential() else {
        return Ok(false);
    };
    let scopes = session.requested_scopes();
    request(session, credential, &scopes).await?;
    Ok(true)
}

async fn request(
    session: &Session,
    mut credential: Credential,
    scopes: &Scopes,
) -> Result<(), AuthError> {
    let client = client_of(session, &credential)?;
    let endpoint = TokenEndpoint {
        transport: &session.transport,
        metadata: &credential.metadata,
        client: &client,
    };
    let granted = endpoint
        .client_credentials(scopes, credential.resource())
        .await
        .map_err(|error| error.about_client(&credential.metadata.issuer))?;
    credential.receive(granted);
    session.adopt(credential, Source::SignIn).await;
    Ok(())
}

/// What can be known of the scopes without any metadata.
fn given_scopes(session: &Session, order: &Order) -> Scopes {
    if order.reason == Reason::MoreScope {
        return order.scopes.clone();
    }
    let given = session
        .config
        .pinned_scope()
        .or(order.challenge.scope.as_deref());
    Scopes::parse(given.unwrap_or_default())
}
