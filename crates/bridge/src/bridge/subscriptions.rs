//! Subscriptions of a modern app (`subscriptions/listen`, MCP 2026-07-28 "Subscriptions"), which are acknowledged
//! although the server has not been reached yet, and outlive their connections.
//!
//! An app that gets no acknowledgement gives up within seconds and hears of no change any more. So what it
//! asks for is promised, and the subscription at the server follows. The server's own acknowledgement is not
//! handed on then. Where that has less, a list that the server says nothing of just never changes; but a
//! resource that it does not tell of ends the subscription, so that the app can ask anew.
//!
//! A subscription whose connection is lost is opened again, and all that may have changed meanwhile is announced. This is
//! the one place that decides about that: the endpoint sends a subscription once, and reports its end.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::facts::Facts;
use super::subscription_filter::{SubscriptionFilter, changed, meta};
use crate::endpoint::LostSubscription;
use mcp_bridge_net::backoff::Backoff;
use mcp_bridge_protocol::era::SUBSCRIPTION_ID;
use mcp_bridge_protocol::lists::SERVER_LISTS;
use mcp_bridge_protocol::message::{Message, RequestId};

/// Time that the server has for its own acknowledgement when a sign-in or a connection is in the way.
const PROMISE_AFTER: Duration = Duration::from_millis(750);

/// Time that a server has that may only be slow. Apps give up after ten seconds.
const PROMISE_FOR_SLOW_AFTER: Duration = Duration::from_secs(5);

/// Interval at which it is checked what is in the way, between the two.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The first pause before a subscription that did not get through, or was lost, is tried again. The others are each twice
/// as long as the one before.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause of a subscription that the server has not had yet.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(20);

/// The longest pause of a subscription that was lost.
const MAX_REOPEN_PAUSE: Duration = Duration::from_secs(60);

/// Life of a stream after which its loss is an accident, and the pauses begin again with the first. A server that
/// acknowledges each stream and drops it at once is asked ever less often.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// Tries in a row to open a lost subscription again that bring nothing, until it is given up.
const MAX_BARREN_TRIES: u8 = 10;

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// Reasons for the end of a subscription.
const NOT_TOLD_OF: &str = "the server does not tell of these resources";
const CONNECTION_LOST: &str = "the connection was lost";

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
    /// Cancel the subscription at the server, and tell the app of its end, for this reason.
    End(RequestId, &'static str),
    /// Hand the timer back after this time.
    After(Duration, SubscriptionTimer),
    /// The same, a little earlier at random.
    AfterAbout(Duration, SubscriptionTimer),
    /// The server can be asked.
    Available,
}

/// A wait of the subscription that was opened at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SubscriptionTimer {
    /// The app may have waited long enough for its acknowledgement.
    Acknowledge(RequestId, Instant),
    /// It may be tried again, unless it was since so many were tried.
    Retry(RequestId, Instant, u32),
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
    filter: SubscriptionFilter,
    state: SubscriptionState,
    /// The pauses before further tries.
    backoff: Backoff,
    /// Number of times that it was sent again.
    resent: u32,
    /// Tries to open it again since the server sent anything.
    barren: u8,
    /// Moment of the acknowledgement on the stream that is open.
    acknowledged: Option<Instant>,
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
    /// The server had acknowledged it, and its connection was lost. The server is not asked at the moment.
    Lost,
    /// Likewise, and the server is asked again.
    Reopening,
}

impl AppSubscription {
    fn new(request: Message, now: Instant) -> Self {
        Self {
            filter: SubscriptionFilter::asked_by(&request),
            request,
            opened: now,
            state: SubscriptionState::Unacknowledged,
            backoff: Backoff::new(RETRY_PAUSE, MAX_REOPEN_PAUSE),
            resent: 0,
            barren: 0,
            acknowledged: None,
        }
    }

    /// Returns whether the app knows of it and may be told of changes.
    const fn is_known(&self) -> bool {
        match self.state {
            SubscriptionState::Unacknowledged => false,
            SubscriptionState::Promised
            | SubscriptionState::Dormant
            | SubscriptionState::Acknowledged
            | SubscriptionState::Lost
            | SubscriptionState::Reopening => true,
        }
    }

    /// Sends it to the server again, if it waits for that.
    fn resend(&mut self) -> Option<SubscriptionStep> {
        self.state = match self.state {
            SubscriptionState::Dormant => SubscriptionState::Promised,
            SubscriptionState::Lost => SubscriptionState::Reopening,
            SubscriptionState::Unacknowledged
            | SubscriptionState::Promised
            | SubscriptionState::Acknowledged
            | SubscriptionState::Reopening => return None,
        };
        self.resent += 1;
        Some(SubscriptionStep::Send(self.request.clone()))
    }

    /// The timer for the next time that it is sent again.
    fn retry(&self, id: &RequestId) -> SubscriptionTimer {
        SubscriptionTimer::Retry(id.clone(), self.opened, self.resent)
    }

