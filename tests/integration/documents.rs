//! What the documents say about the program is true, and what they say about its shape holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use mcp_bridge::cli::help;
use mcp_bridge::command::{CommandLine, ReadError};
use serde::Deserialize;

const README: &str = include_str!("../../README.md");
const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");
const CARGO: &str = include_str!("../../Cargo.toml");

/// Where things that differ between operating systems may stand.
const SYSTEM_SPECIFIC: [&str; 12] = [
    "crates/auth/src/browser.rs",
    "crates/auth/src/desktop/freedesktop.rs",
    "crates/auth/src/desktop/mod.rs",
    "crates/auth/src/linger/os.rs",
    "crates/auth/src/store/system/mod.rs",
    "crates/bridge/src/bridge/surroundings.rs",
    "crates/bridge/src/stdio/os.rs",
    "crates/net/src/descriptors.rs",
    "crates/net/src/private_file.rs",
    "crates/net/src/whole_file.rs",
    "src/log/file.rs",
    "src/signals.rs",
];

/// Each file under `folder`, by its path from the root of the repository.
fn files(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("it is below the root");
            let name: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
            let text = fs::read(&path).expect("a file");
            found.insert(name.join("/"), String::from_utf8_lossy(&text).into_owned());
        }
    }
    found
}

fn is_rust(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == "rs")
}

/// Sources that are tests as a whole.
const TESTS: [&str; 2] = [
    "crates/protocol/src/era/random_walk.rs",
    "crates/protocol/src/era/transcripts.rs",
];

/// The sources of the program and of the crates that it consists of.
fn sources() -> BTreeMap<String, String> {
    let is_source = |name: &str| name.contains("/src/") && !name.starts_with("crates/testkit/");
    let mut found = files("crates");
    found.retain(|name, _| is_source(name));
    found.extend(files("src"));
    found
}

/// The program's own code: no tests, no comments.
fn code() -> BTreeMap<String, String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    sources()
        .into_iter()
        .filter(|(name, _)| is_rust(name) && !TESTS.contains(&name.as_str()))
        .map(|(name, text)| {
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
            let lines: Vec<_> = text.lines().filter(is_code).collect();
            (name, lines.join("\n"))
        })
        .collect()
}

/// The blocks of a document that are marked as `language`.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let start = format!("\n```{language}\n");
    let rest = document.split(start.as_str()).skip(1);
    rest.map(|rest| rest.split("\n```").next().expect("a block"))
        .collect()
}

/// A part of a document, by its heading.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let start = format!("\n{heading}\n");
    let (_, rest) = document.split_once(start.as_str()).expect(heading);
    rest.split("\n## ").next().expect("a part")
}

/// The texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AppConfig {
    mcp_servers: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    command: String,
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

#[test]
fn the_configurations_in_the_readme_start_the_bridge() {
    let blocks = blocks(README, "json");
    assert!(blocks.len() >= 3);
    for block in blocks {
        let config: AppConfig = serde_json::from_str(block).expect(block);
        for entry in config.mcp_servers.into_values() {
            assert_eq!(entry.command, env!("CARGO_PKG_NAME"));
            let named = entry
                .args
                .windows(2)
                .filter(|pair| pair[0] == "--bearer-env");
            let named = named.map(|pair| pair[1].as_str());
            for name in named.chain(entry.args.iter().filter_map(|text| variable(text))) {
                assert!(entry.env.contains_key(name), "{name} is not set:\n{block}");
            }
            let args = std::iter::once(entry.command).chain(entry.args);
            CommandLine::read(args.map(Into::into)).expect(block);
        }
    }
}

