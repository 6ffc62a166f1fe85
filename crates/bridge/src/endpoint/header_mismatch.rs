//! Recovery from `HeaderMismatch` (MCP 2026-07-28): the tools are listed, and the request is
//! sent once more with the headers that their schemas ask for.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::request_progress::Track;
use super::retry::{Cause, Repeat, Retries};
use super::send::SessionUse;
use super::{Endpoint, Failure, ParamHeaders, Request};
use mcp_bridge_auth::Interaction;
use mcp_bridge_net::boxed::boxed;
use mcp_bridge_protocol::codes::HEADER_MISMATCH;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{EmptyCursor, Message, NextPage, Pages, params_on_behalf_of};

/// Limit for the time in which the tools are listed.
const LIST_LIMIT: Duration = Duration::from_secs(30);

/// Bytes that the pages of such a list may have together.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;

/// The last list that was read after a refusal. All calls that were refused before it was there share it.
#[derive(Debug)]
pub(super) struct Listed {
    at: Instant,
    worked: bool,
}

impl Listed {
    fn now(worked: bool) -> Self {
        let at = Instant::now();
        Self { at, worked }
    }
}

impl Endpoint {
    /// Sends a request in the session and reads on until its response is there, a second time if it was
    /// refused for headers that the server did not tell before.
    pub(super) async fn converse_in_session(
        self: &Arc<Self>,
        request: &Request,
        track: &Track,
    ) -> Result<Message, Failure> {
        let method = request.method();
        let mut retries = Retries::new(Repeat::of_request(method));
        let outcome = loop {
            let known = self.tool_headers.changes();
            let outcome = self.converse(request, SessionUse::Current, track).await;
            let may_repeat =
                self.is_legacy_mismatch(&outcome) && retries.allow(Cause::HeadersRefused);
            if !may_repeat || !boxed(|| self.relearn_legacy(method, known, track)).await {
                break outcome;
            }
        };
        if method == "tools/list"
            && let Ok(list) = &outcome
        {
            self.tool_headers.learn_legacy(list);
        }
        outcome
    }

    /// Learns which headers a call of the modern era has to have, after a refusal. `known` is what
    /// [`changes`](super::tool_headers::ToolHeaders::changes) said before it was sent. Says whether another
    /// try is worth while.
    pub(super) async fn relearn_modern(
        self: &Arc<Self>,
        request: &Request,
        known: u64,
        track: &Track,
    ) -> bool {
        let asked = Instant::now();
        let mut last = self.relearning.lock().await;
        // A call that was refused at the same time may have listed the tools already.
        if self.tool_headers.changes() != known {
            return true;
        }
        if let Some(listed) = &*last
            && listed.at >= asked
        {
            return listed.worked;
        }
        let params = params_on_behalf_of(Some(request.message()));
        let worked = self.list_tools(Era::Modern, params, track).await;
        *last = Some(Listed::now(worked));
        worked
    }

    /// The same in the legacy era, for any request: to name what it is about may be all that was missing.
    async fn relearn_legacy(self: &Arc<Self>, method: &str, known: u64, track: &Track) -> bool {
        let asked = Instant::now();
        let mut last = self.relearning.lock().await;
        let is_news = self.tool_headers.changes() != known;
        self.tool_headers.record_refusal();
        let is_listed = last.as_ref().is_some_and(|listed| listed.at >= asked);
        if method == "tools/call" && !is_news && !is_listed {
            let params = params_on_behalf_of(None);
            let worked = self.list_tools(Era::Legacy, params, track).await;
            *last = Some(Listed::now(worked));
        }
        self.tool_headers.changes() != known
    }

    /// Returns whether a request was refused for its headers. In the legacy era the code may mean anything, so either
    /// the status 400 or the word "header" in the error has to say that nothing was done.
    fn is_legacy_mismatch(&self, outcome: &Result<Message, Failure>) -> bool {
        if !is_header_mismatch(outcome) {
            return false;
        }
        let has_headers =
            self.config.param_headers != ParamHeaders::Off && self.http_sse().is_none();
        has_headers
            && match outcome {
                Ok(answer) => speaks_of_headers(answer),
                Err(Failure::Status { status, .. }) => *status == StatusCode::BAD_REQUEST,
                Err(_) => false,
            }
    }

    /// Lists the tools for ourselves, within limits. Says whether that worked.
    async fn list_tools(self: &Arc<Self>, era: Era, params: Value, track: &Track) -> bool {
        let listed = timeout(LIST_LIMIT, self.read_tools(era, params, track)).await;
        listed.unwrap_or(false)
    }

    async fn read_tools(self: &Arc<Self>, era: Era, mut params: Value, track: &Track) -> bool {
        let mut pages = Pages::default();
        let mut bytes = 0;
        loop {
            let list = Request::of_ours(self.next_id(), "tools/list", &params.to_string(), era);
            let (page, empty) = match era {
                Era::Modern => {
                    let page = self.attempt_modern(&list, Interaction::Allowed, track);
                    (page.await, EmptyCursor::Continues)
                }
                Era::Legacy => {
                    let page = self.converse(&list, SessionUse::Current, track);
                    (page.await, EmptyCursor::Ends)
                }
            };
            let Ok(page) = page else {
                return false;
            };
            match era {
                Era::Modern => _ = self.tool_headers.learn(&page),
                Era::Legacy => self.tool_headers.learn_legacy(&page),
            }
            bytes += page.text().len();
            match pages.after(&page, empty) {
                NextPage::At(cursor) if bytes <= MAX_LIST_BYTES => params["cursor"] = cursor.into(),
                NextPage::At(_) | NextPage::TooMany => return true,
                NextPage::None => return !page.is_error(),
            }
        }
    }
}

/// Returns whether what came of a request says that its headers are wrong.
pub(super) fn is_header_mismatch(outcome: &Result<Message, Failure>) -> bool {
    let error = match outcome {
        Ok(answer) => Some(answer),
        Err(Failure::Status { error, .. }) => error.as_deref(),
        Err(_) => None,
    };
    error.is_some_and(is_mismatch)
}

/// Returns whether an error says that the headers of the request are wrong.
pub(super) fn is_mismatch(error: &Message) -> bool {
    error
        .error_text()
        .is_some_and(|(code, _)| code == HEADER_MISMATCH)
}

fn speaks_of_headers(error: &Message) -> bool {
    let error = error.error_json().unwrap_or_default().to_ascii_lowercase();
    error.contains("header") || error.contains("mcp-")
}
