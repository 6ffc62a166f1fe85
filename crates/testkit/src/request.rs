//! A request as the fault server received it, and the description of the requests a test means.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{HEADER_MARKER, envelope::Envelope, modern};

/// One HTTP request, whole.
#[derive(Debug, Clone)]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Arc<[u8]>,
    message: OnceLock<Arc<Envelope>>,
    /// The number of the connection that it came on, counted from one.
    pub connection: usize,
    /// The address of the client, as far as it is known.
    pub peer: Option<SocketAddr>,
    /// When it had arrived.
    pub at: Instant,
}

impl Request {
    /// Reads the head of a request, start line and all.
    pub fn from_head(head: &str, connection: usize) -> Self {
        let mut lines = head.lines();
        let mut start = lines.next().unwrap_or_default().split(' ');
        Self {
            method: start.next().unwrap_or_default().to_owned(),
            target: start.next().unwrap_or_default().to_owned(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: Arc::default(),
            message: OnceLock::new(),
            connection,
            peer: None,
            at: Instant::now(),
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).first().copied()
    }

    /// All values of a header.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        let named = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body is UTF-8")
    }

    /// The JSON-RPC message in the body; an empty one for a request without.
    pub fn message(&self) -> &Envelope {
        let parse = || Arc::new(Envelope::parse(self.text()).unwrap_or_default());
        self.message.get_or_init(parse)
    }

    /// The JSON-RPC method; empty for a request without.
    pub fn rpc_method(&self) -> String {
        self.message().method().unwrap_or_default()
    }

    /// The request's `params`; `null` when there are none.
    pub fn params(&self) -> Value {
        let message = self.message();
        serde_json::from_str(message.params().unwrap_or("null")).expect("params are JSON")
    }

    /// The answer to this request with `result`, given as JSON text.
    pub fn result(&self, result: impl AsRef<str>) -> String {
        let message = self.message();
        let id = message.id().unwrap_or("null");
        let result = result.as_ref();
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
    }

    /// The answer to this request that says it failed.
    pub fn error(&self, code: i64, message: &str) -> String {
        let envelope = self.message();
        let id = envelope.id().unwrap_or("null");
        let error = json!({"code": code, "message": message});
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
    }

    /// The answer of the tool `echo`.
    pub fn echo(&self) -> String {
        let text = &self.params()["arguments"]["text"];
        self.result(json!({"content": [{"type": "text", "text": text}]}).to_string())
    }

    /// Faults of a request of the bridge that comes after `earlier`, whatever the test is about.
    pub fn faults(&self, version: VersionHeader, earlier: &[Self]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |fault: &str, holds: bool| {
            if !holds {
                let name = self.rpc_method();
                faults.push(format!("{} {name}: {fault}", self.method));
            }
        };
        let accept = self.header("accept").unwrap_or_default();
        let accepts = |kind: &str| accept.contains(kind);
        expect("an Origin header", self.header("origin").is_none());
        expect(
            "a configured header is missing",
            self.header("x-api-key") == Some(HEADER_MARKER),
        );
        for name in ["mcp-session-id", "mcp-protocol-version", "content-type"] {
            expect("a doubled header", self.header_values(name).len() <= 1);
        }
        match self.method.as_str() {
            "POST" => {
                expect(
                    "Content-Type is not application/json",
                    self.header("content-type") == Some("application/json"),
                );
                expect(
                    "Accept does not list both types",
                    accepts("application/json") && accepts("text/event-stream"),
                );
                expect(
                    "the body is not one JSON-RPC message",
                    self.message().jsonrpc.is_some(),
                );
            }
            "GET" => expect("Accept is not for events", accepts("text/event-stream")),
            "DELETE" => expect(
                "no session id on a DELETE",
                self.header("mcp-session-id").is_some(),
            ),
            other => expect(&format!("the method {other}"), false),
        }
        if modern::is_modern(self) {
            faults.extend(modern::faults(self));
            return faults;
        }
        let has_session = self.header("mcp-session-id").is_some();
        let has_version = self.header("mcp-protocol-version").is_some();
        if self.rpc_method() == "initialize" {
            expect("a session id on initialize", !has_session);
            // A second try has it, for servers that want it.
            let is_first = !earlier.iter().any(|it| it.rpc_method() == "initialize");
            expect("a version header on initialize", !has_version || !is_first);
        } else if has_session && version == VersionHeader::Expected {
            expect("a session without the version header", has_version);
        }
        faults
    }
}

/// Expectation of the header `MCP-Protocol-Version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionHeader {
    /// The server named a version, so the header is there.
    Expected,
    /// The server named none, or one that no header can carry.
    Unknown,
}

/// The requests that a rule or a wait is about.
#[derive(Debug, Clone)]
pub enum Want {
    /// A POST of a JSON-RPC request or notification with this method.
    Rpc(String),
    /// A `tools/call` of the tool with this name.
    Call(String),
    /// A POST of a JSON-RPC response.
    Response,
    /// A POST of the response to the server's request whose id is spelled so.
    AnswerTo(&'static str),
    /// A request with this HTTP method.
    Http(&'static str),
    /// A GET in a session whose id ends so.
    GetInSession(&'static str),
    /// A GET that resumes a stream after this event.
    ResumeAfter(String),
}

/// A JSON-RPC request or notification with this method.
pub fn rpc(method: &str) -> Want {
    Want::Rpc(method.to_owned())
}

/// A call of this tool.
pub fn call(tool: &str) -> Want {
    Want::Call(tool.to_owned())
}

/// A response to the server's request with this id.
pub fn answer_to(id: &'static str) -> Want {
    Want::AnswerTo(id)
}

/// A GET.
pub fn get() -> Want {
    Want::Http("GET")
}

/// A GET in a session whose id ends so.
pub fn get_in_session(end: &'static str) -> Want {
    Want::GetInSession(end)
}

/// A DELETE.
pub fn delete() -> Want {
    Want::Http("DELETE")
}

/// A POST.
pub fn post() -> Want {
    Want::Http("POST")
}

/// A GET that resumes a stream after this event.
pub fn resume_after(id: &str) -> Want {
    Want::ResumeAfter(id.to_owned())
}

impl Want {
    /// True if the request is wanted.
    pub fn matches(&self, request: &Request) -> bool {
        match self {
            Self::Rpc(method) => request.method == "POST" && request.rpc_method() == *method,
            Self::Call(tool) => {
                request.rpc_method() == "tools/call" && request.params()["name"] == tool.as_str()
            }
            Self::Response => request.method == "POST" && request.message().is_response(),
            Self::AnswerTo(id) => {
                request.message().is_response() && request.message().id() == Some(id)
            }
            Self::Http(method) => request.method == *method,
            Self::GetInSession(end) => {
                let session = request.header("mcp-session-id").unwrap_or_default();
                request.method == "GET" && session.ends_with(end)
            }
            Self::ResumeAfter(id) => {
                request.method == "GET" && request.header("last-event-id") == Some(id)
            }
        }
    }
}
