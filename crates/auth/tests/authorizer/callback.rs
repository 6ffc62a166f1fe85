//! Callback of the sign-in: accepted and refused responses.

use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use tempfile::tempdir;
use url::Url;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, TokenReply};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, config};

fn with(url: &Url, name: &str, value: Option<&str>) -> Url {
    let mut changed = url.clone();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let kept = pairs.into_iter().filter(|(known, _)| known != name);
    changed.query_pairs_mut().clear().extend_pairs(kept);
    if let Some(value) = value {
        changed.query_pairs_mut().append_pair(name, value);
    }
    changed
}

/// nothing of this ends the sign-in.
#[tokio::test]
async fn forged_answers_are_refused_and_the_true_one_still_counts() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let right = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;

    let mut twice = right.clone();
    twice.query_pairs_mut().append_pair("code", "another");
    let mut both = right.clone();
    both.query_pairs_mut().append_pair("error", "access_denied");
    let mut state_twice = right.clone();
    state_twice
        .query_pairs_mut()
        .append_pair("state", "another");
    let forged = [
        with(&right, "state", Some("wrong")),
        with(&right, "state", None),
        with(&right, "state", Some("")),
        with(&right, "code", None),
        with(&with(&right, "state", Some("x")), "code", None),
        twice,
        both,
        state_twice,
    ];
    for url in forged.iter().cycle().take(100) {
        let (status, page) = HeadlessBrowser::default().visit(url.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{url}");
        assert!(!page.contains("signed in"));
    }
    let client = Client::new();
    let mut elsewhere = right.clone();
    elsewhere.set_path("/favicon.ico");
    for (method, url) in [
        (Method::GET, elsewhere),
        (Method::POST, right.clone()),
        (Method::HEAD, right.clone()),
    ] {
        let response = client.request(method, url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
    let foreign = client
        .get(right.clone())
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), StatusCode::BAD_REQUEST);
    assert!(provider.seen("/token").is_empty());

    let (status, page) = HeadlessBrowser::default().visit(right).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("You are signed in"));
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::OK
    );
}

///
#[tokio::test]
async fn an_answer_in_the_name_of_another_issuer_is_not_used() {
    let cases = [
        (json!({ "iss": "https://evil.example" }), json!({})),
        (json!({ "iss": null }), json!({})),
        (json!({ "iss": "SLASH" }), json!({})),
        (
            json!({ "iss": "https://evil.example" }),
            json!({ "authorization_response_iss_parameter_supported": false }),
        ),
        (
            json!({ "iss": "https://evil.example", "code": null, "error": "<script>" }),
            json!({}),
        ),
    ];
    for (answer, metadata) in cases {
        let provider = AuthorizationServer::start().await;
        let mut answer = answer;
        if answer["iss"] == "SLASH" {
            answer["iss"] = format!("{}/", provider.origin()).into();
        }
        provider.behave(|it| {
            it.authorization_response = answer.clone();
            it.server_metadata = metadata;
        });
        let directory = tempdir().unwrap();
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = app.call_with_browser().await.unwrap_err();
        assert_eq!(error.kind(), "auth_issuer_mismatch", "{answer}");
        // No option accepts it, so none is recommended.
        assert!(!error.hint().contains("issuer_check"), "{}", error.hint());
        assert!(!error.to_string().contains("script"));
        assert!(provider.seen("/token").is_empty());
    }
}

/// an issuer that promises nothing may stay silent.
#[tokio::test]
async fn an_answer_without_iss_is_fine_where_none_was_promised() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.authorization_response = json!({ "iss": null });
        it.server_metadata = json!({ "authorization_response_iss_parameter_supported": null });
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
}

/// the page repeats nothing.
#[tokio::test]
async fn a_denied_sign_in_fails_promptly_and_the_page_repeats_nothing() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.authorization_response = json!({
            "code": null,
            "error": "access_denied",
            "error_description": "<script>alert(1)</script>\u{1b}[2J",
        });
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let (status, page) = HeadlessBrowser::default()
        .visit(app.sign_in_page().await)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(!page.contains("alert(1)"));
    assert!(page.contains("refused"));
    let error = soon("the call", call).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), "auth_denied");
    assert!(!error.to_string().contains('\u{1b}'));
}

