//! Tools of the bridge itself, which stand in for those of a server that cannot list its own yet. Their
//! description and result say what is missing, and a call waits for it.
//!
//! They are listed only where nothing is known of the server's own tools, and are gone with its first list.

use std::collections::HashSet;

use serde_json::json;
use serde_json::value::RawValue;

use super::list::List;
use super::obstacle::{Obstacle, problem_of};
use super::reply::Reply;
use super::tool_rules;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{
    EmptyCursor, Message, NextPage, Pages, RequestId, params_on_behalf_of,
};

/// A tool of the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LocalTool {
    /// Leads a person to the sign-in.
    SignIn,
    /// Says why there is no server, where nothing but another try can change that.
    ConnectionStatus,
}

/// The local tools that the app may know, and what is under way for them. Events go in, [`LocalToolStep`]s come out.
#[derive(Debug)]
pub(super) struct LocalTools {
    /// The server's host and port.
    host: String,
    offered: HashSet<LocalTool>,
    /// Those whose names the server has itself; `None` until it has listed its tools.
    taken: Option<HashSet<LocalTool>>,
    listing: Option<NameListing>,
    /// Makes ids.
    count: u64,
}

/// Origin of the lists that the app has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListOrigin {
    /// At least one was given without the server.
    Provisional,
    /// The server.
    Server,
}

/// Something to be done for local tools.
#[derive(Debug)]
pub(super) enum LocalToolStep {
    /// Ask the server for a list by this request.
    Ask(Message),
    /// Answer a call.
    Answer(Message),
    /// Let a call go to the server.
    Release(Message),
    /// The server can be asked.
    Available,
    /// The server cannot be asked; its return is to be noticed.
    AwaitReturn,
}

/// The server is asked for its tools: to wait for it, and to learn whether it has a tool of that name.
#[derive(Debug)]
struct NameListing {
    /// The request that is under way.
    id: RequestId,
    /// The call in whose name the server is asked, if the app is a modern one.
    on_behalf_of: Option<Message>,
    pages: Pages,
    taken: HashSet<LocalTool>,
    calls: Vec<LocalToolCall>,
}

/// The end of a call of a local tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The server is there.
    Done,
    /// It is not.
    InVain,
}

/// A call that waits.
#[derive(Debug)]
struct LocalToolCall {
    request: Message,
    tool: LocalTool,
    /// True if the app may have got the server's own list since: then the call is for the server, if that
    /// has a tool of this name.
    may_be_for_server: bool,
}

impl LocalTool {
    const ALL: [Self; 2] = [Self::SignIn, Self::ConnectionStatus];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::ConnectionStatus => "connection_status",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// The text for a call after which the server is there.
    fn done(self, host: &str) -> String {
        let what = match self {
            Self::SignIn => format!("The sign-in at {host} is done."),
            Self::ConnectionStatus => format!("{host} can be reached."),
        };
        format!(
            "{what} Its tools are available now. If they do not appear in the app, a new session in the app \
             shows them."
        )
    }
}

