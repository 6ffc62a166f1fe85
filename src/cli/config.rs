//! The flags as they are meant.

use std::fs;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tracing::level_filters::LevelFilter;
use url::Url;

use super::header::{self, HeaderError};
use super::sign_in::FlagError;
use super::{ConnectionFlags, Flags};
use crate::secret::Secret;
use crate::{auth, bridge, endpoint, http};

const MIB: usize = 1024 * 1024;

/// All that the command line asks of the bridge.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the bridge has to do.
    pub bridge: bridge::Config,
    /// What to say, and where.
    pub log: Log,
}

/// How to reach a server and sign in there.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The server.
    pub endpoint: endpoint::Config,
    /// How to sign in; `None` where the user's own headers are the way in.
    pub auth: Option<auth::Config>,
    /// The file that remembers what the server last answered to `initialize`; none if nothing is kept.
    pub memory: Option<PathBuf>,
    /// What to say, and where.
    pub log: Log,
}

/// What to say, and where.
#[derive(Debug, Clone)]
pub struct Log {
    /// The least level that is said.
    pub level: LevelFilter,
    /// The file to write to; stderr if there is none.
    pub file: Option<PathBuf>,
}

/// Flags that cannot be meant as they were typed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL cannot be read.
    #[error("the server's URL is not valid: {0}")]
    Url(#[from] url::ParseError),
    /// The URL is one that no request may go to.
    #[error("the server's URL {0}")]
    UrlPart(&'static str),
    /// Plain HTTP to another machine.
    #[error(
        "http:// to {0} would send everything, tokens included, readable to anybody on the way"
    )]
    PlainHttp(String),
    /// A header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A flag about the sign-in.
    #[error(transparent)]
    SignIn(#[from] FlagError),
    /// A file that should hold certificates.
    #[error("{path} is not a PEM file with what it should hold", path = .0.display())]
    NotPem(PathBuf),
    /// A file that is named by a flag.
    #[error("cannot read {path}: {error}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        error: std::io::Error,
    },
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url(_) | Self::UrlPart(_) => Some("it looks like https://mcp.example.com/mcp"),
            Self::PlainHttp(_) => {
                Some("use https://, or pass --allow-http if the network is yours")
            }
            Self::Header(HeaderError::Variable { .. }) => {
                Some("set it in the \"env\" block of the app's configuration")
            }
            Self::Header(_) | Self::SignIn(_) | Self::NotPem(_) | Self::File { .. } => None,
        }
    }
}

/// A duration in seconds; fractions are allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seconds(pub(super) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
        let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
        Ok(Self(duration))
    }
}

/// The levels of the log.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Flags {
    /// Reads the flags as they are meant. Reads the files and environment variables they name, and
    /// nothing else.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let url = self.url.unwrap_or_default();
        let connection = self.connection.connection(&url, self.callback_port)?;
        Ok(Settings {
            bridge: bridge::Config {
                drain: self.drain_timeout.0,
                input: if std::io::stdin().is_terminal() {
                    bridge::Input::Terminal
                } else {
                    bridge::Input::App
                },
                max_message: connection.endpoint.max_message,
                memory: connection.memory,
                answering: if self.wait_for_auth || self.fail_fast {
                    bridge::Answering::AfterServer
                } else {
                    bridge::Answering::AtOnce {
                        patience: self.patience.0,
                    }
                },
                auth: connection.auth,
                endpoint: endpoint::Config {
                    patience: match (self.fail_fast, self.wait_for_auth) {
                        (true, _) => endpoint::Patience::FailFast,
                        (false, true) => endpoint::Patience::Wait,
                        (false, false) => endpoint::Patience::WaitInSession,
                    },
                    ..connection.endpoint
                },
            },
            log: connection.log,
        })
    }
}

impl Flags {
    /// The server, if the bridge would accept its URL. Reads nothing.
    pub fn server(&self) -> Result<Url, ConfigError> {
        let url = self.url.as_deref().unwrap_or_default();
        server_url(url, self.connection.allow_http)
    }
}

