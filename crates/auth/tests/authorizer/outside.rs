//! Tokens that come from outside: of workloads, as a grant or as client authentication, and those that are exchanged.

use std::fs;
use std::path::Path;

use mcp_bridge_auth::{
    ClientCredential, Config, ExternalToken, Grant, Interaction, PreRegisteredClient, SubjectToken,
    TokenType,
};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, TokenReply, Trust};

use crate::support::{AuthorizedClient, config};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn workload(directory: &Path) -> Config {
    Config {
        grant: Grant::JwtBearer {
            token_endpoint: None,
            assertion: ExternalToken::File(directory.join("token")),
        },
        ..config(directory)
    }
}

fn client(credential: ClientCredential) -> PreRegisteredClient {
    PreRegisteredClient {
        id: "robot".into(),
        credential,
        method: None,
    }
}

async fn trusting(token: &str) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.trust = Some(Trust::Token(token.into())));
    provider
}

///
#[tokio::test]
async fn a_workloads_token_is_read_anew_each_time_that_a_token_is_needed() {
    let provider = trusting("first-MARKER").await;
    let directory = tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "first-MARKER\n").unwrap();
    let app = AuthorizedClient::new(&provider, workload(directory.path()));
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    let asked = &provider.seen("/token")[0];
    assert_eq!(asked.form["grant_type"], JWT_BEARER);
    assert_eq!(asked.form["assertion"], "first-MARKER");
    assert_eq!(asked.form["resource"], provider.mcp_url().as_str());
    assert!(!asked.form.contains_key("client_id"));
    assert!(!asked.headers.contains_key("authorization"));

    provider.revoke_access_tokens();
    provider.behave(|it| it.trust = Some(Trust::Token("second-MARKER".into())));
    fs::write(&file, "second-MARKER").unwrap();
    let call = app.call_as(Interaction::Forbidden).await;
    assert_eq!(call.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/token").len(), 2);
    assert!(provider.seen("/register").is_empty());
}

/// a client that is registered names itself.
#[tokio::test]
async fn a_registered_workload_authenticates_beside_its_token() {
    let provider = trusting("workload-MARKER").await;
    provider.register("robot", Some("s3cret"), "unused");
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("token"), "workload-MARKER").unwrap();
    let config = Config {
        client: Some(client(ClientCredential::Secret("s3cret".to_owned().into()))),
        ..workload(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/token").len(), 1);
}

/// once, without another grant, and with the reason.
#[tokio::test]
async fn a_refused_workload_token_is_told_and_not_repeated() {
    let provider = trusting("another").await;
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("token"), "workload-MARKER").unwrap();
    let app = AuthorizedClient::new(&provider, workload(directory.path()));
    let error = app.call().await.unwrap_err();
    assert!(
        error.to_string().contains("that token is not trusted"),
        "{error}"
    );
    assert!(!error.to_string().contains("workload-MARKER"));
    assert_eq!(provider.seen("/token").len(), 1);
}

/// a server that was taken over cannot have it sent to itself.
#[tokio::test]
async fn a_workloads_token_goes_to_no_other_authorization_server_later() {
    let (provider, other) = (
        trusting("workload-MARKER").await,
        trusting("workload-MARKER").await,
    );
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("token"), "workload-MARKER").unwrap();
    let app = AuthorizedClient::new(&provider, workload(directory.path()));
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    // A wish for more scope leads to another discovery.
    provider.behave(|it| {
        it.required_scope = Some("files".into());
        it.resource_metadata = json!({ "authorization_servers": [other.origin()] });
    });
    let error = app.call().await.unwrap_err();
    assert_eq!(error.kind(), "auth_issuer_mismatch", "{error}");
    assert!(other.seen("/token").is_empty());
}

///
#[tokio::test]
async fn without_a_workload_token_nothing_is_sent() {
    let provider = trusting("x").await;
    let directory = tempdir().unwrap();
    for text in [None, Some(""), Some("two words")] {
        if let Some(text) = text {
            fs::write(directory.path().join("token"), text).unwrap();
        }
        let app = AuthorizedClient::new(&provider, workload(directory.path()));
        let error = app.call().await.unwrap_err();
        assert_eq!(error.kind(), "auth_no_external_token");
        assert!(!error.to_string().contains("two words"), "{error}");
    }
    assert!(provider.seen("/token").is_empty());
}

