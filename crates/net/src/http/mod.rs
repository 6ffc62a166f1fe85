//! The HTTP clients: what the MCP endpoint and the sign-in have in common on the network.
//!
//! [`Client`] leads to the MCP endpoint: by the connection pool (`connections`), or through reqwest if there is a proxy.

mod address_range;
mod connections;
mod cookies;
mod gzip;
mod idle_life;
pub mod json;
mod names;
mod places;
mod redirects;
mod retry_after;
mod route;
mod server_certificate;
mod system_proxy;
mod tls;
mod url_length;
mod user_header;

use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, Method, Proxy, StatusCode, Version, redirect};
use url::Url;

use crate::boxed::boxed;
use crate::descriptors::Pauses;
use crate::observer::{Observation, ObservedExchange, Purpose};
use places::Places;

pub use crate::pkcs12::Pkcs12Error;
pub use address_range::is_inside;
pub use cookies::Cookies;
pub use names::Names;
pub use places::{Place, Traffic};
pub use redirects::{RedirectRefusal, Redirects, location};
pub use retry_after::{date, retry_after};
pub use route::{NoProxy, ProxySource, Route, bare, host_and_port};
pub use tls::{BadPem, Identity, Roots};
pub use url_length::{MAX_URL_BYTES, UrlTooLong, check_length};
pub use user_header::{is_reserved_header, user_header_value};

/// Limit for a TCP and TLS connection to come up, unless the user says otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval at which the kernel asks a silent peer whether it is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Time for which an unused connection to the MCP endpoint is kept. Load balancers close theirs after a minute or more.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Time for which reqwest keeps an unused connection, since it ignores the `Keep-Alive` header of a response. Servers in
/// Node.js close theirs after five seconds (`server.keepAliveTimeout`), and a request that meets the close is lost.
const UNANNOUNCED_IDLE: Duration = Duration::from_secs(4);

/// Settings of the network.
#[derive(Debug, Clone)]
pub struct Options {
    /// Limit for one connection to come up, DNS and TLS included.
    pub connect_timeout: Duration,
    /// Proxy for everything but loopback; by default what `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and
    /// the system's settings say.
    pub proxy: Option<Url>,
    /// Certification authorities to trust beside those of the system.
    pub extra_roots: Vec<Roots>,
    /// The client certificate and its key, for servers that ask for one (mutual TLS).
    pub identity: Option<Identity>,
    /// Address families to connect to.
    pub family: Family,
    /// Source of the addresses of names.
    pub names: Names,
    /// Observer of what is sent and received.
    pub observation: Observation,
}

/// Address families to connect to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv6 and IPv4, whichever answers first (RFC 8305).
    #[default]
    Any,
    /// IPv4, for networks where IPv6 leads nowhere.
    Ipv4,
}

impl Family {
    /// The address to connect from, if that matters.
    const fn local_address(self) -> Option<IpAddr> {
        match self {
            Self::Any => None,
            Self::Ipv4 => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            proxy: None,
            extra_roots: Vec::new(),
            identity: None,
            family: Family::Any,
            names: Names::of_system(),
            observation: Observation::default(),
        }
    }
}

impl Options {
    /// The client certificate that the origin of `url` gets to see, as DER.
    #[must_use]
    pub fn client_certificate(&self, url: &Url) -> Option<&[u8]> {
        let identity = self.identity.as_ref()?;
        identity.certificate().filter(|_| identity.is_for(url))
    }

    /// Returns whether the origin of `url` sees the client certificate.
    #[must_use]
    pub fn shows_identity_to(&self, url: &Url) -> bool {
        self.identity.as_ref().is_some_and(|it| it.is_for(url))
    }

    /// A client with these settings and no others.
    pub fn client(&self, url: &Url) -> Result<reqwest::Client, Error> {
        self.builder(url)?.build().map_err(Error::Proxied)
    }

    /// The settings of a client for requests to the origin of `url`.
    ///
    /// Redirects are never followed here: who sends a request decides where it may go. For an `http:`
    /// URL no trust store is read, which saves a hundred file reads at start and works on machines
    /// that have none.
    pub fn builder(&self, url: &Url) -> Result<ClientBuilder, Error> {
        let builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(UNANNOUNCED_IDLE)
            .tcp_keepalive(TCP_KEEPALIVE)
            .tcp_nodelay(true)
            .local_address(self.family.local_address())
            .dns_resolver(Arc::new(self.names.clone()))
            .tls_backend_preconfigured(tls::config(self, url)?);
        Ok(match &self.proxy {
            _ if is_loopback(url) => builder.no_proxy(),
            Some(proxy) => builder.proxy(Proxy::all(proxy.clone()).map_err(Error::Proxied)?),
            None => match route::of_protocol(url) {
                Some(proxy) => builder.proxy(Proxy::all(proxy).map_err(Error::Proxied)?),
                None => builder,
            },
        })
    }
}

