//! Survey of the configuration files of all apps: where they are, and which servers stand in them.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use serde_json::Value;

use super::apps::{App, Client, Machine, System};
use super::diff;
use super::edit::{self, EditError, Position, Wish};
use super::entry::NewEntry;
use super::program::{self, Readers};

pub(in crate::command) use super::edit::Servers;
pub(in crate::command) use super::file::ConfigFile;

/// Who reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Reach {
    /// The apps of this user.
    User,
    /// Whoever works on the project.
    Project,
}

/// A file in which an app may have servers.
pub(in crate::command) struct Place {
    pub(in crate::command) client: Client,
    pub(in crate::command) reach: Reach,
    pub(in crate::command) path: PathBuf,
    app: App,
}

/// What becomes of an entry.
pub(in crate::command) struct Replacement<'a> {
    /// Members with their new values.
    pub(in crate::command) members: &'a [(&'static str, Value)],
    /// Members that go.
    pub(in crate::command) removed: &'a [String],
}

/// Every place of these apps, or of all: the user's, and those of the project in `directory`.
pub(in crate::command) fn places(clients: &[Client], directory: &Path) -> Vec<Place> {
    let machine = Machine {
        system: System::named(env::consts::OS),
        variable: &|name| env::var_os(name),
    };
    let clients = match clients {
        [] => Client::value_variants(),
        some => some,
    };
    let mut places = Vec::new();
    for client in clients {
        let app = client.app();
        let user = app.every_user_file(&machine).into_iter();
        let user = user.map(|path| (Reach::User, path));
        let project = app.every_project_file(directory).into_iter();
        let project = project.map(|path| (Reach::Project, path));
        places.extend(user.chain(project).map(|(reach, path)| Place {
            client: *client,
            reach,
            path,
            app: client.app(),
        }));
    }
    places
}

/// The user's file of an app at this path.
pub(super) fn place(client: Client, path: PathBuf) -> Place {
    Place {
        client,
        reach: Reach::User,
        path,
        app: client.app(),
    }
}

/// The apps that are found on this machine: one of their files is there, or a directory of their own for it.
pub(super) fn found(machine: &Machine<'_>) -> Vec<Client> {
    let clients = Client::value_variants().iter().copied();
    clients
        .filter(|client| is_found(*client, machine))
        .collect()
}

/// Whether an app is found on this machine.
pub(super) fn is_found(client: Client, machine: &Machine<'_>) -> bool {
    let homes: Vec<_> = ["HOME", "USERPROFILE"]
        .iter()
        .filter_map(|name| (machine.variable)(name))
        .map(PathBuf::from)
        .collect();
    let has_own_directory = |path: &Path| {
        let directory = path.parent();
        directory.is_some_and(|directory| {
            directory.is_dir() && !homes.iter().any(|home| home == directory)
        })
    };
    let files = client.app().every_user_file(machine);
    files
        .iter()
        .any(|path| path.is_file() || has_own_directory(path))
}

impl Place {
    /// The app, as people know it.
    pub(in crate::command) fn title(&self) -> &'static str {
        self.app.title
    }

    /// The members of a remote entry that mean the same beside a command.
    pub(in crate::command) fn kept(&self) -> &'static [&'static str] {
        self.app.kept
    }

    /// What an entry calls the variables that the app sets for the program.
    pub(in crate::command) fn environment(&self) -> &'static str {
        self.app.environment()
    }

    /// The members of an entry that starts `program` with `arguments`.
    pub(in crate::command) fn entry(
        &self,
        program: &str,
        arguments: &[String],
    ) -> Vec<(&'static str, Value)> {
        self.app.entry(program, arguments)
    }

    /// The servers in the text of the file, by name.
    pub(in crate::command) fn entries(&self, text: &str) -> Result<Servers, EditError> {
        edit::entries(text, self.position(""))
    }

    /// The text with another entry.
    pub(in crate::command) fn replace(
        &self,
        text: &str,
        name: &str,
        replacement: &Replacement<'_>,
    ) -> Result<String, EditError> {
        let entry = NewEntry {
            members: replacement.members,
            kept: self.app.kept,
            url: "",
            removed: Some(replacement.removed),
        };
        let edited = edit::edit(text, self.position(name), Wish::Put(entry))?;
        Ok(edited.text)
    }

    /// Whether two places are the same set of servers.
    pub(in crate::command) fn is_same_set(&self, other: &Self) -> bool {
        (self.app.servers, self.app.inner) == (other.app.servers, other.app.inner)
    }

    fn position<'a>(&self, name: &'a str) -> Position<'a> {
        Position {
            format: self.app.format,
            servers: self.app.servers,
            inner: self.app.inner,
            name,
        }
    }
}

impl Reach {
    /// What an entry in such a file calls this program.
    pub(in crate::command) fn program(self, running: &Path) -> PathBuf {
        let readers = match self {
            Self::User => Readers::ThisUser,
            Self::Project => Readers::TheProject,
        };
        program::name(running, env::var_os("PATH").as_deref(), readers)
    }
}

/// Shows the change of a text, with secrets masked.
pub(in crate::command) fn write_diff(
    out: &mut dyn Write,
    before: &str,
    after: &str,
    masked: &dyn Fn(&str) -> String,
) -> io::Result<()> {
    diff::write(out, before, after, masked)
}
