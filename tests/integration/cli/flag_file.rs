//! `--config PATH`: flags in a file.

use std::fs;
use std::path::Path;

use clap::{CommandFactory as _, Parser};
use mcp_bridge::cli::{BridgeSettings, Flags};
use mcp_bridge::commands::CommandLine;
use mcp_bridge_core::endpoint::Protocol;
use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

use crate::program;
use mcp_bridge_testkit::{HEADER_MARKER, fault_server::FaultServer, reply::Reply, request::rpc};

struct File(TempDir);

impl File {
    fn new(text: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("bridge.toml"), text).expect("the directory is ours");
        Self(directory)
    }

    fn path(&self) -> String {
        let path = self.0.path().join("bridge.toml");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    fn beside(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("the directory is ours");
    }

    fn settings(&self, args: &[&str]) -> BridgeSettings {
        settings(["--config", &self.path()].iter().chain(args))
    }
}

/// The flags of the bridge alone.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Bridge {
    #[command(flatten)]
    flags: Flags,
}

fn settings<'a>(args: impl IntoIterator<Item = &'a &'a str>) -> BridgeSettings {
    let args = std::iter::once(&"mcp-bridge").chain(args);
    let args = mcp_bridge::cli::file::with_file(args.map(Into::into).collect(), Bridge::command);
    let bridge = Bridge::try_parse_from(args.expect("a file")).expect("arguments");
    bridge.flags.settings().expect("settings")
}

async fn refused(file: &File, args: &[&str]) -> String {
    let path = file.path();
    let launch = program::bridge()
        .args(["--config", &path])
        .args(args.iter().copied());
    launch.start().refuses_to_start().await
}

