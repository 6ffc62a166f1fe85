//! The wire between a command and the bridge in its process: lines, as between any app and the bridge.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::person::Person;
use mcp_bridge_core::stdio::{Line, LineReader, LineWriter};
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// Questions of the server that may wait for an answer at once. A person answers one after the other.
const MAX_QUESTIONS: usize = 32;

/// The command's end of the wire.
#[derive(Debug)]
pub(super) struct Wire {
    /// Absent once the command has left.
    writer: Mutex<Option<LineWriter>>,
    requests: Mutex<Requests>,
}

/// The requests of the command.
#[derive(Debug, Default)]
struct Requests {
    /// Number of them.
    count: u64,
    unanswered: HashMap<RequestId, oneshot::Sender<Message>>,
    /// True once the bridge has ended: no further response comes.
    is_over: bool,
}

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: RequestId,
    response: oneshot::Receiver<Message>,
}

impl Sent {
    /// The response; `None` if none can come any more.
    pub(super) async fn response(&mut self) -> Option<Message> {
        (&mut self.response).await.ok()
    }
}

impl Wire {
    /// Writes to the bridge, without reading yet what it says: see [`Self::read`].
    pub(super) fn new(to_bridge: impl AsyncWrite + Unpin + Send + 'static) -> Arc<Self> {
        let (writer, _) = LineWriter::spawn(to_bridge);
        Arc::new(Self {
            writer: Mutex::new(Some(writer)),
            requests: Mutex::default(),
        })
    }

    /// Sends a request, made with an id that no other has.
    pub(super) fn request(&self, request: impl FnOnce(&RequestId) -> Message) -> Sent {
        let (sender, response) = oneshot::channel();
        let id = {
            let mut requests = self.requests.lock();
            requests.count += 1;
            let id = RequestId::from_number(requests.count);
            if !requests.is_over {
                requests.unanswered.insert(id.clone(), sender);
            }
            id
        };
        self.send(&request(&id));
        Sent { id, response }
    }

    /// Sends a message that is not answered.
    pub(super) fn send(&self, message: &Message) {
        self.write(message.line());
    }

    /// Writes a line to the bridge, unless the command has left.
    pub(super) fn write(&self, line: Bytes) {
        if let Some(writer) = &*self.writer.lock() {
            writer.send(line);
        }
    }

    /// Returns whether the bridge has ended.
    pub(super) fn is_over(&self) -> bool {
        self.requests.lock().is_over
    }

    /// The command leaves: the bridge has no more to read.
    pub(super) fn hang_up(&self) {
        *self.writer.lock() = None;
    }

