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
    let mut script = Vec::new();
    let mut program = CommandLine::command();
    clap_complete::generate(
        args.shell,
        &mut program,
        env!("CARGO_PKG_NAME"),
        &mut script,
    );
    print(&script)
}
