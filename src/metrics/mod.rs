//! Metrics of the bridge (`--metrics`): counters and latencies of what an [`Observer`] sees, served over HTTP in the
//! OpenMetrics text format.
//!
//! Labels come from fixed sets, or are bounded in number: whatever an app or a server sends, the tables stay small.

mod exposition;
mod histogram;
mod site;

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::{
    EventKind, MessageKind, ObservedEvent, ObservedMessage, Observer, Purpose, SignInStep, Step,
};
use mcp_bridge_protocol::message::{Message, RequestId};
use reqwest::StatusCode;
use serde::Deserialize;

use histogram::Histogram;
pub(crate) use site::serve;

/// Requests whose time is taken at once. Above the bridge's own limit, so it only bounds what an app can do wrong.
const MAX_TIMED: usize = 20_000;

/// HTTP exchanges that are told apart at once, likewise.
const MAX_EXCHANGES: usize = 20_000;

/// Kinds of errors. The bridge has about forty; a server that imitates its errors gets no more.
const MAX_KINDS: usize = 64;

/// Kind of the errors beyond that.
const OTHER: &str = "other";

/// Kind of an error that the server answered with.
const SERVER: &str = "server";

/// Methods that have a label of their own; others are [`OTHER`].
const METHODS: [&str; 19] = [
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tools/call",
    "tools/list",
];

/// Numbers about what passes.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    numbers: Mutex<Numbers>,
}

/// The numbers.
#[derive(Debug, Default)]
struct Numbers {
    /// Requests of the app that have no response yet: method and beginning.
    timed: HashMap<RequestId, (&'static str, Instant)>,
    requests: BTreeMap<&'static str, u64>,
    durations: BTreeMap<&'static str, Histogram>,
    cancelled: u64,
    errors: BTreeMap<String, u64>,
    /// HTTP exchanges without a response so far.
    exchanges: HashMap<u64, Purpose>,
    responses: BTreeMap<(&'static str, HttpOutcome), u64>,
    steps: Steps,
    sign_in: SignInState,
}

/// Outcome of an HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HttpOutcome {
    /// A response with this status came.
    Status(StatusCode),
    /// None came.
    Failed,
}

/// Numbers of steps.
#[derive(Debug, Default)]
struct Steps {
    retries: u64,
    sign_ins: u64,
    failed_sign_ins: u64,
    refreshes: u64,
    refreshed: u64,
    refused_refreshes: u64,
}

/// State of the sign-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum SignInState {
    /// No token was needed so far.
    #[default]
    None,
    /// The server wants a token.
    Needed,
    /// A page waits for a person.
    Waiting,
    /// There are tokens.
    SignedIn,
    /// The last sign-in failed, or the grant has ended.
    SignedOut,
}

impl SignInState {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Needed,
        Self::Waiting,
        Self::SignedIn,
        Self::SignedOut,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Needed => "needed",
            Self::Waiting => "waiting",
            Self::SignedIn => "signed_in",
            Self::SignedOut => "signed_out",
        }
    }
}

impl Metrics {
    /// The numbers, as OpenMetrics text.
    fn text(&self) -> String {
        exposition::text(&self.numbers.lock())
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &ObservedEvent<'_>) {
        self.numbers.lock().count(&event.kind);
    }
}

impl Numbers {
    fn count(&mut self, event: &EventKind<'_>) {
        match event {
            EventKind::FromApp(message) => self.on_message_of_app(message),
            EventKind::ToApp(message) => self.on_message_to_app(message),
            EventKind::Request(request) if self.exchanges.len() < MAX_EXCHANGES => {
                self.exchanges.insert(request.exchange, request.purpose);
            }
            EventKind::ResponseHead {
                exchange, status, ..
            } => self.on_response(*exchange, HttpOutcome::Status(*status)),
            // Only one without a head is still in the table.
            EventKind::ResponseEnd { exchange, .. } => {
                self.on_response(*exchange, HttpOutcome::Failed);
            }
            EventKind::Step { step, .. } => self.on_step(*step),
            EventKind::Request(_) | EventKind::ResponseBody { .. } => {}
        }
    }

    fn on_message_of_app(&mut self, message: &ObservedMessage<'_>) {
        match message.kind {
            MessageKind::Request => {
                let method = known_method(message.method);
                *self.requests.entry(method).or_default() += 1;
                if let Some(id) = id_of(message)
                    && self.timed.len() < MAX_TIMED
                {
                    self.timed.insert(id, (method, Instant::now()));
                }
            }
            MessageKind::Notification if message.method == "notifications/cancelled" => {
                let message = Message::parse(message.text).ok();
                let id = message.and_then(|message| message.id_param("requestId"));
                if id.is_some_and(|id| self.timed.remove(&id).is_some()) {
                    self.cancelled += 1;
                }
            }
            MessageKind::Notification | MessageKind::Response | MessageKind::Error => {}
        }
    }

