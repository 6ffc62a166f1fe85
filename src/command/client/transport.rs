//! The wire between rmcp's client and the bridge in this process: lines, as between any app and the bridge.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rmcp::RoleClient;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::json;
use tokio::io::DuplexStream;

use mcp_bridge_core::stdio::{Line, LineReader, LineWriter};
use mcp_bridge_protocol::message::{Kind, Message};

/// Both ends of the wire.
pub(super) struct Wire {
    lines: LineReader<DuplexStream>,
    desk: Arc<Desk>,
}

/// What is shared with those that are not the client.
pub(super) struct Desk {
    /// Absent once the client has left.
    writer: Mutex<Option<LineWriter>>,
    /// The response that came last, as the server wrote it. The client asks one thing at a time.
    answer: Mutex<Option<Message>>,
}

impl Wire {
    pub(super) fn new(
        from_bridge: DuplexStream,
        to_bridge: DuplexStream,
        limit: usize,
    ) -> (Self, Arc<Desk>) {
        let (writer, _) = LineWriter::spawn(to_bridge);
        let desk = Arc::new(Desk {
            writer: Mutex::new(Some(writer)),
            answer: Mutex::default(),
        });
        let wire = Self {
            lines: LineReader::new(from_bridge, limit),
            desk: Arc::clone(&desk),
        };
        (wire, desk)
    }
}

impl Desk {
    /// Writes a line to the bridge, unless the client has left.
    pub(super) fn write(&self, line: impl Into<Bytes>) {
        if let Some(writer) = &*lock(&self.writer) {
            writer.send(line.into());
        }
    }

    /// The client has left: the bridge reads no more.
    pub(super) fn hang_up(&self) {
        *lock(&self.writer) = None;
    }

    /// The response that came last.
    pub(super) fn take_answer(&self) -> Option<Message> {
        lock(&self.answer).take()
    }
}

impl Transport<RoleClient> for Wire {
    type Error = Infallible;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        match serde_json::to_vec(&item) {
            Ok(line) => self.desk.write(line),
            Err(error) => tracing::error!("a message could not be written: {error}"),
        }
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let line = match self.lines.next().await {
                Ok(Some(Line::Text(line))) => line,
                Ok(Some(Line::TooLong { .. })) => {
                    tracing::warn!("skipped a message above --max-message-size");
                    continue;
                }
                Ok(None) | Err(_) => return None,
            };
            let Ok(message) = Message::parse(&line) else {
                continue;
            };
            let typed = serde_json::from_slice(&line);
            let Kind::Response { id } = message.kind() else {
                match typed {
                    Ok(message) => return Some(message),
                    Err(error) => tracing::debug!("skipped a message of the server: {error}"),
                }
                continue;
            };
            // What rmcp cannot hold still ends the request: the text is what is looked at.
            let id = id.as_ref().map(|id| serde_json::from_str(id.as_json()));
            let id: serde_json::Value = id.and_then(Result::ok).unwrap_or_default();
            let ended = json!({ "jsonrpc": "2.0", "id": id, "result": {} });
            let typed = typed.or_else(|_| serde_json::from_value(ended)).ok();
            *lock(&self.desk.answer) = Some(message);
            if typed.is_some() {
                return typed;
            }
        }
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        self.desk.hang_up();
        Ok(())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
