//! Import of a sign-in from npm `mcp-remote`, so that changing over needs no new one.

use crate::config::Grant;
use crate::discovery::resource_parameter;
use crate::error::{AuthError, shown};
use crate::flow::client_choice;
use crate::flow::order::{Order, Wanted};
use crate::flow::policy::{self, Renewal};
use crate::flow::session::{SignInSession, TokenSource};
use crate::store::Credential;
use crate::store::mcp_remote::Import;

/// Uses the sign-in that `mcp-remote` has stored, if there is one. True if that brings the wanted token.
pub(crate) async fn take_over(session: &SignInSession, order: &Order) -> Result<bool, AuthError> {
    let Some(credential) = find(session, order).await else {
        return Ok(false);
    };
    tracing::info!("using the sign-in that mcp-remote has stored");
    session.adopt(credential, TokenSource::Store).await;
    let is_fresh = session.has_usable(&Wanted::Fresh);
    if !is_fresh && policy::renew_in_turn(session, &Wanted::Fresh).await? == Renewal::NeedsSignIn {
        return Ok(false);
    }
    Ok(session.has_usable(&order.wanted))
}

/// The credential that `mcp-remote` left for this server. None if there is none, or if it is not recorded that it
/// belongs to the authorization server that the server names now: a server may name another one than before, which
/// must not get the secrets.
pub(crate) async fn find(session: &SignInSession, order: &Order) -> Option<Credential> {
    let config = &session.config;
    match config.grant {
        Grant::AuthorizationCode | Grant::DeviceCode | Grant::ClientCredentials { .. } => {}
        // It has no such grants.
        Grant::JwtBearer { .. } | Grant::TokenExchange { .. } | Grant::EnterpriseManaged(_) => {
            return None;
        }
    }
    let import = Import::read(&session.server, config).await?;
    let discovered = order.discover(session).await.ok()?;
    let metadata = &discovered.metadata;
    if import.issuer.as_ref() != Some(&metadata.issuer) {
        tracing::info!(
            "what mcp-remote has stored is not known to belong to {}",
            shown(&metadata.issuer)
        );
        return None;
    }
    let client = client_choice::for_imported(config, metadata, import.client)?;
    let resource = resource_parameter(config, &session.server, discovered.resource.as_ref());
    let mut credential =
        Credential::new(session.server.clone(), metadata.clone(), resource, client);
    credential.tokens = Some(import.tokens);
    Some(credential)
}
