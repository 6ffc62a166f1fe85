//! An MCP server that misbehaves: sessions, streams, tokens, faults, and its account of what came.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use mcp_bridge_testkit::{
    SESSION_MARKER,
    fault_server::FaultServer,
    mcp::{Binding, initialize_result},
    modern,
    reply::{Gate, Piece, Reply},
    request::{Request, VersionHeader, delete, get, post},
};

use crate::{authority::Authority, random::Random, report::Report, tag::Tag};

/// The longest that a slow answer takes, in milliseconds.
const SLOWEST_MS: u64 = 400;

/// Streams that were cut off and can be resumed, and questions without an answer, that are remembered.
const MOST_OPEN: usize = 500;

/// Reports of progress that a call gets.
const PROGRESS_STEPS: u64 = 6;

/// Era of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Legacy,
    Modern,
    Dual,
}

/// The server. All clones are one.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) server: FaultServer,
    inner: Arc<Mutex<Inner>>,
    /// Held while it is down.
    down: Arc<tokio::sync::Mutex<()>>,
}

struct Inner {
    name: &'static str,
    speaks: Speaks,
    url: String,
    authority: Option<Authority>,
    report: Report,
    random: Random,
    faults: Faults,
    opened: u64,
    sessions: BTreeSet<String>,
    streams: Vec<mpsc::UnboundedSender<Piece>>,
    /// Streams of modern apps, which get no news.
    subscriptions: Vec<mpsc::UnboundedSender<Piece>>,
    /// Notifications of its own so far.
    told: u64,
    accounts: HashMap<usize, Account>,
    questions: BTreeMap<String, Gate>,
    resumable: VecDeque<(String, Resumable)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    On,
    Off,
}

/// Requests of one generation of an app.
#[derive(Default)]
struct Account {
    generation: u64,
    /// Calls that may have been carried out.
    executed: BTreeSet<u64>,
    /// The last of its notifications.
    ticked: u64,
}

/// The rest of a stream.
#[derive(Clone)]
struct Resumable {
    id: String,
    from: u64,
}

impl Service {
    pub(crate) fn start(
        name: &'static str,
        speaks: Speaks,
        authority: Option<&Authority>,
        seed: u64,
        report: &Report,
    ) -> Self {
        let server = FaultServer::start_as(Binding::Streamable);
        server.keep_no_record();
        let inner = Arc::new(Mutex::new(Inner {
            name,
            speaks,
            url: String::new(),
            authority: authority.cloned(),
            report: report.clone(),
            random: Random::new(seed),
            faults: Faults::Off,
            opened: 0,
            sessions: BTreeSet::new(),
            streams: Vec::new(),
            subscriptions: Vec::new(),
            told: 0,
            accounts: HashMap::new(),
            questions: BTreeMap::new(),
            resumable: VecDeque::new(),
        }));
        for want in [get(), post(), delete()] {
            let inner = inner.clone();
            server.always(want, move |request| {
                inner.lock().expect("nobody panics with it").answer(request)
            });
        }
        Self {
            server,
            inner,
            down: Arc::default(),
        }
    }

    /// The URL by which it is known.
    pub(crate) fn set_url(&self, url: &str) {
        url.clone_into(&mut self.lock().url);
    }

    pub(crate) fn misbehave(&self) {
        self.lock().faults = Faults::On;
    }

    /// Ends all faults, and all connections of the time before.
    pub(crate) async fn behave(&self) {
        self.lock().faults = Faults::Off;
        self.restart().await;
    }

    pub(crate) async fn restart(&self) {
        let _down = self.down.lock().await;
        self.server.restart().await;
        self.forget_sessions();
    }

    pub(crate) async fn go_down(&self, time: Duration) {
        let _down = self.down.lock().await;
        self.server.go_down().await;
        self.forget_sessions();
        tokio::time::sleep(time).await;
        self.server.come_up();
    }

    pub(crate) fn forget_sessions(&self) {
        let mut inner = self.lock();
        inner.sessions.clear();
        inner.streams.clear();
        inner.subscriptions.clear();
    }

    pub(crate) fn cut_streams(&self) {
        let mut inner = self.lock();
        inner.streams.clear();
        inner.subscriptions.clear();
    }

