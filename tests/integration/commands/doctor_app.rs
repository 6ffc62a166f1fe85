//! `mcp-bridge doctor --app`: the entries of an app, checked as the app would start them.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::home::Home;
use mcp_bridge_testkit::mcp::Binding;
use mcp_bridge_testkit::program::{CommandOutput, Program};

const CURSOR: &str = ".cursor/mcp.json";

fn doctor(home: &Home, args: &[&str]) -> Program {
    let line = [&["doctor", "--app"], args].concat();
    // The home itself is not for temporary files.
    let command = home.command("", &line).env("TMPDIR", home.path("tmp"));
    command.env("PATH", home.path("bin"))
}

async fn report(home: &Home, args: &[&str]) -> CommandOutput {
    home.finish_async(doctor(home, args)).await
}

fn write(home: &Home, servers: &Value) {
    home.write(CURSOR, json!({"mcpServers": servers}).to_string());
}

/// An entry with this program of the home and these arguments.
fn entry(home: &Home, program: &str, args: &[&str]) -> Value {
    let program = home.install(program);
    json!({"command": program, "args": args})
}

/// The line of a check, and its advice.
#[track_caller]
fn says(ran: &CommandOutput, outcome: &str, name: &str, found: &str, fix: &str) {
    let lines: Vec<_> = ran.stdout.lines().collect();
    let start = format!("  {outcome:4} {name:18} ");
    let line = lines.iter().position(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("no {outcome} {name}: {}{}", ran.stdout, ran.stderr));
    assert!(lines[line].contains(found), "{}", lines[line]);
    let next = lines.get(line + 1).copied().unwrap_or_default();
    assert!(next.contains(fix), "{next}");
}

fn url(server: &FaultServer) -> String {
    let url = server.url();
    url.split('?').next().expect("a URL").to_owned()
}

#[tokio::test]
async fn an_entry_that_works_is_started_and_its_tools_are_counted() {
    let server = FaultServer::start_as(Binding::Streamable);
    let url = url(&server);
    let home = Home::new(program::path());
    let entry = entry(&home, "opt/mcp-bridge", &[&url, "--header", "X-Key:${KEY}"]);
    let mut entry = entry;
    entry["env"] = json!({"KEY": "secret-MARKER"});
    write(
        &home,
        &json!({"example": entry, "other": {"command": "files"}}),
    );
    let ran = report(&home, &["cursor"]).await;
    let port = url
        .rsplit(':')
        .next()
        .and_then(|rest| rest.split('/').next());
    let version = env!("CARGO_PKG_VERSION");
    let text = ran.stdout.replace(port.expect("a port"), "PORT");
    let text = text.replace(&format!("mcp-bridge {version}"), "mcp-bridge VERSION");
    let tools = text
        .lines()
        .find(|line| line.contains("list_tools"))
        .expect("a line");
    let text = text.replace(tools, "  ok   list_tools         N tools");
    let expected = "\
mcp-bridge VERSION: Cursor: \"example\" in ~/.cursor/mcp.json

Entry
  ok   file               can be read
  ok   enabled            the app may start it
  ok   program            ~/opt/mcp-bridge
  ok   quoting            each argument arrives as it is
  ok   arguments          the bridge understands them
  ok   variables          set: KEY
  ok   duplicates         no other entry for this URL

As the app starts it
  ok   start              started
  ok   initialize         fault-server, MCP 2025-11-25
  ok   ping               answered
  ok   list_tools         N tools

No problems found.
";
    assert_eq!(text, expected);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));

    let ran = report(&home, &["cursor", "example", "--json"]).await;
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(document["app"], "Cursor");
    assert_eq!(document["entry"], "example");
    assert_eq!(document["outcome"], "passed");
    assert_eq!(document["checks"].as_array().map(Vec::len), Some(11));
}

