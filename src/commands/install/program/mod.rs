//! Beginning of the command line in an entry: this program by a path that stays, or the package launcher that started it.

mod direct;
pub(in crate::commands) mod launcher;
pub(in crate::commands) mod location;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::apps::System;
use super::error::InstallError;
use direct::{InstalledProgram, installed};
use launcher::PackageLauncher;
use location::{Location, lasting_alias};

/// File name of this program.
const FILE_NAME: &str = if cfg!(windows) {
    "mcp-bridge.exe"
} else {
    "mcp-bridge"
};

/// Scope of the npm packages that contain the program.
const NPM_SCOPE: &str = "@mcp-bridge";

/// Readers of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// The apps of this user on this machine.
    ThisUser,
    /// Everybody who works on a project.
    TheProject,
}

/// This program, as this process was started, and the means to find others of its name.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct RunningProgram<'a> {
    pub(super) running: &'a Path,
    /// The variable `PATH`.
    pub(super) path: Option<&'a OsStr>,
    pub(super) system: System,
}

/// The words of an entry that stand before the arguments of the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct EntryCommand {
    pub(in crate::commands) program: String,
    /// Arguments of a launcher.
    arguments: Vec<String>,
    /// A line for the person about it.
    pub(in crate::commands) note: Option<String>,
}

impl EntryCommand {
    /// All arguments of the entry, for a bridge with these.
    pub(in crate::commands) fn arguments(&self, of_bridge: &[String]) -> Vec<String> {
        [&self.arguments, of_bridge].concat()
    }

    /// Returns whether it starts the program itself, and no launcher.
    pub(in crate::commands) const fn is_program(&self) -> bool {
        self.arguments.is_empty()
    }

    fn of_program(path: &Path, note: Option<String>) -> Result<Self, InstallError> {
        let program = path
            .to_str()
            .ok_or_else(|| InstallError::Program(path.to_owned()))?;
        Ok(Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            note,
        })
    }

    fn of_launcher(launcher: PackageLauncher, system: System) -> Self {
        let mut words = launcher.words(system).into_iter().map(str::to_owned);
        Self {
            program: words.next().unwrap_or_default(),
            arguments: words.collect(),
            note: Some(format!(
                "note: the entry starts {title}, which takes longer than the program itself. After {installation}, \
                 run install again",
                title = launcher.title(),
                installation = launcher.installation(),
            )),
        }
    }
}

impl RunningProgram<'_> {
    /// The command for an entry.
    ///
    /// In a file of the user's own that is a whole path: an app that was started from the desktop has a
    /// short `PATH`, and that the command is not found is the commonest failure there. The path is one that stays when a
    /// package manager replaces what is behind it. In a project's file a path of this machine would be wrong for
    /// everybody else, so there it is the bare name, if that leads to this program. A program in the cache of a launcher
    /// is not named at all, since caches are cleaned.
    pub(super) fn command(self, readers: Readers) -> Result<EntryCommand, InstallError> {
        let location = Location::of(self.running);
        if !location.is_short_lived() {
            let objection = location.objection();
            let path = self.lasting_name(readers);
            let is_named = path == self.running;
            let warning = objection.filter(|_| is_named).map(|objection| {
                let path = path.display();
                format!("warning: {path} {objection}; {}", location.advice())
            });
            return EntryCommand::of_program(&path, warning);
        }
        if let Some(found) = installed(self.path) {
            return Self::installed(&found, location, readers);
        }
        match location {
            Location::Cache(launcher) => Ok(EntryCommand::of_launcher(launcher, self.system)),
            _ => Err(InstallError::ShortLived {
                path: self.running.to_owned(),
                location,
            }),
        }
    }

    /// The program that is installed beside the one that runs.
    fn installed(
        found: &InstalledProgram,
        location: Location,
        readers: Readers,
    ) -> Result<EntryCommand, InstallError> {
        let path = found.path.display();
        let note = match location {
            Location::Cache(launcher) => format!(
                "note: the entry starts {path}, which is installed, and not {}, which takes longer",
                launcher.title()
            ),
            _ => format!("note: the entry starts {path}, which is installed"),
        };
        match readers {
            Readers::TheProject if found.is_by_name => {
                EntryCommand::of_program(Path::new(env!("CARGO_PKG_NAME")), Some(note))
            }
            Readers::TheProject | Readers::ThisUser => {
                EntryCommand::of_program(&found.path, Some(note))
            }
        }
    }

    fn lasting_name(self, readers: Readers) -> PathBuf {
        match (found(self.running, self.path), readers) {
            (Some(_), Readers::TheProject) => PathBuf::from(env!("CARGO_PKG_NAME")),
            (Some(found), Readers::ThisUser) => found,
            (None, _) => lasting_alias(self.running).unwrap_or_else(|| self.running.to_owned()),
        }
    }
}

/// Path by which `PATH` finds the program, if the first hit is this program.
fn found(running: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let directories = env::split_paths(path?).filter(|directory| directory.is_absolute());
    let mut files = directories.map(|directory| directory.join(FILE_NAME));
    let first = files.find(|file| file.is_file())?;
    let is_running = fs::canonicalize(&first).ok()? == fs::canonicalize(running).ok()?;
    is_running.then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(running: &Path, path: Option<&OsStr>, readers: Readers) -> PathBuf {
        let running = RunningProgram {
            running,
            path,
            system: System::Linux,
        };
        running.lasting_name(readers)
    }

    #[test]
    fn a_program_that_path_finds_is_named_as_it_finds_it() {
        let root = tempfile::tempdir().unwrap();
        let file = format!("mcp-bridge{}", env::consts::EXE_SUFFIX);
        let [empty, bin, other] = ["empty", "bin", "other"].map(|name| root.path().join(name));
        for directory in [&empty, &bin, &other] {
            fs::create_dir(directory).unwrap();
        }
        let running = bin.join(&file);
        fs::write(&running, "").unwrap();
        fs::write(other.join(&file), "").unwrap();
        let bare = PathBuf::from("mcp-bridge");
        for (path, own, shared) in [
            (vec![&empty, &bin, &other], &running, &bare),
            (vec![&other, &bin], &running, &running),
            (vec![&empty], &running, &running),
        ] {
            let path = env::join_paths(path).unwrap();
            assert_eq!(&name(&running, Some(&path), Readers::ThisUser), own);
            assert_eq!(&name(&running, Some(&path), Readers::TheProject), shared);
        }
        assert_eq!(name(&running, None, Readers::TheProject), running);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_a_package_manager_made_is_named_and_not_what_is_behind_it() {
        let root = tempfile::tempdir().unwrap();
        let cellar = root.path().join("mcp-bridge-1.2.3");
        fs::write(&cellar, "").unwrap();
        let link = root.path().join("mcp-bridge");
        std::os::unix::fs::symlink(&cellar, &link).unwrap();
        let path = root.path().as_os_str();
        assert_eq!(name(&cellar, Some(path), Readers::ThisUser), link);
    }
}
