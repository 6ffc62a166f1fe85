//! Settings for a server that is not on loopback alone, but behind a proxy, on the internet.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use url::{Host, Url};

/// Addresses at which the server is reached, and its precautions there. The default is this machine alone.
#[derive(Clone, Default)]
pub(crate) struct Deployment {
    /// Address to listen at, instead of loopback.
    pub(crate) bind: Option<SocketAddr>,
    /// URL under which clients know the server, instead of `http://localhost:PORT`.
    pub(crate) public_url: Option<PublicUrl>,
    /// Addresses of the proxies whose forwarded headers are believed.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Origins of web pages that may use the server, such as browser clients of MCP.
    pub(crate) allowed_origins: Vec<WebOrigin>,
    /// Most requests that one client address may send in a minute to each of the registration and the token endpoint.
    pub(crate) rate_limit: Option<NonZeroU32>,
    /// Time for which requests are still taken once the server is told to stop: it says meanwhile that it is not ready, and
    /// proxies have to notice that.
    pub(crate) notice: Duration,
    /// Limit of calls that are under way after that. Event streams end then.
    pub(crate) drain: Duration,
}

/// The public URL: an origin, https unless it is for this machine.
#[derive(Clone)]
pub(crate) struct PublicUrl(Url);

impl PublicUrl {
    /// The origin, without a slash at its end.
    pub(crate) fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The value of `Host` in requests that are meant for this server.
    pub(crate) fn authority(&self) -> &str {
        self.0.authority()
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if is_local => {}
            _ => return Err("has to be https, since tokens go over it".to_owned()),
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("has to be an origin, such as https://mcp.example.com".to_owned());
        }
        Ok(Self(url))
    }
}

/// Origin of a web page (RFC 6454), as browsers write it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebOrigin(String);

impl WebOrigin {
    /// The value of `Origin`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let origin = url.origin().ascii_serialization();
        if origin != text.trim_end_matches('/') {
            return Err("is no origin, such as https://app.example.com".to_owned());
        }
        Ok(Self(origin))
    }
}

/// A network of IP addresses, as `10.0.0.0/8`; or a single address.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Returns whether the address is in the network. An IPv4 address that came over an IPv6 socket counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix));
                let mask = mask.unwrap_or_default();
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix));
                let mask = mask.unwrap_or_default();
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        let no_network = || "is neither an IP address nor a network such as 10.0.0.0/8".to_owned();
        let address: IpAddr = address.parse().map_err(|_| no_network())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            "" if !text.contains('/') => whole,
            prefix => prefix.parse().map_err(|_| no_network())?,
        };
        (prefix <= whole)
            .then_some(Self { address, prefix })
            .ok_or_else(no_network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
        ] {
            assert!(contains(network, inside), "{network} {inside}");
            assert!(!contains(network, outside), "{network} {outside}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::/129",
            "proxy",
            "10.0.0/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_public_url_is_an_origin_and_https_unless_it_is_of_this_machine() {
        for text in [
            "https://mcp.example.com",
            "https://mcp.example.com:8443/",
            "http://localhost:3001",
        ] {
            assert!(text.parse::<PublicUrl>().is_ok(), "{text}");
        }
        for text in [
            "http://mcp.example.com",
            "https://mcp.example.com/mcp",
            "mcp.example.com",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
        let url: PublicUrl = "https://MCP.example.com:443/".parse().unwrap();
        assert_eq!(url.origin(), "https://mcp.example.com");
        assert_eq!(url.authority(), "mcp.example.com");
    }
}
