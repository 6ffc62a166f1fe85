//! Callback listener: the HTTP server on the loopback interface that receives the authorization response (RFC 8252
//! §7.3).
//!
//! It is open while a sign-in waits and no longer. Any program and any web page can reach it, so it takes
//! little, keeps nobody waiting, and passes on only answers with the right `state`: a flood of others does not fill
//! the queue in which the true one waits.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use crate::callback::page::{CONTENT_SECURITY_POLICY, Page};
use crate::config::Callback as CallbackConfig;
use crate::error::AuthError;
use crate::grant::authorization::{AuthorizationRequest, AuthorizationResponse};
use mcp_bridge_net::descriptors;
use mcp_bridge_net::mutex::Mutex;

/// A browser sends its headers at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From connection to answer; the code is exchanged meanwhile, for which the token endpoint has 30 s.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(90);

/// Largest request head. Codes and states have a few hundred bytes, some providers' a few thousand.
const LARGEST_HEAD: usize = 16 * 1024;

/// Beyond this many connections, or this many from one address, another ends, so that idle ones can't keep the browser
/// out: the oldest that has not asked for anything, else the oldest.
const MOST_CONNECTIONS: usize = 64;
const MOST_OF_ONE_PEER: usize = 48;

/// Pause after a failed accept, which may be out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers that may wait for the sign-in to look at them.
const MOST_CALLBACKS: usize = 16;

/// Time for the last page to reach the browser before the port closes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time that a helper may hold the sockets of a bridge that has ended, until it sees that another one goes on.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Interval between tries meanwhile.
const RELEASE_PAUSE: Duration = Duration::from_millis(50);

/// Attempts to find a port that is free in both address families.
const PORT_ATTEMPTS: usize = 8;

/// The ports to try for the callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ports {
    /// This one or none: the redirect URI was registered with it.
    Only(u16),
    /// These in turn, then any.
    Prefer(Vec<u16>),
}

/// A bound but silent listener; its redirect URI can be registered now.
#[derive(Debug)]
pub(crate) struct LoopbackListener {
    sockets: Vec<Arc<TcpListener>>,
    port: u16,
}

/// An answer that the browser brought, and the browser that waits for a page.
#[derive(Debug)]
pub(crate) struct BroughtAnswer {
    answer: AuthorizationResponse,
    page: oneshot::Sender<Page>,
}

impl BroughtAnswer {
    /// An answer, and where the page for it will come.
    pub(crate) fn new(answer: AuthorizationResponse) -> (Self, oneshot::Receiver<Page>) {
        let (page, shown) = oneshot::channel();
        (Self { answer, page }, shown)
    }

    /// The answer, and the means to show a page for it.
    pub(crate) fn into_parts(self) -> (AuthorizationResponse, oneshot::Sender<Page>) {
        (self.answer, self.page)
    }
}

impl LoopbackListener {
    /// Binds to loopback: both address families where the redirect URI says `localhost`, because the
    /// browser may take either.
    pub(crate) async fn bind(callback: &CallbackConfig, ports: &Ports) -> Result<Self, AuthError> {
        let addresses = addresses(callback);
        if let Some(wide) = addresses.iter().find(|address| !address.is_loopback()) {
            tracing::warn!(address = %wide, "others on the network can reach the sign-in's callback");
        }
        let failed = |port: u16, error: &io::Error| AuthError::Callback {
            address: format!("{}:{port}", callback.host),
            reason: error.to_string(),
        };
        match ports {
            Ports::Only(port) => bind_all(&addresses, *port)
                .await
                .map_err(|error| failed(*port, &error)),
            Ports::Prefer(preferred) => {
                for port in preferred {
                    if let Ok(listener) = bind_all(&addresses, *port).await {
                        return Ok(listener);
                    }
                }
                bind_any(&addresses)
                    .await
                    .map_err(|error| failed(0, &error))
            }
        }
    }

