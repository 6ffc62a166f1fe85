//! Subscriptions of a modern app (`subscriptions/listen`, MCP 2026-07-28 "Subscriptions"), which are
//! acknowledged although the server has not been reached yet.
//!
//! An app that gets no acknowledgement gives up within seconds and hears of no change any more. So what it
//! asks for is promised, and the subscription at the server follows. The server's own acknowledgement is not
//! handed on then. Where that has less, a list that the server says nothing of just never changes; but a
//! resource that it does not tell of ends the subscription, so that the app can ask anew.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::Answering;
use super::action::Timer;
use super::router::{Asked, Router};
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_protocol::era::SUBSCRIPTION_ID;
use mcp_bridge_protocol::lists::SERVER_LISTS;
use mcp_bridge_protocol::message::{Message, RequestId, member};

/// Time that the server has for its own acknowledgement when a sign-in or a connection is in the way.
const PROMISE_AFTER: Duration = Duration::from_millis(750);

/// Time that a server has that may only be slow. Apps give up after ten seconds.
const PROMISE_FOR_SLOW_AFTER: Duration = Duration::from_secs(5);

/// Interval at which it is checked what is in the way, between the two.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The first and the longest pause before a subscription that did not get through is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(20);

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// The resources in a filter.
const RESOURCES: &str = "resourceSubscriptions";

/// The subscriptions of the app that are open.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(HashMap<RequestId, Subscription>);

#[derive(Debug)]
struct Subscription {
    request: Message,
    opened: Instant,
    /// The filter that the app asks for; once it is acknowledged, the one that it was told of.
    filter: Value,
    state: State,
    /// The pauses before further tries.
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The app has no acknowledgement yet.
    Unacknowledged,
    /// The app has one from here, and the server is asked.
    Promised,
    /// Likewise, but the server is not asked at the moment.
    Dormant,
    /// The server has acknowledged it.
    Acknowledged,
}

impl Subscription {
    fn new(request: Message, now: Instant) -> Self {
        let asked: Value = request.param("notifications").unwrap_or_default();
        let known = Self::members();
        let filter = known.filter_map(|name| Some((name.to_owned(), asked.get(name)?.clone())));
        Self {
            filter: Value::Object(filter.collect()),
            request,
            opened: now,
            state: State::Unacknowledged,
            backoff: Backoff::new(RETRY_PAUSE, MAX_RETRY_PAUSE),
        }
    }

    /// The members of a filter that are known here. Whatever else the app may ask for is the server's to promise.
    fn members() -> impl Iterator<Item = &'static str> {
        let flags = SERVER_LISTS.iter().map(|list| list.filter);
        flags.chain([RESOURCES])
    }

    /// Returns whether the app knows of it and may be told of changes.
    const fn is_known(&self) -> bool {
        match self.state {
            State::Unacknowledged => false,
            State::Promised | State::Dormant | State::Acknowledged => true,
        }
    }

    /// The part of the server's filter that the app has asked for. The server may name any number of other resources.
    fn granted(&self, granted: &Value) -> Value {
        let flags = SERVER_LISTS.iter().map(|list| list.filter);
        let flags = flags.filter(|flag| granted[flag] == true);
        let mut kept: Map<_, _> = flags.map(|flag| (flag.to_owned(), true.into())).collect();
        let (asked, granted) = (uris(&self.filter), uris(granted));
        if !granted.is_empty() {
            let resources = asked.intersection(&granted).copied().collect();
            kept.insert(RESOURCES.to_owned(), resources);
        }
        Value::Object(kept)
    }

    /// Returns whether all resources that were promised are in this filter of the server.
    fn has_its_resources(&self, granted: &Value) -> bool {
        uris(&self.filter).is_subset(&uris(granted))
    }
}

