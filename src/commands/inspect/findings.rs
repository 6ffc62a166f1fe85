//! Findings of `doctor` for the inspector's page, as they are made.

use std::io::{self, Write};
use std::sync::Arc;

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::live::Live;
use crate::commands::doctor;

/// Lines on their way to the page; an examination has fewer.
const MAX_LINES: usize = 256;

/// Examines the server anew. Each line is a finding as JSON, the last one the outcome. It ends early when nobody reads.
pub(super) fn examine(live: &Arc<Live>) -> mpsc::Receiver<Bytes> {
    let (sender, lines) = mpsc::channel(MAX_LINES);
    let access = live.access();
    tokio::spawn(async move {
        let reader = sender.clone();
        let mut out = FindingLines(sender);
        let authorizer = access.authorizer.as_deref();
        let examining = doctor::write_findings(&access.connection, authorizer, &mut out);
        tokio::select! {
            _ = examining => {}
            () = reader.closed() => {}
        }
    });
    lines
}

/// The report, line by line.
struct FindingLines(mpsc::Sender<Bytes>);

impl Write for FindingLines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let sent = self.0.try_send(Bytes::copy_from_slice(text));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
