//! The JSON-RPC message in a request, read before rmcp gets it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Longest message that is read, in bytes: more than the example server accepts.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// The JSON-RPC message in the body of a POST. What is none has no members.
pub(crate) struct Message(Value);

impl Message {
    /// Reads the body, and gives the request back as it came. The error is the answer to a body that
    /// is too large.
    pub(crate) async fn read(request: Request) -> Result<(Request, Self), Response> {
        if request.method() != Method::POST {
            return Ok((request, Self(Value::Null)));
        }
        let (parts, body) = request.into_parts();
        let Ok(bytes) = to_bytes(body, MAX_BODY_BYTES).await else {
            return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response());
        };
        let message = serde_json::from_slice(&bytes).unwrap_or_default();
        let request = Request::from_parts(parts, Body::from(bytes));
        Ok((request, Self(message)))
    }

    /// The method of a request or a notification.
    pub(crate) fn method(&self) -> Option<&str> {
        self.0["method"].as_str()
    }

    /// The id of a request or a response, `null` for others.
    pub(crate) fn id(&self) -> &Value {
        &self.0["id"]
    }

    /// A parameter, `null` if it is not there.
    pub(crate) fn param(&self, name: &str) -> &Value {
        &self.0["params"][name]
    }
}
