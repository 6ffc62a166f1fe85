//! What a modern app subscribes to, and a legacy server tells of its own accord or after
//! `resources/subscribe` (MCP 2026-07-28, "Subscriptions").

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::Standalone;
use super::handshake::Server;
use crate::era::Timer;
use crate::era::envelope::SUBSCRIPTION_ID;
use crate::era::object::Object;
use crate::era::outbox::Outbox;
use crate::message::{Message, RequestId};

/// Subscriptions that the app may have at once.
const MAX_LISTENERS: usize = 100;

/// Resources that they may be about in all.
const MAX_RESOURCES: usize = 1_000;

/// How long an acknowledgement waits for the server: for its stream, and for each resource.
const ACKNOWLEDGEMENT_LIMIT: Duration = Duration::from_secs(5);

/// The lists that may change: the capability, the member of the filter, the notification.
const LISTS: [(&str, &str, &str); 3] = [
    (
        "tools",
        "toolsListChanged",
        "notifications/tools/list_changed",
    ),
    (
        "prompts",
        "promptsListChanged",
        "notifications/prompts/list_changed",
    ),
    (
        "resources",
        "resourcesListChanged",
        "notifications/resources/list_changed",
    ),
];

/// The app's subscriptions, and what the server knows of them.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Not known until the server has answered.
    standalone: Option<Standalone>,
    listeners: BTreeMap<RequestId, Listener>,
    /// The resources that some of them are about.
    resources: BTreeMap<String, Resource>,
    /// Resources whose `resources/subscribe` is with the server.
    subscribing: BTreeMap<RequestId, String>,
}

#[derive(Debug)]
struct Listener {
    /// Members of [`LISTS`], by their names in the filter.
    lists: BTreeSet<&'static str>,
    uris: BTreeSet<String>,
    /// When it is acknowledged at the latest; `None` once it is.
    limit: Option<Timer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    /// The server has not answered yet.
    Asked,
    /// The server tells of it.
    Subscribed,
    /// The server does not.
    Refused,
}

