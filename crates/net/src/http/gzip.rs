//! Decompression of responses that are compressed although the bridge asks for them as they are.

use std::io::Write as _;

use bytes::{Buf as _, Bytes};
use flate2::write::GzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::{Error, Source};

/// Compressed bytes that are taken at once: what they can become is a thousand times as much, and has to
/// stay within bounds.
const STEP: usize = 1024;

pub(super) fn is_gzip(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

/// A body that is decompressed while it is read.
#[derive(Debug)]
pub(super) struct GzipBody {
    compressed: Source,
    /// Bytes that have come and were not decompressed yet.
    rest: Bytes,
    decoder: GzDecoder<Vec<u8>>,
}

impl GzipBody {
    pub(super) fn new(compressed: Source) -> Self {
        Self {
            compressed,
            rest: Bytes::new(),
            decoder: GzDecoder::new(Vec::new()),
        }
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            while !self.rest.is_empty() {
                let step = &self.rest[..STEP.min(self.rest.len())];
                self.decoder.write_all(step).map_err(|_| Error::Garbled)?;
                self.rest.advance(step.len());
                // A stream is decompressed as far as the server has flushed it.
                self.decoder.flush().map_err(|_| Error::Garbled)?;
                let plain = std::mem::take(self.decoder.get_mut());
                if !plain.is_empty() {
                    return Ok(Some(plain.into()));
                }
            }
            let Some(piece) = self.compressed.chunk().await? else {
                self.decoder.try_finish().map_err(|_| Error::Garbled)?;
                let plain = std::mem::take(self.decoder.get_mut());
                return Ok((!plain.is_empty()).then(|| plain.into()));
            };
            self.rest = piece;
        }
    }
}
