//! A server whose behaviour per request is given by the test, down to bytes and connection resets.
//!
//! Without instructions it is a well-behaved MCP server (see [`crate::mcp`]). HTTP is spoken
//! by hand here: a proper HTTP library cannot be brought to send what these tests need.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    LIMIT, QUERY_MARKER,
    mcp::{Binding, Mcp},
    reply::{Framing, Gate, Piece, Reply, Step},
    request::{Request, VersionHeader, Want},
    transcript::Sent,
};

/// Most requests that a test makes, retries included; more is a storm, unless a test says
/// what it expects with [`FaultServer::allow_requests`].
const MAX_REQUESTS: usize = 60;

/// A write that makes no progress for so long stands still because nobody reads.
const WRITE_STANDS_STILL: Duration = Duration::from_millis(300);

/// Time that a connection which goes down waits for the client to close its end.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A handle to the server; it ends with the last handle.
#[derive(Clone)]
pub struct FaultServer(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    path: &'static str,
    state: Mutex<State>,
    /// Changes with everything a test may wait for.
    events: watch::Sender<Events>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Events {
    requests: usize,
    aborted: usize,
    written: usize,
}

struct State {
    mcp: Mcp,
    rules: Vec<Rule>,
    log: Vec<Request>,
    sent: Sent,
    connections: usize,
    /// Connections that are open now, and the most that ever were.
    open: usize,
    most_open: usize,
    max_requests: usize,
    version_header: VersionHeader,
    /// Record of requests and messages.
    record: Record,
    accepting: Option<JoinHandle<()>>,
    serving: JoinSet<io::Result<()>>,
    /// Tells these connections to close.
    closing: watch::Sender<bool>,
    /// Keeps the port for us, and refuses connections, while the server is down.
    reserved: Option<TcpSocket>,
}

/// Record that a server keeps of what came and what it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    Kept,
    /// It runs for too long.
    #[allow(dead_code, reason = "the model has servers that run for hours")]
    None,
}

/// Reply of a rule to a request; `None` leaves it to the well-behaved server.
type Respond = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

struct Rule {
    want: Want,
    left: usize,
    respond: Respond,
}

impl FaultServer {
    /// A streamable HTTP server with sessions.
    pub fn start() -> Self {
        Self::start_as(Binding::Streamable)
    }

    /// A server with this binding.
    pub fn start_as(binding: Binding) -> Self {
        let server = Self::start_down(binding);
        server.come_up();
        server
    }

    /// A server that has its port but does not listen yet: connections are refused.
    pub fn start_down(binding: Binding) -> Self {
        let socket = reserve("127.0.0.1:0".parse().expect("an address"));
        let path = match binding {
            Binding::HttpSse => "/sse",
            Binding::Streamable | Binding::Stateless | Binding::Modern | Binding::Dual => "/mcp",
        };
        Self(Arc::new(Inner {
            address: socket.local_addr().expect("it is bound"),
            path,
            state: Mutex::new(State {
                mcp: Mcp::new(binding),
                rules: Vec::new(),
                log: Vec::new(),
                sent: Sent::default(),
                connections: 0,
                open: 0,
                most_open: 0,
                max_requests: MAX_REQUESTS,
                version_header: VersionHeader::Expected,
                record: Record::Kept,
                accepting: None,
                serving: JoinSet::new(),
                closing: watch::Sender::new(false),
                reserved: Some(socket),
            }),
            events: watch::Sender::default(),
        }))
    }

    /// The URL for the bridge, with a secret in its query.
    pub fn url(&self) -> String {
        let Inner { address, path, .. } = &*self.0;
        format!("http://{address}{path}?key={QUERY_MARKER}")
    }

    /// The URL as hints show it: the query may be a secret.
    pub fn url_in_hints(&self) -> String {
        let Inner { address, path, .. } = &*self.0;
        format!("http://{address}{path}?…")
    }

    /// `host:port`, as it stands in errors.
    pub fn host(&self) -> String {
        self.0.address.to_string()
    }

    /// Answers the next request that is wanted in this way; in the order of the calls.
    pub fn once<R: Into<Option<Reply>>>(
        &self,
        want: Want,
        respond: impl FnMut(&Request) -> R + Send + 'static,
    ) {
        self.times(1, want, respond);
    }

    /// Answers every request that is wanted in this way, where no earlier rule does.
    pub fn always<R: Into<Option<Reply>>>(
        &self,
        want: Want,
        respond: impl FnMut(&Request) -> R + Send + 'static,
    ) {
        self.times(usize::MAX, want, respond);
    }

