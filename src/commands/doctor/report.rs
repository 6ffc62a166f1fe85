//! Report of `doctor`: text or JSON.

use std::collections::BTreeSet;
use std::io::{self, Write};

use reqwest::header::HeaderValue;
use serde::Serialize;
use serde_json::json;

use super::check::{Check, CheckName, CheckOutcome, Part};
use mcp_bridge_text::printable;

/// The layout of the JSON document; changes when a member changes its name or meaning.
const FORMAT: u32 = 1;

/// The longest text of a finding: servers have a say in it.
const LONGEST_CHARS: usize = 600;

/// The room for a check's name.
const NAME_WIDTH: usize = 18;

/// The JSON document.
#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    program: &'static str,
    #[serde(flatten)]
    subject: &'a Subject,
    outcome: CheckOutcome,
    checks: &'a [Check],
}

/// A check as a line of JSON.
#[derive(Serialize)]
struct CheckLine<'a> {
    part: &'static str,
    #[serde(flatten)]
    check: &'a Check,
}

/// Thing that is examined.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum Subject {
    Server {
        url: String,
    },
    /// An entry in the file of an app.
    Entry {
        app: &'static str,
        entry: String,
        file: String,
    },
}

/// The form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportForm {
    /// Lines, as things are found out, with colours and signs.
    Coloured,
    /// The same with signs and without colours: a terminal of somebody who wants none.
    Signs,
    /// The same with words, for files and programs.
    Plain,
    /// One document at the end.
    Json,
    /// Each check as a line of JSON, as things are found out, and the outcome at the end.
    JsonLines,
}

impl ReportForm {
    /// Returns whether it is for people.
    pub(super) const fn is_text(self) -> bool {
        match self {
            Self::Coloured | Self::Signs | Self::Plain => true,
            Self::Json | Self::JsonLines => false,
        }
    }
}

/// The checks so far. Text is written as they come.
pub(super) struct Report<'a> {
    out: &'a mut (dyn Write + Send),
    form: ReportForm,
    /// Secrets, masked even where a server repeats them.
    secrets: Vec<String>,
    subject: Subject,
    part: Option<Part>,
    checks: Vec<Check>,
    failures: Failures,
    /// The first failure to write.
    broken: io::Result<()>,
}

/// Weight of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failures {
    AreFailures,
    AreWarnings,
}

impl<'a> Report<'a> {
    /// An empty report. None of `secrets` will be shown.
    pub(super) fn new(
        out: &'a mut (dyn Write + Send),
        form: ReportForm,
        subject: Subject,
        mut secrets: Vec<String>,
    ) -> Self {
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut report = Self {
            out,
            form,
            secrets,
            subject,
            part: None,
            checks: Vec::new(),
            failures: Failures::AreFailures,
            broken: Ok(()),
        };
        if form.is_text() {
            let title = report.bold(&report.subject.title());
            report.line(&format!(
                "mcp-bridge {}: {title}",
                env!("CARGO_PKG_VERSION")
            ));
        }
        report
    }

    /// Another value that must not be shown: a token, or the id of a session.
    pub(super) fn hide(&mut self, header: &HeaderValue) {
        let value = String::from_utf8_lossy(header.as_bytes());
        let value = value.rsplit(' ').next().unwrap_or_default();
        if !value.is_empty() {
            self.secrets.push(value.to_owned());
        }
    }

    /// From now on a failure is only a warning: the server can be used all the same.
    pub(super) const fn warn_of_failures(&mut self) {
        self.failures = Failures::AreWarnings;
    }

    /// Adds a check.
    pub(super) fn add(&mut self, check: Check) {
        let outcome = match (check.outcome, self.failures) {
            (CheckOutcome::Failed, Failures::AreWarnings) => CheckOutcome::Warning,
            (outcome, _) => outcome,
        };
        let check = Check {
            outcome,
            found: self.masked(&check.found),
            fix: check.fix.map(|fix| self.masked(&fix)),
            ..check
        };
        if self.form.is_text() {
            self.heading(check.name);
            let place = check.specification.map(|place| format!(" [{place}]"));
            let found = format!("{}{}", check.found, place.unwrap_or_default());
            self.entry(check.outcome, &check.name.text(), &found);
            if let Some(fix) = &check.fix {
                let arrow = if self.form == ReportForm::Plain {
                    "->"
                } else {
                    "→"
                };
                self.line(&format!("       {arrow} {fix}"));
            }
        }
        self.tell(&check);
        self.checks.push(check);
    }

