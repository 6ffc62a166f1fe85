//! Identity provider of a company, whose word other authorization servers take (enterprise-managed authorization).

use url::Url;

use crate::config::{ExternalToken, PreRegisteredClient};
use mcp_bridge_net::http::is_loopback;

/// The identity provider of a company, and this program's client there.
#[derive(Debug, Clone)]
pub struct IdentityProvider {
    /// Its name.
    pub issuer: IssuerUrl,
    /// The client that is registered there.
    pub client: PreRegisteredClient,
    /// The scopes of the sign-in there, instead of `openid`.
    pub scope: Option<String>,
    /// The ID token, if it comes from outside, so that nobody signs in there.
    pub id_token: Option<ExternalToken>,
}

/// Issuer identifier (RFC 8414 §2): a URL whose spelling counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl {
    text: String,
    url: Url,
}

impl IssuerUrl {
    /// None if it is no issuer: not https, but on this machine, or with a query, a fragment or a user name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        let is_bare = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        (is_safe && is_bare).then(|| Self {
            text: text.to_owned(),
            url,
        })
    }

    /// Character by character as the user wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_https_url_without_a_query() {
        for text in [
            "https://idp.example",
            "https://idp.example/realms/a",
            "http://127.0.0.1:1/",
        ] {
            assert_eq!(IssuerUrl::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "idp.example",
            "http://idp.example",
            "https://idp.example/?a",
            "https://u@idp.example",
        ] {
            assert_eq!(IssuerUrl::parse(text), None, "{text}");
        }
    }
}
