//! The entry in several apps at once: shown for all of them, agreed to once, and written app by app. One that fails
//! does not stop the others.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::apps::{App, Client};
use super::error::InstallError;
use super::plan::Plan;
use super::{Args, Consent, Surroundings, entry, position};
use crate::command::text::padded;

/// What has come of an app.
enum Outcome {
    NothingToDo,
    Written(Vec<PathBuf>),
    /// It is not to be written, and that is no failure.
    Skipped(InstallError),
    Failed(InstallError),
}

/// An app, and what is to be done to its files.
struct Target<'a> {
    title: &'static str,
    plans: Result<Vec<Plan<'a>>, InstallError>,
}

pub(super) fn run(
    surroundings: &mut Surroundings<'_>,
    args: &Args,
    clients: &[Client],
) -> Result<ExitCode, InstallError> {
    let mut said = Vec::new();
    let mut apps = Vec::new();
    for client in clients {
        let app = client.app();
        // What is wrong with the flags is wrong for every app.
        let members = surroundings.members(args, &app, &mut said)?;
        apps.push((app, members));
    }
    if args.print {
        return print(surroundings, args, &apps);
    }
    let targets: Vec<_> = apps
        .iter()
        .map(|(app, members)| Target {
            title: app.title,
            plans: surroundings.plans(args, app, position(args, app), entry(args, app, members)),
        })
        .collect();
    let out = &mut *surroundings.out;
    let mut is_first = true;
    for target in &targets {
        for plan in target.plans.iter().flatten().filter(|plan| !plan.is_done()) {
            if !is_first {
                writeln!(out)?;
            }
            is_first = false;
            write!(out, "{}: ", target.title)?;
            plan.describe(out)?;
        }
    }
    let plans = targets
        .iter()
        .filter_map(|target| target.plans.as_ref().ok());
    let consent = match plans.flatten().all(Plan::is_done) {
        true => Consent::Yes,
        false if args.yes => Consent::Yes,
        false => (surroundings.ask)(),
    };
    match consent {
        Consent::Yes => {}
        Consent::No => {
            writeln!(out, "\nNothing was written.")?;
            return Ok(ExitCode::FAILURE);
        }
        Consent::Nobody => return Err(InstallError::NobodyToAsk),
    }
    if !is_first {
        writeln!(out)?;
    }
    let mut written = Vec::new();
    let outcomes = targets.into_iter();
    let outcomes: Vec<_> = outcomes
        .map(|target| (target.title, carry_out(target.plans, args, &mut written)))
        .collect();
    summary(surroundings, &outcomes)
}

/// Prints what belongs into the file of each app.
fn print(
    surroundings: &mut Surroundings<'_>,
    args: &Args,
    apps: &[(App, Vec<(&'static str, Value)>)],
) -> Result<ExitCode, InstallError> {
    for (app, members) in apps {
        eprintln!("{}:", app.title);
        surroundings.print(args, app, position(args, app), entry(args, app, members))?;
        writeln!(surroundings.out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the files of one app. Apps may share a file, which has then changed since the plan was made.
fn carry_out(
    plans: Result<Vec<Plan<'_>>, InstallError>,
    args: &Args,
    written: &mut Vec<PathBuf>,
) -> Outcome {
    let plans = match plans {
        Ok(plans) => plans,
        Err(error @ InstallError::NoProjectFile(_)) if args.all => return Outcome::Skipped(error),
        Err(error) => return Outcome::Failed(error),
    };
    let mut backups = Vec::new();
    let mut is_done = true;
    for plan in plans.into_iter().filter(|plan| !plan.is_done()) {
        is_done = false;
        let plan = if written.iter().any(|path| path == plan.path()) {
            match plan.anew() {
                Ok(plan) if plan.is_done() => continue,
                Ok(plan) => plan,
                Err(error) => return Outcome::Failed(error),
            }
        } else {
            plan
        };
        written.push(plan.path().to_owned());
        match plan.carry_out() {
            Ok(backup) => backups.extend(backup),
            Err(error) => return Outcome::Failed(error),
        }
    }
    if is_done {
        return Outcome::NothingToDo;
    }
    Outcome::Written(backups)
}

/// One line for each app.
fn summary(
    surroundings: &mut Surroundings<'_>,
    outcomes: &[(&'static str, Outcome)],
) -> Result<ExitCode, InstallError> {
    let out = &mut *surroundings.out;
    let width = outcomes.iter().map(|(title, _)| title.len()).max();
    let mut running = Vec::new();
    let mut status = ExitCode::SUCCESS;
    for (title, outcome) in outcomes {
        let label = padded(title, width.unwrap_or_default());
        match outcome {
            Outcome::NothingToDo => writeln!(out, "{label}  nothing to do")?,
            Outcome::Skipped(error) => writeln!(out, "{label}  left out: {error}")?,
            Outcome::Written(backups) => {
                running.push(*title);
                let paths = backups.iter().map(|path| path.display().to_string());
                let paths: Vec<_> = paths.collect();
                if paths.is_empty() {
                    writeln!(out, "{label}  written")?;
                } else {
                    writeln!(
                        out,
                        "{label}  written; the file as it was: {}",
                        paths.join(", ")
                    )?;
                }
            }
            Outcome::Failed(error) => {
                status = ExitCode::FAILURE;
                writeln!(out, "{label}  not written: {error}")?;
                if let Some(hint) = error.hint() {
                    writeln!(
                        out,
                        "{}  hint: {hint}",
                        padded("", width.unwrap_or_default())
                    )?;
                }
            }
        }
    }
    if !running.is_empty() {
        writeln!(
            out,
            "\nRestart where it is running: {}.",
            running.join(", ")
        )?;
    }
    Ok(status)
}
