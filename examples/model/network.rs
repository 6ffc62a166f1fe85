//! The network between bridges and servers: a proxy, and addresses that change.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// The certificate of a server that is called `elsewhere.example`, and who signed it.
const CERTIFICATE: &str = "wrong_name.pem";
const KEY: &str = "server.key";
pub(crate) const AUTHORITY: &str = "authority.pem";
pub(crate) const TLS_NAME: &str = "elsewhere.example";

/// The largest head of a request to the proxy, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

pub(crate) fn certificate(name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!("{root}/tests/integration/certificates/{name}")
}

/// Speaks TLS with the certificate above.
pub(crate) fn acceptor() -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file(certificate(CERTIFICATE)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(certificate(KEY)).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("the key is the certificate's");
    TlsAcceptor::from(Arc::new(config))
}

/// A place where connections are taken; they end with it.
struct Place {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Place {
    async fn open<F>(
        address: SocketAddr,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Option<Self>
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.ok()?;
        let address = listener.local_addr().ok()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Some(Self { address, task })
    }

    async fn close(mut self) -> SocketAddr {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.address
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Another address of a server, which can change.
pub(crate) struct Relay {
    target: SocketAddr,
    tls: Option<TlsAcceptor>,
    place: tokio::sync::Mutex<Option<Place>>,
}

impl Relay {
    /// A relay that takes connections at `address`, with TLS or without.
    pub(crate) async fn start(
        target: SocketAddr,
        tls: Option<TlsAcceptor>,
        address: SocketAddr,
    ) -> Self {
        let relay = Self {
            target,
            tls,
            place: tokio::sync::Mutex::new(None),
        };
        let moved = relay.move_to(address).await;
        assert!(moved.is_some(), "a port for us");
        relay
    }

    pub(crate) async fn address(&self) -> SocketAddr {
        let place = self.place.lock().await;
        place.as_ref().expect("it is open").address
    }

    /// Closes all connections and takes new ones at `address`; none if that is not free.
    pub(crate) async fn move_to(&self, address: SocketAddr) -> Option<SocketAddr> {
        let mut place = self.place.lock().await;
        let (target, tls) = (self.target, self.tls.clone());
        let new = Place::open(address, move |stream| pass(stream, target, tls.clone())).await?;
        let address = new.address;
        if let Some(old) = place.replace(new) {
            old.close().await;
        }
        Some(address)
    }
}

async fn pass(mut stream: TcpStream, target: SocketAddr, tls: Option<TlsAcceptor>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut server = TcpStream::connect(target).await.ok()?;
    match tls {
        None => copy_bidirectional(&mut stream, &mut server).await.ok()?,
        Some(tls) => {
            let mut stream = tls.accept(stream).await.ok()?;
            copy_bidirectional(&mut stream, &mut server).await.ok()?
        }
    };
    Some(())
}

type Routes = Arc<Mutex<HashMap<String, SocketAddr>>>;

/// An HTTP proxy (RFC 9110 §7.6, §9.3.6) that knows names that no resolver knows.
pub(crate) struct Proxy {
    address: SocketAddr,
    routes: Routes,
    place: tokio::sync::Mutex<Option<Place>>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let routes = Routes::default();
        let place = Self::open(SocketAddr::from(([127, 0, 0, 1], 0)), &routes).await;
        let place = place.expect("a port for us");
        Self {
            address: place.address,
            routes,
            place: tokio::sync::Mutex::new(Some(place)),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on `name` has this address.
    pub(crate) fn route(&self, name: &str, address: SocketAddr) {
        let mut routes = self.routes.lock().expect("nobody panics with it");
        routes.insert(name.to_owned(), address);
    }

    /// Ends all connections and takes no more for a while.
    pub(crate) async fn go_down(&self, time: Duration) {
        let mut place = self.place.lock().await;
        if let Some(old) = place.take() {
            old.close().await;
        }
        tokio::time::sleep(time).await;
        *place = Self::open(self.address, &self.routes).await;
    }

    async fn open(address: SocketAddr, routes: &Routes) -> Option<Place> {
        let routes = routes.clone();
        Place::open(address, move |stream| forward(stream, routes.clone())).await
    }
}

async fn forward(mut stream: TcpStream, routes: Routes) -> Option<()> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut head).await.ok()? == 0 || head.len() > LARGEST_HEAD {
            return None;
        }
    };
    let line = String::from_utf8_lossy(&head).lines().next()?.to_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let name = match target.strip_prefix("http://") {
        Some(rest) => rest.split(['/', ':']).next()?,
        None => target.split(':').next()?,
    };
    let address = routes.lock().ok()?.get(name).copied();
    let Some(address) = address else {
        let refusal = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
        return stream.write_all(refusal).await.ok();
    };
    let Ok(mut server) = TcpStream::connect(address).await else {
        let refusal = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(refusal).await.ok();
    };
    if method == "CONNECT" {
        let agreed = b"HTTP/1.1 200 Connection established\r\n\r\n";
        stream.write_all(agreed).await.ok()?;
        server.write_all(&head[end..]).await.ok()?;
    } else {
        server.write_all(&head).await.ok()?;
    }
    copy_bidirectional(&mut stream, &mut server)
        .await
        .ok()
        .map(|_| ())
}
