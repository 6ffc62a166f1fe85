//! The file of `--log-file`, and stderr in its place while the file cannot be written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::fmt::MakeWriter;

/// Message about a log file that takes no lines.
pub(super) const UNUSABLE: &str = "the log file cannot be written, so the log is on stderr";

/// A log file. Writing to it never fails: what a full disk does not take goes to stderr.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    path: PathBuf,
    file: Arc<File>,
    /// Set while lines go to stderr.
    is_failing: Arc<AtomicBool>,
}

impl LogFile {
    /// Opens the file, to append to it. A new one is private to the user.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self {
            file: Arc::new(options.open(path)?),
            path: path.to_owned(),
            is_failing: Arc::default(),
        })
    }

    fn write_line(&self, line: &[u8]) {
        let mut file = &*self.file;
        let was_failing = self.is_failing.load(Ordering::Relaxed);
        // A part of the line that failed may be there.
        let written = if was_failing {
            file.write_all(&[b"\n", line].concat())
        } else {
            file.write_all(line)
        };
        self.is_failing.store(written.is_err(), Ordering::Relaxed);
        let Err(error) = written else { return };
        let mut stderr = io::stderr().lock();
        if !was_failing {
            let path = self.path.display();
            let _ = writeln!(stderr, "{UNUSABLE}: {path}: {error}");
        }
        // Without stderr there is no place for it.
        let _ = stderr.write_all(line);
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}
