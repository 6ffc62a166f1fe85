//! What the command line refuses, and with which words.

use crate::support::{
    HEADER_MARKER, QUERY_MARKER,
    app::Launch,
    fault_server::Server,
    mcp::Binding,
    reply::Reply,
    request::{post, rpc},
};

async fn refused(args: &[&str]) -> String {
    let launch = Launch::bare().args(args.iter().copied());
    launch.start().refuses_to_start().await
}

///
#[tokio::test]
async fn a_missing_url_is_an_error_before_anything_is_read() {
    let stderr = refused(&[]).await;
    assert!(stderr.to_lowercase().contains("url"), "{stderr}");
}

///
#[tokio::test]
async fn a_url_that_cannot_be_a_server_is_refused() {
    for url in [
        "ftp://localhost/mcp",
        "file:///mcp",
        "localhost:3000",
        "http://",
        "not a url",
        "http://user:marker-of-a-query-value@localhost/mcp",
        "http://localhost/mcp#fragment",
        "javascript:alert(1)",
        "",
    ] {
        let stderr = refused(&[url]).await;
        assert!(!stderr.contains(QUERY_MARKER), "{stderr}");
    }
}

///
#[tokio::test]
async fn a_flag_with_a_typo_is_an_error_that_names_the_right_one() {
    let stderr = refused(&["http://localhost:1/mcp", "--allow-htp"]).await;
    assert!(stderr.contains("--allow-http"), "{stderr}");
}

///
#[tokio::test]
async fn plain_http_to_a_foreign_host_is_refused_with_a_hint() {
    for url in [
        "http://mcp.example/mcp",
        "http://192.0.2.1/mcp",
        "http://localhost.example/",
    ] {
        let stderr = refused(&[url]).await;
        assert!(stderr.contains("--allow-http"), "{stderr}");
    }
}

///
#[tokio::test]
async fn plain_http_to_a_foreign_host_is_possible_when_it_is_allowed() {
    // The foreign host is reached through a proxy, so no name has to be resolved.
    let proxy = Server::start_as(Binding::Stateless);
    let mut app = Launch::for_url("http://mcp.example/mcp")
        .args(["--allow-http"])
        .env("http_proxy", &format!("http://{}", proxy.host()))
        .start();
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
    let first = proxy.received(post(), 1).await;
    assert_eq!(first.target, "http://mcp.example/mcp");
}

///
#[tokio::test]
async fn plain_http_to_this_machine_is_fine() {
    for host in ["127.0.0.1", "localhost"] {
        let server = Server::start();
        let url = server.url().replace("127.0.0.1", host);
        let mut app = Launch::for_url(&url).start();
        app.initialize().await;
        app.still_served().await;
        app.finish().await;
    }
}

///
#[tokio::test]
async fn a_header_that_cannot_be_sent_is_refused_and_its_value_is_not_shown() {
    for header in [
        format!("X-Key: {HEADER_MARKER}\r\nX-Evil: 1"),
        format!(": {HEADER_MARKER}"),
        format!("X Key: {HEADER_MARKER}"),
        format!("X-Key {HEADER_MARKER}"),
        format!("X-Schlüssel: {HEADER_MARKER}"),
        format!("X-Key: {HEADER_MARKER} ${{THIS_IS_NOT_SET}}"),
    ] {
        let stderr = refused(&["http://localhost:1/mcp", "--header", &header]).await;
        assert!(!stderr.contains(HEADER_MARKER), "{stderr}");
    }
    let unset = refused(&["http://localhost:1/mcp", "--header", "X-Key: ${NOT_SET}"]).await;
    assert!(unset.contains("NOT_SET"), "{unset}");
}

/// HM-10
#[tokio::test]
async fn a_header_that_belongs_to_the_protocol_cannot_be_configured() {
    for name in [
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Accept",
        "Content-Type",
        "Content-Length",
        "Host",
    ] {
        let header = format!("{name}: anything");
        let stderr = refused(&["http://localhost:1/mcp", "--header", &header]).await;
        assert!(
            stderr.to_lowercase().contains(&name.to_lowercase()),
            "{stderr}"
        );
    }
}

/// The file of `--header-file` may hold what the command line should not show.
#[tokio::test]
async fn headers_come_from_a_file_too() {
    let server = Server::start();
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("headers");
    std::fs::write(&file, "X-One: 1\nX-Two: 2\n").expect("the directory is ours");
    let file = file.to_str().expect("a path in UTF-8");
    let mut app = Launch::for_server(&server)
        .args(["--header-file", file])
        .start();
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
    for request in server.requests() {
        assert_eq!(request.header("x-one"), Some("1"));
        assert_eq!(request.header("x-two"), Some("2"));
    }
}

/// `--flag=value`, and flags before the URL.
#[tokio::test]
async fn flags_may_stand_anywhere() {
    let server = Server::start();
    server.once(rpc("tools/call"), |_| Reply::no_answer_ever());
    let url = server.url();
    let mut app = Launch::bare()
        .args([
            "--request-timeout=0.2",
            &url,
            "--header=X-Api-Key: ${API_KEY}",
            "--debug",
        ])
        .env("API_KEY", HEADER_MARKER)
        .start();
    app.initialize().await;
    app.call(1, "echo", "").await;
    app.own_error(1, "timeout").await;
    app.finish().await;
}

/// B24
#[tokio::test]
async fn a_conversation_that_goes_well_is_not_logged_by_default() {
    let server = Server::start();
    let mut app = Launch::bare().args([server.url().as_str()]).start();
    app.initialize().await;
    app.still_served().await;
    app.close_stdin();
    assert_eq!(app.finish().await.stderr, "");
}
