//! Authorization server metadata (RFC 8414, OpenID Connect Discovery).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::config::{ClientAuthentication, IssuerCheck, MissingPkceMetadata};
use crate::discovery::search::Search;
use crate::discovery::well_known::well_known;
use crate::error::{AuthError, shown};
use crate::transport::bare;
use mcp_bridge_net::http::json;
use mcp_bridge_text::printable::{NO_IDENTIFIER, is_identifier};

/// The metadata of an authorization server (RFC 8414 §2), as far as a client needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizationServerMetadata {
    /// Its name, character by character as its document has it.
    pub(crate) issuer: String,
    #[serde(
        default,
        deserialize_with = "json::url",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) authorization_endpoint: Option<Url>,
    pub(crate) token_endpoint: Url,
    #[serde(
        default,
        deserialize_with = "json::url",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) registration_endpoint: Option<Url>,
    #[serde(
        default,
        deserialize_with = "json::url",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) device_authorization_endpoint: Option<Url>,
    #[serde(
        default,
        deserialize_with = "json::url",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) revocation_endpoint: Option<Url>,
    /// Address at which it tells for which server a token is (RFC 7662).
    #[serde(
        default,
        deserialize_with = "json::url",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) introspection_endpoint: Option<Url>,
    /// Address of its keys (RFC 8414 §2).
    #[serde(
        default,
        deserialize_with = "json::url",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) jwks_uri: Option<Url>,
    #[serde(
        default,
        deserialize_with = "json::words",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) scopes_supported: Option<Vec<String>>,
    #[serde(
        default,
        deserialize_with = "json::words",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(
        default,
        deserialize_with = "json::words",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(
        default,
        deserialize_with = "json::words",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) grant_types_supported: Option<Vec<String>>,
    #[serde(
        default,
        deserialize_with = "json::words",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) response_types_supported: Option<Vec<String>>,
    /// Algorithms of DPoP proofs (RFC 9449 §5.1).
    #[serde(
        default,
        deserialize_with = "json::words",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) dpop_signing_alg_values_supported: Option<Vec<String>>,
    #[serde(default, deserialize_with = "json::flag")]
    pub(crate) client_id_metadata_document_supported: bool,
    #[serde(default, deserialize_with = "json::flag")]
    pub(crate) authorization_response_iss_parameter_supported: bool,
    /// Source of the document.
    #[serde(default)]
    pub(crate) origin: MetadataOrigin,
    /// Address of the document, if it was read in this run.
    #[serde(skip)]
    pub(crate) found_at: Option<Url>,
}

/// Source of the metadata of an authorization server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetadataOrigin {
    /// By its document.
    #[default]
    Document,
    /// It has none; these are the default endpoints of the 2025-03-26 revision.
    DefaultEndpoints,
}

impl AuthorizationServerMetadata {
    /// The endpoints of a server at `origin` that describes itself nowhere (MCP 2025-03-26, "Fallbacks for
    /// Servers without Metadata Discovery").
    fn with_default_endpoints(origin: &Url) -> Self {
        let endpoint = |path: &str| {
            let mut url = origin.clone();
            url.set_path(path);
            url
        };
        Self {
            authorization_endpoint: Some(endpoint("/authorize")),
            registration_endpoint: Some(endpoint("/register")),
            ..Self::with_token_endpoint(endpoint("/token"))
        }
    }

    /// An authorization server of which only the token endpoint is known.
    pub(crate) fn with_token_endpoint(token_endpoint: Url) -> Self {
        Self {
            issuer: token_endpoint.origin().ascii_serialization(),
            authorization_endpoint: None,
            token_endpoint,
            registration_endpoint: None,
            device_authorization_endpoint: None,
            revocation_endpoint: None,
            introspection_endpoint: None,
            jwks_uri: None,
            scopes_supported: None,
            code_challenge_methods_supported: None,
            token_endpoint_auth_methods_supported: None,
            grant_types_supported: None,
            response_types_supported: None,
            dpop_signing_alg_values_supported: None,
            client_id_metadata_document_supported: false,
            authorization_response_iss_parameter_supported: false,
            origin: MetadataOrigin::DefaultEndpoints,
            found_at: None,
        }
    }

