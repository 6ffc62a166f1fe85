//! The MCP server at the other end: fast, deterministic, one thread. `/mcp` is one of the legacy era,
//! with sessions and a stream of its own; `/modern` speaks MCP 2026-07-28 alone.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::wire::{self, Era};

const SESSION: &str = "mcp-session-id";

/// Events that go into one piece of a stream.
const EVENTS_PER_FRAME: usize = 64;

/// Limit for the wait of a push for a listener.
const LISTENER_LIMIT: Duration = Duration::from_secs(5);

/// Connections that wait to be accepted: as many as Linux permits by default, for many clients that come at once.
const BACKLOG: u32 = 4096;

/// The protocol of ALPN (RFC 7301) by which a client asks for HTTP/2.
const HTTP2: &[u8] = b"h2";

/// Serves until the process is killed. The first line of stdout tells the ports: HTTP/1.1, the same over TLS, HTTP/2 over TLS.
pub(crate) fn main() -> std::io::Result<()> {
    crate::current_thread()?.block_on(async {
        let (plain, secure, second) = (listener()?, listener()?, listener()?);
        let ports = [&plain, &secure, &second].map(TcpListener::local_addr);
        for address in ports {
            write!(std::io::stdout().lock(), "{} ", address?.port())?;
        }
        writeln!(std::io::stdout().lock())?;
        let server = Arc::new(Server::default());
        let (acceptor, http2) = (acceptor(&[]), acceptor(&[HTTP2]));
        loop {
            tokio::select! {
                Ok((stream, _)) = plain.accept() => {
                    stream.set_nodelay(true)?;
                    tokio::spawn(serve(Arc::clone(&server), stream));
                }
                Ok((stream, _)) = secure.accept() => {
                    stream.set_nodelay(true)?;
                    tokio::spawn(serve_tls(Arc::clone(&server), acceptor.clone(), stream));
                }
                Ok((stream, _)) = second.accept() => {
                    stream.set_nodelay(true)?;
                    tokio::spawn(serve_tls(Arc::clone(&server), http2.clone(), stream));
                }
            }
        }
    })
}

