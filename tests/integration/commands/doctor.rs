//! `mcp-bridge doctor`: names what is wrong with a server, and what to do about it.

#![expect(
    clippy::unwrap_used,
    reason = "a report without its members fails the test"
)]

mod faults;
mod healthy;
mod network;
mod sign_in;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::program;
use mcp_bridge_testkit::program::CommandOutput;
use mcp_bridge_testkit::{HEADER_MARKER, MARKERS};

/// Time that a server may be silent in these tests.
const SILENCE: [&str; 2] = ["--request-timeout", "0.5"];

/// A run of the program.
struct Doctor {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    home: TempDir,
}

impl Doctor {
    /// With a secret header, and no settings of this machine.
    fn of(url: &str) -> Self {
        Self::bare(url).args(["--header", "X-Api-Key: ${API_KEY}"])
    }

    /// The same without the header, which is a part of the account.
    fn bare(url: &str) -> Self {
        let home = TempDir::new().unwrap();
        let store = home.path().join("bridge").display().to_string();
        let env = [("MCP_BRIDGE_DIR", store), ("API_KEY", HEADER_MARKER.into())];
        Self {
            args: ["doctor", url].map(str::to_owned).into(),
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            home,
        }
    }

    fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With what the bridge keeps in this directory.
    fn store(self, directory: &Path) -> Self {
        self.env("MCP_BRIDGE_DIR", directory.to_str().unwrap())
    }

    async fn run(&self, more: &[&str]) -> CommandOutput {
        let mut program = program::program().args(&self.args).args(more);
        program = program.home_variables(self.home.path());
        for (name, value) in &self.env {
            program = program.env(name, value);
        }
        let output = program.run().await;
        let marker = MARKERS.iter().find(|it| output.stdout.contains(*it));
        assert_eq!(marker, None, "{}", output.stdout);
        assert_eq!(output.stderr, "");
        output
    }

    /// The report for a person, which has to say the same as the one for a program.
    async fn text(&self) -> String {
        self.run(&[]).await.stdout
    }

    /// The report for a program.
    async fn examine(&self) -> Report {
        let output = self.run(&["--json"]).await;
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        let report = Report(document);
        let failed = report.names("failed");
        let outcome = if failed.is_empty() {
            "passed"
        } else {
            "failed"
        };
        assert_eq!(report.0["outcome"], outcome);
        assert_eq!(output.status, i32::from(!failed.is_empty()));
        report.names_each_check_once();
        report
    }
}

/// The JSON document.
#[derive(Debug)]
struct Report(Value);

impl Report {
    fn check(&self, name: &str) -> &Value {
        let checks = self.0["checks"].as_array().unwrap();
        let mut named = checks.iter().filter(|check| check["name"] == name);
        named
            .next()
            .unwrap_or_else(|| panic!("no {name}: {self:#?}"))
    }

    /// The names of the checks that ended so.
    fn names(&self, outcome: &str) -> Vec<&str> {
        let checks = self.0["checks"].as_array().unwrap();
        checks
            .iter()
            .filter(|check| check["outcome"] == outcome)
            .map(|check| check["name"].as_str().unwrap())
            .collect()
    }

    fn names_each_check_once(&self) {
        const HOW_MANY: usize = 27;
        let checks = self.0["checks"].as_array().unwrap();
        let mut names: Vec<_> = checks.iter().map(|check| check["name"].as_str()).collect();
        assert_eq!(names.len(), HOW_MANY, "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), HOW_MANY, "{names:?}");
    }

    /// One thing failed, and nothing that comes after it was looked at in vain.
    #[track_caller]
    fn fails(&self, name: &str, found: &str, fix: &str) {
        assert_eq!(self.names("failed"), [name], "{self:#?}");
        self.says(name, "failed", found, fix);
    }

    #[track_caller]
    fn warns(&self, name: &str, found: &str, fix: &str) {
        self.says(name, "warning", found, fix);
    }

    #[track_caller]
    fn passes(&self, name: &str, found: &str) {
        self.says(name, "passed", found, "");
    }

    #[track_caller]
    fn skips(&self, name: &str, found: &str) {
        self.says(name, "skipped", found, "");
    }

    #[track_caller]
    fn says(&self, name: &str, outcome: &str, found: &str, fix: &str) {
        let check = self.check(name);
        let has = |member: &str, part: &str| {
            let text = check[member].as_str().unwrap_or_default();
            text.to_lowercase().contains(&part.to_lowercase())
        };
        let as_expected = check["outcome"] == outcome && has("found", found) && has("fix", fix);
        assert!(as_expected, "expected {outcome}, {found}, {fix}: {check:#}");
    }
}

/// A text without what differs from run to run and from machine to machine: the port, times, and which
/// addresses `localhost` has.
fn normalised(text: &str, port: u16) -> String {
    let version = concat!("mcp-bridge ", env!("CARGO_PKG_VERSION"));
    let text = text.replace(version, "mcp-bridge VERSION");
    let text = text.replace(&port.to_string(), "PORT");
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.get(..2) {
            Some([_, "dns" | "ipv4" | "ipv6"]) => format!("  .... {}", words[1]),
            _ => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}
