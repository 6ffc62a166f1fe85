//! The app: starts the built bridge as its `command` and speaks MCP over its pipes.

use std::{
    ffi::OsStr,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    HEADER_MARKER, LIMIT,
    browser::BrowserDouble,
    envelope::Envelope,
    fault_server::FaultServer,
    ledger::Ledger,
    modern,
    program::{Program, started, wait_for_starting},
    secrets,
};

/// Time that the bridge may take to end once stdin is closed and nothing is in flight: it may wait
/// two seconds for the DELETE, and the machine is busy.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// The most memory that an ordinary test needs; a test with large messages says its own limit.
const MEMORY_LIMIT_MIB: u64 = 64;

/// Start of the bridge by an app, with what is checked at its end.
pub struct Launch {
    program: Program,
    memory_limit_mib: u64,
    server: Option<FaultServer>,
    orphans: Orphans,
}

/// Processes that may be left in the process group of the bridge at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orphans {
    None,
    /// Its children may outlive it, as a browser does.
    Allowed,
}

impl Launch {
    /// This program, without further arguments.
    pub fn new(program: Program) -> Self {
        Self {
            program,
            memory_limit_mib: MEMORY_LIMIT_MIB,
            server: None,
            orphans: Orphans::None,
        }
    }

    /// The bridge for this URL, with a secret header and at its most talkative.
    pub fn at_url(program: Program, url: &str) -> Self {
        Self::new(program)
            .args([url, "--debug", "--header", "X-Api-Key: ${API_KEY}"])
            .env("API_KEY", HEADER_MARKER)
    }

    /// The same for this server, whose account of the requests is checked at the end.
    pub fn at_server(program: Program, server: &FaultServer) -> Self {
        Self::at_url(program, &server.url()).server(server)
    }

    /// The server whose account is checked at the end.
    pub fn server(mut self, server: &FaultServer) -> Self {
        self.server = Some(server.clone());
        self
    }

    /// Adds arguments of the program.
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        self.with(|program| program.args(args))
    }

    /// Sets a variable of its environment.
    pub fn env(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.with(|program| program.env(name, value))
    }

    /// Changes how the program is started.
    pub fn with(mut self, change: impl FnOnce(Program) -> Program) -> Self {
        self.program = change(self.program);
        self
    }

    /// Sets the most memory that the process may take.
    pub fn memory_limit_mib(mut self, limit: u64) -> Self {
        self.memory_limit_mib = limit;
        self
    }

    /// Starts the bridge through `sh -c script`, which finds the command in `"$0" "$@"`.
    pub fn through_shell(self, script: &str) -> Self {
        self.with(|program| program.through_shell(script))
            .leaves_orphans()
    }

    /// Its children may outlive it, as a browser does.
    pub fn leaves_orphans(mut self) -> Self {
        self.orphans = Orphans::Allowed;
        self
    }

    /// Starts the bridge.
    pub fn start(self) -> App {
        let forbidden = TempDir::new().expect("a directory for the test");
        let browser = BrowserDouble::forbidden(forbidden.path());
        let program = self.program.stdin_open().browser_unless_given(&browser);
        let (command, _, home) = program.into_command();
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child = started(|| command.spawn());
        let pid = child.id().expect("it has not been waited for");
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let (reading, may_read) = watch::channel(true);
        let (lines, inbox) = mpsc::unbounded_channel();
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let err = child.stderr.take().expect("it is piped");
        App {
            stdin: child.stdin.take(),
            stdout: Some(tokio::spawn(read_lines(
                stdout,
                may_read,
                ledger.clone(),
                lines,
            ))),
            stderr_reader: Some(tokio::spawn(read_all(err, stderr.clone()))),
            child,
            pid,
            ledger,
            reading,
            inbox,
            waiting: Vec::new(),
            stderr,
            browser,
            server: self.server,
            memory_limit_mib: self.memory_limit_mib,
            ended_by_test: false,
            finished: false,
            leaves_orphans: self.orphans == Orphans::Allowed,
            checked: Checked::Bridge,
            _directories: (home, forbidden),
        }
    }
}