fn listener() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((std::net::Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

fn acceptor(protocols: &[&[u8]]) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file(crate::certificate("good.pem"));
    let key = PrivateKeyDer::from_pem_file(crate::certificate("server.key"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own")
        .with_no_client_auth()
        .with_single_cert(vec![chain.expect("a certificate")], key.expect("a key"))
        .expect("they belong together");
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve_tls(server: Arc<Server>, acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
        return serve(server, stream).await;
    }
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    // Whoever hangs up is not missed.
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn serve<S>(server: Arc<Server>, stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    // Whoever hangs up is not missed.
    let _ = hyper::server::conn::http1::Builder::new()
        // A connection may rest while others are measured.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[derive(Default)]
struct Server {
    requests: AtomicU64,
    deleted: AtomicU64,
    sessions: AtomicU64,
    listeners: Mutex<HashMap<HeaderValue, mpsc::UnboundedSender<Bytes>>>,
    listening: tokio::sync::Notify,
    /// Tools of lists that were made once.
    tools: Mutex<HashMap<(usize, usize), Bytes>>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: &'a str,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(default)]
    name: &'a str,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    cursor: Option<&'a str>,
    #[serde(borrow, rename = "_meta", default)]
    meta: HashMap<&'a str, &'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(default)]
    count: usize,
    /// The app's id of the call: that of the request may be the bridge's own.
    #[serde(default)]
    tag: u64,
    #[serde(default, rename = "as")]
    reply: &'a str,
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Pieces> {
        if request.uri().path() == "/count" {
            let (requests, deleted) = (
                self.requests.load(Ordering::Relaxed),
                self.deleted.load(Ordering::Relaxed),
            );
            return json(vec![format!("[{requests},{deleted}]").into()]);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let era = match request.uri().path() {
            "/mcp" => Era::Legacy,
            "/modern" => Era::Modern,
            _ => return status(StatusCode::NOT_FOUND),
        };
        let session = request.headers().get(SESSION).cloned();
        match (request.method(), era) {
            (&Method::POST, _) => {}
            (&Method::GET, Era::Legacy) => return self.listen(session),
            (&Method::DELETE, Era::Legacy) => {
                self.deleted.fetch_add(1, Ordering::Relaxed);
                return status(StatusCode::OK);
            }
            _ => return status(StatusCode::METHOD_NOT_ALLOWED),
        }
        let Some(body) = whole(request.into_body()).await else {
            return status(StatusCode::BAD_REQUEST);
        };
        let Ok(message) = serde_json::from_slice::<Said<'_>>(&body) else {
            return status(StatusCode::BAD_REQUEST);
        };
        let Some(id) = message.id.filter(|_| !message.method.is_empty()) else {
            return status(StatusCode::ACCEPTED);
        };
        let is_modern = message
            .params
            .as_ref()
            .is_some_and(|params| params.meta.contains_key(wire::VERSION_KEY));
        match (message.method, message.params, era) {
            (_, _, Era::Modern) if !is_modern => refusal(id, -32022, StatusCode::BAD_REQUEST),
            ("initialize", _, Era::Legacy) => self.initialize(id),
            ("server/discover", _, Era::Modern) => json(vec![discovery(id).into()]),
            ("tools/list", Some(params), Era::Legacy) => self.list(id, &params),
            ("tools/call", Some(params), _) => self.call(id, params, session, era).await,
            _ => refusal(id, -32601, StatusCode::OK),
        }
    }

    fn initialize(&self, id: &RawValue) -> Response<Pieces> {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let version = wire::LEGACY;
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"{version}","capabilities":{{"tools":{{}},"logging":{{}}}},"serverInfo":{{"name":"bench","version":"1"}}}}}}"#
        );
        let mut response = json(vec![text.into()]);
        let session = format!("session-{number}");
        let session = HeaderValue::try_from(session).expect("it is ASCII");
        response.headers_mut().insert(SESSION, session);
        response
    }

    fn listen(&self, session: Option<HeaderValue>) -> Response<Pieces> {
        let Some(session) = session else {
            return status(StatusCode::BAD_REQUEST);
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners
            .lock()
            .expect("nobody panics with it")
            .insert(session, sender);
        self.listening.notify_waiters();
        events(Pieces::Stream(receiver))
    }

    fn listener(&self, session: &HeaderValue) -> Option<mpsc::UnboundedSender<Bytes>> {
        let listeners = self.listeners.lock().expect("nobody panics with it");
        listeners.get(session).cloned()
    }

    async fn call(
        &self,
        id: &RawValue,
        params: Params<'_>,
        session: Option<HeaderValue>,
        era: Era,
    ) -> Response<Pieces> {
        let Arguments {
            text,
            count,
            tag,
            reply,
        } = params.arguments;
        let mut answer = Bytes::from(format!("answer {tag}"));
        match params.name {
            "echo" => answer = text.into_owned().into(),
            "give" => answer = wire::pattern(count),
            "take" if wire::pattern(text.len()) != text.as_bytes() => {
                answer = Bytes::from_static(b"not the text that was sent");
            }
            "wait" => tokio::time::sleep(Duration::from_millis(count as u64)).await,
            "progress" => {
                let token = params
                    .meta
                    .get("progressToken")
                    .map_or("0", |raw| raw.get());
                let mut pieces = notifications(count, |number| wire::progress(token, number));
                pieces.extend(event(id, answer, era));
                return events(Pieces::Ready(pieces));
            }
            "push" => self.push(session, count).await,
            _ => {}
        }
        match reply {
            "sse" => events(Pieces::Ready(event(id, answer, era).into())),
            _ => json(response(id, answer, era).into()),
        }
    }

    /// A page of the tools that the request asks for.
    fn list(&self, id: &RawValue, params: &Params<'_>) -> Response<Pieces> {
        let page = match params.cursor {
            Some(cursor) => Page::read(cursor),
            None => Page::first(&params.meta),
        };
        let Some(page) = page else {
            return refusal(id, -32602, StatusCode::OK);
        };
        let end = page.count.min(page.from + page.size);
        let tools = {
            let mut made = self.tools.lock().expect("nobody panics with it");
            let tools = made.entry((page.from, end));
            tools.or_insert_with(|| wire::tools(page.from..end)).clone()
        };
        let next = if end < page.count {
            let next = Page { from: end, ..page };
            format!(r#","nextCursor":"{next}""#)
        } else {
            String::new()
        };
        let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":["#);
        json(vec![head.into(), tools, format!("]{next}}}}}").into()])
    }

    async fn push(&self, session: Option<HeaderValue>, count: usize) {
        let session = session.unwrap_or_else(|| HeaderValue::from_static(""));
        let listener = tokio::time::timeout(LISTENER_LIMIT, async {
            loop {
                let arrived = self.listening.notified();
                if let Some(listener) = self.listener(&session) {
                    return listener;
                }
                arrived.await;
            }
        });
        if let Ok(listener) = listener.await {
            for piece in notifications(count, wire::pushed) {
                // Whoever stopped listening gets nothing, and the driver notices.
                let _ = listener.send(piece);
            }
        }
    }
}

/// A part of a list of tools; written `COUNT/SIZE/FROM`, it is a cursor.
#[derive(Debug, Clone, Copy)]
struct Page {
    /// Tools in the whole list, and in a page.
    count: usize,
    size: usize,
    /// The first tool of this page.
    from: usize,
}

impl Page {
    fn first(meta: &HashMap<&str, &RawValue>) -> Option<Self> {
        let number = |name| meta.get(name)?.get().parse().ok();
        Some(Self {
            count: number(wire::COUNT_KEY)?,
            size: number(wire::PAGE_KEY)?,
            from: 0,
        })
    }

    fn read(cursor: &str) -> Option<Self> {
        let mut numbers = cursor.split('/').map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            count: next()?,
            size: next()?,
            from: next()?,
        })
    }
}