impl Listeners {
    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.listeners.contains_key(id)
    }

    /// Opens a subscription; the acknowledgement waits for what the server says.
    pub(super) fn open(
        &mut self,
        id: &RequestId,
        request: &Message,
        server: &Server,
        outbox: &mut Outbox,
    ) {
        let filter: Object = request.param("notifications").unwrap_or_default();
        let lists = LISTS
            .into_iter()
            .filter(|(_, name, _)| filter.read(name) == Some(true))
            .filter(|(capability, ..)| server.declares(&[capability, "listChanged"]))
            .map(|(_, name, _)| name);
        let uris: Option<BTreeSet<String>> = filter.read("resourceSubscriptions");
        let uris = uris.filter(|_| server.declares(&["resources", "subscribe"]));
        let uris = uris.unwrap_or_default();
        let new = uris
            .iter()
            .filter(|uri| !self.resources.contains_key(*uri))
            .count();
        if self.listeners.len() >= MAX_LISTENERS || self.resources.len() + new > MAX_RESOURCES {
            return outbox.fail(id, "overloaded", "too many subscriptions");
        }
        let listener = Listener {
            lists: lists.collect(),
            uris,
            limit: Some(outbox.after(ACKNOWLEDGEMENT_LIMIT)),
        };
        // Without a stream nothing would ever come of it.
        if self.standalone != Some(Standalone::Refused) {
            for uri in &listener.uris {
                if !self.resources.contains_key(uri) {
                    self.subscribe(uri, outbox);
                }
            }
        }
        self.listeners.insert(id.clone(), listener);
        self.acknowledge_complete(outbox);
    }

    /// Ends a subscription; the server is told when it was the last about a resource.
    pub(super) fn close(&mut self, id: &RequestId, outbox: &mut Outbox) {
        let Some(listener) = self.listeners.remove(id) else {
            return;
        };
        for uri in listener.uris {
            if self
                .listeners
                .values()
                .any(|other| other.uris.contains(&uri))
            {
                continue;
            }
            if self.resources.remove(&uri) == Some(Resource::Subscribed) {
                unsubscribe(&uri, outbox);
            }
        }
    }

    /// Takes the response to a `resources/subscribe`; `false` if it is another's.
    pub(super) fn take_response(
        &mut self,
        id: &RequestId,
        response: &Message,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(uri) = self.subscribing.remove(id) else {
            return false;
        };
        match self.resources.get_mut(&uri) {
            Some(resource) if response.is_error() => *resource = Resource::Refused,
            Some(resource) => *resource = Resource::Subscribed,
            // Nobody wants it any more.
            None if response.is_error() => {}
            None => unsubscribe(&uri, outbox),
        }
        self.acknowledge_complete(outbox);
        true
    }

    pub(super) fn take_timer(&mut self, timer: Timer, outbox: &mut Outbox) {
        let late = self
            .listeners
            .iter()
            .find(|(_, listener)| listener.limit == Some(timer));
        if let Some(id) = late.map(|(id, _)| id.clone()) {
            self.acknowledge(&id, outbox);
        }
    }

    /// What the server has no stream for is not promised; what was promised before ends.
    pub(super) fn take_standalone(&mut self, standalone: Standalone, outbox: &mut Outbox) {
        self.standalone = Some(standalone);
        if standalone == Standalone::Refused {
            let acknowledged = self.listeners.iter().filter(|(_, listener)| {
                listener.limit.is_none() && !(listener.lists.is_empty() && listener.uris.is_empty())
            });
            let acknowledged: Vec<RequestId> = acknowledged.map(|(id, _)| id.clone()).collect();
            for id in acknowledged {
                self.close(&id, outbox);
                let mut params = Object::default();
                params.set_json("requestId", id.as_json());
                outbox.to_app(params.into_notification("notifications/cancelled"));
            }
        }
        self.acknowledge_complete(outbox);
    }

    /// Hands a copy to each subscription that is about it.
    pub(super) fn take_event(&self, method: &str, event: &Message, outbox: &mut Outbox) {
        let list = LISTS.into_iter().find(|(_, _, event)| *event == method);
        let uri: Option<String> = event.param("uri");
        for (id, listener) in &self.listeners {
            let is_about = match (list, &uri) {
                (Some((_, name, _)), _) => listener.lists.contains(name),
                // A URI that is subscribed to may stand for resources below it.
                (None, Some(uri)) => listener.uris.iter().any(|known| uri.starts_with(known)),
                (None, None) => false,
            };
            if is_about && listener.limit.is_none() {
                let params = event.params_json().and_then(Object::parse);
                let params = params.unwrap_or_default();
                outbox.to_app(marked(params, id).into_notification(method));
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
        let id = outbox.mint.id();
        outbox.request(&id, "resources/subscribe", &uri_params(uri));
        self.subscribing.insert(id, uri.to_owned());
        self.resources.insert(uri.to_owned(), Resource::Asked);
    }

    /// Acknowledges the subscriptions that wait for nothing more.
    fn acknowledge_complete(&mut self, outbox: &mut Outbox) {
        let is_asked = |uri: &String| self.resources.get(uri) == Some(&Resource::Asked);
        let complete = self
            .listeners
            .iter()
            .filter(|(_, listener)| match self.standalone {
                Some(Standalone::Refused) => listener.limit.is_some(),
                Some(Standalone::Open) => {
                    listener.limit.is_some() && !listener.uris.iter().any(is_asked)
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
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        listener.limit = None;
        if self.standalone == Some(Standalone::Refused) {
            listener.lists.clear();
        }
        let told = |uri: &String| {
            self.standalone != Some(Standalone::Refused)
                && self.resources.get(uri) == Some(&Resource::Subscribed)
        };
        let (kept, dropped) = std::mem::take(&mut listener.uris)
            .into_iter()
            .partition(told);
        listener.uris = kept;
        let dropped: BTreeSet<String> = dropped;
        let mut filter = Object::default();
        for list in &listener.lists {
            filter.set(list, &true);
        }
        if !listener.uris.is_empty() {
            filter.set("resourceSubscriptions", &listener.uris);
        }
        let mut params = Object::default();
        params.set("notifications", &filter);
        let acknowledged = "notifications/subscriptions/acknowledged";
        outbox.to_app(marked(params, id).into_notification(acknowledged));
        for uri in dropped {
            if !self
                .listeners
                .values()
                .any(|other| other.uris.contains(&uri))
            {
                self.resources.remove(&uri);
            }
        }
    }
}

/// The params with the id of the subscription.
fn marked(mut params: Object, subscription: &RequestId) -> Object {
    let mut meta = params.object("_meta").unwrap_or_default();
    meta.set_json(SUBSCRIPTION_ID, subscription.as_json());
    params.set("_meta", &meta);
    params
}

fn unsubscribe(uri: &str, outbox: &mut Outbox) {
    let id = outbox.mint.id();
    outbox.request(&id, "resources/unsubscribe", &uri_params(uri));
}

fn uri_params(uri: &str) -> Object {
    let mut params = Object::default();
    params.set("uri", &json!(uri));
    params
}
