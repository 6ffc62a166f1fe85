//! Flags about logging.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tracing::level_filters::LevelFilter;

use super::config::Log;

/// Flags of the log: amount and destination.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct MessageFlags {
    /// How much to log on stderr; trace adds the bodies of messages, with secrets masked
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
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

/// Flags of the bridge about messages.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct RecordFlags {
    /// Record what passes, with secrets masked, in a HAR file that mcp-bridge inspect and browsers open; of 32 MiB
    /// and one before it, called PATH.1
    #[arg(long, value_name = "PATH")]
    pub(super) record: Option<PathBuf>,

    /// Serve metrics over HTTP at the path /metrics, in the OpenMetrics text format. PORT is on loopback; IP:PORT can be
    /// reached from elsewhere
    #[arg(long, value_name = "ADDR", value_parser = metrics_address)]
    pub(super) metrics: Option<SocketAddr>,
}

/// An IP address with a port, or a port of the loopback interface.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => text.to_owned(),
    };
    numeric
        .parse()
        .map_err(|_| "neither a port nor IP:PORT, such as 9464 or 0.0.0.0:9464".to_owned())
}

/// The levels of the log.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogLevel {
    Off,
    Error,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_on_loopback_unless_an_address_is_given() {
        for (typed, address) in [
            ("9464", "127.0.0.1:9464"),
            ("0", "127.0.0.1:0"),
            ("localhost:9464", "127.0.0.1:9464"),
            ("[::1]:9464", "[::1]:9464"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::]:9464", "[::]:9464"),
        ] {
            let read = metrics_address(typed).map(|address| address.to_string());
            assert_eq!(read.as_deref(), Ok(address));
        }
        for typed in [
            "",
            "65536",
            ":9464",
            "*:9464",
            "example.com:9464",
            "127.0.0.1",
        ] {
            assert!(metrics_address(typed).is_err(), "{typed}");
        }
    }
}
