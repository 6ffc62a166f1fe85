//! An app: starts bridges, asks, and keeps account of the answers.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use mcp_bridge_testkit::{ledger::Ledger, modern};

use crate::{
    bridge::{Bridge, Launch},
    process::{self, Usage},
    random::Random,
    service::Speaks,
    tag::Tag,
    world::{APPS, AppKind, Era, SERVERS, Shared},
};

/// The largest payload of a call, in bytes.
const LARGEST_BYTES: u64 = 16 * 1024;

/// The pause before another first message, where the proxy was down.
const PROXY_PAUSE: Duration = Duration::from_millis(500);

/// The code of an error that tells an app to begin as one of the legacy era.
const METHOD_NOT_FOUND: i64 = -32601;

/// Calls under way at once.
const MOST_OPEN: usize = 20;

/// The pause between two messages, in milliseconds: from, and up to.
const PAUSE_MS: (u64, u64) = (20, 300);

/// One call in so many is cancelled at once.
const CALLS_PER_CANCELLATION: u64 = 40;

/// The longest that any request may go without an answer: what it waits for a server or a sign-in, its own
/// timeout, and a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// After all faults: how long a bridge may take to serve again. Its longest pause between two attempts is a
/// minute.
const RECOVERY_LIMIT: Duration = Duration::from_secs(120);
const RECOVERY_PAUSE: Duration = Duration::from_millis(500);

/// The longest that a process may take until it handles signals.
const START_LIMIT: Duration = Duration::from_secs(5);

/// After all faults: calls that succeed one after the other. A token may run out in between while the bridge still leaves
/// the authorization server alone, as that wished.
const CALM_CALLS: usize = 20;

/// Commands for an app.
pub(crate) enum Command {
    Kill {
        pause: Duration,
    },
    Stop {
        time: Duration,
    },
    Leave {
        pause: Duration,
    },
    Terminate {
        pause: Duration,
    },
    /// Writes nothing more of its own accord, gets all answers, and then calls that must succeed.
    Calm(oneshot::Sender<Option<Usage>>),
    /// Goes on as before.
    Resume,
    /// Leaves for good.
    Finish(oneshot::Sender<()>),
}

/// Expected answer to a request.
enum Expected {
    Anything,
    /// A result with this text.
    Text(String),
    /// A result with these params.
    Mirror(Value),
}

struct Open {
    at: Instant,
    expected: Expected,
    /// The last progress that was reported.
    progress: f64,
}

/// Conditions of a call, by which its answer may be an error or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Storm,
    Calm,
}

pub(crate) struct App {
    number: usize,
    kind: &'static AppKind,
    /// The era in which it talks with this bridge: an app of the modern era knows the other one as well.
    era: Era,
    shared: Arc<Shared>,
    random: Random,
    commands: mpsc::UnboundedReceiver<Command>,
    generation: u64,
    bridge: Bridge,
    ledger: Ledger,
    violations: usize,
    open: BTreeMap<String, Open>,
    /// True once the bridge has answered the first request.
    opened: bool,
    written: u64,
    ticks: u64,
    news: u64,
    mood: Mood,
    /// The time that the bridge was stopped for, all in all.
    stopped: Duration,
}

impl App {
    /// Starts the app; it ends with the last of its commands.
    pub(crate) fn start(
        number: usize,
        seed: u64,
        shared: &Arc<Shared>,
    ) -> mpsc::UnboundedSender<Command> {
        let (sender, commands) = mpsc::unbounded_channel();
        let shared = shared.clone();
        let kind = &APPS[number];
        tokio::spawn(async move {
            let bridge = start_bridge(number, 1, &shared);
            let app = Self {
                number,
                kind,
                era: kind.era,
                shared,
                random: Random::new(seed),
                commands,
                generation: 1,
                bridge,
                ledger: Ledger::default(),
                violations: 0,
                open: BTreeMap::new(),
                opened: false,
                written: 0,
                ticks: 0,
                news: 0,
                mood: Mood::Storm,
                stopped: Duration::ZERO,
            };
            app.run().await;
        });
        sender
    }

