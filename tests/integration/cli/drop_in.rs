//! Configurations for npm mcp-remote 0.15.1 serve unchanged but for the command.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::{CommandFactory as _, Parser};
use mcp_bridge::cli::{BridgeSettings, Flags, without_launcher};
use mcp_bridge_auth::{
    self as auth, Bearer, ClientAuthentication, ClientCredential, Grant, ResourceParameter,
};
use mcp_bridge_core::endpoint::{CookiePolicy, Protocol, TransportChoice};
use mcp_bridge_net::http::Family;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

use crate::program;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::mcp_remote::leave_credentials;

const PAGE: &str = include_str!("../../../docs/migrating.md");

/// The configurations and command lines in the README of mcp-remote 0.15.1 (MIT License, Copyright (c)
/// 2025 Cloudflare, Inc.), what follows the word `npx`.
const CONFIGURATIONS: &str = include_str!("drop_in/readme.json");

/// Every flag of mcp-remote 0.15.1, in the order of its source.
const FLAGS: [&str; 31] = [
    "header",
    "header-file",
    "allow-http",
    "debug",
    "silent",
    "connect-timeout",
    "body-timeout",
    "headers-timeout",
    "ipv4",
    "enable-proxy",
    "ping-interval",
    "keep-alive",
    "transport",
    "protocol",
    "host",
    "callback-path",
    "auth-success-url",
    "static-oauth-client-metadata",
    "static-oauth-client-info",
    "client-metadata-url",
    "disable-cookies",
    "device-code",
    "client-credentials",
    "token-endpoint",
    "use-id-token",
    "resource",
    "disable-resource-parameter",
    "authorize-param",
    "ignore-tool",
    "auth-timeout",
    "help",
];

/// The flags of the bridge alone.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Bridge {
    #[command(flatten)]
    flags: Flags,
}

fn settings(args: &[&str]) -> BridgeSettings {
    let args = ["mcp-bridge"].iter().chain(args).map(Into::into);
    let bridge = Bridge::try_parse_from(without_launcher(args.collect(), Bridge::command));
    let bridge = bridge.unwrap_or_else(|error| panic!("{error}"));
    bridge.flags.settings().expect("settings")
}

fn with(flags: &[&str]) -> BridgeSettings {
    let url = ["https://remote.mcp.server/mcp"];
    settings(&[&url, flags].concat())
}

fn sign_in(flags: &[&str]) -> auth::Config {
    with(flags).bridge.auth.expect("a sign-in")
}

#[test]
fn every_flag_of_mcp_remote_is_one_of_ours() {
    let bridge = Bridge::command();
    let known: Vec<_> = bridge
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .collect();
    for flag in FLAGS {
        assert!(known.contains(&flag) || flag == "help", "{flag}");
    }
}

#[test]
fn the_port_is_the_word_after_the_url_however_it_looks() {
    let port = |args: &[&str]| settings(args).bridge.auth.expect("a sign-in").callback.port;
    let url = "https://remote.mcp.server/sse";
    assert_eq!(port(&[url, "9696"]), Some(9696));
    assert_eq!(port(&[url, "9696abc"]), Some(9696));
    assert_eq!(port(&[url, "0"]), None);
    assert_eq!(port(&[url]), None);
    assert_eq!(
        port(&["-y", "mcp-remote@latest", url, "1", "--debug"]),
        Some(1)
    );
    assert_eq!(port(&["mcp-remote", "--header", "X: y", url, "1"]), Some(1));
}

/// On Windows the usual entry is `cmd /c npx -y mcp-remote URL`.
#[tokio::test]
async fn the_words_of_any_launcher_may_stay_before_the_url() {
    for launcher in [
        &["/c", "npx", "-y", "mcp-remote"][..],
        &["npx", "-y", "@scope/mcp-remote@latest"],
        &["/opt/lib/node_modules/mcp-remote/dist/proxy.js"],
    ] {
        let server = FaultServer::start();
        let launch = program::bridge().args(launcher.iter().copied());
        let mut app = launch.args([server.url().as_str()]).start();
        app.initialize().await;
        app.still_served().await;
        app.finish().await;
    }
}

