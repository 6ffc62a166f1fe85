//! Client registration: metadata documents, dynamic registration, configured clients.

use mcp_bridge_auth::{ClientCredential, Config, Interaction, IssuerCheck, PreRegisteredClient};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;
use url::Url;

use mcp_bridge_testkit::authorization_server::{Authentication, AuthorizationServer};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::{free_port, soon};

use crate::support::{AuthorizedClient, config};

///
#[tokio::test]
async fn a_metadata_document_goes_before_registration_where_it_is_supported() {
    let document = "https://client.example/mcp-bridge.json";
    for supported in [true, false] {
        let provider = AuthorizationServer::start().await;
        let metadata = json!({ "client_id_metadata_document_supported": supported });
        provider.behave(|it| it.server_metadata = metadata);
        let directory = tempdir().unwrap();
        let port = free_port();
        let mut config = config(directory.path());
        config.client_metadata_url = Some(Url::parse(document).unwrap());
        config.callback.port = Some(port);
        provider.register(
            document,
            None,
            &format!("http://localhost:{port}/oauth/callback"),
        );
        let app = AuthorizedClient::new(&provider, config);
        assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
        assert_eq!(provider.seen("/register").is_empty(), supported);
        let is_document = provider.seen("/authorize")[0].query["client_id"] == document;
        assert_eq!(is_document, supported);
        if supported {
            assert_eq!(provider.seen("/token")[0].form["client_id"], document);
        }
    }
}

/// a public client first, then one with a method that the server lists.
#[tokio::test]
async fn a_server_without_public_clients_gets_a_client_with_a_secret() {
    let cases = [
        (
            json!(["client_secret_basic", "client_secret_post"]),
            "client_secret_post",
        ),
        (json!(["client_secret_basic"]), "client_secret_basic"),
        (json!(null), "client_secret_basic"),
    ];
    for (methods, expected) in cases {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            it.registers_no_public_client = true;
            it.server_metadata = json!({ "token_endpoint_auth_methods_supported": methods });
        });
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
        let asked = provider.seen("/register");
        let asked: Vec<Value> = asked
            .iter()
            .map(|seen| serde_json::from_str(&seen.body).unwrap())
            .collect();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0]["token_endpoint_auth_method"], "none");
        assert_eq!(asked[1]["token_endpoint_auth_method"], expected);
        let basic = provider.seen("/token")[0]
            .headers
            .contains_key("authorization");
        assert_eq!(basic, expected == "client_secret_basic");

        // The secret is there after a restart, too.
        provider.revoke_access_tokens();
        let next = AuthorizedClient::new(&provider, config(directory.path()));
        assert_eq!(
            next.call_as(Interaction::Forbidden).await.unwrap(),
            StatusCode::OK
        );
    }
}

/// B10: a wrong guess about where the secret goes is corrected once, in the same tab.
#[tokio::test]
async fn a_secret_that_is_wanted_in_the_other_place_is_sent_there() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.authentication = Authentication::OnlyPost;
        it.server_metadata = json!({ "token_endpoint_auth_methods_supported": null });
    });
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    let port = free_port();
    config.callback.port = Some(port);
    config.client = Some(PreRegisteredClient {
        id: "by hand".into(),
        credential: ClientCredential::Secret("s".to_owned().into()),
        method: None,
    });
    provider.register(
        "by hand",
        Some("s"),
        &format!("http://localhost:{port}/oauth/callback"),
    );
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    provider.revoke_access_tokens();
    assert_eq!(
        app.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );
    let basic = provider
        .seen("/token")
        .iter()
        .filter(|it| it.headers.contains_key("authorization"))
        .count();
    assert_eq!(basic, 2, "the right place is remembered");
}

///
#[tokio::test]
async fn a_rejected_registration_is_told_and_not_repeated() {
    let cases = [
        (
            400,
            json!({ "error": "invalid_redirect_uri", "error_description": "no localhost" }),
            1,
        ),
        (403, json!({}), 1),
        (400, json!({ "error": "invalid_client_metadata" }), 2),
        (201, json!({ "message": "no client here" }), 1),
        (
            201,
            json!({ "client_id": "c", "redirect_uris": ["https://other.example/"] }),
            1,
        ),
    ];
    for (status, reply, requests) in cases {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            it.registration_status = Some(status);
            it.registration_reply = reply.clone();
        });
        let directory = tempdir().unwrap();
        let error = AuthorizedClient::new(&provider, config(directory.path()))
            .call()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "auth_registration_rejected", "{reply}");
        assert!(error.hint().contains("client_id"));
        assert_eq!(provider.seen("/register").len(), requests, "{reply}");
        if let Some(description) = reply.get("error_description") {
            assert!(error.to_string().contains(description.as_str().unwrap()));
        }
    }
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.registration_status = Some(429));
    let directory = tempdir().unwrap();
    let error = AuthorizedClient::new(&provider, config(directory.path()))
        .call()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "auth_unavailable");
}

