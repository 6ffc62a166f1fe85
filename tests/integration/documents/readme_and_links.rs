//! The documents: their commands, configurations, help texts and links work.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use mcp_bridge::cli::help;
use mcp_bridge::commands::{CommandLine, ReadError};
use serde::Deserialize;

use crate::program;

const README: &str = include_str!("../../../README.md");
/// Lines of the README. Details are on the pages of `docs`.
const MOST_LINES: usize = 200;

/// The documents at the top of the repository, and the pages of `docs`, by their paths.
fn documents() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "README.md",
        "SECURITY.md",
        "packaging/README.md",
    ];
    let mut documents = files("docs");
    // Beside them are pictures.
    documents.retain(|name, _| Path::new(name).extension().is_some_and(|it| it == "md"));
    documents.extend(top.map(|name| {
        let text = fs::read_to_string(root.join(name)).expect(name);
        (name.to_owned(), text)
    }));
    documents
}

/// The README and the pages for users.
fn pages() -> BTreeMap<String, String> {
    let mut pages = documents();
    let is_page = |name: &str| {
        name == "README.md" || name.starts_with("docs/") && name != "docs/requirements.md"
    };
    pages.retain(|name, _| is_page(name));
    pages
}

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
fn the_readme_is_short() {
    let lines = README.lines().count();
    assert!(lines < MOST_LINES, "{lines} lines");
}

/// Each page is in the table of the README.
#[test]
fn the_readme_leads_to_each_page() {
    for name in pages().keys().filter(|name| *name != "README.md") {
        assert!(README.contains(&format!("]({name})")), "{name}");
    }
}

/// The names of the packages are those of the release workflow.
#[test]
fn the_installation_commands_name_the_packages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = fs::read_to_string(root.join("packaging/names.toml")).expect("the names");
    let name = |key: &str| {
        let start = format!("{key} = \"");
        let line = names
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .expect(key);
        line.trim_end_matches('"').replace("{owner}", "OWNER")
    };
    for command in [
        format!("npm install --global {}", name("npm")),
        format!("npx {}", name("npm")),
        format!("uv tool install {}", name("pypi")),
        format!("pipx install {}", name("pypi")),
        format!("uvx {}", name("pypi")),
        format!("brew install OWNER/TAP/{}", name("homebrew")),
        format!("winget install {}", name("winget")),
        format!("scoop install {}", name("scoop")),
    ] {
        for page in ["README.md", "docs/installation.md"] {
            assert!(
                documents()[page].contains(&format!("`{command}`")),
                "{page}: {command}"
            );
        }
    }
}

#[test]
fn the_apps_in_the_documentation_are_those_of_the_program() {
    let page = &pages()["docs/configuration.md"];
    let (_, list) = page.split_once("Supported apps:").expect("the list");
    let (list, _) = list.split_once(". For any other").expect("its end");
    let mut named: Vec<_> = quoted(list).map(str::to_owned).collect();
    named.sort_unstable();
    let program = CommandLine::command();
    let install = program.find_subcommand("install").expect("a command");
    let client = install.get_arguments().find(|it| it.get_id() == "client");
    let apps = client.expect("an option").get_possible_values();
    let apps: Vec<_> = apps.iter().map(|app| app.get_name().to_owned()).collect();
    assert_eq!(named, apps);
    assert!(README.contains(&format!("[{} apps]", apps.len())));
}

#[test]
fn the_configurations_in_the_documentation_start_the_bridge() {
    let pages = pages();
    let blocks: Vec<_> = pages
        .values()
        .flat_map(|page| blocks(page, "json"))
        .collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let config: AppConfig = serde_json::from_str(block).expect(block);
        for entry in config.mcp_servers.into_values() {
            let arguments = match entry.command.as_str() {
                "docker" => in_container(&entry.args).expect(block),
                command => {
                    assert_eq!(command, env!("CARGO_PKG_NAME"));
                    &entry.args
                }
            };
            let named = entry
                .args
                .windows(2)
                .filter(|pair| pair[0] == "--bearer-env");
            let named = named.map(|pair| pair[1].as_str());
            for name in named.chain(entry.args.iter().filter_map(|text| variable(text))) {
                assert!(entry.env.contains_key(name), "{name} is not set:\n{block}");
            }
            let args = std::iter::once(env!("CARGO_PKG_NAME"));
            let args = args.chain(arguments.iter().map(String::as_str));
            CommandLine::read(args.map(Into::into)).expect(block);
        }
    }
}

/// The arguments of the bridge in a container, out of those of `docker`: behind the name of the image, or of the service.
fn in_container<S: AsRef<str>>(arguments: &[S]) -> Option<&[S]> {
    let mut names = arguments.iter().map(AsRef::as_ref);
    let place =
        names.position(|word| word.starts_with("localhost/mcp-bridge:") || word == "bridge");
    Some(&arguments[place? + 1..])
}

