//! The program under test as a child process, with nothing inherited from the environment of the tests.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{PoisonError, RwLock};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};

use crate::browser::BrowserDouble;
use crate::limits::soon;
use crate::secrets;

/// Held while a process starts. Until its exec it has all the descriptors of the tests, so a pipe that a test closes in that
/// moment is not closed for the program at its other end.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a process; returns after its exec.
pub(crate) fn started<C>(spawn: impl FnOnce() -> std::io::Result<C>) -> C {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    spawn().expect("the program starts")
}

/// Waits until the processes that are just starting have come to their exec.
pub(crate) fn wait_for_starting() {
    drop(STARTING.write().unwrap_or_else(PoisonError::into_inner));
}

/// The address of a browser that does not exist: who opens one fails.
const NO_BROWSER: &str = "/nowhere/is/a/browser";

/// Builder of a process of the program. It has a home directory of its own, and no terminal.
pub struct Program {
    path: PathBuf,
    wrapper: Vec<OsString>,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    home: Option<TempDir>,
    directory: PathBuf,
    stdin: Input,
    stdout: Stdio,
    stderr: Stdio,
}

/// Source of standard input.
enum Input {
    Text(String),
    /// The test writes while the program runs.
    Open,
    From(Stdio),
}

impl Program {
    /// The program at this path, in a home directory of its own.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let home = TempDir::new().expect("a directory for the test");
        let mut program = Self {
            path: path.into(),
            wrapper: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            home: None,
            directory: home.path().to_owned(),
            stdin: Input::Text(String::new()),
            stdout: Stdio::piped(),
            stderr: Stdio::piped(),
        };
        program = program
            .home_variables(home.path())
            // Without it the session bus of whoever runs the tests would be found.
            .env("XDG_RUNTIME_DIR", home.path().join("run"))
            .env("MCP_BRIDGE_DIR", home.path().join("bridge"))
            .env("BROWSER", NO_BROWSER);
        program.home = Some(home);
        program
    }

    /// Path of the program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its working directory, which is its home unless a test says otherwise.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The same at another path.
    pub fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = path.into();
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Removes a variable of the environment.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.env.remove(OsStr::new(name));
        self
    }

    /// The variables that tell where the home directory is; on Windows also where the system is, which some of its libraries
    /// do not work without.
    pub fn home_variables(self, home: &Path) -> Self {
        let program = self.env("HOME", home);
        if !cfg!(windows) {
            return program;
        }
        let of_system = ["SystemRoot", "SystemDrive", "ComSpec", "PATHEXT"];
        let of_system = of_system.map(|name| (name, std::env::var_os(name).unwrap_or_default()));
        let program = of_system
            .into_iter()
            .fold(program, |program, (name, value)| program.env(name, value));
        program
            .env("USERPROFILE", home)
            .env("APPDATA", home.join("AppData").join("Roaming"))
            .env("LOCALAPPDATA", home.join("AppData").join("Local"))
    }

    /// A home directory of the test's, with the credentials in `store`.
    pub fn home(self, home: &Path) -> Self {
        let store = home.join("store");
        let mut program = self.home_variables(home).env("MCP_BRIDGE_DIR", store);
        home.clone_into(&mut program.directory);
        program
    }

    /// The working directory.
    pub fn in_directory(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// The search path of whoever runs the tests.
    pub fn search_path(self) -> Self {
        self.env("PATH", std::env::var_os("PATH").unwrap_or_default())
    }

    /// The browser that it finds under each name and, unless the test has given another, in `$BROWSER`.
    pub(crate) fn browser_unless_given(mut self, browser: &BrowserDouble) -> Self {
        let is_given = |program: &Self, name: &str, default: Option<&str>| {
            let value = program.env.get(OsStr::new(name));
            value.is_some_and(|value| default.is_none_or(|default| value != default))
        };
        if !is_given(&self, "BROWSER", Some(NO_BROWSER)) {
            self = self.browser(browser);
        }
        if !is_given(&self, "PATH", None) {
            self = self.env("PATH", browser.folder());
        }
        self
    }

    /// The browser that it finds.
    pub fn browser(self, browser: &BrowserDouble) -> Self {
        self.env("BROWSER", browser.path())
    }

    /// Starts it through another program, which gets its path and arguments behind these words.
    pub fn through<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        self.wrapper = words
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        self
    }

    /// Starts it through `sh -c script`, which finds the command in `"$0" "$@"`.
    pub fn through_shell(self, script: &str) -> Self {
        self.through(["/bin/sh", "-c", script])
    }

    /// Standard input.
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Input::Text(text.to_owned());
        self
    }

    /// Leaves standard input open, for [`Running::write_line`].
    pub fn stdin_open(mut self) -> Self {
        self.stdin = Input::Open;
        self
    }

    /// Lets it read from there instead of a pipe.
    pub fn stdin_from(mut self, input: impl Into<Stdio>) -> Self {
        self.stdin = Input::From(input.into());
        self
    }

    /// Lets it write its output there, which is then not in [`CommandOutput::stdout`].
    pub fn stdout_to(mut self, output: impl Into<Stdio>) -> Self {
        self.stdout = output.into();
        self
    }

    /// Lets it write its errors there.
    pub fn stderr_to(mut self, output: impl Into<Stdio>) -> Self {
        self.stderr = output.into();
        self
    }

    /// The command, the text for its standard input, and the home directory, which has to outlive the process.
    pub(crate) fn into_command(self) -> (std::process::Command, Option<String>, Option<TempDir>) {
        let mut words = self.wrapper.into_iter().chain([self.path.into_os_string()]);
        let mut command = std::process::Command::new(words.next().expect("the program"));
        let (input, text) = match self.stdin {
            Input::Text(text) => (Stdio::piped(), Some(text)),
            Input::Open => (Stdio::piped(), None),
            Input::From(input) => (input, None),
        };
        command
            .args(words)
            .args(self.args)
            .env_clear()
            .envs(self.env)
            .current_dir(self.directory)
            .stdin(input)
            .stdout(self.stdout)
            .stderr(self.stderr);
        (command, text, self.home)
    }

    /// The command alone, for those who start it themselves; with a home of the test's, which stays.
    pub fn command(self) -> Command {
        let (command, _, _) = self.into_command();
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command
    }

    /// Starts it; what it prints is read by [`Running::ends`].
    pub fn spawn(self) -> Running {
        let (command, text, home) = self.into_command();
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        let mut child = started(|| command.spawn());
        let mut stdin = child.stdin.take();
        if let Some(text) = text {
            let input = stdin.take();
            tokio::spawn(async move {
                // A program that does not read it may have closed it.
                let _ = input.expect("it is piped").write_all(text.as_bytes()).await;
            });
        }
        Running {
            stderr: child.stderr.take().map(BufReader::new),
            said: Vec::new(),
            child,
            stdin,
            _home: home,
        }
    }

    /// Runs it to its end.
    pub async fn run(self) -> CommandOutput {
        self.spawn().ends().await
    }

    /// Runs it to its end, whatever ends it; nobody reads what it prints.
    pub fn run_unread(self) {
        let program = self.stdout_to(Stdio::null()).stderr_to(Stdio::null());
        let (mut command, _, _home) = program.into_command();
        command.status().expect("the program starts");
    }

    /// The same for a test without a runtime.
    pub fn run_blocking(self) -> CommandOutput {
        let (mut command, text, _home) = self.into_command();
        let mut child = started(|| command.spawn());
        if let (Some(text), Some(mut stdin)) = (text, child.stdin.take()) {
            let _ = std::io::Write::write_all(&mut stdin, text.as_bytes());
        }
        let output = child.wait_with_output().expect("it is our child");
        CommandOutput::new(output.status, output.stdout, output.stderr)
    }
}