impl LocalTools {
    pub(super) fn new(host: String) -> Self {
        Self {
            host,
            offered: HashSet::new(),
            taken: None,
            listing: None,
            count: 0,
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
        let calls = listing.calls.iter().filter_map(|it| it.request.id());
        Some((&listing.id, calls.collect()))
    }

    /// Offers the app the local tool for this obstacle. Returns it as it is listed.
    pub(super) fn offer(&mut self, obstacle: &Obstacle) -> String {
        self.offered.insert(obstacle.tool());
        obstacle.listed(&self.host).to_string()
    }

    /// A request of the app. `None` if it is no call of a local tool.
    pub(super) fn on_request(
        &mut self,
        request: &Message,
        lists: ListOrigin,
    ) -> Option<Vec<LocalToolStep>> {
        if self.offered.is_empty() || request.method() != Some("tools/call") {
            return None;
        }
        let name: String = request.param("name").unwrap_or_default();
        let tool = LocalTool::named(&name).filter(|tool| self.offered.contains(tool))?;
        let call = LocalToolCall {
            request: request.clone(),
            tool,
            may_be_for_server: lists == ListOrigin::Server,
        };
        match &self.taken {
            Some(taken) if taken.contains(&tool) => None,
            Some(_) if lists == ListOrigin::Server => {
                let answer = call.response(&tool.done(&self.host), Ending::Done);
                Some(answer.into_iter().collect())
            }
            Some(_) | None => Some(self.wait_for_server(call)),
        }
    }

    /// Lets a call of a local tool wait until the server lists its tools.
    fn wait_for_server(&mut self, call: LocalToolCall) -> Vec<LocalToolStep> {
        let is_modern = Era::of_request(&call.request) == Era::Modern;
        let on_behalf_of = is_modern.then(|| call.request.clone());
        let ask = self.ask(on_behalf_of);
        if let Some(listing) = &mut self.listing {
            listing.calls.push(call);
        }
        ask.into_iter().collect()
    }

    /// Asks the server for its tools, unless that is under way.
    pub(super) fn ask(&mut self, on_behalf_of: Option<Message>) -> Option<LocalToolStep> {
        match &self.listing {
            Some(_) => None,
            None => Some(LocalToolStep::Ask(self.begin(on_behalf_of))),
        }
    }

    /// A page of the server's tools that was asked for here, or an error in its place, and the obstacle that this
    /// tells of.
    pub(super) fn on_page(
        &mut self,
        page: &Reply,
        obstacle: Option<&Obstacle>,
        empty: EmptyCursor,
    ) -> Vec<LocalToolStep> {
        let Some(list) = page.response().filter(|page| !page.is_error()) else {
            return self.end_in_vain(page, obstacle);
        };
        if let Some(next) = self.next_page(list, empty) {
            return vec![LocalToolStep::Ask(next)];
        }
        let Some(listing) = self.listing.take() else {
            return Vec::new();
        };
        self.taken = Some(listing.taken.clone());
        let calls = listing.calls.into_iter().filter_map(|call| {
            if call.may_be_for_server && listing.taken.contains(&call.tool) {
                return Some(LocalToolStep::Release(call.request));
            }
            call.response(&call.tool.done(&self.host), Ending::Done)
        });
        calls.chain([LocalToolStep::Available]).collect()
    }

    fn end_in_vain(&mut self, error: &Reply, obstacle: Option<&Obstacle>) -> Vec<LocalToolStep> {
        let Some(listing) = self.listing.take() else {
            return Vec::new();
        };
        let text = match obstacle {
            Some(obstacle) => obstacle.unresolved(&self.host),
            None => problem_of(error),
        };
        let calls = listing.calls.into_iter();
        let answers = calls.filter_map(|call| call.response(&text, Ending::InVain));
        answers.chain([LocalToolStep::AwaitReturn]).collect()
    }

    /// A list that the app gets from the server.
    pub(super) fn on_list(&mut self, list: List, response: &Message) {
        if list == List::Tools && !self.offered.is_empty() {
            self.taken = Some(names_in(response).collect());
        }
    }

    fn next_id(&mut self) -> RequestId {
        self.count += 1;
        RequestId::from_string(&format!("mcp-bridge-names-{}", self.count))
    }

    /// Begins to ask for the server's tools. Returns the request.
    fn begin(&mut self, on_behalf_of: Option<Message>) -> Message {
        let id = self.next_id();
        let request = list_request(&id, on_behalf_of.as_ref(), None);
        self.listing = Some(NameListing {
            id,
            on_behalf_of,
            pages: Pages::default(),
            taken: HashSet::new(),
            calls: Vec::new(),
        });
        request
    }

    /// Takes a page. Returns the request for the next one; none after the last.
    fn next_page(&mut self, page: &Message, empty: EmptyCursor) -> Option<Message> {
        let id = self.next_id();
        let listing = self.listing.as_mut()?;
        listing.taken.extend(names_in(page));
        let NextPage::At(cursor) = listing.pages.after(page, empty) else {
            return None;
        };
        let request = list_request(&id, listing.on_behalf_of.as_ref(), Some(&cursor));
        listing.id = id;
        Some(request)
    }
}

impl LocalToolCall {
    /// The response to the call.
    fn response(&self, text: &str, ending: Ending) -> Option<LocalToolStep> {
        let mut result = json!({ "content": [{ "type": "text", "text": text }] });
        if ending == Ending::InVain {
            result["isError"] = true.into();
        }
        if Era::of_request(&self.request) == Era::Modern {
            result["resultType"] = "complete".into();
        }
        let id = self.request.id()?;
        Some(LocalToolStep::Answer(Message::result(
            id,
            &result.to_string(),
        )))
    }
}

/// The local tools whose names are those of tools in a list.
fn names_in(list: &Message) -> impl Iterator<Item = LocalTool> {
    let tools: Vec<&RawValue> = list.result_member("tools").unwrap_or_default();
    let names: Vec<_> = tools.into_iter().filter_map(tool_rules::name).collect();
    names.into_iter().filter_map(|name| LocalTool::named(&name))
}

/// A `tools/list` in the name of whoever made the call, if that needs a name.
fn list_request(id: &RequestId, on_behalf_of: Option<&Message>, cursor: Option<&str>) -> Message {
    let mut params = params_on_behalf_of(on_behalf_of);
    if let Some(cursor) = cursor {
        params["cursor"] = cursor.into();
    }
    Message::request(id, "tools/list", &params.to_string())
}
