//! `mcp-bridge migrate`: conversion of the `mcp-remote` entries in the configurations of all apps.

pub(super) mod conversion;
mod launcher;
mod oauth;
mod record;
pub(super) mod remote;
mod sign_in;
mod undo;

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use conversion::{RemoteEntries, Selection};
use record::{RecordFile, WrittenFile};
use undo::{Changed, Extent};

use super::install::apps::AppId;
use super::install::rewrite::{FileRewrite, MOST_READ, Trouble, by_file};
use super::install::survey::{self, EntryCommands};
use super::install::{Consent, ask};
use super::text::counted;
use super::{Stop, printed};
use crate::cli;
use mcp_bridge_core::stdio;

const AFTER_HELP: &str = "\
Searches the files of all apps that mcp-bridge install supports, yours and those of the project in the current \
directory, for entries that start mcp-remote (npx -y mcp-remote, bunx, pnpm dlx, cmd /c npx and so on). The \
changes are shown file by file, with secrets masked, and written if you confirm them. Arguments, variables and \
all other members are preserved. An entry that would lose something is left as it is, and the reason is given. \
Sign-ins of mcp-remote are taken over at the first start if they record their authorization server.

Entries with a URL are only listed: an app that connects by itself needs no program in between, and its sign-in \
cannot be taken over. --remote converts them too, for features that the app lacks.

The previous files are kept beside the new ones as .backup-1 (or the next free number). --undo restores them \
byte for byte.

Examples:
  mcp-bridge migrate
  mcp-bridge migrate --client cursor --client claude --dry-run
  mcp-bridge migrate --undo";

/// Replace mcp-remote with the bridge in the configurations of your apps
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(super) struct Args {
    /// Only search the files of this app (repeatable)
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true)]
    client: Vec<AppId>,

    /// Only convert the entry with this name (repeatable)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Also convert entries with a URL, to which the app connects by itself
    #[arg(long)]
    remote: bool,

    /// Only show what would be written
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Write without asking
    #[arg(long, short)]
    yes: bool,

    /// Restore the files as they were before the last migration
    #[arg(long, conflicts_with_all = ["client", "only", "remote"])]
    undo: bool,

    /// With --undo: also restore files that were changed since
    #[arg(long, requires = "undo")]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    let mut out = stdio::report();
    let directory = cli::store_directory().ok_or_else(|| {
        Stop::failed("there is no home directory to look for the files of apps in").hint("set HOME")
    })?;
    if args.undo {
        let changed = if args.force {
            Changed::Replace
        } else {
            Changed::Keep
        };
        let extent = if args.dry_run {
            Extent::Say
        } else {
            Extent::Write
        };
        return undo::run(&directory, changed, extent, &mut out);
    }
    let commands = EntryCommands::of_this_process()?;
    let selection = Selection {
        only: &args.only,
        remote: if args.remote {
            RemoteEntries::Convert
        } else {
            RemoteEntries::List
        },
        commands: &commands,
    };
    let mut plans = Vec::new();
    let mut troubles = Vec::new();
    let project = env::current_dir()
        .map_err(|error| Stop::failed(format!("cannot find the current directory: {error}")))?;
    for places in by_file(survey::places(&args.client, &project)) {
        let judge = |place: &_, name: &_, entry: &_| selection.verdict(place, name, entry);
        match FileRewrite::make(&places, MOST_READ, &judge) {
            Ok(plan) => plans.extend(plan),
            Err(trouble) => troubles.push(trouble),
        }
    }
    printed(show(&plans, &troubles, &mut out))?;
    if plans.iter().any(|plan| plan.counts().0 > 0) {
        commands.say();
    }
    let is_done = plans.iter().all(|plan| plan.counts().0 == 0);
    if is_done || args.dry_run {
        return Ok(status(&troubles));
    }
    match if args.yes { Consent::Yes } else { ask() } {
        Consent::Yes => write(&plans, troubles, &directory, &mut out),
        Consent::No => {
            printed(writeln!(out, "\nNothing was written."))?;
            Ok(ExitCode::FAILURE)
        }
        Consent::Nobody => Err(
            Stop::failed("nothing was written: there is no terminal to ask on")
                .hint("--yes writes without asking"),
        ),
    }
}

