//! Line reader: bytes in, lines out.

use std::io;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Room that is made for reads, in bytes. It serves until less than [`MIN_READ_BYTES`] are left of it, so that short lines
/// share it.
const READ_BYTES: usize = 16 * 1024;
const MIN_READ_BYTES: usize = 4 * 1024;

/// Room for the rest of a long line: a pipe hands over 64 KiB at most.
const LONG_READ_BYTES: usize = 64 * 1024;

/// Bytes of a line that is too long that are kept, to find the id of the request in it.
const PREFIX_BYTES: usize = 4 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The line without its end. Never blank.
    Text(Bytes),
    /// The line was longer than the limit and has been skipped.
    TooLong {
        /// Its beginning.
        prefix: Bytes,
    },
}

/// Cuts a byte stream into lines: LF or CRLF, a leading byte order mark and blank lines left out, a
/// last line without an end accepted.
#[derive(Debug)]
pub struct LineReader<R> {
    input: R,
    buffer: BytesMut,
    /// The bytes of `buffer` that are known to hold no line end.
    scanned: usize,
    /// The beginning of the line that is being skipped because it is too long.
    skipping: Option<Bytes>,
    limit: usize,
    at_start: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Reads lines of at most `limit` bytes from `input`.
    pub fn new(input: R, limit: usize) -> Self {
        Self {
            input,
            buffer: BytesMut::new(),
            scanned: 0,
            skipping: None,
            limit,
            at_start: true,
        }
    }

    /// The next line; `None` at the end of the input. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            if self.buffer.capacity() - self.buffer.len() < MIN_READ_BYTES {
                let is_long = self.buffer.len() >= READ_BYTES;
                self.buffer
                    .reserve(if is_long { LONG_READ_BYTES } else { READ_BYTES });
            }
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                return Ok(self.last_line());
            }
        }
    }

    /// The next line that has been read already.
    pub fn buffered(&mut self) -> Option<Line> {
        while let Some(end) = memchr(b'\n', &self.buffer[self.scanned..]) {
            let mut line = self.buffer.split_to(self.scanned + end + 1).freeze();
            self.scanned = 0;
            line.truncate(line.len() - 1);
            if let Some(line) = self.finish(line) {
                return Some(line);
            }
        }
        self.scanned = self.buffer.len();
        if self.scanned > self.limit {
            self.skip();
        }
        None
    }

    /// Drops what is buffered of a line that has no end within the limit.
    fn skip(&mut self) {
        let prefix = &self.buffer[..PREFIX_BYTES.min(self.buffer.len())];
        self.skipping
            .get_or_insert_with(|| Bytes::copy_from_slice(prefix));
        self.buffer = BytesMut::new();
        self.scanned = 0;
    }

    fn last_line(&mut self) -> Option<Line> {
        let rest = self.buffer.split().freeze();
        self.scanned = 0;
        self.finish(rest)
    }

    fn finish(&mut self, mut line: Bytes) -> Option<Line> {
        if let Some(prefix) = self.skipping.take() {
            return Some(Line::TooLong { prefix });
        }
        if line.len() > self.limit {
            let prefix = Bytes::copy_from_slice(&line[..PREFIX_BYTES.min(line.len())]);
            return Some(Line::TooLong { prefix });
        }
        if std::mem::take(&mut self.at_start) && line.starts_with(BYTE_ORDER_MARK) {
            line = line.slice(BYTE_ORDER_MARK.len()..);
        }
        let text = line.trim_ascii();
        (!text.is_empty()).then(|| Line::Text(line.slice_ref(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `input` in pieces of `step` bytes.
    async fn lines(input: &[u8], step: usize, limit: usize) -> Vec<Line> {
        let (mut sender, receiver) = tokio::io::duplex(step);
        let input = input.to_vec();
        let write = async move {
            tokio::io::AsyncWriteExt::write_all(&mut sender, &input)
                .await
                .unwrap();
        };
        let read = async {
            let mut reader = LineReader::new(receiver, limit);
            let mut lines = Vec::new();
            while let Some(line) = reader.next().await.unwrap() {
                lines.push(line);
            }
            lines
        };
        tokio::join!(write, read).1
    }

    fn text(line: &str) -> Line {
        Line::Text(Bytes::copy_from_slice(line.as_bytes()))
    }

    #[tokio::test]
    async fn lines_are_found_however_the_bytes_arrive() {
        let input = b"\xEF\xBB\xBF{\"a\":1}\r\n\n  \r\n {\"b\":2}\n{\"c\":3}";
        for step in 1..=input.len() {
            assert_eq!(
                lines(input, step, 100).await,
                [text(r#"{"a":1}"#), text(r#"{"b":2}"#), text(r#"{"c":3}"#)],
                "{step} bytes at a time"
            );
        }
    }

    #[tokio::test]
    async fn a_line_above_the_limit_is_skipped_and_the_next_one_read() {
        for step in [1, 7, 64] {
            let got = lines(b"0123456789\n01234567890123456789\nok\n", step, 10).await;
            assert_eq!(got[0], text("0123456789"), "exactly the limit");
            assert!(matches!(&got[1], Line::TooLong { prefix } if prefix.starts_with(b"01234")));
            assert_eq!(got[2], text("ok"));
        }
    }

    #[tokio::test]
    async fn the_end_of_input_ends_a_line_that_is_too_long() {
        let got = lines(b"01234567890123456789", 3, 10).await;
        assert!(matches!(got[..], [Line::TooLong { .. }]));
    }
}
