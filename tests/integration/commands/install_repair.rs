//! `mcp-bridge install --repair`: entries whose program has moved or vanished start this program again.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::home::Home;
use mcp_bridge_testkit::program::CommandOutput;

const URL: &str = "https://mcp.example.com/mcp";
const CURSOR: &str = ".cursor/mcp.json";
const CODEX: &str = ".codex/config.toml";

fn repair(home: &Home, args: &[&str]) -> CommandOutput {
    let line = [&["install", "--repair"], args].concat();
    home.finish(home.command("", &line).env("PATH", home.path("bin")))
}

fn write(home: &Home, servers: &Value) {
    home.write(CURSOR, json!({"mcpServers": servers}).to_string());
}

#[test]
fn an_entry_whose_program_has_vanished_starts_this_one() {
    let home = Home::new(program::path());
    let before = r#"{
  // mine
  "mcpServers": {
    "example": {
      "command": "/gone/mcp-bridge",
      "args": ["https://mcp.example.com/mcp", "--bearer-env", "KEY"],
      "env": { "KEY": "secret-of-mine" }
    },
    "files": { "command": "/gone/files", "args": [] }
  }
}
"#;
    home.write(CURSOR, before);
    home.write(
        CODEX,
        "[mcp_servers.example]\ncommand = \"/gone/mcp-bridge\"\nargs = [\"https://mcp.example.com/mcp\"]\n",
    );
    let shown = r#"~/.codex/config.toml (Codex)

  [mcp_servers.example]
- command = "/gone/mcp-bridge"
+ command = "BRIDGE"
  args = ["https://mcp.example.com/mcp"]

  example  /gone/mcp-bridge does not exist

~/.cursor/mcp.json (Cursor)

    // mine
    "mcpServers": {
      "example": {
-       "command": "/gone/mcp-bridge",
+       "command": "BRIDGE",
        "args": ["https://mcp.example.com/mcp", "--bearer-env", "KEY"],
        "env": { "KEY": "***" }
      },

  example  /gone/mcp-bridge does not exist

To be repaired: 2 entries in 2 files.
"#;
    repair(&home, &["--dry-run"]).is(0, shown, "");
    repair(&home, &[]).is(
        1,
        shown,
        "error: nothing was written: there is no terminal to ask on\n\nhint: --yes writes without asking\n",
    );
    assert_eq!(home.read(CURSOR), before);
    let written = "\n~/.codex/config.toml: written; the file as it was: ~/.codex/config.toml.backup-1\n\
                   ~/.cursor/mcp.json: written; the file as it was: ~/.cursor/mcp.json.backup-1\n\n\
                   Restart where it is running: Codex, Cursor.\n";
    repair(&home, &["--yes"]).is(0, &format!("{shown}{written}"), "");
    assert_eq!(
        home.read(CURSOR),
        before.replace("/gone/mcp-bridge", "BRIDGE")
    );
    repair(&home, &["--yes"]).is(
        0,
        "Nothing to repair: 2 entries of the bridge looked at.\n",
        "",
    );
}

#[test]
fn each_reason_for_a_repair_is_named() {
    let home = Home::new(program::path());
    home.write("plain/mcp-bridge", "no program");
    let plain = home.path("plain/mcp-bridge");
    let plain = plain.to_str().expect("UTF-8");
    let cached = home.install(".npm/_npx/75/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge");
    let cached = cached.to_str().expect("UTF-8");
    let cellar = home.install("brew/Cellar/mcp-bridge/0.1.0/bin/mcp-bridge");
    home.write("brew/bin/x", "");
    std::os::unix::fs::symlink(&cellar, home.path("brew/bin/mcp-bridge")).expect("ours");
    let cellar = cellar.to_str().expect("UTF-8");
    for (program, arguments, reason) in [
        (plain, &[][..], "cannot be executed"),
        (cached, &[], "is in a cache of npx, which is cleaned"),
        (
            cellar,
            &[],
            "goes with the next update; ~/brew/bin/mcp-bridge stays",
        ),
        ("mcp-bridge", &[], "is not found in PATH"),
        ("npx", &["-y", "mcp-bridge@0.1.0"], "is not found in PATH"),
        (
            "uvx",
            &["--from", "mcp-bridge-cli", "mcp-bridge"],
            "is not found in PATH",
        ),
    ] {
        let args = [arguments, &[URL, "--profile", "work"]].concat();
        write(
            &home,
            &json!({"example": {"command": program, "args": args}}),
        );
        let command = home.command("", &["install", "--repair", "--yes", "--client", "cursor"]);
        let ran = home.finish(
            command
                .env("PATH", home.path("bin"))
                .env("TMPDIR", home.path("tmp")),
        );
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains(reason), "{}", ran.stdout);
        let entry: Value = serde_json::from_str(&home.read(CURSOR)).expect("JSON");
        let expected = json!({"command": "BRIDGE", "args": [URL, "--profile", "work"]});
        assert_eq!(entry["mcpServers"]["example"], expected, "{program}");
    }
}

#[test]
fn an_entry_that_works_stays_and_a_slower_one_is_named() {
    let home = Home::new(program::path());
    home.install("bin/mcp-bridge");
    home.install("bin/npx");
    let entries = json!({
        "bare": {"command": "mcp-bridge", "args": [URL]},
        "npx": {"command": "npx", "args": ["mcp-bridge", URL]},
        "filled-in": {"command": "${workspaceFolder}/mcp-bridge", "args": [URL]},
        "other": {"command": "npx", "args": ["mcp-remote", URL]},
    });
    write(&home, &entries);
    repair(&home, &["--yes"]).is(
        0,
        "Nothing to repair: 3 entries of the bridge looked at.\n\n\
         Started by a package launcher, which takes longer than the installed program: npx. mcp-bridge install with \
         the same name and URL changes that.\n",
        "",
    );
}

#[test]
fn a_name_and_an_app_limit_the_repair() {
    let home = Home::new(program::path());
    let gone = |name: &str| json!({"command": format!("/gone/{name}/mcp-bridge"), "args": [URL]});
    write(&home, &json!({"one": gone("one"), "two": gone("two")}));
    let ran = repair(&home, &["--yes", "two"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let text = home.read(CURSOR);
    assert!(
        text.contains("/gone/one/") && !text.contains("/gone/two/"),
        "{text}"
    );
    repair(&home, &["--yes", "--client", "zed"]).is(0, "No entry starts the bridge.\n", "");
    repair(&home, &["--yes", "--client", "cursor"]);
    assert!(!home.read(CURSOR).contains("/gone/"));
}

#[test]
fn a_file_that_cannot_be_understood_is_named_and_the_others_are_repaired() {
    let home = Home::new(program::path());
    home.write(CURSOR, "{ \"mcpServers\": [ }");
    home.write(
        CODEX,
        "[mcp_servers.example]\ncommand = \"/gone/mcp-bridge\"\nargs = [\"https://mcp.example.com/mcp\"]\n",
    );
    let ran = repair(&home, &["--yes"]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.stdout.contains("~/.cursor/mcp.json: line 1, column"),
        "{}",
        ran.stdout
    );
    assert!(home.read(CODEX).contains("BRIDGE"));
}
