//! Bridges to be measured.

use std::path::Path;
use std::time::Duration;

use crate::app::{App, Started};
use crate::direct::Direct;
use crate::wire::Era;
use crate::work::{Done, Request, Work};

/// Role of a contender.
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
    /// The size of what is installed of it, in bytes.
    pub(crate) installed: Option<u64>,
}

impl Contender {
    pub(crate) fn limit() -> Self {
        Self {
            name: "limit: no bridge".to_owned(),
            role: Role::Limit,
            command: Vec::new(),
            installed: None,
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
            installed: None,
        }
    }

    pub(crate) fn ours(executable: &str) -> Self {
        Self {
            name: "mcp-bridge".to_owned(),
            role: Role::Ours,
            command: vec![executable.to_owned(), "{url}".to_owned()],
            installed: size(Path::new(executable)),
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
            installed: None,
        }
    }

    /// A bridge of others that was installed at `place`, where the program may be a file among many.
    pub(crate) fn peer(name: &str, command: Vec<String>, place: &Path) -> Self {
        Self {
            name: name.to_owned(),
            role: Role::Other,
            command,
            installed: size(place),
        }
    }

    /// The same bridge with more options.
    pub(crate) fn with<const N: usize>(mut self, options: [&str; N]) -> Self {
        self.command.extend(options.map(str::to_owned));
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
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

    /// Sends a request; returns how long its response took, and the response.
    pub(crate) fn ask(
        &mut self,
        request: &Request,
        limit: Duration,
    ) -> Result<(Duration, Vec<u8>), String> {
        match self {
            Self::Direct(direct) => direct.ask(request, limit),
            Self::App(app) => app.ask(request, limit),
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

/// The size of a file, or of all files below a directory.
fn size(path: &Path) -> Option<u64> {
    let file = path.symlink_metadata().ok()?;
    if !file.is_dir() {
        return Some(file.len());
    }
    let entries = path.read_dir().ok()?;
    Some(
        entries
            .flatten()
            .filter_map(|entry| size(&entry.path()))
            .sum(),
    )
}
