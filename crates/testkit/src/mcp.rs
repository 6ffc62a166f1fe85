//! Default behaviour of the fault server: a well-behaved MCP server.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    SESSION_MARKER, modern,
    reply::{Piece, Reply},
    request::Request,
};

/// HTTP binding that the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Streamable HTTP with a session id, 2025-03-26 to 2025-11-25.
    Streamable,
    /// The same without session ids.
    Stateless,
    /// HTTP+SSE, 2024-11-05: a GET stream that names where to POST.
    HttpSse,
    /// 2026-07-28 and nothing else: no handshake, no session, no GET.
    Modern,
    /// 2026-07-28, and sessions for those who begin with `initialize`.
    Dual,
}

/// The path that the stream of an HTTP+SSE server names.
pub const MESSAGES_PATH: &str = "/messages?channel=1";

/// The state of the well-behaved server.
#[derive(Debug)]
pub struct Mcp {
    binding: Binding,
    opened: usize,
    sessions: BTreeSet<String>,
    streams: Vec<mpsc::UnboundedSender<Piece>>,
    pushed: Vec<u8>,
}

impl Mcp {
    /// A server without sessions yet.
    pub fn new(binding: Binding) -> Self {
        Self {
            binding,
            opened: 0,
            sessions: BTreeSet::new(),
            streams: Vec::new(),
            pushed: Vec::new(),
        }
    }

    /// From now on the server speaks this, as after a deployment.
    pub fn speak(&mut self, binding: Binding) {
        self.binding = binding;
        self.forget();
    }

    /// Forgets all sessions and streams, as a server that was started anew.
    pub fn forget(&mut self) {
        self.sessions.clear();
        self.streams.clear();
    }

    /// Sends on the stream that was opened last; false if there is none any more.
    pub fn push(&mut self, piece: Piece) -> bool {
        if let Piece::Bytes(bytes) = &piece {
            self.pushed.extend(bytes);
        }
        let newest = self.streams.last();
        newest.is_some_and(|stream| stream.send(piece).is_ok())
    }

    /// All that was ever sent on streams that were open already.
    pub fn pushed(&self) -> &[u8] {
        &self.pushed
    }

    /// The reply to a request.
    pub fn reply(&mut self, request: &Request) -> Reply {
        match self.binding {
            Binding::HttpSse => self.http_sse(request),
            Binding::Modern => self.modern(request),
            Binding::Dual if modern::is_modern(request) => self.modern(request),
            Binding::Streamable | Binding::Stateless | Binding::Dual => self.streamable(request),
        }
    }

    fn modern(&mut self, request: &Request) -> Reply {
        if request.rpc_method() == "subscriptions/listen" {
            return Reply::sse()
                .data(modern::acknowledgement(request))
                .follow(self.stream());
        }
        modern::reply(request)
    }

    fn streamable(&mut self, request: &Request) -> Reply {
        if request.rpc_method() == "initialize" {
            return self.open_session(request);
        }
        let session = request.header("mcp-session-id").unwrap_or_default();
        if self.binding != Binding::Stateless && !self.sessions.contains(session) {
            let body = request.error(-32001, "Session not found");
            return Reply::status(404).body("application/json", body);
        }
        match request.method.as_str() {
            "GET" => Reply::sse().follow(self.stream()),
            "DELETE" => {
                self.sessions.remove(session);
                Reply::status(200)
            }
            _ if request.message().is_owed_an_answer() => Reply::json(answer(request)),
            _ => Reply::status(202),
        }
    }

    fn open_session(&mut self, request: &Request) -> Reply {
        self.opened += 1;
        let reply = Reply::json(answer(request));
        if self.binding == Binding::Stateless {
            return reply;
        }
        let session = format!("{SESSION_MARKER}-{}", self.opened);
        self.sessions.insert(session.clone());
        reply.header("Mcp-Session-Id", &session)
    }

    fn http_sse(&mut self, request: &Request) -> Reply {
        match (request.method.as_str(), request.target.as_str()) {
            ("GET", _) => {
                let pieces = self.stream();
                let endpoint = format!("event: endpoint\ndata: {MESSAGES_PATH}\n\n");
                Reply::sse().bytes(endpoint).follow(pieces)
            }
            ("POST", MESSAGES_PATH) => {
                if request.message().is_owed_an_answer() {
                    self.push(Piece::Bytes(event(&answer(request))));
                }
                Reply::status(202).body("text/plain", "Accepted")
            }
            _ => Reply::status(405),
        }
    }

    fn stream(&mut self) -> mpsc::UnboundedReceiver<Piece> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.streams.push(sender);
        receiver
    }
}

/// An event of type `message`, spelled out as the servers of 2024 do.
pub fn event(data: &str) -> Vec<u8> {
    format!("event: message\ndata: {data}\n\n").into_bytes()
}

/// The result of `initialize` for a client that asks for `version`.
pub fn initialize_result(version: &Value) -> String {
    json!({
        "protocolVersion": version,
        "capabilities": {"tools": {"listChanged": true}, "logging": {}, "resources": {"subscribe": true}},
        "serverInfo": {"name": "fault-server", "version": "1"}
    })
    .to_string()
}

fn answer(request: &Request) -> String {
    let tool = json!({"name": "echo", "inputSchema": {"type": "object"}});
    match request.rpc_method().as_str() {
        "initialize" => request.result(initialize_result(&request.params()["protocolVersion"])),
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
            request.result("{}")
        }
        "tools/list" => request.result(json!({"tools": [tool]}).to_string()),
        "tools/call" => request.echo(),
        // Gives the params back as they were written.
        "vendor/mirror" => request.result(request.message().params().unwrap_or("null")),
        _ => request.error(-32601, "Method not found"),
    }
}
