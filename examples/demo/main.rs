//! The whole way in one command: an app, the bridge, and a server that wants a sign-in.
//!
//! ```sh
//! cargo run --example demo                   # opens your browser
//! cargo run --example demo -- --yes          # signs in by itself
//! cargo run --example demo -- --era modern   # with a server that has no `initialize` any more
//! cargo run --example demo -- --web          # in the browser: the sign-in step by step, and the tools
//! cargo run --example demo -- --server URL   # with an example server that runs already
//! ```
//!
//! ```text
//!  rmcp's client ── stdio ──▶ mcp-bridge ── HTTP ──▶ example server
//!  (this process)             (a child)              (this process)
//! ```

mod app;
mod bridge;
mod browser;
mod era;
mod message;
#[path = "../server/mod.rs"]
mod server;
mod terminal;
mod web;
mod witness;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io};

use bridge::{Approval, SignIn};
use clap::Parser;
use era::Eras;
use server::client_documents::DocumentSettings;
use server::deployment::Deployment;
use server::dpop::DpopSettings;
use server::{Options, Server, Token};
use terminal::Terminal;
use tokio::sync::mpsc;
use witness::{Heard, Witness};

/// Lifetime of an access token.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Limit for the whole run if a person has to sign in.
const PERSON_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Limit for the whole run without a person; on a slow machine it takes seconds.
const UNATTENDED_LIMIT: Duration = Duration::from_secs(60);

/// Exit status after Ctrl-C: 128 and the number of the signal, as shells have it.
const INTERRUPTED: u8 = 130;

/// Shows mcp-bridge at work: starts a server that wants a sign-in, and calls its tools through the
/// bridge
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(name = "demo", version)]
struct Arguments {
    /// Sign in without a browser
    #[arg(long)]
    yes: bool,

    /// Show it in the browser: the inspector on the example server
    #[arg(long, conflicts_with = "yes")]
    web: bool,

    /// Let no client register itself: the inspector is the one that the server knows
    #[arg(long, requires = "web")]
    no_registration: bool,

    /// MCP versions of the server: up to 2025-11-25, from 2026-07-28 on, or all
    #[arg(long, value_enum, default_value_t = Eras::Dual)]
    era: Eras,

    /// Forget the sign-in of earlier runs
    #[arg(long)]
    fresh: bool,

    /// Port of the example server; if it is taken, a free one is used
    #[arg(long, default_value_t = 3001)]
    port: u16,

    /// Start no server: use the example server at this URL, such as one that is deployed
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["web", "no_registration", "era", "port"]
    )]
    server: Option<String>,
}

/// Ends of the demo.
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
    let terminal = Arc::new(Terminal::new());
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
async fn play(arguments: &Arguments, terminal: &Arc<Terminal>) -> Result<End, Box<dyn Error>> {
    let directory = directory(arguments)?;
    let (witness, mut heard) = mpsc::unbounded_channel();
    if let Some(url) = &arguments.server {
        // Nobody tells what reaches that server.
        drop(witness);
        terminal.step("Use a server that runs already");
        terminal.value("MCP endpoint", url);
        return visit_in_time(arguments, url, &mut heard, &directory, terminal).await;
    }
    terminal.step("Start the example server");
    let secret = arguments.no_registration.then(Token::generate);
    let server = start_server(arguments, secret.clone(), witness, &directory, terminal).await?;
    terminal.value("MCP endpoint", server.url());
    terminal.value("MCP versions", versions(arguments.era));

    if arguments.web {
        drop(heard);
        let shown = web::inspect(&server, secret.as_ref(), &directory, terminal).await;
        server.stop().await;
        return shown.map(|()| End::Done);
    }
    let outcome = visit_in_time(arguments, server.url(), &mut heard, &directory, terminal).await;
    server.stop().await;
    outcome
}

/// The visit, until it is over, takes too long, or is interrupted.
async fn visit_in_time(
    arguments: &Arguments,
    url: &str,
    heard: &mut mpsc::UnboundedReceiver<Heard>,
    directory: &Path,
    terminal: &Arc<Terminal>,
) -> Result<End, Box<dyn Error>> {
    let (approval, limit) = if arguments.yes {
        (Approval::Demo, UNATTENDED_LIMIT)
    } else {
        (Approval::Person, PERSON_LIMIT)
    };
    tokio::select! {
        outcome = tokio::time::timeout(limit, visit(url, heard, approval, directory, terminal)) => {
            outcome.unwrap_or_else(|_| Err(format!("not done after {limit:?}").into()))
        }
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.map(|()| End::Interrupted).map_err(Into::into)
        }
    }
}

/// Everything that happens while the server is there.
async fn visit(
    url: &str,
    heard: &mut mpsc::UnboundedReceiver<Heard>,
    approval: Approval,
    directory: &Path,
    terminal: &Arc<Terminal>,
) -> Result<End, Box<dyn Error>> {
    terminal.step("Start the bridge, as an app would");
    terminal.value("command", format_args!("mcp-bridge {url} {}", bridge::WAIT));
    let credentials = directory.join("bridge");
    terminal.value("credentials in", credentials.display());
    let (transport, stderr) = bridge::start(url, &credentials, approval)?;

    let sign_in = SignIn::default();
    let follow = async {
        bridge::follow(stderr, approval, terminal, &sign_in)
            .await
            .map_err(Box::<dyn Error>::from)
    };
    let witness = Witness::new();
    // The bridge's stderr ends when the conversation has ended and the bridge with it.
    tokio::select! {
        outcome = async { tokio::try_join!(app::converse(transport, terminal), follow) } => {
            outcome?;
        }
        never = witness.listen(heard, terminal) => match never {},
    }

    if witness.has_heard_anything() {
        terminal.step("What the bridge translated");
        witness.summary(terminal);
    }

    terminal.step("Done");
    if sign_in.happened() {
        terminal.success("signed in: run the demo again and it needs no sign-in");
    } else {
        terminal.success("no sign-in was needed: the bridge remembered the last one");
    }
    terminal.detail("With --fresh the demo starts over.");
    terminal.detail("For your own app see cursor-config.json and claude-config.json.");
    Ok(End::Done)
}

/// The versions, as a person would list them.
fn versions(eras: Eras) -> String {
    let versions: Vec<_> = eras.versions().iter().map(ToString::to_string).collect();
    versions.join(", ")
}

/// Starts the server at the same port each time, so that the bridge finds it again in the next run.
async fn start_server(
    arguments: &Arguments,
    client_secret: Option<Token>,
    witness: mpsc::UnboundedSender<Heard>,
    directory: &Path,
    terminal: &Terminal,
) -> io::Result<Server> {
    let port = arguments.port;
    let plain = |port| Options {
        port,
        token_lifetime: TOKEN_LIFETIME,
        state_file: Some(directory.join("server.json")),
        client_secret: client_secret.clone(),
        resource_server: None,
        issuer: None,
        redis: None,
        deployment: Deployment::default(),
        dpop: DpopSettings::default(),
        client_documents: DocumentSettings::default(),
        versions: arguments.era.versions(),
        around_endpoint: None,
    };
    let options = |port| witness::watched(arguments.era.restrict(plain(port)), witness.clone());
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

/// Directory of the server's and the bridge's state between two runs: beside the build, as
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
