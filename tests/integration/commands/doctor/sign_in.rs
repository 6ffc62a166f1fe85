//! Diagnosis of faults in a server's sign-in.

use serde_json::json;
use tempfile::TempDir;

use super::{Doctor, Report};
use crate::program;
use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Behaviour, Challenge, Dpop};
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::mcp_remote::leave_credentials;
use mcp_bridge_testkit::reply::Reply;
use mcp_bridge_testkit::request::rpc;

async fn examined(change: impl FnOnce(&mut Behaviour)) -> (AuthorizationServer, Report) {
    let provider = AuthorizationServer::start().await;
    provider.behave(change);
    let report = Doctor::of(provider.mcp_url().as_str()).examine().await;
    let touched = ["/register", "/authorize", "/token", "/device"];
    let paths = provider.paths();
    assert!(
        paths.iter().all(|path| !touched.contains(&path.as_str())),
        "{paths:?}"
    );
    (provider, report)
}

#[tokio::test]
async fn a_refusal_without_a_challenge() {
    let (_provider, report) = examined(|it| it.challenge = Challenge::Missing).await;
    report.warns(
        "challenge",
        "401 without WWW-Authenticate",
        "resource_metadata",
    );
    assert_eq!(report.names("failed"), [""; 0]);
    report.passes(
        "resource_metadata",
        "/.well-known/oauth-protected-resource/mcp",
    );
}

#[tokio::test]
async fn a_challenge_without_the_place_of_the_metadata() {
    let (_provider, report) = examined(|it| it.challenge = Challenge::Bare).await;
    report.warns("challenge", "without resource_metadata", "Bearer");
    assert_eq!(report.check("challenge")["specification"], "RFC 9728 §5.1");
}

#[tokio::test]
async fn metadata_of_another_resource() {
    let other = json!({ "resource": "https://other.example/mcp" });
    let (_provider, report) = examined(|it| it.resource_metadata = other).await;
    report.fails(
        "resource_metadata",
        "describes https://other.example/mcp",
        "correct that document",
    );
    report.skips("pkce", "the step before it failed");
}

#[tokio::test]
async fn metadata_of_a_path_above() {
    let provider = AuthorizationServer::start().await;
    let origin = provider.origin();
    let above = json!({ "resource": origin, "authorization_servers": [origin] });
    provider.behave(|it| it.resource_metadata = json!({ "resource": origin }));
    let report = Doctor::of(provider.mcp_url().as_str()).examine().await;
    report.fails("resource_metadata", "it describes", "correct that document");
    provider.behave(|it| {
        it.challenge = Challenge::Bare;
        it.documents
            .insert("/.well-known/oauth-protected-resource".into(), above);
    });
    let report = Doctor::of(provider.mcp_url().as_str()).examine().await;
    report.warns("resource_metadata", "a path above", "stricter clients");
    report.passes("pkce", "S256");
}

#[tokio::test]
async fn no_metadata_of_the_resource() {
    let (_provider, report) = examined(|it| {
        it.challenge = Challenge::Bare;
        let nothing = (404, String::new());
        let path = "/.well-known/oauth-protected-resource/mcp";
        it.broken_paths.insert(path.into(), nothing);
    })
    .await;
    report.warns("resource_metadata", "none is published", "publish it");
    report.passes("issuer", "the server's own origin");
}

#[tokio::test]
async fn a_challenge_that_names_no_metadata_although_there_is_some() {
    let cases = [
        (
            "/.well-known/oauth-authorization-server",
            "missing field `resource`",
        ),
        ("/nothing", "/nothing: nothing is there"),
    ];
    for (named, found) in cases {
        let (_provider, report) = examined(|it| it.named_metadata = Some(named.into())).await;
        report.warns("resource_metadata", found, "the URL of the document");
        report.warns("resource_metadata", named, "resource_metadata in WWW");
        report.passes("pkce", "S256");
    }
}

#[tokio::test]
async fn metadata_that_cannot_be_used_and_an_authorization_server_at_the_origin() {
    let path = "/.well-known/oauth-protected-resource/mcp";
    let page = (200, "<html>".to_owned());
    let (_provider, report) = examined(|it| drop(it.broken_paths.insert(path.into(), page))).await;
    report.warns("resource_metadata", "it is a web page", "publish it");
    report.passes("issuer", "the server's own origin");
    report.passes("pkce", "S256");
}