    /// Writes a check, where each is a line.
    fn tell(&mut self, check: &Check) {
        if self.form != ReportForm::JsonLines {
            return;
        }
        let line = CheckLine {
            part: Part::containing(check.name).title(),
            check,
        };
        // Texts alone are in it.
        let line = serde_json::to_string(&line).unwrap_or_default();
        self.line(&line);
    }

    /// Adds checks that were left out.
    fn leave_out(&mut self, names: Vec<CheckName>, reason: &str) {
        for name in names {
            let check = Check::skipped(name, reason);
            self.tell(&check);
            self.checks.push(check);
        }
    }

    /// Leaves several things out for one reason, which is told once. What was looked at already stays.
    pub(super) fn skip(&mut self, names: &[CheckName], reason: &str) {
        let left = self.unseen(names);
        let Some(first) = left.first() else { return };
        if self.form.is_text() {
            self.heading(*first);
            self.entry(CheckOutcome::Skipped, &listed(&left), reason);
        }
        self.leave_out(left, reason);
    }

    /// True if the check was made and did not fail.
    pub(super) fn is_fine(&self, name: CheckName) -> bool {
        self.checks
            .iter()
            .any(|check| check.name == name && check.outcome != CheckOutcome::Failed)
    }

    /// Adds a failure of the part that took too long.
    pub(super) fn fail_at_last(&mut self, found: &str) {
        let part = self
            .checks
            .last()
            .map_or(Part::Connection, |check| Part::containing(check.name));
        let rest = self.subject.parts().iter();
        let rest = rest.copied().skip_while(|it| *it != part);
        let next = rest.flat_map(|part| self.unseen(part.names())).next();
        if let Some(name) = next {
            self.add(Check::failed(name, found));
        }
    }

    /// Ends the report: what was not looked at is left out for `reason`. Says whether nothing failed.
    pub(super) fn finish(mut self, reason: &str) -> io::Result<bool> {
        let left: Vec<_> = self
            .subject
            .parts()
            .iter()
            .map(|part| (*part, self.unseen(part.names())))
            .collect();
        let titles = left.iter().filter(|(_, names)| !names.is_empty());
        let titles: Vec<_> = titles
            .map(|(part, names)| {
                if names.len() == part.names().len() {
                    return part.title().to_lowercase();
                }
                listed(names)
            })
            .collect();
        if self.form.is_text() && !titles.is_empty() {
            self.line(&format!("\nNot checked: {} ({reason})", titles.join(", ")));
        }
        for (_, names) in left {
            self.leave_out(names, reason);
        }
        let passed = self.count(CheckOutcome::Failed) == 0;
        let outcome = if passed {
            CheckOutcome::Passed
        } else {
            CheckOutcome::Failed
        };
        match self.form {
            ReportForm::Json => {
                let document = Document {
                    format: FORMAT,
                    program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
                    subject: &self.subject,
                    outcome,
                    checks: &self.checks,
                };
                let document = serde_json::to_string_pretty(&document)?;
                self.line(&document);
            }
            ReportForm::JsonLines => {
                let verdict = self.verdict();
                let end = json!({ "outcome": outcome, "verdict": verdict });
                self.line(&end.to_string());
            }
            ReportForm::Coloured | ReportForm::Signs | ReportForm::Plain => {
                let verdict = self.bold(&self.verdict());
                self.line(&format!("\n{verdict}"));
            }
        }
        self.broken?;
        Ok(passed)
    }

    fn verdict(&self) -> String {
        let (failed, warnings) = (
            self.count(CheckOutcome::Failed),
            self.count(CheckOutcome::Warning),
        );
        let is_about_tools =
            |check: &&Check| matches!(check.name, CheckName::Tools | CheckName::ListTools);
        let mut about_tools = self.checks.iter().filter(is_about_tools);
        let has_seen_tools = about_tools.any(|check| check.outcome == CheckOutcome::Passed);
        let warned = match warnings {
            1 => "1 warning".to_owned(),
            many => format!("{many} warnings"),
        };
        match (failed, warnings) {
            (0, 0) if has_seen_tools => "No problems found.".to_owned(),
            (0, 0) => "No problems found, as far as could be checked.".to_owned(),
            (0, _) => format!("No failures, {warned}."),
            (failed, 0) => format!("{failed} failed."),
            (failed, _) => format!("{failed} failed, {warned}."),
        }
    }

    fn count(&self, outcome: CheckOutcome) -> usize {
        let with = self.checks.iter().filter(|check| check.outcome == outcome);
        with.count()
    }

