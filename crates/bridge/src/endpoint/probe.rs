//! Single HTTP exchanges with a server, for `doctor`: without sign-in or retries, and a refusal is a result like
//! any other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::time::timeout;
use url::Url;

use super::body::{self, BodyLimits, ContentType, HttpErrorBody};
use super::send::{MAX_REDIRECTS, SESSION_ID, Verb, not_followed};
use super::session::checked_id;
use super::stream::EventStream;
use super::tool_headers::ToolHeaders;
use super::{EndpointConfig, Failure, ParamHeaders, headers, http_sse, unusable};
use mcp_bridge_auth::{AccessToken, Refusal};
use mcp_bridge_net::http::{Client, Redirects, Response, bare, json};
use mcp_bridge_protocol::message::{Kind, Message};

/// Limit for one exchange, unless the user has set a lower one.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(8);

/// The largest answer that is read. Its time is that of the exchange.
const LIMITS: BodyLimits = BodyLimits {
    message: 4 * 1024 * 1024,
    silence: None,
};

/// Sends single requests to a server.
#[derive(Debug, Clone)]
pub struct Probe {
    client: Client,
    headers: HeaderMap,
    token: Option<AccessToken>,
    param_headers: ParamHeaders,
    /// Limit for one exchange.
    limit: Duration,
}

/// Answer of a server to one request.
#[derive(Debug)]
pub struct Reply {
    /// The URL that answered: another one than was asked after a redirect.
    pub url: Url,
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The address that it came from; none where a proxy stands between.
    pub peer: Option<IpAddr>,
    /// Media type of the body.
    pub content: ContentType,
    /// The JSON-RPC response in the body.
    pub message: Option<Message>,
    /// The failure that the bridge would report to the app; none if the status is one of success.
    pub failure: Option<Failure>,
}

impl Reply {
    /// The session that the server has opened, and whether its id is legal (MCP 2025-11-25, "Session
    /// Management").
    #[must_use]
    pub fn session(&self) -> Option<(HeaderValue, bool)> {
        let id = self.headers.get(SESSION_ID)?;
        let legal = checked_id(id).is_ok();
        let mut id = id.clone();
        id.set_sensitive(true);
        Some((id, legal))
    }
}

impl Probe {
    /// Requests as the bridge would send them with these settings. Sends nothing yet.
    pub fn new(config: &EndpointConfig) -> Result<Self, Failure> {
        let mut headers = config.headers.clone();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let limit = config.request_timeout.unwrap_or(EXCHANGE_LIMIT);
        Ok(Self {
            client: config.client()?,
            headers,
            token: None,
            param_headers: config.param_headers,
            limit: limit.min(EXCHANGE_LIMIT),
        })
    }

    /// The same with a token.
    #[must_use]
    pub fn authorized(&self, token: &AccessToken) -> Self {
        let mut probe = self.clone();
        probe.token = Some(token.clone());
        probe
    }

    /// The same with further headers, those of a header command.
    #[must_use]
    pub fn with_headers(&self, headers: HeaderMap) -> Self {
        let mut probe = self.clone();
        probe.headers.extend(headers);
        probe
    }

    /// The same with another header, such as that of a session.
    #[must_use]
    pub fn with_header(&self, name: &'static str, value: HeaderValue) -> Self {
        let mut probe = self.clone();
        probe.headers.insert(name, value);
        probe
    }

    /// Posts a message and reads on until its response is there.
    pub async fn post(&self, url: &Url, message: &Message) -> Result<Reply, Failure> {
        self.limited(async {
            let (url, response) = self.send(url, message).await?;
            read(url, response).await
        })
        .await
    }

    /// Asks for an event stream, and reads nothing of it.
    pub async fn get(&self, url: &Url) -> Result<Reply, Failure> {
        self.limited(async {
            let (url, response) = self.open_stream(url).await?;
            if ContentType::from_headers(response.headers()) == ContentType::EventStream {
                return Ok(Reply::from_head(url, &response));
            }
            read(url, response).await
        })
        .await
    }

    /// Ends a session.
    pub async fn delete(&self, url: &Url) -> Result<Reply, Failure> {
        self.limited(async {
            let headers = self.headers.clone();
            let sent = self.send_proved(Method::DELETE, url, &headers, Bytes::new());
            let response = sent.await?;
            Ok(Reply::from_head(url.clone(), &response))
        })
        .await
    }

    /// Begins a conversation over HTTP+SSE (MCP 2024-11-05).
    pub async fn converse(&self, url: &Url) -> Result<HttpSseConversation, Failure> {
        self.limited(async {
            let (url, mut response) = self.open_stream(url).await?;
            if !response.status().is_success() {
                let body = HttpErrorBody::read(&mut response).await;
                return Err(body.into_failure(response.status(), response.headers()));
            }
            let (stream, target) = http_sse::first_event(&url, response, LIMITS).await?;
            Ok(HttpSseConversation {
                probe: self.clone(),
                target,
                stream,
            })
        })
        .await
    }

    async fn limited<T>(
        &self,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout(self.limit, exchange)
            .await
            .unwrap_or(Err(Failure::Timeout(self.limit)))
    }

    async fn send(&self, url: &Url, message: &Message) -> Result<(Url, Response), Failure> {
        let accept = "application/json, text/event-stream";
        let (tools, params) = (ToolHeaders::default(), self.param_headers);
        let mut all = match headers::version(message) {
            Some(_) => headers::modern(message, &tools, params)
                .map_err(|error| Failure::Unsendable(error.to_string()))?,
            None => headers::legacy(message, &tools, params),
        };
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        all.insert(ACCEPT, HeaderValue::from_static(accept));
        // What was asked for on purpose counts.
        all.extend(self.headers.clone());
        self.dispatch(url, &Verb::Post(message.clone()), &all).await
    }

