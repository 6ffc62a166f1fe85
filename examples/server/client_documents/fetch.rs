//! Request for a document: bounded in time and size, without redirects, and not through a proxy, which would connect to addresses
//! that nobody has checked.

use std::error::Error as _;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use mcp_bridge_net::http;

use super::location::{DocumentUrl, GuardedNames, NotPermitted};
use super::{DocumentRefusal, DocumentSettings, freshness};

/// Time that the host of a document has. A person waits for the page meanwhile.
const FETCH_LIMIT: Duration = Duration::from_secs(5);

/// Largest document, in bytes: what the draft recommends (§6.6). Real ones have less than one thousand.
const MAX_DOCUMENT_BYTES: usize = 5 * 1024;

/// Fetches a document. Returns the time for which it may be kept, too.
pub(super) async fn fetch(
    settings: &DocumentSettings,
    url: &DocumentUrl,
) -> Result<(Vec<u8>, Duration), DocumentRefusal> {
    let options = http::Options {
        extra_roots: settings.authorities.clone(),
        ..http::Options::default()
    };
    let names = GuardedNames::new(settings.names.clone(), settings.reach);
    let builder = options.builder(url.url())?.no_proxy().dns_resolver(names);
    let client = builder.timeout(FETCH_LIMIT).build();
    let client = client.map_err(http::Error::Proxied)?;
    let request = client.get(url.url().clone());
    let request = request.header(header::ACCEPT, "application/json");
    let mut response = request.send().await.map_err(|error| unreachable(&error))?;
    if response.status() != StatusCode::OK {
        return Err(DocumentRefusal::Status(response.status().as_u16()));
    }
    if !is_json(response.headers()) {
        return Err(DocumentRefusal::ContentType);
    }
    let lifetime = freshness::lifetime(response.headers());
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unreachable(&error))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentRefusal::TooLarge(MAX_DOCUMENT_BYTES));
        }
    }
    Ok((body, lifetime))
}

/// The refusal for a request without a whole answer. What the network said stays in the log: it may tell a stranger about it.
fn unreachable(error: &reqwest::Error) -> DocumentRefusal {
    let mut cause = error.source();
    while let Some(source) = cause {
        if source.is::<NotPermitted>() {
            return DocumentRefusal::Inside;
        }
        cause = source.source();
    }
    tracing::warn!(%error, "the document of a client cannot be fetched");
    DocumentRefusal::Unreachable
}

/// JSON, or a type that is based on it (draft, §4).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    let kind = essence.strip_prefix("application/");
    kind.is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}