    /// Sends notifications on every stream.
    pub(crate) fn tell(&self, count: u64) {
        let mut inner = self.lock();
        for _ in 0..count {
            inner.told += 1;
            let number = inner.told;
            let params = json!({"level": "info", "data": number});
            let news =
                json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
            let event = format!("data: {news}\n\n").into_bytes();
            inner
                .streams
                .retain(|stream| stream.send(Piece::Bytes(event.clone())).is_ok());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics with it")
    }
}

impl Inner {
    fn answer(&mut self, request: &Request) -> Reply {
        if request
            .target
            .contains("/.well-known/oauth-protected-resource")
        {
            return self.resource_metadata();
        }
        if request.target.contains("/.well-known/") {
            return Reply::status(404);
        }
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        // With an earlier one, because the first `initialize` of a process may not be the first here.
        for fault in request.faults(VersionHeader::Unknown, std::slice::from_ref(request)) {
            self.report.violate(format!("{}: {fault}", self.name));
        }
        match request.method.as_str() {
            "POST" => self.post(request),
            "GET" => self.get(request),
            _ => {
                let session = request.header("mcp-session-id").unwrap_or_default();
                let existed = self.sessions.remove(session);
                Reply::status(if existed { 200 } else { 404 })
            }
        }
    }

    fn resource_metadata(&self) -> Reply {
        let Some(authority) = &self.authority else {
            return Reply::status(404);
        };
        let document = json!({"resource": self.url, "authorization_servers": [authority.origin()]});
        Reply::json(document.to_string())
    }

    fn refusal(&self, request: &Request) -> Option<Reply> {
        let authority = self.authority.as_ref()?;
        let header = request.header("authorization").unwrap_or_default();
        let token = header.strip_prefix("Bearer ").unwrap_or_default();
        if authority.accepts(token) {
            return None;
        }
        self.report.count("requests refused with 401");
        let url = self.url.strip_suffix("/mcp").unwrap_or_default();
        let pointer = format!("{url}/.well-known/oauth-protected-resource/mcp");
        let challenge = format!("Bearer resource_metadata=\"{pointer}\"");
        Some(Reply::status(401).header("WWW-Authenticate", &challenge))
    }

    fn get(&mut self, request: &Request) -> Reply {
        let session = request.header("mcp-session-id").unwrap_or_default();
        if self.speaks == Speaks::Modern {
            return Reply::status(405);
        }
        if !self.sessions.contains(session) {
            return Reply::status(404);
        }
        if let Some(last) = request.header("last-event-id") {
            return self.resume(last);
        }
        Reply::sse().follow(self.stream())
    }

    fn stream(&mut self) -> mpsc::UnboundedReceiver<Piece> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.streams.retain(|stream| !stream.is_closed());
        self.streams.push(sender);
        receiver
    }

    fn post(&mut self, request: &Request) -> Reply {
        let is_modern = self.speaks != Speaks::Legacy && modern::is_modern(request);
        if !is_modern && self.speaks == Speaks::Modern {
            return modern::reply(request);
        }
        if !is_modern {
            if request.rpc_method() == "initialize" {
                return self.open_session(request);
            }
            let session = request.header("mcp-session-id").unwrap_or_default();
            if !self.sessions.contains(session) {
                self.report.count("requests in lost sessions");
                let body = request.error(-32001, "Session not found");
                return Reply::status(404).body("application/json", body);
            }
        }
        if request.message().is_response() {
            return self.hear(request);
        }
        if !request.message().is_owed_an_answer() {
            self.note(request);
            return Reply::status(202);
        }
        if request.rpc_method() == "subscriptions/listen" {
            let (sender, receiver) = mpsc::unbounded_channel();
            self.subscriptions.retain(|stream| !stream.is_closed());
            self.subscriptions.push(sender);
            return Reply::sse()
                .data(modern::acknowledgement(request))
                .follow(receiver);
        }
        let tag = Tag::of_request(request);
        if request.rpc_method() == "tools/call" && !self.execute(tag.as_ref()) {
            self.report
                .violate(format!("{}: a call is sent twice: {tag:?}", self.name));
        }
        let is_probe = request.rpc_method() == "server/discover";
        let fault = if is_probe {
            None
        } else {
            self.fault(tag.as_ref())
        };
        fault.unwrap_or_else(|| self.well(request, tag.as_ref(), is_modern))
    }

