//! Sending of one HTTP request: headers, token, redirects, sign-in, lost sessions, busy servers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::body::{HttpErrorBody, within};
use super::credentials::Credentials;
use super::header_mismatch::is_mismatch;
use super::retry::{Cause, Circumstances, NextAttempt, Repeat, Retries};
use super::session::{McpSession, speaks_of_session};
use super::wire_log::WireLog;
use super::{ConnectCause, Endpoint, Failure, Phase, Track, outage};
use mcp_bridge_auth::{Authorizer, Interaction, Refusal, has_challenge};
use mcp_bridge_net::boxed::boxed;
use mcp_bridge_net::http::{
    Place, RedirectRefusal, Redirects, Response, Traffic, bare, retry_after,
};
use mcp_bridge_net::observer::{SignInStep, Step};
use mcp_bridge_net::setting::Setting;
use mcp_bridge_protocol::codes::METHOD_NOT_FOUND;
use mcp_bridge_protocol::message::Message;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const JSON_OR_EVENTS: &str = "application/json, text/event-stream";

/// Headers that there is room for from the beginning.
const HEADERS: usize = 12;

/// Same-origin redirects that are followed for one request.
pub(super) const MAX_REDIRECTS: usize = 5;

/// Limit for a token to come once the bridge is on its way out.
const STOPPING_LIMIT: Duration = Duration::from_secs(1);

/// An HTTP request to the endpoint.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    /// The address: the endpoint's URL, or one of the same origin.
    pub(super) target: &'a Url,
    pub(super) verb: Verb,
    /// Urgency, by which it gets its place among the requests to the server.
    pub(super) traffic: Traffic,
    /// Those of the message itself, beside what every request has.
    pub(super) headers: HeaderMap,
    pub(super) session: SessionUse,
    pub(super) interaction: Interaction,
    pub(super) repeat: Repeat,
    /// Progress of the request, for those who wait.
    pub(super) track: &'a Track,
}

/// Session, sign-in and progress with which a message is sent.
#[derive(Debug)]
pub(super) struct SendOptions<'a> {
    pub(super) session: SessionUse,
    pub(super) interaction: Interaction,
    pub(super) track: &'a Track,
}

impl<'a> SendOptions<'a> {
    /// Of a message for which a person may be asked to sign in.
    pub(super) const fn new(session: SessionUse, track: &'a Track) -> Self {
        Self {
            session,
            interaction: Interaction::Allowed,
            track,
        }
    }
}

/// The HTTP method with what belongs to it.
#[derive(Debug, Clone)]
pub(super) enum Verb {
    /// Sends a message.
    Post(Message),
    /// Opens a stream, after the event that was seen last.
    Get { last_event_id: Option<HeaderValue> },
}

impl Verb {
    pub(super) const fn method(&self) -> Method {
        match self {
            Self::Post(_) => Method::POST,
            Self::Get { .. } => Method::GET,
        }
    }

    /// The request in words, for who watches its retries.
    fn in_words(&self) -> String {
        match self {
            Self::Post(message) => match (message.method(), message.id()) {
                (Some(method), Some(id)) => format!("{method} #{}", id.as_json()),
                (Some(method), None) => method.to_owned(),
                (None, _) => "the response".to_owned(),
            },
            Self::Get { .. } => "the stream".to_owned(),
        }
    }
}

/// Session that a request belongs to.
#[derive(Debug, Clone)]
pub(super) enum SessionUse {
    /// It opens one.
    None,
    /// The one that is current when it goes out; if that is lost, a new one.
    Current,
    /// This one, which is being opened or may be lost.
    Fixed(McpSession),
}

/// An accepted request.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) response: Response,
    /// The session that it was sent in.
    pub(super) session: McpSession,
    /// The URL that it was redirected to, if it was.
    pub(super) redirected: Option<Url>,
}

/// The tries to send one HTTP request.
#[derive(Debug)]
struct Tries<'a> {
    retries: Retries,
    /// The wait for a server that cannot be reached.
    unreachable: Option<outage::OutageWait<'a>>,
}

/// A response that refuses a message.
struct Refused<'a> {
    response: Response,
    /// The session and the credentials that the message was sent with.
    session: &'a McpSession,
    credentials: Credentials,
}

