//! State of one request of a modern app in a legacy session.

use std::time::Duration;

use serde_json::json;

use super::Downgrade;
use super::listen::Resource;
use super::pending_input::{Gathering, KeptOutcome, Parked};
use super::task::DowngradedTask;
use crate::codes::{
    INVALID_PARAMS, MISSING_CAPABILITY, RESOURCE_NOT_FOUND, URL_ELICITATION_REQUIRED,
};
use crate::era::json::Json;
use crate::era::object::Object;
use crate::era::request_meta;
use crate::era::{Action, ExchangeFailure, Timer};
use crate::message::{Message, RequestId};

/// Time that a cancelled request's stream stays open, so that the server hears of the cancellation before
/// it sees the connection go.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Tells calls apart: the ids of the app's requests come and go while one goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallKey(u64);

impl CallKey {
    pub(super) fn take_next(&mut self) -> Self {
        self.0 += 1;
        *self
    }
}

/// A request that the server has not answered, or whose answer the app has not fetched.
#[derive(Debug)]
pub(super) struct DowngradedCall {
    pub(super) key: CallKey,
    /// The app's request that waits for it, or did last.
    pub(super) request: RequestId,
    /// The exchange with the server.
    pub(super) attempt: RequestId,
    pub(super) method: String,
    /// The params as they came, which a retry has to [repeat](repeated).
    pub(super) params: Object,
    /// The token under which the server reports progress.
    pub(super) token: Option<RequestId>,
    /// The token under which the app wants to hear of it now.
    pub(super) token_now: Option<RequestId>,
    /// The least level of log messages that the app wants, as a place among the levels.
    pub(super) log_level: Option<usize>,
    /// Number of questions that the server has put.
    pub(super) questions: u32,
    /// The task that the server made of it.
    pub(super) task: Option<DowngradedTask>,
    pub(super) stage: DowngradedStage,
}

/// Stage of a call, by who waits for whom.
#[derive(Debug)]
pub(super) enum DowngradedStage {
    /// The app for the server.
    Running,
    /// The app for the server, which has a question; a moment is waited for more.
    Gathering(Gathering),
    /// The server for the app, which has the questions and is to come again.
    Parked(Box<Parked>),
}

impl Downgrade {
    /// Sends a request of the app on.
    pub(super) fn forward(
        &mut self,
        id: &RequestId,
        method: &str,
        params: Object,
        level: Option<usize>,
    ) {
        if let Some(level) = level {
            self.ask_for_logs(level);
        }
        let mut sent = params.clone();
        request_meta::strip_modern(&mut sent);
        if is_eligible(method) {
            sent.remove("inputResponses");
            sent.remove("requestState");
        }
        if method == "tools/call" {
            self.make_task(&mut sent);
        }
        let token = request_meta::progress_token(&sent);
        let key = self.next_call.take_next();
        let call = DowngradedCall {
            key,
            request: id.clone(),
            // The app may use an id again that a call still goes by at the server.
            attempt: if self.is_leg(id) {
                self.outbox.ids.id()
            } else {
                id.clone()
            },
            method: method.to_owned(),
            params,
            token: token.clone(),
            token_now: token,
            log_level: level,
            questions: 0,
            task: None,
            stage: DowngradedStage::Running,
        };
        self.outbox.request(&call.attempt, method, &sent);
        self.attempts.insert(call.attempt.clone(), key);
        self.waiting.insert(id.clone(), key);
        self.calls.insert(key, call);
    }

    pub(super) fn on_response(&mut self, id: &RequestId, response: &Message) {
        if self
            .subscriptions
            .on_response(id, Resource::of_response(response), &mut self.outbox)
        {
            return;
        }
        let call = self
            .attempts
            .remove(id)
            .and_then(|key| self.calls.remove(&key));
        let Some(mut call) = call else {
            return tracing::debug!(%id, "dropped a response that answers no request");
        };
        let result = response.result_json().and_then(Object::parse);
        if !response.is_error() && self.on_task_response(&mut call, result.as_ref()) {
            self.calls.insert(call.key, call);
            return;
        }
        if matches!(call.stage, DowngradedStage::Parked(_)) {
            return self.keep_outcome(call, KeptOutcome::Response(response.clone()));
        }
        self.end(&call, response, result);
    }

    pub(super) fn on_exchange_failure(&mut self, id: &RequestId, failure: &ExchangeFailure) {
        if self
            .subscriptions
            .on_response(id, Resource::Refused, &mut self.outbox)
        {
            return;
        }
        let call = self
            .attempts
            .remove(id)
            .and_then(|key| self.calls.remove(&key));
        let Some(call) = call else {
            return tracing::debug!(%id, "dropped the failure of no request");
        };
        if matches!(call.stage, DowngradedStage::Parked(_)) {
            return self.keep_outcome(call, KeptOutcome::Failed(failure.clone()));
        }
        self.end_failed(&call, failure);
    }

    /// Answers the app with a failure.
    pub(super) fn end_failed(&mut self, call: &DowngradedCall, failure: &ExchangeFailure) {
        self.waiting.remove(&call.request);
        let failed = Action::Fail(call.request.clone(), failure.clone());
        self.outbox.push(failed);
    }

