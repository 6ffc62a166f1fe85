//! The command line: flags as they are typed ([`Flags`]), and as they are meant ([`Settings`]).

mod config;
mod header;
mod network;
mod sign_in;

use std::path::PathBuf;

use clap::Parser;

use crate::endpoint::{Protocol, Transport};

pub use config::{ConfigError, Log, Settings};
pub use sign_in::{FlagError, SignInFlags};

const EXAMPLE: &str = "\
Example, for the configuration of Cursor or Claude Desktop:
  { \"mcpServers\": { \"example\": {
      \"command\": \"mcp-bridge\", \"args\": [\"https://mcp.example.com/mcp\"] } } }

Credentials are kept in MCP_BRIDGE_DIR, by default mcp-bridge in the user's data directory.";

/// Connects an MCP client on stdin and stdout to a remote MCP server, and signs the user in with OAuth.
#[derive(Debug, Parser)]
#[command(name = "mcp-bridge", version, after_help = EXAMPLE, disable_help_flag = true)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag on the command line"
)]
pub struct Flags {
    /// The server's MCP endpoint: https, or http on this machine
    url: String,

    /// The port that the browser comes back to after the sign-in, where it must be a certain one
    callback_port: Option<u16>,

    /// Send a header of your own to the server; ${NAME} stands for an environment variable
    #[arg(long, value_name = "NAME: VALUE", help_heading = "Server")]
    header: Vec<String>,

    /// Read such headers from a file, one a line
    #[arg(long, value_name = "PATH", help_heading = "Server")]
    header_file: Vec<PathBuf>,

    /// Which transports to try: streamable HTTP, or the older HTTP+SSE
    #[arg(
        long,
        value_enum,
        default_value = "http-first",
        help_heading = "Server"
    )]
    transport: Transport,

    /// Which MCP era to speak: up to 2025-11-25, from 2026-07-28 on, or what the server wants
    #[arg(long, value_enum, default_value = "auto", help_heading = "Server")]
    protocol: Protocol,

    /// Allow http to other machines: everything, tokens included, is then readable on the way
    #[arg(long, help_heading = "Server")]
    allow_http: bool,

    /// Do not send back the cookies that the server sets, by which load balancers recognise a client
    #[arg(long, help_heading = "Server")]
    disable_cookies: bool,

    #[command(flatten)]
    sign_in: SignInFlags,

    #[command(flatten)]
    network: network::NetworkFlags,

    /// How long a request may go without an answer or a sign of progress; 0 for as long as it takes
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "0",
        help_heading = "Limits"
    )]
    request_timeout: config::Seconds,

    /// How long answers are awaited once the app has closed the input
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "5",
        help_heading = "Limits"
    )]
    drain_timeout: config::Seconds,

    /// The largest message in either direction
    #[arg(long, value_name = "MIB", default_value = "128", help_heading = "Limits",
          value_parser = clap::value_parser!(u16).range(1..))]
    max_message_size: u16,

    /// Exit when the server cannot be reached, instead of waiting for it
    #[arg(long, help_heading = "Limits")]
    fail_fast: bool,

    /// How much to say on stderr
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "warn",
        help_heading = "Messages"
    )]
    log_level: config::LogLevel,

    /// Say everything: the same as --log-level debug
    #[arg(long, conflicts_with_all = ["log_level", "silent"], help_heading = "Messages")]
    debug: bool,

    /// Say nothing: the same as --log-level off
    #[arg(long, conflicts_with = "log_level", help_heading = "Messages")]
    silent: bool,

    /// Write the log to a file instead of stderr
    #[arg(long, value_name = "PATH", help_heading = "Messages")]
    log_file: Option<PathBuf>,

    /// Print this help
    #[arg(short, long, action = clap::ArgAction::HelpShort, help_heading = "Messages")]
    help: Option<bool>,
}
