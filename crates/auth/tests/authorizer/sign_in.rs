//! From the first 401 to the first answer.

use std::path::Path;

use mcp_bridge_auth::{
    AuthError, ClientCredential, Interaction, PreRegisteredClient, ResourceParameter,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Challenge};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::{free_port, soon};

use crate::support::{AuthorizedClient, config};

///
#[tokio::test]
async fn a_refused_request_leads_through_the_browser_to_an_accepted_one() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert!(app.authorizer.token().await.unwrap().is_none());

    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);

    assert_eq!(
        provider.paths(),
        [
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-authorization-server",
            "/register",
            "/authorize",
            "/token",
        ]
    );
    let registration: Value = serde_json::from_str(&provider.seen("/register")[0].body).unwrap();
    assert_eq!(registration["application_type"], "native");
    assert_eq!(registration["token_endpoint_auth_method"], "none");
    assert!(registration.get("scope").is_none());
    let resource = provider.mcp_url().to_string();
    let authorization = &provider.seen("/authorize")[0].query;
    assert_eq!(authorization["resource"], resource);
    assert!(!authorization.contains_key("scope"));
    assert_eq!(
        authorization["redirect_uri"],
        registration["redirect_uris"][0].as_str().unwrap()
    );
    let token = &provider.seen("/token")[0];
    assert_eq!(token.form["resource"], resource);
    assert_eq!(token.headers["accept"], "application/json");
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/token").len(), 1);
}

///
#[tokio::test]
async fn the_next_start_needs_no_browser_and_only_the_user_can_read_what_is_stored() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let store = directory.path().join("store");
    AuthorizedClient::new(&provider, config(&store))
        .call_with_browser()
        .await
        .unwrap();

    let next = AuthorizedClient::new(&provider, config(&store));
    assert_eq!(
        next.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );

    assert_mode(&store, 0o700);
    let mut credentials = 0;
    for entry in store.read_dir().unwrap() {
        let path = entry.unwrap().path();
        assert_mode(&path, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        credentials += usize::from(text.contains("access-MARKER"));
        assert!(!text.contains("code-MARKER"));
    }
    assert_eq!(credentials, 1);
}

#[cfg(unix)]
fn assert_mode(path: &Path, expected: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, expected, "{}", path.display());
}

/// Other systems have no such bits.
#[cfg(not(unix))]
fn assert_mode(_: &Path, _: u32) {}

/// A-66b, X-131
#[tokio::test]
async fn two_processes_open_one_browser_window() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let apps = [(); 5].map(|()| AuthorizedClient::new(&provider, config(directory.path())));
    let calls = apps.each_ref().map(AuthorizedClient::spawn_call);
    let page = apps[0].sign_in_page().await;
    for app in &apps {
        assert_eq!(
            app.sign_in_page().await,
            page,
            "all processes show the same page"
        );
    }
    HeadlessBrowser::default().visit(page).await;
    for call in calls {
        assert_eq!(soon("a call", call).await.unwrap().unwrap(), StatusCode::OK);
    }
    assert_eq!(provider.seen("/authorize").len(), 1);
    assert_eq!(provider.seen("/register").len(), 1);
    assert_eq!(provider.seen("/token").len(), 1);
}

/// nothing in the challenge, and no authorization server in the metadata.
#[tokio::test]
async fn a_bare_challenge_leads_to_the_well_known_places() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.challenge = Challenge::Bare;
        it.resource_metadata = json!({ "authorization_servers": null });
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(
        provider.paths()[0],
        "/.well-known/oauth-protected-resource/mcp"
    );
}

/// neither kind of metadata anywhere.
#[tokio::test]
async fn a_server_without_any_metadata_gets_the_default_endpoints() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.challenge = Challenge::Bare;
        for path in ["oauth-protected-resource/mcp", "oauth-authorization-server"] {
            it.broken_paths
                .insert(format!("/.well-known/{path}"), (404, String::new()));
        }
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(
        provider.paths(),
        [
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
            "/register",
            "/authorize",
            "/token",
        ]
    );
    assert!(provider.seen("/token")[0].form.contains_key("resource"));
}

