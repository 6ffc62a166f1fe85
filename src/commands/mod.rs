//! Commands of the program. Without a command it is the bridge.

#[cfg(feature = "commands")]
mod account;
#[cfg(feature = "commands")]
mod arguments;
mod bridge;
#[cfg(feature = "commands")]
mod call;
#[cfg(feature = "commands")]
mod client;
#[cfg(feature = "commands")]
mod completion;
#[cfg(feature = "commands")]
mod completions;
#[cfg(feature = "commands")]
mod content;
#[cfg(feature = "commands")]
mod doctor;
mod finish_sign_in;
#[cfg(all(any(test, fuzzing), feature = "commands"))]
pub mod fuzzing;
mod help;
#[cfg(feature = "commands")]
mod inspect;
#[cfg(feature = "commands")]
mod install;
#[cfg(feature = "commands")]
mod json;
#[cfg(feature = "commands")]
mod listing;
#[cfg(feature = "commands")]
mod login;
#[cfg(feature = "commands")]
mod logout;
#[cfg(feature = "commands")]
mod man;
#[cfg(feature = "commands")]
mod migrate;
mod mistyped;
#[cfg(feature = "commands")]
mod output;
#[cfg(feature = "commands")]
mod program_output;
#[cfg(feature = "commands")]
mod prompt;
#[cfg(feature = "commands")]
mod prompts;
#[cfg(feature = "commands")]
mod read;
mod record;
#[cfg(feature = "commands")]
mod resources;
#[cfg(feature = "commands")]
mod schema;
#[cfg(feature = "commands")]
mod secret;
#[cfg(feature = "commands")]
mod status;
#[cfg(feature = "commands")]
mod store;
#[cfg(feature = "commands")]
mod text;
#[cfg(feature = "commands")]
mod tools;
#[cfg(feature = "commands")]
mod uri_template;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Runtime;

pub(crate) use finish_sign_in::run_helper;

use crate::cli::file::FileError;
use crate::cli::{ConfigError, FlagError, Flags};
use crate::{cli, log, signals};
use mcp_bridge_auth::{AuthError, KeychainError, StoreError};
use mcp_bridge_core::stdio;
use mcp_bridge_text::printable;

/// Connects an MCP client on stdin and stdout to a remote MCP server, and signs the user in with OAuth
#[derive(Debug, Parser)]
#[command(
    name = "mcp-bridge",
    bin_name = "mcp-bridge",
    version,
    disable_help_subcommand = true,
    args_override_self = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    flags: Flags,

    /// The arguments as they came.
    #[arg(skip)]
    given: Vec<OsString>,
}

/// The program without its commands, as an app starts it. Building the flags of all commands takes longer than the rest of
/// a start.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true, args_override_self = true)]
struct BridgeLine {
    #[command(flatten)]
    flags: Flags,
}

/// A command for a person. Without the feature `commands`, for containers, the program is the bridge alone.
#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "commands")]
    Doctor(Box<doctor::Args>),
    #[cfg(feature = "commands")]
    Login(login::Args),
    #[cfg(feature = "commands")]
    Logout(logout::Args),
    #[cfg(feature = "commands")]
    Status(status::Args),
    #[cfg(feature = "commands")]
    Store(store::Args),
    #[cfg(feature = "commands")]
    Secret(secret::Args),
    #[cfg(feature = "commands")]
    Tools(tools::Args),
    #[cfg(feature = "commands")]
    Call(call::Args),
    #[cfg(feature = "commands")]
    Resources(resources::Args),
    #[cfg(feature = "commands")]
    Read(read::Args),
    #[cfg(feature = "commands")]
    Prompts(prompts::Args),
    #[cfg(feature = "commands")]
    Prompt(prompt::Args),
    #[cfg(feature = "commands")]
    Inspect(Box<inspect::Args>),
    #[cfg(feature = "commands")]
    Install(install::Args),
    #[cfg(feature = "commands")]
    Migrate(migrate::Args),
    #[cfg(feature = "commands")]
    Completions(completions::Args),
    #[cfg(feature = "commands")]
    Man(man::Args),
    Help(help::Args),
}