/// Apps that are started from the desktop do not have the PATH of a terminal.
#[tokio::test]
async fn a_name_that_only_the_terminal_finds_is_told() {
    let server = FaultServer::start_as(Binding::Streamable);
    let url = url(&server);
    let home = Home::new(program::path());
    home.install("bin/mcp-bridge");
    write(
        &home,
        &json!({"example": {"command": "mcp-bridge", "args": [url]}}),
    );
    let ran = report(&home, &["cursor"]).await;
    says(
        &ran,
        "warn",
        "program",
        "found only by the PATH of this terminal (~/bin/mcp-bridge); that of an app that is started from the desktop is \
         /usr/local/bin:/usr/bin:/bin",
        "write the whole path ~/bin/mcp-bridge",
    );
    says(&ran, "ok", "list_tools", "", "");
    assert_eq!(ran.status, 0, "{}", ran.stdout);

    // Where the session tells its environment, that counts.
    home.write_program(
        "bin/systemctl",
        &format!("#!/bin/sh\necho PATH={}\n", home.path("bin").display()),
    );
    let ran = report(&home, &["cursor"]).await;
    says(&ran, "ok", "program", "~/bin/mcp-bridge", "");

    // An app in a terminal has the terminal's.
    std::fs::remove_file(home.path("bin/systemctl")).expect("ours");
    let file = json!({"mcpServers": {"example": {"command": "mcp-bridge", "args": [url]}}});
    home.write(".qwen/settings.json", file.to_string());
    let ran = report(&home, &["qwen"]).await;
    says(&ran, "ok", "program", "~/bin/mcp-bridge", "");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_told_and_not_started() {
    let home = Home::new(program::path());
    home.write("plain/mcp-bridge", "no program");
    home.write_program("scripts/npx", "#!/usr/bin/env no-such-interpreter\n");
    let path = |name: &str| home.path(name).to_str().expect("UTF-8").to_owned();
    for (command, args, found, fix) in [
        (
            "/gone/mcp-bridge",
            &[][..],
            "/gone/mcp-bridge does not exist",
            "install --repair",
        ),
        (
            "mcp-bridge",
            &[],
            "mcp-bridge is not found",
            "install --repair",
        ),
        (
            &path("plain/mcp-bridge"),
            &[],
            "cannot be executed",
            "chmod +x",
        ),
        (
            &path("scripts/npx"),
            &["-y", "mcp-bridge"],
            "is a script for no-such-interpreter, which is not found",
            "install the program itself",
        ),
    ] {
        let args = [args, &["https://mcp.example.com/mcp"]].concat();
        write(
            &home,
            &json!({"example": {"command": command, "args": args}}),
        );
        let ran = report(&home, &["cursor"]).await;
        says(&ran, "FAIL", "program", found, fix);
        assert!(
            ran.stdout.contains("Not checked: as the app starts it"),
            "{}",
            ran.stdout
        );
        assert_eq!(ran.status, 1);
    }
}

/// On Windows most entries start a batch file by `cmd /c`.
#[tokio::test]
async fn a_program_behind_the_shell_of_windows_is_looked_up_too() {
    let server = FaultServer::start_as(Binding::Streamable);
    let home = Home::new(program::path());
    home.write_program("bin/cmd", "#!/bin/sh\nshift\nexec \"$@\"\n");
    let shell = home.path("bin/cmd");
    let args = ["/c", "npx", "-y", "mcp-bridge", &url(&server)];
    let path = home.path("bin").display().to_string();
    let entry = json!({"command": shell, "args": args, "env": {"PATH": path}});
    write(&home, &json!({"example": entry}));
    let ran = report(&home, &["cursor"]).await;
    says(&ran, "ok", "program", "~/bin/cmd", "");
    let repair = "mcp-bridge install --repair";
    says(&ran, "FAIL", "program", "npx is not found", repair);
    assert_eq!(ran.status, 1, "{}", ran.stdout);

    let start = format!("#!/bin/sh\nshift 2\nexec {} \"$@\"\n", program::path());
    home.write_program("bin/npx", &start);
    let ran = report(&home, &["cursor"]).await;
    says(&ran, "ok", "list_tools", "", "");
    assert_eq!(ran.status, 0, "{}", ran.stdout);
}

#[tokio::test]
async fn a_program_in_a_cache_works_and_is_warned_of() {
    let server = FaultServer::start_as(Binding::Streamable);
    let url = url(&server);
    let home = Home::new(program::path());
    let cache = ".npm/_npx/75/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge";
    write(&home, &json!({"example": entry(&home, cache, &[&url])}));
    let ran = report(&home, &["cursor"]).await;
    says(
        &ran,
        "warn",
        "program",
        "is in a cache of npx, which is cleaned",
        "install --repair",
    );
    says(&ran, "ok", "ping", "answered", "");
    assert_eq!(ran.status, 0);
}

#[tokio::test]
async fn what_the_entry_lacks_is_told() {
    let home = Home::new(program::path());
    let url = "https://mcp.example.com/mcp";
    let bridge = |args: &[&str], env: Value| {
        let mut entry = entry(&home, "opt/mcp-bridge", args);
        entry["env"] = env;
        json!({"example": entry})
    };
    for (servers, name, found, fix) in [
        (
            bridge(&[url, "--verbose"], json!({})),
            "arguments",
            "--verbose",
            "mcp-bridge help all",
        ),
        (
            bridge(&[url, "--bearer-env", "KEY"], json!({})),
            "variables",
            "KEY is not set",
            "put it into the \"env\" of the entry",
        ),
        (
            bridge(&[url, "--bearer-env", "KEY"], json!({"KEY": ""})),
            "variables",
            "KEY is empty",
            "put it into the \"env\" of the entry",
        ),
        (
            bridge(
                &[url, "--bearer-env", "KEY"],
                json!({"KEY": "${env:OTHER}"}),
            ),
            "variables",
            "KEY is to be OTHER, which is not set",
            "put it into the \"env\" of the entry",
        ),
    ] {
        write(&home, &servers);
        let ran = report(&home, &["cursor"]).await;
        says(&ran, "FAIL", name, found, fix);
        assert!(
            ran.stdout.contains("Not checked: as the app starts it"),
            "{}",
            ran.stdout
        );
    }
}

#[tokio::test]
async fn quotation_marks_duplicates_and_a_switch_are_warned_of() {
    let server = FaultServer::start_as(Binding::Streamable);
    let url = url(&server);
    let home = Home::new(program::path());
    let mut one = entry(&home, "opt/mcp-bridge", &[&url, "--profile", "\"work\""]);
    one["disabled"] = json!(true);
    let again = json!({"command": "npx", "args": ["mcp-remote", format!("{url}/")]});
    let remote = json!({"url": url});
    write(
        &home,
        &json!({"one": one, "again": again, "remote": remote}),
    );
    let ran = report(&home, &["cursor", "one"]).await;
    says(&ran, "warn", "enabled", "switched off", "switch it on");
    says(
        &ran,
        "warn",
        "quoting",
        "the value of --profile has quotation marks",
        "leave the inner",
    );
    says(
        &ran,
        "ok",
        "duplicates",
        "\"again\" in ~/.cursor/mcp.json, \"remote\" in",
        "",
    );

    write(
        &home,
        &json!({"one": entry(&home, "opt/mcp-bridge", &[&url]), "again": again}),
    );
    let ran = report(&home, &["cursor"]).await;
    says(
        &ran,
        "warn",
        "duplicates",
        "the same URL is in \"again\"",
        "remove one",
    );
}

/// Stderr of the program would be in a log that few people find.
#[tokio::test]
async fn a_program_that_ends_or_prints_something_else_is_told() {
    let home = Home::new(program::path());
    let url = "https://mcp.example.com/mcp?key=secret-of-mine";
    for (script, found, fix) in [
        (
            "#!/bin/sh\necho 'error: there is no disk\n\nhint: buy one' >&2\nexit 3\n",
            "the program has ended (exit status: 3): there is no disk",
            "buy one",
        ),
        (
            "#!/bin/sh\nexit 4\n",
            "(exit status: 4): it says nothing",
            "in a terminal",
        ),
        (
            "#!/bin/sh\nread line\necho \"Installing $1\"\nread line\n",
            "prints on stdout what is no message: Installing https://mcp.example.com/mcp?key=***",
            "messages alone",
        ),
    ] {
        home.write_program("other/mcp-bridge", script);
        let program = home.path("other/mcp-bridge");
        write(
            &home,
            &json!({"example": {"command": program, "args": [url]}}),
        );
        let ran = report(&home, &["cursor"]).await;
        says(&ran, "FAIL", "initialize", found, fix);
        assert_eq!(ran.status, 1);
    }
}

#[tokio::test]
async fn a_server_that_is_down_and_a_missing_sign_in_are_told_with_the_next_command() {
    let home = Home::new(program::path());
    let provider = mcp_bridge_testkit::authorization_server::AuthorizationServer::start().await;
    let url = provider.mcp_url().to_string();
    let args = [&url, "--list-wait", "1", "--profile", "work"].map(|it: &str| it);
    write(
        &home,
        &json!({"example": entry(&home, "opt/mcp-bridge", &args)}),
    );
    let ran = report(&home, &["cursor"]).await;
    says(
        &ran,
        "warn",
        "list_tools",
        "you are not signed in",
        &format!("mcp-bridge login {url} --profile work"),
    );

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = format!("http://{address}/mcp");
    let args = [&url, "--list-wait", "1"].map(|it: &str| it);
    write(
        &home,
        &json!({"example": entry(&home, "opt/mcp-bridge", &args)}),
    );
    let ran = report(&home, &["cursor"]).await;
    says(
        &ran,
        "warn",
        "list_tools",
        "the list is empty",
        &format!("mcp-bridge doctor {url}"),
    );
}

#[tokio::test]
async fn a_file_an_app_and_a_name_that_are_not_there_are_told() {
    let home = Home::new(program::path());
    home.write(CURSOR, "{ \"mcpServers\": [ }");
    let ran = report(&home, &["cursor"]).await;
    says(
        &ran,
        "FAIL",
        "file",
        "line 1, column",
        "correct that in an editor",
    );
    assert_eq!(ran.status, 1);
    write(&home, &json!({"files": {"command": "files"}}));
    for (args, error) in [
        (
            &["cursor"][..],
            "error: no entry of Cursor starts the bridge\n\nhint: mcp-bridge install --client cursor NAME URL writes one\n",
        ),
        (
            &["cursor", "other"],
            "error: Cursor has no entry \"other\"\n\nhint: mcp-bridge install --list shows the entries that start the bridge\n",
        ),
        (
            &["cursor", "files"],
            "error: the entry \"files\" of Cursor does not start the bridge\n\n\
             hint: mcp-bridge migrate converts entries of mcp-remote\n",
        ),
        (
            &["jetbrains"],
            "error: JetBrains AI Assistant keeps its servers in its settings, where they cannot be read: Settings | \
             Tools | AI Assistant | Model Context Protocol (MCP), Add, As JSON\n",
        ),
    ] {
        report(&home, args).await.is(1, "", error);
    }
}
