//! Guard of the addresses that the sign-in connects to, and that a person's browser is sent to: https, and no address
//! inside the network unless the MCP server is there, too.
//!
//! A server names the URLs of its authorization server, so a hostile one could point us at a router or at
//! a cloud's metadata service. The check stands where names become addresses, so a name that resolves
//! differently the second time (DNS rebinding) does not get past it.
//!
//! The server is inside if its URL says so, or else if the address that answered us is inside and so are all
//! addresses of its name. Where a proxy connects to the server, only the latter is known; where the proxy connects to
//! the authorization server, only the URL is checked, because the proxy alone knows the address.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::timeout;
use url::{Host, Url};

use crate::config::Addresses;
use crate::error::{AuthError, shown};
use crate::transport::bare;
use mcp_bridge_net::http::{Names, Options, Route, is_inside, is_loopback};
use mcp_bridge_net::mutex::Mutex;

/// Longest time that a name may take to be resolved before the page is opened all the same: the browser resolves it
/// again, and may have other means.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Decides about URLs and addresses of the sign-in.
#[derive(Debug, Clone)]
pub(crate) struct AddressGuard(Arc<Guard>);

#[derive(Debug)]
struct Guard {
    server: Url,
    addresses: Addresses,
    options: Options,
    /// The address that the server's last answer came from.
    answered_from: Mutex<Option<IpAddr>>,
    /// The names of the requests under way, and how many there are of each. The resolver is also asked for the name
    /// of a proxy, which is the user's own choice and may lie anywhere.
    targets: Mutex<HashMap<String, usize>>,
}

/// Permission to send a request to a URL. The addresses of its host are checked until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    guard: Arc<Guard>,
    name: Option<String>,
}

impl AddressGuard {
    pub(crate) fn new(server: Url, addresses: Addresses, options: Options) -> Self {
        Self(Arc::new(Guard {
            server,
            addresses,
            options,
            answered_from: Mutex::default(),
            targets: Mutex::default(),
        }))
    }

    /// Notes the address that an answer of the MCP server came from.
    pub(crate) fn server_answered_from(&self, peer: IpAddr) {
        *self.0.answered_from.lock() = Some(peer);
    }

    /// Likewise, for the answer to a request of the sign-in to `url`, if that is the MCP server.
    pub(crate) fn answered_from(&self, url: &Url, peer: Option<SocketAddr>) {
        let is_server = url.origin() == self.0.server.origin();
        // Behind a proxy it is the address of the proxy.
        if is_server
            && let Some(peer) = peer
            && let Route::Direct(_) = self.0.options.route(url)
        {
            self.server_answered_from(peer.ip());
        }
    }

    /// Refuses a URL by what can be seen in it; what its name resolves to is checked when connecting.
    pub(crate) async fn check(&self, url: &Url) -> Result<Permit, AuthError> {
        self.0.check_url(url, "the sign-in needs https").await?;
        Ok(Permit::new(&self.0, url))
    }

    /// Refuses a page that a person's browser must not be sent to: what [`Self::check`] refuses, and names with an
    /// address that it would refuse.
    pub(crate) async fn check_page(&self, url: &Url) -> Result<(), AuthError> {
        let guard = &self.0;
        guard.check_url(url, "the sign-in page needs https").await?;
        let (Some(Host::Domain(name)), Route::Direct(_)) = (url.host(), guard.options.route(url))
        else {
            return Ok(());
        };
        let found = timeout(LOOKUP_LIMIT, guard.names().lookup(name, 0)).await;
        let leads_inside = match found {
            Ok(Ok(found)) => found.iter().any(|address| is_inside(address.ip())),
            Ok(Err(_)) | Err(_) => false,
        };
        if leads_inside && !guard.permits_inside().await {
            return Err(refused(url, INSIDE));
        }
        Ok(())
    }

    pub(crate) fn resolver(&self) -> Arc<dyn Resolve> {
        Arc::new(self.clone())
    }
}

impl Guard {
    async fn check_url(&self, url: &Url, needs_https: &str) -> Result<(), AuthError> {
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url) && self.permits_plain_http() => {}
            "http" => return Err(refused(url, needs_https)),
            _ => return Err(refused(url, "it is no web address")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused(url, "it carries a user name"));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(refused(url, "it has no host")),
        };
        let inside = literal.is_some_and(is_inside) || is_loopback(url);
        if inside && !self.permits_inside().await {
            return Err(refused(url, INSIDE));
        }
        Ok(())
    }

    /// Returns whether loopback addresses may be reached without TLS: only if the server is reached there, too.
    fn permits_plain_http(&self) -> bool {
        self.addresses == Addresses::Any || is_loopback(&self.server)
    }

    async fn permits_inside(&self) -> bool {
        if self.addresses == Addresses::Any || is_loopback(&self.server) {
            return true;
        }
        let name = match self.server.host() {
            Some(Host::Ipv4(address)) => return is_inside(address.into()),
            Some(Host::Ipv6(address)) => return is_inside(address.into()),
            Some(Host::Domain(name)) => name,
            None => return false,
        };
        let peer = *self.answered_from.lock();
        if peer.is_some_and(|peer| !is_inside(peer)) {
            return false;
        }
        // Behind a proxy the name may not resolve here; then the server is outside.
        match self.names().lookup(name, 0).await {
            Ok(found) => found.iter().all(|address| is_inside(address.ip())),
            Err(_) => peer.is_some(),
        }
    }

    fn names(&self) -> &Names {
        &self.options.names
    }

    fn is_target(&self, name: &str) -> bool {
        self.targets.lock().contains_key(name)
    }
}

