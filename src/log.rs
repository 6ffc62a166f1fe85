//! The log: on stderr, or in a file.

use std::fs::OpenOptions;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::auth::SIGN_IN_TARGET;
use crate::cli::Log;

/// The log target of requests that failed, which a command reports itself.
const ENDPOINT_TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::endpoint");

/// Starts the log. Only the bridge's own events are in it: what the libraries have to say may hold
/// what nobody should read.
pub(crate) fn start(log: &Log) -> io::Result<()> {
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), log.level);
    let Some(path) = &log.file else {
        start_with(on_stderr().with_filter(ours), log);
        return Ok(());
    };
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let in_file = fmt::layer().with_writer(file).with_ansi(false);
    // What a person has to read in order to sign in is of no use in a file alone.
    let sign_in = Targets::new().with_target(SIGN_IN_TARGET, log.level);
    start_with(
        in_file
            .with_filter(ours)
            .and_then(on_stderr().with_filter(sign_in)),
        log,
    );
    Ok(())
}

/// Starts the log of a command whose reader is a person who signs in: what they have to do stands there in
/// plain words.
pub(crate) fn start_for_person(log: &Log) -> io::Result<()> {
    if log.file.is_some() || log.level != LevelFilter::WARN {
        return start(log);
    }
    let sign_in = Targets::new().with_target(SIGN_IN_TARGET, LevelFilter::INFO);
    let others = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), log.level)
        .with_target(ENDPOINT_TARGET, LevelFilter::ERROR)
        .with_target(SIGN_IN_TARGET, LevelFilter::OFF);
    let in_words = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time();
    // The level of the last one counts for both.
    start_with(
        on_stderr()
            .with_filter(others)
            .and_then(in_words.with_filter(sign_in)),
        log,
    );
    Ok(())
}

/// Only the first log of a process counts, which is what a library caller with its own log wants.
fn start_with(layer: impl Layer<Registry> + Send + Sync, log: &Log) {
    let _ = tracing_subscriber::registry().with(layer).try_init();
    for note in &log.notes {
        tracing::warn!("{note}");
    }
}

/// Apps put a time before each line of stderr themselves.
fn on_stderr<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_target(false)
        .without_time()
}
