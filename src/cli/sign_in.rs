//! The flags about signing in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::auth::{
    self, Addresses, Bearer, Browser, Callback, ClientAuthentication, ClientCredential, Config,
    Grant, IssuerCheck, MissingPkceMetadata, PreRegisteredClient, ResourceParameter, SigningKey,
};
use crate::secret::Secret;

/// What a flag says that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct FlagError {
    /// The flag as the user writes it.
    pub flag: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// How to sign in.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sign-in")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line; `config` gives them their meaning"
)]
pub struct SignInFlags {
    /// The client that you registered with the provider
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The environment variable that holds the client's secret
    #[arg(long, value_name = "VAR", conflicts_with = "client_secret_file")]
    client_secret_env: Option<String>,
    /// The file that holds the client's secret
    #[arg(long, value_name = "PATH")]
    client_secret_file: Option<PathBuf>,
    /// The file (PEM, PKCS #8) with the private key that the client proves its identity with
    #[arg(long, value_name = "PATH", requires = "client_id",
          conflicts_with_all = ["client_secret_env", "client_secret_file"])]
    client_assertion_key: Option<PathBuf>,
    /// A registered client as JSON, or as @FILE; ${VAR} is taken from the environment
    #[arg(long, value_name = "JSON", conflicts_with = "client_id")]
    static_oauth_client_info: Option<String>,
    /// Members for the client's registration as JSON, or as @FILE
    #[arg(long, value_name = "JSON")]
    static_oauth_client_metadata: Option<String>,
    /// The URL of a document that describes this client, for providers that read such documents
    #[arg(long, value_name = "URL")]
    client_metadata_url: Option<Url>,
    /// The scopes to ask for, separated by spaces, instead of those the server names
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// The resource to ask a token for; an empty one leaves the parameter out
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// Leave the resource parameter out; some providers refuse it
    #[arg(long, conflicts_with = "resource")]
    disable_resource_parameter: bool,
    /// A further parameter for the sign-in page (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    authorize_param: Vec<String>,
    /// The authorization server, if the server names several
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// How exactly the issuers in the provider's metadata must agree
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    issuer_check: IssuerCheckFlag,
    /// Sign in even if the provider does not list PKCE; it is used all the same
    #[arg(long)]
    allow_missing_pkce_metadata: bool,
    /// Let the provider have a private address while the server has a public one
    #[arg(long)]
    allow_private_addresses: bool,
    /// Send the ID token instead of the access token
    #[arg(long)]
    use_id_token: bool,
    /// Show a code to be entered on any device, instead of opening a browser here
    #[arg(long, conflicts_with = "client_credentials")]
    device_code: bool,
    /// Get tokens for the client itself; nobody signs in
    #[arg(long)]
    client_credentials: bool,
    /// The token endpoint, where there is nothing to discover
    #[arg(long, value_name = "URL", requires = "client_credentials")]
    token_endpoint: Option<Url>,
    /// The host in the redirect URI
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// The path in the redirect URI
    #[arg(long, value_name = "PATH", default_value = "/oauth/callback")]
    callback_path: String,
    /// The address to listen on for the browser, instead of loopback
    #[arg(long, value_name = "ADDRESS")]
    callback_bind: Option<std::net::IpAddr>,
    /// The whole redirect URI, if something stands between the browser and this machine
    #[arg(long, value_name = "URL")]
    redirect_uri: Option<Url>,
    /// How long the sign-in page may stay open
    #[arg(long, value_name = "SECONDS", default_value_t = auth::SIGN_IN_TIMEOUT.as_secs())]
    auth_timeout: u64,
    /// Only print the sign-in page, do not open it
    #[arg(long)]
    no_browser: bool,
    /// A name that keeps several accounts at one server apart
    #[arg(long, value_name = "NAME", env = "MCP_BRIDGE_PROFILE")]
    profile: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum IssuerCheckFlag {
    /// Character by character
    #[default]
    Strict,
    /// A subdomain may speak for its parent, and the other way round
    SameSite,
    /// Not at all
    Off,
}

