//! What the server said the last times it was asked to open a session, on disk.

use std::path::PathBuf;

use serde_json::Value;

use super::promise::Answers;
use crate::message::Message;
use crate::private_file::{private_directory, read_private, write_private};

/// An answer that is larger is not remembered, in bytes. They have one or two KiB.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The file with the answers, if there is to be one. Its methods block; they are short.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    file: Option<PathBuf>,
}

impl Memory {
    /// Touches nothing.
    pub(super) const fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// What is known, which may be nothing.
    pub(super) fn recall(&self) -> Answers {
        let file = self.file.as_deref();
        match file.and_then(|file| read_private(file).transpose()) {
            Some(Ok(text)) => Answers::parse(&text),
            Some(Err(error)) => {
                tracing::debug!("cannot read what the server said before: {error}");
                Answers::default()
            }
            None => Answers::default(),
        }
    }

    /// Remembers what the server answered to an `initialize` with the version `asked`.
    pub(super) fn keep(&self, asked: &str, response: &Message) {
        let result = response
            .result_json()
            .filter(|result| result.len() <= LARGEST_ANSWER);
        let result: Option<Value> = result.and_then(|result| serde_json::from_str(result).ok());
        let (Some(file), Some(result)) = (&self.file, result) else {
            return;
        };
        let mut answers = self.recall();
        if !answers.learn(asked, result) {
            return;
        }
        let directory = file.parent().map_or(Ok(()), private_directory);
        if let Err(error) = directory.and_then(|()| write_private(file, answers.as_map())) {
            tracing::debug!("cannot remember what the server said: {error}");
        }
    }
}
