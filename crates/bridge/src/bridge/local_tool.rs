//! Tools of the bridge itself, which stand in for those of a server that cannot list its own yet. Their
//! description and result say what is missing, and a call waits for it.
//!
//! They are listed only where nothing is known of the server's own tools, and are gone with its first list.

use std::collections::HashSet;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::list_pages::List;
use super::router::Router;
use super::tool_filter;
use mcp_bridge_auth::SignInPage;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{
    EmptyCursor, Message, NextPage, Pages, RequestId, member, params_on_behalf_of,
};

/// A tool of the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LocalTool {
    /// Leads a person to the sign-in.
    SignIn,
    /// Says why there is no server, where nothing but another try can change that.
    ConnectionStatus,
}

/// Reason why a server cannot list its tools, where a person can do something about it.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// A person has to sign in: on this page, after this problem with the last attempt.
    SignIn {
        page: Option<SignInPage>,
        problem: Option<String>,
    },
    /// The server or the way to it is not as it has to be.
    Problem(String),
}

/// The local tools that the app may know, and what is under way for them.
#[derive(Debug, Default)]
pub(super) struct LocalTools {
    offered: HashSet<LocalTool>,
    /// Those whose names the server has itself; `None` until it has listed its tools.
    taken: Option<HashSet<LocalTool>>,
    listing: Option<Listing>,
    /// Makes ids.
    count: u64,
}

/// The server is asked for its tools: to wait for it, and to learn whether it has a tool of that name.
#[derive(Debug)]
struct Listing {
    /// The request that is under way.
    id: RequestId,
    /// The call in whose name the server is asked, if the app is a modern one.
    on_behalf_of: Option<Message>,
    pages: Pages,
    taken: HashSet<LocalTool>,
    calls: Vec<Call>,
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
struct Call {
    request: Message,
    tool: LocalTool,
    /// True if the app may have got the server's own list since: then the call is for the server, if that
    /// has a tool of this name.
    may_be_for_server: bool,
}

impl LocalTool {
    const ALL: [Self; 2] = [Self::SignIn, Self::ConnectionStatus];

    const fn name(self) -> &'static str {
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

impl Obstacle {
    const fn tool(&self) -> LocalTool {
        match self {
            Self::SignIn { .. } => LocalTool::SignIn,
            Self::Problem(_) => LocalTool::ConnectionStatus,
        }
    }

    /// The obstacle that an error in place of an answer tells of; `None` where that passes without a person.
    fn of_error(error: &Message) -> Option<Self> {
        let data = data_of(error);
        let problem = problem_in(error, &data);
        match data["kind"].as_str().unwrap_or_default() {
            "refused" | "unreachable" | "dns" | "timeout" | "connection_lost" | "session_lost"
            | "no_session" | "shutting_down" => None,
            // A sign-in would change nothing about these.
            "auth_command_failed" | "auth_configuration" | "auth_forbidden" => {
                Some(Self::Problem(problem))
            }
            kind if kind.starts_with("auth_") => Some(Self::SignIn {
                page: None,
                problem: Some(problem),
            }),
            _ => Some(Self::Problem(problem)),
        }
    }

    /// The tool as it is listed.
    fn listed(&self, host: &str) -> Value {
        let description = match self {
            Self::SignIn {
                page: Some(page), ..
            } => format!(
                "{host} wants a sign-in before its tools can be used. Ask the user to open this address \
                 in a browser on this machine: {page} . A call of this tool waits until the user has \
                 signed in."
            ),
            Self::SignIn {
                problem: Some(problem),
                ..
            } => format!(
                "{host} wants a sign-in before its tools can be used. The last attempt has failed: \
                 {problem}. A call of this tool begins another one and waits for it."
            ),
            Self::SignIn { .. } => format!(
                "{host} wants a sign-in before its tools can be used. A call of this tool waits until the \
                 user has signed in."
            ),
            Self::Problem(problem) => format!(
                "The tools of {host} are not available: {problem}. Tell the user. A call of this tool \
                 tries again."
            ),
        };
        let schema = json!({ "type": "object", "properties": {} });
        json!({ "name": self.tool().name(), "description": description, "inputSchema": schema })
    }

