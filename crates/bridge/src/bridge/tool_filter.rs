//! Tool filter: removal of hidden tools from lists, and refusal of their calls. The rules are in `tool_rules`.

use serde_json::value::RawValue;

use super::reply::Reply;
use super::tool_rules::{self, Access, Hidden, ToolFilter};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{
    EmptyCursor, Message, NextPage, Pages, RequestId, params_on_behalf_of,
};
use mcp_bridge_text::name::NameTable;

/// State of the filter. Messages go in, verdicts and [`FilterStep`]s come out.
#[derive(Debug)]
pub(super) struct HiddenTools {
    filter: ToolFilter,
    /// The server's host and port.
    host: String,
    /// The tools that were listed, and whether each is read-only; looked at by [`Access::ReadOnly`] alone. Those for
    /// which there is no room are not called.
    read_only: NameTable<bool>,
    listing: Option<ToolListing>,
    /// Makes ids.
    lists: u64,
}

/// The server is asked for its tools, on behalf of calls that came before any list did.
#[derive(Debug)]
struct ToolListing {
    /// The request that is under way.
    id: RequestId,
    pages: Pages,
    /// True if the list has changed meanwhile, so that it is read from the beginning.
    is_stale: bool,
    /// The calls that wait.
    held: Vec<Message>,
}

/// Treatment of a request of the app.
#[derive(Debug)]
pub(super) enum CallVerdict {
    Passes,
    /// It is answered with this error.
    Refused(Message),
    /// It waits for a list, which has to be asked for by this request if there is one.
    Waits(Option<Message>),
}

/// Something to be done after a page of the list.
#[derive(Debug)]
pub(super) enum FilterStep {
    /// Ask the server for a list by this request.
    Ask(Message),
    /// Let a call go on that has waited.
    Release(Message),
    /// Answer a call that has waited.
    Answer(Reply),
}

impl HiddenTools {
    pub(super) fn new(filter: ToolFilter, host: String) -> Self {
        Self {
            filter,
            host,
            read_only: NameTable::default(),
            listing: None,
            lists: 0,
        }
    }

    /// Returns whether a request is one of our own, of which the app knows nothing.
    pub(super) fn is_own(&self, id: &RequestId) -> bool {
        let listing = self.listing.as_ref();
        listing.is_some_and(|listing| listing.id == *id)
    }

    /// The list that was asked for, and the calls that wait for it.
    pub(super) fn waiting_calls(&self) -> Option<(&RequestId, Vec<&RequestId>)> {
        let listing = self.listing.as_ref()?;
        let calls = listing.held.iter().filter_map(Message::id);
        Some((&listing.id, calls.collect()))
    }

    /// A request of the app.
    pub(super) fn on_request(&mut self, request: &Message) -> CallVerdict {
        let Some(id) = request.id() else {
            return CallVerdict::Passes;
        };
        // An id that is used again is that of a call which was cancelled.
        if let Some(listing) = &mut self.listing {
            listing.held.retain(|held| held.id() != Some(id));
        }
        if request.method() != Some("tools/call") {
            return CallVerdict::Passes;
        }
        let Some(name) = request.param::<String>("name") else {
            return CallVerdict::Refused(Hidden::Nameless.to_response(id, "", &self.host));
        };
        if let Some(hidden) = self.filter.hides_name(&name) {
            return CallVerdict::Refused(hidden.to_response(id, &name, &self.host));
        }
        match (self.filter.access, self.read_only.get(&name)) {
            (Access::Any, _) | (Access::ReadOnly, Some(true)) => CallVerdict::Passes,
            (Access::ReadOnly, Some(false)) => {
                CallVerdict::Refused(Hidden::NotReadOnly.to_response(id, &name, &self.host))
            }
            (Access::ReadOnly, None) => CallVerdict::Waits(self.hold(request)),
        }
    }

    /// A message that the server sends of its own accord.
    pub(super) fn on_server_message(&mut self, message: &Message) {
        if message.method() == Some("notifications/tools/list_changed") {
            self.read_only.clear();
            if let Some(listing) = &mut self.listing {
                listing.is_stale = true;
            }
        }
    }

