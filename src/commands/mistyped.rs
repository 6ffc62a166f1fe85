//! Suggestions for mistyped command lines.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::ReadError;

/// From this likeness on (Damerau-Levenshtein, from 0 to 1) a word may be meant by another. Below it stand pairs
/// such as `--verbose` and `--version`.
const ALIKE: f64 = 0.7;

/// Words that people type for a command, and the command line that does it.
const OTHER_WORDS: [(&[&str], &str); 13] = [
    (
        &[
            "signin",
            "sign-in",
            "log-in",
            "auth",
            "authenticate",
            "authorize",
        ],
        "login URL",
    ),
    (&["signout", "sign-out", "log-out"], "logout URL"),
    (&["list", "ls", "list-tools"], "tools URL"),
    (&["call-tool", "invoke", "exec"], "call URL TOOL"),
    (
        &["list-resources", "list-resource-templates", "templates"],
        "resources URL",
    ),
    (&["read-resource", "cat"], "read URL URI"),
    (&["list-prompts"], "prompts URL"),
    (&["get-prompt"], "prompt URL NAME"),
    (
        &["test", "check", "diagnose", "debug", "ping", "health"],
        "doctor URL",
    ),
    (
        &[
            "run", "start", "serve", "server", "connect", "proxy", "bridge", "stdio",
        ],
        "URL",
    ),
    (
        &["add", "setup", "configure", "config", "init"],
        "install --client APP NAME URL",
    ),
    (
        &["uninstall", "remove", "rm", "delete"],
        "install --client APP NAME --remove",
    ),
    (&["version"], "--version"),
];

/// Options that other programs have, and what they are called here.
const OTHER_OPTIONS: [(&[&str], &str); 14] = [
    (&["--verbose", "-v", "-d", "--trace"], "--debug"),
    (&["--quiet", "-q"], "--silent"),
    (&["-H", "--headers"], "--header \"Name: value\""),
    (
        &[
            "--token",
            "--bearer",
            "--bearer-token",
            "--auth-token",
            "--api-key",
            "--key",
        ],
        "--bearer-env VAR, with the token in that environment variable",
    ),
    (
        &["--authorization", "--auth"],
        "--bearer-env VAR, with the token in that environment variable",
    ),
    (
        &["--port", "-p", "--callback-port"],
        "the port after the URL",
    ),
    (
        &["--url", "--server", "--endpoint", "-u"],
        "the URL without an option",
    ),
    (&["--timeout", "-t"], "--request-timeout SECONDS"),
    (
        &["--insecure", "-k", "--no-verify", "--skip-tls-verify"],
        "--ca-cert FILE, with the certificate to trust",
    ),
    (&["--headless"], "--no-browser"),
    (&["--log"], "--log-file PATH"),
    (&["--sse"], "--transport sse-only"),
    (&["--http"], "--transport http-only"),
    (&["--all-help"], "mcp-bridge help all"),
];