    /// The text for a call that has waited in vain.
    fn unresolved(&self, host: &str) -> String {
        match self {
            Self::SignIn {
                page: Some(page), ..
            } => format!(
                "Nobody has signed in to {host} yet. Ask the user to open this address in a browser on \
                 this machine, and call this tool again: {page}"
            ),
            Self::SignIn {
                problem: Some(problem),
                ..
            }
            | Self::Problem(problem) => problem.clone(),
            Self::SignIn { .. } => format!("Nobody has signed in to {host} yet."),
        }
    }
}

impl LocalTools {
    /// Returns whether a request is one of our own, of which the app knows nothing.
    pub(super) fn is_own(&self, id: &RequestId) -> bool {
        let listing = self.listing.as_ref();
        listing.is_some_and(|listing| listing.id == *id)
    }

    /// The list that was asked for, and the calls that wait for it.
    pub(super) fn waiting_calls(&self) -> Option<(&RequestId, Vec<&RequestId>)> {
        let listing = self.listing.as_ref()?;
        let calls = listing.calls.iter().filter_map(|call| call.request.id());
        Some((&listing.id, calls.collect()))
    }

    fn next_id(&mut self) -> RequestId {
        self.count += 1;
        RequestId::from_string(&format!("mcp-bridge-names-{}", self.count))
    }

    /// Begins to ask for the server's tools. Returns the request.
    fn begin(&mut self, on_behalf_of: Option<Message>) -> Message {
        let id = self.next_id();
        let request = list_request(&id, on_behalf_of.as_ref(), None);
        self.listing = Some(Listing {
            id,
            on_behalf_of,
            pages: Pages::default(),
            taken: HashSet::new(),
            calls: Vec::new(),
        });
        request
    }