    /// Takes what the bridge says, until its end: responses to the requests of the command, all else for
    /// `person`.
    pub(super) async fn read(
        self: Arc<Self>,
        from_bridge: impl AsyncRead + Unpin,
        longest_line: usize,
        person: Arc<Person>,
    ) {
        let mut lines = LineReader::new(from_bridge, longest_line);
        let mut questions = Questions::default();
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                Some(answer) = questions.answer() => {
                    self.send(&answer);
                    continue;
                }
            };
            match line {
                Ok(Some(Line::Text(line))) => match Message::parse(&line) {
                    Ok(message) => self.take(&message, &mut questions, &person),
                    Err(invalid) => tracing::debug!("skipped a line: {invalid}"),
                },
                Ok(Some(Line::TooLong { prefix })) => {
                    tracing::warn!("skipped a message above --max-message-size");
                    if let Some(id) = Message::answered_id_in_prefix(&prefix) {
                        self.requests.lock().unanswered.remove(&id);
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
        let mut requests = self.requests.lock();
        requests.is_over = true;
        requests.unanswered.clear();
    }

    fn take(&self, message: &Message, questions: &mut Questions, person: &Arc<Person>) {
        match message.kind() {
            Kind::Response { id } => self.on_response(id.as_ref(), message),
            Kind::Request { id, .. } if questions.is_full() => {
                self.send(&Person::overloaded(id));
            }
            Kind::Request { id, .. } => questions.ask(id, message, person),
            Kind::Notification { method } => match method.as_str() {
                "notifications/cancelled" => questions.cancel(message),
                "notifications/progress" if self.is_progress_of_request(message) => {
                    person.show_progress(message);
                }
                "notifications/message" => person.show_log_entry(message),
                _ => {}
            },
        }
    }

    fn on_response(&self, id: Option<&RequestId>, response: &Message) {
        let waiting = id.and_then(|id| self.requests.lock().unanswered.remove(id));
        let Some(waiting) = waiting else {
            tracing::debug!("dropped a response that answers no request");
            return;
        };
        // A command that was interrupted waits no longer.
        let _ = waiting.send(response.clone());
    }

    fn is_progress_of_request(&self, progress: &Message) -> bool {
        let token = progress.id_param("progressToken");
        token.is_some_and(|token| self.requests.lock().unanswered.contains_key(&token))
    }
}

/// Requests of the server that are being answered.
#[derive(Default)]
struct Questions {
    answers: JoinSet<Message>,
    by_id: HashMap<RequestId, tokio::task::AbortHandle>,
}

impl Questions {
    fn is_full(&self) -> bool {
        self.answers.len() >= MAX_QUESTIONS
    }

    fn ask(&mut self, id: &RequestId, question: &Message, person: &Arc<Person>) {
        let (person, question) = (Arc::clone(person), question.clone());
        let asking = self
            .answers
            .spawn(async move { person.answer(&question).await });
        self.by_id.insert(id.clone(), asking);
    }

    /// The server does not want its answer any more.
    fn cancel(&mut self, cancelled: &Message) {
        let id = cancelled.id_param("requestId");
        if let Some(asking) = id.and_then(|id| self.by_id.remove(&id)) {
            asking.abort();
        }
    }

    /// The next answer; `None` if none is under way.
    async fn answer(&mut self) -> Option<Message> {
        while let Some(ended) = self.answers.join_next().await {
            // One that was cancelled has no answer.
            let Ok(answer) = ended else { continue };
            if let Some(id) = answer.id() {
                self.by_id.remove(id);
            }
            return Some(answer);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tokio::io::{AsyncWriteExt as _, DuplexStream};

    const LONGEST_LINE: usize = 1024;

    /// A wire, and the bridge's end of it.
    struct LocalBridge {
        lines: LineReader<DuplexStream>,
        output: DuplexStream,
    }

    fn wire() -> (Arc<Wire>, LocalBridge) {
        let (to_bridge, input) = tokio::io::duplex(64);
        let (output, from_bridge) = tokio::io::duplex(64);
        let wire = Wire::new(to_bridge);
        let person = Arc::new(Person::Present {
            terminal: Some(Arc::default()),
            notes: Arc::default(),
        });
        tokio::spawn(Arc::clone(&wire).read(from_bridge, LONGEST_LINE, person));
        let lines = LineReader::new(input, LONGEST_LINE);
        (wire, LocalBridge { lines, output })
    }

    impl LocalBridge {
        async fn says(&mut self, line: &str) {
            let line = format!("{line}\n");
            self.output.write_all(line.as_bytes()).await.unwrap();
        }

        async fn hears(&mut self) -> Value {
            match self.lines.next().await.unwrap() {
                Some(Line::Text(line)) => serde_json::from_slice(&line).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    fn ping(id: &RequestId) -> Message {
        Message::request(id, "ping", "{}")
    }

    #[tokio::test]
    async fn each_response_goes_to_its_request() {
        let (wire, mut bridge) = wire();
        let (mut first, mut second) = (wire.request(ping), wire.request(ping));
        for id in [1, 2] {
            let expected = json!({"jsonrpc": "2.0", "id": id, "method": "ping", "params": {}});
            assert_eq!(bridge.hears().await, expected);
        }
        for line in [
            "no JSON",
            r#"{"jsonrpc":"2.0","id":"1","result":"to nobody"}"#,
            r#"{"jsonrpc":"2.0","id":2,"result": {"x":1.0}}"#,
            r#"{"jsonrpc":"2.0","id":2,"result":"once more"}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1e400}}"#,
        ] {
            bridge.says(line).await;
        }
        let response = second.response().await.unwrap();
        assert_eq!(response.result_json(), Some(r#"{"x":1.0}"#));
        assert!(first.response().await.unwrap().is_error());
    }

    #[tokio::test]
    async fn a_request_without_a_response_ends_with_the_bridge_or_a_line_that_is_too_long() {
        let (wire, mut bridge) = wire();
        let (mut first, mut second) = (wire.request(ping), wire.request(ping));
        let text = "x".repeat(2 * LONGEST_LINE);
        bridge
            .says(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{text}"}}"#))
            .await;
        assert!(first.response().await.is_none());
        drop(bridge);
        assert!(second.response().await.is_none());
        assert!(wire.request(ping).response().await.is_none());
    }

    #[tokio::test]
    async fn a_question_that_was_cancelled_is_not_answered_and_too_many_are_refused() {
        let (_wire, mut bridge) = wire();
        // Nobody types anything.
        let question = |id: usize| {
            let params = r#"{"message":"?","requestedSchema":{"properties":{"a":{}}}}"#;
            let method = "elicitation/create";
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
        };
        for id in 0..=MAX_QUESTIONS {
            bridge.says(&question(id)).await;
        }
        let refused = bridge.hears().await;
        assert_eq!(refused["id"], MAX_QUESTIONS);
        assert_eq!(refused["error"]["message"], "too many requests at once");
        let method = "notifications/cancelled";
        bridge
            .says(&format!(
                r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"requestId":0}}}}"#
            ))
            .await;
        bridge
            .says(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#)
            .await;
        assert_eq!(bridge.hears().await["id"], "p");
    }
}
