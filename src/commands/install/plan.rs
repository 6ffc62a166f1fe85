//! Planned change of one file: shown first, and then carried out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::diff;
use super::edit::{EditChange, Edited, EntryPosition, Wish, edit, entries, has_byte_order_mark};
use super::error::InstallError;
use super::file::{ConfigFile, ConfigFileError};
use super::mask::Mask;
use mcp_bridge_text::printable;

/// A change of a file, not yet made.
pub(super) struct FileChange<'a> {
    path: PathBuf,
    file: ConfigFile,
    position: EntryPosition<'a>,
    wish: Wish<'a>,
    edited: Edited,
}

impl<'a> FileChange<'a> {
    /// Reads the file and decides what becomes of it.
    pub(super) fn make(
        path: PathBuf,
        position: EntryPosition<'a>,
        wish: Wish<'a>,
    ) -> Result<Self, InstallError> {
        let file = match ConfigFile::find(&path) {
            Ok(file) => file,
            Err(error) => return Err(InstallError::File { path, error }),
        };
        match edit(file.text.as_deref().unwrap_or_default(), position, wish) {
            Ok(edited) => Ok(Self {
                path,
                file,
                position,
                wish,
                edited,
            }),
            Err(error) => Err(InstallError::Edit { path, error }),
        }
    }

    /// True if nothing has to be changed.
    pub(super) fn is_done(&self) -> bool {
        self.edited.change == EditChange::Nothing
    }

    /// The directory that has to be made for the file.
    pub(super) fn missing_directory(&self) -> Option<&Path> {
        self.path.parent().filter(|directory| !directory.exists())
    }

    /// Shows it.
    pub(super) fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        let (name, path) = (self.position.name, self.path.display());
        match (self.edited.change, self.wish) {
            (EditChange::Nothing, Wish::Put(_)) => {
                return writeln!(out, "Nothing to do: {path} has \"{name}\" as it should be.");
            }
            (EditChange::Nothing, Wish::Remove) => {
                return writeln!(out, "Nothing to do: {path} has no \"{name}\".");
            }
            (EditChange::Added, _) if self.file.text.is_none() => {
                writeln!(out, "\"{name}\" goes into {path}, a new file:\n")?;
            }
            (EditChange::Added, _) => writeln!(out, "\"{name}\" goes into {path}:\n")?,
            (EditChange::Changed, _) => writeln!(out, "\"{name}\" is changed in {path}:\n")?,
            (EditChange::Removed, _) => writeln!(out, "\"{name}\" is taken out of {path}:\n")?,
        }
        let before = self.file.text.as_deref().unwrap_or_default();
        // Lines around the change may be those of other servers.
        let mask = Mask::of(&entries(before, self.position).unwrap_or_default());
        let shown = |line: &str| printable::block(&mask.apply(line));
        diff::write(out, before, &self.edited.text, &shown)?;
        if !self.edited.lost_headers.is_empty() {
            let names = self.edited.lost_headers.join(", ");
            writeln!(
                out,
                "\nnote: the entry sent a header by itself ({names}), which the bridge does not know; if the server \
                 needs it, add --header-env NAME=VARIABLE behind --"
            )?;
        }
        if has_byte_order_mark(before) {
            writeln!(
                out,
                "\nnote: the file begins with a byte order mark (BOM), which stays; an app that cannot read the \
                 file needs it saved as UTF-8 without BOM"
            )?;
        }
        Ok(())
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Does it. Returns where the old file is now, if there was one.
    pub(super) fn carry_out(self) -> Result<Option<PathBuf>, InstallError> {
        let refused = |error: ConfigFileError| InstallError::File {
            path: self.path,
            error,
        };
        self.file.replace(&self.edited.text).map_err(refused)
    }

    /// The same plan for the file as it is now.
    pub(super) fn anew(self) -> Result<Self, InstallError> {
        Self::make(self.path, self.position, self.wish)
    }
}
