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

mod arguments;
#[path = "mod.rs"]
mod server;

use std::collections::BTreeMap;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use arguments::{Arguments, content, secret_in};
use clap::Parser;
use rmcp::model::ProtocolVersion;
use serde::Serialize;
use server::dpop::DpopPolicy;

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

/// Environment variable from which the bridge reads the secret of its client.
const BRIDGE_SECRET_VARIABLE: &str = "MCP_BRIDGE_CLIENT_SECRET";

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
    let authorities = authorities.map(content).transpose()?;
    Ok(url.map(|url| RedisPlace { url, authorities }))
}

fn client_secret() -> io::Result<Token> {
    let given = secret_in(CLIENT_SECRET_VARIABLE)?;
    Ok(given.unwrap_or_else(Token::generate))
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