    /// Answers so many requests in this way. `None` from `respond` leaves it to the well-behaved
    /// server.
    pub fn times<R: Into<Option<Reply>>>(
        &self,
        times: usize,
        want: Want,
        mut respond: impl FnMut(&Request) -> R + Send + 'static,
    ) {
        self.state().rules.push(Rule {
            want,
            left: times,
            respond: Box::new(move |request| respond(request).into()),
        });
    }

    /// Drops all rules: from now on the server is well-behaved.
    pub fn behave(&self) {
        self.state().rules.clear();
    }

    /// Sets the most requests that may come.
    pub fn allow_requests(&self, max: usize) {
        self.state().max_requests = max;
    }

    /// Keeps neither requests nor messages from now on, for a server that runs for hours.
    #[allow(dead_code, reason = "the model has servers that run for hours")]
    pub fn keep_no_record(&self) {
        self.state().record = Record::None;
    }

    /// The server names no version that a header could carry.
    pub fn names_no_version(&self) {
        self.state().version_header = VersionHeader::Unknown;
    }

    /// Stops listening and drops every connection; connections are refused from now on.
    pub async fn go_down(&self) {
        let reserved = self.reserved_early();
        let accepting = self.state().accepting.take().expect("it is up");
        accepting.abort();
        let _ = accepting.await;
        let (serving, closing) = {
            let mut state = self.state();
            (
                std::mem::take(&mut state.serving),
                std::mem::take(&mut state.closing),
            )
        };
        closing.send_replace(true);
        // When this returns, every connection is closed at both ends: no request is sent on one that is on its way down.
        serving.join_all().await;
        let reserved = reserved.unwrap_or_else(|| reserve(self.0.address));
        let mut state = self.state();
        state.reserved = Some(reserved);
        state.mcp.forget();
    }

    /// Stops listening; connections that are open stay.
    pub async fn stop_listening(&self) {
        let reserved = self.reserved_early();
        let accepting = self.state().accepting.take().expect("it is up");
        accepting.abort();
        let _ = accepting.await;
        let reserved = reserved.unwrap_or_else(|| reserve(self.0.address));
        self.state().reserved = Some(reserved);
    }

    /// The port, before it is let go, so that nobody else takes it. Wine lets nobody bind a port on which somebody listens.
    fn reserved_early(&self) -> Option<TcpSocket> {
        cfg!(unix).then(|| reserve(self.0.address))
    }

    /// Listens, after [`Self::start_down`], [`Self::go_down`] or [`Self::stop_listening`].
    pub fn come_up(&self) {
        const BACKLOG: u32 = 128;
        let mut state = self.state();
        let socket = state.reserved.take().expect("it is down");
        let listener = socket.listen(BACKLOG).expect("it is bound");
        state.accepting = Some(tokio::spawn(accept(listener, Arc::downgrade(&self.0))));
    }

    /// Ends all connections and sessions and starts anew on the same port.
    pub async fn restart(&self) {
        self.go_down().await;
        self.come_up();
    }

    /// From now on the well-behaved server speaks this; sessions and streams are gone.
    pub fn speak(&self, binding: Binding) {
        self.state().mcp.speak(binding);
    }

    /// Forgets all sessions while connections stay.
    pub fn forget_sessions(&self) {
        self.state().mcp.forget();
    }

    /// Sends an event with this data on the stream that was opened last.
    pub fn push(&self, data: impl AsRef<str>) {
        self.push_piece(Piece::Bytes(crate::mcp::event(data.as_ref())));
    }

    /// Sends a piece on the stream that was opened last.
    pub fn push_piece(&self, piece: Piece) {
        assert!(self.state().mcp.push(piece), "no stream is open");
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state().log.clone()
    }

    /// The requests so far that are wanted.
    pub fn requests_for(&self, want: &Want) -> Vec<Request> {
        let log = self.requests();
        log.into_iter()
            .filter(|request| want.matches(request))
            .collect()
    }

    /// Number of requests so far that are wanted.
    pub fn count(&self, want: &Want) -> usize {
        self.requests_for(want).len()
    }

    /// Number of connections that were ever opened.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// The most connections that were open at once.
    pub fn most_open_connections(&self) -> usize {
        self.state().most_open
    }

    /// Waits until so many of the wanted requests have come; returns the last of them.
    pub async fn received(&self, want: Want, times: usize) -> Request {
        let mut events = self.0.events.subscribe();
        let arrived = async {
            loop {
                if let Some(request) = self.requests_for(&want).into_iter().nth(times - 1) {
                    return request;
                }
                events.changed().await.expect("the sender is ours");
            }
        };
        let Ok(request) = timeout(LIMIT, arrived).await else {
            panic!("{want:?} did not come {times} times:\n{}", self.story());
        };
        request
    }

