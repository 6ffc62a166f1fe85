//! `mcp-bridge man`

use std::io;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::{CommandLine, Stop, print};

/// The usage as it stands in the help: with every flag in it, nobody would find anything.
const SYNOPSIS: &str = "\
.SH SYNOPSIS
\\fBmcp\\-bridge\\fR [\\fIOPTIONS\\fR] <\\fIURL\\fR> [\\fICALLBACK_PORT\\fR]
.br
\\fBmcp\\-bridge\\fR <\\fICOMMAND\\fR>
";

pub(super) fn run() -> Result<ExitCode, Stop> {
    let mut page = Vec::new();
    match write(&mut page) {
        Ok(()) => print(&page),
        Err(error) => Err(Stop::failed(error.to_string())),
    }
}

fn write(page: &mut dyn io::Write) -> io::Result<()> {
    let man = Man::new(CommandLine::command());
    man.render_title(page)?;
    man.render_name_section(page)?;
    page.write_all(SYNOPSIS.as_bytes())?;
    man.render_description_section(page)?;
    man.render_subcommands_section(page)?;
    man.render_options_section(page)?;
    man.render_version_section(page)
}
