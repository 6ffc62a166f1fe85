//! Refused command lines, and the words of the errors.

use crate::program;
use mcp_bridge_testkit::{
    HEADER_MARKER, QUERY_MARKER,
    fault_server::FaultServer,
    mcp::Binding,
    reply::Reply,
    request::{post, rpc},
};

async fn refused(args: &[&str]) -> String {
    let launch = program::bridge().args(args.iter().copied());
    launch.start().refuses_to_start().await
}

/// X-27
#[tokio::test]
async fn a_missing_url_is_an_error_before_anything_is_read() {
    let stderr = refused(&[]).await;
    assert!(stderr.to_lowercase().contains("url"), "{stderr}");
}

/// X-27
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

/// X-27
#[tokio::test]
async fn a_flag_with_a_typo_is_an_error_that_names_the_right_one() {
    let stderr = refused(&["http://localhost:1/mcp", "--allow-htp"]).await;
    assert!(stderr.contains("--allow-http"), "{stderr}");
}

#[tokio::test]
async fn a_mistyped_command_is_told_from_a_url() {
    for (line, expected) in [
        (
            &["lgoin", "http://localhost:1/mcp"][..],
            "mcp-bridge login?",
        ),
        (
            &["toolz", "http://localhost:1/mcp", "--json"],
            "mcp-bridge tools?",
        ),
        (&["doktor"], "mcp-bridge doctor?"),
    ] {
        let stderr = refused(line).await;
        assert!(
            stderr.contains(&format!("hint: did you mean {expected}")),
            "{stderr}"
        );
    }
    let stderr = refused(&["mcp.example.com"]).await;
    assert!(!stderr.contains("there is no command"), "{stderr}");
}

#[tokio::test]
async fn an_option_of_the_bridge_alone_is_named_as_that() {
    let stderr = refused(&["tools", "http://localhost:1/mcp", "--allow-tool", "x"]).await;
    assert!(
        stderr.contains("tools does not take --allow-tool"),
        "{stderr}"
    );
    assert!(!stderr.contains("--allow-http"), "{stderr}");
}

#[tokio::test]
async fn a_callback_port_that_is_no_number_is_refused() {
    let stderr = refused(&["http://localhost:1/mcp", "abc"]).await;
    assert!(stderr.contains("a port is a number"), "{stderr}");
}

/// X-28
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

/// X-28
#[tokio::test]
async fn plain_http_to_a_foreign_host_is_possible_when_it_is_allowed() {
    // The foreign host is reached through a proxy, so no name has to be resolved.
    let proxy = FaultServer::start_as(Binding::Stateless);
    let mut app = program::bridge_at("http://mcp.example/mcp")
        .args(["--allow-http"])
        .env("http_proxy", format!("http://{}", proxy.host()))
        .start();
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
    let first = proxy.received(post(), 1).await;
    assert_eq!(first.target, "http://mcp.example/mcp");
}

/// X-28
#[tokio::test]
async fn plain_http_to_this_machine_is_fine() {
    for host in ["127.0.0.1", "localhost"] {
        let server = FaultServer::start();
        let url = server.url().replace("127.0.0.1", host);
        let mut app = program::bridge_at(&url).start();
        app.initialize().await;
        app.still_served().await;
        app.finish().await;
    }
}

/// X-29
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

/// HM-10: people copy such headers from examples for other programs, so they are left out and no error.
#[tokio::test]
async fn a_header_that_belongs_to_the_protocol_is_left_out() {
    let server = FaultServer::start();
    let names = [
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Accept",
        "Content-Type",
        "Content-Length",
        "Host",
    ];
    let headers = names.map(|name| format!("--header={name}: {HEADER_MARKER}"));
    let mut app = program::bridge_for(&server)
        .args(headers.iter().map(String::as_str))
        .start();
    app.initialize().await;
    app.still_served().await;
    let stderr = app.finish().await.stderr;
    for name in names {
        let name = name.to_lowercase();
        assert!(
            stderr.contains(&format!("the header {name} is left out")),
            "{stderr}"
        );
        let requests = server.requests();
        let sent = requests.iter().filter_map(|request| request.header(&name));
        assert!(!sent.clone().any(|value| value == HEADER_MARKER));
    }
}