    /// Takes a page. Returns the request for the next one; none after the last.
    fn on_page(&mut self, page: &Message, empty: EmptyCursor) -> Option<Message> {
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

impl Router {
    /// Reason why the server does not list its tools, by `error` or by what is waited for. `None` where only the
    /// server can change that.
    pub(super) fn obstacle_of_lists(&self, error: Option<&Message>) -> Option<Obstacle> {
        let page = self.pending_page();
        if page.is_some() {
            return Some(Obstacle::SignIn {
                page,
                problem: None,
            });
        }
        if let Some(error) = error {
            return Obstacle::of_error(error);
        }
        let last = self
            .last_opening_error()
            .as_ref()
            .and_then(Obstacle::of_error);
        if let Some(obstacle @ Obstacle::SignIn { .. }) = last {
            return Some(obstacle);
        }
        let is_signing_in = self.exchanges.is_any_signing_in();
        is_signing_in.then_some(Obstacle::SignIn {
            page: None,
            problem: None,
        })
    }

    /// Offers the app the local tool for this obstacle. Returns it as it is listed.
    pub(super) fn offer_local_tool(&mut self, obstacle: &Obstacle) -> String {
        self.local_tools.offered.insert(obstacle.tool());
        obstacle.listed(&self.host()).to_string()
    }

    /// Returns whether a request of the app is a call of a local tool, and is dealt with here.
    pub(super) fn local_tools_take(&mut self, request: &Message) -> bool {
        if self.local_tools.offered.is_empty() || request.method() != Some("tools/call") {
            return false;
        }
        let name: String = request.param("name").unwrap_or_default();
        let offered = &self.local_tools.offered;
        let Some(tool) = LocalTool::named(&name).filter(|tool| offered.contains(tool)) else {
            return false;
        };
        match &self.local_tools.taken {
            Some(taken) if taken.contains(&tool) => return false,
            Some(_) if !self.provisional.has_given() => {
                self.answer_local_call(request, &tool.done(&self.host()), Ending::Done);
            }
            Some(_) | None => self.wait_for_server(request, tool),
        }
        true
    }

    /// Lets a call of a local tool wait until the server lists its tools.
    fn wait_for_server(&mut self, request: &Message, tool: LocalTool) {
        let call = Call {
            request: request.clone(),
            tool,
            may_be_for_server: !self.provisional.has_given(),
        };
        let is_modern = Era::of_request(request) == Era::Modern;
        let list = match &self.local_tools.listing {
            Some(_) => None,
            None => Some(self.local_tools.begin(is_modern.then(|| request.clone()))),
        };
        if let Some(listing) = &mut self.local_tools.listing {
            listing.calls.push(call);
        }
        if let Some(list) = list {
            self.ask_for_list(list);
        }
    }

    /// Asks the server for its tools, so that its return is noticed.
    pub(super) fn ask_for_names(&mut self) {
        if self.local_tools.listing.is_none() {
            let list = self.local_tools.begin(None);
            self.ask_for_list(list);
        }
    }

    /// Takes a page of the server's tools that was asked for here.
    pub(super) fn take_names(&mut self, page: &Message, empty: EmptyCursor) {
        if page.is_error() {
            return self.end_listing_in_vain(page);
        }
        if let Some(next) = self.local_tools.on_page(page, empty) {
            return self.ask_for_list(next);
        }
        let Some(listing) = self.local_tools.listing.take() else {
            return;
        };
        self.local_tools.taken = Some(listing.taken.clone());
        for call in listing.calls {
            if !(call.may_be_for_server && listing.taken.contains(&call.tool)) {
                let text = call.tool.done(&self.host());
                self.answer_local_call(&call.request, &text, Ending::Done);
                continue;
            }
            let is_awaited = |id| self.unanswered.contains_key(id);
            if call.request.id().is_some_and(is_awaited) && !self.tools_take(&call.request) {
                self.dispatch(call.request);
            }
        }
        self.on_server_available();
    }

    fn end_listing_in_vain(&mut self, error: &Message) {
        let Some(listing) = self.local_tools.listing.take() else {
            return;
        };
        let host = self.host();
        let obstacle = self.obstacle_of_lists(Some(error));
        let text = obstacle.map_or_else(
            || problem_in(error, &data_of(error)),
            |obstacle| obstacle.unresolved(&host),
        );
        for call in listing.calls {
            self.answer_local_call(&call.request, &text, Ending::InVain);
        }
        self.await_return();
    }

    fn answer_local_call(&mut self, request: &Message, text: &str, ending: Ending) {
        let Some(id) = request.id() else {
            return;
        };
        // It may have been cancelled while it waited.
        let Some(asked) = self.unanswered.remove(id) else {
            return;
        };
        let mut result = json!({ "content": [{ "type": "text", "text": text }] });
        if ending == Ending::InVain {
            result["isError"] = true.into();
        }
        if asked.era == Era::Modern {
            result["resultType"] = "complete".into();
        }
        self.write_response(Message::result(id, &result.to_string()));
    }

    /// Takes the names in a list of tools that the app gets from the server.
    pub(super) fn learn_names(&mut self, list: List, response: &Message) {
        if list == List::Tools && !self.local_tools.offered.is_empty() {
            self.local_tools.taken = Some(names_in(response).collect());
        }
    }
}

/// The local tools whose names are those of tools in a list.
fn names_in(list: &Message) -> impl Iterator<Item = LocalTool> {
    let tools: Vec<&RawValue> = list.result_member("tools").unwrap_or_default();
    let names: Vec<_> = tools.into_iter().filter_map(tool_filter::name).collect();
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

/// The reason and the hint of an error of the bridge's own, or the text of another one.
fn problem_in(error: &Message, data: &Value) -> String {
    match (data["reason"].as_str(), data["hint"].as_str()) {
        (Some(reason), Some(hint)) => format!("{reason} ({hint})"),
        _ => error.error_text().map(|(_, text)| text).unwrap_or_default(),
    }
}

/// The `data` of an error.
fn data_of(error: &Message) -> Value {
    let data = error.error_json().and_then(|error| member(error, "data"));
    data.unwrap_or_default()
}
