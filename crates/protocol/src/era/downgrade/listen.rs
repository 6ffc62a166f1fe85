//! Subscriptions of a modern app at a legacy server: list changes, and `resources/subscribe` (MCP 2026-07-28,
//! "Subscriptions").

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::Standalone;
use super::handshake::LegacyServer;
use crate::era::Timer;
use crate::era::filter::{Filter, marked};
use crate::era::object::Object;
use crate::era::outbox::Outbox;
use crate::message::{Message, RequestId};

/// Subscriptions that the app may have at once.
const MAX_SUBSCRIPTIONS: usize = 100;

/// Resources that they may be about in all.
const MAX_RESOURCES: usize = 1_000;

/// Time that an acknowledgement waits for the server: for its stream, and for each resource.
const ACKNOWLEDGEMENT_LIMIT: Duration = Duration::from_secs(5);

/// The app's subscriptions, and what the server knows of them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Not known until the server has answered.
    standalone: Option<Standalone>,
    open: BTreeMap<RequestId, Subscription>,
    /// The resources that some of them are about.
    resources: BTreeMap<String, Resource>,
    /// Resources whose `resources/subscribe` is with the server.
    subscribing: BTreeMap<RequestId, String>,
}

#[derive(Debug)]
struct Subscription {
    /// The filter that the app wants; once it is acknowledged, the one that it gets.
    filter: Filter,
    /// When it is acknowledged at the latest; `None` once it is.
    limit: Option<Timer>,
}

/// State of a resource at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// The server has not answered yet.
    Asked,
    /// The server tells of it.
    Subscribed,
    /// The server does not.
    Refused,
}

impl Resource {
    /// The state after the response to a `resources/subscribe`.
    pub(super) fn of_response(response: &Message) -> Self {
        if response.is_error() {
            Self::Refused
        } else {
            Self::Subscribed
        }
    }
}