impl Endpoint {
    /// Sends until the server accepts (2xx) or there is nothing left to try.
    pub(super) async fn send(
        self: &Arc<Self>,
        outgoing: &Outgoing<'_>,
    ) -> Result<Accepted, Failure> {
        let mut tries = Tries {
            retries: Retries::new(outgoing.repeat),
            unreachable: None,
        };
        loop {
            let credentials = self.credentials().await?;
            let place = self.place(outgoing).await?;
            let session = match &outgoing.session {
                SessionUse::None => McpSession::default(),
                SessionUse::Current => self.sessions.current(),
                SessionUse::Fixed(session) => session.clone(),
            };
            outgoing.track.enter(Phase::Sent);
            self.log_sent(outgoing, &session, &credentials);
            let sent = self.dispatch(place, outgoing, &session, &credentials).await;
            let (response, redirected) = match sent {
                Ok(answered) => answered,
                Err(failure) => {
                    outgoing.track.wire.failed(&failure);
                    // Gateways send those who have no credential to a page for people.
                    if matches!(failure, Failure::Redirect { .. })
                        && tries.retries.allow(Cause::PrintedHeadersRefused)
                        && boxed(|| self.renew_headers(&credentials)).await?
                    {
                        continue;
                    }
                    if matches!(failure, Failure::Connect { .. }) {
                        outgoing.track.connection_failed();
                    }
                    boxed(|| self.await_next_try(failure, outgoing, &mut tries)).await?;
                    continue;
                }
            };
            outgoing.track.reached();
            if let Some(waiting) = &tries.unreachable {
                waiting.got_through();
            }
            let status = response.status();
            outgoing.track.wire.answered(status);
            if status.is_success() {
                return Ok(Accepted {
                    response,
                    session,
                    redirected,
                });
            }
            let refused = Refused {
                response,
                session: &session,
                credentials,
            };
            boxed(|| self.on_refusal(refused, outgoing, &mut tries)).await?;
        }
    }