    /// The hosts of the authorization and the token endpoint, if they are of different sites and the server does not
    /// promise to name itself in its answers (RFC 9207). A hostile server may then have a person sign in at an honest
    /// one, and get the code (mix-up, RFC 9700 §4.4).
    pub(crate) fn mix_up_hosts(&self) -> Option<[&str; 2]> {
        if self.authorization_response_iss_parameter_supported {
            return None;
        }
        let page = self.authorization_endpoint.as_ref()?;
        let tokens = &self.token_endpoint;
        (site(page) != site(tokens)).then_some([
            page.host_str().unwrap_or_default(),
            tokens.host_str().unwrap_or_default(),
        ])
    }

    /// PKCE with S256 must be offered (MCP authorization, "Authorization Code Protection").
    pub(crate) fn require_pkce(&self, missing: MissingPkceMetadata) -> Result<(), AuthError> {
        let refused = |unlisted| {
            Err(AuthError::PkceNotOffered {
                issuer: self.issuer.clone(),
                unlisted,
            })
        };
        match (&self.code_challenge_methods_supported, self.origin) {
            (Some(methods), _) if methods.iter().any(|method| method == "S256") => Ok(()),
            (Some(_), _) => refused(false),
            (None, MetadataOrigin::DefaultEndpoints) => Ok(()),
            (None, MetadataOrigin::Document) => match missing {
                MissingPkceMetadata::Allow => Ok(()),
                MissingPkceMetadata::Refuse => refused(true),
            },
        }
    }

    /// Tells whether the token endpoint is said to accept `method`.
    pub(crate) fn lists_authentication(&self, method: ClientAuthentication) -> bool {
        let listed = self.token_endpoint_auth_methods_supported.as_deref();
        listed.is_some_and(|names| names.iter().any(|name| name == method.name()))
    }

    /// The endpoint that gives codes to devices (RFC 8628).
    pub(crate) fn require_device_endpoint(&self) -> Result<&Url, AuthError> {
        self.device_authorization_endpoint.as_ref().ok_or_else(|| {
            let reason = format!("{} has no sign-in with a device code", self.issuer);
            AuthError::Configuration(reason)
        })
    }

    /// The endpoint that shows the sign-in page.
    pub(crate) fn require_authorization_endpoint(&self) -> Result<&Url, AuthError> {
        self.authorization_endpoint
            .as_ref()
            .ok_or_else(|| AuthError::Configuration(format!("{} has no sign-in page", self.issuer)))
    }
}

/// The metadata of `issuer` (MCP authorization, "Authorization Server Metadata Discovery").
pub(crate) async fn fetch_authorization_server(
    search: &mut Search<'_>,
    issuer: &str,
    check: IssuerCheck,
) -> Result<AuthorizationServerMetadata, AuthError> {
    let unsafe_url = |reason: String| AuthError::UnsafeUrl {
        url: shown(issuer),
        reason,
    };
    // The parser would leave out white space, and another name than the one that was read would be asked.
    if !is_identifier(issuer) {
        return Err(unsafe_url(NO_IDENTIFIER.to_owned()));
    }
    let url = Url::parse(issuer).map_err(|error| unsafe_url(error.to_string()))?;
    if let Some(metadata) = find_metadata(search, issuer, &url, check).await {
        return Ok(metadata);
    }
    Err(search
        .failure()
        .cloned()
        .unwrap_or_else(|| AuthError::Metadata {
            url: bare(&url),
            reason: "the authorization server publishes no metadata".into(),
        }))
}

