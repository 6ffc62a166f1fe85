//! Connection pool for one origin, on hyper.
//!
//! HTTP/1.1 takes a connection for each request under way; they are used last in, first out, so that those
//! that are not needed grow old. HTTP/2 has one for as many requests as the server takes on it, and a few more if there
//! are more requests. [`Places`] bound both.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, Weak};
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
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tower_service::Service as _;
use url::Url;

use super::idle_life::{self, ObservedLife, QUIET};
use super::names::Names;
use super::places::{Limits, Places};
use super::{Error, Options, POOL_IDLE, TCP_KEEPALIVE, tls};
use crate::boxed::boxed;
use crate::descriptors::Pauses;
use crate::mutex::Mutex;

/// Connections of HTTP/2 to one origin. One is enough unless the server takes few requests on a connection.
const MAX_HTTP2_CONNECTIONS: usize = 4;

/// Requests on a connection of HTTP/2, whatever the server takes.
const MAX_HTTP2_STREAMS: usize = 256;

/// Requests that a server takes on a connection of HTTP/2 until it has said how many; it should be no fewer (RFC 9113
/// §6.5.2), and more are not sent before.
const ASSUMED_HTTP2_STREAMS: usize = 100;

/// Limit for the connections on which a request is sent because the server has not looked at it on the one before.
/// Part of the retry policy, whose table is in `endpoint/retry.rs`.
const MAX_TRIES: usize = 4;

/// The ALPN name of HTTP/2 (RFC 9113 §3.1).
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
    places: Arc<Places>,
    state: Mutex<PoolState>,
    /// Held while a TLS connection comes up that may serve all.
    first: tokio::sync::Mutex<()>,
    /// Told of each connection that comes up.
    up: Notify,
}

#[derive(Debug, Default)]
struct PoolState {
    idle: Vec<Idle>,
    observed_life: ObservedLife,
    /// The connections of HTTP/2, the oldest first.
    shared: Vec<Shared>,
    /// Requests that the server took on the last connection of HTTP/2.
    http2_streams: Option<usize>,
    /// It has been seen that the server has no HTTP/2.
    is_http1: bool,
    /// A task is there that closes what is not used any more.
    is_swept: bool,
}

/// A connection of HTTP/1.1 that is free.
#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: Instant,
    /// Time without a request after which it is not used any more.
    limit: Duration,
}

/// A connection of HTTP/2 with what is on it.
#[derive(Debug, Clone)]
struct Shared {
    sender: Http2,
    load: Arc<Load>,
}

/// Requests on a connection of HTTP/2.
#[derive(Debug)]
struct Load {
    /// Requests under way.
    streams: AtomicUsize,
    /// Requests that the server takes at once (`SETTINGS_MAX_CONCURRENT_STREAMS`).
    limit: AtomicUsize,
}

/// One request on a connection of HTTP/2, until this is dropped.
#[derive(Debug)]
struct Http2Stream(Arc<Load>);

