//! `mcp-bridge migrate --undo`: gives back the files as they were before the last migration.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::record::{RecordFile, WrittenFile};
use crate::commands::install::survey::ConfigFile;
use crate::commands::{Stop, printed};

/// Fate of a file that was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    /// It stays.
    Keep,
    /// It is given back too, with a copy of what it holds now.
    Replace,
}

/// Extent of the command: a look alone, or changes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Write,
    /// Only what would be done is said.
    Say,
}

/// Undoes the last migration. A file that cannot be given back stays in the record.
pub(super) fn run(
    directory: &Path,
    changed: Changed,
    extent: Extent,
    out: &mut dyn Write,
) -> Result<ExitCode, Stop> {
    let last = RecordFile::last(directory)
        .map_err(|error| Stop::failed(format!("cannot read what was migrated: {error}")))?;
    let Some(mut last) = last else {
        printed(writeln!(out, "There is no migration to undo."))?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut left = Vec::new();
    for file in std::mem::take(&mut last.record.files) {
        let path = file.path.display();
        let line = match give_back(&file, changed, extent) {
            Ok(line) => format!("{path}: {line}"),
            Err(reason) => {
                left.push(file.clone());
                format!("{path}: left as it is: {reason}")
            }
        };
        printed(writeln!(out, "{line}"))?;
    }
    if extent == Extent::Say {
        printed(writeln!(out, "\nNothing was written."))?;
        return Ok(ExitCode::SUCCESS);
    }
    last.record.files = left;
    last.save()
        .map_err(|error| Stop::failed(format!("cannot write what is left to undo: {error}")))?;
    if last.record.files.is_empty() {
        printed(writeln!(
            out,
            "\nRestart these apps where they are running."
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(Stop::failed("not every file was restored")
        .hint("--undo --force also restores changed files, and keeps a copy of each beside it"))
}

/// Undoes the changes of one file. Returns what was done, or why nothing was.
fn give_back(file: &WrittenFile, changed: Changed, extent: Extent) -> Result<String, String> {
    let found = ConfigFile::find(&file.path).map_err(|error| format!("it {error}"))?;
    let is_unchanged = file.is_unchanged(found.text.as_deref());
    if !is_unchanged && changed == Changed::Keep {
        return Err("it was changed since".to_owned());
    }
    let backup = ConfigFile::find(&file.backup)
        .map_err(|error| format!("its copy {} {error}", file.backup.display()))?;
    let text = backup
        .text
        .ok_or_else(|| format!("its copy {} is gone", file.backup.display()))?;
    if extent == Extent::Say {
        return Ok("would be as it was".to_owned());
    }
    let kept = found
        .replace(&text)
        .map_err(|error| format!("it {error}"))?;
    let removed = fs::remove_file(&file.backup);
    match kept {
        Some(copy) if is_unchanged => {
            // It holds what can be had again by another migration.
            let _ = removed.and_then(|()| fs::remove_file(copy));
            Ok("as it was".to_owned())
        }
        Some(copy) => Ok(format!("as it was; what it held since: {}", copy.display())),
        None => Ok("as it was".to_owned()),
    }
}