#[test]
fn headers_are_sent_and_count_for_the_store_as_they_were_written() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("headers");
    fs::write(&file, "# mine\nX-File: ${PATH}\n").expect("the directory is ours");
    let file = file.to_str().expect("a path in UTF-8");
    let settings = with(&["--header", "X-Flag:  v", "--header-file", file]);
    let headers = &settings.bridge.endpoint.headers;
    assert_eq!(headers["x-flag"], "v");
    assert_ne!(headers["x-file"], "${PATH}");
    let auth = settings.bridge.auth.expect("a sign-in");
    let mut as_given = auth.headers_as_given.expose().clone();
    as_given.sort();
    let expected = [("X-File", "${PATH}"), ("X-Flag", "v")];
    assert_eq!(
        as_given,
        expected.map(|(name, value)| (name.into(), value.into()))
    );
    // With a way in of one's own there is no sign-in.
    assert!(
        with(&["--header", "Authorization:Bearer x"])
            .bridge
            .auth
            .is_none()
    );
}

#[test]
fn flags_about_the_server_have_their_meaning() {
    let endpoint = |flags: &[&str]| with(flags).bridge.endpoint;
    for (name, transport) in [
        ("http-first", TransportChoice::HttpFirst),
        ("sse-first", TransportChoice::SseFirst),
        ("http-only", TransportChoice::HttpOnly),
        ("sse-only", TransportChoice::SseOnly),
    ] {
        assert_eq!(endpoint(&["--transport", name]).transport, transport);
    }
    assert_eq!(endpoint(&[]).transport, TransportChoice::HttpFirst);
    assert_eq!(
        endpoint(&["--protocol", "legacy"]).protocol,
        Protocol::Legacy
    );
    assert_eq!(endpoint(&["--protocol", "auto"]).protocol, Protocol::Auto);
    assert_eq!(
        endpoint(&["--disable-cookies"]).cookies,
        CookiePolicy::Ignore
    );
    assert_eq!(endpoint(&[]).cookies, CookiePolicy::Keep);
    let plain = settings(&["http://internal.vpc/sse", "--allow-http"]);
    assert_eq!(
        plain.bridge.endpoint.url.as_str(),
        "http://internal.vpc/sse"
    );
}

#[test]
fn flags_about_the_network_have_their_meaning() {
    let endpoint = |flags: &[&str]| with(flags).bridge.endpoint;
    let seconds = |limit: Option<std::time::Duration>| limit.map(|limit| limit.as_secs_f64());
    assert_eq!(
        endpoint(&["--ipv4", "--enable-proxy"]).http.family,
        Family::Ipv4
    );
    let connect = endpoint(&["--connect-timeout", "2.5"]).http.connect_timeout;
    assert_eq!(seconds(Some(connect)), Some(2.5));
    assert_eq!(
        seconds(endpoint(&["--headers-timeout", "60"]).headers_timeout),
        Some(60.0)
    );
    assert_eq!(
        seconds(endpoint(&["--body-timeout", "0.5"]).body_timeout),
        Some(0.5)
    );
    assert_eq!(endpoint(&["--headers-timeout", "0"]).headers_timeout, None);
    assert_eq!(endpoint(&["--body-timeout", "0"]).body_timeout, None);
}

#[test]
fn flags_about_quiet_sessions_have_their_meaning() {
    let interval = |flags: &[&str]| with(flags).bridge.endpoint.keep_alive;
    let seconds = std::time::Duration::from_secs;
    assert_eq!(interval(&[]), None);
    assert_eq!(interval(&["--keep-alive"]), Some(seconds(30)));
    assert_eq!(interval(&["--ping-interval", "60"]), Some(seconds(60)));
    assert_eq!(
        interval(&["--keep-alive", "--ping-interval", "5"]),
        Some(seconds(5))
    );
}

