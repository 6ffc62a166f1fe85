//! Example servers of one era of MCP, for the demo and the tests.
//!
//! Up to 2025-11-25 a conversation begins with `initialize` and has a session. From 2026-07-28 on there
//! is neither: every request says for itself who asks. rmcp serves both at one endpoint. A server of one
//! era refuses messages of the other in the way of its time, which clients have to make sense of.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use clap::ValueEnum;
use rmcp::model::{ErrorData, ProtocolVersion};
use serde_json::{Value, json};

use crate::message::Message;
use crate::server::Options;

/// The header that names the version of a request's protocol (MCP, transports: Protocol Version Header).
const VERSION_HEADER: &str = "mcp-protocol-version";

/// JSON-RPC leaves this code to the server; those of the legacy era use it for what they do not serve.
const SERVER_ERROR: i32 = -32000;

/// Eras of the protocol that a server serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Eras {
    /// Up to 2025-11-25: `initialize` and sessions.
    Legacy,
    /// From 2026-07-28 on: neither.
    Modern,
    /// Both, at the same endpoint.
    Dual,
}

impl Eras {
    /// The versions of the protocol that are served, oldest first.
    pub(crate) fn versions(self) -> &'static [ProtocolVersion] {
        let legacy = ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE);
        match self {
            Self::Legacy => legacy,
            Self::Modern => &ProtocolVersion::KNOWN_VERSIONS[legacy.len()..],
            Self::Dual => ProtocolVersion::KNOWN_VERSIONS,
        }
    }

    /// Makes the example server serve these eras alone.
    pub(crate) fn restrict(self, options: Options) -> Options {
        Options {
            versions: self.versions(),
            around_endpoint: Some(Box::new(move |endpoint| {
                endpoint.layer(middleware::from_fn_with_state(self, require_era))
            })),
            ..options
        }
    }

    /// The answer to a message of the era that is not served.
    fn refusal(self, headers: &HeaderMap, message: &Message) -> Option<Response> {
        match self {
            Self::Dual => None,
            Self::Legacy => self.refusal_of_modern(headers, message),
            Self::Modern => self.refusal_of_legacy(message),
        }
    }

    /// A server that was written before 2026-07-28 knows nothing of that version, nor that it could
    /// say so in a way that clients of that version understand.
    fn refusal_of_modern(self, headers: &HeaderMap, message: &Message) -> Option<Response> {
        let known = version(headers).is_none_or(|version| {
            self.versions()
                .iter()
                .any(|known| known.as_str() == version)
        });
        if known && message.method() != Some("server/discover") {
            return None;
        }
        let supported: Vec<_> = self
            .versions()
            .iter()
            .map(ProtocolVersion::as_str)
            .collect();
        let text = format!(
            "Bad Request: Unsupported protocol version (supported versions: {})",
            supported.join(", ")
        );
        let error = json!({ "code": SERVER_ERROR, "message": text });
        Some(bad_request(&Value::Null, &error))
    }

    /// From 2026-07-28 on a server says which versions it supports (MCP, versioning: Errors).
    fn refusal_of_legacy(self, message: &Message) -> Option<Response> {
        if message.method() != Some("initialize") {
            // rmcp refuses the rest, for it does not say who asks.
            return None;
        }
        let requested = serde_json::from_value(message.param("protocolVersion").clone());
        let error =
            ErrorData::unsupported_protocol_version(requested.unwrap_or_default(), self.versions());
        Some(bad_request(message.id(), &json!(error)))
    }
}

/// Lets the messages of the served eras through to the MCP server.
async fn require_era(State(eras): State<Eras>, request: Request, next: Next) -> Response {
    let (request, message) = match Message::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match eras.refusal(request.headers(), &message) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

/// The version that a request names in its header.
pub(crate) fn version(headers: &HeaderMap) -> Option<&str> {
    headers.get(VERSION_HEADER)?.to_str().ok()
}

fn bad_request(id: &Value, error: &Value) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": error });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}
