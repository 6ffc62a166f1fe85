//! The process's own stdin and stdout, by operating system.
//!
//! Pipes and sockets are polled where the system allows it: no thread, no hand-over, and half the time
//! a message takes. Everything else (terminals, files, Windows) goes through Tokio's threads.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that opens standard output"
)]

use tokio::io::{AsyncRead, AsyncWrite};

/// Standard input.
#[must_use]
pub fn stdin() -> Box<dyn AsyncRead + Send + Unpin> {
    #[cfg(unix)]
    if let Some(input) = polled::stdin() {
        return input;
    }
    Box::new(tokio::io::stdin())
}

/// Standard output.
#[must_use]
pub fn stdout() -> Box<dyn AsyncWrite + Send + Unpin> {
    #[cfg(unix)]
    if let Some(output) = polled::stdout() {
        return output;
    }
    Box::new(tokio::io::stdout())
}

/// Keeps stdin, stdout and stderr of this process from the programs that it starts, except where one is given to them.
///
/// On Windows a program inherits every handle that can be inherited, and those that an app has given to this process can.
/// A browser would hold the app's pipes for days, and the app would never see their end. Elsewhere a program gets no more
/// than it is given.
pub fn keep_from_children() {
    #[cfg(windows)]
    inheritance::end();
}

/// Standard output for the report of a command. The bridge itself writes to [`stdout`].
#[must_use]
pub fn report() -> std::io::Stdout {
    std::io::stdout()
}

/// Columns of the terminal that [`report`] writes to; `None` if that is no terminal.
#[must_use]
pub fn report_width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(width.0.into())
}

/// Returns whether an error says that nobody is at the other end of a pipe.
#[must_use]
pub fn is_closed_pipe(error: &std::io::Error) -> bool {
    /// `ERROR_PIPE_NOT_CONNECTED`, of a named pipe whose other end was disconnected before it was closed. Apps on Node give such
    /// pipes to their children.
    const DISCONNECTED: i32 = 233;
    error.kind() == std::io::ErrorKind::BrokenPipe
        || cfg!(windows) && error.raw_os_error() == Some(DISCONNECTED)
}

#[cfg(windows)]
mod inheritance {
    use std::collections::BTreeSet;
    use std::io::{IsTerminal, stderr, stdin, stdout};
    use std::os::windows::io::{AsRawHandle, IntoRawHandle as _};

    use filedescriptor::{FileDescriptor, StdioDescriptor};

    /// Puts a duplicate that is not inherited in the place of each handle, and then closes those that were. Two of them may be
    /// one handle.
    pub(super) fn end() {
        let replaced = [
            replace(&stdin(), StdioDescriptor::Stdin),
            replace(&stdout(), StdioDescriptor::Stdout),
            replace(&stderr(), StdioDescriptor::Stderr),
        ];
        let mut closed = BTreeSet::new();
        for inherited in replaced.into_iter().flatten() {
            if !closed.insert(inherited.as_raw_handle().addr()) {
                // It is closed already.
                let _ = inherited.into_raw_handle();
            }
        }
    }

    /// Returns the handle that was replaced. A console is shared with those who are started, as ever.
    fn replace(
        stream: &(impl IsTerminal + AsRawHandle),
        name: StdioDescriptor,
    ) -> Option<FileDescriptor> {
        if stream.is_terminal() || stream.as_raw_handle().is_null() {
            return None;
        }
        FileDescriptor::redirect_stdio(stream, name).ok()
    }
}

#[cfg(unix)]
mod polled {
    use std::fs::{File, FileType};
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net;

    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio::net::UnixStream;

    #[cfg(not(target_os = "linux"))]
    use crate::stdio::shared_pipe::SharedPipe;

    pub(super) fn stdin() -> Option<Box<dyn AsyncRead + Send + Unpin>> {
        let (fd, kind) = duplicate(std::io::stdin().as_fd())?;
        if kind.is_socket() {
            return Some(Box::new(socket(fd)?));
        }
        #[cfg(target_os = "linux")]
        if kind.is_fifo() {
            // Opening the pipe anew gives a file description of our own, so that O_NONBLOCK does not
            // reach the other processes that hold the inherited one.
            let pipe = tokio::net::unix::pipe::OpenOptions::new();
            return Some(Box::new(pipe.open_receiver("/proc/self/fd/0").ok()?));
        }
        #[cfg(not(target_os = "linux"))]
        if kind.is_fifo() {
            return Some(Box::new(SharedPipe::new(fd).ok()?));
        }
        None
    }

    pub(super) fn stdout() -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        let (fd, kind) = duplicate(std::io::stdout().as_fd())?;
        if kind.is_socket() {
            return Some(Box::new(socket(fd)?));
        }
        #[cfg(target_os = "linux")]
        if kind.is_fifo() {
            let pipe = tokio::net::unix::pipe::OpenOptions::new();
            return Some(Box::new(pipe.open_sender("/proc/self/fd/1").ok()?));
        }
        #[cfg(not(target_os = "linux"))]
        if kind.is_fifo() {
            return Some(Box::new(SharedPipe::new(fd).ok()?));
        }
        None
    }

    fn duplicate(fd: BorrowedFd<'_>) -> Option<(OwnedFd, FileType)> {
        let file = File::from(fd.try_clone_to_owned().ok()?);
        let kind = file.metadata().ok()?.file_type();
        Some((file.into(), kind))
    }

    /// Node and other hosts connect their children by socket pairs, whose ends nobody else shares.
    fn socket(fd: OwnedFd) -> Option<UnixStream> {
        let stream = net::UnixStream::from(fd);
        stream.set_nonblocking(true).ok()?;
        UnixStream::from_std(stream).ok()
    }
}
