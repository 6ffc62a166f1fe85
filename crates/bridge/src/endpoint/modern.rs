//! Requests of the 2026-07-28 revision: no session, all that a gateway needs in the headers, a stream per
//! request that is closed to cancel and is never resumed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Elsewhere, ResponseReader, messages};
use super::exchange::traffic;
use super::header_mismatch::is_header_mismatch;
use super::request_progress::Track;
use super::retry::{Cause, Repeat, Retries, is_response_lost};
use super::send::{Accepted, Outgoing, SessionUse, Verb};
use super::stream::{EventStream, reconnect_backoff};
use super::{Endpoint, Failure, Request, body, headers};
use mcp_bridge_auth::Interaction;
use mcp_bridge_protocol::lists::SERVER_LISTS;
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
                && Box::pin(self.relearn_modern(request, known, track)).await
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

    /// Keeps a subscription open over dropped connections without the app noticing, until the server
    /// ends it or there is no hope left.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        request: &Request,
        track: &Track,
    ) -> SubscriptionEnd {
        let mut backoff = reconnect_backoff();
        let mut retries = Retries::new(Repeat::Safe);
        let mut acknowledged = false;
        loop {
            let mut subscription = SubscriptionReader {
                reader: ResponseReader {
                    endpoint: self,
                    request,
                    track,
                    generation: self.generation(),
                },
                acknowledged,
                brought_something: false,
            };
            let sent =
                self.send_modern(request.message(), Repeat::Safe, Interaction::Allowed, track);
            let end = match sent.await {
                Ok(accepted) => match subscription.read(accepted).await {
                    Ok(answer) => {
                        self.log_response(track, &answer);
                        return SubscriptionEnd::Answered(answer);
                    }
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            acknowledged = subscription.acknowledged;
            // A subscription that never was is not kept: whoever asked for it has to know.
            if !acknowledged {
                return SubscriptionEnd::Refused(end);
            }
            if subscription.brought_something {
                retries.reset(Cause::SubscriptionBroken);
                backoff.reset();
            }
            let may_come_back = end.may_pass() || matches!(end, Failure::NoResponse(_));
            if !may_come_back || !retries.allow(Cause::SubscriptionBroken) {
                return SubscriptionEnd::Lost(end);
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.jittered_pause()) => {}
                () = self.activity.notified() => {}
            }
        }
    }
}

/// End of a subscription.
#[derive(Debug)]
pub(super) enum SubscriptionEnd {
    /// The server has answered the request.
    Answered(Message),
    /// The server never acknowledged it.
    Refused(Failure),
    /// The server had acknowledged it, and it cannot be kept open.
    Lost(Failure),
}

/// One connection of a subscription.
struct SubscriptionReader<'a> {
    reader: ResponseReader<'a>,
    /// True if the app has the server's acknowledgement.
    acknowledged: bool,
    brought_something: bool,
}

impl SubscriptionReader<'_> {
    /// Hands on what the connection brings. Ends well only with the server's own response.
    async fn read(&mut self, accepted: Accepted) -> Result<Message, Failure> {
        let limits = self.reader.endpoint.config.body_limits();
        let mut stream = EventStream::new(accepted.response, limits);
        while let Some(event) = stream.next().await? {
            self.brought_something = true;
            for message in messages(&mut stream, &event, self.reader.endpoint) {
                let message = match message {
                    Ok(message) => message,
                    Err(damaged) => {
                        self.reader.on_damaged(damaged)?;
                        continue;
                    }
                };
                let is_acknowledgement =
                    message.method() == Some("notifications/subscriptions/acknowledged");
                if is_acknowledgement && self.acknowledged {
                    self.make_up(&message).await;
                    continue;
                }
                self.acknowledged |= is_acknowledgement;
                if let Some(answer) = self.reader.on_message(message, Elsewhere::Forwarded).await {
                    return Ok(answer);
                }
            }
        }
        Err(Failure::NoResponse("the event stream ended".to_owned()))
    }

    /// Nobody knows what happened while the stream was down, so all that might have is announced.
    async fn make_up(&self, acknowledgement: &Message) {
        let filter: Value = acknowledgement.param("notifications").unwrap_or_default();
        let meta: Value = acknowledgement.param("_meta").unwrap_or_default();
        for list in SERVER_LISTS {
            if filter[list.filter] == json!(true) {
                let message = Message::notification(list.changed, &json!({ "_meta": meta }));
                self.reader.hand_on(message).await;
            }
        }
        let resources = filter["resourceSubscriptions"].as_array();
        for uri in resources.into_iter().flatten() {
            let params = json!({ "_meta": meta, "uri": uri });
            let message = Message::notification("notifications/resources/updated", &params);
            self.reader.hand_on(message).await;
        }
    }
}
