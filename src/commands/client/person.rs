//! The person who runs a command: answers requests of the server and reads what it reports.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::desk::QuestionDesk;
use super::notes::Notes;
use super::questions::{self, PersonReply};
use super::request::Capabilities;
use super::terminal::Terminal;
use crate::commands::text::first_line;
use mcp_bridge_protocol::codes::{INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND};
use mcp_bridge_protocol::message::{Message, RequestId};

/// The client's side of the protocol.
#[derive(Debug)]
pub(super) enum Person {
    /// Reads stderr, and answers questions on the terminal where there is one.
    Present {
        /// Absent where nobody can be asked.
        terminal: Option<Arc<Terminal>>,
        notes: Arc<Notes>,
    },
    /// Sits at a page, which shows what the server reports, and answers there.
    AtPage(Arc<QuestionDesk>),
    /// Hears nothing and answers nothing.
    Absent,
}

impl Person {
    /// The client capabilities that go with it.
    pub(super) const fn capabilities(&self) -> Capabilities {
        match self {
            Self::Present { .. } => Capabilities::Elicitation,
            Self::AtPage(_) => Capabilities::All,
            Self::Absent => Capabilities::None,
        }
    }

    /// The response to a request of the server.
    pub(super) async fn answer(&self, request: &Message) -> Message {
        if let Self::AtPage(desk) = self {
            return desk.answer(request).await;
        }
        let Some(id) = request.id() else {
            return Message::error(None, INTERNAL_ERROR, "not a request", None);
        };
        match (request.method(), self) {
            (Some("ping"), _) => Message::result(id, "{}"),
            (Some("roots/list"), _) => Message::result(id, r#"{"roots":[]}"#),
            (Some("elicitation/create"), Self::Present { terminal, notes }) => {
                match elicit(request, terminal.as_deref(), notes).await {
                    Some(reply) => Message::result(id, &reply.to_json()),
                    None => Message::error(Some(id), INVALID_PARAMS, "no message", None),
                }
            }
            _ => Message::error(Some(id), METHOD_NOT_FOUND, "Method not found", None),
        }
    }

    /// The response to a request for which there is no room.
    pub(super) fn overloaded(id: &RequestId) -> Message {
        Message::error(Some(id), INTERNAL_ERROR, "too many requests at once", None)
    }

    /// Shows a `notifications/progress`.
    pub(super) fn show_progress(&self, progress: &Message) {
        let Self::Present { notes, .. } = self else {
            return;
        };
        if let Some(line) = progress_line(progress) {
            notes.progress(line);
        }
    }

    /// Shows a `notifications/message`.
    pub(super) fn show_log_entry(&self, entry: &Message) {
        if let Self::Present { notes, .. } = self {
            notes.server_says(&log_line(entry));
        }
    }

    /// Takes the line of progress away.
    pub(super) fn clear_progress(&self) {
        if let Self::Present { notes, .. } = self {
            notes.clear();
        }
    }
}

/// Asks the person; `None` if the request has no message to show.
async fn elicit(
    request: &Message,
    terminal: Option<&Terminal>,
    notes: &Notes,
) -> Option<PersonReply> {
    let message = request.param::<String>("message")?;
    notes.clear();
    let Some(terminal) = terminal else {
        let text = "declined: there is no terminal to answer on";
        notes.say(&format!("the server asks: {message}\n{text}"));
        return Some(PersonReply::Decline);
    };
    let mode = request.param::<String>("mode");
    match mode.as_deref().unwrap_or("form") {
        "form" => {
            let schema = request.param::<&RawValue>("requestedSchema");
            let schema = schema.map_or("{}", RawValue::get);
            Some(questions::form(terminal, &message, schema).await)
        }
        "url" => {
            let url = request.param::<String>("url")?;
            Some(questions::page(terminal, &message, &url).await)
        }
        _ => Some(PersonReply::Decline),
    }
}

/// A line about progress; `None` if it has no number.
fn progress_line(progress: &Message) -> Option<String> {
    let done = progress.param::<f64>("progress")?;
    let done = match progress.param::<f64>("total") {
        Some(total) if total > 0.0 => format!("{:.0} %", done / total * 100.0),
        Some(_) | None => done.to_string(),
    };
    let message = progress.param::<String>("message").unwrap_or_default();
    let message = first_line(&message, None);
    Some(format!("{done:>5}  {message}").trim_end().to_owned())
}

/// A line about an entry of the server's log. What is no text is shown as the JSON that it is.
fn log_line(entry: &Message) -> String {
    let level = entry.param::<String>("level");
    let level = level.unwrap_or_else(|| "log".to_owned());
    let logger = entry.param::<String>("logger");
    let logger = logger.map(|name| format!(" ({name})")).unwrap_or_default();
    let text = entry.param::<String>("data").or_else(|| {
        let data = entry.param::<&RawValue>("data")?;
        // Line ends in JSON stand between tokens and nowhere else.
        Some(data.get().replace(['\r', '\n'], " "))
    });
    format!("{level}{logger}: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn notification(method: &str, params: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        Message::parse(&text.into()).unwrap()
    }

    #[test]
    fn progress_is_shown_as_a_share_or_as_a_number() {
        for (params, expected) in [
            (
                r#"{"progress":1,"total":4,"message":"grinding"}"#,
                Some(" 25 %  grinding"),
            ),
            (r#"{"progress":7.5,"message":"a\nb"}"#, Some("  7.5  a")),
            (r#"{"progress":3,"total":0}"#, Some("    3")),
            (r#"{"progress":3,"total":null}"#, Some("    3")),
            (r#"{"message":"no number"}"#, None),
        ] {
            let line = progress_line(&notification("notifications/progress", params));
            assert_eq!(line.as_deref(), expected, "{params}");
        }
    }

    #[test]
    fn data_of_a_log_entry_keeps_its_spelling() {
        for (params, expected) in [
            (r#"{"level":"info","data":"text"}"#, "info: text"),
            (
                r#"{"level":"fatal","logger":"x","data":{"b": 1.0,"a":1e400}}"#,
                r#"fatal (x): {"b": 1.0,"a":1e400}"#,
            ),
            ("{\"data\":[1,\n2]}", "log: [1, 2]"),
            ("{}", "log: "),
        ] {
            assert_eq!(
                log_line(&notification("notifications/message", params)),
                expected
            );
        }
    }

    #[tokio::test]
    async fn requests_that_need_nobody_are_answered_and_the_others_refused() {
        let present = Person::Present {
            terminal: None,
            notes: Arc::default(),
        };
        for (person, method, expected) in [
            (&present, "ping", json!({"result": {}})),
            (&present, "roots/list", json!({"result": {"roots": []}})),
            (
                &present,
                "elicitation/create",
                json!({"result": {"action": "decline"}}),
            ),
            (
                &present,
                "sampling/createMessage",
                json!({"error": {"code": METHOD_NOT_FOUND, "message": "Method not found"}}),
            ),
            (&Person::Absent, "ping", json!({"result": {}})),
            (
                &Person::Absent,
                "elicitation/create",
                json!({"error": {"code": METHOD_NOT_FOUND, "message": "Method not found"}}),
            ),
        ] {
            let id = RequestId::from_string("q");
            let request = Message::request(&id, method, r#"{"message":"Well?"}"#);
            let answer = person.answer(&request).await;
            let mut answer: Value = serde_json::from_slice(answer.text()).unwrap();
            assert_eq!(answer["id"], "q");
            answer
                .as_object_mut()
                .unwrap()
                .retain(|name, _| name == "result" || name == "error");
            assert_eq!(answer, expected, "{method}");
        }
    }
}