#[test]
fn the_option_files_in_the_readme_can_be_read() {
    let blocks = blocks(README, "toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = directory.path().join("bridge.toml");
        fs::write(&path, block).expect("the directory is ours");
        let args = ["mcp-bridge".into(), "--config".into(), path.into()];
        CommandLine::read(args).unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
}

/// The first `${NAME}` in a text.
fn variable(text: &str) -> Option<&str> {
    Some(text.split_once("${")?.1.split_once('}')?.0)
}

/// Whether a piece of code in a sentence is a whole command of the program.
fn is_command(text: &str) -> bool {
    text.starts_with("mcp-bridge ") && !text.contains('…')
}

fn is_help(error: &ReadError) -> bool {
    matches!(error, ReadError::Arguments(error) if !error.use_stderr())
}

#[test]
fn the_commands_in_the_readme_exist() {
    let blocks = blocks(README, "sh");
    let lines = blocks.iter().flat_map(|block| block.lines());
    let inline = quoted(README).filter(|text| text.starts_with("cargo ") || is_command(text));
    let commands: Vec<_> = lines.chain(inline).collect();
    assert!(commands.len() >= 4);
    for command in commands {
        let mut words = command
            .split('#')
            .next()
            .expect("a command")
            .split_whitespace();
        match [words.next(), words.next(), words.next(), words.next()] {
            [Some("cargo"), Some("test" | "bench"), None, None]
            | [
                Some("cargo"),
                Some("bench"),
                Some("--"),
                Some("--quick" | "--count" | "--bridge"),
            ]
            | [Some("cargo"), Some("install"), Some("--path"), Some(".")] => {}
            [Some("cargo"), Some("run"), Some("--example"), Some(example)] => {
                let main = format!("examples/{example}/main.rs");
                let main = &files("examples")[&main];
                for flag in words.filter(|word| *word != "--") {
                    let name = flag.trim_start_matches("--").replace('-', "_");
                    assert!(main.contains(&format!("    {name}: ")), "{command}");
                }
            }
            [Some("mcp-bridge"), ..] => {
                let command = command.split(" #").next().expect("a command");
                let words = command.split_whitespace().map(|word| match word {
                    "URL" => "https://mcp.example.com/mcp".into(),
                    word => word.into(),
                });
                if let Err(error) = CommandLine::read(words) {
                    // Help and version are errors to the reader of arguments.
                    assert!(is_help(&error), "{command}: {error}");
                }
            }
            _ => panic!("no test knows this command: {command}"),
        }
    }
}

/// Cut to the width that the README has room for.
#[test]
fn the_help_in_the_readme_is_that_of_the_program() {
    let help = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .arg("--help")
        .env_clear()
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("the program");
    let help = String::from_utf8(help.stdout).expect("text");
    let block = blocks(section(README, "## All options"), "text");
    assert_eq!(
        block,
        [help.trim_end()],
        "put the output of `COLUMNS=100 mcp-bridge --help | cat` there"
    );
}

/// The rows of the table of groups, with some of the flags of each.
#[test]
fn the_groups_in_the_readme_are_those_of_the_program() {
    let program = CommandLine::command();
    let groups = help::topics(&program);
    let groups: Vec<_> = groups.iter().filter(|topic| *topic != help::ALL).collect();
    let rows = section(README, "## All options").lines();
    let rows = rows.filter_map(|row| row.strip_prefix("| `mcp-bridge help "));
    let rows: Vec<_> = rows.filter_map(|row| row.split_once("` |")).collect();
    let named: Vec<_> = rows.iter().map(|(group, _)| *group).collect();
    assert_eq!(named, groups);
    for (group, about) in rows {
        let screen = help::about(&program, group).expect("a group");
        for flag in quoted(about) {
            assert!(screen.contains(&format!("{flag} ")), "{group}: {flag}");
        }
    }
}

/// The first words of each message that are always the same.
#[test]
fn the_messages_that_the_readme_explains_are_those_of_the_program() {
    let sources: String = sources().into_values().collect();
    let mut checked = 0;
    for row in section(README, "## What is wrong").lines() {
        let cell = row.split('|').nth(1).unwrap_or_default();
        let Some(message) = quoted(cell).next() else {
            continue;
        };
        let mut fixed = message.split('…').map(str::trim);
        let first = fixed.find(|part| !part.is_empty()).expect("a beginning");
        let words: Vec<_> = first.split_whitespace().take(3).collect();
        assert!(sources.contains(&words.join(" ")), "{message}");
        checked += 1;
    }
    assert!(checked >= 5);
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in [README, ARCHITECTURE] {
        for link in document.split("](").skip(1) {
            let target = link.split(')').next().expect("a link");
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            assert!(root.join(file).exists(), "{target}");
            assert_eq!(anchor, "", "no test knows anchors: {target}");
        }
    }
}

#[test]
fn every_dependency_is_accounted_for() {
    let table = section(ARCHITECTURE, "## Why it is so");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<_> = rows
        .flat_map(|row| quoted(row.split('|').nth(1).expect("a cell")))
        .collect();
    let manifests = files("crates").into_iter();
    let manifests = manifests.filter(|(name, _)| name.ends_with("/Cargo.toml"));
    let manifests: Vec<_> = manifests.map(|(_, text)| text).collect();
    let mut used = BTreeSet::new();
    for manifest in manifests.iter().map(String::as_str).chain([CARGO]) {
        let mut is_dependency = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                is_dependency = line.ends_with("dependencies]");
            } else if is_dependency && let Some((name, _)) = line.split_once(['.', ' ']) {
                used.insert(name);
            }
        }
    }
    used.retain(|name| !name.starts_with("mcp-bridge-") && *name != "#");
    assert_eq!(named, used);
}

