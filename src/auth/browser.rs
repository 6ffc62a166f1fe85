//! Opening the sign-in page.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use super::authorization::check_endpoint;
use super::config::Browser;

/// How long a launcher may take to start. What it starts is not waited for.
const LAUNCH_LIMIT: Duration = Duration::from_secs(2);

/// What became of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// A program has it. Whether that shows it is not known: a launcher cannot see the screen.
    Sent,
    /// The user does not want one to be started.
    NotWanted,
    /// No program could be started.
    Failed,
}

/// Sends a browser to `url`. It is printed in any case.
pub(super) async fn open(browser: &Browser, url: &Url) -> Opened {
    if let Err(error) = check_endpoint(url) {
        tracing::debug!(%error, "no browser is sent there");
        return Opened::Failed;
    }
    let target = url.to_string();
    let launch = match browser.clone() {
        Browser::None => return Opened::NotWanted,
        Browser::System => tokio::task::spawn_blocking(move || open::that_detached(target)),
        Browser::Command(programs) => {
            tokio::task::spawn_blocking(move || launch_first(&programs, &target))
        }
    };
    match timeout(LAUNCH_LIMIT, launch).await {
        // A launcher that takes its time may still succeed.
        Ok(Ok(Ok(()))) | Err(_) => Opened::Sent,
        Ok(Ok(Err(error))) => {
            tracing::debug!(%error, "no browser could be started");
            Opened::Failed
        }
        Ok(Err(_)) => Opened::Failed,
    }
}

fn launch_first(programs: &[impl AsRef<Path>], target: &str) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for program in programs {
        match launch(program.as_ref().as_os_str(), target) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The URL is one argument, no shell in between. Our stdout carries the protocol and our stderr is read by
/// the app, so the browser gets neither.
fn launch(program: &OsStr, target: &str) -> io::Result<()> {
    let mut command = Command::new(program);
    command
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    outlive_our_group(&mut command);
    let mut child = command.spawn()?;
    // A browser may run for days; somebody has to take note of its end. The thread ends with us.
    std::thread::Builder::new()
        .name("browser".into())
        .spawn(move || child.wait())?;
    Ok(())
}

/// Apps end the process group of the bridge, and the browser is not theirs to end. [`open::that_detached`] sees to
/// that by itself.
fn outlive_our_group(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(windows)]
    {
        /// Of the Windows API, "Process Creation Flags".
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
        std::os::windows::process::CommandExt::creation_flags(command, CREATE_NEW_PROCESS_GROUP);
    }
}
