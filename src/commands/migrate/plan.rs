//! The plan for one file: its text with each entry converted that can be.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::conversion::{Conversion, ConversionResult, examine};
use super::record::WrittenFile;
use crate::commands::install::mask::Mask;
use crate::commands::install::survey::{
    ConfigFile, ConfigLocation, Replacement, Servers, write_diff,
};
use mcp_bridge_text::printable;

/// Bytes that are read for one file: it is read anew for each set of servers and each conversion. The largest files of
/// apps have some 10 MB.
pub(super) const MOST_READ: usize = 256 << 20;

const TOO_MANY_SETS: &str = "it is too large for the number of sets of servers in it";
const TOO_MANY_ENTRIES: &str = "the file is too large to convert so many entries at once; run mcp-bridge migrate again for the rest";

/// Entries that are converted.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    /// The names of entries; all where there are none.
    pub(super) only: &'a [String],
    pub(super) remote: RemoteEntries,
    /// The limit on bytes that are read for one file: [`MOST_READ`].
    pub(super) most_read: usize,
}

/// Fate of entries with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RemoteEntries {
    /// They are listed.
    List,
    Convert,
}

/// A file, and what is to be done with it.
pub(super) struct FileMigration {
    file: ConfigFile,
    /// The apps that read it.
    pub(super) apps: Vec<&'static str>,
    after: String,
    /// Bytes that have been read.
    read: usize,
    mask: Mask,
    converted: Vec<(String, Vec<String>)>,
    left: Vec<(String, String)>,
    /// Entries with a URL that are only listed.
    pub(super) listed: Vec<String>,
}

/// A file that cannot be read or edited.
pub(super) struct Trouble {
    pub(super) path: PathBuf,
    pub(super) error: String,
    pub(super) hint: &'static str,
}

impl FileMigration {
    /// Reads the file of these places, which share it. None if it is not there.
    pub(super) fn make(
        places: &[ConfigLocation],
        selection: &Selection<'_>,
        running: &Path,
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
            converted: Vec::new(),
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
            plan.add(place, selection, running, &mut entries)
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

    /// Converts the entries of one place, and adds them, as they were and as they will be, to `entries`.
    fn add(
        &mut self,
        place: &ConfigLocation,
        selection: &Selection<'_>,
        running: &Path,
        entries: &mut Servers,
    ) -> Result<(), String> {
        if !self.may_read(place, selection) {
            return Err(TOO_MANY_SETS.to_owned());
        }
        let found = place
            .entries(&self.after)
            .map_err(|error| error.to_string())?;
        let program = place.program(running);
        let program = program.to_str().ok_or_else(|| {
            format!(
                "the path of this program, {}, is not UTF-8",
                program.display()
            )
        })?;
        let converted_before = self.converted.len();
        for (name, entry) in &found {
            if !selection.only.is_empty() && !selection.only.contains(name) {
                continue;
            }
            match examine(place, name, entry, program) {
                ConversionResult::Bridge | ConversionResult::Local => {}
                ConversionResult::Remote(_) if selection.remote == RemoteEntries::List => {
                    self.listed.push(name.clone());
                }
                ConversionResult::McpRemote(Ok(conversion))
                | ConversionResult::Remote(Ok(conversion)) => {
                    self.convert(place, name, &conversion, selection);
                }
                ConversionResult::McpRemote(Err(reason))
                | ConversionResult::Remote(Err(reason)) => {
                    self.left.push((name.clone(), reason));
                }
            }
        }
        entries.extend(found);
        if self.converted.len() > converted_before {
            let converted = place.entries(&self.after);
            entries.extend(converted.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// Counts another reading of the file. Returns whether there is time for it.
    fn may_read(&mut self, place: &ConfigLocation, selection: &Selection<'_>) -> bool {
        self.read = self.read.saturating_add(place.effort(&self.after));
        self.read <= selection.most_read
    }

    fn convert(
        &mut self,
        place: &ConfigLocation,
        name: &str,
        conversion: &Conversion,
        selection: &Selection<'_>,
    ) {
        if !self.may_read(place, selection) {
            self.left
                .push((name.to_owned(), TOO_MANY_ENTRIES.to_owned()));
            return;
        }
        let replacement = Replacement {
            members: &conversion.members,
            extras: &conversion.extras,
            removed: &conversion.removed,
        };
        match place.replace(&self.after, name, &replacement) {
            Ok(after) => {
                self.after = after;
                self.converted
                    .push((name.to_owned(), conversion.notes.clone()));
            }
            Err(error) => self.left.push((name.to_owned(), error.to_string())),
        }
    }

    /// Numbers of entries that are converted, and that are left although they start mcp-remote.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.converted.len(), self.left.len())
    }

    /// The file, as the app names it.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Shows what will be done to the file and what will not.
    pub(super) fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.converted.is_empty() && self.left.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{} ({})\n",
            self.path().display(),
            self.apps.join(", ")
        )?;
        let before = self.file.text.as_deref().unwrap_or_default();
        if !self.converted.is_empty() {
            write_diff(out, before, &self.after, &|line| {
                printable::block(&self.mask.apply(line))
            })?;
            writeln!(out)?;
        }
        let names = self.converted.iter().map(|(name, _)| name);
        let names = names.chain(self.left.iter().map(|(name, _)| name));
        let names: BTreeSet<_> = names.map(|name| printable::line(name)).collect();
        let width = names.iter().map(String::len).max().unwrap_or_default();
        for (name, notes) in &self.converted {
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

    /// Writes the file.
    pub(super) fn carry_out(&self) -> Result<Option<WrittenFile>, Trouble> {
        if self.converted.is_empty() {
            return Ok(None);
        }
        let written = self.file.replace(&self.after);
        let backup = written.map_err(|error| Trouble {
            path: self.path().to_owned(),
            error: error.to_string(),
            hint: "nothing was written there",
        })?;
        let backup = backup.unwrap_or_default();
        let path = self.path().to_owned();
        Ok(Some(WrittenFile::new(path, backup, &self.after)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let plan = |readings: usize| {
            let selection = Selection {
                only: &[],
                remote: RemoteEntries::List,
                most_read: readings * text.len(),
            };
            FileMigration::make(&places, &selection, Path::new("/bin/mcp-bridge"))
        };
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
