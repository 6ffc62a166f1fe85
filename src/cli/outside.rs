//! Flags about tokens that come from outside: those of workloads, and those that are exchanged.

use clap::Args;
use url::Url;

use super::error::FlagError;
use mcp_bridge_auth::{ExternalToken, Grant, SubjectToken, TokenType};

const SUBJECT_TOKEN_TYPE: &str = "--subject-token-type";

/// Flags about tokens that come from outside.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Workloads")]
pub(super) struct OutsideFlags {
    #[arg(
        help = "Sign in with this workload's own token (JWT bearer grant): file:PATH, env:NAME or command:LINE"
    )]
    #[arg(long, value_name = "SOURCE", conflicts_with_all = [
        "bearer_env", "auth_command", "device_code", "client_credentials", "subject_token"])]
    workload_token: Option<String>,

    #[arg(
        help = "Exchange this token for the server's (RFC 8693): file:PATH, env:NAME or command:LINE"
    )]
    #[arg(long, value_name = "SOURCE", conflicts_with_all = [
        "bearer_env", "auth_command", "device_code", "client_credentials"])]
    subject_token: Option<String>,

    #[arg(
        help = "What it is: access_token, id_token, jwt, saml2, or a URI [default: access_token]"
    )]
    #[arg(long, value_name = "TYPE", requires = "subject_token")]
    subject_token_type: Option<String>,

    /// The service for which it is exchanged, if the provider knows that by a name and not by its URL
    #[arg(long, value_name = "NAME", requires = "subject_token")]
    audience: Option<String>,
}

impl OutsideFlags {
    /// The grant, if one of them chooses it.
    pub(super) fn grant(&self, token_endpoint: Option<&Url>) -> Result<Option<Grant>, FlagError> {
        let token_endpoint = token_endpoint.cloned();
        if let Some(source) = &self.workload_token {
            let assertion = source_of("--workload-token", source)?;
            return Ok(Some(Grant::JwtBearer {
                token_endpoint,
                assertion,
            }));
        }
        let Some(source) = &self.subject_token else {
            return Ok(None);
        };
        Ok(Some(Grant::TokenExchange {
            token_endpoint,
            subject: SubjectToken {
                token: source_of("--subject-token", source)?,
                token_type: self.token_type()?,
            },
            audience: self.audience.clone(),
        }))
    }

    fn token_type(&self) -> Result<TokenType, FlagError> {
        let Some(name) = &self.subject_token_type else {
            return Ok(TokenType::ACCESS_TOKEN);
        };
        TokenType::parse(name).ok_or_else(|| {
            let problem =
                "is one of access_token, refresh_token, id_token, jwt, saml1, saml2, or a URI";
            FlagError::new(SUBJECT_TOKEN_TYPE, problem)
        })
    }
}

/// The source that the value of `flag` names.
pub(super) fn source_of(flag: &'static str, text: &str) -> Result<ExternalToken, FlagError> {
    ExternalToken::parse(text).map_err(|error| FlagError::new(flag, error.to_string()))
}