#[cfg(unix)]
fn process(id: u32) -> rustix::process::Pid {
    let id = i32::try_from(id).expect("a process id fits");
    rustix::process::Pid::from_raw(id).expect("a process id is positive")
}

/// Returns whether a process lives that belongs to the group of this one.
#[cfg(unix)]
fn is_group_alive(id: u32) -> bool {
    rustix::process::test_kill_process_group(process(id)).is_ok()
}

/// Other systems have no such groups.
#[cfg(not(unix))]
const fn is_group_alive(_: u32) -> bool {
    false
}

/// Messages that have to be valid in the revision of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    /// Those that the bridge made or changed.
    Bridge,
    /// The server's own as well: it speaks another revision than the app.
    All,
}

/// The app and the bridge that it started.
pub struct App {
    child: Child,
    pid: u32,
    stdin: Option<ChildStdin>,
    stdout: Option<JoinHandle<()>>,
    stderr_reader: Option<JoinHandle<()>>,
    reading: watch::Sender<bool>,
    inbox: mpsc::UnboundedReceiver<Line>,
    /// Lines that were read while the test waited for another one.
    waiting: Vec<Line>,
    ledger: Arc<Mutex<Ledger>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    browser: BrowserDouble,
    server: Option<FaultServer>,
    memory_limit_mib: u64,
    /// The test sent a signal or broke a pipe: then the exit status is its own business.
    ended_by_test: bool,
    finished: bool,
    /// Its children are not its own to see to at the end.
    leaves_orphans: bool,
    /// Messages that have to be valid.
    checked: Checked,
    /// Removed at the end.
    _directories: (Option<TempDir>, TempDir),
}

impl App {
    /// The handshake of an app of 2025-06-18; returns the result of `initialize`.
    pub async fn initialize(&mut self) -> Value {
        self.send(initialize_line("2025-06-18")).await;
        let result = self.result("init").await;
        self.send(INITIALIZED).await;
        result
    }

    /// Awaits the answer to `initialize`, and proves by a call that the session is open: the bridge itself
    /// answers `initialize` if a sign-in takes longer.
    pub async fn is_in_session(&mut self) {
        self.result("init").await;
        self.send(INITIALIZED).await;
        let id = format!("in-session-{}", self.ledger().asked());
        self.call(id.as_str(), "echo", "in session").await;
        self.result(id).await;
    }

    /// From now on everything that comes has to be valid in the revision of the app, also what the server
    /// has sent just so.
    pub fn is_translated_for(&mut self) {
        self.checked = Checked::All;
    }

    /// Writes one line.
    pub async fn send(&mut self, line: impl AsRef<str>) {
        self.send_all(&[line.as_ref()]).await;
    }

    /// Writes lines in one go.
    pub async fn send_all(&mut self, lines: &[&str]) {
        {
            let mut ledger = self.ledger();
            for line in lines {
                ledger.write(line);
            }
        }
        let mut text = lines.join("\n");
        text.push('\n');
        self.write(text.as_bytes()).await;
    }