    /// Deals with a refusal; the failure of the message if it is not to be sent again.
    async fn on_refusal<'a>(
        self: &'a Arc<Self>,
        refused: Refused<'_>,
        outgoing: &Outgoing<'_>,
        tries: &mut Tries<'a>,
    ) -> Result<(), Failure> {
        let Refused {
            mut response,
            session,
            credentials,
        } = refused;
        let status = response.status();
        let body = HttpErrorBody::read(&mut response).await;
        // What follows may take long, and may need a place itself.
        response.give_up_body();
        self.log_refusal(outgoing, &body);
        if is_session_loss(status, session, response.headers(), &body)
            && matches!(outgoing.session, SessionUse::Current)
            && tries.retries.allow(Cause::SessionLost)
        {
            if let Err(failure) = self.recover(session.generation).await {
                // The server has gone in the middle of it; the request is as good as not sent.
                self.await_next_try(failure, outgoing, tries).await?;
                tries.retries.reset(Cause::SessionLost);
            }
            return Ok(());
        }
        let token = credentials.token.clone();
        let refusal = Refusal::new(status, response.headers(), token).from_peer(response.peer());
        if self.has_other_proof(&refusal, response.headers(), tries)?
            || self
                .has_other_headers(&refusal, &credentials, tries)
                .await?
        {
            return Ok(());
        }
        if refusal.is_about_the_token()
            && let Some(authorizer) = &self.authorizer
            && tries.retries.allow(Cause::TokenRefused)
        {
            self.authorize(authorizer, refusal, outgoing).await?;
            tries.retries.reset(Cause::NonceWanted);
            return Ok(());
        }
        let is_busy = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if is_busy && let Some(pause) = tries.retries.busy_pause(retry_after(response.headers())) {
            self.pause_for_busy_server(outgoing, pause).await;
            return Ok(());
        }
        Err(body.into_failure(status, response.headers()))
    }

    async fn pause_for_busy_server(&self, outgoing: &Outgoing<'_>, pause: Duration) {
        self.step(Step::Retry, || {
            let (request, pause) = (outgoing.verb.in_words(), pause.as_millis());
            format!("{request} again in {pause} ms: the server is busy")
        });
        tokio::time::sleep(pause).await;
    }

    /// Deals with an objection to the proof of a token. True if the message is to be sent again with another proof.
    fn has_other_proof(
        &self,
        refusal: &Refusal,
        headers: &HeaderMap,
        tries: &mut Tries<'_>,
    ) -> Result<bool, Failure> {
        let (Some(objection), Some(token)) = (refusal.objection(), &refusal.refused) else {
            return Ok(false);
        };
        let (url, cause) = (&self.config.url, Cause::of_objection(objection));
        if token.answers(objection, url, headers) && tries.retries.allow(cause) {
            self.note(Step::Retry, "again with another proof");
            return Ok(true);
        }
        Err(token.proof_refused(objection, url, headers).into())
    }

    /// Deals with a refusal that may be about the headers of a program. True if the message is to be sent again with other
    /// headers.
    async fn has_other_headers(
        &self,
        refusal: &Refusal,
        credentials: &Credentials,
        tries: &mut Tries<'_>,
    ) -> Result<bool, Failure> {
        if !self.is_about_headers(refusal, credentials) {
            return Ok(false);
        }
        if tries.retries.allow(Cause::PrintedHeadersRefused)
            && self.renew_headers(credentials).await?
        {
            let words = "again with other headers of the header command";
            self.note(Step::Retry, words);
            return Ok(true);
        }
        self.refused_headers(credentials).map_or(Ok(false), Err)
    }

    /// Tells the server that the session is over. Whether it hears is of no consequence.
    pub(super) async fn delete(&self, session: &McpSession) {
        let Ok(credentials) = self.credentials().await else {
            return;
        };
        if let Ok(client) = self.client() {
            let url = &self.config.url;
            let mut headers = self.headers(session);
            credentials.apply(&Method::DELETE, url, &[], &mut headers);
            let wire = WireLog::default();
            wire.deleting(session);
            let sent = async {
                let place = client.place(Traffic::Urgent).await;
                let sent = client.send_at(place, Method::DELETE, url, headers, Bytes::new());
                sent.await
            };
            match sent.await {
                Ok(response) => {
                    wire.answered(response.status());
                    wire.accepted("session ended");
                }
                Err(error) => wire.failed(&Failure::of_http(&error)),
            }
        }
    }

    async fn authorize(
        &self,
        authorizer: &Authorizer,
        refusal: Refusal,
        outgoing: &Outgoing<'_>,
    ) -> Result<(), Failure> {
        let mut stopping = self.stopping.subscribe();
        outgoing.track.enter(Phase::SigningIn);
        self.note(
            Step::SignIn(SignInStep::Wanted),
            "the server wants a token, or another one",
        );
        tokio::select! {
            outcome = authorizer.authorize(refusal.clone(), outgoing.interaction) => {
                return Ok(outcome?);
            }
            _ = stopping.wait_for(|stopping| *stopping) => {}
            // The sign-in goes on, and a later request will find its token.
            () = outgoing.track.sign_in_takes_too_long() => {
                return Err(authorizer.unfinished_sign_in().into());
            }
        }
        // Nobody will sign in any more, but a token that only needs a refresh still comes.
        let last = authorizer.authorize(refusal, Interaction::Forbidden);
        match tokio::time::timeout(STOPPING_LIMIT, last).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Failure::ShuttingDown),
        }
    }

    /// The place of a request among those to the server. While it waits for one it has not been sent.
    async fn place(&self, outgoing: &Outgoing<'_>) -> Result<Place, Failure> {
        let client = self.client()?;
        if let Some(place) = client.free_place(outgoing.traffic) {
            return Ok(place);
        }
        outgoing.track.enter(Phase::Queued);
        Ok(boxed(|| client.place(outgoing.traffic)).await)
    }

    /// Sends once, following redirects that stay at the endpoint's origin. Also returns where they led.
    async fn dispatch(
        &self,
        mut place: Place,
        outgoing: &Outgoing<'_>,
        session: &McpSession,
        credentials: &Credentials,
    ) -> Result<(Response, Option<Url>), Failure> {
        let Outgoing { target, verb, .. } = outgoing;
        let client = self.client()?;
        let mut redirects = Redirects::new(verb.method(), MAX_REDIRECTS);
        loop {
            let mut headers = self.headers(session);
            let body = match verb {
                Verb::Post(message) => {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
                    headers.insert(ACCEPT, HeaderValue::from_static(JSON_OR_EVENTS));
                    for (name, value) in &outgoing.headers {
                        headers.insert(name.clone(), value.clone());
                    }
                    message.text().clone()
                }
                Verb::Get { last_event_id } => {
                    headers.insert(ACCEPT, HeaderValue::from_static(EVENTS));
                    headers.extend(last_event_id.clone().map(|id| (LAST_EVENT_ID, id)));
                    Bytes::new()
                }
            };
            let url = redirects.url(target);
            credentials.apply(&verb.method(), url, &body, &mut headers);
            let sent = {
                let sent = pin!(client.send_at(place, verb.method(), url, headers, body));
                within(self.config.headers_timeout, Setting::HeadersTimeout, sent).await?
            };
            let mut response = sent.map_err(|error| Failure::of_http(&error))?;
            credentials.read_answer(url, response.headers());
            let (status, head) = (response.status(), response.headers());
            if !redirects
                .follow(target, status, head)
                .map_err(not_followed)?
            {
                return Ok((response, redirects.into_target()));
            }
            let to = bare(redirects.url(target));
            tracing::debug!(status = status.as_u16(), %to, "<- server: redirect");
            response.give_up_body();
            place = client.place(outgoing.traffic).await;
        }
    }

    /// The headers that every request has, beside its credentials.
    fn headers(&self, session: &McpSession) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(HEADERS);
        for (name, value) in &self.config.headers {
            headers.append(name.clone(), value.clone());
        }
        // Compressors hold back what a stream has to hand on at once.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(id) = &session.id {
            headers.insert(SESSION_ID, id.clone());
        }
        if let Some(version) = &session.protocol_version {
            headers.insert(PROTOCOL_VERSION, version.clone());
        }
        headers
    }

    /// Waits until a message that did not get through may be sent again; gives the failure back if it is
    /// not to be.
    async fn await_next_try<'a>(
        &'a self,
        mut failure: Failure,
        outgoing: &Outgoing<'_>,
        tries: &mut Tries<'a>,
    ) -> Result<(), Failure> {
        let now = Circumstances {
            is_stopping: *self.stopping.borrow(),
            patience: self.config.patience,
            wait_limit: outgoing.track.wait_limit(),
        };
        let patience = match tries.retries.after_failure(&failure, now) {
            NextAttempt::GiveUp => return Err(failure),
            NextAttempt::After(pause) => {
                self.step(Step::Retry, || {
                    let request = outgoing.verb.in_words();
                    format!("{request} again in {} ms: {failure}", pause.as_millis())
                });
                tokio::time::sleep(pause).await;
                return Ok(());
            }
            NextAttempt::OnceReachable(patience) => patience,
        };
        let Failure::Connect { cause, tried, .. } = &mut failure else {
            return Err(failure);
        };
        let waiting = tries.unreachable.get_or_insert_with(|| {
            let spent = match cause {
                ConnectCause::Timeout => self.config.http.connect_timeout,
                _ => Duration::ZERO,
            };
            let now = Instant::now();
            self.outage.begin(now.checked_sub(spent).unwrap_or(now))
        });
        outgoing.track.enter(Phase::Unreachable);
        self.step(Step::Retry, || {
            format!(
                "{} again when the server can be reached",
                outgoing.verb.in_words()
            )
        });
        let client = self.client()?;
        let stopping = self.stopping.subscribe();
        match waiting
            .next_try(patience, stopping, client.connected())
            .await
        {
            outage::WaitEnd::TryAgain => Ok(()),
            outage::WaitEnd::GiveUp => {
                *tried = Some(waiting.elapsed());
                Err(failure)
            }
        }
    }
}

