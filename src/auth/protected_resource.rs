//! The metadata of the MCP server as a protected resource (RFC 9728).

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::challenge::BearerChallenge;
use super::error::{AuthError, shown};
use super::search::Search;
use super::transport::bare;
use super::well_known::well_known;
use crate::http::json;
use crate::printable::{NO_IDENTIFIER, is_identifier};

/// The metadata of the protected resource (RFC 9728 §2).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ProtectedResourceMetadata {
    /// The resource's identifier.
    pub(super) resource: String,
    /// The issuers that may grant access.
    #[serde(default, deserialize_with = "json::words_or_none")]
    pub(super) authorization_servers: Vec<String>,
    /// The scopes that make the resource useful.
    #[serde(default, deserialize_with = "json::words_or_none")]
    pub(super) scopes_supported: Vec<String>,
    /// Where the document lies.
    #[serde(skip)]
    pub(super) found_at: Option<Url>,
}

/// The metadata of `server`, or nothing if no place has any (MCP authorization, "Protected Resource Metadata
/// Discovery"). A document that names another resource is an error, not a reason to look further.
pub(super) async fn protected_resource(
    search: &mut Search<'_>,
    server: &Url,
    challenge: &BearerChallenge,
) -> Result<Option<ProtectedResourceMetadata>, AuthError> {
    let mut places = named_places(search, server, challenge);
    places.extend(well_known_resource_urls(server));
    // At most four.
    let mut seen = Vec::new();
    for url in places {
        if seen.contains(&url) {
            continue;
        }
        if let Some(document) = search.document(&url).await {
            match resource_metadata(&url, server, document) {
                Ok(metadata) => {
                    // The document of a parent resource may name another authorization server than the one that
                    // cannot be read for now: an outage must not be taken for absence.
                    return match search.outage_at(&server.origin()) {
                        Some(outage) if !is_same(&metadata.resource, server) => Err(outage.clone()),
                        Some(_) | None => Ok(Some(metadata)),
                    };
                }
                Err(Rejected::Foreign(error)) => return Err(error),
                Err(Rejected::Broken(error)) => search.reject(error),
            }
        }
        seen.push(url);
    }
    Ok(None)
}

/// The place that the challenge names (RFC 9728 §5.1).
///
/// A server behind a proxy that ends TLS may take itself for an `http:` one. Where the host is the server's, the
/// same path is looked at with the scheme and port that the server was reached at.
fn named_places(search: &mut Search<'_>, server: &Url, challenge: &BearerChallenge) -> Vec<Url> {
    let Some(named) = &challenge.resource_metadata else {
        return Vec::new();
    };
    let joined = if is_identifier(named) {
        server.join(named).map_err(|error| error.to_string())
    } else {
        Err(NO_IDENTIFIER.to_owned())
    };
    let named = match joined {
        Ok(url) => url,
        Err(reason) => {
            let url = shown(named);
            search.reject(AuthError::UnsafeUrl { url, reason });
            return Vec::new();
        }
    };
    let is_downgraded =
        server.scheme() == "https" && named.scheme() == "http" && named.host() == server.host();
    let secured = is_downgraded.then(|| {
        let mut secured = server.clone();
        secured.set_path(named.path());
        secured.set_query(named.query());
        secured
    });
    [Some(named), secured].into_iter().flatten().collect()
}

/// The path form, then the root form (RFC 9728 §3.1).
fn well_known_resource_urls(server: &Url) -> [Url; 2] {
    const NAME: &str = "oauth-protected-resource";
    let path = server.path().trim_end_matches('/');
    let mut inserted = well_known(server, NAME, path);
    inserted.set_query(server.query());
    [inserted, well_known(server, NAME, "")]
}

enum Rejected {
    /// Not metadata at all.
    Broken(AuthError),
    /// The metadata of another resource.
    Foreign(AuthError),
}

fn resource_metadata(
    url: &Url,
    server: &Url,
    document: Value,
) -> Result<ProtectedResourceMetadata, Rejected> {
    let error = |reason: String| AuthError::Metadata {
        url: bare(url),
        reason,
    };
    let mut metadata: ProtectedResourceMetadata = json::from_value(document)
        .map_err(|problem| Rejected::Broken(error(shown(&problem.to_string()))))?;
    if !is_identifier(&metadata.resource) {
        let reason = format!(
            "its resource is {}: {NO_IDENTIFIER}",
            shown(&metadata.resource)
        );
        return Err(Rejected::Foreign(error(reason)));
    }
    metadata.found_at = Some(url.clone());
    if !describes(&metadata.resource, server) {
        return Err(Rejected::Foreign(error(format!(
            "it describes {}, not {}",
            shown(&metadata.resource),
            bare(server)
        ))));
    }
    Ok(metadata)
}

/// Whether `resource` is `server` or one of the paths above it on the same origin (RFC 9728 §3.3; the
/// specification's SDKs accept a parent, and servers rely on it).
fn describes(resource: &str, server: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else {
        return false;
    };
    if resource.origin() != server.origin() || !resource.origin().is_tuple() {
        return false;
    }
    if resource.query().is_some() && resource.query() != server.query() {
        return false;
    }
    let above = resource.path().trim_end_matches('/');
    server
        .path()
        .strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `resource` is `server` itself and no path above it.
fn is_same(resource: &str, server: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    Url::parse(resource).is_ok_and(|resource| path(&resource) == path(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn texts(urls: &[Url]) -> Vec<&str> {
        urls.iter().map(Url::as_str).collect()
    }

    ///
    #[test]
    fn resource_metadata_is_looked_for_at_the_path_and_then_at_the_root() {
        let check = |server: &str, expected: &[&str]| {
            assert_eq!(texts(&well_known_resource_urls(&url(server))), expected);
        };
        check(
            "https://x.example/a/mcp/?k=v",
            &[
                "https://x.example/.well-known/oauth-protected-resource/a/mcp?k=v",
                "https://x.example/.well-known/oauth-protected-resource",
            ],
        );
        check(
            "https://x.example/",
            &[
                "https://x.example/.well-known/oauth-protected-resource",
                "https://x.example/.well-known/oauth-protected-resource",
            ],
        );
    }

    ///
    #[test]
    fn a_resource_describes_itself_and_the_paths_below_it_on_its_origin() {
        let check = |resource: &str, server: &str, expected: bool| {
            assert_eq!(
                describes(resource, &url(server)),
                expected,
                "{resource} {server}"
            );
        };
        check("https://x.example/mcp", "https://x.example/mcp", true);
        check("https://X.example:443/mcp", "https://x.example/mcp", true);
        check("https://x.example", "https://x.example/mcp", true);
        check("https://x.example/a", "https://x.example/a/mcp?q=1", true);
        check("https://x.example/mcp/", "https://x.example/mcp", true);
        check("https://x.example/mc", "https://x.example/mcp", false);
        check(
            "https://x.example/mcp/below",
            "https://x.example/mcp",
            false,
        );
        check("https://evil.example/mcp", "https://x.example/mcp", false);
        check("http://x.example/mcp", "https://x.example/mcp", false);
        check("https://x.example:8443/mcp", "https://x.example/mcp", false);
        check("https://x.example/mcp?t=1", "https://x.example/mcp", false);
        check("not a url", "https://x.example/mcp", false);
        check("urn:x", "urn:x", false);
    }
}
