//! Flags about the sign-in.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use url::Url;

use super::callback::CallbackFlags;
use super::choices::{DpopFlag, IssuerCheckFlag};
use super::client::ClientFlags;
use super::company::CompanyFlags;
use super::data_directory::DataDirectory;
use super::environment::{Environment, ProcessEnvironment};
use super::error::FlagError;
use super::outside::OutsideFlags;
use super::store::StoreFlags;
use mcp_bridge_auth::{
    self as auth, Addresses, Bearer, Browser, Config, Dpop, Grant, MissingPkceMetadata,
    ResourceParameter, SignInSharing, TokenCommand,
};
use mcp_bridge_net::setting::Setting;

/// Flags of the sign-in.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sign-in")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line; `config` gives them their meaning"
)]
pub struct SignInFlags {
    /// Print the address of the sign-in page instead of opening it
    #[arg(long)]
    no_browser: bool,

    /// Time to wait for the sign-in in the browser
    #[arg(long, value_name = "SECONDS", default_value_t = auth::SIGN_IN_TIMEOUT.as_secs())]
    auth_timeout: u64,

    /// Name of the account, to use several at one server
    #[arg(long, value_name = "NAME", env = "MCP_BRIDGE_PROFILE", hide_env = true)]
    profile: Option<String>,

    /// Run this command to get tokens, instead of signing in
    #[arg(long, value_name = "COMMAND",
          conflicts_with_all = ["bearer_env", "device_code", "client_credentials"])]
    auth_command: Option<String>,

    /// Show a code to enter on any device, instead of opening a browser here
    #[arg(long, conflicts_with = "client_credentials")]
    device_code: bool,

    /// Get tokens for the client itself (client credentials grant)
    #[arg(long)]
    client_credentials: bool,

    /// The token endpoint, if it cannot be discovered
    #[arg(long, value_name = "URL")]
    token_endpoint: Option<Url>,

    /// The scopes to request, separated by spaces, instead of those that the server names
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,

    /// The resource to request a token for; an empty value omits the parameter
    #[arg(long, value_name = "URI")]
    resource: Option<String>,

    /// Omit the resource parameter, which some providers refuse
    #[arg(long)]
    disable_resource_parameter: bool,

    /// An additional parameter of the authorization request (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    authorize_param: Vec<String>,

    /// Send the ID token instead of the access token
    #[arg(long)]
    use_id_token: bool,

    /// Bind tokens to a key (DPoP), so that they are of no use to others
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    dpop: DpopFlag,

    /// Use one sign-in for all servers of a provider that are started with this flag
    #[arg(long, conflicts_with_all = [
        "bearer_env", "auth_command", "client_credentials", "idp_issuer", "workload_token", "subject_token"])]
    share_sign_in: bool,

    /// The authorization server, if the server names several
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,

    /// Strictness of the comparison of issuers in the provider's metadata
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    issuer_check: IssuerCheckFlag,

    /// Sign in even if the provider's metadata does not mention PKCE; it is used anyway
    #[arg(long)]
    allow_missing_pkce_metadata: bool,

    /// Allow a provider at a private address for a server at a public one
    #[arg(long)]
    allow_private_addresses: bool,

    #[command(flatten)]
    store: StoreFlags,

    #[command(flatten)]
    client: ClientFlags,

    #[command(flatten)]
    company: CompanyFlags,

    #[command(flatten)]
    outside: OutsideFlags,

    #[command(flatten)]
    callback: CallbackFlags,
}

impl SignInFlags {
    /// Those of a command line without any.
    pub(super) fn of_nothing() -> Self {
        Self {
            auth_timeout: auth::SIGN_IN_TIMEOUT.as_secs(),
            callback: CallbackFlags::of_nothing(),
            ..Self::default()
        }
    }

    /// The configuration that the flags mean, with the callback port from the command line.
    pub fn config(self, callback_port: Option<u16>) -> Result<Config, FlagError> {
        self.config_in(&ProcessEnvironment, callback_port)
    }

