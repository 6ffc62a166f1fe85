//! Answers of authorization servers that are not in the format of the specifications: tokens, registrations,
//! refusals.

use mcp_bridge_auth::{Config, Grant, Interaction, Revocation};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, TokenReply};
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, config};

/// Slack calls its bearer tokens `user`; others leave the type out.
#[tokio::test]
async fn a_token_of_any_type_is_a_bearer_token_unless_its_name_says_otherwise() {
    let with_type = |token_type: &Value| {
        let body = json!({
            "access_token": "a", "refresh_token": "r", "token_type": token_type,
            "expires_in": "3600", "scope": null, "id_token": "",
        });
        TokenReply::json(200, &body)
    };
    for token_type in [
        json!("user"),
        json!(""),
        json!(null),
        json!("bearer"),
        json!(["x"]),
    ] {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.token_replies = vec![with_type(&token_type)]);
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        app.call_with_browser().await.unwrap();
        let token = app.authorizer.token().await.unwrap().unwrap();
        assert_eq!(token.header().to_str().unwrap(), "Bearer a", "{token_type}");
    }
    for token_type in ["DPoP", "mac", "N_A"] {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.token_replies = vec![with_type(&json!(token_type))]);
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = app.call_with_browser().await.unwrap_err();
        assert!(error.to_string().contains("no bearer token"), "{error}");
    }
}

#[tokio::test]
async fn a_registration_may_have_null_empty_strings_and_numbers_as_strings() {
    let shapes = [
        json!({
            "client_secret": null, "grant_types": null, "response_types": null,
            "token_endpoint_auth_method": "", "contacts": null, "client_secret_expires_at": null,
        }),
        json!({ "client_secret": "", "client_secret_expires_at": "" }),
        json!({ "client_secret": "s3", "client_secret_expires_at": null, "redirect_uris": null,
                "token_endpoint_auth_method": null }),
        json!({ "client_secret": "s3", "client_secret_expires_at": "0",
                "client_id_issued_at": "2026-01-01T00:00:00Z", "token_endpoint_auth_method": null }),
        json!({ "client_secret": "s3", "client_secret_expires_at": "99999999999",
                "token_endpoint_auth_method": "client_secret_post" }),
        json!({ "redirect_uris": [], "token_endpoint_auth_method": 1 }),
        // Only the id.
        json!({ "client_name": null, "redirect_uris": null, "grant_types": null,
                "response_types": null, "token_endpoint_auth_method": null,
                "application_type": null, "software_id": null, "software_version": null }),
    ];
    for shape in shapes {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.registration_reply = shape.clone());
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        assert_eq!(
            app.call_with_browser().await.unwrap(),
            StatusCode::OK,
            "{shape}"
        );
        provider.revoke_access_tokens();
        let next = AuthorizedClient::new(&provider, config(directory.path()));
        let renewed = next.call_as(Interaction::Forbidden).await.unwrap();
        assert_eq!(renewed, StatusCode::OK, "{shape}");
        assert_eq!(provider.seen("/register").len(), 1, "{shape}");
    }
}

/// A status, a body, and what of it has to be told.
const REFUSALS: [(u16, &str, &[&str]); 6] = [
    (
        401,
        r#"[{"logref":"59","message":"Error: 'token call failed: Bad credentials'"}]"#,
        &["401 Unauthorized", "Bad credentials"],
    ),
    (404, "Not found", &["404 Not Found: Not found"]),
    (
        400,
        "<html><head><title>Oops</title></head><body>Bad <b>Request</b></body></html>",
        &["400 Bad Request: Oops Bad Request"],
    ),
    (
        400,
        r#"{"message":"Redirect URI mismatch","statusCode":400}"#,
        &["400 Bad Request: Redirect URI mismatch"],
    ),
    (403, "", &["403 Forbidden"]),
    (
        400,
        r#"{"error":{"code":17,"message":"line one\nline\u001b[31m two"}}"#,
        &["400 Bad Request: line one line\u{fffd}[31m two"],
    ),
];

/// Neither a parser's complaint nor anything that a terminal would obey.
fn check(told: &str, words: &[&str]) {
    for word in words {
        assert!(told.contains(word), "{told:?} lacks {word}");
    }
    assert!(
        !told.contains("line 1 column") && !told.contains("expected"),
        "{told:?}"
    );
    assert!(!told.contains(char::is_control), "{told:?}");
    assert!(told.chars().count() < 500, "{told:?}");
}

