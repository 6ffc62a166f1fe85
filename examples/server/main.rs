//! Command line of the example server: tools, sign-in and all, on this machine alone.
//!
//! ```sh
//! cargo run --example server
//! ```
//!
//! Read `mod.rs` to see how a server offers MCP and OAuth.

#![expect(
    clippy::disallowed_methods,
    reason = "this is no bridge: its output is for people"
)]

#[path = "mod.rs"]
mod server;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mcp_bridge_net::http::{Names, Roots};
use rmcp::model::ProtocolVersion;
use serde::Serialize;
use server::client_documents::{DocumentReach, DocumentSettings};
use server::deployment::{Deployment, Network, PublicUrl, WebOrigin};
use server::dpop::{DpopPolicy, DpopSettings, NoncePolicy};
use server::issuer::{IntrospectionClient, IssuerIdentifier, IssuerSettings};

use server::{
    Options, PRE_REGISTERED_CLIENT_ID, RESOURCE_SERVER_CLIENT_ID, RedisPlace, ResourceServer,
    Server, Token,
};
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

/// Environment variable with the secret of the one known client.
const CLIENT_SECRET_VARIABLE: &str = "EXAMPLE_CLIENT_SECRET";

/// Variable with the URL of the Redis in which replicas share their state. It may have a password in it.
const REDIS_URL_VARIABLE: &str = "EXAMPLE_REDIS_URL";

/// Variables with the credentials of the server at the issuer's introspection endpoint.
const INTROSPECTION_ID_VARIABLE: &str = "EXAMPLE_INTROSPECTION_CLIENT_ID";
const INTROSPECTION_SECRET_VARIABLE: &str = "EXAMPLE_INTROSPECTION_CLIENT_SECRET";

/// Environment variable from which the bridge reads the secret of its client.
const BRIDGE_SECRET_VARIABLE: &str = "MCP_BRIDGE_CLIENT_SECRET";

/// Time for proxies to notice that a server which is told to stop is not ready any more, if it is to drain at all. They look
/// each second or so.
const NOTICE: Duration = Duration::from_secs(3);

/// An MCP server with OAuth sign-in, offline and without accounts, to try mcp-bridge with
#[derive(Parser)]
#[command(name = "server", version)]
struct Arguments {
    /// Port on the loopback interface; 0 takes a free one
    #[arg(long, default_value_t = 3001)]
    port: u16,

    /// How long an access token is good for; a small number lets you watch the refresh
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    token_lifetime: u64,

    /// Keep registrations and hashes of tokens in this file, over restarts
    #[arg(long, value_name = "PATH")]
    state_file: Option<PathBuf>,

    /// Let no client register itself: the id and secret of the only one are printed.
    /// Its secret is that of `EXAMPLE_CLIENT_SECRET`, or made up
    #[arg(long)]
    no_registration: bool,

    /// Issue tokens for the MCP server at this URL too, such as that of `examples/resource-server`. Its
    /// settings are printed
    #[arg(long, value_name = "URL")]
    resource_server: Option<String>,

    #[command(flatten)]
    documents: DocumentArguments,

    #[command(flatten)]
    proofs: ProofArguments,

    #[command(flatten)]
    issuer: IssuerArguments,

    #[command(flatten)]
    deployment: DeploymentArguments,
}

/// For apps that describe themselves in a document whose URL is their `client_id`. Without registration there are none.
#[derive(clap::Args)]
#[command(next_help_heading = "Client ID metadata documents")]
struct DocumentArguments {
    /// Places that documents may be at
    #[arg(long, value_enum, default_value_t = DocumentReach::Public, value_name = "WHERE")]
    client_documents: DocumentReach,

    /// Trust these certificates of authorities, in PEM, at the hosts of documents, beside the system's
    #[arg(long, value_name = "PATH")]
    client_documents_ca: Option<PathBuf>,
}

