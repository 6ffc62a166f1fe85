//! `mcp-bridge install`: writes an entry for a server into the configuration of an app.

pub(super) mod apps;
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
mod toml;
mod yaml;

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use apps::{AppConfiguration, AppId, Machine, Scope, System};
use edit::{EntryPosition, Wish};
use entry::{Extra, NewEntry};
use error::InstallError;
use plan::FileChange;
use print::PrintFormat;
pub(super) use print::with_format_joined;
use program::{Readers, RunningProgram};

use super::Stop;
use mcp_bridge_core::stdio;

const AFTER_HELP: &str = "\
The change is shown first and written if you confirm it. The previous file is kept beside it as .backup-1 (or \
the next free number). Comments and unknown members are preserved. An existing entry of the same name keeps its \
other settings and is enabled; tools approved for another URL have to be approved again.

The entry starts this program by its full path, or mcp-bridge in the file of a project; for npx, uvx and the \
like, an installed mcp-bridge or else the launcher. Entries for Codex and Gemini CLI list the environment \
variables that the bridge needs, since these apps do not pass on all.

Examples:
  mcp-bridge install --client cursor,zed example https://mcp.example.com/mcp
  mcp-bridge install --client vscode --project example https://mcp.example.com/mcp
  mcp-bridge install --client claude example https://mcp.example.com/mcp -- --profile work
  mcp-bridge install --repair --dry-run";

/// Add a server to the configuration of an app
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(super) struct Args {
    /// The app, or several
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        required_unless_present_any = ["all", "list", "print", "repair"],
        conflicts_with = "all"
    )]
    client: Vec<AppId>,

    /// All apps that are found on this machine
    #[arg(long)]
    all: bool,

    /// What the server is called in the app: letters, digits, - and _
    #[arg(required_unless_present_any = ["list", "repair"])]
    name: Option<String>,

    /// The server's MCP endpoint: https, or http on this machine
    #[arg(required_unless_present_any = ["remove", "list", "repair"])]
    url: Option<String>,

    /// Write the file of a project, by default of the current directory
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "."
    )]
    project: Option<PathBuf>,

    /// Write your own settings for a project (Claude Code)
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ".",
        conflicts_with = "project"
    )]
    local: Option<PathBuf>,

    /// Write this file, in the app's format
    #[arg(long, value_name = "PATH", conflicts_with_all = ["project", "local"])]
    config_file: Option<PathBuf>,

    /// Only print it; without --client, as json, toml or yaml
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "app",
        hide_possible_values = true,
        conflicts_with_all = ["yes", "remove"]
    )]
    print: Option<PrintFormat>,

    /// Only show the change
    #[arg(long, conflicts_with_all = ["yes", "print"])]
    dry_run: bool,

    /// Write without asking
    #[arg(long, short)]
    yes: bool,

    /// Take the entry out of the file
    #[arg(long, conflicts_with = "url")]
    remove: bool,

    /// Correct the entries whose program has moved or vanished
    #[arg(
        long,
        conflicts_with_all = ["all", "url", "project", "local", "config_file", "print", "remove", "list", "flags"]
    )]
    repair: bool,

    /// List the apps, their files, and the entries of the bridge
    #[arg(long, conflicts_with_all = ["all", "name", "config_file", "print", "yes", "dry_run", "remove", "flags"])]
    list: bool,

    /// Flags for the bridge, as in mcp-bridge URL FLAGS
    #[arg(last = true, value_name = "FLAGS", conflicts_with = "remove")]
    flags: Vec<String>,
}

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

    /// An app, and the entry for it. What there is to say of it on stderr is left out if it has been `said`.
    fn target(
        &self,
        args: &Args,
        client: AppId,
        said: &mut Vec<String>,
    ) -> Result<Target, InstallError> {
        let app = client.app();
        let scope = args.scope()?;
        let new = match &args.url {
            Some(url) => self.parts(args, app, url, said)?,
            None => EntryParts::default(),
        };
        let keys = app.table(&self.machine, scope.borrowed());
        Ok(Target {
            app,
            scope,
            keys,
            new,
        })
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

    /// The entry for a server. Says on stderr which secrets would stand in the file, and what the app has
    /// to provide.
    fn parts(
        &self,
        args: &Args,
        app: &AppConfiguration,
        url: &str,
        said: &mut Vec<String>,
    ) -> Result<EntryParts, InstallError> {
        let (program, arguments) = self.command(args, url, said)?;
        let variables = flags::variables(&args.flags);
        if !app.hands_over_variables() {
            for variable in &variables {
                let note = format!(
                    "note: the bridge will look for {variable} in its environment; put it into the \"{}\" of \
                     the entry, unless {} has it\n",
                    app.environment(),
                    app.title
                );
                say(note, said);
            }
        }
        Ok(EntryParts {
            members: app.entry(args.name(), &program, &arguments),
            extras: app.extras(self.machine.system, &variables),
        })
    }

    /// The program and its arguments. Says on stderr which secrets are among them.
    fn command(
        &self,
        args: &Args,
        url: &str,
        said: &mut Vec<String>,
    ) -> Result<(String, Vec<String>), InstallError> {
        let bridge = flags::check(url, &args.flags)?;
        for secret in bridge.plain_secrets() {
            say(format!("warning: {secret}\n"), said);
        }
        let readers = match args.project {
            Some(_) => Readers::TheProject,
            None => Readers::ThisUser,
        };
        let command = self.running_program().command(readers)?;
        if let Some(note) = &command.note {
            say(format!("{note}\n"), said);
        }
        let arguments = [url.to_owned()].into_iter();
        let arguments: Vec<_> = arguments.chain(args.flags.iter().cloned()).collect();
        let arguments = command.arguments(&arguments);
        Ok((command.program, arguments))
    }

    fn running_program(&self) -> RunningProgram<'_> {
        RunningProgram {
            running: &self.running,
            path: self.path.as_deref(),
            system: self.machine.system,
        }
    }

    /// Prints an entry for an app that is not in the table.
    fn print_for_any_app(self, args: &Args) -> Result<ExitCode, InstallError> {
        let style = args.print.filter(|style| *style != PrintFormat::App);
        let style = style.ok_or(InstallError::NoClient)?;
        let url = args.url.as_deref().unwrap_or_default();
        let (program, arguments) = self.command(args, url, &mut Vec::new())?;
        for variable in flags::variables(&args.flags) {
            eprintln!("note: the bridge will look for {variable} in its environment\n");
        }
        let text = style.entry(args.name(), &program, &arguments);
        self.out.write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints a file that holds the entry and nothing else; on stderr, where it belongs.
    fn print(
        &mut self,
        args: &Args,
        app: &AppConfiguration,
        scope: Scope<'_>,
        position: EntryPosition<'_>,
        entry: NewEntry<'_>,
    ) -> Result<ExitCode, InstallError> {
        let path = match self.files(args, app, scope) {
            Ok(mut files) => files.pop().unwrap_or_default(),
            Err(InstallError::NoHome | InstallError::NoFile { .. }) => PathBuf::new(),
            Err(error) => return Err(error),
        };
        if !path.as_os_str().is_empty() {
            eprintln!("This belongs in {}:\n", path.display());
        }
        let text = match args.print {
            Some(PrintFormat::App) | None => fresh_file(position, entry)?,
            Some(style) => style.file(args.name(), &entry.fresh()),
        };
        self.out.write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints what has to be pasted into the settings of an app without a file; on stderr, where.
    fn print_for_menu(
        self,
        app: &AppConfiguration,
        menu: &str,
        position: EntryPosition<'_>,
        entry: NewEntry<'_>,
        remove: bool,
    ) -> Result<ExitCode, InstallError> {
        let title = app.title;
        if remove {
            writeln!(
                self.out,
                "{title} keeps its servers in its settings. Remove it there: {menu}."
            )?;
            return Ok(ExitCode::FAILURE);
        }
        eprintln!("{title} keeps its servers in its settings; paste this there: {menu}.\n");
        self.out
            .write_all(fresh_file(position, entry)?.as_bytes())?;
        Ok(ExitCode::SUCCESS)
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

/// A file that holds the entry and nothing else.
fn fresh_file(position: EntryPosition<'_>, entry: NewEntry<'_>) -> Result<String, InstallError> {
    let path = PathBuf::new();
    let whole = edit::edit("", position, Wish::Put(entry));
    let whole = whole.map_err(|error| InstallError::Edit { path, error })?;
    Ok(whole.text)
}

/// An entry before it is written.
#[derive(Default)]
struct EntryParts {
    members: Vec<(&'static str, Value)>,
    extras: Vec<Extra>,
}

/// An app, and the entry for it.
struct Target {
    app: &'static AppConfiguration,
    scope: OwnedScope,
    /// The keys that lead to the table of servers.
    keys: Vec<String>,
    new: EntryParts,
}

impl Target {
    fn keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }

    /// Place of the entry in the files of the app.
    fn position<'a>(&self, args: &'a Args, keys: &'a [&'a str]) -> EntryPosition<'a> {
        EntryPosition {
            format: self.app.format,
            servers: keys,
            inner: self.app.inner,
            name: args.name(),
        }
    }

    fn entry<'a>(&'a self, args: &'a Args) -> NewEntry<'a> {
        NewEntry {
            members: &self.new.members,
            extras: &self.new.extras,
            kept: self.app.kept,
            url: args.url.as_deref().unwrap_or_default(),
            removed: None,
        }
    }
}

