//! Discovery of the authorization server: protected resource metadata (RFC 9728), authorization server metadata
//! (RFC 8414, OpenID Connect Discovery), and how tolerantly both are read.

use mcp_bridge::auth::Interaction;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::tempdir;

use crate::support_auth::{App, Provider, config};

#[tokio::test]
async fn documents_and_tokens_with_a_byte_order_mark_are_read() {
    let provider = Provider::start().await;
    provider.behave(|it| it.body_prefix = "\u{feff}");
    let directory = tempdir().unwrap();
    let app = App::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    provider.revoke_access_tokens();
    let renewed = app.call_as(Interaction::Forbidden).await;
    assert_eq!(renewed.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn members_of_documents_are_read_however_they_are_spelled() {
    let provider = Provider::start().await;
    provider.behave(|it| {
        it.resource_metadata = json!({
            "authorization_servers": provider.origin(),
            "scopes_supported": "read write",
            "bearer_methods_supported": null,
        });
        it.server_metadata = json!({
            "scopes_supported": null,
            "code_challenge_methods_supported": "S256",
            "revocation_endpoint": "",
            "device_authorization_endpoint": null,
            "authorization_response_iss_parameter_supported": "true",
            "service_documentation": 7,
        });
    });
    let directory = tempdir().unwrap();
    let app = App::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let asked = &provider.seen("/authorize")[0].query;
    assert_eq!(asked["scope"], "read write");
}
