//! Refused refresh tokens: which refusals end a grant, and how a person gets to sign in then.

use std::path::Path;
use std::time::Duration;

use mcp_bridge_auth::{
    Account, Config, Interaction, PreRegisteredClient, SERVER_FAILURES, SignInStage,
};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Grants, TokenReply};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::{free_port, soon};

use crate::support::{AuthorizedClient, config};

/// Signed in, with a token that the server has taken back since.
async fn signed_in(provider: &AuthorizationServer, config: &Config) {
    let app = AuthorizedClient::new(provider, config.clone());
    app.call_with_browser().await.unwrap();
    provider.revoke_access_tokens();
}

/// True if some file in `directory` holds `text`.
fn is_stored(directory: &Path, text: &str) -> bool {
    let files = directory.read_dir().unwrap();
    files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .any(|content| content.contains(text))
}

/// Has the token endpoint give this answer while a call waits for a person, and then lets the person sign in.
async fn sign_in_after(provider: &AuthorizationServer, app: &AuthorizedClient, reply: &TokenReply) {
    provider.behave(|it| it.token_outage = Some(reply.clone()));
    let call = app.spawn_call();
    let page = app.sign_in_page().await;
    provider.behave(|it| it.token_outage = None);
    HeadlessBrowser::default().visit(page).await;
    let called = soon("the call", call).await.unwrap();
    assert_eq!(called.unwrap(), StatusCode::OK, "{}", reply.body);
}

#[tokio::test]
async fn a_definite_refusal_in_any_shape_leads_to_a_sign_in_and_the_token_is_kept_until_then() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = config(directory.path());
    let refusals = [
        TokenReply::json(
            400,
            &json!({ "error": "invalid_request", "error_description": "refresh_token is invalid" }),
        ),
        TokenReply::error(403, "unauthorized_client"),
        TokenReply::error(401, "token_expired"),
        TokenReply::error(422, "access_denied"),
        TokenReply::json(401, &json!({ "message": "Unauthorized" })),
        TokenReply::json(
            403,
            &json!({ "error": { "code": "expired", "message": "gone" } }),
        ),
        TokenReply::json(400, &json!({ "error": ["invalid_grant"] })),
        TokenReply::json(400, &json!(["no"])),
        TokenReply::page(400, "<h1>Bad Request</h1>"),
        TokenReply::page(403, "Forbidden"),
        TokenReply::page(401, ""),
        TokenReply::json(200, &json!({ "error": "bad_refresh_token" })),
    ];
    for refusal in refusals {
        signed_in(&provider, &config).await;
        let refresh_token = provider.last_refresh_token();
        let accounts = || Account::all(directory.path());
        assert!(accounts()[0].signed_in.is_some());
        provider.behave(|it| it.token_outage = Some(refusal.clone()));
        let refreshes = provider.refreshes();
        let app = AuthorizedClient::new(&provider, config.clone());
        let error = app.call_as(Interaction::Forbidden).await.unwrap_err();
        assert_eq!(error.kind(), "auth_required", "{}", refusal.body);
        assert_eq!(provider.refreshes(), refreshes + 1, "{}", refusal.body);
        assert!(
            is_stored(directory.path(), &refresh_token),
            "{}",
            refusal.body
        );
        assert!(accounts()[0].signed_in.is_none(), "{}", refusal.body);

        sign_in_after(&provider, &app, &refusal).await;
        assert!(
            !is_stored(directory.path(), &refresh_token),
            "{}",
            refusal.body
        );
        assert!(accounts()[0].signed_in.is_some(), "{}", refusal.body);
        provider.revoke_all();
        std::fs::remove_dir_all(directory.path()).unwrap();
    }
}

