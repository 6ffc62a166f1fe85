//! Checks of an entry by what stands in its file: the program, the arguments, the variables.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::FoundEntry;
use super::environment;
use super::quoting;
use super::session::{self, StartedEntry};
use crate::commands::doctor::check::{Check, CheckName, CheckOutcome};
use crate::commands::doctor::report::Report;
use crate::commands::install::apps::{AppEnvironment, System};
use crate::commands::install::flags;
use crate::commands::install::launch::{Launch, is_variable};
use crate::commands::install::lookup::{LookupError, find, is_path};
use crate::commands::install::mask::Mask;
use crate::commands::install::program::launcher::shell_words;
use crate::commands::install::program::location::{Location, lasting_alias};
use crate::commands::migrate::{conversion, remote};

/// Bytes of the first line of a script.
const LONGEST_INTERPRETER: usize = 128;

/// An entry under examination.
pub(super) struct ExaminedEntry<'a> {
    found: &'a FoundEntry,
    /// All entries of the app.
    others: &'a [FoundEntry],
    app: AppEnvironment,
    system: System,
    mask: Mask,
    /// The variables of the app's programs, with those of the entry.
    variables: BTreeMap<OsString, OsString>,
}

/// Reason why the entry is not started.
type NotStarted = &'static str;

impl<'a> ExaminedEntry<'a> {
    pub(super) fn new(found: &'a FoundEntry, others: &'a [FoundEntry]) -> Self {
        let app = found.place.client.app().program_environment();
        let system = System::named(env::consts::OS);
        let listed = found.entry.get("env_vars").and_then(Value::as_array);
        let listed = listed.into_iter().flatten().filter_map(Value::as_str);
        let listed: Vec<_> = listed.map(str::to_owned).collect();
        Self {
            found,
            others,
            app,
            system,
            mask: Mask::of(&[(found.name.clone(), found.entry.clone())]),
            variables: environment::variables(app, system, &listed),
        }
    }

    /// Makes all checks. Returns the reason for which the rest is left out.
    pub(super) async fn examine(mut self, report: &mut Report<'_>) -> NotStarted {
        report.add(Check::passed(CheckName::File, "can be read"));
        report.add(self.enabled());
        let Some(launch) = Launch::read(&self.found.entry) else {
            return "the entry has no command";
        };
        let Some(count) = launch.words_before_bridge(&env::current_exe().unwrap_or_default())
        else {
            return "the entry does not start the bridge";
        };
        let variables = self.add_variables(&launch);
        let mut program = self.program(report, &launch.words[0], count);
        let shell = shell_words(&launch.words);
        if shell > 0 && program.is_some() {
            let started = self.program(report, &launch.words[shell], count - shell);
            program = program.filter(|_| started.is_some());
        }
        for check in self.quoting(&launch, program.as_deref()) {
            report.add(check);
        }
        let arguments = &launch.words[count..];
        let is_understood = conversion::check(arguments);
        report.add(match &is_understood {
            Ok(_) => Check::passed(CheckName::Arguments, "the bridge understands them"),
            Err(error) => Check::failed(CheckName::Arguments, self.mask.apply(error))
                .fix("mcp-bridge help all explains every option"),
        });
        let has_variables = self.report_variables(report, arguments, variables);
        report.add(self.duplicates(arguments));
        match program {
            None => "the program cannot be started",
            Some(_) if is_understood.is_err() => "the bridge would not start with these arguments",
            Some(_) if !has_variables => "a variable is missing",
            Some(file) => {
                let entry = StartedEntry {
                    file: &file,
                    arguments: &launch.words[1..],
                    of_bridge: arguments,
                    variables: &self.variables,
                    mask: &self.mask,
                };
                session::examine(report, &entry).await;
                "the step before it failed"
            }
        }
    }

    fn enabled(&self) -> Check {
        let entry = &self.found.entry;
        let is_off = entry.get("disabled") == Some(&Value::Bool(true))
            || entry.get("enabled") == Some(&Value::Bool(false));
        if is_off {
            return Check::warning(CheckName::Enabled, "the entry is switched off")
                .fix("switch it on in the app, or run mcp-bridge install again");
        }
        Check::passed(CheckName::Enabled, "the app may start it")
    }

    /// Adds the variables of the entry to the environment. Returns those whose values the app fills in from others that
    /// are not there.
    fn add_variables(&mut self, launch: &Launch) -> Vec<(String, String)> {
        let mut missing = Vec::new();
        for (name, value) in &launch.environment {
            let value = match reference(value) {
                None => Some(OsString::from(value)),
                Some(source) => env::var_os(source),
            };
            let Some(value) = value else {
                let source = reference(&launch.environment[name]).unwrap_or_default();
                missing.push((name.clone(), source.to_owned()));
                continue;
            };
            self.variables.insert(name.into(), value);
        }
        missing
    }

