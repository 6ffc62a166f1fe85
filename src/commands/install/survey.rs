//! Survey of the configuration files of all apps: where they are, and which servers stand in them.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use serde_json::{Map, Value};

use super::apps::{AppConfiguration, AppId, Format, Machine, Scope, System};
use super::diff;
use super::edit::{self, EditError, EntryPosition, Wish};
use super::entry::NewEntry;
use super::error::InstallError;
use super::flags;
use super::launch::{self, Launch};
use super::program::{EntryCommand, Readers, RunningProgram};

pub(in crate::commands) use super::edit::Servers;
pub(in crate::commands) use super::entry::Extra;
pub(in crate::commands) use super::file::ConfigFile;

/// A file in which an app may have servers.
#[derive(Clone)]
pub(in crate::commands) struct ConfigLocation {
    pub(in crate::commands) client: AppId,
    readers: Readers,
    pub(in crate::commands) path: PathBuf,
    app: &'static AppConfiguration,
    /// The keys that lead to the table of servers.
    keys: Vec<String>,
}

/// Fate of an entry.
pub(in crate::commands) struct Replacement<'a> {
    /// Members with their new values.
    pub(in crate::commands) members: &'a [(&'static str, Value)],
    /// Members that the entry gets where it does not have them.
    pub(in crate::commands) extras: &'a [Extra],
    /// Members that go.
    pub(in crate::commands) removed: &'a [String],
}

/// The commands with which entries start the bridge.
#[derive(Debug)]
pub(in crate::commands) struct EntryCommands {
    running: PathBuf,
    own: EntryCommand,
    of_project: EntryCommand,
}

impl EntryCommands {
    /// Those of the program that runs.
    pub(in crate::commands) fn of_this_process() -> Result<Self, InstallError> {
        let running = env::current_exe().map_err(InstallError::Running)?;
        let path = env::var_os("PATH");
        let program = RunningProgram {
            running: &running,
            path: path.as_deref(),
            system: System::named(env::consts::OS),
        };
        Ok(Self {
            own: program.command(Readers::ThisUser)?,
            of_project: program.command(Readers::TheProject)?,
            running,
        })
    }

    /// The one for a file.
    pub(in crate::commands) const fn of(&self, place: &ConfigLocation) -> &EntryCommand {
        match place.readers {
            Readers::ThisUser => &self.own,
            Readers::TheProject => &self.of_project,
        }
    }

    /// Returns whether an entry starts the bridge.
    pub(in crate::commands) fn is_bridge(&self, entry: &Map<String, Value>) -> bool {
        launch::is_bridge(entry, &self.running)
    }

    /// Number of words that find and start the bridge. None if another program is started.
    pub(in crate::commands) fn words_before_bridge(&self, launch: &Launch) -> Option<usize> {
        launch.words_before_bridge(&self.running)
    }

    /// Tells the person on stderr what there is to know about them.
    pub(in crate::commands) fn say(&self) {
        if let Some(note) = &self.own.note {
            eprintln!("{note}\n");
        }
    }
}

/// Returns whether an entry starts a program called like the bridge.
pub(in crate::commands) fn is_bridge(entry: &Map<String, Value>) -> bool {
    launch::is_bridge(entry, Path::new(env!("CARGO_PKG_NAME")))
}

/// The file of a profile, in its directory.
const FILE_OF_PROFILE: &str = "mcp.json";

/// Every place of these apps, or of all: the user's, for every project too, and those of the project in `directory`.
pub(in crate::commands) fn places(clients: &[AppId], directory: &Path) -> Vec<ConfigLocation> {
    let machine = this_machine();
    let clients = match clients {
        [] => AppId::value_variants(),
        some => some,
    };
    let mut places = Vec::new();
    for client in clients {
        let app = client.app();
        let keys = app.table(&machine, Scope::User);
        let profiles = app.profiles(&machine).into_iter();
        let profiles = profiles.map(|profile| profile.join(FILE_OF_PROFILE));
        let user = app.every_user_file(&machine).into_iter().chain(profiles);
        for path in user {
            let tables = [keys.clone()].into_iter();
            let tables = tables.chain(local_tables(app, &machine, &path));
            places.extend(tables.map(|keys| place(*client, Readers::ThisUser, path.clone(), keys)));
        }
        let project = app.every_project_file(&machine, directory).into_iter();
        places.extend(project.map(|path| place(*client, Readers::TheProject, path, keys.clone())));
    }
    places
}

/// The tables of servers that are for one project each, in a file of the user's.
fn local_tables(app: &AppConfiguration, machine: &Machine<'_>, path: &Path) -> Vec<Vec<String>> {
    let table = app.table(machine, Scope::Local(Path::new("")));
    let (true, [projects, _, servers]) = (app.has_local_scope(), &table[..]) else {
        return Vec::new();
    };
    // A file that cannot be read is told of where its other servers are looked for.
    let file = ConfigFile::find(path).ok().and_then(|file| file.text);
    let position = EntryPosition {
        format: app.format,
        servers: &[projects],
        inner: None,
        name: "",
    };
    let found = edit::entries(file.as_deref().unwrap_or_default(), position);
    let found = found.unwrap_or_default().into_iter();
    // Most projects have none, and each set of servers is read by itself.
    let has_servers = |project: &Map<String, Value>| {
        let servers = project.get(servers).and_then(Value::as_object);
        servers.is_some_and(|servers| !servers.is_empty())
    };
    let with_servers = found.filter(|(_, project)| has_servers(project));
    with_servers
        .map(|(directory, _)| vec![projects.clone(), directory, servers.clone()])
        .collect()
}

