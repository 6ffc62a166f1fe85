//! Tokens that are bound to a key (DPoP, RFC 9449).

use std::path::Path;

use mcp_bridge_auth::{
    AccessToken, ClientCredential, Config, Dpop as Choice, Grant, Interaction, PreRegisteredClient,
};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Device, Dpop, Seen};
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, config};

const PROOF: HeaderName = HeaderName::from_static("dpop");

async fn provider(rules: Dpop) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.dpop = Some(rules));
    provider
}

fn with(choice: Choice, directory: &Path) -> Config {
    Config {
        dpop: choice,
        ..config(directory)
    }
}

async fn token(app: &AuthorizedClient) -> AccessToken {
    app.authorizer.token().await.unwrap().unwrap()
}

fn scheme(seen: &Seen) -> Option<&str> {
    let header = seen.headers.get(AUTHORIZATION)?.to_str().unwrap();
    Some(header.split_once(' ').unwrap().0)
}

/// the double checks each proof: key, method, address, time, token and body.
#[tokio::test]
async fn a_server_that_asks_for_bound_tokens_gets_them_with_a_proof_for_each_request() {
    let provider = provider(Dpop::default()).await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    assert!(token(&app).await.is_bound());
    let authorization = &provider.seen("/authorize")[0];
    assert!(authorization.query.contains_key("dpop_jkt"));
    let requests = provider.seen("/mcp");
    assert_eq!(scheme(&requests[0]), None);
    assert!(requests[1..].iter().all(|it| scheme(it) == Some("DPoP")));
}