/// The authorization server of a server without resource metadata: its own origin, by its metadata or, where no
/// place has any, by the default endpoints (MCP 2025-03-26, "Server Metadata Discovery").
///
/// The default endpoints are a guess that a failure at any place, also those of the resource metadata, forbids:
/// an outage must not be taken for absence.
pub(crate) async fn fetch_authorization_server_at_origin(
    search: &mut Search<'_>,
    server: &Url,
    check: IssuerCheck,
) -> Result<AuthorizationServerMetadata, AuthError> {
    let origin = server.origin().ascii_serialization();
    let url = Url::parse(&origin).map_err(|error| AuthError::UnsafeUrl {
        url: origin.clone(),
        reason: error.to_string(),
    })?;
    if let Some(metadata) = find_metadata(search, &origin, &url, check).await {
        return Ok(metadata);
    }
    match search.failure() {
        Some(error) => Err(error.clone()),
        None => Ok(AuthorizationServerMetadata::with_default_endpoints(&url)),
    }
}

/// The first document that is metadata of `issuer`.
async fn find_metadata(
    search: &mut Search<'_>,
    issuer: &str,
    url: &Url,
    check: IssuerCheck,
) -> Option<AuthorizationServerMetadata> {
    for place in metadata_urls(url) {
        let Some(document) = search.fetch_document(&place).await else {
            continue;
        };
        match metadata(&place, issuer, document, check) {
            Ok(metadata) => return Some(metadata),
            Err(error) => search.reject(error),
        }
    }
    None
}

fn metadata(
    place: &Url,
    issuer: &str,
    document: Value,
    check: IssuerCheck,
) -> Result<AuthorizationServerMetadata, AuthError> {
    let mut metadata: AuthorizationServerMetadata =
        json::from_value(document).map_err(|error| AuthError::Metadata {
            url: bare(place),
            reason: shown(&error.to_string()),
        })?;
    if !is_identifier(&metadata.issuer) {
        return Err(AuthError::Metadata {
            url: bare(place),
            reason: format!("its issuer is {}: {NO_IDENTIFIER}", shown(&metadata.issuer)),
        });
    }
    check_issuer(place, issuer, &metadata.issuer, check)?;
    metadata.found_at = Some(place.clone());
    Ok(metadata)
}

/// RFC 8414 §3.1 with the path inserted, then OpenID Connect Discovery with the path inserted and, as that
/// specification itself has it, appended. The root is no place for the metadata of an issuer with a path.
fn metadata_urls(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut urls = vec![
        well_known(issuer, "oauth-authorization-server", path),
        well_known(issuer, "openid-configuration", path),
    ];
    if !path.is_empty() {
        let mut appended = well_known(issuer, "openid-configuration", "");
        appended.set_path(&format!("{path}/.well-known/openid-configuration"));
        urls.push(appended);
    }
    urls
}

/// The issuer in the document must be the one that was asked (RFC 8414 §3.3), so that nobody can speak in
/// another's name.
fn check_issuer(
    document: &Url,
    expected: &str,
    found: &str,
    check: IssuerCheck,
) -> Result<(), AuthError> {
    let agrees = match check {
        IssuerCheck::Strict => same_issuer(expected, found),
        IssuerCheck::SameSite => same_issuer(expected, found) || same_site(expected, found),
        IssuerCheck::Off => true,
    };
    if agrees {
        return Ok(());
    }
    Err(AuthError::IssuerMismatch {
        place: bare(document).to_string(),
        expected: shown(expected),
        found: shown(found),
    })
}

/// Code point by code point, except the slash of an empty path: `https://a` and `https://a/` are one URL,
/// and which of the two a document has is chance.
fn same_issuer(expected: &str, found: &str) -> bool {
    let without_slash = |issuer: &str| -> Option<String> {
        let root = issuer.strip_suffix('/')?;
        (root.matches('/').count() == 2).then(|| root.to_owned())
    };
    expected == found
        || without_slash(expected).as_deref() == Some(found)
        || without_slash(found).as_deref() == Some(expected)
}