impl Subscriptions {
    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.open.contains_key(id)
    }

    /// Opens a subscription; the acknowledgement waits for what the server says.
    pub(super) fn open(
        &mut self,
        id: &RequestId,
        request: &Message,
        server: &LegacyServer,
        outbox: &mut Outbox,
    ) {
        let params = request.params_json().and_then(Object::parse);
        let mut filter = Filter::read(&params.unwrap_or_default());
        let declared = Filter::declared(&server.capabilities);
        filter.lists.retain(|name| declared.lists.contains(name));
        if !server.declares(&["resources", "subscribe"]) {
            filter.uris.clear();
        }
        let new = filter
            .uris
            .iter()
            .filter(|uri| !self.resources.contains_key(*uri))
            .count();
        if self.open.len() >= MAX_SUBSCRIPTIONS || self.resources.len() + new > MAX_RESOURCES {
            return outbox.fail(id, "overloaded", "too many subscriptions");
        }
        let subscription = Subscription {
            filter,
            limit: Some(outbox.after(ACKNOWLEDGEMENT_LIMIT)),
        };
        // Without a stream nothing would ever come of it.
        if self.standalone != Some(Standalone::Refused) {
            for uri in &subscription.filter.uris {
                if !self.resources.contains_key(uri) {
                    self.subscribe(uri, outbox);
                }
            }
        }
        self.open.insert(id.clone(), subscription);
        self.acknowledge_complete(outbox);
    }

    /// Ends a subscription; the server is told when it was the last about a resource.
    pub(super) fn close(&mut self, id: &RequestId, outbox: &mut Outbox) {
        if let Some(subscription) = self.open.remove(id) {
            self.drop_unwanted(subscription.filter.uris, outbox);
        }
    }

    /// Takes the response to a `resources/subscribe`; `false` if it is another's.
    pub(super) fn on_response(
        &mut self,
        id: &RequestId,
        state: Resource,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(uri) = self.subscribing.remove(id) else {
            return false;
        };
        self.resources.insert(uri.clone(), state);
        // It may be that nobody wants it any more.
        self.drop_unwanted(BTreeSet::from([uri]), outbox);
        self.acknowledge_complete(outbox);
        true
    }

    pub(super) fn on_timer(&mut self, timer: Timer, outbox: &mut Outbox) {
        let late = self
            .open
            .iter()
            .find(|(_, subscription)| subscription.limit == Some(timer));
        if let Some(id) = late.map(|(id, _)| id.clone()) {
            self.acknowledge(&id, outbox);
        }
    }

    /// Changes that the server has no stream for are not promised; a promise from before ends.
    pub(super) fn on_standalone(&mut self, standalone: Standalone, outbox: &mut Outbox) {
        self.standalone = Some(standalone);
        if standalone == Standalone::Refused {
            let acknowledged = self.open.iter().filter(|(_, subscription)| {
                subscription.limit.is_none() && !subscription.filter.is_empty()
            });
            let acknowledged: Vec<RequestId> = acknowledged.map(|(id, _)| id.clone()).collect();
            for id in acknowledged {
                self.close(&id, outbox);
                let mut params = Object::default();
                params.set_json("requestId", id.as_json());
                outbox.tell_app(params.into_notification("notifications/cancelled"));
            }
        }
        self.acknowledge_complete(outbox);
    }

    /// Hands a copy to each subscription that is about it.
    pub(super) fn on_event(&self, method: &str, event: &Message, outbox: &mut Outbox) {
        let uri: Option<String> = event.param("uri");
        for (id, subscription) in &self.open {
            if subscription.limit.is_none() && subscription.filter.covers(method, uri.as_deref()) {
                let params = event.params_json().and_then(Object::parse);
                let params = params.unwrap_or_default();
                outbox.tell_app(marked(params, id).into_notification(method));
            }
        }
    }

    /// The server has forgotten what it was told.
    pub(super) fn subscribe_again(&mut self, outbox: &mut Outbox) {
        self.subscribing.clear();
        let uris: Vec<String> = self.resources.keys().cloned().collect();
        for uri in uris {
            self.subscribe(&uri, outbox);
        }
    }

    fn subscribe(&mut self, uri: &str, outbox: &mut Outbox) {
        let id = outbox.ids.id();
        outbox.request(&id, "resources/subscribe", &uri_params(uri));
        self.subscribing.insert(id, uri.to_owned());
        self.resources.insert(uri.to_owned(), Resource::Asked);
    }

    /// Acknowledges the subscriptions that wait for nothing more.
    fn acknowledge_complete(&mut self, outbox: &mut Outbox) {
        let is_asked = |uri: &String| self.resources.get(uri) == Some(&Resource::Asked);
        let complete = self
            .open
            .iter()
            .filter(|(_, subscription)| match self.standalone {
                Some(Standalone::Refused) => subscription.limit.is_some(),
                Some(Standalone::Open) => {
                    subscription.limit.is_some() && !subscription.filter.uris.iter().any(is_asked)
                }
                None => false,
            });
        let complete: Vec<RequestId> = complete.map(|(id, _)| id.clone()).collect();
        for id in complete {
            self.acknowledge(&id, outbox);
        }
    }

    /// Acknowledges what the server will tell of.
    fn acknowledge(&mut self, id: &RequestId, outbox: &mut Outbox) {
        let Some(subscription) = self.open.get_mut(id) else {
            return;
        };
        subscription.limit = None;
        if self.standalone == Some(Standalone::Refused) {
            subscription.filter.lists.clear();
        }
        let told = |uri: &String| {
            self.standalone != Some(Standalone::Refused)
                && self.resources.get(uri) == Some(&Resource::Subscribed)
        };
        let (kept, dropped) = std::mem::take(&mut subscription.filter.uris)
            .into_iter()
            .partition(told);
        subscription.filter.uris = kept;
        let dropped: BTreeSet<String> = dropped;
        let mut params = Object::default();
        params.set("notifications", &subscription.filter.to_object());
        let acknowledged = "notifications/subscriptions/acknowledged";
        outbox.tell_app(marked(params, id).into_notification(acknowledged));
        self.drop_unwanted(dropped, outbox);
    }

    /// Lets those resources go that no subscription is about any more.
    fn drop_unwanted(&mut self, uris: BTreeSet<String>, outbox: &mut Outbox) {
        for uri in uris {
            let mut open = self.open.values();
            if open.any(|subscription| subscription.filter.uris.contains(&uri)) {
                continue;
            }
            // One that the server has not answered for is let go when it does.
            if self.resources.remove(&uri) == Some(Resource::Subscribed) {
                let id = outbox.ids.id();
                outbox.request(&id, "resources/unsubscribe", &uri_params(&uri));
            }
        }
    }
}

fn uri_params(uri: &str) -> Object {
    let mut params = Object::default();
    params.set("uri", &json!(uri));
    params
}
