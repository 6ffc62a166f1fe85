//! Discovery of the authorization server: protected resource metadata (RFC 9728), authorization server metadata
//! (RFC 8414, OpenID Connect Discovery), and how tolerantly both are read.

use std::sync::Arc;

use mcp_bridge_auth::{AuthError, Interaction};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Challenge};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::{free_port, soon};

use crate::support::{AuthorizedClient, assert_discovered_once, config};

const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
const RESOURCE_AT_ROOT: &str = "/.well-known/oauth-protected-resource";
const SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

async fn signs_in(provider: &AuthorizationServer) {
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
}

async fn fails(provider: &AuthorizationServer) -> AuthError {
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(provider, config(directory.path()));
    let error = app.call().await.unwrap_err();
    assert!(provider.seen("/register").is_empty(), "{error}");
    error
}

/// A server that wants no token, but publishes where one signs in, is asked for that once.
#[tokio::test]
async fn a_sign_in_that_no_server_asked_for_discovers_once() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let authorizer = Arc::clone(&app.authorizer);
    let token = tokio::spawn(async move { authorizer.volunteer().await });
    HeadlessBrowser::default()
        .visit(app.sign_in_page().await)
        .await;
    assert!(soon("a token", token).await.unwrap().unwrap().is_some());
    assert_discovered_once(&provider);
}

/// Answers that are no metadata document.
fn no_documents() -> [(u16, String); 10] {
    let large = format!(r#"{{"padding":"{}"}}"#, "x".repeat(5 << 20));
    [
        (200, "<html>"),
        (200, ""),
        (200, "[]"),
        (200, "{}"),
        (200, r#"{"error":"not found"}"#),
        (200, &large),
        (403, ""),
        (404, "<html>"),
        (500, "<html>"),
        (429, "busy"),
    ]
    .map(|(status, text)| (status, text.to_owned()))
}

/// A-5, A-82, A-84, X-111
#[tokio::test]
async fn a_challenge_that_names_no_document_leads_to_the_well_known_places() {
    for answer in no_documents() {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            it.named_metadata = Some("/named".into());
            it.broken_paths.insert("/named".into(), answer);
            it.resource_metadata = json!({ "scopes_supported": ["found"] });
        });
        signs_in(&provider).await;
        assert_eq!(provider.paths()[..2], ["/named", RESOURCE]);
        assert_eq!(provider.seen("/authorize")[0].query["scope"], "found");
    }
}

/// The document of the whole origin may name another authorization server.
#[tokio::test]
async fn the_metadata_of_a_parent_does_not_stand_in_for_one_that_cannot_be_read_for_now() {
    let provider = AuthorizationServer::start().await;
    let origin = provider.origin();
    provider.behave(|it| {
        it.broken_paths
            .insert(RESOURCE.into(), (503, String::new()));
        it.documents.insert(
            "/.well-known/oauth-protected-resource".into(),
            json!({ "resource": origin, "authorization_servers": [origin] }),
        );
    });
    assert_eq!(fails(&provider).await.kind(), "auth_unavailable");
    provider.behave(|it| {
        it.broken_paths
            .insert(RESOURCE.into(), (404, String::new()));
    });
    signs_in(&provider).await;
}

#[tokio::test]
async fn a_challenge_that_names_a_place_that_cannot_be_asked_leads_to_the_well_known_places() {
    let port = free_port();
    for named in [
        &format!("http://127.0.0.1:{port}/metadata"),
        "http://mcp.example/metadata",
        "https://user@mcp.example/metadata",
        "file:///metadata",
        "https://[",
    ] {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.named_metadata = Some(named.to_owned()));
        signs_in(&provider).await;
        assert_eq!(provider.paths()[0], RESOURCE, "{named}");
    }
}

