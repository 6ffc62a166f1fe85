//! The MCP server that the tokens are for, and its metadata (RFC 9728).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::endpoints::changed;
use super::{Audience, Challenge, Grant, Inner, Seen};
use crate::modern;

impl Inner {
    pub(super) fn mcp(&mut self, origin: &str, seen: &Seen) -> Response {
        if self.behaviour.is_open {
            return self.json_rpc(seen);
        }
        let header = seen.headers.get(header::AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok()?.split_once(' '));
        let (scheme, token) =
            header.map_or((None, None), |(scheme, token)| (Some(scheme), Some(token)));
        let bound_to = token.and_then(|token| self.access_tokens.get(token)?.0.key.clone());
        let refused_proof = match (token, &bound_to) {
            (Some(token), Some(key)) => self.refused_proof(origin, seen, token, key),
            (Some(_), None) | (None, _) => None,
        };
        // A bound token must not be sent as a bearer token (RFC 9449 §7.1), nor the other way round.
        let wanted_scheme = if bound_to.is_some() { "DPoP" } else { "Bearer" };
        let token = token.filter(|_| scheme == Some(wanted_scheme) && refused_proof.is_none());
        let grant = token
            .and_then(|token| self.access_tokens.get(token))
            .filter(|(_, issued)| {
                let lifetime = self.behaviour.token_lifetime;
                lifetime.is_none_or(|seconds| issued.elapsed() < Duration::from_secs(seconds))
            });
        let own = format!("{origin}{}", seen.path);
        let is_misplaced = grant.is_some_and(|(grant, _)| self.is_for_another(grant, &own));
        if is_misplaced {
            self.misplaced.push(seen.path.clone());
        }
        let is_loner = self.behaviour.loner.as_ref() == Some(&seen.path);
        let grant = grant
            .filter(|(grant, _)| !is_misplaced && (!is_loner || grant.named == [own.as_str()]));
        let metadata = match self.behaviour.challenge {
            Challenge::Bare | Challenge::Missing => String::new(),
            Challenge::Metadata => {
                let path = self.behaviour.named_metadata.as_deref();
                let own = format!("/.well-known/oauth-protected-resource{}", seen.path);
                let path = path.unwrap_or(&own);
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
            let asks_for_proof = self.behaviour.dpop.as_ref().is_some_and(|it| !it.is_silent);
            let challenge = match refused_proof {
                Some(refused) if metadata.is_empty() => format!("DPoP{refused}"),
                Some(refused) => format!("DPoP{refused},{metadata}"),
                None if asks_for_proof => format!("DPoP{metadata}"),
                None => format!("Bearer{metadata}"),
            };
            let headers = [(header::WWW_AUTHENTICATE, challenge)];
            return (StatusCode::UNAUTHORIZED, headers).into_response();
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
            return self.json_rpc(seen);
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
    pub(super) fn json_rpc(&self, seen: &Seen) -> Response {
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
            Some("tools/call") => json!({ "content": [] }),
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
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        let mut response = axum::Json(answer).into_response();
        if self.behaviour.has_session && message["method"] == "initialize" {
            let id = HeaderValue::from_static("session-1");
            response.headers_mut().insert("mcp-session-id", id);
        }
        response
    }

    /// True if the token is for another server than this one, as far as tokens are for servers.
    fn is_for_another(&self, grant: &Grant, resource: &str) -> bool {
        match &self.behaviour.audience {
            Audience::Unsaid => false,
            Audience::Jwt | Audience::Introspected => grant.resource.as_deref() != Some(resource),
            Audience::Fixed(audience) => !audience.iter().any(|it| it == resource),
        }
    }

    pub(super) fn resource_metadata(&self, origin: &str, path: &str) -> Response {
        let server = path.trim_start_matches("/.well-known/oauth-protected-resource");
        let mut document = json!({
            "resource": format!("{origin}{server}"),
            "authorization_servers": [origin],
        });
        if let Some(scopes) = self.behaviour.scopes_of.get(server) {
            document["scopes_supported"] = json!(scopes);
        }
        axum::Json(changed(document, &self.behaviour.resource_metadata)).into_response()
    }
}
