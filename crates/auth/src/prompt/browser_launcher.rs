//! Browser launcher for sign-in pages.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use crate::config::Browser;
use crate::desktop;
use crate::executable;
use crate::grant::authorization::check_endpoint;
use crate::sign_in_page::BrowserPlace;
use mcp_bridge_net::descriptors::{retry_blocking, with_original_limit};

/// Longest time that a launcher may take to start. What it starts is not waited for.
const LAUNCH_LIMIT: Duration = Duration::from_secs(2);

/// Time within which a launcher that cannot do it ends with an error. One that runs on has the page.
const FAILURE_LIMIT: Duration = Duration::from_millis(250);

/// Outcome of showing the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrowserLaunch {
    /// A program has it. Whether that shows it is not known: a launcher cannot see the screen.
    Sent,
    /// The user does not want one to be started.
    NotWanted,
    /// One was sent there earlier.
    Before,
    /// No program could be started.
    Failed,
}

/// Sends a browser to `url`, which belongs on the screen of this machine if it has the person's browser. It is printed
/// in any case.
pub(crate) async fn open(browser: &Browser, url: &Url, place: BrowserPlace) -> BrowserLaunch {
    if let Err(error) = check_endpoint(url) {
        tracing::debug!(%error, "no browser is sent there");
        return BrowserLaunch::Failed;
    }
    let target = url.to_string();
    let launch = match browser.clone() {
        Browser::None => return BrowserLaunch::NotWanted,
        Browser::System => tokio::task::spawn_blocking(move || launch_system(&target, place)),
        Browser::Command(programs) => {
            tokio::task::spawn_blocking(move || launch_first(&programs, &target, place))
        }
    };
    match timeout(LAUNCH_LIMIT, launch).await {
        // A launcher that takes its time may still succeed.
        Ok(Ok(Ok(()))) | Err(_) => BrowserLaunch::Sent,
        Ok(Ok(Err(error))) => {
            tracing::debug!(%error, "no browser could be started");
            BrowserLaunch::Failed
        }
        Ok(Err(_)) => BrowserLaunch::Failed,
    }
}

/// Sends the person's browser to a page of this machine that is no sign-in. Returns whether a program has it.
pub async fn open_page(browser: &Browser, address: &str) -> bool {
    let Ok(url) = Url::parse(address) else {
        return false;
    };
    let opened = open(browser, &url, BrowserPlace::Here).await;
    opened == BrowserLaunch::Sent
}

/// Starts the system's launcher, with what it needs and this process lacks.
fn launch_system(target: &str, place: BrowserPlace) -> io::Result<()> {
    let variables = desktop_variables(place);
    if !desktop::has_screen(&variables) {
        return Err(io::Error::other("there is no screen"));
    }
    if variables.is_empty() {
        return with_original_limit(|| open::that_detached(target));
    }
    first_that_starts(open::commands(target), &variables)
}

fn launch_first(programs: &[PathBuf], target: &str, place: BrowserPlace) -> io::Result<()> {
    // The URL is one argument, no shell in between.
    let commands = programs.iter().map(|program| {
        let mut command = Command::new(executable::find(program));
        command.arg(target);
        command
    });
    first_that_starts(commands, &desktop_variables(place))
}

/// Parts that a browser on the screen of this machine needs.
fn desktop_variables(place: BrowserPlace) -> Vec<(&'static str, OsString)> {
    match place {
        BrowserPlace::Here => desktop::missing_variables(),
        BrowserPlace::Elsewhere => Vec::new(),
    }
}

fn first_that_starts(
    commands: impl IntoIterator<Item = Command>,
    variables: &[(&'static str, OsString)],
) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for mut command in commands {
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        match launch(command) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Our stdout carries the protocol and our stderr is read by the app, so the browser gets neither.
fn launch(mut command: Command) -> io::Result<()> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    outlive_our_group(&mut command);
    let mut child = retry_blocking(|| with_original_limit(|| command.spawn()))?;
    let (ended, failed) = mpsc::channel();
    // A browser may run for days; somebody has to take note of its end. The thread ends with us.
    std::thread::Builder::new()
        .name("browser".into())
        .spawn(move || {
            let status = child.wait();
            let _ = ended.send(status.is_ok_and(|status| !status.success()));
        })?;
    match failed.recv_timeout(FAILURE_LIMIT) {
        Ok(true) => Err(io::Error::other("it ended with an error at once")),
        Ok(false) | Err(_) => Ok(()),
    }
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