#[test]
fn the_option_files_in_the_documentation_can_be_read() {
    let pages = pages();
    let blocks: Vec<_> = pages
        .values()
        .flat_map(|page| blocks(page, "toml"))
        .collect();
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

/// True if a piece of code in a sentence is a whole command of the program.
fn is_command(text: &str) -> bool {
    text.starts_with("mcp-bridge ") && !text.contains('…')
}

fn is_help(error: &ReadError) -> bool {
    matches!(error, ReadError::Arguments(error) if !error.use_stderr())
}

#[test]
fn the_commands_in_the_documentation_exist() {
    let pages = pages();
    let mut commands = Vec::new();
    for page in pages.values() {
        let blocks = blocks(page, "sh");
        commands.extend(blocks.into_iter().flat_map(str::lines));
        let is_ours = |text: &&str| text.starts_with("cargo ") || is_command(text);
        commands.extend(quoted(page).filter(is_ours));
    }
    assert!(commands.len() >= 30, "{}", commands.len());
    for command in commands {
        check_command(command);
    }
}

/// Fails if a command cannot be carried out as it stands there.
fn check_command(command: &str) {
    let (command, words) = without_variables(command);
    let mut words = words.into_iter();
    match [words.next(), words.next(), words.next(), words.next()] {
        [Some("cargo"), Some("test" | "bench"), None, None]
        | [Some("cargo"), Some("install"), Some("--path"), Some(".")]
        | [
            Some("cargo"),
            Some("build"),
            Some("--release"),
            Some("--target"),
        ]
        | [Some("rustup"), Some("target"), Some("add"), Some(_)]
        | [Some("skopeo"), Some("copy"), ..]
        | [Some("./secrets"), None, ..]
        | [None, ..]
        | [Some("cargo"), Some("binstall"), Some("mcp-bridge"), None] => {}
        [Some("cargo"), Some("run"), Some("--example"), Some(example)] => {
            let sources = files("examples");
            let sources = ["main", "arguments"]
                .map(|file| sources.get(&format!("examples/{example}/{file}.rs")));
            has_flags(
                command,
                words,
                &sources.into_iter().flatten().collect::<Vec<_>>(),
            );
        }
        [Some("cargo"), Some("bench"), Some("--"), first] => {
            let sources = files("benches");
            let main = &sources["benches/bridge/main.rs"];
            has_flags(command, first.into_iter().chain(words), &[main]);
        }
        [Some("docker"), ..] => {
            let words: Vec<_> = command.split_whitespace().collect();
            if let Some(arguments) = in_container(&words) {
                let words = ["mcp-bridge"].into_iter().chain(arguments.iter().copied());
                CommandLine::read(words.map(Into::into)).expect(command);
            }
        }
        [
            Some("kubectl"),
            Some("apply"),
            Some("--filename"),
            Some(path),
        ]
        | [Some("cd" | "packaging/container/build"), Some(path), ..] => {
            let program = command.split_whitespace().next().expect("a word");
            let path = if program.contains('/') { program } else { path };
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            assert!(root.join(path).exists(), "{command}");
        }
        [Some("mcp-bridge"), ..] => {
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

/// Fails if a flag among the words is no field of the arguments in these sources.
fn has_flags<'a>(command: &str, words: impl Iterator<Item = &'a str>, sources: &[&String]) {
    for flag in words.filter(|word| word.starts_with("--") && *word != "--") {
        let name = flag.trim_start_matches("--").replace('-', "_");
        let field = format!(" {name}: ");
        assert!(
            sources.iter().any(|source| source.contains(&field)),
            "{command}"
        );
    }
}

/// A command without its comment and without the variables that it is given, and its words.
fn without_variables(command: &str) -> (&str, Vec<&str>) {
    let mut rest = command.split(" #").next().unwrap_or_default();
    rest = if rest.starts_with('#') {
        ""
    } else {
        rest.trim()
    };
    while let Some((word, after)) = rest.split_once(' ')
        && (word == "export" || word.contains('=') && !word.starts_with('-'))
    {
        rest = after;
    }
    if !rest.contains(' ') && rest.contains('=') {
        rest = "";
    }
    (rest, rest.split_whitespace().collect())
}

/// Cut to the width that the page has room for.
#[test]
fn the_help_in_the_documentation_is_that_of_the_program() {
    let program = program::program().arg("--help");
    let help = program.env("COLUMNS", "100").run_blocking().stdout;
    let page = &pages()["docs/options.md"];
    let block = blocks(section(page, "## Overview"), "text");
    assert_eq!(
        block,
        [help.trim_end()],
        "put the output of `COLUMNS=100 mcp-bridge --help | cat` there"
    );
}

/// The rows of the table of groups, with some of the flags of each.
#[test]
fn the_groups_in_the_documentation_are_those_of_the_program() {
    let program = CommandLine::command();
    let groups = help::topics(&program);
    let groups: Vec<_> = groups.iter().filter(|topic| *topic != help::ALL).collect();
    let page = &pages()["docs/options.md"];
    let rows = section(page, "## Groups of options").lines();
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

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter
            .is_alphanumeric()
            .then(|| letter.to_ascii_lowercase()),
    });
    letters.collect()
}

fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for (name, document) in &documents() {
        let folder = root.join(name);
        let folder = folder.parent().expect("the folder of the document");
        for link in document.split("](").skip(1) {
            let target = link.split(')').next().expect("a link");
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                root.join(name)
            } else {
                folder.join(file)
            };
            assert!(path.exists(), "{name}: {target}");
            if !anchor.is_empty() {
                let text = fs::read_to_string(path).expect("a document");
                assert!(anchors(&text).contains(anchor), "{name}: {target}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 40, "{checked}");
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