impl DocumentArguments {
    fn settings(self) -> io::Result<DocumentSettings> {
        let authorities = self.client_documents_ca.map(|path| {
            let text = fs::read(&path)?;
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
struct ProofArguments {
    /// Bind tokens to the key that a client proves
    #[arg(long, value_enum, default_value_t = DpopPolicy::Auto, value_name = "WHEN")]
    dpop: DpopPolicy,

    /// Want a recent nonce of this server in each proof
    #[arg(long)]
    dpop_nonces: bool,
}

impl ProofArguments {
    fn settings(&self) -> io::Result<DpopSettings> {
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
struct IssuerArguments {
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
struct DeploymentArguments {
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
    redis_ca: Option<PathBuf>,

    /// Time for calls under way to end after SIGTERM or Ctrl-C. Requests are still taken for three seconds, in which /readyz
    /// says no
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    drain: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if error.kind() == io::ErrorKind::AddrInUse {
                eprintln!("\nhint: choose another port with --port, or a free one with --port 0");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let client_secret = arguments.no_registration.then(client_secret).transpose()?;
    let other = arguments.resource_server.map(|url| ResourceServer {
        url,
        secret: Token::generate(),
    });
    if other.is_some() && arguments.proofs.dpop == DpopPolicy::Required {
        let reason =
            "--resource-server takes no proofs of a key, so --dpop required does not go with it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let redis = redis(arguments.deployment.redis_ca.as_deref())?;
    if redis.is_some() && (other.is_some() || arguments.state_file.is_some()) {
        let reason =
            format!("{REDIS_URL_VARIABLE} goes with neither --resource-server nor --state-file");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let server = Server::start(Options {
        port: arguments.port,
        token_lifetime: Duration::from_secs(arguments.token_lifetime),
        state_file: arguments.state_file,
        client_secret: client_secret.clone(),
        resource_server: other.clone(),
        issuer: arguments.issuer.settings()?,
        redis,
        deployment: arguments.deployment.settings()?,
        dpop: arguments.proofs.settings()?,
        client_documents: arguments.documents.settings()?,
        versions: ProtocolVersion::KNOWN_VERSIONS,
        around_endpoint: None,
    })
    .await?;
    if let Some(other) = &other {
        print_resource_server(server.url().trim_end_matches("/mcp"), other)?;
    }
    print_what_to_try(server.url(), client_secret.as_ref())?;
    told_to_stop().await?;
    server.stop().await;
    Ok(())
}

impl IssuerArguments {
    fn settings(self) -> io::Result<Option<IssuerSettings>> {
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
    fn settings(self) -> io::Result<Deployment> {
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

/// Ctrl-C, or the SIGTERM with which containers are stopped.
#[cfg(unix)]
async fn told_to_stop() -> io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn told_to_stop() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// The Redis of the environment, if there is one.
fn redis(authorities: Option<&Path>) -> io::Result<Option<RedisPlace>> {
    let url = secret_in(REDIS_URL_VARIABLE)?;
    if url.is_none() && authorities.is_some() {
        let reason = format!("--redis-ca needs a Redis, by {REDIS_URL_VARIABLE}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let authorities = authorities.map(fs::read).transpose()?;
    Ok(url.map(|url| RedisPlace { url, authorities }))
}

fn client_secret() -> io::Result<Token> {
    let given = secret_in(CLIENT_SECRET_VARIABLE)?;
    Ok(given.unwrap_or_else(Token::generate))
}

/// The value of a variable, or the content of the file that the variable with `_FILE` after its name names, as containers have
/// their secrets.
fn secret_in(variable: &str) -> io::Result<Option<Token>> {
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

/// Says how to start a resource server that accepts tokens of this authorization server.
fn print_resource_server(issuer: &str, server: &ResourceServer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Settings of the resource server:")?;
    for (name, value) in [
        ("ISSUER", issuer),
        ("RESOURCE", &server.url),
        ("INTROSPECTION_CLIENT_ID", RESOURCE_SERVER_CLIENT_ID),
        ("INTROSPECTION_CLIENT_SECRET", server.secret.expose()),
    ] {
        writeln!(out, "  export {name}={value}")?;
    }
    writeln!(out)
}

/// Says where the server is, and how to reach it from a terminal and from an app.
fn print_what_to_try(url: &str, client_secret: Option<&Token>) -> io::Result<()> {
    let stdout = io::stdout();
    let (bold, plain) = if stdout.is_terminal() && env::var_os("NO_COLOR").is_none() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    let entry = AppEntry::new(url, client_secret);
    let mut out = stdout.lock();
    writeln!(out, "MCP endpoint: {bold}{url}{plain}\n")?;
    if let Some(secret) = client_secret {
        writeln!(out, "Clients cannot register here. The one that is known:")?;
        writeln!(out, "  client id      {PRE_REGISTERED_CLIENT_ID}")?;
        writeln!(out, "  client secret  {}\n", secret.expose())?;
    }
    writeln!(
        out,
        "Try it in a terminal:\n  {bold}{}{plain}\n",
        entry.shell_command()
    )?;
    writeln!(
        out,
        "Or in Cursor (~/.cursor/mcp.json) or Claude Desktop (claude_desktop_config.json):"
    )?;
    let config = BTreeMap::from([("mcpServers", BTreeMap::from([("example", entry)]))]);
    writeln!(out, "{}\n", serde_json::to_string_pretty(&config)?)?;
    writeln!(out, "Ctrl-C stops the server.")?;
    out.flush()
}

/// Entry of a server in an app's configuration, in the order in which people write it.
#[derive(Serialize)]
struct AppEntry<'a> {
    command: &'static str,
    args: Vec<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'static str, &'a str>,
}

impl<'a> AppEntry<'a> {
    fn new(url: &'a str, client_secret: Option<&'a Token>) -> Self {
        let mut entry = Self {
            command: "mcp-bridge",
            args: vec![url],
            env: BTreeMap::new(),
        };
        if let Some(secret) = client_secret {
            entry.args.extend(["--client-id", PRE_REGISTERED_CLIENT_ID]);
            entry.env.insert(BRIDGE_SECRET_VARIABLE, secret.expose());
        }
        entry
    }

    fn shell_command(&self) -> String {
        let variables = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value} "));
        format!(
            "{}{} {}",
            variables.collect::<String>(),
            self.command,
            self.args.join(" ")
        )
    }
}
