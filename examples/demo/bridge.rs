//! The bridge as a child process, as Cursor or Claude Desktop would start it.

use std::cell::Cell;
use std::env;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;

use mcp_bridge_net::http;
use rmcp::transport::TokioChildProcess;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStderr, Command};
use url::Url;

use super::browser::{self, SignInError};
use super::terminal::Terminal;

/// The demo connects when the person has signed in, however long that takes.
pub(crate) const WAIT: &str = "--wait-for-auth";

/// With this as its first argument, the demo is the bridge.
///
/// `cargo run --example demo` builds the library and the demo, but not the program `mcp-bridge`. So
/// the demo starts itself a second time, and what runs then is the library's `main`.
pub(crate) const ARGUMENT: &str = "bridge";

/// The user that signs in when nobody is there to choose.
const USER: &str = "ada";

/// Person or program that approves on the sign-in page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approval {
    /// The person, in the browser that the bridge opens.
    Person,
    /// The demo, without a browser (`--yes`).
    Demo,
}

/// Record of whether the run needed a sign-in.
#[derive(Default)]
pub(crate) struct SignIn(Cell<bool>);

impl SignIn {
    /// Returns whether the bridge asked for one.
    pub(crate) fn happened(&self) -> bool {
        self.0.get()
    }
}

/// The arguments with which the demo was called to be the bridge, as the bridge wants them.
pub(crate) fn arguments() -> Option<impl Iterator<Item = OsString>> {
    let mut arguments = env::args_os().skip(1);
    let program = OsString::from("mcp-bridge");
    (arguments.next()? == ARGUMENT).then(|| std::iter::once(program).chain(arguments))
}

/// Starts the bridge for `url` with its credentials in `directory`. Its stdin and stdout are the
/// transport; what it tells people comes on stderr.
pub(crate) fn start(
    url: &str,
    directory: &Path,
    approval: Approval,
) -> io::Result<(TokioChildProcess, ChildStderr)> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(ARGUMENT)
        .arg(url)
        // The demo has nothing to do meanwhile; an app would rather be answered at once.
        .arg(WAIT)
        .env("MCP_BRIDGE_DIR", directory);
    if approval == Approval::Demo {
        command.arg("--no-browser");
    }
    // However the demo ends, the bridge does not outlive it.
    command.kill_on_drop(true);
    let (transport, stderr) = TokioChildProcess::builder(command)
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = stderr.ok_or_else(|| io::Error::other("the bridge has no stderr"))?;
    Ok((transport, stderr))
}

/// Shows what the bridge says until it ends, and sees to the sign-in when it asks for one.
pub(crate) async fn follow(
    stderr: ChildStderr,
    approval: Approval,
    terminal: &Terminal,
    sign_in: &SignIn,
) -> Result<(), FollowError> {
    let mut lines = BufReader::new(stderr).lines();
    let mut last_address = None;
    while let Some(line) = lines.next_line().await? {
        terminal.bridge(&line);
        let Some(address) = sign_in_address(&line) else {
            continue;
        };
        // The bridge may say it again; the page can be answered once.
        if last_address.as_ref() == Some(&address) {
            continue;
        }
        sign_in.0.set(true);
        match approval {
            Approval::Person => terminal.notice("Your turn: sign in in the browser."),
            Approval::Demo => approve(&address, terminal).await?,
        }
        last_address = Some(address);
    }
    Ok(())
}

/// Reasons that the bridge can no longer be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// Its stderr cannot be read.
    #[error("cannot read what the bridge says")]
    Io(#[from] io::Error),
    /// The demo could not sign in.
    #[error("cannot sign in without a browser")]
    SignIn(#[from] SignInError),
}

/// The bridge prints the address of the sign-in page on a line of its own.
fn sign_in_address(line: &str) -> Option<Url> {
    let url = Url::parse(line.trim()).ok()?;
    let asks_for_code = url.query_pairs().any(|(name, _)| name == "response_type");
    asks_for_code.then_some(url)
}

/// Does what a person and their browser would do.
async fn approve(address: &Url, terminal: &Terminal) -> Result<(), SignInError> {
    terminal.detail(format_args!(
        "--yes: signing in as {USER} and pressing Allow"
    ));
    let callback = browser::sign_in(address.as_str(), USER, "allow").await?;
    let client = http::Options::default().client(&callback)?;
    let page = client.get(callback).send().await?;
    terminal.success(&format!(
        "the bridge took the answer (HTTP status {})",
        page.status()
    ));
    Ok(())
}