/// Error of the command line.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They make no sense, or ask for help or the version: a text for a person.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The file of `--config` cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The first word stands where a command or a URL should.
    #[error("there is no command {typed:?}")]
    NoSuchCommand {
        /// The word.
        typed: String,
        /// The likely intention, as it stands behind the program's name.
        meant: Option<String>,
    },
    /// An option that does not exist.
    #[error("{}there is no option {option}", if command.is_empty() { String::new() } else { format!("{command}: ") })]
    NoSuchOption {
        /// The command; empty for the bridge.
        command: String,
        /// The option, with its dashes.
        option: String,
        /// The likely intention.
        meant: Option<String>,
    },
    /// Nothing at all.
    #[error("the server's URL is missing")]
    NoUrl,
    /// Two URLs.
    #[error("{0:?} is a second URL, where a port may stand")]
    SecondUrl(String),
    /// A word behind all that can be there.
    #[error("{0:?} is one word too many")]
    Surplus(String),
    /// A command got an option that only the bridge takes.
    #[error("{command} does not take {option}, which is an option of the bridge alone")]
    OptionOfBridge {
        /// The command.
        command: String,
        /// The option, with its dashes.
        option: String,
    },
}

#[cfg(feature = "commands")]
/// Hint for an unexpected answer of a server.
const ASK_THE_DOCTOR: &str = "mcp-bridge doctor URL shows what is wrong with the server";

/// Failure of a command, as text for a person.
struct Stop {
    /// The error.
    error: String,
    /// Advice about it.
    hint: Option<String>,
    status: ExitCode,
}

impl CommandLine {
    /// Reads the program's arguments, of which the first is its name, and the file of `--config`.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, ReadError> {
        let given = cli::without_launcher(args.into_iter().collect(), Self::command);
        #[cfg(feature = "commands")]
        let given = install::with_format_joined(given);
        let args = cli::file::with_file(given.clone(), Self::command)?;
        if let Some(flags) = BridgeLine::read(&args) {
            return Ok(Self {
                command: None,
                flags,
                given,
            });
        }
        match Self::try_parse_from(args) {
            Ok(line) if line.is_for_a_url() => Ok(Self { given, ..line }),
            Ok(line) => {
                let word = line.flags.url().unwrap_or_default();
                match mistyped::command(word, &Self::command()) {
                    Some(error) => Err(error),
                    None => Ok(line),
                }
            }
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                let program = cli::help::on_one_screen(Self::command());
                let screen = program.try_get_matches_from(given).err();
                Err(screen.unwrap_or(error).into())
            }
            Err(error) => Err(mistyped::explain(&given, error, &Self::command())),
        }
    }

    /// True if the bridge has something that looks like a URL, or a command is given.
    fn is_for_a_url(&self) -> bool {
        self.command.is_some() || self.flags.has_scheme()
    }

    /// Does what the command line says, and tells the person on stderr if that is not possible.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Some(command) => command.run(),
            None => bridge::run(self.flags, &self.given),
        };
        log::finish();
        match done {
            Ok(status) => status,
            Err(stop) => stop.report(),
        }
    }
}

impl Command {
    // Inlined, it would give the bridge a stack frame with room for all commands, some 70 kB.
    #[inline(never)]
    fn run(self) -> Result<ExitCode, Stop> {
        // For what it sets up: not all commands have a runtime of their own, and most write files.
        drop(runtime());
        match self {
            #[cfg(feature = "commands")]
            Self::Doctor(args) => doctor::run(*args),
            #[cfg(feature = "commands")]
            Self::Login(args) => login::run(args),
            #[cfg(feature = "commands")]
            Self::Logout(args) => logout::run(args),
            #[cfg(feature = "commands")]
            Self::Status(args) => status::run(&args),
            #[cfg(feature = "commands")]
            Self::Store(args) => store::run(&args),
            #[cfg(feature = "commands")]
            Self::Secret(args) => secret::run(&args),
            #[cfg(feature = "commands")]
            Self::Tools(args) => tools::run(args),
            #[cfg(feature = "commands")]
            Self::Call(args) => call::run(args),
            #[cfg(feature = "commands")]
            Self::Resources(args) => resources::run(args),
            #[cfg(feature = "commands")]
            Self::Read(args) => read::run(args),
            #[cfg(feature = "commands")]
            Self::Prompts(args) => prompts::run(args),
            #[cfg(feature = "commands")]
            Self::Prompt(args) => prompt::run(args),
            #[cfg(feature = "commands")]
            Self::Inspect(args) => inspect::run(*args),
            #[cfg(feature = "commands")]
            Self::Install(args) => install::run(&args),
            #[cfg(feature = "commands")]
            Self::Migrate(args) => migrate::run(&args),
            #[cfg(feature = "commands")]
            Self::Completions(args) => completions::run(&args),
            #[cfg(feature = "commands")]
            Self::Man(args) => man::run(&args),
            Self::Help(args) => help::run(&args),
        }
    }
}