/// The origin that requests go to.
#[derive(Debug)]
struct Origin {
    url: Url,
    uri: Uri,
    host: HeaderValue,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

enum Connection {
    Http1(Http1),
    Http2(Http2, Http2Stream),
}

/// A connection that has come up.
enum New {
    Http1(Http1),
    Http2(Shared),
}

/// A body that is on its way.
#[derive(Debug)]
pub(super) struct PooledBody {
    incoming: Incoming,
    peer: Option<IpAddr>,
    /// The connection that it comes on, and where that is to go.
    kept: Option<(Http1, Weak<Connections>)>,
    /// Time for which it may be kept without a request.
    idle_limit: Duration,
    /// Its part of a connection of HTTP/2.
    stream: Option<Http2Stream>,
}

impl Connections {
    /// Connections for requests that have one of these places.
    pub(super) fn new(
        options: &Options,
        url: &Url,
        places: Arc<Places>,
    ) -> Result<Arc<Self>, Error> {
        let mut connector = HttpConnector::new_with_resolver(options.names.clone());
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(TCP_KEEPALIVE));
        connector.set_local_address(options.family.local_address());
        Ok(Arc::new(Self {
            origin: Origin::new(options, url)?,
            connector,
            connect_timeout: options.connect_timeout,
            places,
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
    ) -> Result<Response<PooledBody>, Error> {
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
    ) -> Result<Response<PooledBody>, (hyper::Error, Option<Request<Full<Bytes>>>)> {
        match connection {
            Connection::Http1(mut connection) => {
                let target = std::mem::take(request.uri_mut());
                *request.uri_mut() = origin_form(&target);
                request.headers_mut().insert(HOST, self.origin.host.clone());
                match connection.requests.try_send_request(request).await {
                    Ok(response) => {
                        let idle_limit = idle_life::announced(response.headers());
                        Ok(response.map(|incoming| PooledBody {
                            incoming,
                            peer: connection.peer,
                            kept: Some((connection, Arc::downgrade(self))),
                            idle_limit,
                            stream: None,
                        }))
                    }
                    Err(mut failed) => {
                        let unsent = failed.take_message().map(|mut request| {
                            *request.uri_mut() = target;
                            request
                        });
                        Err((failed.into_error(), unsent))
                    }
                }
            }
            Connection::Http2(mut connection, stream) => {
                let again = request.clone();
                match connection.requests.try_send_request(request).await {
                    Ok(incoming) => Ok(incoming.map(|incoming| PooledBody {
                        incoming,
                        peer: connection.peer,
                        kept: None,
                        idle_limit: POOL_IDLE,
                        stream: Some(stream),
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

    /// A connection that is there, or another one. Waits if there is no file descriptor for one.
    async fn connection(self: &Arc<Self>) -> Result<Connection, Error> {
        let mut pauses = Pauses::default();
        loop {
            if let Some(connection) = self.kept().await {
                return Ok(connection);
            }
            let error = match self.new_connection().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let Some(pause) = pauses.after(&error) else {
                return Err(error);
            };
            tokio::select! {
                () = self.places.freed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Another connection, or one that has come up while this waited for its turn.
    async fn new_connection(self: &Arc<Self>) -> Result<Connection, Error> {
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
        let connection = timeout(self.connect_timeout, boxed(|| self.connect())).await;
        let connection = connection.map_err(|_| Error::ConnectTimeout)??;
        self.up.notify_waiters();
        let connection = match connection {
            New::Http1(connection) => {
                let mut state = self.lock();
                state.is_http1 = true;
                let had_http2 = state.http2_streams.take().is_some();
                drop(state);
                if had_http2 {
                    self.places.limit(Limits::default());
                }
                Connection::Http1(connection)
            }
            New::Http2(shared) => {
                let connection = Connection::Http2(shared.sender.clone(), shared.load.begin());
                self.share(shared);
                connection
            }
        };
        drop(first);
        Ok(connection)
    }

    /// A kept connection that is fit for a request.
    async fn kept(&self) -> Option<Connection> {
        // The runtime looks at its sockets meanwhile. A connection that turns out to be closed takes no request, so
        // that nothing is lost on it.
        if self.lock().is_quiet() {
            yield_now().await;
        }
        loop {
            let mut kept = {
                let mut state = self.lock();
                if let Some(shared) = state.shared_with_room() {
                    let stream = shared.load.begin();
                    return Some(Connection::Http2(shared.sender, stream));
                }
                let idle = state.idle.pop()?;
                let unused = idle.since.elapsed();
                if unused >= idle.limit || state.observed_life.ends_about(unused) {
                    continue;
                }
                idle.connection
            };
            if kept.requests.ready().await.is_ok() {
                return Some(Connection::Http1(kept));
            }
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<New, Error> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| Error::Connect(error);
        let stream = self.connector.clone().call(self.origin.uri.clone()).await;
        let stream = stream.map_err(|error| failed(error.into()))?.into_inner();
        let peer = stream.peer_addr().ok().map(|address| address.ip());
        let Some((config, name)) = &self.origin.tls else {
            return self.http1(stream, peer).await;
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name.clone(), stream).await;
        let stream = stream.map_err(|error| failed(error.into()))?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return self.http1(stream, peer).await;
        }
        // Until this server has spoken on this connection, what it said on another one counts.
        let limit = self.lock().http2_streams.unwrap_or(ASSUMED_HTTP2_STREAMS);
        let handshake = http2::Builder::new(TokioExecutor::new())
            .initial_max_send_streams(limit)
            .handshake(TokioIo::new(stream))
            .await;
        let (requests, mut connection) = handshake.map_err(|error| failed(error.into()))?;
        let load = Arc::new(Load {
            streams: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        });
        let (home, known) = (Arc::downgrade(self), Arc::clone(&load));
        tokio::spawn(std::future::poll_fn(move |context| {
            let ended = Pin::new(&mut connection).poll(context);
            let limit = connection.current_max_send_streams();
            let limit = limit.clamp(1, MAX_HTTP2_STREAMS);
            if known.limit.swap(limit, Ordering::Relaxed) != limit
                && let Some(home) = home.upgrade()
            {
                home.record_stream_limit(limit);
            }
            ended
        }));
        let sender = Sender { requests, peer };
        Ok(New::Http2(Shared { sender, load }))
    }

    async fn http1<S>(self: &Arc<Self>, stream: S, peer: Option<IpAddr>) -> Result<New, Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (requests, connection) = handshake.map_err(|error| Error::Connect(error.into()))?;
        let home = Arc::downgrade(self);
        tokio::spawn(async move {
            // Its request, if it has one, learns of an error.
            let _ = connection.await;
            if let Some(home) = home.upgrade() {
                home.drop_closed();
            }
        });
        Ok(New::Http1(Sender { requests, peer }))
    }

    /// Drops unused connections that the server has closed.
    fn drop_closed(&self) {
        let PoolState {
            idle,
            observed_life,
            ..
        } = &mut *self.lock();
        idle.retain(|idle| {
            let is_closed = idle.connection.requests.is_closed();
            if is_closed {
                observed_life.record(idle.since.elapsed());
            }
            !is_closed
        });
    }

    /// The server takes so many requests on a connection of HTTP/2.
    fn record_stream_limit(&self, limit: usize) {
        self.lock().http2_streams = Some(limit);
        self.places
            .limit(Limits::shared(limit * MAX_HTTP2_CONNECTIONS));
    }

    /// From now on others may use this connection, too.
    fn share(self: &Arc<Self>, shared: Shared) {
        let limit = shared.load.limit.load(Ordering::Relaxed);
        let mut state = self.lock();
        state.shared.push(shared);
        state.is_http1 = false;
        let is_one_of_several = state.shared.len() > 1;
        drop(state);
        self.record_stream_limit(limit);
        if is_one_of_several {
            self.sweep();
        }
    }

    /// Sees to it that unused connections are closed.
    fn sweep(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.lock().is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Takes back a connection whose answer has been read.
    fn keep(self: &Arc<Self>, connection: Http1, limit: Duration) {
        let mut state = self.lock();
        if connection.requests.is_closed() {
            return;
        }
        let since = Instant::now();
        state.idle.push(Idle {
            connection,
            since,
            limit,
        });
        drop(state);
        self.sweep();
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock()
    }
}

impl PoolState {
    /// Returns whether the server may have closed all free connections because they are unused.
    fn is_quiet(&self) -> bool {
        let newest = self.idle.last();
        newest.is_some_and(|idle| idle.since.elapsed() >= QUIET)
    }

    /// A connection of HTTP/2 on which the server takes one more request. If there are as many connections as there may
    /// be, the least used one, on which the request waits.
    fn shared_with_room(&mut self) -> Option<Shared> {
        self.shared
            .retain(|shared| !shared.sender.requests.is_closed());
        let with_room = self.shared.iter().find(|shared| shared.load.has_room());
        let is_full = self.shared.len() >= MAX_HTTP2_CONNECTIONS;
        let least_used = || {
            let all = self.shared.iter().filter(|_| is_full);
            all.min_by_key(|shared| shared.load.streams.load(Ordering::Relaxed))
        };
        with_room.or_else(least_used).cloned()
    }
}

impl Load {
    fn has_room(&self) -> bool {
        self.streams.load(Ordering::Relaxed) < self.limit.load(Ordering::Relaxed)
    }

    /// One more request.
    fn begin(self: &Arc<Self>) -> Http2Stream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Http2Stream(Arc::clone(self))
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns whether the server says that it has not looked at the request (RFC 9113 §8.7).
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
        state.idle.retain(|idle| idle.since.elapsed() < idle.limit);
        // The first connection of HTTP/2 stays for as long as the server keeps it.
        let mut is_first = true;
        state.shared.retain(|shared| {
            let is_used = shared.load.streams.load(Ordering::Relaxed) > 0;
            std::mem::take(&mut is_first) || is_used
        });
        if state.idle.is_empty() && state.shared.len() <= 1 {
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

/// The request target in origin form (RFC 9112 §3.2.1).
fn origin_form(target: &Uri) -> Uri {
    target
        .path_and_query()
        .map_or_else(Uri::default, |path| Uri::from(path.clone()))
}

impl PooledBody {
    /// The address of the server.
    pub(super) const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Its length in bytes, where the server has announced it.
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
        self.stream = None;
        if let Some((connection, home)) = self.kept.take()
            && let Some(home) = home.upgrade()
        {
            home.keep(connection, self.idle_limit);
        }
        Ok(None)
    }
}
