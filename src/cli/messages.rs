//! Flags about logging.

use std::path::PathBuf;

use tracing::level_filters::LevelFilter;

use super::config::Log;

/// Flags of the log: amount and destination.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct MessageFlags {
    /// Level of the log on stderr; trace adds the bodies of messages, with secrets masked
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    log_level: LogLevel,

    /// Log each request and response: the same as --log-level debug
    #[arg(long, conflicts_with = "log_level")]
    debug: bool,

    /// Log nothing: the same as --log-level off; --debug takes precedence
    #[arg(long, conflicts_with = "log_level")]
    silent: bool,

    /// Write the log to a file instead of stderr
    #[arg(long, value_name = "PATH")]
    log_file: Option<PathBuf>,
}

/// Flags about recordings.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct RecordFlags {
    /// Record what passes, with secrets masked, in a HAR file that mcp-bridge inspect and browsers open; of 32 MiB
    /// and one before it, called PATH.1
    #[arg(long, value_name = "PATH")]
    pub(super) record: Option<PathBuf>,
}

/// The levels of the log.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum LogLevel {
    Off,
    Error,
    #[default]
    Warn,
    Info,
    Debug,
    Trace,
}

impl MessageFlags {
    /// The log that begins with `notes`.
    pub(super) fn log(self, notes: Vec<String>) -> Log {
        let level = match self.log_level {
            _ if self.debug => LevelFilter::DEBUG,
            _ if self.silent => LevelFilter::OFF,
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        };
        Log {
            level,
            file: self.log_file,
            notes,
        }
    }
}
