//! Command-line flag definitions, as typed ([`Flags`], [`ConnectionFlags`]) and as resolved settings ([`BridgeSettings`],
//! [`ServerConnection`]).
//!
//! The heading that a flag has is the group under which `help` shows it ([`help`]).

mod account;
mod callback;
mod choices;
mod client;
mod company;
mod config;
mod data_directory;
mod drop_in;
mod environment;
mod error;
pub mod file;
mod header;
pub mod help;
mod keep_alive;
mod messages;
mod metrics;
mod network;
mod outside;
mod plain_secrets;
mod precedence;
mod setting_names;
mod sign_in;
mod store;
mod store_key;
mod tools;
mod url_alone;

use std::path::PathBuf;

use clap::Args;

use choices::{ParamHeadersFlag, ProtocolFlag, TransportFlag};
use config::Seconds;

pub use account::SignInSource;
pub use callback::port;
pub use config::{BridgeSettings, Log, ServerConnection, UnfinishedSignIn, server_url};
pub use data_directory::{note_store_directory, store_directories, store_directory};
pub use drop_in::{names_package, without_launcher};
pub use error::{ConfigError, FlagError};
pub use header::HeaderError;
pub use plain_secrets::{HeaderSecret, PlainSecret};
pub use setting_names::flag;
pub use sign_in::SignInFlags;
pub use store::{PlaceOrAddress, PlaceOrAddressParser, StoreFlags};

/// Default time to wait for responses after the end of the input.
const DRAIN_TIMEOUT: Seconds = Seconds::of(5);

/// Default time that a request waits for a sign-in or a server.
const PATIENCE: Seconds = Seconds::of(45);

/// Default limit for the size of a message, in MiB.
const MAX_MESSAGE_MIB: u16 = 128;

/// Flags of the bridge itself, beside those of the connection.
#[derive(Debug, Args)]
pub struct Flags {
    /// The server's MCP endpoint: https, or http on this machine
    // Absent only beside a command, where nothing of this is used.
    #[arg(required = true)]
    url: Option<String>,

    /// The port of the sign-in's callback, if it has to be a fixed one
    #[arg(value_parser = callback::port)]
    callback_port: Option<u16>,

    #[command(flatten)]
    connection: ConnectionFlags,

    #[command(flatten)]
    tools: tools::ToolFlags,

    #[command(flatten)]
    keep_alive: keep_alive::KeepAliveFlags,

    #[command(flatten)]
    metrics: metrics::MetricsFlags,

    /// Time to wait for responses after the app has closed its input
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = DRAIN_TIMEOUT,
        help_heading = "Limits"
    )]
    drain_timeout: Seconds,

    /// Time that a request waits for a sign-in or for a server that is down before it fails
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = PATIENCE,
        help_heading = "Limits"
    )]
    patience: Seconds,

    /// Time that list requests (tools, prompts, resources) wait in that case, all together, before they are
    /// answered without the server: with the last known list, or with a tool that starts the sign-in
    /// [default: 25; longer for apps that ask only once]
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    list_wait: Option<Seconds>,

    /// Let the app wait until the user has signed in, even for the response to its first message
    #[arg(long, conflicts_with_all = ["patience", "list_wait"], help_heading = "Limits")]
    wait_for_auth: bool,

    /// Exit when the server cannot be reached, instead of waiting for it
    #[arg(long, help_heading = "Limits")]
    fail_fast: bool,

    /// Give up a sign-in when the app ends the bridge, instead of waiting for the browser in the background
    #[arg(long, help_heading = "Sign-in")]
    no_linger: bool,
}

/// Flags of the connection to a server and of the sign-in there, which the bridge and the commands about a server have
/// in common.
#[derive(Debug, Clone, Args)]
pub struct ConnectionFlags {
    /// Read options from a TOML file; the command line takes precedence
    // It has been read before: see `file`.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,

    #[command(flatten)]
    headers: header::HeaderFlags,

    /// Transports to try: streamable HTTP, or the older HTTP+SSE
    #[arg(long, value_enum, default_value_t, help_heading = "Server")]
    transport: TransportFlag,

    /// MCP era to speak: legacy (up to 2025-11-25), modern (from 2026-07-28), or what the server supports
    #[arg(long, value_enum, default_value_t, help_heading = "Server")]
    protocol: ProtocolFlag,

    /// When to send Mcp-Param-* headers, and Mcp-Name to legacy servers: if the server reads them, Mcp-Name always,
    /// or never
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = "Server"
    )]
    mcp_param_headers: ParamHeadersFlag,

    /// Allow plain http to other machines; everything, including tokens, can then be read in transit
    #[arg(long, help_heading = "Server")]
    allow_http: bool,

    /// Do not return the server's cookies, by which load balancers recognise a client
    #[arg(long, help_heading = "Server")]
    disable_cookies: bool,

    #[command(flatten)]
    sign_in: SignInFlags,

    #[command(flatten)]
    network: network::NetworkFlags,

    /// Time that a request may go without a response or progress; 0 means no limit
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = Seconds::of(0),
        help_heading = "Limits"
    )]
    request_timeout: Seconds,

    /// Time that an HTTP response may take to begin; 0 means no limit
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = Seconds::of(0),
        help_heading = "Limits"
    )]
    headers_timeout: Seconds,

    /// Time that an HTTP response may pause once it has begun; 0 means no limit
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = Seconds::of(0),
        help_heading = "Limits"
    )]
    body_timeout: Seconds,

    /// The largest message in either direction
    #[arg(long, value_name = "MIB", default_value_t = MAX_MESSAGE_MIB, help_heading = "Limits",
          value_parser = clap::value_parser!(u16).range(1..))]
    max_message_size: u16,

    #[command(flatten)]
    messages: messages::MessageFlags,

    #[command(flatten)]
    recording: messages::RecordFlags,
}
