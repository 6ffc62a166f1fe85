//! Client credentials grant: tokens for the client itself, without a person (RFC 6749 §4.4; MCP extension
//! `io.modelcontextprotocol/oauth-client-credentials`).

use url::Url;

use crate::config::Grant;
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::discovery::resource_parameter;
use crate::error::AuthError;
use crate::flow::client_choice::{self, client_of};
use crate::flow::order::{Order, Reason};
use crate::flow::policy::Renewal;
use crate::flow::proof_of_possession::equip;
use crate::flow::session::{SignInSession, TokenSource};
use crate::grant::token_endpoint::TokenEndpoint;
use crate::store::Credential;
use crate::token::scope::Scopes;

/// Discovers the token endpoint, unless it is given, and asks it for a token.
pub(crate) async fn obtain(
    session: &SignInSession,
    order: &Order,
    token_endpoint: Option<&Url>,
) -> Result<(), AuthError> {
    let config = &session.config;
    let client = client_choice::for_client_credentials(config)?;
    if order.reason == Reason::FreshTokenRefused {
        return Err(AuthError::FreshTokenRefused);
    }
    let (metadata, discovered) = if let Some(endpoint) = token_endpoint {
        let metadata = AuthorizationServerMetadata::with_token_endpoint(endpoint.clone());
        (metadata, None)
    } else {
        let discovered = order.discover(session).await?;
        (discovered.metadata.clone(), Some(discovered))
    };
    let resource = discovered.and_then(|discovered| discovered.resource.as_ref());
    let resource = resource_parameter(config, &session.server, resource);
    let scopes = order.select_scopes(config, discovered);
    let stored = session.load_stored(&metadata.issuer).await;
    let mut credential = Credential::new(session.server.clone(), metadata, resource, client);
    if let Some(stored) = &stored {
        credential.quirks.authentication = stored.quirks.authentication;
    }
    equip(session, order, discovered, stored.as_ref(), &mut credential)?;
    request(session, credential, &scopes).await
}

/// Asks again where the last token came from. A sign-in is needed if this session works in another way.
pub(crate) async fn repeat(session: &SignInSession) -> Result<Renewal, AuthError> {
    match &session.config.grant {
        Grant::ClientCredentials { .. } => {}
        Grant::AuthorizationCode | Grant::DeviceCode => return Ok(Renewal::NeedsSignIn),
    }
    let Some(credential) = session.credential() else {
        return Ok(Renewal::NeedsSignIn);
    };
    let scopes = session.requested_scopes();
    request(session, credential, &scopes).await?;
    Ok(Renewal::Done)
}

async fn request(
    session: &SignInSession,
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
    session.adopt(credential, TokenSource::SignIn).await;
    Ok(())
}