/// requests that waited for a refused sign-in, here or in another process, do not start the next one.
#[tokio::test]
async fn a_denied_sign_in_is_denied_for_everyone_who_waited() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.authorization_response = json!({ "code": null, "error": "access_denied" });
    });
    let directory = tempdir().unwrap();
    let one = AuthorizedClient::new(&provider, config(directory.path()));
    let other = AuthorizedClient::new(&provider, config(directory.path()));
    let calls = [
        one.spawn_call(),
        one.spawn_call(),
        other.spawn_call(),
        other.spawn_call(),
    ];
    let page = one.sign_in_page().await;
    assert_eq!(other.sign_in_page().await, page);
    HeadlessBrowser::default().visit(page).await;
    for call in calls {
        let error = soon("a call", call).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), "auth_denied");
    }
    assert_eq!(provider.seen("/authorize").len(), 1);
}

///
#[tokio::test]
async fn the_callback_page_is_locked_down_and_the_port_closes_after_it() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let callback = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;
    let response = Client::new().get(callback.clone()).send().await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").starts_with("default-src 'none'"));
    soon("the call", call).await.unwrap().unwrap();
    assert!(
        Client::new().get(callback).send().await.is_err(),
        "the port is closed"
    );
}

/// ST-39: the app may give up on its request; the sign-in goes on.
#[tokio::test]
async fn a_sign_in_survives_the_request_that_started_it() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let page = app.sign_in_page().await;
    call.abort();
    let next = app.spawn_call();
    HeadlessBrowser::default().visit(page).await;
    assert_eq!(
        soon("the next call", next).await.unwrap().unwrap(),
        StatusCode::OK
    );
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// idle connections, endless headers and a crowd keep nobody out.
#[tokio::test]
async fn slow_large_and_many_connections_do_not_keep_the_browser_out() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let callback = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;
    let port = callback.port().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = stream
            .write_all(b"GET /oauth/callback HTTP/1.1\r\nX: ")
            .await;
        crowd.push(stream);
    }
    let mut endless = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = endless
        .write_all(b"GET /oauth/callback HTTP/1.1\r\nX: ")
        .await;
    let _ = endless.write_all(&vec![b'a'; 100_000]).await;
    let mut answer = Vec::new();
    let _ = soon(
        "the end of a too long request",
        endless.read_to_end(&mut answer),
    )
    .await;
    assert!(answer.len() < 1000, "it is cut off, with or without a word");

    let (status, page) = HeadlessBrowser::default().visit(callback).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("You are signed in"));
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::OK
    );
    drop(crowd);
}

/// forged answers that arrive together, and faster than they are looked at, do not displace the true one.
#[tokio::test]
async fn a_burst_of_forged_answers_does_not_displace_the_true_one() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    const BURST: usize = 40;
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let right = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;
    let port = right.port().unwrap();
    let forged = with(&right, "state", Some("wrong"));
    let request = |url: &Url| {
        let (path, query) = (url.path(), url.query().unwrap());
        format!("GET {path}?{query} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")
    };
    // Connected first and asking last.
    let mut browser = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut burst = Vec::new();
    for _ in 0..BURST {
        burst.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    for stream in &mut burst {
        stream.write_all(request(&forged).as_bytes()).await.unwrap();
    }
    browser.write_all(request(&right).as_bytes()).await.unwrap();

    let mut page = String::new();
    let read = soon("the page", browser.read_to_string(&mut page)).await;
    read.unwrap();
    assert!(page.contains("You are signed in"), "{page}");
    for mut stream in burst {
        let mut page = String::new();
        let read = soon("a refusal", stream.read_to_string(&mut page)).await;
        read.unwrap();
        assert!(page.starts_with("HTTP/1.1 400"), "{page}");
    }
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::OK
    );
}

