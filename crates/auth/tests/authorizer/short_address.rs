//! The short address of a sign-in page: the root of the callback's port.

use mcp_bridge_auth::{AuthError, Config, SignInPage};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use tempfile::tempdir;
use url::Url;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, TokenReply};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, config};

/// The short address of the page that waits.
async fn short(app: &AuthorizedClient) -> Url {
    app.sign_in_page().await;
    let page = app.authorizer.pending_sign_in();
    page.as_ref().and_then(SignInPage::short).cloned().unwrap()
}

fn client() -> Client {
    Client::builder().redirect(Policy::none()).build().unwrap()
}

async fn get(url: &Url, headers: &[(&str, &str)]) -> Response {
    let mut request = client().get(url.clone());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn the_root_of_the_callbacks_port_leads_to_the_page_that_waits() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let short = short(&app).await;
    let page = app.sign_in_page().await;
    assert_eq!(short.path(), "/");
    assert!(short.as_str().starts_with("http://localhost:"), "{short}");
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let mut url = short.clone();
        url.set_host(Some(host)).unwrap();
        let response = get(&url, &[("sec-fetch-dest", "document")]).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{url}");
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("location"), page.as_str());
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
    let (_, shown) = HeadlessBrowser::default().visit(short).await;
    assert!(shown.contains("You are signed in"), "{shown}");
    soon("the call", call).await.unwrap().unwrap();
}

/// DNS rebinding, and pages that load the address without being asked.
#[tokio::test]
async fn only_a_person_who_opens_it_is_led_from_the_root_to_the_page() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let short = short(&app).await;
    let port = short.port().unwrap();
    let other_port = format!("localhost:{}", port ^ 1);
    let rebound = format!("evil.example:{port}");
    for header in [
        ("host", "evil.example"),
        ("host", &rebound),
        ("host", &other_port),
        ("sec-fetch-dest", "image"),
        ("sec-fetch-dest", "iframe"),
        ("sec-fetch-dest", "empty"),
    ] {
        let response = get(&short, &[header]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{header:?}");
        assert!(!response.headers().contains_key("location"), "{header:?}");
    }
    for method in [Method::POST, Method::HEAD] {
        let response = client().request(method, short.clone()).send().await;
        assert_eq!(response.unwrap().status(), StatusCode::NOT_FOUND);
    }
    call.abort();
}

#[tokio::test]
async fn the_root_leads_to_the_newest_page() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_replies = vec![TokenReply::error(400, "invalid_grant")]);
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let short = short(&app).await;
    let first = app.sign_in_page().await;
    let callback = HeadlessBrowser::default().approve(first.clone()).await;
    let again = HeadlessBrowser::default().approve(callback).await;
    let led = get(&short, &[]).await;
    assert_eq!(led.headers()["location"].to_str().unwrap(), again.as_str());
    assert_ne!(again, first);
    HeadlessBrowser::default().visit(short).await;
    soon("the call", call).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_callback_at_the_root_takes_the_answer_and_leads_to_the_page_as_well() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    config.callback.path = "/".into();
    let app = AuthorizedClient::new(&provider, config);
    let call = app.spawn_call();
    let (_, shown) = HeadlessBrowser::default().visit(short(&app).await).await;
    assert!(shown.contains("You are signed in"), "{shown}");
    soon("the call", call).await.unwrap().unwrap();
}

/// For containers: `state` is nobody else's business.
#[tokio::test]
async fn a_callback_that_others_can_reach_has_no_short_address() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let mut config = config(directory.path());
    config.callback.bind = Some("0.0.0.0".parse().unwrap());
    let app = AuthorizedClient::new(&provider, config);
    let call = app.spawn_call();
    let mut url = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;
    let page = app.authorizer.pending_sign_in();
    assert_eq!(page.as_ref().and_then(SignInPage::short), None);
    url.set_path("/");
    url.set_query(None);
    assert_eq!(get(&url, &[]).await.status(), StatusCode::NOT_FOUND);
    call.abort();
}

#[tokio::test]
async fn hints_have_the_short_address_unless_the_browser_is_elsewhere() {
    for remote_login in [None, Some("10.0.0.5".to_owned())] {
        let provider = AuthorizationServer::start().await;
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(
            &provider,
            Config {
                remote_login: remote_login.clone(),
                ..config(directory.path())
            },
        );
        let call = app.spawn_call();
        let page = app.sign_in_page().await;
        let error = AuthError::SignInRequired {
            url: app.authorizer.pending_sign_in(),
        };
        assert_eq!(error.sign_in_url(), Some(&page), "the whole one");
        let is_long = error.hint().contains(page.as_str());
        assert_eq!(is_long, remote_login.is_some(), "{}", error.hint());
        call.abort();
    }
}
