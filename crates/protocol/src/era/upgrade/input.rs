//! `input_required` results (MCP 2026-07-28, "Multi Round-Trip Requests"), as requests that a legacy app knows.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::json;

use super::Upgrade;
use super::call::{CallStep, UpgradedCall, UpgradedStage};
use super::handshake::LegacyApp;
use super::task::UpgradedTask;
use crate::era::json::Json;
use crate::era::object::Object;
use crate::era::{Timer, request_meta};
use crate::message::{Message, RequestId};
use mcp_bridge_text::random;

/// Number of times that a server may ask for input before its request counts as endless.
const MAX_ROUNDS: u32 = 10;

/// All the time that the questions of one request may take.
const INPUT_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Time that a person has for the questions of one round.
const QUESTION_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Questions that may be asked at once for one request.
const MAX_QUESTIONS: usize = 32;

/// Limit for the bytes of the keys of the questions asked at once, and of all questions of a task.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// Questions that may wait for the app's answers in all.
const MAX_QUESTIONS_IN_ALL: usize = 256;

/// Limit for the bytes of what is kept of the server's questions in all: states to give back, and keys of questions of
/// tasks. The state of one request alone may be larger.
const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// The wait before a server is asked again that wants nothing but to be asked again. It doubles with
/// each round.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The methods whose requests may be answered with questions (specification, "Supported Requests").
pub(super) const ELIGIBLE: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// The first version in which a question has a `mode`.
const FIRST_WITH_MODES: &str = "2025-11-25";

/// The questions of one round, while they wait for answers.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) waiting: Vec<InputQuestion>,
    /// When they have waited long enough.
    pub(super) limit: Timer,
    /// The `inputResponses` so far.
    answers: Object,
    /// The `requestState` to give back, as it stood there.
    state: Option<Json>,
}

/// Result of a round of questions, for the retry alone that follows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Brought {
    answers: Option<Object>,
    state: Option<Json>,
}

impl Brought {
    /// The params of the call with it (specification, "Client Requirements").
    pub(super) fn params<'a>(&self, call: &'a Object) -> Cow<'a, Object> {
        if self.answers.is_none() && self.state.is_none() {
            return Cow::Borrowed(call);
        }
        let mut params = call.clone();
        if let Some(answers) = &self.answers {
            params.set_object("inputResponses", answers);
        }
        if let Some(state) = &self.state {
            params.put("requestState", state.clone());
        }
        Cow::Owned(params)
    }
}

/// A question that the app has been asked.
#[derive(Debug)]
pub(super) struct InputQuestion {
    pub(super) id: RequestId,
    key: String,
    method: String,
}

impl InputQuestion {
    /// The notification that the app's answer is not wanted any more.
    pub(super) fn withdrawal(&self) -> Message {
        let mut params = Object::default();
        params.set_json("requestId", self.id.as_json());
        params.into_notification("notifications/cancelled")
    }
}

/// A question as the server put it.
#[derive(Debug)]
pub(super) struct InputRequest {
    pub(super) key: String,
    method: String,
    params: Option<Object>,
}

/// Reads `inputRequests`; `None` if it is not what the specification says.
pub(super) fn read_requests(holder: &Object) -> Option<Vec<InputRequest>> {
    if holder.get("inputRequests").is_none() {
        return Some(Vec::new());
    }
    let requests = holder.object("inputRequests")?;
    let read = |(key, request): (&str, &Json)| {
        let request = Object::of(request)?;
        let params = match request.get("params") {
            None => None,
            Some(params) => Some(Object::of(params)?),
        };
        Some(InputRequest {
            key: key.to_owned(),
            method: request.read("method")?,
            params,
        })
    };
    requests.iter().map(read).collect()
}

