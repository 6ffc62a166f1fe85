//! Reverse proxies in front of the server: client address and host out of the forwarded headers.
//!
//! Anybody can send such headers, so they count only if a proxy that was named sends them. Then the request looks to all
//! that follows as if it had come from the client itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::App;
use super::authorization::is_plain_loopback;
use super::deployment::{Deployment, Network};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Puts the client's address and host in place of the proxy's, and refuses requests that are for another host.
pub(crate) async fn see_through(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(address)| *address);
    if let Some(peer) = peer
        && is_trusted(&app.deployment.trusted_proxies, peer.ip())
    {
        let client = client_address(request.headers(), &app.deployment.trusted_proxies);
        // A proxy that names no client speaks for itself.
        let client = SocketAddr::new(client.unwrap_or_else(|| peer.ip()), peer.port());
        request.extensions_mut().insert(ConnectInfo(client));
        if let Some(host) = request.headers_mut().remove(FORWARDED_HOST) {
            request.headers_mut().insert(header::HOST, host);
        }
    }
    match refusal(&app.deployment, request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

fn is_trusted(proxies: &[Network], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(address))
}

/// The client, as the proxies tell it. Each appends the address that it saw, so the last one that is no proxy's counts; what
/// stands before it, the client may have made up.
fn client_address(headers: &HeaderMap, proxies: &[Network]) -> Option<IpAddr> {
    let lines = headers.get_all(FORWARDED_FOR).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().flat_map(|line| line.split(','));
    loop {
        let hop = without_port(hops.next_back()?.trim())?;
        if !is_trusted(proxies, hop) {
            return Some(hop);
        }
    }
}

/// Some proxies write the port as well.
fn without_port(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<SocketAddr>().map(|address| address.ip());
    address.or_else(|_| hop.parse()).ok()
}

/// Reason to refuse a request that came here under another name than the server's own.
///
/// A web page can point its own host name at 127.0.0.1 (DNS rebinding) and would then read and submit the consent form as if
/// it were its own. Without a public URL the names are those of loopback.
fn refusal(deployment: &Deployment, headers: &HeaderMap) -> Option<&'static str> {
    let host = headers.get(header::HOST);
    let host = host.and_then(|value| value.to_str().ok());
    if let Some(public) = &deployment.public_url {
        let is_public = host.is_some_and(|host| is_same_authority(host, public.authority()));
        return (!is_public).then_some("this server answers under its public name only");
    }
    let url = host.and_then(|host| Url::parse(&format!("http://{host}")).ok());
    let is_loopback = url.is_some_and(|url| is_plain_loopback(&url));
    (!is_loopback).then_some("this server answers on loopback names only")
}

/// Host names have no case, and the port of https need not be written.
fn is_same_authority(host: &str, authority: &str) -> bool {
    let host = host.strip_suffix(":443").unwrap_or(host);
    host.eq_ignore_ascii_case(authority)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(lines: &[&'static str]) -> Option<String> {
        let proxies = ["10.0.0.0/8", "192.0.2.1"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        client_address(&headers, &proxies).map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxy() {
        for (lines, address) in [
            (&["203.0.113.9"][..], Some("203.0.113.9")),
            (&["198.51.100.1, 203.0.113.9"], Some("203.0.113.9")),
            (&["203.0.113.9, 10.0.0.5, 192.0.2.1"], Some("203.0.113.9")),
            (&["198.51.100.1", "203.0.113.9"], Some("203.0.113.9")),
            (&["203.0.113.9:4711"], Some("203.0.113.9")),
            (&["[2001:db8::1]:4711"], Some("2001:db8::1")),
            (&["made up, 203.0.113.9"], Some("203.0.113.9")),
            (&["203.0.113.9, made up"], None),
            (&["10.0.0.1"], None),
            (&[], None),
        ] {
            assert_eq!(client(lines).as_deref(), address, "{lines:?}");
        }
    }
}
