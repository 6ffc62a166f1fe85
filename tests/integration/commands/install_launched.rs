//! `mcp-bridge install` from the places where package managers and launchers put the program: the entry has a command
//! that stays.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::home::Home;
use mcp_bridge_testkit::program::CommandOutput;

const URL: &str = "https://mcp.example.com/mcp";
const CURSOR: &str = ".cursor/mcp.json";
const NPX: &str = ".npm/_npx/7533351365a23e5a/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge";

/// Writes the entry for Cursor with the program at this path, found by this `PATH`.
fn install(home: &Home, program: &str, path: &[&str], more: &[&str]) -> CommandOutput {
    let line = ["install", "--client", "cursor", "-y", "example", URL];
    let directories = path.iter().map(|name| home.path(name));
    let path = std::env::join_paths(directories).expect("no colon");
    let command = home.command_at(program, &[&line, more].concat());
    home.finish(command.env("PATH", path))
}

/// The entry that was written, with the home as `~`.
fn entry(home: &Home, file: &str) -> Value {
    let root = home.path("");
    let root = root.to_str().expect("UTF-8").trim_end_matches('/');
    let text = home.read(file).replace(root, "~");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    document["mcpServers"]["example"].clone()
}

#[test]
fn a_launcher_is_written_in_place_of_its_cache() {
    for (program, words, tool) in [
        (
            NPX,
            &["npx", "-y", "mcp-bridge"][..],
            "npm install --global mcp-bridge",
        ),
        (
            ".bun/install/cache/.bunx-0/mcp-bridge@latest/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
            &["bunx", "mcp-bridge"],
            "bun add --global mcp-bridge",
        ),
        (
            ".cache/pnpm/dlx/33c5/mx0/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
            &["pnpm", "--silent", "dlx", "mcp-bridge"],
            "pnpm add --global mcp-bridge",
        ),
        (
            "xfs-cfa1/dlx-1055/.yarn/unplugged/x/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
            &["yarn", "dlx", "-q", "mcp-bridge"],
            "npm install --global mcp-bridge",
        ),
        (
            ".cache/deno/npm/registry/@mcp-bridge/linux-x64/0.1.0/bin/mcp-bridge",
            &["deno", "run", "-A", "npm:mcp-bridge"],
            "npm install --global mcp-bridge",
        ),
        (
            ".cache/uv/archive-v0/rO-P3VqEsEmNDdnw/bin/mcp-bridge",
            &["uvx", "mcp-bridge-cli"],
            "uv tool install mcp-bridge-cli",
        ),
        (
            ".cache/pipx/0123/bin/mcp-bridge",
            &["pipx", "run", "mcp-bridge-cli"],
            "pipx install mcp-bridge-cli",
        ),
    ] {
        let home = Home::new(program::path());
        let ran = install(&home, program, &[], &["--", "--profile", "work"]);
        assert_eq!(ran.status, 0, "{program}: {}", ran.stderr);
        let arguments = [&words[1..], &[URL, "--profile", "work"]].concat();
        let expected = json!({"command": words[0], "args": arguments});
        assert_eq!(entry(&home, CURSOR), expected, "{program}");
        let note = format!(
            "which takes longer than the program itself. After {tool}, run install again\n"
        );
        assert!(ran.stderr.contains(&note), "{}", ran.stderr);
        let listed = home.run("", &["install", "--list", "--client", "cursor"]);
        assert!(listed.stdout.contains("  example  "), "{}", listed.stdout);
    }
}

