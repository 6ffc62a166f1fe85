//! Places that a document may be at: the URL as text, and the addresses of its host.

use std::net::IpAddr;
use std::sync::Arc;

use mcp_bridge_net::http::{Names, is_inside};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::{DocumentReach, DocumentRefusal};

/// Longest URL of a document, in bytes. It is kept for each client, and a person may have to read it.
const MAX_URL_BYTES: usize = 1024;

/// Returns whether a `client_id` is meant as the URL of a document. Those that are registered have no colon in them.
pub(super) fn looks_like_url(id: &str) -> bool {
    id.contains(':')
}

/// URL of a document.
#[derive(Debug)]
pub(super) struct DocumentUrl {
    text: String,
    url: Url,
}

impl DocumentUrl {
    /// Identifiers are compared as strings, so there must be one spelling of each: that which URL parsers write. It has no dot
    /// segments.
    pub(super) fn parse(text: &str, reach: DocumentReach) -> Result<Self, DocumentRefusal> {
        let url = Url::parse(text).map_err(|_| DocumentRefusal::Url)?;
        let has_login = !url.username().is_empty() || url.password().is_some();
        let is_plain = url.as_str() == text && !has_login && url.fragment().is_none();
        let is_usable = url.scheme() == "https" && url.path() != "/" && is_plain;
        if !is_usable || text.len() > MAX_URL_BYTES {
            return Err(DocumentRefusal::Url);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        if literal.is_some_and(|address| !is_permitted(address, reach)) {
            return Err(DocumentRefusal::Inside);
        }
        let text = text.to_owned();
        Ok(Self { text, url })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }
}

fn is_permitted(address: IpAddr, reach: DocumentReach) -> bool {
    match reach {
        DocumentReach::Off => false,
        DocumentReach::Public => !is_inside(address),
        DocumentReach::Loopback => !is_inside(address) || address.to_canonical().is_loopback(),
    }
}

/// Resolver that gives no address which is not permitted. The check stands where the connection is made, so that a name which
/// has another address the second time (DNS rebinding) does not get past it.
pub(super) struct GuardedNames {
    names: Names,
    reach: DocumentReach,
}

impl GuardedNames {
    pub(super) fn new(names: Names, reach: DocumentReach) -> Arc<Self> {
        Arc::new(Self { names, reach })
    }
}

/// The name has an address that is not permitted.
#[derive(Debug, thiserror::Error)]
#[error("the address is not permitted")]
pub(super) struct NotPermitted;

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, reach) = (self.names.clone(), self.reach);
        Box::pin(async move {
            let found = names.lookup(name.as_str(), 0).await?;
            if !found.iter().all(|it| is_permitted(it.ip(), reach)) {
                return Err(Box::new(NotPermitted) as _);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_one_spelling_of_its_address_and_is_on_the_public_internet() {
        for text in [
            "https://app.example.com/client.json",
            "https://app.example.com:8443/client.json?v=1",
            "https://8.8.8.8/client.json",
            "https://localhost/client.json",
        ] {
            let parsed = DocumentUrl::parse(text, DocumentReach::Public);
            assert!(parsed.is_ok(), "{text}");
        }
        for text in [
            "http://app.example.com/client.json",
            "https://app.example.com",
            "https://app.example.com/",
            "https://APP.example.com/client.json",
            "https://app.example.com:443/client.json",
            "https://app.example.com/a/../client.json",
            "https://app.example.com/./client.json",
            "https://app.example.com/%2e%2e/client.json",
            "https://app.example.com/client.json#app",
            "https://user@app.example.com/client.json",
            "https://app.example.com\\client.json",
            "https://0x7f000001/client.json",
            "urn:app",
        ] {
            let refused = DocumentUrl::parse(text, DocumentReach::Loopback);
            assert!(matches!(refused, Err(DocumentRefusal::Url)), "{text}");
        }
        for (text, on_loopback) in [
            ("https://127.0.0.1/client.json", true),
            ("https://[::1]/client.json", true),
            ("https://[::ffff:7f00:1]/client.json", true),
            ("https://10.0.0.1/client.json", false),
            ("https://169.254.169.254/latest/meta-data", false),
            ("https://[fd00::1]/client.json", false),
        ] {
            let refused = DocumentUrl::parse(text, DocumentReach::Public);
            assert!(matches!(refused, Err(DocumentRefusal::Inside)), "{text}");
            let parsed = DocumentUrl::parse(text, DocumentReach::Loopback);
            assert_eq!(parsed.is_ok(), on_loopback, "{text}");
        }
    }
}
