//! Suggestions for command lines with a mistyped command or an option in the wrong place.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::ReadError;

/// From this likeness on (Jaro-Winkler) a word may be meant by another.
const ALIKE: f64 = 0.8;

/// The name that is most like the one that was typed.
pub(super) fn alike<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&lower, &name.to_lowercase());
    names
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// Whether the first word was meant as a command.
pub(super) fn command(args: &[OsString], program: &Command) -> Option<ReadError> {
    let typed = args.get(1)?.to_str()?;
    let is_word = |letter: char| letter.is_ascii_alphabetic() || letter == '-';
    if typed.starts_with('-') || !typed.chars().all(is_word) {
        return None;
    }
    let names: Vec<_> = program.get_subcommands().map(Command::get_name).collect();
    if names.contains(&typed) {
        return None;
    }
    Some(ReadError::NoSuchCommand {
        meant: alike(typed, names.into_iter())?.to_owned(),
        typed: typed.to_owned(),
    })
}

/// Whether a command was given an option that only the bridge itself takes.
pub(super) fn option(
    args: &[OsString],
    error: &clap::Error,
    program: &Command,
) -> Option<ReadError> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let command = program.find_subcommand(args.get(1)?)?;
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = typed.split('=').next()?;
    let name = option.strip_prefix("--")?;
    let mut of_bridge = program.get_arguments();
    of_bridge.find(|arg| arg.get_long() == Some(name))?;
    Some(ReadError::OptionOfBridge {
        command: command.get_name().to_owned(),
        option: option.to_owned(),
    })
}