    fn open_session(&mut self, request: &Request) -> Reply {
        self.opened += 1;
        self.report.count("sessions");
        let session = format!("{SESSION_MARKER}-{}-{}", self.name, self.opened);
        self.sessions.insert(session.clone());
        let result = initialize_result(&request.params()["protocolVersion"]);
        Reply::json(request.result(result)).header("Mcp-Session-Id", &session)
    }

    /// Returns whether a call is carried out for the first time. It may come again after it was refused, never after this.
    fn execute(&mut self, tag: Option<&Tag>) -> bool {
        let Some(tag) = tag else {
            return true;
        };
        let account = self.account(tag);
        account.is_none_or(|account| account.executed.insert(tag.number))
    }

    /// The account of the app of this tag; none for what is left of an earlier generation.
    fn account(&mut self, tag: &Tag) -> Option<&mut Account> {
        let account = self.accounts.entry(tag.app).or_default();
        if account.generation < tag.generation {
            *account = Account {
                generation: tag.generation,
                ..Account::default()
            };
        }
        (account.generation == tag.generation).then_some(account)
    }

    /// A notification of the app. It may be lost; it comes neither twice nor too late.
    fn note(&mut self, request: &Request) {
        if request.rpc_method() != "vendor/tick" {
            return;
        }
        let Some(tag) = Tag::of_request(request) else {
            return;
        };
        let Some(account) = self.account(&tag) else {
            return;
        };
        let last = std::mem::replace(&mut account.ticked, tag.number);
        if tag.number <= last {
            self.report
                .violate(format!("{}: notification {tag:?} after {last}", self.name));
        }
        self.report.count("notifications of apps");
    }

    /// The answer of an app to a question.
    fn hear(&mut self, request: &Request) -> Reply {
        let text = request.text();
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(id) = message["id"].as_str() else {
            return Reply::status(202);
        };
        if let Some(gate) = self.questions.remove(id) {
            self.report.count("questions answered");
            let tag = id.strip_prefix("question ").unwrap_or_default();
            let is_own = message["result"]["content"]["tag"] == tag;
            if !is_own && message.get("error").is_none() {
                self.report.violate(format!(
                    "{}: the wrong answer to a question: {text}",
                    self.name
                ));
            }
            gate.open();
        }
        Reply::status(202)
    }

