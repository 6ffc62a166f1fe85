//! Precedence of command-line flags over the `--config` file.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Flags that say the same thing in other words: one on the command line silences the others in the file.
const RIVALS: [&[&str]; 3] = [
    &["log_level", "debug", "silent"],
    &["resource", "disable_resource_parameter"],
    &["client_id", "static_oauth_client_info"],
];

/// The command line as it was typed.
pub(super) struct CommandLineFlags<'a> {
    pub(super) command: &'a Command,
    pub(super) matches: &'a ArgMatches,
}

impl CommandLineFlags<'_> {
    /// The argument, if this command has it.
    pub(super) fn arg(&self, id: &str) -> Option<&Arg> {
        self.command.get_arguments().find(|arg| arg.get_id() == id)
    }

    pub(super) fn has(&self, id: &str) -> bool {
        let known = self.arg(id).is_some();
        known && self.matches.value_source(id) == Some(ValueSource::CommandLine)
    }

    /// True if a flag of the command line contradicts `arg` in the file.
    pub(super) fn outdoes(&self, arg: &Arg) -> bool {
        let id = arg.get_id().as_str();
        if self.has(id) && !matches!(arg.get_action(), ArgAction::Append) {
            return true;
        }
        let excludes = |one: &Arg, other: &Arg| {
            let excluded = self.command.get_arg_conflicts_with(one);
            excluded.iter().any(|it| it.get_id() == other.get_id())
        };
        let rivals = RIVALS.iter().filter(|rivals| rivals.contains(&id));
        let mut rivals = rivals.copied().flatten();
        let is_authorization = matches!(id, "bearer_env" | "auth_command");
        let mut others = self.command.get_arguments();
        rivals.any(|rival| *rival != id && self.has(rival))
            || is_authorization && self.has_authorization()
            || others.any(|it| {
                self.has(it.get_id().as_str()) && (excludes(arg, it) || excludes(it, arg))
            })
    }

    /// True if it has an `Authorization` header of its own.
    fn has_authorization(&self) -> bool {
        let is_authorization = |text: &String| {
            let name = text.split([':', '=']).next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case("authorization")
        };
        ["header", "header_env"].iter().any(|id| {
            let given = self.matches.try_get_many::<String>(id);
            given
                .ok()
                .flatten()
                .is_some_and(|mut it| it.any(is_authorization))
        })
    }
}
