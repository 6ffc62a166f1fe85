//! `--config PATH`: a TOML file for what does not fit a line.
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
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml_edit::{Document, Item, Value};

const FLAG: &str = "--config";

/// Flags that say the same thing in other words: one on the command line silences the others in the file.
const RIVALS: [&[&str]; 3] = [
    &["log_level", "debug", "silent"],
    &["resource", "disable_resource_parameter"],
    &["client_id", "static_oauth_client_info"],
];

/// Flags whose value may be `@FILE`.
const AT_FILE: [&str; 2] = ["static_oauth_client_info", "static_oauth_client_metadata"];

/// Why a file cannot be used.
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
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        hint: Option<String>,
    },
}

impl FileError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Line { hint, .. } => hint.as_deref(),
        }
    }
}

/// The arguments of `program`, together with those that stand in the file that they name, if they do.
pub fn with_file(args: Vec<OsString>, program: &Command) -> Result<Vec<OsString>, FileError> {
    let is_config = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with(FLAG));
    if !args.iter().any(is_config) {
        return Ok(args);
    }
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
    let file = File {
        path,
        text: &text,
        probe: program.clone().mut_arg("url", |url| url.required(false)),
    };
    let line = Line { command, matches };
    let found = file.arguments(program, &line)?;
    let mut args = args;
    args.splice(start..start, found.flags.into_iter().chain(found.url));
    args.extend(found.callback_port);
    Ok(args)
}

/// The arguments that a file stands for.
#[derive(Debug, Default)]
struct Arguments {
    flags: Vec<OsString>,
    url: Option<OsString>,
    callback_port: Option<OsString>,
}

/// The command line as it was typed.
struct Line<'a> {
    command: &'a Command,
    matches: &'a ArgMatches,
}

impl Line<'_> {
    /// The argument, if this command has it.
    fn arg(&self, id: &str) -> Option<&Arg> {
        self.command.get_arguments().find(|arg| arg.get_id() == id)
    }

    fn has(&self, id: &str) -> bool {
        let known = self.arg(id).is_some();
        known && self.matches.value_source(id) == Some(ValueSource::CommandLine)
    }

    /// Whether the command line says something that `arg` in the file would contradict.
    fn outdoes(&self, arg: &Arg) -> bool {
        let id = arg.get_id().as_str();
        if self.has(id) && !matches!(arg.get_action(), ArgAction::Append) {
            return true;
        }
        let excludes = |one: &Arg, other: &Arg| {
            let excluded = self.command.get_arg_conflicts_with(one);
            excluded.iter().any(|it| it.get_id() == other.get_id())
        };
        let rivals = RIVALS.iter().filter(|rivals| rivals.contains(&id));
        let mut rivals = rivals.copied().flatten();
        let is_authorization = matches!(id, "bearer_env" | "auth_command");
        let mut others = self.command.get_arguments();
        rivals.any(|rival| *rival != id && self.has(rival))
            || is_authorization && self.has_authorization()
            || others.any(|it| {
                self.has(it.get_id().as_str()) && (excludes(arg, it) || excludes(it, arg))
            })
    }

    /// Whether it has an `Authorization` header of its own.
    fn has_authorization(&self) -> bool {
        let is_authorization = |text: &String| {
            let name = text.split([':', '=']).next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case("authorization")
        };
        ["header", "header_env"].iter().any(|id| {
            let given = self.matches.try_get_many::<String>(id);
            given
                .ok()
                .flatten()
                .is_some_and(|mut it| it.any(is_authorization))
        })
    }
}

/// A file on its way to become arguments.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    /// Reads one argument at a time, so that what is wrong with it is told with its line.
    probe: Command,
}

