//! Pending questions of a legacy server. They end the app's request with `input_required`, while the exchange with
//! the server stays open until the app comes again with the answers (MCP 2026-07-28, "Multi Round-Trip Requests").

use std::time::Duration;

use serde_json::json;

use super::call::{CallKey, DowngradedCall, DowngradedStage, is_eligible, repeated};
use super::{Downgrade, log_level};
use crate::codes::{INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::era::object::Object;
use crate::era::{Action, ExchangeFailure, Timer};
use crate::message::{Message, RequestId};

/// Time that more questions are waited for after the first, so that they are asked together.
const GATHERING: Duration = Duration::from_millis(50);

/// Limit for the app to come again.
const PARKED_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Calls that may wait for the app at once.
const MAX_PARKED: usize = 100;

/// Questions that a call may have open at once.
const MAX_QUESTIONS: usize = 32;

/// Limit for the bytes of what waits for the app in all: questions, and responses that have come meanwhile. One alone
/// may be larger.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The questions so far.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) questions: Vec<ServerQuestion>,
    pub(super) until: Timer,
}

/// The questions that the app has, and what has come since.
#[derive(Debug)]
pub(super) struct Parked {
    /// The `requestState`: it is good for one retry.
    handle: String,
    pub(super) until: Timer,
    questions: Vec<ServerQuestion>,
    /// Questions that have come since, for the next round.
    later: Vec<ServerQuestion>,
    /// The server's response, if it did not wait.
    pub(super) outcome: Option<KeptOutcome>,
}

/// End of a request whose app has not come again yet.
#[derive(Debug)]
pub(super) enum KeptOutcome {
    Response(Message),
    Failed(ExchangeFailure),
}

impl KeptOutcome {
    fn bytes(&self) -> usize {
        match self {
            Self::Response(response) => response.text().len(),
            Self::Failed(failure) => failure.text.len(),
        }
    }
}

/// A request of the server.
#[derive(Debug)]
pub(super) struct ServerQuestion {
    id: RequestId,
    key: String,
    method: String,
    params: Object,
    /// The size of the params as they came.
    bytes: usize,
}

impl Downgrade {
    /// Takes a question for the call on whose stream it came, or for the only one it can be for.
    pub(super) fn ask(
        &mut self,
        id: &RequestId,
        method: &str,
        question: &Message,
        stream: Option<&RequestId>,
    ) {
        let mut params = question
            .params_json()
            .and_then(Object::parse)
            .unwrap_or_default();
        params.remove("elicitationId");
        params.remove("task");
        crate::era::request_meta::strip_legacy(&mut params);
        if !may_ask(&self.client.capabilities(), method, &params) {
            return self.decline(id, METHOD_NOT_FOUND, "the client does not offer this");
        }
        let Some(key) = self.asked_for(stream) else {
            let text = "the client can be asked in the course of its own requests only";
            return self.decline(id, METHOD_NOT_FOUND, text);
        };
        let busy = self
            .calls
            .values()
            .filter(|call| !matches!(call.stage, DowngradedStage::Running));
        let is_full = busy.count() >= MAX_PARKED;
        let bytes = question.params_json().map_or(0, str::len);
        let has_room = self.has_room_for(bytes);
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        call.questions += 1;
        let question = ServerQuestion {
            id: id.clone(),
            key: format!("question-{}", call.questions),
            method: method.to_owned(),
            params,
            bytes,
        };
        let taken = match &mut call.stage {
            _ if !has_room => false,
            DowngradedStage::Running if is_full => false,
            DowngradedStage::Running => {
                let until = self.outbox.after(GATHERING);
                self.timers.insert(until, key);
                let questions = vec![question];
                call.stage = DowngradedStage::Gathering(Gathering { questions, until });
                true
            }
            DowngradedStage::Gathering(gathering) => push(&mut gathering.questions, question),
            DowngradedStage::Parked(parked) => push(&mut parked.later, question),
        };
        if !taken {
            self.decline(id, INTERNAL_ERROR, "too many questions wait for the client");
        }
    }

    /// Returns whether so many bytes more may wait for the app.
    fn has_room_for(&self, bytes: usize) -> bool {
        let waiting: usize = self.calls.values().map(waiting_bytes).sum();
        waiting == 0 || waiting + bytes <= MAX_WAITING_BYTES
    }