impl ConnectionFlags {
    /// Reads the flags as they are meant, for the server at `url` and a sign-in that comes back to
    /// `callback_port`. Reads the files and environment variables they name, and nothing else.
    pub fn connection(
        self,
        url: &str,
        callback_port: Option<u16>,
    ) -> Result<Connection, ConfigError> {
        let as_given = url;
        let url = server_url(as_given, self.allow_http)?;
        let mut headers = HeaderMap::new();
        for path in &self.header_file {
            let text = fs::read_to_string(path).map_err(|error| ConfigError::File {
                path: path.clone(),
                error,
            })?;
            header::parse_file(&text, &mut headers)?;
        }
        for text in &self.header {
            let (name, value) = header::parse(text)?;
            headers.insert(name, value);
        }
        let log = self.log();
        let http = self.network.options()?;
        let auth = auth::Config {
            server_as_given: Some(as_given.to_owned()),
            headers_as_given: headers_as_given(&self.header),
            identity_headers: identity(&headers),
            ..self.sign_in.config(callback_port)?
        };
        let directory = auth.directory.clone();
        let account = auth::account_name(&url, &auth);
        let answer = |directory: &PathBuf| directory.join("answers").join(account + ".json");
        let memory = directory.as_ref().map(answer);
        // Who brings an `Authorization` header of his own needs no other.
        let auth = (!headers.contains_key(AUTHORIZATION)).then_some(auth);
        let Seconds(request_timeout) = self.request_timeout;
        Ok(Connection {
            endpoint: endpoint::Config {
                url,
                headers,
                request_timeout: (!request_timeout.is_zero()).then_some(request_timeout),
                transport: self.transport,
                protocol: self.protocol,
                directory,
                max_message: usize::from(self.max_message_size) * MIB,
                patience: endpoint::Patience::Wait,
                cookies: if self.disable_cookies {
                    endpoint::Cookies::Ignore
                } else {
                    endpoint::Cookies::Keep
                },
                http,
            },
            auth,
            memory,
            log,
        })
    }

    fn log(&self) -> Log {
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
            file: self.log_file.clone(),
        }
    }
}

/// The headers that may tell one account at the server from another.
fn identity(headers: &HeaderMap) -> Secret<Vec<(String, String)>> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)));
    Secret::new(pairs.collect())
}

/// The headers of the command line before variables are filled in.
fn headers_as_given(headers: &[String]) -> Secret<Vec<(String, String)>> {
    let pairs = headers.iter().filter_map(|text| text.split_once(':'));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.trim_start().to_owned()));
    Secret::new(pairs.collect())
}

/// The URL of a server, as a user types it: https, or http to this machine or by permission.
pub fn server_url(text: &str, allow_http: bool) -> Result<Url, ConfigError> {
    if text.contains(char::is_whitespace) {
        return Err(ConfigError::UrlPart("contains white space"));
    }
    let url = Url::parse(text)?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(ConfigError::UrlPart(
            "has to begin with https:// or http://",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::UrlPart(
            "holds a user name or password; use --header for credentials",
        ));
    }
    if url.fragment().is_some() {
        return Err(ConfigError::UrlPart(
            "has a fragment (#…), which servers never see",
        ));
    }
    if url.scheme() == "http" && !allow_http && !http::is_loopback(&url) {
        let host = url.host_str().unwrap_or_default().to_owned();
        return Err(ConfigError::PlainHttp(host));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_no_request_may_go_to_are_refused() {
        for text in [
            "",
            "mcp.example.com",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://exa mple.com/",
            "https://example.com/mcp#part",
            "http://example.com/mcp",
            "http://localhost.example.com/mcp",
            "http://192.168.0.1/",
        ] {
            let error = server_url(text, false).expect_err(text);
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_or_by_permission() {
        for text in [
            "https://example.com/mcp?key=1",
            "http://localhost:3001/mcp",
            "http://127.0.0.1/mcp",
            "http://[::1]:3001/mcp",
        ] {
            assert!(server_url(text, false).is_ok(), "{text}");
        }
        assert!(server_url("http://example.com/mcp", true).is_ok());
    }
}
