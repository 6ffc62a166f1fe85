//! Filter of a modern app's subscription: lists, and resources by their URIs.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use mcp_bridge_protocol::era::SUBSCRIPTION_ID;
use mcp_bridge_protocol::lists::{SERVER_LISTS, ServerList};
use mcp_bridge_protocol::message::{Message, RequestId};

const RESOURCE_UPDATED: &str = "notifications/resources/updated";

/// The resources in a filter.
const RESOURCES: &str = "resourceSubscriptions";

/// The changes that a subscription is about, in the form of the protocol.
#[derive(Debug)]
pub(super) struct SubscriptionFilter(Value);

impl SubscriptionFilter {
    /// The filter that a request asks for, as far as it is known here. Whatever else the app may ask for is the server's
    /// to promise.
    pub(super) fn asked_by(request: &Message) -> Self {
        let asked: Value = request.param("notifications").unwrap_or_default();
        let flags = SERVER_LISTS.iter().map(|list| list.filter);
        let known = flags.chain([RESOURCES]);
        let known = known.filter_map(|name| Some((name.to_owned(), asked.get(name)?.clone())));
        Self(Value::Object(known.collect()))
    }

    pub(super) const fn as_json(&self) -> &Value {
        &self.0
    }

    /// Returns whether it is about this list.
    pub(super) fn has(&self, list: &ServerList) -> bool {
        self.0[list.filter] == true
    }

    /// The part of the server's filter that the app has asked for. The server may name any number of other resources.
    pub(super) fn granted(&self, granted: &Value) -> Self {
        let flags = SERVER_LISTS.iter().map(|list| list.filter);
        let flags = flags.filter(|flag| granted[flag] == true);
        let mut kept: Map<_, _> = flags.map(|flag| (flag.to_owned(), true.into())).collect();
        let mut asked: HashSet<&str> = uris(&self.0).collect();
        let mut granted = uris(granted).peekable();
        if granted.peek().is_some() {
            let resources = granted.filter(|uri| asked.remove(uri)).collect();
            kept.insert(RESOURCES.to_owned(), resources);
        }
        Self(Value::Object(kept))
    }

    /// Returns whether all resources that were promised are in this filter of the server.
    pub(super) fn has_its_resources(&self, granted: &Value) -> bool {
        let granted: HashSet<&str> = uris(granted).collect();
        uris(&self.0).all(|uri| granted.contains(uri))
    }

    /// Notifications of all that may have changed while there was no connection, where the server grants this filter now.
    pub(super) fn missed(&self, id: &RequestId, granted: &Value) -> Vec<Message> {
        let granted = self.granted(granted);
        let lists = SERVER_LISTS
            .iter()
            .filter(|list| granted.has(list) && self.has(list));
        let lists = lists.map(|list| changed(list, id));
        let resources = uris(&granted.0).map(|uri| {
            let params = json!({ "_meta": meta(id), "uri": uri });
            Message::notification(RESOURCE_UPDATED, &params)
        });
        lists.chain(resources).collect()
    }
}

/// The resources in a filter.
fn uris(filter: &Value) -> impl Iterator<Item = &str> {
    let uris = filter[RESOURCES].as_array();
    uris.into_iter().flatten().filter_map(Value::as_str)
}

/// The notification that a list has changed, for a subscription.
pub(super) fn changed(list: &ServerList, subscription: &RequestId) -> Message {
    Message::notification(list.changed, &json!({ "_meta": meta(subscription) }))
}

/// The `_meta` that names a subscription.
pub(super) fn meta(subscription: &RequestId) -> Value {
    let id: Value = serde_json::from_str(subscription.as_json()).unwrap_or_default();
    json!({ SUBSCRIPTION_ID: id })
}
