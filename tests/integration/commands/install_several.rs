//! `mcp-bridge install` for several apps at once, for all that are found, and its list, to the letter.

use std::fs;

use crate::program;
use mcp_bridge_testkit::home::Home;

const URL: &str = "https://mcp.example.com/mcp";
const CURSOR: &str = ".cursor/mcp.json";
const ZED: &str = ".config/zed/settings.json";

#[test]
fn two_apps_get_the_entry_by_one_consent() {
    let home = Home::new(program::path());
    home.write(CURSOR, "{}\n");
    home.write(ZED, "{}\n");
    let shown = r#"Cursor: "example" goes into ~/.cursor/mcp.json:

- {}
+ {
+   "mcpServers": {
+     "example": {
+       "command": "BRIDGE",
+       "args": ["https://mcp.example.com/mcp"]
+     }
+   }
+ }

Zed: "example" goes into ~/.config/zed/settings.json:

- {}
+ {
+   "context_servers": {
+     "example": {
+       "source": "custom",
+       "command": "BRIDGE",
+       "args": ["https://mcp.example.com/mcp"]
+     }
+   }
+ }
"#;
    let args = [
        "install", "--client", "cursor", "--client", "zed", "example", URL,
    ];
    home.run("", &args).is(
        1,
        shown,
        "error: nothing was written: there is no terminal to ask on\n\nhint: --yes writes without asking\n",
    );
    assert_eq!(home.read(CURSOR), "{}\n");
    let written = "
Cursor  written; the file as it was: ~/.cursor/mcp.json.backup-1
Zed     written; the file as it was: ~/.config/zed/settings.json.backup-1

Restart where it is running: Cursor, Zed.
";
    let args = [
        "install",
        "--client",
        "cursor,zed,cursor",
        "-y",
        "example",
        URL,
    ];
    home.run("", &args).is(0, &format!("{shown}{written}"), "");
    assert!(home.read(CURSOR).contains("\"example\""));
    assert!(home.read(ZED).contains("\"example\""));
    home.run("", &args)
        .is(0, "Cursor  nothing to do\nZed     nothing to do\n", "");
}

#[test]
fn an_app_that_fails_does_not_stop_the_others() {
    let home = Home::new(program::path());
    home.write(CURSOR, "{ \"mcpServers\": [] }\n");
    let args = [
        "install",
        "--client",
        "cursor,lmstudio",
        "-y",
        "example",
        URL,
    ];
    let ran = home.run("", &args);
    let end = "
Cursor     not written: ~/.cursor/mcp.json: \"mcpServers\" is no object
           hint: correct that in an editor first; nothing was written
LM Studio  written

Restart where it is running: LM Studio.
";
    assert!(ran.stdout.ends_with(end), "{}", ran.stdout);
    assert_eq!((ran.status, ran.stderr.as_str()), (1, ""));
    assert!(home.read(".lmstudio/mcp.json").contains("\"example\""));
    assert_eq!(home.read(CURSOR), "{ \"mcpServers\": [] }\n");
}

#[test]
fn all_are_those_that_are_found() {
    let home = Home::new(program::path());
    home.run("", &["install", "--all", "-y", "example", URL])
        .is(
            1,
            "",
            "error: none of the apps is found on this machine\n\n\
         hint: --client names one; mcp-bridge install --list shows them all\n",
        );
    fs::create_dir(home.path(".cursor")).expect("the home is ours");
    home.write(".claude.json", "{\"numStartups\": 1}");
    let ran = home.run("", &["install", "--all", "-y", "example", URL]);
    assert_eq!(ran.status, 0);
    let names: Vec<_> = home.files().into_keys().collect();
    assert_eq!(names, [".claude.json", ".claude.json.backup-1", CURSOR]);
    let ran = home.run("", &["install", "--all", "--remove", "-y", "example"]);
    assert!(
        ran.stdout
            .ends_with("\nRestart where it is running: Claude Code, Cursor.\n"),
        "{}",
        ran.stdout
    );
    assert!(!home.read(CURSOR).contains("example"));
}

