//! Start of the helper on each system: its session, its pipe, the sockets that it inherits.
//!
//! On Unix the listening sockets of the callback become its stdout and stderr, which it uses for nothing else: there
//! the standard library passes descriptors on safely. On Windows it does not, and the helper binds the port
//! itself, some milliseconds after the bridge has ended.

use std::io;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::config::Helper;
use mcp_bridge_net::descriptors::with_original_limit;

pub(super) use system::{Pipe, start};
pub use system::{inherited_sockets, leave_console};

/// The helper's program, started so that it starts itself once more and ends. What it starts then is no
/// descendant of this process any more: apps end a bridge with all its descendants.
fn spawn(helper: &Helper, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> io::Result<()> {
    let mut command = Command::new(&helper.program);
    command.args(&helper.arguments);
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    system::leave_group(&mut command);
    let mut child = with_original_limit(|| command.spawn())?;
    // It ends within milliseconds. The thread only takes note of that.
    std::thread::Builder::new()
        .name("helper".into())
        .spawn(move || child.wait())?;
    Ok(())
}

#[cfg(unix)]
mod system {
    use std::io::{Read as _, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::CommandExt as _;
    use std::sync::Arc;

    use super::{Command, Helper, Stdio, TcpListener, io, spawn};
    use crate::linger::HELPER_LIMIT;

    /// The bridge's end of the helper's stdin, which tells in the other direction when the helper has ended.
    #[derive(Debug)]
    pub(in crate::linger) struct Pipe(UnixStream);

    impl Pipe {
        /// Waits until the helper has ended, and with it its sockets.
        pub(in crate::linger) fn wait_for_end(&mut self) -> io::Result<()> {
            self.0.read_to_end(&mut Vec::new()).map(|_| ())
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    pub(in crate::linger) fn start(
        helper: &Helper,
        sockets: &[Arc<tokio::net::TcpListener>],
    ) -> io::Result<Pipe> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(HELPER_LIMIT))?;
        ours.set_write_timeout(Some(HELPER_LIMIT))?;
        let mut passed = sockets.iter();
        let mut next = || match passed.next() {
            Some(socket) => socket.as_fd().try_clone_to_owned().map(Stdio::from),
            None => Ok(Stdio::null()),
        };
        let (stdout, stderr) = (next()?, next()?);
        spawn(helper, OwnedFd::from(theirs).into(), stdout, stderr)?;
        Ok(Pipe(ours))
    }

    /// Starts a command in a process group of its own, so that a signal to the app's group does not reach it.
    pub(crate) fn leave_group(command: &mut Command) {
        command.process_group(0);
    }

    /// Does nothing: the helper makes a session of its own, which the first process of a group could not.
    pub const fn leave_console(_: &mut Command) {}

    /// Leaves the session of the app, and takes the sockets that came as stdout and stderr, which lead nowhere
    /// from then on.
    pub fn inherited_sockets() -> io::Result<Vec<TcpListener>> {
        // Fails where the process has a session of its own already.
        let _ = rustix::process::setsid();
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        let mut sockets = Vec::new();
        for inherited in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
            let socket = TcpListener::from(inherited.try_clone_to_owned()?);
            if socket.local_addr().is_ok() {
                sockets.push(socket);
            }
        }
        rustix::stdio::dup2_stdout(&nowhere)?;
        rustix::stdio::dup2_stderr(&nowhere)?;
        Ok(sockets)
    }
}

#[cfg(windows)]
mod system {
    use std::os::windows::process::CommandExt as _;
    use std::sync::Arc;

    use super::{Command, Helper, Stdio, TcpListener, io, spawn};

    /// Of the Windows API, "Process Creation Flags".
    const DETACHED_PROCESS: u32 = 0x0000_0008;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

    /// The bridge's end of the helper's stdin.
    #[derive(Debug)]
    pub(in crate::linger) struct Pipe(io::PipeWriter);

    impl Pipe {
        /// The helper holds no socket while the bridge lives, so nothing has to be waited for.
        #[expect(
            clippy::unnecessary_wraps,
            clippy::unused_self,
            reason = "elsewhere there is something to wait for"
        )]
        pub(in crate::linger) fn wait_for_end(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    pub(in crate::linger) fn start(
        helper: &Helper,
        _: &[Arc<tokio::net::TcpListener>],
    ) -> io::Result<Pipe> {
        let (theirs, ours) = io::pipe()?;
        spawn(helper, theirs.into(), Stdio::null(), Stdio::null())?;
        Ok(Pipe(ours))
    }

    pub(crate) fn leave_group(command: &mut Command) {
        leave_console(command);
    }

    /// Starts a command without the app's console, so that neither Ctrl-C nor closing it reaches it.
    pub fn leave_console(command: &mut Command) {
        command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
    }

    /// None: sockets are not passed on.
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
    pub const fn inherited_sockets() -> io::Result<Vec<TcpListener>> {
        Ok(Vec::new())
    }
}
