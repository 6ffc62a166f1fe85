//! What the program can be told to do. Without a command it is the bridge.

mod account;
mod bridge;
mod call;
mod client;
mod doctor;
mod install;
mod json;
mod login;
mod logout;
mod schema;
mod status;
mod store;
mod text;
mod tools;
mod visit;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;

use crate::auth::{AuthError, KeychainError, StoreError};
use crate::cli::{ConfigError, Flags, Log};
use crate::log;

const EXAMPLE: &str = "\
Example, for the configuration of Cursor or Claude Desktop:
  { \"mcpServers\": { \"example\": {
      \"command\": \"mcp-bridge\", \"args\": [\"https://mcp.example.com/mcp\"] } } }

Credentials are kept in MCP_BRIDGE_DIR, by default mcp-bridge in the user's data directory.";

/// Connects an MCP client on stdin and stdout to a remote MCP server, and signs the user in with OAuth.
#[derive(Debug, Parser)]
#[command(
    name = "mcp-bridge",
    version,
    after_help = EXAMPLE,
    disable_help_flag = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    flags: Flags,

    /// Print this help
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort, help_heading = "Messages")]
    help: Option<bool>,
}

/// A command for a person.
#[derive(Debug, Subcommand)]
enum Command {
    Doctor(Box<doctor::Args>),
    Tools(tools::Args),
    Call(call::Args),
    Login(login::Args),
    Logout(logout::Args),
    Status(status::Args),
    Store(store::Args),
    Install(install::Args),
}

/// Why a command could not do what it was told, for a person.
struct Stop {
    /// What is wrong.
    error: String,
    /// What to do about it.
    hint: Option<String>,
    status: ExitCode,
}

impl CommandLine {
    /// Does what the command line says, and tells the person on stderr if that is not possible.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Some(Command::Doctor(args)) => doctor::run(*args),
            Some(Command::Tools(args)) => tools::run(args),
            Some(Command::Call(args)) => call::run(args),
            Some(Command::Login(args)) => login::run(args),
            Some(Command::Logout(args)) => logout::run(args),
            Some(Command::Status(args)) => status::run(&args),
            Some(Command::Store(args)) => store::run(&args),
            Some(Command::Install(args)) => install::run(&args),
            None => bridge::run(self.flags),
        };
        match done {
            Ok(status) => status,
            Err(stop) => stop.report(),
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

    /// The arguments make no sense.
    fn usage(error: impl Into<String>) -> Self {
        Self {
            status: ExitCode::from(2),
            ..Self::failed(error)
        }
    }

    fn report(self) -> ExitCode {
        eprintln!("error: {}", self.error);
        if let Some(hint) = self.hint {
            eprintln!("\nhint: {hint}");
        }
        self.status
    }
}

impl From<AuthError> for Stop {
    fn from(error: AuthError) -> Self {
        Self {
            hint: error.hint(),
            ..Self::failed(error.to_string())
        }
    }
}

impl From<KeychainError> for Stop {
    fn from(error: KeychainError) -> Self {
        Self {
            hint: Some(error.hint().to_owned()),
            ..Self::failed(error.to_string())
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Keychain(error) => error.into(),
            StoreError::File(_) | StoreError::Busy | StoreError::ReadsOtherwise => {
                Self::failed(error.to_string())
            }
        }
    }
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self {
            hint: error.hint().map(str::to_owned),
            ..Self::usage(error.to_string())
        }
    }
}

/// What came of writing to standard output. Who does not read to the end, such as `head`, is content.
fn printed(result: io::Result<()>) -> Result<(), Stop> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Stop::failed(format!(
            "cannot write to standard output: {error}"
        ))),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One thread: the work is waiting.
fn runtime() -> Result<Runtime, Stop> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("cannot start: {error}")))
}

/// Runs to its end what a command does.
fn run_async<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    // Reading a terminal takes a thread that cannot be interrupted; it need not be waited for.
    runtime.shutdown_background();
    done
}

/// For commands that have no flags about the log: what goes wrong is said on stderr.
fn start_quiet_log() -> Result<(), Stop> {
    start_log(&Log {
        level: LevelFilter::WARN,
        file: None,
    })
}

/// For a command that is about signing in: what a person has to read and do comes without decoration, and
/// what the command reports itself is not said twice.
fn start_log_for_person(log: &Log) -> Result<(), Stop> {
    log::start_for_person(log)
        .map_err(|error| Stop::usage(format!("cannot write the log: {error}")))
}

fn start_log(log: &Log) -> Result<(), Stop> {
    log::start(log).map_err(|error| Stop::usage(format!("cannot write the log: {error}")))
}
