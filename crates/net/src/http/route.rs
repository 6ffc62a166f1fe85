//! Proxy selection: a direct connection, or one through a proxy.

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use super::{Options, is_loopback, system_proxy};

/// Route of requests to a URL, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To the server itself.
    Direct(NoProxy),
    /// Through this proxy, whose URL is without credentials here.
    Proxy(Url, ProxySource),
}

/// Reason why there is no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoProxy {
    /// The server is on this machine.
    Loopback,
    /// None is configured.
    None,
    /// One is configured, and not for this server.
    Excluded,
    /// The settings of the operating system name a script that would choose one (PAC). It is not run.
    Script,
}

/// Source of the proxy setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxySource {
    /// The user, for this program.
    Option,
    /// This environment variable.
    Variable(&'static str),
    /// The settings of the operating system.
    System,
}

impl Options {
    /// The way that requests of a client for `url` take.
    #[must_use]
    pub fn route(&self, url: &Url) -> Route {
        if is_loopback(url) {
            return Route::Direct(NoProxy::Loopback);
        }
        if let Some(proxy) = &self.proxy {
            return Route::Proxy(bare(proxy), ProxySource::Option);
        }
        if let Some(proxy) = of_protocol(url) {
            return Route::Proxy(bare(&proxy), ProxySource::System);
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
            (None, None) if system_proxy::has_script() => Route::Direct(NoProxy::Script),
            (None, None) => Route::Direct(NoProxy::None),
        }
    }
}

/// The proxy for this URL in a list of the system's settings, which the libraries do not read. A variable comes first.
pub(super) fn of_protocol(url: &Url) -> Option<Url> {
    match proxy_variable(url.scheme()) {
        Some(_) => None,
        None => system_proxy::of_protocol(url),
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

/// The host, and the port if it is not the usual one, for messages to people.
#[must_use]
pub fn host_and_port(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.to_string(),
    }
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
