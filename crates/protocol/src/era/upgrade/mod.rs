//! Translation between a legacy app and a modern server.
//!
//! The bridge is a legacy server to the app and a modern client to the server. The tables below name
//! what is special; everything else is forwarded, with who asks in its `_meta`.

mod call;
mod handshake;
mod input;
mod listen;
mod output;
mod task;

use std::collections::BTreeMap;

use super::filter::RESOURCE_UPDATED;
use super::object::Object;
use super::outbox::Outbox;
use super::request_meta::{self, Discovery, severity};
use super::{Action, ExchangeFailure, OpenError, Timer};
use crate::codes::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::lists::is_list_change;
use crate::message::{Kind, Message, RequestId};
use call::{CallStep, UpgradedCall, UpgradedStage};
use handshake::{LegacyApp, ModernServer};
use input::Brought;
use listen::{Listen, StreamEnd};
use output::Output;

/// The kind of error for what the app had asked before it began anew, and its text.
const SESSION_LOST: &str = "session_lost";
const BEGAN_ANEW: &str = "mcp-bridge: given up: the session began anew";

/// The translation for one `initialize` of the app.
#[derive(Debug)]
pub struct Upgrade {
    app: LegacyApp,
    server: ModernServer,
    outbox: Outbox,
    listen: Listen,
    output: Output,
    /// The app's requests, by their ids.
    calls: BTreeMap<RequestId, UpgradedCall>,
    /// The call that an exchange with the server belongs to.
    attempts: BTreeMap<RequestId, RequestId>,
    /// The call that a question to the app belongs to.
    questions: BTreeMap<RequestId, RequestId>,
    /// The call that a timer belongs to.
    timers: BTreeMap<Timer, RequestId>,
    /// The progress that the app has heard of, by the token.
    progress: BTreeMap<RequestId, f64>,
}

impl Upgrade {
    /// The `server/discover`, with the id `id`, that tells what `initialize` asks for.
    #[must_use]
    pub fn discover_request(initialize: &Message, id: &RequestId) -> Message {
        let mut params = Object::default();
        LegacyApp::from_initialize(initialize).sign(&mut params);
        Message::request(id, "server/discover", &params.to_json())
    }

    /// Begins with the app's `initialize` and the server's response to `server/discover`, and gives the
    /// response for the app. `host` stands for the name of a server that does not tell its own.
    pub fn open(
        initialize: &Message,
        discover: &Message,
        host: &str,
    ) -> Result<(Self, Message), OpenError> {
        match Discovery::of(discover) {
            Discovery::Modern if discover.result_json().is_some() => {}
            Discovery::Modern | Discovery::NotModern => return Err(OpenError::NotModern),
            Discovery::LegacyOnly(versions) => return Err(OpenError::LegacyOnly(versions)),
            Discovery::OtherModern(versions) => return Err(OpenError::NoCommonVersion(versions)),
        }
        let id = initialize.id().ok_or(OpenError::NotModern)?;
        let mut app = LegacyApp::from_initialize(initialize);
        let (server, result) = handshake::initialize_result(&mut app, discover, host);
        let response = Message::result(id, &result.to_json());
        let upgrade = Self {
            listen: Listen::new(&server),
            app,
            server,
            outbox: Outbox::new(),
            output: Output::default(),
            calls: BTreeMap::new(),
            attempts: BTreeMap::new(),
            questions: BTreeMap::new(),
            timers: BTreeMap::new(),
            progress: BTreeMap::new(),
        };
        Ok((upgrade, response))
    }

    /// The exchange by which the app's request `id` is with the server.
    #[must_use]
    pub fn exchange_of(&self, id: &RequestId) -> Option<&RequestId> {
        match &self.calls.get(id)?.stage {
            UpgradedStage::Sent(attempt, _) => Some(attempt),
            UpgradedStage::New | UpgradedStage::Asking(_) | UpgradedStage::Pausing(..) => None,
        }
    }