    /// Looks the program up as the app does it.
    fn program(&self, report: &mut Report<'_>, program: &str, words: usize) -> Option<PathBuf> {
        if program.contains("${") || is_path(program) && !Path::new(program).is_absolute() {
            let found = format!("{program} is completed by the app, which cannot be done here");
            report.add(Check::warning(CheckName::Program, found).fix("write the whole path"));
            return None;
        }
        let path = self.variables.get(OsStr::new("PATH"));
        let path = path.map_or(OsStr::new(""), OsString::as_os_str);
        let file = match find(program, path) {
            Ok(file) => file,
            Err(LookupError::NotInPath) => {
                let (check, file) = self.only_in_terminal(program, path);
                report.add(check);
                return file;
            }
            Err(LookupError::Missing) => {
                let found = format!("{program} does not exist");
                report.add(Check::failed(CheckName::Program, found).fix(REPAIR));
                return None;
            }
            Err(LookupError::NotExecutable(file)) => {
                let file = file.display();
                let found = format!("{file} cannot be executed");
                let fix = format!("chmod +x {file}, or {REPAIR}");
                report.add(Check::failed(CheckName::Program, found).fix(fix));
                return None;
            }
        };
        let check = self.judge_file(&file, words, path);
        let is_usable = check.outcome != CheckOutcome::Failed;
        report.add(check);
        is_usable.then_some(file)
    }

    /// A name that the app's search path does not have.
    fn only_in_terminal(&self, program: &str, path: &OsStr) -> (Check, Option<PathBuf>) {
        let shown = path.to_string_lossy();
        let own = env::var_os("PATH").unwrap_or_default();
        let Ok(file) = find(program, &own) else {
            let found = format!(
                "{program} is not found; the PATH of {} is {shown}",
                self.path_owner()
            );
            return (Check::failed(CheckName::Program, found).fix(REPAIR), None);
        };
        let found = format!(
            "{program} is found only by the PATH of this terminal ({}); that of {} is {shown}",
            file.display(),
            self.path_owner(),
        );
        let fix = format!("write the whole path {}; {REPAIR}", file.display());
        let check = Check::warning(CheckName::Program, found).fix(fix);
        (check, Some(file))
    }

    /// A program that was found: what starts it in turn, and whether it stays.
    fn judge_file(&self, file: &Path, words: usize, path: &OsStr) -> Check {
        let shown = file.display();
        if let Some(interpreter) = interpreter(file)
            && find(&interpreter, path).is_err()
        {
            let found = format!(
                "{shown} is a script for {interpreter}, which is not found; the PATH of {} is {}",
                self.path_owner(),
                path.to_string_lossy(),
            );
            let fix = format!("install the program itself, and run {REPAIR}");
            return Check::failed(CheckName::Program, found).fix(fix);
        }
        let location = Location::of(file);
        if let Some(objection) = location.objection() {
            let fix = if location.is_short_lived() {
                REPAIR
            } else {
                location.advice()
            };
            return Check::warning(CheckName::Program, format!("{shown} {objection}")).fix(fix);
        }
        if words == 1
            && let Some(alias) = lasting_alias(file)
        {
            let found = format!("{shown} goes with the next update");
            let fix = format!("{} stays: {REPAIR}", alias.display());
            return Check::warning(CheckName::Program, found).fix(fix);
        }
        Check::passed(CheckName::Program, shown.to_string())
    }

