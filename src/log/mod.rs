//! Logging: to stderr, or to a file.

mod file;
mod line;
mod quota;

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::Log;
use crate::terminal::has_colours;
use mcp_bridge_auth::SIGN_IN_TARGET;
#[cfg(feature = "commands")]
pub(crate) use quota::Quota;

use file::{LogFile, UNUSABLE};
use line::{Clock, Dress, Fields, LineFormat};

#[cfg(feature = "commands")]
/// The log target of requests that failed, which a command reports itself.
const ENDPOINT_TARGET: &str = "mcp_bridge_core::endpoint";

/// The beginning of the log targets of all crates of this program.
const OUR_TARGETS: &str = env!("CARGO_CRATE_NAME");

/// Starts the log. Only the bridge's own events are in it: what the libraries have to say may hold
/// what nobody should read. A file that cannot be opened is no reason to end: the log is on stderr then.
pub(crate) fn start(log: &Log) {
    let ours = Targets::new().with_target(OUR_TARGETS, log.level);
    let Some(path) = &log.file else {
        start_with(on_stderr(log.level).with_filter(ours), log);
        return;
    };
    let file = match LogFile::open(path) {
        Ok(file) => file,
        Err(error) => {
            start_with(on_stderr(log.level).with_filter(ours), log);
            tracing::warn!(file = %path.display(), %error, "{UNUSABLE}");
            return;
        }
    };
    let in_file = fmt::layer()
        .with_writer(file)
        .with_ansi(false)
        .fmt_fields(Fields)
        .event_format(LineFormat {
            clock: Clock::Utc,
            dress: Dress::Full,
        });
    // What a person has to read in order to sign in is of no use in a file alone.
    let sign_in = Targets::new().with_target(SIGN_IN_TARGET, log.level);
    start_with(
        in_file
            .with_filter(ours)
            .and_then(on_stderr(log.level).with_filter(sign_in)),
        log,
    );
}

#[cfg(feature = "commands")]
/// Starts the log of a command whose reader is a person who signs in: what they have to do stands there in
/// plain words.
pub(crate) fn start_for_person(log: &Log) {
    if log.file.is_some() || log.level != LevelFilter::WARN {
        return start(log);
    }
    let sign_in = Targets::new().with_target(SIGN_IN_TARGET, LevelFilter::INFO);
    let others = Targets::new()
        .with_target(OUR_TARGETS, log.level)
        .with_target(ENDPOINT_TARGET, LevelFilter::ERROR)
        .with_target(SIGN_IN_TARGET, LevelFilter::OFF);
    let in_words = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .fmt_fields(Fields)
        .event_format(LineFormat {
            clock: Clock::None,
            dress: Dress::Plain,
        });
    // The level of the last one counts for both.
    start_with(
        on_stderr(log.level)
            .with_filter(others)
            .and_then(in_words.with_filter(sign_in)),
        log,
    );
}

/// Only the first log of a process counts, which is what a library caller with its own log wants.
fn start_with(layer: impl Layer<Registry> + Send + Sync, log: &Log) {
    let _ = tracing_subscriber::registry().with(layer).try_init();
    for note in &log.notes {
        tracing::warn!("{note}");
    }
}

/// Logs how many lines were left out at the end, when no other line will say so.
pub(crate) fn finish() {
    for (count, place) in quota::take_left_out() {
        tracing::warn!("left out: {count} more lines of one kind ({place})");
    }
}

/// Apps put a time before each line of stderr themselves, which is not exact enough to follow a request.
fn on_stderr<S>(level: LevelFilter) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let clock = if level >= LevelFilter::DEBUG {
        Clock::Utc
    } else {
        Clock::None
    };
    fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(has_colours(&io::stderr()))
        .fmt_fields(Fields)
        .event_format(LineFormat {
            clock,
            dress: Dress::Full,
        })
}