/// What the flags need of the environment.
trait Environment {
    /// The value of a variable, if it is set and not empty.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The process' own environment.
#[derive(Debug, Clone, Copy)]
struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl SignInFlags {
    /// The configuration that the flags mean, with the callback port from the command line.
    pub fn config(self, callback_port: Option<u16>) -> Result<Config, FlagError> {
        self.config_in(&ProcessEnvironment, callback_port)
    }

    /// The same in another environment.
    fn config_in(
        self,
        environment: &impl Environment,
        callback_port: Option<u16>,
    ) -> Result<Config, FlagError> {
        let client = self.client(environment)?;
        if self.client_credentials && client.is_none() {
            return Err(wrong(
                "--client-credentials",
                "needs --client-id and its secret",
            ));
        }
        if let Some(url) = &self.client_metadata_url
            && (url.scheme() != "https" || url.path() == "/")
        {
            return Err(wrong(
                "--client-metadata-url",
                "must be https and have a path",
            ));
        }
        if !self.callback_path.starts_with('/') {
            return Err(wrong("--callback-path", "must begin with /"));
        }
        if url::Host::parse(&self.host).is_err() {
            return Err(wrong("--host", "is no host name or address"));
        }
        let client_metadata = match &self.static_oauth_client_metadata {
            Some(given) => object(
                "--static-oauth-client-metadata",
                &json_text("--static-oauth-client-metadata", given)?,
            )?,
            None => Map::new(),
        };
        Ok(Config {
            directory: directory(environment),
            mcp_remote_directory: mcp_remote_directory(environment),
            profile: self.profile,
            issuer: self.issuer,
            client,
            client_metadata,
            client_metadata_url: self.client_metadata_url,
            scope: self.scope,
            resource: resource(self.resource, self.disable_resource_parameter)?,
            authorize_params: self
                .authorize_param
                .iter()
                .map(|given| authorize_param(given))
                .collect::<Result<_, _>>()?,
            callback: Callback {
                host: self.host,
                port: callback_port,
                path: self.callback_path,
                bind: self.callback_bind,
                redirect_uri: self.redirect_uri,
            },
            timeout: Duration::from_secs(self.auth_timeout.max(1)),
            browser: browser(environment, self.no_browser),
            remote_login: remote_login(environment),
            issuer_check: match self.issuer_check {
                IssuerCheckFlag::Strict => IssuerCheck::Strict,
                IssuerCheckFlag::SameSite => IssuerCheck::SameSite,
                IssuerCheckFlag::Off => IssuerCheck::Off,
            },
            missing_pkce_metadata: if self.allow_missing_pkce_metadata {
                MissingPkceMetadata::Allow
            } else {
                MissingPkceMetadata::Refuse
            },
            bearer: if self.use_id_token {
                Bearer::IdToken
            } else {
                Bearer::AccessToken
            },
            grant: match (self.device_code, self.client_credentials) {
                (true, _) => Grant::DeviceCode,
                (false, true) => Grant::ClientCredentials {
                    token_endpoint: self.token_endpoint,
                },
                (false, false) => Grant::AuthorizationCode,
            },
            addresses: if self.allow_private_addresses {
                Addresses::Any
            } else {
                Addresses::AsTheServer
            },
            ..Config::default()
        })
    }

    /// Whether the client's secret stands on the command line as it is.
    pub(super) fn has_plain_client_secret(&self) -> bool {
        let info = self.static_oauth_client_info.as_deref();
        let info = info.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let secret = info.as_ref().and_then(|info| info.get("client_secret"));
        let secret = secret.and_then(Value::as_str);
        secret.is_some_and(|secret| !secret.contains("${"))
    }

    fn client(
        &self,
        environment: &impl Environment,
    ) -> Result<Option<PreRegisteredClient>, FlagError> {
        let secret = self.client_secret(environment)?;
        if let Some(given) = &self.static_oauth_client_info {
            return static_client(given, environment, secret).map(Some);
        }
        let Some(id) = self.client_id.clone() else {
            if self.client_secret_env.is_some() || self.client_secret_file.is_some() {
                return Err(wrong("--client-id", "is missing beside the client secret"));
            }
            return Ok(None);
        };
        if let Some(path) = &self.client_assertion_key {
            const FLAG: &str = "--client-assertion-key";
            let key = SigningKey::from_pem(&read(FLAG, path)?)
                .map_err(|error| wrong(FLAG, &error.to_string()))?;
            return Ok(Some(PreRegisteredClient {
                id,
                credential: ClientCredential::PrivateKey(key.into()),
                method: None,
            }));
        }
        Ok(Some(PreRegisteredClient {
            id,
            credential: secret.map_or(ClientCredential::None, ClientCredential::Secret),
            method: None,
        }))
    }

    fn client_secret(
        &self,
        environment: &impl Environment,
    ) -> Result<Option<Secret<String>>, FlagError> {
        if let Some(name) = &self.client_secret_env {
            let secret = environment.variable(name).ok_or_else(|| {
                wrong(
                    "--client-secret-env",
                    &format!("{name} is not set in the environment"),
                )
            })?;
            return Ok(Some(Secret::new(secret)));
        }
        if let Some(path) = &self.client_secret_file {
            let text = read("--client-secret-file", path)?;
            return Ok(Some(Secret::new(text.trim().to_owned())));
        }
        Ok(environment
            .variable("MCP_BRIDGE_CLIENT_SECRET")
            .map(Secret::new))
    }
}

/// The client in the shape that a registration answer has (RFC 7591 §3.2.1).
fn static_client(
    given: &str,
    environment: &impl Environment,
    secret: Option<Secret<String>>,
) -> Result<PreRegisteredClient, FlagError> {
    #[derive(Deserialize)]
    struct Information {
        client_id: String,
        client_secret: Option<String>,
        token_endpoint_auth_method: Option<String>,
    }
    const FLAG: &str = "--static-oauth-client-info";
    let expanded = expand(FLAG, &json_text(FLAG, given)?, environment)?;
    let information: Information = serde_json::from_str(&expanded).map_err(|error| {
        wrong(
            FLAG,
            &format!("is not usable JSON (column {})", error.column()),
        )
    })?;
    let secret = information
        .client_secret
        .filter(|secret| !secret.is_empty())
        .map(Secret::new)
        .or(secret);
    Ok(PreRegisteredClient {
        id: information.client_id,
        credential: secret.map_or(ClientCredential::None, ClientCredential::Secret),
        method: information
            .token_endpoint_auth_method
            .as_deref()
            .and_then(ClientAuthentication::from_name),
    })
}

fn wrong(flag: &'static str, problem: &str) -> FlagError {
    FlagError {
        flag,
        problem: problem.into(),
    }
}

fn read(flag: &'static str, path: &Path) -> Result<String, FlagError> {
    std::fs::read_to_string(path)
        .map_err(|error| wrong(flag, &format!("can't read {}: {error}", path.display())))
}

/// The JSON itself, or what the file behind `@` holds.
fn json_text(flag: &'static str, given: &str) -> Result<String, FlagError> {
    match given.strip_prefix('@') {
        Some(path) => read(flag, Path::new(path)),
        None => Ok(given.to_owned()),
    }
}

fn object(flag: &'static str, text: &str) -> Result<Map<String, Value>, FlagError> {
    serde_json::from_str(text).map_err(|error| wrong(flag, &format!("is no JSON object: {error}")))
}

/// Replaces each `${NAME}` by the variable, escaped for the JSON string that it stands in.
fn expand(
    flag: &'static str,
    text: &str,
    environment: &impl Environment,
) -> Result<String, FlagError> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            return Err(wrong(flag, "has a ${ without its }"));
        };
        let value = environment
            .variable(name)
            .ok_or_else(|| wrong(flag, &format!("{name} is not set in the environment")))?;
        let quoted = Value::String(value).to_string();
        expanded.push_str(before);
        expanded.push_str(&quoted[1..quoted.len() - 1]);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn resource(given: Option<String>, disabled: bool) -> Result<ResourceParameter, FlagError> {
    match given {
        None if disabled => Ok(ResourceParameter::Omitted),
        None => Ok(ResourceParameter::Automatic),
        Some(empty) if empty.is_empty() => Ok(ResourceParameter::Omitted),
        Some(resource) => match Url::parse(&resource) {
            // RFC 8707 §2: an absolute URI without a fragment.
            Ok(url) if url.fragment().is_none() => Ok(ResourceParameter::Fixed(resource)),
            Ok(_) | Err(_) => Err(wrong("--resource", "is no absolute URI without a fragment")),
        },
    }
}

