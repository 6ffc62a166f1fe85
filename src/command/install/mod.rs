//! `mcp-bridge install`: writes the entry that starts the bridge into the configuration of an app.

pub(super) mod apps;
mod diff;
mod edit;
mod entry;
mod error;
mod file;
pub(super) mod flags;
mod jsonc;
pub(super) mod launch;
mod list;
mod plan;
mod program;
mod several;
pub(super) mod survey;
mod toml;

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use apps::{App, Client, Machine, System};
use edit::{Position, Wish};
use entry::NewEntry;
use error::InstallError;
use plan::Plan;
use program::Readers;

use super::Stop;
use crate::stdio;

const AFTER_HELP: &str = "\
The change is shown, and written when you agree; where nobody can be asked, --yes agrees. The file as it \
was stays beside it, as .backup-1 (or the next number). Comments and all else stay as they are. An entry of the same name keeps what an entry with a command can \
have, such as \"env\"; it is switched on, and tools that were approved for another URL are not approved any more.

The command in the entry is the whole path of this program, since apps that are started from the desktop \
do not look for programs where your shell does. With --project it is mcp-bridge, if that is what your \
shell finds: such a file is for everybody who works on the project.

Examples:
  mcp-bridge install --client cursor,zed example https://mcp.example.com/mcp
  mcp-bridge install --client vscode --project example https://mcp.example.com/mcp
  mcp-bridge install --client claude example https://mcp.example.com/mcp -- --profile work
  mcp-bridge install --client zed --remove example";

/// Put a server into the configuration of an app
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(super) struct Args {
    /// The app, or several: a,b
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        required_unless_present_any = ["all", "list"],
        conflicts_with = "all"
    )]
    client: Vec<Client>,

    /// All apps that are found on this machine
    #[arg(long)]
    all: bool,

    /// What the server is called in the app: letters, digits, - and _
    #[arg(required_unless_present = "list")]
    name: Option<String>,

    /// The server's MCP endpoint: https, or http on this machine
    #[arg(required_unless_present_any = ["remove", "list"])]
    url: Option<String>,

    /// Write the file of a project, by default the one in the current directory, instead of your own
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "."
    )]
    project: Option<PathBuf>,

    /// Write this file, in the way of the app
    #[arg(long, value_name = "PATH", conflicts_with = "project")]
    config_file: Option<PathBuf>,

    /// Only print what belongs into the file
    #[arg(long, conflicts_with_all = ["yes", "remove"])]
    print: bool,

    /// Write without asking
    #[arg(long, short)]
    yes: bool,

    /// Take the entry out of the file
    #[arg(long, conflicts_with = "url")]
    remove: bool,

    /// List the apps, their files, and the entries in them that start the bridge
    #[arg(long, conflicts_with_all = ["all", "name", "config_file", "print", "yes", "remove", "flags"])]
    list: bool,

    /// Flags for the bridge, as in mcp-bridge URL FLAGS
    #[arg(last = true, value_name = "FLAGS", conflicts_with = "remove")]
    flags: Vec<String>,
}

/// What a person says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Consent {
    Yes,
    No,
    /// There is no person.
    Nobody,
}

/// What the command has to do with outside of its files.
struct Surroundings<'a> {
    /// Where files are.
    machine: Machine<'a>,
    /// This program.
    running: PathBuf,
    /// Where programs are looked for.
    path: Option<OsString>,
    /// Stdout.
    out: &'a mut dyn Write,
    /// Asks whether to write.
    ask: fn() -> Consent,
}

/// Does what the arguments say, for this process.
pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    let surroundings = Surroundings {
        machine: Machine {
            system: System::named(env::consts::OS),
            variable: &|name| env::var_os(name),
        },
        running: env::current_exe().map_err(InstallError::Running)?,
        path: env::var_os("PATH"),
        out: &mut stdio::report(),
        ask,
    };
    Ok(surroundings.run(args)?)
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