/// an old server that knows no `application_type`.
#[tokio::test]
async fn members_that_a_server_does_not_know_are_left_out_in_a_second_request() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.registration_status = Some(400);
        it.registration_reply = json!({ "error": "invalid_client_metadata" });
    });
    let directory = tempdir().unwrap();
    AuthorizedClient::new(&provider, config(directory.path()))
        .call()
        .await
        .unwrap_err();
    let bodies = provider.seen("/register");
    assert!(bodies[0].body.contains("application_type"));
    assert!(!bodies[1].body.contains("application_type"));
    assert!(bodies[1].body.contains("redirect_uris"));
}

///
#[tokio::test]
async fn a_registration_whose_secret_has_expired_is_replaced() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.registration_reply =
            json!({ "client_secret": "s", "client_secret_expires_at": 1_000_000_000 });
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    provider.revoke_access_tokens();
    provider.behave(|it| it.registration_reply = json!({}));
    let next = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(next.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/register").len(), 2);
}

/// `--static-oauth-client-metadata`
#[tokio::test]
async fn the_user_may_change_what_is_registered() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    let members = json!({ "client_name": "Mine", "scope": "read write", "x": [1] });
    config.client_metadata = members.as_object().unwrap().clone();
    AuthorizedClient::new(&provider, config)
        .call_with_browser()
        .await
        .unwrap();
    let asked: Value = serde_json::from_str(&provider.seen("/register")[0].body).unwrap();
    assert_eq!(
        (&asked["client_name"], &asked["x"]),
        (&json!("Mine"), &json!([1]))
    );
    assert_eq!(provider.seen("/authorize")[0].query["scope"], "read write");
}

///
#[tokio::test]
async fn a_configured_client_is_not_shown_to_another_authorization_server() {
    let old = AuthorizationServer::start().await;
    let new = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    let port = free_port();
    config.callback.port = Some(port);
    config.client = Some(PreRegisteredClient {
        id: "by hand".into(),
        credential: ClientCredential::Secret("s3cret".to_owned().into()),
        method: None,
    });
    for provider in [&old, &new] {
        provider.register(
            "by hand",
            Some("s3cret"),
            &format!("http://localhost:{port}/oauth/callback"),
        );
    }
    AuthorizedClient::new(&old, config.clone())
        .call_with_browser()
        .await
        .unwrap();
    old.revoke_all();
    old.behave(|it| it.resource_metadata = json!({ "authorization_servers": [new.origin()] }));
    let error = AuthorizedClient::new(&old, config.clone())
        .call()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "auth_issuer_mismatch");
    assert!(error.to_string().contains(&old.origin()) && error.to_string().contains(&new.origin()));
    assert!(new.seen("/authorize").is_empty() && new.seen("/token").is_empty());
}

///
#[tokio::test]
async fn of_several_authorization_servers_the_chosen_one_is_used() {
    let provider = AuthorizationServer::start().await;
    let other = AuthorizationServer::start().await;
    let both = json!({ "authorization_servers": [other.origin(), provider.origin()] });
    provider.behave(|it| it.resource_metadata = both);
    let directory = tempdir().unwrap();
    let config = Config {
        issuer: Some(provider.origin()),
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert!(other.paths().is_empty());
}

/// the one that we have tokens of goes before the first in the list.
#[tokio::test]
async fn of_several_authorization_servers_the_known_one_is_used() {
    let provider = AuthorizationServer::start().await;
    let other = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    let both = json!({ "authorization_servers": [other.origin(), provider.origin()] });
    provider.behave(|it| it.resource_metadata = both);
    provider.revoke_all();
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert!(other.paths().is_empty());
    assert_eq!(provider.seen("/register").len(), 1);
}

/// B6
#[tokio::test]
async fn a_known_mismatch_of_issuers_can_be_accepted_and_is_then_compared_exactly() {
    let provider = AuthorizationServer::start().await;
    let issuer = "https://other.example";
    provider.behave(|it| {
        it.server_metadata = json!({ "issuer": issuer });
        it.authorization_response = json!({ "iss": issuer });
    });
    let directory = tempdir().unwrap();
    let config = Config {
        issuer_check: IssuerCheck::Off,
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config.clone());
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);

    provider.revoke_all();
    provider.behave(|it| it.authorization_response = json!({ "iss": provider_origin_of(issuer) }));
    let app = AuthorizedClient::new(&provider, config);
    let call = app.spawn_call();
    HeadlessBrowser::default()
        .visit(app.sign_in_page().await)
        .await;
    let error = soon("the call", call).await.unwrap().unwrap_err();
    assert_eq!(
        error.kind(),
        "auth_issuer_mismatch",
        "the recorded issuer is the one that counts"
    );
}

fn provider_origin_of(issuer: &str) -> String {
    format!("{issuer}/")
}