fn authorize_param(given: &str) -> Result<(String, String), FlagError> {
    const FLAG: &str = "--authorize-param";
    let Some((name, value)) = given.split_once('=') else {
        return Err(wrong(FLAG, "has the form NAME=VALUE"));
    };
    if auth::RESERVED_PARAMETERS.contains(&name) {
        return Err(wrong(FLAG, &format!("{name} is set by the sign-in itself")));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn browser(environment: &impl Environment, no_browser: bool) -> Browser {
    if no_browser {
        return Browser::None;
    }
    match environment.variable("BROWSER") {
        // A list of programs, as other tools read it.
        Some(list) => Browser::Command(std::env::split_paths(&list).collect()),
        None => Browser::System,
    }
}

/// The server's address in `SSH_CONNECTION`, which is "client, its port, server, its port".
fn remote_login(environment: &impl Environment) -> Option<String> {
    let connection = environment.variable("SSH_CONNECTION")?;
    connection.split(' ').nth(2).map(str::to_owned)
}

fn directory(environment: &impl Environment) -> Option<PathBuf> {
    if let Some(directory) = environment.variable("MCP_BRIDGE_DIR") {
        return Some(directory.into());
    }
    let home = directories::BaseDirs::new()?;
    Some(home.data_local_dir().join("mcp-bridge"))
}

/// Where `mcp-remote` keeps its files.
fn mcp_remote_directory(environment: &impl Environment) -> Option<PathBuf> {
    if let Some(directory) = environment.variable("MCP_REMOTE_CONFIG_DIR") {
        return Some(directory.into());
    }
    let home = directories::BaseDirs::new()?;
    Some(home.home_dir().join(".mcp-auth"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        sign_in: SignInFlags,
    }

    struct Fixed(HashMap<&'static str, &'static str>);

    impl Environment for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|&value| value.into())
        }
    }

    fn config(
        flags: &[&str],
        environment: &[(&'static str, &'static str)],
    ) -> Result<Config, FlagError> {
        let words = std::iter::once("mcp-bridge").chain(flags.iter().copied());
        let command = Command::try_parse_from(words).unwrap();
        let environment = Fixed(environment.iter().copied().collect());
        command.sign_in.config_in(&environment, None)
    }

    fn secret(config: &Config) -> Option<&str> {
        match &config.client.as_ref()?.credential {
            ClientCredential::Secret(secret) => Some(secret.expose()),
            ClientCredential::None | ClientCredential::PrivateKey(_) => None,
        }
    }

    #[test]
    fn a_client_secret_comes_from_the_environment_or_a_file_never_from_a_flag() {
        let found = config(&["--client-id", "c"], &[("MCP_BRIDGE_CLIENT_SECRET", "s1")]).unwrap();
        assert_eq!(secret(&found), Some("s1"));
        let flags = ["--client-id", "c", "--client-secret-env", "MINE"];
        assert_eq!(
            secret(&config(&flags, &[("MINE", "s2")]).unwrap()),
            Some("s2")
        );
        assert_eq!(config(&flags, &[]).unwrap_err().flag, "--client-secret-env");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3\n").unwrap();
        let path = file.path().to_str().unwrap();
        let found = config(&["--client-id", "c", "--client-secret-file", path], &[]).unwrap();
        assert_eq!(secret(&found), Some("s3"));
    }

    #[test]
    fn a_static_client_takes_variables_and_does_not_let_them_break_the_json() {
        let info = r#"{"client_id":"c","client_secret":"${SECRET}","token_endpoint_auth_method":"client_secret_post"}"#;
        let flags = ["--static-oauth-client-info", info];
        let found = config(&flags, &[("SECRET", r#"a"b\c"#)]).unwrap();
        assert_eq!(secret(&found), Some(r#"a"b\c"#));
        assert_eq!(
            found.client.unwrap().method,
            Some(ClientAuthentication::ClientSecretPost)
        );
        assert_eq!(
            config(&flags, &[]).unwrap_err().flag,
            "--static-oauth-client-info"
        );
        // The problem must not repeat what may be a secret.
        let broken = config(
            &["--static-oauth-client-info", "{\"client_secret\": hunter2}"],
            &[],
        );
        assert!(!broken.unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn flags_that_cannot_be_meant_are_refused_by_name() {
        let check = |flags: &[&str], flag: &str| {
            assert_eq!(config(flags, &[]).unwrap_err().flag, flag, "{flags:?}");
        };
        check(&["--resource", "not a uri"], "--resource");
        check(&["--resource", "https://x/#f"], "--resource");
        check(&["--authorize-param", "prompt"], "--authorize-param");
        check(&["--authorize-param", "state=x"], "--authorize-param");
        check(&["--callback-path", "callback"], "--callback-path");
        check(&["--host", "a b"], "--host");
        check(
            &["--client-metadata-url", "http://x/y"],
            "--client-metadata-url",
        );
        check(
            &["--client-metadata-url", "https://x/"],
            "--client-metadata-url",
        );
        check(&["--client-credentials"], "--client-credentials");
        check(&["--client-secret-file", "/x"], "--client-secret-file");
        check(
            &["--static-oauth-client-metadata", "[]"],
            "--static-oauth-client-metadata",
        );
    }

    #[test]
    fn the_browser_is_the_users_choice() {
        assert_eq!(config(&[], &[]).unwrap().browser, Browser::System);
        assert_eq!(
            config(&["--no-browser"], &[]).unwrap().browser,
            Browser::None
        );
        let chosen = config(&[], &[("BROWSER", "/usr/bin/firefox")]).unwrap();
        assert_eq!(
            chosen.browser,
            Browser::Command(vec!["/usr/bin/firefox".into()])
        );
    }

    #[test]
    fn over_ssh_the_address_to_forward_from_is_known() {
        let found = config(&[], &[("SSH_CONNECTION", "10.0.0.9 50022 10.0.0.5 22")]).unwrap();
        assert_eq!(found.remote_login.as_deref(), Some("10.0.0.5"));
        assert_eq!(config(&[], &[]).unwrap().remote_login, None);
    }

    #[test]
    fn resource_can_be_set_or_left_out() {
        let check = |flags: &[&str], expected| {
            assert_eq!(config(flags, &[]).unwrap().resource, expected);
        };
        check(&[], ResourceParameter::Automatic);
        check(&["--resource", ""], ResourceParameter::Omitted);
        check(
            &["--disable-resource-parameter"],
            ResourceParameter::Omitted,
        );
        check(
            &["--resource=api://x"],
            ResourceParameter::Fixed("api://x".into()),
        );
    }
}