/// Not each app makes the directory of its file when it is installed, and some share one.
#[test]
fn an_app_is_found_by_a_directory_that_is_its_own() {
    for (directory, found) in [
        (".cursor", "cursor"),
        (".kiro", "kiro"),
        (".continue", "continue"),
        (".config/Code", "vscode"),
        (
            ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline",
            "roo vscode",
        ),
        (".gemini", "gemini"),
        (".gemini/antigravity", "antigravity gemini"),
        (".aws", ""),
        (".config", ""),
    ] {
        let home = Home::new(program::path());
        fs::create_dir_all(home.path(directory)).expect("the home is ours");
        let list = home.run("", &["install", "--list"]).stdout;
        let rows = list.lines().filter(|row| row.contains("  yes  "));
        let names: Vec<_> = rows
            .filter_map(|row| row.split("  yes").next()?.split_whitespace().last())
            .collect();
        let mut names = names;
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.join(" "), found, "{directory}");
    }
}

#[test]
fn for_all_in_a_project_those_without_such_a_file_are_left_out() {
    let home = Home::new(program::path());
    fs::create_dir_all(home.path(".lmstudio")).expect("the home is ours");
    fs::create_dir_all(home.path(".cursor")).expect("the home is ours");
    fs::create_dir_all(home.path("work")).expect("the home is ours");
    let ran = home.run(
        "work",
        &["install", "--all", "--project", "-y", "example", URL],
    );
    let end = "
Cursor     written
LM Studio  left out: LM Studio has no files for projects

Restart where it is running: Cursor.
";
    assert!(ran.stdout.ends_with(end), "{}", ran.stdout);
    assert_eq!(ran.status, 0);
    let files: Vec<_> = home.files().into_keys().collect();
    assert_eq!(files, ["work/.cursor/mcp.json"]);
    let args = [
        "install",
        "--client",
        "cursor,lmstudio",
        "--project",
        "-y",
        "example",
        URL,
    ];
    assert_eq!(home.run("work", &args).status, 1);
}

#[test]
fn what_holds_for_each_app_is_said_once() {
    let home = Home::new(program::path());
    let args = [
        "install",
        "--client",
        "cursor,lmstudio",
        "-y",
        "example",
        URL,
        "--",
        "--header",
        "X-Key: 123",
    ];
    let ran = home.run("", &args);
    assert_eq!(ran.stderr.matches("warning: ").count(), 1, "{}", ran.stderr);
    let args = [
        "install",
        "--client",
        "cursor,lmstudio",
        "--print",
        "example",
        URL,
    ];
    home.run("", &args).is(
        0,
        &"{\n  \"mcpServers\": {\n    \"example\": {\n      \"command\": \"BRIDGE\",\n      \
          \"args\": [\"https://mcp.example.com/mcp\"]\n    }\n  }\n}\n\n"
            .repeat(2),
        "Cursor:\nThis belongs in ~/.cursor/mcp.json:\n\nLM Studio:\nThis belongs in ~/.lmstudio/mcp.json:\n\n",
    );
}

#[test]
fn one_file_is_for_one_app() {
    let home = Home::new(program::path());
    let args = [
        "install",
        "--client",
        "cursor,zed",
        "--config-file",
        "a.json",
        "example",
        URL,
    ];
    home.run("", &args).is(
        2,
        "",
        "error: --config-file names the file of one app, and several are meant\n\n\
         hint: name one app with --client\n",
    );
}

#[test]
fn the_list_has_a_line_for_each_file_and_the_entries_that_are_ours() {
    let home = Home::new(program::path());
    home.write(
        CURSOR,
        "{ \"mcpServers\": { \"a\": { \"command\": \"/opt/mcp-bridge\", \"args\": [] }, \
         \"b\": { \"command\": \"npx\" } } }",
    );
    home.write(".codex/config.toml", "= nothing");
    home.run("", &["install", "--client", "zed", "-y", "example", URL]);
    let args = ["install", "--list", "--client", "cursor,zed,codex,lmstudio"];
    home.run("", &args).is(
        0,
        "\
APP        --client  FOUND  ENTRIES     FILE
Cursor     cursor    yes    a           ~/.cursor/mcp.json
Zed        zed       yes    example     ~/.config/zed/settings.json
Codex      codex     yes    unreadable  ~/.codex/config.toml
LM Studio  lmstudio  no     -           ~/.lmstudio/mcp.json
",
        "",
    );
    let all = home.run("", &["install", "--list"]);
    assert!(all.stdout.lines().count() > 12, "{}", all.stdout);
}

#[cfg(unix)]
#[test]
fn a_list_that_nobody_reads_to_its_end_is_no_failure() {
    let home = Home::new(program::path());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let command = home.command("", &["install", "--list"]);
    let ended = home.finish(command.stdout_to(writer));
    ended.is(0, "", "");
}
