//! Protected resource metadata of the MCP server (RFC 9728).

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::discovery::challenge::BearerChallenge;
use crate::discovery::search::Search;
use crate::discovery::well_known::well_known;
use crate::error::{AuthError, shown};
use crate::transport::bare;
use mcp_bridge_net::http::json;
use mcp_bridge_text::printable::{NO_IDENTIFIER, is_identifier};

/// Limit for the places that are looked at: what a challenge names in two spellings, two of the server, and those of
/// paths above it that a document names.
const MOST_PLACES: usize = 8;

/// The well-known name (RFC 9728 §8.4.1).
const NAME: &str = "oauth-protected-resource";

/// The metadata of the protected resource (RFC 9728 §2).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ProtectedResourceMetadata {
    /// The resource's identifier.
    pub(crate) resource: String,
    /// The issuers that may grant access.
    #[serde(default, deserialize_with = "json::words_or_none")]
    pub(crate) authorization_servers: Vec<String>,
    /// The scopes that make the resource useful.
    #[serde(default, deserialize_with = "json::words_or_none")]
    pub(crate) scopes_supported: Vec<String>,
    /// Algorithms of DPoP proofs that the resource can check (RFC 9728 §2).
    #[serde(default, deserialize_with = "json::words_or_none")]
    pub(crate) dpop_signing_alg_values_supported: Vec<String>,
    /// True if it takes no tokens but those that are bound to a key (RFC 9728 §2).
    #[serde(default, deserialize_with = "json::flag")]
    pub(crate) dpop_bound_access_tokens_required: bool,
    /// Address of the document.
    #[serde(skip)]
    pub(crate) found_at: Option<Url>,
}

/// The metadata of `server`, or nothing if no place has any (MCP authorization, "Protected Resource Metadata
/// Discovery"). A document that names another resource is an error, not a reason to look further.
///
/// One that names a path above the server (many do) counts only at the well-known place of that path, which is looked
/// at then: who has a part of an origin must not speak for the whole.
pub(crate) async fn fetch_protected_resource(
    search: &mut Search<'_>,
    server: &Url,
    challenge: &BearerChallenge,
) -> Result<Option<ProtectedResourceMetadata>, AuthError> {
    let mut places = VecDeque::from(named_places(search, server, challenge));
    places.extend(well_known_resource_urls(server));
    let mut seen = Vec::new();
    let mut out_of_place = None;
    while let Some(url) = places.pop_front() {
        if seen.contains(&url) || seen.len() >= MOST_PLACES {
            continue;
        }
        seen.push(url.clone());
        let Some(document) = search.fetch_document(&url).await else {
            continue;
        };
        match resource_metadata(&url, server, document) {
            Ok((metadata, Relation::Same)) => return Ok(Some(metadata)),
            // Its document may name another authorization server than the one that cannot be read for now: an outage
            // must not be taken for absence.
            Ok((metadata, Relation::Above)) => {
                return match search.outage_at(&server.origin()) {
                    Some(outage) => Err(outage.clone()),
                    None => Ok(Some(metadata)),
                };
            }
            Err(rejected) => match *rejected {
                Rejected::Foreign(error) => return Err(error),
                Rejected::OutOfPlace { place, error } => {
                    places.push_back(place);
                    out_of_place.get_or_insert(error);
                }
                Rejected::Broken(error) => search.reject(error),
            },
        }
    }
    out_of_place.map_or(Ok(None), Err)
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
    [place_of(server), well_known(server, NAME, "")]
}

/// Place of a resource's metadata (RFC 9728 §3.1).
fn place_of(resource: &Url) -> Url {
    let path = resource.path().trim_end_matches('/');
    let mut place = well_known(resource, NAME, path);
    place.set_query(resource.query());
    place
}

/// Relation of a resource that a document describes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Same,
    /// On the same origin, and its path is above that of the server.
    Above,
}

