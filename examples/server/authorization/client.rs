//! Registered clients and their authentication (RFC 6749 §2.3).

use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use url::{Host, Url, form_urlencoded};

use super::super::store::Store;
use super::super::token::Digest;
use super::super::{PRE_REGISTERED_CLIENT_ID, RESOURCE_SERVER_CLIENT_ID};
use super::error::{ErrorCode, OAuthError};
use super::parameters::Parameters;

/// A registered client (RFC 7591 §2).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Client {
    /// Its identifier.
    pub(crate) id: String,
    /// Name on the consent page. The client chose it, so it proves nothing.
    pub(crate) name: String,
    /// Addresses to which the browser may be sent with a code.
    pub(crate) redirect_uris: Vec<String>,
    /// Grant types that it may use at the token endpoint.
    pub(crate) grant_types: Vec<GrantType>,
    /// Authentication method there.
    pub(crate) authentication: ClientAuthentication,
    /// True if it wants no tokens but those that are bound to a key (RFC 9449 §5.2).
    #[serde(default)]
    pub(crate) wants_bound_tokens: bool,
    /// The network address that it registered itself from; `None` for one that the operator knows.
    #[serde(default = "loopback")]
    pub(crate) registered_from: Option<IpAddr>,
    /// End of the time for which the document is kept that it describes itself in; `None` for one that was registered.
    #[serde(default)]
    pub(crate) fresh_until: Option<SystemTime>,
    /// Moment when somebody last began to sign in with it; before that, when it was registered.
    #[serde(default = "SystemTime::now")]
    pub(crate) last_used: SystemTime,
}

/// The grant types that the token endpoint knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrantType {
    /// RFC 6749 §4.1
    AuthorizationCode,
    /// RFC 6749 §6
    RefreshToken,
}

/// `token_endpoint_auth_method`, with what is needed to check it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum ClientAuthentication {
    /// `none`: a public client. Anybody can claim to be it; PKCE protects the code.
    Public,
    /// `client_secret_basic`
    Basic(Digest),
    /// `client_secret_post`
    Post(Digest),
}

/// The address of clients in state files that have none: only this machine reaches the server.
#[expect(
    clippy::unnecessary_wraps,
    reason = "serde wants the type of the field"
)]
fn loopback() -> Option<IpAddr> {
    Some(Ipv4Addr::LOCALHOST.into())
}

/// The client of `--no-registration`: confidential, with the redirect URIs of the bridge.
pub(crate) fn pre_registered_client(secret: &str) -> Client {
    Client {
        id: PRE_REGISTERED_CLIENT_ID.to_owned(),
        name: "MCP bridge".to_owned(),
        redirect_uris: ["127.0.0.1", "localhost", "[::1]"]
            .map(|host| format!("http://{host}/oauth/callback"))
            .into(),
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        authentication: ClientAuthentication::Basic(Digest::of(secret)),
        wants_bound_tokens: false,
        registered_from: None,
        fresh_until: None,
        last_used: SystemTime::now(),
    }
}

/// A resource server: it gets no tokens, and only asks about those that it is shown.
pub(crate) fn resource_server(secret: &str) -> Client {
    Client {
        id: RESOURCE_SERVER_CLIENT_ID.to_owned(),
        name: "Resource server".to_owned(),
        redirect_uris: Vec::new(),
        grant_types: Vec::new(),
        authentication: ClientAuthentication::Basic(Digest::of(secret)),
        wants_bound_tokens: false,
        registered_from: None,
        fresh_until: None,
        last_used: SystemTime::now(),
    }
}

impl Client {
    /// The host of the document that it describes itself in.
    pub(crate) fn host(&self) -> Option<String> {
        self.fresh_until?;
        let url = Url::parse(&self.id).ok()?;
        Some(url.authority().to_owned())
    }

    /// Returns whether it cannot prove that it is itself.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.authentication, ClientAuthentication::Public)
    }

    /// Returns whether the browser may be sent to `requested`: it must be one of the registered URIs, compared as
    /// strings, but a native app's loopback URI may have any port, as the app takes what is free
    /// (RFC 9700 §2.1, RFC 8252 §7.3).
    pub(crate) fn may_redirect_to(&self, requested: &str) -> bool {
        let loopback = without_loopback_port(requested);
        self.redirect_uris.iter().any(|registered| {
            registered == requested
                || (loopback.is_some() && loopback == without_loopback_port(registered))
        })
    }
}

