//! Discovery and registration at the example server.

use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use super::client::{Client, answer, challenge, public_client, start, text, with_client_secret};
use crate::server::{PRE_REGISTERED_CLIENT_ID, Server};

/// A-2, A-3, A-6, A-7, A-9, A-11, A-31, A-34
#[tokio::test]
async fn the_challenge_leads_to_both_metadata_documents() {
    let server = start().await;
    let client = Client::unknown(&server);

    let refused = client.post("/mcp").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let metadata_url = client.url("/.well-known/oauth-protected-resource/mcp");
    assert_eq!(
        challenge(&refused),
        format!(r#"Bearer scope="profile", resource_metadata="{metadata_url}""#),
    );

    let resource = answer(client.get(metadata_url.path()).send().await.unwrap())
        .await
        .body;
    assert_eq!(resource["resource"], server.url());
    let issuer = text(&resource["authorization_servers"][0]);
    assert_eq!(format!("{issuer}/mcp"), server.url());

    let path = "/.well-known/oauth-authorization-server";
    let metadata = answer(client.get(path).send().await.unwrap()).await.body;
    assert_eq!(metadata["issuer"], issuer);
    for endpoint in ["authorization", "token", "registration", "revocation"] {
        let url = text(&metadata[format!("{endpoint}_endpoint")]);
        assert!(url.starts_with(&format!("{issuer}/")), "{endpoint}: {url}");
    }
    assert_eq!(
        metadata["code_challenge_methods_supported"],
        json!(["S256"])
    );
    assert_eq!(
        metadata["authorization_response_iss_parameter_supported"],
        true
    );
    server.stop().await;
}

/// Clients that were told of no place look under the path of the endpoint first, and then at the root.
#[tokio::test]
async fn the_resource_metadata_are_at_the_root_too() {
    let server = start().await;
    let client = Client::unknown(&server);
    let root = client.get("/.well-known/oauth-protected-resource");
    let metadata = answer(root.send().await.unwrap()).await;
    assert_eq!(metadata.body["resource"], server.url());
    server.stop().await;
}

async fn refused_registration(server: &Server, member: &str, value: Value) -> String {
    let mut metadata = public_client();
    metadata[member] = value;
    let answer = Client::unknown(server).register(metadata).await;
    assert_eq!(
        answer.status,
        StatusCode::BAD_REQUEST,
        "{member}: {}",
        answer.body
    );
    answer.error()
}

/// A-24, A-26
#[tokio::test]
async fn a_registration_that_makes_no_sense_is_refused() {
    let server = start().await;
    for uris in [
        json!([]),
        json!(["/callback"]),
        json!(["http://example.com/callback"]),
        json!(["http://127.0.0.1/callback#here"]),
        json!(["javascript:alert(1)"]),
        json!(["http://127.0.0.1/callback", "ftp://127.0.0.1/"]),
    ] {
        let error = refused_registration(&server, "redirect_uris", uris).await;
        assert_eq!(error, "invalid_redirect_uri");
    }
    let web = refused_registration(&server, "application_type", json!("web")).await;
    assert_eq!(web, "invalid_redirect_uri");

    for (member, value) in [
        ("redirect_uris", json!("http://127.0.0.1/callback")),
        ("application_type", json!("desktop")),
        ("grant_types", json!(["refresh_token"])),
        ("grant_types", json!(["authorization_code", "password"])),
        ("response_types", json!(["token"])),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
        ("scope", json!("profile admin")),
        ("client_name", json!("x".repeat(1000))),
    ] {
        let error = refused_registration(&server, member, value).await;
        assert_eq!(error, "invalid_client_metadata", "{member}");
    }
}

/// A-25
#[tokio::test]
async fn a_client_gets_a_secret_only_if_it_wants_to_authenticate_with_one() {
    let server = start().await;
    let client = Client::unknown(&server);
    let public = client.register(public_client()).await.body;
    assert_eq!(public.get("client_secret"), None);

    let mut metadata = public_client();
    metadata["token_endpoint_auth_method"] = json!("client_secret_post");
    let confidential = client.register(metadata).await.body;
    assert!(text(&confidential["client_secret"]).len() >= 43);
    assert_eq!(confidential["client_secret_expires_at"], 0);
    assert_eq!(confidential["application_type"], "native");
}

/// A-20: nothing to register with, so the user must have brought a client.
#[tokio::test]
async fn without_registration_there_is_one_client_and_no_endpoint() {
    let server = Server::start(with_client_secret("secret")).await.unwrap();
    let client = Client::unknown(&server);

    let path = "/.well-known/oauth-authorization-server";
    let metadata = answer(client.get(path).send().await.unwrap()).await.body;
    assert_eq!(metadata.get("registration_endpoint"), None);
    assert_eq!(
        metadata["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic"])
    );
    let refused = client.register(public_client()).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);

    let known = client.known_as(PRE_REGISTERED_CLIENT_ID);
    let parameters = super::client::with(
        known.authorization_request(),
        "redirect_uri",
        "http://localhost:49152/oauth/callback",
    );
    let page = known
        .get(known.authorization_url(&parameters).as_str())
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
}