/// the same key in the next process, and for the refresh token, which is bound as well.
#[tokio::test]
async fn a_refresh_in_another_process_proves_the_key_of_the_sign_in() {
    let provider = provider(Dpop::default()).await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    for _ in 0..2 {
        provider.revoke_access_tokens();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let status = app.call_as(Interaction::Forbidden).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert!(token(&app).await.is_bound());
    }
    assert_eq!(provider.refreshes(), 2);
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// who has stolen a token has nothing.
#[tokio::test]
async fn a_token_is_refused_with_the_proof_of_another_key_and_without_one() {
    let provider = provider(Dpop::default()).await;
    let (directory, of_thief) = (tempdir().unwrap(), tempdir().unwrap());
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    let thief = AuthorizedClient::new(&provider, config(of_thief.path()));
    thief.call_with_browser().await.unwrap();

    let (stolen, own) = (token(&app).await, token(&thief).await);
    let url = provider.mcp_url();
    let sent = |token: &AccessToken, proof: Option<&AccessToken>| {
        let mut headers = HeaderMap::new();
        if let Some(proof) = proof {
            proof.authorize(&Method::POST, &url, b"{}", &mut headers);
        }
        headers.insert(AUTHORIZATION, token.header());
        let request = reqwest::Client::new().post(url.clone()).headers(headers);
        async { request.body("{}").send().await.unwrap().status() }
    };
    assert_eq!(sent(&stolen, Some(&stolen)).await, StatusCode::OK);
    assert_eq!(sent(&stolen, Some(&own)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(sent(&stolen, None).await, StatusCode::UNAUTHORIZED);
}

/// authorization servers offer it for all that they serve; a server that knows bearer tokens alone would refuse
/// a bound one.
#[tokio::test]
async fn the_offer_of_the_authorization_server_alone_changes_nothing() {
    let provider = provider(Dpop {
        is_silent: true,
        ..Dpop::default()
    })
    .await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert!(!token(&app).await.is_bound());
    let token_request = &provider.seen("/token")[0];
    assert!(!token_request.headers.contains_key(&PROOF));
}

/// the metadata of the resource asks for it, too (RFC 9728 §2).
#[tokio::test]
async fn the_metadata_of_the_server_may_ask_for_bound_tokens() {
    for (metadata, listed) in [
        (
            json!({ "dpop_signing_alg_values_supported": ["ES256"] }),
            json!(["ES256"]),
        ),
        (
            json!({ "dpop_bound_access_tokens_required": true }),
            json!(null),
        ),
    ] {
        let provider = provider(Dpop {
            is_silent: true,
            ..Dpop::default()
        })
        .await;
        provider.behave(|it| {
            it.resource_metadata = metadata;
            it.server_metadata = json!({ "dpop_signing_alg_values_supported": listed });
        });
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
        assert!(token(&app).await.is_bound());
    }
}

///
#[tokio::test]
async fn the_user_may_want_bound_tokens_always_or_never() {
    for (choice, is_silent, expected) in
        [(Choice::Off, false, false), (Choice::Required, true, true)]
    {
        let provider = provider(Dpop {
            is_silent,
            ..Dpop::default()
        })
        .await;
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, with(choice, directory.path()));
        assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
        assert_eq!(token(&app).await.is_bound(), expected, "{choice:?}");
        let registration = &provider.seen("/register")[0].body;
        let is_asked_for = registration.contains("dpop_bound_access_tokens");
        assert_eq!(is_asked_for, expected, "{registration}");
    }
}

///
#[tokio::test]
async fn tokens_of_the_other_kind_are_not_used_once_the_user_has_chosen() {
    let provider = provider(Dpop::default()).await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, with(Choice::Off, directory.path()));
    app.call_with_browser().await.unwrap();
    for (choice, is_bound) in [(Choice::Required, true), (Choice::Off, false)] {
        let app = AuthorizedClient::new(&provider, with(choice, directory.path()));
        assert!(app.authorizer.token().await.unwrap().is_none());
        assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
        assert_eq!(token(&app).await.is_bound(), is_bound);
    }
}

///
#[tokio::test]
async fn a_bearer_token_is_refused_where_the_user_wants_bound_ones_and_used_otherwise() {
    let provider = provider(Dpop {
        issues_bearer: true,
        ..Dpop::default()
    })
    .await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, with(Choice::Required, directory.path()));
    let error = app.call_with_browser().await.unwrap_err();
    assert_eq!(error.kind(), "auth_proof_refused");
    assert!(
        error.to_string().contains("it issued a bearer token"),
        "{error}"
    );
    assert!(error.hint().contains("dpop"), "{}", error.hint());
    let app = AuthorizedClient::new(&provider, with(Choice::Auto, directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert!(!token(&app).await.is_bound());
}

///
#[tokio::test]
async fn an_authorization_server_without_our_algorithm_is_named_before_a_page_is_shown() {
    let provider = provider(Dpop::default()).await;
    provider.behave(|it| {
        it.server_metadata = json!({ "dpop_signing_alg_values_supported": ["RS256"] });
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, with(Choice::Required, directory.path()));
    let error = soon("the call", app.call()).await.unwrap_err();
    assert_eq!(error.kind(), "auth_proof_refused");
    assert!(error.to_string().contains("RS256"), "{error}");
}

/// each server's own nonce, without a second sign-in.
#[tokio::test]
async fn nonces_of_both_servers_are_put_into_the_next_proof_and_remembered() {
    let provider = provider(Dpop {
        token_nonce: Some("nonce-of-tokens"),
        resource_nonce: Some("nonce-of-mcp"),
        ..Dpop::default()
    })
    .await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let before = provider.seen("/mcp").len();
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/mcp").len(), before + 1);
    // Once without, once with the nonce.
    assert_eq!(provider.seen("/token").len(), 2);
    assert_eq!(provider.seen("/authorize").len(), 1);
    provider.revoke_access_tokens();
    assert_eq!(
        app.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );
    assert_eq!(provider.seen("/token").len(), 3);
}

/// a loop ends, and the sign-in is not lost.
#[tokio::test]
async fn an_authorization_server_that_wants_another_nonce_each_time_is_one_error() {
    let provider = provider(Dpop::default()).await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.revoke_access_tokens();
    provider.behave(|it| {
        it.dpop = Some(Dpop {
            token_nonce: Some("n"),
            refuses_nonces: true,
            ..Dpop::default()
        });
    });
    let before = provider.seen("/token").len();
    let error = app.call().await.unwrap_err();
    assert_eq!(error.kind(), "auth_proof_refused");
    assert!(
        error.to_string().contains("nonce again and again"),
        "{error}"
    );
    assert_eq!(provider.seen("/token").len(), before + 2);
    provider.behave(|it| it.dpop = Some(Dpop::default()));
    let next = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(
        next.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// the server's clock counts where it differs.
#[tokio::test]
async fn a_clock_that_is_minutes_off_is_corrected_by_the_servers_own() {
    for clock_ahead in [7 * 60, -7 * 60] {
        let provider = provider(Dpop {
            clock_ahead,
            ..Dpop::default()
        })
        .await;
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
        assert_eq!(provider.seen("/token").len(), 2);
        assert_eq!(app.call().await.unwrap(), StatusCode::OK);
        assert_eq!(provider.seen("/authorize").len(), 1);
    }
}

///
#[tokio::test]
async fn a_refused_proof_keeps_the_sign_in_and_the_hint_says_how_far_the_clock_is_off() {
    let provider = provider(Dpop::default()).await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.revoke_access_tokens();
    for (clock_ahead, hint) in [
        (0, "tell the server's operator"),
        (7 * 60 + 20, "is 7 min behind that of"),
        (-3 * 3600 - 20, "is 3 h ahead of that of"),
    ] {
        provider.behave(|it| {
            it.dpop = Some(Dpop {
                clock_ahead,
                token_refusal: Some("iat is too far away"),
                ..Dpop::default()
            });
        });
        let next = AuthorizedClient::new(&provider, config(directory.path()));
        let error = next.call().await.unwrap_err();
        assert_eq!(error.kind(), "auth_proof_refused");
        assert!(error.to_string().contains("iat is too far away"), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
    }
    provider.behave(|it| it.dpop = Some(Dpop::default()));
    let next = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(
        next.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );
    assert_eq!(provider.seen("/authorize").len(), 1);
}

///
#[tokio::test]
async fn tokens_of_devices_and_of_clients_themselves_are_bound_as_well() {
    let provider = provider(Dpop::default()).await;
    let endpoint = format!("{}/device", provider.origin());
    provider.behave(|it| {
        it.server_metadata = json!({ "device_authorization_endpoint": endpoint });
        it.device = Device::Approved;
    });
    provider.register("robot", Some("s3cret"), "unused");
    let robot = PreRegisteredClient {
        id: "robot".into(),
        credential: ClientCredential::Secret("s3cret".to_owned().into()),
        method: None,
    };
    let credentials = Grant::ClientCredentials {
        token_endpoint: None,
    };
    for (grant, client) in [(Grant::DeviceCode, None), (credentials, Some(robot))] {
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(
            &provider,
            Config {
                grant,
                client,
                ..config(directory.path())
            },
        );
        for _ in 0..2 {
            assert_eq!(soon("a call", app.call()).await.unwrap(), StatusCode::OK);
            assert!(token(&app).await.is_bound());
            provider.revoke_access_tokens();
        }
    }
}
