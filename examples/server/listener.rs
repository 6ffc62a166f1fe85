//! The listening socket: loopback under both of its addresses, or one address that was named.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};

/// A port that is free under IPv4 may be taken under IPv6; how often to look for another.
const FREE_PORT_ATTEMPTS: u32 = 8;

/// One or two sockets.
pub(crate) struct ServerListener {
    first: TcpListener,
    /// IPv6 beside the IPv4 of loopback; `None` on a machine without it.
    second: Option<TcpListener>,
}

impl ServerListener {
    /// Binds one address, which other machines may reach.
    pub(crate) async fn bind_at(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            first: TcpListener::bind(address).await?,
            second: None,
        })
    }

    /// Binds `port`, or a free one if it is 0, on loopback: `localhost` means 127.0.0.1 to some clients and `[::1]` to others,
    /// so this listens on both, and on nothing that another machine could reach.
    pub(crate) async fn bind_loopback(port: u16) -> io::Result<Self> {
        let mut attempts = if port == 0 { FREE_PORT_ATTEMPTS } else { 1 };
        loop {
            attempts -= 1;
            match Self::bind_both(port).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
                outcome => return outcome,
            }
        }
    }

    /// Fails if the port is taken under either address: somebody else would get the requests of
    /// the clients that prefer the other one.
    async fn bind_both(port: u16) -> io::Result<Self> {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = v4.local_addr()?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(v6) => Ok(Self {
                first: v4,
                second: Some(v6),
            }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(_) => Ok(Self {
                first: v4,
                second: None,
            }),
        }
    }

    /// The address that was bound.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }
}

impl Listener for ServerListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, peer) = match &mut self.second {
            Some(second) => tokio::select! {
                connection = Listener::accept(&mut self.first) => connection,
                connection = Listener::accept(second) => connection,
            },
            None => Listener::accept(&mut self.first).await,
        };
        // Events are small and must not wait for more. Without this they are only later, so a
        // failure does not matter.
        let _ = stream.set_nodelay(true);
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }
}