    /// Takes a message of the app.
    pub fn on_app_message(&mut self, message: &Message) -> Vec<Action> {
        match message.kind() {
            Kind::Request { id, method } => {
                self.on_request(id, method, message);
                self.listen.on_request(&self.app, &mut self.outbox);
            }
            Kind::Notification { method } => self.on_notification(method, message),
            Kind::Response { id } => {
                if let Some(id) = id {
                    self.on_answer(id, message);
                }
            }
        }
        self.outbox.take()
    }

    /// Takes a message of the server: the response to an [`Action::Request`], or a notification. `stream`
    /// is the request on whose stream it came.
    pub fn on_server_message(
        &mut self,
        message: &Message,
        stream: Option<&RequestId>,
    ) -> Vec<Action> {
        match message.kind() {
            Kind::Response { id } => {
                if let Some(id) = id {
                    self.on_response(id, message);
                }
            }
            Kind::Notification { method } => self.on_event(method, message, stream),
            // A modern server has no way to ask but `input_required`, and the client no way to answer
            // (Streamable HTTP, "Receiving Messages").
            Kind::Request { method, .. } => {
                tracing::warn!(
                    method,
                    "dropped a request of a server that must not send any"
                );
            }
        }
        self.outbox.take()
    }

    /// Takes the failure of an [`Action::Request`].
    pub fn on_failure(&mut self, id: &RequestId, failure: &ExchangeFailure) -> Vec<Action> {
        if self.listen.owns(id) {
            let end = StreamEnd::of_failure(failure);
            self.listen.on_end(id, &end, &self.app, &mut self.outbox);
            return self.outbox.take();
        }
        let call = self
            .attempts
            .remove(id)
            .and_then(|id| self.calls.remove(&id));
        let Some(mut call) = call else {
            tracing::debug!(%id, "dropped the failure of no request");
            return self.outbox.take();
        };
        match std::mem::replace(&mut call.stage, UpgradedStage::New) {
            UpgradedStage::Sent(_, CallStep::Call(_)) => self.end_failed(&call, failure),
            UpgradedStage::Sent(_, step @ (CallStep::Poll | CallStep::Update(_))) => {
                self.on_task_failure(call, step, failure);
            }
            // Calls of these stages have no exchange under way.
            UpgradedStage::New | UpgradedStage::Asking(_) | UpgradedStage::Pausing(..) => {}
        }
        self.outbox.take()
    }

    /// Takes a timer that has run out.
    pub fn on_timer(&mut self, timer: Timer) -> Vec<Action> {
        if let Some(call) = self.timers.remove(&timer) {
            self.call_timer(&call, timer);
        } else {
            self.listen.on_timer(timer, &self.app, &mut self.outbox);
        }
        self.outbox.take()
    }

    /// Gives everything up that is under way: the app has begun anew. What it had asked before is
    /// answered with an error, for no answer of the server will come.
    pub fn close(&mut self) -> Vec<Action> {
        for (id, call) in std::mem::take(&mut self.calls) {
            self.outbox.fail(&id, SESSION_LOST, BEGAN_ANEW);
            self.abandon(&call);
        }
        self.listen.close(&mut self.outbox);
        self.outbox.take()
    }

    /// The requests of a legacy app.
    fn on_request(&mut self, id: &RequestId, method: &str, request: &Message) {
        match method {
            "ping" => self.outbox.reply(id, &Object::default()),
            "logging/setLevel" => self.set_level(id, request),
            "resources/subscribe" => self.subscribe(id, request),
            "resources/unsubscribe" => self.unsubscribe(id, request),
            // Tasks of 2025-11-25 were never offered; the others belong to the other era, or come first.
            "tasks/get"
            | "tasks/result"
            | "tasks/list"
            | "tasks/cancel"
            | "tasks/update"
            | "initialize"
            | "server/discover"
            | "subscriptions/listen" => {
                self.method_not_found(id);
            }
            _ => self.forward(id, method, request),
        }
    }

