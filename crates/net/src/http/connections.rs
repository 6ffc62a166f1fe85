//! Connections to one origin, kept and used again: hyper, with as little as possible around it.
//!
//! HTTP/1.1 takes a connection for each request under way; they are used last in, first out, so that those
//! that are not needed grow old. HTTP/2 has one for all.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Method;
use reqwest::header::{HOST, HeaderMap, HeaderValue};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tower_service::Service as _;
use url::Url;

use super::names::Names;
use super::{Error, Options, POOL_IDLE, TCP_KEEPALIVE, tls};

/// Unused connections that are kept. More are in use at once only in a burst.
const MAX_IDLE: usize = 512;

/// How often a request is sent on another connection because the server has not looked at it on this one.
const MAX_TRIES: usize = 4;

/// What TLS calls HTTP/2 (RFC 9113 §3.1).
const HTTP2: &[u8] = b"h2";

type Http1 = Sender<http1::SendRequest<Full<Bytes>>>;
type Http2 = Sender<http2::SendRequest<Full<Bytes>>>;

/// Sender of requests on a connection.
#[derive(Debug, Clone)]
struct Sender<S> {
    requests: S,
    /// The address of the server.
    peer: Option<IpAddr>,
}

/// The connections to one origin.
#[derive(Debug)]
pub(super) struct Connections {
    origin: Origin,
    connector: HttpConnector<Names>,
    connect_timeout: Duration,
    state: Mutex<State>,
    /// Held while the first TLS connection comes up: only then is known whether it serves all.
    first: tokio::sync::Mutex<()>,
    /// Told of each connection that comes up.
    up: Notify,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<(Http1, Instant)>,
    /// The one connection of HTTP/2.
    shared: Option<Http2>,
    /// It has been seen that the server has no HTTP/2.
    is_http1: bool,
    /// A task is there that closes what is not used any more.
    is_swept: bool,
}

/// Where requests go.
#[derive(Debug)]
struct Origin {
    url: Url,
    uri: Uri,
    host: HeaderValue,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// A body that is on its way.
#[derive(Debug)]
pub(super) struct Body {
    incoming: Incoming,
    peer: Option<IpAddr>,
    /// The connection that it comes on, and where that is to go.
    kept: Option<(Http1, Weak<Connections>)>,
}

impl Connections {
    pub(super) fn new(options: &Options, url: &Url) -> Result<Arc<Self>, Error> {
        let mut connector = HttpConnector::new_with_resolver(options.names.clone());
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(TCP_KEEPALIVE));
        connector.set_local_address(options.family.local_address());
        Ok(Arc::new(Self {
            origin: Origin::new(options, url)?,
            connector,
            connect_timeout: options.connect_timeout,
            state: Mutex::default(),
            first: tokio::sync::Mutex::default(),
            up: Notify::new(),
        }))
    }

    /// Resolves with the next connection that comes up.
    pub(super) async fn connected(&self) {
        self.up.notified().await;
    }

    /// Sends a request to `url`, which is of this origin, and waits for the head of the answer. A kept
    /// connection that the server has closed meanwhile is replaced, as long as nothing was sent on it.
    pub(super) async fn send(
        self: &Arc<Self>,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.origin.uri_of(url)?;
        *request.headers_mut() = headers;
        let mut tries = 0;
        loop {
            tries += 1;
            let connection = self.connection().await?;
            match self.send_on(connection, request).await {
                Ok(response) => return Ok(response),
                Err((_, Some(unsent))) if tries < MAX_TRIES => request = unsent,
                Err((error, _)) => return Err(Error::Lost(error)),
            }
        }
    }