#[tokio::test]
async fn a_sign_in_that_is_offered_and_not_asked_for() {
    let (provider, report) = examined(|it| it.is_open = true).await;
    report.passes("tools", "2 tools");
    report.passes("challenge", "can be used without a sign-in");
    report.passes("issuer", &provider.origin());
    report.passes("registration", "dynamic");
    report.passes("pkce", "S256");
    report.skips("token", "without a sign-in");

    let (_provider, report) = examined(|it| {
        it.is_open = true;
        it.server_metadata = json!({ "code_challenge_methods_supported": null });
    })
    .await;
    report.warns(
        "pkce",
        "does not offer PKCE",
        "--allow-missing-pkce-metadata",
    );
    assert_eq!(report.names("failed"), [""; 0]);

    let (_provider, report) = examined(|it| {
        it.is_open = true;
        it.resource_metadata = json!({ "authorization_servers": ["http://as.example"] });
    })
    .await;
    report.warns("server_metadata", "http://as.example", "");
    report.skips("registration", "the step before it failed");
}

#[tokio::test]
async fn metadata_that_names_no_authorization_server() {
    let none = json!({ "authorization_servers": [] });
    let (_provider, report) = examined(|it| it.resource_metadata = none).await;
    report.warns(
        "resource_metadata",
        "names no authorization server",
        "at least one",
    );
}

#[tokio::test]
async fn an_authorization_server_that_calls_itself_something_else() {
    let other = json!({ "issuer": "https://other.example" });
    let (_provider, report) = examined(|it| it.server_metadata = other).await;
    report.fails(
        "server_metadata",
        "names https://other.example",
        "--issuer-check",
    );
    report.skips("registration", "the step before it failed");
}

/// The documentation shows a piece of this report.
#[tokio::test]
async fn the_report_in_the_documentation_is_one_of_the_programs() {
    let provider = AuthorizationServer::start().await;
    let other = json!({ "issuer": "https://other.example" });
    provider.behave(|it| it.server_metadata = other);
    let text = Doctor::bare(provider.mcp_url().as_str()).text().await;
    let text = text.replace(&provider.origin(), "https://mcp.example.com");
    let page = include_str!("../../../../docs/troubleshooting.md");
    let (_, shown) = page.split_once("```text\nSign-in\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert!(text.contains(shown), "{text}");
}

#[tokio::test]
async fn an_authorization_server_that_fails() {
    let (_provider, report) = examined(|it| {
        let path = "/.well-known/oauth-authorization-server";
        it.broken_paths.insert(path.into(), (503, String::new()));
    })
    .await;
    report.fails("server_metadata", "503", "try again");
}

#[tokio::test]
async fn an_authorization_server_without_metadata() {
    let (_provider, report) = examined(|it| {
        it.resource_metadata = json!({ "authorization_servers": null });
        let path = "/.well-known/oauth-authorization-server";
        it.broken_paths.insert(path.into(), (404, String::new()));
    })
    .await;
    report.warns("server_metadata", "the default endpoints", "publish it");
}

#[tokio::test]
async fn an_authorization_server_without_pkce() {
    for (methods, fix) in [
        (json!(null), "--allow-missing-pkce-metadata"),
        (json!(["plain"]), ""),
    ] {
        let change = json!({ "code_challenge_methods_supported": methods });
        let (_provider, report) = examined(|it| it.server_metadata = change).await;
        report.fails("pkce", "does not offer PKCE with S256", fix);
    }
}

#[tokio::test]
async fn an_authorization_server_that_registers_nobody() {
    let change = json!({ "registration_endpoint": null });
    let (provider, report) = examined(|it| it.server_metadata = change.clone()).await;
    report.fails("registration", "does not register clients", "--client-id");
    let fix = report.check("registration")["fix"].as_str().unwrap();
    assert!(fix.contains("redirect URI http://localhost:"), "{fix}");

    let doctor = Doctor::of(provider.mcp_url().as_str());
    let report = doctor.args(["--client-id", "mine"]).examine().await;
    report.passes("registration", "--client-id");
}

#[tokio::test]
async fn a_token_endpoint_that_takes_nothing_that_this_client_can_do() {
    for (methods, fix) in [
        (json!(["private_key_jwt"]), "--client-assertion-key"),
        (json!(["tls_client_auth"]), "private_key_jwt"),
    ] {
        let change = json!({ "token_endpoint_auth_methods_supported": methods });
        let (provider, report) = examined(|it| it.server_metadata = change).await;
        report.fails("registration", "accepts only", fix);
        let doctor = Doctor::of(provider.mcp_url().as_str());
        let report = doctor.args(["--client-id", "mine"]).examine().await;
        report.fails("registration", "accepts only", fix);
    }
}

#[tokio::test]
async fn a_token_endpoint_that_lists_other_methods_than_the_client_has() {
    let change = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    let (provider, report) = examined(|it| it.server_metadata = change).await;
    report.passes("registration", "dynamic");
    let doctor = Doctor::of(provider.mcp_url().as_str());
    let report = doctor.args(["--client-id", "mine"]).examine().await;
    report.warns("registration", "client_secret_post", "--client-secret-env");
}

#[tokio::test]
async fn an_authorization_server_without_the_grant_of_the_sign_in() {
    for (name, value) in [
        ("grant_types_supported", json!(["client_credentials"])),
        ("response_types_supported", json!(["token"])),
    ] {
        let change = json!({ name: value });
        let (_provider, report) = examined(|it| it.server_metadata = change).await;
        report.warns("server_metadata", name, "grant");
    }
}

/// A-114
#[cfg(unix)]
#[tokio::test]
async fn a_header_command_is_run_and_its_headers_are_named() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.gateway = Some("key-MARKER"));
    let url = provider.mcp_url();
    let examine = |command: &'static str| {
        let doctor = Doctor::of(url.as_str()).args(["--header-command", command]);
        async move { doctor.run(&["--json"]).await.stdout }
    };
    let report = examine("echo X-Gateway: key-MARKER").await;
    assert!(report.contains("prints x-gateway"), "{report}");
    assert!(report.contains("names its metadata"), "{report}");
    assert!(!report.contains("key-MARKER"), "{report}");
    let report = examine("false").await;
    assert!(report.contains("`false` printed no header"), "{report}");
    assert!(report.contains("--header-command"), "{report}");
}

