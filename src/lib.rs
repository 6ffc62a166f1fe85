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
//! - [`secret`]: values that can be sent and cannot be printed.
//! - [`cli`]: flags as they are typed, and as they are meant.

pub mod auth;
pub mod bridge;
pub mod cli;
pub mod endpoint;
pub mod era;
pub mod http;
mod log;
pub mod message;
pub mod secret;
mod signals;
pub mod stdio;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

/// The program, from its arguments (the first is the program's name) to its exit status: 0 when the app
/// has left or the process was told to stop, 1 when the bridge could not go on, 2 for arguments that
/// make no sense.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match cli::Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(error) => {
            // Help and version go to stdout with status 0, mistakes to stderr with status 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let settings = match flags.settings() {
        Ok(settings) => settings,
        Err(error) => {
            report(&error.to_string(), error.hint());
            return ExitCode::from(2);
        }
    };
    if let Err(error) = log::start(&settings.log) {
        report(&format!("cannot write the log: {error}"), None);
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&format!("cannot start: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let end = runtime.block_on(async {
        let (input, output) = (stdio::stdin(), stdio::stdout());
        bridge::run(settings.bridge, input, output, signals::stop()).await
    });
    // Reading stdin may take a thread that cannot be interrupted; it need not be waited for.
    runtime.shutdown_background();
    match end {
        bridge::End::AppLeft | bridge::End::Stopped => ExitCode::SUCCESS,
        bridge::End::Obsolete(reason) => {
            report(&reason, None);
            ExitCode::FAILURE
        }
    }
}

/// Tells a person what is wrong and what to do about it.
fn report(error: &str, hint: Option<&str>) {
    eprintln!("error: {error}");
    if let Some(hint) = hint {
        eprintln!("\nhint: {hint}");
    }
}
