//! Cache of lists (tools, prompts, resources), on disk and in memory, for the time when the server cannot be asked.
//!
//! A file holds one list of one account in the form that one revision of MCP has it, so that accounts and
//! revisions never mix and a write touches nothing else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::list::List;
use mcp_bridge_net::private_file::{private_folder, read_trusted, write_private};
use mcp_bridge_protocol::era::{Era, MODERN_VERSION, Revision};
use mcp_bridge_protocol::message::Message;

/// The directory below that of the credentials; in it one for each account.
const FOLDER: &str = "lists";
const LEVELS: usize = 2;

/// Limit for the result of a list, in bytes. A private file may have 1 MiB, and a hundred tools have 100 KiB.
const LARGEST_LIST: usize = 960 * 1024;

/// Age at which a list on disk no longer counts: a server changes its tools more often than that.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Age at which a list that has not changed is written again, so that its age is that of its last use.
const RENEWAL_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The layout of a file.
const FORMAT: u32 = 1;

/// The lists of one account on disk. The methods block.
#[derive(Debug, Clone, Default)]
pub(super) struct ListFiles {
    /// None if nothing is to be kept.
    directory: Option<PathBuf>,
}

/// The form of a list: a revision of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ListForm {
    /// The results of a legacy revision.
    Legacy(Revision),
    /// The results of 2026-07-28.
    Modern,
}

/// The lists that are known, from this run or from disk.
#[derive(Debug, Default)]
pub(super) struct RememberedLists {
    known: HashMap<(List, ListForm), KnownList>,
}

#[derive(Debug)]
struct KnownList {
    /// A response that holds the list, whole and before any tool is hidden.
    response: Message,
    /// True if the server has given it in this run.
    is_live: bool,
}

#[derive(Serialize, Deserialize)]
struct ListFile<'a> {
    format: u32,
    /// Seconds since 1970.
    at: u64,
    #[serde(borrow)]
    result: &'a RawValue,
}

impl ListFiles {
    /// The files of an account below the directory of the credentials. Touches nothing.
    pub(super) fn of_account(directory: &Path, account: &str) -> Self {
        let directory = directory.join(FOLDER).join(account);
        Self {
            directory: Some(directory),
        }
    }

    /// Removes the lists of the account.
    pub(super) fn forget(&self) {
        if let Some(directory) = &self.directory
            && let Err(error) = fs::remove_dir_all(directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("cannot remove the remembered lists: {error}");
        }
    }

    /// The results that are on disk and not too old.
    pub(super) fn read_all(&self, form: ListForm) -> Vec<(List, String)> {
        let read = |list: List| Some((list, self.read(list, form)?));
        List::ALL.into_iter().filter_map(read).collect()
    }

    fn read(&self, list: List, form: ListForm) -> Option<String> {
        let (result, age) = read_with_age(&self.path(list, form)?)?;
        (age < LIFETIME).then_some(result)
    }

    /// Writes a result, unless it is there already.
    pub(super) fn keep(&self, list: List, form: ListForm, result: &str) {
        let Some(path) = self.path(list, form) else {
            return;
        };
        let written = read_with_age(&path);
        if written.is_some_and(|(text, age)| text == result && age < RENEWAL_AGE) {
            return;
        }
        let Ok(result) = serde_json::from_str(result) else {
            return;
        };
        let file = ListFile {
            format: FORMAT,
            at: now(),
            result,
        };
        let directory = path
            .parent()
            .map_or(Ok(()), |folder| private_folder(folder, LEVELS));
        if let Err(error) = directory.and_then(|()| write_private(&path, &file)) {
            tracing::debug!("cannot remember a list: {error}");
        }
    }

    fn path(&self, list: List, form: ListForm) -> Option<PathBuf> {
        let name = format!("{}-{}.json", list.member(), form.name());
        Some(self.directory.as_ref()?.join(name))
    }
}

impl ListForm {
    /// The form in which an app gets its lists: by the era of its requests and the version that it was told.
    pub(super) fn new(era: Era, version: &str) -> Self {
        match era {
            Era::Legacy => Self::Legacy(Revision::closest_to(version)),
            Era::Modern => Self::Modern,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Legacy(revision) => revision.as_str(),
            Self::Modern => MODERN_VERSION,
        }
    }
}

impl RememberedLists {
    /// A response that holds the list.
    pub(super) fn get(&self, list: List, form: ListForm) -> Option<&Message> {
        Some(&self.known.get(&(list, form))?.response)
    }

    /// Takes a list that the server has given whole. True if it was not known so, and has to be written.
    pub(super) fn learn(&mut self, list: List, form: ListForm, response: &Message) -> bool {
        let Some(result) = response.result_json() else {
            return false;
        };
        if result.len() > LARGEST_LIST {
            self.known.remove(&(list, form));
            return false;
        }
        let known = self.known.get(&(list, form));
        let is_known = known
            .is_some_and(|known| known.is_live && known.response.result_json() == Some(result));
        let known = KnownList {
            response: response.clone(),
            is_live: true,
        };
        self.known.insert((list, form), known);
        !is_known
    }

