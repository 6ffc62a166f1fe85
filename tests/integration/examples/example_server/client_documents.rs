//! Clients that describe themselves in a document whose URL is their `client_id` (MCP, Client ID Metadata Documents), and
//! documents that describe none.

use std::net::IpAddr;

use mcp_bridge_net::http::Names;
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use super::client::{
    Client, REDIRECT_URI, answer, options, query, start, with, with_client_secret,
};
use super::document_host::{Document, DocumentHost};
use crate::auth::sign_in::user::{self, User};
use crate::browser::{self, SignInError};
use crate::server::client_documents::{DocumentReach, DocumentSettings};
use crate::server::{Options, Server};
use mcp_bridge_testkit::app::INITIALIZED;

async fn start_with(settings: DocumentSettings) -> Server {
    let options = Options {
        client_documents: settings,
        ..options()
    };
    Server::start(options).await.unwrap()
}

/// A host, a server that reaches it, and a client with a document there.
async fn described() -> (DocumentHost, Server, Client) {
    let host = DocumentHost::start().await;
    let server = start_with(DocumentHost::settings()).await;
    let client = Client::unknown(&server).known_as(&host.url);
    (host, server, client)
}

/// The status and the text of the page to which an authorization request leads.
async fn page(client: &Client) -> (StatusCode, String) {
    let url = client.authorization_url(&client.authorization_request());
    let response = client.get(url.as_str()).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

/// The page of a refusal, which names this reason.
async fn assert_refused(client: &Client, reason: &str) {
    let (status, html) = page(client).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{reason}: {html}");
    assert!(html.contains(reason), "{reason}: {html}");
}

async fn metadata(server: &Server) -> Value {
    let client = Client::unknown(server);
    let request = client.get("/.well-known/oauth-authorization-server");
    answer(request.send().await.unwrap()).await.body
}

///
#[tokio::test]
async fn the_metadata_say_whether_documents_count() {
    const MEMBER: &str = "client_id_metadata_document_supported";
    let server = start().await;
    assert_eq!(metadata(&server).await[MEMBER], true);
    let off = DocumentSettings {
        reach: DocumentReach::Off,
        ..DocumentHost::settings()
    };
    let server = start_with(off).await;
    assert_eq!(metadata(&server).await[MEMBER], Value::Null);
    let host = DocumentHost::start().await;
    let client = Client::unknown(&server).known_as(&host.url);
    assert_refused(&client, "The app is not registered here").await;
    let server = Server::start(with_client_secret("secret")).await.unwrap();
    assert_eq!(metadata(&server).await[MEMBER], Value::Null);
    assert_eq!(host.paths(), Vec::<String>::new());
}

/// the whole flow of a client that nobody registered.
#[tokio::test]
async fn a_client_that_describes_itself_signs_in_without_a_registration() {
    let (host, _server, client) = described().await;
    let tokens = client.tokens("ada", "profile coffee").await;
    assert_eq!(client.try_token(&tokens.access).await.0, StatusCode::OK);
    let next = client
        .token(&client.refresh(&tokens.refresh))
        .await
        .tokens();
    assert_eq!(client.try_token(&next.access).await.0, StatusCode::OK);
    client.tokens("grace", "profile").await;
    // Once for all of it.
    assert_eq!(host.paths(), ["/client.json"]);
}

/// The document is kept for as long as it says, and what was kept is of no use after that: the app may have changed it.
#[tokio::test]
async fn a_document_that_is_not_fresh_is_fetched_again() {
    let host = DocumentHost::start().await;
    let directory = tempfile::tempdir().unwrap();
    let state_file = directory.path().join("state.json");
    let start = async |reach| {
        let options = Options {
            client_documents: DocumentSettings {
                reach,
                ..DocumentHost::settings()
            },
            state_file: Some(state_file.clone()),
            ..options()
        };
        let server = Server::start(options).await.unwrap();
        let client = Client::unknown(&server).known_as(&host.url);
        (server, client)
    };
    let (server, client) = start(DocumentReach::Loopback).await;
    client.tokens("ada", "profile").await;
    server.stop().await;
    let (server, client) = start(DocumentReach::Off).await;
    assert_refused(&client, "The app is not registered here").await;
    server.stop().await;

    let mut state: Value = serde_json::from_str(&user::read(&state_file)).unwrap();
    let known = &mut state["clients"][&host.url]["fresh_until"]["secs_since_epoch"];
    assert!(known.is_u64(), "{known}");
    *known = json!(1);
    std::fs::write(&state_file, state.to_string()).unwrap();
    let (_server, client) = start(DocumentReach::Loopback).await;
    let mut content = host.content();
    content["client_name"] = json!("Renamed app");
    host.give(Document::of(&content));
    assert!(page(&client).await.1.contains("Renamed app"));
    assert_eq!(host.paths().len(), 2);
}

/// Security considerations of MCP: Localhost Redirect URI Risks
#[tokio::test]
async fn the_page_names_the_host_and_warns_of_answers_that_stay_on_this_machine() {
    let (host, _server, client) = described().await;
    let (status, html) = page(&client).await;
    assert_eq!(status, StatusCode::OK, "{html}");
    let authority = url::Url::parse(&host.url).unwrap().authority().to_owned();
    assert!(html.contains("<strong>Described app</strong>"), "{html}");
    assert!(html.contains(&format!("An app of <code>{authority}</code>")));
    assert!(html.contains("any program can claim to be <b>Described app</b>"));

    let elsewhere = "https://app.example.com/callback";
    let request = with(client.authorization_request(), "redirect_uri", elsewhere);
    let url = client.authorization_url(&request);
    let html = client.get(url.as_str()).send().await.unwrap().text().await;
    let html = html.unwrap();
    assert!(html.contains(&format!("An app of <code>{authority}</code>")));
    assert!(!html.contains("any program can claim"), "{html}");

    // Nobody vouches for a registered one.
    let server = start().await;
    let (_, html) = page(&Client::registered(&server).await).await;
    assert!(!html.contains("An app of") && !html.contains("any program"));
}

///
#[tokio::test]
async fn a_redirect_uri_has_to_stand_in_the_document_but_for_the_port_of_this_machine() {
    let (_host, _server, client) = described().await;
    let sign_in = async |uri: &str| {
        let request = with(client.authorization_request(), "redirect_uri", uri);
        browser::sign_in(client.authorization_url(&request).as_str(), "ada", "allow").await
    };
    for uri in [
        REDIRECT_URI,
        "http://127.0.0.1:50000/callback",
        "https://app.example.com/callback",
    ] {
        let callback = sign_in(uri).await.unwrap();
        assert!(callback.as_str().starts_with(uri), "{callback}");
        assert!(query(&callback, "code").is_some());
    }
    for uri in [
        "http://127.0.0.1:50000/other",
        "http://localhost:49152/callback",
        "https://app.example.com:8443/callback",
        "https://app.example.com/callback?more=1",
        "https://evil.example/callback",
        "myapp:/callback",
    ] {
        let refused = sign_in(uri).await.unwrap_err();
        assert!(matches!(refused, SignInError::NoForm(400)), "{uri}");
    }
}

/// Each with its reason, and none is remembered: the next one counts.
#[tokio::test]
async fn a_document_that_describes_no_client_is_refused() {
    let (host, _server, client) = described().await;
    let good = host.content();
    let changed = |member: &str, value: Value| {
        let mut content = good.clone();
        content[member] = value;
        Document::of(&content)
    };
    let without = |member: &str| {
        let mut content = good.clone();
        content.as_object_mut().unwrap().remove(member);
        Document::of(&content)
    };
    let with_type = |content_type: &str| Document {
        headers: vec![("content-type", content_type.to_owned())],
        ..Document::of(&good)
    };
    let status = |status, headers| Document {
        status,
        headers,
        ..Document::of(&good)
    };
    let text = |body: &str| Document {
        body: body.to_owned(),
        ..Document::of(&good)
    };
    let elsewhere = vec![("location", host.url.clone())];
    let other = host.url.replace("client", "other");
    for (document, reason) in [
        (status(404, Vec::new()), "answers with status 404"),
        (status(302, elsewhere), "redirects are not followed"),
        (status(201, Vec::new()), "answers with status 201"),
        (
            with_type("text/html"),
            "content type must be application/json",
        ),
        (
            with_type("text/json"),
            "content type must be application/json",
        ),
        (
            status(200, Vec::new()),
            "content type must be application/json",
        ),
        (text(&" ".repeat(5121)), "larger than 5120 bytes"),
        (text("{"), "no JSON object"),
        (text("[]"), "no JSON object"),
        (changed("client_id", json!(other)), "client_id in it is not"),
        (without("client_id"), "client_id in it is not"),
        (without("client_name"), "client_name is missing"),
        (changed("client_name", json!("")), "client_name is empty"),
        (changed("client_name", json!("a\u{202e}b")), "client_name"),
        (without("redirect_uris"), "redirect_uris"),
        (changed("redirect_uris", json!([])), "redirect_uris"),
        (changed("redirect_uris", json!(["myapp:/x"])), "myapp:/x"),
        (
            changed("grant_types", json!(["implicit"])),
            "authorization_code",
        ),
        (
            changed("response_types", json!(["token"])),
            "code are needed",
        ),
        (changed("client_secret", json!("s")), "no client_secret"),
        (
            changed("client_secret_expires_at", json!(0)),
            "no client_secret",
        ),
        (
            changed("token_endpoint_auth_method", json!("private_key_jwt")),
            "token_endpoint_auth_method must be none",
        ),
        (
            changed("token_endpoint_auth_method", json!("client_secret_basic")),
            "token_endpoint_auth_method must be none",
        ),
    ] {
        host.give(document);
        assert_refused(&client, reason).await;
    }
    for document in [
        with_type("application/json; charset=utf-8"),
        with_type("application/oauth-client+json"),
        without("token_endpoint_auth_method"),
    ] {
        host.give(document);
        let server = start_with(DocumentHost::settings()).await;
        let client = Client::unknown(&server).known_as(&host.url);
        assert_eq!(page(&client).await.0, StatusCode::OK);
    }
}

/// The host has a few seconds, in which others are served.
#[tokio::test]
async fn a_host_that_does_not_answer_keeps_nobody_else_waiting() {
    let (host, server, client) = described().await;
    host.hang();
    let other = Client::registered(&server).await;
    let waiting = page(&client);
    let others = async {
        let tokens = other.tokens("ada", "profile").await;
        assert_eq!(other.try_token(&tokens.access).await.0, StatusCode::OK);
    };
    let ((status, html), ()) = tokio::join!(waiting, others);
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(html.contains("does not answer in time"), "{html}");
}

#[tokio::test]
async fn a_host_whose_certificate_is_not_trusted_is_not_believed() {
    let host = DocumentHost::start().await;
    let server = start_with(DocumentSettings {
        authorities: Vec::new(),
        ..DocumentHost::settings()
    })
    .await;
    let client = Client::unknown(&server).known_as(&host.url);
    assert_refused(&client, "its host cannot be reached").await;
    assert_eq!(host.paths(), Vec::<String>::new());
}

/// Security Best Practices, Server-Side Request Forgery: whoever opens the page must not make the server look around in its
/// network, by an address or by a name.
#[tokio::test]
async fn no_document_is_fetched_from_inside() {
    let host = DocumentHost::start().await;
    let table = |name: &str| -> Vec<IpAddr> {
        let addresses: &[&str] = match name {
            "inside.example" => &["10.0.0.1"],
            "metadata.example" => &["169.254.169.254"],
            "loopback.example" => &["127.0.0.1"],
            "both.example" => &["203.0.113.9", "127.0.0.1"],
            "mapped.example" => &["::ffff:192.168.0.1"],
            _ => &[],
        };
        addresses.iter().map(|it| it.parse().unwrap()).collect()
    };
    let start = async |reach| {
        start_with(DocumentSettings {
            reach,
            names: Names::from_table(table),
            ..DocumentHost::settings()
        })
        .await
    };
    let (public, local) = (
        start(DocumentReach::Public).await,
        start(DocumentReach::Loopback).await,
    );
    let port = url::Url::parse(&host.url).unwrap().port().unwrap();
    for (name, is_local) in [
        ("inside.example", false),
        ("metadata.example", false),
        ("loopback.example", true),
        ("both.example", true),
        ("mapped.example", false),
        ("10.0.0.1", false),
        ("127.0.0.1", true),
        ("[::1]", true),
        ("[fd00::1]", false),
        ("a.localhost", true),
    ] {
        let id = format!("https://{name}:{port}/client.json");
        let client = Client::unknown(&public).known_as(&id);
        assert_refused(&client, "its host is inside").await;
        if !is_local {
            let client = Client::unknown(&local).known_as(&id);
            assert_refused(&client, "its host is inside").await;
        }
    }
    assert_eq!(host.paths(), Vec::<String>::new());
    for id in [
        format!("http://localhost:{port}/client.json"),
        format!("https://localhost:{port}/"),
        format!("https://localhost:{port}/a/../client.json"),
        format!("https://localhost:{port}/client.json#app"),
        format!("https://user@localhost:{port}/client.json"),
        "file:///etc/passwd".to_owned(),
    ] {
        let client = Client::unknown(&local).known_as(&id);
        assert_refused(&client, "its address must be https").await;
    }
    assert_eq!(host.paths(), Vec::<String>::new());
}

/// The bridge with `--client-metadata-url`.
#[tokio::test]
async fn the_bridge_signs_in_with_its_document() {
    let (host, server, _) = described().await;
    let mut content = host.content();
    content["client_name"] = json!("MCP bridge of Example Inc.");
    content["redirect_uris"] = json!([
        "http://127.0.0.1/oauth/callback",
        "http://localhost/oauth/callback"
    ]);
    host.give(Document::of(&content));
    let person = User::new();
    let launch = person.launch(server.url());
    let mut app = launch.args(["--client-metadata-url", &host.url]).start();
    app.send(mcp_bridge_testkit::app::initialize_line("2025-11-25"))
        .await;
    let window = person.window().await;
    assert_eq!(window.parameter("client_id"), host.url);
    let page = Client::unknown(&server).get(window.page.as_str()).send();
    let page = page.await.unwrap();
    assert!(page.headers().contains_key(header::SET_COOKIE));
    assert!(
        page.text()
            .await
            .unwrap()
            .contains("MCP bridge of Example Inc.")
    );
    window.sign_in().await;
    app.result("init").await;
    app.send(INITIALIZED).await;
    let params = json!({ "name": "get-user-data", "arguments": {} });
    app.request("who", "tools/call", &params).await;
    let data = app.result("who").await;
    assert_eq!(data["structuredContent"]["id"], user::NAME, "{data}");
    app.finish().await;
    person.saw_every_window();
    assert_eq!(host.paths(), ["/client.json"]);
}
