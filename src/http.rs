//! The HTTP clients: what the MCP endpoint and the sign-in have in common on the network.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect};
use url::Url;

/// How long a TCP and TLS connection may take to come up, unless the user says otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the kernel asks a silent peer whether it is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// What the user may choose about the network.
#[derive(Debug, Clone)]
pub struct Options {
    /// Limit for one connection to come up, DNS and TLS included.
    pub connect_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl Options {
    /// A client for requests to `url` and its origin.
    ///
    /// Redirects are never followed here: who sends a request decides where it may go. For an `http:`
    /// URL no trust store is read, which saves a hundred file reads at start and works on machines
    /// that have none.
    pub fn client(&self, url: &Url) -> reqwest::Result<Client> {
        let builder = self.builder();
        match url.scheme() {
            "https" => builder.build(),
            _ => builder.tls_certs_only([]).build(),
        }
    }

    /// The settings that every client shares, for a caller with further wishes.
    pub fn builder(&self) -> ClientBuilder {
        // A second call finds the provider installed; that is what we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .tcp_keepalive(TCP_KEEPALIVE)
            .tcp_nodelay(true)
    }
}

/// Whether `url` names this machine by a loopback name or address: `localhost`, `127.0.0.0/8`, `[::1]`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
