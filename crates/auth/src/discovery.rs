//! Discovery of the authorization server, and the parameters of the requests to it.

use url::Url;

use super::authorization_server::{
    AuthorizationServerMetadata, MetadataOrigin, authorization_server,
    authorization_server_at_origin,
};
use super::challenge::BearerChallenge;
use super::config::{Config, ResourceParameter};
use super::error::AuthError;
use super::protected_resource::{ProtectedResourceMetadata, protected_resource};
use super::registration::ClientRegistration;
use super::scope::Scopes;
use super::search::Search;
use super::session::Session;
use super::sign_in::{Order, Reason};
use super::store::Credential;

/// The scope that brings a refresh token at servers that list it (OpenID Connect Core §11).
const OFFLINE_ACCESS: &str = "offline_access";

/// Where a token for the server comes from.
#[derive(Debug)]
pub(super) struct Discovered {
    pub(super) resource: Option<ProtectedResourceMetadata>,
    pub(super) metadata: AuthorizationServerMetadata,
}

/// Finds the authorization server (MCP authorization, "Authorization Server Discovery").
pub(super) async fn discover(session: &Session, order: &Order) -> Result<Discovered, AuthError> {
    let mut search = Search::new(&session.transport);
    let resource = protected_resource(&mut search, &session.server, &order.challenge).await?;
    let metadata = find_server(session, search, resource.as_ref()).await?;
    Ok(Discovered { resource, metadata })
}

/// Whether the server publishes where one signs in, also to those who need not. An error if what it publishes
/// cannot be used, or cannot be reached.
pub(super) async fn is_sign_in_published(session: &Session) -> Result<bool, AuthError> {
    let mut search = Search::new(&session.transport);
    let challenge = BearerChallenge::default();
    let resource = protected_resource(&mut search, &session.server, &challenge).await?;
    let names_issuer = choose_issuer(session, resource.as_ref()).is_some();
    match find_server(session, search, resource.as_ref()).await {
        Ok(metadata) => Ok(metadata.origin == MetadataOrigin::Document),
        Err(error @ AuthError::Unavailable { .. }) => Err(error),
        Err(error) if names_issuer => Err(error),
        // Whatever is at the origin of a server that says nothing of a sign-in is not about the server.
        Err(_) => Ok(false),
    }
}

/// The metadata of the chosen issuer, or of the server's own origin where none is named. `search` is the one for
/// the resource metadata.
pub(super) async fn find_server(
    session: &Session,
    mut search: Search<'_>,
    resource: Option<&ProtectedResourceMetadata>,
) -> Result<AuthorizationServerMetadata, AuthError> {
    let check = session.config.issuer_check;
    let issuer = choose_issuer(session, resource);
    if issuer.is_some() || resource.is_some() {
        // What was wrong at other places does not matter any more.
        search = Search::new(&session.transport);
    }
    match issuer {
        Some(issuer) => authorization_server(&mut search, &issuer, check).await,
        None => authorization_server_at_origin(&mut search, &session.server, check).await,
    }
}

/// The user's choice, else the one that we have tokens of, else the first (RFC 9728 §7.6 leaves the choice
/// to the client).
pub(super) fn choose_issuer(
    session: &Session,
    resource: Option<&ProtectedResourceMetadata>,
) -> Option<String> {
    let listed = resource.map_or(&[][..], |resource| &resource.authorization_servers);
    if let Some(chosen) = &session.config.issuer {
        return Some(chosen.clone());
    }
    let known = session
        .credential()
        .map(|credential| credential.metadata.issuer);
    listed
        .iter()
        .find(|issuer| Some(*issuer) == known.as_ref())
        .or(listed.first())
        .cloned()
}

/// Credentials belong to the authorization server they were made with (MCP authorization, "Authorization
/// Server Binding").
pub(super) fn refuse_foreign_issuer(
    config: &Config,
    known: Option<&Credential>,
    metadata: &AuthorizationServerMetadata,
    reason: Reason,
) -> Result<(), AuthError> {
    let Some(known) = known else { return Ok(()) };
    let same = known.metadata.issuer == metadata.issuer;
    if same && reason == Reason::FreshTokenRefused {
        return Err(AuthError::FreshTokenRefused);
    }
    let is_given = config.client.is_some() && known.client == ClientRegistration::PreRegistered;
    if !same && is_given && config.issuer.is_none() {
        return Err(AuthError::IssuerChanged {
            recorded: known.metadata.issuer.clone(),
            found: metadata.issuer.clone(),
        });
    }
    Ok(())
}

/// The `resource` of all requests (RFC 8707 §2; MCP authorization, "Canonical Server URI").
pub(super) fn resource_parameter(
    session: &Session,
    metadata: Option<&ProtectedResourceMetadata>,
) -> Option<String> {
    match (&session.config.resource, metadata) {
        (ResourceParameter::Omitted, _) => None,
        (ResourceParameter::Fixed(resource), _) => Some(resource.clone()),
        (ResourceParameter::Automatic, Some(metadata)) => Some(metadata.resource.clone()),
        (ResourceParameter::Automatic, None) => Some(canonical(&session.server)),
    }
}

/// Without query, which may hold a secret, and without the slash of an empty path.
fn canonical(server: &Url) -> String {
    let server = super::transport::bare(server);
    match server.path() {
        "/" => server.as_str().trim_end_matches('/').to_owned(),
        _ => server.into(),
    }
}

/// The user's scopes, else the challenge's, else the resource's, else none (MCP authorization, "Scope
/// Selection Strategy"); at a step-up those of the token in use and the challenge's.
pub(super) fn scopes(config: &Config, order: &Order, discovered: &Discovered) -> Scopes {
    if order.reason == Reason::MoreScope {
        return order.scopes.clone();
    }
    if let Some(scope) = config.pinned_scope() {
        return Scopes::parse(scope);
    }
    let chosen = match (&order.challenge.scope, &discovered.resource) {
        (Some(scope), _) => Scopes::parse(scope),
        (None, Some(resource)) => resource.scopes_supported.iter().cloned().collect(),
        (None, None) => Scopes::default(),
    };
    let offers_refresh = discovered
        .metadata
        .scopes_supported
        .as_ref()
        .is_some_and(|offered| offered.iter().any(|scope| scope == OFFLINE_ACCESS));
    // Alone it would narrow a grant that otherwise has the server's default scopes.
    if offers_refresh && !chosen.is_empty() {
        return chosen.union(&Scopes::parse(OFFLINE_ACCESS));
    }
    chosen
}
