//! Runner of transcript files, which are played against state machines: lines, JSON with names, and comparison.
//!
//! The words of the lines are the business of each [`Player`]; the READMEs beside the transcripts describe them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// A state machine, and what a transcript may say of it.
pub trait Player {
    /// Plays one line.
    ///
    /// # Errors
    ///
    /// If the line does not hold or has no meaning: the difference.
    fn line(&mut self, line: &str) -> Result<(), String>;

    /// Describes the actions that the transcript has not mentioned yet.
    fn left(&self) -> Vec<String>;

    /// Checks that the transcript has mentioned all actions.
    ///
    /// # Errors
    ///
    /// The actions that are left.
    fn nothing_left(&self) -> Result<(), String> {
        let left = self.left();
        if left.is_empty() {
            return Ok(());
        }
        Err(format!(
            "  not mentioned: {}",
            left.join("\n                 ")
        ))
    }
}

/// Plays each transcript of a folder to a player of its own.
///
/// # Panics
///
/// If the folder has no transcripts, or one of them does not hold.
pub fn play_folder<P: Player>(folder: &Path, player: impl Fn() -> P) {
    let files = entries(folder);
    assert!(!files.is_empty(), "no transcripts in {}", folder.display());
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a transcript");
        if let Err(difference) = play(player(), &text) {
            wrong.extend(["\n", &file.display().to_string(), ":", &difference, "\n"]);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The entries of a folder, sorted.
///
/// # Panics
///
/// If the folder cannot be read.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of transcripts")
        .map(|entry| entry.expect("a transcript").path())
        .collect();
    entries.sort();
    entries
}

/// The number of the first line that does not hold, and why.
fn play(mut player: impl Player, text: &str) -> Result<(), String> {
    if !text.starts_with("# ") {
        return Err("1: the first line is to tell the point, after a #".to_owned());
    }
    let lines = joined(text);
    for (number, line) in &lines {
        player
            .line(line)
            .map_err(|difference| format!("{number}: {line}\n{difference}"))?;
    }
    let last = lines.last().map_or(1, |(number, _)| *number);
    player
        .nothing_left()
        .map_err(|difference| format!("{last}: after the end\n{difference}"))
}

/// The lines that say something, each with the indented ones that continue it.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        match lines.last_mut() {
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            Some((_, last)) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push((at + 1, line.trim_end().to_owned())),
        }
    }
    lines
}

/// Values of the names in a transcript's JSON (`"$name"`).
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, Value>);

impl Names {
    /// Gives a name to a value.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Plays a line `let NAME JSON`.
    ///
    /// # Errors
    ///
    /// If the line has another form.
    pub fn play_let(&mut self, rest: &str) -> Result<(), String> {
        let (name, value) = rest.split_once(' ').ok_or("let NAME JSON")?;
        let value = self.json(value)?;
        self.set(name, value);
        Ok(())
    }

    /// Parses JSON, with the values of names that are known.
    ///
    /// # Errors
    ///
    /// If the text is no JSON.
    pub fn json(&self, text: &str) -> Result<Value, String> {
        let value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        Ok(self.filled(value))
    }

    fn filled(&self, value: Value) -> Value {
        match value {
            Value::String(text) => match text.strip_prefix('$').and_then(|name| self.0.get(name)) {
                Some(known) => known.clone(),
                None => Value::String(text),
            },
            Value::Array(items) => items.into_iter().map(|item| self.filled(item)).collect(),
            Value::Object(members) => {
                let mut filled = Map::new();
                for (name, value) in members {
                    match (&*name, self.filled(value)) {
                        ("...", Value::Object(more)) => filled.extend(more),
                        (_, value) => drop(filled.insert(name, value)),
                    }
                }
                Value::Object(filled)
            }
            other => other,
        }
    }

    /// Returns whether a JSON-RPC message is as expected, where `"jsonrpc": "2.0"` is left out.
    ///
    /// # Errors
    ///
    /// If one of the texts is no JSON.
    pub fn matches_message(&mut self, expected: &str, message: &[u8]) -> Result<bool, String> {
        let mut actual: Value =
            serde_json::from_slice(message).map_err(|error| error.to_string())?;
        let members = actual.as_object_mut();
        let version = members.and_then(|members| members.remove("jsonrpc"));
        let expected = self.json(expected)?;
        Ok(version == Some("2.0".into()) && self.matches(&expected, &actual))
    }

    /// Returns whether JSON is as expected. A name without a value gets the one that is there; `"...": 0` allows other
    /// members.
    pub fn matches(&mut self, expected: &Value, actual: &Value) -> bool {
        match (expected, actual) {
            (Value::String(text), _) if text == "$_" => true,
            (Value::String(text), _) if text.starts_with('$') => {
                let known = self.0.entry(text[1..].to_owned());
                known.or_insert_with(|| actual.clone()) == actual
            }
            (Value::Object(expected), Value::Object(actual)) => {
                let is_rest = |name: &str, value: &Value| name == "..." && *value == 0;
                let is_open = expected.iter().any(|(name, value)| is_rest(name, value));
                let mut count = 0;
                let named = expected
                    .iter()
                    .filter(|(name, value)| !is_rest(name, value));
                let all = named.into_iter().all(|(name, value)| {
                    count += 1;
                    let actual = actual.get(name);
                    actual.is_some_and(|actual| self.matches(value, actual))
                });
                all && (is_open || count == actual.len())
            }
            (Value::Array(expected), Value::Array(actual)) => {
                expected.len() == actual.len()
                    && expected
                        .iter()
                        .zip(actual)
                        .all(|(one, other)| self.matches(one, other))
            }
            _ => expected == actual,
        }
    }
}