    /// Its stream has ended.
    fn end_stream(&mut self, now: Instant) {
        let acknowledged = self.acknowledged.take();
        if acknowledged.is_some_and(|moment| now - moment >= STEADY_AFTER) {
            self.backoff.reset();
        }
    }
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
        let params = json!({ "notifications": subscription.filter.as_json(), "_meta": meta(id) });
        tracing::info!("acknowledged a subscription before the server has");
        Some(SubscriptionStep::ToApp(Message::notification(
            ACKNOWLEDGED,
            &params,
        )))
    }

    /// A notification for the modern app, on the stream of this request. `None` if the app gets it.
    pub(super) fn on_notification(
        &mut self,
        message: &Message,
        stream: Option<&RequestId>,
        facts: &Facts,
    ) -> Option<Vec<SubscriptionStep>> {
        if self.0.is_empty() || message.method() != Some(ACKNOWLEDGED) {
            return None;
        }
        let id = subscription_of(message).or_else(|| stream.cloned())?;
        let subscription = self.0.get_mut(&id)?;
        let granted: Value = message.param("notifications").unwrap_or_default();
        subscription.barren = 0;
        subscription.acknowledged = Some(facts.now);
        let before = std::mem::replace(&mut subscription.state, SubscriptionState::Acknowledged);
        let mut steps = match before {
            SubscriptionState::Unacknowledged => {
                subscription.filter = subscription.filter.granted(&granted);
                return None;
            }
            SubscriptionState::Acknowledged => return Some(Vec::new()),
            SubscriptionState::Promised | SubscriptionState::Dormant => {
                subscription.backoff.reset();
                vec![SubscriptionStep::Available]
            }
            SubscriptionState::Lost | SubscriptionState::Reopening => {
                let missed = subscription.filter.missed(&id, &granted);
                missed.into_iter().map(SubscriptionStep::ToApp).collect()
            }
        };
        if !subscription.filter.has_its_resources(&granted) {
            steps.push(SubscriptionStep::End(id, NOT_TOLD_OF));
        }
        Some(steps)
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
        subscription.state = match subscription.state {
            SubscriptionState::Unacknowledged => return None,
            SubscriptionState::Promised | SubscriptionState::Dormant => SubscriptionState::Dormant,
            SubscriptionState::Acknowledged
            | SubscriptionState::Lost
            | SubscriptionState::Reopening => SubscriptionState::Lost,
        };
        let pause = subscription.backoff.pause_within(MAX_RETRY_PAUSE);
        let again = SubscriptionStep::After(pause, subscription.retry(id));
        let again = (end == FailureEnd::Passes).then_some(again);
        Some(again.into_iter().collect())
    }

    /// The server had acknowledged the subscription, and its stream has ended without a response, or was not opened
    /// again.
    pub(super) fn on_lost(
        &mut self,
        id: &RequestId,
        lost: &LostSubscription,
        facts: &Facts,
    ) -> Option<SubscriptionStep> {
        let subscription = self.0.get_mut(id)?;
        subscription.end_stream(facts.now);
        if lost.brought_events {
            subscription.barren = 0;
        }
        if !lost.failure.stream_may_return() || subscription.barren >= MAX_BARREN_TRIES {
            return Some(SubscriptionStep::End(id.clone(), CONNECTION_LOST));
        }
        subscription.state = SubscriptionState::Lost;
        subscription.barren += 1;
        let pause = subscription.backoff.pause();
        let timer = subscription.retry(id);
        Some(SubscriptionStep::AfterAbout(pause, timer))
    }

    /// A subscription that is open may be tried again, unless it was since `resent` tries.
    pub(super) fn on_retry_due(
        &mut self,
        id: &RequestId,
        opened: Instant,
        resent: u32,
    ) -> Option<SubscriptionStep> {
        let subscription = self.0.get_mut(id)?;
        if (subscription.opened, subscription.resent) != (opened, resent) {
            return None;
        }
        subscription.resend()
    }

    /// The app asks for something, so that it is sent now: a good moment to try all that were lost and are open again.
    pub(super) fn on_app_request(
        &mut self,
        is_open: impl Fn(&RequestId) -> bool,
    ) -> Vec<SubscriptionStep> {
        let lost = self
            .0
            .iter_mut()
            .filter(|(id, it)| it.state == SubscriptionState::Lost && is_open(id));
        lost.filter_map(|(_, subscription)| subscription.resend())
            .collect()
    }

    /// Returns whether the request is sent to open a lost subscription again.
    pub(super) fn is_reopening(&self, id: &RequestId) -> bool {
        let subscription = self.0.get(id);
        subscription.is_some_and(|it| it.state == SubscriptionState::Reopening)
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
        dormant
            .filter_map(|(_, subscription)| subscription.resend())
            .collect()
    }

    /// Notifications of changes of these lists, named by their capabilities, for each open subscription to them.
    pub(super) fn announce(
        &self,
        capabilities: &HashSet<&str>,
        is_open: impl Fn(&RequestId) -> bool,
    ) -> Vec<Message> {
        let open = self
            .0
            .iter()
            .filter(|(id, it)| it.is_known() && is_open(id));
        let notifications = open.flat_map(|(id, subscription)| {
            let lists = SERVER_LISTS.iter().filter(move |list| {
                capabilities.contains(list.capability) && subscription.filter.has(list)
            });
            lists.map(move |list| changed(list, id))
        });
        notifications.collect()
    }
}

/// The subscription that a notification belongs to.
fn subscription_of(message: &Message) -> Option<RequestId> {
    let id = message.meta_json(SUBSCRIPTION_ID)?;
    RequestId::from_json(id)
}
