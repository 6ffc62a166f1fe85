//! `mcp-bridge man`

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::{CommandLine, Stop, print};
use crate::cli::help::VARIABLES;

/// Print the manual page of the bridge or of a command, for `man -l -`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command
    command: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    let mut program = CommandLine::command();
    program.build();
    let command = match &args.command {
        None => Some(&mut program),
        Some(name) => program.find_subcommand_mut(name),
    };
    let page = command.map(page);
    let unknown = || {
        let topic = args.command.as_deref().unwrap_or_default();
        Stop::usage(format!("there is no command {topic:?}"))
            .hint("mcp-bridge --help lists the commands")
    };
    match page.ok_or_else(unknown)? {
        Ok(page) => print(&page),
        Err(error) => Err(Stop::failed(error.to_string())),
    }
}

fn page(command: &mut Command) -> io::Result<Vec<u8>> {
    let usage = command.render_usage().to_string();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    // The usage of the help: among all the flags that the page would have there, nobody finds anything.
    writeln!(page, ".SH SYNOPSIS")?;
    for line in usage.trim_start_matches("Usage:").lines() {
        writeln!(page, "{}\n.br", line.trim().replace('-', "\\-"))?;
    }
    man.render_description_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    writeln!(page, ".SH ENVIRONMENT")?;
    for (name, meaning) in VARIABLES {
        writeln!(page, ".TP\n\\fB{name}\\fR\n{}", meaning.replace('-', "\\-"))?;
    }
    Ok(page)
}