    /// Waits until the client has left so many replies before their end.
    pub async fn aborted(&self, times: usize) {
        let mut events = self.0.events.subscribe();
        let left = events.wait_for(|events| events.aborted >= times);
        timeout(LIMIT, left)
            .await
            .expect("the client leaves")
            .expect("the sender is ours");
    }

    /// Waits until a reply that was begun can write no more because nobody reads it.
    pub async fn write_stands_still(&self) {
        let mut events = self.0.events.subscribe();
        let mut last = events
            .wait_for(|events| events.written > 0)
            .await
            .map(|seen| *seen);
        while timeout(WRITE_STANDS_STILL, events.changed()).await.is_ok() {
            last = Ok(*events.borrow());
        }
        last.expect("the sender is ours");
    }

    /// The requests so far, a line each, for a test that fails.
    pub fn story(&self) -> String {
        let line = |request: &Request| {
            let Request {
                method,
                target,
                connection,
                ..
            } = request;
            let resumes = request.header("last-event-id").unwrap_or_default();
            let name = request.rpc_method();
            format!("  {method} {target} {name} {resumes} (connection {connection})\n")
        };
        self.requests().iter().map(line).collect()
    }

    /// Faults of the requests that came, whatever the test is about.
    pub fn faults(&self) -> Vec<String> {
        let state = self.state();
        let mut faults: Vec<_> = state
            .log
            .iter()
            .enumerate()
            .flat_map(|(at, request)| request.faults(state.version_header, &state.log[..at]))
            .collect();
        if state.log.len() > state.max_requests {
            faults.push(format!("{} requests came", state.log.len()));
        }
        faults
    }

    /// The messages that it has sent.
    pub fn sent(&self) -> Sent {
        let state = self.state();
        let mut sent = state.sent.clone();
        sent.add_body(state.mcp.pushed());
        sent
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the state")
    }

    /// Enters the request and decides on the reply, in one step for whoever waits for the request.
    fn receive(&self, request: &Request) -> Reply {
        let reply = {
            let mut state = self.state();
            if state.record == Record::Kept {
                state.log.push(request.clone());
            }
            let rule = state
                .rules
                .iter_mut()
                .find(|rule| rule.left > 0 && rule.want.matches(request));
            let scripted = rule.and_then(|rule| {
                rule.left -= 1;
                (rule.respond)(request)
            });
            let reply = scripted.unwrap_or_else(|| state.mcp.reply(request));
            if state.record == Record::Kept {
                state.sent.add_body(&reply.written());
            }
            reply
        };
        self.events.send_modify(|events| events.requests += 1);
        reply
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(accepting) = self.state().accepting.take() {
            accepting.abort();
        }
    }
}

/// Takes a port without listening on it.
fn reserve(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Neither our own listener nor what is left of its connections must keep the port from us.
    socket
        .set_reuseaddr(true)
        .expect("an option of every system");
    #[cfg(unix)]
    socket.set_reuseport(true).expect("an option of every Unix");
    socket.bind(address).expect("a port for us");
    socket
}

