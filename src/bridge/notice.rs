//! The sign-in page, shown to the person by the app: nobody sees the stderr of a process that a desktop
//! app has started.

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Input;
use super::promise::Told;
use crate::auth::{SignInPage, SignInStage};
use crate::message::{Kind, Message, RequestId};

/// The legacy app, as far as it can show a page.
#[derive(Debug)]
pub(super) struct Notices {
    /// A person at a terminal has the page on stderr.
    input: Input,
    stage: Option<watch::Receiver<SignInStage>>,
    /// Whether it can ask the person to open a page (MCP 2025-11-25, "URL Mode Elicitation").
    can_open_pages: bool,
    /// Whether it is ready for messages of the server.
    is_ready: bool,
    /// Makes ids.
    count: u64,
    asked: Option<Question>,
}

/// The question to open the page.
#[derive(Debug)]
struct Question {
    page: SignInPage,
    id: RequestId,
    elicitation_id: String,
    /// Whether the app was asked; one that cannot be has the page by other means.
    is_shown: bool,
    is_answered: bool,
}

impl Notices {
    pub(super) const fn new(input: Input, stage: Option<watch::Receiver<SignInStage>>) -> Self {
        Self {
            input,
            stage,
            can_open_pages: false,
            is_ready: false,
            count: 0,
            asked: None,
        }
    }

    /// Resolves when the sign-in has gone on.
    pub(super) async fn changed(&mut self) {
        if let Some(stage) = &mut self.stage
            && stage.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Where the sign-in stands.
    pub(super) fn stage(&self) -> SignInStage {
        let stage = self.stage.as_ref();
        stage
            .map(|stage| stage.borrow().clone())
            .unwrap_or_default()
    }

    /// Whether the app has said that it is ready for messages of the server.
    pub(super) const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The app begins.
    pub(super) fn take_initialize(&mut self, initialize: &Message) {
        let capabilities: Value = initialize.param("capabilities").unwrap_or_default();
        self.can_open_pages = capabilities["elicitation"]["url"].is_object();
        self.is_ready = false;
        self.asked = None;
    }

    /// The app is ready. Returns what to tell it.
    pub(super) fn take_initialized(&mut self, told: &Told, host: &str) -> Vec<Message> {
        self.is_ready = true;
        self.show(told, host)
    }

    /// Whether this is the app's answer to a question of ours. There is nothing to do about it: the sign-in
    /// itself tells whether the person went through with it.
    pub(super) fn takes_answer(&mut self, response: &Message) -> bool {
        let Kind::Response { id: Some(id) } = response.kind() else {
            return false;
        };
        match &mut self.asked {
            Some(question) if question.id == *id => {
                question.is_answered = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The messages that show the page, if there is one and the app does not show it yet, or that take it
    /// away.
    pub(super) fn show(&mut self, told: &Told, host: &str) -> Vec<Message> {
        if !self.is_ready || self.input == Input::Terminal {
            return Vec::new();
        }
        let SignInStage::Page(page) = self.stage() else {
            return self.withdraw();
        };
        if self.asked.as_ref().is_some_and(|asked| asked.page == page) {
            return Vec::new();
        }
        let mut messages = self.withdraw();
        let whole = match page.short() {
            Some(_) => format!(" (which leads to {})", page.url()),
            None => String::new(),
        };
        let text = format!("Sign in to {host} in your browser: {page}{whole}");
        if told.has("logging") {
            let params = json!({ "level": "warning", "logger": "mcp-bridge", "data": text });
            messages.push(Message::notification("notifications/message", &params));
        }
        self.count += 1;
        let elicitation_id = format!("mcp-bridge-sign-in-{}", self.count);
        let id = RequestId::from_string(&elicitation_id);
        let can_open_pages = self.can_open_pages && told.has_url_elicitation();
        if can_open_pages {
            let params = json!({
                "mode": "url",
                "elicitationId": elicitation_id,
                "url": page,
                "message": format!("Sign in to {host}"),
            });
            messages.push(Message::request(
                &id,
                "elicitation/create",
                &params.to_string(),
            ));
        }
        self.asked = Some(Question {
            page,
            id,
            elicitation_id,
            is_shown: can_open_pages,
            is_answered: !can_open_pages,
        });
        messages
    }

    /// The page is of no use any more.
    fn withdraw(&mut self) -> Vec<Message> {
        let Some(question) = self.asked.take().filter(|asked| asked.is_shown) else {
            return Vec::new();
        };
        let mut messages = Vec::new();
        if self.stage() == SignInStage::Done {
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
