//! `install` for several apps at once: shown for all of them, agreed to once, and written app by app. One that
//! fails does not stop the others.

use std::path::PathBuf;
use std::process::ExitCode;

use super::apps::{AppConfiguration, AppId};
use super::error::InstallError;
use super::plan::FileChange;
use super::target::Target;
use super::{Args, Consent, Host};
use crate::commands::text::padded;

/// Outcome for an app.
enum AppOutcome {
    NothingToDo,
    Written(Vec<PathBuf>),
    /// It is not to be written, and that is no failure.
    Skipped(String),
    Failed(InstallError),
}

/// Changes to the files of an app.
struct Job<'a> {
    target: &'a Target,
    plans: Result<Vec<FileChange<'a>>, InstallError>,
    notes: Vec<String>,
}

impl Job<'_> {
    /// The plans that change something.
    fn changes(&self) -> impl Iterator<Item = &FileChange<'_>> {
        self.plans.iter().flatten().filter(|plan| !plan.is_done())
    }
}

pub(super) fn run(
    surroundings: &mut Host<'_>,
    args: &Args,
    clients: &[AppId],
) -> Result<ExitCode, InstallError> {
    let mut said = Vec::new();
    // What is wrong with the flags is wrong for every app.
    let targets = clients
        .iter()
        .map(|client| surroundings.target(args, *client, &mut said))
        .collect::<Result<Vec<_>, _>>()?;
    if args.print.is_some() {
        return print(surroundings, args, &targets);
    }
    let keys: Vec<_> = targets.iter().map(Target::keys).collect();
    let mut jobs = Vec::new();
    for (target, keys) in targets.iter().zip(&keys) {
        let scope = target.scope.borrowed();
        let position = target.position(args, keys);
        jobs.push(Job {
            target,
            plans: surroundings.plans(args, target.app, scope, position, target.entry(args)),
            notes: surroundings.rivals(args, target.app, scope)?,
        });
    }
    describe(surroundings, &jobs)?;
    let has_changes = jobs.iter().any(|job| job.changes().next().is_some());
    if args.dry_run && has_changes {
        return Ok(ExitCode::SUCCESS);
    }
    let consent = if args.yes || !has_changes {
        Consent::Yes
    } else {
        (surroundings.ask)()
    };
    let out = &mut *surroundings.out;
    match consent {
        Consent::Yes => {}
        Consent::No => {
            writeln!(out, "\nNothing was written.")?;
            return Ok(ExitCode::FAILURE);
        }
        Consent::Nobody => return Err(InstallError::NobodyToAsk),
    }
    if has_changes {
        writeln!(out)?;
    }
    let mut written = Vec::new();
    let outcomes = jobs.into_iter();
    let outcomes: Vec<_> = outcomes
        .map(|job| (job.target, carry_out(job, args, &mut written)))
        .collect();
    summary(surroundings, &outcomes)
}

/// Shows what is to be done, app by app.
fn describe(surroundings: &mut Host<'_>, jobs: &[Job<'_>]) -> Result<(), InstallError> {
    let out = &mut *surroundings.out;
    let mut is_first = true;
    for job in jobs {
        for plan in job.changes() {
            if !is_first {
                writeln!(out)?;
            }
            is_first = false;
            write!(out, "{}: ", job.target.app.title)?;
            plan.describe(out)?;
        }
        if job.changes().next().is_some() {
            for note in &job.notes {
                writeln!(out, "\nnote: {note}")?;
            }
        }
    }
    Ok(())
}

/// Prints what belongs into the file of each app.
fn print(
    surroundings: &mut Host<'_>,
    args: &Args,
    targets: &[Target],
) -> Result<ExitCode, InstallError> {
    for target in targets {
        let keys = target.keys();
        let (position, entry) = (target.position(args, &keys), target.entry(args));
        eprintln!("{}:", target.app.title);
        surroundings.print(args, target.app, target.scope.borrowed(), position, entry)?;
        writeln!(surroundings.out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the files of one app. Apps may share a file, which has then changed since the plan was made.
fn carry_out(job: Job<'_>, args: &Args, written: &mut Vec<PathBuf>) -> AppOutcome {
    let app = job.target.app;
    let plans = match job.plans {
        Ok(plans) => plans,
        Err(InstallError::NoFile { .. }) if app.menu.is_some() => {
            return AppOutcome::Skipped(format!(
                "it keeps its servers in its settings; --client {} shows what to paste there",
                app.name
            ));
        }
        Err(error @ InstallError::NoFile { .. }) if args.all => {
            return AppOutcome::Skipped(error.to_string());
        }
        Err(error) => return AppOutcome::Failed(error),
    };
    let mut backups = Vec::new();
    let mut is_done = true;
    for plan in plans.into_iter().filter(|plan| !plan.is_done()) {
        is_done = false;
        let plan = if written.iter().any(|path| path == plan.path()) {
            match plan.anew() {
                Ok(plan) if plan.is_done() => continue,
                Ok(plan) => plan,
                Err(error) => return AppOutcome::Failed(error),
            }
        } else {
            plan
        };
        written.push(plan.path().to_owned());
        match plan.carry_out() {
            Ok(backup) => backups.extend(backup),
            Err(error) => return AppOutcome::Failed(error),
        }
    }
    if is_done {
        return AppOutcome::NothingToDo;
    }
    AppOutcome::Written(backups)
}

/// One line for each app, then what the person has to do.
fn summary(
    surroundings: &mut Host<'_>,
    outcomes: &[(&Target, AppOutcome)],
) -> Result<ExitCode, InstallError> {
    let out = &mut *surroundings.out;
    let titles = outcomes.iter().map(|(target, _)| target.app.title.len());
    let width = titles.max().unwrap_or_default();
    let mut restarts = Vec::new();
    let mut steps: Vec<String> = Vec::new();
    let mut status = ExitCode::SUCCESS;
    for (target, outcome) in outcomes {
        let label = padded(target.app.title, width);
        match outcome {
            AppOutcome::NothingToDo => writeln!(out, "{label}  nothing to do")?,
            AppOutcome::Skipped(reason) => writeln!(out, "{label}  left out: {reason}")?,
            AppOutcome::Written(backups) => {
                let step = target.app.then(target.scope.borrowed());
                if step == AppConfiguration::restart(target.app.title) {
                    restarts.push(target.app.title);
                } else if !steps.contains(&step) {
                    steps.push(step);
                }
                let paths = backups.iter().map(|path| path.display().to_string());
                let paths: Vec<_> = paths.collect();
                if paths.is_empty() {
                    writeln!(out, "{label}  written")?;
                } else {
                    let paths = paths.join(", ");
                    writeln!(out, "{label}  written; the file as it was: {paths}")?;
                }
            }
            AppOutcome::Failed(error) => {
                status = ExitCode::FAILURE;
                writeln!(out, "{label}  not written: {error}")?;
                if let Some(hint) = error.hint() {
                    writeln!(out, "{}  hint: {hint}", padded("", width))?;
                }
            }
        }
    }
    if !restarts.is_empty() || !steps.is_empty() {
        writeln!(out)?;
    }
    if !restarts.is_empty() {
        writeln!(out, "Restart where it is running: {}.", restarts.join(", "))?;
    }
    for step in steps {
        writeln!(out, "{step}")?;
    }
    Ok(status)
}
