//! Cuts an event stream of the test server into the data of its events: one `data:` line each. No real
//! parser, but what a real one cannot do without.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

const FIELD: &[u8] = b"data: ";

#[derive(Default)]
pub(crate) struct Events {
    buffer: BytesMut,
    /// The bytes that are known to hold no line end.
    scanned: usize,
}

impl Events {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    pub(crate) fn next(&mut self) -> Option<Bytes> {
        while let Some(end) = memchr(b'\n', &self.buffer[self.scanned..]) {
            let mut line = self.buffer.split_to(self.scanned + end + 1).freeze();
            self.scanned = 0;
            line.truncate(line.len() - 1);
            if line.starts_with(FIELD) {
                return Some(line.slice(FIELD.len()..));
            }
        }
        self.scanned = self.buffer.len();
        None
    }
}
