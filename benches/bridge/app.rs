//! An app as a bridge sees it: a process that writes lines to its stdin and reads them from its stdout.
//! One thread, and pipes that are polled, so that the figures are the bridge's and not the driver's.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use memchr::memchr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::wire::{self, Era};
use crate::work::{Account, Done, Request, Work};

/// A pipe holds so much.
const READ_BYTES: usize = 64 * 1024;

/// Limit for the start of a bridge. Node and a package runner are given their time.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Directories of bridges: mcp-bridge, mcp-remote, hyper-mcp-remote (its log), and those that keep to the XDG base directories.
const DIRECTORIES: [&str; 5] = [
    "MCP_BRIDGE_DIR",
    "MCP_REMOTE_CONFIG_DIR",
    "HYPER_MCP_REMOTE_LOG_PATH",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];

pub(crate) struct App {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Lines that the pipe did not take yet, and how much of the first one it did.
    unsent: VecDeque<Bytes>,
    sent: usize,
    received: Vec<u8>,
    /// The bytes at the beginning of `received` that have been taken as lines, and those that are known
    /// to hold no line end.
    taken: usize,
    scanned: usize,
    chunk: Box<[u8]>,
}

/// A started bridge, and the time that it took.
pub(crate) struct Started {
    pub(crate) app: App,
    /// From the spawn to the answer to the first request.
    pub(crate) took: Duration,
}

impl App {
    /// Starts a bridge, and waits for the answer to `first`.
    pub(crate) fn start(command: &[String], first: &str) -> Result<Started, String> {
        let began = Instant::now();
        let mut app = Self::spawn(command).map_err(|error| format!("{}: {error}", command[0]))?;
        app.queue(Bytes::from(first.to_owned()));
        let answer = app.line(began + START_LIMIT)?;
        let took = began.elapsed();
        // To a modern app a legacy server is one that does not know `server/discover`.
        if first == wire::INITIALIZE && !String::from_utf8_lossy(&answer).contains(r#""result""#) {
            return Err(format!("refused: {}", String::from_utf8_lossy(&answer)));
        }
        Ok(Started { app, took })
    }

    /// Starts a bridge and opens a session as an app of this era does.
    pub(crate) fn open(command: &[String], era: Era) -> Result<Started, String> {
        match era {
            Era::Modern => Self::start(command, &wire::discover()),
            Era::Legacy => {
                let mut started = Self::start(command, wire::INITIALIZE)?;
                started.app.queue(wire::INITIALIZED.into());
                let written = started.app.flush();
                written.map_err(|error| error.to_string())?;
                Ok(started)
            }
        }
    }