/// A command that has not ended.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stderr: Option<BufReader<ChildStderr>>,
    /// The part of stderr that was read so far.
    said: Vec<u8>,
    _home: Option<TempDir>,
}

impl Running {
    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Writes a line to its standard input.
    pub async fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin was left open");
        let line = format!("{line}\n");
        stdin
            .write_all(line.as_bytes())
            .await
            .expect("it reads stdin");
    }

    /// The next line of its stderr.
    pub async fn next_line(&mut self) -> String {
        let stderr = self.stderr.as_mut().expect("it is piped");
        let start = self.said.len();
        let read = stderr.read_until(b'\n', &mut self.said);
        let count = soon("a line of stderr", read).await;
        assert!(count.expect("it is a pipe") > 0, "it says nothing more");
        let line = String::from_utf8_lossy(&self.said[start..]);
        line.trim_end().to_owned()
    }

    /// Waits until a line of its stderr has this text.
    pub async fn says(&mut self, text: &str) {
        while !self.next_line().await.contains(text) {}
    }

    /// Interrupts it, as a person does with Ctrl-C.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        let pid = i32::try_from(self.id()).expect("a process id fits");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id is positive");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is running");
    }

    /// Waits for its exit status; for a program whose output goes elsewhere, as to a terminal.
    pub async fn status(&mut self) -> i32 {
        let status = soon("the end", self.child.wait()).await;
        let status = status.expect("it is our child");
        status.code().expect("no signal ended it")
    }

    /// Its exit status, while nobody reads what it prints.
    pub async fn ends_unread(mut self) -> i32 {
        self.status().await
    }

    /// Waits for its end, whatever ended it.
    pub async fn is_gone(mut self) {
        soon("the end", self.child.wait())
            .await
            .expect("it is our child");
    }

    /// Closes its standard input and waits for its end.
    pub async fn ends(mut self) -> CommandOutput {
        drop(self.stdin.take());
        let mut out = Vec::new();
        let stdout = self.child.stdout.take();
        let read_stdout = async {
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut out).await.expect("it is a pipe");
            }
        };
        let read_stderr = async {
            if let Some(stderr) = &mut self.stderr {
                let read = stderr.read_to_end(&mut self.said).await;
                read.expect("it is a pipe");
            }
        };
        let end = async { tokio::join!(read_stdout, read_stderr, self.child.wait()) };
        let ((), (), status) = soon("the end of a command", end).await;
        CommandOutput::new(status.expect("it is our child"), out, self.said)
    }
}

/// Output of a command that has ended.
#[derive(Debug)]
pub struct CommandOutput {
    /// The exit status.
    pub status: i32,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// Checks what must hold for every command: it ended by itself, has printed text, without a secret, and has not
    /// panicked.
    fn new(status: std::process::ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        let output = Self {
            status: status.code().expect("no signal ended it"),
            stdout: text(stdout),
            stderr: text(stderr),
        };
        for text in [&output.stdout, &output.stderr] {
            let shown = secrets::shown_to_user(text);
            assert_eq!(shown, None, "a secret is printed: {text}");
        }
        assert!(!output.stderr.contains("panicked at"), "{}", output.stderr);
        output
    }

    /// True for the exit status 0.
    pub fn succeeded(&self) -> bool {
        self.status == 0
    }

    /// Checks all of it.
    #[track_caller]
    pub fn is(&self, status: i32, stdout: &str, stderr: &str) {
        assert_eq!(self.stdout, stdout);
        assert_eq!(self.stderr, stderr);
        assert_eq!(self.status, status);
    }
}
