//! Tasks of 2025-11-25, for tools that run only as tasks. The app, which knows another kind of tasks if any, calls
//! them like others and waits.

use std::time::Duration;

use super::Downgrade;
use super::call::DowngradedCall;
use crate::era::Timer;
use crate::era::json::Json;
use crate::era::object::Object;

/// The wait between two looks at a task, if the server does not say.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The least and the most that a server may ask for.
const POLL_INTERVALS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(60)];

/// The longest that a task is waited for.
const TASK_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// A task of the server.
#[derive(Debug)]
pub(super) struct DowngradedTask {
    /// As it stood there.
    id: Json,
    deadline: Timer,
    step: TaskStep,
}

#[derive(Debug, PartialEq, Eq)]
enum TaskStep {
    /// Before the next look.
    Pausing(Timer),
    /// `tasks/get` is with the server.
    Looking,
    /// `tasks/result` is with the server, which asks its questions on that stream.
    Fetching,
}

impl Downgrade {
    /// Reads a result of `tools/list`, and takes out what the modern era does not have.
    pub(super) fn record_tools(&mut self, result: &mut Object) {
        let Some(mut tools) = result.read::<Vec<Object>>("tools") else {
            return;
        };
        for tool in &mut tools {
            let execution = tool.object("execution");
            tool.remove("execution");
            let Some(name) = tool.read::<String>("name") else {
                continue;
            };
            let support = execution.and_then(|execution| execution.read::<String>("taskSupport"));
            if support.as_deref() == Some("required") {
                self.task_tools.insert(&name, ());
            } else {
                self.task_tools.remove(&name);
            }
        }
        result.set("tools", &tools);
    }

    /// Asks for a task, where the tool cannot be called without.
    pub(super) fn make_task(&self, params: &mut Object) {
        if self.task_tools.is_empty() {
            return;
        }
        let name: Option<String> = params.read("name");
        let is_task = name.is_some_and(|name| self.task_tools.get(&name).is_some());
        if is_task
            && self
                .server
                .declares(&["tasks", "requests", "tools", "call"])
        {
            params.set_object("task", &Object::default());
        }
    }

    /// Takes a response with this result that is one step of a task; `false` if it is the end of the call.
    pub(super) fn on_task_response(
        &mut self,
        call: &mut DowngradedCall,
        result: Option<&Object>,
    ) -> bool {
        let nothing = Object::default();
        let result = result.unwrap_or(&nothing);
        match call.task.as_ref().map(|task| &task.step) {
            None if call.method == "tools/call" => {
                let Some(created) = result.object("task") else {
                    return false;
                };
                let Some(id) = created.get("taskId").map(Json::detached) else {
                    return false;
                };
                let deadline = self.outbox.after(TASK_LIMIT);
                self.timers.insert(deadline, call.key);
                let step = self.pause(call, &created);
                call.task = Some(DowngradedTask { id, deadline, step });
                true
            }
            Some(TaskStep::Looking)
                if result.read::<String>("status").as_deref() == Some("working") =>
            {
                let step = self.pause(call, result);
                set_step(call, step);
                true
            }
            // It is over, or has a question: either way the result is to be fetched.
            Some(TaskStep::Looking) => {
                self.send_step(call, "tasks/result", TaskStep::Fetching);
                true
            }
            None | Some(TaskStep::Fetching | TaskStep::Pausing(_)) => false,
        }
    }

    /// Takes a timer of a call's task.
    pub(super) fn task_timer(&mut self, mut call: DowngradedCall, timer: Timer) {
        if call
            .task
            .as_ref()
            .is_some_and(|task| task.deadline == timer)
        {
            self.abandon(&call);
            if self.waiting.remove(&call.request).is_some() {
                let text = "the task did not come to an end";
                self.outbox.fail(&call.request, "time-limit", text);
            }
            return;
        }
        let step = call.task.as_ref().map(|task| &task.step);
        if step == Some(&TaskStep::Pausing(timer)) {
            self.send_step(&mut call, "tasks/get", TaskStep::Looking);
        }
        self.calls.insert(call.key, call);
    }

    /// Cancels the task of a call; `false` if it has none.
    pub(super) fn cancel_task(&mut self, call: &DowngradedCall) -> bool {
        let Some(task) = &call.task else {
            return false;
        };
        let mut params = Object::default();
        params.put("taskId", task.id.clone());
        let id = self.outbox.ids.id();
        self.outbox.request(&id, "tasks/cancel", &params);
        true
    }

    fn send_step(&mut self, call: &mut DowngradedCall, method: &str, step: TaskStep) {
        let Some(task) = &mut call.task else {
            return;
        };
        task.step = step;
        let mut params = Object::default();
        params.put("taskId", task.id.clone());
        call.attempt = self.outbox.ids.id();
        self.attempts.insert(call.attempt.clone(), call.key);
        self.outbox.request(&call.attempt, method, &params);
    }

    fn pause(&mut self, call: &DowngradedCall, task: &Object) -> TaskStep {
        let [least, most] = POLL_INTERVALS;
        let asked = task.read::<u64>("pollInterval").map(Duration::from_millis);
        let wait = asked.unwrap_or(POLL_INTERVAL).clamp(least, most);
        let timer = self.outbox.after(wait);
        self.timers.insert(timer, call.key);
        TaskStep::Pausing(timer)
    }
}

fn set_step(call: &mut DowngradedCall, step: TaskStep) {
    if let Some(task) = &mut call.task {
        task.step = step;
    }
}
