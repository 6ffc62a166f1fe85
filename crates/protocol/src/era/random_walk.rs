//! Random test of the translation: an app and a server that say anything at any time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Value, json};

use super::request_meta::{CLIENT_CAPABILITIES, PROTOCOL_VERSION};
use super::{
    Action, Downgrade, ExchangeFailure, MODERN_VERSION, ModernClient, Prospect, Timer, Upgrade,
};
use crate::message::{Kind, Message, RequestId};

/// Conversations, and lines in each.
#[cfg(test)]
const WALKS: u64 = 40;
const STEPS: usize = 400;

/// Lines after which a conversation has to have come to rest when nobody begins anything new.
const REST: usize = 5_000;

/// T-8, T-25, U-5, X-87, X-90: whatever is said, and in whatever order
#[cfg(test)]
#[test]
fn every_request_is_answered_once_unless_it_is_cancelled() {
    for seed in 0..WALKS {
        Walk::new(Choices::random(seed), WalkedPair::upgrade()).go();
        Walk::new(Choices::random(seed), WalkedPair::downgrade()).go();
    }
}

/// The choices that an app and a server make.
#[derive(Debug)]
pub(super) enum Choices {
    /// Pseudo-random ones, by xorshift64 (Marsaglia 2003).
    #[cfg(test)]
    Random {
        #[expect(dead_code, reason = "shown by a failed assertion")]
        seed: u64,
        state: u64,
    },
    /// These, one byte each; when they have run out, the conversation comes to its end.
    Given(std::vec::IntoIter<u8>),
}

