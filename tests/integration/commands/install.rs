//! `mcp-bridge install`: what it says and what it writes, to the letter, for an app on Linux. Where the
//! files of the apps are on other systems is shown by the tests beside the table, `install/apps/`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::program;
use mcp_bridge_testkit::home::Home;
use mcp_bridge_testkit::program::{CommandOutput, Program};

/// `mcp-bridge install` with these arguments, in this home.
fn install(home: &Home, args: &[&str]) -> CommandOutput {
    home.finish(installing(home, args))
}

fn installing(home: &Home, args: &[&str]) -> Program {
    home.command("", &[&["install"], args].concat())
}

const URL: &str = "https://mcp.example.com/mcp";
const CURSOR: &str = ".cursor/mcp.json";

/// Variables that an entry for Codex lists, since Codex passes on only a few variables.
const ENV_VARS: &str = r#"env_vars = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy", "BROWSER", "MCP_BRIDGE_DIR", "MCP_BRIDGE_CLIENT_SECRET", "MCP_BRIDGE_PROFILE", "MCP_BRIDGE_STORE", "MCP_REMOTE_CONFIG_DIR", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CURRENT_DESKTOP", "SSH_CONNECTION", "SSH_TTY"]"#;

#[test]
fn a_new_file_holds_the_entry_and_nothing_else() {
    let home = Home::new(program::path());
    install(&home, &["--client", "cursor", "--yes", "example", URL]).is(
        0,
        r#""example" goes into ~/.cursor/mcp.json, a new file:

+ {
+   "mcpServers": {
+     "example": {
+       "command": "BRIDGE",
+       "args": ["https://mcp.example.com/mcp"]
+     }
+   }
+ }

There is no ~/.cursor yet. Is Cursor installed?

Written.
If Cursor is running, restart it.
"#,
        "",
    );
    assert_eq!(
        home.read(CURSOR),
        r#"{
  "mcpServers": {
    "example": {
      "command": "BRIDGE",
      "args": ["https://mcp.example.com/mcp"]
    }
  }
}
"#
    );
    assert_eq!(home.names(), [CURSOR]);
    install(&home, &["--client", "cursor", "example", URL]).is(
        0,
        "Nothing to do: ~/.cursor/mcp.json has \"example\" as it should be.\n",
        "",
    );
    assert_eq!(home.names(), [CURSOR]);
}

#[test]
fn other_entries_and_comments_stay_and_the_old_file_too() {
    let home = Home::new(program::path());
    let old = r#"// Zed settings
{
  "theme": "One Dark", // at night
  "context_servers": {
    /* local */
    "files": { "command": "files", "args": [], },
  },
}
"#;
    home.write(".config/zed/settings.json", old);
    install(
        &home,
        &[
            "--client",
            "zed",
            "-y",
            "example",
            URL,
            "--",
            "--profile",
            "work",
        ],
    )
    .is(
        0,
        r#""example" goes into ~/.config/zed/settings.json:

    "context_servers": {
      /* local */
      "files": { "command": "files", "args": [], },
+     "example": {
+       "source": "custom",
+       "command": "BRIDGE",
+       "args": ["https://mcp.example.com/mcp", "--profile", "work"],
+     },
    },
  }

Written. The file as it was: ~/.config/zed/settings.json.backup-1
If Zed is running, restart it.
"#,
        "",
    );
    let added = r#"    "example": {
      "source": "custom",
      "command": "BRIDGE",
      "args": ["https://mcp.example.com/mcp", "--profile", "work"],
    },
"#;
    let new = old.replace("[], },\n", &format!("[], }},\n{added}"));
    assert_eq!(home.read(".config/zed/settings.json"), new);
    assert_eq!(home.read(".config/zed/settings.json.backup-1"), old);
    install(&home, &["--client", "zed", "--yes", "--remove", "example"]).is(
        0,
        r#""example" is taken out of ~/.config/zed/settings.json:

    "context_servers": {
      /* local */
      "files": { "command": "files", "args": [], },
-     "example": {
-       "source": "custom",
-       "command": "BRIDGE",
-       "args": ["https://mcp.example.com/mcp", "--profile", "work"],
-     },
    },
  }

Written. The file as it was: ~/.config/zed/settings.json.backup-2
If Zed is running, restart it.
"#,
        "",
    );
    assert_eq!(home.read(".config/zed/settings.json"), old);
    assert_eq!(home.read(".config/zed/settings.json.backup-1"), old);
    install(&home, &["--client", "zed", "--yes", "--remove", "example"]).is(
        0,
        "Nothing to do: ~/.config/zed/settings.json has no \"example\".\n",
        "",
    );
}