    /// Writes bytes that are not meant to be a message.
    pub async fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let written = async {
            stdin.write_all(bytes).await?;
            stdin.flush().await
        };
        let outcome = timeout(LIMIT, written).await;
        let outcome = outcome.unwrap_or_else(|_| self.fail("the bridge does not read stdin"));
        outcome.expect("stdin is open");
    }

    /// Sends a request.
    pub async fn request(&mut self, id: impl Into<Value>, method: &str, params: &Value) {
        let id: Value = id.into();
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(line.to_string()).await;
    }

    /// A request of an app of 2026-07-28, which says who asks.
    pub async fn ask(&mut self, id: impl Into<Value>, method: &str, params: &Value) {
        self.request(id, method, &modern::signed(params)).await;
    }

    /// The probe of such an app.
    pub async fn discover(&mut self, id: impl Into<Value>) {
        self.ask(id, "server/discover", &json!({})).await;
    }

    /// A call of such an app, with a text as the tool's argument.
    pub async fn ask_tool(&mut self, id: impl Into<Value>, tool: &str, text: &str) {
        let params = json!({"name": tool, "arguments": {"text": text}});
        self.ask(id, "tools/call", &params).await;
    }

    /// Proves that another request of such an app goes through, there and back.
    pub async fn still_served_modern(&mut self) {
        let id = format!("served-{}", self.ledger().asked());
        self.ask_tool(id.as_str(), "echo", "still served").await;
        let result = self.result(id).await;
        assert_eq!(result["content"][0]["text"], "still served");
        assert_eq!(result["resultType"], "complete");
    }

    /// Calls the tool of that name, with a text as its argument.
    pub async fn call(&mut self, id: impl Into<Value>, tool: &str, text: &str) {
        let params = json!({"name": tool, "arguments": {"text": text}});
        self.request(id, "tools/call", &params).await;
    }

    /// Cancels the request with this id.
    pub async fn cancel(&mut self, id: impl Into<Value>) {
        let id: Value = id.into();
        let method = "notifications/cancelled";
        let line = json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": id}});
        self.send(line.to_string()).await;
    }

    /// Proves that another request goes through, there and back.
    pub async fn still_served(&mut self) {
        let id = format!("served-{}", self.ledger().asked());
        self.call(id.as_str(), "echo", "still served").await;
        assert_eq!(self.result(id).await["content"][0]["text"], "still served");
    }

    /// Lets the bridge find out that its connections are gone, by a request that may be sent twice. A
    /// call that is sent in the very moment in which a connection is closed could be lost with it.
    pub async fn notices_closed_connections(&mut self) {
        let id = format!("notice-{}", self.ledger().asked());
        self.request(id.as_str(), "ping", &json!({})).await;
        self.result(id).await;
    }

    /// Lets the bridge find out that the server is down, by a request that may be sent twice and is given up
    /// again.
    pub async fn notices_the_outage(&mut self) {
        let id = format!("outage-{}", self.ledger().asked());
        let params = json!({"_meta": {"progressToken": id}});
        self.request(id.as_str(), "ping", &params).await;
        self.server_sent("notifications/progress").await;
        self.cancel(id).await;
    }

    /// The answer to the request with this id, as a line.
    pub async fn response(&mut self, id: impl Into<Value>) -> Line {
        self.response_to(&Into::<Value>::into(id).to_string()).await
    }

    /// The answer to the request whose id is spelled so.
    pub async fn response_to(&mut self, id: &str) -> Line {
        let is_wanted = |line: &Line| line.message.is_response() && line.message.id() == Some(id);
        self.line(&format!("a response to {id}"), is_wanted).await
    }

    /// The result for the request with this id.
    pub async fn result(&mut self, id: impl Into<Value>) -> Value {
        let line = self.response(id).await;
        match line.message.result() {
            Some(result) => serde_json::from_str(result).expect("a result is JSON"),
            None => self.fail(&format!("an error instead of a result: {}", line.text)),
        }
    }

    /// The error for the request with this id.
    pub async fn error(&mut self, id: impl Into<Value>) -> Value {
        let line = self.response(id).await;
        match line.message.error() {
            Some(error) => error,
            None => self.fail(&format!("no error: {}", line.text)),
        }
    }

    /// The error of the bridge itself for the request with this id; returns its `data`. Where the
    /// cause may be seen in two ways, `kind` is both: `a|b`.
    pub async fn own_error(&mut self, id: impl Into<Value>, kind: &str) -> Value {
        let error = self.error(id).await;
        if error["code"] != -32603
            || error["data"]["source"] != "mcp-bridge"
            || !kind.split('|').any(|kind| error["data"]["kind"] == kind)
            || error["message"].as_str().is_none_or(str::is_empty)
        {
            self.fail(&format!("not an error of the kind {kind}: {error}"));
        }
        error["data"].clone()
    }

    /// The error with `id: null`, for what cannot be answered otherwise.
    pub async fn error_without_id(&mut self) -> Value {
        self.error(Value::Null).await
    }

    /// The next request or notification of the server with this method.
    pub async fn server_sent(&mut self, method: &str) -> Line {
        let is_wanted = |line: &Line| line.message.method().as_deref() == Some(method);
        self.line(method, is_wanted).await
    }

    async fn line(&mut self, what: &str, is_wanted: impl Fn(&Line) -> bool) -> Line {
        if let Some(position) = self.waiting.iter().position(&is_wanted) {
            return self.waiting.remove(position);
        }
        loop {
            match timeout(LIMIT, self.inbox.recv()).await {
                Ok(Some(line)) if is_wanted(&line) => return line,
                Ok(Some(line)) => self.waiting.push(line),
                Ok(None) => self.fail(&format!("stdout ended before {what}")),
                Err(_) => self.fail(&format!("{what} did not come")),
            }
        }
    }

    /// The lines that come next are these and no others in between, each named by its method, or by its id if
    /// it is a response.
    pub async fn next_lines_are(&mut self, expected: &[&str]) {
        let mut names = Vec::new();
        for expected in expected {
            let line = self.line(expected, |_| true).await;
            let id = line.message.id().map(|id| id.trim_matches('"').to_owned());
            names.push(line.message.method().or(id).unwrap_or_default());
        }
        assert_eq!(names, expected);
    }

    /// The lines that have been read and that no test has asked for, oldest first.
    pub fn unread(&mut self) -> Vec<Line> {
        while let Ok(line) = self.inbox.try_recv() {
            self.waiting.push(line);
        }
        std::mem::take(&mut self.waiting)
    }

    /// Leaves stdout unread until [`Self::read_stdout`].
    pub fn stop_reading_stdout(&self) {
        self.reading.send_replace(false);
    }

    /// Reads stdout again.
    pub fn read_stdout(&self) {
        self.reading.send_replace(true);
    }

    /// Closes the app's end of stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Closes the app's end of stdout, as an app that was killed.
    pub async fn close_stdout(&mut self) {
        self.ended_by_test = true;
        let task = self.stdout.take().expect("stdout is open");
        task.abort();
        let _ = task.await;
        wait_for_starting();
    }

    /// Sends a signal to the process that was started.
    #[cfg(unix)]
    pub fn signal(&mut self, signal: rustix::process::Signal) {
        self.ended_by_test = true;
        self.leaves_orphans |= signal == rustix::process::Signal::KILL;
        rustix::process::kill_process(self.process(), signal).expect("it is running");
    }

    /// Sends a signal to the process and all that is in its process group, as apps do, and waits for the end.
    #[cfg(unix)]
    pub async fn end_with_group(mut self, signal: rustix::process::Signal) -> AppOutput {
        self.ended_by_test = true;
        self.leaves_orphans = true;
        rustix::process::kill_process_group(self.process(), signal).expect("it is running");
        self.finish().await
    }

    /// Kills the process.
    pub async fn killed(mut self) -> AppOutput {
        self.ended_by_test = true;
        self.leaves_orphans = true;
        self.child.start_kill().expect("it is running");
        self.finish().await
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    #[cfg(unix)]
    fn process(&self) -> rustix::process::Pid {
        process(self.pid)
    }

    /// The bridge refuses to start: with status 2 and a message on stderr, which is returned, and
    /// without a look at stdin, which is still open.
    pub async fn refuses_to_start(mut self) -> String {
        self.ended_by_test = true;
        let status = self.exit().await;
        self.outputs_are_at_their_end().await;
        if status.code() != Some(2) || !self.unread().is_empty() || self.stderr().is_empty() {
            self.fail(&format!("not a refusal: {status}"));
        }
        self.finish().await.stderr
    }

    /// The bridge ends by itself; [`Self::finish`] then accepts any status.
    pub async fn ends_by_itself(&mut self) -> ExitStatus {
        self.ended_by_test = true;
        self.exit().await
    }

    /// Waits until all that hold stdout are gone.
    pub async fn stdout_ends(&mut self) {
        self.ended_by_test = true;
        let stdout = self.stdout.as_mut().expect("nobody took it");
        if timeout(EXIT_LIMIT, stdout).await.is_err() {
            self.fail("stdout stays open");
        }
        self.stdout = None;
    }

    /// Waits for the end of the process.
    pub async fn exit(&mut self) -> ExitStatus {
        match timeout(EXIT_LIMIT, self.child.wait()).await {
            Ok(status) => status.expect("it is our child"),
            Err(_) => self.fail("the process does not end"),
        }
    }

    /// Waits until its stderr has this text.
    pub async fn says(&self, text: &str) {
        /// Pause before another look.
        const LOOK: Duration = Duration::from_millis(25);
        let said = async {
            while !self.stderr().contains(text) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if timeout(LIMIT, said).await.is_err() {
            self.fail(&format!("stderr does not say {text}"));
        }
    }

    /// Standard error of the process so far.
    pub fn stderr(&self) -> String {
        let bytes = self.stderr.lock().expect("no reader panics");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of every test: what must hold whatever it is about.
    ///
    /// - Nothing but JSON-RPC messages came on stdout, one a line.
    /// - Every request was answered exactly once, unless it was cancelled or stdin was closed before.
    /// - Every message that the server did not send just so is valid by the official schema of the revision
    ///   that the app speaks.
    /// - No secret was shown on stdout or stderr, and no browser was opened.
    /// - The requests to the server were well-formed, within the limit on their number, and the
    ///   memory of the process within its own.
    /// - The pipe is alive to the last; the process ends when stdin is closed, with status 0, and
    ///   leaves no other process behind.
    pub async fn finish(mut self) -> AppOutput {
        self.read_stdout();
        if self.stdin.is_some() && !self.ended_by_test {
            self.all_are_answered().await;
            self.pipe_is_alive().await;
            self.memory_is_bounded();
            self.close_stdin();
        }
        let status = self.exit().await;
        if !self.ended_by_test && !status.success() {
            self.fail(&format!("the process ended with {status}"));
        }
        self.outputs_are_at_their_end().await;
        self.outputs_are_clean();
        // Who reaps an orphan is not for us to say, and until then it is in the group.
        if !self.leaves_orphans && is_group_alive(self.pid) {
            self.fail("a process is left behind");
        }
        if let Some(server) = &self.server {
            let faults = server.faults();
            assert!(faults.is_empty(), "{faults:#?}\n{}", server.story());
        }
        self.finished = true;
        AppOutput {
            stderr: self.stderr(),
            unread: self.unread(),
        }
    }

    async fn all_are_answered(&mut self) {
        while !self.ledger().unanswered().is_empty() {
            match timeout(LIMIT, self.inbox.recv()).await {
                Ok(Some(line)) => self.waiting.push(line),
                Ok(None) => self.fail("stdout ended before all were answered"),
                Err(_) => self.fail("not all were answered"),
            }
        }
    }

    /// A message that is no request is refused by the bridge itself, so it needs no server.
    async fn pipe_is_alive(&mut self) {
        let id = "the pipe is alive";
        self.send(json!({"jsonrpc": "2.0", "id": id}).to_string())
            .await;
        let error = self.error(id).await;
        assert_eq!(error["code"], -32600, "{error}");
    }

    fn memory_is_bounded(&self) {
        let Some(peak) = peak_memory_mib(self.pid) else {
            return;
        };
        if peak > self.memory_limit_mib {
            let limit = self.memory_limit_mib;
            self.fail(&format!("{peak} MiB of memory, with a limit of {limit}"));
        }
    }

    async fn outputs_are_at_their_end(&mut self) {
        for reader in [self.stdout.take(), self.stderr_reader.take()] {
            let Some(reader) = reader else { continue };
            match timeout(LIMIT, reader).await {
                Ok(ended) => ended.expect("the reader lives"),
                Err(_) => self.fail("an output does not end with the process"),
            }
        }
    }

    fn outputs_are_clean(&self) {
        let stderr = self.stderr();
        if let Some(secret) = secrets::shown_in(&stderr) {
            self.fail(&format!("stderr shows {secret}"));
        }
        if stderr.contains("panicked at") {
            self.fail("a panic");
        }
        let violations = self.ledger().violations().to_vec();
        if !violations.is_empty() {
            self.fail(&format!("{violations:#?}"));
        }
        let own = self
            .server
            .as_ref()
            .filter(|_| self.checked == Checked::Bridge);
        let sent = own.map(FaultServer::sent).unwrap_or_default();
        let invalid = self.ledger().invalid_messages(&sent);
        if !invalid.is_empty() {
            self.fail(&invalid.join("\n"));
        }
        if self.browser.was_started_by_now() {
            self.fail("a browser was opened");
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no reader panics")
    }

    /// Ends the test with everything that is known.
    fn fail(&self, why: &str) -> ! {
        const SHOWN: usize = 8_000;
        let stderr: Vec<_> = self.stderr().chars().rev().take(SHOWN).collect();
        let stderr: String = stderr.into_iter().rev().collect();
        let server = self
            .server
            .as_ref()
            .map(FaultServer::story)
            .unwrap_or_default();
        let waiting: Vec<_> = self.waiting.iter().map(Line::shown).collect();
        let unanswered = self.ledger().unanswered();
        let violations = self.ledger().violations().to_vec();
        panic!(
            "{why}\nunanswered: {unanswered:?}\nviolations: {violations:#?}\nread: {waiting:#?}\n\
             requests:\n{server}\nstderr:\n{stderr}"
        );
    }
}

impl Drop for App {
    fn drop(&mut self) {
        assert!(
            self.finished || std::thread::panicking(),
            "a test must end with finish(), which checks what must hold in every test"
        );
    }
}

/// Output of a bridge that has ended, as far as the test has not asked for it.
pub struct AppOutput {
    /// All of standard error.
    pub stderr: String,
    /// Lines of stdout that the test has not asked for.
    pub unread: Vec<Line>,
}

/// A line of stdout.
#[derive(Debug, Clone)]
pub struct Line {
    /// The line without its end.
    pub text: String,
    /// The members of the message.
    pub message: Envelope,
}

impl Line {
    fn shown(&self) -> String {
        const SHOWN: usize = 300;
        self.text.chars().take(SHOWN).collect()
    }

    /// The whole message, for tests to which the spelling does not matter.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text).expect("a line is JSON")
    }
}

/// The notification that ends the handshake.
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// `initialize` with the id `"init"`.
pub fn initialize_line(version: &str) -> String {
    let params = json!({
        "protocolVersion": version,
        "capabilities": {"sampling": {}, "roots": {"listChanged": true}},
        "clientInfo": {"name": "app-double", "version": "1"}
    });
    json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params}).to_string()
}

