//! Proxy settings of Windows beyond those that the HTTP libraries read: a proxy for each protocol, and scripts.

#[cfg(any(windows, test))]
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

pub(super) use system::{has_script, of_protocol};

#[cfg(not(windows))]
mod system {
    use super::Url;

    /// None: other systems have no such lists.
    pub(in crate::http) const fn of_protocol(_: &Url) -> Option<Url> {
        None
    }

    pub(in crate::http) const fn has_script() -> bool {
        false
    }
}

#[cfg(windows)]
mod system {
    use windows_registry::{CURRENT_USER, Key};

    use super::{ProxyLists, Url};

    const SETTINGS: &str = r"Software\Microsoft\Windows\CurrentVersion\Internet ProxyLists";

    fn settings() -> Option<Key> {
        CURRENT_USER.open(SETTINGS).ok()
    }

    /// The proxy for this URL, where the settings have a list of one for each protocol.
    pub(in crate::http) fn of_protocol(url: &Url) -> Option<Url> {
        let key = settings()?;
        if key.get_u32("ProxyEnable").unwrap_or_default() == 0 {
            return None;
        }
        let lists = ProxyLists {
            servers: key.get_string("ProxyServer").ok()?,
            exceptions: key.get_string("ProxyOverride").unwrap_or_default(),
        };
        lists.proxy_for(url)
    }

    /// Returns whether a script (PAC) is to choose the proxy.
    pub(in crate::http) fn has_script() -> bool {
        let script = settings().and_then(|key| key.get_string("AutoConfigURL").ok());
        script.is_some_and(|script| !script.is_empty())
    }
}

/// The lists in the settings, as `INTERNET_PROXY_INFO` documents them.
#[cfg(any(windows, test))]
struct ProxyLists {
    /// `http=proxy:80;https=proxy:443;socks=proxy:1080`
    servers: String,
    /// `*.example.com;10.*;<local>`
    exceptions: String,
}

#[cfg(any(windows, test))]
impl ProxyLists {
    fn proxy_for(&self, url: &Url) -> Option<Url> {
        let proxy = self.listed(url.scheme())?;
        let exceptions = self.exceptions.split(';').map(str::trim);
        let is_local = url
            .host_str()
            .is_some_and(|host| !host.contains(['.', ':']));
        if is_local
            && exceptions
                .clone()
                .any(|it| it.eq_ignore_ascii_case("<local>"))
        {
            return None;
        }
        let exceptions: Vec<_> = exceptions.map(exception).collect();
        let matcher = Matcher::builder()
            .all(proxy.as_str())
            .no(exceptions.join(","))
            .build();
        let target = url.as_str().parse().ok()?;
        matcher.intercept(&target).map(|_| proxy)
    }

    /// The proxy for a scheme in the list. One proxy for everything is no list.
    fn listed(&self, scheme: &str) -> Option<Url> {
        let entries = self.servers.split([';', ' ']);
        let entries = entries.filter_map(|entry| entry.split_once('='));
        let named = |wanted: &str| {
            let mut entries = entries.clone();
            let (_, server) = entries.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            Some(server.trim())
        };
        let with_scheme = |server: &str, scheme: &str| {
            if server.contains("://") {
                return Url::parse(server).ok();
            }
            Url::parse(&format!("{scheme}://{server}")).ok()
        };
        match named(scheme) {
            Some(server) => with_scheme(server, "http"),
            None => with_scheme(named("socks")?, "socks4"),
        }
    }
}

/// An exception as `NO_PROXY` has it: a domain with all below it, or a range of addresses.
#[cfg(any(windows, test))]
fn exception(text: &str) -> String {
    const OCTETS: usize = 4;
    let octets: Vec<_> = text.split('.').take_while(|it| *it != "*").collect();
    let are_numbers = octets.iter().all(|octet| octet.parse::<u8>().is_ok());
    if text.ends_with(".*") && are_numbers && octets.len() < OCTETS {
        let zeros = vec!["0"; OCTETS - octets.len()];
        let address = [&octets[..], &zeros].concat().join(".");
        return format!("{address}/{}", octets.len() * 8);
    }
    text.trim_start_matches("*.").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_proxy_for_each_protocol() {
        let proxy = |servers: &str, url: &str| {
            let lists = ProxyLists {
                servers: servers.to_owned(),
                exceptions: String::new(),
            };
            let proxy = lists.proxy_for(&Url::parse(url).unwrap());
            proxy.map(String::from)
        };
        let both = "ftp=f:21;http=plain:80;https=secure:8443";
        let secure = "https://mcp.example.com/mcp";
        assert_eq!(proxy(both, secure).as_deref(), Some("http://secure:8443/"));
        assert_eq!(
            proxy(both, "http://mcp.example.com").as_deref(),
            Some("http://plain/")
        );
        assert_eq!(
            proxy("http=plain:80;socks=s:1080", secure).as_deref(),
            Some("socks4://s:1080")
        );
        assert_eq!(
            proxy("https=http://secure:3128", secure).as_deref(),
            Some("http://secure:3128/")
        );
        assert_eq!(proxy("http=plain:80", secure), None);
        // The libraries read that.
        assert_eq!(proxy("one-for-all:8080", secure), None);
        assert_eq!(proxy("", secure), None);
    }

    #[test]
    fn exceptions_are_reached_directly() {
        let lists = ProxyLists {
            servers: "https=secure:8443".to_owned(),
            exceptions: "*.example.com; 10.*;192.168.7.*;<local>".to_owned(),
        };
        for (host, is_proxied) in [
            ("mcp.example.com", false),
            ("mcp.example.org", true),
            ("10.1.2.3", false),
            ("192.168.7.1", false),
            ("192.168.8.1", true),
            ("intranet", false),
        ] {
            let url = Url::parse(&format!("https://{host}/mcp")).unwrap();
            assert_eq!(lists.proxy_for(&url).is_some(), is_proxied, "{host}");
        }
    }
}
