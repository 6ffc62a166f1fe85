//! The token endpoint, and what the MCP endpoint thinks of the tokens.

use std::time::Duration;

use reqwest::{StatusCode, header};
use serde_json::json;

use super::client::{
    Client, answer, basic, form, options, public_client, start, text, with, with_client_secret,
};
use crate::browser;
use crate::server::{Options, PRE_REGISTERED_CLIENT_ID, Server};

/// A-50, A-52, A-53
#[tokio::test]
async fn a_code_becomes_a_token_that_the_mcp_endpoint_accepts() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let code = client.code("ada", "profile coffee").await;
    let response = form(client.post("/token"), &client.code_exchange(&code))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let answer = answer(response).await;
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 3600);
    assert_eq!(answer.body["scope"], "profile coffee");
    let (status, _) = client.try_token(&answer.tokens().access).await;
    assert_eq!(status, StatusCode::OK);
}

/// A-30, A-36, A-54
#[tokio::test]
async fn a_code_is_good_for_its_own_request_only() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let other = Client::registered(&server).await;
    for (name, value, error) in [
        (
            "code_verifier",
            "another-verifier-that-is-long-enough-for-rfc-7636",
            "invalid_grant",
        ),
        ("code_verifier", "short", "invalid_grant"),
        ("code_verifier", "", "invalid_request"),
        (
            "redirect_uri",
            "http://127.0.0.1:50000/callback",
            "invalid_grant",
        ),
        ("redirect_uri", "", "invalid_request"),
        ("client_id", other.id.as_str(), "invalid_grant"),
        ("client_id", "unknown", "invalid_client"),
        ("resource", "", "invalid_target"),
        ("resource", "https://other.example/mcp", "invalid_target"),
        ("code", "unknown", "invalid_grant"),
        ("code", "", "invalid_request"),
        ("grant_type", "password", "unsupported_grant_type"),
    ] {
        let code = client.code("ada", "profile").await;
        let answer = client
            .token(&with(client.code_exchange(&code), name, value))
            .await;
        assert_eq!(answer.error(), error, "{name}={value}");
    }
}

/// A-54: the second use shows that two have the code, so what the first got is taken back.
#[tokio::test]
async fn a_code_that_is_used_twice_ends_the_tokens_of_its_first_use() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let code = client.code("ada", "profile").await;
    let tokens = client.token(&client.code_exchange(&code)).await.tokens();

    let second = client.token(&client.code_exchange(&code)).await;
    assert_eq!(second.error(), "invalid_grant");
    let (status, challenge) = client.try_token(&tokens.access).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    let refresh = client.token(&client.refresh(&tokens.refresh)).await;
    assert_eq!(refresh.error(), "invalid_grant");
}

/// A-64
#[tokio::test]
async fn a_refresh_gives_a_new_pair_of_tokens() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let first = client.tokens("ada", "profile").await;
    let second = client.token(&client.refresh(&first.refresh)).await.tokens();
    assert_ne!(first.access, second.access);
    assert_ne!(first.refresh, second.refresh);
    let (status, _) = client.try_token(&second.access).await;
    assert_eq!(status, StatusCode::OK);
}

/// A-66: two processes that refresh with the same token lose the grant.
#[tokio::test]
async fn a_refresh_token_that_is_used_twice_ends_the_whole_grant() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let first = client.tokens("ada", "profile").await;
    let second = client.token(&client.refresh(&first.refresh)).await.tokens();

    let reuse = client.token(&client.refresh(&first.refresh)).await;
    assert_eq!(reuse.error(), "invalid_grant");
    let successor = client.token(&client.refresh(&second.refresh)).await;
    assert_eq!(successor.error(), "invalid_grant");
    for access in [first.access, second.access] {
        let (status, _) = client.try_token(&access).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

/// A-63, A-67
#[tokio::test]
async fn a_refresh_can_narrow_the_scopes_and_not_widen_them() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile").await;
    let wider = with(client.refresh(&tokens.refresh), "scope", "profile coffee");
    assert_eq!(client.token(&wider).await.error(), "invalid_scope");
    let other_target = with(
        client.refresh(&tokens.refresh),
        "resource",
        "https://other.example/",
    );
    assert_eq!(client.token(&other_target).await.error(), "invalid_target");

    let tokens = client.tokens("ada", "profile coffee").await;
    let narrower = with(client.refresh(&tokens.refresh), "scope", "profile");
    assert_eq!(client.token(&narrower).await.body["scope"], "profile");
}

/// A-61
#[tokio::test]
async fn an_expired_token_is_refused_and_can_be_refreshed() {
    let expired = Options {
        token_lifetime: Duration::ZERO,
        ..options()
    };
    let server = Server::start(expired).await.unwrap();
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile").await;
    let (status, challenge) = client.try_token(&tokens.access).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    assert!(challenge.contains("expired"), "{challenge}");
    client
        .token(&client.refresh(&tokens.refresh))
        .await
        .tokens();
}

