//! Sign-in notice: the address of the sign-in page, shown by the app itself, because nobody sees the stderr of a
//! process that a desktop app has started.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Input;
use super::facts::Facts;
use super::provisional_initialize::AnnouncedServer;
use mcp_bridge_auth::{SignInPage, SignInStage};
use mcp_bridge_protocol::era::Revision;
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// An app that turns the question to open a page down within this time has not shown it to anybody.
const UNSEEN: Duration = Duration::from_secs(1);

/// State of the notice to a legacy app. Events go in, messages for the app come out.
#[derive(Debug)]
pub(super) struct SignInNotice {
    /// A person at a terminal has the page on stderr.
    input: Input,
    /// The server's host and port.
    host: String,
    /// True if the app can ask the person to open a page (MCP 2025-11-25, "URL Mode Elicitation").
    can_open_pages: bool,
    /// True if it can ask the person to fill in a form (MCP 2025-06-18, "Elicitation").
    can_show_forms: bool,
    /// True if it is ready for messages of the server.
    is_ready: bool,
    /// Makes ids.
    count: u64,
    asked: Option<PageQuestion>,
}

/// A page as the app was told of it.
#[derive(Debug)]
struct PageQuestion {
    page: SignInPage,
    id: RequestId,
    elicitation_id: String,
    mode: Mode,
    asked: Instant,
    is_answered: bool,
}

/// The way in which the app was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// To open the page.
    Url,
    /// To show a form without fields, whose message has the address.
    Form,
    /// Not at all; it has the page by other means.
    Unasked,
}

impl SignInNotice {
    pub(super) const fn new(input: Input, host: String) -> Self {
        Self {
            input,
            host,
            can_open_pages: false,
            can_show_forms: false,
            is_ready: false,
            count: 0,
            asked: None,
        }
    }

    /// Returns whether the app has said that it is ready for messages of the server.
    pub(super) const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The app begins.
    pub(super) fn on_initialize(&mut self, initialize: &Message) {
        let capabilities: Value = initialize.param("capabilities").unwrap_or_default();
        let elicitation = &capabilities["elicitation"];
        self.can_open_pages = elicitation["url"].is_object();
        // Before there were two modes, and where none is named, forms are meant.
        self.can_show_forms =
            elicitation["form"].is_object() || elicitation.is_object() && !self.can_open_pages;
        self.is_ready = false;
        self.asked = None;
    }

    /// The app is ready.
    pub(super) fn on_initialized(
        &mut self,
        announced: &AnnouncedServer,
        facts: &Facts,
    ) -> Vec<Message> {
        self.is_ready = true;
        self.on_stage(announced, facts)
    }

    /// Returns whether this is the app's answer to a question of ours.
    pub(super) fn is_answer(&self, response: &Message) -> bool {
        let asked = self.asked.as_ref().map(|question| &question.id);
        matches!(response.kind(), Kind::Response { id: Some(id) } if asked == Some(id))
    }

    /// The app has answered the question. The sign-in itself shows whether the person went through with it; but an
    /// app that has shown the page to nobody is asked to show a form, once.
    pub(super) fn on_answer(
        &mut self,
        answer: &Message,
        announced: &AnnouncedServer,
        facts: &Facts,
    ) -> Vec<Message> {
        let Some(question) = &mut self.asked else {
            return Vec::new();
        };
        question.is_answered = true;
        let is_refused = answer.is_error()
            || answer.result_member::<String>("action").as_deref() != Some("accept")
                && facts.now - question.asked < UNSEEN;
        let page = question.page.clone();
        let is_current = facts.sign_in.page() == Some(&page);
        let may_ask = question.mode == Mode::Url;
        if !(is_refused && may_ask && is_current && self.has_forms(announced)) {
            return Vec::new();
        }
        vec![self.ask(Mode::Form, page, facts)]
    }

    /// The sign-in has gone on: shows the page, if there is one and the app does not show it yet, or takes it away.
    pub(super) fn on_stage(&mut self, announced: &AnnouncedServer, facts: &Facts) -> Vec<Message> {
        if !self.is_ready || self.input == Input::Terminal {
            return Vec::new();
        }
        let SignInStage::Page(page) = &facts.sign_in else {
            return self.withdraw(facts);
        };
        if self.asked.as_ref().is_some_and(|asked| asked.page == *page) {
            return Vec::new();
        }
        let mut messages = self.withdraw(facts);
        if announced.has("logging") {
            let text = in_words(page, &self.host);
            let params = json!({ "level": "warning", "logger": "mcp-bridge", "data": text });
            messages.push(Message::notification("notifications/message", &params));
        }
        let mode = self.mode(announced);
        let question = self.ask(mode, page.clone(), facts);
        if mode != Mode::Unasked {
            messages.push(question);
        }
        messages
    }

    /// Returns whether the app can be asked to show a form in the version that it speaks.
    fn has_forms(&self, announced: &AnnouncedServer) -> bool {
        self.can_show_forms && Revision::closest_to(announced.version()) >= Revision::V2025_06_18
    }

    fn mode(&self, announced: &AnnouncedServer) -> Mode {
        if self.can_open_pages && announced.has_url_elicitation() {
            Mode::Url
        } else if self.has_forms(announced) {
            Mode::Form
        } else {
            Mode::Unasked
        }
    }

    /// The question about the page, in this mode.
    fn ask(&mut self, mode: Mode, page: SignInPage, facts: &Facts) -> Message {
        let host = &self.host;
        self.count += 1;
        let elicitation_id = format!("mcp-bridge-sign-in-{}", self.count);
        let id = RequestId::from_string(&elicitation_id);
        let params = match mode {
            Mode::Url => json!({
                "mode": "url",
                "elicitationId": elicitation_id,
                "url": page,
                "message": format!("Sign in to {host}"),
            }),
            Mode::Form | Mode::Unasked => json!({
                "message": in_words(&page, host),
                "requestedSchema": { "type": "object", "properties": {} },
            }),
        };
        let question = Message::request(&id, "elicitation/create", &params.to_string());
        self.asked = Some(PageQuestion {
            page,
            id,
            elicitation_id,
            mode,
            asked: facts.now,
            is_answered: mode == Mode::Unasked,
        });
        question
    }

    /// The page is of no use any more.
    fn withdraw(&mut self, facts: &Facts) -> Vec<Message> {
        let Some(question) = self.asked.take() else {
            return Vec::new();
        };
        let mut messages = Vec::new();
        if question.mode == Mode::Url && facts.sign_in == SignInStage::Done {
            messages.push(Message::notification(
                "notifications/elicitation/complete",
                &json!({ "elicitationId": question.elicitation_id }),
            ));
        }
        if !question.is_answered {
            let id: Value = serde_json::from_str(question.id.as_json()).unwrap_or_default();
            messages.push(Message::notification(
                "notifications/cancelled",
                &json!({ "requestId": id, "reason": "the sign-in page is closed" }),
            ));
        }
        messages
    }
}

fn in_words(page: &SignInPage, host: &str) -> String {
    let whole = match page.short() {
        Some(_) => format!(" (which leads to {})", page.url()),
        None => String::new(),
    };
    format!("Sign in to {host} in your browser: {page}{whole}")
}
