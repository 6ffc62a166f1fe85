//! `mcp-bridge migrate`: a home directory in which all apps have their files, before and after, to the letter.
//!
//! `migrate/before` has the files as the documentation of the apps shows them; `migrate/after` and
//! `migrate/after_remote` those that change, without and with `--remote`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use md5::{Digest as _, Md5};

use crate::program;
use mcp_bridge_testkit::home::{Home, files_below};
use mcp_bridge_testkit::program::CommandOutput;

/// The project in the home directory, where the command runs.
const PROJECT: &str = "work";

const CURSOR: &str = ".cursor/mcp.json";

/// Files that begin with a byte order mark, and files with the line ends of Windows.
const WITH_BOM: &str = ".config/Claude/claude_desktop_config.json";
const WITH_CRLF: [&str; 2] = [
    ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
    ".codex/config.toml",
];

type Files = BTreeMap<String, Vec<u8>>;

/// The files of a directory beside this file, with byte order mark and line ends.
fn fixture(name: &str) -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/commands/migrate");
    let mut files = files_below(&folder.join(name));
    for (name, bytes) in &mut files {
        let text = String::from_utf8(std::mem::take(bytes)).expect("UTF-8");
        let text = if WITH_CRLF.contains(&name.as_str()) {
            text.replace('\n', "\r\n")
        } else {
            text
        };
        let mark = if name == WITH_BOM { "\u{feff}" } else { "" };
        *bytes = format!("{mark}{text}").into_bytes();
    }
    files
}

/// A home directory with the files of all apps, and sign-ins of mcp-remote.
fn home() -> Home {
    let home = Home::new(program::path());
    for (name, bytes) in fixture("before") {
        home.write(&name, bytes);
    }
    leave_tokens(
        &home,
        "mcp-remote-v1",
        "https://mcp.linear.app/sse",
        r#"{"access_token":"hunter2-stored","issuer":"https://auth.linear.example"}"#,
    );
    // The account is found by the URL and the headers as they are written.
    leave_tokens(
        &home,
        "mcp-remote-v1",
        "https://jira.example.com/mcp|{\"X-Key\":\"hunter2-of-jira\"}",
        r#"{"access_token":"hunter2-stored","issuer":"https://jira.example"}"#,
    );
    leave_tokens(
        &home,
        "mcp-remote-v1",
        "https://mcp.sentry.dev/mcp",
        r#"{"access_token":"hunter2-stored"}"#,
    );
    leave_tokens(
        &home,
        "mcp-remote-0.1.18",
        "https://mcp.atlassian.com/v1/sse",
        r#"{"access_token":"hunter2-stored"}"#,
    );
    home
}

fn leave_tokens(home: &Home, version: &str, server: &str, tokens: &str) {
    let hash = format!("{:x}", Md5::digest(server));
    home.write(&format!(".mcp-auth/{version}/{hash}_tokens.json"), tokens);
}

/// Files that differ from those of `before`, with the program's path as `BRIDGE`, without copies and records.
fn changed(home: &Home, before: &Files) -> Files {
    let is_ours = |name: &str| name.contains(".backup-") || name.starts_with(".local/");
    let files = home.files().into_iter();
    let files = files.filter(|(name, bytes)| !is_ours(name) && before.get(name) != Some(bytes));
    let named = |bytes| {
        let text = String::from_utf8(bytes).expect("UTF-8");
        home.without_program(&text).into_bytes()
    };
    files.map(|(name, bytes)| (name, named(bytes))).collect()
}

/// Compares text by text, so that a failure can be read.
#[track_caller]
fn same(found: &Files, expected: &Files) {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).expect("UTF-8");
    for (name, bytes) in found {
        let expected = expected.get(name).map(text).unwrap_or_default();
        assert_eq!(text(bytes), expected, "{name}");
    }
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
}

/// The output without the ends of lines that are cut to a length, which depends on where the program is.
fn without_cut_ends(output: &str) -> String {
    let lines = output.lines().map(|line| {
        let start = line.find("BRIDGE").filter(|_| line.ends_with('…'));
        let end = start.map_or(line.len(), |start| start + "BRIDGE".len());
        format!("{}\n", &line[..end])
    });
    lines.collect()
}

fn shows(mut ran: CommandOutput, status: i32, stdout: &str, stderr: &str) {
    ran.stdout = without_cut_ends(&ran.stdout);
    ran.is(status, &without_cut_ends(stdout), stderr);
}

const NOBODY: &str = "error: nothing was written: there is no terminal to ask on\n\n\
                      hint: --yes writes without asking\n";

#[test]
fn what_would_change_is_shown_and_without_consent_nothing_is_written() {
    let home = home();
    let before = home.files();
    let shown = include_str!("migrate/shown.txt");
    shows(home.run(PROJECT, &["migrate"]), 1, shown, NOBODY);
    assert!(home.files() == before);
    // One file cannot be read, which the status says too.
    let dry = home.run(PROJECT, &["migrate", "--dry-run"]);
    shows(dry, 1, shown, "");
    assert!(home.files() == before);
    let shown = include_str!("migrate/shown_remote.txt");
    let remote = home.run(PROJECT, &["migrate", "--remote"]);
    shows(remote, 1, shown, NOBODY);
    assert!(!shown.contains("hunter2"));
    assert!(home.files() == before);
}

