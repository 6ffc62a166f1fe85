//! Conversion of flags into the program's configuration, and the rules for server URLs.

use std::fmt;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName};
use tracing::level_filters::LevelFilter;
use url::Url;

use super::data_directory::DataDirectory;
use super::environment::ProcessEnvironment;
use super::error::{ConfigError, FlagError};
use super::{ConnectionFlags, Flags};
use mcp_bridge_auth as auth;
use mcp_bridge_auth::{HeaderProgram, Keychain, SecretHeaders};
use mcp_bridge_core::bridge;
use mcp_bridge_core::bridge::Memory;
use mcp_bridge_core::endpoint;
use mcp_bridge_net::http;
use mcp_bridge_text::secret::Secret;

const MIB: usize = 1024 * 1024;

/// All that the command line asks of the bridge.
#[derive(Debug, Clone)]
pub struct BridgeSettings {
    /// Configuration of the bridge.
    pub bridge: bridge::Config,
    /// Fate of a sign-in that is not finished when the bridge ends.
    pub unfinished_sign_in: UnfinishedSignIn,
    /// Configuration of the log.
    pub log: Log,
    /// The file in which what passes is recorded, if it is.
    pub record: Option<PathBuf>,
    /// The address at which metrics are served, if they are.
    pub metrics: Option<SocketAddr>,
}

/// Fate of a sign-in that is not finished when the bridge ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnfinishedSignIn {
    /// It ends, too.
    Ends,
    /// A helper waits for the browser, until the time limit.
    Lingers,
}

/// Configuration of the connection to a server, and of the sign-in there.
#[derive(Debug, Clone)]
pub struct ServerConnection {
    /// The server.
    pub endpoint: endpoint::EndpointConfig,
    /// Configuration of the sign-in; `None` where the user's own headers authenticate.
    pub auth: Option<auth::Config>,
    /// Cache of the server's `initialize` results.
    pub memory: Memory,
    /// Configuration of the log.
    pub log: Log,
    /// The file in which what passes is recorded, if it is.
    pub record: Option<PathBuf>,
}

/// Configuration of the log.
#[derive(Debug, Clone)]
pub struct Log {
    /// The least level that is said.
    pub level: LevelFilter,
    /// The file to write to; stderr if there is none.
    pub file: Option<PathBuf>,
    /// Remarks about the flags, which come first.
    pub notes: Vec<String>,
}

/// A duration in seconds; fractions are allowed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seconds(pub(super) Duration);

impl Seconds {
    /// So many of them.
    pub(super) const fn of(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The limit that they are; none if there are none.
    fn limit(self) -> Option<Duration> {
        Some(self.0).filter(|limit| !limit.is_zero())
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs_f64())
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
        let duration =
            Duration::try_from_secs_f64(seconds).map_err(|_| "no such number of seconds")?;
        Ok(Self(duration))
    }
}

impl Flags {
    /// The word in the place of the URL.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Reads the flags as they are meant. Reads the files and environment variables they name, and
    /// nothing else.
    pub fn settings(self) -> Result<BridgeSettings, ConfigError> {
        let url = self.url.unwrap_or_default();
        let mut connection = self.connection.connection(&url, self.callback_port)?;
        let input = if std::io::stdin().is_terminal() {
            bridge::Input::Terminal
        } else {
            bridge::Input::App
        };
        if let (Some(auth), bridge::Input::Terminal) = (&mut connection.auth, input) {
            auth.answer_input = auth::AnswerInput::Terminal;
        }
        if let Some(auth) = &mut connection.auth {
            auth.person = person(auth, &connection.endpoint.url);
        }
        let is_kept = connection
            .auth
            .as_ref()
            .is_some_and(|auth| auth.store != Some(auth::Store::Memory));
        Ok(BridgeSettings {
            // At a terminal somebody sees that the bridge has ended.
            unfinished_sign_in: match input {
                bridge::Input::App if is_kept && !self.no_linger => UnfinishedSignIn::Lingers,
                bridge::Input::App | bridge::Input::Terminal => UnfinishedSignIn::Ends,
            },
            bridge: bridge::Config {
                drain: self.drain_timeout.0,
                input,
                max_message: connection.endpoint.max_message,
                list_pages: self.tools.list_pages(),
                tools: self.tools.filter(),
                memory: connection.memory,
                answering: if self.wait_for_auth || self.fail_fast {
                    bridge::Answering::AfterServer
                } else {
                    bridge::Answering::AtOnce {
                        patience: self.patience.0,
                        list_wait: self.list_wait.map(|wait| wait.0),
                    }
                },
                auth: connection.auth,
                endpoint: endpoint::EndpointConfig {
                    patience: match (self.fail_fast, self.wait_for_auth) {
                        (true, _) => endpoint::Patience::FailFast,
                        (false, true) => endpoint::Patience::Wait,
                        (false, false) => endpoint::Patience::WaitInSession,
                    },
                    keep_alive: self.keep_alive.interval(),
                    ..connection.endpoint
                },
            },
            log: connection.log,
            record: connection.record,
            metrics: self.metrics.metrics,
        })
    }
}

