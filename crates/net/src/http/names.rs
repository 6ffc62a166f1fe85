//! Name resolution, in which `localhost` names never leave this machine (RFC 6761 §6.3).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use reqwest::dns::{Addrs, Resolve, Resolving};
use tower_service::Service;

use crate::descriptors;

type Table = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// Resolver of the names of servers.
#[derive(Clone, Default)]
pub struct Names(Option<Arc<Table>>);

impl Names {
    /// The resolver of the operating system.
    #[must_use]
    pub fn of_system() -> Self {
        Self::default()
    }

    /// A resolver that asks `table`. A name without addresses there does not exist.
    pub fn from_table(table: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(table)))
    }

    /// The addresses of a name, or of an IP address in text form, with this port. Never an empty list.
    ///
    /// `localhost` and what ends in `.localhost` has loopback addresses and no others, whatever a DNS server says.
    pub async fn lookup(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = if is_below_localhost(name) {
            LOOPBACK.to_vec()
        } else if let Some(table) = &self.0 {
            table(name)
        } else {
            match lookup_host(name).await {
                Err(_) if is_localhost(name) => LOOPBACK.to_vec(),
                found => found?,
            }
        };
        let only_loopback = is_localhost(name);
        let addresses: Vec<_> = found
            .into_iter()
            .filter(|address| !only_loopback || address.is_loopback())
            .map(|address| SocketAddr::new(address, port))
            .collect();
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Names::from_table",
            None => "Names::of_system",
        })
    }
}

/// The resolver of hyper's connector, which puts the port in afterwards.
impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        Box::pin(async move { Ok(names.lookup(name.as_str(), 0).await?.into_iter()) })
    }
}

/// The resolver of reqwest, likewise.
impl Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.lookup(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];

/// Returns whether a name means this machine: `localhost` and all names that end in `.localhost`.
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || is_below_localhost(name)
}

/// Returns whether it is one of the names below `localhost`. The hosts file may have addresses for `localhost` itself.
fn is_below_localhost(name: &str) -> bool {
    const SUFFIX: &str = ".localhost";
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len()
        .checked_sub(SUFFIX.len())
        .and_then(|start| name.get(start..))
        .is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX))
}

async fn lookup_host(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((name, 0)).await;
    // The resolver of the system reports a lack of descriptors as if the name did not exist.
    let found = found.map_err(descriptors::explain)?;
    Ok(found.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_localhost_are_recognized_in_every_spelling() {
        for name in ["localhost", "LOCALHOST.", "a.localhost", "a.b.LocalHost."] {
            assert!(is_localhost(name), "{name}");
        }
        for name in ["localhost.example", "notlocalhost", "localhos", ""] {
            assert!(!is_localhost(name), "{name}");
        }
    }

    #[tokio::test]
    async fn localhost_names_have_loopback_addresses_and_no_others() {
        let lies = Names::from_table(|_| vec!["192.0.2.1".parse().unwrap()]);
        assert!(lies.lookup("localhost", 1).await.is_err());
        for names in [lies, Names::of_system()] {
            let found = names.lookup("a.localhost", 1).await.unwrap();
            assert!(
                found
                    .iter()
                    .all(|it| it.ip().is_loopback() && it.port() == 1)
            );
        }
        let found = Names::of_system().lookup("localhost", 1).await.unwrap();
        assert!(found.iter().all(|it| it.ip().is_loopback()));
    }
}
