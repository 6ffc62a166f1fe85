//! `mcp-bridge help`

use std::process::ExitCode;

use clap::CommandFactory as _;

use super::mistyped::closest;
use super::{CommandLine, Stop, print};
use crate::cli::help;

/// Explain a group of options, a command, or everything
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A group of options, a command, or all
    topic: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    let program = CommandLine::command();
    let text = match &args.topic {
        None => help::on_one_screen(program).render_help().to_string(),
        Some(topic) => help::about(&program, topic).map_err(|unknown| {
            let topics = help::topics(&program);
            let commands = program.get_subcommands().map(clap::Command::get_name);
            let known = topics.iter().map(String::as_str).chain(commands);
            let hint = match closest(topic.trim_start_matches('-'), known) {
                Some(topic) => format!("did you mean mcp-bridge help {topic}?"),
                None => format!(
                    "there is help about {}, and each command",
                    topics.join(", ")
                ),
            };
            Stop::usage(unknown.to_string()).hint(hint)
        })?,
    };
    print(text.as_bytes())
}
