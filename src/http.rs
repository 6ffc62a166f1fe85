//! The HTTP clients: what the MCP endpoint and the sign-in have in common on the network.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, redirect};
use url::Url;

/// How long a TCP and TLS connection may take to come up, unless the user says otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the kernel asks a silent peer whether it is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// How long an unused connection is kept. Load balancers close theirs after a minute or more.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// What the user may choose about the network.
#[derive(Debug, Clone)]
pub struct Options {
    /// Limit for one connection to come up, DNS and TLS included.
    pub connect_timeout: Duration,
    /// Proxy for everything but loopback; by default what `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and
    /// the system's settings say.
    pub proxy: Option<Url>,
    /// Certification authorities to trust beside those of the system.
    pub extra_roots: Vec<Certificate>,
    /// The client certificate and its key, for servers that ask for one (mutual TLS).
    pub identity: Option<Identity>,
    /// Which addresses to connect to.
    pub family: Family,
}

/// Which addresses to connect to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv6 and IPv4, whichever answers first (RFC 8305).
    #[default]
    Any,
    /// IPv4, for networks where IPv6 leads nowhere.
    Ipv4,
}

/// Which way requests to a URL take, and by whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To the server itself.
    Direct(NoProxy),
    /// Through this proxy, whose URL is without credentials here.
    Proxy(Url, ProxySource),
}

/// Why there is no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoProxy {
    /// The server is on this machine.
    Loopback,
    /// None is configured.
    None,
    /// One is configured, and not for this server.
    Excluded,
}

/// Who wants the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxySource {
    /// The user, for this program.
    Option,
    /// This environment variable.
    Variable(&'static str),
    /// The settings of the operating system.
    System,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            proxy: None,
            extra_roots: Vec::new(),
            identity: None,
            family: Family::Any,
        }
    }
}

impl Options {
    /// A client with these settings and no others.
    pub fn client(&self, url: &Url) -> reqwest::Result<Client> {
        self.builder(url)?.build()
    }

    /// The settings of a client for requests to the origin of `url`.
    ///
    /// Redirects are never followed here: who sends a request decides where it may go. For an `http:`
    /// URL no trust store is read, which saves a hundred file reads at start and works on machines
    /// that have none.
    pub fn builder(&self, url: &Url) -> reqwest::Result<ClientBuilder> {
        // A second call finds the provider installed; that is what we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_keepalive(TCP_KEEPALIVE)
            .tcp_nodelay(true);
        builder = match url.scheme() {
            "https" => builder.tls_certs_merge(self.extra_roots.iter().cloned()),
            _ => builder.tls_certs_only([]),
        };
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        if self.family == Family::Ipv4 {
            builder = builder.local_address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
        Ok(match &self.proxy {
            _ if is_loopback(url) => builder.no_proxy(),
            Some(proxy) => builder.proxy(Proxy::all(proxy.clone())?),
            None => builder,
        })
    }

    /// The way that requests of a client for `url` take.
    #[must_use]
    pub fn route(&self, url: &Url) -> Route {
        if is_loopback(url) {
            return Route::Direct(NoProxy::Loopback);
        }
        if let Some(proxy) = &self.proxy {
            return Route::Proxy(bare(proxy), ProxySource::Option);
        }
        let source = proxy_variable(url.scheme());
        // The client asks the same matcher, so this is what it will do.
        let target = url.as_str().parse().unwrap_or_default();
        let proxy = Matcher::from_system().intercept(&target);
        let proxy = proxy.and_then(|proxy| Url::parse(&proxy.uri().to_string()).ok());
        match (proxy, source) {
            (Some(proxy), Some(variable)) => {
                Route::Proxy(bare(&proxy), ProxySource::Variable(variable))
            }
            (Some(proxy), None) => Route::Proxy(bare(&proxy), ProxySource::System),
            (None, Some(_)) => Route::Direct(NoProxy::Excluded),
            (None, None) => Route::Direct(NoProxy::None),
        }
    }
}

/// The environment variable that names the proxy for URLs of this scheme.
fn proxy_variable(scheme: &str) -> Option<&'static str> {
    let names = match scheme {
        "https" => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    names
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The URL without query, fragment and user: those may hold secrets.
#[must_use]
pub fn bare(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
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
