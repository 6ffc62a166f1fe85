//! Where the sign-in may connect to: https, and no address inside the network unless the server is there.
//!
//! A server names the URLs of its authorization server, so a hostile one could point us at a router or at
//! a cloud's metadata service. The check stands where names become addresses, so a name that resolves
//! differently the second time (DNS rebinding) does not get past it.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::OnceCell;
use url::{Host, Url};

use super::config::Addresses;
use super::error::AuthError;
use super::transport::bare;
use crate::http::is_loopback;

/// Decides about URLs and addresses of the sign-in.
#[derive(Debug, Clone)]
pub(super) struct AddressGuard(Arc<Guard>);

#[derive(Debug)]
struct Guard {
    server: Url,
    addresses: Addresses,
    /// Whether the MCP server itself lies inside; looked up once, at the first name.
    server_is_inside: OnceCell<bool>,
    /// The names we asked for. The resolver is also asked for the name of a proxy, which is the user's own
    /// choice and may lie anywhere.
    targets: Mutex<HashSet<String>>,
}

impl AddressGuard {
    pub(super) fn new(server: Url, addresses: Addresses) -> Self {
        Self(Arc::new(Guard {
            server,
            addresses,
            server_is_inside: OnceCell::new(),
            targets: Mutex::default(),
        }))
    }

    /// Refuses a URL by what can be seen in it; what its name resolves to is checked when connecting.
    pub(super) async fn check(&self, url: &Url) -> Result<(), AuthError> {
        let refuse = |reason: &str| {
            Err(AuthError::UnsafeUrl {
                url: bare(url).to_string(),
                reason: reason.into(),
            })
        };
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url) => {}
            "http" => return refuse("the sign-in needs https"),
            _ => return refuse("the sign-in needs https; this is no web address"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it carries a user name");
        }
        if let Some(Host::Domain(name)) = url.host() {
            self.0
                .targets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(name.to_owned());
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return refuse("it has no host"),
        };
        let inside = literal.is_some_and(is_inside) || is_loopback(url);
        if inside && !self.0.permits_inside().await {
            return refuse(INSIDE);
        }
        Ok(())
    }

    pub(super) fn resolver(&self) -> Arc<dyn Resolve> {
        Arc::new(self.clone())
    }
}

impl Guard {
    /// What the server's URL alone tells: whether it is a loopback name or an inside address.
    fn permits_inside_by_name(&self) -> bool {
        let literal = match self.server.host() {
            Some(Host::Ipv4(address)) => is_inside(address.into()),
            Some(Host::Ipv6(address)) => is_inside(address.into()),
            Some(Host::Domain(_)) | None => false,
        };
        self.addresses == Addresses::Any || literal || is_loopback(&self.server)
    }

    async fn permits_inside(&self) -> bool {
        if self.permits_inside_by_name() {
            return true;
        }
        *self
            .server_is_inside
            .get_or_init(|| async {
                let Some(host) = self.server.host_str() else {
                    return false;
                };
                // Behind a proxy the name may not resolve here; then the server is outside.
                tokio::net::lookup_host((host, 0))
                    .await
                    .is_ok_and(|mut found| found.any(|address| is_inside(address.ip())))
            })
            .await
    }

    fn is_target(&self, name: &str) -> bool {
        self.targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(name)
    }
}

impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let inside_permitted = !guard.is_target(name.as_str()) || guard.permits_inside().await;
            if inside_permitted {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let outside: Vec<_> = found
                .into_iter()
                .filter(|address| !is_inside(address.ip()))
                .collect();
            if outside.is_empty() {
                return Err(Box::new(InsideAddress) as _);
            }
            Ok(Box::new(outside.into_iter()) as Addrs)
        })
    }
}

const INSIDE: &str =
    "it leads to an address inside this machine or network, and the server lies outside";

/// The only addresses of a name are inside ones.
#[derive(Debug)]
struct InsideAddress;

impl fmt::Display for InsideAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INSIDE)
    }
}

impl std::error::Error for InsideAddress {}

/// The reason, if it was this guard that made a request fail.
pub(super) fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<InsideAddress>() {
            return Some(refused.to_string());
        }
        cause = error.source();
    }
    None
}

/// Whether an address is none of the public internet's (IANA special-purpose registries, RFC 6890).
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_inside_v4(address),
        IpAddr::V6(address) => is_inside_v6(address),
    }
}

fn is_inside_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || first == 0
        || first >= 240
        // Carrier-grade NAT (RFC 6598), IETF protocols (RFC 6890), benchmarks (RFC 2544).
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 198 && (18..20).contains(&second))
}

fn is_inside_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // NAT64 (RFC 6052): the IPv4 address behind it is what counts.
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [.., a, b, c, d] = address.octets();
        return is_inside_v4(Ipv4Addr::new(a, b, c, d));
    }
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(server: &str, target: &str) -> Result<(), AuthError> {
        let guard = AddressGuard::new(Url::parse(server).unwrap(), Addresses::AsTheServer);
        guard.check(&Url::parse(target).unwrap()).await
    }

    ///
    #[tokio::test]
    async fn a_public_server_reaches_only_public_https_addresses() {
        let refused = [
            "http://as.example/",
            "http://169.254.169.254/latest/meta-data",
            "https://169.254.169.254/",
            "https://127.0.0.1/",
            "https://localhost:8443/",
            "https://10.1.2.3/",
            "https://192.168.0.1/",
            "https://172.16.9.9/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://user@as.example/",
            "file:///etc/passwd",
            "javascript:alert(1)",
        ];
        for target in refused {
            let verdict = check("https://192.0.2.1/mcp", target).await;
            assert!(
                matches!(verdict, Err(AuthError::UnsafeUrl { .. })),
                "{target}"
            );
        }
        for target in [
            "https://as.example/",
            "https://8.8.8.8/",
            "https://[2606:4700::1]/",
        ] {
            assert!(
                check("https://192.0.2.1/mcp", target).await.is_ok(),
                "{target}"
            );
        }
    }

    ///
    #[tokio::test]
    async fn a_server_inside_may_have_its_authorization_server_inside() {
        assert!(
            check("http://localhost:3001/mcp", "http://127.0.0.1:4000/")
                .await
                .is_ok()
        );
        assert!(
            check("https://10.0.0.7/mcp", "https://10.0.0.8/")
                .await
                .is_ok()
        );
        assert!(
            check("http://localhost:3001/mcp", "http://as.example/")
                .await
                .is_err()
        );
    }

    /// a name is judged by what it resolves to at the moment of connecting.
    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_for_a_public_server() {
        let server = Url::parse("https://192.0.2.1/mcp").unwrap();
        let guard = AddressGuard::new(server, Addresses::AsTheServer);
        let resolve = |name: &str| guard.resolve(name.parse().unwrap());
        assert!(
            resolve("localhost").await.is_ok(),
            "a proxy may be anywhere"
        );
        guard.0.targets.lock().unwrap().insert("localhost".into());
        assert!(resolve("localhost").await.is_err());
    }
}
