//! Requests of the 2026-07-28 revision: no session, all that a gateway needs in the headers, a stream per
//! request that is closed to cancel and is never resumed.

use std::sync::Arc;

use super::answer::{Elsewhere, ResponseReader, messages};
use super::exchange::traffic;
use super::header_mismatch::is_header_mismatch;
use super::request_progress::Track;
use super::retry::{Cause, Repeat, Retries, is_response_lost};
use super::send::{Accepted, Outgoing, SessionUse, Verb};
use super::stream::EventStream;
use super::{Endpoint, Failure, LostSubscription, Request, body, headers};
use mcp_bridge_auth::Interaction;
use mcp_bridge_net::boxed::boxed;
use mcp_bridge_protocol::message::Message;

impl Endpoint {
    /// Sends a request of the modern era and reads on until its response is there.
    pub(super) async fn converse_modern(
        self: &Arc<Self>,
        request: &Request,
        track: &Track,
    ) -> Result<Message, Failure> {
        let (id, method) = (request.id(), request.method());
        let mut retries = Retries::new(Repeat::of_request(method));
        let mut attempt = request.clone();
        loop {
            let known = self.tool_headers.changes();
            let outcome = self
                .attempt_modern(&attempt, Interaction::Allowed, track)
                .await;
            // The tool has changed since it was listed, or was never listed.
            if method == "tools/call"
                && is_header_mismatch(&outcome)
                && retries.allow(Cause::HeadersRefused)
                && boxed(|| self.relearn_modern(request, known, track)).await
            {
                continue;
            }
            match outcome {
                Ok(answer) if method == "tools/list" => {
                    return Ok(self.tool_headers.learn(&answer.with_id(id)));
                }
                Ok(answer) => return Ok(answer.with_id(id)),
                Err(failure)
                    if is_response_lost(&failure) && retries.allow(Cause::ModernResponseLost) =>
                {
                    attempt = request.with_id(self.next_id());
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Sends a notification of the modern era. The core protocol has none over HTTP; extensions may.
    pub(super) async fn post_modern(self: &Arc<Self>, message: &Message) -> Result<(), Failure> {
        let track = Track::default();
        let accepted = self
            .send_modern(message, Repeat::Never, Interaction::Forbidden, &track)
            .await?;
        track.wire.accepted("accepted");
        body::drain(accepted.response);
        Ok(())
    }

    /// Sends a request once, and reads on until its response is there.
    pub(super) async fn attempt_modern(
        self: &Arc<Self>,
        request: &Request,
        interaction: Interaction,
        track: &Track,
    ) -> Result<Message, Failure> {
        let repeat = Repeat::of_request(request.method());
        let sent = self.send_modern(request.message(), repeat, interaction, track);
        let accepted = sent.await?;
        let reader = ResponseReader {
            endpoint: self,
            request,
            track,
            generation: accepted.session.generation,
        };
        let response = reader.read(accepted).await?.response()?;
        self.log_response(track, &response);
        Ok(response)
    }

    async fn send_modern(
        self: &Arc<Self>,
        message: &Message,
        repeat: Repeat,
        interaction: Interaction,
        track: &Track,
    ) -> Result<Accepted, Failure> {
        let headers = headers::modern(message, &self.tool_headers, self.config.param_headers)
            .map_err(|error| Failure::Unsendable(error.to_string()))?;
        let outgoing = Outgoing {
            target: &self.config.url,
            verb: Verb::Post(message.clone()),
            traffic: traffic(message),
            headers,
            session: SessionUse::None,
            interaction,
            repeat,
            track,
        };
        self.send(&outgoing).await
    }

    /// Sends a subscription once, and hands on what its stream brings until that ends. `bridge/subscriptions.rs` and
    /// the translation between the eras decide what follows.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        request: &Request,
        track: &Track,
    ) -> SubscriptionEnd {
        let mut subscription = SubscriptionReader {
            reader: ResponseReader {
                endpoint: self,
                request,
                track,
                generation: self.generation(),
            },
            is_acknowledged: false,
            brought_events: false,
        };
        let sent = self.send_modern(request.message(), Repeat::Safe, Interaction::Allowed, track);
        let end = match sent.await {
            Ok(accepted) => subscription.read(accepted).await,
            Err(failure) => Err(failure),
        };
        let failure = match end {
            Ok(answer) => {
                self.log_response(track, &answer);
                return SubscriptionEnd::Answered(answer);
            }
            Err(failure) => failure,
        };
        let lost = LostSubscription {
            failure,
            brought_events: subscription.brought_events,
        };
        if subscription.is_acknowledged {
            track.wire.ended(&lost.failure);
            SubscriptionEnd::Lost(lost)
        } else {
            SubscriptionEnd::Refused(lost)
        }
    }
}

/// End of a subscription.
#[derive(Debug)]
pub(super) enum SubscriptionEnd {
    /// The server has answered the request.
    Answered(Message),
    /// The server has not acknowledged it.
    Refused(LostSubscription),
    /// The server had acknowledged it.
    Lost(LostSubscription),
}

/// The stream of a subscription.
struct SubscriptionReader<'a> {
    reader: ResponseReader<'a>,
    /// True if the server has acknowledged it.
    is_acknowledged: bool,
    brought_events: bool,
}

impl SubscriptionReader<'_> {
    /// Hands on what the stream brings. Ends well only with the server's own response.
    async fn read(&mut self, accepted: Accepted) -> Result<Message, Failure> {
        let limits = self.reader.endpoint.config.body_limits();
        let mut stream = EventStream::new(accepted.response, limits);
        while let Some(event) = stream.next().await? {
            self.brought_events = true;
            for message in messages(&mut stream, &event, self.reader.endpoint) {
                let message = match message {
                    Ok(message) => message,
                    Err(damaged) => {
                        self.reader.on_damaged(damaged)?;
                        continue;
                    }
                };
                self.is_acknowledged |=
                    message.method() == Some("notifications/subscriptions/acknowledged");
                if let Some(answer) = self.reader.on_message(message, Elsewhere::Forwarded).await {
                    return Ok(answer);
                }
            }
        }
        Err(Failure::NoResponse("the event stream ended".to_owned()))
    }
}