/// npx puts its own cache first in `PATH`.
#[test]
fn an_installed_program_is_preferred_to_the_launcher() {
    let home = Home::new(program::path());
    home.install(".local/bin/mcp-bridge");
    let cache = ".npm/_npx/7533351365a23e5a/node_modules/.bin";
    home.install(&format!("{cache}/mcp-bridge"));
    let path = [cache, ".local/bin"];
    let ran = install(&home, NPX, &path, &[]);
    assert_eq!(
        ran.stderr,
        "note: the entry starts ~/.local/bin/mcp-bridge, which is installed, and not npx, which takes longer\n\n"
    );
    let expected = json!({"command": "~/.local/bin/mcp-bridge", "args": [URL]});
    assert_eq!(entry(&home, CURSOR), expected);

    let ran = install(&home, NPX, &path, &["--project=work"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let expected = json!({"command": "mcp-bridge", "args": [URL]});
    assert_eq!(entry(&home, "work/.cursor/mcp.json"), expected);
}

/// `mcp-bridge` is the name of another project on the Python Package Index.
#[test]
fn another_program_of_the_same_name_is_passed_over() {
    let home = Home::new(program::path());
    home.write(
        "other/mcp-bridge",
        "#!/bin/sh\necho mcp-bridge, an API server\n",
    );
    let ran = install(&home, NPX, &["other"], &[]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(entry(&home, CURSOR)["command"], "npx");
}

#[test]
fn a_path_with_a_version_is_written_as_the_link_that_stays() {
    let cellar = "homebrew/Cellar/mcp-bridge/0.1.0/bin/mcp-bridge";
    let scoop = "scoop/apps/mcp-bridge/0.1.0/mcp-bridge";
    for (program, link, target, expected) in [
        (
            cellar,
            "homebrew/bin/mcp-bridge",
            "../Cellar/mcp-bridge/0.1.0/bin/mcp-bridge",
            "~/homebrew/bin/mcp-bridge",
        ),
        (
            cellar,
            "homebrew/opt/mcp-bridge",
            "../Cellar/mcp-bridge/0.1.0",
            "~/homebrew/opt/mcp-bridge/bin/mcp-bridge",
        ),
        (
            scoop,
            "scoop/apps/mcp-bridge/current",
            "0.1.0",
            "~/scoop/apps/mcp-bridge/current/mcp-bridge",
        ),
    ] {
        let home = Home::new(program::path());
        home.write(&format!("{link}.txt"), "");
        symlink(target, home.path(link)).expect("the home is ours");
        let ran = install(&home, program, &[], &[]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{program}");
        assert_eq!(entry(&home, CURSOR)["command"], expected);
    }
}

#[test]
fn a_temporary_program_is_not_written() {
    let home = Home::new(program::path());
    let ran = install(&home, "tmp/mcp-bridge", &[], &[]);
    ran.is(
        1,
        "",
        "error: this program, ~/tmp/mcp-bridge, is in a directory for temporary files\n\n\
         hint: move the program to a directory that stays, and run install again from there\n",
    );
    assert!(!home.path(CURSOR).exists());

    home.install("bin/mcp-bridge");
    let ran = install(&home, "tmp/mcp-bridge", &["bin"], &[]);
    assert_eq!(
        ran.stderr,
        "note: the entry starts ~/bin/mcp-bridge, which is installed\n\n"
    );
    assert_eq!(entry(&home, CURSOR)["command"], "~/bin/mcp-bridge");
}

#[test]
fn a_program_in_a_build_directory_is_written_with_a_warning() {
    let home = Home::new(program::path());
    for directory in [".fingerprint", "deps"] {
        home.write(&format!("target/debug/{directory}/x"), "");
    }
    let ran = install(&home, "target/debug/mcp-bridge", &[], &[]);
    assert_eq!(ran.status, 0);
    assert_eq!(
        ran.stderr,
        "warning: ~/target/debug/mcp-bridge is in a build directory, which cargo clean empties; run cargo install \
         --path . and then install again, from ~/.cargo/bin\n\n"
    );
    assert_eq!(entry(&home, CURSOR)["command"], "~/target/debug/mcp-bridge");
}

#[test]
fn a_migration_writes_the_launcher_too() {
    let home = Home::new(program::path());
    home.write(
        CURSOR,
        json!({"mcpServers": {"example": {"command": "npx", "args": ["-y", "mcp-remote", URL]}}})
            .to_string(),
    );
    let ran = home.finish(home.command_at(NPX, &["migrate", "--yes"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.starts_with("note: the entry starts npx, "),
        "{}",
        ran.stderr
    );
    let expected = json!({"command": "npx", "args": ["-y", "mcp-bridge", URL]});
    assert_eq!(entry(&home, CURSOR), expected);
    let again = home.finish(home.command_at(NPX, &["migrate", "--yes"]));
    assert_eq!(
        (again.stdout.as_str(), again.stderr.as_str()),
        ("No entry starts mcp-remote.\n", "")
    );
}

#[test]
fn a_dry_run_shows_the_change_and_writes_nothing() {
    let home = Home::new(program::path());
    for clients in ["cursor", "cursor,zed"] {
        let line = ["install", "--client", clients, "--dry-run", "example", URL];
        let ran = home.run("", &line);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        assert!(
            ran.stdout.contains("+       \"command\": \"BRIDGE\""),
            "{}",
            ran.stdout
        );
        assert!(!ran.stdout.contains("Written"), "{}", ran.stdout);
    }
    assert!(home.names().is_empty());
}

/// Codex lists tools once, and ends a bridge that has not answered by then.
#[test]
fn a_migration_for_codex_says_how_long_the_bridge_may_wait() {
    const CODEX: &str = ".codex/config.toml";
    let home = Home::new(program::path());
    let entry = format!(
        "[mcp_servers.example]\ncommand = \"npx\"\nargs = [\"-y\", \"mcp-remote\", \"{URL}\"]\n"
    );
    home.write(CODEX, &entry);
    assert_eq!(home.run("", &["migrate", "--yes"]).status, 0);
    let text = home.read(CODEX);
    let arguments =
        format!("args = [\"{URL}\", \"--patience\", \"85\", \"--list-wait\", \"85\"]\n");
    assert!(
        text.contains(&arguments) && text.contains("startup_timeout_sec = 90\n"),
        "{text}"
    );

    home.write(CODEX, format!("{entry}startup_timeout_sec = 20\n"));
    assert_eq!(home.run("", &["migrate", "--yes"]).status, 0);
    let text = home.read(CODEX);
    assert!(
        text.contains(&format!("args = [\"{URL}\"]\nstartup_timeout_sec = 20\n")),
        "{text}"
    );
}
