//! One HTTP request and its retry policy: headers, token, redirects, sign-in, lost sessions, busy servers.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION,
};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::body::{ErrorBody, retry_after, within};
use super::header_mismatch::is_mismatch;
use super::session::{Session, speaks_of_session};
use super::wire_log::WireLog;
use super::{ConnectCause, Endpoint, Failure, Patience, Phase, Track, outage};
use mcp_bridge_auth::{AccessToken, AuthError, Authorizer, Interaction, Refusal, has_challenge};
use mcp_bridge_net::http::{Place, Response, Traffic, bare, check_length};
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

/// Tokens that one request may ask for: a stored one, a refreshed one, one with more scopes.
const MAX_AUTHORIZATIONS: u32 = 3;

/// Time that a message for which nobody waits is tried at a server that cannot be reached, and the first
/// message of all: an app gives that half a minute or more, and a server that is being restarted is back by
/// then. For a request of the app its [`Track`] says how long.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const INITIALIZE_PATIENCE: Duration = Duration::from_secs(20);

/// The pause before a request without side effects is sent again, after its connection broke.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How often a busy server (429, 503) is asked again, and the longest `Retry-After` that is waited for.
const MAX_BUSY_RETRIES: u32 = 3;
const MAX_RETRY_AFTER: Duration = Duration::from_secs(20);

/// How long a token may take to come once the bridge is on its way out.
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
    /// Where the request stands, for those who wait.
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

/// Whether the request belongs to a session.
#[derive(Debug, Clone)]
pub(super) enum SessionUse {
    /// It opens one.
    None,
    /// The one that is current when it goes out; if that is lost, a new one.
    Current,
    /// This one, which is being opened or may be lost.
    Fixed(Session),
}

/// Whether the request may be sent again when it is not known what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It has no side effects.
    Safe,
    /// It opens the session: safe, and worth waiting for.
    Initialize,
    /// It may have been acted upon.
    Never,
}

/// An accepted request.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) response: Response,
    /// The session that it was sent in.
    pub(super) session: Session,
    /// Where it was sent, if that is not where it was meant to go.
    pub(super) redirected: Option<Url>,
}

/// What was tried already.
#[derive(Debug, Default)]
struct Tries<'a> {
    authorizations: u32,
    recovered: bool,
    lost: bool,
    busy: u32,
    /// The wait for a server that cannot be reached.
    unreachable: Option<outage::Waiting<'a>>,
}

