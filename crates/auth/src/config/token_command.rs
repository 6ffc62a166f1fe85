//! Command line of a program that prints something: tokens (`--auth-command`), like `kubectl` credential plugins, or headers
//! (`--header-command`).

use std::ffi::OsStr;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::{AuthError, shown};
use mcp_bridge_net::setting::Setting;

/// A command line that prints a token, or whatever else its setting is for.
///
/// It is split at white space, without a shell. Quotation marks (`"…"` or `'…'`) keep words together; every
/// other character, the backslash included, is what it is, so that paths of Windows need no care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCommand {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// The setting that it comes from.
    setting: Setting,
}

/// Reason why a command line cannot be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no word in it.
    #[error("names no program")]
    Empty,
    /// A quotation mark has no partner.
    #[error("has a quotation mark without its partner")]
    Unclosed,
}

impl TokenCommand {
    /// Splits the command line of `setting`.
    pub fn parse(line: &str, setting: Setting) -> Result<Self, CommandError> {
        let mut words = words(line)?.into_iter();
        Ok(Self {
            program: words.next().ok_or(CommandError::Empty)?,
            arguments: words.collect(),
            setting,
        })
    }

    /// Name of the program. The arguments, which may hold anything, are not shown.
    pub(crate) fn name(&self) -> String {
        let name = Path::new(&self.program).file_name();
        shown(&name.map_or_else(|| self.program.clone().into(), OsStr::to_string_lossy))
    }

    /// A name for the command line that tells nothing of it: the same words have the same one.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        /// Hash digits: 48 bits, among the few commands that one user has for one server.
        const DIGITS: usize = 12;
        let mut hash = Sha256::new();
        for word in std::iter::once(&self.program).chain(&self.arguments) {
            hash.update(word.len().to_le_bytes());
            hash.update(word);
        }
        let mut name = format!("{:x}", hash.finalize());
        name.truncate(DIGITS);
        name
    }

    pub(crate) fn failed(&self, reason: impl Into<String>) -> AuthError {
        AuthError::Command {
            program: self.name(),
            setting: self.setting,
            reason: reason.into(),
        }
    }
}

fn words(line: &str) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(letter) = rest.next() {
        match letter {
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                let (inner, after) = rest
                    .as_str()
                    .split_once(quote)
                    .ok_or(CommandError::Unclosed)?;
                word.push_str(inner);
                rest = after.chars();
            }
            space if space.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_without_a_shell() {
        let check = |line: &str, expected: &[&str]| {
            let command = TokenCommand::parse(line, Setting::AuthCommand).unwrap();
            let mut words = vec![command.program];
            words.extend(command.arguments);
            assert_eq!(words, expected, "{line}");
        };
        check(
            "gcloud auth  print-access-token\n",
            &["gcloud", "auth", "print-access-token"],
        );
        check(
            r"C:\tools\token.exe --for C:\x",
            &[r"C:\tools\token.exe", "--for", r"C:\x"],
        );
        check(
            r#""C:\Program Files\t.exe" a"b c"d"#,
            &[r"C:\Program Files\t.exe", "ab cd"],
        );
        check(
            "sh -c 'echo \"$X\" | cat'",
            &["sh", "-c", "echo \"$X\" | cat"],
        );
        check("x '' \"\"", &["x", "", ""]);
        let problem = |line| TokenCommand::parse(line, Setting::AuthCommand).unwrap_err();
        assert_eq!(problem("  "), CommandError::Empty);
        assert_eq!(problem("x 'y"), CommandError::Unclosed);
    }
}
