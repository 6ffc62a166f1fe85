//! Line writer: the only writer of stdout.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};

/// Bytes that may wait for a reader before the bridge stops taking messages from the server.
const QUEUE_BYTES: usize = 1024 * 1024;

/// Bytes that may wait before the bridge also stops reading the app's own lines: an app that writes
/// but never reads gets no further, while one that is merely slow can still cancel.
const QUEUE_BYTES_FOR_ANSWERS: usize = 2 * QUEUE_BYTES;

/// Lines that go out in one system call. Two slices a line, and Linux takes 1024 slices.
const LINES_PER_WRITE: usize = 256;

/// Hands lines to the task that writes them, and tells when to wait.
#[derive(Debug, Clone)]
pub struct LineWriter {
    queue: mpsc::UnboundedSender<Bytes>,
    backlog: Arc<Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    shrunk: Notify,
}

impl Backlog {
    fn is_below(&self, limit: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) < limit
    }
}

impl LineWriter {
    /// Starts to write. The task ends with an error when the reader is gone, and without one when the
    /// last `LineWriter` is dropped and everything is written.
    pub fn spawn<W>(output: W) -> (Self, tokio::task::JoinHandle<io::Result<()>>)
    where
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (queue, lines) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog::default());
        let task = tokio::spawn(write_lines(output, lines, Arc::clone(&backlog)));
        (Self { queue, backlog }, task)
    }

    /// Queues one line, which must not contain a line end. Does not wait: see [`Self::room`].
    pub fn send(&self, line: Bytes) {
        self.backlog.bytes.fetch_add(line.len(), Ordering::Relaxed);
        // The queue is closed once the reader is gone; the bridge learns that from the task's end.
        let _ = self.queue.send(line);
    }

    /// Returns whether messages from the server may be queued.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.backlog.is_below(QUEUE_BYTES)
    }

    /// Returns whether answers to the app's own lines may be queued.
    #[must_use]
    pub fn has_room_for_answers(&self) -> bool {
        self.backlog.is_below(QUEUE_BYTES_FOR_ANSWERS)
    }

    /// Waits until messages from the server may be queued.
    pub async fn room(&self) {
        self.below(QUEUE_BYTES).await;
    }

    /// Waits until answers to the app's own lines may be queued.
    pub async fn room_for_answers(&self) {
        self.below(QUEUE_BYTES_FOR_ANSWERS).await;
    }

    /// Returns whether all lines have been written.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.backlog.is_below(1)
    }

    /// Waits until all lines have been written.
    pub async fn written(&self) {
        self.below(1).await;
    }

    async fn below(&self, limit: usize) {
        while !self.backlog.is_below(limit) {
            let shrunk = self.backlog.shrunk.notified();
            tokio::pin!(shrunk);
            shrunk.as_mut().enable();
            // It may have shrunk in between.
            if !self.backlog.is_below(limit) {
                shrunk.await;
            }
        }
    }
}

async fn write_lines<W: AsyncWrite + Unpin>(
    mut output: W,
    mut lines: mpsc::UnboundedReceiver<Bytes>,
    backlog: Arc<Backlog>,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, LINES_PER_WRITE).await > 0 {
        write_batch(&mut output, &batch).await?;
        if lines.is_empty() {
            output.flush().await?;
        }
        let written = batch.drain(..).map(|line| line.len()).sum();
        backlog.bytes.fetch_sub(written, Ordering::Relaxed);
        backlog.shrunk.notify_waiters();
    }
    Ok(())
}

async fn write_batch<W: AsyncWrite + Unpin>(output: &mut W, lines: &[Bytes]) -> io::Result<()> {
    // Mostly there is one.
    if let [line] = lines {
        return write_slices(output, &mut with_end(line)).await;
    }
    let mut slices: Vec<IoSlice<'_>> = lines.iter().flat_map(|line| with_end(line)).collect();
    write_slices(output, &mut slices).await
}

/// The slices of a line on its way out.
fn with_end(line: &[u8]) -> [IoSlice<'_>; 2] {
    [IoSlice::new(line), IoSlice::new(b"\n")]
}

async fn write_slices<W: AsyncWrite + Unpin>(
    output: &mut W,
    mut rest: &mut [IoSlice<'_>],
) -> io::Result<()> {
    while !rest.is_empty() {
        let written = output.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn lines_come_out_whole_and_in_order_through_a_narrow_pipe() {
        let (output, mut reader) = tokio::io::duplex(3);
        let (writer, task) = LineWriter::spawn(output);
        for line in ["first", "", "third"] {
            writer.send(Bytes::from_static(line.as_bytes()));
        }
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "first\n\nthird\n");
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn there_is_room_again_once_the_reader_has_read() {
        let (output, mut reader) = tokio::io::duplex(64);
        let (writer, _task) = LineWriter::spawn(output);
        writer.send(Bytes::from(vec![b'x'; QUEUE_BYTES]));
        let mut room = std::pin::pin!(writer.room());
        tokio::select! {
            biased;
            () = &mut room => panic!("there should be no room"),
            () = tokio::task::yield_now() => {}
        }
        let mut read = vec![0; QUEUE_BYTES + 1];
        reader.read_exact(&mut read).await.unwrap();
        room.await;
    }

    #[tokio::test]
    async fn a_line_counts_as_written_when_the_reader_has_it() {
        let (output, mut reader) = tokio::io::duplex(2);
        let (writer, _task) = LineWriter::spawn(output);
        assert!(writer.has_written());
        writer.send(Bytes::from_static(b"line"));
        let mut written = std::pin::pin!(writer.written());
        tokio::select! {
            biased;
            () = &mut written => panic!("nobody has read"),
            () = tokio::task::yield_now() => assert!(!writer.has_written()),
        }
        reader.read_exact(&mut [0; 5]).await.unwrap();
        written.await;
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_ends_the_task() {
        let (output, reader) = tokio::io::duplex(64);
        drop(reader);
        let (writer, task) = LineWriter::spawn(output);
        writer.send(Bytes::from_static(b"line"));
        assert!(task.await.unwrap().is_err());
    }
}
