//! Tokens from a file, an environment variable or a program, read at the moment of their use: whoever issues them replaces
//! them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use crate::config::ExternalToken;
use crate::error::AuthError;
use crate::flow::command::parse_output;
use crate::token::AccessToken;
use mcp_bridge_text::secret::Secret;

/// Limit for the size of a token, in bytes. Those with many claims have a few thousand; SAML assertions have more.
const LARGEST: u64 = 64 * 1024;

impl ExternalToken {
    /// The token as it is now. A problem never repeats what was read.
    pub(crate) async fn read(&self) -> Result<Secret<String>, AuthError> {
        let text = match self {
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                read.unwrap_or_else(|_| Err("reading it was interrupted".into()))
            }
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| "it is not set to a text".into())
            }
            Self::Command(command) => match command.output().await {
                Ok(output) => parse_output(&output, SystemTime::now())
                    .map(|printed| printed.value.expose().to_owned()),
                Err(AuthError::Command { reason, .. }) => Err(reason),
                Err(error) => return Err(error),
            },
        };
        let text = text.map_err(|reason| self.failed(reason))?;
        self.checked(&text)
    }

    fn checked(&self, text: &str) -> Result<Secret<String>, AuthError> {
        let token = text.trim();
        if token.is_empty() {
            return Err(self.failed("it is empty"));
        }
        if AccessToken::new(token.to_owned()).is_none() {
            return Err(self.failed("it holds something else than one token"));
        }
        Ok(Secret::new(token.to_owned()))
    }

    pub(crate) fn failed(&self, reason: impl Into<String>) -> AuthError {
        AuthError::ExternalToken {
            place: self.to_string(),
            reason: reason.into(),
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let words = |error: std::io::Error| error.to_string();
    // A pipe without a writer would be waited for.
    if !path.metadata().map_err(words)?.is_file() {
        return Err("it is no file".into());
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(words)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut text)
        .map_err(words)?;
    if text.len() as u64 > LARGEST {
        return Err(format!("it has more than {LARGEST} bytes"));
    }
    String::from_utf8(text).map_err(|_| "it holds something that is no text".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of_file(text: &[u8]) -> Result<Secret<String>, AuthError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ExternalToken::File(file.path().to_owned()).read().await
    }

    #[tokio::test]
    async fn a_line_break_at_the_end_of_a_file_is_no_part_of_the_token() {
        for text in ["t0k.a-b_c", "t0k.a-b_c\n", " t0k.a-b_c\r\n"] {
            let token = of_file(text.as_bytes()).await.unwrap();
            assert_eq!(token.expose(), "t0k.a-b_c");
        }
    }

    #[tokio::test]
    async fn a_file_without_a_token_is_named_and_its_content_is_not() {
        let large = vec![b'a'; 70_000];
        for (text, reason) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"hunter2 and more", "one token"),
            (b"hunter2\nhunter2", "one token"),
            (b"\xff\xfehunter2", "no text"),
            (&large, "bytes"),
        ] {
            let error = of_file(text).await.unwrap_err();
            let shown = error.to_string();
            assert_eq!(error.kind(), "auth_no_external_token");
            assert!(
                shown.contains(reason) && shown.contains("the file "),
                "{shown}"
            );
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let missing = ExternalToken::File("/nonexistent/token".into());
        let error = missing.read().await.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/token"), "{error}");
        let directory = ExternalToken::File(std::env::temp_dir());
        let error = directory.read().await.unwrap_err().to_string();
        assert!(error.contains("no file"), "{error}");
    }

    /// The clock runs ahead, because nothing else happens.
    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn a_program_that_hangs_is_ended() {
        let source = ExternalToken::parse("command:sleep 600").unwrap();
        let error = source.read().await.unwrap_err().to_string();
        assert!(error.contains("`sleep`: it did not end within"), "{error}");
    }

    #[tokio::test]
    async fn a_variable_that_is_not_set_is_named() {
        let variable = ExternalToken::Environment("MCP_BRIDGE_TEST_OF_NOTHING".into());
        let error = variable.read().await.unwrap_err().to_string();
        assert!(
            error.contains("MCP_BRIDGE_TEST_OF_NOTHING is not set") || error.contains("not set"),
            "{error}"
        );
    }
}
