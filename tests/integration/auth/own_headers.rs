//! Headers of the user's own (`--header`) on the requests of the sign-in.

use serde_json::json;
use tempfile::TempDir;

use crate::program;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::BrowserDouble;

const FLAGS: [&str; 2] = ["--header", "X-Gateway: key"];

/// a gateway before the server wants its key for the documents of the sign-in, too.
#[tokio::test]
async fn a_header_goes_along_with_a_sign_in_at_the_servers_origin() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.gateway = Some("key"));
    let home = TempDir::new().expect("a directory");
    let browser = BrowserDouble::signing_in(home.path());
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &FLAGS);
    app.request(1, "tools/list", &json!({})).await;
    app.result(1).await;
    provider.revoke_access_tokens();
    app.request(2, "tools/list", &json!({})).await;
    app.result(2).await;
    app.finish().await;
    assert_eq!(provider.refreshes(), 1);
}

/// a key for the server is no business of its provider.
#[tokio::test]
async fn a_header_goes_to_no_authorization_server_elsewhere() {
    let server = AuthorizationServer::start().await;
    let issuer = AuthorizationServer::start().await;
    server.behave(|it| {
        it.gateway = Some("key");
        it.resource_metadata = json!({ "authorization_servers": [issuer.origin()] });
    });
    let home = TempDir::new().expect("a directory");
    let browser = BrowserDouble::signing_in(home.path());
    let mut app = program::start_signed_out(&server, home.path(), &browser, &FLAGS);
    // The server does not know the token, which both of them make up on their own.
    app.request(1, "tools/list", &json!({})).await;
    app.error(1).await;
    app.finish().await;
    assert!(!issuer.seen("/token").is_empty());
    for path in issuer.paths() {
        for request in issuer.seen(&path) {
            assert!(!request.headers.contains_key("x-gateway"), "{path}");
        }
    }
}