/// Says something on stderr, unless that has been said.
fn say(text: String, said: &mut Vec<String>) {
    if !said.contains(&text) {
        eprintln!("{text}");
        said.push(text);
    }
}

/// The scope that the arguments name, with the directory as the app has it.
enum OwnedScope {
    User,
    Project(PathBuf),
    Local(PathBuf),
}

impl OwnedScope {
    fn borrowed(&self) -> Scope<'_> {
        match self {
            Self::User => Scope::User,
            Self::Project(directory) => Scope::Project(directory),
            Self::Local(directory) => Scope::Local(directory),
        }
    }
}

impl Args {
    /// The name of the entry.
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn scope(&self) -> Result<OwnedScope, InstallError> {
        if let Some(directory) = &self.project {
            return Ok(OwnedScope::Project(directory.clone()));
        }
        let Some(directory) = &self.local else {
            return Ok(OwnedScope::User);
        };
        let directory = dunce::canonicalize(directory).map_err(InstallError::Directory)?;
        Ok(OwnedScope::Local(directory))
    }
}

/// Names that each app takes, and can build the names of tools with.
fn check_name(name: &str) -> Result<(), InstallError> {
    const LONGEST_NAME: usize = 64;
    let is_fine = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_fine) {
        return Err(InstallError::Name(name.to_owned()));
    }
    Ok(())
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

    #[test]
    fn names_that_some_app_would_not_take_are_refused() {
        for name in ["example", "a-b_C9", "0", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a.b", "a/b", "é", "a\n", "\"", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