/// A-82
#[tokio::test]
async fn metadata_behind_redirects_is_found_on_the_same_origin_only() {
    let other = AuthorizationServer::start().await;
    let elsewhere = format!("{}/login", other.origin());
    for (target, expected) in [
        ("/moved", &["/named", "/moved"][..]),
        (&elsewhere, &["/named", RESOURCE]),
        (
            "/named",
            &["/named", "/named", "/named", "/named", RESOURCE],
        ),
    ] {
        let provider = AuthorizationServer::start().await;
        let document = json!({
            "resource": provider.mcp_url(), "authorization_servers": [provider.origin()],
        });
        provider.behave(|it| {
            it.redirects.insert("/named".into(), target.into());
            it.documents.insert("/moved".into(), document);
            it.named_metadata = Some("/named".into());
        });
        signs_in(&provider).await;
        assert_eq!(provider.paths()[..expected.len()], *expected);
    }
    assert!(other.paths().is_empty());
}

/// Many servers name the metadata of their authorization server.
#[tokio::test]
async fn a_challenge_that_names_the_metadata_of_the_authorization_server_leads_there() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.named_metadata = Some(SERVER.into());
        it.broken_paths
            .insert(RESOURCE.into(), (404, String::new()));
    });
    signs_in(&provider).await;
    assert_eq!(
        provider.paths()[..4],
        [SERVER, RESOURCE, RESOURCE_AT_ROOT, SERVER]
    );
}

/// MCP 2025-03-26: the authorization server is at the origin of the server.
#[tokio::test]
async fn a_server_without_usable_resource_metadata_is_its_own_authorization_server() {
    for answer in no_documents() {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            for path in [RESOURCE, RESOURCE_AT_ROOT] {
                it.broken_paths.insert(path.into(), answer.clone());
            }
        });
        signs_in(&provider).await;
        assert_eq!(provider.paths()[..3], [RESOURCE, RESOURCE_AT_ROOT, SERVER]);
    }
}

/// A-10, A-41, X-113: the default endpoints are for servers that have no metadata, and for no others.
#[tokio::test]
async fn what_is_wrong_at_a_place_is_told_if_no_place_has_a_document() {
    let page = "it is a web page, not JSON";
    for (path, status, text, kind, told) in [
        (RESOURCE, 503, "", "auth_unavailable", "503"),
        (RESOURCE, 200, "<html>", "auth_failed", page),
        (RESOURCE_AT_ROOT, 502, "<html>", "auth_unavailable", "502"),
        (SERVER, 200, "<html>", "auth_failed", page),
        (SERVER, 200, "[]", "auth_failed", "it is not a JSON object"),
        (SERVER, 200, "{}", "auth_failed", "issuer"),
        (OPENID, 500, "<html>", "auth_unavailable", "500"),
    ] {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            for nothing in [RESOURCE, RESOURCE_AT_ROOT, SERVER, OPENID] {
                it.broken_paths.insert(nothing.into(), (404, String::new()));
            }
            it.broken_paths.insert(path.into(), (status, text.into()));
        });
        let error = fails(&provider).await;
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        let url = format!("{}{path}", provider.origin());
        assert!(text.contains(&url) && text.contains(told), "{text}");
        assert_eq!(
            provider.seen(OPENID).len(),
            1,
            "it was looked for everywhere"
        );
    }
}

/// An outage may pass, and a page will not: what may pass is told.
#[tokio::test]
async fn of_several_failures_the_most_telling_is_told() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        for (path, status) in [
            (RESOURCE, 200),
            (RESOURCE_AT_ROOT, 200),
            (SERVER, 503),
            (OPENID, 200),
        ] {
            it.broken_paths
                .insert(path.into(), (status, "<html>".into()));
        }
    });
    let error = fails(&provider).await;
    assert_eq!(error.kind(), "auth_unavailable", "{error}");
    assert!(error.to_string().contains(SERVER), "{error}");
}

fn metadata_of(provider: &AuthorizationServer, issuer: &str) -> Value {
    let origin = provider.origin();
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{origin}/authorize"),
        "token_endpoint": format!("{origin}/token"),
        "registration_endpoint": format!("{origin}/register"),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    })
}