    /// The same for the one port that a sign-in of another process has used, which may need a moment to be free.
    pub(crate) async fn bind_again(
        callback: &CallbackConfig,
        port: u16,
    ) -> Result<Self, AuthError> {
        let deadline = Instant::now() + RELEASE_LIMIT;
        loop {
            match Self::bind(callback, &Ports::Only(port)).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(RELEASE_PAUSE).await,
                outcome => return outcome,
            }
        }
    }

    /// A listener on sockets that are bound already.
    pub(crate) fn on(sockets: Vec<std::net::TcpListener>) -> io::Result<Self> {
        let mut port = 0;
        let mut listening = Vec::new();
        for socket in sockets {
            socket.set_nonblocking(true)?;
            port = socket.local_addr()?.port();
            listening.push(Arc::new(TcpListener::from_std(socket)?));
        }
        Ok(Self {
            sockets: listening,
            port,
        })
    }

    /// The port that was bound.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Answers requests until the server is finished or dropped: takes the answer to `request`, and leads to its page
    /// from the root.
    pub(crate) fn serve(self, request: &AuthorizationRequest) -> LoopbackServer {
        let (callbacks, received) = mpsc::channel(MOST_CALLBACKS);
        let (open, closing) = watch::channel(());
        let site = Arc::new(Site {
            path: request.redirect_uri.path().to_owned(),
            port: self.port,
            redirect_uri: request.redirect_uri.clone(),
            callbacks: callbacks.clone(),
            request: Mutex::new(Some(request.clone())),
            reach: if self.sockets.iter().all(|it| is_local(it)) {
                Visibility::ThisMachine
            } else {
                Visibility::Network
            },
        });
        let mut tasks = JoinSet::new();
        for socket in &self.sockets {
            let socket = Arc::clone(socket);
            tasks.spawn(accept(socket, Arc::clone(&site), closing.clone()));
        }
        LoopbackServer {
            callbacks,
            received,
            open: Some(open),
            sockets: self.sockets,
            site,
            tasks,
        }
    }
}

/// A listener at work. Dropping it closes the port and all connections.
#[derive(Debug)]
pub(crate) struct LoopbackServer {
    callbacks: mpsc::Sender<BroughtAnswer>,
    received: mpsc::Receiver<BroughtAnswer>,
    /// Taken when the port is to close.
    open: Option<watch::Sender<()>>,
    sockets: Vec<Arc<TcpListener>>,
    site: Arc<Site>,
    tasks: JoinSet<()>,
}

impl LoopbackServer {
    /// Another way in, for answers that no browser brings.
    pub(crate) fn answers(&self) -> mpsc::Sender<BroughtAnswer> {
        self.callbacks.clone()
    }

    /// The next answer, whoever sent it.
    pub(crate) async fn next(&mut self) -> Option<BroughtAnswer> {
        self.received.recv().await
    }

    /// Takes the answer to another request from now on, and leads to its page.
    pub(crate) fn expect(&self, request: &AuthorizationRequest) {
        *self.site.request() = Some(request.clone());
    }

    /// The sockets that it listens on, none once it is closed.
    pub(crate) fn sockets(&self) -> &[Arc<TcpListener>] {
        &self.sockets
    }

    /// Closes the port, and waits a moment for the pages under way to be delivered.
    pub(crate) async fn close(&mut self) {
        self.received.close();
        self.open.take();
        self.sockets.clear();
        self.site.request().take();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(DRAIN_TIMEOUT, drained).await;
    }
}

fn addresses(callback: &CallbackConfig) -> Vec<IpAddr> {
    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if let Some(bind) = callback.bind {
        return vec![bind];
    }
    match Host::parse(&callback.host) {
        Ok(Host::Ipv4(_)) => vec![V4],
        Ok(Host::Ipv6(_)) => vec![V6],
        Ok(Host::Domain(_)) | Err(_) => vec![V4, V6],
    }
}

