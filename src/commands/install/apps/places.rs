//! Paths of configuration files on each operating system, and the choice among several of them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of an app in one scope. Empty where the app has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files {
    /// In ascending precedence where the app reads them all.
    pub(super) places: &'static [ConfigPath],
    pub(super) reads: Reads,
    /// The index of the file that is created where none exists.
    pub(super) fresh: usize,
}

/// Choice of an app among several files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// The first that exists.
    First,
    /// The first whose directory exists: the directory tells which version of the app is installed.
    Installed,
    /// All of them, merged; what a later one says overrides an earlier one.
    All,
}

/// A path, below a directory that differs between systems and users.
#[derive(Debug, Clone, Copy)]
pub(super) enum ConfigPath {
    /// The directory of the project.
    Project(&'static str),
    /// The home directory.
    Home(&'static str),
    /// The directory in a variable, else a directory below the home directory.
    Variable(&'static str, &'static str, &'static str),
    /// `$XDG_CONFIG_HOME`, else `~/.config`, on each system.
    Xdg(&'static str),
    /// The directory in a variable, else a directory in `$XDG_CONFIG_HOME`.
    VariableOrXdg(&'static str, &'static str, &'static str),
    /// The same, but `%APPDATA%` on Windows.
    XdgOrAppData(&'static str),
    /// The directory for the data of apps: as above on Linux and Windows, `~/Library/Application Support`
    /// on macOS.
    AppData(&'static str),
    /// `$XDG_CONFIG_HOME`, else `~/.config`, with the first path; on Windows `%APPDATA%` with the second.
    XdgOrWindows(&'static str, &'static str),
    /// `%APPDATA%` as a packaged app (MSIX) on Windows sees it, where an app is installed whose package name
    /// begins so.
    Packaged(&'static str, &'static str),
}

impl Files {
    pub(super) const NONE: Self = Self::one(&[]);

    /// The first of the files that exists, else the first.
    pub(super) const fn one(places: &'static [ConfigPath]) -> Self {
        Self {
            places,
            reads: Reads::First,
            fresh: 0,
        }
    }

    /// The first of the files whose directory exists, else the first.
    pub(super) const fn installed(places: &'static [ConfigPath]) -> Self {
        Self {
            places,
            reads: Reads::Installed,
            fresh: 0,
        }
    }

    /// All of the files in ascending precedence; where none exists, the one at the index `fresh`.
    pub(super) const fn all(places: &'static [ConfigPath], fresh: usize) -> Self {
        Self {
            places,
            reads: Reads::All,
            fresh,
        }
    }

    /// The files that the app reads, in ascending precedence. Where none exists, the one to create.
    pub(super) fn read(&self, machine: &Machine<'_>, project: Option<&Path>) -> Vec<PathBuf> {
        let fresh = self.places.get(self.fresh).copied().into_iter();
        let fresh = fresh.filter_map(|place| place.resolve(machine, project));
        let every = self.every(machine, project);
        let is_there = |path: &&PathBuf| match self.reads {
            Reads::First | Reads::All => path.exists(),
            Reads::Installed => path.parent().is_some_and(Path::exists),
        };
        let mut existing: Vec<_> = every.iter().filter(is_there).cloned().collect();
        if existing.is_empty() {
            let first = every.first().cloned();
            return fresh.chain(first).take(1).collect();
        }
        if self.reads != Reads::All {
            existing.truncate(1);
        }
        existing
    }

    /// All of the files, whether they exist or not.
    pub(super) fn every(&self, machine: &Machine<'_>, project: Option<&Path>) -> Vec<PathBuf> {
        let places = self.places.iter();
        places
            .filter_map(|place| place.resolve(machine, project))
            .collect()
    }
}

/// The operating system and the environment, which decide where files are.
pub(in crate::commands::install) struct Machine<'a> {
    pub(in crate::commands::install) system: System,
    /// Looks up a variable of the environment.
    pub(in crate::commands::install) variable: &'a dyn Fn(&str) -> Option<OsString>,
}

/// The systems between which places differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum System {
    /// Linux, and other systems with its conventions.
    Linux,
    MacOs,
    Windows,
}

impl System {
    /// The system with this name in [`std::env::consts::OS`].
    pub(in crate::commands) fn named(name: &str) -> Self {
        match name {
            "macos" => Self::MacOs,
            "windows" => Self::Windows,
            _ => Self::Linux,
        }
    }
}

impl Machine<'_> {
    /// The directory in a variable. Relative ones are ignored, as the XDG specification requires.
    fn named(&self, variable: &str) -> Option<PathBuf> {
        let directory = PathBuf::from((self.variable)(variable)?);
        let is_path = match self.system {
            System::Linux | System::MacOs => directory.has_root(),
            System::Windows => !directory.as_os_str().is_empty(),
        };
        is_path.then_some(directory)
    }

    /// A path below the user's home directory. The user database is not asked: whoever runs a program without
    /// `HOME` does not mean that user's files.
    fn at_home(&self, path: &str) -> Option<PathBuf> {
        let home = match self.system {
            System::Linux | System::MacOs => self.named("HOME"),
            System::Windows => self.named("USERPROFILE"),
        };
        Some(below(&home?, path))
    }
}

impl ConfigPath {
    fn resolve(self, machine: &Machine<'_>, project: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::Project(path) => Some(below(project?, path)),
            Self::Home(path) => machine.at_home(path),
            Self::Variable(variable, default, path) => {
                let directory = machine.named(variable);
                let directory = directory.or_else(|| machine.at_home(default))?;
                Some(below(&directory, path))
            }
            Self::Xdg(path) => {
                let directory = machine.named("XDG_CONFIG_HOME");
                let directory = directory.or_else(|| machine.at_home(".config"))?;
                Some(below(&directory, path))
            }
            Self::VariableOrXdg(variable, default, path) => {
                let directory = machine.named(variable);
                let default = || Self::Xdg(default).resolve(machine, project);
                Some(below(&directory.or_else(default)?, path))
            }
            Self::XdgOrAppData(path) => Self::XdgOrWindows(path, path).resolve(machine, project),
            Self::XdgOrWindows(path, windows) => match machine.system {
                System::Linux | System::MacOs => Self::Xdg(path).resolve(machine, project),
                System::Windows => Self::AppData(windows).resolve(machine, project),
            },
            Self::AppData(path) => match machine.system {
                System::Linux => Self::Xdg(path).resolve(machine, project),
                System::MacOs => {
                    let directory = machine.at_home("Library/Application Support")?;
                    Some(below(&directory, path))
                }
                System::Windows => {
                    let directory = machine.named("APPDATA");
                    let directory = directory.or_else(|| machine.at_home("AppData/Roaming"))?;
                    Some(below(&directory, path))
                }
            },
            Self::Packaged(prefix, path) => {
                if machine.system != System::Windows {
                    return None;
                }
                let packages = below(&machine.named("LOCALAPPDATA")?, "Packages");
                let names = fs::read_dir(&packages).ok()?.flatten();
                let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
                names.sort();
                let is_it = |name: &&OsString| name.to_string_lossy().starts_with(prefix);
                let package = packages.join(names.iter().find(is_it)?);
                Some(below(&below(&package, "LocalCache/Roaming"), path))
            }
        }
    }

    /// The same on this machine, outside of a project.
    pub(super) fn of_user(self, machine: &Machine<'_>) -> Option<PathBuf> {
        self.resolve(machine, None)
    }
}

/// A path with the separators of this system.
fn below(directory: &Path, path: &str) -> PathBuf {
    let mut whole = directory.to_owned();
    whole.extend(path.split('/').filter(|part| !part.is_empty()));
    whole
}
