//! Command line of `mcp-bridge install`.

use std::path::PathBuf;

use super::apps::{AppId, Scope};
use super::error::InstallError;
use super::print::PrintFormat;

const AFTER_HELP: &str = "\
The change is shown first and written if you confirm it. The previous file is kept beside it as .backup-1 (or \
the next free number). Comments and unknown members are preserved. An existing entry of the same name keeps its \
other settings and is enabled; tools approved for another URL have to be approved again.

The entry starts this program by its full path, or mcp-bridge in the file of a project; for npx, uvx and the \
like, an installed mcp-bridge or else the launcher. Entries for Codex and Gemini CLI list the environment \
variables that the bridge needs, since these apps do not pass on all.

Examples:
  mcp-bridge install --client cursor,zed example https://mcp.example.com/mcp
  mcp-bridge install --client vscode --project example https://mcp.example.com/mcp
  mcp-bridge install --client claude example https://mcp.example.com/mcp -- --profile work
  mcp-bridge install --repair --dry-run";

/// Add a server to the configuration of an app
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(in crate::commands) struct Args {
    /// The app, or several
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        required_unless_present_any = ["all", "list", "print", "repair"],
        conflicts_with = "all"
    )]
    pub(super) client: Vec<AppId>,

    /// All apps that are found on this machine
    #[arg(long)]
    pub(super) all: bool,

    /// Name of the server in the app: letters, digits, - and _
    #[arg(required_unless_present_any = ["list", "repair"])]
    pub(super) name: Option<String>,

    /// The server's MCP endpoint: https, or http on this machine
    #[arg(required_unless_present_any = ["remove", "list", "repair"])]
    pub(super) url: Option<String>,

    /// Write the file of a project, by default of the current directory
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "."
    )]
    pub(super) project: Option<PathBuf>,

    /// Write your own settings for a project (Claude Code)
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ".",
        conflicts_with = "project"
    )]
    pub(super) local: Option<PathBuf>,

    /// Write this file, in the app's format
    #[arg(long, value_name = "PATH", conflicts_with_all = ["project", "local"])]
    pub(super) config_file: Option<PathBuf>,

    /// Only print it; without --client, as json, toml or yaml
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "app",
        hide_possible_values = true,
        conflicts_with_all = ["yes", "remove"]
    )]
    pub(super) print: Option<PrintFormat>,

    /// Only show the change
    #[arg(long, conflicts_with_all = ["yes", "print"])]
    pub(super) dry_run: bool,

    /// Write without asking
    #[arg(long, short)]
    pub(super) yes: bool,

    /// Take the entry out of the file
    #[arg(long, conflicts_with = "url")]
    pub(super) remove: bool,

    /// Correct the entries whose program has moved or vanished
    #[arg(
        long,
        conflicts_with_all = ["all", "url", "project", "local", "config_file", "print", "remove", "list", "flags"]
    )]
    pub(super) repair: bool,

    /// List the apps, their files, and the entries of the bridge
    #[arg(long, conflicts_with_all = ["all", "name", "config_file", "print", "yes", "dry_run", "remove", "flags"])]
    pub(super) list: bool,

    /// Flags for the bridge, as in mcp-bridge URL FLAGS
    #[arg(last = true, value_name = "FLAGS", conflicts_with = "remove")]
    pub(super) flags: Vec<String>,
}

impl Args {
    /// The name of the entry.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(super) fn scope(&self) -> Result<OwnedScope, InstallError> {
        if let Some(directory) = &self.project {
            return Ok(OwnedScope::Project(directory.clone()));
        }
        let Some(directory) = &self.local else {
            return Ok(OwnedScope::User);
        };
        let directory = dunce::canonicalize(directory).map_err(InstallError::Directory)?;
        Ok(OwnedScope::Local(directory))
    }
}

/// The scope that the arguments name, with the directory as the app has it.
pub(super) enum OwnedScope {
    User,
    Project(PathBuf),
    Local(PathBuf),
}

impl OwnedScope {
    pub(super) fn borrowed(&self) -> Scope<'_> {
        match self {
            Self::User => Scope::User,
            Self::Project(directory) => Scope::Project(directory),
            Self::Local(directory) => Scope::Local(directory),
        }
    }
}

/// Names that each app takes, and can build the names of tools with.
pub(super) fn check_name(name: &str) -> Result<(), InstallError> {
    const LONGEST_NAME: usize = 64;
    let is_fine = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_fine) {
        return Err(InstallError::Name(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_some_app_would_not_take_are_refused() {
        for name in ["example", "a-b_C9", "0", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a.b", "a/b", "é", "a\n", "\"", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