impl Choices {
    #[cfg(test)]
    const fn random(seed: u64) -> Self {
        Self::Random {
            seed,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    pub(super) fn given(bytes: &[u8]) -> Self {
        Self::Given(Vec::from(bytes).into_iter())
    }

    fn have_run_out(&self) -> bool {
        match self {
            #[cfg(test)]
            Self::Random { .. } => false,
            Self::Given(bytes) => bytes.len() == 0,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        match self {
            #[cfg(test)]
            Self::Random { state, .. } => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                *state % limit
            }
            Self::Given(bytes) => u64::from(bytes.next().unwrap_or_default()) % limit,
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "there are few of them, in tests")]
pub(super) enum WalkedPair {
    Upgrade(Upgrade),
    Downgrade(Downgrade),
}

/// A conversation, and what each side waits for.
pub(super) struct Walk {
    pair: WalkedPair,
    choices: Choices,
    requests: u64,
    /// Requests of the app without an answer.
    unanswered: BTreeMap<u64, Value>,
    /// The last `input_required`, for a retry.
    retries: Vec<Value>,
    /// Questions to the app.
    questions: BTreeSet<RequestId>,
    /// Exchanges with the server, by their ids.
    exchanges: BTreeMap<RequestId, String>,
    timers: Vec<Timer>,
}

impl Walk {
    pub(super) fn new(choices: Choices, pair: WalkedPair) -> Self {
        Self {
            pair,
            choices,
            requests: 0,
            unanswered: BTreeMap::new(),
            retries: Vec::new(),
            questions: BTreeSet::new(),
            exchanges: BTreeMap::new(),
            timers: Vec::new(),
        }
    }

    pub(super) fn go(mut self) {
        for _ in 0..STEPS {
            if self.choices.have_run_out() {
                break;
            }
            match self.below(10) {
                0 | 1 => self.app_asks(),
                2 if self.below(4) == 0 => self.app_cancels(),
                3 => self.app_answers(),
                4 | 5 => self.server_speaks(),
                6 | 7 => self.time_passes(),
                _ => self.server_answers(),
            }
        }
        for _ in 0..REST {
            if self.unanswered.is_empty() && self.exchanges.is_empty() {
                break;
            }
            self.app_answers();
            self.time_passes();
            self.server_fails();
        }
        assert!(
            self.unanswered.is_empty(),
            "{:?}: {:?}",
            self.choices,
            self.unanswered
        );
        assert!(
            self.exchanges.is_empty(),
            "{:?}: {:?}",
            self.choices,
            self.exchanges
        );
    }

    fn app_asks(&mut self) {
        self.requests += 1;
        let id = self.requests;
        if let Some(request) = self.retries.pop() {
            let mut request = request;
            request["id"] = json!(id);
            return self.app_sends(id, &request);
        }
        let method = *self.any(&[
            "tools/call",
            "tools/call",
            "tools/list",
            "prompts/get",
            "resources/read",
            "vendor/x",
            "ping",
            "resources/subscribe",
            "resources/unsubscribe",
            "logging/setLevel",
            "tasks/get",
        ]);
        let uri = *self.any(&["x:1", "x:2", "y"]);
        let meta = match self.pair {
            WalkedPair::Upgrade(_) => json!({ "progressToken": id }),
            WalkedPair::Downgrade(_) => json!({
                PROTOCOL_VERSION: MODERN_VERSION, CLIENT_CAPABILITIES: capabilities(), "progressToken": id,
            }),
        };
        let params = json!({ "name": "t", "uri": uri, "level": "info", "_meta": meta });
        self.app_sends(id, &json!({ "id": id, "method": method, "params": params }));
    }

    fn app_sends(&mut self, id: u64, request: &Value) {
        self.unanswered.insert(id, request.clone());
        self.on_app_message(request);
    }

    fn app_cancels(&mut self) {
        let ids: Vec<u64> = self.unanswered.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = *self.any(&ids);
        // From now on an answer would be one too many.
        self.unanswered.remove(&id);
        self.on_app_message(
            &json!({ "method": "notifications/cancelled", "params": { "requestId": id } }),
        );
    }

    fn app_answers(&mut self) {
        let Some(id) = self.questions.pop_first() else {
            return;
        };
        let mut answer = match self.below(3) {
            0 => json!({ "error": { "code": -1, "message": "no" } }),
            1 => json!({ "result": { "action": "accept" } }),
            _ => json!({ "result": { "roots": [] } }),
        };
        answer["id"] = serde_json::from_str(id.as_json()).expect("an id");
        self.on_app_message(&answer);
    }

    fn time_passes(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        // The newest is as a rule the shortest.
        let at = match self.below(2) {
            0 => self.timers.len() - 1,
            _ => self.index(self.timers.len()),
        };
        let timer = self.timers.remove(at);
        let actions = match &mut self.pair {
            WalkedPair::Upgrade(upgrade) => upgrade.on_timer(timer),
            WalkedPair::Downgrade(downgrade) => downgrade.on_timer(timer),
        };
        self.act(actions);
    }

    /// Something that the server says by itself, on any stream or none.
    fn server_speaks(&mut self) {
        let streams: Vec<RequestId> = self.exchanges.keys().cloned().collect();
        let stream = (!streams.is_empty() && self.below(3) > 0).then(|| self.any(&streams).clone());
        let number = self.below(1_000_000);
        let id = self.below(1 + self.requests);
        let message = self
            .any(&[
                json!({ "id": number, "method": "roots/list" }),
                json!({ "id": number, "method": "elicitation/create", "params": { "message": "" } }),
                json!({ "id": number, "method": "sampling/createMessage", "params": { "messages": [] } }),
                json!({ "id": number, "method": "ping" }),
                json!({ "method": "notifications/progress", "params": { "progressToken": id, "progress": 1 } }),
                json!({ "method": "notifications/message", "params": { "level": "info", "data": 1 } }),
                json!({ "method": "notifications/cancelled", "params": { "requestId": id } }),
                json!({ "method": "notifications/tools/list_changed" }),
                json!({ "method": "notifications/resources/updated", "params": { "uri": "x:1" } }),
                json!({ "method": "notifications/subscriptions/acknowledged",
                    "params": { "notifications": { "resourceSubscriptions": ["x:1"] } } }),
                json!({ "method": "notifications/vendor" }),
                json!({ "id": number, "result": {} }),
                json!({ "id": null, "error": { "code": 1, "message": "" } }),
            ])
            .clone();
        self.on_server_message(&message, stream.as_ref());
    }

    fn server_answers(&mut self) {
        let ids: Vec<RequestId> = self.exchanges.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let id = self.any(&ids).clone();
        if self.below(16) == 0 {
            return self.exchange_breaks(&id);
        }
        let ask = json!({ "method": "roots/list" });
        let elicit = json!({ "method": "elicitation/create", "params": { "message": "" } });
        let answer = self
            .any(&[
                json!({ "result": { "content": [], "structuredContent": [1] } }),
                json!({ "result": { "resultType": "complete" } }),
                json!({ "result": { "resultType": "input_required", "inputRequests": { "a": ask } } }),
                json!({ "result": { "resultType": "input_required", "requestState": "s",
                    "inputRequests": { "a": ask, "b": elicit } } }),
                json!({ "result": { "resultType": "input_required", "requestState": "s" } }),
                json!({ "result": { "resultType": "input_required" } }),
                json!({ "result": { "resultType": "task", "taskId": "t", "status": "working" } }),
                json!({ "result": { "resultType": 7 } }),
                json!({ "result": { "status": "working", "task": { "taskId": "t" } } }),
                json!({ "result": { "status": "input_required", "inputRequests": { "a": ask } } }),
                json!({ "result": { "status": "completed", "result": {} } }),
                json!({ "result": { "status": "failed", "error": { "code": 1, "message": "" } } }),
                json!({ "result": { "tools": [{ "name": "t", "execution": { "taskSupport": "required" } }] } }),
                json!({ "result": null }),
                json!({ "error": { "code": -32603, "message": "lost" } }),
                json!({ "error": { "code": -32021, "message": "more" } }),
                json!({ "error": { "code": -32022, "message": "", "data": { "supported": [MODERN_VERSION] } } }),
                json!({ "error": { "code": -32002, "message": "where" } }),
                json!({ "error": { "code": -32042, "message": "",
                    "data": { "elicitations": [{ "mode": "url", "url": "https://a.example" }] } } }),
            ])
            .clone();
        self.server_sends(&id, answer);
    }

    fn exchange_breaks(&mut self, id: &RequestId) {
        self.exchanges.remove(id);
        let failure = ExchangeFailure {
            prospect: Prospect::Broken,
            text: "broken".to_owned(),
            cause: std::sync::Arc::new(std::fmt::Error),
        };
        let actions = match &mut self.pair {
            WalkedPair::Upgrade(upgrade) => upgrade.on_failure(id, &failure),
            WalkedPair::Downgrade(downgrade) => downgrade.on_failure(id, &failure),
        };
        self.act(actions);
    }

    fn server_fails(&mut self) {
        if let Some(id) = self.exchanges.keys().next().cloned() {
            self.server_sends(
                &id,
                json!({ "error": { "code": -32601, "message": "gone" } }),
            );
        }
    }

    fn server_sends(&mut self, id: &RequestId, mut answer: Value) {
        self.exchanges.remove(id);
        answer["id"] = serde_json::from_str(id.as_json()).expect("an id");
        self.on_server_message(&answer, Some(id));
    }

    fn on_app_message(&mut self, message: &Value) {
        let message = parse(message);
        let actions = match &mut self.pair {
            WalkedPair::Upgrade(upgrade) => upgrade.on_app_message(&message),
            WalkedPair::Downgrade(downgrade) => downgrade.on_app_message(&message),
        };
        self.act(actions);
    }

    fn on_server_message(&mut self, message: &Value, stream: Option<&RequestId>) {
        let message = parse(message);
        let actions = match &mut self.pair {
            WalkedPair::Upgrade(upgrade) => upgrade.on_server_message(&message, stream),
            WalkedPair::Downgrade(downgrade) => downgrade.on_server_message(&message, stream),
        };
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToApp(message) => self.app_hears(&message),
                Action::Fail(id, _) => {
                    self.app_hears(&Message::error(Some(&id), -32603, "failed", None));
                }
                Action::Request(message) => {
                    let id = message.id().expect("a request").clone();
                    let method = message.method().expect("a request").to_owned();
                    let before = self.exchanges.insert(id, method);
                    assert_eq!(before, None, "{:?}: an id is used twice", self.choices);
                }
                Action::Notify(message) => {
                    let is_request = matches!(message.kind(), Kind::Request { .. });
                    assert!(!is_request, "{:?}: {message:?}", self.choices);
                }
                Action::Abort(id) => drop(self.exchanges.remove(&id)),
                Action::After(_, timer) | Action::AfterAbout(_, timer) => self.timers.push(timer),
                Action::EraOver => panic!("{:?}", self.choices),
            }
        }
    }

    fn app_hears(&mut self, message: &Message) {
        match message.kind() {
            Kind::Request { id, .. } => drop(self.questions.insert(id.clone())),
            Kind::Notification { method } if method == "notifications/cancelled" => {
                if let Some(id) = message.id_param("requestId") {
                    self.questions.remove(&id);
                }
            }
            Kind::Notification { .. } => {}
            Kind::Response { id } => {
                let id = id
                    .as_ref()
                    .expect("an id")
                    .as_json()
                    .parse()
                    .expect("an id of the app");
                let request = self.unanswered.remove(&id);
                let request = request.unwrap_or_else(|| panic!("{:?}: {message:?}", self.choices));
                self.remember(request, message);
            }
        }
    }

    /// A modern app comes again with what it was asked for, or only some of the time.
    fn remember(&mut self, mut request: Value, message: &Message) {
        if message.result_member::<String>("resultType").as_deref() != Some("input_required") {
            return;
        }
        assert!(
            matches!(self.pair, WalkedPair::Downgrade(_)),
            "{:?}: a legacy app",
            self.choices
        );
        if let Some(state) = message.result_member::<String>("requestState") {
            request["params"]["requestState"] = json!(state);
        }
        let asked: BTreeMap<String, Value> =
            message.result_member("inputRequests").expect("questions");
        let answers = asked
            .into_keys()
            .map(|key| (key, json!({ "action": "accept" })));
        request["params"]["inputResponses"] = answers.collect();
        if self.below(4) > 0 {
            self.retries.push(request);
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.choices.below(limit)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index")
    }

    fn any<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }
}

impl WalkedPair {
    pub(super) fn upgrade() -> Self {
        let initialize = json!({ "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": capabilities(),
        } });
        let discovered = json!({ "id": 0, "result": {
            "supportedVersions": [MODERN_VERSION],
            "capabilities": { "logging": {}, "tools": { "listChanged": true },
                "resources": { "subscribe": true }, "extensions": { "io.modelcontextprotocol/tasks": {} } },
        } });
        let opened = Upgrade::open(&parse(&initialize), &parse(&discovered), "host");
        Self::Upgrade(opened.expect("a modern server").0)
    }

    pub(super) fn downgrade() -> Self {
        let meta = json!({ CLIENT_CAPABILITIES: capabilities() });
        let first = json!({ "id": 0, "method": "x", "params": { "_meta": meta } });
        let initialized = json!({ "id": 0, "result": {
            "capabilities": { "logging": {}, "tasks": { "requests": { "tools": { "call": {} } } } },
        } });
        let opened = Downgrade::open(
            &ModernClient::from_request(&parse(&first)),
            &parse(&initialized),
            "host",
        );
        Self::Downgrade(opened.expect("a server").0)
    }
}

fn capabilities() -> Value {
    json!({ "roots": {}, "sampling": {}, "elicitation": { "form": {}, "url": {} } })
}

fn parse(value: &Value) -> Message {
    let mut value = value.clone();
    value["jsonrpc"] = json!("2.0");
    Message::parse(&Bytes::from(value.to_string())).expect("a message")
}