    /// Keeps the outcome of a call whose app has not come again yet.
    pub(super) fn keep_outcome(&mut self, mut call: DowngradedCall, outcome: KeptOutcome) {
        let has_room = self.has_room_for(outcome.bytes());
        if let DowngradedStage::Parked(parked) = &mut call.stage {
            let text =
                "mcp-bridge: the response was too large to be kept until the client came again";
            let too_large = Message::error(Some(&call.attempt), INTERNAL_ERROR, text, None);
            parked.outcome = Some(if has_room {
                outcome
            } else {
                KeptOutcome::Response(too_large)
            });
        }
        self.calls.insert(call.key, call);
    }

    fn asked_for(&self, stream: Option<&RequestId>) -> Option<CallKey> {
        let eligible = |call: &&DowngradedCall| is_eligible(&call.method);
        let on_stream = stream.and_then(|attempt| self.attempts.get(attempt));
        let on_stream = on_stream
            .and_then(|key| self.calls.get(key))
            .filter(eligible);
        if let Some(call) = on_stream {
            return Some(call.key);
        }
        let waits = |call: &&DowngradedCall| !matches!(call.stage, DowngradedStage::Parked(_));
        let mut candidates = self.calls.values().filter(eligible).filter(waits);
        let only = candidates.next()?;
        candidates.next().is_none().then_some(only.key)
    }

    /// Ends the app's request with the questions.
    pub(super) fn park(&mut self, mut call: DowngradedCall, questions: Vec<ServerQuestion>) {
        let mut requests = Object::default();
        for question in &questions {
            let mut request = Object::default();
            request.set("method", &question.method);
            request.set_object("params", &question.params);
            requests.set_object(&question.key, &request);
        }
        let handle = self.outbox.ids.secret();
        let mut result = Object::default();
        result.set("resultType", &"input_required");
        result.set_object("inputRequests", &requests);
        result.set("requestState", &handle);
        self.waiting.remove(&call.request);
        self.outbox.reply(&call.request, &result);
        let until = self.outbox.after(PARKED_LIMIT);
        self.timers.insert(until, call.key);
        call.stage = DowngradedStage::Parked(Box::new(Parked {
            handle,
            until,
            questions,
            later: Vec::new(),
            outcome: None,
        }));
        self.calls.insert(call.key, call);
    }

    /// Takes a request that may be answered with questions, or one that brings the answers.
    pub(super) fn on_eligible_request(&mut self, id: &RequestId, method: &str, request: &Message) {
        let Some(params) = Object::parse(request.params_json().unwrap_or("{}")) else {
            return self.refuse_params(id);
        };
        let answers = params.object("inputResponses");
        if params.get("requestState").is_none() {
            return match answers.filter(is_declined) {
                None => self.forward(id, method, params, log_level(request)),
                Some(_) => self.end_declined(id, method),
            };
        }
        let handle: Option<String> = params.read("requestState");
        let repeats = |call: &&DowngradedCall| match &call.stage {
            DowngradedStage::Parked(parked) => {
                Some(&parked.handle) == handle.as_ref()
                    && call.method == method
                    && repeated(&call.params) == repeated(&params)
            }
            DowngradedStage::Running | DowngradedStage::Gathering(_) => false,
        };
        let key = self.calls.values().find(repeats).map(|call| call.key);
        let Some(mut call) = key.and_then(|key| self.calls.remove(&key)) else {
            let text = "Invalid params: the requestState has expired or is not for this request";
            return self.outbox.refuse(id, INVALID_PARAMS, text);
        };
        let DowngradedStage::Parked(parked) =
            std::mem::replace(&mut call.stage, DowngradedStage::Running)
        else {
            return;
        };
        call.request = id.clone();
        let meta = params.object("_meta").unwrap_or_default();
        call.token_now = meta.id("progressToken");
        call.log_level = log_level(request);
        self.waiting.insert(id.clone(), call.key);
        self.resume(call, *parked, &answers.unwrap_or_default());
    }

    /// Hands the answers to the server, and asks what is still to be asked.
    fn resume(&mut self, call: DowngradedCall, parked: Parked, answers: &Object) {
        match parked.outcome {
            Some(KeptOutcome::Response(response)) => {
                let result = response.result_json().and_then(Object::parse);
                return self.end(&call, &response, result);
            }
            Some(KeptOutcome::Failed(failure)) => return self.end_failed(&call, &failure),
            None => {}
        }
        let mut open = Vec::new();
        for question in parked.questions {
            match answers.object(&question.key) {
                Some(answer) => {
                    let answer = Message::result(&question.id, &answer.to_json());
                    self.outbox.push(Action::Notify(answer));
                }
                None => open.push(question),
            }
        }
        open.extend(parked.later);
        if open.is_empty() {
            self.calls.insert(call.key, call);
        } else {
            self.park(call, open);
        }
    }