/// The refusal may have been that of a firewall.
#[tokio::test]
async fn a_token_that_was_refused_in_no_word_of_oauth_is_tried_again() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = config(directory.path());
    signed_in(&provider, &config).await;
    provider.behave(|it| it.token_outage = Some(TokenReply::page(403, "<h1>Blocked</h1>")));
    let app = AuthorizedClient::new(&provider, config.clone());
    let error = app.call_as(Interaction::Forbidden).await.unwrap_err();
    assert_eq!(error.kind(), "auth_required");
    provider.behave(|it| it.token_outage = None);
    let called = app.call_as(Interaction::Forbidden).await;
    assert_eq!(called.unwrap(), StatusCode::OK);
    assert!(Account::all(directory.path())[0].signed_in.is_some());
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// While its page waits for a person, a process does not try the token with each request.
#[tokio::test]
async fn a_refused_token_is_not_tried_again_while_the_page_is_open() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = config(directory.path());
    signed_in(&provider, &config).await;
    provider.behave(|it| it.token_outage = Some(TokenReply::page(403, "no")));
    let app = AuthorizedClient::new(&provider, config);
    let call = app.spawn_call();
    app.sign_in_page().await;
    for _ in 0..3 {
        let error = app.call_as(Interaction::Forbidden).await.unwrap_err();
        assert_eq!(error.kind(), "auth_required");
    }
    assert_eq!(provider.refreshes(), 1);
    call.abort();
}

#[tokio::test]
async fn a_configured_client_survives_a_refusal_that_speaks_of_the_client() {
    for refusal in [
        TokenReply::error(403, "unauthorized_client"),
        TokenReply::error(401, "invalid_client"),
    ] {
        let provider = AuthorizationServer::start().await;
        let directory = tempdir().unwrap();
        let mut config = config(directory.path());
        let port = free_port();
        config.callback.port = Some(port);
        config.client = Some(PreRegisteredClient {
            id: "by hand".into(),
            credential: mcp_bridge_auth::ClientCredential::None,
            method: None,
        });
        let redirect_uri = format!("http://localhost:{port}/oauth/callback");
        provider.register("by hand", None, &redirect_uri);
        signed_in(&provider, &config).await;
        let app = AuthorizedClient::new(&provider, config);
        sign_in_after(&provider, &app, &refusal).await;
        assert!(provider.seen("/register").is_empty());
    }
}

/// The TypeScript SDK's proxy answers every refused refresh token like this.
fn server_error() -> TokenReply {
    TokenReply::json(
        500,
        &json!({ "error": "server_error", "error_description": "Internal Server Error" }),
    )
}

#[tokio::test]
async fn a_server_that_fails_each_time_by_its_own_account_leads_to_a_sign_in_in_the_end() {
    for failure in [server_error(), TokenReply::page(404, "not here")] {
        let provider = AuthorizationServer::start().await;
        let directory = tempdir().unwrap();
        let config = config(directory.path());
        signed_in(&provider, &config).await;
        let refresh_token = provider.last_refresh_token();
        provider.behave(|it| it.token_outage = Some(failure.clone()));
        // Each time another process: apps start one for a request or two.
        for _ in 1..SERVER_FAILURES {
            let app = AuthorizedClient::new(&provider, config.clone());
            let error = app.call().await.unwrap_err();
            assert_eq!(error.kind(), "auth_unavailable", "{error}");
            assert!(Account::all(directory.path())[0].signed_in.is_some());
        }
        let app = AuthorizedClient::new(&provider, config.clone());
        let call = app.spawn_call();
        let page = app.sign_in_page().await;
        assert!(is_stored(directory.path(), &refresh_token));
        assert!(Account::all(directory.path())[0].signed_in.is_none());
        provider.behave(|it| it.token_outage = None);
        HeadlessBrowser::default().visit(page).await;
        let called = soon("the call", call).await.unwrap();
        assert_eq!(called.unwrap(), StatusCode::OK);
        assert!(!is_stored(directory.path(), &refresh_token));
    }
}

#[tokio::test]
async fn failures_before_a_refresh_that_works_do_not_count() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = config(directory.path());
    signed_in(&provider, &config).await;
    for _ in 0..SERVER_FAILURES {
        provider.behave(|it| it.token_outage = Some(server_error()));
        let app = AuthorizedClient::new(&provider, config.clone());
        assert_eq!(app.call().await.unwrap_err().kind(), "auth_unavailable");
        provider.behave(|it| it.token_outage = None);
        let app = AuthorizedClient::new(&provider, config.clone());
        let called = app.call_as(Interaction::Forbidden).await;
        assert_eq!(called.unwrap(), StatusCode::OK);
        provider.revoke_access_tokens();
    }
    assert_eq!(provider.seen("/authorize").len(), 1);
}

