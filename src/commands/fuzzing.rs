//! Properties of commands for any input, behind `fuzz/`. A property that does not hold panics.

use clap::CommandFactory as _;

use super::CommandLine;
pub use super::install::fuzzing::app_configuration;
use crate::cli::file::flags_in;

/// The file of `--config`: what it becomes are flags.
///
/// # Panics
///
/// If it does not hold.
pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match flags_in(text, &CommandLine::command()) {
        Ok(words) => {
            for word in words {
                let word = word.to_string_lossy();
                assert!(word.starts_with("--"), "{word}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use mcp_bridge_testkit::corpus::replay;

    use super::*;

    #[test]
    fn the_inputs_that_fuzzing_found_keep_the_properties() {
        replay("config_file", config_file);
        replay("app_configuration", app_configuration);
    }
}
