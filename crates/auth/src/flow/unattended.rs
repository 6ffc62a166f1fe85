//! Grants without a person: client credentials (RFC 6749 §4.4; MCP extension
//! `io.modelcontextprotocol/oauth-client-credentials`), the JWT of a workload (RFC 7523 §2.1) and token exchange (RFC 8693);
//! and with a person who is asked elsewhere, at the [`identity`] provider of a company.

use crate::config::{Config, Grant};
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::discovery::resource_parameter;
use crate::error::AuthError;
use crate::flow::client_choice::{self, client_of, refuse_foreign_issuer};
use crate::flow::identity;
use crate::flow::order::{Order, Reason};
use crate::flow::policy::{Interaction, Renewal};
use crate::flow::proof_of_possession::equip;
use crate::flow::session::{SignInSession, TokenSource};
use crate::grant::extension_grant::ExchangeRequest;
use crate::grant::token_endpoint::{GrantError, Granted, TokenEndpoint};
use crate::store::{Credential, Voucher};
use crate::token::scope::Scopes;
use crate::transport::error_code::Meaning;

/// Discovers the token endpoint, unless it is given, and asks it for a token.
pub(crate) async fn obtain(session: &SignInSession, order: &Order) -> Result<(), AuthError> {
    let config = &session.config;
    let client = client_choice::for_unattended(config)?;
    if order.reason == Reason::FreshTokenRefused {
        return Err(AuthError::FreshTokenRefused);
    }
    let (metadata, discovered) = if let Some(endpoint) = config.grant.token_endpoint() {
        let metadata = AuthorizationServerMetadata::with_token_endpoint(endpoint.clone());
        (metadata, None)
    } else {
        let discovered = order.discover(session).await?;
        refuse_foreign_issuer(session, &discovered.metadata, order.reason)?;
        (discovered.metadata.clone(), Some(discovered))
    };
    let resource = discovered.and_then(|discovered| discovered.resource.as_ref());
    let resource = resource_parameter(config, &session.server, resource);
    let scopes = order.select_scopes(config, discovered);
    let stored = session.load_stored(&metadata.issuer).await;
    let mut credential = Credential::new(session.server.clone(), metadata, resource, client);
    credential.voucher = voucher(config);
    if let Some(stored) = &stored {
        credential.quirks.authentication = stored.quirks.authentication;
    }
    equip(session, order, discovered, stored.as_ref(), &mut credential)?;
    request(session, credential, &scopes, order.interaction).await
}

/// The voucher of an account that is obtained thus.
fn voucher(config: &Config) -> Option<Voucher> {
    match &config.grant {
        Grant::EnterpriseManaged(provider) => {
            Some(Voucher::IdentityProvider(provider.issuer.as_str().into()))
        }
        Grant::AuthorizationCode
        | Grant::DeviceCode
        | Grant::ClientCredentials { .. }
        | Grant::JwtBearer { .. }
        | Grant::TokenExchange { .. } => {
            let token = config.external_token()?;
            Some(Voucher::ExternalToken(token.to_string()))
        }
    }
}

/// Asks again where the last token came from. A sign-in is needed if this session works in another way.
pub(crate) async fn repeat(session: &SignInSession) -> Result<Renewal, AuthError> {
    match &session.config.grant {
        Grant::ClientCredentials { .. }
        | Grant::JwtBearer { .. }
        | Grant::TokenExchange { .. }
        | Grant::EnterpriseManaged(_) => {}
        Grant::AuthorizationCode | Grant::DeviceCode => return Ok(Renewal::NeedsSignIn),
    }
    let Some(credential) = session.credential() else {
        return Ok(Renewal::NeedsSignIn);
    };
    let scopes = session.requested_scopes();
    match request(session, credential, &scopes, Interaction::Forbidden).await {
        Ok(()) => Ok(Renewal::Done),
        Err(AuthError::SignInRequired { .. }) => Ok(Renewal::NeedsSignIn),
        Err(error) => Err(error),
    }
}

async fn request(
    session: &SignInSession,
    mut credential: Credential,
    scopes: &Scopes,
    interaction: Interaction,
) -> Result<(), AuthError> {
    let client = client_of(session, &credential)?;
    let endpoint = TokenEndpoint {
        transport: &session.transport,
        metadata: &credential.metadata,
        client: &client,
    };
    let granted = ask(session, &endpoint, &credential, scopes, interaction)
        .await
        .map_err(|error| about(session, &credential, error))?;
    credential.receive(granted);
    session.adopt(credential, TokenSource::SignIn).await;
    Ok(())
}

async fn ask(
    session: &SignInSession,
    endpoint: &TokenEndpoint<'_>,
    credential: &Credential,
    scopes: &Scopes,
    interaction: Interaction,
) -> Result<Granted, GrantError> {
    let resource = credential.resource();
    match &session.config.grant {
        Grant::AuthorizationCode | Grant::DeviceCode | Grant::ClientCredentials { .. } => {
            endpoint.client_credentials(scopes, resource).await
        }
        Grant::JwtBearer { assertion, .. } => {
            let assertion = assertion.read().await.map_err(GrantError::Failed)?;
            endpoint.jwt_bearer(&assertion, scopes, resource).await
        }
        Grant::TokenExchange {
            subject, audience, ..
        } => {
            let exchange = ExchangeRequest {
                subject: subject.token.read().await.map_err(GrantError::Failed)?,
                subject_type: &subject.token_type,
                audience: audience.as_deref(),
                resource,
                scopes,
            };
            endpoint.exchange(&exchange).await
        }
        Grant::EnterpriseManaged(provider) => {
            let grant =
                identity::obtain_grant(session, provider, credential, scopes, interaction).await;
            let grant = grant.map_err(GrantError::Failed)?;
            endpoint.jwt_bearer(&grant, scopes, resource).await
        }
    }
}

/// The error that names the side which refused.
fn about(session: &SignInSession, credential: &Credential, error: GrantError) -> AuthError {
    let issuer = &credential.metadata.issuer;
    match (&session.config.grant, error) {
        (Grant::EnterpriseManaged(provider), GrantError::Refused(refusal))
            if refusal.meaning() != Meaning::ClientIsDead =>
        {
            AuthError::IdentityGrantRefused {
                issuer: issuer.clone(),
                provider: provider.issuer.as_str().to_owned(),
                reason: refusal.reason().to_owned(),
            }
        }
        (_, error) => error.about_client(issuer),
    }
}
