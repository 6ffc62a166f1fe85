//! Initialize cache: results of `initialize` on disk. The cache of lists is in `remembered_lists`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::provisional_initialize::Answers;
use super::remembered_lists::ListFiles;
use mcp_bridge_net::private_file::{private_folder, read_trusted, write_private};
use mcp_bridge_net::whole_file::remove_file;
use mcp_bridge_protocol::message::Message;

/// The directory below that of the credentials.
const FOLDER: &str = "answers";
const LEVELS: usize = 1;

/// An answer that is larger is not remembered, in bytes. They have one or two KiB.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The last answers of one server to one account: to `initialize`, and to requests for lists. Its methods
/// block; they are short.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// None if nothing is to be kept.
    file: Option<PathBuf>,
    lists: ListFiles,
}

impl Memory {
    /// The memory of an account, by its name ([`mcp_bridge_auth::account_name`]), below the directory of the
    /// credentials. Touches nothing.
    #[must_use]
    pub fn of_account(directory: &Path, account: &str) -> Self {
        let file = directory.join(FOLDER).join(format!("{account}.json"));
        Self {
            file: Some(file),
            lists: ListFiles::of_account(directory, account),
        }
    }

    /// The lists of the account.
    pub(super) fn lists(&self) -> ListFiles {
        self.lists.clone()
    }

    /// The versions of MCP that the server has spoken.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        self.recall().versions()
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.lists.forget();
        if let Some(file) = &self.file
            && let Err(error) = remove_file(file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!("cannot forget what the server said before: {error}");
        }
    }

    /// The answers that are stored, which may be none.
    pub(super) fn recall(&self) -> Answers {
        let file = self.file.as_deref();
        let text = file.and_then(|file| read_trusted(file, "the server's earlier answer"));
        text.map_or_else(Answers::default, |text| Answers::parse(&text))
    }

    /// Remembers what the server answered to an `initialize` with the version `asked`.
    pub fn keep(&self, asked: &str, response: &Message) {
        if let Some(answers) = self.with_answer(asked, response) {
            self.write(&answers);
        }
    }

    /// The answers with that to an `initialize` with the version `asked`; `None` if it is there already, as it nearly
    /// always is, or is not to be kept.
    pub(super) fn with_answer(&self, asked: &str, response: &Message) -> Option<Answers> {
        let result = response
            .result_json()
            .filter(|result| result.len() <= LARGEST_ANSWER)?;
        self.file.as_ref()?;
        let result: Value = serde_json::from_str(result).ok()?;
        let mut answers = self.recall();
        answers.learn(asked, result).then_some(answers)
    }

    /// Replaces the answers that are stored.
    pub(super) fn write(&self, answers: &Answers) {
        let Some(file) = &self.file else {
            return;
        };
        let directory = file
            .parent()
            .map_or(Ok(()), |folder| private_folder(folder, LEVELS));
        if let Err(error) = directory.and_then(|()| write_private(file, answers.as_map())) {
            tracing::debug!("cannot remember what the server said: {error}");
        }
    }
}
