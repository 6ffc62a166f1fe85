//! The whole way in one command: an app, the bridge, and a server that wants a sign-in.
//!
//! ```sh
//! cargo run --example demo            # opens your browser
//! cargo run --example demo -- --yes   # signs in by itself
//! ```
//!
//! ```text
//!  rmcp's client ── stdio ──▶ mcp-bridge ── HTTP ──▶ example server
//!  (this process)             (a child)              (this process)
//! ```

mod bridge;
mod browser;
#[path = "../server/mod.rs"]
mod server;
mod terminal;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io};

use bridge::{Approval, SignIn};
use clap::Parser;
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use serde_json::Value;
use server::{Options, Server};
use terminal::Terminal;

/// How long an access token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// How long everything may take if a person has to sign in.
const PERSON_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long everything may take if nobody has to do anything; on a slow machine it is seconds.
const UNATTENDED_LIMIT: Duration = Duration::from_secs(60);

/// Exit status after Ctrl-C: 128 and the number of the signal, as shells have it.
const INTERRUPTED: u8 = 130;

/// Shows mcp-bridge at work: starts a server that wants a sign-in, and calls its tools through the
/// bridge
#[derive(Parser)]
#[command(name = "demo", version)]
struct Arguments {
    /// Sign in without a browser
    #[arg(long)]
    yes: bool,

    /// Forget the sign-in of earlier runs
    #[arg(long)]
    fresh: bool,

    /// Port of the example server; if it is taken, a free one is used
    #[arg(long, default_value_t = 3001)]
    port: u16,
}

/// How the demo came to its end.
enum End {
    Done,
    /// The person pressed Ctrl-C.
    Interrupted,
}

fn main() -> ExitCode {
    if let Some(arguments) = bridge::arguments() {
        return mcp_bridge::main(arguments);
    }
    let arguments = Arguments::parse();
    let terminal = Terminal::new();
    match play(&arguments, &terminal) {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            report(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn play(arguments: &Arguments, terminal: &Terminal) -> Result<End, Box<dyn Error>> {
    let directory = directory(arguments)?;
    terminal.step("Start the example server");
    let server = start_server(arguments.port, &directory, terminal).await?;
    terminal.value("MCP endpoint", server.url());

    let (approval, limit) = if arguments.yes {
        (Approval::Demo, UNATTENDED_LIMIT)
    } else {
        (Approval::Person, PERSON_LIMIT)
    };
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(limit, visit(&server, approval, &directory, terminal)) => {
            outcome.unwrap_or_else(|_| Err(format!("not done after {limit:?}").into()))
        }
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.map(|()| End::Interrupted).map_err(Into::into)
        }
    };
    server.stop().await;
    outcome
}

/// Everything that happens while the server is there.
async fn visit(
    server: &Server,
    approval: Approval,
    directory: &Path,
    terminal: &Terminal,
) -> Result<End, Box<dyn Error>> {
    terminal.step("Start the bridge, as an app would");
    terminal.value("command", format_args!("mcp-bridge {}", server.url()));
    let credentials = directory.join("bridge");
    terminal.value("credentials in", credentials.display());
    let (transport, stderr) = bridge::start(server.url(), &credentials, approval)?;

    let sign_in = SignIn::default();
    let follow = async {
        bridge::follow(stderr, approval, terminal, &sign_in)
            .await
            .map_err(Box::<dyn Error>::from)
    };
    // The bridge's stderr ends when the conversation has ended and the bridge with it.
    tokio::try_join!(converse(transport, terminal), follow)?;

    terminal.step("Done");
    if sign_in.happened() {
        terminal.success("signed in, once: run the demo again and it needs no sign-in");
    } else {
        terminal.success("no sign-in was needed: the bridge remembered the last one");
    }
    terminal.detail("With --fresh the demo starts over.");
    terminal.detail("For your own app see cursor-config.json and claude-config.json.");
    Ok(End::Done)
}

/// What the app does: it speaks MCP over the bridge's stdin and stdout, and knows nothing of OAuth.
async fn converse(transport: TokioChildProcess, terminal: &Terminal) -> Result<(), Box<dyn Error>> {
    terminal.step("Connect");
    let client = ().serve(transport).await?;
    if let Some(peer) = client.peer_info() {
        let name = peer
            .server_info
            .as_ref()
            .map_or("?", |server| server.name.as_str());
        terminal.value("server", name);
        terminal.value("protocol", &peer.protocol_version);
    }

    terminal.step("List the tools");
    for tool in client.list_all_tools().await? {
        terminal.value(&tool.name, tool.description.as_deref().unwrap_or_default());
    }

    terminal.step("Call get-user-data");
    let result = client
        .call_tool(CallToolRequestParams::new("get-user-data"))
        .await?;
    let data = result
        .structured_content
        .ok_or("get-user-data returned no data")?;
    for (name, value) in data.as_object().into_iter().flatten() {
        terminal.value(name, plain(value));
    }
    client.cancel().await?;
    Ok(())
}

/// A value as a person would write it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Starts the server at `port`, so that the bridge finds it again in the next run.
async fn start_server(port: u16, directory: &Path, terminal: &Terminal) -> io::Result<Server> {
    let options = |port| Options {
        port,
        token_lifetime: TOKEN_LIFETIME,
        state_file: Some(directory.join("server.json")),
        client_secret: None,
    };
    match Server::start(options(port)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            terminal.notice(&format!(
                "Port {port} is taken, so a free one must do this time."
            ));
            Server::start(options(0)).await
        }
        outcome => outcome,
    }
}

/// Where server and bridge keep their state between two runs: beside the build, as
/// `target/demo`, found from this program's place `target/debug/examples/demo`.
fn directory(arguments: &Arguments) -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.ancestors().nth(3).unwrap_or(Path::new("."));
    let directory = target.join("demo");
    if arguments.fresh && directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn report(error: &dyn Error) {
    eprintln!("\nerror: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
}