/// those who open connections and ask for nothing do not cut off the browser, which waits for its page while the
/// code is exchanged.
#[tokio::test]
async fn a_crowd_that_comes_while_the_code_is_exchanged_does_not_cut_off_the_browser() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const CROWD: usize = 200;
    let token_endpoint = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = token_endpoint.local_addr().unwrap();
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| {
        it.server_metadata = json!({ "token_endpoint": format!("http://{address}/token") });
    });
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let callback = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;
    let port = callback.port().unwrap();
    let visit = tokio::spawn(async move { HeadlessBrowser::default().visit(callback).await });
    let exchange = soon("the exchange", token_endpoint.accept()).await.unwrap();

    let mut crowd = Vec::new();
    for number in 0..CROWD {
        for host in ["127.0.0.1", "::1"] {
            let Ok(mut stream) = TcpStream::connect((host, port)).await else {
                continue;
            };
            if number % 2 == 0 {
                let _ = stream.write_all(b"GET /oauth/callback HTTP/1.1\r\n").await;
            }
            crowd.push(stream);
        }
    }
    // Connections are taken in order, so this one is answered after all others were.
    for host in ["127.0.0.1", "::1"] {
        let Ok(mut last) = TcpStream::connect((host, port)).await else {
            continue;
        };
        let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
        last.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let read = soon("an answer", last.read_to_end(&mut answer)).await;
        read.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 404"));
    }
    drop((exchange, token_endpoint));
    let (_, page) = soon("the page", visit).await.unwrap();
    assert!(page.contains("<html"), "{page}");
    soon("the call", call).await.unwrap().unwrap_err();
    drop(crowd);
}

/// a second answer with the same state finds the work done.
#[tokio::test]
async fn a_code_is_redeemed_once_whatever_the_browser_does() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let callback = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;
    let visits = [(); 5].map(|()| {
        let callback = callback.clone();
        tokio::spawn(async move {
            let response = Client::new().get(callback).send().await.ok()?;
            Some((response.status(), response.text().await.ok()?))
        })
    });
    let mut signed_in = 0;
    for visit in visits {
        if let Some((status, page)) = visit.await.unwrap() {
            assert_eq!(status, StatusCode::OK);
            signed_in += usize::from(page.contains("You are signed in"));
        }
    }
    assert_eq!(signed_in, 1);
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::OK
    );
    assert_eq!(provider.seen("/token").len(), 1);
}

/// a code that somebody else has used up leads to another one in the same tab, once.
#[tokio::test]
async fn a_used_up_code_is_replaced_in_the_same_tab() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_replies = vec![TokenReply::error(400, "invalid_grant")]);
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let asked = provider.seen("/authorize");
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].query["state"], asked[1].query["state"]);

    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_outage = Some(TokenReply::error(400, "invalid_grant")));
    let app = AuthorizedClient::new(&provider, config(tempdir().unwrap().path()));
    assert_eq!(
        app.call_with_browser().await.unwrap_err().kind(),
        "auth_failed"
    );
    assert_eq!(provider.seen("/authorize").len(), 2);
}

fn with_success_url(directory: &tempfile::TempDir) -> mcp_bridge_auth::Config {
    let mut config = config(directory.path());
    config.callback.success_url = Url::parse("https://example.com/done").ok();
    config
}

/// As with npm mcp-remote's `--auth-success-url`: nothing of the sign-in goes along.
#[tokio::test]
async fn after_a_sign_in_that_worked_the_browser_is_sent_to_a_page_of_the_users_choice() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, with_success_url(&directory));
    let call = app.spawn_call();
    let callback = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;
    let page = HeadlessBrowser::default().approve(callback).await;
    assert_eq!(page.as_str(), "https://example.com/done");
    assert_eq!(
        soon("the call", call).await.unwrap().unwrap(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn after_a_sign_in_that_did_not_work_the_browser_stays_and_shows_it() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_outage = Some(TokenReply::error(400, "invalid_request")));
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, with_success_url(&directory));
    let call = app.spawn_call();
    let (status, page) = HeadlessBrowser::default()
        .visit(app.sign_in_page().await)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("did not work"), "{page}");
    assert!(soon("the call", call).await.unwrap().is_err());
}
