//! Help screens: the overview (`--help`), and one for each group of flags.
//!
//! A group is a heading of the flags' help. Nothing is written down twice: a screen is clap's own help with
//! everything hidden that does not belong on it.

use clap::{Arg, Command};

/// The flags that most people need, which the overview shows.
const COMMON: [&str; 7] = [
    "header",
    "bearer_env",
    "no_browser",
    "config",
    "debug",
    "help",
    "version",
];

const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// The word for everything.
pub const ALL: &str = "all";

/// The word for the variables.
pub const ENVIRONMENT: &str = "environment";

/// The environment variables that the program reads, and what for.
pub const VARIABLES: [(&str, &str); 14] = [
    (
        "MCP_BRIDGE_DIR",
        "where credentials are kept, instead of the user's data directory",
    ),
    (
        "XDG_DATA_HOME",
        "the user's data directory on Linux, in which credentials are kept",
    ),
    ("MCP_BRIDGE_STORE", "the same as --store"),
    ("MCP_BRIDGE_STORE_KEY_FILE", "the same as --store-key-file"),
    (
        "MCP_BRIDGE_STORE_KEY",
        "the keys themselves that encrypt what is stored",
    ),
    ("MCP_BRIDGE_PROFILE", "the same as --profile"),
    (
        "MCP_BRIDGE_HEADER",
        "the same as --header; several on lines of their own",
    ),
    (
        "MCP_BRIDGE_READ_ONLY",
        "the same as --read-only, unless it is false",
    ),
    (
        "MCP_BRIDGE_CLIENT_SECRET",
        "the client secret for --client-id",
    ),
    ("BROWSER", "the program that opens the sign-in page"),
    (
        "HTTPS_PROXY, HTTP_PROXY",
        "the proxy, unless --proxy names one",
    ),
    ("NO_PROXY", "hosts that are reached without a proxy"),
    (
        "NODE_EXTRA_CA_CERTS",
        "the same as --ca-cert, as for Node.js",
    ),
    (
        "MCP_REMOTE_CONFIG_DIR",
        "where npm mcp-remote keeps its credentials, instead of ~/.mcp-auth",
    ),
];

/// A word that is neither a group nor a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no help about {0:?}")]
pub struct UnknownTopic(String);

/// The program with help that fits a screen, for it and for each of its commands.
#[must_use]
pub fn on_one_screen(program: Command) -> Command {
    let groups = groups(&program);
    let names = program.get_subcommands().map(|it| it.get_name().to_owned());
    let mut program = names
        .collect::<Vec<_>>()
        .into_iter()
        .fold(program, |program, name| {
            program.mut_subcommand(name, |command| without_groups(command, &groups))
        });
    program = program.mut_args(|arg| {
        let is_common = arg.is_positional() || COMMON.contains(&arg.get_id().as_str());
        // One list, without the names of the groups.
        arg.hide(!is_common).help_heading(None::<&str>)
    });
    program.after_help(format!(
        "More: {}\n      {PROGRAM} help {ENVIRONMENT}, {PROGRAM} help COMMAND, {PROGRAM} help {ALL}",
        all_groups(&groups)
    ))
}

/// A command with only what is its own; the flags that it shares with the bridge are named.
fn without_groups(command: Command, groups: &[String]) -> Command {
    let has = |group: &String| {
        let mut args = command.get_arguments();
        args.any(|arg| arg.get_help_heading() == Some(group))
    };
    let shared: Vec<_> = groups.iter().filter(|group| has(group)).cloned().collect();
    if shared.is_empty() {
        return command;
    }
    let command = command.mut_args(|arg| {
        let hide = arg.is_hide_set() || is_in_group(&arg, groups);
        arg.hide(hide)
    });
    command.after_help(format!(
        "Options for the server and the sign-in, the same as for the bridge:\n  {}",
        all_groups(&shared)
    ))
}

/// The help about a group, a command, or everything.
pub fn about(program: &Command, topic: &str) -> Result<String, UnknownTopic> {
    if topic == ALL {
        return Ok(program.clone().render_help().to_string());
    }
    if topic == ENVIRONMENT {
        return Ok(environment());
    }
    let group = groups(program)
        .into_iter()
        .find(|group| slug(group) == topic);
    let mut parts: Vec<_> = of_command(program, topic).into_iter().collect();
    // A group may have the name of a command.
    if let (Some(_), false) = (&group, parts.is_empty()) {
        parts.push(
            "Options of the bridge (mcp-bridge URL), which this command does not take:\n"
                .to_owned(),
        );
    }
    parts.extend(group.map(|group| of_group(program, &group)));
    if parts.is_empty() {
        return Err(UnknownTopic(topic.to_owned()));
    }
    Ok(parts.join("\n"))
}

/// The words that [`about`] knows beside the names of commands.
#[must_use]
pub fn topics(program: &Command) -> Vec<String> {
    let groups = groups(program).into_iter();
    groups
        .map(|group| slug(&group))
        .chain([ENVIRONMENT.to_owned(), ALL.to_owned()])
        .collect()
}

fn environment() -> String {
    let lines = VARIABLES.map(|(name, meaning)| format!("  {name:<24}  {meaning}\n"));
    format!("Environment:\n{}", lines.concat())
}

/// The command's own answer to `--help`.
fn of_command(program: &Command, name: &str) -> Option<String> {
    program.find_subcommand(name)?;
    let words = [PROGRAM, name, "--help"];
    let screen = on_one_screen(program.clone()).try_get_matches_from(words);
    screen.err().map(|screen| screen.to_string())
}

fn of_group(program: &Command, group: &str) -> String {
    let program = program.clone().help_template("{options}\n");
    let program = program.disable_help_flag(true).disable_version_flag(true);
    let mut program = program.mut_args(|arg| {
        let hide = arg.get_help_heading() != Some(group);
        arg.hide(hide).help_heading(None::<&str>)
    });
    format!("{group}:\n{}", program.render_help())
}

/// The headings, in the order in which they come up.
fn groups(program: &Command) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for arg in program.get_arguments() {
        if let Some(heading) = arg.get_help_heading()
            && !groups.iter().any(|known| known == heading)
        {
            groups.push(heading.to_owned());
        }
    }
    groups
}

fn is_in_group(arg: &Arg, groups: &[String]) -> bool {
    arg.get_help_heading()
        .is_some_and(|heading| groups.iter().any(|group| group == heading))
}

fn slug(group: &str) -> String {
    group.to_lowercase().replace(' ', "-")
}

fn all_groups(groups: &[String]) -> String {
    let slugs: Vec<_> = groups.iter().map(|group| slug(group)).collect();
    format!("{PROGRAM} help {}", slugs.join("|"))
}
