//! Source of a token that somebody else issues and replaces: a file, an environment variable or a program.

use std::fmt;
use std::path::PathBuf;

use crate::config::{CommandError, TokenCommand};
use crate::error::shown;
use mcp_bridge_net::setting::Setting;

/// Setting that the program's errors name: none of them is shown, because those of the token take their place.
const UNUSED: Setting = Setting::AuthCommand;

/// Source of a token that comes from outside, such as that of a workload. It is read each time the token is needed, because
/// such tokens live for minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalToken {
    /// A file that holds the token alone.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A program that prints the token, or JSON with it.
    Command(TokenCommand),
}

/// Reason why a text names no source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExternalTokenError {
    /// It begins with none of the three words. It is not repeated: it may be a token.
    #[error("has the form file:PATH, env:NAME or command:LINE")]
    Form,
    /// The command line cannot be run.
    #[error("names a command line that {0}")]
    Command(CommandError),
}

impl ExternalToken {
    /// Reads `file:PATH`, `env:NAME` or `command:LINE`.
    pub fn parse(text: &str) -> Result<Self, ExternalTokenError> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if is_variable(name) => Ok(Self::Environment(name.to_owned())),
            Some(("command", line)) => TokenCommand::parse(line, UNUSED)
                .map(Self::Command)
                .map_err(ExternalTokenError::Command),
            Some(_) | None => Err(ExternalTokenError::Form),
        }
    }

    /// The words that tell this source from another one. They may hold anything, so they are only hashed.
    pub(crate) fn words(&self) -> Vec<String> {
        match self {
            Self::File(path) => vec!["file".into(), path.to_string_lossy().into_owned()],
            Self::Environment(name) => vec!["env".into(), name.clone()],
            Self::Command(command) => std::iter::once(command.program.clone())
                .chain(command.arguments.iter().cloned())
                .collect(),
        }
    }
}

/// A program is shown without its arguments.
impl fmt::Display for ExternalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", shown(&path.to_string_lossy())),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Command(command) => write!(f, "`{}`", command.name()),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_file_a_variable_or_a_command_line() {
        let file = ExternalToken::File("/var/run/token".into());
        assert_eq!(ExternalToken::parse("file:/var/run/token"), Ok(file));
        let variable = ExternalToken::Environment("TOKEN".into());
        assert_eq!(ExternalToken::parse("env:TOKEN"), Ok(variable));
        let command = ExternalToken::parse("command:print-token --secret hunter2").unwrap();
        assert_eq!(command.to_string(), "`print-token`");
    }

    #[test]
    fn what_names_no_source_is_not_repeated() {
        for text in [
            "",
            "file:",
            "env:",
            "env:a b",
            "eyJ.hunter2.x",
            "hunter2:x",
            "command:",
            "command:'hunter2",
        ] {
            let problem = ExternalToken::parse(text).unwrap_err().to_string();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
