//! Opening the sign-in page.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use url::Url;

use super::authorization::check_endpoint;
use super::config::Browser;
use super::error::AuthError;

/// Opens `url`, or says why that did not work. That it worked is not certain even then: a launcher can't
/// see the screen. So the URL is printed in any case.
pub(super) async fn open(browser: &Browser, url: &Url) -> Result<(), String> {
    check_endpoint(url).map_err(|error: AuthError| error.to_string())?;
    let target = url.to_string();
    let launched = match browser.clone() {
        Browser::None => return Ok(()),
        Browser::System => tokio::task::spawn_blocking(move || open::that_detached(target)).await,
        Browser::Command(programs) => {
            tokio::task::spawn_blocking(move || launch_first(&programs, &target)).await
        }
    };
    match launched {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("interrupted".into()),
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
