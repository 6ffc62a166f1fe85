//! What the program can be told to do. Without a command it is the bridge: [`bridge`].

mod bridge;
mod install;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

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
    #[arg(short, long, action = clap::ArgAction::HelpShort, help_heading = "Messages")]
    help: Option<bool>,
}

/// A command for a person.
#[derive(Debug, Subcommand)]
enum Command {
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

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self {
            hint: error.hint().map(str::to_owned),
            ..Self::usage(error.to_string())
        }
    }
}

/// One thread: the work is waiting.
fn runtime() -> Result<Runtime, Stop> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("cannot start: {error}")))
}

fn start_log(log: &Log) -> Result<(), Stop> {
    log::start(log).map_err(|error| Stop::usage(format!("cannot write the log: {error}")))
}
