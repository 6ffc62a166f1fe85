//! List requests and lists: merged pages, hidden tools and local tools.

use super::legacy::LegacyLane;
use super::replies::cancellation;
use super::{Asked, RequestOrigin, Router};
use crate::bridge::action::{Action, Timer};
use crate::bridge::list::List;
use crate::bridge::list_pages::PageStep;
use crate::bridge::local_tool::{ListOrigin, LocalToolStep};
use crate::bridge::reply::Reply;
use crate::bridge::tool_filter::{CallVerdict, FilterStep};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{EmptyCursor, Message, RequestId, next_cursor};

impl Router {
    /// Returns whether a request of the app is a call of a local tool, and is dealt with here.
    pub(super) fn is_local_call(&mut self, request: &Message) -> bool {
        let origin = if self.provisional.has_given() {
            ListOrigin::Provisional
        } else {
            ListOrigin::Server
        };
        let steps = self.local_tools.on_request(request, origin);
        let is_taken = steps.is_some();
        self.follow_local_steps(steps.unwrap_or_default());
        is_taken
    }

    pub(super) fn follow_local_steps(&mut self, steps: Vec<LocalToolStep>) {
        for step in steps {
            match step {
                LocalToolStep::Ask(request) => self.ask_for_list(request),
                LocalToolStep::Answer(response) => {
                    // It may have been cancelled while it waited.
                    let asked = response.id().and_then(|id| self.unanswered.remove(id));
                    if asked.is_some() {
                        self.write_apart(response.into());
                    }
                }
                LocalToolStep::Release(call) => {
                    let is_awaited = call.id().is_some_and(|id| self.unanswered.contains_key(id));
                    if is_awaited && !self.is_held_by_tool_filter(&call) {
                        let era = Era::of_request(&call);
                        self.dispatch(call, era);
                    }
                }
                LocalToolStep::Available => self.on_server_available(),
                LocalToolStep::AwaitReturn => self.await_return(),
            }
        }
    }

    /// Returns whether a request of the app is dealt with by the tool filter, and goes no further for now.
    pub(super) fn is_held_by_tool_filter(&mut self, request: &Message) -> bool {
        let Some(tools) = &mut self.hidden_tools else {
            return false;
        };
        match tools.on_request(request) {
            CallVerdict::Passes => return false,
            CallVerdict::Refused(response) => self.answer(response),
            CallVerdict::Waits(list) => {
                if let Some(list) = list {
                    self.ask_for_list(list);
                }
            }
        }
        true
    }

    /// Sends the server a list request of our own as if the app had, so that it comes through whatever
    /// stands between the eras.
    pub(super) fn ask_for_list(&mut self, request: Message) {
        let (Some(id), Some(method)) = (request.id(), request.method()) else {
            return;
        };
        let era = Era::of_request(&request);
        let asked = Asked {
            method: method.to_owned(),
            era,
            origin: RequestOrigin::Bridge,
            is_from_start: false,
            list: None,
        };
        self.unanswered.insert(id.clone(), asked);
        self.dispatch(request, era);
    }

    /// Cancels a request of our own as the app would.
    pub(super) fn cancel_own(&mut self, id: &RequestId) {
        let notification = cancellation(id, "nobody waits for it");
        self.on_cancelled(&notification);
    }

    /// Takes the reply to a list request of our own, as the server gave it. False for one of the app.
    pub(super) fn on_own_list(&mut self, asked: &Asked, reply: &Reply) -> bool {
        let Some(id) = reply.id() else {
            return false;
        };
        let empty = self.empty_cursor(asked.era);
        if self.list_pages.is_own(id) {
            let steps = match reply {
                Reply::Response(page) => self.list_pages.on_page(page, empty),
                Reply::Failed(_) => self.list_pages.on_page_failed(id),
            };
            self.follow_page_steps(steps);
            return true;
        }
        if self.local_tools.is_own(id) {
            let obstacle = reply
                .is_error()
                .then(|| self.obstacle_of_lists(Some(reply)));
            let obstacle = obstacle.flatten();
            let steps = self.local_tools.on_page(reply, obstacle.as_ref(), empty);
            self.follow_local_steps(steps);
            return true;
        }
        match &mut self.hidden_tools {
            Some(tools) if tools.is_own(id) => {
                let steps = tools.on_page(reply, empty);
                self.follow_filter_steps(steps);
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn follow_filter_steps(&mut self, steps: Vec<FilterStep>) {
        for step in steps {
            match step {
                FilterStep::Ask(request) => self.ask_for_list(request),
                FilterStep::Answer(reply) => self.answer(reply),
                // It may have been cancelled while it waited.
                FilterStep::Release(call) => {
                    if call.id().is_some_and(|id| self.unanswered.contains_key(id)) {
                        let era = Era::of_request(&call);
                        self.dispatch(call, era);
                    }
                }
            }
        }
    }

    /// The response to a list request of the app.
    pub(super) fn on_list(&mut self, list: List, mut asked: Asked, response: Message) {
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
        self.follow_page_steps(steps);
    }

    pub(super) fn follow_page_steps(&mut self, steps: Vec<PageStep>) {
        for step in steps {
            match step {
                PageStep::Answer(list, response) => {
                    let asked = response.id().and_then(|id| self.unanswered.remove(id));
                    if let Some(asked) = asked {
                        self.hand_out_list(list, &asked, response);
                    }
                }
                PageStep::Ask(request) => self.ask_for_list(request),
                PageStep::SetTimer(wait, id) => self.out.after(wait, Timer::ListPages(id)),
                PageStep::Cancel(id) => self.cancel_own(&id),
            }
        }
    }

    /// Gives the app a list of the server, which is remembered if it is whole.
    pub(super) fn hand_out_list(&mut self, list: List, asked: &Asked, response: Message) {
        let empty = self.empty_cursor(asked.era);
        if asked.is_from_start && !response.is_error() && next_cursor(&response, empty).is_none() {
            self.on_live_list(list, asked.era, &response);
        }
        let response = match &mut self.hidden_tools {
            Some(tools) if list == List::Tools => tools.on_list(&response),
            Some(_) | None => response,
        };
        self.write_apart(response.into());
    }

    /// A list that the server has given the app, before tools are hidden in it.
    pub(super) fn on_live_list(&mut self, list: List, era: Era, response: &Message) {
        self.local_tools.on_list(list, response);
        if self.out.facts().sign_in.page().is_none() && self.waiting_lists().is_empty() {
            self.on_server_available();
        }
        let form = self.form(era);
        if self.provisional.on_live_list(list, form, response) {
            let response = response.clone();
            self.out.push(Action::KeepList(list, form, response));
        }
    }

    /// Meaning of an empty `nextCursor` to the server that answers a request of this era.
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
}