/// A-9, A-11
#[tokio::test]
async fn the_metadata_of_an_issuer_is_taken_from_the_first_place_that_has_it() {
    let places = [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
    ];
    let mut answers = no_documents().to_vec();
    answers.push((
        200,
        r#"{"issuer":"https://other.example","token_endpoint":"https://other.example/"}"#.into(),
    ));
    for answer in answers {
        let provider = AuthorizationServer::start().await;
        let issuer = format!("{}/tenant", provider.origin());
        let document = metadata_of(&provider, &issuer);
        provider.behave(|it| {
            it.resource_metadata = json!({ "authorization_servers": [issuer] });
            for place in &places[..2] {
                it.broken_paths.insert((*place).into(), answer.clone());
            }
            it.documents.insert(places[2].into(), document);
            // The double names its origin, and would have promised to.
            it.authorization_response = json!({ "iss": issuer });
        });
        signs_in(&provider).await;
        assert_eq!(provider.paths()[1..4], places);
    }
}

/// A-10: nothing is known of an issuer whose metadata is nowhere, and its origin is no place for it.
#[tokio::test]
async fn an_issuer_whose_metadata_is_nowhere_ends_the_sign_in() {
    for (status, kind) in [(404, "auth_failed"), (502, "auth_unavailable")] {
        let provider = AuthorizationServer::start().await;
        let issuer = format!("{}/tenant", provider.origin());
        provider.behave(|it| {
            it.resource_metadata = json!({ "authorization_servers": [issuer] });
            let place = "/tenant/.well-known/openid-configuration";
            it.broken_paths
                .insert(place.into(), (status, String::new()));
        });
        let error = fails(&provider).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(provider.seen(SERVER).is_empty());
    }
}

/// A-7, X-111: what the metadata says about another resource is not used, and no reason to look further.
#[tokio::test]
async fn a_document_about_another_resource_ends_the_sign_in_wherever_it_is() {
    let foreign = json!({ "resource": "https://evil.example/mcp" });
    for place in ["/named", RESOURCE, RESOURCE_AT_ROOT] {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| {
            it.named_metadata = Some("/named".into());
            for nothing in [RESOURCE, RESOURCE_AT_ROOT] {
                it.broken_paths.insert(nothing.into(), (404, String::new()));
            }
            it.broken_paths
                .insert(place.into(), (200, foreign.to_string()));
        });
        let error = fails(&provider).await;
        assert!(error.to_string().contains("evil.example"), "{error}");
    }
}

/// A-7: whoever has a part of an origin does not speak for the whole.
#[tokio::test]
async fn the_document_of_a_path_above_counts_only_at_its_own_place() {
    let other = AuthorizationServer::start().await;
    for place in ["/named", RESOURCE] {
        for is_at_its_place in [false, true] {
            let provider = AuthorizationServer::start().await;
            let origin = provider.origin();
            let document =
                |issuer: String| json!({ "resource": origin, "authorization_servers": [issuer] });
            let (wrong, right) = (document(other.origin()), document(provider.origin()));
            provider.behave(|it| {
                it.named_metadata = Some("/named".into());
                for nothing in ["/named", RESOURCE, RESOURCE_AT_ROOT] {
                    it.broken_paths.insert(nothing.into(), (404, String::new()));
                }
                let wrong = (200, wrong.to_string());
                it.broken_paths.insert(place.into(), wrong);
                if is_at_its_place {
                    let right = (200, right.to_string());
                    it.broken_paths.insert(RESOURCE_AT_ROOT.into(), right);
                }
            });
            if is_at_its_place {
                signs_in(&provider).await;
                assert_eq!(provider.seen("/authorize")[0].query["resource"], origin);
            } else {
                let error = fails(&provider).await.to_string();
                assert!(error.contains("it describes"), "{error}");
            }
            assert!(other.paths().is_empty());
        }
    }
}

