//! A bridge: this program again as a child process, its pipes, and what it says.

use std::{
    env,
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use mcp_bridge_testkit::HEADER_MARKER;

use crate::{
    invariants::secret_in,
    process::{self},
    report::Report,
};

/// The longest that a bridge may take to read what an app writes.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// The longest that a bridge may take to end: answers are awaited, a token request and the DELETE are finished.
const EXIT_LIMIT: Duration = Duration::from_secs(60);

/// Settings for the start of a bridge.
pub(crate) struct Launch<'a> {
    /// In events and file names.
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    /// The directory of this run.
    pub(crate) root: &'a Path,
    /// A variable that tells the processes of this run from others: `NAME=value`.
    pub(crate) mark: &'a str,
    pub(crate) browser: &'a Path,
    pub(crate) report: &'a Report,
}

/// A bridge that was started.
pub(crate) struct Bridge {
    name: String,
    child: Child,
    pid: u32,
    started: Instant,
    stdin: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<Vec<u8>>,
    readers: Vec<JoinHandle<()>>,
    report: Report,
}

impl Bridge {
    pub(crate) fn start(launch: &Launch) -> Self {
        let program = env::current_exe().expect("this program has a path");
        let (variable, value) = launch.mark.split_once('=').expect("a variable");
        let mut command = Command::new("/bin/sh");
        command
            // Writes to files fail where the disk is full, instead of ending the process.
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(program)
            .args(&launch.arguments)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", launch.root.join("home"))
            .env("MCP_BRIDGE_DIR", launch.root.join("data"))
            .env("BROWSER", launch.browser)
            .env("API_KEY", HEADER_MARKER)
            .env(variable, value)
            .current_dir(launch.root.join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        let mut child = command.spawn().expect("this program can be started");
        let pid = child.id().expect("it runs");
        let (sender, lines) = mpsc::unbounded_channel();
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let path = launch
            .root
            .join("logs")
            .join(format!("{}.stderr", launch.name));
        let file = OpenOptions::new().create(true).append(true).open(path);
        let readers = vec![
            tokio::spawn(read_lines(stdout, sender)),
            tokio::spawn(watch(
                stderr,
                file.expect("the directory is ours"),
                launch.name.clone(),
                launch.report.clone(),
            )),
        ];
        launch
            .report
            .event(format!("{}: started as {pid}", launch.name));
        launch.report.count("bridges started");
        Self {
            name: launch.name.clone(),
            started: Instant::now(),
            stdin: child.stdin.take(),
            child,
            pid,
            lines,
            readers,
            report: launch.report.clone(),
        }
    }

    /// The time since its start.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Writes one line.
    pub(crate) async fn write(&mut self, line: &str) {
        let Some(stdin) = &mut self.stdin else {
            return;
        };
        let line = format!("{line}\n");
        match timeout(WRITE_LIMIT, stdin.write_all(line.as_bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self
                .report
                .violate(format!("{}: stdin is closed: {error}", self.name)),
            Err(_) => self
                .report
                .violate(format!("{}: stdin is not read", self.name)),
        }
    }

    /// The next line of stdout; none at its end.
    pub(crate) async fn line(&mut self) -> Option<Vec<u8>> {
        self.lines.recv().await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid, signal);
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits for the end of the process; none if it does not come.
    pub(crate) async fn end(&mut self) -> Option<ExitStatus> {
        let Ok(status) = timeout(EXIT_LIMIT, self.child.wait()).await else {
            let name = &self.name;
            self.report
                .violate(format!("{name}: the process does not end"));
            return None;
        };
        status.ok()
    }

    /// Waits until stderr and stdout are read to their end; returns what is left of stdout.
    pub(crate) async fn rest(&mut self) -> Vec<Vec<u8>> {
        for reader in self.readers.drain(..) {
            // A browser or a helper might hold them; neither does, so this is short.
            if timeout(EXIT_LIMIT, reader).await.is_err() {
                self.report.violate(format!(
                    "{}: an output does not end with the process",
                    self.name
                ));
            }
        }
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.try_recv() {
            rest.push(line);
        }
        rest
    }
}

async fn read_lines(stdout: impl AsyncRead + Unpin, lines: mpsc::UnboundedSender<Vec<u8>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        match stdout.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => _ = lines.send(line),
        }
    }
}

/// Keeps what comes on stderr, and looks for what must not be there.
async fn watch(stderr: impl AsyncRead + Unpin, mut file: File, name: String, report: Report) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while let Ok(1..) = stderr.read_until(b'\n', &mut line).await {
        let _ = file.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if let Some(secret) = secret_in(&text) {
            report.violate(format!("{name}: stderr shows {secret}: {text}"));
        }
        if text.contains("panicked at") {
            report.violate(format!("{name}: a panic: {text}"));
        }
        line.clear();
    }
}
