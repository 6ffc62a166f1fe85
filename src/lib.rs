//! A stdio-to-HTTP bridge for MCP: an app speaks to it on stdin and stdout, and it speaks to a remote
//! MCP server over streamable HTTP, signing the user in with OAuth.
//!
//! This is the program: its command line and its commands. The bridge itself is in the crates beside it, see
//! ARCHITECTURE.md.
//!
//! - [`cli`]: flags as they are typed, and as they are meant.
//! - [`commands`]: what the program can be told to do; without a command, to be the bridge.

#[cfg(feature = "commands")]
mod attach;
pub mod cli;
pub mod commands;
mod log;
mod metrics;
mod observers;
mod signals;
mod small_server;
mod terminal;

use mcp_bridge_recording as recording;
use std::ffi::OsString;
use std::process::ExitCode;

/// The program, from its arguments (the first is the program's name) to its exit code: 0 when it has done
/// what it was told, 1 when it could not, 2 for invalid arguments, 130 when a second signal cut the shutdown short.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    mcp_bridge_core::stdio::keep_from_children();
    mcp_bridge_net::descriptors::raise();
    mcp_bridge_net::setting::name_settings(cli::flag);
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(status) = commands::run_helper(&args) {
        return status;
    }
    match commands::CommandLine::read(args) {
        Ok(line) => line.run(),
        Err(error) => error.report(),
    }
}