/// Its types lose or refuse what a bridge has to hand on.
#[test]
fn the_program_does_not_know_rmcp() {
    for (file, text) in code() {
        assert!(!text.contains("rmcp::"), "{file} knows rmcp");
    }
}

#[test]
fn stdout_is_opened_in_one_place() {
    for (file, text) in code() {
        let text = text.replace("stdio::stdout", "");
        for opened in ["io::stdout", "Stdout"] {
            let is_place = file == "crates/bridge/src/stdio/os.rs";
            assert!(is_place || !text.contains(opened), "{file} opens stdout");
        }
    }
}

#[test]
fn what_differs_between_systems_stands_in_few_files() {
    let differs = |text: &str| {
        let text = text.replace("cfg(any(test, ", "");
        ["unix", "windows", "target_os"]
            .iter()
            .any(|system| text.contains(&format!("cfg({system}")))
            || ["cfg(not(", "cfg(all(", "cfg(any("]
                .iter()
                .any(|combined| text.contains(combined))
            || text.contains("std::os::")
    };
    let found: Vec<_> = code()
        .into_iter()
        .filter_map(|(file, text)| differs(&text).then_some(file))
        .collect();
    assert_eq!(found, SYSTEM_SPECIFIC);
    let invariants = section(ARCHITECTURE, "## Invariants");
    for file in SYSTEM_SPECIFIC {
        assert!(invariants.contains(&format!("`{file}`")), "{file}");
    }
}

#[test]
fn durations_are_named_constants() {
    let units = ["from_secs(", "from_millis(", "from_mins("];
    for (file, text) in code() {
        let mut before = "";
        for line in text.lines() {
            let is_literal = units.iter().any(|unit| {
                let value = line.split_once(unit).map(|(_, value)| value);
                value.is_some_and(|value| value.starts_with(|first: char| first.is_ascii_digit()))
            });
            let is_named = line.contains("const ") || before.contains("const ");
            assert!(!is_literal || is_named, "{file}: {}", line.trim());
            before = line;
        }
    }
}

/// Somebody who copies the example has to read it first.
#[test]
fn the_example_to_copy_is_short_and_stands_alone() {
    const MAX_LINES: usize = 200;
    let sources = files("examples/resource-server/src");
    let lines = sources.values().flat_map(|text| text.lines());
    let code = lines.filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("//")
    });
    let count = code.count();
    assert!(count <= MAX_LINES, "{count} lines of code");
    for (name, text) in files("examples/resource-server") {
        let knows_bridge = text.contains("mcp_bridge") || text.contains("path = \"..");
        assert!(!knows_bridge, "{name} knows the bridge");
    }
}