impl Surroundings<'_> {
    fn run(mut self, args: &Args) -> Result<ExitCode, InstallError> {
        if args.list {
            list::write(&self.machine, &self.running, args, self.out)?;
            return Ok(ExitCode::SUCCESS);
        }
        let name = args.name.as_deref().unwrap_or_default();
        if args.url.is_some() {
            check_name(name)?;
        }
        let clients = self.clients(args)?;
        match clients[..] {
            [client] => self.one(args, client),
            _ => several::run(&mut self, args, &clients),
        }
    }

    /// The apps that are meant, each once; at least one.
    fn clients(&self, args: &Args) -> Result<Vec<Client>, InstallError> {
        let mut clients = args.client.clone();
        if args.all {
            clients = survey::found(&self.machine);
        }
        let mut seen = Vec::new();
        clients.retain(|client| {
            let is_new = !seen.contains(client);
            seen.push(*client);
            is_new
        });
        match clients.len() {
            0 => Err(InstallError::NoApp),
            1 => Ok(clients),
            _ if args.config_file.is_some() => Err(InstallError::OneFile),
            _ => Ok(clients),
        }
    }

    /// The entry in one app.
    fn one(mut self, args: &Args, client: Client) -> Result<ExitCode, InstallError> {
        let app = client.app();
        let members = self.members(args, &app, &mut Vec::new())?;
        let (position, entry) = (position(args, &app), entry(args, &app, &members));
        if args.print {
            return self.print(args, &app, position, entry);
        }
        let plans = self.plans(args, &app, position, entry)?;
        let Self { out, ask, .. } = self;
        for plan in &plans {
            plan.describe(out)?;
        }
        if plans.iter().all(Plan::is_done) {
            return Ok(ExitCode::SUCCESS);
        }
        let is_own = args.config_file.is_none() && args.project.is_none();
        if is_own && let Some(missing) = plans.iter().find_map(Plan::missing_directory) {
            let (title, missing) = (app.title, missing.display());
            writeln!(out, "\nThere is no {missing} yet. Is {title} installed?")?;
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
                writeln!(out, "If {} is running, restart it.", app.title)?;
                Ok(ExitCode::SUCCESS)
            }
            Consent::No => {
                writeln!(out, "\nNothing was written.")?;
                Ok(ExitCode::FAILURE)
            }
            Consent::Nobody => Err(InstallError::NobodyToAsk),
        }
    }

    /// What is to be written: the entry into the file that counts most, or out of each that has it.
    fn plans<'a>(
        &self,
        args: &Args,
        app: &App,
        position: Position<'a>,
        entry: NewEntry<'a>,
    ) -> Result<Vec<Plan<'a>>, InstallError> {
        let mut files = self.files(args, app)?;
        if !args.remove {
            let file = files.pop().ok_or(InstallError::NoHome)?;
            return Ok(vec![Plan::make(file, position, Wish::Put(entry))?]);
        }
        let plans = files.into_iter();
        let plans = plans.map(|file| Plan::make(file, position, Wish::Remove));
        let mut plans = plans.collect::<Result<Vec<_>, _>>()?;
        if plans.iter().any(|plan| !plan.is_done()) {
            plans.retain(|plan| !plan.is_done());
        }
        Ok(plans)
    }

    /// The entry for a server. Says on stderr which secrets would stand in the file, and what the app has
    /// to provide, unless that has been `said` of another app.
    fn members(
        &self,
        args: &Args,
        app: &App,
        said: &mut Vec<String>,
    ) -> Result<Vec<(&'static str, Value)>, InstallError> {
        let Some(url) = &args.url else {
            return Ok(Vec::new());
        };
        let bridge = flags::check(url, &args.flags)?;
        let secrets = bridge.plain_secrets().into_iter();
        let secrets = secrets.map(|secret| format!("warning: {secret}\n"));
        let variables = flags::variables(&args.flags).into_iter();
        let variables = variables.map(|variable| {
            format!(
                "note: the bridge will look for {variable} in its environment; put it into the \"{}\" of \
                 the entry, unless {} has it\n",
                app.environment(),
                app.title
            )
        });
        for line in secrets.chain(variables) {
            if !said.contains(&line) {
                eprintln!("{line}");
                said.push(line);
            }
        }
        let readers = match args.project {
            Some(_) => Readers::TheProject,
            None => Readers::ThisUser,
        };
        let program = program::name(&self.running, self.path.as_deref(), readers);
        let program = program
            .to_str()
            .ok_or_else(|| InstallError::Program(program.clone()))?;
        let arguments: Vec<_> = [url.clone()]
            .into_iter()
            .chain(args.flags.iter().cloned())
            .collect();
        Ok(app.entry(program, &arguments))
    }

    /// Prints a file that holds the entry and nothing else; on stderr, where it belongs.
    fn print(
        &mut self,
        args: &Args,
        app: &App,
        position: Position<'_>,
        entry: NewEntry<'_>,
    ) -> Result<ExitCode, InstallError> {
        let path = match self.files(args, app) {
            Ok(mut files) => files.pop().unwrap_or_default(),
            Err(InstallError::NoHome) => PathBuf::new(),
            Err(error) => return Err(error),
        };
        if !path.as_os_str().is_empty() {
            eprintln!("This belongs into {}:\n", path.display());
        }
        let whole = edit::edit("", position, Wish::Put(entry));
        let whole = whole.map_err(|error| InstallError::Edit { path, error })?;
        self.out.write_all(whole.text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    /// The files that the app reads, of which the last counts most; at least one.
    fn files(&self, args: &Args, app: &App) -> Result<Vec<PathBuf>, InstallError> {
        if let Some(path) = &args.config_file {
            return Ok(vec![path.clone()]);
        }
        if let Some(directory) = &args.project {
            let files = app.project_files(directory);
            let none = files
                .is_empty()
                .then_some(InstallError::NoProjectFile(app.title));
            return none.map_or(Ok(files), Err);
        }
        let files = app.user_files(&self.machine);
        let none = files.is_empty().then_some(InstallError::NoHome);
        none.map_or(Ok(files), Err)
    }
}

/// Where the entry stands in the files of an app.
fn position<'a>(args: &'a Args, app: &App) -> Position<'a> {
    Position {
        format: app.format,
        servers: app.servers,
        inner: app.inner,
        name: args.name.as_deref().unwrap_or_default(),
    }
}

/// The entry with these members.
fn entry<'a>(args: &'a Args, app: &App, members: &'a [(&'static str, Value)]) -> NewEntry<'a> {
    NewEntry {
        members,
        kept: app.kept,
        url: args.url.as_deref().unwrap_or_default(),
        removed: None,
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
        let surroundings = Surroundings {
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