impl Flags {
    /// True if the word in the place of the URL begins like one.
    #[must_use]
    pub fn has_scheme(&self) -> bool {
        self.url.as_deref().is_some_and(|url| url.contains("://"))
    }

    /// The server, if the bridge would accept its URL. Reads nothing.
    pub fn server(&self) -> Result<Url, ConfigError> {
        let url = self.url.as_deref().unwrap_or_default();
        server_url(url, self.connection.allow_http)
    }
}

impl ConnectionFlags {
    /// A configuration that says where accounts are stored, and nothing else.
    #[cfg(feature = "commands")]
    pub(crate) fn place_of_accounts(&self) -> Result<auth::Config, FlagError> {
        self.sign_in.place_of_accounts()
    }

    /// The program that opens pages.
    #[cfg(feature = "commands")]
    pub(crate) fn browser(&self) -> auth::Browser {
        self.sign_in.browser(&ProcessEnvironment)
    }

    /// Reads the flags as they are meant, for the server at `url` and a sign-in that comes back to
    /// `callback_port`. Reads the files and environment variables they name, and nothing else.
    pub fn connection(
        self,
        url: &str,
        callback_port: Option<u16>,
    ) -> Result<ServerConnection, ConfigError> {
        let as_given = url;
        let url = server_url(as_given, self.allow_http)?;
        let mut headers = self.headers.read()?;
        let mut auth = auth::Config {
            server_as_given: Some(as_given.to_owned()),
            headers_as_given: Secret::new(std::mem::take(&mut headers.as_given)),
            identity_headers: headers.identity(),
            ..self.sign_in.config(callback_port)?
        };
        if let Some(url) = &auth.callback.success_url {
            check_success_url(url, self.allow_http)?;
        }
        let mut notes: Vec<_> = headers.left_out.iter().map(left_out).collect();
        notes.extend(headers.unexpanded.iter().map(unexpanded));
        let http = self.network.options(&url, &mut notes)?;
        if auth.command.is_some() && headers.remove(&AUTHORIZATION) {
            notes.push(AUTHORIZATION_LEFT_OUT.into());
        }
        let account = auth::account_name(&url, &auth);
        auth.directory = DataDirectory::of(&ProcessEnvironment).of_account(&account);
        let directory = auth.directory.clone();
        let memory = match &directory {
            Some(directory) if auth.store != Some(auth::Store::Memory) => {
                Memory::of_account(directory, &account)
            }
            Some(_) | None => Memory::default(),
        };
        // Who brings an `Authorization` header of his own needs no other.
        let auth = (!headers.contains(&AUTHORIZATION)).then_some(auth);
        Ok(ServerConnection {
            endpoint: endpoint::EndpointConfig {
                headers: headers.map,
                secret_headers: SecretHeaders::new(headers.secret, Keychain::default())
                    .map(Arc::new),
                header_program: headers.program.map(|it| Arc::new(HeaderProgram::new(it))),
                request_timeout: self.request_timeout.limit(),
                headers_timeout: self.headers_timeout.limit(),
                body_timeout: self.body_timeout.limit(),
                transport: self.transport.into(),
                protocol: self.protocol.into(),
                param_headers: self.mcp_param_headers.into(),
                directory,
                max_message: usize::from(self.max_message_size) * MIB,
                patience: endpoint::Patience::Wait,
                cookies: cookie_policy(self.disable_cookies),
                http,
                ..endpoint::EndpointConfig::new(url)
            },
            auth,
            memory,
            log: self.messages.log(notes),
            record: self.recording.record,
        })
    }
}

