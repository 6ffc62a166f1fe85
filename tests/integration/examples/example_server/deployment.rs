//! The server behind a proxy, on the internet: its public name, forwarded headers, browser clients, limits and its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use reqwest::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, options, public_client};
use crate::server::deployment::Deployment;
use crate::server::{Options, Server};
use mcp_bridge_testkit::limits;

const PUBLIC: &str = "https://mcp.example.com";

/// A page with a browser client of MCP.
const APP: &str = "https://app.example.com";

async fn deployed(change: impl FnOnce(&mut Deployment)) -> Server {
    let mut deployment = Deployment {
        bind: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        public_url: Some(PUBLIC.parse().unwrap()),
        ..Deployment::default()
    };
    change(&mut deployment);
    let options = Options {
        deployment,
        ..options()
    };
    Server::start(options).await.unwrap()
}

/// A proxy that has ended TLS, and hands a request on under the public name.
fn request(server: &Server, method: Method, path: &str) -> RequestBuilder {
    let address = format!("http://{}{path}", server.address());
    let client = limits::client().build().unwrap();
    client
        .request(method, address)
        .header(HOST, "mcp.example.com")
}

async fn json(request: RequestBuilder) -> Value {
    let text = request.send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

fn register(server: &Server) -> RequestBuilder {
    request(server, Method::POST, "/register")
        .header(CONTENT_TYPE, "application/json")
        .body(public_client().to_string())
}

#[tokio::test]
async fn everything_that_a_client_learns_names_the_public_url() {
    let server = deployed(|_| {}).await;
    assert_eq!(server.url(), "https://mcp.example.com/mcp");
    let refused = request(&server, Method::POST, "/mcp").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
    assert!(challenge.contains(metadata), "{challenge}");
    for path in ["", "/mcp"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let document = json(request(&server, Method::GET, &path)).await;
        assert_eq!(document["resource"], "https://mcp.example.com/mcp");
        assert_eq!(document["authorization_servers"], json!([PUBLIC]));
    }
    let path = "/.well-known/oauth-authorization-server";
    let document = json(request(&server, Method::GET, path)).await;
    assert_eq!(document["issuer"], PUBLIC);
    assert_eq!(document["token_endpoint"], "https://mcp.example.com/token");
    server.stop().await;
}

#[tokio::test]
async fn the_cookie_of_a_sign_in_over_https_is_secure_and_of_this_host_alone() {
    let server = deployed(|_| {}).await;
    let client = json(register(&server)).await;
    let mut known = Client::unknown(&server).known_as(client["client_id"].as_str().unwrap());
    known.resource = server.url().to_owned();
    let url = known.authorization_url(&known.authorization_request());
    let path = format!("{}?{}", url.path(), url.query().unwrap());
    let page = request(&server, Method::GET, &path).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let cookie = page.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-consent_"), "{cookie}");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    server.stop().await;
}

#[tokio::test]
async fn a_request_under_another_name_is_refused_and_a_probe_needs_none() {
    let server = deployed(|_| {}).await;
    let address = format!("http://{}", server.address());
    let client = limits::client().build().unwrap();
    for (path, expected) in [
        ("/", StatusCode::FORBIDDEN),
        (
            "/.well-known/oauth-authorization-server",
            StatusCode::FORBIDDEN,
        ),
        ("/healthz", StatusCode::OK),
        ("/readyz", StatusCode::OK),
    ] {
        let response = client.get(format!("{address}{path}")).send().await.unwrap();
        assert_eq!(response.status(), expected, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn forwarded_headers_count_only_from_a_proxy_that_was_named() {
    let forwarded = |server: &Server, client: &str| {
        let address = format!("http://{}/token", server.address());
        let proxy = limits::client().build().unwrap();
        proxy
            .post(address)
            .header("X-Forwarded-Host", "mcp.example.com")
            .header("X-Forwarded-For", client.to_owned())
    };
    let one = NonZeroU32::new(1);
    let named = deployed(|deployment| {
        deployment.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        deployment.rate_limit = one;
    })
    .await;
    let unnamed = deployed(|deployment| {
        deployment.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        deployment.rate_limit = one;
    })
    .await;
    for (client, expected) in [
        ("203.0.113.1", StatusCode::BAD_REQUEST),
        ("203.0.113.2", StatusCode::BAD_REQUEST),
        ("203.0.113.1", StatusCode::TOO_MANY_REQUESTS),
        // The client's own invention stands before what the proxy saw.
        ("203.0.113.3, 203.0.113.2", StatusCode::TOO_MANY_REQUESTS),
    ] {
        let response = forwarded(&named, client).send().await.unwrap();
        assert_eq!(response.status(), expected, "{client}");
    }
    let response = forwarded(&unnamed, "203.0.113.1").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    named.stop().await;
    unnamed.stop().await;
}

#[tokio::test]
async fn an_address_that_registers_or_asks_for_tokens_without_end_is_told_to_wait() {
    let server = deployed(|deployment| deployment.rate_limit = NonZeroU32::new(2)).await;
    for expected in [
        StatusCode::CREATED,
        StatusCode::CREATED,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        let response = register(&server).send().await.unwrap();
        assert_eq!(response.status(), expected);
    }
    let response = register(&server).send().await.unwrap();
    let wait: u64 = response.headers()[RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=31).contains(&wait), "{wait}");
    // The other endpoint has a limit of its own, and the rest has none.
    let token = request(&server, Method::POST, "/token")
        .send()
        .await
        .unwrap();
    assert_eq!(token.status(), StatusCode::BAD_REQUEST);
    for _ in 0..5 {
        let refused = request(&server, Method::POST, "/mcp").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_an_origin_that_was_named_may_use_the_server_and_others_only_its_metadata() {
    let server =
        deployed(|deployment| deployment.allowed_origins = vec![APP.parse().unwrap()]).await;
    let preflight = |path: &str, origin: &'static str| {
        request(&server, Method::OPTIONS, path)
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(
                ACCESS_CONTROL_REQUEST_HEADERS,
                "authorization,mcp-param-coffee",
            )
    };
    for path in ["/mcp", "/token", "/register"] {
        let response = preflight(path, APP).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {response:?}");
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], APP);
        assert_eq!(
            response.headers()[ACCESS_CONTROL_ALLOW_HEADERS],
            "authorization,mcp-param-coffee"
        );
    }
    for (path, origin) in [("/mcp", "https://evil.example"), ("/consent", APP)] {
        let response = preflight(path, origin).send().await.unwrap();
        assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }
    let registered = register(&server).header(ORIGIN, APP).send().await.unwrap();
    assert_eq!(registered.status(), StatusCode::CREATED);
    let refused = register(&server)
        .header(ORIGIN, "https://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    // A client has to read the challenge.
    let challenged = request(&server, Method::POST, "/mcp").header(ORIGIN, APP);
    let challenged = challenged.send().await.unwrap();
    assert_eq!(challenged.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(challenged.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], APP);
    let path = "/.well-known/oauth-protected-resource";
    let document = request(&server, Method::GET, path).header(ORIGIN, "https://evil.example");
    let document = document.send().await.unwrap();
    assert_eq!(document.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_says_so_while_it_still_takes_requests() {
    let server = deployed(|deployment| deployment.notice = limits::LIMIT).await;
    let probe = |path: &'static str| request(&server, Method::GET, path);
    let (ready, alive, document) = (
        probe("/readyz"),
        probe("/healthz"),
        probe("/.well-known/oauth-protected-resource"),
    );
    let status = async |request: RequestBuilder| request.send().await.unwrap().status();
    let again = ready.try_clone().unwrap();
    assert_eq!(status(ready).await, StatusCode::OK);
    let stopped = tokio::spawn(server.stop());
    limits::soon("the readiness says no", async {
        while status(again.try_clone().unwrap()).await != StatusCode::SERVICE_UNAVAILABLE {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(status(alive).await, StatusCode::OK);
    assert_eq!(status(document).await, StatusCode::OK);
    stopped.abort();
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_finishes_the_calls_under_way() {
    let server = Server::start(Options {
        deployment: Deployment {
            drain: Duration::from_secs(30),
            ..Deployment::default()
        },
        ..options()
    });
    let server = server.await.unwrap();
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile").await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
    "name": "count-down", "arguments": {"from": 2}, "_meta": {
        "progressToken": "p",
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    let call = client
        .mcp(&tokens.access, &call)
        .header("Mcp-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", "count-down");
    let mut response = call.send().await.unwrap();
    // Under way for sure, since it has reported progress.
    let first = response.chunk().await.unwrap().unwrap();
    let stopped = tokio::spawn(server.stop());
    let mut text = String::from_utf8(first.to_vec()).unwrap();
    while let Some(chunk) = response.chunk().await.unwrap() {
        text += std::str::from_utf8(&chunk).unwrap();
    }
    assert!(text.contains("Lift-off!"), "{text}");
    stopped.await.unwrap();
}
