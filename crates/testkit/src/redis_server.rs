//! A `redis-server` of a test's own, and a proxy before it that fails on request.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::limits::{LIMIT, free_port};

/// Pause before another look whether the server listens.
const PAUSE: Duration = Duration::from_millis(5);

/// Attempts to find a port: between the search and its use, somebody else may take it.
const PORT_ATTEMPTS: u32 = 5;

/// Bytes that the proxy passes on at once.
const CHUNK: usize = 16 * 1024;

/// A Redis on a Unix socket in a private directory. It keeps what it has when it is started again.
pub struct RedisServer {
    directory: TempDir,
    options: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// None, with a message, where `redis-server` is not installed.
    pub fn start() -> Option<Self> {
        Self::with_options(&[])
    }

    /// The same with further options of its command line.
    pub fn with_options(options: &[&str]) -> Option<Self> {
        let mut server = Self::spawn(options)?;
        assert!(server.listens(), "redis-server has ended");
        Some(server)
    }

    /// The same with TLS on a port of `localhost`, which is returned: `good.pem`, `server.key` and `authority.pem` of this
    /// directory.
    pub fn with_tls(certificates: &str) -> Option<(Self, u16)> {
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            let mut server = Self::spawn(&[
                "--tls-port",
                &port.to_string(),
                "--tls-cert-file",
                &format!("{certificates}/good.pem"),
                "--tls-key-file",
                &format!("{certificates}/server.key"),
                "--tls-ca-cert-file",
                &format!("{certificates}/authority.pem"),
                "--tls-auth-clients",
                "no",
            ])?;
            if server.listens() {
                return Some((server, port));
            }
        }
        panic!("no port for redis-server after {PORT_ATTEMPTS} attempts");
    }

    fn spawn(options: &[&str]) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let options: Vec<_> = options.iter().copied().map(str::to_owned).collect();
        let Ok(child) = spawn(directory.path(), &options) else {
            eprintln!("skipped: redis-server is not installed");
            return None;
        };
        Some(Self {
            directory,
            options,
            child,
        })
    }

    /// Address, as `--store` takes it.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.socket")
    }

    /// Ends it, as a machine that is switched off does.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(self.socket());
    }

    /// Starts it again after [`Self::stop`].
    pub fn start_again(&mut self) {
        self.child = spawn(self.directory.path(), &self.options).unwrap();
        assert!(self.listens(), "redis-server has ended");
    }

    /// The answer to an inline command, in the notation of the protocol.
    pub fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(stream, "{command}\r\nQUIT\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// All that it has written to disk, as text.
    pub fn disk(&self) -> String {
        files(self.directory.path())
            .iter()
            .filter_map(|path| std::fs::read(path).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }

    /// Waits until it listens. False if it has ended instead.
    #[expect(
        clippy::disallowed_methods,
        reason = "it is looked for again after a pause, within a limit"
    )]
    fn listens(&mut self) -> bool {
        let since = Instant::now();
        while UnixStream::connect(self.socket()).is_err()
            || self.ask("PING").starts_with("-LOADING")
        {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(since.elapsed() < LIMIT, "redis-server does not listen");
            thread::sleep(PAUSE);
        }
        true
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(directory: &Path, further: &[String]) -> std::io::Result<Child> {
    let options = [
        ["--port", "0"],
        ["--unixsocket", "redis.socket"],
        ["--save", ""],
        ["--appendonly", "yes"],
    ];
    Command::new("redis-server")
        .args(options.as_flattened())
        .args(further)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// State of the way to a Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All passes.
    Open,
    /// All passes so much later.
    Slow(Duration),
    /// Nothing passes, and no end is told: a network that has come apart.
    Cut,
    /// Connections are reset, the new ones as well.
    Reset,
}

/// A proxy before a Redis, on TCP.
pub struct RedisProxy {
    address: SocketAddr,
    state: Arc<ProxyState>,
}

struct ProxyState {
    way: Mutex<Way>,
    /// Bytes that clients have sent.
    received: AtomicUsize,
    changed: Condvar,
    connections: Mutex<Vec<TcpStream>>,
}

impl RedisProxy {
    /// A proxy that lets all pass.
    pub fn before(server: &RedisServer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ProxyState {
            way: Mutex::new(Way::Open),
            received: AtomicUsize::new(0),
            changed: Condvar::new(),
            connections: Mutex::default(),
        });
        let (accepting, socket) = (Arc::clone(&state), server.socket());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.accept(client, &socket);
            }
        });
        Self { address, state }
    }

    /// Address, as `--store` takes it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Bytes that clients have sent, whether they came through or not.
    pub fn received(&self) -> usize {
        self.state.received.load(Ordering::Relaxed)
    }

    /// Changes the way, for connections that are open as well.
    pub fn set(&self, way: Way) {
        *self.state.way.lock().unwrap() = way;
        self.state.changed.notify_all();
        if way == Way::Reset {
            for connection in self.state.connections.lock().unwrap().drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

impl ProxyState {
    fn accept(self: &Arc<Self>, client: TcpStream, socket: &Path) {
        if *self.way.lock().unwrap() == Way::Reset {
            return;
        }
        let Ok(server) = UnixStream::connect(socket) else {
            return;
        };
        self.connections
            .lock()
            .unwrap()
            .push(client.try_clone().unwrap());
        let (client_again, server_again) =
            (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (forth, back) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || {
            let received = |length| _ = forth.received.fetch_add(length, Ordering::Relaxed);
            forth.pass(client, server, received);
        });
        thread::spawn(move || back.pass(server_again, client_again, |_| ()));
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a slow network is what a test asks for"
    )]
    fn pass(&self, mut from: impl Read, mut to: impl Write + HalfClose, received: impl Fn(usize)) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            received(length);
            let way = self.way.lock().unwrap();
            let way = self
                .changed
                .wait_while(way, |way| *way == Way::Cut)
                .unwrap();
            let delay = match *way {
                Way::Slow(delay) => delay,
                Way::Open | Way::Cut | Way::Reset => Duration::ZERO,
            };
            drop(way);
            thread::sleep(delay);
            if to.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        to.close();
    }
}

/// A stream whose end can be told to the other side.
trait HalfClose {
    fn close(&self);
}

impl HalfClose for TcpStream {
    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl HalfClose for UnixStream {
    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}
