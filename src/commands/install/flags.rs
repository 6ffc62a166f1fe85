//! Arguments in an entry, checked as the bridge will read them.

use clap::Parser;

use super::error::InstallError;
use crate::cli::Flags;

/// A command line of the bridge, and of nothing else.
#[derive(Debug, Parser)]
#[command(name = "mcp-bridge", args_override_self = true)]
struct FlagLine {
    #[command(flatten)]
    flags: Flags,
}

/// Refuses what the bridge would refuse. The files and variables that flags name are for the app to
/// provide, so they are not looked at.
pub(super) fn check(url: &str, flags: &[String]) -> Result<Flags, InstallError> {
    let url = [url.to_owned()].into_iter();
    let words: Vec<_> = url.chain(flags.iter().cloned()).collect();
    parse(&words)
}

/// The same for a command line whose words may stand in any order.
pub(in crate::commands) fn parse(words: &[String]) -> Result<Flags, InstallError> {
    let program = [env!("CARGO_PKG_NAME")].into_iter();
    let words = program.chain(words.iter().map(String::as_str));
    let line = FlagLine::try_parse_from(words).map_err(|error| {
        let text = error.render().to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default();
        // Asked for help, clap answers with a text that is no error.
        let text = text.strip_prefix("error: ").unwrap_or("they ask for help");
        InstallError::Flags(text.trim_end().to_owned())
    })?;
    line.flags.server()?;
    Ok(line.flags)
}

/// The variables that the bridge will look for in its environment: each `${NAME}`, and what the flags
/// name whose own name ends in `-env` (`--client-secret-env NAME`, `--header-env HEADER=NAME`).
pub(in crate::commands) fn variables(flags: &[String]) -> Vec<&str> {
    let mut found = Vec::new();
    let mut before = "";
    for word in flags {
        let by_flag = match word.split_once("-env=") {
            Some((flag, value)) if flag.starts_with("--") => Some(value),
            Some(_) | None if before.starts_with("--") && before.ends_with("-env") => {
                Some(word.as_str())
            }
            Some(_) | None => None,
        };
        let by_flag = by_flag.map(|value| value.rsplit_once('=').map_or(value, |(_, name)| name));
        let by_brace = word.split("${").skip(1);
        let by_brace = by_brace.filter_map(|rest| Some(rest.split_once('}')?.0));
        for name in by_flag.into_iter().chain(by_brace) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
        before = word;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_wherever_flags_name_them() {
        let flags = [
            "8765",
            "--header",
            "X-Key: ${KEY}-${REGION}",
            "--client-secret-env",
            "SECRET",
            "--header-env=X-Other=OTHER",
            "--header-env",
            "X-Third=THIRD",
            "--header=X: ${KEY}",
            "--profile",
            "work",
        ];
        let flags = flags.map(str::to_owned);
        let expected = ["KEY", "REGION", "SECRET", "OTHER", "THIRD"];
        assert_eq!(variables(&flags), expected);
    }
}
