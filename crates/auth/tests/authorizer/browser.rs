//! Browser launch: addresses that are opened, and those that never are.

use mcp_bridge_auth::{self as auth, Config};
use serde_json::json;
use tempfile::tempdir;
use url::Url;

use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, config};

/// A-83, X-114 (CVE-2025-6514): no program is started for what is no web page.
#[tokio::test]
async fn a_hostile_authorization_endpoint_starts_no_program() {
    let directory = tempdir().unwrap();
    let browser = BrowserDouble::noting(directory.path());
    let hostile = [
        "javascript:alert(1)",
        "file:///usr/bin/calc.exe",
        "data:text/html,<script>",
        "vbscript:x",
        "ms-settings:",
        "ms-calculator:",
        "a:$(calc)?x",
        "-oProxyCommand=calc",
        "%COMSPEC%",
        "https://user@evil.example/",
        "https://user:password@evil.example/",
        "http://evil.example/",
        "http://a$(x)/",
        "https:///x",
        "\\\\evil.example\\share",
        "",
    ];
    for endpoint in hostile {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.server_metadata = json!({ "authorization_endpoint": endpoint }));
        let store = tempdir().unwrap();
        let config = Config {
            browser: auth::Browser::Command(vec![browser.path()]),
            ..config(store.path())
        };
        let app = AuthorizedClient::new(&provider, config);
        let outcome = tokio::time::timeout(std::time::Duration::from_secs(2), app.call()).await;
        // `https:///x` is an ordinary host to a browser; everything else is refused at once.
        let refused = matches!(&outcome, Ok(Err(_)));
        assert!(
            refused || endpoint == "https:///x",
            "{endpoint}: {outcome:?}"
        );
        if refused {
            assert_eq!(app.authorizer.pending_sign_in(), None, "{endpoint}");
            assert!(!browser.was_started().await, "{endpoint}");
        } else {
            browser.started().await;
        }
    }
}

/// one argument, percent escapes as they were.
#[tokio::test]
async fn the_browser_gets_the_address_as_one_argument_unchanged() {
    let provider = AuthorizationServer::start().await;
    let path = "/my%20realm/$(touch%20p);&|'%22/authorize?a=1&calc=%25COMSPEC%25";
    let endpoint = format!("{}{path}", provider.origin());
    provider.behave(|it| it.server_metadata = json!({ "authorization_endpoint": endpoint }));
    let directory = tempdir().unwrap();
    let browser = BrowserDouble::noting(directory.path());
    let config = Config {
        browser: auth::Browser::Command(vec!["/nonexistent/browser".into(), browser.path()]),
        ..config(&directory.path().join("store"))
    };
    let app = AuthorizedClient::new(&provider, config);
    let call = app.spawn_call();
    let arguments = browser.started().await.arguments;
    assert_eq!(arguments.len(), 1);
    let given = Url::parse(&arguments[0]).unwrap();
    assert_eq!(given.path(), "/my%20realm/$(touch%20p);&|'%22/authorize");
    assert!(
        given
            .query()
            .unwrap()
            .starts_with("a=1&calc=%25COMSPEC%25&response_type=code")
    );
    assert_eq!(app.sign_in_page().await.as_str(), arguments[0]);
    call.abort();
}

/// Apps end a bridge together with its process group, in the middle of a sign-in too.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_browser_has_a_process_group_of_its_own() {
    use std::os::unix::fs::PermissionsExt;

    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let browser = BrowserDouble::noting(directory.path());
    // Behind the command in parentheses stand state, parent and process group (proc(5)).
    let script = format!(
        "#!/bin/bash\nexec {} \"$(cut -d' ' -f5 /proc/$$/stat)\"\n",
        browser.path().display()
    );
    let path = directory.path().join("grouped");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let config = Config {
        browser: auth::Browser::Command(vec![path]),
        ..config(&directory.path().join("store"))
    };
    let app = AuthorizedClient::new(&provider, config);
    let call = app.spawn_call();
    let group: i32 = browser.started().await.arguments[0].parse().unwrap();
    assert_ne!(group, rustix::process::getpgrp().as_raw_nonzero().get());
    call.abort();
}

/// B12, X-124: a browser that can't be started is no reason to give up.
#[tokio::test]
async fn without_a_browser_the_sign_in_waits_for_the_printed_page() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = Config {
        browser: auth::Browser::Command(vec!["/nonexistent/browser".into()]),
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    app.call_with_browser().await.unwrap();
}

/// nobody comes; the error says where to go.
#[tokio::test]
async fn a_sign_in_that_nobody_finishes_ends_with_the_address_to_go_to() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let config = Config {
        timeout: std::time::Duration::from_millis(300),
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    let error = soon("the call", app.call()).await.unwrap_err();
    assert_eq!(error.kind(), "auth_timeout");
    assert!(error.sign_in_url().is_some());
    assert!(error.hint().contains(error.sign_in_url().unwrap().as_str()));
    assert_eq!(app.authorizer.pending_sign_in(), None);
}
