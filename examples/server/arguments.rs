//! Arguments of the command line, and their conversion into settings of the server.

use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use mcp_bridge_net::http::{Names, Roots};

use crate::server::Token;
use crate::server::client_documents::{DocumentReach, DocumentSettings};
use crate::server::deployment::{Deployment, Network, PublicUrl, WebOrigin};
use crate::server::dpop::{DpopPolicy, DpopSettings, NoncePolicy};
use crate::server::issuer::{IntrospectionClient, IssuerIdentifier, IssuerSettings};

/// Variables with the credentials of the server at the issuer's introspection endpoint.
const INTROSPECTION_ID_VARIABLE: &str = "EXAMPLE_INTROSPECTION_CLIENT_ID";
const INTROSPECTION_SECRET_VARIABLE: &str = "EXAMPLE_INTROSPECTION_CLIENT_SECRET";

/// Time for proxies to notice that a server which is told to stop is not ready any more, if it is to drain at all. They look
/// each second or so.
const NOTICE: Duration = Duration::from_secs(3);

/// An MCP server with OAuth sign-in, offline and without accounts, to try mcp-bridge with
#[derive(Parser)]
#[command(name = "server", version)]
pub(crate) struct Arguments {
    /// Port on the loopback interface; 0 takes a free one
    #[arg(long, default_value_t = 3001)]
    pub(crate) port: u16,

    /// Lifetime of an access token; a small number lets you watch the refresh
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub(crate) token_lifetime: u64,

    /// Keep registrations and hashes of tokens in this file, over restarts
    #[arg(long, value_name = "PATH")]
    pub(crate) state_file: Option<PathBuf>,

    /// Let no client register itself: the id and secret of the only one are printed.
    /// Its secret is that of `EXAMPLE_CLIENT_SECRET`, or made up
    #[arg(long)]
    pub(crate) no_registration: bool,

    /// Issue tokens for the MCP server at this URL too, such as that of `examples/resource-server`. Its
    /// settings are printed
    #[arg(long, value_name = "URL")]
    pub(crate) resource_server: Option<String>,

    #[command(flatten)]
    pub(crate) documents: DocumentArguments,

    #[command(flatten)]
    pub(crate) proofs: ProofArguments,

    #[command(flatten)]
    pub(crate) issuer: IssuerArguments,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArguments,
}

/// For apps that describe themselves in a document whose URL is their `client_id`. Without registration there are none.
#[derive(clap::Args)]
#[command(next_help_heading = "Client ID metadata documents")]
pub(crate) struct DocumentArguments {
    /// Places that documents may be at
    #[arg(long, value_enum, default_value_t = DocumentReach::Public, value_name = "WHERE")]
    client_documents: DocumentReach,

    /// Trust these certificates of authorities, in PEM, at the hosts of documents, beside the system's
    #[arg(long, value_name = "PATH")]
    client_documents_ca: Option<PathBuf>,
}

impl DocumentArguments {
    pub(crate) fn settings(self) -> io::Result<DocumentSettings> {
        let authorities = self.client_documents_ca.map(|path| {
            let text = content(&path)?;
            Roots::from_pem(text).map_err(|error| {
                let reason = format!("{} is no file of certificates: {error}", path.display());
                io::Error::new(io::ErrorKind::InvalidInput, reason)
            })
        });
        Ok(DocumentSettings {
            reach: self.client_documents,
            authorities: authorities.transpose()?.into_iter().collect(),
            names: Names::of_system(),
        })
    }
}

/// For tokens that are bound to a key of the client, so that a stolen one is of no use.
#[derive(clap::Args)]
#[command(next_help_heading = "Tokens bound to a key (DPoP)")]
pub(crate) struct ProofArguments {
    /// Bind tokens to the key that a client proves
    #[arg(long, value_enum, default_value_t = DpopPolicy::Auto, value_name = "WHEN")]
    pub(crate) dpop: DpopPolicy,

    /// Want a recent nonce of this server in each proof
    #[arg(long)]
    dpop_nonces: bool,
}