async fn accept(listener: TcpListener, server: std::sync::Weak<Inner>) {
    while let Ok((stream, _)) = listener.accept().await {
        let Some(server) = server.upgrade() else {
            return;
        };
        let mut state = server.state();
        state.connections += 1;
        state.open += 1;
        state.most_open = state.most_open.max(state.open);
        let connection = serve(
            stream,
            state.connections,
            Arc::downgrade(&server),
            server.events.clone(),
            state.closing.subscribe(),
        );
        state.serving.spawn(connection);
        while state.serving.try_join_next().is_some() {}
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    server: std::sync::Weak<Inner>,
    events: watch::Sender<Events>,
    mut closing: watch::Receiver<bool>,
) -> io::Result<()> {
    let _open = Open(server.clone());
    stream.set_nodelay(true)?;
    tokio::select! {
        end = serve_requests(&mut stream, connection, server, events) => return end,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    stream.shutdown().await?;
    // Whoever does not read does not notice.
    let _ = timeout(
        CLOSE_LIMIT,
        tokio::io::copy(&mut stream, &mut tokio::io::sink()),
    )
    .await;
    Ok(())
}

async fn serve_requests(
    stream: &mut TcpStream,
    connection: usize,
    server: std::sync::Weak<Inner>,
    events: watch::Sender<Events>,
) -> io::Result<()> {
    let peer = stream.peer_addr().ok();
    let mut buffer = Vec::new();
    while let Some(mut request) = read_request(stream, &mut buffer, connection).await? {
        request.peer = peer;
        let Some(reply) = server.upgrade().map(|server| server.receive(&request)) else {
            return Ok(());
        };
        match play(stream, reply, &events).await {
            Ok(After::KeepAlive) => {}
            Ok(After::Close) => return Ok(()),
            Err(_) => {
                events.send_modify(|events| events.aborted += 1);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A connection that is counted as open until this is dropped.
struct Open(std::sync::Weak<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        let Some(server) = self.0.upgrade() else {
            return;
        };
        // Where connections are closed by the test, the state is held by nobody.
        server.state().open -= 1;
    }
}

/// Reads one request; `None` when the client closed the connection instead.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    connection: usize,
) -> io::Result<Option<Request>> {
    const END: &[u8] = b"\r\n\r\n";
    let head = loop {
        if let Some(end) = buffer.windows(END.len()).position(|window| window == END) {
            let rest = buffer.split_off(end + END.len());
            let head = std::mem::replace(buffer, rest);
            break String::from_utf8_lossy(&head).into_owned();
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let mut request = Request::from_head(&head, connection);
    let length = request
        .header("content-length")
        .map_or(0, |length| length.parse().expect("a length is a number"));
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let rest = buffer.split_off(length);
    request.body = std::mem::replace(buffer, rest).into();
    request.at = Instant::now();
    Ok(Some(request))
}

enum After {
    KeepAlive,
    Close,
}

/// Does what the reply says; an error means that the client left first.
async fn play(
    stream: &mut TcpStream,
    reply: Reply,
    events: &watch::Sender<Events>,
) -> io::Result<After> {
    let framing = reply.framing;
    write(stream, &head(&reply), events).await?;
    for step in reply.steps {
        match step {
            Step::Write(bytes) => write(stream, &framed(framing, bytes), events).await?,
            Step::Wait(gate) => until_open(stream, &gate).await?,
            Step::Follow(mut pieces) => loop {
                let piece = tokio::select! {
                    piece = pieces.recv() => piece,
                    left = client_leaves(stream) => return Err(left),
                };
                match piece {
                    Some(Piece::Bytes(bytes)) => {
                        write(stream, &framed(framing, bytes), events).await?;
                    }
                    Some(Piece::End) => break,
                    Some(Piece::Reset) => return reset(stream),
                    // The server was told to forget: the stream ends as with a crash.
                    None => return Ok(After::Close),
                }
            },
            Step::Stall => return Err(client_leaves(stream).await),
            Step::Reset => return reset(stream),
            Step::Close => return Ok(After::Close),
        }
    }
    match framing {
        Framing::ContentLength => Ok(After::KeepAlive),
        Framing::Raw => Ok(After::Close),
        Framing::Chunked => {
            write(stream, b"0\r\n\r\n", events).await?;
            Ok(After::KeepAlive)
        }
    }
}

fn head(reply: &Reply) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    match reply.framing {
        Framing::Raw => return Vec::new(),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
        Framing::ContentLength => {
            let length: usize = reply
                .steps
                .iter()
                .map(|step| match step {
                    Step::Write(bytes) => bytes.len(),
                    _ => 0,
                })
                .sum();
            head.extend(["Content-Length: ", &length.to_string(), "\r\n\r\n"]);
        }
    }
    head.into_bytes()
}

fn framed(framing: Framing, bytes: Vec<u8>) -> Vec<u8> {
    if framing != Framing::Chunked || bytes.is_empty() {
        return bytes;
    }
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend(bytes);
    chunk.extend(b"\r\n");
    chunk
}

async fn write(
    stream: &mut TcpStream,
    mut bytes: &[u8],
    events: &watch::Sender<Events>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = stream.write(bytes).await?;
        bytes = &bytes[written..];
        events.send_modify(|events| events.written += written);
    }
    Ok(())
}

async fn until_open(stream: &TcpStream, gate: &Gate) -> io::Result<()> {
    tokio::select! {
        () = gate.opened() => Ok(()),
        left = client_leaves(stream) => Err(left),
    }
}

/// Returns when the client has closed or reset the connection.
async fn client_leaves(stream: &TcpStream) -> io::Error {
    match stream.peek(&mut [0]).await {
        Ok(0) => io::ErrorKind::BrokenPipe.into(),
        // More bytes before our answer: none of our clients pipelines.
        Ok(_) => std::future::pending().await,
        Err(error) => error,
    }
}

fn reset(stream: &TcpStream) -> io::Result<After> {
    stream.set_zero_linger()?;
    Ok(After::Close)
}
