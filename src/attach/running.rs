//! Bridges that are running for this user, as who looks at them sees them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;

use super::introduction::Introduction;
use super::socket::{self, Connection, remove, sockets};
use super::view_sink::ViewLine;
use super::{WORD, folder};
use crate::recording::Sink;

/// Time in which a bridge introduces itself. It may be busy or stopped.
const INTRODUCTION_LIMIT: Duration = Duration::from_secs(2);

/// Largest introduction, in bytes.
const MAX_INTRODUCTION: u64 = 64 * 1024;

/// Largest line of a view, in bytes: an entry has two bodies of 64 KiB, which JSON may make six times as long, and headers.
const MAX_LINE: u64 = 4 * 1024 * 1024;

/// A bridge that can be looked at.
pub(crate) struct Viewed {
    introduction: Introduction,
    stream: BufReader<Connection>,
}

/// The bridges that are running for this user with one of these directories of credentials. What killed ones have left
/// is removed.
pub(crate) async fn running(directories: &[PathBuf]) -> Vec<Viewed> {
    let mut found = Vec::new();
    for path in directories.iter().flat_map(|it| sockets(&folder(it))) {
        match timeout(INTRODUCTION_LIMIT, connect(&path)).await {
            Ok(Ok(viewed)) => found.push(viewed),
            Ok(Err(error)) if is_gone(&error) => remove(&path),
            Ok(Err(error)) => {
                tracing::warn!(file = %path.display(), "a bridge cannot be looked at: {error}");
            }
            Err(_) => {
                tracing::warn!(file = %path.display(), "a bridge does not answer");
            }
        }
    }
    found.sort_by(|one, other| {
        let by = |it: &Viewed| (it.introduction.started.clone(), it.introduction.pid);
        by(one).cmp(&by(other))
    });
    found
}

/// Returns whether nobody listens.
fn is_gone(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
    kinds.contains(&error.kind())
}

async fn connect(path: &Path) -> io::Result<Viewed> {
    let mut stream = BufReader::new(socket::connect(path).await?);
    let line = line(&mut stream, MAX_INTRODUCTION).await?;
    let introduction: Introduction = serde_json::from_slice(&line)?;
    if !introduction.is_understood() {
        let version = introduction.version;
        return Err(io::Error::other(format!("it is of version {version}")));
    }
    Ok(Viewed {
        introduction,
        stream,
    })
}

impl Viewed {
    /// The bridge's words about itself.
    pub(crate) fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// Passes on what it tells, until it ends.
    pub(crate) async fn watch(mut self, mut sink: impl Sink) -> io::Result<()> {
        self.stream.write_all(WORD).await?;
        loop {
            let line = line(&mut self.stream, MAX_LINE).await?;
            if line.is_empty() {
                return Ok(());
            }
            let line: ViewLine<'_> = serde_json::from_slice(&line)?;
            line.pass(&mut sink)?;
        }
    }
}

/// The next line; nothing at the end.
async fn line(stream: &mut BufReader<Connection>, most: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(most).read_until(b'\n', &mut line).await?;
    Ok(line)
}
