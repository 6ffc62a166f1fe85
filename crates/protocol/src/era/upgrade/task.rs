//! Tasks extension: a server may answer `tools/call` with a task (SEP-2663). The app knows nothing of it and waits
//! for the result.

use std::collections::HashSet;
use std::time::Duration;

use super::Upgrade;
use super::call::{CallStep, UpgradedCall};
use super::input::read_requests;
use crate::codes::INTERNAL_ERROR;
use crate::era::ExchangeFailure;
use crate::era::json::Json;
use crate::era::object::Object;
use crate::message::Message;

/// The wait between two looks at a task, if the server does not say.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The least and the most that a server may ask for.
const POLL_INTERVALS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(60)];

/// The longest that a task is waited for.
const TASK_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks in a row that may fail before the task counts as lost.
const MAX_FAILURES: u32 = 5;

/// A task of the server.
#[derive(Debug)]
pub(super) struct UpgradedTask {
    /// As it stood there.
    id: Json,
    interval: Duration,
    /// The keys of the questions that were asked: they come again until the server has seen the answers.
    asked: HashSet<String>,
    failures: u32,
}

impl UpgradedTask {
    /// The bytes of the keys that are kept.
    pub(super) fn key_bytes(&self) -> usize {
        self.asked.iter().map(String::len).sum()
    }
}

impl Upgrade {
    /// The params of `tasks/get` and `tasks/cancel`, or of `tasks/update` with answers.
    pub(super) fn task_params(
        &self,
        task: Option<&UpgradedTask>,
        answers: Option<&Object>,
    ) -> Object {
        let mut params = Object::default();
        if let Some(task) = task {
            params.put("taskId", task.id.clone());
        }
        if let Some(answers) = answers {
            params.set_object("inputResponses", answers);
        }
        self.app.sign(&mut params);
        params
    }

    /// The server has made a task of the call.
    pub(super) fn on_task(&mut self, mut call: UpgradedCall, result: &Object) {
        if result.read::<String>("taskId").is_none() || !self.app.accepts_tasks() {
            return self.end_invalid(&call, "it is a task that cannot be followed");
        }
        let Some(id) = result.get("taskId").map(Json::detached) else {
            return;
        };
        let task = UpgradedTask {
            id,
            interval: interval(result),
            asked: HashSet::new(),
            failures: 0,
        };
        let deadline = self.outbox.after(TASK_LIMIT);
        self.timers.insert(deadline, call.id.clone());
        call.deadline = Some(deadline);
        self.report(&call, result);
        let wait = task.interval;
        call.task = Some(task);
        self.pause(call, CallStep::Poll, wait);
    }

    /// The state of the task.
    pub(super) fn on_poll_response(&mut self, mut call: UpgradedCall, response: &Message) {
        if response.is_error() {
            return self.try_again(call, CallStep::Poll, response);
        }
        let result = response.result_json().and_then(Object::parse);
        let (Some(result), Some(task)) = (result, &mut call.task) else {
            return self.end_invalid(&call, "the state of its task cannot be read");
        };
        task.failures = 0;
        task.interval = interval(&result);
        let wait = task.interval;
        match result.read::<String>("status").as_deref() {
            Some("working") => {
                self.report(&call, &result);
                self.pause(call, CallStep::Poll, wait);
            }
            Some("input_required") => {
                let Some(mut requests) = read_requests(&result) else {
                    self.abandon(&call);
                    return self.end_invalid(&call, "its inputRequests cannot be read");
                };
                requests.retain(|request| !task.asked.contains(&request.key));
                if requests.is_empty() {
                    return self.pause(call, CallStep::Poll, wait);
                }
                let keys: Vec<_> = requests.iter().map(|it| it.key.clone()).collect();
                let id = call.id.clone();
                self.ask(call, requests, None);
                // Only what was asked is kept: there are limits for that.
                let asking = self.calls.get_mut(&id);
                if let Some(task) = asking.and_then(|call| call.task.as_mut()) {
                    task.asked.extend(keys);
                }
            }
            Some("completed") => match result.object("result") {
                Some(result) => self.end_with_result(&call, result),
                None => self.end_invalid(&call, "its task has completed without a result"),
            },
            Some("failed") => match result.get("error") {
                Some(error) => self.end_as_it_is(&call, error.get()),
                None => self.end_invalid(&call, "its task has failed without an error"),
            },
            Some("cancelled") => {
                self.end_with_failure(&call, "task-cancelled", "the task was cancelled");
            }
            _ => self.end_invalid(&call, "the status of its task is unknown"),
        }
    }

    /// Returns whether the answers have arrived.
    pub(super) fn on_update_response(
        &mut self,
        call: UpgradedCall,
        step: CallStep,
        response: &Message,
    ) {
        if response.is_error() {
            return self.try_again(call, step, response);
        }
        let wait = call
            .task
            .as_ref()
            .map_or(POLL_INTERVAL, |task| task.interval);
        self.pause(call, CallStep::Poll, wait);
    }

    /// The work goes on whatever becomes of one exchange, so that a failure on the way, which is no
    /// answer of the tasks extension, is tried again.
    fn try_again(&mut self, mut call: UpgradedCall, step: CallStep, response: &Message) {
        let passing = response
            .error_text()
            .is_some_and(|(code, _)| code == INTERNAL_ERROR);
        let wait = passing.then(|| next_attempt(&mut call)).flatten();
        if let Some(wait) = wait {
            return self.pause(call, step, wait);
        }
        let error = response.error_json().unwrap_or("{}");
        self.end_with_error(&call, response, error);
    }

    /// A request about the task has failed.
    pub(super) fn on_task_failure(
        &mut self,
        mut call: UpgradedCall,
        step: CallStep,
        failure: &ExchangeFailure,
    ) {
        match next_attempt(&mut call) {
            Some(wait) => self.pause(call, step, wait),
            None => self.end_failed(&call, failure),
        }
    }

    /// Tells an app that wants to hear of progress that the work goes on: else it might give up.
    fn report(&mut self, call: &UpgradedCall, task: &Object) {
        let Some(token) = &call.progress_token else {
            return;
        };
        let Some(known) = self.progress.get_mut(token) else {
            return;
        };
        *known = known.max(0.0) + 1.0;
        let mut params = Object::default();
        params.set_json("progressToken", token.as_json());
        params.set("progress", known);
        if let Some(message) = task.read::<String>("statusMessage") {
            params.set("message", &message);
        }
        self.outbox
            .tell_app(params.into_notification("notifications/progress"));
    }
}

/// The wait before another request about the task; `None` after too many failures.
fn next_attempt(call: &mut UpgradedCall) -> Option<Duration> {
    let task = call.task.as_mut()?;
    if task.failures >= MAX_FAILURES {
        return None;
    }
    task.failures += 1;
    Some(task.interval.max(POLL_INTERVAL) * 2_u32.pow(task.failures))
}

/// The wait that the server asks for, within limits.
fn interval(task: &Object) -> Duration {
    let [least, most] = POLL_INTERVALS;
    let asked = task.read::<u64>("pollIntervalMs");
    asked
        .map_or(POLL_INTERVAL, Duration::from_millis)
        .clamp(least, most)
}
