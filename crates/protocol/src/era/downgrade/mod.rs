//! Translation between a modern app and a legacy server.
//!
//! The bridge is a modern server to the app and a legacy client to the server, with a session of its own.
//! The tables below name what is special; everything else is forwarded, without the modern `_meta`.

mod call;
mod handshake;
mod listen;
mod pending_input;
mod task;

use std::collections::BTreeMap;

use serde_json::json;

use super::filter::RESOURCE_UPDATED;
use super::object::Object;
use super::outbox::Outbox;
use super::request_meta::{
    self, LOG_LEVEL, LOG_LEVELS, MODERN_VERSION, PROTOCOL_VERSION, severity,
};
use super::{Action, ExchangeFailure, Timer};
use crate::codes::{INVALID_PARAMS, METHOD_NOT_FOUND, UNSUPPORTED_VERSION};
use crate::lists::is_list_change;
use crate::message::{Kind, Message, RequestId, decoded};
use call::{CallKey, DowngradedCall, DowngradedStage};
use handshake::LegacyServer;
pub use handshake::ModernClient;
use listen::Subscriptions;
use mcp_bridge_text::name::NameTable;

/// The translation for one session with a legacy server.
#[derive(Debug)]
pub struct Downgrade {
    client: ModernClient,
    server: LegacyServer,
    outbox: Outbox,
    subscriptions: Subscriptions,
    calls: BTreeMap<CallKey, DowngradedCall>,
    next_call: CallKey,
    /// The call that a request of the app waits for.
    waiting: BTreeMap<RequestId, CallKey>,
    /// The call that an exchange with the server belongs to.
    attempts: BTreeMap<RequestId, CallKey>,
    /// The call that a timer belongs to.
    timers: BTreeMap<Timer, CallKey>,
    /// Exchanges that the server has been told to end, until they are closed.
    closing: BTreeMap<Timer, RequestId>,
    /// Tools that a server of 2025-11-25 runs as tasks alone.
    task_tools: NameTable<()>,
    /// The most verbose log level that the server was asked for, as a place in [`LOG_LEVELS`].
    log_level: Option<usize>,
}

/// True if the server says anything of its own accord, outside the streams of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standalone {
    /// There is a stream for it.
    Open,
    /// The server has no such stream (405).
    Refused,
}

impl Downgrade {
    /// Begins with the server's response to `initialize`; the actions complete the handshake. `host`
    /// stands for the name of a server that does not tell its own. `None` if the response is an error.
    #[must_use]
    pub fn open(
        client: &ModernClient,
        initialize_response: &Message,
        host: &str,
    ) -> Option<(Self, Vec<Action>)> {
        let mut downgrade = Self {
            client: client.clone(),
            server: LegacyServer::from_response(initialize_response, host)?,
            outbox: Outbox::new(),
            subscriptions: Subscriptions::default(),
            calls: BTreeMap::new(),
            next_call: CallKey::default(),
            waiting: BTreeMap::new(),
            attempts: BTreeMap::new(),
            timers: BTreeMap::new(),
            closing: BTreeMap::new(),
            task_tools: NameTable::default(),
            log_level: None,
        };
        let initialized = Object::default().into_notification("notifications/initialized");
        downgrade.outbox.push(Action::Notify(initialized));
        let actions = downgrade.outbox.take();
        Some((downgrade, actions))
    }

    /// The exchange by which the app's request `id` is with the server.
    #[must_use]
    pub fn exchange_of(&self, id: &RequestId) -> Option<&RequestId> {
        let call = self.calls.get(self.waiting.get(id)?)?;
        Some(&call.attempt)
    }

    /// Forgets the app's request `id`, which it has given up and the server has never seen.
    pub fn forget_unsent(&mut self, id: &RequestId) {
        let key = self.waiting.remove(id);
        if let Some(call) = key.and_then(|key| self.calls.remove(&key)) {
            self.attempts.remove(&call.attempt);
        }
    }

    /// Takes a message of the app.
    pub fn on_app_message(&mut self, message: &Message) -> Vec<Action> {
        match message.kind() {
            Kind::Request { id, method } => self.on_request(id, method, message),
            Kind::Notification { method } => self.on_notification(method, message),
            // A modern app is never asked by a request.
            Kind::Response { .. } => tracing::debug!("dropped a response of the app"),
        }
        self.outbox.take()
    }

