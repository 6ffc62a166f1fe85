//! HAR 1.2 entries as they are written. `_mcp` says of which kind one is, and what HAR has no place for.

use serde::Serialize;
use serde_json::value::RawValue;

/// An entry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogEntry<'a, R: Serialize> {
    pub(super) started_date_time: String,
    pub(super) time: f64,
    pub(super) request: R,
    pub(super) response: ResponsePart<'a>,
    pub(super) cache: Nothing,
    pub(super) timings: Timings,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<&'a str>,
    #[serde(rename = "_mcp")]
    pub(super) mcp: Mcp<'a>,
}

/// An empty object.
#[derive(Debug, Default, Serialize)]
pub(super) struct Nothing {}

/// Milliseconds of the parts of an exchange.
#[derive(Debug, Default, Serialize)]
pub(super) struct Timings {
    pub(super) send: u8,
    pub(super) wait: f64,
    pub(super) receive: f64,
}

/// A request, or what stands for one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestPart<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) http_version: &'a str,
    pub(super) cookies: [Nothing; 0],
    pub(super) headers: &'a [NameAndValue],
    pub(super) query_string: &'a [NameAndValue],
    pub(super) headers_size: i8,
    pub(super) body_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) post_data: Option<PostData<'a>>,
}

/// A header or a parameter.
#[derive(Debug, Serialize)]
pub(super) struct NameAndValue {
    pub(super) name: String,
    pub(super) value: String,
}

/// Body of a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostData<'a> {
    pub(super) mime_type: &'a str,
    pub(super) text: &'a str,
}

/// A response, or its absence.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResponsePart<'a> {
    pub(super) status: u16,
    pub(super) status_text: &'a str,
    pub(super) http_version: &'a str,
    pub(super) cookies: [Nothing; 0],
    pub(super) headers: &'a [NameAndValue],
    pub(super) content: Content<'a>,
    #[serde(rename = "redirectURL")]
    pub(super) redirect_url: &'a str,
    pub(super) headers_size: i8,
    /// Negative where it is not known.
    pub(super) body_size: i64,
    #[serde(rename = "_error", skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
}

/// Body of a response.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content<'a> {
    pub(super) size: usize,
    pub(super) mime_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
}

/// Kind of an entry, with what belongs to it alone.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Mcp<'a> {
    Message {
        direction: &'a str,
        message: &'a str,
        id: Option<&'a RawValue>,
        method: &'a str,
    },
    Http {
        exchange: u64,
        purpose: &'a str,
        state: &'a str,
        host: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<&'a str>,
    },
    Step {
        step: &'a str,
        detail: &'a str,
    },
}

impl<'a> RequestPart<'a> {
    /// Stand-in for the request of an entry that is no HTTP exchange.
    pub(super) fn stub(method: &'a str, url: &'a str) -> Self {
        Self {
            method,
            url,
            http_version: "",
            cookies: [],
            headers: &[],
            query_string: &[],
            headers_size: -1,
            body_size: 0,
            post_data: None,
        }
    }
}

impl ResponsePart<'_> {
    /// No response.
    pub(super) fn none() -> Self {
        Self {
            status: 0,
            status_text: "",
            http_version: "",
            cookies: [],
            headers: &[],
            content: Content::default(),
            redirect_url: "",
            headers_size: -1,
            body_size: -1,
            error: None,
        }
    }
}