    fn path_owner(&self) -> &'static str {
        match self.app {
            AppEnvironment::Desktop => "an app that is started from the desktop",
            AppEnvironment::Terminal
            | AppEnvironment::TerminalListed
            | AppEnvironment::TerminalWithoutSecrets => "the entry",
        }
    }

    fn quoting(&self, launch: &Launch, file: Option<&Path>) -> Vec<Check> {
        let file = file
            .map(|file| file.display().to_string())
            .unwrap_or_default();
        let mut defects = quoting::defects(&launch.words, &file, self.system).into_iter();
        // A check has one line; the first defect comes first for the app as well.
        match defects.next() {
            None => vec![Check::passed(
                CheckName::Quoting,
                "each argument arrives as it is",
            )],
            Some(first) => vec![Check::warning(CheckName::Quoting, first.found).fix(first.fix)],
        }
    }

    /// Checks that the bridge has the variables that its arguments name.
    fn report_variables(
        &self,
        report: &mut Report<'_>,
        arguments: &[String],
        unset: Vec<(String, String)>,
    ) -> bool {
        let member = self.found.place.environment();
        let mut missing: Vec<String> = unset
            .into_iter()
            .map(|(name, source)| format!("{name} is to be {source}, which is not set"))
            .collect();
        let named = flags::variables(arguments).into_iter();
        let named: Vec<_> = named.filter(|name| is_variable(name)).collect();
        for name in &named {
            match self.variables.get(OsStr::new(name)) {
                Some(value) if value.is_empty() => missing.push(format!("{name} is empty")),
                Some(_) => {}
                None if missing
                    .iter()
                    .any(|text| text.starts_with(&format!("{name} "))) => {}
                None => missing.push(format!("{name} is not set")),
            }
        }
        if missing.is_empty() {
            let found = match named.len() {
                0 => "the arguments name none".to_owned(),
                _ => format!("set: {}", named.join(", ")),
            };
            report.add(Check::passed(CheckName::Variables, found));
            return true;
        }
        let check = Check::failed(CheckName::Variables, missing.join("; "));
        report.add(check.fix(format!("put it into the \"{member}\" of the entry")));
        false
    }

    fn duplicates(&self, arguments: &[String]) -> Check {
        let Some(url) = url_of(arguments) else {
            return Check::passed(CheckName::Duplicates, "the URL is filled in by the app");
        };
        let is_same = |it: &&FoundEntry| {
            let is_this = it.name == self.found.name && it.place.path == self.found.place.path;
            !is_this && other_url(it).is_some_and(|other| trimmed(&other) == trimmed(url))
        };
        let others: Vec<_> = self.others.iter().filter(is_same).collect();
        if others.is_empty() {
            return Check::passed(CheckName::Duplicates, "no other entry for this URL");
        }
        let places = others
            .iter()
            .map(|it| format!("\"{}\" in {}", it.name, it.place.path.display()));
        let places: Vec<_> = places.collect();
        let found = format!("the same URL is in {}", places.join(", "));
        let has_profile = |words: &[String]| words.iter().any(|word| word.starts_with("--profile"));
        if has_profile(arguments) {
            return Check::passed(
                CheckName::Duplicates,
                format!("{found}; this one has a --profile"),
            );
        }
        Check::warning(CheckName::Duplicates, found)
            .fix("its tools are there twice: remove one with mcp-bridge install --remove, or give each a --profile")
    }
}

/// Advice for an entry whose program is not there.
const REPAIR: &str = "mcp-bridge install --repair writes the path of this program";

/// The variable to which a value refers: `$NAME`, `${NAME}`, `${env:NAME}`, `{env:NAME}`.
fn reference(value: &str) -> Option<&str> {
    let inner = ["${env:", "{env:", "${"]
        .iter()
        .find_map(|open| value.strip_prefix(open)?.strip_suffix('}'));
    let name = inner.or_else(|| value.strip_prefix('$'))?;
    is_variable(name).then_some(name)
}

/// The program that the first line of a script names.
fn interpreter(file: &Path) -> Option<String> {
    let mut start = Vec::new();
    let opened = fs::File::open(file).ok()?;
    let limit = u64::try_from(LONGEST_INTERPRETER).unwrap_or(u64::MAX);
    opened.take(limit).read_to_end(&mut start).ok()?;
    let text = String::from_utf8_lossy(&start);
    let line = text.strip_prefix("#!")?.lines().next()?;
    let mut words = line.split_whitespace();
    let program = words.next()?;
    if program.ends_with("/env") {
        return words.find(|word| !word.starts_with('-')).map(str::to_owned);
    }
    Some(program.to_owned())
}

fn url_of(arguments: &[String]) -> Option<&str> {
    let url = arguments.iter().find(|word| word.contains("://"));
    url.map(String::as_str)
}

/// The URL of any entry that connects to a server.
fn other_url(it: &FoundEntry) -> Option<String> {
    if let Some(url) = remote::url(&it.entry) {
        return Some(url.to_owned());
    }
    let words = Launch::read(&it.entry)?.words;
    url_of(&words).map(str::to_owned)
}

fn trimmed(url: &str) -> &str {
    url.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_the_app_fills_in_are_known() {
        for (value, expected) in [
            ("$KEY", Some("KEY")),
            ("${KEY}", Some("KEY")),
            ("${env:KEY}", Some("KEY")),
            ("{env:KEY}", Some("KEY")),
            ("${input:key}", None),
            ("$5 a day", None),
            ("plain", None),
        ] {
            assert_eq!(reference(value), expected, "{value}");
        }
    }
}