/// RFC 9449
#[tokio::test]
async fn the_binding_of_tokens_to_a_key_as_server_and_provider_have_it() {
    let offer = |algorithm: &str| json!({ "dpop_signing_alg_values_supported": [algorithm] });
    let required = json!({ "dpop_bound_access_tokens_required": true });
    let (provider, report) = examined(|it| it.server_metadata = offer("ES256")).await;
    report.skips("dpop", "the server does not ask for it");
    let doctor = Doctor::of(provider.mcp_url().as_str()).args(["--dpop", "required"]);
    doctor.examine().await.passes("dpop", "bound to a key");
    let (_provider, report) = examined(|it| {
        it.server_metadata = offer("RS256");
        it.resource_metadata = required.clone();
    })
    .await;
    report.fails("dpop", "RS256", "ES256");
    let (provider, report) = examined(|it| it.dpop = Some(Dpop::default())).await;
    report.passes("challenge", "DPoP, names its metadata");
    report.passes("dpop", "bound to a key");
    let doctor = Doctor::of(provider.mcp_url().as_str()).args(["--dpop", "off"]);
    let report = doctor.examine().await;
    report.warns("dpop", "gets bearer tokens", "--dpop");
    let (_provider, report) = examined(|_| {}).await;
    report.skips("dpop", "not offered");
}

/// A-110
#[tokio::test]
async fn a_stored_token_that_is_bound_is_sent_with_proofs() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.dpop = Some(Dpop {
            resource_nonce: Some("n"),
            ..Dpop::default()
        });
    });
    let store = TempDir::new().unwrap();
    program::sign_in(&provider, store.path()).await;
    let doctor = Doctor::bare(provider.mcp_url().as_str()).store(store.path());
    doctor
        .examine()
        .await
        .passes("token", "stored, and accepted");
    let status = program::command(["status"]).env("MCP_BRIDGE_DIR", store.path());
    let status = status.run().await;
    assert!(
        status.stdout.contains("bound       to a key"),
        "{}",
        status.stdout
    );
}

/// RFC 9700 §4.4
#[tokio::test]
async fn a_sign_in_page_and_a_token_endpoint_of_different_sites() {
    for (promise, expected) in [(json!(null), "warning"), (json!(true), "passed")] {
        let (_provider, report) = examined(|it| {
            it.server_metadata = json!({
                "authorization_endpoint": "http://localhost/authorize",
                "authorization_response_iss_parameter_supported": promise,
            });
        })
        .await;
        assert_eq!(report.check("iss_parameter")["outcome"], expected);
    }
}

#[tokio::test]
async fn what_would_be_asked_for() {
    let (provider, report) = examined(|it| {
        it.resource_metadata = json!({ "scopes_supported": ["read", "write"] });
        it.server_metadata = json!({ "authorization_response_iss_parameter_supported": null });
    })
    .await;
    let resource = provider.mcp_url();
    report.passes(
        "scopes",
        &format!("read write; for the resource {resource}"),
    );
    report.skips("iss_parameter", "not promised");
    report.skips("revocation", "not offered");
    let dynamic = format!("dynamic, at {}/register", provider.origin());
    report.passes("registration", &dynamic);
    report.skips("token", "none is stored");
}

