//! `mcp-bridge install`: writes an entry for a server into the configuration of an app.

pub(super) mod apps;
mod arguments;
mod bounds;
mod diff;
mod edit;
mod entry;
mod error;
mod file;
pub(super) mod flags;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod jsonc;
mod keychain_offer;
pub(super) mod launch;
mod list;
pub(super) mod lookup;
pub(super) mod mask;
mod plan;
mod print;
pub(super) mod program;
mod repair;
pub(super) mod rewrite;
mod rivals;
mod several;
pub(super) mod survey;
mod target;
mod toml;
mod yaml;

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use apps::{AppConfiguration, AppId, Machine, Scope, System};
pub(super) use arguments::Args;
use arguments::check_name;
use edit::{EntryPosition, Wish};
use entry::NewEntry;
use error::InstallError;
use plan::FileChange;
pub(super) use print::with_format_joined;

use super::Stop;
use mcp_bridge_core::stdio;

/// Answer of a person to a question.
#[derive(Debug, Clone, Copy)]
pub(super) enum Consent {
    Yes,
    No,
    /// There is no person.
    Nobody,
}

/// Environment of the command: directories, programs and the terminal.
struct Host<'a> {
    /// Directories of the system and the user.
    machine: Machine<'a>,
    /// This program.
    running: PathBuf,
    /// The variable `PATH`.
    path: Option<OsString>,
    /// Stdout.
    out: &'a mut dyn Write,
    /// Asks whether to write.
    ask: fn() -> Consent,
}

/// Does what the arguments say, for this process.
pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    let surroundings = Host {
        machine: Machine {
            system: System::named(env::consts::OS),
            variable: &|name| env::var_os(name),
        },
        running: env::current_exe().map_err(InstallError::Running)?,
        path: env::var_os("PATH"),
        out: &mut stdio::report(),
        ask,
    };
    let mut args = args.clone();
    if let Some(flags) = keychain_offer::offered(&args) {
        args.flags = flags;
    }
    let args = &args;
    match surroundings.run(args) {
        // Whoever reads the list has seen enough of it. Where something was to be written, the error says that it may
        // not have been.
        Err(InstallError::Output(error)) if args.list && stdio::is_closed_pipe(&error) => {
            Ok(ExitCode::SUCCESS)
        }
        outcome => Ok(outcome?),
    }
}

/// Asks the person at the terminal whether to write.
pub(super) fn ask() -> Consent {
    let input = io::stdin();
    if !input.is_terminal() {
        return Consent::Nobody;
    }
    eprint!("\nWrite this? [y/N] ");
    let mut answer = String::new();
    match input.lock().read_line(&mut answer) {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Consent::Yes,
        Ok(_) | Err(_) => Consent::No,
    }
}

