//! The authorization endpoint and the consent page.

use reqwest::{StatusCode, header};
use url::Url;

use super::client::{Client, REDIRECT_URI, STATE, form, query, start, with};
use crate::browser::{self, SignInError};

/// The address to which an authorization request sends the browser, if it does at once.
async fn redirected(client: &Client, parameters: &[(&str, String)]) -> Option<Url> {
    let address = client.authorization_url(parameters);
    let response = client.get(address.as_str()).send().await.unwrap();
    let location = response.headers().get(header::LOCATION)?.to_str().unwrap();
    Some(Url::parse(location).unwrap())
}

/// A-30, A-31, A-34, A-36: errors go to the client with its `state` and with `iss`.
#[tokio::test]
async fn a_request_that_breaks_a_rule_is_sent_back_with_an_error() {
    let server = start().await;
    let client = Client::registered(&server).await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "too-short", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("resource", "", "invalid_target"),
        ("resource", "https://other.example/mcp", "invalid_target"),
        ("scope", "profile admin", "invalid_scope"),
    ] {
        let parameters = with(client.authorization_request(), name, value);
        let callback = redirected(&client, &parameters).await.expect("a redirect");
        assert!(callback.as_str().starts_with(REDIRECT_URI), "{callback}");
        assert_eq!(
            query(&callback, "error").as_deref(),
            Some(error),
            "{name}={value}"
        );
        assert_eq!(query(&callback, "state").as_deref(), Some(STATE));
        let issuer = query(&callback, "iss").unwrap();
        assert_eq!(format!("{issuer}/mcp"), server.url());
    }
}

/// A-29: a link with a foreign address must not turn the server into an open redirector.
#[tokio::test]
async fn an_address_that_is_not_registered_is_never_redirected_to() {
    let server = start().await;
    let client = Client::registered(&server).await;
    for (name, value) in [
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://127.0.0.1:49152/other"),
        ("redirect_uri", "http://127.0.0.1:49152/callback?more=1"),
        (
            "redirect_uri",
            "http://127.0.0.1:49152@evil.example/callback",
        ),
        ("client_id", "unknown"),
        ("client_id", ""),
    ] {
        let parameters = with(client.authorization_request(), name, value);
        assert_eq!(
            redirected(&client, &parameters).await,
            None,
            "{name}={value}"
        );
        let address = client.authorization_url(&parameters);
        let refused = browser::sign_in(address.as_str(), "ada", "allow")
            .await
            .unwrap_err();
        assert!(
            matches!(refused, SignInError::NoForm(400)),
            "{name}={value}: {refused}"
        );
    }
    let mut twice = client.authorization_request();
    twice.push(("redirect_uri", "https://evil.example/callback".to_owned()));
    assert_eq!(redirected(&client, &twice).await, None);
}

/// A-22: RFC 8252 §7.3
#[tokio::test]
async fn a_loopback_address_may_have_another_port_than_the_registered_one() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let uri = "http://127.0.0.1:50000/callback";
    let address =
        client.authorization_url(&with(client.authorization_request(), "redirect_uri", uri));
    let callback = browser::sign_in(address.as_str(), "ada", "allow")
        .await
        .unwrap();
    assert_eq!(callback.port(), Some(50000));
    assert!(query(&callback, "code").is_some());
}

/// The state of a page is kept until it is answered, so a request must not be large.
#[tokio::test]
async fn a_request_that_is_too_long_opens_no_page() {
    const LONG: usize = 20_000;
    let server = start().await;
    let client = Client::registered(&server).await;
    let parameters = with(client.authorization_request(), "state", &"s".repeat(LONG));
    let url = client.authorization_url(&parameters);
    let response = client.get(url.as_str()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

/// A-34
#[tokio::test]
async fn the_answer_carries_code_state_and_issuer_and_is_not_cached() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let address = client.authorization_url(&client.authorization_request());
    let callback = browser::sign_in(address.as_str(), "ada", "allow")
        .await
        .unwrap();
    assert!(query(&callback, "code").is_some());
    assert_eq!(query(&callback, "state").as_deref(), Some(STATE));
    assert_eq!(
        format!("{}/mcp", query(&callback, "iss").unwrap()),
        server.url()
    );
}

/// A-35
#[tokio::test]
async fn a_user_who_says_no_sends_the_client_an_error_and_no_code() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let address = client.authorization_url(&client.authorization_request());
    let callback = browser::sign_in(address.as_str(), "ada", "deny")
        .await
        .unwrap();
    assert_eq!(query(&callback, "error").as_deref(), Some("access_denied"));
    assert_eq!(query(&callback, "code"), None);
    assert_eq!(query(&callback, "state").as_deref(), Some(STATE));
}

