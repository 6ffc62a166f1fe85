//! Flags about the OAuth client: id, secret, metadata.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::environment::{Environment, expand};
use super::error::{FlagError, names_variable};
use super::outside::source_of;
use mcp_bridge_auth::{ClientAuthentication, ClientCredential, PreRegisteredClient, SigningKey};
use mcp_bridge_text::secret::Secret;

const INFO: &str = "--static-oauth-client-info";
const METADATA: &str = "--static-oauth-client-metadata";

/// Flags of the OAuth client.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Client")]
pub(super) struct ClientFlags {
    /// The client that you registered with the provider
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    /// The environment variable that holds the client's secret
    #[arg(long, value_name = "VAR", conflicts_with = "client_secret_file")]
    client_secret_env: Option<String>,

    /// The file that holds the client's secret
    #[arg(long, value_name = "PATH")]
    client_secret_file: Option<PathBuf>,

    /// The private key (PEM, PKCS #8) with which the client authenticates
    #[arg(long, value_name = "PATH", requires = "client_id",
          conflicts_with_all = ["client_secret_env", "client_secret_file"])]
    client_assertion_key: Option<PathBuf>,

    #[arg(
        help = "A JWT with which the client authenticates, signed by somebody else: file:PATH, env:NAME or command:LINE"
    )]
    #[arg(long, value_name = "SOURCE", requires = "client_id",
          conflicts_with_all = ["client_secret_env", "client_secret_file", "client_assertion_key"])]
    client_assertion: Option<String>,

    /// A registered client as JSON, or as @FILE; ${NAME} stands for an environment variable
    #[arg(long, value_name = "JSON", conflicts_with = "client_id")]
    static_oauth_client_info: Option<String>,

    /// Members of the client's registration as JSON, or as @FILE
    #[arg(long, value_name = "JSON")]
    static_oauth_client_metadata: Option<String>,

    /// The client ID metadata document, for providers that support them
    #[arg(long, value_name = "URL")]
    client_metadata_url: Option<Url>,
}

impl ClientFlags {
    /// The client that was registered by hand, if there is one.
    pub(super) fn registered(
        &self,
        environment: &impl Environment,
    ) -> Result<Option<PreRegisteredClient>, FlagError> {
        let secret = self.secret(environment)?;
        if let Some(given) = &self.static_oauth_client_info {
            return static_client(given, environment, secret).map(Some);
        }
        let Some(id) = self.client_id.clone() else {
            if self.client_secret_env.is_some() || self.client_secret_file.is_some() {
                return Err(FlagError::new(
                    "--client-id",
                    "is missing beside the client secret",
                ));
            }
            return Ok(None);
        };
        let credential = match (&self.client_assertion, &self.client_assertion_key) {
            (Some(source), _) => {
                ClientCredential::Assertion(source_of("--client-assertion", source)?)
            }
            (None, Some(path)) => {
                let key = signing_key("--client-assertion-key", path)?;
                ClientCredential::PrivateKey(key.into())
            }
            (None, None) => secret.map_or(ClientCredential::None, ClientCredential::Secret),
        };
        Ok(Some(PreRegisteredClient {
            id,
            credential,
            method: None,
        }))
    }

    /// Members that replace those of our own registration request.
    pub(super) fn metadata(&self) -> Result<Map<String, Value>, FlagError> {
        let Some(given) = &self.static_oauth_client_metadata else {
            return Ok(Map::new());
        };
        serde_json::from_str(&json_text(METADATA, given)?)
            .map_err(|error| FlagError::new(METADATA, format!("is no JSON object: {error}")))
    }

    /// The document that describes the client.
    pub(super) fn metadata_url(&self) -> Result<Option<Url>, FlagError> {
        match &self.client_metadata_url {
            Some(url) if url.scheme() != "https" || url.path() == "/" => Err(FlagError::new(
                "--client-metadata-url",
                "must be https and have a path",
            )),
            url => Ok(url.clone()),
        }
    }

    /// True if the secret is a literal on the command line.
    pub(super) fn has_plain_secret(&self) -> bool {
        let info = self.static_oauth_client_info.as_deref();
        let info = info.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let secret = info.as_ref().and_then(|info| info.get("client_secret"));
        let secret = secret.and_then(Value::as_str);
        secret.is_some_and(|secret| !secret.contains("${"))
    }

    fn secret(&self, environment: &impl Environment) -> Result<Option<Secret<String>>, FlagError> {
        let secret = secret_in(
            environment,
            ("--client-secret-env", self.client_secret_env.as_deref()),
            ("--client-secret-file", self.client_secret_file.as_deref()),
        )?;
        Ok(secret.or_else(|| {
            let secret = environment.variable("MCP_BRIDGE_CLIENT_SECRET");
            secret.map(Secret::new)
        }))
    }
}

/// The secret in the variable or the file that a flag names; each stands beside the name of its flag.
pub(super) fn secret_in(
    environment: &impl Environment,
    (variable_flag, variable): (&'static str, Option<&str>),
    (file_flag, file): (&'static str, Option<&Path>),
) -> Result<Option<Secret<String>>, FlagError> {
    if let Some(name) = variable {
        let secret = environment.variable(name).ok_or_else(|| {
            let problem = if names_variable(name) {
                format!("{name} is not set in the environment")
            } else {
                "takes the name of an environment variable, and not what is in it".to_owned()
            };
            FlagError::new(variable_flag, problem)
        })?;
        return Ok(Some(Secret::new(secret)));
    }
    let Some(path) = file else {
        return Ok(None);
    };
    let text = read(file_flag, path)?;
    Ok(Some(Secret::new(text.trim().to_owned())))
}

/// The key in the file that `flag` names.
pub(super) fn signing_key(flag: &'static str, path: &Path) -> Result<SigningKey, FlagError> {
    SigningKey::from_pem(&read(flag, path)?)
        .map_err(|error| FlagError::new(flag, error.to_string()))
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
    let expanded = expand(&json_text(INFO, given)?, environment, inside_json)
        .map_err(|name| FlagError::new(INFO, format!("{name} is not set in the environment")))?;
    let information: Information = serde_json::from_str(&expanded).map_err(|error| {
        let problem = format!("is not usable JSON (column {})", error.column());
        FlagError::new(INFO, problem)
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

/// A value as it stands between the quotation marks of a JSON string.
fn inside_json(value: String) -> String {
    let quoted = Value::String(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The JSON itself, or what the file behind `@` holds.
fn json_text(flag: &'static str, given: &str) -> Result<String, FlagError> {
    match given.strip_prefix('@') {
        Some(path) => read(flag, Path::new(path)),
        None => Ok(given.to_owned()),
    }
}

/// The text of the file that `flag` names.
pub(super) fn read(flag: &'static str, path: &Path) -> Result<String, FlagError> {
    std::fs::read_to_string(path).map_err(|error| {
        let problem = format!("can't read {}: {error}", path.display());
        FlagError::new(flag, problem)
    })
}
