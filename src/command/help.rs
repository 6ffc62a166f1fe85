//! `mcp-bridge help`

use std::process::ExitCode;

use clap::CommandFactory as _;

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
            let topics = help::topics(&program).join(", ");
            Stop {
                hint: Some(format!("there is help about {topics}, and each command")),
                ..Stop::usage(unknown.to_string())
            }
        })?,
    };
    print(text.as_bytes())
}