/// Of one scheme, and on one host and port, or one host lies below the other.
fn same_site(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (Url::parse(one), Url::parse(other)) else {
        return false;
    };
    if one.origin() == other.origin() {
        return true;
    }
    let (Some(one_host), Some(other_host)) = (one.domain(), other.domain()) else {
        return false;
    };
    let below = |host: &str, parent: &str| {
        parent.contains('.')
            && host
                .strip_suffix(parent)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    one.scheme() == other.scheme() && (below(one_host, other_host) || below(other_host, one_host))
}

/// Domains below which anybody can have a host: those of the public suffix list on which MCP servers are common.
const PLATFORMS: [&str; 24] = [
    "amazonaws.com",
    "azurecontainerapps.io",
    "azurewebsites.net",
    "cloudfront.net",
    "deno.dev",
    "firebaseapp.com",
    "fly.dev",
    "github.io",
    "herokuapp.com",
    "hf.space",
    "modal.run",
    "netlify.app",
    "ngrok-free.app",
    "ngrok.app",
    "ngrok.io",
    "onrender.com",
    "pages.dev",
    "replit.app",
    "run.app",
    "supabase.co",
    "trycloudflare.com",
    "up.railway.app",
    "vercel.app",
    "workers.dev",
];

/// Hosts of one owner, as far as a host tells without a list of public suffixes: its last two labels, or three where
/// the second is as short as in `co.uk`. An address is a site of its own.
fn site(url: &Url) -> &str {
    /// Limit for the label before a country code that is no owner's own (`co`, `com`, `org`).
    const SHORT: usize = 3;
    const COUNTRY_CODE: usize = 2;
    let host = url.host_str().unwrap_or_default();
    let Some(name) = url.domain() else {
        return host;
    };
    let name = name.trim_end_matches('.');
    let is_hosted = |platform: &&str| {
        name.strip_suffix(*platform)
            .is_some_and(|owner| owner.ends_with('.'))
    };
    if PLATFORMS.iter().any(is_hosted) {
        return name;
    }
    let mut labels = name.rsplitn(3, '.');
    let (Some(last), Some(second), Some(rest)) = (labels.next(), labels.next(), labels.next())
    else {
        return name;
    };
    let is_public = last.len() == COUNTRY_CODE && second.len() <= SHORT;
    let before = if is_public {
        rest.rfind('.')
    } else {
        Some(rest.len())
    };
    before.map_or(name, |dot| &name[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::test_urls::{texts, url};

    ///
    #[test]
    fn issuer_metadata_is_looked_for_at_the_specified_places_only() {
        let check = |issuer: &str, expected: &[&str]| {
            assert_eq!(texts(&metadata_urls(&url(issuer))), expected);
        };
        check(
            "https://as.example/tenant/1/",
            &[
                "https://as.example/.well-known/oauth-authorization-server/tenant/1",
                "https://as.example/.well-known/openid-configuration/tenant/1",
                "https://as.example/tenant/1/.well-known/openid-configuration",
            ],
        );
        check(
            "https://as.example",
            &[
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ],
        );
    }

    ///
    #[test]
    fn issuers_agree_character_by_character_unless_the_user_says_otherwise() {
        use IssuerCheck::{Off, SameSite, Strict};

        let check = |check: IssuerCheck, expected: &str, found: &str, agrees: bool| {
            let document = url("https://as.example/.well-known/oauth-authorization-server");
            let verdict = check_issuer(&document, expected, found, check);
            assert_eq!(verdict.is_ok(), agrees, "{check:?} {expected} {found}");
        };
        check(Strict, "https://as.example", "https://as.example", true);
        check(Strict, "https://as.example", "https://as.example/", true);
        check(Strict, "https://as.example/", "https://as.example", true);
        check(
            Strict,
            "https://as.example/t",
            "https://as.example/t/",
            false,
        );
        check(Strict, "https://as.example/t", "https://as.example", false);
        check(Strict, "https://as.example", "https://AS.example", false);
        check(
            Strict,
            "https://as.example",
            "https://as.example:443",
            false,
        );
        check(
            Strict,
            "https://attacker.example",
            "https://honest.example",
            false,
        );
        check(
            SameSite,
            "https://mcp.at.example",
            "https://cf.mcp.at.example",
            true,
        );
        check(
            SameSite,
            "https://mcp.slack.example",
            "https://slack.example",
            true,
        );
        check(SameSite, "https://as.example/t", "https://as.example", true);
        check(SameSite, "https://as.example", "https://bas.example", false);
        check(SameSite, "https://as.example", "https://example", false);
        check(SameSite, "https://as.example", "http://as.example", false);
        check(
            SameSite,
            "http://127.0.0.1:1/as",
            "http://127.0.0.1:1/",
            true,
        );
        check(SameSite, "http://localhost:1", "http://localhost:1/a", true);
        check(SameSite, "http://127.0.0.1:1", "http://127.0.0.1:2", false);
        check(Off, "https://as.example", "https://other.example", true);
    }

    /// RFC 9700 §4.4
    #[test]
    fn endpoints_of_different_sites_without_a_promise_of_iss_may_be_mixed_up() {
        for (page, token, expected) in [
            ("https://as.example/a", "https://as.example/t", false),
            ("https://as.example/a", "https://as.example:8443/t", false),
            (
                "https://login.as.example/a",
                "https://api.as.example/t",
                false,
            ),
            ("https://as.example/a", "https://api.as.example./t", false),
            ("https://a.as.co.uk/a", "https://b.as.co.uk/t", false),
            ("http://127.0.0.1:1/a", "http://127.0.0.1:2/t", false),
            ("https://honest.example/a", "https://evil.example/t", true),
            ("https://honest.co.uk/a", "https://evil.co.uk/t", true),
            ("https://a.honest.com.au/a", "https://a.evil.com.au/t", true),
            ("https://as.example/a", "https://as.test/t", true),
            (
                "https://honest.workers.dev/a",
                "https://evil.workers.dev/t",
                true,
            ),
            ("https://a.github.io/a", "https://b.github.io./t", true),
            (
                "https://as.workers.dev/a",
                "https://as.workers.dev:8443/t",
                false,
            ),
            ("http://127.0.0.1:1/a", "http://127.0.0.2:1/t", true),
            ("http://localhost:1/a", "http://127.0.0.1:1/t", true),
            ("https://[2606::1]/a", "https://[2606::2]/t", true),
        ] {
            let mut metadata = AuthorizationServerMetadata::with_token_endpoint(url(token));
            assert_eq!(metadata.mix_up_hosts(), None, "there is no page");
            metadata.authorization_endpoint = Some(url(page));
            assert_eq!(
                metadata.mix_up_hosts().is_some(),
                expected,
                "{page} {token}"
            );
            metadata.authorization_response_iss_parameter_supported = true;
            assert_eq!(metadata.mix_up_hosts(), None, "{page} {token}");
        }
    }

    ///
    #[test]
    fn pkce_is_required_where_metadata_could_have_offered_it() {
        use MetadataOrigin::{DefaultEndpoints, Document};
        use MissingPkceMetadata::{Allow, Refuse};

        let check = |methods: Option<&[&str]>, origin, missing, expected: bool| {
            let mut metadata =
                AuthorizationServerMetadata::with_token_endpoint(url("https://as.example/token"));
            metadata.origin = origin;
            metadata.code_challenge_methods_supported =
                methods.map(|methods| methods.iter().map(|&method| method.into()).collect());
            assert_eq!(metadata.require_pkce(missing).is_ok(), expected);
        };
        check(Some(&["plain", "S256"]), Document, Refuse, true);
        check(Some(&["plain"]), Document, Allow, false);
        check(Some(&[]), Document, Allow, false);
        check(None, Document, Refuse, false);
        check(None, Document, Allow, true);
        check(None, DefaultEndpoints, Refuse, true);
    }
}
