//! Hidden tools: removal from lists, and refusal of their calls. The rules are in `tool_filter`.

use serde_json::value::RawValue;

use super::router::Router;
use super::tool_filter::{self, Access, Hidden, ToolFilter};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{
    EmptyCursor, Message, NextPage, Pages, RequestId, params_on_behalf_of,
};
use mcp_bridge_text::name::NameTable;

/// The filter, and what it has to know.
pub(super) struct Tools {
    filter: ToolFilter,
    /// The tools that were listed, and whether each is read-only; looked at by [`Access::ReadOnly`] alone. Those for
    /// which there is no room are not called.
    read_only: NameTable<bool>,
    listing: Option<Listing>,
    lists: u64,
}

/// The server is asked for its tools, on behalf of calls that came before any list did.
struct Listing {
    /// The request that is under way.
    id: RequestId,
    pages: Pages,
    /// The list has changed meanwhile, so it is read from the beginning.
    is_stale: bool,
    /// The calls that wait.
    held: Vec<Message>,
}

/// What becomes of a request.
enum Verdict {
    Passes,
    Refused(Message),
    /// It waits for a list, which has to be asked for by this request if there is one.
    Waits(Option<Message>),
}

impl Tools {
    pub(super) fn new(filter: ToolFilter) -> Self {
        Self {
            filter,
            read_only: NameTable::default(),
            listing: None,
            lists: 0,
        }
    }

    /// Whether a request is one of our own, of which the app knows nothing.
    pub(super) fn is_own(&self, id: &RequestId) -> bool {
        self.listing
            .as_ref()
            .is_some_and(|listing| listing.id == *id)
    }

    /// The list that was asked for, and the calls that wait for it.
    pub(super) fn waiting_calls(&self) -> Option<(&RequestId, Vec<&RequestId>)> {
        let listing = self.listing.as_ref()?;
        let calls = listing.held.iter().filter_map(Message::id);
        Some((&listing.id, calls.collect()))
    }

    /// A message that the server sends of its own accord.
    pub(super) fn hear(&mut self, message: &Message) {
        if message.method() == Some("notifications/tools/list_changed") {
            self.read_only.clear();
            if let Some(listing) = &mut self.listing {
                listing.is_stale = true;
            }
        }
    }

    fn judge(&mut self, request: &Message, id: &RequestId, host: &str) -> Verdict {
        // An id that is used again is that of a call which was cancelled.
        if let Some(listing) = &mut self.listing {
            listing.held.retain(|held| held.id() != Some(id));
        }
        if request.method() != Some("tools/call") {
            return Verdict::Passes;
        }
        let Some(name) = request.param::<String>("name") else {
            return Verdict::Refused(Hidden::Nameless.to_response(id, "", host));
        };
        if let Some(hidden) = self.filter.hides_name(&name) {
            return Verdict::Refused(hidden.to_response(id, &name, host));
        }
        match (self.filter.access, self.read_only.get(&name)) {
            (Access::Any, _) | (Access::ReadOnly, Some(true)) => Verdict::Passes,
            (Access::ReadOnly, Some(false)) => {
                Verdict::Refused(Hidden::NotReadOnly.to_response(id, &name, host))
            }
            (Access::ReadOnly, None) => Verdict::Waits(self.hold(request)),
        }
    }

    /// Keeps a call back. Returns the request for the list, if none is under way.
    fn hold(&mut self, call: &Message) -> Option<Message> {
        if let Some(listing) = &mut self.listing {
            listing.held.push(call.clone());
            return None;
        }
        let id = self.next_id();
        let list = list_request(&id, call, None);
        self.listing = Some(Listing {
            id,
            pages: Pages::default(),
            is_stale: false,
            held: vec![call.clone()],
        });
        Some(list)
    }

    fn next_id(&mut self) -> RequestId {
        self.lists += 1;
        RequestId::from_string(&format!("mcp-bridge-tools-{}", self.lists))
    }

    /// A list that was not given just now without what is hidden. Nothing is learnt from it.
    pub(super) fn without_hidden(&self, list: &Message) -> Message {
        list.with_elements("tools", |tool| self.filter.hides(tool).is_none())
    }

    /// A list without what is hidden.
    fn shorten(&mut self, list: &Message) -> Message {
        list.with_elements("tools", |tool| {
            self.remember(tool);
            self.filter.hides(tool).is_none()
        })
    }

    /// Remembers the tools of a list that nobody will see.
    fn learn(&mut self, list: &Message) {
        let tools = list.result_member::<Vec<&RawValue>>("tools");
        for tool in tools.unwrap_or_default() {
            self.remember(tool);
        }
    }

    fn remember(&mut self, tool: &RawValue) {
        if self.filter.access == Access::Any {
            return;
        }
        let Some(name) = tool_filter::name(tool) else {
            return;
        };
        self.read_only
            .insert(&name, tool_filter::is_read_only(tool));
    }

    /// The request for more of the list that we asked for, if there is more.
    fn next_page(&mut self, page: &Message, empty: EmptyCursor) -> Option<Message> {
        let id = self.next_id();
        let listing = self.listing.as_mut()?;
        let next = listing.pages.after(page, empty);
        let is_stale = std::mem::take(&mut listing.is_stale);
        if page.is_error() {
            return None;
        }
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

impl Router {
    /// Whether a request of the app is dealt with here, and goes no further for now.
    pub(super) fn tools_take(&mut self, request: &Message) -> bool {
        let (Some(tools), Some(id)) = (&mut self.tools, request.id()) else {
            return false;
        };
        match tools.judge(request, id, &self.host) {
            Verdict::Passes => return false,
            Verdict::Refused(response) => self.answer(response),
            Verdict::Waits(list) => {
                if let Some(list) = list {
                    self.ask_for_list(list);
                }
            }
        }
        true
    }

    /// Gives the app a list without what is hidden.
    pub(super) fn take_tools(&mut self, list: Message) {
        match &mut self.tools {
            Some(tools) => {
                let shortened = tools.shorten(&list);
                self.write_response(shortened);
            }
            None => self.write_response(list),
        }
    }

    /// Takes a page of the list that we asked for ourselves, which goes no further.
    pub(super) fn take_listing(&mut self, page: &Message, empty: EmptyCursor) {
        let Some(tools) = &mut self.tools else {
            return;
        };
        tools.learn(page);
        if let Some(next) = tools.next_page(page, empty) {
            return self.ask_for_list(next);
        }
        let held = tools.listing.take().map(|listing| listing.held);
        for call in held.unwrap_or_default() {
            self.release(call, page);
        }
    }

    /// Judges a call that has waited for `list`.
    fn release(&mut self, call: Message, list: &Message) {
        let host = self.host();
        let (Some(tools), Some(id)) = (&self.tools, call.id()) else {
            return;
        };
        // It may have been cancelled while it waited.
        if !self.unanswered.contains_key(id) {
            return;
        }
        let name: String = call.param("name").unwrap_or_default();
        if tools.read_only.get(&name) == Some(&true) {
            return self.dispatch(call);
        }
        if list.is_error() {
            return self.answer(list.with_id(id));
        }
        self.answer(Hidden::NotReadOnly.to_response(id, &name, &host));
    }

    pub(super) fn dispatch(&mut self, request: Message) {
        match Era::of_request(&request) {
            Era::Legacy => self.take_legacy(request),
            Era::Modern => self.take_modern(request),
        }
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