/// Apps differ in how a configuration refers to a variable; what an app leaves as it is would be sent so.
#[tokio::test]
async fn a_reference_in_the_notation_of_another_program_is_sent_with_a_warning() {
    let server = FaultServer::start();
    let headers = ["X-A: Bearer $TOKEN", "X-B: {env:TOKEN}", "X-C: ${TOKEN}"];
    let headers = headers.map(|header| format!("--header={header}"));
    let mut app = program::bridge_for(&server)
        .args(headers.iter().map(String::as_str))
        .env("TOKEN", HEADER_MARKER)
        .start();
    app.initialize().await;
    app.still_served().await;
    let stderr = app.finish().await.stderr;
    for (name, reference) in [("x-a", "$TOKEN"), ("x-b", "{env:TOKEN}")] {
        let warning = format!("the header {name} is sent with {reference} as it stands");
        assert!(stderr.contains(&warning), "{stderr}");
    }
    assert!(!stderr.contains("x-c"), "{stderr}");
    let request = &server.requests()[0];
    assert_eq!(request.header("x-a"), Some("Bearer $TOKEN"));
    assert_eq!(request.header("x-c"), Some(HEADER_MARKER));
}

/// The file of `--header-file` may hold what the command line should not show.
#[tokio::test]
async fn headers_come_from_a_file_too() {
    let server = FaultServer::start();
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("headers");
    std::fs::write(&file, "X-One: 1\nX-Two: 2\n").expect("the directory is ours");
    let file = file.to_str().expect("a path in UTF-8");
    let mut app = program::bridge_for(&server)
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

/// Apps with a form for settings set a variable to what the user typed, and to nothing if it was not touched.
#[tokio::test]
async fn headers_come_from_a_variable_too() {
    for (text, expected) in [("X-One: 1", Some("1")), ("", None)] {
        let server = FaultServer::start();
        let launch = program::bridge_for(&server).env("MCP_BRIDGE_HEADER", text);
        let mut app = launch.start();
        app.initialize().await;
        app.still_served().await;
        app.finish().await;
        for request in server.requests() {
            assert_eq!(request.header("x-one"), expected);
        }
    }
}

/// `--flag=value`, and flags before the URL.
#[tokio::test]
async fn flags_may_stand_anywhere() {
    let server = FaultServer::start();
    server.once(rpc("tools/call"), |_| Reply::no_answer_ever());
    let url = server.url();
    let mut app = program::bridge()
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
    let server = FaultServer::start();
    let mut app = program::bridge().args([server.url().as_str()]).start();
    app.initialize().await;
    app.still_served().await;
    app.close_stdin();
    assert_eq!(app.finish().await.stderr, "");
}

#[tokio::test]
async fn a_header_and_a_token_come_from_the_environment_by_name() {
    let server = FaultServer::start();
    let mut app = program::bridge_for(&server)
        .args(["--bearer-env", "TOKEN", "--header-env", "X-Tenant=TENANT"])
        .env("TOKEN", "s3cret")
        .env("TENANT", "acme: and more")
        .start();
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
    for request in server.requests() {
        assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
        assert_eq!(request.header("x-tenant"), Some("acme: and more"));
    }
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_named_with_the_flag_that_needs_it() {
    for (flag, value) in [("--bearer-env", "NOT_SET"), ("--header-env", "X-A=NOT_SET")] {
        let stderr = refused(&["http://localhost:1/mcp", flag, value]).await;
        assert!(
            stderr.contains("NOT_SET") && stderr.contains("hint: "),
            "{stderr}"
        );
    }
    let header = ["--header", "X-A: ${env:TOKEN}"];
    let stderr = refused(&[&["http://localhost:1/mcp"], &header[..]].concat()).await;
    assert!(stderr.contains("hint: write ${NAME}"), "{stderr}");
}

#[tokio::test]
async fn of_a_flag_that_comes_twice_the_last_one_counts() {
    let server = FaultServer::start();
    server.once(rpc("tools/call"), |_| Reply::no_answer_ever());
    let mut app = program::bridge_for(&server)
        .args(["--request-timeout", "0", "--request-timeout", "0.2"])
        .start();
    app.initialize().await;
    app.call(1, "echo", "").await;
    app.own_error(1, "timeout").await;
    app.finish().await;
}

/// Both have the meaning that they have in npm mcp-remote, and are off unless somebody asks for them.
#[tokio::test]
async fn a_response_may_be_given_a_time_to_begin_and_to_be_silent() {
    for flag in ["--headers-timeout", "--body-timeout"] {
        let server = FaultServer::start();
        server.once(rpc("tools/call"), move |_| match flag {
            "--headers-timeout" => Reply::no_answer_ever(),
            _ => Reply::sse()
                .data(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#)
                .stall(),
        });
        let mut app = program::bridge_for(&server).args([flag, "0.5"]).start();
        app.initialize().await;
        app.call(1, "echo", "").await;
        let error = app.error(1).await;
        assert_eq!(error["data"]["outcomeUnknown"], true, "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains(flag)),
            "{error}"
        );
        app.still_served().await;
        app.finish().await;
    }
}
