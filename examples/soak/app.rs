//! The app: asks, and keeps account of the answers.

use std::{
    collections::BTreeMap,
    env, fmt,
    process::{ExitStatus, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    random::Random,
    support::{HEADER_MARKER, LIMIT, ledger::Ledger},
};

/// The largest payload of a call.
const LARGEST_BYTES: u64 = 64 * 1024;

/// One call in so many is cancelled at once.
const CALLS_PER_CANCELLATION: u64 = 50;

/// How the calls ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    results: usize,
    cancelled: usize,
    /// By kind, or by the server's code: how many, and the words of the last.
    errors: BTreeMap<String, (usize, String)>,
}

/// The bridge, and the app's account of it.
pub(crate) struct App {
    child: Child,
    pid: u32,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    ledger: Ledger,
    /// The calls that wait for an answer, with what the answer must hold.
    open: BTreeMap<String, Value>,
    tally: Tally,
    complaints: Vec<String>,
    calm: usize,
    _home: TempDir,
}

impl App {
    /// Starts the bridge and opens the conversation.
    pub(crate) async fn start(url: &str) -> Self {
        let home = TempDir::new().expect("a directory");
        let header = format!("X-Api-Key: {HEADER_MARKER}");
        let mut child = Command::new(env::current_exe().expect("this program has a path"))
            .args([
                "bridge",
                url,
                "--silent",
                "--request-timeout",
                "2",
                "--header",
                &header,
            ])
            .env("MCP_BRIDGE_DIR", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let mut app = Self {
            pid: child.id().expect("it runs"),
            stdin: child.stdin.take().expect("it is piped"),
            stdout: BufReader::new(stdout).lines(),
            child,
            ledger: Ledger::default(),
            open: BTreeMap::new(),
            tally: Tally::default(),
            complaints: Vec::new(),
            calm: 0,
            _home: home,
        };
        let params = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "soak", "version": "1"}
        });
        app.ask(json!("init"), "initialize", params, Value::Null)
            .await;
        app.settle().await;
        app.write(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        app.tally = Tally::default();
        app
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Makes one of the mixed calls, as soon as fewer than `limit` are under way.
    pub(crate) async fn call(&mut self, number: usize, random: &mut Random, limit: usize) {
        while self.open.len() >= limit {
            self.read().await;
        }
        // Numbers and strings in turn: both may look alike.
        let id = if number.is_multiple_of(2) {
            json!(number)
        } else {
            json!((number - 1).to_string())
        };
        let text = format!("call {number}");
        match random.below(10) {
            0..=5 => {
                let expected = json!([{"type": "text", "text": text}]);
                let params = json!({"name": "echo", "arguments": {"text": text}});
                self.ask(
                    id.clone(),
                    "tools/call",
                    params,
                    json!({"content": expected}),
                )
                .await;
            }
            6 => {
                let params = json!({"n": number});
                self.ask(id.clone(), "tools/list", params, Value::Null)
                    .await;
            }
            7 => {
                let params = json!({"n": number});
                self.ask(id.clone(), "ping", params, Value::Null).await;
            }
            _ => {
                let size = usize::try_from(random.below(LARGEST_BYTES)).expect("it is small");
                let params = json!({"n": number, "blob": "x".repeat(size)});
                self.ask(id.clone(), "vendor/mirror", params.clone(), params)
                    .await;
            }
        }
        if random.one_in(CALLS_PER_CANCELLATION) {
            self.tally.cancelled += 1;
            self.open.remove(&id.to_string());
            let params = json!({"requestId": id});
            let method = "notifications/cancelled";
            self.write(json!({"jsonrpc": "2.0", "method": method, "params": params}))
                .await;
        }
    }

    /// Calls one after another, all of which must succeed.
    pub(crate) async fn calm(&mut self, calls: usize) {
        let failed = self.tally.failed();
        for _ in 0..calls {
            self.calm += 1;
            let params = json!({"name": "echo", "arguments": {"text": "calm"}});
            self.ask(
                json!(format!("calm {}", self.calm)),
                "tools/call",
                params,
                Value::Null,
            )
            .await;
            self.settle().await;
        }
        if self.tally.failed() > failed {
            self.complaints
                .push("a call failed although the server was well".to_owned());
        }
    }

    /// Waits until every call has its answer.
    pub(crate) async fn settle(&mut self) {
        while !self.open.is_empty() {
            self.read().await;
        }
    }

    /// Closes stdin and waits for the end.
    pub(crate) async fn leave(mut self) -> ExitStatus {
        drop(self.stdin);
        let ended = timeout(LIMIT, self.child.wait()).await;
        ended
            .expect("the bridge ends when stdin does")
            .expect("it is our child")
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// What was wrong with the answers.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = self.complaints.clone();
        complaints.extend_from_slice(self.ledger.violations());
        let unanswered = self.ledger.unanswered();
        complaints.extend(
            unanswered
                .into_iter()
                .map(|id| format!("no answer to {id}")),
        );
        complaints
    }

    async fn ask(&mut self, id: Value, method: &str, params: Value, expected: Value) {
        self.open.insert(id.to_string(), expected);
        self.write(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
    }

    async fn write(&mut self, message: Value) {
        let mut line = message.to_string();
        self.ledger.write(&line);
        line.push('\n');
        let written = timeout(LIMIT, self.stdin.write_all(line.as_bytes())).await;
        written
            .expect("the bridge reads stdin")
            .expect("stdin is open");
    }

    /// Reads one line and enters it.
    async fn read(&mut self) {
        let line = timeout(LIMIT, self.stdout.next_line()).await;
        let Ok(line) = line else {
            let waiting: Vec<_> = self.open.keys().collect();
            panic!("nothing comes any more; no answer to {waiting:?}");
        };
        let line = line.expect("stdout is readable").expect("stdout is open");
        self.ledger.read(line.as_bytes(), true);
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(expected) = self.open.remove(&message["id"].to_string()) else {
            return;
        };
        if let Some(error) = message.get("error") {
            let kind = error["data"]["kind"].as_str();
            let kind = kind.map_or_else(|| error["code"].to_string(), str::to_owned);
            let (count, words) = self.tally.errors.entry(kind).or_default();
            *count += 1;
            error["message"]
                .as_str()
                .unwrap_or_default()
                .clone_into(words);
            return;
        }
        self.tally.results += 1;
        let result = &message["result"];
        let is_own = expected.is_null() || *result == expected || result["resumed"] == true;
        if !is_own {
            let id = &message["id"];
            self.complaints
                .push(format!("the answer to {id} belongs to another call"));
        }
    }
}

impl Tally {
    fn failed(&self) -> usize {
        self.errors.values().map(|(count, _)| count).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            results,
            cancelled,
            errors,
        } = self;
        write!(
            f,
            "results {results}, cancelled {cancelled}, errors {}:",
            self.failed()
        )?;
        for (kind, (count, words)) in errors {
            write!(f, "\n  {count:>6} {kind}, such as: {words}")?;
        }
        Ok(())
    }
}
