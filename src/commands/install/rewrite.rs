//! Change of several entries in one file, for `migrate` and `install --repair`: shown first, and then carried out.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::mask::Mask;
use super::survey::{ConfigFile, ConfigLocation, Extra, Replacement, Servers, write_diff};
use mcp_bridge_text::printable;

/// Bytes that are read for one file: it is read anew for each set of servers and each conversion. The largest files of
/// apps have some 10 MB.
pub(in crate::commands) const MOST_READ: usize = 256 << 20;

const TOO_MANY_SETS: &str = "it is too large for the number of sets of servers in it";
const TOO_MANY_ENTRIES: &str =
    "the file is too large to change so many entries at once; run the command again for the rest";

/// Decision about one entry.
pub(in crate::commands) type Judge<'a> =
    dyn Fn(&ConfigLocation, &str, &Map<String, Value>) -> EntryVerdict + 'a;

/// Fate of an entry.
#[derive(Debug)]
pub(in crate::commands) enum EntryVerdict {
    /// It stays, and there is nothing to say about it.
    Keep,
    /// It stays and is listed.
    List,
    /// It stays although it should be changed, for this reason.
    Leave(String),
    Change(EntryChange),
}

/// An entry as it will be.
#[derive(Debug)]
pub(in crate::commands) struct EntryChange {
    /// Members with their new values.
    pub(in crate::commands) members: Vec<(&'static str, Value)>,
    /// Members that it gets where it does not have them.
    pub(in crate::commands) extras: Vec<Extra>,
    /// Members that go.
    pub(in crate::commands) removed: Vec<String>,
    /// Lines for the person about it.
    pub(in crate::commands) notes: Vec<String>,
}

/// A file, and what is to be done with it.
pub(in crate::commands) struct FileRewrite {
    file: ConfigFile,
    /// The apps that read it.
    pub(in crate::commands) apps: Vec<&'static str>,
    after: String,
    /// Bytes that have been read.
    read: usize,
    mask: Mask,
    changed: Vec<(String, Vec<String>)>,
    left: Vec<(String, String)>,
    /// Entries that are only listed.
    pub(in crate::commands) listed: Vec<String>,
}

/// A file that cannot be read or edited.
pub(in crate::commands) struct Trouble {
    pub(in crate::commands) path: PathBuf,
    pub(in crate::commands) error: String,
    pub(in crate::commands) hint: &'static str,
}

impl FileRewrite {
    /// Reads the file of these places, which share it. None if it is not there.
    pub(in crate::commands) fn make(
        places: &[ConfigLocation],
        most_read: usize,
        judge: &Judge<'_>,
    ) -> Result<Option<Self>, Trouble> {
        let Some(first) = places.first() else {
            return Ok(None);
        };
        let trouble = |error: String, hint| Trouble {
            path: first.path.clone(),
            error,
            hint,
        };
        let file = ConfigFile::find(&first.path)
            .map_err(|error| trouble(error.to_string(), "nothing was written there"))?;
        let Some(text) = file.text.clone() else {
            return Ok(None);
        };
        let mut plan = Self {
            file,
            apps: Vec::new(),
            after: text,
            read: 0,
            mask: Mask::default(),
            changed: Vec::new(),
            left: Vec::new(),
            listed: Vec::new(),
        };
        let mut entries = Servers::new();
        for (number, place) in places.iter().enumerate() {
            if !plan.apps.contains(&place.title()) {
                plan.apps.push(place.title());
            }
            if places[..number]
                .iter()
                .any(|other| other.is_same_set(place))
            {
                continue;
            }
            plan.add(place, most_read, judge, &mut entries)
                .map_err(|error| {
                    trouble(
                        error,
                        "correct that in an editor first; nothing was written there",
                    )
                })?;
        }
        plan.mask = Mask::of(&entries);
        Ok(Some(plan))
    }

