//! Flag for metrics.

use std::net::{Ipv4Addr, SocketAddr};

/// The flag for metrics, which only the bridge has.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct MetricsFlags {
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