const MCP_REMOTE: &str = r#"{
  "mcpServers": {
    "example": {
      "command": "npx",
      "args": ["mcp-remote", "https://mcp.example.com/mcp"],
      "env": { "KEY": "1" }
    }
  }
}
"#;

#[test]
fn an_entry_of_the_same_name_is_changed_by_consent_only() {
    let home = Home::new(program::path());
    home.write(CURSOR, MCP_REMOTE);
    let shown = r#""example" is changed in ~/.cursor/mcp.json:

  {
    "mcpServers": {
      "example": {
-       "command": "npx",
-       "args": ["mcp-remote", "https://mcp.example.com/mcp"],
+       "command": "BRIDGE",
+       "args": ["https://mcp.example.com/mcp"],
        "env": { "KEY": "1" }
      }
    }
"#;
    install(&home, &["--client", "cursor", "example", URL]).is(
        1,
        shown,
        "error: nothing was written: there is no terminal to ask on\n\nhint: --yes writes without asking\n",
    );
    assert_eq!(home.read(CURSOR), MCP_REMOTE);
    assert_eq!(home.names(), [CURSOR]);
    let written = "\nWritten. The file as it was: ~/.cursor/mcp.json.backup-1\n\
                   If Cursor is running, restart it.\n";
    install(&home, &["--client", "cursor", "example", URL, "--yes"]).is(
        0,
        &format!("{shown}{written}"),
        "",
    );
    assert_eq!(
        home.read(CURSOR),
        MCP_REMOTE
            .replace("npx", "BRIDGE")
            .replace("\"mcp-remote\", ", "")
    );
}

/// The shape of the entry and the place of the file, for each app.
#[test]
fn each_app_gets_its_own_shape() {
    let plain = r#""command": "BRIDGE",
      "args": ["https://mcp.example.com/mcp"]"#;
    let stdio = format!("\"type\": \"stdio\",\n      {plain}");
    let custom = format!("\"source\": \"custom\",\n      {plain}");
    let copilot = format!("\"type\": \"local\",\n      {plain},\n      \"tools\": [\"*\"]");
    let local = r#""type": "local",
      "command": ["BRIDGE", "https://mcp.example.com/mcp"]"#;
    let servers = "mcpServers";
    let roo =
        ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json";
    for (client, servers, members, path) in [
        ("amazonq", servers, plain, ".aws/amazonq/mcp.json"),
        ("amp", "amp.mcpServers", plain, ".config/amp/settings.json"),
        (
            "antigravity",
            servers,
            plain,
            ".gemini/config/mcp_config.json",
        ),
        (
            "claude",
            servers,
            plain,
            ".config/Claude/claude_desktop_config.json",
        ),
        ("claude-code", servers, &stdio, ".claude.json"),
        (
            "cline",
            servers,
            plain,
            ".cline/data/settings/cline_mcp_settings.json",
        ),
        ("continue", servers, plain, ".continue/mcpServers/mcp.json"),
        ("copilot", servers, &copilot, ".copilot/mcp-config.json"),
        ("crush", "mcp", &stdio, ".config/crush/crush.json"),
        ("cursor", servers, plain, CURSOR),
        ("gemini", servers, plain, ".gemini/settings.json"),
        ("junie", servers, plain, ".junie/mcp/mcp.json"),
        ("kilo", "mcp", local, ".config/kilo/kilo.jsonc"),
        ("kiro", servers, plain, ".kiro/settings/mcp.json"),
        ("lmstudio", servers, plain, ".lmstudio/mcp.json"),
        ("opencode", "mcp", local, ".config/opencode/opencode.json"),
        ("qwen", servers, plain, ".qwen/settings.json"),
        ("roo", servers, plain, roo),
        ("vscode", "servers", &stdio, ".config/Code/User/mcp.json"),
        ("warp", servers, plain, ".warp/.mcp.json"),
        ("windsurf", servers, plain, ".config/devin/mcp_config.json"),
        (
            "zed",
            "context_servers",
            &custom,
            ".config/zed/settings.json",
        ),
    ] {
        let home = Home::new(program::path());
        let ran = install(&home, &["--client", client, "-y", "example", URL]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{client}");
        let whole = format!(
            "{{\n  \"{servers}\": {{\n    \"example\": {{\n      {members}\n    }}\n  }}\n}}\n"
        );
        assert_eq!(home.read(path), whole, "{client}");
        assert_eq!(home.names(), [path]);
        let ran = install(&home, &["--client", client, "-y", "example", URL]);
        assert!(
            ran.stdout.starts_with("Nothing to do"),
            "{client}: {}",
            ran.stdout
        );
    }
    let home = Home::new(program::path());
    let ran = install(&home, &["--client", "goose", "-y", "example", URL]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(
        home.read(".config/goose/config.yaml"),
        "extensions:\n  example:\n    args:\n    - https://mcp.example.com/mcp\n    cmd: BRIDGE\n    description: \"\"\n    \
         enabled: true\n    name: example\n    timeout: 300\n    type: stdio\n"
    );
}

#[test]
fn an_app_without_a_file_gets_something_to_paste() {
    let home = Home::new(program::path());
    let printed = r#"{
  "mcpServers": {
    "example": {
      "command": "BRIDGE",
      "args": ["https://mcp.example.com/mcp"]
    }
  }
}
"#;
    let menu = "Settings | Tools | AI Assistant | Model Context Protocol (MCP), Add, As JSON";
    install(&home, &["--client", "jetbrains", "-y", "example", URL]).is(
        0,
        printed,
        &format!("JetBrains AI Assistant keeps its servers in its settings; paste this there: {menu}.\n\n"),
    );
    install(
        &home,
        &["--client", "jetbrains", "-y", "--remove", "example"],
    )
    .is(
        1,
        &format!(
            "JetBrains AI Assistant keeps its servers in its settings. Remove it there: {menu}.\n"
        ),
        "",
    );
    assert!(home.names().is_empty());
}

#[test]
fn a_project_has_files_of_its_own() {
    for (client, path) in [
        ("cursor", ".cursor/mcp.json"),
        ("claude-code", ".mcp.json"),
        ("vscode", ".vscode/mcp.json"),
        ("zed", ".zed/settings.json"),
        ("gemini", ".gemini/settings.json"),
        ("codex", ".codex/config.toml"),
        ("roo", ".roo/mcp.json"),
        ("opencode", "opencode.json"),
        ("amazonq", ".amazonq/mcp.json"),
        ("amp", ".amp/settings.json"),
        ("continue", ".continue/mcpServers/mcp.json"),
        ("copilot", ".mcp.json"),
        ("crush", "crush.json"),
        ("junie", ".junie/mcp/mcp.json"),
        ("kilo", ".kilo/kilo.jsonc"),
        ("kiro", ".kiro/settings/mcp.json"),
        ("qwen", ".qwen/settings.json"),
        ("warp", ".warp/.mcp.json"),
        ("windsurf", ".devin/mcp_config.json"),
    ] {
        let home = Home::new(program::path());
        let project = format!("--project={}", home.path("work").display());
        let ran = install(&home, &["--client", client, "-y", &project, "example", URL]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{client}");
        assert_eq!(home.names(), [format!("work/{path}")]);
        let ran = install(
            &home,
            &["--client", client, "-y", "--project", "example", URL],
        );
        assert_eq!(ran.status, 0, "{client}");
        assert!(home.path(path).exists(), "{client}");
    }
    let home = Home::new(program::path());
    install(&home, &["--client", "claude", "--project", "example", URL]).is(
        2,
        "",
        "error: Claude Desktop has no files for projects\n\n\
         hint: leave --project out, or name the file with --config-file\n",
    );
}

/// Others have the file too, and the program elsewhere.
#[test]
fn in_a_project_the_program_goes_by_its_name() {
    let home = Home::new(program::path());
    let directory = Path::new(program::path()).parent().expect("a directory");
    let command = installing(
        &home,
        &["--client", "cursor", "-y", "--project", "example", URL],
    );
    assert_eq!(home.finish(command.env("PATH", directory)).status, 0);
    assert!(home.read(CURSOR).contains("\"command\": \"mcp-bridge\""));
    let command = installing(&home, &["--client", "cursor", "-y", "example", URL]);
    assert_eq!(home.finish(command.env("PATH", directory)).status, 0);
    assert!(home.read(CURSOR).contains("\"command\": \"BRIDGE\""));
}

#[test]
fn print_prints_and_writes_nothing() {
    let home = Home::new(program::path());
    let args = ["--client", "vscode", "--print", "example", URL];
    let printed = r#"{
  "servers": {
    "example": {
      "type": "stdio",
      "command": "BRIDGE",
      "args": ["https://mcp.example.com/mcp"]
    }
  }
}
"#;
    let place = "This belongs in ~/.config/Code/User/mcp.json:\n\n";
    install(&home, &args).is(0, printed, place);
    let homeless = installing(&home, &args);
    home.finish(homeless.env("HOME", "")).is(0, printed, "");
    assert!(home.names().is_empty());
}

#[test]
fn without_a_home_the_file_has_to_be_named() {
    let home = Home::new(program::path());
    let command = installing(&home, &["--client", "cursor", "-y", "example", URL]);
    home.finish(command.env("HOME", "")).is(
        1,
        "",
        "error: there is no home directory to look for the app's file in\n\n\
         hint: set HOME, or name the file with --config-file\n",
    );
    let command = installing(
        &home,
        &[
            "--client",
            "cursor",
            "-y",
            "--config-file",
            "mine.json",
            "example",
            URL,
        ],
    );
    assert_eq!(home.finish(command.env("HOME", "")).status, 0);
    assert_eq!(home.names(), ["mine.json"]);
}

#[test]
fn a_file_that_cannot_be_understood_is_left_as_it_is() {
    let home = Home::new(program::path());
    let hint = "\n\nhint: correct that in an editor first; nothing was written\n";
    for (text, error) in [
        (
            "{\n  \"mcpServers\": {\n    \"a\": }\n}\n",
            "line 3, column 10: Unexpected close brace",
        ),
        ("[]", "the file is no object"),
        ("{ \"mcpServers\": [] }", "\"mcpServers\" is no object"),
    ] {
        home.write(CURSOR, text);
        let ran = install(&home, &["--client", "cursor", "-y", "example", URL]);
        let stderr = format!("error: ~/.cursor/mcp.json: {error}{hint}");
        ran.is(1, "", &stderr);
        assert_eq!(home.read(CURSOR), text);
        assert_eq!(home.names(), [CURSOR]);
    }
}

#[test]
fn a_file_that_takes_too_long_to_edit_is_left_as_it_is() {
    let home = Home::new(program::path());
    let text = format!("{{\n{}\"a\": 1}}\n", "// a\n".repeat(100_000));
    home.write(CURSOR, &text);
    install(&home, &["--client", "cursor", "--yes", "example", URL]).is(
        1,
        "",
        r"error: ~/.cursor/mcp.json: the file has more than 10000 members, comments and line breaks beside each other

hint: put the entry in by hand: --print shows it; nothing was written
",
    );
    assert_eq!(home.read(CURSOR), text);
}

#[test]
fn a_link_stays_and_its_target_is_written() {
    let home = Home::new(program::path());
    home.write("dotfiles/cursor.json", "{}\n");
    fs::create_dir(home.path(".cursor")).expect("the home is ours");
    symlink("../dotfiles/cursor.json", home.path(CURSOR)).expect("the home is ours");
    let ran = install(&home, &["--client", "cursor", "-y", "example", URL]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let target = fs::read_link(home.path(CURSOR)).expect("a link");
    assert_eq!(target, Path::new("../dotfiles/cursor.json"));
    assert!(home.read("dotfiles/cursor.json").contains("\"example\""));
    assert_eq!(home.read("dotfiles/cursor.json.backup-1"), "{}\n");

    fs::remove_file(home.path("dotfiles/cursor.json")).expect("the home is ours");
    let ran = install(&home, &["--client", "cursor", "-y", "example", URL]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.stderr
            .starts_with("error: ~/.cursor/mcp.json cannot be followed: "),
        "{}",
        ran.stderr
    );
}

#[test]
fn rights_line_ends_and_byte_order_mark_stay() {
    let home = Home::new(program::path());
    home.write(CURSOR, "\u{feff}{\r\n  \"a\": 1\r\n}\r\n");
    let mode = |name: &str| {
        fs::metadata(home.path(name))
            .expect(name)
            .permissions()
            .mode()
            & 0o777
    };
    for wanted in [0o640, 0o600] {
        let rights = fs::Permissions::from_mode(wanted);
        fs::set_permissions(home.path(CURSOR), rights).expect("the home is ours");
        let name = format!("example-{wanted:o}");
        assert_eq!(
            install(&home, &["--client", "cursor", "-y", &name, URL]).status,
            0
        );
        assert_eq!(mode(CURSOR), wanted);
    }
    assert_eq!(mode(".cursor/mcp.json.backup-1"), 0o640);
    assert_eq!(mode(".cursor/mcp.json.backup-2"), 0o600);
    let ran = install(&home, &["--client", "cursor", "-y", "another", URL]);
    assert!(ran.stdout.contains("byte order mark"), "{}", ran.stdout);
    let text = home.read(CURSOR);
    assert!(text.starts_with("\u{feff}{\r\n  \"a\": 1,\r\n  \"mcpServers\": {\r\n"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
}

/// Codex refuses a whole file in which an entry has members of both transports.
#[test]
fn a_remote_entry_that_becomes_a_command_keeps_nothing_of_its_transport() {
    let home = Home::new(program::path());
    let codex = ".codex/config.toml";
    home.write(
        codex,
        "[mcp_servers.example]\nurl = \"https://mcp.example.com/mcp\"\nbearer_token_env_var = \"T\"\n\
         http_headers = { X-A = \"1\" }\noauth_resource = \"r\"\nstartup_timeout_sec = 20\nenabled = false\n\n\
         [mcp_servers.example.oauth]\nclient_id = \"c\"\n\n\
         [mcp_servers.example.tools.echo]\napproval_mode = \"approve\"\n",
    );
    let ran = install(&home, &["--client", "codex", "-y", "example", URL]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("(X-A, Authorization)"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        home.read(codex),
        format!(
            "[mcp_servers.example]\nstartup_timeout_sec = 20\ncommand = \"BRIDGE\"\n\
             args = [\"https://mcp.example.com/mcp\", \"--patience\", \"85\", \"--list-wait\", \"85\"]\n{ENV_VARS}\n\n\
             [mcp_servers.example.tools.echo]\napproval_mode = \"approve\"\n"
        )
    );
    let ran = install(
        &home,
        &[
            "--client",
            "codex",
            "-y",
            "example",
            "https://other.example/mcp",
        ],
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        !home.read(codex).contains("approve"),
        "{}",
        home.read(codex)
    );
}

/// opencode reads opencode.json, and opencode.jsonc over it.
#[test]
fn of_two_files_the_one_that_wins_is_written_and_removal_is_from_both() {
    let home = Home::new(program::path());
    let (plain, commented) = (
        ".config/opencode/opencode.json",
        ".config/opencode/opencode.jsonc",
    );
    let entry = r#"{ "mcp": { "example": { "type": "remote", "url": "https://a.example/" } } }"#;
    home.write(plain, entry);
    home.write(commented, entry);
    let ran = install(&home, &["--client", "opencode", "-y", "example", URL]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("opencode.json has \"example\" too; opencode merges the two entries"),
        "{}",
        ran.stdout
    );
    assert_eq!(home.read(plain), entry);
    assert!(home.read(commented).contains("BRIDGE"));
    let ran = install(
        &home,
        &["--client", "opencode", "-y", "--remove", "example"],
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for file in [plain, commented] {
        assert!(!home.read(file).contains("example"), "{}", home.read(file));
    }
}

#[test]
fn null_in_place_of_servers_is_no_servers() {
    let home = Home::new(program::path());
    home.write(CURSOR, "{\"mcpServers\": null}\n");
    let ran = install(&home, &["--client", "cursor", "-y", "--remove", "example"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let ran = install(&home, &["--client", "cursor", "-y", "example", URL]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(home.read(CURSOR).contains("\"command\": \"BRIDGE\""));
}

/// A file may be replaced although it is read-only; that is not what its owner means.
#[test]
fn a_read_only_file_is_not_replaced() {
    let home = Home::new(program::path());
    home.write(CURSOR, "{}\n");
    fs::set_permissions(home.path(CURSOR), fs::Permissions::from_mode(0o444)).expect("ours");
    let ran = install(&home, &["--client", "cursor", "-y", "example", URL]);
    assert_eq!(ran.status, 1);
    assert_eq!(
        ran.stderr,
        "error: ~/.cursor/mcp.json is read-only\n\n\
         hint: make it writable; or if a program writes it for you, put the entry there: --print shows it\n"
    );
    assert_eq!(home.read(CURSOR), "{}\n");
    assert_eq!(home.names(), [CURSOR]);
}

#[test]
fn a_secret_among_the_flags_is_warned_of_and_a_variable_asked_for() {
    let home = Home::new(program::path());
    let header = "Authorization: Bearer hunter2";
    let ran = install(
        &home,
        &[
            "--client", "cursor", "--print", "example", URL, "--", "--header", header,
        ],
    );
    assert_eq!(ran.status, 0);
    assert_eq!(
        ran.stderr,
        "warning: the value of the header Authorization will stand in the file for everybody to read \
         who can read it; --bearer-env VARIABLE takes it from the environment, --header 'Authorization: \
         Bearer {keychain:NAME}' from the keychain (mcp-bridge secret set NAME)\n\n\
         This belongs in ~/.cursor/mcp.json:\n\n"
    );
    let args = ["--client", "cursor", "--print", "example", URL, "--"];
    for (flag, value, variable) in [
        ("--header", "Authorization: Bearer ${TOKEN}", Some("TOKEN")),
        ("--header", "X-Tenant: acme", None),
        (
            "--static-oauth-client-info",
            r#"{"client_id":"a","client_secret":"${SECRET}"}"#,
            Some("SECRET"),
        ),
    ] {
        let ran = install(&home, &[&args[..], &[flag, value]].concat());
        let note = variable.map(|name| {
            format!(
                "note: the bridge will look for {name} in its environment; put it into the \"env\" of \
                 the entry, unless Cursor has it\n\n"
            )
        });
        let note = note.unwrap_or_default();
        assert_eq!(
            ran.stderr,
            format!("{note}This belongs in ~/.cursor/mcp.json:\n\n")
        );
    }
    let info = r#"--static-oauth-client-info={"client_id":"a","client_secret":"hunter2"}"#;
    let ran = install(
        &home,
        &["--client", "cursor", "--print", "example", URL, "--", info],
    );
    assert!(ran.stderr.contains("--client-secret-env") && !ran.stderr.contains("hunter2"));
}

#[test]
fn what_the_bridge_would_refuse_is_refused_before_it_is_written() {
    let home = Home::new(program::path());
    for (args, error) in [
        (
            &["--", "--proflie", "work"][..],
            "error: the bridge would not start with these flags: unexpected argument '--proflie' found\n\n  \
             tip: a similar argument exists: '--profile'\n\n\
             hint: mcp-bridge --help lists them; they stand after --\n",
        ),
        (
            &["--", "--help"],
            "error: the bridge would not start with these flags: they ask for help\n\n\
             hint: mcp-bridge --help lists them; they stand after --\n",
        ),
    ] {
        let args: Vec<_> = ["--client", "cursor", "-y", "example", URL]
            .iter()
            .chain(args)
            .copied()
            .collect();
        install(&home, &args).is(2, "", error);
    }
    for (name, url, error, hint) in [
        (
            "my server",
            URL,
            "\"my server\" is no name for a server",
            "it may have letters, digits, - and _, 64 at most",
        ),
        (
            "example",
            "http://mcp.example.com/mcp",
            "http:// to mcp.example.com would send everything, including tokens, unencrypted",
            "use https://, or pass --allow-http if the network is yours",
        ),
        (
            "example",
            "mcp.example.com",
            "the server's URL has to begin with https:// or http://: did you mean https://mcp.example.com/?",
            "it looks like https://mcp.example.com/mcp",
        ),
    ] {
        let stderr = format!("error: {error}\n\nhint: {hint}\n");
        install(&home, &["--client", "cursor", "-y", name, url]).is(2, "", &stderr);
    }
    assert!(home.names().is_empty());
    let plain = "http://mcp.example.com/mcp";
    let ran = install(
        &home,
        &[
            "--client",
            "cursor",
            "-y",
            "example",
            plain,
            "--",
            "--allow-http",
        ],
    );
    assert_eq!(ran.status, 0);
}

#[test]
fn settings_of_one_person_for_one_project_stand_below_its_directory() {
    let home = Home::new(program::path());
    home.write(".claude.json", "{\n  \"numStartups\": 3\n}\n");
    let ran = install(
        &home,
        &["--client", "claude-code", "-y", "--local", "example", URL],
    );
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let text = fs::read_to_string(home.path(".claude.json")).expect("it is there");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let directory = home.path("").canonicalize().expect("a directory");
    let project = &value["projects"][directory.to_str().expect("UTF-8")];
    assert_eq!(project["mcpServers"]["example"]["type"], "stdio", "{text}");
    assert_eq!(value["numStartups"], 3);
    assert!(value.get("mcpServers").is_none(), "{text}");

    let ran = install(&home, &["--client", "claude-code", "-y", "example", URL]);
    let note = "and Claude Code prefers that one there";
    assert!(ran.stdout.contains(note), "{}", ran.stdout);
    let ran = install(
        &home,
        &[
            "--client",
            "claude-code",
            "-y",
            "--local",
            "--remove",
            "example",
        ],
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let ran = install(
        &home,
        &["--client", "cursor", "-y", "--local", "example", URL],
    );
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("leave --local out"), "{}", ran.stderr);
}

/// A project's file overrides the user's own, and a file of an older version is not read any more.
#[test]
fn other_files_with_an_entry_of_the_same_name_are_told_of() {
    let home = Home::new(program::path());
    home.write("work/.mcp.json", MCP_REMOTE);
    home.write(
        "work/.codex/config.toml",
        "[mcp_servers.example]\ncommand = \"x\"\n",
    );
    home.write(".config/devin/mcp_config.json", "{}\n");
    home.write(".codeium/windsurf/mcp_config.json", MCP_REMOTE);
    home.write(".config/Code/User/profiles/1a2b/settings.json", "{}\n");
    for (client, note) in [
        ("claude-code", ".mcp.json has \"example\" for "),
        ("codex", "config.toml has \"example\" for "),
        (
            "windsurf",
            ".codeium/windsurf/mcp_config.json has \"example\" too; Devin Desktop (Windsurf) does not read that file",
        ),
        (
            "vscode",
            "--config-file ~/.config/Code/User/profiles/1a2b/mcp.json",
        ),
    ] {
        let command = installing(&home, &["--client", client, "-y", "example", URL]);
        let ran = home.finish(command.in_directory(&home.path("work")));
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{client}");
        assert!(ran.stdout.contains(note), "{client}: {}", ran.stdout);
    }
}

#[test]
fn the_next_step_in_the_app_is_told() {
    for (client, project, step) in [
        (
            "claude-code",
            true,
            "Claude Code asks whether to use the servers in .mcp.json",
        ),
        (
            "codex",
            true,
            "Codex reads this file where the project is trusted",
        ),
        ("amp", true, "amp mcp approve NAME"),
        (
            "gemini",
            false,
            "It uses MCP servers in folders that you trust.",
        ),
        ("vscode", false, "\"MCP: List Servers\""),
        ("zed", false, "If Zed is running, restart it."),
    ] {
        let home = Home::new(program::path());
        let scope = if project { &["--project"][..] } else { &[] };
        let args = [&["--client", client, "-y"], scope, &["example", URL]].concat();
        let ran = install(&home, &args);
        assert!(ran.stdout.contains(step), "{client}: {}", ran.stdout);
    }
}

#[test]
fn apps_that_hide_variables_are_told_which_the_bridge_needs() {
    let home = Home::new(program::path());
    let flags = ["--", "--bearer-env", "EXAMPLE_KEY"];
    let codex = ".codex/config.toml";
    home.write(
        codex,
        "[mcp_servers.example]\ncommand = \"x\"\nenv_vars = [\"MINE\", { name = \"BROWSER\" }]\nstartup_timeout_sec = 20\n",
    );
    let ran = install(
        &home,
        &[&["--client", "codex", "-y", "example", URL], &flags[..]].concat(),
    );
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let text = home.read(codex);
    assert!(
        text.contains("env_vars = [\"MINE\", { name = \"BROWSER\" }, \"HTTPS_PROXY\""),
        "{text}"
    );
    assert!(text.contains("\"SSH_TTY\", \"EXAMPLE_KEY\"]"), "{text}");
    assert!(!text.contains("\"BROWSER\","), "{text}");
    assert!(text.contains("startup_timeout_sec = 20\n"), "{text}");
    let ran = install(&home, &["--client", "codex", "-y", "other", URL]);
    assert_eq!(ran.status, 0);
    assert!(
        home.read(codex)
            .contains(&format!("{ENV_VARS}\nstartup_timeout_sec = 90\n"))
    );

    let gemini = ".gemini/settings.json";
    home.write(
        gemini,
        "{\n  \"mcpServers\": {\n    \"example\": {\n      \"command\": \"x\",\n      \"env\": { \"MINE\": \"1\" } // mine\n    }\n  }\n}\n",
    );
    let ran = install(
        &home,
        &[&["--client", "gemini", "-y", "example", URL], &flags[..]].concat(),
    );
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let text = home.read(gemini);
    for part in [
        "\"MINE\": \"1\"",
        "\"EXAMPLE_KEY\": \"$EXAMPLE_KEY\"",
        "// mine",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// For each app an entry for a remote server, with all that its documentation has for one, and what stays of it.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn of_a_documented_remote_entry_stays_what_a_command_may_have_too() {
    let common = r#""url": "https://mcp.example.com/mcp", "headers": { "X-A": "1" }"#;
    for (client, path, servers, remote, kept) in [
        (
            "amazonq",
            ".aws/amazonq/mcp.json",
            "mcpServers",
            r#""type": "http", "timeout": 60, "disabled": false"#,
            "disabled timeout",
        ),
        (
            "antigravity",
            ".gemini/config/mcp_config.json",
            "mcpServers",
            r#""serverUrl": "https://mcp.example.com/mcp", "disabledTools": []"#,
            "disabledTools",
        ),
        (
            "claude-code",
            ".claude.json",
            "mcpServers",
            r#""type": "http", "headersHelper": "x", "oauth": {}, "timeout": 9, "alwaysLoad": true"#,
            "alwaysLoad timeout type",
        ),
        (
            "cline",
            ".cline/data/settings/cline_mcp_settings.json",
            "mcpServers",
            r#""type": "streamableHttp", "oauthClient": {}, "oauth": {}, "timeout": 60, "disabled": false"#,
            "disabled timeout",
        ),
        (
            "copilot",
            ".copilot/mcp-config.json",
            "mcpServers",
            r#""type": "http", "tools": ["a"]"#,
            "tools type",
        ),
        (
            "crush",
            ".config/crush/crush.json",
            "mcp",
            r#""type": "http", "oauth": true, "oauth_client_id": "c", "timeout": 20, "disabled_tools": ["a"]"#,
            "disabled_tools timeout type",
        ),
        (
            "gemini",
            ".gemini/settings.json",
            "mcpServers",
            r#""httpUrl": "https://mcp.example.com/mcp", "oauth": {}, "targetAudience": "a", "trust": true, "excludeTools": []"#,
            "excludeTools trust",
        ),
        (
            "kilo",
            ".config/kilo/kilo.jsonc",
            "mcp",
            r#""type": "remote", "oauth": {}, "enabled": true, "timeout": 9"#,
            "enabled timeout type",
        ),
        (
            "kiro",
            ".kiro/settings/mcp.json",
            "mcpServers",
            r#""autoApprove": ["a"], "oauth": {}"#,
            "autoApprove",
        ),
        (
            "opencode",
            ".config/opencode/opencode.json",
            "mcp",
            r#""type": "remote", "oauth": false, "enabled": true"#,
            "enabled type",
        ),
        (
            "qwen",
            ".qwen/settings.json",
            "mcpServers",
            r#""httpUrl": "https://mcp.example.com/mcp", "oauth": {}, "includeTools": []"#,
            "includeTools",
        ),
        (
            "roo",
            ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
            "mcpServers",
            r#""type": "streamable-http", "alwaysAllow": [], "watchPaths": []"#,
            "alwaysAllow watchPaths",
        ),
        ("warp", ".warp/.mcp.json", "mcpServers", "\"oauth\": {}", ""),
        (
            "windsurf",
            ".config/devin/mcp_config.json",
            "mcpServers",
            r#""transport": "http", "disabledTools": []"#,
            "disabledTools",
        ),
        (
            "zed",
            ".config/zed/settings.json",
            "context_servers",
            r#""enabled": true, "timeout": 9"#,
            "enabled source timeout",
        ),
    ] {
        let home = Home::new(program::path());
        let text = format!(
            "{{ \"{servers}\": {{ \"example\": {{ {common}, {remote} }}, \"other\": {{}} }} }}\n"
        );
        home.write(path, &text);
        let ran = install(&home, &["--client", client, "-y", "example", URL]);
        assert_eq!(ran.status, 0, "{client}: {}", ran.stderr);
        assert!(ran.stdout.contains("(X-A)"), "{client}: {}", ran.stdout);
        let after: serde_json::Value = serde_json::from_str(&home.read(path)).expect("JSON");
        let entry = after[servers]["example"].as_object().expect("an entry");
        let mut members: Vec<_> = entry.keys().map(String::as_str).collect();
        members.retain(|name| !matches!(*name, "command" | "args"));
        members.sort_unstable();
        assert_eq!(members.join(" "), kept, "{client}");
        assert!(after[servers].get("other").is_some(), "{client}");
    }
}

#[test]
fn an_app_that_is_not_listed_gets_an_entry_in_any_format() {
    let home = Home::new(program::path());
    let flags = ["example", URL, "--", "--profile", "work"];
    for (format, printed) in [
        (
            "json",
            "{\n  \"mcpServers\": {\n    \"example\": {\n      \"command\": \"BRIDGE\",\n      \
             \"args\": [\"https://mcp.example.com/mcp\", \"--profile\", \"work\"]\n    }\n  }\n}\n",
        ),
        (
            "toml",
            "[mcp_servers.example]\ncommand = \"BRIDGE\"\n\
             args = [\"https://mcp.example.com/mcp\", \"--profile\", \"work\"]\n",
        ),
        (
            "yaml",
            "mcpServers:\n  - name: example\n    command: BRIDGE\n    args:\n    \
             - https://mcp.example.com/mcp\n    - \"--profile\"\n    - work\n",
        ),
    ] {
        install(&home, &[&["--print", format], &flags[..]].concat()).is(0, printed, "");
        let joined = format!("--print={format}");
        install(&home, &[&[joined.as_str()], &flags[..]].concat()).is(0, printed, "");
    }
    install(&home, &["--print", "example", URL]).is(
        2,
        "",
        "error: which app, or which format?\n\n\
         hint: name it with --client, or say --print json, toml or yaml\n",
    );
    assert!(home.names().is_empty());
}

/// The lines around an entry may have the secrets of others.
#[test]
fn secrets_of_other_entries_are_not_shown() {
    let home = Home::new(program::path());
    home.write(
        ".cursor/mcp.json",
        r#"{"mcpServers": {"other": {"url": "https://other.example/mcp", "headers": {"Authorization": "Bearer hunter2-of-other"}}}}"#,
    );
    let ran = install(&home, &["--client", "cursor", "-y", "example", URL]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(!ran.stdout.contains("hunter2"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Bearer ***"), "{}", ran.stdout);
    assert!(home.read(".cursor/mcp.json").contains("hunter2-of-other"));
}