/// Sends requests to one origin. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
    /// The server's cookies, if they are to go back to it.
    cookies: Option<Arc<Cookies>>,
    /// The places for requests.
    places: Arc<Places>,
    observation: Observation,
}

#[derive(Debug, Clone)]
enum Way {
    Direct(Arc<connections::Connections>),
    /// Proxies are reqwest's business. What it does for each request beside that costs as much as the
    /// whole rest of a call, so nothing else goes this way.
    Proxied(reqwest::Client),
}

/// An answer, whose body has not been read.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    peer: Option<IpAddr>,
    body: Body,
    /// The place of the request, until the body has been read or given up. Dropped after the body.
    place: Option<Place>,
    /// The exchange, for who observes it, until its end.
    observed: Option<Box<ObservedExchange>>,
}

#[derive(Debug)]
enum Body {
    Plain(Source),
    Unzipped(Box<gzip::GzipBody>),
    /// Nobody reads it.
    GivenUp,
}

/// Source of a body.
#[derive(Debug)]
enum Source {
    Direct(connections::PooledBody),
    Proxied(Box<reqwest::Response>),
}

/// Reason why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection came up, so the server has not seen the request.
    #[error("no connection")]
    Connect(#[source] Box<dyn StdError + Send + Sync>),
    /// No connection came up in time.
    #[error("it took too long")]
    ConnectTimeout,
    /// The connection broke.
    #[error("the connection broke")]
    Lost(#[source] hyper::Error),
    /// The body is not of the encoding that it claims to be.
    #[error("its encoding is broken")]
    Garbled,
    /// The URL cannot be asked for.
    #[error("not a URL to ask for")]
    Url,
    /// It went wrong on the way through a proxy.
    #[error(transparent)]
    Proxied(reqwest::Error),
}

impl Error {
    /// Returns whether no connection came up, so that the server has not seen the request.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        match self {
            Self::Connect(_) | Self::ConnectTimeout | Self::Url => true,
            Self::Lost(_) | Self::Garbled => false,
            Self::Proxied(error) => error.is_connect(),
        }
    }

    /// Returns whether it took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::ConnectTimeout => true,
            Self::Connect(_) | Self::Lost(_) | Self::Garbled | Self::Url => false,
            Self::Proxied(error) => error.is_timeout(),
        }
    }
}

impl Client {
    /// A client for the origin of `url`. Connects to nothing yet.
    pub fn new(options: &Options, url: &Url, cookies: Option<Arc<Cookies>>) -> Result<Self, Error> {
        let places = Places::new(places::Limits::default());
        let way = if matches!(options.route(url), Route::Proxy(..)) {
            // A tunnel through a proxy takes several round trips to set up.
            let builder = options.builder(url)?.pool_idle_timeout(POOL_IDLE);
            Way::Proxied(builder.build().map_err(Error::Proxied)?)
        } else {
            Way::Direct(connections::Connections::new(
                options,
                url,
                Arc::clone(&places),
            )?)
        };
        Ok(Self {
            way,
            cookies,
            places,
            observation: options.observation.clone(),
        })
    }

    /// A place for a request of this kind, if one is free and no other request waits for it.
    #[must_use]
    pub fn free_place(&self, traffic: Traffic) -> Option<Place> {
        self.places.try_take(traffic)
    }

    /// A place for a request of this kind. Waits for it in a fair queue.
    pub async fn place(&self, traffic: Traffic) -> Place {
        match self.free_place(traffic) {
            Some(place) => place,
            None => boxed(|| self.places.take(traffic)).await,
        }
    }

    /// Resolves when a connection has come up, which it does not tell of where a proxy is in between.
    pub async fn connected(&self) {
        match &self.way {
            Way::Direct(connections) => connections.connected().await,
            Way::Proxied(_) => std::future::pending().await,
        }
    }

