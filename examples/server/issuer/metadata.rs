//! Metadata of the issuer (RFC 8414, OpenID Connect Discovery 1.0), and bounded requests to it.

use std::time::Duration;

use mcp_bridge_net::http;
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{IssuerFailure, IssuerIdentifier, is_protected};

/// Time that the issuer has for an answer. A client waits meanwhile.
const ISSUER_LIMIT: Duration = Duration::from_secs(10);

/// Largest document that is read, in bytes. Sets of keys with certificates have some ten thousand.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// HTTP client for one issuer.
pub(super) struct IssuerConnection {
    identifier: IssuerIdentifier,
    http: reqwest::Client,
}

/// The part of the metadata that a resource server needs.
#[derive(Deserialize)]
pub(super) struct IssuerMetadata {
    issuer: String,
    pub(super) jwks_uri: Option<Url>,
    pub(super) introspection_endpoint: Option<Url>,
    #[serde(default)]
    pub(super) introspection_endpoint_auth_methods_supported: Vec<String>,
}

impl IssuerConnection {
    pub(super) fn new(identifier: IssuerIdentifier) -> Result<Self, http::Error> {
        let builder = http::Options::default().builder(&identifier.url)?;
        let http = builder.timeout(ISSUER_LIMIT).build();
        Ok(Self {
            identifier,
            http: http.map_err(http::Error::Proxied)?,
        })
    }

    /// Finds the metadata in the order of MCP (authorization: Authorization Server Metadata Discovery). A document of
    /// another issuer is none (RFC 8414 §3.3).
    pub(super) async fn discover(&self) -> Result<IssuerMetadata, IssuerFailure> {
        let mut last = IssuerFailure::Undiscovered("endpoints");
        for url in places(&self.identifier.url) {
            match self.json::<IssuerMetadata>(self.http.get(url)).await {
                Ok(found) if found.issuer == self.identifier.text => return Ok(found),
                Ok(_) => {}
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.http.get(url)
    }

    pub(super) fn post(&self, url: Url) -> RequestBuilder {
        self.http.post(url)
    }

    /// Sends a request, and reads the JSON of a successful answer.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, IssuerFailure> {
        let mut response = send(request).await?;
        let url = response.url().clone();
        if !response.status().is_success() {
            return Err(IssuerFailure::Status(url, response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_DOCUMENT_BYTES {
                return Err(IssuerFailure::Content(url));
            }
        }
        serde_json::from_slice(&body).map_err(|_| IssuerFailure::Content(url))
    }
}

/// Sends a request to the issuer. One whose connection breaks is sent once more (RFC 9112 §9.3.1): the server may close a
/// kept connection at any time, and none of these requests changes anything.
async fn send(request: RequestBuilder) -> reqwest::Result<Response> {
    let copy = request.try_clone();
    match (request.send().await, copy) {
        (Err(error), Some(copy)) if is_broken_connection(&error) => copy.send().await,
        (sent, _) => sent,
    }
}

fn is_broken_connection(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

impl IssuerMetadata {
    /// An endpoint out of the metadata.
    pub(super) fn endpoint(
        endpoint: Option<Url>,
        name: &'static str,
    ) -> Result<Url, IssuerFailure> {
        let protected = endpoint.filter(is_protected);
        protected.ok_or(IssuerFailure::Undiscovered(name))
    }
}

/// Well-known addresses of an issuer's metadata.
fn places(issuer: &Url) -> impl Iterator<Item = Url> {
    let path = issuer.path().trim_end_matches('/');
    let places = [
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ];
    let count = if path.is_empty() { 2 } else { 3 };
    let places = places.into_iter().take(count);
    places.map(|place| {
        let mut url = issuer.clone();
        url.set_path(&place);
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_is_looked_for_in_the_order_of_mcp() {
        let places = |issuer: &str| {
            let issuer = Url::parse(issuer).unwrap();
            places(&issuer).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(
            places("https://tenant.auth0.com/"),
            [
                "https://tenant.auth0.com/.well-known/oauth-authorization-server",
                "https://tenant.auth0.com/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            places("https://keycloak.example.com/realms/mcp"),
            [
                "https://keycloak.example.com/.well-known/oauth-authorization-server/realms/mcp",
                "https://keycloak.example.com/.well-known/openid-configuration/realms/mcp",
                "https://keycloak.example.com/realms/mcp/.well-known/openid-configuration",
            ]
        );
    }
}