/// Returns whether a response says that the session is lost: 404, or another refusal whose text is about the session.
fn is_session_loss(
    status: StatusCode,
    session: &McpSession,
    headers: &HeaderMap,
    body: &HttpErrorBody,
) -> bool {
    if session.id.is_none() {
        return false;
    }
    match status {
        StatusCode::NOT_FOUND => {
            let code = body.error.as_ref().and_then(Message::error_text);
            code.is_none_or(|(code, _)| code != METHOD_NOT_FOUND)
        }
        // An argument that is missing in the headers may be called `session`.
        StatusCode::BAD_REQUEST if body.error.as_ref().is_some_and(is_mismatch) => false,
        StatusCode::BAD_REQUEST | StatusCode::GONE => speaks_of_session(body.text()),
        StatusCode::UNAUTHORIZED => !has_challenge(headers) && speaks_of_session(body.text()),
        _ => false,
    }
}

/// The failure of a request whose redirect is not followed.
pub(super) fn not_followed(refusal: RedirectRefusal) -> Failure {
    match refusal {
        RedirectRefusal::NoLocation | RedirectRefusal::TooLong(_) => {
            Failure::InvalidResponse(refusal.to_string())
        }
        RedirectRefusal::Elsewhere(target) => Failure::Redirect {
            target: target.to_string(),
        },
        RedirectRefusal::TooMany => Failure::Redirect {
            target: "itself in a loop".to_owned(),
        },
    }
}
