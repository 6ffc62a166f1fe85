//! Answers to list requests on their way to the app: pages are collected by `list_pages`, then tools are
//! hidden by `tools`.

use serde_json::json;

use super::action::Timer;
use super::lanes::LegacyLane;
use super::list_pages::{CollectionId, List, Step};
use super::router::{Asked, Origin, Router};
use mcp_bridge_protocol::codes::METHOD_NOT_FOUND;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{EmptyCursor, Message, RequestId, next_cursor};

impl Router {
    /// Takes the response to a list request of our own, as the server gave it. False for one of the app.
    pub(super) fn take_own_list(&mut self, asked: &Asked, response: &Message) -> bool {
        let Some(id) = response.id() else {
            return false;
        };
        let empty = self.empty_cursor(asked.era);
        if self.list_pages.is_own(id) {
            let steps = self.list_pages.on_page(response, empty);
            self.take_list_steps(steps);
            return true;
        }
        if self.local_tools.is_own(id) {
            self.take_names(response, empty);
            return true;
        }
        if self.tools.as_ref().is_some_and(|tools| tools.is_own(id)) {
            self.take_listing(response, empty);
            return true;
        }
        false
    }

    /// Takes the response to a list request of the app.
    pub(super) fn answer_list(&mut self, list: List, mut asked: Asked, response: Message) {
        let Some(request) = asked.list.take() else {
            return self.hand_out_list(list, &asked, response);
        };
        let empty = self.empty_cursor(asked.era);
        let steps = self
            .list_pages
            .on_first_page(list, &request, &response, empty);
        // The steps take it out again when they answer it.
        if let Some(id) = response.id() {
            self.unanswered.insert(id.clone(), asked);
        }
        self.take_list_steps(steps);
    }

    /// The app has given up its request `id`, which may wait for pages.
    pub(super) fn cancel_list_pages(&mut self, id: &RequestId) -> bool {
        let asked = self.list_pages.on_cancelled(id);
        if let Some(asked) = &asked {
            self.cancel_own(asked);
        }
        asked.is_some()
    }

    pub(super) fn take_list_timer(&mut self, id: CollectionId) {
        let steps = self.list_pages.on_timer(id);
        self.take_list_steps(steps);
    }

    /// No more pages will come: the app gets those that are there.
    pub(super) fn end_list_pages(&mut self) {
        let steps = self.list_pages.on_end();
        self.take_list_steps(steps);
    }

    /// What an empty `nextCursor` means to the server that answers a request of this era.
    pub(super) fn empty_cursor(&self, era: Era) -> EmptyCursor {
        let is_modern = match era {
            Era::Legacy => matches!(self.legacy, LegacyLane::Upgraded(_)),
            Era::Modern => self.downgraded.is_empty(),
        };
        if is_modern {
            EmptyCursor::Continues
        } else {
            EmptyCursor::Ends
        }
    }

    /// Sends the server a list request of our own as if the app had, so that it comes through whatever
    /// stands between the eras.
    pub(super) fn ask_for_list(&mut self, request: Message) {
        let (Some(id), Some(method)) = (request.id(), request.method()) else {
            return;
        };
        let asked = Asked {
            method: method.to_owned(),
            era: Era::of_request(&request),
            origin: Origin::Bridge,
            is_from_start: false,
            list: None,
        };
        self.unanswered.insert(id.clone(), asked);
        self.dispatch(request);
    }

    fn take_list_steps(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Answer(list, response) => {
                    let asked = response.id().and_then(|id| self.unanswered.remove(id));
                    if let Some(asked) = asked {
                        self.hand_out_list(list, &asked, response);
                    }
                }
                Step::Ask(request) => self.ask_for_list(request),
                Step::SetTimer(wait, id) => self.out.after(wait, Timer::ListPages(id)),
                Step::Cancel(id) => self.cancel_own(&id),
            }
        }
    }

    /// An empty list for a modern app in place of the error of a server that does not have the list, if the
    /// app was told that it may.
    pub(super) fn missing_list(&self, list: List, response: &Message) -> Option<Message> {
        let (code, _) = response.error_text()?;
        let is_promised = code == METHOD_NOT_FOUND && self.out.facts().is_presumed;
        let id = response.id().filter(|_| is_promised)?;
        Some(Message::result(id, &list.empty_result(Era::Modern)))
    }

    /// Gives the app a list of the server, which is remembered if it is whole.
    fn hand_out_list(&mut self, list: List, asked: &Asked, response: Message) {
        let empty = self.empty_cursor(asked.era);
        if asked.is_from_start && !response.is_error() && next_cursor(&response, empty).is_none() {
            self.on_live_list(list, asked.era, &response);
        }
        self.deliver_list(list, response);
    }

    fn deliver_list(&mut self, list: List, response: Message) {
        match list {
            List::Tools if self.tools.is_some() => self.take_tools(response),
            List::Tools | List::Prompts | List::Resources | List::ResourceTemplates => {
                self.write_response(response);
            }
        }
    }

    /// Cancels a request of our own as the app would.
    fn cancel_own(&mut self, id: &RequestId) {
        let id: serde_json::Value = serde_json::from_str(id.as_json()).unwrap_or_default();
        let params = json!({ "requestId": id, "reason": "nobody waits for it" });
        self.take_cancellation(&Message::notification("notifications/cancelled", &params));
    }
}