/// The client that sends this request to the token endpoint, after it has proved that it is the one
/// (RFC 6749 §2.3.1).
pub(crate) fn authenticate<'a>(
    store: &'a Store,
    headers: &HeaderMap,
    form: &Parameters,
) -> Result<&'a Client, OAuthError> {
    let basic = basic_credentials(headers)?;
    let client_id = match &basic {
        Some((id, _)) => id,
        None => form.require("client_id")?,
    };
    let invalid = |reason: &str| OAuthError::new(ErrorCode::InvalidClient, reason);
    let client = store
        .client(client_id)
        .ok_or_else(|| invalid("this client is not known here"))?;

    match (&client.authentication, basic, form.get("client_secret")) {
        (ClientAuthentication::Public, None, None) => Ok(client),
        (ClientAuthentication::Basic(expected), Some((_, secret)), None)
            if Digest::of(&secret) == *expected =>
        {
            Ok(client)
        }
        (ClientAuthentication::Post(expected), None, Some(secret))
            if Digest::of(secret) == *expected =>
        {
            Ok(client)
        }
        (_, Some(_), Some(_)) => Err(invalid("the client authenticates in two ways at once")),
        _ => Err(invalid(
            "the client did not authenticate in the way it is registered for",
        )),
    }
}

/// Id and secret from `Authorization: Basic`. Both are form-encoded before they are joined, so that
/// a colon in them does no harm (RFC 6749 §2.3.1).
fn basic_credentials(headers: &HeaderMap) -> Result<Option<(String, String)>, OAuthError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let credentials = value.to_str().ok().and_then(|value| {
        let (scheme, encoded) = value.split_once(' ')?;
        let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        scheme
            .eq_ignore_ascii_case("Basic")
            .then(|| (form_decode(id), form_decode(secret)))
    });
    let malformed = || {
        OAuthError::new(
            ErrorCode::InvalidClient,
            "the Basic credentials are malformed",
        )
    };
    credentials.map(Some).ok_or_else(malformed)
}

fn form_decode(text: &str) -> String {
    // One value is a form of one name without a value.
    form_urlencoded::parse(text.replace('=', "%3D").replace('&', "%26").as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

/// A loopback redirect URI of a native app (RFC 8252 §7.3): plain `http`, by address or as
/// `localhost`, which RFC 8252 §8.3 advises against and many apps use.
pub(crate) fn is_plain_loopback(uri: &Url) -> bool {
    let loopback = match uri.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    uri.scheme() == "http" && loopback
}

/// The origin without a port, and the rest, of an `http` URI to this machine. Nothing is parsed and
/// normalised: two URIs that a browser takes for the same are still two.
fn without_loopback_port(uri: &str) -> Option<(&str, &str)> {
    const HOSTS: [&str; 3] = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
    HOSTS.iter().find_map(|host| {
        let rest = uri.strip_prefix(host)?;
        let Some(port_and_rest) = rest.strip_prefix(':') else {
            return ends_authority(rest).then_some((*host, rest));
        };
        let digits = port_and_rest.bytes().take_while(u8::is_ascii_digit).count();
        let (port, rest) = port_and_rest.split_at(digits);
        (port.parse::<u16>().is_ok() && ends_authority(rest)).then_some((*host, rest))
    })
}

fn ends_authority(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['/', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(requested: &str) -> bool {
        let mut client = pre_registered_client("secret");
        client
            .redirect_uris
            .push("https://app.example.com/callback".to_owned());
        client.may_redirect_to(requested)
    }

    #[test]
    fn only_loopback_redirect_uris_may_differ_and_only_in_the_port() {
        assert!(allowed("http://127.0.0.1:49152/oauth/callback"));
        assert!(allowed("http://[::1]:80/oauth/callback"));
        assert!(allowed("https://app.example.com/callback"));

        assert!(!allowed("http://127.0.0.1:49152/other"));
        assert!(!allowed("http://127.0.0.1:49152/oauth/callback?next=evil"));
        assert!(!allowed("http://127.0.0.2:49152/oauth/callback"));
        assert!(!allowed("https://127.0.0.1:49152/oauth/callback"));
        assert!(!allowed("http://user@127.0.0.1:49152/oauth/callback"));
        assert!(!allowed("http://localhost.example.com/oauth/callback"));
        assert!(!allowed("https://app.example.com:8443/callback"));
        assert!(!allowed("https://app.example.com/callback/"));
        assert!(!allowed("https://APP.example.com/callback"));
        assert!(!allowed("http://127.0.0.1:49152/oauth/x/../callback"));
        assert!(!allowed("http://127.0.0.1:49152/oauth/%63allback"));
        assert!(!allowed("http://LOCALHOST:49152/oauth/callback"));
        assert!(!allowed("http://127.0.0.1:/oauth/callback"));
        assert!(!allowed("http://127.0.0.1:65536/oauth/callback"));
        assert!(!allowed("http://127.1:49152/oauth/callback"));
        assert!(!allowed("http://127.0.0.1:49152/oauth/call\tback"));
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        assert_eq!(form_decode("a%3Ab+c%25"), "a:b c%");
        assert_eq!(form_decode("plain=&"), "plain=&");
    }
}