    fn spawn(command: &[String]) -> io::Result<Self> {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            // What earlier runs have learnt of a server is nobody's business here.
            .envs(DIRECTORIES.map(|name| (name, env!("CARGO_TARGET_TMPDIR"))))
            // Nor is what this machine has to trust beside its own trust store.
            .env_remove("NODE_EXTRA_CA_CERTS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        Ok(Self {
            child,
            input: Some(input),
            output,
            unsent: VecDeque::new(),
            sent: 0,
            received: Vec::new(),
            taken: 0,
            scanned: 0,
            chunk: vec![0; READ_BYTES].into(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Works the calls off.
    pub(crate) fn run(&mut self, work: Work, limit: Duration) -> Result<Done, String> {
        let end = Instant::now() + limit;
        let mut account = Account::new(work);
        while !account.is_complete() {
            while account.under_way() < account.window()
                && let Some(request) = account.next()
            {
                self.queue(request);
            }
            let wait = end.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Err("too slow, or lost".to_owned());
            }
            self.turn(wait).map_err(|error| error.to_string())?;
            while let Some(line) = self.next_line() {
                account.take(&self.received[line])?;
            }
            self.forget();
        }
        account.done()
    }

    /// Sends a request; returns how long its response took, and the response.
    pub(crate) fn ask(
        &mut self,
        request: &Request,
        limit: Duration,
    ) -> Result<(Duration, Vec<u8>), String> {
        let began = Instant::now();
        self.queue(request.text.clone());
        let head = format!(r#"{{"jsonrpc":"2.0","id":{}"#, request.id);
        loop {
            let (arrived, line) = self.timed_line(began + limit)?;
            if line.starts_with(head.as_bytes()) {
                return Ok((arrived.duration_since(began), line));
            }
        }
    }

    /// Closes stdin; returns how long the process went on, and what it wrote meanwhile.
    pub(crate) fn leave(mut self) -> Result<(Duration, Vec<u8>), String> {
        self.flush().map_err(|error| error.to_string())?;
        let began = Instant::now();
        self.input = None;
        let end = began + START_LIMIT;
        loop {
            match self.turn(end.saturating_duration_since(Instant::now())) {
                Ok(()) if Instant::now() < end => {}
                Ok(()) => return Err("does not end".to_owned()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let took = began.elapsed();
        if status.success() {
            Ok((took, std::mem::take(&mut self.received)))
        } else {
            Err(status.to_string())
        }
    }

    /// Writes what is queued, and lets the bridge come to rest.
    pub(crate) fn settle(&mut self, wait: Duration) {
        // A bridge that is gone by then is found out by what is asked next.
        let _ = self.flush();
        pause(wait);
    }

    /// Queues a message.
    pub(crate) fn queue(&mut self, message: Bytes) {
        self.unsent.push_back(message);
        self.unsent.push_back(Bytes::from_static(b"\n"));
    }

    /// Writes all that is queued.
    fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        while !self.unsent.is_empty() {
            self.turn(START_LIMIT)?;
        }
        Ok(())
    }

    /// The next line, until `end`.
    fn line(&mut self, end: Instant) -> Result<Vec<u8>, String> {
        self.timed_line(end).map(|(_, line)| line)
    }

    /// The next line, until `end`, and when it was complete.
    fn timed_line(&mut self, end: Instant) -> Result<(Instant, Vec<u8>), String> {
        loop {
            if let Some(line) = self.next_line() {
                let arrived = Instant::now();
                let line = self.received[line].to_vec();
                self.forget();
                return Ok((arrived, line));
            }
            let wait = end.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Err("no answer".to_owned());
            }
            self.turn(wait).map_err(|error| error.to_string())?;
        }
    }

    /// Writes what the pipe takes and reads what there is, waiting if there is neither.
    fn turn(&mut self, wait: Duration) -> io::Result<()> {
        self.write()?;
        let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
        let mut fds = vec![PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)];
        if let Some(input) = &self.input
            && !self.unsent.is_empty()
        {
            fds.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT));
        }
        poll(&mut fds, Some(&wait))?;
        if fds[0].revents().is_empty() {
            return Ok(());
        }
        drop(fds);
        match self.output.read(&mut self.chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received.extend_from_slice(&self.chunk[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(input) = &mut self.input else {
            return Ok(());
        };
        while !self.unsent.is_empty() {
            let mut slices: Vec<_> = self
                .unsent
                .iter()
                .take(512)
                .map(|piece| io::IoSlice::new(piece))
                .collect();
            let mut rest = &mut slices[..];
            io::IoSlice::advance_slices(&mut rest, self.sent);
            match input.write_vectored(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(first) = self.unsent.front()
                && first.len() <= self.sent
            {
                self.sent -= first.len();
                self.unsent.pop_front();
            }
        }
        Ok(())
    }

    /// Range of the next line in the received bytes.
    fn next_line(&mut self) -> Option<std::ops::Range<usize>> {
        let Some(end) = memchr(b'\n', &self.received[self.scanned..]) else {
            self.scanned = self.received.len();
            return None;
        };
        let line = self.taken..self.scanned + end;
        self.scanned = line.end + 1;
        self.taken = self.scanned;
        Some(line)
    }

    /// Forgets the lines that were taken.
    fn forget(&mut self) {
        self.received.drain(..self.taken);
        self.scanned -= self.taken;
        self.taken = 0;
    }
}

/// Does nothing for a while.
pub(crate) fn pause(wait: Duration) {
    let wait = Timespec::try_from(wait).ok();
    // A signal may cut it short, which does no harm.
    let _ = poll(&mut [], wait.as_ref());
}

impl Drop for App {
    fn drop(&mut self) {
        // It has ended, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