#[test]
fn flags_about_the_callback_have_their_meaning() {
    let callback = |flags: &[&str]| sign_in(flags).callback;
    assert_eq!(callback(&["--host", "127.0.0.1"]).host, "127.0.0.1");
    assert_eq!(callback(&["--callback-path", "/cb"]).path, "/cb");
    let default = callback(&[]);
    assert_eq!(
        (default.host.as_str(), default.path.as_str()),
        ("localhost", "/oauth/callback")
    );
    let page = callback(&["--auth-success-url", "https://app.example.com/done"]).success_url;
    assert_eq!(
        page.expect("a page").as_str(),
        "https://app.example.com/done"
    );
    callback(&["--auth-success-url", "http://localhost:5000/done"]);
    callback(&["--auth-success-url", "http://app.vpc/done", "--allow-http"]);
}

#[tokio::test]
async fn a_success_url_that_is_plain_http_elsewhere_is_refused() {
    let args = [
        "https://x.example/",
        "--auth-success-url",
        "http://app.vpc/done",
    ];
    let stderr = program::bridge()
        .args(args)
        .start()
        .refuses_to_start()
        .await;
    assert!(stderr.contains("--auth-success-url"), "{stderr}");
}

#[test]
fn flags_about_the_client_have_their_meaning() {
    let info = r#"{"client_id":"c","client_secret":"${PATH}","token_endpoint_auth_method":"client_secret_basic"}"#;
    let client = sign_in(&["--static-oauth-client-info", info])
        .client
        .expect("a client");
    assert_eq!(
        (client.id.as_str(), client.method),
        ("c", Some(ClientAuthentication::ClientSecretBasic))
    );
    let ClientCredential::Secret(secret) = client.credential else {
        panic!("no secret");
    };
    assert_eq!(Some(secret.expose()), std::env::var("PATH").ok().as_ref());
    let metadata = r#"{"scope":"a b","client_name":"mine"}"#;
    let config = sign_in(&["--static-oauth-client-metadata", metadata]);
    assert_eq!(config.client_metadata["scope"], "a b");
    let url = "https://client.example.com/oauth-client";
    let config = sign_in(&["--client-metadata-url", url]);
    assert_eq!(config.client_metadata_url.expect("a URL").as_str(), url);
}