/// A-7
#[tokio::test]
async fn a_resource_with_a_fragment_a_user_or_an_unseen_letter_is_not_the_server() {
    for place in ["/named", RESOURCE, RESOURCE_AT_ROOT] {
        let provider = AuthorizationServer::start().await;
        let url = provider.mcp_url().to_string();
        let with_unseen_letter = url.replace("://", "://\u{200b}");
        for resource in [
            format!("{url}#a"),
            url.replace("://", "://user@"),
            with_unseen_letter,
        ] {
            let document = json!({
                "resource": resource, "authorization_servers": [provider.origin()],
            });
            provider.behave(|it| {
                it.named_metadata = Some("/named".into());
                for nothing in ["/named", RESOURCE, RESOURCE_AT_ROOT] {
                    it.broken_paths.insert(nothing.into(), (404, String::new()));
                }
                it.broken_paths
                    .insert(place.into(), (200, document.to_string()));
            });
            let error = fails(&provider).await.to_string();
            assert!(error.contains("it describes"), "{error}");
        }
    }
}

/// A-2, X-55, RFC 9110 §11.6.1
#[tokio::test]
async fn the_metadata_is_found_however_the_challenge_is_spelled() {
    const REAL: &str = "www-authenticate";
    const RENAMED: &str = "x-amzn-remapped-www-authenticate";
    let cases: [&[(&str, &str)]; 9] = [
        &[(REAL, "Bearer resource_metadata='URL'")],
        &[(REAL, "bearer realm='a, b', resource_metadata = 'URL'")],
        &[(REAL, "BEARER resource_metadata =\"URL\"")],
        &[(REAL, "Bearer resource_metadata=URL")],
        &[(REAL, "Basic realm=\"x\", Bearer resource_metadata=\"URL\"")],
        &[
            (REAL, "Basic realm=x"),
            (REAL, "Bearer resource_metadata=URL"),
        ],
        &[(RENAMED, "Bearer resource_metadata=\"URL\"")],
        &[
            (REAL, "Basic realm=x"),
            (RENAMED, "Bearer resource_metadata=URL"),
        ],
        &[
            (
                RENAMED,
                "Bearer resource_metadata=\"http://127.0.0.1/wrong\"",
            ),
            (REAL, "Bearer resource_metadata=\"URL\""),
        ],
    ];
    for lines in cases {
        let provider = AuthorizationServer::start().await;
        let place = format!("{}/named", provider.origin());
        let document = json!({
            "resource": provider.mcp_url(), "authorization_servers": [provider.origin()],
        });
        let line = |(name, value): &(&'static str, &str)| (*name, value.replace("URL", &place));
        let lines = lines.iter().map(line).collect::<Vec<_>>();
        provider.behave(|it| {
            it.challenge = Challenge::Bare;
            it.challenge_lines = Some(lines.clone());
            it.documents.insert("/named".into(), document);
        });
        signs_in(&provider).await;
        assert_eq!(provider.paths()[0], "/named", "{lines:?}");
    }
}

#[tokio::test]
async fn documents_and_tokens_with_a_byte_order_mark_are_read() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.body_prefix = "\u{feff}");
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    provider.revoke_access_tokens();
    let renewed = app.call_as(Interaction::Forbidden).await;
    assert_eq!(renewed.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn members_of_documents_are_read_however_they_are_spelled() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.resource_metadata = json!({
            "authorization_servers": provider.origin(),
            "scopes_supported": "read write",
            "bearer_methods_supported": null,
        });
        it.server_metadata = json!({
            "scopes_supported": null,
            "code_challenge_methods_supported": "S256",
            "revocation_endpoint": "",
            "device_authorization_endpoint": null,
            "authorization_response_iss_parameter_supported": "true",
            "service_documentation": 7,
        });
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let asked = &provider.seen("/authorize")[0].query;
    assert_eq!(asked["scope"], "read write");
}
