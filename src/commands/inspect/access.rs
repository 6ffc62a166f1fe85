//! Access to the inspector's page: nobody but the person who started it, and no other web page.
//!
//! The token in the address is exchanged for a cookie. Each request is checked for the name that it came by (against
//! DNS rebinding), for the page that sent it (against requests of other sites) and for the cookie. All of this is
//! decided before anything else is looked at.

use hyper::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Uri};

use mcp_bridge_text::random;

/// The header by which browsers say which site has sent a request (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The parameter of the address that has the token.
const TOKEN: &str = "token";

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// The rules for one port.
#[derive(Debug)]
pub(super) struct PageAccess {
    port: u16,
    token: String,
    /// The value of the cookie, which is another one than the token: that is in the history of the browser.
    session: String,
}

/// Decision about a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may have what it asks for.
    Admitted,
    /// It has the token, and gets the cookie.
    HasToken,
    /// It gets nothing, for this reason.
    Refused(&'static str),
}

impl PageAccess {
    /// The rules for a port, with a new token.
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            token: random::string::<TOKEN_BYTES>(),
            session: random::string::<TOKEN_BYTES>(),
        }
    }

    /// The address for the person.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/?{TOKEN}={}", self.port, self.token)
    }

    /// The header that sets the cookie. Cookies are shared by all ports, so the port is in its name.
    pub(super) fn set_cookie(&self) -> String {
        let (name, value) = (self.cookie_name(), &self.session);
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict")
    }

    /// Decides about a request.
    pub(super) fn decide(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Admission {
        let Some(host) = self.own_host(headers) else {
            return Admission::Refused("it came by another name than that of this machine");
        };
        if !is_from_own_page(method, &host, headers) {
            return Admission::Refused("another site has sent it");
        }
        if self.has_cookie(headers) {
            return Admission::Admitted;
        }
        let is_start = method == Method::GET && uri.path() == "/";
        if is_start && self.has_token(uri) {
            return Admission::HasToken;
        }
        Admission::Refused("it has no token: open the address that the terminal shows")
    }

    /// The value of `Host`, if it is a name of ours.
    fn own_host(&self, headers: &HeaderMap) -> Option<String> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next()?.to_str().ok()?;
        let names = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{}", self.port));
        let is_own = hosts.next().is_none() && names.iter().any(|name| name == host);
        is_own.then(|| host.to_owned())
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie_name();
        let cookies = headers.get_all(COOKIE).iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|value| value.split(';'));
        pairs.any(|pair| {
            let pair = pair.trim().split_once('=');
            pair.is_some_and(|(key, value)| key == name && is_same(value, &self.session))
        })
    }

    fn has_token(&self, uri: &Uri) -> bool {
        let query = uri.query().unwrap_or_default();
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.any(|(key, value)| key == TOKEN && is_same(value, &self.token))
    }

    fn cookie_name(&self) -> String {
        format!("mcp-bridge-inspect-{}", self.port)
    }
}

/// Returns whether a request is of the page itself, or of a person who opens it. What changes something has to say so.
fn is_from_own_page(method: &Method, host: &str, headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let is_own_site = site.is_none_or(|site| site == b"same-origin" || site == b"none");
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    let own = format!("http://{host}");
    match origin {
        Some(origin) => is_own_site && origin == own.as_bytes(),
        None => is_own_site && method == Method::GET,
    }
}

/// Compares in a time that does not depend on where the texts differ.
fn is_same(one: &str, other: &str) -> bool {
    let differs = one.bytes().zip(other.bytes());
    let differences = differs.fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> PageAccess {
        PageAccess {
            port: 4000,
            token: "the-token".to_owned(),
            session: "the-session".to_owned(),
        }
    }

    fn decided(method: &Method, uri: &str, headers: &[(&str, &str)]) -> Admission {
        let headers = headers.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        let headers: HeaderMap = headers.collect();
        access().decide(method, &uri.parse().unwrap(), &headers)
    }

    const HOST_OF_OURS: (&str, &str) = ("host", "127.0.0.1:4000");
    const COOKIE_OF_OURS: (&str, &str) = ("cookie", "a=b; mcp-bridge-inspect-4000=the-session");
    const ORIGIN_OF_OURS: (&str, &str) = ("origin", "http://127.0.0.1:4000");

    #[test]
    fn the_token_is_exchanged_for_the_cookie_which_opens_everything() {
        let token = "/?token=the-token";
        assert_eq!(
            decided(&Method::GET, token, &[HOST_OF_OURS]),
            Admission::HasToken
        );
        let opened = [HOST_OF_OURS, COOKIE_OF_OURS];
        assert_eq!(decided(&Method::GET, "/", &opened), Admission::Admitted);
        let posted = [HOST_OF_OURS, COOKIE_OF_OURS, ORIGIN_OF_OURS];
        assert_eq!(decided(&Method::POST, "/rpc", &posted), Admission::Admitted);
        let forwarded = [("host", "localhost:4000"), COOKIE_OF_OURS];
        assert_eq!(decided(&Method::GET, "/", &forwarded), Admission::Admitted);
    }

    #[test]
    fn a_request_without_the_right_token_or_cookie_gets_nothing() {
        for (uri, headers) in [
            ("/", &[HOST_OF_OURS][..]),
            ("/?token=", &[HOST_OF_OURS]),
            ("/?token=the-tokem", &[HOST_OF_OURS]),
            ("/?token=the-token-and-more", &[HOST_OF_OURS]),
            ("/events?token=the-token", &[HOST_OF_OURS]),
            (
                "/",
                &[
                    HOST_OF_OURS,
                    ("cookie", "mcp-bridge-inspect-4000=another-one"),
                ],
            ),
            (
                "/",
                &[
                    HOST_OF_OURS,
                    ("cookie", "mcp-bridge-inspect-4001=the-session"),
                ],
            ),
        ] {
            let decided = decided(&Method::GET, uri, headers);
            assert!(
                matches!(decided, Admission::Refused(_)),
                "{uri} {headers:?}"
            );
        }
    }

    #[test]
    fn a_name_that_was_bound_to_this_machine_gets_nothing() {
        for host in [
            "attacker.example:4000",
            "127.0.0.1.attacker.example:4000",
            "127.0.0.1:4001",
            "127.0.0.1",
            "",
        ] {
            let headers = [("host", host), COOKIE_OF_OURS];
            let decided = decided(&Method::GET, "/?token=the-token", &headers);
            assert!(matches!(decided, Admission::Refused(_)), "{host}");
        }
    }

    #[test]
    fn another_page_gets_nothing_although_the_browser_sends_the_cookie() {
        let with = |header| [HOST_OF_OURS, COOKIE_OF_OURS, header];
        for (method, headers) in [
            (Method::GET, with(("origin", "http://attacker.example"))),
            (Method::GET, with(("origin", "http://127.0.0.1:4001"))),
            (Method::GET, with(("origin", "http://localhost:4000"))),
            (Method::GET, with(("sec-fetch-site", "cross-site"))),
            (Method::GET, with(("sec-fetch-site", "same-site"))),
            (Method::POST, with(("origin", "null"))),
            (Method::POST, with(("accept", "*/*"))),
        ] {
            let decided = decided(&method, "/events", &headers);
            assert!(matches!(decided, Admission::Refused(_)), "{headers:?}");
        }
    }
}
