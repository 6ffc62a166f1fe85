//! An HTTP client with nothing to it: hyper, and connections that are kept. The limit and the least
//! bridge are made of it.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::wire;

pub(crate) const SESSION: &str = "mcp-session-id";

/// The protocols of ALPN (RFC 7301) that the client offers.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A connection, free for a request.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    /// One of many that share it.
    Http2(http2::SendRequest<Full<Bytes>>),
}

pub(crate) struct Client {
    authority: String,
    path: String,
    tls: Option<TlsConnector>,
    session: Mutex<Option<HeaderValue>>,
    idle: Mutex<Vec<http1::SendRequest<Full<Bytes>>>>,
    shared: Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        let uri: Uri = url.parse().expect("a URL");
        let secure = uri.scheme_str() == Some("https");
        Self {
            authority: uri.authority().expect("a host").to_string(),
            path: uri.path().to_owned(),
            tls: secure.then(connector),
            session: Mutex::default(),
            idle: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// The id of the session that later requests belong to.
    pub(crate) fn enter(&self, session: Option<&HeaderValue>) {
        *self.session.lock().expect("nobody panics with it") = session.cloned();
    }

    /// Sends a request. The connection is free again when the body has been read: see [`Self::keep`].
    pub(crate) async fn send(
        &self,
        method: Method,
        body: Bytes,
    ) -> io::Result<(Response<Incoming>, Connection)> {
        let mut connection = self.connection().await?;
        let mut request = Request::new(Full::new(body));
        let headers = request.headers_mut();
        if let Connection::Http1(_) = connection {
            let host = HeaderValue::try_from(&self.authority).map_err(io::Error::other)?;
            headers.insert(HOST, host);
        }
        let accept = match method {
            Method::GET => HeaderValue::from_static(wire::EVENT_STREAM),
            _ => HeaderValue::from_static("application/json, text/event-stream"),
        };
        headers.insert(ACCEPT, accept);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::JSON));
        let session = self.session.lock().expect("nobody panics with it").clone();
        if let Some(session) = session {
            headers.insert(SESSION, session);
        }
        *request.method_mut() = method;
        *request.uri_mut() = match connection {
            Connection::Http1(_) => self.path.parse(),
            Connection::Http2(_) => format!("https://{}{}", self.authority, self.path).parse(),
        }
        .map_err(io::Error::other)?;
        let response = match &mut connection {
            Connection::Http1(connection) => connection.send_request(request).await,
            Connection::Http2(connection) => connection.send_request(request).await,
        };
        Ok((response.map_err(io::Error::other)?, connection))
    }

    /// Takes a connection back whose body has been read.
    pub(crate) fn keep(&self, connection: Connection) {
        if let Connection::Http1(connection) = connection {
            let mut idle = self.idle.lock().expect("nobody panics with it");
            idle.push(connection);
        }
    }

    async fn connection(&self) -> io::Result<Connection> {
        let shared = self.shared.lock().expect("nobody panics with it").clone();
        if let Some(shared) = shared {
            return Ok(Connection::Http2(shared));
        }
        loop {
            let kept = self.idle.lock().expect("nobody panics with it").pop();
            let Some(mut kept) = kept else {
                return self.connect().await;
            };
            if kept.ready().await.is_ok() {
                return Ok(Connection::Http1(kept));
            }
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let Some(connector) = &self.tls else {
            return handshake(stream).await;
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector.connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(PROTOCOLS[0]) {
            return handshake(stream).await;
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        *self.shared.lock().expect("nobody panics with it") = Some(sender.clone());
        Ok(Connection::Http2(sender))
    }
}

async fn handshake<S>(stream: S) -> io::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(Connection::Http1(sender))
}

fn connector() -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(crate::certificate("authority.pem"));
    roots
        .add(authority.expect("a certificate"))
        .expect("it is one");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Returns whether a response is an event stream.
pub(crate) fn is_stream(response: &Response<Incoming>) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|content| content == wire::EVENT_STREAM)
}

/// A whole body; one that comes in one piece stays that piece.
pub(crate) async fn whole(mut body: Incoming) -> io::Result<Bytes> {
    let known = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(0);
    let mut whole = BytesMut::new();
    while let Some(piece) = next(&mut body).await? {
        if piece.len() == known {
            return Ok(piece);
        }
        whole.reserve(known.saturating_sub(whole.len()));
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The next piece of a body.
pub(crate) async fn next(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.map_err(io::Error::other)?.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}