/// what the metadata says about another resource is not used.
#[tokio::test]
async fn the_metadata_of_another_resource_ends_the_sign_in() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.resource_metadata = json!({ "resource": "https://evil.example/mcp" }));
    let directory = tempdir().unwrap();
    let error = AuthorizedClient::new(&provider, config(directory.path()))
        .call()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("evil.example"), "{error}");
    assert!(provider.seen("/register").is_empty());
}

/// A-11, B6: the message names both issuers and the switch.
#[tokio::test]
async fn a_foreign_issuer_in_the_metadata_ends_the_sign_in() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.server_metadata = json!({ "issuer": "https://honest.example" }));
    let directory = tempdir().unwrap();
    let error = AuthorizedClient::new(&provider, config(directory.path()))
        .call()
        .await
        .unwrap_err();
    assert!(matches!(error, AuthError::IssuerMismatch { .. }));
    assert!(error.to_string().contains("https://honest.example"));
    assert!(error.to_string().contains(&provider.origin()));
    assert!(error.hint().contains("issuer_check"));
    assert!(provider.seen("/register").is_empty());
}

///
#[tokio::test]
async fn a_server_that_does_not_offer_pkce_is_refused() {
    let provider = AuthorizationServer::start().await;
    let methods = |methods: Value| json!({ "code_challenge_methods_supported": methods });
    for (metadata, flag) in [
        (methods(Value::Null), true),
        (methods(json!(["plain"])), false),
    ] {
        provider.behave(|it| it.server_metadata = metadata);
        let directory = tempdir().unwrap();
        let error = AuthorizedClient::new(&provider, config(directory.path()))
            .call()
            .await
            .unwrap_err();
        assert!(matches!(error, AuthError::PkceNotOffered { .. }), "{error}");
        let names_flag = error.hint().contains("allow_missing_pkce");
        assert_eq!(names_flag, flag);
    }
    assert!(provider.seen("/authorize").is_empty());
}

/// B10: a client that was registered by hand, with a secret that is never written down.
#[tokio::test]
async fn a_pre_registered_client_signs_in_and_its_secret_is_not_stored() {
    let provider = AuthorizationServer::start().await;
    let methods = json!(["client_secret_basic"]);
    provider.behave(|it| {
        it.server_metadata = json!({ "token_endpoint_auth_methods_supported": methods });
    });
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    let secret = "s p%cial:secret";
    config.client = Some(PreRegisteredClient {
        id: "by hand".into(),
        credential: ClientCredential::Secret(secret.to_owned().into()),
        method: None,
    });
    let free = free_port();
    config.callback.port = Some(free);
    let redirect_uri = format!("http://localhost:{free}/oauth/callback");
    provider.register("by hand", Some(secret), &redirect_uri);
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert!(provider.seen("/register").is_empty());
    assert!(
        provider.seen("/token")[0]
            .headers
            .contains_key("authorization")
    );
    for entry in directory.path().read_dir().unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("s p%cial") && !text.contains("s+p%25cial"));
    }
}

/// A-20, B10: the error is enough to help oneself.
#[tokio::test]
async fn without_registration_the_error_says_what_to_register_and_which_settings_to_make() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.server_metadata = json!({ "registration_endpoint": null }));
    let directory = tempdir().unwrap();
    let error = AuthorizedClient::new(&provider, config(directory.path()))
        .call()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "auth_client_required");
    assert!(error.to_string().contains(&provider.origin()));
    let hint = error.hint();
    assert!(hint.contains("client_id"), "{hint}");
    assert!(hint.contains("http://localhost:"), "{hint}");
    assert!(hint.contains("/oauth/callback"), "{hint}");
}

