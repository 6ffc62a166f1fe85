//! Response reader: one JSON body, or an event stream.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};

use super::body::{self, ContentType};
use super::request_progress::Track;
use super::retry::{Cause, Repeat, Retries};
use super::send::{Accepted, Outgoing, SessionUse, Verb};
use super::session::McpSession;
use super::sse::SseEvent;
use super::stream::{EventStream, reconnect_backoff};
use super::unusable::{self, UnusableText};
use super::{Endpoint, Failure, Request};
use mcp_bridge_auth::Interaction;
use mcp_bridge_net::boxed::boxed;
use mcp_bridge_net::http::{Response, Traffic, json};
use mcp_bridge_net::observer::Step;
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Invalid, Kind, Message, Parsed, RequestId};

/// The longest text that is taken for an acknowledgement.
const MAX_ACKNOWLEDGEMENT_BYTES: usize = 1024;

/// A request that the server has accepted, and whose response is being read.
pub(super) struct ResponseReader<'a> {
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) request: &'a Request,
    pub(super) track: &'a Track,
    pub(super) generation: u64,
}

/// Content of the HTTP response to a POST.
#[derive(Debug)]
pub(super) enum PostAnswer {
    /// The JSON-RPC response.
    Response(Message),
    /// No JSON-RPC message at all: what it says instead, for an error. The response may come on another stream.
    Acknowledged(String),
}

impl PostAnswer {
    /// The response, where no other stream can bring it.
    pub(super) fn response(self) -> Result<Message, Failure> {
        match self {
            Self::Response(response) => Ok(response),
            Self::Acknowledged(said) => Err(Failure::Unanswered(said)),
        }
    }
}

