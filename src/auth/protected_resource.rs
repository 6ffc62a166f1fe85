//! The metadata of the MCP server as a protected resource (RFC 9728).

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::challenge::BearerChallenge;
use super::error::{AuthError, shown};
use super::transport::{Document, Transport, bare};
use super::well_known::well_known;
use crate::http::json;

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

/// The metadata of `server`, or nothing if it publishes none (MCP authorization, "Protected Resource
/// Metadata Discovery").
pub(super) async fn protected_resource(
    transport: &Transport,
    server: &Url,
    challenge: &BearerChallenge,
) -> Result<Option<ProtectedResourceMetadata>, AuthError> {
    let mut candidates = well_known_resource_urls(server);
    if let Some(named) = &challenge.resource_metadata {
        let named = server.join(named).map_err(|error| AuthError::UnsafeUrl {
            url: shown(named),
            reason: error.to_string(),
        })?;
        // The server pointed at this very document: what it says counts, and only if there is none at all
        // does it make sense to look further.
        if let Some(metadata) = named_resource_metadata(transport, server, &named).await? {
            return Ok(Some(metadata));
        }
        candidates.retain(|url| *url != named);
    }
    for url in candidates {
        match transport.document(&url).await? {
            Document::Found(document) => match resource_metadata(&url, server, document) {
                Ok(metadata) => return Ok(Some(metadata)),
                Err(Rejected::Foreign(error)) => return Err(error),
                Err(Rejected::Broken(error)) => tracing::debug!(%error, "no metadata there"),
            },
            Document::Missing(status) => {
                tracing::debug!(url = %bare(&url), %status, "no metadata there");
            }
            Document::Unusable(reason) => {
                tracing::debug!(url = %bare(&url), reason, "no metadata there");
            }
        }
    }
    Ok(None)
}

async fn named_resource_metadata(
    transport: &Transport,
    server: &Url,
    url: &Url,
) -> Result<Option<ProtectedResourceMetadata>, AuthError> {
    let reason = match transport.document(url).await? {
        Document::Found(document) => {
            return match resource_metadata(url, server, document) {
                Ok(metadata) => Ok(Some(metadata)),
                Err(Rejected::Broken(error) | Rejected::Foreign(error)) => Err(error),
            };
        }
        Document::Missing(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            tracing::info!(url = %bare(url), "the server names metadata that is not there");
            return Ok(None);
        }
        Document::Missing(status) => format!("it answered {status}"),
        Document::Unusable(reason) => reason,
    };
    Err(AuthError::Metadata {
        url: bare(url),
        reason,
    })
}

/// The path form, then the root form (RFC 9728 §3.1).
fn well_known_resource_urls(server: &Url) -> Vec<Url> {
    const NAME: &str = "oauth-protected-resource";
    let path = server.path().trim_end_matches('/');
    let mut urls = vec![well_known(server, NAME, path), well_known(server, NAME, "")];
    urls[0].set_query(server.query());
    urls.dedup();
    urls
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
        .map_err(|problem| Rejected::Broken(error(problem.to_string())))?;
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
            &["https://x.example/.well-known/oauth-protected-resource"],
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