    /// The same in another environment.
    pub(super) fn config_in(
        self,
        environment: &impl Environment,
        callback_port: Option<u16>,
    ) -> Result<Config, FlagError> {
        let client = self.client.registered(environment)?;
        if self.client_credentials && client.is_none() {
            return Err(wrong(
                "--client-credentials",
                "needs --client-id and its secret",
            ));
        }
        let grant = match self.company.grant(environment, client.as_ref())? {
            Some(grant) => grant,
            None => self.grant()?,
        };
        let (store, store_keys) = self.store.choices(environment)?;
        Ok(Config {
            directory: DataDirectory::of(environment).path(),
            mcp_remote_directory: mcp_remote_directory(environment),
            store,
            store_keys,
            profile: self.profile,
            issuer: self.issuer,
            client,
            client_metadata: self.client.metadata()?,
            client_metadata_url: self.client.metadata_url()?,
            scope: self.scope,
            resource: resource(self.resource, self.disable_resource_parameter)?,
            authorize_params: self
                .authorize_param
                .iter()
                .map(|given| authorize_param(given))
                .collect::<Result<_, _>>()?,
            callback: self.callback.callback(callback_port)?,
            command: self.auth_command.as_deref().map(command).transpose()?,
            timeout: Duration::from_secs(self.auth_timeout.max(1)),
            browser: browser(environment, self.no_browser),
            remote_login: remote_login(environment),
            issuer_check: self.issuer_check.into(),
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
            dpop: dpop(self.dpop.into(), self.use_id_token)?,
            sharing: sharing(self.share_sign_in, self.use_id_token)?,
            grant,
            addresses: if self.allow_private_addresses {
                Addresses::Any
            } else {
                Addresses::AsTheServer
            },
            ..Config::default()
        })
    }

    /// The grant that they choose.
    fn grant(&self) -> Result<Grant, FlagError> {
        let token_endpoint = self.token_endpoint.as_ref();
        if let Some(grant) = self.outside.grant(token_endpoint)? {
            let is_named = token_endpoint.is_some() || self.issuer.is_some();
            if matches!(grant, Grant::TokenExchange { .. }) && !is_named {
                // It is good elsewhere, too, and a server may name any authorization server.
                let problem =
                    "needs --issuer or --token-endpoint: it goes there, whatever the server says";
                return Err(wrong("--subject-token", problem));
            }
            return Ok(grant);
        }
        if self.client_credentials {
            return Ok(Grant::ClientCredentials {
                token_endpoint: token_endpoint.cloned(),
            });
        }
        if token_endpoint.is_some() {
            return Err(wrong(
                "--token-endpoint",
                "is for --client-credentials, --workload-token and --subject-token",
            ));
        }
        Ok(if self.device_code {
            Grant::DeviceCode
        } else {
            Grant::AuthorizationCode
        })
    }

    /// A configuration that says where accounts are stored, and nothing else.
    #[cfg(feature = "commands")]
    pub(super) fn place_of_accounts(&self) -> Result<Config, FlagError> {
        self.store.config()
    }

    /// True if the client secret is a literal on the command line.
    pub(super) fn has_plain_client_secret(&self) -> bool {
        self.client.has_plain_secret()
    }
}

fn wrong(flag: &'static str, problem: &str) -> FlagError {
    FlagError::new(flag, problem)
}

fn dpop(choice: Dpop, uses_id_token: bool) -> Result<Dpop, FlagError> {
    if choice == Dpop::Required && uses_id_token {
        return Err(wrong(
            "--dpop",
            "required does not go with --use-id-token: ID tokens are not bound to a key",
        ));
    }
    Ok(choice)
}

fn sharing(is_wanted: bool, uses_id_token: bool) -> Result<SignInSharing, FlagError> {
    match (is_wanted, uses_id_token) {
        (false, _) => Ok(SignInSharing::Off),
        (true, false) => Ok(SignInSharing::OneIssuer),
        (true, true) => Err(wrong(
            "--share-sign-in",
            "does not go with --use-id-token: ID tokens are for no server in particular",
        )),
    }
}

fn command(line: &str) -> Result<TokenCommand, FlagError> {
    TokenCommand::parse(line, Setting::AuthCommand)
        .map_err(|error| FlagError::new("--auth-command", error.to_string()))
}