async fn read_lines(
    stdout: ChildStdout,
    mut may_read: watch::Receiver<bool>,
    ledger: Arc<Mutex<Ledger>>,
    lines: mpsc::UnboundedSender<Line>,
) {
    let mut stdout = BufReader::new(stdout);
    while may_read.wait_for(|may| *may).await.is_ok() {
        let mut line = Vec::new();
        let count = stdout.read_until(b'\n', &mut line).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        // A last line without its end stays as it is and is judged with the missing end.
        let complete = line.pop_if(|last| *last == b'\n').is_some();
        let mut ledger = ledger.lock().expect("no reader panics");
        ledger.read(&line, complete);
        let text = String::from_utf8_lossy(&line).into_owned();
        let message = Envelope::parse(&text).unwrap_or_default();
        let _ = lines.send(Line { text, message });
    }
}

async fn read_all(mut from: impl AsyncReadExt + Unpin, into: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        into.lock()
            .expect("no reader panics")
            .extend(&buffer[..count]);
    }
}

/// The most memory the process ever had; known on Linux only.
pub fn peak_memory_mib(pid: u32) -> Option<u64> {
    // Wine, too, shows these files, which know its processes by other numbers.
    if !cfg!(target_os = "linux") {
        return None;
    }
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    if program.file_name()?.to_str()?.starts_with("qemu-") {
        // Most of it would be the emulator's.
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024)
}