#[tokio::test]
async fn a_stored_token_is_used_and_renewed_and_its_end_is_told() {
    let provider = AuthorizationServer::start().await;
    let store = TempDir::new().unwrap();
    program::sign_in(&provider, store.path()).await;
    let doctor = || Doctor::bare(provider.mcp_url().as_str()).store(store.path());

    let report = doctor().examine().await;
    report.passes("token", "stored, and accepted");
    report.passes("registration", "registered before");
    report.passes("era", "2025-06-18");

    provider.revoke_access_tokens();
    let report = doctor().examine().await;
    report.passes("token", "refreshed");
    assert_eq!(provider.refreshes(), 1);

    provider.revoke_all();
    let report = doctor().examine().await;
    report.warns("token", "cannot be refreshed", "sign in again");
    report.skips("tools", "only after a sign-in");
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// Some servers show themselves to everybody, and their tools only to who has signed in.
#[tokio::test]
async fn a_sign_in_that_only_the_tools_want() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |_| {
        Reply::status(401).header("WWW-Authenticate", "Bearer scope=\"read\"")
    });
    let report = Doctor::of(&server.url()).examine().await;
    report.passes("session", "gives an id");
    report.skips("tools", "they want a sign-in");
    report.warns("challenge", "without resource_metadata", "Bearer");
    report.skips("token", "none is stored");

    let doctor = Doctor::of(&server.url());
    let doctor = doctor.args(["--header", "Authorization: Bearer ${API_KEY}"]);
    doctor
        .examine()
        .await
        .fails("tools", "401", "given by --header");
}

/// A person who changes over from mcp-remote does not sign in again.
#[tokio::test]
async fn a_sign_in_that_mcp_remote_has_left_is_told_of_and_not_taken_over() {
    let provider = AuthorizationServer::start().await;
    let theirs = TempDir::new().unwrap();
    let issuer = provider.origin();
    let tokens =
        json!({ "access_token": "access-MARKER", "token_type": "Bearer", "issuer": issuer });
    let redirect_uris = ["http://localhost:3334/"];
    let client = json!({ "client_id": "theirs", "redirect_uris": redirect_uris, "issuer": issuer });
    leave_credentials(theirs.path(), provider.mcp_url().as_str(), &tokens, &client);
    let doctor = Doctor::bare(provider.mcp_url().as_str());
    // A warning says that the files can be read by others no more.
    let doctor = doctor
        .env("MCP_REMOTE_CONFIG_DIR", theirs.path().to_str().unwrap())
        .args(["--silent"]);
    let report = doctor.examine().await;
    report.skips("token", "mcp-remote's is stored");
    let ours = doctor.home.path().join("bridge").read_dir().unwrap();
    let mut stored = ours.map(|entry| entry.unwrap().path());
    assert!(stored.all(|path| path.extension().is_none_or(|it| it != "json")));
}

#[tokio::test]
async fn a_client_that_needs_no_person_gets_its_token() {
    let provider = AuthorizationServer::start().await;
    provider.register("robot", Some("s3cret-MARKER"), "unused");
    let token_endpoint = format!("{}/token", provider.origin());
    for (more, pkce) in [
        (vec![], "uses no authorization code"),
        (
            vec!["--token-endpoint", &token_endpoint],
            "the token endpoint is configured",
        ),
    ] {
        let doctor = Doctor::of(provider.mcp_url().as_str())
            .args(["--client-credentials", "--client-id", "robot"])
            .args(["--client-secret-env", "CLIENT_SECRET"])
            .args(more)
            .env("CLIENT_SECRET", "s3cret-MARKER");
        let report = doctor.examine().await;
        report.passes("token", "stored, and accepted");
        report.skips("pkce", pkce);
        report.passes("era", "2025-06-18");
        assert!(!report.0.to_string().contains("MARKER"));
    }
}

#[tokio::test]
async fn an_authorization_server_without_device_codes() {
    let provider = AuthorizationServer::start().await;
    let doctor = Doctor::of(provider.mcp_url().as_str()).args(["--device-code"]);
    let report = doctor.examine().await;
    report.fails("server_metadata", "no sign-in with a device code", "");
}

/// A server may send back what it was sent.
#[tokio::test]
async fn a_secret_that_the_server_repeats_is_not_shown() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request| {
        let seen = format!("{:?} {}", request.headers, request.target);
        Reply::json(request.error(-32000, &seen))
    });
    let doctor = Doctor::of(&server.url());
    let doctor = doctor.args(["--header", "Authorization: Bearer ${API_KEY}"]);
    let report = doctor.examine().await;
    report.fails("tools", "REDACTED", "in its log");
    assert!(doctor.text().await.contains("REDACTED"));
}