impl Upgrade {
    /// The server wants input before it goes on.
    pub(super) fn on_input_required(&mut self, mut call: UpgradedCall, result: &Object) {
        if !ELIGIBLE.contains(&&*call.method) {
            return self.end_invalid(&call, "this request cannot be answered with a question");
        }
        let state = result
            .get("requestState")
            .filter(|state| state.get() != "null");
        let state = state.map(Json::detached);
        let Some(requests) = read_requests(result) else {
            return self.end_invalid(&call, "its inputRequests cannot be read");
        };
        if !self.has_room_for(state.as_ref()) {
            return self.end_asked_too_much(&call, "the server gives too much to be sent back");
        }
        if requests.is_empty() && state.is_none() {
            return self.end_invalid(&call, "it asks for input and does not say which");
        }
        if call.deadline.is_none() {
            let deadline = self.outbox.after(INPUT_LIMIT);
            self.timers.insert(deadline, call.id.clone());
            call.deadline = Some(deadline);
        }
        if !requests.is_empty() {
            return self.ask(call, requests, state);
        }
        let Some(call) = self.count_round(call) else {
            return;
        };
        let wait = FIRST_PAUSE * 2_u32.pow(call.rounds - 1);
        let answers = None;
        self.pause(call, CallStep::Call(Brought { answers, state }), wait);
    }

    /// Returns whether there is room for a state beside what is kept of other questions.
    fn has_room_for(&self, state: Option<&Json>) -> bool {
        let Some(state) = state else { return true };
        let kept: usize = self.calls.values().map(kept_bytes).sum();
        kept == 0 || kept + state.get().len() <= MAX_KEPT_BYTES
    }

    /// Asks the app all questions of a round, or none of them.
    pub(super) fn ask(
        &mut self,
        call: UpgradedCall,
        requests: Vec<InputRequest>,
        state: Option<Json>,
    ) {
        let Some(mut call) = self.count_round(call) else {
            return;
        };
        let key_bytes: usize = requests.iter().map(|request| request.key.len()).sum();
        let asked = call.task.as_ref().map_or(0, UpgradedTask::key_bytes);
        if requests.len() > MAX_QUESTIONS
            || asked + key_bytes > MAX_KEY_BYTES
            || self.questions.len() + requests.len() > MAX_QUESTIONS_IN_ALL
        {
            return self.end_asked_too_much(&call, "the server asks too many questions at once");
        }
        if let Some(request) = requests.iter().find(|request| !may_ask(&self.app, request)) {
            let text = format!(
                "the server asks for something this app does not offer: {}",
                request.method
            );
            // No question is out yet, but a task may be.
            self.abandon(&call);
            return self.end_unanswered(&call, &text);
        }
        let mut waiting = Vec::with_capacity(requests.len());
        for request in requests {
            let id = self.outbox.ids.id();
            let question = question(&self.app, &id, &request);
            self.outbox.tell_app(question);
            self.questions.insert(id.clone(), call.id.clone());
            waiting.push(InputQuestion {
                id,
                key: request.key,
                method: request.method,
            });
        }
        let limit = self.outbox.after(QUESTION_LIMIT);
        self.timers.insert(limit, call.id.clone());
        call.stage = UpgradedStage::Asking(Round {
            waiting,
            limit,
            answers: Object::default(),
            state,
        });
        self.calls.insert(call.id.clone(), call);
    }