impl Endpoint {
    /// Sends until the server accepts (2xx) or there is nothing left to try.
    pub(super) async fn send(
        self: &std::sync::Arc<Self>,
        outgoing: &Outgoing<'_>,
    ) -> Result<Accepted, Failure> {
        let mut tries = Tries::default();
        loop {
            let token = self.token().await?;
            let place = self.place(outgoing).await?;
            let session = match &outgoing.session {
                SessionUse::None => Session::default(),
                SessionUse::Current => self.sessions.current(),
                SessionUse::Fixed(session) => session.clone(),
            };
            outgoing.track.enter(Phase::Sent);
            self.log_sent(outgoing, &session, token.as_ref());
            let sent = self
                .dispatch(place, outgoing, &session, token.as_ref())
                .await;
            let (mut response, redirected) = match sent {
                Ok(answered) => answered,
                Err(failure) => {
                    outgoing.track.wire.failed(&failure);
                    if matches!(failure, Failure::Connect { .. }) {
                        outgoing.track.connection_failed();
                    }
                    Box::pin(self.await_next_try(failure, outgoing, &mut tries)).await?;
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
            let body = Box::pin(ErrorBody::read(&mut response)).await;
            // What follows may take long, and may need a place itself.
            response.give_up_body();
            self.log_refusal(outgoing, &body);
            if is_session_loss(status, &session, response.headers(), &body)
                && matches!(outgoing.session, SessionUse::Current)
                && !std::mem::replace(&mut tries.recovered, true)
            {
                if let Err(failure) = Box::pin(self.recover(session.generation)).await {
                    // The server has gone in the middle of it; the request is as good as not sent.
                    Box::pin(self.await_next_try(failure, outgoing, &mut tries)).await?;
                    tries.recovered = false;
                }
                continue;
            }
            let refusal = Refusal::new(response.status(), response.headers(), token)
                .from_peer(response.peer());
            if refusal.is_about_the_token()
                && let Some(authorizer) = &self.authorizer
                && tries.authorizations < MAX_AUTHORIZATIONS
            {
                tries.authorizations += 1;
                Box::pin(self.authorize(authorizer, refusal, outgoing)).await?;
                continue;
            }
            if let Some(pause) = busy_pause(&response, outgoing.repeat, &mut tries) {
                tokio::time::sleep(pause).await;
                continue;
            }
            return Err(body.into_failure(status, response.headers()));
        }
    }

    /// Tells the server that the session is over. Whether it hears is of no consequence.
    pub(super) async fn delete(&self, session: &Session) {
        let Ok(token) = self.token().await else {
            return;
        };
        let headers = self.headers(session, token.as_ref());
        if let Ok(client) = self.client() {
            let url = &self.config.url;
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

    async fn token(&self) -> Result<Option<AccessToken>, Failure> {
        match &self.authorizer {
            Some(authorizer) => Ok(authorizer.token().await?),
            None => Ok(None),
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
        tokio::select! {
            authorized = authorizer.authorize(refusal.clone(), outgoing.interaction) => {
                return Ok(authorized?);
            }
            _ = stopping.wait_for(|stopping| *stopping) => {}
            // The sign-in goes on, and a later request will find its token.
            () = outgoing.track.sign_in_takes_too_long() => {
                let url = authorizer.pending_sign_in();
                return Err(AuthError::SignInRequired { url }.into());
            }
        }
        // Nobody will sign in any more, but a token that only needs a refresh still comes.
        let last = authorizer.authorize(refusal, Interaction::Forbidden);
        match tokio::time::timeout(STOPPING_LIMIT, last).await {
            Ok(authorized) => Ok(authorized?),
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
        Ok(Box::pin(client.place(outgoing.traffic)).await)
    }

    /// Sends once, following redirects that stay at the endpoint's origin. Also returns where they led.
    async fn dispatch(
        &self,
        mut place: Place,
        outgoing: &Outgoing<'_>,
        session: &Session,
        token: Option<&AccessToken>,
    ) -> Result<(Response, Option<Url>), Failure> {
        let Outgoing { target, verb, .. } = outgoing;
        let client = self.client()?;
        let mut redirected: Option<Url> = None;
        for _ in 0..=MAX_REDIRECTS {
            let url = redirected.as_ref().unwrap_or(target);
            let mut headers = self.headers(session, token);
            let (method, body) = match verb {
                Verb::Post(message) => {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
                    headers.insert(ACCEPT, HeaderValue::from_static(JSON_OR_EVENTS));
                    headers.extend(outgoing.headers.clone());
                    (Method::POST, message.text().clone())
                }
                Verb::Get { last_event_id } => {
                    headers.insert(ACCEPT, HeaderValue::from_static(EVENTS));
                    headers.extend(last_event_id.clone().map(|id| (LAST_EVENT_ID, id)));
                    (Method::GET, Bytes::new())
                }
            };
            let sent = client.send_at(place, method, url, headers, body);
            let sent = within(self.config.headers_timeout, Setting::HeadersTimeout, sent);
            let mut response = sent.await?.map_err(|error| Failure::of_http(&error))?;
            match redirect(&response, url, verb)? {
                Some(target) => {
                    tracing::debug!(status = response.status().as_u16(), to = %bare(&target), "<- server: redirect");
                    redirected = Some(target);
                    response.give_up_body();
                    place = client.place(outgoing.traffic).await;
                }
                None => return Ok((response, redirected)),
            }
        }
        Err(Failure::Redirect {
            target: "itself in a loop".to_owned(),
        })
    }

    /// The headers that every request has.
    fn headers(&self, session: &Session, token: Option<&AccessToken>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.extend(self.config.headers.clone());
        // Compressors hold back what a stream has to hand on at once.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.header());
        }
        if let Some(id) = &session.id {
            headers.insert(SESSION_ID, id.clone());
        }
        if let Some(version) = &session.protocol_version {
            headers.insert(PROTOCOL_VERSION, version.clone());
        }
        headers
    }

    /// Waits until a request that did not get through may be sent again; gives the failure back if it is
    /// not to be.
    async fn await_next_try<'a>(
        &'a self,
        mut failure: Failure,
        outgoing: &Outgoing<'_>,
        tries: &mut Tries<'a>,
    ) -> Result<(), Failure> {
        if *self.stopping.borrow() || self.config.patience == Patience::FailFast {
            return Err(failure);
        }
        if let Failure::ConnectionLost { .. } = failure {
            if outgoing.repeat == Repeat::Never || std::mem::replace(&mut tries.lost, true) {
                return Err(failure);
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
            return Ok(());
        }
        let Failure::Connect { cause, tried, .. } = &mut failure else {
            return Err(failure);
        };
        let Some(patience) = self.patience(*cause, outgoing) else {
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
        let client = self.client()?;
        let stopping = self.stopping.subscribe();
        match waiting
            .next_try(patience, stopping, client.connected())
            .await
        {
            outage::End::TryAgain => Ok(()),
            outage::End::GiveUp => {
                *tried = Some(waiting.elapsed());
                Err(failure)
            }
        }
    }

    /// Time that a request waits for a server that cannot be reached; `None` if it does not.
    fn patience(&self, cause: ConnectCause, outgoing: &Outgoing<'_>) -> Option<Duration> {
        if !cause.may_pass() {
            return None;
        }
        match (outgoing.track.patience(), outgoing.repeat) {
            (Some(patience), _) => Some(patience),
            // A connection that ran into its limit has waited long enough.
            (None, _) if cause == ConnectCause::Timeout => None,
            (None, Repeat::Initialize) => match self.config.patience {
                Patience::Wait => Some(INITIALIZE_PATIENCE),
                Patience::WaitInSession | Patience::FailFast => None,
            },
            (None, Repeat::Safe | Repeat::Never) => Some(CONNECT_PATIENCE),
        }
    }
}

fn is_session_loss(
    status: StatusCode,
    session: &Session,
    headers: &HeaderMap,
    body: &ErrorBody,
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

fn busy_pause(response: &Response, repeat: Repeat, tries: &mut Tries) -> Option<Duration> {
    let busy = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    if !busy || repeat == Repeat::Never || tries.busy >= MAX_BUSY_RETRIES {
        return None;
    }
    tries.busy += 1;
    retry_after(response.headers()).filter(|pause| *pause <= MAX_RETRY_AFTER)
}

/// Where a redirect leads, if it may be followed: to the same origin, with method and body kept.
pub(super) fn redirect(
    response: &Response,
    from: &Url,
    verb: &Verb,
) -> Result<Option<Url>, Failure> {
    let keeps_method = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            matches!(verb, Verb::Get { .. })
        }
        _ => return Ok(None),
    };
    let location = response.headers().get(LOCATION);
    let target = location
        .and_then(|location| location.to_str().ok())
        .and_then(|location| from.join(location).ok());
    let Some(target) = target else {
        return Err(Failure::InvalidResponse(
            "a redirect without a valid Location".to_owned(),
        ));
    };
    if let Err(too_long) = check_length(&target) {
        return Err(Failure::InvalidResponse(format!("a redirect: {too_long}")));
    }
    if keeps_method && target.origin() == from.origin() {
        return Ok(Some(target));
    }
    // Without the query, which may hold what is nobody's business.
    let mut shown = target;
    shown.set_query(None);
    shown.set_fragment(None);
    Err(Failure::Redirect {
        target: shown.to_string(),
    })
}
