//! Flags about keep-alive pings.

use std::time::Duration;

use super::config::Seconds;

/// Default limit of silence in a session.
const PING_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct KeepAliveFlags {
    /// Ping the server while the app is idle, for servers and proxies that drop idle sessions
    #[arg(long)]
    keep_alive: bool,

    /// Ping after this much idle time; implies --keep-alive [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = above_zero)]
    ping_interval: Option<Seconds>,
}

impl KeepAliveFlags {
    /// Limit of silence in a session; `None` for no limit.
    pub(super) fn interval(&self) -> Option<Duration> {
        match &self.ping_interval {
            Some(Seconds(interval)) => Some(*interval),
            None => self.keep_alive.then_some(PING_INTERVAL),
        }
    }
}

fn above_zero(text: &str) -> Result<Seconds, String> {
    let seconds: Seconds = text.parse()?;
    if seconds.0.is_zero() {
        return Err("has to be more than 0".to_owned());
    }
    Ok(seconds)
}