    /// The notifications of a legacy app.
    fn on_notification(&mut self, method: &str, notification: &Message) {
        match method {
            "notifications/initialized" => self.listen.start(&self.app, &mut self.outbox),
            "notifications/cancelled" => self.cancel(notification),
            // Roots are asked for anew whenever they are needed; the others have no way to the server.
            "notifications/roots/list_changed"
            | "notifications/progress"
            | "notifications/tasks/status" => {}
            _ => self.outbox.push(Action::Notify(notification.clone())),
        }
    }

    /// The notifications of a modern server.
    fn on_event(&mut self, method: &str, event: &Message, stream: Option<&RequestId>) {
        match method {
            "notifications/subscriptions/acknowledged" => {
                self.listen
                    .on_acknowledgement(event, stream, &self.app, &mut self.outbox);
            }
            method if is_list_change(method) || method == RESOURCE_UPDATED => {
                self.listen.on_event(event, stream, &mut self.outbox);
            }
            "notifications/cancelled" => {
                if let Some(id) = event.id_param("requestId") {
                    let end = StreamEnd::Ended;
                    self.listen.on_end(&id, &end, &self.app, &mut self.outbox);
                }
            }
            "notifications/progress" => self.on_progress(event, stream),
            "notifications/message" => {
                if !stream.is_some_and(|id| self.listen.owns(id)) {
                    self.outbox.tell_app(event.clone());
                }
            }
            "notifications/tasks" => {}
            _ => self.outbox.tell_app(without_modern_meta(event)),
        }
    }

    /// The responses of a modern server.
    fn on_response(&mut self, id: &RequestId, response: &Message) {
        if self.listen.owns(id) {
            let (app, outbox) = (&self.app, &mut self.outbox);
            let end = StreamEnd::of_response(response);
            return self.listen.on_end(id, &end, app, outbox);
        }
        let call = self
            .attempts
            .remove(id)
            .and_then(|id| self.calls.remove(&id));
        let Some(mut call) = call else {
            return tracing::debug!(%id, "dropped a response that answers no request");
        };
        match std::mem::replace(&mut call.stage, UpgradedStage::New) {
            UpgradedStage::Sent(_, step @ CallStep::Call(_)) => {
                self.on_call_response(call, step, response);
            }
            UpgradedStage::Sent(_, CallStep::Poll) => self.on_poll_response(call, response),
            UpgradedStage::Sent(_, step @ CallStep::Update(_)) => {
                self.on_update_response(call, step, response);
            }
            // Calls of these stages have no exchange under way.
            UpgradedStage::New | UpgradedStage::Asking(_) | UpgradedStage::Pausing(..) => {}
        }
    }

    fn on_call_response(&mut self, mut call: UpgradedCall, step: CallStep, response: &Message) {
        if let Some(error) = response.error_json() {
            if !call.version_retried && Discovery::of(response) == Discovery::Modern {
                // It refuses what it says it speaks: perhaps another instance answers next time.
                call.version_retried = true;
                return self.send(call, step, None);
            }
            return self.end_with_error(&call, response, error);
        }
        let json = response.result_json().unwrap_or("null");
        let Some(result) = Object::parse(json) else {
            return self.end_invalid(&call, "its result is not an object that can be read");
        };
        match result_type(&result).as_deref() {
            Some("complete") => self.end_with_result(&call, result),
            Some("input_required") => self.on_input_required(call, &result),
            Some("task") if call.method == "tools/call" => self.on_task(call, &result),
            _ => self.end_invalid(&call, "its resultType is unknown"),
        }
    }