    async fn run(mut self) {
        self.begin().await;
        loop {
            let (least, end) = PAUSE_MS;
            let pause = Duration::from_millis(self.random.between(least, end));
            tokio::select! {
                command = self.commands.recv() => match command {
                    None => return,
                    Some(Command::Finish(done)) => {
                        self.leave().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.obey(command).await,
                },
                line = self.bridge.line() => match line {
                    Some(line) => self.read(&line).await,
                    None => self.lost().await,
                },
                () = sleep(pause) => self.act().await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Kill { pause } => {
                self.kill().await;
                self.restart(pause).await;
            }
            Command::Stop { time } => {
                self.bridge.signal(Signal::STOP);
                sleep(time).await;
                self.stopped += time;
                self.bridge.signal(Signal::CONT);
            }
            Command::Leave { pause } => {
                self.leave().await;
                self.restart(pause).await;
            }
            Command::Terminate { pause } => {
                self.bridge.signal(Signal::TERM);
                self.ends().await;
                self.restart(pause).await;
            }
            Command::Calm(done) => {
                let usage = self.calm().await;
                let _ = done.send(usage);
            }
            Command::Resume => self.mood = Mood::Storm,
            Command::Finish(_) => {}
        }
    }

    /// The first message.
    async fn begin(&mut self) {
        match self.era {
            Era::Legacy => {
                let params = json!({
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"elicitation": {}},
                    "clientInfo": {"name": "model", "version": "1"},
                });
                self.ask(&json!("first"), "initialize", params, Expected::Anything)
                    .await;
            }
            Era::Modern => {
                let params = modern::signed(&json!({}));
                self.ask(
                    &json!("first"),
                    "server/discover",
                    params,
                    Expected::Anything,
                )
                .await;
            }
        }
    }

    /// Does one thing of its own accord.
    async fn act(&mut self) {
        self.check_limits();
        if !self.opened || self.mood == Mood::Calm || self.open.len() >= MOST_OPEN {
            return;
        }
        if self.random.one_in(8) {
            self.tick().await;
            return;
        }
        let id = self.call().await;
        if self.random.one_in(CALLS_PER_CANCELLATION) {
            self.open.remove(&id.to_string());
            let method = "notifications/cancelled";
            let params = json!({"requestId": id});
            self.write(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
                .await;
        }
    }

    fn tag(&self, number: u64) -> Tag {
        Tag {
            app: self.number,
            generation: self.generation,
            number,
        }
    }

    async fn tick(&mut self) {
        self.ticks += 1;
        let mut params = json!({"tag": self.tag(self.ticks).text()});
        if self.era == Era::Modern {
            params = modern::signed(&params);
        }
        self.write(&json!({"jsonrpc": "2.0", "method": "vendor/tick", "params": params}))
            .await;
    }

    /// One of the mixed calls; returns its id.
    async fn call(&mut self) -> Value {
        self.written += 1;
        let number = self.written;
        let text = self.tag(number).text();
        // Numbers and strings in turn: both may look alike.
        let id = if number.is_multiple_of(2) {
            json!(number)
        } else {
            json!((number - 1).to_string())
        };
        let is_modern = self.era == Era::Modern;
        let speaks = SERVERS[self.kind.server].speaks;
        let has_questions = !is_modern && speaks == Speaks::Legacy;
        let (method, params, expected) = match self.random.below(20) {
            0..=1 => ("tools/list", json!({}), Expected::Anything),
            2 if !is_modern => ("ping", json!({}), Expected::Anything),
            3..=4 => {
                let size = usize::try_from(self.random.below(LARGEST_BYTES)).expect("it is small");
                let params = json!({"tag": text, "blob": "x".repeat(size)});
                ("vendor/mirror", params.clone(), Expected::Mirror(params))
            }
            5..=8 => {
                let (method, mut params, expected) = tool("steps", &text);
                params["_meta"] = json!({"progressToken": text});
                (method, params, expected)
            }
            9 if has_questions => tool("ask", &text),
            _ => tool("echo", &text),
        };
        let params = if is_modern { signed(&params) } else { params };
        self.ask(&id, method, params, expected).await;
        id
    }

    async fn ask(&mut self, id: &Value, method: &str, params: Value, expected: Expected) {
        let open = Open {
            at: Instant::now(),
            expected,
            progress: f64::NEG_INFINITY,
        };
        self.open.insert(id.to_string(), open);
        self.shared.report.count("requests");
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
    }

    async fn write(&mut self, message: &Value) {
        let line = message.to_string();
        self.ledger.write(&line);
        self.bridge.write(&line).await;
    }

    fn violate(&self, text: &str) {
        self.shared
            .report
            .violate(format!("{}: {text}", self.bridge.name()));
    }

    /// Enters a line of stdout.
    async fn read(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\n");
        self.ledger.read(text.unwrap_or(line), text.is_some());
        let known = self.ledger.violations();
        for violation in &known[self.violations..] {
            self.violate(violation);
        }
        self.violations = known.len();
        let message: Value = serde_json::from_slice(line).unwrap_or_default();
        match message["method"].as_str() {
            Some(method) => self.hear(method, &message).await,
            None => self.settle(&message).await,
        }
    }

    /// A request or a notification of the server.
    async fn hear(&mut self, method: &str, message: &Value) {
        match method {
            "elicitation/create" => {
                let content = json!({"tag": message["params"]["message"]});
                let result = json!({"action": "accept", "content": content});
                self.write(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
                    .await;
            }
            "notifications/message" => {
                let Some(number) = message["params"]["data"].as_u64() else {
                    return;
                };
                self.shared.report.count("notifications of servers");
                if number <= self.news {
                    self.violate(&format!(
                        "notification {number} of the server after {}",
                        self.news
                    ));
                }
                self.news = number;
            }
            "notifications/progress" => self.progress(&message["params"]),
            _ => {}
        }
    }

    fn progress(&mut self, params: &Value) {
        let token = params["progressToken"].as_str().and_then(Tag::parse);
        let Some(tag) = token.filter(|tag| tag.app == self.number) else {
            self.violate(&format!("progress of another app's call: {params}"));
            return;
        };
        if tag.generation != self.generation {
            self.violate(&format!("progress of an earlier process' call: {params}"));
        }
        let id = if tag.number.is_multiple_of(2) {
            json!(tag.number)
        } else {
            json!((tag.number - 1).to_string())
        };
        let now = params["progress"].as_f64().unwrap_or_default();
        let Some(open) = self.open.get_mut(&id.to_string()) else {
            // It was cancelled, or has its answer; the latter would be wrong, and is rare enough to be seen.
            return;
        };
        let last = std::mem::replace(&mut open.progress, now);
        if now <= last {
            self.violate(&format!("progress {now} after {last}"));
        }
    }

    /// An answer to a request of ours.
    async fn settle(&mut self, message: &Value) {
        let id = message["id"].to_string();
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        if id == "\"first\"" {
            if self.era == Era::Modern && message["error"]["code"] == METHOD_NOT_FOUND {
                self.era = Era::Legacy;
                return Box::pin(self.begin()).await;
            }
            // A proxy that does not answer is taken for a wrong setting. A person would start the bridge again.
            if message["error"]["data"]["kind"] == "proxy" {
                self.shared.report.count("first messages without the proxy");
                sleep(PROXY_PAUSE).await;
                return Box::pin(self.begin()).await;
            }
            self.opened = true;
            if message.get("error").is_some() {
                self.violate(&format!("the first message failed: {message}"));
            }
            if self.era == Era::Legacy {
                self.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
                    .await;
            }
            return;
        }
        if let Some(error) = message.get("error") {
            let kind = error["data"]["kind"].as_str();
            let kind = kind.map_or_else(|| error["code"].to_string(), str::to_owned);
            self.shared.report.count(&format!("errors: {kind}"));
            let name = self.bridge.name();
            self.shared
                .report
                .event(format!("{name}: {id} failed: {kind}"));
            return;
        }
        self.shared.report.count("results");
        let result = &message["result"];
        let is_own = match &open.expected {
            Expected::Anything => true,
            Expected::Text(text) => result["content"][0]["text"] == text.as_str(),
            Expected::Mirror(params) => {
                result["tag"] == params["tag"] && result["blob"] == params["blob"]
            }
        };
        if !is_own {
            let shown: String = message.to_string().chars().take(300).collect();
            self.violate(&format!(
                "the answer to {id} belongs to another call: {shown}"
            ));
        }
    }

    /// Every request has its answer within the limit.
    fn check_limits(&mut self) {
        let limit = ANSWER_LIMIT + self.stopped;
        let late = self.open.iter().find(|(_, open)| open.at.elapsed() > limit);
        if let Some((id, _)) = late {
            let id = id.clone();
            self.violate(&format!("no answer to {id}"));
            self.open.remove(&id);
        }
    }

    async fn kill(&mut self) {
        self.shared
            .event(self.number, self.bridge.name(), "SIGKILL");
        self.shared.kill_begins(self.number);
        self.bridge.signal(Signal::KILL);
        self.bridge.end().await;
        self.shared.bridge_killed(self.number, self.bridge.pid());
        // What it has written is still to be judged, but for a last line that was cut off.
        for line in self.bridge.rest().await {
            if line.ends_with(b"\n") {
                self.read_dead(&line);
            }
        }
    }

    /// The app closes stdin; the bridge ends with status 0.
    async fn leave(&mut self) {
        self.bridge.close_stdin();
        self.ends().await;
    }

    async fn ends(&mut self) {
        let awake = self.bridge.age().saturating_sub(self.stopped);
        let status = self.bridge.end().await;
        // A signal that comes first of all finds nobody to handle it.
        let is_cut_short = |status: ExitStatus| {
            awake < START_LIMIT && status.signal() == Some(Signal::TERM.as_raw())
        };
        if status.is_some_and(|status| !status.success() && !is_cut_short(status)) {
            self.violate(&format!("it ended with {status:?}"));
        }
        self.shared.bridge_ended(self.number, self.bridge.pid());
        for line in self.bridge.rest().await {
            self.read_dead(&line);
        }
        self.shared
            .report
            .event(format!("{}: ended", self.bridge.name()));
    }

    /// Enters a line of a bridge that has ended.
    fn read_dead(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\n");
        self.ledger.read(text.unwrap_or(line), text.is_some());
        for violation in &self.ledger.violations()[self.violations..] {
            self.violate(violation);
        }
        self.violations = self.ledger.violations().len();
    }

    /// The bridge has closed stdout of its own accord.
    async fn lost(&mut self) {
        // At the end of a run in which something was wrong, bridges are killed.
        if self.shared.report.has_violations() {
            return std::future::pending().await;
        }
        self.violate("stdout is closed although the app is there");
        self.ends().await;
        self.restart(Duration::from_secs(1)).await;
    }

    async fn restart(&mut self, pause: Duration) {
        sleep(pause).await;
        self.generation += 1;
        self.shared.drop_old_logs(self.number, self.generation);
        self.bridge = start_bridge(self.number, self.generation, &self.shared);
        self.era = self.kind.era;
        self.ledger = Ledger::default();
        self.violations = 0;
        self.open.clear();
        self.opened = false;
        self.written = 0;
        self.ticks = 0;
        self.news = 0;
        self.stopped = Duration::ZERO;
        self.begin().await;
    }

    /// Gets all answers, and then makes calls that must succeed. Returns what the process uses then.
    async fn calm(&mut self) -> Option<Usage> {
        self.mood = Mood::Calm;
        self.settle_all().await;
        let unanswered = self.ledger.unanswered();
        if !unanswered.is_empty() {
            self.violate(&format!("no answer to {unanswered:?}"));
        }
        let recovered = timeout(RECOVERY_LIMIT, async {
            let mut successes = 0;
            while successes < CALM_CALLS {
                if self.succeeds().await {
                    successes += 1;
                    continue;
                }
                successes = 0;
                sleep(RECOVERY_PAUSE).await;
            }
        });
        if recovered.await.is_err() {
            self.violate("it does not serve although all is well");
            return None;
        }
        Usage::of(self.bridge.pid())
    }

    /// Returns whether a call brings its result.
    async fn succeeds(&mut self) -> bool {
        self.written += 1;
        let id = json!(format!("calm {}", self.written));
        let text = self.tag(self.written).text();
        let (method, params, expected) = tool("echo", &text);
        let params = if self.era == Era::Modern {
            signed(&params)
        } else {
            params
        };
        self.ask(&id, method, params, expected).await;
        let id = id.to_string();
        let mut answer = Value::Null;
        while self.open.contains_key(&id) {
            let Some(line) = self.next_line().await else {
                return false;
            };
            self.read(&line).await;
            answer = serde_json::from_slice(&line).unwrap_or_default();
        }
        if answer.get("result").is_none() {
            let shown: String = answer.to_string().chars().take(300).collect();
            self.shared
                .report
                .event(format!("{}: not yet: {shown}", self.bridge.name()));
        }
        answer.get("result").is_some()
    }

    async fn settle_all(&mut self) {
        while !self.open.is_empty() || !self.opened {
            let Some(line) = self.next_line().await else {
                return;
            };
            self.read(&line).await;
        }
    }

    async fn next_line(&mut self) -> Option<Vec<u8>> {
        match timeout(ANSWER_LIMIT, self.bridge.line()).await {
            Ok(Some(line)) => Some(line),
            Ok(None) => {
                self.violate("stdout is closed although the app is there");
                None
            }
            Err(_) => {
                let waiting: Vec<_> = self.open.keys().collect();
                self.violate(&format!("no answer to {waiting:?}"));
                self.open.clear();
                None
            }
        }
    }
}

fn tool(name: &str, text: &str) -> (&'static str, Value, Expected) {
    let params = json!({"name": name, "arguments": {"text": text}});
    ("tools/call", params, Expected::Text(text.to_owned()))
}

/// The params with who asks in them, beside what `_meta` has already.
fn signed(params: &Value) -> Value {
    let token = params["_meta"]["progressToken"].clone();
    let mut params = modern::signed(params);
    if !token.is_null() {
        params["_meta"]["progressToken"] = token;
    }
    params
}

fn start_bridge(number: usize, generation: u64, shared: &Shared) -> Bridge {
    let name = format!("{}-{generation}", APPS[number].name);
    let launch = Launch {
        arguments: shared.arguments(number, &name),
        name,
        root: &shared.root,
        mark: &shared.mark,
        browser: shared.browser.script(),
        report: &shared.report,
    };
    // Under the lock, so that a change of the disk misses no process.
    let bridge = {
        let disk = shared.disk.lock();
        let bridge = Bridge::start(&launch);
        process::set_disk(bridge.pid(), *disk);
        bridge
    };
    shared.bridge_started(number, bridge.pid());
    bridge
}