#[test]
fn flags_about_the_sign_in_have_their_meaning() {
    assert!(matches!(
        sign_in(&["--device-code"]).grant,
        Grant::DeviceCode
    ));
    let config = sign_in(&[
        "--client-credentials",
        "--static-oauth-client-info",
        r#"{"client_id":"c","client_secret":"s"}"#,
        "--token-endpoint",
        "https://auth.example.com/token",
    ]);
    let Grant::ClientCredentials { token_endpoint } = config.grant else {
        panic!("another grant");
    };
    assert_eq!(token_endpoint.expect("a URL").path(), "/token");
    assert_eq!(sign_in(&["--use-id-token"]).bearer, Bearer::IdToken);
    assert_eq!(sign_in(&["--auth-timeout", "60"]).timeout.as_secs(), 60);
    let params =
        sign_in(&["--authorize-param", "a=b=c", "--authorize-param", "p=q"]).authorize_params;
    assert_eq!(
        params,
        [("a", "b=c"), ("p", "q")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let resource = |flags: &[&str]| sign_in(flags).resource;
    assert_eq!(resource(&[]), ResourceParameter::Automatic);
    let fixed = "https://tenant1.example/";
    assert_eq!(
        resource(&["--resource", fixed]),
        ResourceParameter::Fixed(fixed.into())
    );
    assert_eq!(resource(&["--resource", ""]), ResourceParameter::Omitted);
    let disabled = ["--disable-resource-parameter", "--resource", fixed];
    assert_eq!(resource(&disabled), ResourceParameter::Omitted);
}

#[test]
fn flags_about_messages_have_their_meaning() {
    let level = |flags: &[&str]| with(flags).log.level;
    assert_eq!(level(&["--debug"]), LevelFilter::DEBUG);
    assert_eq!(level(&["--silent"]), LevelFilter::OFF);
    assert_eq!(level(&["--silent", "--debug"]), LevelFilter::DEBUG);
    assert_eq!(level(&["--debug", "--silent"]), LevelFilter::DEBUG);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    args: Vec<String>,
    env: BTreeMap<String, String>,
}

/// Started as an app starts it: the word `npx` is replaced, and nothing else but the files that are named and
/// that everybody has at another place.
#[tokio::test]
async fn the_configurations_in_the_readme_of_mcp_remote_start_the_bridge() {
    let files = TempDir::new().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).expect("the directory is ours");
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    let headers = file(
        "headers.txt",
        "# credentials\nAuthorization: Bearer my-token\n",
    );
    let metadata = file("metadata.json", r#"{"scope": "a"}"#);
    let info = file("info.json", r#"{"client_id": "c"}"#);
    let support = "/Users/username/Library/Application Support/Claude";
    let moved = [
        ("/path/to/headers.txt".to_owned(), headers),
        (
            format!("@{support}/oauth_client_metadata.json"),
            format!("@{metadata}"),
        ),
        (
            format!("@{support}/oauth_client_info.json"),
            format!("@{info}"),
        ),
    ];
    let configurations: Vec<Configuration> =
        serde_json::from_str(CONFIGURATIONS).expect("configurations");
    assert!(configurations.len() >= 35);
    for Configuration { args, env } in configurations {
        let here = |arg: &String| {
            let moved = moved.iter().find(|(there, _)| there == arg);
            moved.map_or(arg, |(_, here)| here).clone()
        };
        let args: Vec<_> = args.iter().map(here).collect();
        let mut launch = program::bridge()
            .args(args.iter().map(String::as_str))
            .env("MCP_CLIENT_SECRET", "s3cret");
        for (name, value) in &env {
            launch = launch.env(name, value);
        }
        let mut app = launch.start();
        app.close_stdin();
        let stderr = app.finish().await.stderr;
        assert!(!stderr.contains("error: "), "{args:?}: {stderr}");
    }
}

/// Files as mcp-remote 0.15.1 leaves them, seen after a sign-in of its own.
fn leave_as_mcp_remote(home: &Path, key: &str, provider: &AuthorizationServer, ours: &Value) {
    let tokens = json!({
        "access_token": ours["tokens"]["access_token"],
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "profile",
        "refresh_token": ours["tokens"]["refresh_token"],
        "issuer": provider.origin(),
        "expires_at": 4_102_444_800_000_u64,
        "requested_scope": "profile",
    });
    let client = json!({
        "redirect_uris": [ours["client"]["redirect_uri"]],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": "native",
        "client_name": "MCP CLI Proxy",
        "scope": "profile",
        "client_id": ours["client"]["client_id"],
        "client_id_issued_at": 1_795_622_356,
        "issuer": provider.origin(),
    });
    leave_credentials(&home.join(".mcp-auth"), key, &tokens, &client);
}

/// B20: the account is found by the URL and the headers as they were written.
#[tokio::test]
async fn who_was_signed_in_with_mcp_remote_is_signed_in() {
    let provider = AuthorizationServer::start().await;
    let first = TempDir::new().expect("a directory");
    program::sign_in(&provider, &first.path().join("store")).await;
    let mut files = fs::read_dir(first.path().join("store")).expect("the directory is ours");
    let stored = files.find_map(|file| {
        let text = fs::read(file.ok()?.path()).ok()?;
        serde_json::from_slice::<Value>(&text).ok()?.get("tokens")?;
        serde_json::from_slice::<Value>(&text).ok()
    });
    let home = TempDir::new().expect("a directory");
    let key = format!("{}|{}", provider.mcp_url(), r#"{"X-Home":"${HOME}"}"#);
    leave_as_mcp_remote(home.path(), &key, &provider, &stored.expect("a credential"));

    let browser = BrowserDouble::noting(home.path());
    let flags = ["--header", "X-Home: ${HOME}", "--transport", "http-only"];
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &flags);
    app.initialize().await;
    app.finish().await;
    assert!(!browser.was_started().await);
    assert_eq!(provider.seen("/authorize").len(), 1);
    assert_eq!(provider.seen("/register").len(), 1);
}

/// The differences stand there, with what to do.
#[test]
fn the_documentation_names_what_is_different() {
    let (_, table) = PAGE.split_once("## Differences").expect("a part");
    for name in [
        "mcp-remote-client",
        "--auth-timeout",
        "--protocol",
        "--clean",
    ] {
        assert!(table.contains(name), "{name}");
    }
}