    /// Takes a message of the server: the response to an [`Action::Request`], a notification or a
    /// request. `stream` is the exchange on whose stream it came, if it came on one.
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
            Kind::Request { id, method } => self.on_question(id, method, message, stream),
        }
        self.outbox.take()
    }

    /// Takes the failure of an [`Action::Request`].
    pub fn on_failure(&mut self, id: &RequestId, failure: &ExchangeFailure) -> Vec<Action> {
        self.on_exchange_failure(id, failure);
        self.outbox.take()
    }

    /// Takes a timer that has run out.
    pub fn on_timer(&mut self, timer: Timer) -> Vec<Action> {
        if let Some(attempt) = self.closing.remove(&timer) {
            self.outbox.push(Action::Abort(attempt));
        } else if let Some(call) = self.timers.remove(&timer) {
            self.call_timer(call, timer);
        } else {
            self.subscriptions.on_timer(timer, &mut self.outbox);
        }
        self.outbox.take()
    }

    /// Takes what became of the stream that the session's `initialized` opens.
    pub fn on_standalone(&mut self, standalone: Standalone) -> Vec<Action> {
        self.subscriptions
            .on_standalone(standalone, &mut self.outbox);
        self.outbox.take()
    }

    /// The session was lost and another is in its place, its handshake complete: what the server knew
    /// is told again, and what it had asked is forgotten.
    pub fn on_new_session(&mut self) -> Vec<Action> {
        self.forget_questions();
        if let Some(level) = self.log_level.take() {
            self.ask_for_logs(level);
        }
        self.subscriptions.subscribe_again(&mut self.outbox);
        self.outbox.take()
    }

    /// Gives everything up that is under way, unanswered.
    pub fn close(&mut self) -> Vec<Action> {
        let attempts = std::mem::take(&mut self.attempts).into_keys();
        let closing = std::mem::take(&mut self.closing).into_values();
        for attempt in attempts.chain(closing) {
            self.outbox.push(Action::Abort(attempt));
        }
        self.calls.clear();
        self.waiting.clear();
        self.timers.clear();
        self.subscriptions = Subscriptions::default();
        self.outbox.take()
    }

    /// The requests of a modern app.
    fn on_request(&mut self, id: &RequestId, method: &str, request: &Message) {
        if self.waiting.contains_key(id) || self.subscriptions.contains(id) {
            return tracing::warn!(%id, "dropped a request whose id is in use");
        }
        if let Some(refusal) = refuse_envelope(id, request) {
            return self.outbox.tell_app(refusal);
        }
        match method {
            "server/discover" => self.outbox.reply(id, &self.server.discovered()),
            "subscriptions/listen" => {
                self.subscriptions
                    .open(id, request, &self.server, &mut self.outbox);
            }
            "tools/call" | "prompts/get" | "resources/read" => {
                self.on_eligible_request(id, method, request);
            }
            // They are not methods of the app's era, or of an extension that was not offered.
            "initialize"
            | "ping"
            | "logging/setLevel"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "tasks/get"
            | "tasks/result"
            | "tasks/list"
            | "tasks/cancel"
            | "tasks/update" => self.outbox.refuse(id, METHOD_NOT_FOUND, "Method not found"),
            _ => self.forward_unread(id, method, request),
        }
    }

    /// The notifications of a modern app.
    fn on_notification(&mut self, method: &str, notification: &Message) {
        match method {
            "notifications/cancelled" => self.cancel(notification),
            _ => self.outbox.push(Action::Notify(notification.clone())),
        }
    }

    /// The requests of a legacy server.
    fn on_question(
        &mut self,
        id: &RequestId,
        method: &str,
        question: &Message,
        stream: Option<&RequestId>,
    ) {
        match method {
            "ping" => {
                let pong = Message::result(id, "{}");
                self.outbox.push(Action::Notify(pong));
            }
            "sampling/createMessage" | "elicitation/create" | "roots/list" => {
                self.ask(id, method, question, stream);
            }
            _ => self.decline(id, METHOD_NOT_FOUND, "Method not found"),
        }
    }

    /// The notifications of a legacy server.
    fn on_event(&mut self, method: &str, event: &Message, stream: Option<&RequestId>) {
        match method {
            method if is_list_change(method) || method == RESOURCE_UPDATED => {
                self.subscriptions.on_event(method, event, &mut self.outbox);
            }
            "notifications/progress" => self.on_progress(event, stream),
            "notifications/message" => self.on_log_message(event, stream),
            "notifications/cancelled" => self.withdraw(event),
            // The modern era has no such thing.
            "notifications/elicitation/complete" | "notifications/tasks/status" => {}
            _ => self.outbox.tell_app(event.clone()),
        }
    }

    /// Sends a request on that is none of the special ones.
    fn forward_unread(&mut self, id: &RequestId, method: &str, request: &Message) {
        match Object::parse(request.params_json().unwrap_or("{}")) {
            Some(params) => self.forward(id, method, params, log_level(request)),
            None => self.refuse_params(id),
        }
    }

    pub(super) fn refuse_params(&mut self, id: &RequestId) {
        let text = "Invalid params: not an object that can be read";
        self.outbox.refuse(id, INVALID_PARAMS, text);
    }

    /// MCP 2025-11-25, "Cancellation": the server is told, and its stream closed soon after.
    fn cancel(&mut self, notification: &Message) {
        let Some(id) = notification.id_param("requestId") else {
            return;
        };
        if let Some(key) = self.waiting.remove(&id) {
            if let Some(call) = self.calls.remove(&key) {
                self.abandon(&call);
            }
        } else {
            self.subscriptions.close(&id, &mut self.outbox);
        }
    }

    /// Log messages go to the request on whose stream they came, if it asked for any.
    fn on_log_message(&mut self, event: &Message, stream: Option<&RequestId>) {
        let call = stream.and_then(|attempt| self.attempts.get(attempt));
        let Some(call) = call.and_then(|key| self.calls.get(key)) else {
            return;
        };
        let level: Option<String> = event.param("level");
        let level = level.and_then(|level| severity(&level));
        let wanted = call.log_level.is_some_and(|least| level >= Some(least));
        if wanted && !matches!(call.stage, DowngradedStage::Parked(_)) {
            self.outbox.tell_app(without_legacy_meta(event));
        }
    }

    /// Asks the server for log messages of this level and above. It is one level for the session: the
    /// most verbose that a request has asked for.
    fn ask_for_logs(&mut self, level: usize) {
        if self.log_level.is_some_and(|current| current <= level)
            || !self.server.declares(&["logging"])
        {
            return;
        }
        self.log_level = Some(level);
        let mut params = Object::default();
        params.set("level", &LOG_LEVELS[level]);
        let id = self.outbox.ids.id();
        self.outbox.request(&id, "logging/setLevel", &params);
    }

    /// Progress goes to the request that the app has now, under the token that this has.
    fn on_progress(&mut self, event: &Message, stream: Option<&RequestId>) {
        let token = event.id_param("progressToken");
        let by_stream = stream.and_then(|attempt| self.attempts.get(attempt));
        let call = match by_stream {
            Some(key) => self.calls.get(key),
            None => self.calls.values().find(|call| call.token == token),
        };
        let Some(call) = call.filter(|call| call.token == token && token.is_some()) else {
            return;
        };
        let Some(now) = &call.token_now else {
            return;
        };
        if matches!(call.stage, DowngradedStage::Parked(_)) {
            return;
        }
        let params = event.params_json().and_then(Object::parse);
        let mut params = params.unwrap_or_default();
        params.set_json("progressToken", now.as_json());
        request_meta::strip_legacy(&mut params);
        self.outbox
            .tell_app(params.into_notification("notifications/progress"));
    }

    /// Answers a request of the server with an error.
    fn decline(&mut self, id: &RequestId, code: i64, text: &str) {
        let refusal = Message::error(Some(id), code, text, None);
        self.outbox.push(Action::Notify(refusal));
    }
}

/// Refuses a modern request without the members that each has to have, or of another version.
fn refuse_envelope(id: &RequestId, request: &Message) -> Option<Message> {
    if let Some(refusal) = request_meta::refuse_malformed(request) {
        return Some(refusal);
    }
    let version = request.meta_json(PROTOCOL_VERSION).and_then(decoded);
    if version.as_deref() == Some(MODERN_VERSION) {
        return None;
    }
    let data = json!({ "supported": [MODERN_VERSION], "requested": version });
    let text = "Unsupported protocol version";
    let code = UNSUPPORTED_VERSION;
    Some(Message::error(Some(id), code, text, Some(&data)))
}

/// The level in the `_meta` of a modern request.
fn log_level(request: &Message) -> Option<usize> {
    severity(&decoded(request.meta_json(LOG_LEVEL)?)?)
}

/// The notification without the keys of the legacy era in its `_meta`.
fn without_legacy_meta(notification: &Message) -> Message {
    let params = notification.params_json().and_then(Object::parse);
    let (Some(mut params), Some(method)) = (params, notification.method()) else {
        return notification.clone();
    };
    request_meta::strip_legacy(&mut params);
    params.into_notification(method)
}