    /// Sends an ordinary request, when there is a place for it, and waits for the head of the answer.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, Error> {
        let place = self.place(Traffic::Request).await;
        self.send_at(place, method, url, headers, body).await
    }

    /// Sends a request that has this place, and waits for the head of the answer.
    pub async fn send_at(
        &self,
        mut place: Place,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, Error> {
        if let Some(cookies) = &self.cookies {
            cookies.add_to(&mut headers, url);
        }
        let observation = &self.observation;
        let observed = observation.request(Purpose::Server, &method, url, &headers, &body);
        let sent = self.send_by_way(method, url, headers, body).await;
        let (head, source) = match sent {
            Ok(answered) => answered,
            Err(error) => return Err(observe_failure(observed, error)),
        };
        let Head {
            version,
            status,
            headers,
            peer,
        } = head;
        if let Some(observed) = &observed {
            observed.on_head(version, status, &headers);
        }
        let body = if gzip::is_gzip(&headers) {
            Body::Unzipped(Box::new(gzip::GzipBody::new(source)))
        } else {
            Body::Plain(source)
        };
        if is_event_stream(&headers) {
            place.becomes_stream();
        }
        let response = Response {
            status,
            headers,
            peer,
            body,
            place: Some(place),
            observed,
        };
        if let Some(cookies) = &self.cookies {
            cookies.record_from(&response.headers, url);
        }
        Ok(response)
    }

    async fn send_by_way(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(Head, Source), Error> {
        match &self.way {
            Way::Direct(connections) => {
                let response = connections.send(method, url, headers, body).await?;
                let (head, body) = response.into_parts();
                let head = Head {
                    version: head.version,
                    status: head.status,
                    headers: head.headers,
                    peer: body.peer(),
                };
                Ok((head, Source::Direct(body)))
            }
            Way::Proxied(client) => {
                let request = client.request(method, url.clone()).headers(headers);
                let request = request.body(body).build().map_err(Error::Proxied)?;
                let sent = boxed(|| self::send(client, request));
                let mut response = sent.await.map_err(Error::Proxied)?;
                let head = Head {
                    version: response.version(),
                    status: response.status(),
                    headers: std::mem::take(response.headers_mut()),
                    peer: None,
                };
                Ok((head, Source::Proxied(Box::new(response))))
            }
        }
    }
}

/// The head of an answer.
struct Head {
    version: Version,
    status: StatusCode,
    headers: HeaderMap,
    peer: Option<IpAddr>,
}

/// Ends an exchange with this error, which is given back.
fn observe_failure(observed: Option<Box<ObservedExchange>>, error: Error) -> Error {
    if let Some(mut observed) = observed {
        observed.on_failure(&error);
    }
    error
}

impl Response {
    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The address of the server that answered; none behind a proxy, which alone knows it.
    #[must_use]
    pub const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Length of the body in bytes, where the server has announced it.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        match &self.body {
            Body::Plain(Source::Direct(body)) => body.length(),
            Body::Plain(Source::Proxied(response)) => response.content_length(),
            Body::Unzipped(_) | Body::GivenUp => None,
        }
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = match &mut self.body {
            Body::Plain(source) => source.chunk().await,
            Body::Unzipped(body) => body.chunk().await,
            Body::GivenUp => Ok(None),
        };
        if self.observed.is_some() {
            self.observe_chunk(&chunk);
        }
        let chunk = chunk?;
        if chunk.is_none() {
            self.place = None;
        }
        Ok(chunk)
    }

    #[cold]
    fn observe_chunk(&mut self, chunk: &Result<Option<Bytes>, Error>) {
        match (chunk, &mut self.observed) {
            (Ok(Some(piece)), Some(observed)) => observed.on_body(piece),
            (Ok(None), observed) => *observed = None,
            (Err(error), Some(observed)) => observed.on_failure(error),
            (_, None) => {}
        }
    }

    /// Reads no more of the body, so that another request can have the place of this one.
    pub fn give_up_body(&mut self) {
        self.body = Body::GivenUp;
        self.place = None;
        self.observed = None;
    }
}

/// Sends a request by reqwest. Waits if there is no file descriptor for a connection.
pub async fn send(
    client: &reqwest::Client,
    mut request: reqwest::Request,
) -> Result<reqwest::Response, reqwest::Error> {
    let mut pauses = Pauses::default();
    loop {
        let again = request.try_clone();
        let error = match client.execute(request).await {
            Err(error) if error.is_connect() => error,
            sent => return sent,
        };
        let (Some(pause), Some(again)) = (pauses.after(&error), again) else {
            return Err(error);
        };
        tokio::time::sleep(pause).await;
        request = again;
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"text/event-stream";
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.get(..TYPE.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(TYPE))
}

impl Source {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Direct(body) => body.chunk().await,
            Self::Proxied(response) => response.chunk().await.map_err(Error::Proxied),
        }
    }
}

/// Returns whether `url` names this machine by a loopback name or address: `localhost` and names below it, `127.0.0.0/8`,
/// `[::1]`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => names::is_localhost(name),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