    fn on_message_to_app(&mut self, message: &ObservedMessage<'_>) {
        match message.kind {
            MessageKind::Request | MessageKind::Notification => return,
            MessageKind::Response => {}
            MessageKind::Error => {
                let message = Message::parse(message.text).ok();
                let error = message.as_ref().and_then(Message::error_json);
                self.on_error(error.unwrap_or_default());
            }
        }
        let timed = id_of(message).and_then(|id| self.timed.remove(&id));
        if let Some((method, begun)) = timed {
            let durations = self.durations.entry(method).or_default();
            durations.add(begun.elapsed());
        }
    }

    fn on_error(&mut self, error: &str) {
        let kind = kind_of(error).unwrap_or_else(|| SERVER.to_owned());
        let is_known = self.errors.contains_key(&kind) || self.errors.len() < MAX_KINDS;
        let kind = if is_known { kind } else { OTHER.to_owned() };
        *self.errors.entry(kind).or_default() += 1;
    }

    fn on_response(&mut self, exchange: u64, outcome: HttpOutcome) {
        let Some(purpose) = self.exchanges.remove(&exchange) else {
            return;
        };
        let purpose = match purpose {
            Purpose::Server => "server",
            Purpose::SignIn => "sign_in",
        };
        *self.responses.entry((purpose, outcome)).or_default() += 1;
    }

    fn on_step(&mut self, step: Step) {
        let steps = &mut self.steps;
        match step {
            Step::Retry => steps.retries += 1,
            Step::SignIn(step) => {
                match step {
                    SignInStep::SignedIn => steps.sign_ins += 1,
                    SignInStep::Failed => steps.failed_sign_ins += 1,
                    SignInStep::Refreshing => steps.refreshes += 1,
                    SignInStep::Refreshed => steps.refreshed += 1,
                    SignInStep::RefreshRefused => steps.refused_refreshes += 1,
                    SignInStep::Wanted
                    | SignInStep::Found
                    | SignInStep::Waiting
                    | SignInStep::AskedAgain
                    | SignInStep::Ended => {}
                }
                self.sign_in = self.sign_in.after(step);
            }
            Step::Era | Step::Transport | Step::Session | Step::Stream => {}
        }
    }
}

impl SignInState {
    fn after(self, step: SignInStep) -> Self {
        match step {
            // A token that has expired is wanted anew, which is the business of a refresh.
            SignInStep::Wanted if self == Self::None => Self::Needed,
            SignInStep::Found | SignInStep::SignedIn | SignInStep::Refreshed => Self::SignedIn,
            SignInStep::Waiting | SignInStep::AskedAgain => Self::Waiting,
            SignInStep::Failed | SignInStep::Ended => Self::SignedOut,
            SignInStep::Wanted | SignInStep::Refreshing | SignInStep::RefreshRefused => self,
        }
    }
}

fn id_of(message: &ObservedMessage<'_>) -> Option<RequestId> {
    RequestId::from_json(message.id?)
}

/// The method as a label.
fn known_method(method: &str) -> &'static str {
    let known = METHODS.iter().find(|known| **known == method);
    known.copied().unwrap_or(OTHER)
}

/// The kind of an error of the bridge's own; `None` for one of the server.
fn kind_of(error: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorObject {
        data: ErrorData,
    }
    #[derive(Deserialize)]
    struct ErrorData {
        source: String,
        kind: String,
    }
    let ErrorObject { data } = serde_json::from_str(error).ok()?;
    let is_word = |kind: &str| {
        (1..=40).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    (data.source == "mcp-bridge" && is_word(&data.kind)).then_some(data.kind)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn count_error(numbers: &mut Numbers, kind: &str) {
        let text = Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":"","data":{{"source":"mcp-bridge","kind":"{kind}"}}}}}}"#
        ));
        numbers.count(&EventKind::ToApp(ObservedMessage {
            text: &text,
            kind: MessageKind::Error,
            id: Some("1"),
            method: "",
        }));
    }

    #[test]
    fn a_server_that_imitates_errors_without_end_fills_no_table() {
        let mut numbers = Numbers::default();
        let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
        for n in 0..1000 {
            let kind: String = [n / 676, n / 26, n].map(letter).iter().collect();
            count_error(&mut numbers, &kind);
        }
        count_error(&mut numbers, "Bad \\\"label");
        // Beside the known ones there are those beyond the limit.
        assert_eq!(numbers.errors.len(), MAX_KINDS + 1);
        assert_eq!(numbers.errors.values().sum::<u64>(), 1001);
    }

    #[test]
    fn an_app_that_never_reads_its_answers_fills_no_table() {
        let mut numbers = Numbers::default();
        for id in 0..MAX_TIMED + 10 {
            numbers.count(&EventKind::FromApp(ObservedMessage {
                text: &Bytes::new(),
                kind: MessageKind::Request,
                id: Some(&id.to_string()),
                method: &format!("made/up{id}"),
            }));
        }
        assert_eq!(numbers.timed.len(), MAX_TIMED);
        assert_eq!(numbers.requests.len(), 1);
    }
}