    /// Sends a request with the token. Where the server wants a nonce in the proof, it is sent once more.
    async fn send_proved(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, Failure> {
        let mut is_repeated = false;
        loop {
            let mut headers = headers.clone();
            if let Some(token) = &self.token {
                token.authorize(&method, url, &body, &mut headers);
            }
            let sent = self.client.send(method.clone(), url, headers, body.clone());
            let response = sent.await.map_err(|error| Failure::of_http(&error))?;
            let Some(token) = &self.token else {
                return Ok(response);
            };
            let (status, head) = (response.status(), response.headers());
            token.read_answer(url, head);
            let refusal = Refusal::new(status, head, Some(token.clone()));
            let objection = refusal.objection();
            let is_answered = objection.is_some_and(|it| token.answers(it, url, head));
            if is_repeated || !is_answered {
                return Ok(response);
            }
            is_repeated = true;
        }
    }

    async fn open_stream(&self, url: &Url) -> Result<(Url, Response), Failure> {
        let mut all = self.headers.clone();
        all.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let verb = Verb::Get {
            last_event_id: None,
        };
        self.dispatch(url, &verb, &all).await
    }

    /// Sends once, following the redirects that the bridge follows.
    async fn dispatch(
        &self,
        url: &Url,
        verb: &Verb,
        headers: &HeaderMap,
    ) -> Result<(Url, Response), Failure> {
        let mut redirects = Redirects::new(verb.method(), MAX_REDIRECTS);
        loop {
            let target = redirects.url(url);
            let body = match verb {
                Verb::Post(message) => message.text().clone(),
                Verb::Get { .. } => Bytes::new(),
            };
            let method = verb.method();
            tracing::debug!(%method, url = %bare(target), bytes = body.len(), "-> server");
            let sent = Instant::now();
            let response = self.send_proved(verb.method(), target, headers, body);
            let response = Box::pin(response).await?;
            let (ms, status) = (sent.elapsed().as_millis(), response.status());
            tracing::debug!(%method, url = %bare(target), status = status.as_u16(), ms, "<- server");
            let followed = redirects.follow(url, status, response.headers());
            if !followed.map_err(not_followed)? {
                return Ok((redirects.url(url).clone(), response));
            }
        }
    }
}

/// A conversation over HTTP+SSE: one message after the other.
#[derive(Debug)]
pub struct HttpSseConversation {
    probe: Probe,
    stream: EventStream,
    /// Address for messages.
    target: Url,
}

impl HttpSseConversation {
    /// Sends `initialize` and waits for its response on the stream.
    pub async fn open(&mut self, initialize: &Message) -> Result<Message, Failure> {
        let opened = self.ask(initialize).await;
        opened.map_err(|failure| failure.at_address(bare(&self.target).as_str()))
    }

    /// Sends a request and waits for its response on the stream.
    pub async fn ask(&mut self, request: &Message) -> Result<Message, Failure> {
        self.tell(request).await?;
        self.probe
            .limited(async {
                while let Some(mut event) = self.stream.next().await? {
                    let mut messages = unusable::parse_all(&mut event.data).flatten();
                    let answers = |message: &Message| message.id() == request.id();
                    if let Some(response) = messages.find(|it| answers(it) && is_response(it)) {
                        return Ok(response);
                    }
                }
                Err(Failure::NoResponse("the event stream ended".to_owned()))
            })
            .await
    }

    /// Sends a notification.
    pub async fn tell(&self, message: &Message) -> Result<(), Failure> {
        let reply = self.probe.post(&self.target, message).await?;
        reply.failure.map_or(Ok(()), Err)
    }
}

impl Reply {
    fn from_head(url: Url, response: &Response) -> Self {
        Self {
            url,
            status: response.status(),
            headers: response.headers().clone(),
            peer: response.peer(),
            content: ContentType::from_headers(response.headers()),
            message: None,
            failure: None,
        }
    }
}

async fn read(url: Url, mut response: Response) -> Result<Reply, Failure> {
    let mut reply = Reply::from_head(url, &response);
    if !reply.status.is_success() {
        let body = HttpErrorBody::read(&mut response).await;
        reply.message.clone_from(&body.error);
        reply.failure = Some(body.into_failure(reply.status, &reply.headers));
        return Ok(reply);
    }
    reply.message = match reply.content {
        ContentType::EventStream => first_response(response).await?,
        ContentType::Json | ContentType::Missing | ContentType::Other(_) => {
            let text = body::read(&mut response, LIMITS).await?;
            let mut text = json::utf8(&text)
                .map_err(|unreadable| Failure::InvalidResponse(unreadable.to_string()))?;
            let mut messages = unusable::parse_all(&mut text).flatten();
            messages.find(is_response)
        }
    };
    Ok(reply)
}

async fn first_response(response: Response) -> Result<Option<Message>, Failure> {
    let mut stream = EventStream::new(response, LIMITS);
    while let Some(mut event) = stream.next().await? {
        let mut messages = unusable::parse_all(&mut event.data).flatten();
        if let Some(response) = messages.find(is_response) {
            return Ok(Some(response));
        }
    }
    let rest = stream.unfinished();
    let message = rest.and_then(|text| Message::parse(&text).ok());
    Ok(message.filter(is_response))
}

fn is_response(message: &Message) -> bool {
    matches!(message.kind(), Kind::Response { .. })
}
