use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::{Provider, soon};

/// The first message of an app.
pub(crate) fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "app", "version": "1" },
        },
    })
}

/// A program that tells the test with which arguments it was started, as `$BROWSER`.
pub(crate) struct BrowserProgram {
    told: TcpListener,
    path: PathBuf,
}

impl BrowserProgram {
    pub(crate) async fn install(directory: &Path) -> Self {
        let told = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = told.local_addr().unwrap().port();
        let path = directory.join("browser");
        let script = format!(
            "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{port}\nprintf '%s\\0' \"$@\" >&3\n\
             echo noise; echo noise >&2\n"
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { told, path }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The arguments of the next start.
    pub(crate) async fn started(&self) -> Vec<String> {
        let (mut stream, _) = soon("the browser", self.told.accept()).await.unwrap();
        let mut arguments = String::new();
        stream.read_to_string(&mut arguments).await.unwrap();
        arguments
            .split_terminator('\0')
            .map(str::to_owned)
            .collect()
    }

    /// Whether it was started and nobody has looked yet.
    pub(crate) async fn was_started(&self) -> bool {
        let moment = std::time::Duration::from_millis(300);
        tokio::time::timeout(moment, self.told.accept())
            .await
            .is_ok()
    }
}

/// The built program, started as an app starts it.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Process {
    pub(crate) fn start(
        provider: &Provider,
        home: &Path,
        browser: &BrowserProgram,
        flags: &[&str],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .arg(provider.mcp_url().as_str())
            .args(flags)
            .env_clear()
            .env("HOME", home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("MCP_BRIDGE_DIR", home.join("store"))
            .env("MCP_BRIDGE_CLIENT_SECRET", "secret-MARKER")
            .env("BROWSER", browser.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::clone(&stderr);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut said = said.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            stderr,
            reading,
        }
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).await.unwrap();
    }

    /// The next line of stdout, which is a JSON-RPC message.
    pub(crate) async fn receive(&mut self) -> Value {
        let line = soon("a line of stdout", self.stdout.next_line()).await;
        serde_json::from_str(&line.unwrap().expect("stdout is open")).unwrap()
    }

    /// The response with this id; notifications may come before it.
    pub(crate) async fn response(&mut self, id: u64) -> Value {
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                return message;
            }
        }
    }

    /// Waits until its stderr has this text.
    pub(crate) async fn says(&self, text: &str) {
        let said = async {
            while !self.stderr.lock().unwrap().contains(text) {
                tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            }
        };
        soon(text, said).await;
    }

    /// The words that it was started with.
    pub(crate) fn command_line(&self) -> String {
        let id = self.child.id().unwrap();
        std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends a signal to it and all that is in its process group, as apps do, and waits for its end.
    pub(crate) async fn end_with_group(mut self, signal: rustix::process::Signal) {
        let group = i32::try_from(self.id()).unwrap();
        let group = rustix::process::Pid::from_raw(group).unwrap();
        rustix::process::kill_process_group(group, signal).unwrap();
        soon("the end of the process", self.child.wait())
            .await
            .unwrap();
    }

    /// Closes stdin and waits for the end.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        drop(self.stdin.take());
        let status = soon("the end of the process", self.child.wait())
            .await
            .unwrap();
        soon("the end of stderr", self.reading).await.unwrap();
        let stderr = self.stderr.lock().unwrap().clone();
        (status, stderr)
    }
}
