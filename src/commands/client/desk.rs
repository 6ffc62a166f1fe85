//! Requests of the server that wait for a person at a page, who answers them by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_protocol::codes::{INTERNAL_ERROR, METHOD_NOT_FOUND};
use mcp_bridge_protocol::message::Message;

/// Time that a person has for an answer. The server waits meanwhile, and perhaps not for so long.
const ANSWER_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Requests that are answered by hand.
const ANSWERED: [&str; 3] = ["elicitation/create", "sampling/createMessage", "roots/list"];

/// The requests that wait.
#[derive(Debug)]
pub(in crate::commands) struct QuestionDesk {
    limit: Duration,
    questions: Mutex<OpenQuestions>,
    /// Told of each change.
    changes: watch::Sender<u64>,
}

impl Default for QuestionDesk {
    fn default() -> Self {
        Self {
            limit: ANSWER_LIMIT,
            questions: Mutex::default(),
            changes: watch::Sender::default(),
        }
    }
}

#[derive(Debug, Default)]
struct OpenQuestions {
    count: u64,
    open: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    question: Question,
    answer: oneshot::Sender<HandAnswer>,
}

/// A request of the server, for the page.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct Question {
    /// A number that no other question has. The server's id is nobody's business here.
    number: u64,
    method: String,
    params: Box<RawValue>,
    /// Milliseconds since 1970.
    asked_at: u128,
    /// Seconds from then on.
    limit: u64,
}

/// The answer of a person.
#[derive(Debug)]
pub(in crate::commands) enum HandAnswer {
    /// The result as JSON text.
    Result(String),
    /// A refusal.
    Error {
        /// The code of JSON-RPC.
        code: i64,
        /// The reason.
        message: String,
    },
}

/// Takes a question away when nobody waits for its answer any more.
struct Seat<'a> {
    desk: &'a QuestionDesk,
    number: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.desk.questions.lock().open.remove(&self.number);
        self.desk.changes.send_modify(|changes| *changes += 1);
    }
}

impl QuestionDesk {
    /// The questions that wait, the oldest first.
    pub(in crate::commands) fn open(&self) -> Vec<Question> {
        let questions = self.questions.lock();
        let waiting = questions.open.values();
        waiting.map(|it| it.question.clone()).collect()
    }

    /// Told of each change.
    pub(in crate::commands) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Hands in an answer. False if the question is no longer there.
    pub(in crate::commands) fn hand_in(&self, number: u64, answer: HandAnswer) -> bool {
        let waiting = self.questions.lock().open.remove(&number);
        waiting.is_some_and(|it| it.answer.send(answer).is_ok())
    }

    /// The response to a request of the server.
    pub(super) async fn answer(self: &Arc<Self>, request: &Message) -> Message {
        let Some(id) = request.id() else {
            return Message::error(None, INTERNAL_ERROR, "not a request", None);
        };
        let method = request.method().unwrap_or_default();
        if method == "ping" {
            return Message::result(id, "{}");
        }
        if !ANSWERED.contains(&method) {
            return Message::error(Some(id), METHOD_NOT_FOUND, "Method not found", None);
        }
        match self.ask(method, request).await {
            Some(HandAnswer::Result(result)) => Message::result(id, &result),
            Some(HandAnswer::Error { code, message }) => {
                Message::error(Some(id), code, &message, None)
            }
            // The person has had their time: to the server that is a closed form.
            None if method == "elicitation/create" => Message::result(id, r#"{"action":"cancel"}"#),
            None => Message::error(Some(id), INTERNAL_ERROR, "nobody has answered", None),
        }
    }

    /// Shows a question until it is answered, or the time is over.
    async fn ask(&self, method: &str, request: &Message) -> Option<HandAnswer> {
        let (sender, answer) = oneshot::channel();
        let params = request.params_json().unwrap_or("{}").to_owned();
        let asked = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let number = {
            let mut questions = self.questions.lock();
            questions.count += 1;
            let number = questions.count;
            let question = Question {
                number,
                method: method.to_owned(),
                params: RawValue::from_string(params).ok()?,
                asked_at: asked.unwrap_or_default().as_millis(),
                limit: self.limit.as_secs(),
            };
            let waiting = Waiting {
                question,
                answer: sender,
            };
            questions.open.insert(number, waiting);
            number
        };
        let _seat = Seat { desk: self, number };
        self.changes.send_modify(|changes| *changes += 1);
        timeout(self.limit, answer).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_bridge_protocol::message::RequestId;
    use serde_json::{Value, json};

    fn request(method: &str) -> Message {
        Message::request(&RequestId::from_string("q"), method, r#"{"message":"?"}"#)
    }

    fn parts(answer: &Message) -> (Value, Value) {
        let answer: Value = serde_json::from_slice(answer.text()).unwrap();
        (answer["result"].clone(), answer["error"].clone())
    }

    #[tokio::test]
    async fn a_question_waits_for_its_answer_and_is_gone_with_it() {
        let desk = Arc::new(QuestionDesk::default());
        let asking = request("roots/list");
        let mut changes = desk.watch();
        let answering = async {
            changes.changed().await.unwrap();
            let open = desk.open();
            assert_eq!((open.len(), open[0].method.as_str()), (1, "roots/list"));
            let answer = HandAnswer::Result(r#"{"roots":[]}"#.to_owned());
            assert!(desk.hand_in(open[0].number, answer));
            let again = HandAnswer::Result("{}".to_owned());
            assert!(!desk.hand_in(open[0].number, again));
        };
        let (answer, ()) = tokio::join!(desk.answer(&asking), answering);
        assert_eq!(parts(&answer), (json!({"roots": []}), Value::Null));
        assert!(desk.open().is_empty());
    }

    #[tokio::test]
    async fn a_question_that_nobody_answers_ends_like_a_form_that_was_closed() {
        let desk = Arc::new(QuestionDesk {
            limit: Duration::ZERO,
            ..QuestionDesk::default()
        });
        let answer = desk.answer(&request("elicitation/create")).await;
        assert_eq!(parts(&answer).0, json!({"action": "cancel"}));
        let answer = desk.answer(&request("sampling/createMessage")).await;
        assert_eq!(parts(&answer).1["message"], "nobody has answered");
        assert!(desk.open().is_empty());
    }

    #[tokio::test]
    async fn what_needs_nobody_is_answered_at_once() {
        let desk = Arc::new(QuestionDesk::default());
        assert_eq!(parts(&desk.answer(&request("ping")).await).0, json!({}));
        let unknown = desk.answer(&request("other/method")).await;
        assert_eq!(parts(&unknown).1["code"], METHOD_NOT_FOUND);
    }
}