impl ProofArguments {
    pub(crate) fn settings(&self) -> io::Result<DpopSettings> {
        if self.dpop_nonces && self.dpop == DpopPolicy::Off {
            let reason = "--dpop-nonces goes with --dpop auto or required";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let nonces = if self.dpop_nonces {
            NoncePolicy::Needed
        } else {
            NoncePolicy::Unused
        };
        Ok(DpopSettings {
            policy: self.dpop,
            nonces,
        })
    }
}

/// For tokens of an identity provider, instead of the server's own. They are JWTs, or introspected with the credentials in
/// `EXAMPLE_INTROSPECTION_CLIENT_ID` and `EXAMPLE_INTROSPECTION_CLIENT_SECRET`.
#[derive(clap::Args)]
#[command(next_help_heading = "Identity provider")]
pub(crate) struct IssuerArguments {
    /// Take access tokens of this authorization server, and issue none. The URL is as in its metadata
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["token_lifetime", "state_file", "no_registration", "resource_server"]
    )]
    issuer: Option<IssuerIdentifier>,

    /// Name of this server in the `aud` of tokens, if it is not the URL of the MCP endpoint; repeatable
    #[arg(long, value_name = "NAME", requires = "issuer")]
    audience: Vec<String>,

    /// A scope that every request needs, as tokens write it; repeatable
    #[arg(long, value_name = "SCOPE", requires = "issuer")]
    required_scope: Vec<String>,

    /// Text that clients have to write before the name of a scope, such as `api://mcp/`
    #[arg(long, value_name = "TEXT", requires = "issuer", default_value = "")]
    scope_prefix: String,
}

/// For a server that others reach. Replicas share their state in the Redis of `EXAMPLE_REDIS_URL`. Each variable with a secret
/// may have `_FILE` after its name, and then names a file.
#[derive(clap::Args)]
#[command(next_help_heading = "Deployment")]
pub(crate) struct DeploymentArguments {
    /// Listen at this address instead of loopback
    #[arg(long, value_name = "IP:PORT", conflicts_with = "port")]
    bind: Option<SocketAddr>,

    /// The URL under which clients know the server: https, without a path. Other hosts are refused
    #[arg(long, value_name = "URL")]
    public_url: Option<PublicUrl>,

    /// Believe X-Forwarded-For and X-Forwarded-Host of a proxy at this address, or in this network; repeatable
    #[arg(long, value_name = "IP[/BITS]")]
    trusted_proxy: Vec<Network>,

    /// Let web pages of this origin use the server (CORS); repeatable
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<WebOrigin>,

    /// Most requests of one address in a minute, for registration and for tokens each; 0 for no limit
    #[arg(long, value_name = "REQUESTS", default_value_t = 120)]
    rate_limit: u32,

    /// Trust these certificates of authorities, in PEM, at a Redis whose URL begins with rediss:, instead of the system's
    #[arg(long, value_name = "PATH")]
    pub(crate) redis_ca: Option<PathBuf>,

    /// Time for calls under way to end after SIGTERM or Ctrl-C. Requests are still taken for three seconds, in which /readyz
    /// says no
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    drain: u64,
}

impl IssuerArguments {
    pub(crate) fn settings(self) -> io::Result<Option<IssuerSettings>> {
        let Some(identifier) = self.issuer else {
            return Ok(None);
        };
        let id = env::var(INTROSPECTION_ID_VARIABLE).ok();
        let id = id.filter(|id| !id.is_empty());
        let introspection_client = match (id, secret_in(INTROSPECTION_SECRET_VARIABLE)?) {
            (Some(id), Some(secret)) => Some(IntrospectionClient { id, secret }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let reason = format!(
                    "{INTROSPECTION_ID_VARIABLE} and {INTROSPECTION_SECRET_VARIABLE} go together"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
        };
        Ok(Some(IssuerSettings {
            identifier,
            audiences: self.audience,
            required_scopes: self.required_scope,
            scope_prefix: self.scope_prefix,
            introspection_client,
        }))
    }
}

impl DeploymentArguments {
    pub(crate) fn settings(self) -> io::Result<Deployment> {
        let is_reachable = self.bind.is_some_and(|address| !address.ip().is_loopback());
        if is_reachable && self.public_url.is_none() {
            let reason =
                "--bind lets others in, so it needs --public-url, under which they know the server";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(Deployment {
            bind: self.bind,
            public_url: self.public_url,
            trusted_proxies: self.trusted_proxy,
            allowed_origins: self.allow_origin,
            rate_limit: NonZeroU32::new(self.rate_limit),
            notice: NOTICE.min(Duration::from_secs(self.drain)),
            drain: Duration::from_secs(self.drain),
        })
    }
}

/// The content of a file. Its name is in the error.
pub(crate) fn content(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let reason = format!("cannot read {}: {error}", path.display());
        io::Error::new(error.kind(), reason)
    })
}

/// The value of a variable, or the content of the file that the variable with `_FILE` after its name names, as containers have
/// their secrets.
pub(crate) fn secret_in(variable: &str) -> io::Result<Option<Token>> {
    let given = match env::var_os(format!("{variable}_FILE")) {
        Some(path) => fs::read_to_string(&path).map(|text| text.trim_end().to_owned()),
        None => Ok(env::var(variable).unwrap_or_default()),
    };
    let given = given.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot read {variable}_FILE: {error}"),
        )
    })?;
    Ok(Some(given).filter(|it| !it.is_empty()).map(Token::from))
}
