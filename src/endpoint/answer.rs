//! Reading the answer to a request: one JSON body, or an event stream.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};

use super::body::{self, ContentType};
use super::send::{Accepted, Outgoing, Repeat, SessionUse, Verb};
use super::session::Session;
use super::stream::{Backoff, EventStream};
use super::track::Track;
use super::{Endpoint, Failure};
use crate::auth::Interaction;
use crate::era::Era;
use crate::http::{Response, json};
use crate::message::{Kind, Message, RequestId};

/// Connections in a row that bring nothing new before a broken response stream is given up.
const MAX_BARREN_RESUMES: u32 = 5;

/// A request that the server has accepted, and whose response is being read.
pub(super) struct Exchange<'a> {
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) id: &'a RequestId,
    pub(super) method: &'a str,
    pub(super) track: &'a Track,
    pub(super) generation: u64,
    pub(super) era: Era,
}

impl Exchange<'_> {
    /// Reads on until the response is there, or cannot come any more.
    pub(super) async fn read(&self, accepted: Accepted) -> Result<Message, Failure> {
        let Accepted {
            response, session, ..
        } = accepted;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Err(Failure::NoResponse(format!("it only said {status}")));
        }
        match ContentType::of(response.headers()) {
            ContentType::EventStream => self.read_stream(response, session).await,
            ContentType::Json | ContentType::Missing => self.read_json(response).await,
            ContentType::Other(kind) => Err(Failure::InvalidResponse(format!(
                "it is of type {kind}; is this the server's MCP endpoint?"
            ))),
        }
    }

    async fn read_json(&self, mut response: Response) -> Result<Message, Failure> {
        let text = body::read(&mut response, self.endpoint.config.body_limits()).await?;
        let text = json::utf8(&text)
            .map_err(|unreadable| Failure::InvalidResponse(unreadable.to_string()))?;
        if text.trim_ascii().is_empty() {
            return Err(Failure::NoResponse("the body is empty".to_owned()));
        }
        let mut answer = None;
        for message in Message::parse_all(&text) {
            let message =
                message.map_err(|invalid| Failure::InvalidResponse(invalid.to_string()))?;
            answer = answer.or(self.take(message, Elsewhere::Dropped).await);
        }
        answer.ok_or_else(|| Failure::InvalidResponse("it answers another request".to_owned()))
    }

    async fn read_stream(&self, response: Response, session: Session) -> Result<Message, Failure> {
        let mut stream = EventStream::new(response, self.endpoint.config.body_limits());
        let mut barren = 0;
        let mut backoff = Backoff::default();
        loop {
            let cursor = stream.cursor();
            let end = match self.read_connection(&mut stream).await {
                Ok(Some(answer)) => {
                    stream.drain();
                    return Ok(answer);
                }
                Ok(None) => Failure::NoResponse("the event stream ended".to_owned()),
                Err(failure @ Failure::ConnectionLost { .. }) => failure,
                Err(failure) => return Err(failure),
            };
            if stream.cursor() == cursor {
                barren += 1;
            } else {
                barren = 0;
                backoff.reset();
            }
            // The modern era has no resumption: what the id of an event is for there, nobody knows.
            let Some(cursor) = stream.cursor().filter(|_| self.era == Era::Legacy) else {
                return Err(end);
            };
            let resumed = loop {
                if barren >= MAX_BARREN_RESUMES {
                    return Err(end);
                }
                tokio::time::sleep(stream.retry().unwrap_or_else(|| backoff.pause())).await;
                match Box::pin(self.resume(cursor.clone(), &session)).await {
                    Ok(resumed) => break resumed,
                    Err(failure) if failure.may_pass() => barren += 1,
                    Err(failure) => {
                        // The request itself was accepted: why the rest of its answer cannot be had
                        // must not read as if it had been refused.
                        let detail = format!("the event stream cannot be resumed: {failure}");
                        return Err(Failure::ConnectionLost { detail });
                    }
                }
            };
            stream.resume(resumed);
        }
    }

    /// Reads one connection of the stream to its end, or to the answer.
    async fn read_connection(&self, stream: &mut EventStream) -> Result<Option<Message>, Failure> {
        loop {
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                end @ (Ok(None) | Err(Failure::ConnectionLost { .. })) => {
                    // Many a server forgets the last blank line. A whole response counts all the same.
                    return match stream.unfinished().map(|text| Message::parse(&text)) {
                        Some(Ok(message)) if message.id() == Some(self.id) => {
                            Ok(self.take(message, Elsewhere::Forwarded).await)
                        }
                        _ => end.map(|_| None),
                    };
                }
                Err(failure) => return Err(failure),
            };
            self.track.advanced();
            // A server of 2024-11-05 may answer even a POST so; later it is an event like any other.
            if self.method == "initialize" && &event.name[..] == b"endpoint" {
                return Err(Failure::HttpSse);
            }
            for message in messages(&event.name, &event.data, self.endpoint) {
                if let Some(answer) = self.take(message, Elsewhere::Forwarded).await {
                    return Ok(Some(answer));
                }
            }
        }
    }

    /// Hands on what is not the response itself.
    pub(super) async fn hand_on(&self, message: Message) {
        self.endpoint
            .deliver(message, self.generation, Some(self.id))
            .await;
    }

    async fn resume(&self, cursor: HeaderValue, session: &Session) -> Result<Response, Failure> {
        let outgoing = Outgoing {
            target: &self.endpoint.config.url,
            headers: HeaderMap::new(),
            verb: Verb::Get {
                last_event_id: Some(cursor),
            },
            session: SessionUse::Fixed(session.clone()),
            interaction: Interaction::Forbidden,
            repeat: Repeat::Safe,
            track: self.track,
        };
        let response = self.endpoint.send(&outgoing).await?.response;
        match ContentType::of(response.headers()) {
            ContentType::EventStream => Ok(response),
            _ => Err(Failure::NoResponse(
                "the event stream ended and cannot be resumed".to_owned(),
            )),
        }
    }

    /// Sorts a message: the response to this request is returned, everything else is handed on.
    pub(super) async fn take(&self, message: Message, elsewhere: Elsewhere) -> Option<Message> {
        match (message.kind(), elsewhere) {
            (Kind::Request { method, .. }, _) if self.era == Era::Modern => {
                // Forbidden there, and the app could not answer it.
                let host = self.endpoint.host();
                tracing::warn!(host, method, "dropped a request of the server");
            }
            (Kind::Response { id: Some(id) }, _) if id == self.id => return Some(message),
            // An error that could not name its request.
            (Kind::Response { id: None }, _) if message.is_error() => {
                return Some(message.with_id(self.id));
            }
            (Kind::Response { id: None }, _) => self.endpoint.drop_response(None),
            (Kind::Response { id }, Elsewhere::Dropped) => self.endpoint.drop_response(id.as_ref()),
            _ => self.hand_on(message).await,
        }
        None
    }
}

/// What becomes of a response to another request.
#[derive(Clone, Copy)]
pub(super) enum Elsewhere {
    /// A JSON body holds the response to its own request and no other.
    Dropped,
    /// An event stream may bring what another stream lost.
    Forwarded,
}

/// The messages of an event. What is no message is logged and skipped: the stream goes on.
pub(super) fn messages(name: &Bytes, data: &Bytes, endpoint: &Endpoint) -> Vec<Message> {
    if &name[..] != b"message" {
        tracing::debug!(host = %endpoint.host(), name = %name.escape_ascii(), "skipped an event of this type");
        return Vec::new();
    }
    // The priming event of MCP 2025-11-25 has an id and nothing to say.
    if data.is_empty() {
        return Vec::new();
    }
    Message::parse_all(data)
        .into_iter()
        .filter_map(|message| {
            message
                .inspect_err(|error| {
                    tracing::warn!(host = %endpoint.host(), bytes = data.len(), "skipped an event: {error}");
                })
                .ok()
        })
        .collect()
}
