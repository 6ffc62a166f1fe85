//! The MCP server that the tokens are for, and its metadata (RFC 9728).

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::endpoints::changed;
use super::{Challenge, Inner, Seen};
use crate::modern;

impl Inner {
    pub(super) fn mcp(&self, origin: &str, seen: &Seen) -> Response {
        if self.behaviour.is_open {
            return Self::json_rpc(seen);
        }
        let token = seen
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let grant = token
            .and_then(|token| self.access_tokens.get(token))
            .filter(|(_, issued)| {
                let lifetime = self.behaviour.token_lifetime;
                lifetime.is_none_or(|seconds| issued.elapsed() < Duration::from_secs(seconds))
            });
        let metadata = match self.behaviour.challenge {
            Challenge::Bare | Challenge::Missing => String::new(),
            Challenge::Metadata => {
                let path = self.behaviour.named_metadata.as_deref();
                let path = path.unwrap_or("/.well-known/oauth-protected-resource/mcp");
                let base = if path.starts_with('/') { origin } else { "" };
                format!(r#" resource_metadata="{base}{path}""#)
            }
        };
        let Some((grant, _)) = grant else {
            if let Some(lines) = &self.behaviour.challenge_lines {
                let mut headers = HeaderMap::new();
                for (name, value) in lines {
                    headers.append(*name, value.parse().unwrap());
                }
                return (StatusCode::UNAUTHORIZED, headers).into_response();
            }
            if self.behaviour.challenge == Challenge::Missing {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            return (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, format!("Bearer{metadata}"))],
            )
                .into_response();
        };
        if let Some(challenge) = &self.behaviour.forbids {
            let headers = [(header::WWW_AUTHENTICATE, challenge.clone())];
            return (StatusCode::FORBIDDEN, headers).into_response();
        }
        let required = self.behaviour.required_scope.as_deref().unwrap_or_default();
        let granted: Vec<_> = grant.scope.split(' ').collect();
        if required
            .split_whitespace()
            .all(|scope| granted.contains(&scope))
        {
            return Self::json_rpc(seen);
        }
        let challenge =
            format!(r#"Bearer error="insufficient_scope", scope="{required}",{metadata}"#);
        (
            StatusCode::FORBIDDEN,
            [(header::WWW_AUTHENTICATE, challenge)],
        )
            .into_response()
    }

    /// Enough of MCP for a bridge to have something to carry.
    pub(super) fn json_rpc(seen: &Seen) -> Response {
        let message: Value = serde_json::from_str(&seen.body).unwrap_or_default();
        let Some(id) = message.get("id") else {
            return StatusCode::OK.into_response();
        };
        let mut result = match message["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "provider", "version": "1" },
            }),
            Some("tools/list") => {
                let tool =
                    |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
                json!({ "tools": [tool("a"), tool("b")] })
            }
            _ => json!({}),
        };
        if seen
            .headers
            .get("mcp-protocol-version")
            .is_some_and(|it| it == modern::VERSION)
        {
            result["resultType"] = "complete".into();
            result["ttlMs"] = 0.into();
            result["cacheScope"] = "private".into();
        }
        axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
    }

    pub(super) fn resource_metadata(&self, origin: &str) -> Response {
        let document = json!({
            "resource": format!("{origin}/mcp"),
            "authorization_servers": [origin],
        });
        axum::Json(changed(document, &self.behaviour.resource_metadata)).into_response()
    }
}