    fn fault(&mut self, tag: Option<&Tag>) -> Option<Reply> {
        if self.faults == Faults::Off {
            return None;
        }
        let note = r#"{"jsonrpc":"2.0","method":"vendor/note","params":{"n":1.0}}"#;
        let (name, reply) = match self.random.below(100) {
            0..=2 => ("connection reset", Reply::no_answer_but_reset()),
            3..=4 => ("connection closed", Reply::no_answer_but_close()),
            5 => ("status 500", Reply::status(500)),
            6..=7 => {
                // It says that it has not carried it out.
                self.unexecute(tag);
                ("busy", Reply::status(503).header("Retry-After", "0"))
            }
            8 => (
                "a page",
                Reply::status(200).body("text/html", "<p>oops</p>"),
            ),
            9 => ("accepted, not answered", Reply::status(202)),
            10 => ("invalid JSON", Reply::json("{\"jsonrpc\":")),
            11 => (
                "another id",
                Reply::json(r#"{"jsonrpc":"2.0","id":-1,"result":{}}"#),
            ),
            12 => ("stream cut off", Reply::sse().data(note).close()),
            13 => ("stall", Reply::no_answer_ever()),
            _ => return None,
        };
        self.report.count(name);
        Some(reply)
    }

    fn unexecute(&mut self, tag: Option<&Tag>) {
        if let Some(tag) = tag
            && let Some(account) = self.account(tag)
        {
            account.executed.remove(&tag.number);
        }
    }

    /// Answer of a healthy server, which may be slow.
    fn well(&mut self, request: &Request, tag: Option<&Tag>, is_modern: bool) -> Reply {
        let params = request.params();
        match (params["name"].as_str(), tag) {
            (Some("steps"), Some(tag)) => return self.steps(request, tag, is_modern),
            (Some("ask"), Some(tag)) if !is_modern => return self.ask(request, tag),
            _ => {}
        }
        if is_modern {
            return modern::reply(request);
        }
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        let answer = match request.rpc_method().as_str() {
            "tools/list" => {
                let tools = json!({"tools": [tool("echo"), tool("steps"), tool("ask")]});
                request.result(tools.to_string())
            }
            "tools/call" => request.echo(),
            "vendor/mirror" => request.result(request.message().params().unwrap_or("null")),
            _ => request.result("{}"),
        };
        match self.random.below(10) {
            0..=1 => Reply::sse().data(answer),
            2 => Reply::sse().wait(&self.opening()).data(answer),
            _ => Reply::json(answer),
        }
    }

    fn opening(&mut self) -> Gate {
        let gate = Gate::closed();
        let opening = gate.clone();
        let pause = Duration::from_millis(self.random.below(SLOWEST_MS));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            opening.open();
        });
        gate
    }

    /// A call with progress, whose stream may be cut off and resumed.
    fn steps(&mut self, request: &Request, tag: &Tag, is_modern: bool) -> Reply {
        let id = request.message().id().unwrap_or("null").to_owned();
        let token = request.params()["_meta"]["progressToken"].clone();
        let cut = (!is_modern && self.faults == Faults::On && self.random.one_in(3))
            .then(|| self.random.below(PROGRESS_STEPS));
        let mut reply = Reply::sse().bytes("retry: 20\n");
        for step in 1..=cut.unwrap_or(PROGRESS_STEPS) {
            reply = reply.event(&format!("{}|{step}", tag.text()), progress(&token, step));
        }
        let Some(cut) = cut else {
            return reply.data(steps_result(request, tag, is_modern));
        };
        self.report.count("streams cut off to be resumed");
        let name = format!("{}|{cut}", tag.text());
        let rest = Resumable { id, from: cut };
        if self.resumable.len() >= MOST_OPEN {
            self.resumable.pop_front();
        }
        self.resumable.push_back((name, rest));
        if cut == 0 {
            // An event without data names the place.
            reply = reply.bytes(format!("id: {}|0\ndata: \n\n", tag.text()));
        }
        reply.close()
    }

    fn resume(&mut self, last: &str) -> Reply {
        let position = self.resumable.iter().position(|(name, _)| name == last);
        let Some((name, rest)) = position.and_then(|position| self.resumable.remove(position))
        else {
            return Reply::status(404);
        };
        self.report.count("streams resumed");
        let tag = name.split('|').next().unwrap_or_default();
        let mut reply = Reply::sse();
        for step in rest.from + 1..=PROGRESS_STEPS {
            reply = reply.event(&format!("{tag}|{step}"), progress(&tag.into(), step));
        }
        let content = json!({"content": [{"type": "text", "text": tag}]});
        reply.data(format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{content}}}"#,
            rest.id
        ))
    }

    /// A call that asks the app a question.
    fn ask(&mut self, request: &Request, tag: &Tag) -> Reply {
        let id = format!("question {}", tag.text());
        let schema = json!({"type": "object", "properties": {"tag": {"type": "string"}}});
        let params = json!({"message": tag.text(), "requestedSchema": schema});
        let question =
            json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params});
        let gate = Gate::closed();
        if self.questions.len() >= MOST_OPEN {
            self.questions.pop_first();
        }
        self.questions.insert(id, gate.clone());
        Reply::sse()
            .data(question.to_string())
            .wait(&gate)
            .data(request.echo())
    }
}

fn progress(token: &Value, step: u64) -> String {
    let params = json!({"progressToken": token, "progress": step, "total": PROGRESS_STEPS});
    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).to_string()
}

fn steps_result(request: &Request, tag: &Tag, is_modern: bool) -> String {
    let mut result = json!({"content": [{"type": "text", "text": tag.text()}]});
    if is_modern {
        result["resultType"] = "complete".into();
    }
    request.result(result.to_string())
}