    /// Sends on this connection; gives the request back with the error if it was not sent.
    async fn send_on(
        self: &Arc<Self>,
        connection: Connection,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Body>, (hyper::Error, Option<Request<Full<Bytes>>>)> {
        match connection {
            Connection::Http1(mut connection) => {
                let target = std::mem::take(request.uri_mut());
                *request.uri_mut() = origin_form(&target);
                request.headers_mut().insert(HOST, self.origin.host.clone());
                match connection.requests.try_send_request(request).await {
                    Ok(response) => Ok(response.map(|incoming| Body {
                        incoming,
                        peer: connection.peer,
                        kept: Some((connection, Arc::downgrade(self))),
                    })),
                    Err(mut failed) => {
                        let unsent = failed.take_message().map(|mut request| {
                            *request.uri_mut() = target;
                            request
                        });
                        Err((failed.into_error(), unsent))
                    }
                }
            }
            Connection::Http2(mut connection) => {
                let again = request.clone();
                match connection.requests.try_send_request(request).await {
                    Ok(incoming) => Ok(incoming.map(|incoming| Body {
                        incoming,
                        peer: connection.peer,
                        kept: None,
                    })),
                    Err(mut failed) => {
                        let unsent = failed.take_message();
                        let error = failed.into_error();
                        let refused = is_refused(&error).then_some(again);
                        Err((error, unsent.or(refused)))
                    }
                }
            }
        }
    }

    /// A connection that is there, or another one.
    async fn connection(self: &Arc<Self>) -> Result<Connection, Error> {
        if let Some(connection) = self.kept().await {
            return Ok(connection);
        }
        let decided = self.origin.tls.is_none() || self.lock().is_http1;
        let first = if decided {
            None
        } else {
            let first = self.first.lock().await;
            if let Some(connection) = self.kept().await {
                return Ok(connection);
            }
            Some(first)
        };
        let connection = timeout(self.connect_timeout, Box::pin(self.connect())).await;
        let connection = connection.map_err(|_| Error::ConnectTimeout)??;
        self.up.notify_waiters();
        match &connection {
            Connection::Http1(_) => self.lock().is_http1 = true,
            Connection::Http2(shared) => self.lock().shared = Some(shared.clone()),
        }
        drop(first);
        Ok(connection)
    }

    /// A kept connection that is fit for a request.
    async fn kept(&self) -> Option<Connection> {
        loop {
            let mut kept = {
                let mut state = self.lock();
                if let Some(shared) = &state.shared {
                    if !shared.requests.is_closed() {
                        return Some(Connection::Http2(shared.clone()));
                    }
                    state.shared = None;
                }
                state.idle.pop()?.0
            };
            if kept.requests.ready().await.is_ok() {
                return Some(Connection::Http1(kept));
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| Error::Connect(error);
        let stream = self.connector.clone().call(self.origin.uri.clone()).await;
        let stream = stream.map_err(|error| failed(error.into()))?.into_inner();
        let peer = stream.peer_addr().ok().map(|address| address.ip());
        let Some((config, name)) = &self.origin.tls else {
            return http1(stream, peer).await;
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name.clone(), stream).await;
        let stream = stream.map_err(|error| failed(error.into()))?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return http1(stream, peer).await;
        }
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (requests, connection) = handshake.map_err(|error| failed(error.into()))?;
        tokio::spawn(connection);
        Ok(Connection::Http2(Sender { requests, peer }))
    }

    /// Takes back a connection whose answer has been read.
    fn keep(self: &Arc<Self>, connection: Http1) {
        let mut state = self.lock();
        if state.idle.len() >= MAX_IDLE || connection.requests.is_closed() {
            return;
        }
        state.idle.push((connection, Instant::now()));
        if !std::mem::replace(&mut state.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn http1<S>(stream: S, peer: Option<IpAddr>) -> Result<Connection, Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (requests, connection) = handshake.map_err(|error| Error::Connect(error.into()))?;
    tokio::spawn(connection);
    Ok(Connection::Http1(Sender { requests, peer }))
}

/// Whether the server says that it has not looked at the request (RFC 9113 §8.7).
fn is_refused(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    source
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(|error| {
            let gone = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            let reset = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (gone || reset)
        })
}

/// Closes connections that have not been used for a while, until there are none.
async fn sweep(connections: Weak<Connections>) {
    loop {
        sleep(POOL_IDLE).await;
        let Some(connections) = connections.upgrade() else {
            return;
        };
        let mut state = connections.lock();
        state.idle.retain(|(_, since)| since.elapsed() < POOL_IDLE);
        if state.idle.is_empty() {
            state.is_swept = false;
            return;
        }
    }
}

impl Origin {
    fn new(options: &Options, url: &Url) -> Result<Self, Error> {
        let uri: Uri = url.as_str().parse().map_err(|_| Error::Url)?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => HeaderValue::try_from(format!("{host}:{port}")),
            (Some(host), None) => HeaderValue::try_from(host),
            (None, _) => return Err(Error::Url),
        };
        let name = match url.host() {
            Some(url::Host::Domain(name)) => {
                ServerName::try_from(name.to_owned()).map_err(|_| Error::Url)?
            }
            Some(url::Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::V4(address)),
            Some(url::Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::V6(address)),
            None => ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        let tls = match url.scheme() {
            "https" => {
                let mut config = tls::config(options, url)?;
                config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
                Some((Arc::new(config), name))
            }
            _ => None,
        };
        Ok(Self {
            url: url.clone(),
            uri,
            host: host.map_err(|_| Error::Url)?,
            tls,
        })
    }

    fn uri_of(&self, url: &Url) -> Result<Uri, Error> {
        if *url == self.url {
            return Ok(self.uri.clone());
        }
        url.as_str().parse().map_err(|_| Error::Url)
    }
}

/// How HTTP/1.1 names a target to its own server (RFC 9112 §3.2.1).
fn origin_form(target: &Uri) -> Uri {
    target
        .path_and_query()
        .map_or_else(Uri::default, |path| Uri::from(path.clone()))
}

impl Body {
    /// The address of the server.
    pub(super) const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// How many bytes it has, where the server has said so.
    pub(super) fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next piece. Once the last one has been read, the connection is free for another request.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.incoming.frame().await {
            if let Ok(piece) = frame.map_err(Error::Lost)?.into_data() {
                return Ok(Some(piece));
            }
        }
        if let Some((connection, home)) = self.kept.take()
            && let Some(home) = home.upgrade()
        {
            home.keep(connection);
        }
        Ok(None)
    }
}
