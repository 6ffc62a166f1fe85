//! Token introspection at the example server (RFC 7662).

use std::time::Duration;

use reqwest::{StatusCode, header};
use serde_json::json;

use super::client::{Answer, Client, answer, basic, form, options, with};
use crate::server::{Options, RESOURCE_SERVER_CLIENT_ID, ResourceServer, Server, Token};

const OTHER: &str = "https://mcp.example.com/mcp";
const SECRET: &str = "of the resource server";

fn with_resource_server() -> Options {
    let other = ResourceServer {
        url: OTHER.to_owned(),
        secret: Token::from(SECRET.to_owned()),
    };
    Options {
        resource_server: Some(other),
        ..options()
    }
}

/// An access token for the other server.
async fn token_for_other(client: &Client) -> String {
    let request = with(client.authorization_request(), "resource", OTHER);
    let code = client.code_for(&request, "ada").await;
    let exchange = with(client.code_exchange(&code), "resource", OTHER);
    client.token(&exchange).await.tokens().access
}

async fn introspect(client: &Client, authorization: Option<String>, token: &str) -> Answer {
    let request = form(client.post("/introspect"), &[("token", token.to_owned())]);
    let request = authorization.into_iter().fold(request, |request, value| {
        request.header(header::AUTHORIZATION, value)
    });
    answer(request.send().await.unwrap()).await
}

/// The credentials of the resource server.
fn credentials() -> String {
    basic(RESOURCE_SERVER_CLIENT_ID, SECRET)
}

#[tokio::test]
async fn a_resource_server_learns_about_tokens_for_it_and_about_no_others() {
    let server = Server::start(with_resource_server()).await.unwrap();
    let client = Client::registered(&server).await;
    let token = token_for_other(&client).await;

    let metadata = client.get("/.well-known/oauth-authorization-server").send();
    let metadata = answer(metadata.await.unwrap()).await.body;
    let endpoint = client.url("/introspect");
    assert_eq!(metadata["introspection_endpoint"], endpoint.as_str());

    let described = introspect(&client, Some(credentials()), &token).await.body;
    let expected = json!({
        "active": true,
        "iss": metadata["issuer"],
        "aud": OTHER,
        "sub": "ada",
        "client_id": client.id,
        "scope": "profile",
        "token_type": "Bearer",
        "exp": described["exp"],
    });
    assert_eq!(described, expected);

    let inactive = json!({ "active": false });
    let own = client.tokens("ada", "profile").await.access;
    for token in [own.as_str(), "unknown"] {
        let described = introspect(&client, Some(credentials()), token).await;
        assert_eq!(described.status, StatusCode::OK);
        assert_eq!(described.body, inactive);
    }
    // The other way round as well: this MCP server takes no tokens of the other one.
    assert_eq!(client.try_token(&token).await.0, StatusCode::UNAUTHORIZED);

    let revocation = [("token", token.clone()), ("client_id", client.id.clone())];
    let revoked = form(client.post("/revoke"), &revocation).send().await;
    assert_eq!(revoked.unwrap().status(), StatusCode::OK);
    let described = introspect(&client, Some(credentials()), &token).await.body;
    assert_eq!(described, inactive);
}

#[tokio::test]
async fn an_expired_token_is_not_active() {
    let server = Server::start(Options {
        token_lifetime: Duration::ZERO,
        ..with_resource_server()
    });
    let server = server.await.unwrap();
    let client = Client::registered(&server).await;
    let token = token_for_other(&client).await;
    let described = introspect(&client, Some(credentials()), &token).await.body;
    assert_eq!(described, json!({ "active": false }));
}

#[tokio::test]
async fn nobody_but_the_resource_server_may_introspect() {
    let server = Server::start(with_resource_server()).await.unwrap();
    let client = Client::registered(&server).await;
    let token = token_for_other(&client).await;
    for authorization in [
        None,
        Some(basic(RESOURCE_SERVER_CLIENT_ID, "wrong")),
        Some(basic(&client.id, "")),
    ] {
        let refused = introspect(&client, authorization, &token).await;
        assert!(refused.status.is_client_error(), "{}", refused.body);
        assert!(refused.body["active"].is_null(), "{}", refused.body);
    }
    let parameters = [("token", token), ("client_id", client.id.clone())];
    let public = form(client.post("/introspect"), &parameters).send().await;
    assert_eq!(public.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_a_resource_server_there_is_no_introspection() {
    let server = Server::start(options()).await.unwrap();
    let client = Client::registered(&server).await;
    let refused = introspect(&client, Some(credentials()), "any").await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
}
