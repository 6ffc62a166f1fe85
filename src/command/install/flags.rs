//! The arguments that the entry starts the bridge with, read as the bridge will read them.

use clap::Parser;

use super::error::InstallError;
use crate::cli::Flags;

/// A command line of the bridge, and of nothing else.
#[derive(Debug, Parser)]
#[command(name = "mcp-bridge")]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

/// Refuses what the bridge would refuse. The files and variables that flags name are for the app to
/// provide, so they are not looked at.
pub(super) fn check(url: &str, flags: &[String]) -> Result<Flags, InstallError> {
    let words = [env!("CARGO_PKG_NAME"), url].into_iter();
    let words = words.chain(flags.iter().map(String::as_str));
    let line = Line::try_parse_from(words).map_err(|error| {
        let text = error.render().to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default();
        // Asked for help, clap answers with a text that is no error.
        let text = text.strip_prefix("error: ").unwrap_or("they ask for help");
        InstallError::Flags(text.trim_end().to_owned())
    })?;
    line.flags.server()?;
    Ok(line.flags)
}
