//! Discovery of the authorization server (MCP authorization, "Authorization Server Discovery").

pub(crate) mod authorization_server;
pub(crate) mod challenge;
pub(crate) mod protected_resource;
pub(crate) mod refusal;
pub(crate) mod search;
mod well_known;

use url::Url;

use self::authorization_server::{
    AuthorizationServerMetadata, MetadataOrigin, fetch_authorization_server,
    fetch_authorization_server_at_origin,
};
use self::challenge::BearerChallenge;
use self::protected_resource::{ProtectedResourceMetadata, fetch_protected_resource};
use self::search::Search;
use crate::config::{Config, ResourceParameter};
use crate::error::AuthError;
use crate::transport::{Transport, bare};

/// The documents from which a sign-in takes its endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Discovered {
    pub(crate) resource: Option<ProtectedResourceMetadata>,
    pub(crate) metadata: AuthorizationServerMetadata,
}

/// Discovery for one MCP server.
#[derive(Debug)]
pub(crate) struct ServerDiscovery<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) server: &'a Url,
    pub(crate) config: &'a Config,
    /// The issuer that we have tokens of.
    pub(crate) known_issuer: Option<String>,
}

impl ServerDiscovery<'_> {
    /// Finds the authorization server.
    pub(crate) async fn discover(
        &self,
        challenge: &BearerChallenge,
    ) -> Result<Discovered, AuthError> {
        let mut search = Search::new(self.transport);
        let resource = fetch_protected_resource(&mut search, self.server, challenge).await?;
        let metadata = self.find_server(search, resource.as_ref()).await?;
        Ok(Discovered { resource, metadata })
    }

    /// Finds the authorization server that the MCP server publishes, also to those who need not sign in. None if it
    /// publishes none; an error if what it publishes cannot be used, or cannot be reached.
    pub(crate) async fn find_published(&self) -> Result<Option<Discovered>, AuthError> {
        let mut search = Search::new(self.transport);
        let challenge = BearerChallenge::default();
        let resource = fetch_protected_resource(&mut search, self.server, &challenge).await?;
        let names_issuer = self.choose_issuer(resource.as_ref()).is_some();
        let metadata = match self.find_server(search, resource.as_ref()).await {
            Ok(metadata) => Some(metadata),
            Err(error @ AuthError::Unavailable { .. }) => return Err(error),
            Err(error) if names_issuer => return Err(error),
            // Whatever is at the origin of a server that says nothing of a sign-in is not about the server.
            Err(_) => None,
        };
        let published = metadata.filter(|it| it.origin == MetadataOrigin::Document);
        Ok(published.map(|metadata| Discovered { resource, metadata }))
    }

    /// Finds the metadata of the chosen issuer, or of the server's own origin where none is named. `search` is the one
    /// for the resource metadata.
    pub(crate) async fn find_server(
        &self,
        mut search: Search<'_>,
        resource: Option<&ProtectedResourceMetadata>,
    ) -> Result<AuthorizationServerMetadata, AuthError> {
        let check = self.config.issuer_check;
        let issuer = self.choose_issuer(resource);
        if issuer.is_some() || resource.is_some() {
            // What was wrong at other places does not matter any more.
            search = Search::new(self.transport);
        }
        match issuer {
            Some(issuer) => fetch_authorization_server(&mut search, &issuer, check).await,
            None => fetch_authorization_server_at_origin(&mut search, self.server, check).await,
        }
    }

    /// The user's choice, else the one that we have tokens of, else the first (RFC 9728 §7.6 leaves the choice
    /// to the client).
    pub(crate) fn choose_issuer(
        &self,
        resource: Option<&ProtectedResourceMetadata>,
    ) -> Option<String> {
        let listed = resource.map_or(&[][..], |resource| &resource.authorization_servers);
        if let Some(chosen) = &self.config.issuer {
            return Some(chosen.clone());
        }
        listed
            .iter()
            .find(|issuer| Some(*issuer) == self.known_issuer.as_ref())
            .or(listed.first())
            .cloned()
    }
}

/// The `resource` of all requests (RFC 8707 §2; MCP authorization, "Canonical Server URI").
pub(crate) fn resource_parameter(
    config: &Config,
    server: &Url,
    metadata: Option<&ProtectedResourceMetadata>,
) -> Option<String> {
    match (&config.resource, metadata) {
        (ResourceParameter::Omitted, _) => None,
        (ResourceParameter::Fixed(resource), _) => Some(resource.clone()),
        (ResourceParameter::Automatic, Some(metadata)) => Some(metadata.resource.clone()),
        (ResourceParameter::Automatic, None) => Some(canonical(server)),
    }
}

/// Without query, which may hold a secret, and without the slash of an empty path.
fn canonical(server: &Url) -> String {
    let server = bare(server);
    match server.path() {
        "/" => server.as_str().trim_end_matches('/').to_owned(),
        _ => server.into(),
    }
}

/// URLs in tests.
#[cfg(test)]
mod test_urls {
    use url::Url;

    pub(super) fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    pub(super) fn texts(urls: &[Url]) -> Vec<&str> {
        urls.iter().map(Url::as_str).collect()
    }
}
