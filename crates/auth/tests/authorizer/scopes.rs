//! Scope selection, and step-up for missing scopes.

use mcp_bridge_auth::Config;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::AuthorizationServer;

use crate::support::{AuthorizedClient, config};

/// A-37
#[tokio::test]
async fn scopes_come_from_the_user_or_the_resource_and_offline_access_is_added_where_offered() {
    let cases = [
        (None, json!({}), json!({}), None),
        (None, json!({ "scopes_supported": [] }), json!({}), None),
        (
            None,
            json!({ "scopes_supported": ["a", "b"] }),
            json!({}),
            Some("a b"),
        ),
        (
            None,
            json!({}),
            json!({ "scopes_supported": ["x", "offline_access"] }),
            None,
        ),
        (
            None,
            json!({ "scopes_supported": ["a"] }),
            json!({ "scopes_supported": ["x", "offline_access"] }),
            Some("a offline_access"),
        ),
        (
            None,
            json!({ "scopes_supported": ["a"] }),
            json!({ "scopes_supported": ["x"] }),
            Some("a"),
        ),
        (
            Some("mine"),
            json!({ "scopes_supported": ["a"] }),
            json!({ "scopes_supported": ["offline_access"] }),
            Some("mine"),
        ),
    ];
    for (user, resource, server, expected) in cases {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            it.resource_metadata = resource.clone();
            it.server_metadata = server.clone();
        });
        let directory = tempdir().unwrap();
        let config = Config {
            scope: user.map(Into::into),
            ..config(directory.path())
        };
        AuthorizedClient::new(&provider, config)
            .call_with_browser()
            .await
            .unwrap();
        let asked = provider.seen("/authorize")[0].query.get("scope").cloned();
        assert_eq!(asked.as_deref(), expected, "{user:?} {resource} {server}");
    }
}

/// A-67, A-69, X-59: what the sign-in did not grant is not asked for again and again.
#[tokio::test]
async fn a_scope_that_is_not_granted_is_a_lasting_error_for_the_request() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.behave(|it| {
        it.required_scope = Some("admin".into());
        it.granted_scope = Some("read".into());
    });
    let error = app.call_with_browser().await.unwrap_err();
    assert_eq!(error.kind(), "auth_insufficient_scope");
    assert!(error.to_string().contains("admin"));
    app.call_with_browser().await.unwrap_err();
    let tabs = provider.seen("/authorize").len();
    for _ in 0..3 {
        assert_eq!(
            app.call().await.unwrap_err().kind(),
            "auth_insufficient_scope"
        );
    }
    assert_eq!(provider.seen("/authorize").len(), tabs);
}

/// A-67: a challenge that does not say what it wants can't be satisfied.
#[tokio::test]
async fn a_demand_for_more_scope_that_names_none_opens_no_browser() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.behave(|it| it.forbids = Some(r#"Bearer error="insufficient_scope""#.into()));
    assert_eq!(
        app.call().await.unwrap_err().kind(),
        "auth_insufficient_scope"
    );
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// A-68
#[tokio::test]
async fn a_plain_403_is_no_matter_of_tokens() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    for challenge in ["", r#"Bearer error="invalid_request""#, "Basic"] {
        provider.behave(|it| it.forbids = Some(challenge.into()));
        assert_eq!(app.call().await.unwrap(), StatusCode::FORBIDDEN);
    }
    assert_eq!(provider.seen("/authorize").len(), 1);
    assert_eq!(provider.refreshes(), 0);
}

/// A-69, X-141
#[tokio::test]
async fn a_refresh_that_brings_fewer_scopes_is_accepted_and_stepped_up_on_demand() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.resource_metadata = json!({ "scopes_supported": ["read", "write"] }));
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.revoke_access_tokens();
    provider.behave(|it| it.granted_scope = Some("read".into()));
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    provider.behave(|it| {
        it.granted_scope = None;
        it.required_scope = Some("write".into());
    });
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/authorize")[1].query["scope"], "read write");
}

/// A-38
#[tokio::test]
async fn the_authorization_endpoints_own_query_and_the_users_parameters_are_kept() {
    let provider = AuthorizationServer::start().await;
    let endpoint = format!("{}/authorize?tenant=a%20b", provider.origin());
    provider.behave(|it| it.server_metadata = json!({ "authorization_endpoint": endpoint }));
    let directory = tempdir().unwrap();
    let config = Config {
        authorize_params: vec![("audience".into(), "https://api/?x=1&y".into())],
        ..config(directory.path())
    };
    AuthorizedClient::new(&provider, config)
        .call_with_browser()
        .await
        .unwrap();
    let asked = &provider.seen("/authorize")[0].query;
    assert_eq!(asked["tenant"], "a b");
    assert_eq!(asked["audience"], "https://api/?x=1&y");
}