fn resource(given: Option<String>, disabled: bool) -> Result<ResourceParameter, FlagError> {
    match given {
        _ if disabled => Ok(ResourceParameter::Omitted),
        None => Ok(ResourceParameter::Automatic),
        Some(empty) if empty.is_empty() => Ok(ResourceParameter::Omitted),
        Some(resource) => match Url::parse(&resource) {
            // RFC 8707 §2: an absolute URI without a fragment.
            Ok(url) if url.fragment().is_none() => Ok(ResourceParameter::Fixed(resource)),
            Ok(_) | Err(_) => Err(wrong(
                "--resource",
                "is not an absolute URI without a fragment",
            )),
        },
    }
}

fn authorize_param(given: &str) -> Result<(String, String), FlagError> {
    const FLAG: &str = "--authorize-param";
    let Some((name, value)) = given.split_once('=') else {
        return Err(wrong(FLAG, "has the form NAME=VALUE"));
    };
    let name = name.trim();
    if name.is_empty() {
        return Err(wrong(FLAG, "has no name before the ="));
    }
    if auth::RESERVED_PARAMETERS.contains(&name) {
        return Err(wrong(FLAG, &format!("{name} is set by the sign-in itself")));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(feature = "commands")]
impl SignInFlags {
    /// The program that opens pages.
    pub(super) fn browser(&self, environment: &impl Environment) -> Browser {
        browser(environment, self.no_browser)
    }
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

/// Directory of the files of `mcp-remote`.
fn mcp_remote_directory(environment: &impl Environment) -> Option<PathBuf> {
    if let Some(directory) = environment.variable("MCP_REMOTE_CONFIG_DIR") {
        return Some(directory.into());
    }
    Some(std::env::home_dir()?.join(".mcp-auth"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::environment::fixed::Fixed;
    use super::*;
    use mcp_bridge_auth::{ClientAuthentication, ClientCredential};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        sign_in: SignInFlags,
        /// That of the headers, with which some exclude each other.
        #[arg(long)]
        bearer_env: Option<String>,
    }

    fn config(
        flags: &[&str],
        environment: &[(&'static str, &'static str)],
    ) -> Result<Config, FlagError> {
        let words = std::iter::once("mcp-bridge").chain(flags.iter().copied());
        let command = Command::try_parse_from(words).unwrap();
        let environment = Fixed::new(environment);
        command.sign_in.config_in(&environment, None)
    }

    fn secret(config: &Config) -> Option<&str> {
        match &config.client.as_ref()?.credential {
            ClientCredential::Secret(secret) => Some(secret.expose()),
            ClientCredential::None
            | ClientCredential::PrivateKey(_)
            | ClientCredential::Assertion(_) => None,
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
        check(&["--authorize-param", "=x"], "--authorize-param");
        check(&["--auth-command", " "], "--auth-command");
        check(&["--dpop", "required", "--use-id-token"], "--dpop");
        check(&["--share-sign-in", "--use-id-token"], "--share-sign-in");
        for url in [
            "ftp://x/done",
            "https://u@x/done",
            "https://u:p@x/done",
            "https://x/done?a=1",
            "https://x/done?",
            "https://x/done#a",
        ] {
            check(&["--auth-success-url", url], "--auth-success-url");
        }
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
        check(&["--token-endpoint", "https://x/t"], "--token-endpoint");
        check(&["--workload-token", "eyJ.hunter2.x"], "--workload-token");
        check(&["--subject-token", "env:a b"], "--subject-token");
        check(&["--subject-token", "env:T"], "--subject-token");
        check(
            &["--subject-token", "env:T", "--subject-token-type", "id"],
            "--subject-token-type",
        );
        let company = ["--idp-issuer", "http://idp.example", "--idp-client-id", "i"];
        check(&company, "--idp-issuer");
        let company = [
            "--idp-issuer",
            "https://idp.example",
            "--idp-client-id",
            "i",
        ];
        check(&company, "--client-id");
        let assertion = ["--client-id", "c", "--client-assertion", "eyJ.hunter2.x"];
        check(&assertion, "--client-assertion");
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
            &["--disable-resource-parameter", "--resource", "api://x"],
            ResourceParameter::Omitted,
        );
        check(
            &["--resource=api://x"],
            ResourceParameter::Fixed("api://x".into()),
        );
    }
}