impl BridgeLine {
    /// The flags, if these are valid arguments of the bridge. All others are for who knows the commands as well.
    fn read(args: &[OsString]) -> Option<Flags> {
        if let [_, word] = args
            && let Some(flags) = word.to_str().and_then(Flags::of_url_alone)
        {
            return Some(flags);
        }
        let line = Self::try_parse_from(args).ok()?;
        line.flags.has_scheme().then_some(line.flags)
    }
}

impl ReadError {
    fn no_option(command: &str, option: &str, meant: Option<&str>) -> Self {
        Self::NoSuchOption {
            command: command.to_owned(),
            option: option.to_owned(),
            meant: meant.map(str::to_owned),
        }
    }

    /// Advice for the user.
    fn hint(&self) -> String {
        match self {
            Self::NoSuchCommand { meant: None, .. } => {
                "mcp-bridge --help lists the commands; a server's URL begins with https://".to_owned()
            }
            Self::NoSuchCommand {
                meant: Some(meant), ..
            } => format!("did you mean mcp-bridge {meant}?"),
            Self::NoSuchOption {
                meant: Some(meant), ..
            } => format!("did you mean {meant}?"),
            Self::NoSuchOption { command, .. } if command.is_empty() => {
                "mcp-bridge help all shows all options".to_owned()
            }
            Self::NoSuchOption { command, .. } | Self::OptionOfBridge { command, .. } => {
                format!("mcp-bridge {command} --help shows what it takes")
            }
            Self::NoUrl => {
                "mcp-bridge URL is for the configuration of an app, which mcp-bridge install writes; by hand \
                 there are login, tools, call and doctor. mcp-bridge --help is one screen"
                    .to_owned()
            }
            Self::SecondUrl(_) => {
                "a bridge is for one server: give each an entry of its own in the app's configuration"
                    .to_owned()
            }
            Self::Surplus(_) => {
                "quotation marks keep words together; mcp-bridge --help shows what goes where".to_owned()
            }
            Self::Arguments(_) | Self::File(_) => String::new(),
        }
    }

    /// Tells the person, on stderr, or on stdout what was asked for.
    #[must_use]
    pub fn report(self) -> ExitCode {
        match self {
            Self::Arguments(error) => {
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
            Self::File(error) => Stop {
                hint: Some(error.hint().to_owned()),
                ..Stop::usage(error.to_string())
            }
            .report(),
            Self::NoSuchCommand { .. }
            | Self::NoSuchOption { .. }
            | Self::NoUrl
            | Self::SecondUrl(_)
            | Self::Surplus(_)
            | Self::OptionOfBridge { .. } => Stop {
                hint: Some(self.hint()),
                ..Stop::usage(self.to_string())
            }
            .report(),
        }
    }
}

impl Stop {
    /// The command could not do it.
    fn failed(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            hint: None,
            status: ExitCode::FAILURE,
        }
    }

    /// Advice for the user.
    fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The arguments make no sense.
    fn usage(error: impl Into<String>) -> Self {
        Self {
            status: ExitCode::from(2),
            ..Self::failed(error)
        }
    }

