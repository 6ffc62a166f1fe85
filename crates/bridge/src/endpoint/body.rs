//! Response bodies, read within limits.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::Failure;
use mcp_bridge_net::http::{self, Response, json};
use mcp_bridge_net::setting::Setting;
use mcp_bridge_protocol::message::Message;
use mcp_bridge_text::printable;

/// Limit for the body of an error, in bytes.
const ERROR_BYTES: usize = 64 * 1024;

/// Limit for the time in which the body of an error is read.
const ERROR_LIMIT: Duration = Duration::from_secs(10);

/// Limit for the part of it that is shown to a person, in characters.
const EXCERPT_CHARS: usize = 300;

/// The longest `Content-Type` that is shown.
const TYPE_CHARS: usize = 100;

/// After the answer is known: how much and how long to read on, so that the connection can be used
/// again.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Media type of a body, by its `Content-Type` without parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    EventStream,
    /// None given: the first byte decides.
    Missing,
    /// Another one, in small letters.
    Other(String),
}

impl ContentType {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Self::Missing;
        };
        let value = value.as_bytes();
        let end = memchr(b';', value).unwrap_or(value.len());
        match value[..end].trim_ascii() {
            b"" => Self::Missing,
            kind if kind.eq_ignore_ascii_case(b"application/json") => Self::Json,
            kind if kind.eq_ignore_ascii_case(b"text/event-stream") => Self::EventStream,
            other => {
                let other = String::from_utf8_lossy(other).to_ascii_lowercase();
                Self::Other(printable::short_line(&other, TYPE_CHARS))
            }
        }
    }
}

/// Limits for the body of a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// The largest message in it, in bytes.
    pub(super) message: usize,
    /// Limit for silence.
    pub(super) silence: Option<Duration>,
}

/// Reads a whole body, which is one message.
pub(super) async fn read(response: &mut Response, limits: BodyLimits) -> Result<Bytes, Failure> {
    let limit = limits.message;
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX).min(limit);
    let mut whole = BytesMut::new();
    let mut first = Bytes::new();
    while let Some(chunk) = next_chunk(response, limits.silence).await? {
        if whole.len() + first.len() + chunk.len() > limit {
            return Err(Failure::TooLarge { limit });
        }
        // A body that comes in one piece stays that piece.
        if first.is_empty() && whole.is_empty() {
            first = chunk;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(announced.max(first.len() + chunk.len()));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

/// The next piece of a body, which has to come within `silence`.
pub(super) async fn next_chunk(
    response: &mut Response,
    silence: Option<Duration>,
) -> Result<Option<Bytes>, Failure> {
    let chunk = pin!(response.chunk());
    let chunk = within(silence, Setting::BodyTimeout, chunk).await?;
    chunk.map_err(|error| Failure::of_body(&error))
}

/// The output of `future`, or a failure that names `setting` where it takes longer than `limit`. The future is pinned
/// already: some are large, and would be copied.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    setting: Setting,
    future: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Failure> {
    let Some(limit) = limit else {
        return Ok(future.await);
    };
    let outcome = tokio::time::timeout(limit, future).await;
    outcome.map_err(|_| Failure::ConnectionLost {
        detail: format!("nothing came for {} s ({setting})", limit.as_secs_f64()),
    })
}

/// Reads on for a moment after the answer, so that the connection goes back to the pool.
pub(super) fn drain(mut response: Response) {
    tokio::spawn(tokio::time::timeout(DRAIN_LIMIT, async move {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > DRAIN_BYTES {
                break;
            }
        }
    }));
}

/// The body of an HTTP error.
#[derive(Debug)]
pub(super) struct HttpErrorBody {
    /// The JSON-RPC error in it, if it is one.
    pub(super) error: Option<Message>,
    text: String,
    content: ContentType,
}

impl HttpErrorBody {
    pub(super) async fn read(response: &mut Response) -> Self {
        let content = ContentType::from_headers(response.headers());
        let body = tokio::time::timeout(ERROR_LIMIT, async {
            let mut body = BytesMut::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() > ERROR_BYTES {
                    body.truncate(ERROR_BYTES);
                    break;
                }
            }
            body.freeze()
        })
        .await
        .unwrap_or_default();
        let body = json::utf8(&body).unwrap_or(body);
        let error =
            Message::parse_all(&body).find_map(|message| message.ok().filter(Message::is_error));
        Self {
            error,
            text: String::from_utf8_lossy(&body).into_owned(),
            content,
        }
    }

    /// All of it, to look for words in.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text for people in it: plain text, or the usual members of a JSON object. Pages are left out.
    pub(super) fn excerpt(&self) -> Option<String> {
        let words = match self.content {
            ContentType::Other(ref kind) if kind == "text/plain" => self.text.clone(),
            ContentType::Json | ContentType::Missing => {
                let json: serde_json::Value = json::parse(self.text.as_bytes()).ok()?;
                ["error_description", "message", "detail", "error"]
                    .iter()
                    .find_map(|name| json.get(name)?.as_str().map(str::to_owned))?
            }
            _ => return None,
        };
        let words = printable::short_line(words.trim(), EXCERPT_CHARS);
        (!words.is_empty()).then_some(words)
    }

    /// The failure that the app is told of.
    pub(super) fn into_failure(self, status: StatusCode, headers: &HeaderMap) -> Failure {
        Failure::Status {
            status,
            excerpt: self.excerpt(),
            error: self.error.map(Box::new),
            retry_after: http::retry_after(headers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn the_content_type_is_read_without_case_and_parameters() {
        for (value, expected) in [
            ("application/json", ContentType::Json),
            ("Application/JSON; charset=utf-8", ContentType::Json),
            ("text/event-stream;charset=UTF-8", ContentType::EventStream),
            ("text/html", ContentType::Other("text/html".to_owned())),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(ContentType::from_headers(&headers), expected);
        }
        assert_eq!(
            ContentType::from_headers(&HeaderMap::new()),
            ContentType::Missing
        );
    }
}
