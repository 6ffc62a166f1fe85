//! A command for people: run to its end, with what it says and its status.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::timeout,
};

use super::LIMIT;

/// How a person runs the program: with nothing inherited, and no terminal.
pub(crate) struct Run {
    command: Command,
    home: TempDir,
    stdin: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn new<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        let home = TempDir::new().expect("a directory for the test");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        command
            .args(args)
            .env_clear()
            .env("HOME", home.path())
            .env("MCP_BRIDGE_DIR", home.path().join("bridge"))
            .env("BROWSER", "/nowhere/is/a/browser")
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self {
            command,
            home,
            stdin: String::new(),
        }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        text.clone_into(&mut self.stdin);
        self
    }

    /// Lets it read from there instead of a pipe.
    #[cfg(unix)]
    pub(crate) fn stdin_from(mut self, input: impl Into<Stdio>) -> Self {
        self.command.stdin(input);
        self
    }

    /// Lets it write its output there, which is then not in [`Ran::stdout`].
    #[cfg(unix)]
    pub(crate) fn stdout_to(mut self, output: impl Into<Stdio>) -> Self {
        self.command.stdout(output);
        self
    }

    /// The directory that it is run in.
    pub(crate) fn directory(&self) -> &Path {
        self.home.path()
    }

    pub(crate) async fn until_its_end(self) -> Ran {
        self.start().await.ends().await
    }

    pub(crate) async fn start(mut self) -> Running {
        let mut child = self.command.spawn().expect("the program starts");
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read it may have closed it.
            let _ = stdin.write_all(self.stdin.as_bytes()).await;
        }
        Running {
            child,
            _home: self.home,
        }
    }
}

/// A command that has not ended.
pub(crate) struct Running {
    child: Child,
    _home: TempDir,
}

impl Running {
    /// Interrupts it, as a person does with Ctrl-C.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().expect("it has not been waited for");
        let pid = i32::try_from(pid).expect("a process id fits");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id is positive");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is running");
    }

    /// Its exit status, while nobody reads what it prints.
    #[cfg(unix)]
    pub(crate) async fn ends_unread(mut self) -> i32 {
        let status = timeout(LIMIT, self.child.wait()).await;
        let status = status.expect("an end").expect("it is our child");
        status.code().expect("no signal ended it")
    }

    pub(crate) async fn ends(self) -> Ran {
        let output = timeout(LIMIT, self.child.wait_with_output()).await;
        let output = output.expect("an end").expect("it is our child");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
        Ran {
            status: output.status.code().expect("no signal ended it"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