    /// Changes the entries of one place, and adds them, as they were and as they will be, to `entries`.
    fn add(
        &mut self,
        place: &ConfigLocation,
        most_read: usize,
        judge: &Judge<'_>,
        entries: &mut Servers,
    ) -> Result<(), String> {
        if !self.may_read(place, most_read) {
            return Err(TOO_MANY_SETS.to_owned());
        }
        let found = place
            .entries(&self.after)
            .map_err(|error| error.to_string())?;
        let changed_before = self.changed.len();
        for (name, entry) in &found {
            match judge(place, name, entry) {
                EntryVerdict::Keep => {}
                EntryVerdict::List => self.listed.push(name.clone()),
                EntryVerdict::Leave(reason) => self.left.push((name.clone(), reason)),
                EntryVerdict::Change(change) => self.change(place, name, &change, most_read),
            }
        }
        entries.extend(found);
        if self.changed.len() > changed_before {
            let changed = place.entries(&self.after);
            entries.extend(changed.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// Counts another reading of the file. Returns whether there is time for it.
    fn may_read(&mut self, place: &ConfigLocation, most_read: usize) -> bool {
        self.read = self.read.saturating_add(place.effort(&self.after));
        self.read <= most_read
    }

    fn change(
        &mut self,
        place: &ConfigLocation,
        name: &str,
        change: &EntryChange,
        most_read: usize,
    ) {
        if !self.may_read(place, most_read) {
            self.left
                .push((name.to_owned(), TOO_MANY_ENTRIES.to_owned()));
            return;
        }
        let replacement = Replacement {
            members: &change.members,
            extras: &change.extras,
            removed: &change.removed,
        };
        match place.replace(&self.after, name, &replacement) {
            Ok(after) => {
                self.after = after;
                self.changed.push((name.to_owned(), change.notes.clone()));
            }
            Err(error) => self.left.push((name.to_owned(), error.to_string())),
        }
    }

    /// Numbers of entries that are changed, and that are left although they should be.
    pub(in crate::commands) fn counts(&self) -> (usize, usize) {
        (self.changed.len(), self.left.len())
    }

    /// The file, as the app names it.
    pub(in crate::commands) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Shows what will be done to the file and what will not.
    pub(in crate::commands) fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.changed.is_empty() && self.left.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{} ({})\n",
            self.path().display(),
            self.apps.join(", ")
        )?;
        let before = self.file.text.as_deref().unwrap_or_default();
        if !self.changed.is_empty() {
            write_diff(out, before, &self.after, &|line| {
                printable::block(&self.mask.apply(line))
            })?;
            writeln!(out)?;
        }
        let names = self.changed.iter().map(|(name, _)| name);
        let names = names.chain(self.left.iter().map(|(name, _)| name));
        let names: BTreeSet<_> = names.map(|name| printable::line(name)).collect();
        let width = names.iter().map(String::len).max().unwrap_or_default();
        for (name, notes) in &self.changed {
            let mut label = printable::line(name);
            for note in notes {
                writeln!(out, "  {label:width$}  {}", self.masked(note))?;
                label.clear();
            }
        }
        for (name, reason) in &self.left {
            let name = printable::line(name);
            writeln!(
                out,
                "  {name:width$}  left as it is: {}",
                self.masked(reason)
            )?;
        }
        writeln!(out)
    }

    fn masked(&self, text: &str) -> String {
        printable::block(&self.mask.apply(text))
    }

    /// The text as it will be.
    pub(in crate::commands) fn after(&self) -> &str {
        &self.after
    }

    /// Writes the file. Returns the path of the old one; none if nothing was to be changed.
    pub(in crate::commands) fn carry_out(&self) -> Result<Option<PathBuf>, Trouble> {
        if self.changed.is_empty() {
            return Ok(None);
        }
        let written = self.file.replace(&self.after);
        let backup = written.map_err(|error| Trouble {
            path: self.path().to_owned(),
            error: error.to_string(),
            hint: "nothing was written there",
        })?;
        Ok(Some(backup.unwrap_or_default()))
    }
}

/// The places, those of one file together. The same file may be the user's and the project's.
pub(in crate::commands) fn by_file(places: Vec<ConfigLocation>) -> Vec<Vec<ConfigLocation>> {
    let mut files: Vec<(PathBuf, Vec<ConfigLocation>)> = Vec::new();
    for place in places {
        let whole = fs::canonicalize(&place.path).unwrap_or_else(|_| place.path.clone());
        match files.iter_mut().find(|(path, _)| *path == whole) {
            Some((_, places)) => places.push(place),
            None => files.push((whole, vec![place])),
        }
    }
    files.into_iter().map(|(_, places)| places).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::install::survey;

    #[test]
    fn a_file_is_read_anew_only_so_often() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".cursor/mcp.json");
        fs::create_dir(directory.path().join(".cursor")).unwrap();
        let entry = |number: usize| {
            format!(
                "\"e{number}\": {{\"command\": \"npx\", \"args\": [\"mcp-remote\", \"https://example.com/mcp\"]}}"
            )
        };
        let entries: Vec<_> = (0..9).map(entry).collect();
        let text = format!("{{\"mcpServers\": {{\n{}\n}}}}", entries.join(",\n"));
        fs::write(&path, &text).unwrap();
        let mut places = survey::places(&[], directory.path());
        places.retain(|place| place.path == path);
        let judge = |_: &ConfigLocation, _: &str, _: &Map<String, Value>| {
            EntryVerdict::Change(EntryChange {
                members: vec![
                    ("command", json!("mcp-bridge")),
                    ("args", json!(["https://example.com/mcp"])),
                ],
                extras: Vec::new(),
                removed: Vec::new(),
                notes: Vec::new(),
            })
        };
        let plan = |readings: usize| FileRewrite::make(&places, readings * text.len(), &judge);
        let Ok(Some(some)) = plan(5) else {
            panic!("no plan");
        };
        assert_eq!(some.counts(), (4, 5));
        assert!(
            some.left
                .iter()
                .all(|(_, reason)| reason == TOO_MANY_ENTRIES)
        );
        assert_eq!(plan(10).ok().flatten().unwrap().counts(), (9, 0));
        assert!(plan(0).is_err_and(|trouble| trouble.error == TOO_MANY_SETS));
    }
}
