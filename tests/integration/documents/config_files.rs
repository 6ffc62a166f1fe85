//! The configuration files at the top of the repository.

use clap::Parser as _;
use mcp_bridge::commands::CommandLine;
use serde::Deserialize;

/// The members that apps read of such a file. Anything else in it would be a mistake of ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AppConfig {
    mcp_servers: Servers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Servers {
    example: Entry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    command: String,
    args: Vec<String>,
}

fn check(text: &str) {
    let config: AppConfig = serde_json::from_str(text).expect("the form that apps read");
    let Entry { command, args } = config.mcp_servers.example;
    assert_eq!(command, env!("CARGO_PKG_NAME"));
    assert_eq!(args, ["http://localhost:3001/mcp"]);
    CommandLine::try_parse_from([command].into_iter().chain(args))
        .expect("arguments of the bridge");
}

#[test]
fn the_configuration_for_cursor_starts_the_bridge_for_the_example_server() {
    check(include_str!("../../../cursor-config.json"));
}

#[test]
fn the_configuration_for_claude_desktop_starts_the_bridge_for_the_example_server() {
    check(include_str!("../../../claude-config.json"));
}