impl File<'_> {
    fn arguments(&self, program: &Command, line: &Line<'_>) -> Result<Arguments, FileError> {
        let document = Document::parse(self.text).map_err(|error| {
            let problem = error.message().to_owned();
            self.wrong(error.span(), problem, None)
        })?;
        let table = document.as_table();
        let mut found = Arguments::default();
        for (key, item) in table {
            let span = table.key(key).and_then(toml_edit::Key::span);
            match key {
                "url" => {
                    let url = self.word(span, key, item)?;
                    found.url = (line.arg("url").is_some() && !line.has("url")).then(|| url.into());
                }
                "callback-port" => {
                    let port = self.word(span, key, item)?;
                    let takes_port = line.arg("callback_port").is_some_and(Arg::is_positional);
                    found.callback_port =
                        (takes_port && !line.has("callback_port")).then(|| port.into());
                }
                "headers" => self.table(item, span, "header", ": ", &mut found.flags)?,
                "header-env" if item.is_table_like() => {
                    self.table(item, span, "header-env", "=", &mut found.flags)?;
                }
                _ => {
                    let arg = self.flag(program, key, &span)?;
                    let words = self.words(arg, item, &span)?;
                    let fits = line.arg(arg.get_id().as_str()).is_some();
                    if fits && !line.outdoes(arg) {
                        found.flags.extend(words);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The flag of that name, which the bridge has even if this command does not.
    fn flag<'p>(
        &self,
        program: &'p Command,
        key: &str,
        span: &Option<Range<usize>>,
    ) -> Result<&'p Arg, FileError> {
        let mut flags = program.get_arguments();
        let flag = flags.find(|arg| arg.get_long() == Some(key) && arg.get_id() != "config");
        flag.ok_or_else(|| {
            let probed = self.probe(&format!("--{key}").into());
            let suggested = match probed
                .as_ref()
                .and_then(|it| it.get(ContextKind::SuggestedArg))
            {
                Some(ContextValue::String(name)) => Some(name.trim_start_matches('-')),
                _ => None,
            };
            let hint = suggested.map(|name| format!("there is `{name}`"));
            self.wrong(span.clone(), format!("there is no flag `{key}`"), hint)
        })
    }

    /// The words that a key stands for.
    fn words(
        &self,
        arg: &Arg,
        item: &Item,
        span: &Option<Range<usize>>,
    ) -> Result<Vec<OsString>, FileError> {
        let name = arg.get_long().unwrap_or_default();
        let values = match (arg.get_action(), item) {
            (ArgAction::SetTrue, Item::Value(Value::Boolean(on))) => {
                let word = on.value().then(|| format!("--{name}").into());
                return Ok(word.into_iter().collect());
            }
            (ArgAction::SetTrue, _) => {
                return Err(self.wrong_type(span, name, "true or false"));
            }
            (ArgAction::Append, Item::Value(Value::Array(values))) => {
                let words = values.iter().map(word).collect::<Option<Vec<_>>>();
                words.ok_or_else(|| self.wrong_type(span, name, "an array of strings"))?
            }
            (_, item) => vec![self.word(span.clone(), name, item)?],
        };
        let words = values.into_iter().map(|value| {
            let mut word = OsString::from(format!("--{name}="));
            word.push(self.beside(arg, value));
            self.check(&word, span).map(|()| word)
        });
        words.collect()
    }

    /// A table of headers.
    fn table(
        &self,
        item: &Item,
        span: Option<Range<usize>>,
        flag: &str,
        between: &str,
        words: &mut Vec<OsString>,
    ) -> Result<(), FileError> {
        let Some(table) = item.as_table_like() else {
            return Err(self.wrong_type(&span, flag, "a table of strings"));
        };
        for (name, item) in table.iter() {
            let span = table.key(name).and_then(toml_edit::Key::span);
            let value = self.word(span, name, item)?;
            words.push(format!("--{flag}={name}{between}{value}").into());
        }
        Ok(())
    }

    fn word(
        &self,
        span: Option<Range<usize>>,
        name: &str,
        item: &Item,
    ) -> Result<String, FileError> {
        let value = item.as_value().and_then(word);
        value.ok_or_else(|| self.wrong_type(&span, name, "a string or a number"))
    }

    /// A path that is relative is so to the file.
    fn beside(&self, arg: &Arg, value: String) -> OsString {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        if is_path {
            return folder.join(value).into();
        }
        match value.strip_prefix('@') {
            Some(path) if AT_FILE.contains(&arg.get_id().as_str()) => {
                let mut word = OsString::from("@");
                word.push(folder.join(path));
                word
            }
            _ => value.into(),
        }
    }

    fn check(&self, word: &OsString, span: &Option<Range<usize>>) -> Result<(), FileError> {
        let Some(error) = self.probe(word) else {
            return Ok(());
        };
        if !matches!(
            error.kind(),
            ErrorKind::InvalidValue | ErrorKind::ValueValidation
        ) {
            return Ok(());
        }
        let text = error.to_string();
        let problem = text.split("\n\nFor more").next().unwrap_or_default();
        let problem = problem.trim_start_matches("error: ").trim();
        Err(self.wrong(span.clone(), problem.to_owned(), None))
    }

    /// What is wrong with one argument by itself.
    fn probe(&self, word: &OsString) -> Option<clap::Error> {
        let words = [OsString::from(env!("CARGO_PKG_NAME")), word.clone()];
        self.probe.clone().try_get_matches_from(words).err()
    }

    fn wrong_type(&self, span: &Option<Range<usize>>, name: &str, expected: &str) -> FileError {
        self.wrong(span.clone(), format!("`{name}` has to be {expected}"), None)
    }

    fn wrong(
        &self,
        span: Option<Range<usize>>,
        problem: String,
        hint: Option<String>,
    ) -> FileError {
        let before = self.text.get(..span.map_or(0, |span| span.start));
        FileError::Line {
            path: self.path.to_owned(),
            line: 1 + before.unwrap_or_default().matches('\n').count(),
            problem,
            hint,
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
