//! Configuration file (`--config PATH`, TOML).
//!
//! ```toml
//! url = "https://mcp.example.com/mcp"
//! callback-port = 8765
//! client-id = "bridge"
//! no-browser = true
//! ca-cert = ["company.pem"]
//!
//! [headers]
//! X-Tenant = "${TENANT}"
//!
//! [header-env]
//! X-Api-Key = "EXAMPLE_KEY"
//! ```
//!
//! A key is the long name of a flag. The file becomes arguments in front of those of the command line, without
//! those that the command line has itself, or says otherwise; so there is one place that knows what flags mean.

use std::any::TypeId;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use toml_edit::{Document, Item, Key, Value};

use super::precedence::CommandLineFlags;

const FLAG: &str = "--config";

/// Flags whose value may be `@FILE`.
const AT_FILE: [&str; 3] = [
    "static_oauth_client_info",
    "static_oauth_client_metadata",
    "store",
];

/// Flags whose value may be `file:PATH`.
const SOURCES: [&str; 4] = [
    "workload_token",
    "subject_token",
    "client_assertion",
    "idp_id_token",
];

/// Error of a `--config` file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        error: std::io::Error,
    },
    /// A line of it cannot be meant.
    #[error("{path}:{line}: {problem}", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1 on.
        line: usize,
        /// The problem.
        problem: String,
        /// Correct spelling, if there is one that is meant.
        hint: Option<String>,
    },
}

impl FileError {
    /// Advice for the user.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::Unreadable { .. } => "check the path, and who may read it",
            Self::Line { hint, .. } => hint
                .as_deref()
                .unwrap_or("mcp-bridge help all shows what each option takes"),
        }
    }
}

/// The arguments of `program`, together with those that stand in the file that they name, if they do.
pub fn with_file(
    args: Vec<OsString>,
    program: impl FnOnce() -> Command,
) -> Result<Vec<OsString>, FileError> {
    let is_config = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with(FLAG));
    if !args.iter().any(is_config) {
        return Ok(args);
    }
    let program = program();
    // What is wrong with the arguments comes out when all of them are there.
    let mut first_look = program.clone().ignore_errors(true);
    let Ok(matches) = first_look.try_get_matches_from_mut(&args) else {
        return Ok(args);
    };
    let (command, matches, start) = match matches.subcommand() {
        Some((name, matches)) => {
            let Some(command) = first_look.find_subcommand(name) else {
                return Ok(args);
            };
            let place = args.iter().position(|word| word == name);
            (command, matches, place.map_or(1, |place| place + 1))
        }
        None => (&first_look, &matches, 1),
    };
    let Ok(Some(path)) = matches.try_get_one::<PathBuf>("config") else {
        return Ok(args);
    };
    let text = fs::read_to_string(path).map_err(|error| FileError::Unreadable {
        path: path.clone(),
        error,
    })?;
    let file = FlagFile {
        path,
        text: &text,
        probe: program.clone().mut_arg("url", |url| url.required(false)),
    };
    let found = file.arguments(&program, &CommandLineFlags { command, matches })?;
    let mut args = args;
    args.splice(start..start, found.flags.into_iter().chain(found.url));
    args.extend(found.callback_port);
    Ok(args)
}

/// The flags that a file with this text stands for, beside a command line without any.
#[cfg(any(test, fuzzing))]
pub(crate) fn flags_in(text: &str, program: &Command) -> Result<Vec<OsString>, FileError> {
    let probe = program.clone().mut_arg("url", |url| url.required(false));
    let matches = probe
        .clone()
        .ignore_errors(true)
        .get_matches_from(["mcp-bridge"]);
    let line = CommandLineFlags {
        command: program,
        matches: &matches,
    };
    let path = Path::new("mcp-bridge.toml");
    let found = FlagFile { path, text, probe }.arguments(program, &line)?;
    Ok(found.flags)
}

/// The arguments that a file stands for.
#[derive(Debug, Default)]
struct Arguments {
    flags: Vec<OsString>,
    url: Option<OsString>,
    callback_port: Option<OsString>,
}

/// A file on its way to become arguments.
struct FlagFile<'a> {
    path: &'a Path,
    text: &'a str,
    /// Reads one argument at a time, so that what is wrong with it is told with its line.
    probe: Command,
}

/// A key with its value.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a str,
    item: &'a Item,
    /// The number of its line.
    line: usize,
}

