//! Server certificates that the user names, in each of the HTTP clients.

use mcp_bridge_net::http::{Options, Roots};
use mcp_bridge_testkit::tls_server::{TlsServer, certificate};

/// The HTTP client of the sign-in and of proxies verifies as the one for the server does.
#[tokio::test]
async fn both_clients_verify_the_servers_own_certificate_alike() {
    for (named, is_trusted) in [("own.pem", true), ("own_other.pem", false)] {
        let server = TlsServer::start("own.pem", &[]).await;
        let pem = std::fs::read(certificate(named)).expect("a certificate");
        let options = Options {
            extra_roots: vec![Roots::from_pem(pem).expect("PEM")],
            ..Options::default()
        };
        let url = server.url().parse().expect("a URL");
        let client = options.client(&url).expect("a client");
        // The server speaks HTTP/2 alone, which this client does not; before that comes TLS.
        let error = client.get(url).send().await.expect_err("no HTTP/1.1");
        assert_eq!(error.is_connect(), !is_trusted, "{error:?}");
    }
}
