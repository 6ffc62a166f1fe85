//! The flags about quiet sessions.

use std::time::Duration;

use super::config::Seconds;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct KeepAliveFlags {
    /// Ping the server while the app has nothing to say, where something on the way forgets quiet sessions
    #[arg(long)]
    keep_alive: bool,

    /// How long a session may be quiet before such a ping
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = above_zero)]
    ping_interval: Seconds,
}

impl KeepAliveFlags {
    /// How long a session may be quiet; `None` for ever.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.keep_alive.then_some(self.ping_interval.0)
    }
}

fn above_zero(text: &str) -> Result<Seconds, String> {
    let seconds: Seconds = text.parse()?;
    if seconds.0.is_zero() {
        return Err("has to be more than 0".to_owned());
    }
    Ok(seconds)
}
