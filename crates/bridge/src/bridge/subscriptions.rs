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

use super::facts::Facts;
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
pub(super) struct AppSubscriptions(HashMap<RequestId, AppSubscription>);

/// Something to be done for subscriptions.
#[derive(Debug)]
pub(super) enum SubscriptionStep {
    /// Write it to the app.
    ToApp(Message),
    /// Send the request to the server again.
    Send(Message),
    /// Cancel the subscription at the server, and tell the app of its end.
    End(RequestId),
    /// Hand the timer back after this time.
    After(Duration, SubscriptionTimer),
    /// The server can be asked.
    Available,
}

/// A wait of the subscription that was opened at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SubscriptionTimer {
    /// The app may have waited long enough for its acknowledgement.
    Acknowledge(RequestId, Instant),
    /// It may be tried again.
    Retry(RequestId, Instant),
}

/// State of the way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerAccess {
    Free,
    /// A sign-in, a session or a connection is missing.
    Blocked,
}

/// Future of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureEnd {
    /// It passes by itself.
    Passes,
    /// A person has to do something.
    Stays,
}

#[derive(Debug)]
struct AppSubscription {
    request: Message,
    opened: Instant,
    /// The filter that the app asks for; once it is acknowledged, the one that it was told of.
    filter: Value,
    state: SubscriptionState,
    /// The pauses before further tries.
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubscriptionState {
    /// The app has no acknowledgement yet.
    Unacknowledged,
    /// The app has one from here, and the server is asked.
    Promised,
    /// Likewise, but the server is not asked at the moment.
    Dormant,
    /// The server has acknowledged it.
    Acknowledged,
}

impl AppSubscription {
    fn new(request: Message, now: Instant) -> Self {
        let asked: Value = request.param("notifications").unwrap_or_default();
        let known = Self::members();
        let filter = known.filter_map(|name| Some((name.to_owned(), asked.get(name)?.clone())));
        Self {
            filter: Value::Object(filter.collect()),
            request,
            opened: now,
            state: SubscriptionState::Unacknowledged,
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
            SubscriptionState::Unacknowledged => false,
            SubscriptionState::Promised
            | SubscriptionState::Dormant
            | SubscriptionState::Acknowledged => true,
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

impl AppSubscriptions {
    /// A modern app subscribes. Those that are not open any more are forgotten.
    pub(super) fn on_request(
        &mut self,
        request: &Message,
        is_open: impl Fn(&RequestId) -> bool,
        facts: &Facts,
    ) -> Option<SubscriptionStep> {
        let id = request.id()?;
        self.0.retain(|id, _| is_open(id));
        let subscription = AppSubscription::new(request.clone(), facts.now);
        let timer = SubscriptionTimer::Acknowledge(id.clone(), subscription.opened);
        self.0.insert(id.clone(), subscription);
        Some(SubscriptionStep::After(PROMISE_AFTER, timer))
    }

    /// The app may have waited long enough for the acknowledgement of a subscription that is open.
    pub(super) fn on_acknowledgement_due(
        &mut self,
        id: &RequestId,
        opened: Instant,
        way: ServerAccess,
        facts: &Facts,
    ) -> Option<SubscriptionStep> {
        let subscription = self.0.get_mut(id)?;
        if subscription.opened != opened || subscription.is_known() {
            return None;
        }
        if way == ServerAccess::Free && facts.now - opened < PROMISE_FOR_SLOW_AFTER {
            let timer = SubscriptionTimer::Acknowledge(id.clone(), opened);
            return Some(SubscriptionStep::After(CHECK_INTERVAL, timer));
        }
        subscription.state = SubscriptionState::Promised;
        let params = json!({ "notifications": subscription.filter, "_meta": meta(id) });
        tracing::info!("acknowledged a subscription before the server has");
        Some(SubscriptionStep::ToApp(Message::notification(
            ACKNOWLEDGED,
            &params,
        )))
    }

    /// A notification for the modern app. `None` if the app gets it.
    pub(super) fn on_notification(&mut self, message: &Message) -> Option<Vec<SubscriptionStep>> {
        if self.0.is_empty() || message.method() != Some(ACKNOWLEDGED) {
            return None;
        }
        let id = subscription_of(message)?;
        let subscription = self.0.get_mut(&id)?;
        let granted: Value = message.param("notifications").unwrap_or_default();
        match subscription.state {
            SubscriptionState::Unacknowledged => {
                subscription.filter = subscription.granted(&granted);
                subscription.state = SubscriptionState::Acknowledged;
                None
            }
            SubscriptionState::Promised | SubscriptionState::Dormant
                if !subscription.has_its_resources(&granted) =>
            {
                Some(vec![SubscriptionStep::Available, SubscriptionStep::End(id)])
            }
            SubscriptionState::Promised | SubscriptionState::Dormant => {
                subscription.state = SubscriptionState::Acknowledged;
                Some(vec![SubscriptionStep::Available])
            }
            SubscriptionState::Acknowledged => None,
        }
    }

    /// A subscription has ended.
    pub(super) fn on_end(&mut self, id: &RequestId) {
        self.0.remove(id);
    }

    /// The subscription has failed before the server had it. `None` if the app hears of that; else it goes on, and is
    /// tried again by itself if the failure passes.
    pub(super) fn on_failure(
        &mut self,
        id: &RequestId,
        end: FailureEnd,
    ) -> Option<Vec<SubscriptionStep>> {
        let subscription = self.0.get_mut(id)?;
        if !subscription.is_known() {
            return None;
        }
        subscription.state = SubscriptionState::Dormant;
        let pause = subscription.backoff.pause();
        let timer = SubscriptionTimer::Retry(id.clone(), subscription.opened);
        let again = (end == FailureEnd::Passes).then_some(SubscriptionStep::After(pause, timer));
        Some(again.into_iter().collect())
    }

    /// A subscription that is open may be tried again.
    pub(super) fn on_retry_due(
        &mut self,
        id: &RequestId,
        opened: Instant,
    ) -> Option<SubscriptionStep> {
        let subscription = self.0.get_mut(id)?;
        if subscription.opened != opened || subscription.state != SubscriptionState::Dormant {
            return None;
        }
        subscription.state = SubscriptionState::Promised;
        Some(SubscriptionStep::Send(subscription.request.clone()))
    }

    /// The server can be asked: all subscriptions that are open and were promised are tried again.
    pub(super) fn on_server_available(
        &mut self,
        is_open: impl Fn(&RequestId) -> bool,
    ) -> Vec<SubscriptionStep> {
        let dormant = self
            .0
            .iter_mut()
            .filter(|(id, it)| it.state == SubscriptionState::Dormant && is_open(id));
        let sent = dormant.map(|(_, subscription)| {
            subscription.state = SubscriptionState::Promised;
            SubscriptionStep::Send(subscription.request.clone())
        });
        sent.collect()
    }

    /// Notifications of changes of these lists, named by their capabilities, for each open subscription to them.
    pub(super) fn announce(
        &self,
        changed: &HashSet<&str>,
        is_open: impl Fn(&RequestId) -> bool,
    ) -> Vec<Message> {
        let open = self
            .0
            .iter()
            .filter(|(id, it)| it.is_known() && is_open(id));
        let notifications = open.flat_map(|(id, subscription)| {
            let lists = SERVER_LISTS.iter().filter(move |list| {
                changed.contains(list.capability) && subscription.filter[list.filter] == true
            });
            lists
                .map(move |list| Message::notification(list.changed, &json!({ "_meta": meta(id) })))
        });
        notifications.collect()
    }
}

/// The notification that ends a subscription which promised more than the server has.
pub(super) fn ended(id: &RequestId) -> Message {
    let request_id: Value = serde_json::from_str(id.as_json()).unwrap_or_default();
    let reason = "the server does not tell of these resources";
    let params = json!({ "requestId": request_id, "reason": reason });
    Message::notification("notifications/cancelled", &params)
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
