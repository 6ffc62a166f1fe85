//! Notification filter of a subscription (MCP 2026-07-28, "Notification Filter").

use std::collections::BTreeSet;

use super::object::Object;
use super::request_meta::SUBSCRIPTION_ID;
use crate::lists::{SERVER_LISTS, ServerList};
use crate::message::RequestId;

pub(super) const RESOURCE_UPDATED: &str = "notifications/resources/updated";

/// Changes that are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Lists, by their names in the filter.
    pub(super) lists: BTreeSet<&'static str>,
    /// Resources.
    pub(super) uris: BTreeSet<String>,
}

impl Filter {
    /// The changes of lists that the server says it tells of.
    pub(super) fn declared(capabilities: &Object) -> Self {
        let declared = |list: &ServerList| capabilities.declares(&[list.capability, "listChanged"]);
        Self {
            lists: SERVER_LISTS
                .into_iter()
                .filter(declared)
                .map(|list| list.filter)
                .collect(),
            uris: BTreeSet::new(),
        }
    }

    /// Reads the member `notifications` of params.
    pub(super) fn read(params: &Object) -> Self {
        let filter = params.object("notifications").unwrap_or_default();
        let uris: Option<BTreeSet<String>> = filter.read("resourceSubscriptions");
        let names = SERVER_LISTS.into_iter().map(|list| list.filter);
        Self {
            lists: names
                .filter(|name| filter.read(name) == Some(true))
                .collect(),
            uris: uris.unwrap_or_default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.uris.is_empty()
    }

    pub(super) fn to_object(&self) -> Object {
        let mut filter = Object::default();
        for list in &self.lists {
            filter.set(list, &true);
        }
        if !self.uris.is_empty() {
            filter.set("resourceSubscriptions", &self.uris);
        }
        filter
    }

    /// Returns whether it is about a notification, of the resource `uri` if it is one of a resource. A URI that
    /// is subscribed to may stand for resources below it.
    pub(super) fn covers(&self, method: &str, uri: Option<&str>) -> bool {
        if method == RESOURCE_UPDATED {
            return uri.is_some_and(|uri| self.uris.iter().any(|known| uri.starts_with(&**known)));
        }
        let list = SERVER_LISTS.iter().find(|list| list.changed == method);
        list.is_some_and(|list| self.lists.contains(list.filter))
    }
}

/// The params with the id of the subscription that they belong to.
pub(super) fn marked(mut params: Object, subscription: &RequestId) -> Object {
    let mut meta = params.object("_meta").unwrap_or_default();
    meta.set_json(SUBSCRIPTION_ID, subscription.as_json());
    params.set_object("_meta", &meta);
    params
}