/// The name that is most like the one that was typed.
pub(super) fn closest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (likeness(typed, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

fn likeness(typed: &str, name: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&typed.to_lowercase(), &name.to_lowercase())
}

/// The error for arguments that clap refuses, where more can be said than clap does.
pub(super) fn explain(args: &[OsString], error: clap::Error, program: &Command) -> ReadError {
    if args.len() == 1 {
        return ReadError::NoUrl;
    }
    let better = args
        .get(1)
        .and_then(|word| command(word.to_str()?, program))
        .or_else(|| option(args, &error, program))
        .or_else(|| surplus(&error));
    better.unwrap_or_else(|| without_far_suggestions(error).into())
}

/// The error for a word in the place of the URL that was meant as a command.
pub(super) fn command(typed: &str, program: &Command) -> Option<ReadError> {
    let is_word = |letter: char| letter.is_ascii_alphabetic() || letter == '-';
    if typed.starts_with('-') || typed.is_empty() || !typed.chars().all(is_word) {
        return None;
    }
    let names: Vec<_> = program.get_subcommands().map(Command::get_name).collect();
    if names.contains(&typed) || typed == "localhost" {
        return None;
    }
    let lower = typed.to_lowercase();
    let other = OTHER_WORDS
        .iter()
        .find(|(words, _)| words.contains(&lower.as_str()));
    let meant = match other {
        Some((_, meant)) => Some(*meant),
        None => closest(typed, names.into_iter()),
    };
    Some(ReadError::NoSuchCommand {
        typed: typed.to_owned(),
        meant: meant.map(str::to_owned),
    })
}

/// The error for an option that the program, or the command, does not have.
fn option(args: &[OsString], error: &clap::Error, program: &Command) -> Option<ReadError> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = typed.split('=').next()?.to_owned();
    if !option.starts_with('-') {
        return None;
    }
    let command = args.get(1).and_then(|name| program.find_subcommand(name));
    let names = |of: &Command| -> Vec<String> {
        let longs = of.get_arguments().filter_map(clap::Arg::get_long);
        longs.map(|long| format!("--{long}")).collect()
    };
    let of_bridge = names(program);
    if let Some(command) = command {
        if of_bridge.contains(&option) {
            return Some(ReadError::OptionOfBridge {
                command: command.get_name().to_owned(),
                option,
            });
        }
        if command.get_name() == "call" && option.starts_with("--") {
            let name = option.trim_start_matches('-');
            let meant = format!("{name}=VALUE, as arguments of the tool are written");
            return Some(ReadError::no_option(
                command.get_name(),
                &option,
                Some(&meant),
            ));
        }
    }
    let known = command.map_or(of_bridge, names);
    let other = OTHER_OPTIONS.iter().find(|(words, meant)| {
        let name = meant.split(' ').next().unwrap_or_default();
        let is_known = !meant.starts_with("--") || known.iter().any(|known| known == name);
        is_known && words.contains(&option.as_str())
    });
    let meant = match other {
        Some((_, meant)) => Some(*meant),
        None => closest(&option, known.iter().map(String::as_str)),
    };
    let command = command.map_or("", Command::get_name);
    Some(ReadError::no_option(command, &option, meant))
}

/// The error for a word too many: a second URL, or what stands behind the port.
fn surplus(error: &clap::Error) -> Option<ReadError> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue)?;
            value.contains("://").then_some(ReadError::SecondUrl(value))
        }
        ErrorKind::ArgumentConflict | ErrorKind::UnknownArgument => {
            let word =
                text(ContextKind::InvalidArg).or_else(|| text(ContextKind::InvalidSubcommand))?;
            let word = word.trim_matches('\'').to_owned();
            (!word.starts_with('-')).then_some(ReadError::Surplus(word))
        }
        _ => None,
    }
}

/// Takes suggestions away that only have some letters in common with what was typed.
fn without_far_suggestions(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidValue) else {
        return error;
    };
    let is_near = match error.get(ContextKind::SuggestedValue) {
        Some(ContextValue::String(near)) => is_near(typed, near),
        Some(ContextValue::Strings(near)) => near.iter().any(|near| is_near(typed, near)),
        _ => true,
    };
    if !is_near {
        error.remove(ContextKind::SuggestedValue);
    }
    error
}

/// Returns whether a value may be meant by what was typed: alike, or the beginning of it.
fn is_near(typed: &str, value: &str) -> bool {
    value.starts_with(typed) || likeness(typed, value) >= ALIKE || {
        // `keyring` for `keychain`: the same beginning, and half of the rest.
        let same = typed.chars().zip(value.chars()).take_while(|(a, b)| a == b);
        same.count() >= 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_alike_is_suggested() {
        let commands = ["login", "logout", "status", "install", "tools", "doctor"];
        for (typed, expected) in [
            ("lgoin", Some("login")),
            ("logn", Some("login")),
            ("toolz", Some("tools")),
            ("Doktor", Some("doctor")),
            ("start", None),
            ("list", None),
        ] {
            assert_eq!(closest(typed, commands.into_iter()), expected, "{typed}");
        }
        for (typed, value, expected) in [
            ("keyring", "keychain", true),
            ("sse", "sse-only", true),
            ("ksh", "zsh", false),
        ] {
            assert_eq!(is_near(typed, value), expected, "{typed}");
        }
        let options = ["--version", "--issuer", "--allow-http"];
        for typed in ["--verbose", "--insecure", "--allow-tool"] {
            assert_eq!(closest(typed, options.into_iter()), None, "{typed}");
        }
    }
}
