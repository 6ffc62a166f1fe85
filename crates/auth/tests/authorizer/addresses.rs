//! Addresses of the sign-in: a server on the public internet leads neither the bridge nor a browser into the network.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mcp_bridge_auth::{Authorizer, Config, Grant, Interaction, Refusal};
use mcp_bridge_net::http::{Client, Names, Options};
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::tempdir;
use tokio::net::TcpListener;
use url::Url;

use mcp_bridge_testkit::authorization_server::AuthorizationServer;

use crate::support::{AuthorizedClient, config};

const PUBLIC: &str = "192.0.2.1";
const LOOPBACK: &str = "127.0.0.1";
const SERVER: &str = "https://mcp.example/mcp";

/// A port of this machine that nobody is meant to connect to.
struct Inside {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Inside {
    async fn start() -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&connections);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            address,
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Looks for the authorization server of [`SERVER`], which names a place at `host` on the port of `inside`. Returns
/// the error.
async fn follow_challenge(host: &str, names: Names, peer: Option<&str>, inside: &Inside) -> String {
    let place = format!("https://{host}:{}/metadata", inside.address.port());
    let mut headers = HeaderMap::new();
    let challenge = format!(r#"Bearer resource_metadata="{place}""#);
    headers.insert(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).unwrap());
    let peer = peer.map(|peer| peer.parse().unwrap());
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, &headers, None).from_peer(peer);

    let directory = tempdir().unwrap();
    let options = Options {
        // The public addresses are of a network that does not exist (RFC 5737).
        connect_timeout: Duration::from_millis(50),
        names,
        ..Options::default()
    };
    let server = Url::parse(SERVER).unwrap();
    let authorizer = Authorizer::new(server, config(directory.path()), options);
    let outcome = authorizer.authorize(refusal, Interaction::Allowed).await;
    outcome.unwrap_err().to_string()
}

/// A-80, A-81
#[tokio::test]
async fn a_server_lies_inside_only_if_all_its_addresses_do() {
    for (server, expected) in [
        (&[LOOPBACK][..], true),
        (&["10.0.0.1", "fd00::1"], true),
        (&[PUBLIC], false),
        (&[PUBLIC, LOOPBACK], false),
        (&[LOOPBACK, PUBLIC], false),
        (&["2606:4700::1", "10.0.0.1"], false),
        (&[], false),
    ] {
        for host in [LOOPBACK, "as.example"] {
            let own = addresses(server);
            let names = Names::from_table(move |name| match name {
                "mcp.example" => own.clone(),
                _ => addresses(&[LOOPBACK]),
            });
            let inside = Inside::start().await;
            follow_challenge(host, names, None, &inside).await;
            assert_eq!(inside.connections() > 0, expected, "{server:?} {host}");
        }
    }
}

/// A-80, A-81
#[tokio::test]
async fn a_server_whose_name_changes_lies_where_its_answer_came_from() {
    for (peer, expected) in [
        (PUBLIC, false),
        (LOOPBACK, true),
        ("64:ff9b::8.8.8.8", false),
    ] {
        let names = Names::from_table(|_| addresses(&[LOOPBACK]));
        let inside = Inside::start().await;
        follow_challenge(LOOPBACK, names, Some(peer), &inside).await;
        assert_eq!(inside.connections() > 0, expected, "{peer}");
    }
    // It answers from inside, and its name leads out the next time.
    for (changed, expected) in [(&[PUBLIC, LOOPBACK][..], false), (&[], true)] {
        let names = Names::from_table(move |_| addresses(changed));
        let inside = Inside::start().await;
        follow_challenge(LOOPBACK, names, Some("10.0.0.1"), &inside).await;
        assert_eq!(inside.connections() > 0, expected, "{changed:?}");
    }
}

/// A-81
#[tokio::test]
async fn of_an_authorization_server_with_public_and_private_addresses_only_the_public_ones_are_used()
 {
    let names = Names::from_table(|name| match name {
        "mcp.example" => addresses(&[PUBLIC]),
        _ => addresses(&[LOOPBACK, PUBLIC]),
    });
    let inside = Inside::start().await;
    follow_challenge("as.example", names, Some(PUBLIC), &inside).await;
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn the_address_of_the_server_is_told_with_each_answer() {
    let provider = AuthorizationServer::start().await;
    let url = provider.mcp_url();
    let client = Client::new(&Options::default(), &url, None).unwrap();
    for _ in 0..2 {
        let sent = client.send(Method::POST, &url, HeaderMap::new(), Bytes::new());
        assert_eq!(sent.await.unwrap().peer(), Some(addresses(&[LOOPBACK])[0]));
    }
}

/// Names below `localhost` are this machine's, whatever a DNS server says (RFC 6761 §6.3).
#[tokio::test]
async fn a_server_at_a_name_below_localhost_is_reached_on_this_machine() {
    let provider = AuthorizationServer::start().await;
    let mut url = provider.mcp_url();
    url.set_host(Some("app.localhost")).unwrap();
    let names = Names::from_table(|_| addresses(&[PUBLIC]));
    let options = Options {
        names,
        ..Options::default()
    };
    let client = Client::new(&options, &url, None).unwrap();
    let sent = client.send(Method::POST, &url, HeaderMap::new(), Bytes::new());
    assert!(sent.await.unwrap().peer().unwrap().is_loopback());
}

/// Pages that a browser must not be sent to by a server at a loopback address that the user did not call so.
fn pages() -> [&'static str; 5] {
    [
        "http://as.example/page",
        "http://192.168.0.1/page",
        "https://user@as.example/page",
        "file:///page",
        "javascript:alert(1)",
    ]
}

/// X-110
#[tokio::test]
async fn a_browser_is_sent_only_where_the_sign_in_may_go() {
    for page in pages() {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.server_metadata = json!({ "authorization_endpoint": page }));
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = app.call().await.unwrap_err().to_string();
        assert!(error.starts_with("refused to use"), "{page}: {error}");
        assert!(app.authorizer.pending_sign_in().is_none());
    }
}

/// X-110
#[tokio::test]
async fn a_page_for_another_device_is_shown_only_if_the_sign_in_may_go_there() {
    for page in pages() {
        for member in ["verification_uri", "verification_uri_complete"] {
            let provider = AuthorizationServer::start().await;
            let endpoint = format!("{}/codes", provider.origin());
            let mut codes = json!({
                "device_code": "d", "user_code": "u", "expires_in": 60,
                "verification_uri": "http://127.0.0.1/activate",
            });
            codes[member] = page.into();
            provider.behave(|it| {
                it.server_metadata = json!({ "device_authorization_endpoint": endpoint });
                it.documents.insert("/codes".into(), codes);
            });
            let directory = tempdir().unwrap();
            let config = Config {
                grant: Grant::DeviceCode,
                ..config(directory.path())
            };
            let app = AuthorizedClient::new(&provider, config);
            let error = app.call().await.unwrap_err().to_string();
            assert!(error.starts_with("refused to use"), "{page}: {error}");
            assert!(app.authorizer.pending_sign_in().is_none());
        }
    }
}
