//! Ways to a token that need no browser on this machine.

use mcp_bridge_auth::{
    ClientCredential, Config, Grant, Interaction, PasteError, PreRegisteredClient, SigningKey,
};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::tempdir;
use url::Url;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Device};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, config};

fn with_device_endpoint(provider: &AuthorizationServer) {
    let endpoint = format!("{}/device", provider.origin());
    provider.behave(|it| it.server_metadata = json!({ "device_authorization_endpoint": endpoint }));
}

/// B12: RFC 8628, with the registration that a later refresh needs.
#[tokio::test]
async fn a_device_code_brings_a_token_when_the_person_approves_elsewhere() {
    let provider = AuthorizationServer::start().await;
    with_device_endpoint(&provider);
    let directory = tempdir().unwrap();
    let config = Config {
        grant: Grant::DeviceCode,
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config.clone());
    let call = app.spawn_call();
    assert_eq!(app.sign_in_page().await.path(), "/activate");
    provider.behave(|it| it.device = Device::Approved);
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::OK
    );
    assert!(provider.seen("/authorize").is_empty());
    assert_eq!(
        provider.seen("/device")[0].form["resource"],
        provider.mcp_url().as_str()
    );

    provider.revoke_access_tokens();
    let next = AuthorizedClient::new(&provider, config);
    assert_eq!(
        next.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );
}

/// B12, X-125
#[tokio::test]
async fn a_refused_device_code_fails_promptly() {
    let provider = AuthorizationServer::start().await;
    with_device_endpoint(&provider);
    provider.behave(|it| it.device = Device::Refused);
    let directory = tempdir().unwrap();
    let config = Config {
        grant: Grant::DeviceCode,
        ..config(directory.path())
    };
    let error = soon("the call", AuthorizedClient::new(&provider, config).call())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "auth_denied");
}

fn client(credential: ClientCredential) -> PreRegisteredClient {
    PreRegisteredClient {
        id: "robot".into(),
        credential,
        method: None,
    }
}

///
#[tokio::test]
async fn client_credentials_bring_tokens_without_a_person_again_and_again() {
    let provider = AuthorizationServer::start().await;
    provider.register("robot", Some("s3cret"), "unused");
    let directory = tempdir().unwrap();
    let config = Config {
        grant: Grant::ClientCredentials {
            token_endpoint: None,
        },
        client: Some(client(ClientCredential::Secret("s3cret".to_owned().into()))),
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    for round in 1..=2 {
        assert_eq!(
            app.call_as(Interaction::Forbidden).await.unwrap(),
            StatusCode::OK
        );
        assert_eq!(provider.seen("/token").len(), round);
        provider.revoke_access_tokens();
    }
    let asked = &provider.seen("/token")[0];
    assert_eq!(asked.form["grant_type"], "client_credentials");
    assert_eq!(asked.form["resource"], provider.mcp_url().as_str());
    assert!(provider.seen("/register").is_empty());
}

/// with a signed statement, and a token endpoint that is given.
#[tokio::test]
async fn client_credentials_work_with_a_key_and_without_discovery() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = Config {
        grant: Grant::ClientCredentials {
            token_endpoint: Some(Url::parse(&format!("{}/token", provider.origin())).unwrap()),
        },
        client: Some(client(ClientCredential::PrivateKey(
            SigningKey::from_pem(KEY).unwrap().into(),
        ))),
        scope: Some("files".into()),
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.paths(), ["/token"]);
    let asked = &provider.seen("/token")[0];
    assert_eq!(
        asked.form["client_assertion_type"],
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    assert_eq!(asked.form["scope"], "files");
    assert!(!asked.headers.contains_key("authorization"));
}

/// what the user configured is never replaced by something of ours.
#[tokio::test]
async fn a_rejected_configured_client_is_an_error_that_names_the_settings() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = Config {
        grant: Grant::ClientCredentials {
            token_endpoint: None,
        },
        client: Some(client(ClientCredential::Secret("wrong".to_owned().into()))),
        ..config(directory.path())
    };
    let error = AuthorizedClient::new(&provider, config)
        .call()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "auth_client_rejected");
    assert!(error.hint().contains("client_id"));
    assert!(provider.seen("/register").is_empty());
}

/// A-89, B12: the address that a browser on another machine ended at.
#[tokio::test]
async fn a_pasted_address_finishes_the_sign_in_and_a_wrong_one_does_not() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert!(
        app.authorizer.submit("x").await.is_err(),
        "nothing waits yet"
    );
    let call = app.spawn_call();
    let address = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;

    for wrong in [
        "",
        "a b",
        "https://x.example/",
        "http://localhost/?code=c&state=wrong",
    ] {
        assert!(app.authorizer.submit(wrong).await.is_err(), "{wrong}");
    }
    app.authorizer
        .submit(&format!("  {address}\n"))
        .await
        .unwrap();
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::OK
    );
}

/// the code alone, where the authorization server does not promise to name itself.
#[tokio::test]
async fn a_pasted_code_is_enough_unless_the_issuer_has_to_be_there() {
    for promised in [false, true] {
        let provider = AuthorizationServer::start().await;
        let metadata = json!({ "authorization_response_iss_parameter_supported": promised });
        provider.behave(|it| it.server_metadata = metadata);
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let call = app.spawn_call();
        let address = HeadlessBrowser::default()
            .approve(app.sign_in_page().await)
            .await;
        let (_, code) = address
            .query_pairs()
            .find(|(name, _)| name == "code")
            .unwrap();
        // Neither a stray word nor a wrong code ends the sign-in.
        for wrong in ["hello", "wrong-code-1"] {
            let refused = app.authorizer.submit(wrong).await.unwrap_err();
            assert!(!refused.to_string().contains("attack"), "{refused}");
        }
        let submitted = app.authorizer.submit(&code).await;
        if promised {
            assert!(matches!(submitted, Err(PasteError::CodeAlone)));
            app.authorizer.submit(address.as_str()).await.unwrap();
        }
        let outcome = soon("the call", call).await.unwrap();
        assert_eq!(outcome.unwrap(), StatusCode::OK);
        assert_eq!(provider.seen("/authorize").len(), 1);
    }
}

/// Made for this test.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXWEnY6Uw5l1BXzvp
na/448MRR/Tapjcsm8pkFsq/q2ihRANCAARV6m5MFf5NYJHcEuj/lSXsjfQyTZjH
El2MXuiZqn9fA3TWLrYBWwqgdQ9OG7aSFrDbSh4FNL5pb4kFyigk3TAX
-----END PRIVATE KEY-----
";