/// A-60: a token for one server is worth nothing at another one, even if that one knows it.
#[tokio::test]
async fn a_token_for_another_resource_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state_file = directory.path().join("state.json");
    let start = || {
        Server::start(Options {
            state_file: Some(state_file.clone()),
            ..options()
        })
    };

    let first = start().await.unwrap();
    let client = Client::registered(&first).await;
    let tokens = client.tokens("ada", "profile").await;

    // The same authorization server at another port, so with another resource behind it.
    let second = start().await.unwrap();
    let elsewhere = Client::unknown(&second).known_as(&client.id);
    let (status, challenge) = elsewhere.try_token(&tokens.access).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(challenge.contains("for another resource"), "{challenge}");
    let refresh = elsewhere.token(&elsewhere.refresh(&tokens.refresh)).await;
    assert_eq!(refresh.error(), "invalid_target");
    // The registration did survive.
    elsewhere.tokens("ada", "profile").await;
    assert_eq!(client.try_token(&tokens.access).await.0, StatusCode::OK);
}

/// A-72, for the other side: whoever reads the state file cannot use what it says.
#[tokio::test]
async fn the_state_file_holds_no_token_and_belongs_to_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let server = Server::start(Options {
        state_file: Some(path.clone()),
        ..options()
    });
    let server = server.await.unwrap();
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile").await;

    let state = std::fs::read_to_string(&path).unwrap();
    assert!(state.contains(&client.id));
    assert!(!state.contains(&tokens.access));
    assert!(!state.contains(&tokens.refresh));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// A-67: the challenge asks for what is needed and for what there was.
#[tokio::test]
async fn a_tool_that_needs_more_scopes_challenges_for_them() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "order-coffee" },
    });
    let tokens = client.tokens("ada", "profile").await;
    let response = client.mcp(&tokens.access, &call).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let challenge = super::client::challenge(&response);
    assert!(
        challenge.contains(r#"error="insufficient_scope""#),
        "{challenge}"
    );
    assert!(
        challenge.contains(r#"scope="profile coffee""#),
        "{challenge}"
    );
}

/// RFC 7009
#[tokio::test]
async fn revoking_a_refresh_token_ends_the_grant() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let other = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile").await;
    let revoke = |id: &str| {
        let fields = [
            ("token", tokens.refresh.clone()),
            ("client_id", id.to_owned()),
        ];
        form(client.post("/revoke"), &fields).send()
    };

    assert_eq!(revoke(&other.id).await.unwrap().status(), StatusCode::OK);
    assert_eq!(client.try_token(&tokens.access).await.0, StatusCode::OK);
    assert_eq!(revoke(&client.id).await.unwrap().status(), StatusCode::OK);
    assert_eq!(
        client.try_token(&tokens.access).await.0,
        StatusCode::UNAUTHORIZED
    );
}

/// A-51
#[tokio::test]
async fn a_client_authenticates_in_the_way_it_registered_for() {
    let server = start().await;
    for method in ["none", "client_secret_basic", "client_secret_post"] {
        let client = Client::unknown(&server);
        let mut metadata = public_client();
        metadata["token_endpoint_auth_method"] = json!(method);
        let registered = client.register(metadata).await.body;
        let client = client.known_as(&text(&registered["client_id"]));
        let secret = registered["client_secret"].as_str().unwrap_or("made-up");

        for attempt in ["none", "client_secret_basic", "client_secret_post"] {
            let code = client.code("ada", "profile").await;
            let mut fields = client.code_exchange(&code);
            if attempt == "client_secret_post" {
                fields.push(("client_secret", secret.to_owned()));
            }
            let mut request = form(client.post("/token"), &fields);
            if attempt == "client_secret_basic" {
                request = request.header(header::AUTHORIZATION, basic(&client.id, secret));
            }
            let answer = answer(request.send().await.unwrap()).await;
            if attempt == method {
                answer.tokens();
            } else {
                assert_eq!(
                    answer.status,
                    StatusCode::UNAUTHORIZED,
                    "{method}, {attempt}"
                );
                assert_eq!(answer.error(), "invalid_client");
            }
        }
    }
}

/// A-51: id and secret are form-encoded before they are joined.
#[tokio::test]
async fn the_pre_registered_client_needs_its_secret() {
    let secret = "with:colon and+plus%";
    let server = Server::start(with_client_secret(secret)).await.unwrap();
    let client = Client::unknown(&server).known_as(PRE_REGISTERED_CLIENT_ID);
    let uri = "http://127.0.0.1:49152/oauth/callback";
    let address =
        client.authorization_url(&with(client.authorization_request(), "redirect_uri", uri));

    for (presented, status) in [("wrong", 401), (secret, 200)] {
        let callback = browser::sign_in(address.as_str(), "ada", "allow")
            .await
            .unwrap();
        let code = super::client::query(&callback, "code").unwrap();
        let fields = with(client.code_exchange(&code), "redirect_uri", uri);
        let request = form(client.post("/token"), &fields)
            .header(header::AUTHORIZATION, basic(&client.id, presented));
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}
