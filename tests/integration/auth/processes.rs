//! The built program and its sign-in: several processes, secrets, the end.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
#[cfg(unix)]
use rustix::process::Signal;
use serde_json::json;
use tempfile::tempdir;
use url::Url;

use crate::program;
use mcp_bridge_testkit::app::{App, initialize_line};
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::{free_port, soon, visit_when_it_listens};

/// B2, X-131, A-66b: the app kills the one that opened the tab.
#[tokio::test]
async fn a_killed_owner_of_the_sign_in_costs_no_second_tab() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let mut owner = program::start_signed_out(&provider, home.path(), &browser, &[]);
    owner.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut process = program::start_signed_out(&provider, home.path(), &browser, &["--debug"]);
        process.send(initialize_line("2025-06-18")).await;
        others.push(process);
    }
    for process in &others {
        process.says("another mcp-bridge waits").await;
    }
    owner.killed().await;

    let callback = HeadlessBrowser::default().approve(page).await;
    // Somebody takes over within a moment; a browser, too, tries again.
    assert_eq!(visit_when_it_listens(&callback).await, StatusCode::OK);
    for mut process in others {
        process.is_in_session().await;
        process.finish().await;
    }
    assert!(!browser.was_started().await, "one tab");
    assert_eq!(provider.seen("/register").len(), 1);
    assert_eq!(provider.seen("/token").len(), 1);
}

/// A bridge in whose browser somebody has signed in.
async fn signed_in(provider: &AuthorizationServer, home: &Path, browser: &BrowserDouble) -> App {
    let mut bridge = program::start_signed_out(provider, home, browser, &[]);
    bridge.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    HeadlessBrowser::default().visit(page).await;
    bridge.is_in_session().await;
    bridge
}

