//! Cross-origin requests of browser clients (CORS, Fetch standard §3.2), for origins that were named.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;

/// Prefix of the documents that are everybody's: they say where to sign in, and nothing about anybody.
const PUBLIC_DOCUMENTS: &str = "/.well-known/";

/// The path that only pages of the server itself may use.
const CONSENT: &str = "/consent";

/// Headers that MCP and OAuth clients send. Those of arguments (`Mcp-Param-*`) have names that only the tools know, so the
/// answer repeats what the browser asks for.
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");

/// Headers of responses that a client has to read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate, DPoP-Nonce, Retry-After");

/// Seconds for which a browser need not ask again (`Access-Control-Max-Age`).
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Answers what browsers ask before a request (preflight), and lets pages of the named origins read the responses.
pub(crate) async fn allow_origins(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(origin) = permitted(&app, &request) else {
        return next.run(request).await;
    };
    let wanted = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let wanted = wanted.cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    if is_preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        insert(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    }
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

/// The origin of a page that may read the response. Nothing here depends on cookies, so none are permitted.
fn permitted(app: &App, request: &Request) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    let path = request.uri().path();
    if path.starts_with(PUBLIC_DOCUMENTS) {
        return Some(HeaderValue::from_static("*"));
    }
    (path != CONSENT && app.is_allowed_origin(origin)).then(|| origin.clone())
}