impl fmt::Display for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.count, self.size, self.from)
    }
}

async fn whole(mut body: Incoming) -> Option<Vec<u8>> {
    let known = body.size_hint().exact().unwrap_or(0);
    let mut whole = Vec::with_capacity(usize::try_from(known).ok()?);
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.ok()?.into_data() {
            whole.extend_from_slice(&piece);
        }
    }
    Some(whole)
}

fn notifications(count: usize, text: impl Fn(usize) -> String) -> VecDeque<Bytes> {
    let numbers: Vec<usize> = (0..count).collect();
    let frame = |numbers: &[usize]| {
        let events = numbers
            .iter()
            .map(|number| format!("data: {}\n\n", text(*number)));
        Bytes::from(events.collect::<String>())
    };
    numbers.chunks(EVENTS_PER_FRAME).map(frame).collect()
}

fn response(id: &RawValue, text: Bytes, era: Era) -> [Bytes; 3] {
    let tail = Bytes::from_static(wire::answer_tail(era).as_bytes());
    [wire::answer_head(id).into(), text, tail]
}

fn event(id: &RawValue, text: Bytes, era: Era) -> [Bytes; 3] {
    let head = format!("data: {}", wire::answer_head(id));
    let tail = format!("{}\n\n", wire::answer_tail(era));
    [head.into(), text, tail.into()]
}

fn discovery(id: &RawValue) -> String {
    let version = wire::MODERN;
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","supportedVersions":["{version}"],"capabilities":{{"tools":{{}}}},"ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"bench","version":"1"}}}}}}}}"#
    )
}

fn refusal(id: &RawValue, code: i32, with: StatusCode) -> Response<Pieces> {
    let supported = wire::MODERN;
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"refused","data":{{"supported":["{supported}"]}}}}}}"#
    );
    let mut response = json(vec![text.into()]);
    *response.status_mut() = with;
    response
}

fn status(status: StatusCode) -> Response<Pieces> {
    let mut response = Response::new(Pieces::Known(VecDeque::new()));
    *response.status_mut() = status;
    response
}

fn json(pieces: Vec<Bytes>) -> Response<Pieces> {
    typed(wire::JSON, Pieces::Known(pieces.into()))
}

fn events(pieces: Pieces) -> Response<Pieces> {
    typed(wire::EVENT_STREAM, pieces)
}

fn typed(content: &'static str, pieces: Pieces) -> Response<Pieces> {
    let mut response = Response::new(pieces);
    let content = HeaderValue::from_static(content);
    response.headers_mut().insert(CONTENT_TYPE, content);
    response
}

/// A body.
enum Pieces {
    /// Its length is told.
    Known(VecDeque<Bytes>),
    /// Its length is not, as in a stream.
    Ready(VecDeque<Bytes>),
    /// It is made as time goes by.
    Stream(mpsc::UnboundedReceiver<Bytes>),
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut *self {
            Self::Known(pieces) | Self::Ready(pieces) => pieces.pop_front(),
            Self::Stream(pieces) => match pieces.poll_recv(context) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Known(pieces) => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            Self::Ready(_) | Self::Stream(_) => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Known(pieces) if pieces.is_empty())
    }
}