fn reply(status: u16, body: &str) -> TokenReply {
    TokenReply {
        status,
        content_type: "text/html",
        headers: Vec::new(),
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn a_refusal_of_the_code_is_told_in_the_servers_words() {
    for (status, body, words) in REFUSALS {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.token_outage = Some(reply(status, body)));
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = app.call_with_browser().await.unwrap_err();
        check(&error.to_string(), words);
    }
    let long = "words and words ".repeat(5_000);
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_outage = Some(reply(400, &long)));
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let error = app.call_with_browser().await.unwrap_err();
    check(
        &error.to_string(),
        &["400 Bad Request: words and words", "…"],
    );
}

/// The page of a captive portal or of maintenance passes, so an app that waits for its `initialize` goes on waiting.
#[tokio::test]
async fn an_answer_that_brings_no_token_is_told_without_a_position() {
    const PASSES: &str = "auth_unavailable";
    const STAYS: &str = "auth_failed";
    for (body, words, kind) in [
        ("<html>portal</html>", "it is a web page, not JSON", PASSES),
        ("", "empty response body", PASSES),
        ("{\"access_token\":", "it is not JSON", PASSES),
        (
            r#"{"ok":false,"msg":"code is used"}"#,
            "code is used",
            STAYS,
        ),
        (
            r#"{"access_token":null}"#,
            "lacks what was asked for",
            STAYS,
        ),
    ] {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.token_outage = Some(reply(200, body)));
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = app.call_with_browser().await.unwrap_err();
        check(&error.to_string(), &[words]);
        assert_eq!(error.kind(), kind, "{body}");
    }
}

#[tokio::test]
async fn a_refusal_that_repeats_the_code_is_told_without_it() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    // The double numbers what it issues.
    let code = "code-MARKER-2";
    provider.behave(|it| it.token_outage = Some(reply(400, &format!("unknown: {code}"))));
    let error = app.call_with_browser().await.unwrap_err();
    assert_eq!(provider.seen("/token")[0].form["code"], code);
    check(&error.to_string(), &["400 Bad Request: unknown: REDACTED"]);
}

#[tokio::test]
async fn a_refusal_of_the_registration_is_told_in_the_servers_words() {
    for (status, body, words) in REFUSALS {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            it.broken_paths
                .insert("/register".into(), (status, body.into()));
        });
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = app.call().await.unwrap_err();
        assert_eq!(error.kind(), "auth_registration_rejected");
        check(&error.to_string(), words);
        assert!(provider.seen("/register").len() <= 4);
    }
}

#[tokio::test]
async fn a_refusal_of_the_device_endpoint_is_told_in_the_servers_words() {
    for (status, body, words) in REFUSALS {
        let provider = AuthorizationServer::start().await;
        let endpoint = format!("{}/device", provider.origin());
        provider.behave(|it| {
            it.server_metadata = json!({ "device_authorization_endpoint": endpoint });
            it.broken_paths
                .insert("/device".into(), (status, body.into()));
        });
        let directory = tempdir().unwrap();
        let config = Config {
            grant: Grant::DeviceCode,
            ..config(directory.path())
        };
        let app = AuthorizedClient::new(&provider, config);
        let error = soon("the call", app.call()).await.unwrap_err();
        check(&error.to_string(), words);
        assert!(error.to_string().contains("/device"), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_revocation_is_told_in_the_servers_words() {
    for (status, body, words) in REFUSALS {
        let provider = AuthorizationServer::start().await;
        let endpoint = format!("{}/revoke", provider.origin());
        provider.behave(|it| {
            it.server_metadata = json!({ "revocation_endpoint": endpoint });
            it.broken_paths
                .insert("/revoke".into(), (status, body.into()));
        });
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        app.call_with_browser().await.unwrap();
        let ended = app.authorizer.sign_out().await.unwrap();
        match &ended[0].revocation {
            Revocation::Failed(reason) => check(reason, words),
            other => panic!("{other:?}"),
        }
        assert!(provider.seen("/revoke").len() <= 2);
    }
    // Any status of success will do.
    let provider = AuthorizationServer::start().await;
    let endpoint = format!("{}/revoke", provider.origin());
    provider.behave(|it| {
        it.server_metadata = json!({ "revocation_endpoint": endpoint });
        it.broken_paths
            .insert("/revoke".into(), (204, String::new()));
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    let ended = app.authorizer.sign_out().await.unwrap();
    assert_eq!(ended[0].revocation, Revocation::Done);
}