/// Sends a request with the id 2, and returns when the provider has issued the first token by a refresh for it.
async fn begin_refresh(provider: &AuthorizationServer, bridge: &mut App) {
    bridge.request(2, "tools/list", &json!({})).await;
    soon("the refresh", async {
        while provider.refreshes() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// RFC 6749 §6: the old refresh token is void when the new one is on its way, however the process is told to end.
#[cfg(unix)]
#[tokio::test]
async fn a_refresh_under_way_at_a_signal_is_finished_first() {
    /// More than a signal leaves for other things.
    const LATE: Duration = Duration::from_millis(1500);
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let mut bridge = signed_in(&provider, home.path(), &browser).await;
    provider.revoke_access_tokens();
    provider.behave(|it| it.token_delay = Some(LATE));
    begin_refresh(&provider, &mut bridge).await;
    bridge.end_with_group(Signal::TERM).await;
    provider.behave(|it| it.token_delay = None);

    let mut next = program::start_signed_out(&provider, home.path(), &browser, &[]);
    next.send(initialize_line("2025-06-18")).await;
    next.is_in_session().await;
    next.finish().await;
    assert_eq!(provider.refreshes(), 1);
    assert!(!browser.was_started().await);
}

/// RFC 6749 §6: the same for a refresh that begins while the session is being ended.
#[cfg(unix)]
#[tokio::test]
async fn a_refresh_that_begins_at_the_end_is_finished_too() {
    /// More than a signal leaves for other things.
    const LATE: Duration = Duration::from_millis(1500);
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.refuses_at_the_end = true);
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let mut bridge = signed_in(&provider, home.path(), &browser).await;
    provider.behave(|it| it.token_delay = Some(LATE));
    let late = json!({ "jsonrpc": "2.0", "method": "notifications/late" });
    bridge.send(late.to_string()).await;
    soon("the notification", async {
        while !provider.has_late_notification() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bridge.end_with_group(Signal::TERM).await;
    provider.behave(|it| {
        it.token_delay = None;
        it.refuses_at_the_end = false;
    });

    provider.revoke_access_tokens();
    let mut next = program::start_signed_out(&provider, home.path(), &browser, &[]);
    next.send(initialize_line("2025-06-18")).await;
    next.is_in_session().await;
    next.finish().await;
    assert_eq!(provider.refreshes(), 2);
    assert!(!browser.was_started().await);
}

/// RFC 6749 §5.1: the lifetime began while the answer was on its way, as it does where the machine sleeps in between.
#[tokio::test]
async fn a_token_that_has_expired_on_its_way_is_refreshed_again_without_a_sign_in() {
    const LIFETIME_SECONDS: u64 = 1;
    const LATE: Duration = Duration::from_millis(1500);
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let mut bridge = signed_in(&provider, home.path(), &browser).await;
    provider.revoke_access_tokens();
    provider.behave(|it| {
        it.token_lifetime = Some(LIFETIME_SECONDS);
        it.token_delay = Some(LATE);
    });
    begin_refresh(&provider, &mut bridge).await;
    provider.revoke_access_tokens();
    provider.behave(|it| {
        it.token_lifetime = None;
        it.token_delay = None;
    });
    bridge.result(2).await;
    assert_eq!(provider.refreshes(), 2);
    assert!(!browser.was_started().await);
    bridge.finish().await;
}

/// B22, X-143: with everything said that can be said.
#[tokio::test]
async fn no_secret_is_shown_even_with_debug_output() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let port = free_port().to_string();
    let redirect_uri = format!("http://localhost:{port}/oauth/callback");
    provider.register("by-hand", Some("secret-MARKER"), &redirect_uri);
    let flags = [port.as_str(), "--debug", "--client-id", "by-hand"];
    let mut process = program::start_signed_out(&provider, home.path(), &browser, &flags);
    let words = format!("/proc/{}/cmdline", process.pid());
    let words = std::fs::read_to_string(words).unwrap_or_default();
    assert!(!words.contains("MARKER"));
    process.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    let forged = format!("{redirect_uri}?code=code-MARKER-forged&state=state-MARKER");
    let (status, _) = HeadlessBrowser::default()
        .visit(Url::parse(&forged).unwrap())
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    HeadlessBrowser::default().visit(page.clone()).await;
    process.response("init").await;
    provider.revoke_access_tokens();
    process.request(2, "tools/list", &json!({})).await;
    process.response(2).await;
    assert_eq!(provider.refreshes(), 1);
    let stderr = process.finish().await.stderr;

    assert!(!stderr.contains("MARKER"), "{stderr}");
    let token = provider.seen("/token")[0].clone();
    assert!(!stderr.contains(&token.form["code_verifier"]));
    // The page's address holds the state; it stands there once, for the person, and nowhere else.
    let (_, state) = page
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap();
    assert_eq!(stderr.matches(&*state).count(), 1, "{stderr}");
    assert!(stderr.lines().any(|line| line.contains(page.as_str())));
}

/// B17, X-20, A-88: nothing is left of a sign-in that the app does not wait for.
#[tokio::test]
async fn the_end_of_the_input_ends_a_sign_in_and_frees_its_port() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let flags = ["--drain-timeout", "0", "--no-linger"];
    let mut process = program::start_signed_out(&provider, home.path(), &browser, &flags);
    process.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    let (_, redirect_uri) = page
        .query_pairs()
        .find(|(name, _)| name == "redirect_uri")
        .unwrap();
    let port = Url::parse(&redirect_uri).unwrap().port().unwrap();
    process.close_stdin();
    process.finish().await;
    assert!(
        tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .is_ok()
    );

    // The tab is still good for the next start.
    let mut next = program::start_signed_out(&provider, home.path(), &browser, &[]);
    next.send(initialize_line("2025-06-18")).await;
    let callback = HeadlessBrowser::default().approve(page).await;
    visit_when_it_listens(&callback).await;
    next.is_in_session().await;
    next.finish().await;
    assert_eq!(provider.seen("/register").len(), 1);
}

/// Somebody who has closed the tab and started the app anew does not wait for nothing.
#[tokio::test]
async fn a_process_that_starts_opens_the_page_of_a_dead_process_again_once() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let mut owner = program::start_signed_out(&provider, home.path(), &browser, &[]);
    owner.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    owner.killed().await;

    let mut together = Vec::new();
    for _ in 0..3 {
        let mut process = program::start_signed_out(&provider, home.path(), &browser, &["--debug"]);
        process.send(initialize_line("2025-06-18")).await;
        together.push(process);
    }
    assert_eq!(browser.page().await, page);
    for process in &together {
        process.says(page.as_str()).await;
    }
    assert!(!browser.was_started().await, "once for all that start");
    for process in together {
        process.killed().await;
    }

    let mut last = program::start_signed_out(&provider, home.path(), &browser, &["--debug"]);
    last.send(initialize_line("2025-06-18")).await;
    last.says(page.as_str()).await;
    assert!(!browser.was_started().await, "not at every start");
    HeadlessBrowser::default().visit(page).await;
    last.is_in_session().await;
    last.finish().await;
    assert_eq!(provider.seen("/register").len(), 1);
}

/// The page is not opened again while somebody waits for it.
#[tokio::test]
async fn a_process_that_starts_leaves_the_page_of_a_living_process_alone() {
    let provider = AuthorizationServer::start().await;
    let home = tempdir().unwrap();
    let browser = BrowserDouble::noting(home.path());
    let mut owner = program::start_signed_out(&provider, home.path(), &browser, &[]);
    owner.send(initialize_line("2025-06-18")).await;
    let page = browser.page().await;
    let mut other = program::start_signed_out(&provider, home.path(), &browser, &["--debug"]);
    other.send(initialize_line("2025-06-18")).await;
    other.says(page.as_str()).await;
    assert!(!browser.was_started().await);
    HeadlessBrowser::default().visit(page).await;
    for mut process in [owner, other] {
        process.is_in_session().await;
        process.finish().await;
    }
}

/// RFC 9700 §4.4: the answer of an honest authorization server may be meant for another one.
#[tokio::test]
async fn a_sign_in_page_of_another_site_than_the_token_endpoint_is_told_of_unless_iss_is_promised()
{
    for (promise, is_told) in [(json!(null), true), (json!(true), false)] {
        let provider = AuthorizationServer::start().await;
        let elsewhere = provider.origin().replace("127.0.0.1", "localhost");
        provider.behave(|it| {
            it.server_metadata = json!({
                "authorization_endpoint": format!("{elsewhere}/authorize"),
                "authorization_response_iss_parameter_supported": promise,
            });
        });
        let home = tempdir().unwrap();
        let browser = BrowserDouble::noting(home.path());
        let mut process = program::start_signed_out(&provider, home.path(), &browser, &[]);
        process.send(initialize_line("2025-06-18")).await;
        browser.started().await;
        let stderr = process.finish().await.stderr;
        assert_eq!(stderr.contains("RFC 9207"), is_told, "{stderr}");
    }
}