#[tokio::test]
async fn no_page_is_offered_while_the_metadata_cannot_be_had_either() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = config(directory.path());
    signed_in(&provider, &config).await;
    provider.behave(|it| {
        it.token_outage = Some(server_error());
        for path in [
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-authorization-server",
        ] {
            it.broken_paths.insert(path.into(), (503, String::new()));
        }
    });
    for _ in 0..=SERVER_FAILURES {
        let app = AuthorizedClient::new(&provider, config.clone());
        let error = app.call().await.unwrap_err();
        assert_eq!(error.kind(), "auth_unavailable", "{error}");
        assert_eq!(*app.authorizer.watch_sign_in().borrow(), SignInStage::None);
    }
    provider.behave(|it| {
        it.token_outage = None;
        it.broken_paths.clear();
    });
    let app = AuthorizedClient::new(&provider, config);
    let called = app.call_as(Interaction::Forbidden).await;
    assert_eq!(called.unwrap(), StatusCode::OK);
}

/// A server that was set up anew while the bridge ran.
#[tokio::test]
async fn a_client_that_is_forgotten_during_a_run_is_registered_anew() {
    let pages = [
        None,
        Some("/error?error=invalid_client"),
        Some("https://ui.example/oauth/error"),
    ];
    for page in pages {
        let provider = AuthorizationServer::start().await;
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        app.call_with_browser().await.unwrap();
        provider.behave(|it| it.forgotten_client_page = page.map(Into::into));
        provider.revoke_all();
        provider.forget_clients();
        // The token endpoint speaks of the grant, not of the client.
        provider.behave(|it| it.token_replies = vec![TokenReply::error(400, "invalid_grant")]);
        assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
        assert_eq!(provider.seen("/register").len(), 2, "{page:?}");
    }
}

/// A client that is not forgotten is used again, though the endpoint asks for a login or answers at once.
#[tokio::test]
async fn a_client_that_is_alive_is_not_registered_anew() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.revoke_all();
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/register").len(), 1);
}

/// Such a server asks the person to log in before it looks at the client, and then shows an error.
fn forget_the_client_behind_a_login(provider: &AuthorizationServer) {
    provider.revoke_all();
    provider.forget_clients();
    provider.behave(|it| {
        it.forgotten_client_page = Some("/login?next=/authorize".into());
        it.broken_paths
            .insert("/login".into(), (200, "log in".into()));
        it.token_replies = vec![TokenReply::error(400, "invalid_grant")];
    });
}

#[tokio::test]
async fn a_client_that_may_be_forgotten_behind_a_login_is_registered_anew() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    forget_the_client_behind_a_login(&provider);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/register").len(), 2);
}

#[tokio::test]
async fn where_a_new_client_is_not_to_be_had_the_old_one_is_used() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    forget_the_client_behind_a_login(&provider);
    provider.behave(|it| it.registration_status = Some(403));
    let call = app.spawn_call();
    let page = app.sign_in_page().await;
    let client = page.query_pairs().find(|(name, _)| name == "client_id");
    let used = &provider.seen("/authorize")[0].query["client_id"];
    assert_eq!(client.unwrap().1, used.as_str());
    call.abort();
}

#[tokio::test]
async fn a_page_with_an_old_client_that_brings_no_answer_is_followed_by_one_with_a_new_client() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.grants = Grants::AccessTokensOnly);
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    signed_in(&provider, &config).await;
    forget_the_client_behind_a_login(&provider);
    provider.behave(|it| it.token_replies.clear());
    let limit = std::mem::replace(&mut config.timeout, Duration::from_millis(500));
    let error = AuthorizedClient::new(&provider, config.clone())
        .call()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "auth_timeout");
    assert_eq!(provider.seen("/register").len(), 1);
    config.timeout = limit;
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/register").len(), 2);
}

/// A person who only had no time does not leave a new client behind each time.
#[tokio::test]
async fn a_page_with_a_new_client_that_brings_no_answer_is_opened_with_the_same_client_again() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    config.timeout = Duration::from_millis(300);
    for _ in 0..2 {
        let error = AuthorizedClient::new(&provider, config.clone())
            .call()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "auth_timeout");
    }
    assert_eq!(provider.seen("/register").len(), 1);
}
