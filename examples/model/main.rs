//! A model of the world around the bridge, in which everything goes wrong at random:
//!
//! ```text
//! cargo run --release --example model                   # a minute, with a new seed
//! cargo run --release --example model -- --seconds 3600
//! cargo run --release --example model -- --seed 17      # the same plan of actions again
//! ```
//!
//! Eight apps of both eras start bridges, which share one data directory, and call four MCP servers, two of them
//! behind a proxy and two with a sign-in of their own. Servers, authorization servers, proxy and bridges fail as
//! the plan says ([`plan`]), which the seed alone decides; a browser signs in where it is asked to. What must hold
//! all the time and in the end is in [`invariants`] and in the doubles themselves: each app checks its answers and
//! notifications, each authorization server that a refresh token is used once, the browser that a sign-in is needed
//! and has one window.
//!
//! A violation ends the run with the seed, the step, the last events and the directory of the logs. The bridge is
//! this program again, as a child process: `model URL …`. Its clocks are the system's: a machine that sleeps is
//! played by SIGSTOP, which leaves both clocks running, and tokens end on the server's clock.
//!
//! It runs on Linux, whose `/proc` says what processes have.

#![expect(clippy::print_stdout, reason = "its report is what it is for")]

#[cfg(target_os = "linux")]
mod actions;
#[cfg(target_os = "linux")]
mod app;
#[cfg(target_os = "linux")]
mod authority;
#[cfg(target_os = "linux")]
mod bridge;
#[cfg(target_os = "linux")]
mod browser;
#[cfg(target_os = "linux")]
mod invariants;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod random;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod service;
#[cfg(target_os = "linux")]
mod tag;
#[cfg(target_os = "linux")]
mod world;

use std::{env, process::ExitCode};

#[cfg(target_os = "linux")]
use clap::Parser as _;

/// Lets everything around the bridge go wrong at random, and checks what must hold all the same.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The seed, which decides all actions; a new one without this
    #[arg(long)]
    seed: Option<u64>,
    /// The time for which things go wrong
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Keep the logs also when nothing is wrong
    #[arg(long)]
    keep: bool,
    /// Print the actions instead of carrying them out
    #[arg(long)]
    plan: bool,
}

fn main() -> ExitCode {
    // A bridge, or its helper, has a word first.
    if env::args()
        .nth(1)
        .is_some_and(|word| !word.starts_with('-'))
    {
        return mcp_bridge::main(env::args_os());
    }
    #[cfg(target_os = "linux")]
    return run::main(&Args::parse());
    #[cfg(not(target_os = "linux"))]
    {
        eprintln!("error: the model needs Linux");
        ExitCode::FAILURE
    }
}