impl ResponseReader<'_> {
    /// Reads on until the response is there, or cannot come any more.
    pub(super) async fn read(&self, accepted: Accepted) -> Result<PostAnswer, Failure> {
        let Accepted {
            response, session, ..
        } = accepted;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            body::drain(response);
            return Ok(PostAnswer::Acknowledged(format!("it only said {status}")));
        }
        match ContentType::from_headers(response.headers()) {
            ContentType::EventStream => {
                let response = self.read_stream(response, session).await?;
                Ok(PostAnswer::Response(response))
            }
            ContentType::Json | ContentType::Missing => self.read_json(response).await,
            ContentType::Other(kind) if kind == "text/plain" => self.read_text(response).await,
            ContentType::Other(kind) => Err(wrong_type(&kind)),
        }
    }

    async fn read_json(&self, mut response: Response) -> Result<PostAnswer, Failure> {
        let text = body::read(&mut response, self.endpoint.config.body_limits()).await?;
        let mut text = json::utf8(&text)
            .map_err(|unreadable| Failure::InvalidResponse(unreadable.to_string()))?;
        if text.trim_ascii().is_empty() {
            return Ok(PostAnswer::Acknowledged("the body is empty".to_owned()));
        }
        let mut answer = None;
        let mut wrong = None;
        for message in unusable::parse_all(&mut text) {
            match message {
                Ok(message) => {
                    let other = message.id().cloned();
                    answer = answer.or(self.on_message(message, Elsewhere::Dropped).await);
                    wrong = wrong.or(other.map(Wrong::Id));
                }
                Err(invalid) => wrong = Some(Wrong::Invalid(invalid)),
            }
        }
        if let Some(answer) = answer {
            return Ok(PostAnswer::Response(answer));
        }
        let reason = match wrong {
            Some(Wrong::Invalid(Invalid::NotAMessage { .. })) if is_acknowledgement(&text) => {
                let said = unusable::excerpt(&text);
                return Ok(PostAnswer::Acknowledged(format!("it only said {said}")));
            }
            Some(Wrong::Invalid(invalid)) => UnusableText::describe(&text, &invalid).reason,
            Some(Wrong::Id(id)) => {
                let id = unusable::excerpt(id.as_json().as_bytes());
                format!("it answers another request, {id}")
            }
            None => "it holds no response".to_owned(),
        };
        Err(unusable::failure(&reason, response.headers()))
    }

    /// A text is no answer; a short one may be an acknowledgement.
    async fn read_text(&self, mut response: Response) -> Result<PostAnswer, Failure> {
        let text = body::read(&mut response, self.endpoint.config.body_limits()).await?;
        if text.len() > MAX_ACKNOWLEDGEMENT_BYTES {
            return Err(wrong_type("text/plain"));
        }
        let said = unusable::excerpt(&text);
        Ok(PostAnswer::Acknowledged(format!("it only said {said}")))
    }

    async fn read_stream(
        &self,
        response: Response,
        session: McpSession,
    ) -> Result<Message, Failure> {
        let mut stream = EventStream::new(response, self.endpoint.config.body_limits());
        let mut retries = Retries::new(Repeat::Safe);
        let mut backoff = reconnect_backoff();
        loop {
            let cursor = stream.cursor();
            let end = match self.read_connection(&mut stream).await {
                Ok(Some(answer)) => {
                    stream.drain();
                    return Ok(answer);
                }
                Ok(None) => {
                    Failure::NoResponse(format!("the event stream ended{}", stream.account()))
                }
                Err(Failure::ConnectionLost { detail }) => Failure::ConnectionLost {
                    detail: format!("{detail}{}", stream.account()),
                },
                Err(failure) => return Err(failure),
            };
            self.step(|method| format!("stream of {method} broken: {end}"));
            if stream.cursor() != cursor {
                retries.reset(Cause::StreamBroken);
                backoff.reset();
            }
            // The modern era has no resumption: what the id of an event is for there, nobody knows.
            let Some(cursor) = stream
                .cursor()
                .filter(|_| self.request.era() == Era::Legacy)
            else {
                return Err(end);
            };
            let resumed = loop {
                if !retries.allow(Cause::StreamBroken) {
                    return Err(end);
                }
                tokio::time::sleep(stream.retry().unwrap_or_else(|| backoff.jittered_pause()))
                    .await;
                match boxed(|| self.resume(cursor.clone(), &session)).await {
                    Ok(resumed) => break resumed,
                    Err(failure) if failure.may_pass() => {}
                    Err(failure) => {
                        // The request itself was accepted: why the rest of its answer cannot be had
                        // must not read as if it had been refused.
                        let detail = format!("the event stream cannot be resumed: {failure}");
                        return Err(Failure::ConnectionLost { detail });
                    }
                }
            };
            self.step(|method| format!("stream of {method} resumed after the last event"));
            stream.resume(resumed);
        }
    }

    /// Tells an observer what has become of the stream of the request.
    fn step(&self, detail: impl FnOnce(&str) -> String) {
        let method = self.request.method();
        self.endpoint.step(Step::Stream, || detail(method));
    }

    /// Reads one connection of the stream to its end, or to the answer.
    async fn read_connection(&self, stream: &mut EventStream) -> Result<Option<Message>, Failure> {
        loop {
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                end @ (Ok(None) | Err(Failure::ConnectionLost { .. })) => {
                    return match self.unfinished(stream).await {
                        Some(answer) => Ok(Some(answer)),
                        None => end.map(|_| None),
                    };
                }
                Err(failure) => return Err(failure),
            };
            self.track.advanced();
            // A server of 2024-11-05 may answer even a POST so; later it is an event like any other.
            if self.request.method() == "initialize" && &event.name[..] == b"endpoint" {
                return Err(Failure::HttpSse);
            }
            for message in messages(stream, &event, self.endpoint) {
                match message {
                    Ok(message) => {
                        if let Some(answer) = self.on_message(message, Elsewhere::Forwarded).await {
                            return Ok(Some(answer));
                        }
                    }
                    Err(damaged) => self.on_damaged(damaged)?,
                }
            }
        }
    }

    /// The response without the blank line that ends an event, which many a server forgets at the end of the
    /// stream.
    async fn unfinished(&self, stream: &mut EventStream) -> Option<Message> {
        let mut text = stream
            .unfinished()
            .filter(|text| !text.trim_ascii().is_empty())?;
        let read = unusable::parse_all(&mut text);
        match read.last() {
            Some(Ok(message)) if message.id() == Some(self.request.id()) => {
                self.on_message(message, Elsewhere::Forwarded).await
            }
            Some(Err(invalid)) => {
                let reason = UnusableText::describe(&text, &invalid).reason;
                stream.skip(
                    &self.endpoint.host(),
                    &format!("cut off at the end of the stream, {reason}"),
                );
                None
            }
            _ => None,
        }
    }

    /// A response that cannot be read ends its request, as nothing better will come.
    pub(super) fn on_damaged(&self, damaged: Damaged) -> Result<(), Failure> {
        if damaged.answers == *self.request.id() {
            return Err(Failure::Unusable(damaged.reason.into()));
        }
        self.endpoint.settle_damaged(damaged);
        Ok(())
    }

    /// Hands on what is not the response itself.
    pub(super) async fn hand_on(&self, message: Message) {
        self.endpoint
            .deliver(message, self.generation, Some(self.request.id()))
            .await;
    }

    async fn resume(&self, cursor: HeaderValue, session: &McpSession) -> Result<Response, Failure> {
        let outgoing = Outgoing {
            target: &self.endpoint.config.url,
            headers: HeaderMap::new(),
            verb: Verb::Get {
                last_event_id: Some(cursor),
            },
            traffic: Traffic::Stream,
            session: SessionUse::Fixed(session.clone()),
            interaction: Interaction::Forbidden,
            repeat: Repeat::Safe,
            track: self.track,
        };
        let response = self.endpoint.send(&outgoing).await?.response;
        match ContentType::from_headers(response.headers()) {
            ContentType::EventStream => {
                self.track.wire.accepted("event stream resumed");
                Ok(response)
            }
            _ => Err(Failure::NoResponse(
                "the event stream ended and cannot be resumed".to_owned(),
            )),
        }
    }

    /// Sorts a message: the response to this request is returned, everything else is handed on.
    pub(super) async fn on_message(
        &self,
        message: Message,
        elsewhere: Elsewhere,
    ) -> Option<Message> {
        match (message.kind(), elsewhere) {
            (Kind::Request { method, .. }, _) if self.request.era() == Era::Modern => {
                // Forbidden there, and the app could not answer it.
                let host = self.endpoint.host();
                tracing::warn!(host, method, "dropped a request of the server");
            }
            (Kind::Response { id: Some(id) }, _) if id == self.request.id() => {
                return Some(message);
            }
            // An error that could not name its request.
            (Kind::Response { id: None }, _) if message.is_error() => {
                return Some(message.with_id(self.request.id()));
            }
            (Kind::Response { id: None }, _) => self.endpoint.drop_response(None),
            (Kind::Response { id }, Elsewhere::Dropped) => self.endpoint.drop_response(id.as_ref()),
            (Kind::Response { id }, Elsewhere::Forwarded) if self.request.era() == Era::Legacy => {
                let id = id.clone();
                self.endpoint.settle(id.as_ref(), message);
            }
            _ => self.hand_on(message).await,
        }
        None
    }
}