impl Permit {
    fn new(guard: &Arc<Guard>, url: &Url) -> Self {
        let name = match url.host() {
            Some(Host::Domain(name)) => Some(name.to_owned()),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => None,
        };
        if let Some(name) = &name {
            *guard.targets.lock().entry(name.clone()).or_default() += 1;
        }
        Self {
            guard: Arc::clone(guard),
            name,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        let mut targets = self.guard.targets.lock();
        let Some(requests) = targets.get_mut(name) else {
            return;
        };
        *requests -= 1;
        if *requests == 0 {
            targets.remove(name);
        }
    }
}

impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let found = guard.names().lookup(name.as_str(), 0).await?;
            let leads_inside = found.iter().any(|address| is_inside(address.ip()));
            let is_free = !leads_inside || !guard.is_target(name.as_str());
            if is_free || guard.permits_inside().await {
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

fn refused(url: &Url, reason: &str) -> AuthError {
    AuthError::UnsafeUrl {
        url: shown(bare(url).as_str()),
        reason: reason.into(),
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
pub(crate) fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<InsideAddress>() {
            return Some(refused.to_string());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(server: &str) -> AddressGuard {
        let server = Url::parse(server).unwrap();
        let names = Names::from_table(|_| vec!["192.0.2.1".parse().unwrap()]);
        let options = Options {
            names,
            ..Options::default()
        };
        AddressGuard::new(server, Addresses::AsTheServer, options)
    }

    async fn check(server: &str, target: &str) -> Result<(), AuthError> {
        let target = Url::parse(target).unwrap();
        let verdict = guard(server).check(&target).await;
        let on_page = guard(server).check_page(&target).await;
        assert_eq!(verdict.is_ok(), on_page.is_ok(), "{target}");
        verdict.map(|_| ())
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
            "https://[::ffff:a9fe:a9fe]/",
            "https://[2002:a9fe:a9fe::]/",
            "https://169.254.169.254./",
            "https://2852039166/",
            "https://0251.0376.0251.0376/",
            "https://0xa9fea9fe/",
            "https://127.1/",
            "https://0/",
            "https://%31%32%37.0.0.1/",
            "https://１２７.0.0.1/",
            "https://localhost./",
            "https://LOCALHOST/",
            "https://a.localhost./",
            "https:localhost/",
            "https:///127.0.0.1/",
            "https:\\\\127.0.0.1\\",
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

    ///
    #[tokio::test]
    async fn only_a_server_on_this_machine_may_have_its_authorization_server_here_without_tls() {
        for (server, expected) in [
            ("http://127.0.0.1:3001/mcp", true),
            ("http://app.localhost:3001/mcp", true),
            ("http://[::1]:3001/mcp", true),
            ("https://10.0.0.7/mcp", false),
            ("https://[fd00::7]/mcp", false),
            ("https://192.0.2.1/mcp", false),
        ] {
            for target in ["http://127.0.0.1/", "http://localhost/", "http://[::1]/"] {
                let verdict = check(server, target).await;
                assert_eq!(verdict.is_ok(), expected, "{server} {target}");
            }
        }
    }

    #[tokio::test]
    async fn a_page_whose_name_has_an_inside_address_is_for_servers_inside() {
        let names = Names::from_table(|name| {
            let addresses: &[&str] = match name {
                "public.example" => &["192.0.2.1"],
                "mixed.example" => &["192.0.2.1", "10.0.0.1"],
                "inside.example" => &["10.0.0.1"],
                _ => &[],
            };
            addresses.iter().map(|it| it.parse().unwrap()).collect()
        });
        for (server, page, expected) in [
            ("public", "public", true),
            ("public", "mixed", false),
            ("public", "inside", false),
            ("public", "unknown", true),
            ("mixed", "inside", false),
            ("unknown", "inside", false),
            ("inside", "inside", true),
            ("inside", "mixed", true),
        ] {
            let url = |name: &str| Url::parse(&format!("https://{name}.example/")).unwrap();
            let options = Options {
                names: names.clone(),
                ..Options::default()
            };
            let guard = AddressGuard::new(url(server), Addresses::AsTheServer, options);
            let verdict = guard.check_page(&url(page)).await;
            assert_eq!(verdict.is_ok(), expected, "{server} {page}");
        }
    }

    /// a name is judged by what it resolves to at the moment of connecting.
    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_for_a_public_server() {
        let names = Names::from_table(|_| vec!["127.0.0.1".parse().unwrap()]);
        let options = Options {
            names,
            ..Options::default()
        };
        let server = Url::parse("https://192.0.2.1/mcp").unwrap();
        let guard = AddressGuard::new(server, Addresses::AsTheServer, options);
        let resolve = |name: &str| guard.resolve(name.parse().unwrap());
        assert!(
            resolve("a.example").await.is_ok(),
            "a proxy may be anywhere"
        );
        let url = Url::parse("https://a.example/").unwrap();
        let permits = [
            guard.check(&url).await.unwrap(),
            guard.check(&url).await.unwrap(),
        ];
        assert!(resolve("a.example").await.is_err());
        let [first, second] = permits;
        drop(first);
        assert!(resolve("a.example").await.is_err(), "one request is left");
        drop(second);
        assert!(guard.0.targets.lock().is_empty());
    }
}
