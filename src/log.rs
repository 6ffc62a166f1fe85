//! The log: on stderr, or in a file.

use std::fs::OpenOptions;
use std::io;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::Log;

/// Starts the log. Only the bridge's own events are in it: what the libraries have to say may hold
/// what nobody should read.
pub(crate) fn start(log: &Log) -> io::Result<()> {
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), log.level);
    let layer = match &log.file {
        // Apps put a time before each line of stderr themselves.
        None => fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .with_target(false)
            .without_time()
            .boxed(),
        Some(path) => {
            let mut options = OpenOptions::new();
            options.create(true).append(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(path)?;
            fmt::layer().with_writer(file).with_ansi(false).boxed()
        }
    };
    // Only the first log of a process counts, which is what a library caller with its own log wants.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(ours))
        .try_init();
    Ok(())
}
