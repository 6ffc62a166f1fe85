//! Properties of commands, see [`crate::fuzzing`].

use clap::CommandFactory as _;

use super::CommandLine;
pub(crate) use super::install::fuzzing::app_configuration;
use crate::cli::file::flags_in;

/// The file of `--config`: what it becomes are flags.
pub(crate) fn config_file(data: &[u8]) {
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
