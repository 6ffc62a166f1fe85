//! Replies of the fault server: responses, down to bytes, waits and resets.

use tokio::sync::{mpsc, watch};

/// A door in the middle of a reply; the test opens it.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Opens the gate for good.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the gate is open.
    pub async fn opened(&self) {
        let mut state = self.0.subscribe();
        state
            .wait_for(|open| *open)
            .await
            .expect("the sender is ours");
    }
}

/// Piece of a stream that is open already.
#[derive(Debug)]
pub enum Piece {
    /// Bytes of the body.
    Bytes(Vec<u8>),
    /// The body ends as HTTP wants it.
    End,
    /// The connection is reset.
    Reset,
}

/// Step of a reply after its head.
#[derive(Debug)]
pub enum Step {
    /// Writes bytes of the body.
    Write(Vec<u8>),
    /// Waits for a gate.
    Wait(Gate),
    /// Writes what comes from the test until the test ends it or the client leaves.
    Follow(mpsc::UnboundedReceiver<Piece>),
    /// Says nothing more until the client leaves.
    Stall,
    /// RST, not FIN.
    Reset,
    /// FIN, whatever was promised.
    Close,
}

/// Framing of the body (RFC 9112 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    ContentLength,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The steps are all there is, head included; the connection ends with them.
    Raw,
}

/// One reply: a head and what follows it.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The framing of the body.
    pub framing: Framing,
    /// The body, waits and faults, in order.
    pub steps: Vec<Step>,
}

impl Reply {
    /// A head and no body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            framing: Framing::ContentLength,
            steps: Vec::new(),
        }
    }

    /// A JSON response.
    pub fn json(body: impl Into<String>) -> Self {
        Self::status(200).body("application/json", body.into())
    }

    /// An event stream; `data`, `event` and `bytes` add to it.
    pub fn sse() -> Self {
        Self::status(200)
            .header("Content-Type", "text/event-stream")
            .chunked()
    }

    /// All that it writes, but for what comes on a stream later.
    pub fn written(&self) -> Vec<u8> {
        let writes = self.steps.iter().filter_map(|step| match step {
            Step::Write(bytes) => Some(&bytes[..]),
            _ => None,
        });
        writes.collect::<Vec<_>>().concat()
    }

    /// These bytes and nothing else, then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(200).bytes(bytes);
        reply.framing = Framing::Raw;
        reply
    }

    /// The connection is reset instead of an answer.
    pub fn no_answer_but_reset() -> Self {
        Self::raw("").reset()
    }

    /// The connection is closed instead of an answer.
    pub fn no_answer_but_close() -> Self {
        Self::raw("").close()
    }

    /// Nothing at all, until the client leaves.
    pub fn no_answer_ever() -> Self {
        Self::raw("").stall()
    }

    /// Sends the body in chunks.
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a body of this type.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.header("Content-Type", content_type).bytes(body)
    }

    /// Adds bytes to the body.
    pub fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Write(bytes.into()));
        self
    }

    /// An event with this data.
    pub fn data(self, data: impl AsRef<str>) -> Self {
        self.bytes(format!("data: {}\n\n", data.as_ref()))
    }

    /// An event with this id and data.
    pub fn event(self, id: &str, data: impl AsRef<str>) -> Self {
        self.bytes(format!("id: {id}\ndata: {}\n\n", data.as_ref()))
    }

    /// Waits for a gate here.
    pub fn wait(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// Goes on with what the test sends.
    pub fn follow(mut self, pieces: mpsc::UnboundedReceiver<Piece>) -> Self {
        self.steps.push(Step::Follow(pieces));
        self
    }

    /// Says nothing more here.
    pub fn stall(mut self) -> Self {
        self.steps.push(Step::Stall);
        self
    }

    /// Resets the connection here.
    pub fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }

    /// Closes the connection here.
    pub fn close(mut self) -> Self {
        self.steps.push(Step::Close);
        self
    }
}
