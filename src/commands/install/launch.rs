//! The command line in an app's entry, in each of the forms that apps write it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::program::launcher::{base_name, launcher_words};

/// Members that hold the program, and its arguments, by app.
const PROGRAM: [&str; 2] = ["command", "cmd"];
const ARGUMENTS: &str = "args";

/// Members that hold the environment.
const ENVIRONMENT: [&str; 3] = ["env", "environment", "envs"];

/// A command line that an app starts.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Launch {
    /// The program and its arguments.
    pub(in crate::commands) words: Vec<String>,
    /// The variables that the entry sets.
    pub(in crate::commands) environment: BTreeMap<String, String>,
    form: LaunchForm,
}

/// The members in which the words stand.
#[derive(Debug, Clone)]
enum LaunchForm {
    /// A program, and a list of arguments.
    Pair(&'static str),
    /// One list.
    List(&'static str),
    /// One text, as for a shell.
    Line(&'static str),
    /// An object of the program's path and its arguments.
    Object(&'static str, Map<String, Value>),
}

impl Launch {
    /// The command line of an entry. None if it has none.
    pub(in crate::commands) fn read(entry: &Map<String, Value>) -> Option<Self> {
        let (name, command) = PROGRAM
            .iter()
            .find_map(|name| Some((*name, entry.get(*name)?)))?;
        let arguments = words(entry.get(ARGUMENTS));
        let (words, form) = match command {
            Value::Array(_) => {
                let words = words(Some(command)).into_iter().chain(arguments);
                (words.collect(), LaunchForm::List(name))
            }
            Value::Object(object) => {
                let path = object.get("path")?.as_str()?.to_owned();
                let words = [path].into_iter().chain(words(object.get(ARGUMENTS)));
                (words.collect(), LaunchForm::Object(name, object.clone()))
            }
            Value::String(line) if arguments.is_empty() && line.contains(' ') => {
                (shlex::split(line)?, LaunchForm::Line(name))
            }
            Value::String(program) => {
                let words = [program.clone()].into_iter().chain(arguments);
                (words.collect(), LaunchForm::Pair(name))
            }
            _ => return None,
        };
        Some(Self {
            words,
            environment: environment(entry),
            form,
        })
    }

    /// Number of words that find and start the bridge, before its own arguments. None if another program is started.
    pub(in crate::commands) fn words_before_bridge(&self, running: &Path) -> Option<usize> {
        let program = self.words.first()?;
        if Path::new(program) == running || base_name(program) == env!("CARGO_PKG_NAME") {
            return Some(1);
        }
        launcher_words(&self.words)
    }

    /// The members that change when the entry starts `program` with `arguments` instead.
    pub(in crate::commands) fn members(
        &self,
        program: &str,
        arguments: &[String],
    ) -> Vec<(&'static str, Value)> {
        match &self.form {
            LaunchForm::Pair(name) | LaunchForm::Line(name) => {
                vec![(name, json!(program)), (ARGUMENTS, json!(arguments))]
            }
            LaunchForm::List(name) => {
                let words = [program].into_iter();
                let words: Vec<_> = words.chain(arguments.iter().map(String::as_str)).collect();
                vec![(name, json!(words))]
            }
            LaunchForm::Object(name, object) => {
                let mut object = object.clone();
                object.insert("path".to_owned(), json!(program));
                object.insert(ARGUMENTS.to_owned(), json!(arguments));
                vec![(name, Value::Object(object))]
            }
        }
    }
}

/// Returns whether an entry starts the bridge: this program, another of its name, or a launcher with its package.
pub(in crate::commands) fn is_bridge(entry: &Map<String, Value>, program: &Path) -> bool {
    Launch::read(entry).is_some_and(|launch| launch.words_before_bridge(program).is_some())
}

/// The variables that an entry sets.
pub(in crate::commands) fn environment(entry: &Map<String, Value>) -> BTreeMap<String, String> {
    let object = PROGRAM
        .iter()
        .find_map(|name| entry.get(*name)?.as_object());
    let objects = [Some(entry), object].into_iter().flatten();
    let variables = objects.flat_map(|object| {
        let sets = ENVIRONMENT.iter();
        sets.filter_map(|name| object.get(*name)?.as_object())
    });
    let variables = variables.flatten();
    variables
        .filter_map(|(name, value)| Some((name.clone(), word(value)?)))
        .collect()
}

/// The words of a list. Some people write a port as a number.
fn words(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(word).collect()
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Returns whether a name in `${…}` is one of a variable of the environment, and not of something that an app fills in.
pub(in crate::commands) fn is_variable(name: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !name.is_empty() && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_written_back_in_the_same_form() {
        let words = ["npx", "-y", "mcp-remote", "https://x.example/", "3334"];
        for (entry, expected) in [
            (
                json!({"command": "npx", "args": ["-y", "mcp-remote", "https://x.example/", 3334]}),
                json!({"command": "b", "args": ["https://x.example/"]}),
            ),
            (
                json!({"cmd": "npx", "args": ["-y", "mcp-remote", "https://x.example/", "3334"]}),
                json!({"cmd": "b", "args": ["https://x.example/"]}),
            ),
            (
                json!({"command": ["npx", "-y", "mcp-remote", "https://x.example/", "3334"]}),
                json!({"command": ["b", "https://x.example/"]}),
            ),
            (
                json!({"command": "npx -y mcp-remote https://x.example/ 3334"}),
                json!({"command": "b", "args": ["https://x.example/"]}),
            ),
            (
                json!({"command": {"path": "npx", "args": ["-y", "mcp-remote", "https://x.example/", "3334"],
                    "env": {"A": "1"}}}),
                json!({"command": {"path": "b", "args": ["https://x.example/"], "env": {"A": "1"}}}),
            ),
        ] {
            let launch = Launch::read(entry.as_object().unwrap()).unwrap();
            assert_eq!(launch.words, words, "{entry}");
            let members = launch.members("b", &["https://x.example/".to_owned()]);
            let members = members.into_iter();
            let members: Map<_, _> = members
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            assert_eq!(Value::Object(members), expected);
        }
        for entry in [json!({"url": "https://x.example/"}), json!({"command": 1})] {
            assert!(
                Launch::read(entry.as_object().unwrap()).is_none(),
                "{entry}"
            );
        }
    }

    #[test]
    fn the_bridge_is_known_by_its_path_or_its_name() {
        let is_ours = |word: &str| {
            let entry = json!({"command": word, "args": ["https://x.example/"]});
            is_bridge(entry.as_object().unwrap(), Path::new("/opt/renamed"))
        };
        for word in [
            "mcp-bridge",
            "/usr/bin/mcp-bridge",
            "mcp-bridge.exe",
            "/opt/renamed",
        ] {
            assert!(is_ours(word), "{word}");
        }
        for word in ["npx", "/opt/other", "mcp-bridge-2"] {
            assert!(!is_ours(word), "{word}");
        }
    }
}
