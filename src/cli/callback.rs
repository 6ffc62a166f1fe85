//! Flags about the callback of the sign-in: port, host, redirect URI.

use std::net::IpAddr;

use clap::Args;
use url::Url;

use super::error::FlagError;
use mcp_bridge_auth::Callback;

/// Defaults of the redirect URI.
const HOST: &str = "localhost";
const PATH: &str = "/oauth/callback";

const SUCCESS_URL: &str = "--auth-success-url";

/// Flags of the redirect URI.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Callback")]
pub(super) struct CallbackFlags {
    /// The host in the redirect URI
    #[arg(long, value_name = "HOST", default_value = HOST)]
    host: String,

    /// The path in the redirect URI
    #[arg(long, value_name = "PATH", default_value = PATH)]
    callback_path: String,

    /// The address that the callback listens on, instead of loopback
    #[arg(long, value_name = "ADDRESS")]
    callback_bind: Option<IpAddr>,

    /// The whole redirect URI, for example behind a proxy
    #[arg(long, value_name = "URL")]
    redirect_uri: Option<Url>,

    /// Redirect the browser to this URL after a successful sign-in
    #[arg(long, value_name = "URL")]
    auth_success_url: Option<Url>,
}

impl CallbackFlags {
    /// Those of a command line without any.
    pub(super) fn of_nothing() -> Self {
        Self {
            host: HOST.to_owned(),
            callback_path: PATH.to_owned(),
            ..Self::default()
        }
    }

    /// The place, with the port from the command line.
    pub(super) fn callback(self, port: Option<u16>) -> Result<Callback, FlagError> {
        if !self.callback_path.starts_with('/') {
            return Err(FlagError::new("--callback-path", "must begin with /"));
        }
        if url::Host::parse(&self.host).is_err() {
            return Err(FlagError::new("--host", "is no host name or address"));
        }
        if self.auth_success_url.as_ref().is_some_and(says_too_much) {
            let problem = "has to be an https URL without user name, query and fragment";
            return Err(FlagError::new(SUCCESS_URL, problem));
        }
        Ok(Callback {
            host: self.host,
            // A port of nothing is no wish, to npm mcp-remote and to us.
            port: port.filter(|port| *port != 0),
            path: self.callback_path,
            bind: self.callback_bind,
            redirect_uri: self.redirect_uri,
            success_url: self.auth_success_url,
        })
    }
}

fn says_too_much(url: &Url) -> bool {
    !matches!(url.scheme(), "https" | "http")
        || !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
}

/// The port in a word. As for npm `mcp-remote`, what follows its digits does not count.
pub fn port(word: &str) -> Result<u16, String> {
    let word = word.trim();
    let end = word.find(|letter: char| !letter.is_ascii_digit());
    match &word[..end.unwrap_or(word.len())] {
        "" => Err("a port is a number up to 65535".into()),
        digits => digits.parse().map_err(|_| "a port is at most 65535".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_begins_with_digits() {
        for (word, expected) in [
            ("8765", Some(8765)),
            ("9696abc", Some(9696)),
            ("0", Some(0)),
            ("abc", None),
            ("", None),
            ("65536", None),
        ] {
            assert_eq!(port(word).ok(), expected, "{word}");
        }
    }
}