impl Host<'_> {
    fn run(mut self, args: &Args) -> Result<ExitCode, InstallError> {
        if args.list {
            list::write(&self.machine, &self.running, args, self.out)?;
            return Ok(ExitCode::SUCCESS);
        }
        if args.repair {
            return repair::run(&mut self, args);
        }
        if args.url.is_some() {
            check_name(args.name())?;
        }
        let clients = self.clients(args)?;
        match clients[..] {
            [] => self.print_for_any_app(args),
            [client] => self.one(args, client),
            _ => several::run(&mut self, args, &clients),
        }
    }

    /// The apps that are meant, each once. None if an entry is only to be printed.
    fn clients(&self, args: &Args) -> Result<Vec<AppId>, InstallError> {
        let mut clients = args.client.clone();
        if args.all {
            clients = survey::installed_apps(&self.machine);
        }
        let mut seen = Vec::new();
        clients.retain(|client| {
            let is_new = !seen.contains(client);
            seen.push(*client);
            is_new
        });
        match clients.len() {
            0 if args.all => Err(InstallError::NoApp),
            0 | 1 => Ok(clients),
            _ if args.config_file.is_some() => Err(InstallError::OneFile),
            _ => Ok(clients),
        }
    }

    /// The entry in one app.
    fn one(mut self, args: &Args, client: AppId) -> Result<ExitCode, InstallError> {
        let target = self.target(args, client, &mut Vec::new())?;
        let (app, scope) = (target.app, &target.scope);
        let keys = target.keys();
        let (position, entry) = (target.position(args, &keys), target.entry(args));
        if args.print.is_some() {
            return self.print(args, app, scope.borrowed(), position, entry);
        }
        if let Some(menu) = app.menu.filter(|_| args.config_file.is_none()) {
            return self.print_for_menu(app, menu, position, entry, args.remove);
        }
        let plans = self.plans(args, app, scope.borrowed(), position, entry)?;
        let rivals = self.rivals(args, app, scope.borrowed())?;
        let Self { out, ask, .. } = self;
        for plan in &plans {
            plan.describe(out)?;
        }
        for rival in rivals {
            writeln!(out, "\nnote: {rival}")?;
        }
        if plans.iter().all(FileChange::is_done) {
            return Ok(ExitCode::SUCCESS);
        }
        let is_own = args.config_file.is_none() && args.project.is_none();
        if is_own && let Some(missing) = plans.iter().find_map(FileChange::missing_directory) {
            let (title, missing) = (app.title, missing.display());
            writeln!(out, "\nThere is no {missing} yet. Is {title} installed?")?;
        }
        if args.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let consent = if args.yes { Consent::Yes } else { ask() };
        match consent {
            Consent::Yes => {
                for plan in plans {
                    match plan.carry_out()? {
                        Some(backup) => {
                            let backup = backup.display();
                            writeln!(out, "\nWritten. The file as it was: {backup}")?;
                        }
                        None => writeln!(out, "\nWritten.")?,
                    }
                }
                writeln!(out, "{}", app.then(scope.borrowed()))?;
                Ok(ExitCode::SUCCESS)
            }
            Consent::No => {
                writeln!(out, "\nNothing was written.")?;
                Ok(ExitCode::FAILURE)
            }
            Consent::Nobody => Err(InstallError::NobodyToAsk),
        }
    }

    /// The changes to write: the entry into the file that counts most, or out of each that has it.
    fn plans<'a>(
        &self,
        args: &Args,
        app: &AppConfiguration,
        scope: Scope<'_>,
        position: EntryPosition<'a>,
        entry: NewEntry<'a>,
    ) -> Result<Vec<FileChange<'a>>, InstallError> {
        let mut files = self.files(args, app, scope)?;
        if !args.remove {
            let file = files.pop().ok_or(InstallError::NoHome)?;
            return Ok(vec![FileChange::make(file, position, Wish::Put(entry))?]);
        }
        let plans = files.into_iter();
        let plans = plans.map(|file| FileChange::make(file, position, Wish::Remove));
        let mut plans = plans.collect::<Result<Vec<_>, _>>()?;
        if plans.iter().any(|plan| !plan.is_done()) {
            plans.retain(|plan| !plan.is_done());
        }
        Ok(plans)
    }

    /// Files that the app prefers to the one that is written, or reads instead.
    fn rivals(
        &self,
        args: &Args,
        app: &AppConfiguration,
        scope: Scope<'_>,
    ) -> Result<Vec<String>, InstallError> {
        if args.config_file.is_some() || args.remove {
            return Ok(Vec::new());
        }
        let here = env::current_dir().and_then(dunce::canonicalize);
        let here = here.map_err(InstallError::Directory)?;
        Ok(rivals::notes(app, &self.machine, scope, &here, args.name()))
    }

    /// The files that the app reads, of which the last counts most; at least one.
    fn files(
        &self,
        args: &Args,
        app: &AppConfiguration,
        scope: Scope<'_>,
    ) -> Result<Vec<PathBuf>, InstallError> {
        if let Some(path) = &args.config_file {
            return Ok(vec![path.clone()]);
        }
        let files = app.files(&self.machine, scope);
        if !files.is_empty() {
            return Ok(files);
        }
        Err(match scope {
            Scope::User if app.menu.is_none() => InstallError::NoHome,
            Scope::Local(_) if app.has_local_scope() => InstallError::NoHome,
            Scope::User | Scope::Project(_) => InstallError::NoFile {
                app: app.title,
                option: "--project",
            },
            Scope::Local(_) => InstallError::NoFile {
                app: app.title,
                option: "--local",
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// Runs the command in `home`, with a person who says `ask`.
    fn run(
        home: &Path,
        ask: fn() -> Consent,
        args: &[&str],
    ) -> (Result<ExitCode, InstallError>, String) {
        let line = [
            "install",
            "--client",
            "cursor",
            "example",
            "https://example.com/mcp",
        ];
        let line = Line::try_parse_from(line.iter().chain(args)).unwrap();
        let mut out = Vec::new();
        let surroundings = Host {
            machine: Machine {
                system: System::Linux,
                variable: &|name| (name == "HOME").then(|| home.as_os_str().to_owned()),
            },
            running: PathBuf::from("/bin/mcp-bridge"),
            path: None,
            out: &mut out,
            ask,
        };
        let end = surroundings.run(&line.args);
        (end, String::from_utf8(out).unwrap())
    }

    #[test]
    fn nothing_is_written_unless_the_person_agrees() {
        let home = tempfile::tempdir().unwrap();
        let (end, out) = run(home.path(), || Consent::No, &[]);
        assert_eq!(end.unwrap(), ExitCode::FAILURE);
        assert!(
            out.contains("+     \"example\": {") && out.ends_with("\nNothing was written.\n"),
            "{out}"
        );
        let (end, _) = run(home.path(), || Consent::Nobody, &[]);
        assert!(matches!(end, Err(InstallError::NobodyToAsk)));
        assert!(!home.path().join(".cursor").exists());

        let (end, out) = run(home.path(), || Consent::Yes, &[]);
        assert_eq!(end.unwrap(), ExitCode::SUCCESS);
        assert!(out.contains("\nWritten.\n"), "{out}");
        let text = fs::read_to_string(home.path().join(".cursor/mcp.json")).unwrap();
        assert!(text.contains("\"command\": \"/bin/mcp-bridge\""), "{text}");
    }

    #[test]
    fn with_yes_and_where_there_is_nothing_to_do_nobody_is_asked() {
        let home = tempfile::tempdir().unwrap();
        let nobody = || panic!("asked");
        let (end, _) = run(home.path(), nobody, &["--yes"]);
        assert_eq!(end.unwrap(), ExitCode::SUCCESS);
        let (end, out) = run(home.path(), nobody, &[]);
        assert_eq!(end.unwrap(), ExitCode::SUCCESS);
        assert!(out.starts_with("Nothing to do: "), "{out}");
    }
}