#[tokio::test]
async fn the_page_shows_who_asks_for_what_and_cannot_be_framed() {
    let server = start().await;
    let client = Client::unknown(&server);
    let mut metadata = super::client::public_client();
    metadata["client_name"] = "<script>alert(1)</script>".into();
    let id = super::client::text(&client.register(metadata).await.body["client_id"]);
    let client = client.known_as(&id);

    let address = client.authorization_url(&client.authorization_request());
    let page = client.get(address.as_str()).send().await.unwrap();
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    let html = page.text().await.unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!html.contains("<script"));
    assert!(html.contains(REDIRECT_URI));
    assert!(html.contains("See your name and e-mail address"));
    assert!(!html.contains("Order coffee"));
}

#[tokio::test]
async fn the_form_is_accepted_once_and_only_from_the_page_itself() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let address = client.authorization_url(&client.authorization_request());
    let page = client.get(address.as_str()).send().await.unwrap();
    let cookie = page.headers()[header::SET_COOKIE].to_str().unwrap();
    let (cookie, attributes) = cookie.split_once("; ").unwrap();
    let cookie = cookie.to_owned();
    assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Strict"));
    let html = page.text().await.unwrap();
    let (_, after) = html.split_once(r#"name="form_token" value=""#).unwrap();
    let (form_token, _) = after.split_once('"').unwrap();
    let fields = [
        ("form_token", form_token.to_owned()),
        ("user", "ada".to_owned()),
        ("decision", "allow".to_owned()),
    ];

    let without_cookie = form(client.post("/consent"), &fields).send().await.unwrap();
    assert_eq!(without_cookie.status(), StatusCode::BAD_REQUEST);
    let of_another_page = form(client.post("/consent"), &fields)
        .header(header::COOKIE, "consent_other=value")
        .send()
        .await
        .unwrap();
    assert_eq!(of_another_page.status(), StatusCode::BAD_REQUEST);

    let submit = || form(client.post("/consent"), &fields).header(header::COOKIE, &cookie);
    let foreign = submit()
        .header(header::ORIGIN, "https://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        submit().send().await.unwrap().status(),
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        submit().send().await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
}

/// RFC 9700 §4.11.2: a link must not make the server send browsers to an address of somebody's choice.
#[tokio::test]
async fn errors_of_an_unused_client_elsewhere_are_shown_instead_of_redirected() {
    let server = start().await;
    let client = Client::unknown(&server);
    let mut metadata = super::client::public_client();
    let elsewhere = "https://app.example.com/callback";
    metadata["redirect_uris"] = serde_json::json!([elsewhere]);
    let id = super::client::text(&client.register(metadata).await.body["client_id"]);
    let client = client.known_as(&id);
    let request = with(client.authorization_request(), "redirect_uri", elsewhere);
    let broken = with(request.clone(), "scope", "admin");

    let address = client.authorization_url(&broken);
    let page = client.get(address.as_str()).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::BAD_REQUEST);
    assert_eq!(page.headers().get(header::LOCATION), None);
    let html = page.text().await.unwrap();
    assert!(html.contains("there is no scope admin"), "{html}");
    assert!(html.contains("href=\"https://app.example.com/callback?error=invalid_scope"));

    // Once a user has trusted the client with something, it is told by itself.
    let address = client.authorization_url(&request);
    browser::sign_in(address.as_str(), "ada", "allow")
        .await
        .unwrap();
    let callback = redirected(&client, &broken).await.expect("a redirect");
    assert_eq!(query(&callback, "error").as_deref(), Some("invalid_scope"));
}
