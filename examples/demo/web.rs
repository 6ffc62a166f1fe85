//! Inspector on the example server (`--web`): the person signs in and calls tools in the browser.

use std::env;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::bridge::ARGUMENT;
use super::server::{PRE_REGISTERED_CLIENT_ID, Server, Token};
use super::terminal::Terminal;

/// The variable from which the bridge reads the secret of its client.
const BRIDGE_SECRET_VARIABLE: &str = "MCP_BRIDGE_CLIENT_SECRET";

/// Time in which the inspector ends its session after Ctrl-C, which a terminal sends to it as well.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// Runs `mcp-bridge inspect` until the person ends it. `secret` is that of the one client of a server where clients
/// cannot register.
pub(crate) async fn inspect(
    server: &Server,
    secret: Option<&Token>,
    directory: &Path,
    terminal: &Terminal,
) -> Result<(), Box<dyn Error>> {
    terminal.step("Open the inspector");
    let mut arguments = vec!["inspect", server.url()];
    if secret.is_some() {
        arguments.extend(["--client-id", PRE_REGISTERED_CLIENT_ID]);
    }
    terminal.value(
        "command",
        format_args!("mcp-bridge {}", arguments.join(" ")),
    );
    terminal.value("client", client(secret.is_some()));
    terminal
        .detail("Two pages open in your browser. Sign in on the one of the example server; then");
    terminal.detail("choose \"Tools\" on the other, and call get-user-data. Ctrl-C ends the demo.");
    terminal.detail("");
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(ARGUMENT)
        .args(arguments)
        .env("MCP_BRIDGE_DIR", directory.join("bridge"))
        .kill_on_drop(true);
    if let Some(secret) = secret {
        command.env(BRIDGE_SECRET_VARIABLE, secret.expose());
    }
    wait(command.spawn()?).await
}

fn client(is_known: bool) -> &'static str {
    if is_known {
        "known to the server, with a secret"
    } else {
        "registers itself"
    }
}

async fn wait(mut inspector: Child) -> Result<(), Box<dyn Error>> {
    let status = tokio::select! {
        status = inspector.wait() => status?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            // Later than that, it is killed when it is dropped.
            let _ = tokio::time::timeout(LEAVE_LIMIT, inspector.wait()).await;
            return Ok(());
        }
    };
    if status.success() {
        return Ok(());
    }
    Err(format!("the inspector has failed: {status}").into())
}