    fn report(self) -> ExitCode {
        // Both may quote a server.
        let error = printable::block(&self.error);
        let hint = self.hint.map_or_else(String::new, |hint| {
            format!("\nhint: {}\n", printable::block(&hint))
        });
        let report = format!("error: {error}\n{hint}");
        // On a full disk the status has to do.
        let _ = io::stderr().write_all(report.as_bytes());
        self.status
    }
}

impl From<AuthError> for Stop {
    fn from(error: AuthError) -> Self {
        Self {
            hint: Some(error.hint()),
            ..Self::failed(error.to_string())
        }
    }
}

impl From<KeychainError> for Stop {
    fn from(error: KeychainError) -> Self {
        Self {
            hint: Some(error.hint().clone()),
            ..Self::failed(error.to_string())
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Keychain(error) => error.into(),
            StoreError::File(_)
            | StoreError::Directory(_)
            | StoreError::Busy
            | StoreError::ReadsOtherwise
            | StoreError::Superseded => Self::failed(error.to_string())
                .hint("nothing was lost; try again when no bridge is at work"),
            StoreError::Locked { .. } => Self::failed(error.to_string())
                .hint("name the file with its key by --store-key-file"),
            StoreError::Unreachable { .. } => Self::failed(error.to_string())
                .hint("check its address, and that it can be reached from here"),
        }
    }
}

impl From<FlagError> for Stop {
    fn from(error: FlagError) -> Self {
        ConfigError::from(error).into()
    }
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self {
            hint: Some(error.hint().to_owned()),
            ..Self::usage(error.to_string())
        }
    }
}

/// Writes what a command was asked for.
fn print(text: &[u8]) -> Result<ExitCode, Stop> {
    written(stdio::report().write_all(text))
}

/// Exit status of writing to standard output. A reader that does not read to the end, such as `head`, is no failure.
fn printed(result: io::Result<()>) -> Result<(), Stop> {
    match result {
        Err(error) if !stdio::is_closed_pipe(&error) => Err(Stop::failed(format!(
            "cannot write to standard output: {error}"
        ))),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One thread: the work is waiting. From then on, a write beyond the limit on the size of files fails and no more.
fn runtime() -> Result<Runtime, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("cannot start: {error}")))?;
    signals::survive_file_size_limit(&runtime);
    Ok(runtime)
}

#[cfg(feature = "commands")]
/// Runs to its end what a command does.
fn run_async<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    // Reading a terminal takes a thread that cannot be interrupted; it need not be waited for.
    runtime.shutdown_background();
    done
}

#[cfg(feature = "commands")]
/// For commands that have no flags about the log: what goes wrong is said on stderr.
fn start_quiet_log() {
    log::start(&cli::Log {
        level: tracing::level_filters::LevelFilter::WARN,
        file: None,
        notes: Vec::new(),
    });
}

/// The report is written, or its reader has gone, as `head` does.
fn written(written: io::Result<()>) -> Result<ExitCode, Stop> {
    printed(written).map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_bridge_is_read_without_the_commands_as_with_them() {
        for line in [
            "mcp-bridge https://x/mcp",
            "mcp-bridge https://x/mcp 3000 --debug --header A:b --header C:d",
            "mcp-bridge --transport sse-only http://localhost/sse --profile a --profile b",
        ] {
            let alone = BridgeLine::read(&words(line)).expect("a line of the bridge");
            let whole = CommandLine::try_parse_from(words(line)).expect("a line of the bridge");
            assert_eq!(format!("{alone:?}"), format!("{:?}", whole.flags), "{line}");
        }
    }

    #[test]
    fn what_is_not_for_the_bridge_is_read_with_the_commands() {
        for line in [
            "mcp-bridge",
            "mcp-bridge --help",
            "mcp-bridge https://x/mcp --help",
            "mcp-bridge https://x/mcp --version",
            "mcp-bridge tools https://x/mcp",
            "mcp-bridge call https://x/mcp echo",
            "mcp-bridge https://x/mcp tools",
            "mcp-bridge https://x/mcp --typo",
            "mcp-bridge man 80",
        ] {
            assert!(BridgeLine::read(&words(line)).is_none(), "{line}");
        }
    }
}
