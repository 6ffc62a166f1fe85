//! `mcp-bridge completions`

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{CommandLine, Stop, print};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    print(script(args.shell).as_bytes())
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    let mut program = CommandLine::command();
    clap_complete::generate(shell, &mut program, env!("CARGO_PKG_NAME"), &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        // clap_complete 4.6 spells a program's hyphen in one way where it finds the command that is being completed,
        // and in another where it looks up what that command takes.
        Shell::Bash => script.replace("mcp__subcmd__bridge", "mcp__bridge"),
        _ => script,
    }
}
