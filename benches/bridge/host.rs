//! The test server as a process of its own.

use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use hyper::Method;
use tokio::runtime::Runtime;

use crate::client::{self, Client};

pub(crate) struct Host {
    child: Child,
    port: u16,
    tls_port: u16,
    http2_port: u16,
    runtime: Runtime,
    counter: Client,
}

/// Counts of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) deleted: u64,
}

impl Host {
    pub(crate) fn start(executable: &str) -> io::Result<Self> {
        let mut command = Command::new(executable);
        command
            .arg(crate::SERVER)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let mut ports = line.split_whitespace().filter_map(|word| word.parse().ok());
        let (Some(port), Some(tls_port), Some(http2_port)) =
            (ports.next(), ports.next(), ports.next())
        else {
            return Err(io::Error::other("the server did not start"));
        };
        Ok(Self {
            child,
            port,
            tls_port,
            http2_port,
            runtime: crate::current_thread()?,
            counter: Client::new(&format!("http://127.0.0.1:{port}/count")),
        })
    }

    /// The endpoint of the legacy era.
    pub(crate) fn legacy(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// The endpoint that speaks MCP 2026-07-28 alone.
    pub(crate) fn modern(&self) -> String {
        format!("http://127.0.0.1:{}/modern", self.port)
    }

    /// The endpoint of the legacy era over TLS.
    pub(crate) fn tls(&self) -> String {
        format!("https://localhost:{}/mcp", self.tls_port)
    }

    /// The same over HTTP/2.
    pub(crate) fn http2(&self) -> String {
        format!("https://localhost:{}/mcp", self.http2_port)
    }

    /// The address of the legacy endpoint.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn count(&self) -> io::Result<Count> {
        self.runtime.block_on(async {
            let (response, connection) = self.counter.send(Method::GET, Bytes::new()).await?;
            let body = client::whole(response.into_body()).await?;
            self.counter.keep(connection);
            let (requests, deleted) = serde_json::from_slice(&body)?;
            Ok(Count { requests, deleted })
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
