//! State of one request of a legacy app at a modern server, which may take several exchanges.

use std::borrow::Cow;

use serde_json::json;

use super::task::UpgradedTask;
use super::{Upgrade, input};
use crate::codes::{
    HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, MISSING_CAPABILITY, UNSUPPORTED_VERSION,
    UNSUPPORTED_VERSION_DRAFT,
};
use crate::era::object::Object;
use crate::era::request_meta::{self, Discovery, MODERN_VERSION};
use crate::era::{Action, ExchangeFailure, Timer};
use crate::message::{Message, RequestId};

/// A request of the app that has no answer yet.
#[derive(Debug)]
pub(super) struct UpgradedCall {
    pub(super) id: RequestId,
    pub(super) method: String,
    /// As they were sent first, with who asks: what each further round begins with.
    pub(super) params: Object,
    /// The token under which the app wants to hear of progress.
    pub(super) progress_token: Option<RequestId>,
    /// Number of times that the server has asked for input.
    pub(super) rounds: u32,
    /// When the server's questions have to come to an end.
    pub(super) deadline: Option<Timer>,
    /// The task that the server made of it.
    pub(super) task: Option<UpgradedTask>,
    /// True if it was sent again after the server refused a version that it says it speaks.
    pub(super) version_retried: bool,
    pub(super) stage: UpgradedStage,
}

/// Stage of a call, by what it waits for.
#[derive(Debug)]
pub(super) enum UpgradedStage {
    /// Nothing yet.
    New,
    /// The server, in the exchange of this id.
    Sent(RequestId, CallStep),
    /// The app.
    Asking(input::Round),
    /// A while, before this is sent.
    Pausing(Timer, CallStep),
}

/// Request to the server for a call.
#[derive(Debug, Clone)]
pub(super) enum CallStep {
    /// The call itself, with what the last round brought.
    Call(input::Brought),
    /// `tasks/get` for its task.
    Poll,
    /// `tasks/update` for its task, with these `inputResponses`.
    Update(Object),
}

impl UpgradedCall {
    pub(super) fn new(id: RequestId, method: String, params: Object) -> Self {
        Self {
            id,
            method,
            progress_token: request_meta::progress_token(&params),
            params,
            rounds: 0,
            deadline: None,
            task: None,
            version_retried: false,
            stage: UpgradedStage::New,
        }
    }
}

impl Upgrade {
    /// Sends a step of the call, in an exchange of this id or of a new one.
    pub(super) fn send(
        &mut self,
        mut call: UpgradedCall,
        step: CallStep,
        attempt: Option<RequestId>,
    ) {
        let attempt = attempt.unwrap_or_else(|| self.outbox.ids.id());
        let method = match &step {
            CallStep::Call(_) => &*call.method,
            CallStep::Poll => "tasks/get",
            CallStep::Update(_) => "tasks/update",
        };
        let params = match &step {
            CallStep::Call(brought) => brought.params(&call.params),
            CallStep::Poll => Cow::Owned(self.task_params(call.task.as_ref(), None)),
            CallStep::Update(answers) => {
                Cow::Owned(self.task_params(call.task.as_ref(), Some(answers)))
            }
        };
        self.outbox.request(&attempt, method, &params);
        self.attempts.insert(attempt.clone(), call.id.clone());
        call.stage = UpgradedStage::Sent(attempt, step);
        self.calls.insert(call.id.clone(), call);
    }

    /// Sends a step of the call after a while.
    pub(super) fn pause(
        &mut self,
        mut call: UpgradedCall,
        step: CallStep,
        wait: std::time::Duration,
    ) {
        let timer = self.outbox.after(wait);
        self.timers.insert(timer, call.id.clone());
        call.stage = UpgradedStage::Pausing(timer, step);
        self.calls.insert(call.id.clone(), call);
    }