impl FlagFile<'_> {
    fn arguments(
        &self,
        program: &Command,
        given: &CommandLineFlags<'_>,
    ) -> Result<Arguments, FileError> {
        let document = Document::parse(self.text).map_err(|error| {
            let line = self.line(error.span().map(|span| span.start));
            self.wrong(line, error.message())
        })?;
        let mut found = Arguments::default();
        for (key, item) in document.as_table() {
            let entry = self.entry(key, item, document.as_table().key(key));
            match key {
                "url" => {
                    let url = self.word(entry)?;
                    let is_wanted = given.arg("url").is_some() && !given.has("url");
                    found.url = is_wanted.then(|| url.into());
                }
                "callback-port" => {
                    let port = self.word(entry)?;
                    let takes_port = given.arg("callback_port").is_some_and(Arg::is_positional);
                    let is_wanted = takes_port && !given.has("callback_port");
                    found.callback_port = is_wanted.then(|| port.into());
                }
                "headers" => found.flags.extend(self.headers(entry, "header", ": ")?),
                "header-env" if item.is_table_like() => {
                    found.flags.extend(self.headers(entry, "header-env", "=")?);
                }
                _ => {
                    let arg = self.flag(program, entry)?;
                    let words = self.words(arg, entry)?;
                    let fits = given.arg(arg.get_id().as_str()).is_some();
                    if fits && !given.outdoes(arg) {
                        found.flags.extend(words);
                    }
                }
            }
        }
        Ok(found)
    }

    fn entry<'e>(&self, key: &'e str, item: &'e Item, place: Option<&Key>) -> Entry<'e> {
        let start = place.and_then(Key::span).map(|span| span.start);
        let line = self.line(start);
        Entry { key, item, line }
    }

    /// The flag of that name, which the bridge has even if this command does not.
    fn flag<'p>(&self, program: &'p Command, entry: Entry<'_>) -> Result<&'p Arg, FileError> {
        let key = entry.key;
        let mut flags = program.get_arguments();
        let flag = flags.find(|arg| arg.get_long() == Some(key) && arg.get_id() != "config");
        flag.ok_or_else(|| {
            let probed = self.probe(&format!("--{key}").into());
            let suggested = probed
                .as_ref()
                .and_then(|it| it.get(ContextKind::SuggestedArg));
            let hint = match suggested {
                Some(ContextValue::String(name)) => {
                    Some(format!("there is `{}`", name.trim_start_matches('-')))
                }
                _ => None,
            };
            FileError::Line {
                path: self.path.to_owned(),
                line: entry.line,
                problem: format!("there is no flag `{key}`"),
                hint,
            }
        })
    }

    /// The words that a key stands for.
    fn words(&self, arg: &Arg, entry: Entry<'_>) -> Result<Vec<OsString>, FileError> {
        let values = match (arg.get_action(), entry.item) {
            (ArgAction::SetTrue, Item::Value(Value::Boolean(on))) => {
                let word = on.value().then(|| format!("--{}", entry.key).into());
                return Ok(word.into_iter().collect());
            }
            (ArgAction::SetTrue, _) => return Err(self.wrong_type(entry, "true or false")),
            (ArgAction::Append, Item::Value(Value::Array(values))) => {
                let words = values.iter().map(word).collect::<Option<Vec<_>>>();
                words.ok_or_else(|| self.wrong_type(entry, "an array of strings"))?
            }
            _ => vec![self.word(entry)?],
        };
        let words = values.into_iter().map(|value| {
            let mut word = OsString::from(format!("--{}=", entry.key));
            word.push(self.beside(arg, value));
            self.check(&word, entry.line).map(|()| word)
        });
        words.collect()
    }

    /// The words that a table of headers stands for.
    fn headers(
        &self,
        entry: Entry<'_>,
        flag: &str,
        between: &str,
    ) -> Result<Vec<OsString>, FileError> {
        let table = entry.item.as_table_like();
        let table = table.ok_or_else(|| self.wrong_type(entry, "a table of strings"))?;
        let headers = table.iter().map(|(name, item)| {
            let value = self.word(self.entry(name, item, table.key(name)))?;
            Ok(format!("--{flag}={name}{between}{value}").into())
        });
        headers.collect()
    }

    fn word(&self, entry: Entry<'_>) -> Result<String, FileError> {
        let value = entry.item.as_value().and_then(word);
        value.ok_or_else(|| self.wrong_type(entry, "a string or a number"))
    }

    /// A path that is relative is so to the file.
    fn beside(&self, arg: &Arg, value: String) -> OsString {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        if is_path {
            return folder.join(value).into();
        }
        let id = arg.get_id().as_str();
        let prefixes = [("@", &AT_FILE[..]), ("file:", &SOURCES[..])];
        let prefixes = prefixes.iter().filter(|(_, flags)| flags.contains(&id));
        for (prefix, _) in prefixes {
            if let Some(path) = value.strip_prefix(prefix) {
                let mut word = OsString::from(prefix);
                word.push(folder.join(path));
                return word;
            }
        }
        value.into()
    }

    fn check(&self, word: &OsString, line: usize) -> Result<(), FileError> {
        let is_about_the_value = |error: &clap::Error| {
            matches!(
                error.kind(),
                ErrorKind::InvalidValue | ErrorKind::ValueValidation
            )
        };
        let Some(error) = self.probe(word).filter(is_about_the_value) else {
            return Ok(());
        };
        let text = error.to_string();
        let problem = text.split("\n\nFor more").next().unwrap_or_default();
        Err(self.wrong(line, problem.trim_start_matches("error: ").trim()))
    }

    /// Error in one argument by itself.
    fn probe(&self, word: &OsString) -> Option<clap::Error> {
        let words = [OsString::from(env!("CARGO_PKG_NAME")), word.clone()];
        self.probe.clone().try_get_matches_from(words).err()
    }

    fn line(&self, start: Option<usize>) -> usize {
        let before = self.text.get(..start.unwrap_or_default());
        1 + before.unwrap_or_default().matches('\n').count()
    }

    fn wrong_type(&self, entry: Entry<'_>, expected: &str) -> FileError {
        self.wrong(entry.line, &format!("`{}` has to be {expected}", entry.key))
    }

    fn wrong(&self, line: usize, problem: &str) -> FileError {
        FileError::Line {
            path: self.path.to_owned(),
            line,
            problem: problem.to_owned(),
            hint: None,
        }
    }
}

/// A value as it is typed on a command line.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}
