//! `install --repair`: entries whose program has moved or vanished start this program again.

use std::cell::Cell;
use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};

use super::error::InstallError;
use super::launch::Launch;
use super::lookup::{LookupError, find, is_path};
use super::program::location::{Location, lasting_alias};
use super::rewrite::{EntryChange, EntryVerdict, FileRewrite, MOST_READ, Trouble, by_file};
use super::survey::{self, ConfigLocation, EntryCommands};
use super::{Args, Consent, Host};
use crate::commands::text::counted;

/// Search for entries to repair.
struct Repair<'a> {
    commands: &'a EntryCommands,
    /// The variable `PATH`.
    path: &'a OsStr,
    /// The name of the only entry that is meant.
    only: Option<&'a str>,
    /// Number of entries that start the bridge.
    seen: Cell<usize>,
}

pub(super) fn run(host: &mut Host<'_>, args: &Args) -> Result<ExitCode, InstallError> {
    let commands = EntryCommands::of_this_process()?;
    let path = host.path.clone().unwrap_or_default();
    let repair = Repair {
        commands: &commands,
        path: &path,
        only: args.name.as_deref(),
        seen: Cell::new(0),
    };
    let project = env::current_dir().map_err(InstallError::Directory)?;
    let judge = |place: &ConfigLocation, name: &str, entry: &_| repair.verdict(place, name, entry);
    let mut plans = Vec::new();
    let mut troubles = Vec::new();
    for places in by_file(survey::places(&args.client, &project)) {
        match FileRewrite::make(&places, MOST_READ, &judge) {
            Ok(plan) => plans.extend(plan),
            Err(trouble) => troubles.push(trouble),
        }
    }
    let changes = show(host, &repair, &plans, &troubles)?;
    if changes == 0 || args.dry_run {
        return Ok(status(&plans, &troubles));
    }
    commands.say();
    match if args.yes { Consent::Yes } else { (host.ask)() } {
        Consent::Yes => {
            write(host, &plans, &mut troubles)?;
            Ok(status(&plans, &troubles))
        }
        Consent::No => {
            writeln!(host.out, "\nNothing was written.")?;
            Ok(ExitCode::FAILURE)
        }
        Consent::Nobody => Err(InstallError::NobodyToAsk),
    }
}

/// Failure if an entry or a file could not be dealt with.
fn status(plans: &[FileRewrite], troubles: &[Trouble]) -> ExitCode {
    if troubles.is_empty() && plans.iter().all(|plan| plan.counts().1 == 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Repair<'_> {
    fn verdict(
        &self,
        place: &ConfigLocation,
        name: &str,
        entry: &Map<String, Value>,
    ) -> EntryVerdict {
        if self.only.is_some_and(|only| only != name) {
            return EntryVerdict::Keep;
        }
        let words = Launch::read(entry)
            .and_then(|launch| Some((self.commands.words_before_bridge(&launch)?, launch)));
        let Some((count, launch)) = words else {
            return EntryVerdict::Keep;
        };
        self.seen.set(self.seen.get() + 1);
        let program = &launch.words[0];
        let Some(trouble) = trouble(program, self.path) else {
            return if count > 1 && self.commands.of(place).is_program() {
                EntryVerdict::List
            } else {
                EntryVerdict::Keep
            };
        };
        let command = self.commands.of(place);
        if command.program == *program {
            return EntryVerdict::Leave(format!("{program} {trouble}"));
        }
        let arguments = command.arguments(&launch.words[count..]);
        EntryVerdict::Change(EntryChange {
            members: launch.members(&command.program, &arguments),
            extras: Vec::new(),
            removed: Vec::new(),
            notes: vec![format!("{program} {trouble}")],
        })
    }
}

/// The reason why an entry that starts with this word does not start the bridge, or will soon not do so.
fn trouble(program: &str, path: &OsStr) -> Option<String> {
    // What an app fills in, or looks up from a directory of its own.
    if program.contains("${") || is_path(program) && !Path::new(program).is_absolute() {
        return None;
    }
    match find(program, path) {
        Err(LookupError::Missing) => return Some("does not exist".to_owned()),
        Err(LookupError::NotInPath) => return Some("is not found in PATH".to_owned()),
        Err(LookupError::NotExecutable(_)) => return Some("cannot be executed".to_owned()),
        Ok(_) if !is_path(program) => return None,
        Ok(_) => {}
    }
    let path = Path::new(program);
    let location = Location::of(path);
    if location.is_short_lived() {
        return location.objection();
    }
    lasting_alias(path).map(|alias| {
        let alias = alias.display();
        format!("goes with the next update; {alias} stays")
    })
}

/// Shows what will be done. Returns the number of entries that change.
fn show(
    host: &mut Host<'_>,
    repair: &Repair<'_>,
    plans: &[FileRewrite],
    troubles: &[Trouble],
) -> Result<usize, InstallError> {
    let out = &mut *host.out;
    for plan in plans {
        plan.describe(out)?;
    }
    for trouble in troubles {
        let path = trouble.path.display();
        writeln!(out, "{path}: {}; {}\n", trouble.error, trouble.hint)?;
    }
    let counts = plans.iter().map(FileRewrite::counts);
    let (changed, left) = counts.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let files = plans.iter().filter(|plan| plan.counts().0 > 0).count();
    match (repair.seen.get(), changed, left) {
        (0, ..) => writeln!(out, "No entry starts the bridge.")?,
        (seen, 0, 0) => {
            let entries = counted(seen, "entry", "entries");
            writeln!(out, "Nothing to repair: {entries} of the bridge looked at.")?;
        }
        (_, 0, _) => writeln!(out, "Nothing can be repaired.")?,
        (_, changed, _) => {
            let entries = counted(changed, "entry", "entries");
            let files = counted(files, "file", "files");
            writeln!(out, "To be repaired: {entries} in {files}.")?;
        }
    }
    let listed: Vec<_> = plans.iter().flat_map(|plan| &plan.listed).collect();
    if !listed.is_empty() {
        let names: Vec<_> = listed
            .iter()
            .map(|name| mcp_bridge_text::printable::line(name))
            .collect();
        writeln!(
            out,
            "\nStarted by a package launcher, which takes longer than the installed program: {}. \
             mcp-bridge install with the same name and URL changes that.",
            names.join(", ")
        )?;
    }
    Ok(changed)
}

fn write(
    host: &mut Host<'_>,
    plans: &[FileRewrite],
    troubles: &mut Vec<Trouble>,
) -> Result<(), InstallError> {
    let out = &mut *host.out;
    let mut apps: Vec<&str> = Vec::new();
    writeln!(out)?;
    for plan in plans {
        let path = plan.path().display();
        match plan.carry_out() {
            Ok(None) => {}
            Ok(Some(backup)) => {
                let backup = backup.display();
                writeln!(out, "{path}: written; the file as it was: {backup}")?;
                apps.extend(
                    plan.apps
                        .iter()
                        .filter(|app| !apps.contains(app))
                        .collect::<Vec<_>>(),
                );
            }
            Err(trouble) => {
                writeln!(out, "{path}: {}; {}", trouble.error, trouble.hint)?;
                troubles.push(trouble);
            }
        }
    }
    if !apps.is_empty() {
        writeln!(out, "\nRestart where it is running: {}.", apps.join(", "))?;
    }
    Ok(())
}