fn status(troubles: &[Trouble]) -> ExitCode {
    if troubles.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn show(plans: &[FileRewrite], troubles: &[Trouble], out: &mut dyn Write) -> std::io::Result<()> {
    for plan in plans {
        plan.describe(out)?;
    }
    for trouble in troubles {
        writeln!(
            out,
            "{}: {}; {}\n",
            trouble.path.display(),
            trouble.error,
            trouble.hint
        )?;
    }
    let counts = plans.iter().map(FileRewrite::counts);
    let (converted, left) = counts.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let files = plans.iter().filter(|plan| plan.counts().0 > 0).count();
    match (converted, left) {
        (0, 0) => writeln!(out, "No entry starts mcp-remote.")?,
        (0, left) => writeln!(out, "No entry can be converted; {} as it is.", stay(left))?,
        (converted, 0) => writeln!(
            out,
            "To be converted: {} in {}.",
            entries(converted),
            in_files(files)
        )?,
        (converted, left) => writeln!(
            out,
            "To be converted: {} in {}; {} as it is.",
            entries(converted),
            in_files(files),
            stay(left)
        )?,
    }
    show_remote(plans, out)
}

/// Entries with a URL, which are converted by a flag only.
fn show_remote(plans: &[FileRewrite], out: &mut dyn Write) -> std::io::Result<()> {
    if plans.iter().all(|plan| plan.listed.is_empty()) {
        return Ok(());
    }
    writeln!(
        out,
        "\nThe apps connect to these by themselves; --remote converts them too:"
    )?;
    for plan in plans.iter().filter(|plan| !plan.listed.is_empty()) {
        let names: Vec<_> = plan
            .listed
            .iter()
            .map(|name| mcp_bridge_text::printable::line(name))
            .collect();
        writeln!(out, "  {}: {}", plan.path().display(), names.join(", "))?;
    }
    Ok(())
}

fn entries(count: usize) -> String {
    counted(count, "entry", "entries")
}

fn in_files(count: usize) -> String {
    counted(count, "file", "files")
}

fn stay(count: usize) -> String {
    if count == 1 {
        "1 stays".to_owned()
    } else {
        format!("{count} stay")
    }
}

/// Writes each file, and the record by which that can be undone.
fn write(
    plans: &[FileRewrite],
    mut troubles: Vec<Trouble>,
    directory: &Path,
    out: &mut dyn Write,
) -> Result<ExitCode, Stop> {
    let mut record = RecordFile::new(directory);
    let mut apps: Vec<&str> = Vec::new();
    printed(writeln!(out))?;
    for plan in plans {
        let path = plan.path().display();
        match plan.carry_out() {
            Ok(None) => {}
            Ok(Some(backup)) => {
                printed(writeln!(
                    out,
                    "{path}: written; the file as it was: {}",
                    backup.display()
                ))?;
                apps.extend(&plan.apps);
                let file = WrittenFile::new(plan.path().to_owned(), backup, plan.after());
                record.add(file).map_err(|error| {
                    Stop::failed(format!("cannot write down what was done: {error}"))
                        .hint("--undo will not know of the last file; its copy lies beside it")
                })?;
            }
            Err(trouble) => {
                printed(writeln!(out, "{path}: {}; {}", trouble.error, trouble.hint))?;
                troubles.push(trouble);
            }
        }
    }
    if !apps.is_empty() {
        let mut seen = std::collections::HashSet::new();
        apps.retain(|app| seen.insert(*app));
        printed(writeln!(
            out,
            "\nRestart where it is running: {}. mcp-bridge migrate --undo takes all of this back.",
            apps.join(", ")
        ))?;
    }
    Ok(status(&troubles))
}