/// The machine on which people sign in. Those that share a store and have no browser leave it to others.
fn person(auth: &auth::Config, server: &Url) -> auth::SignInPlace {
    let has_browser = match auth.browser {
        auth::Browser::None => false,
        auth::Browser::System => auth::can_show_pages(),
        auth::Browser::Command(_) => true,
    };
    match (&auth.store, &auth.grant) {
        (Some(auth::Store::Shared(place)), grant)
            if !has_browser && !matches!(grant, auth::Grant::DeviceCode) =>
        {
            let profile = auth.profile.as_ref();
            let profile = profile.map_or_else(String::new, |name| format!(" --profile {name}"));
            auth::SignInPlace::Elsewhere {
                command: format!(
                    "mcp-bridge login {}{profile} --store {}",
                    http::bare(server),
                    place.address
                ),
            }
        }
        _ => auth::SignInPlace::Here,
    }
}

const fn cookie_policy(are_disabled: bool) -> endpoint::CookiePolicy {
    if are_disabled {
        endpoint::CookiePolicy::Ignore
    } else {
        endpoint::CookiePolicy::Keep
    }
}

const AUTHORIZATION_LEFT_OUT: &str =
    "the header authorization is left out: --auth-command brings the tokens";

fn check_success_url(url: &Url, allow_http: bool) -> Result<(), FlagError> {
    const FLAG: &str = "--auth-success-url";
    if let Err(too_long) = http::check_length(url) {
        return Err(FlagError::new(FLAG, too_long.to_string()));
    }
    if url.scheme() == "http" && !(allow_http || http::is_loopback(url)) {
        let problem = "has to be https, or http on this machine or with --allow-http";
        return Err(FlagError::new(FLAG, problem));
    }
    Ok(())
}

fn left_out(name: &HeaderName) -> String {
    format!("the header {name} is left out: the bridge sets it itself")
}

fn unexpanded((name, reference): &(HeaderName, String)) -> String {
    format!(
        "the header {name} is sent with {reference} as it stands: for the value of an environment variable \
         write ${{NAME}}"
    )
}

/// The URL that may be meant by one without a scheme, or with one that does not exist.
fn with_scheme(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let is_typo = |known| strsim::damerau_levenshtein(scheme, known) <= 1;
    if !scheme.is_empty() && !is_typo("https") && !is_typo("http") {
        return None;
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !(host.contains(['.', ':']) || host == "localhost") || host.contains('@') {
        return None;
    }
    let mut url = Url::parse(&format!("https://{rest}")).ok()?;
    if http::is_loopback(&url) {
        url = Url::parse(&format!("http://{rest}")).ok()?;
    }
    // A path that is no server's would be a file's name.
    url.set_query(None);
    Some(url)
}

/// The URL of a server, as a user types it: https, or http to this machine or by permission.
pub fn server_url(text: &str, allow_http: bool) -> Result<Url, ConfigError> {
    if text.contains(char::is_whitespace) {
        return Err(ConfigError::UrlPart("contains white space"));
    }
    if text.starts_with(['\'', '"', '`', '<', '“', '‘']) {
        return Err(ConfigError::UrlPart(
            "begins with a quotation mark or bracket, which is no part of it",
        ));
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "https" | "http") => url,
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err(ConfigError::Scheme {
                meant: with_scheme(text),
            });
        }
        Err(error) => return Err(error.into()),
    };
    if http::check_length(&url).is_err() {
        return Err(ConfigError::UrlPart("is longer than 16 KiB"));
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