#[test]
fn entries_of_mcp_remote_start_the_bridge_and_undo_gives_every_byte_back() {
    let home = home();
    let before = home.files();
    let ran = home.run(PROJECT, &["migrate", "--yes"]);
    let written = concat!(
        include_str!("migrate/shown.txt"),
        "\n",
        include_str!("migrate/written.txt")
    );
    shows(ran, 1, written, "");
    same(&changed(&home, &before), &fixture("after"));

    let again = home.run(
        PROJECT,
        &["migrate", "--yes", "--client", "cursor,claude-code"],
    );
    assert!(
        again.stdout.contains("\nNo entry starts mcp-remote.\n"),
        "{}",
        again.stdout
    );

    let undone = home.run(PROJECT, &["migrate", "--undo"]);
    assert_eq!((undone.status, undone.stderr.as_str()), (0, ""));
    assert!(
        undone.stdout.contains("\n~/.cursor/mcp.json: as it was\n"),
        "{}",
        undone.stdout
    );
    assert!(home.files() == before);
    home.run(PROJECT, &["migrate", "--undo"])
        .is(0, "There is no migration to undo.\n", "");
}

#[test]
fn entries_with_a_url_are_converted_on_request() {
    let home = home();
    let before = home.files();
    home.run(PROJECT, &["migrate", "--yes", "--remote"]);
    same(&changed(&home, &before), &fixture("after_remote"));
    assert_eq!(home.run(PROJECT, &["migrate", "--undo"]).status, 0);
    assert!(home.files() == before);
}

#[test]
fn a_file_that_was_changed_since_is_given_back_by_force_only() {
    let home = home();
    let before = home.files();
    let args = [
        "migrate", "--yes", "--client", "cursor", "--client", "lmstudio",
    ];
    home.run("", &args);
    let text = home.read(CURSOR) + "\n";
    home.write(CURSOR, &text);
    home.run("", &["migrate", "--undo", "--dry-run"]).is(
        0,
        "~/.cursor/mcp.json: left as it is: it was changed since\n\
         ~/.lmstudio/mcp.json: would be as it was\n\
         \nNothing was written.\n",
        "",
    );
    home.run("", &["migrate", "--undo"]).is(
        1,
        "~/.cursor/mcp.json: left as it is: it was changed since\n\
         ~/.lmstudio/mcp.json: as it was\n",
        "error: not every file was restored\n\n\
         hint: --undo --force also restores changed files, and keeps a copy of each beside it\n",
    );
    assert_eq!(home.read(CURSOR), text);
    home.run("", &["migrate", "--undo", "--force"]).is(
        0,
        "~/.cursor/mcp.json: as it was; what it held since: ~/.cursor/mcp.json.backup-2\n\
         \nRestart these apps where they are running.\n",
        "",
    );
    let mut after = home.files();
    let kept = after.remove(".cursor/mcp.json.backup-2").expect("a copy");
    assert_eq!(kept, text.as_bytes());
    assert!(after == before);
}

#[test]
fn two_migrations_are_undone_one_after_the_other() {
    let home = home();
    let before = home.files();
    home.run(
        "",
        &["migrate", "--yes", "--client", "cursor", "--only", "linear"],
    );
    let between = changed(&home, &before);
    assert_eq!(between.keys().collect::<Vec<_>>(), [CURSOR]);
    home.run("", &["migrate", "--yes", "--client", "cursor"]);
    assert!(
        home.read(CURSOR)
            .contains("\"BRIDGE\",\n      \"args\": [\n        \"https://billing")
    );
    home.run("", &["migrate", "--undo"]);
    same(&changed(&home, &before), &between);
    home.run("", &["migrate", "--undo"]);
    assert!(home.files() == before);
}

#[test]
fn a_home_without_mcp_remote_has_nothing_to_convert() {
    let home = Home::new(program::path());
    home.run("", &["migrate"])
        .is(0, "No entry starts mcp-remote.\n", "");
    home.write(CURSOR, "{}");
    home.run("", &["migrate"])
        .is(0, "No entry starts mcp-remote.\n", "");
    assert_eq!(home.files().len(), 1);
}

/// In the home directory the user's file is the project's too.
#[test]
fn a_file_in_two_roles_is_converted_once() {
    let home = home();
    let ran = home.run("", &["migrate", "--client", "cursor", "--only", "linear"]);
    assert_eq!(ran.stdout.matches("mcp.json").count(), 1, "{}", ran.stdout);
    assert!(
        ran.stdout
            .ends_with("To be converted: 1 entry in 1 file.\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn links_and_rights_stay() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let home = Home::new(program::path());
    let text = r#"{ "mcpServers": { "a": { "command": "npx", "args": ["mcp-remote", "https://a.example/"] } } }"#;
    home.write("dotfiles/mcp.json", text);
    let target = home.path("dotfiles/mcp.json");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).expect("ours");
    fs::create_dir(home.path(".cursor")).expect("ours");
    symlink(&target, home.path(CURSOR)).expect("ours");
    for args in [&["migrate", "--yes"][..], &["migrate", "--undo"]] {
        assert_eq!(home.run("", args).status, 0);
        let link = fs::symlink_metadata(home.path(CURSOR)).expect("a link");
        assert!(link.is_symlink());
        let mode = fs::metadata(&target).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
    assert_eq!(home.read("dotfiles/mcp.json"), text);
}