    /// A page of the list that was asked for here, or the failure in its place.
    pub(super) fn on_page(&mut self, page: &Reply, empty: EmptyCursor) -> Vec<FilterStep> {
        let list = page.response().filter(|page| !page.is_error());
        let tools = list.and_then(|list| list.result_member::<Vec<&RawValue>>("tools"));
        for tool in tools.unwrap_or_default() {
            self.remember(tool);
        }
        if let Some(next) = list.and_then(|list| self.next_page(list, empty)) {
            return vec![FilterStep::Ask(next)];
        }
        let held = self.listing.take().map(|listing| listing.held);
        let calls = held.unwrap_or_default().into_iter();
        calls.filter_map(|call| self.release(call, page)).collect()
    }

    /// A list without what is hidden, which the app gets from the server.
    pub(super) fn on_list(&mut self, list: &Message) -> Message {
        list.with_elements("tools", |tool| {
            self.remember(tool);
            self.filter.hides(tool).is_none()
        })
    }

    /// A list that was not given just now without what is hidden. Nothing is learnt from it.
    pub(super) fn without_hidden(&self, list: &Message) -> Message {
        list.with_elements("tools", |tool| self.filter.hides(tool).is_none())
    }

    /// Keeps a call back. Returns the request for the list, if none is under way.
    fn hold(&mut self, call: &Message) -> Option<Message> {
        if let Some(listing) = &mut self.listing {
            listing.held.push(call.clone());
            return None;
        }
        let id = self.next_id();
        let list = list_request(&id, call, None);
        self.listing = Some(ToolListing {
            id,
            pages: Pages::default(),
            is_stale: false,
            held: vec![call.clone()],
        });
        Some(list)
    }

    /// Judges a call that has waited for a list which ended with this page.
    fn release(&self, call: Message, page: &Reply) -> Option<FilterStep> {
        let id = call.id()?;
        let name: String = call.param("name").unwrap_or_default();
        if self.read_only.get(&name) == Some(&true) {
            return Some(FilterStep::Release(call));
        }
        if page.is_error() {
            return Some(FilterStep::Answer(page.with_id(id)));
        }
        let refusal = Hidden::NotReadOnly.to_response(id, &name, &self.host);
        Some(FilterStep::Answer(refusal.into()))
    }

    fn next_id(&mut self) -> RequestId {
        self.lists += 1;
        RequestId::from_string(&format!("mcp-bridge-tools-{}", self.lists))
    }

    fn remember(&mut self, tool: &RawValue) {
        if self.filter.access == Access::Any {
            return;
        }
        if let Some(name) = tool_rules::name(tool) {
            self.read_only.insert(&name, tool_rules::is_read_only(tool));
        }
    }

    /// The request for more of the list that we asked for, if there is more.
    fn next_page(&mut self, page: &Message, empty: EmptyCursor) -> Option<Message> {
        let id = self.next_id();
        let listing = self.listing.as_mut()?;
        let next = listing.pages.after(page, empty);
        let is_stale = std::mem::take(&mut listing.is_stale);
        let cursor = match next {
            NextPage::At(_) | NextPage::None if is_stale => {
                listing.pages.start_over();
                None
            }
            NextPage::At(cursor) => Some(cursor),
            NextPage::None | NextPage::TooMany => return None,
        };
        let call = listing.held.first()?;
        let request = list_request(&id, call, cursor.as_deref());
        listing.id = id;
        Some(request)
    }
}

/// A `tools/list` in the name of whoever made `call`.
fn list_request(id: &RequestId, call: &Message, cursor: Option<&str>) -> Message {
    let on_behalf_of = Some(call).filter(|call| Era::of_request(call) == Era::Modern);
    let mut params = params_on_behalf_of(on_behalf_of);
    if let Some(cursor) = cursor {
        params["cursor"] = cursor.into();
    }
    Message::request(id, "tools/list", &params.to_string())
}
