//! Errors of `install`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::edit::EditError;
use super::file::ConfigFileError;
use super::program::location::Location;
use crate::cli::ConfigError;
use crate::commands::Stop;

/// Error of `install`.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum InstallError {
    /// Some app would not take it.
    #[error("{0:?} is no name for a server")]
    Name(String),
    /// The bridge would not start with this URL.
    #[error(transparent)]
    Server(#[from] ConfigError),
    /// The bridge would not start with these flags.
    #[error("the bridge would not start with these flags: {0}")]
    Flags(String),
    /// The app has no file in this scope.
    #[error("{app} has no files for {}", match *option { "--local" => "one person's settings of a project", _ => "projects" })]
    NoFile {
        /// The app.
        app: &'static str,
        /// The option that asked for the scope.
        option: &'static str,
    },
    /// Nothing says in which form the entry is to be printed.
    #[error("which app, or which format?")]
    NoClient,
    /// The directory of a project cannot be found.
    #[error("cannot find the project's directory: {0}")]
    Directory(io::Error),
    /// `--all` found none.
    #[error("none of the apps is found on this machine")]
    NoApp,
    /// A file belongs to one app.
    #[error("--config-file names the file of one app, and several are meant")]
    OneFile,
    /// Nowhere to look for the file.
    #[error("there is no home directory to look for the app's file in")]
    NoHome,
    /// This program cannot be found.
    #[error("cannot find the path of this program: {0}")]
    Running(io::Error),
    /// Configurations are text.
    #[error("the path of this program, {path}, cannot be written into a file", path = .0.display())]
    Program(PathBuf),
    /// An entry with the path of this program would break by itself.
    #[error("this program, {path}, {}", .location.objection().unwrap_or_default(), path = .path.display())]
    ShortLived { path: PathBuf, location: Location },
    /// The file cannot be edited.
    #[error("{path}: {error}", path = .path.display())]
    Edit {
        /// The file.
        path: PathBuf,
        error: EditError,
    },
    /// The file cannot be read or written.
    #[error("{path} {error}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        error: ConfigFileError,
    },
    /// Only a person may say that a file is written.
    #[error("nothing was written: there is no terminal to ask on")]
    NobodyToAsk,
    /// Stdout is gone.
    #[error("cannot write to stdout: {0}")]
    Output(#[from] io::Error),
}

impl InstallError {
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Name(_) => Some("it may have letters, digits, - and _, 64 at most"),
            Self::Server(error) => Some(error.hint()),
            Self::Flags(_) => Some("mcp-bridge --help lists them; they stand after --"),
            Self::NoFile { option, .. } if *option == "--local" => {
                Some("leave --local out, or name the file with --config-file")
            }
            Self::NoApp => Some("--client names one; mcp-bridge install --list shows them all"),
            Self::OneFile => Some("name one app with --client"),
            Self::NoFile { .. } => Some("leave --project out, or name the file with --config-file"),
            Self::NoClient => Some("name it with --client, or say --print json, toml or yaml"),
            Self::Directory(_) => Some("name a directory that exists, or leave --local out"),
            Self::NoHome => Some("set HOME, or name the file with --config-file"),
            Self::ShortLived { location, .. } => Some(location.advice()),
            Self::Program(_) => Some("move it to where all names are UTF-8"),
            Self::Edit {
                error: EditError::Unsafe | EditError::TooLarge { .. },
                ..
            } => Some("put the entry in by hand: --print shows it; nothing was written"),
            Self::Edit { .. } => Some("correct that in an editor first; nothing was written"),
            Self::File { error, .. } => Some(error.hint()),
            Self::NobodyToAsk => Some("--yes writes without asking"),
            Self::Running(_) | Self::Output(_) => None,
        }
    }
}

impl From<InstallError> for Stop {
    fn from(error: InstallError) -> Self {
        let status = match error {
            InstallError::Name(_)
            | InstallError::Server(_)
            | InstallError::Flags(_)
            | InstallError::OneFile
            | InstallError::NoFile { .. }
            | InstallError::NoClient => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        };
        Self {
            hint: error.hint().map(str::to_owned),
            status,
            error: error.to_string(),
        }
    }
}
