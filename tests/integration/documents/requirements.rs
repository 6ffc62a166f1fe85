//! The catalogue of requirements (`docs/requirements.md`) and the ids by which tests name its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const CATALOGUE: &str = include_str!("../../../docs/requirements.md");

/// The prefixes of ids that have a hyphen (`HL-6`), and of those that have none (`B4`).
const PREFIXES: [&str; 12] = [
    "HC", "HM", "HL", "HS", "SSE", "P", "ST", "E", "T", "U", "A", "X",
];
const BARE_PREFIXES: [&str; 2] = ["B", "I"];

/// An elliptic curve, which looks like an id.
const CURVE: &str = "P-256";

/// Beginnings of the reason in a row without a test.
const REASONS: [&str; 2] = ["*Not tested", "*Checked by"];

fn is_number(text: &str) -> bool {
    let digits = text.strip_suffix('b').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_id(word: &str) -> bool {
    if let Some((prefix, number)) = word.split_once('-') {
        return word != CURVE && PREFIXES.contains(&prefix) && is_number(number);
    }
    let number = BARE_PREFIXES.iter().find_map(|it| word.strip_prefix(it));
    number.is_some_and(is_number)
}

fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-' || letter == '_'))
        .filter(|word| is_id(word))
}

/// The lines of Rust files and transcripts that are comments.
fn comments(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                found.extend(comments(&path));
            }
            continue;
        }
        let start = match path.extension().and_then(|it| it.to_str()) {
            Some("rs") => "//",
            Some("txt") => "#",
            _ => continue,
        };
        let text = fs::read_to_string(&path).expect("a text");
        let lines = text.lines().map(str::trim_start);
        found.extend(
            lines
                .filter(|line| line.starts_with(start))
                .map(str::to_owned),
        );
    }
    found
}

/// The ids that tests name, wherever tests stand.
fn named() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "crates", "tests"].map(|name| root.join(name));
    let lines: Vec<_> = folders
        .iter()
        .filter(|folder| folder.exists())
        .flat_map(|folder| comments(folder))
        .collect();
    let all = lines.iter().flat_map(|line| ids(line));
    all.map(str::to_owned).collect()
}

struct Row {
    requirement: &'static str,
    source: &'static str,
}

fn rows() -> BTreeMap<&'static str, Row> {
    let mut rows = BTreeMap::new();
    for line in CATALOGUE.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, requirement, source] = cells[..] else {
            panic!("not three cells: {line}");
        };
        if id == "id" || id == "---" {
            continue;
        }
        assert!(is_id(id), "no id: {line}");
        let row = Row {
            requirement,
            source,
        };
        assert!(rows.insert(id, row).is_none(), "{id} has two rows");
    }
    rows
}

#[test]
fn every_requirement_that_a_test_names_is_in_the_catalogue() {
    let rows = rows();
    let named = named();
    assert!(named.len() > 100, "the tests were not found");
    let missing: Vec<_> = named
        .iter()
        .filter(|id| !rows.contains_key(id.as_str()))
        .collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

#[test]
fn every_requirement_is_named_by_a_test_or_says_why_not() {
    let named = named();
    for (id, row) in rows() {
        let has_reason = REASONS.iter().any(|it| row.requirement.contains(it));
        assert!(named.contains(id) || has_reason, "no test names {id}");
    }
}

#[test]
fn every_requirement_has_a_link_to_its_source() {
    let definitions = CATALOGUE.lines().filter(|line| line.starts_with('['));
    let links: BTreeMap<_, _> = definitions
        .map(|line| line.split_once("]: ").expect("a link"))
        .collect();
    let mut used = BTreeSet::new();
    for (id, row) in rows() {
        let labels: Vec<_> = row.source.split(']').filter(|it| !it.is_empty()).collect();
        assert!(!labels.is_empty(), "{id} has no source");
        for label in labels {
            let label = label.trim_start_matches([',', ' ']);
            let link = links.get(label);
            assert!(
                link.is_some_and(|it| it.starts_with("https://")),
                "{id}: {label}]"
            );
            used.insert(label);
        }
    }
    let unused: Vec<_> = links.keys().filter(|it| !used.contains(*it)).collect();
    assert!(unused.is_empty(), "links that no row uses: {unused:?}");
}
