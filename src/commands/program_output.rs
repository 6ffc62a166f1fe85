//! Output of another program, bounded in time and size.

use std::ffi::OsStr;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Bytes that are read of the output. An environment has a few kilobytes.
const LONGEST_OUTPUT: u64 = 256 << 10;

/// Output of a program on stdout, if it ends within the limit. The program does not run on.
pub(super) fn program_output(
    program: impl AsRef<OsStr>,
    args: &[&str],
    limit: Duration,
) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let output = child.stdout.take()?;
    let (sender, printed) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = output.take(LONGEST_OUTPUT).read_to_string(&mut text);
        // Nobody waits for it any more after the limit.
        let _ = sender.send(read.ok().map(|_| text));
    });
    let text = printed.recv_timeout(limit).ok().flatten();
    let _ = child.kill();
    let _ = child.wait();
    text
}