    /// Takes the app's answer to a question; any other response is dropped.
    pub(super) fn on_answer(&mut self, id: &RequestId, response: &Message) {
        let call = self.questions.remove(id);
        let Some(mut call) = call.and_then(|call| self.calls.remove(&call)) else {
            return tracing::debug!(%id, "dropped an answer to no question");
        };
        let UpgradedStage::Asking(round) = &mut call.stage else {
            return;
        };
        let Some(at) = round.waiting.iter().position(|question| question.id == *id) else {
            return;
        };
        let question = round.waiting.remove(at);
        match (response.result_json(), &*question.method) {
            (Some(answer), _) if !response.is_error() => {
                round.answers.set_json(&question.key, answer);
            }
            // There is no form for errors, but an app that cannot show a form is as good as a user who
            // closes it.
            (_, "elicitation/create") => {
                round
                    .answers
                    .set(&question.key, &json!({ "action": "cancel" }));
            }
            _ => {
                let said = response.error_text().map(|(_, text)| text);
                let said = said.unwrap_or_default();
                let text = format!("the app did not answer {}: {said}", question.method);
                self.abandon(&call);
                return self.end_unanswered(&call, &text);
            }
        }
        if !round.waiting.is_empty() {
            self.calls.insert(call.id.clone(), call);
            return;
        }
        let answers = std::mem::take(&mut round.answers);
        let state = round.state.take();
        let step = if call.task.is_some() {
            CallStep::Update(answers)
        } else {
            let answers = Some(answers);
            CallStep::Call(Brought { answers, state })
        };
        self.send(call, step, None);
    }

    /// Counts a round of questions, and ends the call if they are too many.
    fn count_round(&mut self, mut call: UpgradedCall) -> Option<UpgradedCall> {
        call.rounds += 1;
        if call.rounds <= MAX_ROUNDS {
            return Some(call);
        }
        self.end_asked_too_much(&call, "the server keeps asking");
        None
    }

    fn end_asked_too_much(&mut self, call: &UpgradedCall, text: &str) {
        self.abandon(call);
        self.outbox.fail(&call.id, "input", text);
    }
}

/// The bytes that are kept of the questions of a call.
fn kept_bytes(call: &UpgradedCall) -> usize {
    let state = match &call.stage {
        UpgradedStage::Asking(round) => round.state.as_ref(),
        UpgradedStage::Sent(_, CallStep::Call(brought))
        | UpgradedStage::Pausing(_, CallStep::Call(brought)) => brought.state.as_ref(),
        UpgradedStage::New | UpgradedStage::Sent(..) | UpgradedStage::Pausing(..) => None,
    };
    state.map_or(0, |state| state.get().len())
        + call.task.as_ref().map_or(0, UpgradedTask::key_bytes)
}

/// Returns whether the app said that it can be asked this.
fn may_ask(app: &LegacyApp, request: &InputRequest) -> bool {
    let has = |name: &str| {
        let params = request.params.as_ref();
        params.is_some_and(|params| params.get(name).is_some())
    };
    match &*request.method {
        "roots/list" => app.declares(&["roots"]),
        "sampling/createMessage" if has("tools") || has("toolChoice") => {
            app.declares(&["sampling", "tools"])
        }
        "sampling/createMessage" => app.declares(&["sampling"]) && request.params.is_some(),
        "elicitation/create" => match mode(request).as_deref() {
            Some("form") => {
                app.declares(&["elicitation", "form"])
                    || app.declares(&["elicitation"]) && !app.declares(&["elicitation", "url"])
            }
            Some("url") => app.declares(&["elicitation", "url"]),
            _ => false,
        },
        _ => false,
    }
}

/// The mode of an elicitation: `form` if it does not say, `None` if it says nonsense.
fn mode(request: &InputRequest) -> Option<String> {
    let params = request.params.as_ref()?;
    match params.get("mode") {
        None => Some("form".to_owned()),
        Some(_) => params.read("mode"),
    }
}

/// The request for the app, in the words of its version.
fn question(app: &LegacyApp, id: &RequestId, request: &InputRequest) -> Message {
    let mut params = request.params.clone().unwrap_or_default();
    request_meta::strip_modern(&mut params);
    if request.method == "elicitation/create" {
        match mode(request).as_deref() {
            Some("url") if params.get("elicitationId").is_none() => {
                params.set("elicitationId", &random::uuid());
            }
            Some("form") if app.version < FIRST_WITH_MODES => drop(params.remove("mode")),
            _ => {}
        }
    }
    Message::request(id, &request.method, &params.to_json())
}