enum Rejected {
    /// Not metadata at all.
    Broken(AuthError),
    /// The metadata of another resource.
    Foreign(AuthError),
    /// The metadata of a resource above, which has to be read at its own place.
    OutOfPlace { place: Url, error: AuthError },
}

fn resource_metadata(
    url: &Url,
    server: &Url,
    document: Value,
) -> Result<(ProtectedResourceMetadata, Relation), Box<Rejected>> {
    let error = |reason: String| AuthError::Metadata {
        url: bare(url),
        reason,
    };
    let mut metadata: ProtectedResourceMetadata = json::from_value(document)
        .map_err(|problem| Box::new(Rejected::Broken(error(shown(&problem.to_string())))))?;
    metadata.found_at = Some(url.clone());
    let describes_another = error(format!(
        "it describes {}, not {}",
        shown(&metadata.resource),
        bare(server)
    ));
    let Some(resource) = identifier(&metadata.resource) else {
        return Err(Box::new(Rejected::Foreign(describes_another)));
    };
    match relation(&resource, server) {
        None => Err(Box::new(Rejected::Foreign(describes_another))),
        Some(Relation::Above) if place_of(&resource) != *url => {
            Err(Box::new(Rejected::OutOfPlace {
                place: place_of(&resource),
                error: describes_another,
            }))
        }
        Some(relation) => Ok((metadata, relation)),
    }
}

/// The URL of a resource; none if it is not fit to be an identifier (RFC 8707 §2, RFC 9728 §1.2).
fn identifier(resource: &str) -> Option<Url> {
    let url = Url::parse(resource)
        .ok()
        .filter(|_| is_identifier(resource))?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    (!has_user && url.fragment().is_none()).then_some(url)
}

/// Returns whether `resource` is `server`, but for the slash at its end, or one of the paths above it on the same
/// origin (RFC 9728 §3.3; the specification's SDKs accept a parent, and servers rely on it).
fn relation(resource: &Url, server: &Url) -> Option<Relation> {
    if resource.origin() != server.origin() || !resource.origin().is_tuple() {
        return None;
    }
    if resource.query().is_some() && resource.query() != server.query() {
        return None;
    }
    let path = server.path().trim_end_matches('/');
    match path.strip_prefix(resource.path().trim_end_matches('/'))? {
        "" => Some(Relation::Same),
        rest => rest.starts_with('/').then_some(Relation::Above),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::test_urls::{texts, url};

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
    fn a_resource_is_the_server_or_above_it_on_its_origin() {
        use Relation::{Above, Same};

        let check = |resource: &str, server: &str, expected: Option<Relation>| {
            let resource_url = identifier(resource);
            let found = resource_url.and_then(|resource| relation(&resource, &url(server)));
            assert_eq!(found, expected, "{resource} {server}");
        };
        let server = "https://x.example/mcp";
        check("https://x.example/mcp", server, Some(Same));
        check("https://X.example:443/mcp", server, Some(Same));
        check("https://x.example/mcp/", server, Some(Same));
        check(
            "https://x.example/mcp",
            "https://x.example/mcp/",
            Some(Same),
        );
        check("https://x.example", server, Some(Above));
        check("https://x.example", "https://x.example/", Some(Same));
        let below = "https://x.example/a/mcp?q=1";
        check("https://x.example/a", below, Some(Above));
        check("https://x.example/a/mcp", below, Some(Same));
        check("https://x.example/a/mcp?q=1", below, Some(Same));
        for foreign in [
            "https://x.example/mc",
            "https://x.example/mcp/below",
            "https://evil.example/mcp",
            "http://x.example/mcp",
            "https://x.example:8443/mcp",
            "https://x.example/mcp?t=1",
            "https://x.example/mcp#part",
            "https://x.example/mcp#",
            "https://user@x.example/mcp",
            "https://user:pass@x.example/mcp",
            "https://x.example/mcp ",
            "https://x.example/\tmcp",
            "https://x.example/\u{85}mcp",
            "not a url",
            "",
        ] {
            check(foreign, server, None);
        }
        check("urn:x", "urn:x", None);
    }
}