/// B8: a refuser of `resource` is asked again without it in the same tab, and it is remembered.
#[tokio::test]
async fn a_server_that_refuses_resource_is_asked_without_it_and_that_is_remembered() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.refuses_resource = true);
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let asked: Vec<_> = provider.seen("/authorize");
    assert_eq!(asked.len(), 2);
    assert!(!asked[1].query.contains_key("resource"));

    provider.revoke_access_tokens();
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    let refresh = provider.seen("/token").pop().unwrap();
    assert_eq!(refresh.form["grant_type"], "refresh_token");
    assert!(!refresh.form.contains_key("resource"));
    assert_eq!(provider.refreshes(), 1);
}

/// B9
#[tokio::test]
async fn a_server_that_refuses_its_own_scopes_is_asked_without_them() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.resource_metadata = json!({ "scopes_supported": ["files", "admin"] });
        it.known_scopes = Some(vec!["files".into()]);
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let asked = provider.seen("/authorize");
    assert_eq!(asked[0].query["scope"], "files admin");
    assert!(!asked[1].query.contains_key("scope"));
}

/// the opt-out.
#[tokio::test]
async fn resource_can_be_left_out() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    config.resource = ResourceParameter::Omitted;
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert!(
        !provider.seen("/authorize")[0]
            .query
            .contains_key("resource")
    );
    assert!(!provider.seen("/token")[0].form.contains_key("resource"));
}

/// the union of what was asked for and what the server wants now, once.
#[tokio::test]
async fn a_request_that_needs_more_scope_asks_for_the_union() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.resource_metadata = json!({ "scopes_supported": ["read"] }));
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.behave(|it| it.required_scope = Some("write".into()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let asked = provider.seen("/authorize");
    assert_eq!(asked[0].query["scope"], "read");
    assert_eq!(asked[1].query["scope"], "read write");
    assert_eq!(provider.seen("/register").len(), 1);
    assert_eq!(provider.refreshes(), 0, "a refresh can't widen a grant");
}

/// nothing of the old authorization server is sent to the new one.
#[tokio::test]
async fn a_server_that_moves_to_another_authorization_server_gets_a_new_client_and_new_tokens() {
    let old = AuthorizationServer::start().await;
    let new = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&old, config(directory.path()));
    app.call_with_browser().await.unwrap();
    old.revoke_all();
    old.behave(|it| it.resource_metadata = json!({ "authorization_servers": [new.origin()] }));
    let call = app.spawn_call();
    HeadlessBrowser::default()
        .visit(app.sign_in_page().await)
        .await;
    // The old provider does not know the new one's tokens.
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(new.seen("/register").len(), 1);
    for seen in ["/register", "/authorize", "/token"]
        .iter()
        .flat_map(|path| new.seen(path))
    {
        let text = format!("{seen:?}");
        assert!(!text.contains("refresh-MARKER"), "{text}");
    }
}

///
#[tokio::test]
async fn endpoints_must_be_https_or_on_this_machine() {
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
    ] {
        let provider = AuthorizationServer::start().await;
        let metadata = json!({ endpoint: "http://as.example/x" });
        provider.behave(|it| it.server_metadata = metadata);
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = if endpoint == "token_endpoint" {
            app.call_with_browser().await.unwrap_err()
        } else {
            app.call().await.unwrap_err()
        };
        assert!(
            matches!(error, AuthError::UnsafeUrl { .. }),
            "{endpoint}: {error}"
        );
    }
}

///
#[tokio::test]
async fn discovery_carries_no_token() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    provider.revoke_all();
    app.call_with_browser().await.unwrap();
    for path in provider
        .paths()
        .iter()
        .filter(|path| path.starts_with("/.well-known"))
    {
        for seen in provider.seen(path) {
            assert!(!seen.headers.contains_key("authorization"));
            assert_eq!(seen.headers["accept"], "application/json");
        }
    }
}