    fn forward(&mut self, id: &RequestId, method: &str, request: &Message) {
        if self.calls.contains_key(id) {
            return tracing::warn!(%id, "dropped a request whose id is in use");
        }
        let Some(mut params) = Object::parse(request.params_json().unwrap_or("{}")) else {
            let text = "Invalid params: not an object that can be read";
            return self.outbox.refuse(id, INVALID_PARAMS, text);
        };
        if method == "tools/call" {
            params.remove("task");
        }
        request_meta::strip_legacy(&mut params);
        self.app.sign(&mut params);
        let call = UpgradedCall::new(id.clone(), method.to_owned(), params);
        if let Some(token) = &call.progress_token {
            self.progress.insert(token.clone(), f64::NEG_INFINITY);
        }
        self.send(call, CallStep::Call(Brought::default()), Some(id.clone()));
    }

    /// MCP "Cancellation": a modern server hears of it by the end of the stream.
    fn cancel(&mut self, notification: &Message) {
        let Some(id) = notification.id_param("requestId") else {
            return;
        };
        if let Some(call) = self.calls.remove(&id) {
            self.abandon(&call);
        } else {
            self.listen.cancel(&id);
        }
    }

    /// MCP 2025-11-25, "Logging": from now on each request carries the level.
    fn set_level(&mut self, id: &RequestId, request: &Message) {
        if !self.server.declares(&["logging"]) {
            return self.method_not_found(id);
        }
        let level: Option<String> = request.param("level");
        let Some(level) = level.filter(|level| severity(level).is_some()) else {
            let text = "Invalid params: not a log level";
            return self.outbox.refuse(id, INVALID_PARAMS, text);
        };
        self.app.set_log_level(&level);
        self.outbox.reply(id, &Object::default());
    }

    fn subscribe(&mut self, id: &RequestId, request: &Message) {
        if let Some(uri) = self.subscription(id, request) {
            self.listen.subscribe(id, uri, &self.app, &mut self.outbox);
        }
    }

    fn unsubscribe(&mut self, id: &RequestId, request: &Message) {
        if let Some(uri) = self.subscription(id, request) {
            let (app, outbox) = (&self.app, &mut self.outbox);
            self.listen.unsubscribe(id, &uri, app, outbox);
        }
    }

    /// The URI of a subscription, if the server has any and the request makes sense.
    fn subscription(&mut self, id: &RequestId, request: &Message) -> Option<String> {
        if !self.server.declares(&["resources", "subscribe"]) {
            self.method_not_found(id);
            return None;
        }
        let uri = request.param("uri");
        if uri.is_none() {
            let text = "Invalid params: no uri";
            self.outbox.refuse(id, INVALID_PARAMS, text);
        }
        uri
    }

    /// Progress of a request that is under way, and never backwards: a round of questions may make the
    /// server begin again.
    fn on_progress(&mut self, event: &Message, stream: Option<&RequestId>) {
        if stream.is_some_and(|id| self.listen.owns(id)) {
            return;
        }
        let token = event.id_param("progressToken");
        let Some(known) = token.and_then(|token| self.progress.get_mut(&token)) else {
            return tracing::debug!("dropped progress of no request that is under way");
        };
        if let Some(progress) = event.param::<f64>("progress") {
            if progress < *known {
                return;
            }
            *known = progress;
        }
        self.outbox.tell_app(event.clone());
    }

    fn method_not_found(&mut self, id: &RequestId) {
        self.outbox.refuse(id, METHOD_NOT_FOUND, "Method not found");
    }
}

/// The type of a result; `complete` if it does not say, and `None` if it says nonsense.
fn result_type(result: &Object) -> Option<String> {
    match result.get("resultType") {
        None => Some("complete".to_owned()),
        Some(_) => result.read("resultType"),
    }
}

/// The notification without the keys of the modern era in its `_meta`.
fn without_modern_meta(notification: &Message) -> Message {
    let text = std::str::from_utf8(notification.text()).unwrap_or_default();
    let Some(mut object) = Object::parse(text) else {
        return notification.clone();
    };
    let Some(mut params) = object.object("params") else {
        return notification.clone();
    };
    if params.get("_meta").is_none() {
        return notification.clone();
    }
    request_meta::strip_modern(&mut params);
    object.set_object("params", &params);
    object.into_message()
}
