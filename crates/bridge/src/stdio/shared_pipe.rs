//! Polled pipe that other processes may hold as well, on Unix.
//!
//! `O_NONBLOCK` would reach all who hold the pipe, and only Linux lets a process open it anew for itself. So the pipe stays as it
//! is, and is asked before each call whether that would block.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{read, retry_on_intr, write};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes for which a pipe has room whenever it says that it has some: the least that POSIX permits as `PIPE_BUF`, and the value of
/// macOS.
const CHUNK: usize = 512;

/// One end of a pipe.
pub(super) struct SharedPipe(AsyncFd<OwnedFd>);

impl SharedPipe {
    /// Fails where the system cannot tell when the pipe is ready.
    #[allow(
        deprecated,
        reason = "its successor is unsafe, because a type might replace its descriptor; `OwnedFd` does not"
    )]
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        AsyncFd::new(end).map(Self)
    }
}

impl AsyncRead for SharedPipe {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let done = ready.try_io(|end| {
                would_not_block(end.get_ref(), PollFlags::IN)?;
                let read = retry_on_intr(|| read(end.get_ref(), buffer.initialize_unfilled()))?;
                buffer.advance(read);
                Ok(())
            });
            if let Ok(done) = done {
                return Poll::Ready(done);
            }
        }
    }
}

impl AsyncWrite for SharedPipe {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let chunk = &bytes[..bytes.len().min(CHUNK)];
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            let done = ready.try_io(|end| {
                would_not_block(end.get_ref(), PollFlags::OUT)?;
                Ok(retry_on_intr(|| write(end.get_ref(), chunk))?)
            });
            if let Ok(done) = done {
                return Poll::Ready(done);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Fails with `WouldBlock` if a call would. At the end of the pipe it would not.
fn would_not_block(end: &OwnedFd, what: PollFlags) -> io::Result<()> {
    const AT_ONCE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut asked = [PollFd::new(end, what)];
    match retry_on_intr(|| poll(&mut asked, Some(&AT_ONCE)))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pipe() -> (SharedPipe, SharedPipe) {
        let (reader, writer) = io::pipe().unwrap();
        (
            SharedPipe::new(reader.into()).unwrap(),
            SharedPipe::new(writer.into()).unwrap(),
        )
    }

    /// In one thread, so a call that blocks would be the end.
    #[tokio::test]
    async fn more_than_fits_goes_through_a_pipe_that_blocks() {
        let (mut reader, mut writer) = pipe();
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
        let mut received = Vec::new();
        let send = async {
            writer.write_all(&bytes).await.unwrap();
            drop(writer);
        };
        let receive = reader.read_to_end(&mut received);
        let ((), read) = tokio::join!(send, receive);
        assert_eq!(read.unwrap(), bytes.len());
        assert!(received == bytes);
    }

    #[tokio::test]
    async fn what_is_there_is_read_and_more_is_waited_for() {
        let (mut reader, mut writer) = pipe();
        let mut text = [0; 16];
        writer.write_all(b"one").await.unwrap();
        assert_eq!(reader.read(&mut text).await.unwrap(), 3);
        let later = async { writer.write_all(b"more").await.unwrap() };
        let (read, ()) = tokio::join!(reader.read(&mut text), later);
        assert_eq!(&text[..read.unwrap()], b"more");
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_an_error_for_the_writer() {
        let (reader, mut writer) = pipe();
        drop(reader);
        let error = writer.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