    pub(super) fn call_timer(&mut self, id: &RequestId, timer: Timer) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let is_deadline = call.deadline == Some(timer);
        let text = match &call.stage {
            UpgradedStage::Pausing(due, step) if *due == timer => {
                let step = step.clone();
                if let Some(call) = self.calls.remove(id) {
                    self.send(call, step, None);
                }
                return;
            }
            UpgradedStage::Asking(round) if round.limit == timer => {
                "nobody answered the server's question"
            }
            _ if is_deadline && call.task.is_some() => "the task did not come to an end",
            _ if is_deadline => "the server's questions did not come to an end",
            _ => return,
        };
        let Some(call) = self.calls.remove(id) else {
            return;
        };
        self.abandon(&call);
        if is_deadline {
            self.outbox.fail(&call.id, "time-limit", text);
        } else {
            self.end_unanswered(&call, text);
        }
    }

    /// Ends whatever is under way for a call, without answering it.
    pub(super) fn abandon(&mut self, call: &UpgradedCall) {
        match &call.stage {
            UpgradedStage::New | UpgradedStage::Pausing(..) => {}
            UpgradedStage::Sent(attempt, _) => {
                self.attempts.remove(attempt);
                self.outbox.push(Action::Abort(attempt.clone()));
            }
            UpgradedStage::Asking(round) => {
                for question in &round.waiting {
                    self.questions.remove(&question.id);
                    let withdrawal = question.withdrawal();
                    self.outbox.tell_app(withdrawal);
                }
            }
        }
        if call.task.is_some() {
            let params = self.task_params(call.task.as_ref(), None);
            let id = self.outbox.ids.id();
            self.outbox.request(&id, "tasks/cancel", &params);
        }
        self.forget(call);
    }

    /// The final result of the call.
    pub(super) fn end_with_result(&mut self, call: &UpgradedCall, mut result: Object) {
        result.remove("resultType");
        if request_meta::is_cacheable(&call.method) {
            result.remove("ttlMs");
            result.remove("cacheScope");
        }
        request_meta::strip_modern(&mut result);
        match &*call.method {
            "tools/call" => self.output.wrap_result(&call.params, &mut result),
            "tools/list" => self.output.wrap_schemas(&mut result),
            _ => {}
        }
        self.forget(call);
        self.outbox.reply(&call.id, &result);
    }

    /// The errors of a modern server that a legacy app would not understand.
    pub(super) fn end_with_error(&mut self, call: &UpgradedCall, response: &Message, error: &str) {
        let (code, text) = response.error_text().unwrap_or_default();
        match code {
            HEADER_MISMATCH => {
                self.forget(call);
                let text = format!("the server does not accept the request's headers: {text}");
                self.outbox.fail(&call.id, "header-mismatch", &text);
            }
            MISSING_CAPABILITY => {
                let required = required_capabilities(error);
                self.end_unanswerable(
                    call,
                    INVALID_PARAMS,
                    &format!("{text} (the server needs an app that can: {required})"),
                );
            }
            UNSUPPORTED_VERSION | UNSUPPORTED_VERSION_DRAFT => match Discovery::of(response) {
                Discovery::Modern | Discovery::OtherModern(_) => {
                    self.end_with_versions(call, response);
                }
                Discovery::LegacyOnly(_) => {
                    self.end_with_versions(call, response);
                    self.outbox.push(Action::EraOver);
                }
                Discovery::NotModern => self.end_as_it_is(call, error),
            },
            _ => self.end_as_it_is(call, error),
        }
    }

    fn end_with_versions(&mut self, call: &UpgradedCall, response: &Message) {
        self.forget(call);
        let versions = request_meta::supported_versions(response).unwrap_or_default();
        let text = format!(
            "the server now speaks {}, and the bridge {MODERN_VERSION}",
            versions.join(", ")
        );
        self.outbox.fail(&call.id, "version", &text);
    }

    pub(super) fn end_as_it_is(&mut self, call: &UpgradedCall, error: &str) {
        self.forget(call);
        self.outbox.pass_error(&call.id, error);
    }

    /// There is no response of the server.
    pub(super) fn end_failed(&mut self, call: &UpgradedCall, failure: &ExchangeFailure) {
        self.forget(call);
        self.outbox
            .push(Action::Fail(call.id.clone(), failure.clone()));
    }

    /// The server has broken the protocol.
    pub(super) fn end_invalid(&mut self, call: &UpgradedCall, what: &str) {
        self.forget(call);
        let text = format!("the server's answer is invalid: {what}");
        self.outbox.fail(&call.id, "invalid-response", &text);
    }

    /// The server's question has no answer.
    pub(super) fn end_unanswered(&mut self, call: &UpgradedCall, text: &str) {
        self.end_unanswerable(call, INTERNAL_ERROR, text);
    }

    /// Ends a call in whose way the app or its user stands, not the protocol: a model gets to read it.
    fn end_unanswerable(&mut self, call: &UpgradedCall, code: i64, text: &str) {
        self.forget(call);
        if call.method == "tools/call" {
            let content = json!([{ "type": "text", "text": text }]);
            let mut result = Object::default();
            result.set("content", &content);
            result.set("isError", &true);
            self.outbox.reply(&call.id, &result);
        } else if code == INVALID_PARAMS {
            self.outbox.refuse(&call.id, code, text);
        } else {
            self.outbox.fail(&call.id, "input", text);
        }
    }

    pub(super) fn end_with_failure(&mut self, call: &UpgradedCall, kind: &str, text: &str) {
        self.forget(call);
        self.outbox.fail(&call.id, kind, text);
    }

    fn forget(&mut self, call: &UpgradedCall) {
        if let Some(token) = &call.progress_token {
            self.progress.remove(token);
        }
    }
}

/// The names of the capabilities that a `MissingRequiredClientCapability` error asks for.
fn required_capabilities(error: &str) -> String {
    let required = Object::parse(error)
        .and_then(|error| error.object("data"))
        .and_then(|data| data.object("requiredCapabilities"));
    let Some(required) = required else {
        return "what it does not name".to_owned();
    };
    let names: Vec<String> = required
        .iter()
        .flat_map(|(name, value)| match Object::parse(value.get()) {
            Some(inner) if !inner.is_empty() => inner
                .iter()
                .map(|(part, _)| format!("{name}.{part}"))
                .collect(),
            _ => vec![name.to_owned()],
        })
        .collect();
    names.join(", ")
}
