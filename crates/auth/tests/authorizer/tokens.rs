//! Keeping a token alive.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcp_bridge_auth::Interaction;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Grants, TokenReply};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, config};

///
#[tokio::test]
async fn a_refused_token_is_refreshed_without_a_browser_and_rotation_is_kept() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    for _ in 0..2 {
        provider.revoke_access_tokens();
        // A new process each time: it has only what is stored.
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        assert_eq!(
            app.call_as(Interaction::Forbidden).await.unwrap(),
            StatusCode::OK
        );
    }
    assert_eq!(provider.refreshes(), 2);
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// Makes the stored tokens older, as time does.
fn backdate_tokens(directory: &Path, age: Duration) {
    let files = fs::read_dir(directory).unwrap();
    let mut paths = files.map(|entry| entry.unwrap().path());
    let is_credential = |path: &PathBuf| path.extension().is_some_and(|it| it == "json");
    let path = paths.find(is_credential).expect("a credential is stored");
    let mut stored: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let obtained_at = stored["tokens"]["obtained_at"].as_u64().unwrap();
    let age = u64::try_from(age.as_millis()).unwrap();
    stored["tokens"]["obtained_at"] = json!(obtained_at - age);
    fs::write(path, stored.to_string()).unwrap();
}

/// five processes, one token request.
#[tokio::test]
async fn processes_with_an_expired_token_refresh_once() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_lifetime = Some(1));
    let directory = tempdir().unwrap();
    AuthorizedClient::new(&provider, config(directory.path()))
        .call_with_browser()
        .await
        .unwrap();
    backdate_tokens(directory.path(), Duration::from_secs(1));
    provider.behave(|it| it.token_lifetime = None);
    let apps = [(); 5].map(|()| AuthorizedClient::new(&provider, config(directory.path())));
    let calls = apps.each_ref().map(AuthorizedClient::spawn_call);
    for call in calls {
        assert_eq!(soon("a call", call).await.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(provider.refreshes(), 1);
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// a process whose token another one has replaced takes that one's, and does not try the
/// refresh token that is used up.
#[tokio::test]
async fn a_process_takes_the_token_that_another_one_has_refreshed() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let one = AuthorizedClient::new(&provider, config(directory.path()));
    one.call_with_browser().await.unwrap();
    let other = AuthorizedClient::new(&provider, config(directory.path()));
    other.call().await.unwrap();
    provider.revoke_access_tokens();
    for app in [&one, &other] {
        let status = app.call_as(Interaction::Forbidden).await.unwrap();
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(provider.refreshes(), 1);
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// many requests of one process, too.
#[tokio::test]
async fn requests_that_are_refused_together_share_one_refresh() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.revoke_access_tokens();
    let calls = [(); 8].map(|()| app.spawn_call());
    for call in calls {
        assert_eq!(soon("a call", call).await.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(provider.refreshes(), 1);
}

/// A-65, B3, X-128: nothing that passes costs the sign-in.
#[tokio::test]
async fn an_outage_of_the_token_endpoint_opens_no_browser_and_loses_no_token() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    AuthorizedClient::new(&provider, config(directory.path()))
        .call_with_browser()
        .await
        .unwrap();
    let stored = || {
        let mut files: Vec<_> = directory
            .path()
            .read_dir()
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect::<Vec<_>>()
    };
    let before = stored();
    provider.revoke_access_tokens();
    let html = TokenReply {
        status: 200,
        content_type: "text/html",
        headers: Vec::new(),
        body: "<h1>Log in to the hotel network</h1>".into(),
    };
    let moved = TokenReply {
        status: 307,
        content_type: "text/plain",
        headers: vec![("location", format!("{}/elsewhere", provider.origin()))],
        body: String::new(),
    };
    let outages = [
        TokenReply::error(503, "temporarily_unavailable"),
        TokenReply::error(429, "slow_down"),
        TokenReply::error(400, "temporarily_unavailable"),
        TokenReply::json(500, &json!({ "error": "Internal Server Error" })),
        TokenReply::page(502, "<h1>Bad Gateway</h1>"),
        TokenReply::page(503, ""),
        TokenReply::page(408, "try again"),
        html,
        moved,
    ];
    for outage in outages {
        provider.behave(|it| it.token_outage = Some(outage.clone()));
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = app.call().await.unwrap_err();
        assert_eq!(error.kind(), "auth_unavailable", "{} {error}", outage.body);
        assert_eq!(app.authorizer.pending_sign_in(), None);
        let refreshes = provider.refreshes();
        assert_eq!(app.call().await.unwrap_err().kind(), "auth_unavailable");
        assert_eq!(
            provider.refreshes(),
            refreshes,
            "the server is left alone for a while"
        );
        assert_eq!(stored(), before);
    }
    provider.behave(|it| it.token_outage = None);
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(
        app.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );
    assert!(provider.seen("/elsewhere").is_empty());
    assert_eq!(provider.seen("/authorize").len(), 1);
}

///
#[tokio::test]
async fn a_dead_refresh_token_leads_to_a_sign_in_with_the_same_client() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.revoke_all();
    let probe = app.call_as(Interaction::Forbidden).await.unwrap_err();
    assert_eq!(probe.kind(), "auth_required");
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/register").len(), 1);
}

/// A-28, B7: a registration that the server has forgotten is replaced once.
#[tokio::test]
async fn a_forgotten_client_is_registered_anew() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    AuthorizedClient::new(&provider, config(directory.path()))
        .call_with_browser()
        .await
        .unwrap();
    provider.revoke_all();
    provider.forget_clients();
    provider.behave(|it| it.forgotten_client_status = 422);
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/register").len(), 2);
}

/// a token that is refused as soon as it is issued does not lead to another tab.
#[tokio::test]
async fn a_server_that_refuses_fresh_tokens_gets_one_sign_in() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.grants = Grants::AccessTokensOnly);
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let page = app.sign_in_page().await;
    provider.behave(|it| {
        it.broken_paths.insert("/mcp".into(), (401, String::new()));
    });
    HeadlessBrowser::default().visit(page).await;
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::UNAUTHORIZED
    );
    let error = app.call().await.unwrap_err();
    assert_eq!(error.kind(), "auth_token_refused");
    assert_eq!(provider.seen("/authorize").len(), 1);
}

///
#[tokio::test]
async fn a_token_with_a_line_break_is_refused() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        let body = json!({ "access_token": "a\r\nX-Evil: 1", "token_type": "Bearer" });
        it.token_replies = vec![TokenReply::json(200, &body)];
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let error = app.call_with_browser().await.unwrap_err();
    assert_eq!(error.kind(), "auth_failed");
}