/// Treatment of a response to another request.
#[derive(Clone, Copy)]
pub(super) enum Elsewhere {
    /// A JSON body holds the response to its own request and no other.
    Dropped,
    /// An event stream may bring what another stream lost.
    Forwarded,
}

/// Content of a body in the place of the response.
enum Wrong {
    Id(RequestId),
    Invalid(Invalid),
}

/// A body that is no JSON-RPC message and does not look like the remains of one, such as `{"accepted":true}`.
fn is_acknowledgement(text: &[u8]) -> bool {
    text.len() <= MAX_ACKNOWLEDGEMENT_BYTES && Message::answered_id_in_prefix(text).is_none()
}

fn wrong_type(kind: &str) -> Failure {
    Failure::InvalidResponse(format!(
        "it is of type {kind}; is this the server's MCP endpoint?"
    ))
}

/// A response that cannot be read.
#[derive(Debug)]
pub(super) struct Damaged {
    /// The request that it belongs to.
    pub(super) answers: RequestId,
    /// The defect, in words.
    pub(super) reason: Box<str>,
}

/// The messages of an event. What is no message is noted and skipped, and the stream goes on, unless it can be
/// seen which request it should have answered.
pub(super) fn messages<'a>(
    stream: &'a mut EventStream,
    event: &SseEvent,
    endpoint: &'a Endpoint,
) -> impl Iterator<Item = Result<Message, Damaged>> + 'a {
    let mut text = event.data.clone();
    let messages = if &event.name[..] != b"message" {
        tracing::debug!(host = %endpoint.host(), name = %event.name.escape_ascii(), "skipped an event of this type");
        Parsed::One(None)
    } else if text.is_empty() {
        // The priming event of MCP 2025-11-25 has an id and nothing to say.
        Parsed::One(None)
    } else {
        unusable::parse_all(&mut text)
    };
    messages.filter_map(move |message| {
        let invalid = match message {
            Ok(message) => return Some(Ok(message)),
            Err(invalid) => invalid,
        };
        let UnusableText { answers, reason } = UnusableText::describe(&text, &invalid);
        stream.skip(&endpoint.host(), &reason);
        let reason = reason.into();
        answers.map(|answers| Err(Damaged { answers, reason }))
    })
}
