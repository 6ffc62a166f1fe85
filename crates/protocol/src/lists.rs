//! The lists of a server that may change: tools, prompts, resources.

/// A list of a server, by its names in MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerList {
    /// The capability whose member `listChanged` says that the server tells of changes.
    pub capability: &'static str,
    /// The member of a subscription's filter (MCP 2026-07-28, "Notification Filter").
    pub filter: &'static str,
    /// The notification of a change.
    pub changed: &'static str,
}

/// All lists that may change.
pub const SERVER_LISTS: [ServerList; 3] = [
    ServerList {
        capability: "tools",
        filter: "toolsListChanged",
        changed: "notifications/tools/list_changed",
    },
    ServerList {
        capability: "prompts",
        filter: "promptsListChanged",
        changed: "notifications/prompts/list_changed",
    },
    ServerList {
        capability: "resources",
        filter: "resourcesListChanged",
        changed: "notifications/resources/list_changed",
    },
];

/// Returns whether a method is the notification of a changed list.
#[must_use]
pub fn is_list_change(method: &str) -> bool {
    SERVER_LISTS.iter().any(|list| list.changed == method)
}