#[tokio::test]
async fn everything_may_stand_in_a_file() {
    let server = FaultServer::start();
    server.once(rpc("tools/call"), |_| Reply::no_answer_ever());
    let file = File::new(&format!(
        "url = {:?}\nrequest-timeout = 0.2\nsilent = true\nfail-fast = false\n\
         header-file = 'headers.txt'\n\
         [headers]\nX-Api-Key = \"${{API_KEY}}\"\nX-A = 'one: two'\n\
         [header-env]\nX-B = 'TENANT'\n",
        server.url(),
    ));
    file.beside("headers.txt", "X-C: three\nX-A: less than a flag\n");
    let mut app = program::bridge()
        .args(["--config", &file.path()])
        .env("API_KEY", HEADER_MARKER)
        .env("TENANT", "acme")
        .start();
    app.initialize().await;
    app.call(1, "echo", "").await;
    app.own_error(1, "timeout").await;
    let stderr = app.finish().await.stderr;
    assert_eq!(stderr, "");
    for request in server.requests() {
        let headers = ["x-a", "x-b", "x-c", "x-api-key"].map(|name| request.header(name));
        let expected = ["one: two", "acme", "three", HEADER_MARKER];
        assert_eq!(headers, expected.map(Some));
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let file = File::new(
        "url = 'https://x.example/'\nlog-file = 'bridge.log'\n\
         static-oauth-client-info = '@client.json'\nclient-secret-file = 'secret'\n",
    );
    file.beside("client.json", r#"{"client_id": "by-hand"}"#);
    file.beside("secret", "s3cret");
    let settings = file.settings(&[]);
    assert_eq!(
        settings.log.file.as_deref(),
        Some(file.0.path().join("bridge.log").as_path())
    );
    let client = settings
        .bridge
        .auth
        .expect("a sign-in")
        .client
        .expect("a client");
    assert_eq!(client.id, "by-hand");
    // Those of the command line are relative to where the program was started.
    let settings = file.settings(&["--log-file", "other.log"]);
    assert_eq!(settings.log.file.as_deref(), Some(Path::new("other.log")));
}

#[test]
fn the_command_line_counts_more_than_the_file() {
    let file = File::new(
        "url = 'https://file.example/mcp'\ncallback-port = 1111\nprotocol = 'modern'\n\
         log-level = 'info'\nclient-id = 'file'\nresource = 'api://file'\ndevice-code = true\n\
         auth-timeout = 7\n[headers]\nX-A = 'file'\nX-B = 'file'\n",
    );
    let from_file = file.settings(&[]);
    assert_eq!(
        from_file.bridge.endpoint.url.as_str(),
        "https://file.example/mcp"
    );
    assert_eq!(from_file.bridge.endpoint.protocol, Protocol::Modern);
    assert_eq!(from_file.log.level, LevelFilter::INFO);
    let auth = from_file.bridge.auth.expect("a sign-in");
    assert_eq!(auth.callback.port, Some(1111));
    assert_eq!(auth.timeout.as_secs(), 7);
    assert_eq!(auth.grant.to_string(), "device_code");

    let info = r#"{"client_id": "line"}"#;
    let from_line = file.settings(&[
        "https://line.example/mcp",
        "2222",
        "--protocol=legacy",
        "--debug",
        "--static-oauth-client-info",
        info,
        "--disable-resource-parameter",
        "--client-credentials",
        "--header",
        "X-A: line",
    ]);
    assert_eq!(
        from_line.bridge.endpoint.url.as_str(),
        "https://line.example/mcp"
    );
    assert_eq!(from_line.bridge.endpoint.protocol, Protocol::Legacy);
    assert_eq!(from_line.log.level, LevelFilter::DEBUG);
    let headers = &from_line.bridge.endpoint.headers;
    assert_eq!(
        (&headers["x-a"], &headers["x-b"]),
        (&"line".parse().unwrap(), &"file".parse().unwrap())
    );
    let auth = from_line.bridge.auth.expect("a sign-in");
    assert_eq!(auth.callback.port, Some(2222));
    assert_eq!(auth.client.expect("a client").id, "line");
    assert_eq!(auth.grant.to_string(), "client_credentials");
    assert_eq!(auth.resource, mcp_bridge_auth::ResourceParameter::Omitted);
}

#[test]
fn a_token_of_the_command_line_counts_more_than_one_of_the_file() {
    let file = File::new("url = 'https://x.example/'\nauth-command = 'from file'\n");
    let settings = file.settings(&["--header", "Authorization: Bearer line"]);
    assert!(settings.bridge.auth.is_none());
    assert_eq!(
        settings.bridge.endpoint.headers["authorization"],
        "Bearer line"
    );
    let settings = file.settings(&["--bearer-env", "PATH"]);
    assert!(settings.bridge.auth.is_none());

    let file = File::new("url = 'https://x.example/'\n[headers]\nAuthorization = 'Bearer file'\n");
    let settings = file.settings(&["--auth-command", "from line"]);
    assert!(
        settings
            .bridge
            .auth
            .is_some_and(|auth| auth.command.is_some())
    );
    assert!(
        !settings
            .bridge
            .endpoint
            .headers
            .contains_key("authorization")
    );
}

#[test]
fn a_port_in_the_file_goes_with_a_url_on_the_command_line_and_the_other_way_round() {
    let port = |settings: BridgeSettings| settings.bridge.auth.expect("a sign-in").callback.port;
    let file = File::new("callback-port = 1111\n");
    assert_eq!(port(file.settings(&["https://x.example/"])), Some(1111));
    let file = File::new("url = 'https://x.example/'\n");
    assert_eq!(
        port(file.settings(&["https://x.example/", "2222"])),
        Some(2222)
    );
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_line() {
    for (text, line, words) in [
        (
            "url = 'http://localhost:1/'\nallow_http = true\n",
            2,
            "`allow-http`",
        ),
        ("\n\nno-browsr = true", 3, "`no-browser`"),
        ("no-browser = 1", 1, "true or false"),
        ("profile = true", 1, "a string or a number"),
        ("profile = ['a', 'b']", 1, "a string or a number"),
        ("ca-cert = [1, [2]]", 1, "an array of strings"),
        ("headers = 'X: y'", 1, "a table of strings"),
        ("[headers]\nX-A = 'fine'\nX-B = true", 3, "`X-B` has to be"),
        (
            "url = 'x'\nconnect-timeout = 'soon'",
            2,
            "--connect-timeout",
        ),
        ("protocol = 'newest'", 1, "prefer-modern"),
        ("config = 'another.toml'", 1, "there is no flag `config`"),
        ("help = true", 1, "there is no flag `help`"),
        ("url = 'x'\nurl = 'y'", 2, ""),
        ("url = ", 1, ""),
    ] {
        let file = File::new(text);
        let stderr = refused(&file, &["http://localhost:1/mcp"]).await;
        assert!(
            stderr.contains(&format!("bridge.toml:{line}: ")),
            "{text}: {stderr}"
        );
        assert!(stderr.contains(words), "{text}: {stderr}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let launch = program::bridge().args(["--config", "/no/such/file.toml", "http://localhost:1/"]);
    let stderr = launch.start().refuses_to_start().await;
    assert!(
        stderr.contains("cannot read /no/such/file.toml"),
        "{stderr}"
    );
}

/// Flags that only the bridge itself understands are left out.
#[test]
fn a_command_takes_its_url_and_its_flags_from_the_same_file() {
    let file = File::new(
        "url = 'https://x.example/'\ncallback-port = 1\nfail-fast = true\nclient-id = 'c'\n",
    );
    let path = file.path();
    let args = ["mcp-bridge", "tools", "--config", &path].map(Into::into);
    CommandLine::read(args).expect("a command");
    let args = ["mcp-bridge", "tools", "--fail-fast"].map(Into::into);
    CommandLine::read(args).expect_err("no flag of this command");
}

/// The mistake is on the command line, and the file does not hide it.
#[tokio::test]
async fn mistakes_on_the_command_line_are_told_beside_a_file_too() {
    let file = File::new("url = 'http://localhost:1/mcp'\n");
    let stderr = refused(&file, &["--no-browsr"]).await;
    assert!(stderr.contains("did you mean --no-browser?"), "{stderr}");
    let stderr = refused(&File::new(""), &[]).await;
    assert!(stderr.contains("<URL>"), "{stderr}");
}

#[test]
fn help_is_shown_beside_a_file_too() {
    let file = File::new("nonsense");
    let path = file.path();
    let args = ["mcp-bridge", "--config", &path, "--help"].map(Into::into);
    let error = CommandLine::read(args).expect_err("a screen");
    assert!(error.to_string().contains("Usage: mcp-bridge"), "{error}");
}