async fn bind_any(addresses: &[IpAddr]) -> io::Result<LoopbackListener> {
    let mut last = None;
    for _ in 0..PORT_ATTEMPTS {
        match bind_all(addresses, 0).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrInUse)))
}

/// Binds one port on all addresses. A machine without the second family does without it; a port that
/// somebody else has there does not count as free, since the browser might go to them.
async fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<LoopbackListener> {
    let mut sockets = Vec::new();
    let mut port = port;
    for address in addresses {
        let bound = descriptors::retry(|| TcpListener::bind((*address, port)));
        match bound.await {
            Ok(socket) => {
                port = socket.local_addr()?.port();
                sockets.push(Arc::new(socket));
            }
            Err(error) if sockets.is_empty() || is_taken(&error) => return Err(error),
            Err(error) => tracing::debug!(%address, %error, "not listening there"),
        }
    }
    Ok(LoopbackListener { sockets, port })
}

/// Returns whether a port is another's. Windows refuses ports that it has set aside for somebody, and those that somebody has for
/// themselves alone, with `WSAEACCES`.
fn is_taken(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::AddrInUse => true,
        io::ErrorKind::PermissionDenied => cfg!(windows),
        _ => false,
    }
}

/// Site that the listener serves: the sign-in against which a request is checked.
#[derive(Debug)]
struct Site {
    path: String,
    port: u16,
    redirect_uri: Url,
    callbacks: mpsc::Sender<BroughtAnswer>,
    /// The request that is to be answered; none when the sign-in is over.
    request: Mutex<Option<AuthorizationRequest>>,
    reach: Visibility,
}

/// The machines that can reach the callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visibility {
    /// This one alone.
    ThisMachine,
    /// Others, to whom the address of the page is not told: `state` stands in it.
    Network,
}

fn is_local(socket: &TcpListener) -> bool {
    socket
        .local_addr()
        .is_ok_and(|address| address.ip().is_loopback())
}

async fn accept(socket: Arc<TcpListener>, site: Arc<Site>, mut closing: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut open = OpenConnections::default();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            // Fails when the sender is dropped, which is the sign to close.
            _ = closing.changed() => break,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Other errors concern one connection.
                if descriptors::is_shortage(&error) {
                    open.end_unused();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        open.make_room_for(peer.ip());
        let asked = Arc::new(AtomicBool::new(false));
        let site = Arc::clone(&site);
        let connection = converse(stream, site, closing.clone(), Arc::clone(&asked));
        open.0.push_back(OpenConnection {
            task: connections.spawn(connection),
            peer: peer.ip(),
            asked,
        });
    }
    drop(socket);
    drop(site);
    while connections.join_next().await.is_some() {}
}

/// The connections that are open, the oldest first.
#[derive(Debug, Default)]
struct OpenConnections(VecDeque<OpenConnection>);

#[derive(Debug)]
struct OpenConnection {
    task: AbortHandle,
    peer: IpAddr,
    /// True if it has brought a request.
    asked: Arc<AtomicBool>,
}

impl OpenConnections {
    /// Ends a connection if there are too many to take one more from `peer`.
    fn make_room_for(&mut self, peer: IpAddr) {
        self.0.retain(|connection| !connection.task.is_finished());
        let is_same = |connection: &&OpenConnection| connection.peer == peer;
        if self.0.iter().filter(is_same).count() >= MOST_OF_ONE_PEER {
            self.end_one(|connection| connection.peer == peer);
        } else if self.0.len() >= MOST_CONNECTIONS {
            self.end_one(|_| true);
        }
    }

    /// Ends the oldest connection that has not brought a request, so that its descriptor can be used.
    fn end_unused(&mut self) {
        self.end_one(|connection| !connection.asked.load(Ordering::Relaxed));
    }

