//! Note of further directories with credentials: those of terminals whose `XDG_DATA_HOME` apps do not pass on.
//!
//! `login` writes the note into the default directory. A process without the variable uses the default directory, but
//! for an account that is signed in elsewhere alone. So nothing that lies there is hidden by a note.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::account::Account;
use mcp_bridge_net::private_file::{private_directory, read_trusted, write_private};

const FILE: &str = "directories.json";

/// Directories in a note. Most users have one.
const MOST_DIRECTORIES: usize = 8;

/// The note, with the newest directory first.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    directories: Vec<PathBuf>,
}

impl Note {
    fn read(default: &Path) -> Self {
        let text = read_trusted(&default.join(FILE), "the note of other directories");
        let note = text.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        let mut note = note.unwrap_or_default();
        note.directories.retain(|it| it.is_absolute());
        note.directories.truncate(MOST_DIRECTORIES);
        note
    }
}

/// Notes in the `default` directory that there are credentials in `used` as well.
pub fn note_directory(default: &Path, used: &Path) -> io::Result<()> {
    let mut note = Note::read(default);
    if note.directories.first().is_some_and(|first| first == used) {
        return Ok(());
    }
    note.directories.retain(|it| it != used);
    note.directories.insert(0, used.to_owned());
    note.directories.truncate(MOST_DIRECTORIES);
    private_directory(default)?;
    write_private(&default.join(FILE), &note)
}

/// The directory of the account of this name: the default one, or a noted one if only there it is signed in.
#[must_use]
pub fn directory_of_account(default: &Path, name: &str) -> PathBuf {
    let is_signed_in = |directory: &Path| {
        let accounts = Account::all(directory).into_iter();
        let mut same = accounts.filter(|account| account.name() == name);
        same.any(|account| account.signed_in.is_some())
    };
    let noted = Note::read(default).directories;
    if noted.is_empty() || is_signed_in(default) {
        return default.to_owned();
    }
    let found = noted.into_iter().find(|it| is_signed_in(it));
    found.unwrap_or_else(|| default.to_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_note_is_bounded_and_has_each_directory_once_the_newest_first() {
        let directory = tempdir().unwrap();
        let default = directory.path().join("default");
        assert_eq!(directory_of_account(&default, "a"), default);
        for number in 0..=MOST_DIRECTORIES {
            note_directory(&default, &directory.path().join(number.to_string())).unwrap();
        }
        let third = directory.path().join("3");
        note_directory(&default, &third).unwrap();
        let note = Note::read(&default).directories;
        assert_eq!(note.len(), MOST_DIRECTORIES);
        assert_eq!(note[0], third);
        assert_eq!(note.iter().filter(|it| it.ends_with("3")).count(), 1);
        assert_eq!(directory_of_account(&default, "a"), default);
    }

    #[test]
    fn a_note_with_nonsense_is_none() {
        let directory = tempdir().unwrap();
        for text in ["", "[]", r#"{"directories":["relative"]}"#] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            assert!(
                Note::read(directory.path()).directories.is_empty(),
                "{text}"
            );
        }
    }
}
