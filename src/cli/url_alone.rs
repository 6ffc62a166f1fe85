//! Flags of the command line that most apps have: a URL alone.
//!
//! Reading it needs no definitions of flags. To build these takes longer than the rest of a start.

use std::env;

use super::choices::{ParamHeadersFlag, ProtocolFlag, TransportFlag};
use super::config::Seconds;
use super::header::HeaderFlags;
use super::keep_alive::KeepAliveFlags;
use super::messages::{MessageFlags, RecordFlags};
use super::metrics::MetricsFlags;
use super::network::NetworkFlags;
use super::tools::ToolFlags;
use super::{ConnectionFlags, DRAIN_TIMEOUT, Flags, MAX_MESSAGE_MIB, PATIENCE, SignInFlags};

/// Variables that stand for flags.
const VARIABLES: [&str; 4] = [
    "MCP_BRIDGE_PROFILE",
    "MCP_BRIDGE_READ_ONLY",
    "MCP_BRIDGE_STORE",
    "MCP_BRIDGE_STORE_KEY_FILE",
];

impl Flags {
    /// The flags of a command line with this word alone. `None` if the word is no URL, or a variable stands for a flag.
    #[must_use]
    pub fn of_url_alone(word: &str) -> Option<Self> {
        let is_url = !word.starts_with('-') && word.contains("://");
        let is_alone = is_url && VARIABLES.iter().all(|name| env::var_os(name).is_none());
        is_alone.then(|| Self::of_url(word))
    }

    fn of_url(url: &str) -> Self {
        Self {
            url: Some(url.to_owned()),
            callback_port: None,
            connection: ConnectionFlags::of_nothing(),
            tools: ToolFlags::default(),
            keep_alive: KeepAliveFlags::default(),
            metrics: MetricsFlags::default(),
            drain_timeout: DRAIN_TIMEOUT,
            patience: PATIENCE,
            list_wait: None,
            wait_for_auth: false,
            fail_fast: false,
            no_linger: false,
        }
    }
}

impl ConnectionFlags {
    fn of_nothing() -> Self {
        Self {
            config: None,
            headers: HeaderFlags::default(),
            transport: TransportFlag::default(),
            protocol: ProtocolFlag::default(),
            mcp_param_headers: ParamHeadersFlag::default(),
            allow_http: false,
            disable_cookies: false,
            sign_in: SignInFlags::of_nothing(),
            network: NetworkFlags::of_nothing(),
            request_timeout: Seconds::of(0),
            headers_timeout: Seconds::of(0),
            body_timeout: Seconds::of(0),
            max_message_size: MAX_MESSAGE_MIB,
            messages: MessageFlags::default(),
            recording: RecordFlags::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    /// `Debug` shows each field, also of a flag that is added.
    #[test]
    fn a_url_alone_means_what_it_means_to_the_parser() {
        if VARIABLES.iter().any(|name| env::var_os(name).is_some()) {
            eprintln!("skipped: a variable stands for a flag");
            return;
        }
        for url in [
            "https://mcp.example.com/mcp",
            "http://[::1]:8080/?a=b#c",
            "x://",
        ] {
            let parsed = Line::try_parse_from(["mcp-bridge", url]).expect(url).flags;
            let alone = Flags::of_url_alone(url).expect(url);
            assert_eq!(format!("{alone:?}"), format!("{parsed:?}"));
        }
    }

    #[test]
    fn other_words_are_left_to_the_parser() {
        for word in [
            "",
            "login",
            "mcp.example.com",
            "--help",
            "--config=https://a",
        ] {
            assert!(Flags::of_url_alone(word).is_none(), "{word}");
        }
    }

    #[test]
    fn variables_that_stand_for_flags_are_known() {
        let program = Line::command();
        let mut variables: Vec<_> = program
            .get_arguments()
            .filter_map(|flag| flag.get_env()?.to_str())
            .collect();
        variables.sort_unstable();
        assert_eq!(variables, VARIABLES);
    }
}