    fn end_one(&mut self, may_end: impl Fn(&OpenConnection) -> bool) {
        let candidates = self.0.iter().enumerate().filter(|(_, it)| may_end(it));
        let last = candidates.min_by_key(|(at, it)| (it.asked.load(Ordering::Relaxed), *at));
        let at = last.map(|(at, _)| at);
        if let Some(ended) = at.and_then(|at| self.0.remove(at)) {
            ended.task.abort();
        }
    }
}

async fn converse(
    stream: TcpStream,
    site: Arc<Site>,
    mut closing: watch::Receiver<()>,
    asked: Arc<AtomicBool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(async |request| {
                asked.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(respond(&page_for(&request, &site).await))
            }),
        );
    // Browsers open connections in advance; one that never asked for anything does not delay the end.
    let closed_unasked = async {
        let _ = closing.changed().await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // A broken connection is the browser's business.
        _ = timeout(CONNECTION_TIMEOUT, connection) => {}
        () = closed_unasked => {}
    }
}

async fn page_for(request: &Request<Incoming>, site: &Site) -> Page {
    if site.is_short_address(request) {
        let page = site.request().as_ref().map(|request| request.url.clone());
        return page.map_or(Page::AlreadyAnswered, Page::Redirect);
    }
    if request.uri().path() != site.path || request.method() != Method::GET {
        return Page::NotFound;
    }
    if !site.is_meant_by(request) {
        return Page::Unexpected;
    }
    let answer = AuthorizationResponse::parse(request.uri().query().unwrap_or_default());
    let Some(answer) = answer.filter(AuthorizationResponse::is_complete) else {
        return Page::Unexpected;
    };
    let is_expected = site.request().as_ref().map(|it| it.is_answered_by(&answer));
    match is_expected {
        Some(true) => {}
        Some(false) => {
            tracing::info!("ignored an answer that belongs to no sign-in of ours");
            return Page::Unexpected;
        }
        None => return Page::AlreadyAnswered,
    }
    let (callback, shown) = BroughtAnswer::new(answer);
    match site.callbacks.try_send(callback) {
        Ok(()) => shown.await.unwrap_or(Page::AlreadyAnswered),
        Err(_) => Page::AlreadyAnswered,
    }
}

impl Site {
    /// Returns whether a person has opened the root of this port. A web page that has the browser load it, in an
    /// image or a frame, is not led to the sign-in.
    fn is_short_address(&self, request: &Request<Incoming>) -> bool {
        let uri = request.uri();
        let may_be_answer = self.path == "/" && uri.query().is_some_and(|query| !query.is_empty());
        let destination = request.headers().get("sec-fetch-dest");
        self.reach == Visibility::ThisMachine
            && uri.path() == "/"
            && !may_be_answer
            && request.method() == Method::GET
            && destination.is_none_or(|destination| destination == "document")
            && self.is_meant_by(request)
    }

    fn request(&self) -> MutexGuard<'_, Option<AuthorizationRequest>> {
        self.request.lock()
    }

    /// True if the browser was sent to this machine by name. A web page that had its own name resolve to
    /// loopback (DNS rebinding) shows by its `Host`.
    fn is_meant_by(&self, request: &Request<Incoming>) -> bool {
        let host = request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let Some(host) = host else {
            return false;
        };
        let Ok(named) = Url::parse(&format!("http://{host}/")) else {
            return false;
        };
        let is_redirect_uri =
            named.host() == self.redirect_uri.host() && named.port() == self.redirect_uri.port();
        is_redirect_uri
            || (mcp_bridge_net::http::is_loopback(&named)
                && named.port_or_known_default() == Some(self.port))
    }
}

fn respond(page: &Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.html())));
    *response.status_mut() = page.status();
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(header::CACHE_CONTROL, "no-store");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::CONNECTION, "close");
    if let Ok(policy) = HeaderValue::from_str(&CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if let Some(target) = page.location()
        && let Ok(target) = HeaderValue::from_str(target.as_str())
    {
        headers.insert(header::LOCATION, target);
    }
    response
}