    /// The server does not want an answer any more.
    pub(super) fn withdraw(&mut self, event: &Message) {
        let Some(id) = event.id_param("requestId") else {
            return;
        };
        for call in self.calls.values_mut() {
            match &mut call.stage {
                DowngradedStage::Running => {}
                DowngradedStage::Gathering(gathering) => {
                    gathering.questions.retain(|question| question.id != id);
                    if gathering.questions.is_empty() {
                        call.stage = DowngradedStage::Running;
                    }
                }
                DowngradedStage::Parked(parked) => {
                    parked.questions.retain(|question| question.id != id);
                    parked.later.retain(|question| question.id != id);
                }
            }
        }
    }

    /// Tells the server that nobody will answer.
    pub(super) fn cancel_questions(&mut self, call: &DowngradedCall) {
        let questions: Vec<&ServerQuestion> = match &call.stage {
            DowngradedStage::Running => Vec::new(),
            DowngradedStage::Gathering(gathering) => gathering.questions.iter().collect(),
            DowngradedStage::Parked(parked) => {
                parked.questions.iter().chain(&parked.later).collect()
            }
        };
        for question in questions {
            if question.method == "elicitation/create" {
                let answer = json!({ "action": "cancel" }).to_string();
                let answer = Message::result(&question.id, &answer);
                self.outbox.push(Action::Notify(answer));
            } else {
                self.decline(&question.id, INTERNAL_ERROR, "nobody answered");
            }
        }
    }

    /// The server that asked is gone: what is parked has nowhere to go on.
    pub(super) fn forget_questions(&mut self) {
        let attempts = &mut self.attempts;
        self.calls.retain(|_, call| match &call.stage {
            DowngradedStage::Running => true,
            DowngradedStage::Gathering(_) => {
                call.stage = DowngradedStage::Running;
                true
            }
            // The response has come, whatever has become of the session since.
            DowngradedStage::Parked(parked) if parked.outcome.is_some() => true,
            DowngradedStage::Parked(_) => {
                if attempts.remove(&call.attempt).is_some() {
                    self.outbox.push(Action::Abort(call.attempt.clone()));
                }
                false
            }
        });
    }

    /// The user would not visit the page without which the server does nothing.
    fn end_declined(&mut self, id: &RequestId, method: &str) {
        let text = "the user did not visit the page that the server asks for";
        if method != "tools/call" {
            return self.outbox.fail(id, "url-elicitation", text);
        }
        let mut result = Object::default();
        result.set("resultType", &"complete");
        result.set("content", &json!([{ "type": "text", "text": text }]));
        result.set("isError", &true);
        self.outbox.reply(id, &result);
    }
}

/// The bytes of a call that wait for the app.
fn waiting_bytes(call: &DowngradedCall) -> usize {
    let size = |questions: &[ServerQuestion]| questions.iter().map(|it| it.bytes).sum::<usize>();
    match &call.stage {
        DowngradedStage::Running => 0,
        DowngradedStage::Gathering(gathering) => size(&gathering.questions),
        DowngradedStage::Parked(parked) => {
            let outcome = parked.outcome.as_ref().map_or(0, KeptOutcome::bytes);
            size(&parked.questions) + size(&parked.later) + outcome
        }
    }
}

/// Adds a question, if there is room for it.
fn push(questions: &mut Vec<ServerQuestion>, question: ServerQuestion) -> bool {
    let has_room = questions.len() < MAX_QUESTIONS;
    if has_room {
        questions.push(question);
    }
    has_room
}

/// Returns whether one of the answers to a page that has to be visited is a no.
fn is_declined(answers: &Object) -> bool {
    let accepted = |name: &str| {
        let answer = answers.object(name);
        answer
            .and_then(|answer| answer.read::<String>("action"))
            .as_deref()
            == Some("accept")
    };
    answers.iter().any(|(name, _)| !accepted(name))
}

/// Returns whether the app said that it can be asked this.
fn may_ask(capabilities: &Object, method: &str, params: &Object) -> bool {
    match method {
        "roots/list" => capabilities.declares(&["roots"]),
        "sampling/createMessage" if params.get("tools").is_some() => {
            capabilities.declares(&["sampling", "tools"])
        }
        "sampling/createMessage" => capabilities.declares(&["sampling"]),
        "elicitation/create" => {
            let is_url = params.read::<String>("mode").as_deref() == Some("url");
            let url = capabilities.declares(&["elicitation", "url"]);
            let form = capabilities.declares(&["elicitation", "form"])
                || capabilities.declares(&["elicitation"]) && !url;
            if is_url { url } else { form }
        }
        _ => false,
    }
}
