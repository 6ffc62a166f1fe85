//! Flags about the identity provider of a company.

use std::path::PathBuf;

use clap::Args;

use super::client::{secret_in, signing_key};
use super::environment::Environment;
use super::error::FlagError;
use super::outside::source_of;
use mcp_bridge_auth::{ClientCredential, Grant, IdentityProvider, IssuerUrl, PreRegisteredClient};

/// Flags about the identity provider of a company.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Company")]
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
pub(super) struct CompanyFlags {
    /// Sign in at your company's identity provider, once for all its servers
    #[arg(long, value_name = "URL", requires = "idp_client_id", conflicts_with_all = [
        "bearer_env", "auth_command", "device_code", "client_credentials", "workload_token",
        "subject_token"])]
    idp_issuer: Option<String>,

    /// The client that is registered at the identity provider
    #[arg(long, value_name = "ID", requires = "idp_issuer")]
    idp_client_id: Option<String>,

    /// The environment variable that holds that client's secret
    #[arg(
        long,
        value_name = "VAR",
        requires = "idp_issuer",
        conflicts_with = "idp_client_secret_file"
    )]
    idp_client_secret_env: Option<String>,

    /// The file that holds that client's secret
    #[arg(long, value_name = "PATH", requires = "idp_issuer")]
    idp_client_secret_file: Option<PathBuf>,

    /// The private key (PEM, PKCS #8) with which that client authenticates
    #[arg(long, value_name = "PATH", requires = "idp_issuer",
          conflicts_with_all = ["idp_client_secret_env", "idp_client_secret_file"])]
    idp_client_assertion_key: Option<PathBuf>,

    /// The scopes to request from the identity provider, instead of openid
    #[arg(long, value_name = "SCOPES", requires = "idp_issuer")]
    idp_scope: Option<String>,

    #[arg(
        help = "Use this ID token instead of signing in there: file:PATH, env:NAME or command:LINE"
    )]
    #[arg(long, value_name = "SOURCE", requires = "idp_issuer")]
    idp_id_token: Option<String>,
}

impl CompanyFlags {
    /// The grant, if they choose it.
    pub(super) fn grant(
        &self,
        environment: &impl Environment,
        client: Option<&PreRegisteredClient>,
    ) -> Result<Option<Grant>, FlagError> {
        const ISSUER: &str = "--idp-issuer";
        let (Some(issuer), Some(id)) = (&self.idp_issuer, &self.idp_client_id) else {
            return Ok(None);
        };
        let issuer = IssuerUrl::parse(issuer).ok_or_else(|| {
            let problem = "is no issuer: https, or http on this machine, without a query";
            FlagError::new(ISSUER, problem)
        })?;
        if client.is_none() {
            let problem = "is missing: the client at the server's authorization server";
            return Err(FlagError::new("--client-id", problem));
        }
        let id_token = self.idp_id_token.as_deref();
        Ok(Some(Grant::EnterpriseManaged(Box::new(IdentityProvider {
            issuer,
            client: PreRegisteredClient {
                id: id.clone(),
                credential: self.credential(environment)?,
                method: None,
            },
            scope: self.idp_scope.clone(),
            id_token: id_token
                .map(|source| source_of("--idp-id-token", source))
                .transpose()?,
        }))))
    }

    fn credential(&self, environment: &impl Environment) -> Result<ClientCredential, FlagError> {
        if let Some(path) = &self.idp_client_assertion_key {
            let key = signing_key("--idp-client-assertion-key", path)?;
            return Ok(ClientCredential::PrivateKey(key.into()));
        }
        let secret = secret_in(
            environment,
            (
                "--idp-client-secret-env",
                self.idp_client_secret_env.as_deref(),
            ),
            (
                "--idp-client-secret-file",
                self.idp_client_secret_file.as_deref(),
            ),
        )?;
        Ok(secret.map_or(ClientCredential::None, ClientCredential::Secret))
    }
}
