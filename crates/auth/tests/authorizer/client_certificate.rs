//! The client certificate: it tells who the user is, so only the MCP server sees it, and whom else the user names.

use std::fs;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mcp_bridge_auth::{Authorizer, Interaction, Refusal};
use mcp_bridge_net::http::{Client, Identity, Options, Roots};
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::tempdir;
use tokio::net::TcpListener;
use url::Url;

use mcp_bridge_testkit::tls_server::{acceptor, certificate};

use crate::support::config;

/// A port with TLS that serves those alone who show a certificate, and nothing to them either.
struct Gate {
    url: Url,
    /// True if each connection came with the certificate.
    shown: Arc<Mutex<Vec<bool>>>,
}

impl Gate {
    async fn start() -> Self {
        let client = CertificateDer::from_pem_file(certificate("good.pem")).unwrap();
        let acceptor = acceptor("good.pem", Some(client));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shown = Arc::default();
        let seen = Arc::clone(&shown);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let is_shown = acceptor.accept(stream).await.is_ok();
                let seen: &Mutex<Vec<bool>> = &seen;
                seen.lock().unwrap().push(is_shown);
            }
        });
        Self {
            url: Url::parse(&format!("https://{address}/mcp")).unwrap(),
            shown,
        }
    }

    fn shown(&self) -> Vec<bool> {
        self.shown.lock().unwrap().clone()
    }
}

/// The options of a user with a certificate for these servers.
fn options(servers: &[&Gate]) -> Options {
    let read = |name| fs::read(certificate(name)).unwrap();
    let origins = servers.iter().map(|server| server.url.origin()).collect();
    let identity = Identity::from_pem(&read("good.pem"), &read("server.key"), origins);
    Options {
        identity: Some(identity.unwrap()),
        extra_roots: vec![Roots::from_pem(read("authority.pem")).unwrap()],
        ..Options::default()
    }
}

/// Follows a challenge of `server`, at whose origin nothing is, to `provider`.
async fn look_for_provider(server: &Gate, provider: &Gate, options: Options) {
    let directory = tempdir().unwrap();
    let authorizer = Authorizer::new(server.url.clone(), config(directory.path()), options);
    let challenge = format!(r#"Bearer resource_metadata="{}""#, provider.url);
    let mut headers = HeaderMap::new();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).unwrap());
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, &headers, None);
    let outcome = authorizer.authorize(refusal, Interaction::Allowed).await;
    outcome.unwrap_err();
}

#[tokio::test]
async fn the_server_sees_the_certificate_and_its_authorization_server_does_not() {
    let (server, provider) = (Gate::start().await, Gate::start().await);
    look_for_provider(&server, &provider, options(&[&server])).await;
    assert!(provider.shown().iter().all(|is_shown| !is_shown));
    assert!(server.shown().iter().all(|is_shown| *is_shown));
    assert!(!provider.shown().is_empty() && !server.shown().is_empty());
}

#[tokio::test]
async fn an_origin_that_the_user_names_sees_the_certificate_too() {
    let (server, provider) = (Gate::start().await, Gate::start().await);
    look_for_provider(&server, &provider, options(&[&server, &provider])).await;
    assert!(provider.shown().iter().all(|is_shown| *is_shown));
    assert!(!provider.shown().is_empty());
}

#[tokio::test]
async fn a_proxy_with_tls_sees_the_certificate_only_if_the_user_names_its_origin() {
    let server = Url::parse("https://mcp.example/mcp").unwrap();
    for is_named in [false, true] {
        let proxy = Gate::start().await;
        let mut origins = vec![server.origin()];
        origins.extend(is_named.then(|| proxy.url.origin()));
        let read = |name| fs::read(certificate(name)).unwrap();
        let identity = Identity::from_pem(&read("good.pem"), &read("server.key"), origins);
        let options = Options {
            identity: Some(identity.unwrap()),
            proxy: Some(proxy.url.clone()),
            ..options(&[])
        };
        let client = Client::new(&options, &server, None).unwrap();
        let sent = client.send(Method::GET, &server, HeaderMap::new(), Bytes::new());
        sent.await.unwrap_err();
        let shown = proxy.shown();
        assert!(shown.iter().all(|is_shown| *is_shown == is_named));
        assert!(!shown.is_empty());
    }
}