/// The resources in a filter.
fn uris(filter: &Value) -> HashSet<&str> {
    let uris = filter[RESOURCES].as_array();
    uris.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

impl Router {
    /// A modern app subscribes.
    pub(super) fn on_subscription(&mut self, request: &Message) {
        let (Answering::AtOnce { .. }, Some(id)) = (self.answering, request.id()) else {
            return;
        };
        let unanswered = &self.unanswered;
        self.subscriptions
            .0
            .retain(|id, _| unanswered.contains_key(id));
        let subscription = Subscription::new(request.clone(), self.out.now());
        let opened = subscription.opened;
        self.subscriptions.0.insert(id.clone(), subscription);
        self.out
            .after(PROMISE_AFTER, Timer::Subscription(id.clone(), opened));
    }

    /// The app may have waited long enough for the acknowledgement of the subscription opened at this moment.
    pub(super) fn consider_acknowledgement(&mut self, id: &RequestId, opened: Instant) {
        let is_blocked = self.is_subscription_blocked(id);
        let is_open = self.unanswered.contains_key(id) && !self.stopping;
        let now = self.out.now();
        let Some(subscription) = self.subscriptions.0.get_mut(id) else {
            return;
        };
        if subscription.opened != opened || subscription.is_known() || !is_open {
            return;
        }
        if !is_blocked && now - opened < PROMISE_FOR_SLOW_AFTER {
            return self
                .out
                .after(CHECK_INTERVAL, Timer::Subscription(id.clone(), opened));
        }
        subscription.state = State::Promised;
        let params = json!({ "notifications": subscription.filter, "_meta": meta(id) });
        tracing::info!("acknowledged a subscription before the server has");
        self.write(Message::notification(ACKNOWLEDGED, &params));
    }

    /// Returns whether a subscription waits for a sign-in, a session or a connection.
    fn is_subscription_blocked(&self, id: &RequestId) -> bool {
        let exchange = self.exchange_for(id);
        exchange.is_some_and(|exchange| exchange.flight.track.is_blocked())
            || self.is_held_downgraded(id)
    }

    /// Takes a notification for the modern app. True if the app gets it.
    pub(super) fn subscriptions_pass(&mut self, message: &Message) -> bool {
        if self.subscriptions.0.is_empty() || message.method() != Some(ACKNOWLEDGED) {
            return true;
        }
        let Some(id) = subscription_of(message) else {
            return true;
        };
        let Some(subscription) = self.subscriptions.0.get_mut(&id) else {
            return true;
        };
        let granted: Value = message.param("notifications").unwrap_or_default();
        match subscription.state {
            State::Unacknowledged => {
                subscription.filter = subscription.granted(&granted);
                subscription.state = State::Acknowledged;
                true
            }
            State::Promised | State::Dormant if !subscription.has_its_resources(&granted) => {
                self.end_promised(&id);
                false
            }
            State::Promised | State::Dormant => {
                subscription.state = State::Acknowledged;
                self.on_server_available();
                false
            }
            State::Acknowledged => true,
        }
    }

    /// Ends a subscription that promised more than the server has.
    fn end_promised(&mut self, id: &RequestId) {
        self.on_server_available();
        self.subscriptions.0.remove(id);
        let request_id: Value = serde_json::from_str(id.as_json()).unwrap_or_default();
        let reason = "the server does not tell of these resources";
        let params = json!({ "requestId": request_id, "reason": reason });
        let ended = Message::notification("notifications/cancelled", &params);
        // To the server by the way of the app's own cancellation, and to the app.
        self.take_cancellation(&ended);
        self.write(ended);
    }

    /// Takes an error in place of the response to a subscription. True if the subscription goes on, because
    /// the app was promised it and the server has not been reached.
    pub(super) fn keep_promised(&mut self, asked: &Asked, error: &Message) -> bool {
        if asked.method != "subscriptions/listen" || !error.is_error() {
            return false;
        }
        let is_unreached = self.provisional.is_unreached() && !self.stopping;
        let passes = self.obstacle_of_lists(Some(error)).is_none();
        let Some(id) = error.id().filter(|_| is_unreached) else {
            return false;
        };
        let Some(subscription) = self.subscriptions.0.get_mut(id) else {
            return false;
        };
        if !subscription.is_known() {
            return false;
        }
        self.unanswered.insert(id.clone(), asked.clone());
        subscription.state = State::Dormant;
        let pause = subscription.backoff.pause();
        if passes {
            let opened = subscription.opened;
            self.out
                .after(pause, Timer::Resubscribe(id.clone(), opened));
        }
        true
    }

    /// Tries a subscription again that was promised.
    pub(super) fn resubscribe(&mut self, id: &RequestId, opened: Instant) {
        let Some(subscription) = self.subscriptions.0.get_mut(id) else {
            return;
        };
        let is_open = self.unanswered.contains_key(id) && !self.stopping;
        let is_meant = subscription.opened == opened && subscription.state == State::Dormant;
        if is_open && is_meant {
            subscription.state = State::Promised;
            let request = subscription.request.clone();
            self.take_modern(request);
        }
    }

    /// Tries all subscriptions again that were promised: the server can be asked.
    pub(super) fn resubscribe_all(&mut self) {
        let open = self.subscriptions.0.iter();
        let dormant = open.filter(|(_, it)| it.state == State::Dormant);
        let dormant: Vec<_> = dormant.map(|(id, it)| (id.clone(), it.opened)).collect();
        for (id, opened) in dormant {
            self.resubscribe(&id, opened);
        }
    }

    /// Tells the app of changes of these lists, named by their capabilities, in each subscription to them.
    pub(super) fn announce_to_subscriptions(&mut self, changed: &HashSet<&str>) {
        for (id, subscription) in &self.subscriptions.0 {
            let is_open = |asked: &Asked| asked.method == "subscriptions/listen";
            if !subscription.is_known() || !self.unanswered.get(id).is_some_and(is_open) {
                continue;
            }
            for list in SERVER_LISTS {
                if changed.contains(list.capability) && subscription.filter[list.filter] == true {
                    let params = json!({ "_meta": meta(id) });
                    self.out
                        .to_app(Message::notification(list.changed, &params));
                }
            }
        }
    }
}

fn meta(subscription: &RequestId) -> Value {
    let id: Value = serde_json::from_str(subscription.as_json()).unwrap_or_default();
    json!({ SUBSCRIPTION_ID: id })
}

/// The subscription that a notification belongs to.
fn subscription_of(message: &Message) -> Option<RequestId> {
    let meta: &RawValue = message.param("_meta")?;
    let id: &RawValue = member(meta.get(), SUBSCRIPTION_ID)?;
    RequestId::from_json(id.get())
}