/// A page on the internet can give its name this machine's address. It must not get any further.
#[tokio::test]
async fn a_foreign_host_name_gets_no_answer() {
    let server = start().await;
    let client = Client::registered(&server).await;
    for path in [
        "/mcp",
        "/authorize",
        "/.well-known/oauth-authorization-server",
    ] {
        let request = client.get(path).header(header::HOST, "evil.example");
        assert_eq!(
            request.send().await.unwrap().status(),
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
}

/// A page of another origin has no business with the MCP endpoint, whatever token it has.
#[tokio::test]
async fn a_foreign_origin_is_refused_at_the_mcp_endpoint() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let tokens = client.tokens("ada", "profile").await;
    let request = client.mcp(&tokens.access, &super::client::initialize());
    let response = request
        .header(header::ORIGIN, "https://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

/// Requests that a page of another site can send without a preflight register nothing (Fetch, "CORS protocol").
#[tokio::test]
async fn a_page_of_another_site_cannot_register_a_client() {
    let server = start().await;
    let client = Client::unknown(&server);
    let metadata = public_client().to_string();
    for (content_type, origin) in [
        (Some("text/plain"), None),
        (Some("application/x-www-form-urlencoded"), None),
        (None, None),
        (Some("application/json"), Some("https://evil.example")),
        (Some("application/json"), Some("null")),
    ] {
        let mut request = client.post("/register").body(metadata.clone());
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let refused = answer(request.send().await.unwrap()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{content_type:?}");
        assert_eq!(refused.error(), "invalid_request");
    }
}

/// A redirect URI is compared as a string and shown to a person: no URL parser must read it as another.
#[tokio::test]
async fn redirect_uris_that_a_url_parser_would_repair_or_a_person_misread_are_not_registered() {
    const LONG: usize = 10_000;
    let server = start().await;
    let client = Client::unknown(&server);
    for uri in [
        "https://app.example.com/call\tback",
        " https://app.example.com/callback",
        "https://app.example.com/call\u{85}back",
        "https://evil.example/\u{202e}moc.elpmaxe.ppa",
        "https://\u{430}pp.example.com/callback",
        "https://app.example.com@evil.example/callback",
        "http://app.example.com@127.0.0.1/callback",
        "https://evil.example\\@app.example.com/callback",
        "https:app.example.com/callback",
        "https:/app.example.com/callback",
        "https:///app.example.com/callback",
        "https:\\\\app.example.com\\callback",
        "https://%61pp.example.com/callback",
        "https://app.example.com/\"><script>",
        "http://127.1/callback",
        "http://0x7f000001/callback",
        &format!("https://app.example.com/{}", "a".repeat(LONG)),
    ] {
        let mut metadata = public_client();
        metadata["redirect_uris"] = json!([uri]);
        let refused = client.register(metadata).await;
        assert_eq!(refused.error(), "invalid_redirect_uri", "{uri:?}");
    }
}

/// The consent page shows the name.
#[tokio::test]
async fn names_of_clients_that_cannot_be_seen_as_they_are_are_not_registered() {
    let server = start().await;
    let client = Client::unknown(&server);
    for name in [
        "",
        "  ",
        "egdirb\u{202e}",
        "bri\u{200b}dge",
        "bridge\u{e0041}",
        "a\u{2028}b",
    ] {
        let mut metadata = public_client();
        metadata["client_name"] = json!(name);
        let refused = client.register(metadata).await;
        assert_eq!(refused.error(), "invalid_client_metadata", "{name:?}");
    }
}

/// A person who opens the server's address in a browser learns what it is; clients of MCP are answered as ever.
#[tokio::test]
async fn a_browser_gets_a_page_and_a_client_of_mcp_a_challenge() {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let server = start().await;
    let client = Client::unknown(&server);
    for path in ["/", "/mcp"] {
        let request = client.get(path).header(header::ACCEPT, BROWSER);
        let page = request.send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        assert!(page.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        let page = page.text().await.unwrap();
        for part in [
            "MCP server",
            "mcp-bridge tools",
            server.url(),
            "&quot;mcpServers&quot;",
        ] {
            assert!(page.contains(part), "{path}: {part}");
        }
    }
    for accept in [
        "text/event-stream",
        "application/json, text/event-stream",
        "text/event-stream, text/html",
        "*/*",
    ] {
        let request = client.get("/mcp").header(header::ACCEPT, accept);
        let refused = request.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{accept}");
        assert!(!challenge(&refused).is_empty());
    }
    let posted = client.post("/mcp").header(header::ACCEPT, BROWSER);
    assert_eq!(
        posted.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    server.stop().await;

    let server = Server::start(with_client_secret("secret")).await.unwrap();
    let client = Client::unknown(&server);
    let page = client.get("/").send().await.unwrap().text().await.unwrap();
    let option = format!("--client-id {PRE_REGISTERED_CLIENT_ID}");
    assert!(page.contains(&option), "{page}");
}
