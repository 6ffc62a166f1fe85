//! Bridges to be measured.

use std::time::Duration;

use crate::app::{App, Started};
use crate::direct::Direct;
use crate::wire::Era;
use crate::work::{Done, Work};

/// What a contender stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// No bridge at all.
    Limit,
    /// The least that bridges.
    Least,
    /// The bridge of this repository.
    Ours,
    /// Another one.
    Other,
}

pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The program and its arguments, in which `{url}` stands for the server's; none for the limit.
    command: Vec<String>,
}

impl Contender {
    pub(crate) fn limit() -> Self {
        Self {
            name: "limit: no bridge".to_owned(),
            role: Role::Limit,
            command: Vec::new(),
        }
    }

    pub(crate) fn least(executable: &str) -> Self {
        Self {
            name: "the least that bridges".to_owned(),
            role: Role::Least,
            command: vec![
                executable.to_owned(),
                crate::LEAST.to_owned(),
                "{url}".to_owned(),
            ],
        }
    }

    pub(crate) fn ours(executable: &str) -> Self {
        Self {
            name: "mcp-bridge".to_owned(),
            role: Role::Ours,
            command: vec![executable.to_owned(), "{url}".to_owned()],
        }
    }

    /// Any other bridge, by its command line, which may have a name and `=` before it.
    pub(crate) fn other(command_line: &str) -> Self {
        let named = command_line.split_once('=');
        let named = named.filter(|(name, _)| !name.contains(char::is_whitespace));
        let (name, command_line) = named.unwrap_or((command_line, command_line));
        Self {
            name: name.to_owned(),
            role: Role::Other,
            command: command_line.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// The command line for a server.
    pub(crate) fn command(&self, url: &str) -> Vec<String> {
        let words = self.command.iter();
        words.map(|word| word.replace("{url}", url)).collect()
    }

    /// Starts it and opens a session. Also tells how long that took.
    pub(crate) fn start(&self, url: &str) -> Result<(Driver, Duration), String> {
        if self.role == Role::Limit {
            let (direct, took) = Direct::start(url).map_err(|error| error.to_string())?;
            return Ok((Driver::Direct(direct), took));
        }
        let Started { app, took } = App::open(&self.command(url), Era::Legacy)?;
        Ok((Driver::App(app), took))
    }
}

/// The app's side of a contender that is up.
pub(crate) enum Driver {
    Direct(Direct),
    App(App),
}

impl Driver {
    pub(crate) fn run(&mut self, work: Work, limit: Duration) -> Result<Done, String> {
        match self {
            Self::Direct(direct) => direct.run(work, limit),
            Self::App(app) => app.run(work, limit),
        }
    }

    /// The process whose CPU time counts.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Direct(_) => std::process::id(),
            Self::App(app) => app.pid(),
        }
    }
}