/// The files of a scope that an app reads.
pub(super) fn places_read(
    client: AppId,
    machine: &Machine<'_>,
    scope: Scope<'_>,
) -> Vec<ConfigLocation> {
    let app = client.app();
    let keys = app.table(machine, scope);
    let files = app.files(machine, scope).into_iter();
    files
        .map(|path| place(client, Readers::ThisUser, path, keys.clone()))
        .collect()
}

fn place(client: AppId, readers: Readers, path: PathBuf, keys: Vec<String>) -> ConfigLocation {
    ConfigLocation {
        client,
        readers,
        path,
        app: client.app(),
        keys,
    }
}

fn this_machine() -> Machine<'static> {
    Machine {
        system: System::named(env::consts::OS),
        variable: &|name| env::var_os(name),
    }
}

/// The apps that are found on this machine: one of their files is there, or a directory of their own for it.
pub(super) fn installed_apps(machine: &Machine<'_>) -> Vec<AppId> {
    let clients = AppId::value_variants().iter().copied();
    clients
        .filter(|client| is_found(*client, machine))
        .collect()
}

/// Directories inside the one that an app has for itself.
const INNER_DIRECTORIES: [&str; 5] = ["User", "data", "mcp", "mcpServers", "settings"];

/// Returns whether an app is found on this machine.
pub(super) fn is_found(client: AppId, machine: &Machine<'_>) -> bool {
    let homes: Vec<_> = ["HOME", "USERPROFILE"]
        .iter()
        .filter_map(|name| (machine.variable)(name))
        .map(PathBuf::from)
        .collect();
    let is_inner = |directory: &Path| {
        let name = directory.file_name();
        name.is_some_and(|name| INNER_DIRECTORIES.iter().any(|inner| name == *inner))
    };
    let has_own_directory = |path: &Path| {
        let mut directories = path.ancestors().skip(1);
        let own = directories.find(|directory| !is_inner(directory));
        own.is_some_and(|own| own.is_dir() && !homes.iter().any(|home| home == own))
    };
    let files = client.app().every_user_file(machine);
    files
        .iter()
        .any(|path| path.is_file() || has_own_directory(path))
}

impl ConfigLocation {
    /// The app, as people know it.
    pub(in crate::commands) fn title(&self) -> &'static str {
        self.app.title
    }

    /// The members of a remote entry that mean the same beside a command.
    pub(in crate::commands) fn kept(&self) -> &'static [&'static str] {
        self.app.kept
    }

    /// Names by which an entry refers to the variables that the app sets for the program.
    pub(in crate::commands) fn environment(&self) -> &'static str {
        self.app.environment()
    }

    /// The members of an entry of this name that starts `program` with `arguments`.
    pub(in crate::commands) fn entry(
        &self,
        name: &str,
        program: &str,
        arguments: &[String],
    ) -> Vec<(&'static str, Value)> {
        self.app.entry(name, program, arguments)
    }

    /// The arguments of a bridge, in place of an entry, with flags that suit the app's limits; and the members that
    /// these flags rely on. An entry that has limits of its own gets neither.
    pub(in crate::commands) fn with_waits(
        &self,
        entry: &Map<String, Value>,
        arguments: Vec<String>,
    ) -> (Vec<String>, Vec<Extra>) {
        let is_limit = |member: &String| member.starts_with("startup_timeout");
        if !self.app.has_waits() || entry.keys().any(is_limit) {
            return (arguments, Vec::new());
        }
        let extras = self.extras(&flags::variables(&arguments));
        (self.app.with_waits(&arguments), extras)
    }

    /// Members that such an entry gets where it does not have them, for a bridge that looks for the variables
    /// `named`.
    pub(in crate::commands) fn extras(&self, named: &[&str]) -> Vec<Extra> {
        self.app.extras(this_machine().system, named)
    }

    /// The servers in the text of the file, by name.
    pub(in crate::commands) fn entries(&self, text: &str) -> Result<Servers, EditError> {
        edit::entries(text, self.position(&self.keys(), ""))
    }

    /// Estimated effort of reading a text, in bytes of JSON.
    pub(in crate::commands) fn effort(&self, text: &str) -> usize {
        /// The editor for YAML is that much slower, and checks its work by reading the text again.
        const YAML_BY_JSON: usize = 64;
        let factor = match self.app.format {
            Format::Json | Format::Toml => 1,
            Format::Yaml => YAML_BY_JSON,
        };
        text.len().saturating_mul(factor)
    }

    /// The text with another entry.
    pub(in crate::commands) fn replace(
        &self,
        text: &str,
        name: &str,
        replacement: &Replacement<'_>,
    ) -> Result<String, EditError> {
        let entry = NewEntry {
            members: replacement.members,
            extras: replacement.extras,
            kept: self.app.kept,
            url: "",
            removed: Some(replacement.removed),
        };
        let edited = edit::edit(text, self.position(&self.keys(), name), Wish::Put(entry))?;
        Ok(edited.text)
    }

    /// Returns whether two places are the same set of servers.
    pub(in crate::commands) fn is_same_set(&self, other: &Self) -> bool {
        (&self.keys, self.app.inner) == (&other.keys, other.app.inner)
    }

    fn keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }

    fn position<'a>(&self, keys: &'a [&'a str], name: &'a str) -> EntryPosition<'a> {
        EntryPosition {
            format: self.app.format,
            servers: keys,
            inner: self.app.inner,
            name,
        }
    }
}

/// Shows the change of a text, with secrets masked.
pub(in crate::commands) fn write_diff(
    out: &mut dyn Write,
    before: &str,
    after: &str,
    masked: &dyn Fn(&str) -> String,
) -> io::Result<()> {
    diff::write(out, before, after, masked)
}