    /// Takes what was on disk. What the server has given in this run counts more.
    pub(super) fn recall(&mut self, form: ListForm, results: Vec<(List, String)>) {
        let id = mcp_bridge_protocol::message::RequestId::from_string("remembered");
        for (list, result) in results {
            self.known.entry((list, form)).or_insert_with(|| KnownList {
                response: Message::result(&id, &result),
                is_live: false,
            });
        }
    }
}

/// The result in a file, and the age of the file.
fn read_with_age(path: &Path) -> Option<(String, Duration)> {
    let text = read_trusted(path, "a remembered list")?;
    let file: ListFile = serde_json::from_slice(&text).ok()?;
    let age = now().checked_sub(file.at)?;
    let is_readable = file.format == FORMAT && file.result.get().len() <= LARGEST_LIST;
    is_readable.then(|| (file.result.get().to_owned(), Duration::from_secs(age)))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: ListForm = ListForm::Legacy(Revision::V2025_06_18);

    fn files() -> (tempfile::TempDir, ListFiles) {
        let directory = tempfile::tempdir().unwrap();
        let files = ListFiles::of_account(directory.path(), "account");
        (directory, files)
    }

    #[test]
    fn a_list_is_there_for_the_next_run_in_its_own_form_and_account_only() {
        let (directory, files) = files();
        files.keep(List::Tools, FORM, r#"{"tools": [1.0]}"#);
        files.keep(List::ResourceTemplates, FORM, r#"{"resourceTemplates":[]}"#);
        let read = files.read_all(FORM);
        assert_eq!(read[0], (List::Tools, r#"{"tools": [1.0]}"#.to_owned()));
        assert_eq!(read.len(), 2);
        assert!(files.read_all(ListForm::Modern).is_empty());
        let other = ListFiles::of_account(directory.path(), "other");
        assert!(other.read_all(FORM).is_empty());
        files.forget();
        assert!(files.read_all(FORM).is_empty());
        files.forget();
    }

    #[test]
    fn a_file_is_written_again_only_when_the_list_changes_or_the_file_is_a_day_old() {
        let (_directory, files) = files();
        let path = files.path(List::Tools, FORM).unwrap();
        let written = |text: &str| fs::write(&path, text).unwrap();
        let at = |age: Duration| now() - age.as_secs();
        let file = |at: u64| format!(r#"{{"format":1,"at":{at},"result":{{"tools":[]}}}}"#);
        files.keep(List::Tools, FORM, r#"{"tools":[1]}"#);
        let fresh = file(at(Duration::ZERO));
        written(&fresh);
        files.keep(List::Tools, FORM, r#"{"tools":[]}"#);
        assert_eq!(fs::read_to_string(&path).unwrap(), fresh);
        let old = file(at(RENEWAL_AGE));
        written(&old);
        files.keep(List::Tools, FORM, r#"{"tools":[]}"#);
        assert_ne!(fs::read_to_string(&path).unwrap(), old);
    }

    #[test]
    fn an_old_or_broken_file_counts_for_nothing() {
        let (_directory, files) = files();
        files.keep(List::Tools, FORM, r#"{"tools":[]}"#);
        let path = files.path(List::Tools, FORM).unwrap();
        let too_old = now() - LIFETIME.as_secs();
        for text in [
            format!(r#"{{"format":1,"at":{too_old},"result":{{"tools":[]}}}}"#),
            format!(r#"{{"format":2,"at":{},"result":{{"tools":[]}}}}"#, now()),
            format!(r#"{{"format":1,"at":{},"result":{{}}}}"#, now() + 3600),
            "{".to_owned(),
            String::new(),
        ] {
            fs::write(&path, &text).unwrap();
            assert!(files.read_all(FORM).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_list_that_is_too_large_is_not_kept_and_the_one_before_it_is_dropped() {
        let mut lists = RememberedLists::default();
        let id = mcp_bridge_protocol::message::RequestId::from_string("1");
        let small = Message::result(&id, r#"{"tools":[]}"#);
        assert!(lists.learn(List::Tools, FORM, &small));
        assert!(!lists.learn(List::Tools, FORM, &small), "known");
        lists.recall(FORM, vec![(List::Tools, r#"{"tools":[1]}"#.to_owned())]);
        let known = lists.get(List::Tools, FORM).unwrap();
        assert_eq!(known.result_json(), Some(r#"{"tools":[]}"#));
        let large = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(LARGEST_LIST));
        assert!(!lists.learn(List::Tools, FORM, &Message::result(&id, &large)));
        assert!(lists.get(List::Tools, FORM).is_none());
    }
}