///
#[tokio::test]
async fn a_workloads_token_authenticates_a_client() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let file = directory.path().join("token");
    let config = Config {
        grant: Grant::ClientCredentials {
            token_endpoint: None,
        },
        client: Some(client(ClientCredential::Assertion(ExternalToken::File(
            file.clone(),
        )))),
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    // Its claims: {"iss":"robot","sub":"robot"}
    for signature in ["one", "two"] {
        let assertion = format!("e30.eyJpc3MiOiJyb2JvdCIsInN1YiI6InJvYm90In0.{signature}");
        fs::write(&file, &assertion).unwrap();
        assert_eq!(app.call().await.unwrap(), StatusCode::OK);
        let asked = provider.seen("/token").pop().unwrap();
        assert_eq!(asked.form["grant_type"], "client_credentials");
        assert_eq!(asked.form["client_assertion"], assertion);
        assert_eq!(
            asked.form["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        provider.revoke_access_tokens();
    }
}

fn exchanging(directory: &Path) -> Config {
    fs::write(directory.join("token"), "subject-MARKER").unwrap();
    Config {
        grant: Grant::TokenExchange {
            token_endpoint: None,
            subject: SubjectToken {
                token: ExternalToken::File(directory.join("token")),
                token_type: TokenType::parse("jwt").unwrap(),
            },
            audience: Some("the-service".into()),
        },
        scope: Some("files".into()),
        ..config(directory)
    }
}

///
#[tokio::test]
async fn a_token_is_exchanged_for_the_servers() {
    let provider = trusting("subject-MARKER").await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, exchanging(directory.path()));
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    let asked = &provider.seen("/token")[0];
    for (name, value) in [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", "subject-MARKER"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("audience", "the-service"),
        ("resource", provider.mcp_url().as_str()),
        ("scope", "files"),
    ] {
        assert_eq!(asked.form[name], value);
    }
}

/// a refresh token, say, is nothing that a server may be sent.
#[tokio::test]
async fn a_token_of_another_type_than_was_wanted_is_not_sent() {
    let provider = trusting("subject-MARKER").await;
    let directory = tempdir().unwrap();
    let reply = json!({
        "access_token": "other-MARKER",
        "token_type": "N_A",
        "issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token",
    });
    provider.behave(|it| it.token_replies = vec![TokenReply::json(200, &reply)]);
    let app = AuthorizedClient::new(&provider, exchanging(directory.path()));
    let error = app.call().await.unwrap_err().to_string();
    assert!(error.contains("token-type:refresh_token"), "{error}");
    assert!(!error.contains("other-MARKER"), "{error}");
}

/// whatever the program does, the error names it, and what it printed is not shown.
#[cfg(unix)]
#[tokio::test]
async fn a_program_that_brings_no_token_is_named_without_what_it_printed() {
    let provider = trusting("x").await;
    let directory = tempdir().unwrap();
    for (script, reason) in [
        ("echo MARKER and more", "no token"),
        ("head -c 200000 /dev/zero | tr '\\0' M", "bytes"),
        ("true", "nothing"),
        ("echo MARKER; exit 3", "3"),
        ("echo '{\"token\":\"MARKER\",\"expires_in\":0}'", "expired"),
    ] {
        let file = directory.path().join("script");
        fs::write(&file, script).unwrap();
        let source = format!("command:sh {}", file.display());
        let config = Config {
            grant: Grant::JwtBearer {
                token_endpoint: None,
                assertion: ExternalToken::parse(&source).unwrap(),
            },
            ..config(directory.path())
        };
        let error = AuthorizedClient::new(&provider, config).call().await;
        let error = error.unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.kind(), "auth_no_external_token", "{shown}");
        assert!(shown.contains("`sh`") && shown.contains(reason), "{shown}");
        assert!(!shown.contains("MARKER"), "{shown}");
    }
    assert!(provider.seen("/token").is_empty());
}