    fn unseen(&self, names: &[CheckName]) -> Vec<CheckName> {
        let seen: BTreeSet<_> = self.checks.iter().map(|check| check.name).collect();
        let unseen = names.iter().filter(|name| !seen.contains(name));
        unseen.copied().collect()
    }

    fn heading(&mut self, name: CheckName) {
        let part = Part::containing(name);
        if self.part != Some(part) {
            self.part = Some(part);
            let title = self.bold(part.title());
            self.line(&format!("\n{title}"));
        }
    }

    fn entry(&mut self, outcome: CheckOutcome, name: &str, found: &str) {
        let (sign, word, colour) = match outcome {
            CheckOutcome::Passed => ("✓", "ok  ", "32"),
            CheckOutcome::Warning => ("!", "warn", "33"),
            CheckOutcome::Failed => ("✗", "FAIL", "31"),
            CheckOutcome::Skipped => ("–", "skip", "2"),
        };
        let line = match self.form {
            ReportForm::Coloured => {
                let name = format!("{name:NAME_WIDTH$}");
                format!("  \x1b[{colour}m{sign}\x1b[0m {} {found}", dim(&name))
            }
            ReportForm::Signs => format!("  {sign} {name:NAME_WIDTH$} {found}"),
            ReportForm::Plain | ReportForm::Json | ReportForm::JsonLines => {
                format!("  {word} {name:NAME_WIDTH$} {found}")
            }
        };
        self.line(&line);
    }

    fn bold(&self, text: &str) -> String {
        match self.form {
            ReportForm::Coloured => format!("\x1b[1m{text}\x1b[0m"),
            ReportForm::Signs | ReportForm::Plain | ReportForm::Json | ReportForm::JsonLines => {
                text.to_owned()
            }
        }
    }

    /// Text of others, fit for a terminal: one line, no control characters, no secret, not endless.
    fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "REDACTED");
        }
        printable::short_line(&text, LONGEST_CHARS)
    }

    fn line(&mut self, text: &str) {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        if self.broken.is_ok() {
            self.broken = written;
        }
    }
}

impl Subject {
    fn title(&self) -> String {
        match self {
            Self::Server { url } => url.clone(),
            Self::Entry { app, entry, file } => format!("{app}: \"{entry}\" in {file}"),
        }
    }

    const fn parts(&self) -> &'static [Part] {
        match self {
            Self::Server { .. } => Part::OF_SERVER,
            Self::Entry { .. } => Part::OF_ENTRY,
        }
    }
}

fn listed(names: &[CheckName]) -> String {
    let words: Vec<_> = names.iter().map(|name| name.text()).collect();
    words.join(", ")
}

fn dim(text: &str) -> String {
    format!("\x1b[2m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: ReportForm) -> String {
        let mut out = Vec::new();
        let secrets = vec!["hunter2".to_owned()];
        let mut report = Report::new(
            &mut out,
            form,
            Subject::Server {
                url: "https://mcp.example/".to_owned(),
            },
            secrets,
        );
        report.add(Check::passed(CheckName::Dns, "found"));
        report.add(Check::warning(CheckName::Ipv6, "dead").fix("pass --ipv4"));
        report
            .add(Check::failed(CheckName::Tls, "says hunter2\u{1b}[2J").specification("RFC 8446"));
        report.fail_at_last("the time is over");
        assert!(!report.finish("there is no connection").unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_file_gets_words_and_a_terminal_signs_with_or_without_colour() {
        let words = "\
mcp-bridge VERSION: https://mcp.example/

Connection
  ok   dns                found
  warn ipv6               dead
       -> pass --ipv4
  FAIL tls                says REDACTED�[2J [RFC 8446]
  FAIL ipv4               the time is over

Not checked: proxy, endpoint, sign-in, protocol (there is no connection)

2 failed, 1 warning.
"
        .replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(written(ReportForm::Plain), words);

        let signs = [("ok  ", "✓"), ("warn ", "! "), ("FAIL", "✗"), ("->", "→")];
        let signs = signs
            .into_iter()
            .fold(words, |text, (word, sign)| text.replace(word, sign));
        assert_eq!(written(ReportForm::Signs), signs);

        let mut coloured = written(ReportForm::Coloured);
        assert!(coloured.contains("\u{1b}[31m✗\u{1b}[0m"), "{coloured}");
        for code in ["0", "1", "2", "31", "32", "33", "36"] {
            coloured = coloured.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(coloured, signs);
    }
}
