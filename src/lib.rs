//! A stdio-to-HTTP bridge for MCP: an app speaks to it on stdin and stdout, and it speaks to a remote
//! MCP server over streamable HTTP, signing the user in with OAuth.
//!
//! ```text
//!  app ── line ──▶ stdio ── Message ──▶ bridge ── Message ──▶ endpoint ── POST ──▶ server
//!  app ◀── line ── stdio ◀── Message ── bridge ◀── Inbound ── endpoint ◀── JSON, events ──┘
//!                                                                 │
//!                                                                auth ──▶ browser, authorization server
//! ```
//!
//! - [`bridge`]: the pump between the two sides. Read this first.
//! - [`message`]: the JSON-RPC envelope, kept byte for byte.
//! - [`stdio`]: newline-delimited frames.
//! - [`endpoint`]: the MCP endpoint over HTTP: exchanges, event streams, sessions.
//! - [`era`]: between the two eras of MCP, where the app and the server are not of the same one.
//! - [`auth`]: OAuth 2.1 for a native client. Knows nothing of MCP messages.
//! - [`http`]: what both have in common on the network.
//! - [`name`]: names that are looked up among many.
//! - [`secret`]: values that can be sent and cannot be printed.
//! - [`setting`]: names of the settings in errors and hints.
//! - [`cli`]: flags as they are typed, and as they are meant.
//! - [`command`]: what the program can be told to do; without a command, to be the bridge.

pub mod auth;
pub mod bridge;
pub mod cli;
pub mod command;
pub mod endpoint;
pub mod era;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
mod log;
pub mod message;
pub mod name;
mod printable;
mod private_file;
pub mod secret;
pub mod setting;
mod signals;
pub mod stdio;

use std::ffi::OsString;
use std::process::ExitCode;

/// The program, from its arguments (the first is the program's name) to its exit status: 0 when it has
/// done what it was told, 1 when it could not, 2 for arguments that make no sense.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    setting::name_settings(cli::flag);
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(status) = command::run_helper(&args) {
        return status;
    }
    match command::CommandLine::read(args) {
        Ok(line) => line.run(),
        Err(error) => error.report(),
    }
}