    pub(super) fn call_timer(&mut self, key: CallKey, timer: Timer) {
        let Some(mut call) = self.calls.remove(&key) else {
            return;
        };
        match &mut call.stage {
            DowngradedStage::Gathering(gathering) if gathering.until == timer => {
                let questions = std::mem::take(&mut gathering.questions);
                self.park(call, questions);
            }
            // The app has not come again.
            DowngradedStage::Parked(parked) if parked.until == timer => self.abandon(&call),
            _ => self.task_timer(call, timer),
        }
    }

    /// Ends whatever is under way for a call, without answering the app.
    pub(super) fn abandon(&mut self, call: &DowngradedCall) {
        if matches!(&call.stage, DowngradedStage::Parked(parked) if parked.outcome.is_some()) {
            return;
        }
        self.cancel_questions(call);
        let is_sent = self.attempts.remove(&call.attempt).is_some();
        if self.cancel_task(call) {
            if is_sent {
                self.outbox.push(Action::Abort(call.attempt.clone()));
            }
            return;
        }
        let mut params = Object::default();
        params.set_json("requestId", call.attempt.as_json());
        let cancelled = params.into_notification("notifications/cancelled");
        self.outbox.push(Action::Notify(cancelled));
        let timer = self.outbox.after(CANCEL_GRACE);
        self.closing.insert(timer, call.attempt.clone());
    }

    /// Answers the app with the server's response, and the result in it if it is an object.
    pub(super) fn end(
        &mut self,
        call: &DowngradedCall,
        response: &Message,
        result: Option<Object>,
    ) {
        self.waiting.remove(&call.request);
        if let Some(error) = response.error_json() {
            return self.end_with_error(call, response, error);
        }
        let Some(mut result) = result else {
            let text =
                "the server's answer is invalid: its result is not an object that can be read";
            return self.outbox.fail(&call.request, "invalid-response", text);
        };
        result.set("resultType", &"complete");
        if request_meta::is_cacheable(&call.method) {
            result.set("ttlMs", &0);
            result.set("cacheScope", &"private");
        }
        request_meta::strip_legacy(&mut result);
        if call.method == "tools/list" {
            self.record_tools(&mut result);
        }
        self.outbox.reply(&call.request, &result);
    }

    /// The errors of a legacy server that a modern app would not understand.
    fn end_with_error(&mut self, call: &DowngradedCall, response: &Message, error: &str) {
        let (code, _) = response.error_text().unwrap_or_default();
        match code {
            RESOURCE_NOT_FOUND => {
                let mut error = Object::parse(error).unwrap_or_default();
                error.set("code", &INVALID_PARAMS);
                self.pass_error(call, &error.to_json());
            }
            URL_ELICITATION_REQUIRED => self.end_with_pages(call, error),
            _ => self.pass_error(call, error),
        }
    }

    fn pass_error(&mut self, call: &DowngradedCall, error: &str) {
        self.outbox.pass_error(&call.request, error);
    }

    /// The pages that the user has to visit become questions. The request is over for the server, so
    /// that there is nothing to park: the app's retry is simply the request once more.
    fn end_with_pages(&mut self, call: &DowngradedCall, error: &str) {
        let data = Object::parse(error).and_then(|error| error.object("data"));
        let pages = data.and_then(|data| data.read::<Vec<Object>>("elicitations"));
        let pages = pages.unwrap_or_default();
        if !is_eligible(&call.method) || pages.is_empty() {
            let text = "the server wants the user to visit a page and does not say which";
            return self.outbox.fail(&call.request, "url-elicitation", text);
        }
        if !self.client.capabilities().declares(&["elicitation", "url"]) {
            let required = json!({ "requiredCapabilities": { "elicitation": { "url": {} } } });
            let text = "Missing required client capability";
            let id = Some(&call.request);
            let error = Message::error(id, MISSING_CAPABILITY, text, Some(&required));
            return self.outbox.tell_app(error);
        }
        let mut requests = Object::default();
        for (at, mut page) in pages.into_iter().enumerate() {
            page.remove("elicitationId");
            page.set("mode", &"url");
            let mut request = Object::default();
            request.set("method", &"elicitation/create");
            request.set_object("params", &page);
            requests.set_object(&format!("page-{}", at + 1), &request);
        }
        let mut result = Object::default();
        result.set("resultType", &"input_required");
        result.set_object("inputRequests", &requests);
        self.outbox.reply(&call.request, &result);
    }

    fn is_leg(&self, id: &RequestId) -> bool {
        self.attempts.contains_key(id) || self.closing.values().any(|attempt| attempt == id)
    }
}

/// The methods whose requests may be answered with questions (specification, "Supported Requests").
pub(super) fn is_eligible(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// The params that a retry has in common with the request that it repeats.
pub(super) fn repeated(params: &Object) -> String {
    let mut params = params.clone();
    for name in ["_meta", "inputResponses", "requestState"] {
        params.remove(name);
    }
    let mut members: Vec<(&str, &Json)> = params.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    let members = members
        .iter()
        .map(|(name, value)| format!("{name:?}:{}", value.get()));
    members.collect::<Vec<_>>().join(",")
}
